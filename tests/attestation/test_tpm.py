"""TPM evidence: each step refuses what it is for, no octet is free, and a quote that a TPM made verifies.

The evidence here is signed by a key of the test's own, since every field must be set at will. In
`tests/inference/test_tpm.py` the same verifier judges a TPM.
"""

import hashlib
import os
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from seclude.attestation import launchlog, tpm
from seclude.attestation.accept import TpmTable
from seclude.attestation.certificates import is_issued_by, load_certificate
from seclude.attestation.evidence import TrustedReport
from seclude.attestation.launchlog import LaunchLog, Run
from seclude.attestation.steps import Steps
from seclude.attestation.tpm import TpmEvidence, parse_body, pcr_digest, serialize_body, verify, verify_signature
from seclude.attestation.tpm_structures import (
    CURVES,
    Attributes,
    parse_public,
    parse_quote,
    parse_signature,
    pcr_selection,
)
from seclude.errors import DecodeError, EvidenceError, PolicyError, UsageError, VerificationError
from seclude.wire import Writer

NOW = 1_790_000_000.0
BOUND = hashlib.sha256(b"report data").digest()
MANIFEST, OTHER = hashlib.sha256(b"manifest").digest(), hashlib.sha256(b"other").digest()
PCRS = tuple(hashlib.sha256(bytes([number])).digest() for number in range(8))
LOG = LaunchLog((Run(MANIFEST, 3),))
AK = int(tpm.REQUIRED | Attributes.USER_WITH_AUTH | Attributes.NO_DA)
AK_USE = x509.ExtendedKeyUsage([tpm.AK_CERTIFICATE])

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def ecc_public(key: ec.EllipticCurvePrivateKey, attributes: int = AK, scheme: bytes = b"\x00\x18\x00\x0b") -> bytes:
    size = key.curve.key_size // 8
    (curve,) = (number for number, (each, _) in CURVES.items() if each.name == key.curve.name)
    point = key.public_key().public_numbers()
    head = Writer().u16(0x23).u16(0x0B).u32(attributes).vec16(b"").u16(0x10).raw(scheme).u16(curve).u16(0x10)
    return head.vec16(point.x.to_bytes(size)).vec16(point.y.to_bytes(size)).getvalue()


def rsa_public(key: rsa.RSAPrivateKey, scheme: int) -> bytes:
    head = Writer().u16(1).u16(0x0B).u32(AK).vec16(b"").u16(0x10).u16(scheme).u16(0x0B).u16(key.key_size).u32(0)
    return head.vec16(key.public_key().public_numbers().n.to_bytes(key.key_size // 8)).getvalue()


def attest(
    ak_public: bytes,
    *,
    log: LaunchLog = LOG,
    magic: int = 0xFF544347,
    kind: int = 0x8018,
    bound: bytes = BOUND,
    safe: int = 1,
    numbers: Sequence[int] = (*range(8), 14),
    signer: bytes | None = None,
) -> bytes:
    selection = pcr_selection(frozenset(numbers))
    digest = pcr_digest((*PCRS, launchlog.replay(log)))
    writer = Writer().u32(magic).u16(kind).vec16(signer or parse_public(ak_public).qualified_name).vec16(bound)
    writer.u64(77).u32(5).u32(6).u8(safe).u64(0x20191023_00163636)
    return writer.u32(1).u16(0x0B).u8(3).raw(selection.bitmap).vec16(digest).getvalue()


def sign(key: Key, data: bytes, scheme: int = 0x18) -> bytes:
    writer = Writer().u16(scheme).u16(0x0B)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(SHA256())))
        size = key.curve.key_size // 8
        return writer.vec16(r.to_bytes(size)).vec16(s.to_bytes(size)).getvalue()
    pss = padding.PSS(padding.MGF1(SHA256()), 32)
    return writer.vec16(key.sign(data, pss if scheme == 0x16 else padding.PKCS1v15(), SHA256())).getvalue()


class Platform:
    """An authority, a key it certified, and evidence by that key."""

    def __init__(self, key: Key, ak_public: bytes, scheme: int = 0x18) -> None:
        self.key, self.ak_public, self.scheme = key, ak_public, scheme
        self._authority = ec.generate_private_key(ec.SECP256R1())
        self.root = self._certificate("root", self._authority, is_ca=True)
        self.chain = (self.certify(key), self.root)
        self.table = TpmTable(roots=(self.root,))

    def certify(
        self, key: Key, days: int = 30, *, signs: bool = True, use: x509.ExtendedKeyUsage | None = AK_USE
    ) -> bytes:
        return self._certificate("ak", key, days, signs=signs, use=use)

    def evidence(self, attested: bytes | None = None, log: LaunchLog = LOG) -> TpmEvidence:
        data = attest(self.ak_public, log=log) if attested is None else attested
        launches = launchlog.serialize_log(log)
        return TpmEvidence(data, sign(self.key, data, self.scheme), self.ak_public, self.chain, PCRS, launches)

    def verify(self, evidence: TpmEvidence, table: TpmTable | None = None, now: float = NOW) -> TrustedReport:
        return verify(serialize_body(evidence), table or self.table, now, Steps(tpm.TITLES))

    def refuse(
        self, step: int, message: str, evidence: TpmEvidence, table: TpmTable | None = None, now: float = NOW
    ) -> VerificationError:
        with pytest.raises(VerificationError, match=message) as caught:
            self.verify(evidence, table, now)
        assert caught.value.step == step
        return caught.value

    def _certificate(
        self,
        name: str,
        key: Key,
        days: int = 60,
        *,
        is_ca: bool = False,
        signs: bool = True,
        use: x509.ExtendedKeyUsage | None = None,
    ) -> bytes:
        start = datetime.fromtimestamp(NOW, UTC) - timedelta(days=1)
        usage = dict.fromkeys(("content_commitment", "data_encipherment", "key_agreement", "crl_sign"), False)
        usage |= {"encipher_only": False, "decipher_only": False, "key_encipherment": not signs}
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")]))
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(digital_signature=signs and not is_ca, key_cert_sign=is_ca, **usage), critical=True
            )
        )
        if use is not None:
            builder = builder.add_extension(use, critical=False)
        return builder.sign(self._authority, SHA256()).public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def platform() -> Platform:
    key = ec.generate_private_key(ec.SECP256R1())
    return Platform(key, ecc_public(key))


def test_evidence_says_what_was_launched_and_what_it_binds(platform: Platform) -> None:
    report = platform.verify(platform.evidence())
    assert report.measurement == MANIFEST
    assert report.measures_manifest
    assert report.bound == BOUND
    assert report.platform_id == parse_public(platform.ak_public).spki_digest
    assert report.firmware == "TPM firmware 20191023.00163636"
    assert report.issued_at is None
    assert report.expires_at == int(NOW) - 86_400 + 30 * 86_400


def test_all_ten_steps_pass_in_order_and_state_counts(platform: Platform) -> None:
    steps = Steps(tpm.TITLES)
    verify(serialize_body(platform.evidence()), platform.table, NOW, steps)
    assert [step.number for step in steps.passed] == list(tpm.TITLES) == list(tpm.STAGES) == list(range(1, 11))
    assert steps.passed[6].found == "reset count 5, restart count 6"


def test_keys_of_p384_and_rsa_are_accepted() -> None:
    curve = ec.generate_private_key(ec.SECP384R1())
    large = rsa.generate_private_key(65_537, 2048)
    for platform in (
        Platform(curve, ecc_public(curve)),
        Platform(large, rsa_public(large, 0x14), 0x14),
        Platform(large, rsa_public(large, 0x16), 0x16),
    ):
        assert platform.verify(platform.evidence()).measurement == MANIFEST
        broken = replace(platform.evidence(), attest=attest(platform.ak_public, bound=MANIFEST))
        platform.refuse(4, "the quote is not signed by the attestation key", broken)


def test_a_body_has_one_encoding(platform: Platform) -> None:
    body = serialize_body(platform.evidence())
    assert serialize_body(parse_body(body)) == body
    for cut in range(len(body)):
        with pytest.raises(DecodeError):
            parse_body(body[:cut])
    with pytest.raises(DecodeError, match="1 trailing octets"):
        parse_body(body + b"\x00")
    with pytest.raises(UsageError, match="8 PCRs"):
        serialize_body(replace(platform.evidence(), pcrs=PCRS[:7]))


def test_every_flipped_octet_is_refused(platform: Platform) -> None:
    body = serialize_body(platform.evidence())
    accepted, steps_seen = [], set()
    for place in range(len(body)):
        for mask in (0x01, 0x80, 0xFF):
            changed = bytearray(body)
            changed[place] ^= mask
            try:
                verify(bytes(changed), platform.table, NOW, Steps(tpm.TITLES))
                accepted.append((place, mask))
            except VerificationError as error:
                steps_seen.add(error.step)
    assert accepted == []
    assert steps_seen == {1, 2, 3, 4, 5, 6}


def test_mutations_raise_nothing_but_our_errors(platform: Platform) -> None:
    draw = random.Random(20)
    body = serialize_body(platform.evidence())
    parts = (platform.ak_public, attest(platform.ak_public), sign(platform.key, b""), launchlog.serialize_log(LOG))
    parsers = (parse_public, parse_quote, parse_signature, launchlog.parse_log)
    for turn in range(20_000):
        which = turn % 5
        sample = bytearray(body if which == 4 else parts[which])
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(sample))
            sample[place : place + draw.choice((0, 1, 1, 1, 2))] = draw.randbytes(draw.choice((0, 1, 1, 1, 2)))
        if sample == (body if which == 4 else parts[which]):
            continue
        try:
            if which == 4:
                verify(bytes(sample), platform.table, NOW, Steps(tpm.TITLES))
                pytest.fail("a mutation was accepted")
            parsers[which](bytes(sample))
        except (DecodeError, VerificationError):
            pass


def test_a_chain_that_ends_elsewhere_or_is_over_is_refused(platform: Platform) -> None:
    other = Platform(platform.key, platform.ak_public)
    evidence = platform.evidence()
    platform.refuse(2, "does not end at a pinned root", replace(evidence, certificates=other.chain))
    platform.refuse(2, "is not signed by the next", replace(evidence, certificates=(other.chain[0], platform.root)))
    platform.refuse(2, "has 1 certificates", replace(evidence, certificates=(platform.root,)))
    platform.refuse(2, "certificate 0 of the AK chain is valid from", evidence, now=NOW + 29 * 86_400)
    platform.verify(evidence, now=NOW + 29 * 86_400 - 1)


def test_a_certificate_for_another_use_is_refused(platform: Platform) -> None:
    def certified(*, signs: bool = True, use: x509.ExtendedKeyUsage | None = AK_USE) -> TpmEvidence:
        leaf = platform.certify(platform.key, signs=signs, use=use)
        return replace(platform.evidence(), certificates=(leaf, platform.root))

    platform.refuse(2, "is not for signatures", certified(signs=False))
    tls = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    platform.refuse(2, "for another use than attestation", certified(use=tls))
    platform.verify(certified(use=None))


def test_a_certificate_whose_signature_leaves_out_bits_is_refused(platform: Platform) -> None:
    """OpenSSL and others read such a BIT STRING like the right one, if the bits left out are zero."""
    leaf = next(der for der in iter(lambda: platform.certify(platform.key), b"") if not der[-1] & 1)
    place = len(leaf) - len(load_certificate(leaf, "AK").signature) - 1
    assert leaf[place] == 0
    changed = leaf[:place] + b"\x01" + leaf[place + 1 :]
    platform.verify(replace(platform.evidence(), certificates=(leaf, platform.root)))
    evidence = replace(platform.evidence(), certificates=(changed, platform.root))
    platform.refuse(2, "is not in DER", evidence)


def test_a_certificate_of_another_key_is_refused(platform: Platform) -> None:
    leaf = platform.certify(ec.generate_private_key(ec.SECP256R1()))
    evidence = replace(platform.evidence(), certificates=(leaf, platform.root))
    platform.refuse(3, "is of another key than ak_public", evidence)


@pytest.mark.parametrize("flag", ["FIXED_TPM", "FIXED_PARENT", "SENSITIVE_DATA_ORIGIN", "RESTRICTED", "SIGN"])
def test_a_key_that_lacks_an_attribute_is_refused(flag: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    platform = Platform(key, ecc_public(key, AK & ~Attributes[flag]))
    platform.refuse(3, f"the attestation key lacks {flag}$", platform.evidence())


def test_a_key_that_decrypts_or_has_no_scheme_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    platform = Platform(key, ecc_public(key, AK | Attributes.DECRYPT))
    platform.refuse(3, "also decrypts", platform.evidence())
    platform = Platform(key, ecc_public(key, scheme=b"\x00\x10"))
    platform.refuse(3, "no signature scheme of its own", platform.evidence())


def test_a_quote_under_another_key_or_scheme_is_refused(platform: Platform) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    data = attest(platform.ak_public)
    platform.refuse(4, "not signed by the attestation key", replace(platform.evidence(), signature=sign(other, data)))
    large = rsa.generate_private_key(65_537, 2048)
    foreign = replace(platform.evidence(), signature=sign(large, data, 0x14))
    platform.refuse(4, "not of the attestation key's scheme", foreign)


def test_what_is_no_quote_of_a_tpm_is_refused(platform: Platform) -> None:
    public = platform.ak_public
    for message, data in (
        ("begins with 0xff544346, so no TPM generated it", attest(public, magic=0xFF544346)),
        ("is of type 0x8017, not a quote", attest(public, kind=0x8017)),
        ("names another signer", attest(public, signer=parse_public(public).name)),
        ("binds 31 octets, not 32", attest(public, bound=BOUND[:31])),
        ("safe is 2", attest(public, safe=2)),
    ):
        platform.refuse(5, message, platform.evidence(data))


def test_a_public_area_that_differs_in_what_the_certificate_does_not_hold_is_refused(platform: Platform) -> None:
    """The certificate holds the key alone; it is the quote's signer that ties the attributes to it."""
    changed = bytearray(platform.ak_public)
    changed[6] ^= 0x04  # NO_DA, which no step looks at
    evidence = replace(platform.evidence(), ak_public=bytes(changed))
    platform.refuse(5, "names another signer", evidence)


@pytest.mark.parametrize("numbers", [range(8), (0, 7, 14), (*range(9), 14), (*range(8), 14, 16), ()])
def test_another_selection_is_refused(platform: Platform, numbers: Sequence[int]) -> None:
    data = attest(platform.ak_public, numbers=numbers)
    platform.refuse(6, "the quote selects .*, not bank 0x000b PCR", platform.evidence(data))


def test_a_log_or_values_that_were_not_quoted_are_refused(platform: Platform) -> None:
    evidence, message = platform.evidence(), "do not give the quoted digest"
    for log in (LaunchLog((Run(MANIFEST, 2),)), LaunchLog((Run(OTHER, 3),)), LaunchLog(LOG.runs, OTHER), LaunchLog()):
        platform.refuse(6, message, replace(evidence, launches=launchlog.serialize_log(log)))
    platform.refuse(6, message, replace(evidence, pcrs=(PCRS[1], PCRS[0], *PCRS[2:])))


def test_a_clock_that_is_not_safe_is_refused(platform: Platform) -> None:
    error = platform.refuse(7, "clock is not safe", platform.evidence(attest(platform.ak_public, safe=0)))
    assert isinstance(error, PolicyError)


def test_pinned_pcrs_must_have_their_values(platform: Platform) -> None:
    pins = {str(number): value.hex() for number, value in enumerate(PCRS)}
    platform.verify(platform.evidence(), TpmTable(roots=(platform.root,), pcrs=pins))
    for number in pins:
        table = TpmTable(roots=(platform.root,), pcrs={number: OTHER.hex()})
        assert isinstance(platform.refuse(8, f"PCR {number} is", platform.evidence(), table), PolicyError)
    for number in ("8", "13", "15", "07", "x"):
        table = TpmTable(roots=(platform.root,), pcrs={number: OTHER.hex()})
        platform.refuse(8, f"pins PCR {number}, which the quote does not cover", platform.evidence(), table)


def test_what_pcr_14_held_before_the_first_launch_must_be_zero_or_pinned(platform: Platform) -> None:
    evidence = platform.evidence(log=LaunchLog(LOG.runs, OTHER))
    platform.refuse(8, "PCR 14 before the first launch is", evidence)
    table = TpmTable(roots=(platform.root,), pcrs={"14": OTHER.hex()})
    assert platform.verify(evidence, table).measurement == MANIFEST
    platform.refuse(8, "PCR 14 before the first launch is", platform.evidence(), table)


def test_a_key_that_the_policy_does_not_name_is_refused(platform: Platform) -> None:
    own = parse_public(platform.ak_public).spki_digest.hex()
    platform.verify(platform.evidence(), TpmTable(roots=(platform.root,), keys=(OTHER.hex(), own)))
    table = TpmTable(roots=(platform.root,), keys=(OTHER.hex(),))
    assert isinstance(platform.refuse(9, own, platform.evidence(), table), PolicyError)


def test_a_machine_that_launched_other_software_since_it_booted_is_refused(platform: Platform) -> None:
    for before, after in ((MANIFEST, OTHER), (OTHER, MANIFEST)):
        evidence = platform.evidence(log=LaunchLog((Run(before, 1), Run(after, 1))))
        error = platform.refuse(10, f"launched manifest {after.hex()} after {before.hex()}", evidence)
        assert isinstance(error, PolicyError)
    platform.refuse(10, "no worker was launched", platform.evidence(log=LaunchLog()))


def test_a_log_grows_by_runs_and_has_one_form() -> None:
    log = LaunchLog().launched(MANIFEST).launched(MANIFEST).launched(OTHER)
    assert log == LaunchLog((Run(MANIFEST, 2), Run(OTHER, 1)))
    assert log.without_last().without_last() == LaunchLog((Run(MANIFEST, 1),))
    assert launchlog.parse_log(launchlog.serialize_log(log)) == log
    pcr = bytes(32)
    for manifest in (MANIFEST, MANIFEST, OTHER):
        event = hashlib.sha256(b"seclude launch v1\x00" + manifest).digest()
        pcr = hashlib.sha256(pcr + event).digest()
    assert launchlog.replay(log) == pcr
    head = launchlog.HEAD + bytes(32)
    for body, message in (
        (b"\x01" + MANIFEST + b"\x00\x00", "empty run"),
        (b"\x02" + (MANIFEST + b"\x00\x01") * 2, "side by side"),
        (b"\x11" + (MANIFEST + b"\x00\x01") * 17, "17 runs, limit 16"),
        (b"\x02" + MANIFEST + b"\xff\xff" + OTHER + b"\x00\x01", "more than 16 runs or 65535 launches"),
        (b"\x00\x00", "trailing"),
    ):
        with pytest.raises(DecodeError, match=message):
            launchlog.parse_log(head + body)


def test_a_full_log_takes_no_more_and_is_still_replayed() -> None:
    full = LaunchLog((Run(MANIFEST, launchlog.MAX_LAUNCHES),))
    with pytest.raises(UsageError, match="65535 launches"):
        full.launched(MANIFEST)
    with pytest.raises(UsageError, match="is empty"):
        LaunchLog().without_last()
    start = time.process_time()
    launchlog.replay(full)
    assert time.process_time() - start < 1.0


def vectors() -> Path:
    root = os.environ.get("SECLUDE_VECTORS")
    if not root:
        pytest.skip("SECLUDE_VECTORS is not set")
    return Path(root)


def test_a_quote_of_swtpm_verifies_piece_by_piece() -> None:
    """Vectors made with swtpm 0.7.1 and tpm2-tools 5.4: PCR 0, 7, 14; extraData is the nonce."""
    folder = vectors() / "tpm"
    data, public = (folder / "swtpm-quote.msg").read_bytes(), (folder / "swtpm-ak.pem").read_bytes()
    key = load_pem_public_key(public)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    signature = parse_signature((folder / "swtpm-quote.sig").read_bytes())
    verify_signature(key, signature, data)
    quote = parse_quote(data)
    assert quote.extra_data.hex() == (folder / "swtpm-nonce").read_text().strip()
    assert quote.selections == (pcr_selection(frozenset({0, 7, 14})),)
    measured = launchlog.extend(launchlog.ZERO, bytes.fromhex((folder / "swtpm-meas").read_text()))
    assert quote.pcr_digest == pcr_digest((bytes(32), bytes(32), measured))
    assert (quote.safe, quote.reset_count, quote.restart_count) == (True, 2, 0)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(EvidenceError, match="not signed"):
            verify_signature(key, signature, bytes(changed))


def test_evidence_round_the_quote_of_swtpm_is_refused(platform: Platform) -> None:
    """It has no certificate; with one of another key it fails at step 3."""
    folder = vectors() / "tpm"
    evidence = replace(
        platform.evidence(),
        attest=(folder / "swtpm-quote.msg").read_bytes(),
        signature=(folder / "swtpm-quote.sig").read_bytes(),
    )
    platform.refuse(2, "has 0 certificates", replace(evidence, certificates=()))
    platform.refuse(4, "not signed by the attestation key", evidence)


def test_certificates_of_a_google_machine_end_below_their_root(platform: Platform) -> None:
    """The sample has the leaf and the intermediate: their signature holds, but no root can be pinned."""
    text = (vectors() / "openpcc" / "gce_ak_certificates.txt").read_bytes()
    pems = [b"-----BEGIN CERTIFICATE" + part.split(b"-- ")[0] for part in text.split(b"-----BEGIN CERTIFICATE")[1:]]
    ders = tuple(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER) for pem in pems)
    leaf, intermediate = (load_certificate(der, "AK") for der in ders)
    assert is_issued_by(leaf, intermediate)
    evidence = replace(platform.evidence(), certificates=ders)
    platform.refuse(2, "does not end at a pinned root", evidence)
    table = TpmTable(roots=(ders[1],))
    platform.refuse(2, "certificate 1 of the AK chain is not signed by the next", evidence, table)
