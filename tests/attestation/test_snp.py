"""SEV-SNP: genuine reports at their time, every octet of them, and each rule broken alone by an AMD of tests."""

import base64
import datetime
import functools
import hashlib
import os
import random
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning

from seclude.attestation import snp
from seclude.attestation.accept import Bit, SnpProduct, SnpTable, SnpTcb
from seclude.attestation.certificates import load_certificate, verify_chain, verify_crl
from seclude.attestation.evidence import TrustedReport
from seclude.attestation.snp import SnpEvidence, parse_body, serialize_body
from seclude.attestation.snp_report import Report, parse_report
from seclude.attestation.steps import Steps
from seclude.errors import EvidenceError, PolicyError, UsageError, VerificationError
from tests.attestation.snp_signer import (
    NOW,
    POLICY,
    SERIAL_ZERO,
    YEAR,
    Amd,
    chip_key,
    integer,
    rsa_key,
    sign,
    tcb_version,
    with_signature,
)


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> int:
    return int(datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.UTC).timestamp())


VALID_AT: Final = utc(2025, 7, 1)  # when both genuine revocation lists are current
MILAN: Final = (utc(2025, 5, 6, 12, 39, 6), utc(2026, 5, 12))  # when Milan's is
GENOA: Final = (utc(2024, 10, 23, 4, 36, 24), utc(2025, 11, 3, 1))
PRODUCTS: Final[tuple[SnpProduct, ...]] = ("milan", "genoa", "turin")
FLOORS: Final[dict[SnpProduct, SnpTcb]] = {product: SnpTcb() for product in PRODUCTS}
ANY: Final = SnpTable(products=PRODUCTS, minimum_tcb=FLOORS, cxl=Bit.ALLOW)
ORDER: Final = snp.P384_ORDER


@dataclass(frozen=True, slots=True)
class Samples:
    """The genuine files."""

    folder: Path

    def file(self, name: str) -> bytes:
        return (self.folder / "snp" / name).read_bytes()

    def chain(self, product: str) -> list[bytes]:
        """Return ASK, ARK and ASVK."""
        return ders(self.file(f"{product}_ask_ark_asvk.pem"))

    def archive(self, name: str) -> list[bytes]:
        """Return what is in one part of openpcc's archives, in DER."""
        text = "".join(
            (self.folder / "openpcc" / f"{file}.txt").read_text() for file in ("sev_certificates", "gce_sevsnp_report")
        )
        part = text.split(f"-- {name}.pem --\n")[1].split("\n-- ")[0]
        return [base64.b64decode(found[1]) for found in re.finditer(r"BEGIN [^-]+-----([^-]+)-----END", part)]

    def crl(self, product: str) -> bytes:
        return self.archive(f"test_amd_{product}_crl")[0]

    def milan(self, report: str, leaf: str, *, issuer: int = 0) -> bytes:
        """Return the body of a report and a leaf under AMD's root for Milan."""
        chain = self.chain("milan")
        return body_of(self.file(report), self.file(leaf), chain[issuer], chain[1], crl=self.crl("milan"))

    def trustee(self) -> bytes:
        return self.milan("trustee-test-report.bin", "trustee-test-vcek.der")

    def google(self) -> bytes:
        return self.milan("google-attestation.bin", "google-vcek.der")

    def gce(self) -> bytes:
        """Return Google's report of version 4 with openpcc's certificate of a Genoa, which is not its own."""
        ask, ark = self.chain("genoa")[:2]
        (report,), (vcek,) = self.archive("test_gce_sevsnp_report"), self.archive("test_vcek")
        return body_of(report, vcek, ask, ark, crl=self.crl("genoa"))


def ders(pem: bytes) -> list[bytes]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return [each.public_bytes(Encoding.DER) for each in x509.load_pem_x509_certificates(pem)]


def body_of(report: bytes, *certificates: bytes, crl: bytes) -> bytes:
    return serialize_body(SnpEvidence(report, certificates, (crl,)))


@pytest.fixture(scope="module")
def samples() -> Samples:
    root = os.environ.get("SECLUDE_VECTORS")
    if not root:
        pytest.skip("SECLUDE_VECTORS is not set")
    return Samples(Path(root))


@pytest.fixture(scope="module")
def amd() -> Amd:
    return Amd()


@pytest.fixture
def kept_chains(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Verify the same chain and list at the same time once, since thousands of reports differ elsewhere."""

    @functools.cache
    def chain(ders: tuple[bytes, ...], roots: tuple[tuple[bytes, str], ...], now: float, name: str) -> object:
        return verify_chain(ders, dict(roots), now, name=name)

    monkeypatch.setattr(
        snp, "verify_chain", lambda ders, roots, now, *, name: chain(ders, tuple(roots.items()), now, name)
    )
    monkeypatch.setattr(snp, "verify_crl", functools.cache(verify_crl))
    return iter([None])


def check(
    body: bytes, now: float = NOW, table: SnpTable = ANY, roots: Mapping[bytes, str] = snp.ROOTS
) -> TrustedReport:
    return snp.verify(body, table, now, Steps(snp.TITLES), roots=roots)


def refuse(
    body: bytes,
    step: int,
    why: str,
    now: float = NOW,
    table: SnpTable = ANY,
    roots: Mapping[bytes, str] = snp.ROOTS,
) -> VerificationError:
    """Expect that exactly this step fails, and with these words."""
    steps = Steps(snp.TITLES)
    with pytest.raises(VerificationError, match=why) as caught:
        snp.verify(body, table, now, steps, roots=roots)
    assert caught.value.step == step
    assert [passed.number for passed in steps.passed] == list(range(1, step))
    return caught.value


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]


# Genuine samples


def test_the_pinned_roots_are_the_files_of_amd(samples: Samples) -> None:
    found = {hashlib.sha256(samples.chain(product)[1]).digest(): product for product in PRODUCTS}
    assert dict(snp.ROOTS) == found
    for product in ("milan", "genoa"):
        assert set(samples.archive(f"test_amd_sev_{product}_root_certs")) == set(samples.chain(product)[:2])


def test_steps_have_the_same_numbers_everywhere() -> None:
    assert list(snp.TITLES) == list(snp.STAGES) == list(range(1, 11))
    assert all(f"\n{number:2}. " in str(snp.__doc__) for number in snp.TITLES)


def test_a_genuine_report_of_a_milan_passes_all_steps(samples: Samples) -> None:
    report = samples.file("trustee-test-report.bin")
    table = SnpTable(products=("milan",), minimum_tcb={"milan": SnpTcb(bootloader=3, snp=8, microcode=115)})
    assert check(samples.trustee(), VALID_AT, table) == TrustedReport(
        format="sev-snp",
        measurement=report[0x90:0xC0],
        bound=report[0x50:0x90],
        platform_id=report[0x1A0:0x1E0],
        firmware="bootloader 3, tee 0, snp 8, microcode 115",
        expires_at=MILAN[1],
    )


def test_milan_is_refused_by_default(samples: Samples) -> None:
    table = SnpTable(minimum_tcb={"genoa": SnpTcb(), "turin": SnpTcb()})
    why = "the product is milan, and accepted are genoa, turin"
    assert isinstance(refuse(samples.trustee(), 6, why, VALID_AT, table), PolicyError)


def test_a_genuine_report_with_a_level_below_the_floor_is_refused(samples: Samples) -> None:
    table = SnpTable(products=("milan",), minimum_tcb={"milan": SnpTcb(snp=9)})
    refuse(samples.trustee(), 8, "the certified level of snp is 8, below 9", VALID_AT, table)


def test_a_genuine_report_of_a_debug_guest_is_refused_for_that(samples: Samples) -> None:
    assert isinstance(refuse(samples.google(), 9, "guest policy allows debugging", VALID_AT), PolicyError)


def test_a_genuine_report_under_a_vlek_is_refused_for_that(samples: Samples) -> None:
    body = samples.milan("trustee-test-vlek-report.bin", "trustee-test-vlek.der", issuer=2)
    assert isinstance(refuse(body, 2, "signed by a VLEK", VALID_AT), PolicyError)


def test_a_genuine_vlek_is_no_vcek(samples: Samples) -> None:
    body = samples.milan("trustee-test-report.bin", "trustee-test-vlek.der", issuer=2)
    refuse(body, 2, "the first certificate is not a VCEK's", VALID_AT)


@pytest.mark.parametrize("name", ["legacy", "new"])
def test_a_forged_vcek_is_refused(samples: Samples, name: str) -> None:
    body = samples.milan("trustee-test-report.bin", f"trustee-test-vcek-invalid-{name}.der")
    refuse(body, 3, "certificate 0 of the SEV-SNP chain is not signed by the next", VALID_AT)


def test_a_genuine_report_of_version_4_is_read_and_fits_neither_certificate(samples: Samples) -> None:
    (data,) = samples.archive("test_gce_sevsnp_report")
    report = parse_report(data)
    assert (report.version, report.cpuid, report.vmpl, report.policy) == (4, (0x19, 1, 1), 0, 0x30000)
    assert report.reported_tcb == tcb_version("milan", bootloader=4, tee=0, snp=25, microcode=219)
    refuse(samples.gce(), 5, "report is not signed by the key of its certificate", VALID_AT)
    ask, ark = samples.chain("milan")[:2]
    body = body_of(data, samples.file("google-vcek.der"), ask, ark, crl=samples.crl("milan"))
    refuse(body, 5, "report is not signed by the key of its certificate", VALID_AT)


def test_a_genuine_certificate_of_a_genoa_passes_chain_and_revocation_list(samples: Samples) -> None:
    steps = Steps(snp.TITLES)
    with pytest.raises(EvidenceError):
        snp.verify(samples.gce(), ANY, VALID_AT, steps)
    assert [step.found for step in steps.passed][2:] == [
        "AMD's root for genoa; the chain is valid until 2032-06-11 12:07:37 UTC",
        "the list is valid until 2025-11-03 01:00:00 UTC",
    ]


def test_genuine_samples_count_while_certificate_and_list_are_valid_and_not_one_second_more(samples: Samples) -> None:
    for body, (start, end), through in (
        (samples.google(), MILAN, 9),
        (samples.gce(), (utc(2025, 6, 11, 12, 7, 37), GENOA[1]), 5),
    ):
        refuse(body, through, "debugging|not signed", start)
        refuse(body, through, "debugging|not signed", end - 0.001)
        refuse(body, 4, "the AMD revocation list is valid from", end)
    refuse(samples.google(), 4, "the AMD revocation list is valid from", MILAN[0] - 0.001)
    refuse(samples.gce(), 3, "certificate 0 of the SEV-SNP chain is valid from", utc(2025, 6, 11, 12, 7, 37) - 0.001)
    refuse(samples.google(), 3, "certificate 0 of the SEV-SNP chain is valid from", utc(2029, 9, 24, 0, 55, 28))
    refuse(samples.google(), 4, "the AMD revocation list is valid from", utc(2029, 9, 24, 0, 55, 28) - 0.001)


@pytest.mark.usefixtures("kept_chains")
@pytest.mark.parametrize("name", ["trustee", "google"])
def test_every_flipped_octet_of_genuine_evidence_is_refused(samples: Samples, name: str) -> None:
    """At the signature or before it: report, certificates, list and lengths, and what follows the signature too."""
    body: bytes = getattr(samples, name)()
    for at in range(len(body)):
        with pytest.raises(VerificationError) as caught:
            check(flip(body, at), VALID_AT)
        assert 1 <= caught.value.step <= 5, at


@pytest.mark.usefixtures("kept_chains")
def test_every_flipped_octet_of_a_genuine_chain_and_list_of_a_genoa_is_refused(samples: Samples) -> None:
    body = samples.gce()
    for at in range(2 + 0x4A0, len(body)):
        with pytest.raises(VerificationError) as caught:
            check(flip(body, at), VALID_AT)
        assert 1 <= caught.value.step <= 4, at


def test_every_truncation_of_genuine_evidence_is_refused(samples: Samples) -> None:
    body = samples.trustee()
    for cut in range(len(body)):
        with pytest.raises(EvidenceError) as caught:
            check(body[:cut], VALID_AT)
        assert caught.value.step == 1, cut
    refuse(body + b"\0", 1, "1 trailing octets after body", VALID_AT)


def test_a_genuine_report_fits_no_other_chip_and_no_other_root(samples: Samples) -> None:
    body = samples.milan("trustee-test-report.bin", "google-vcek.der")
    refuse(body, 5, "report is not signed by the key of its certificate", VALID_AT)
    report, vcek = samples.file("trustee-test-report.bin"), samples.file("trustee-test-vcek.der")
    for product in ("genoa", "turin"):
        ask, ark = samples.chain(product)[:2]
        body = body_of(report, vcek, ask, ark, crl=samples.crl("milan"))
        refuse(body, 3, "certificate 0 of the SEV-SNP chain is not signed by the next", VALID_AT)
    ask, ark = samples.chain("milan")[:2]
    refuse(body_of(report, vcek, ask, ark, crl=samples.crl("genoa")), 4, "not signed by its issuer", VALID_AT)


def test_a_missing_list_is_refused_with_a_sentence_of_its_own(samples: Samples) -> None:
    parts = parse_body(samples.trustee())
    body = serialize_body(SnpEvidence(parts.report, parts.certificates))
    assert isinstance(refuse(body, 4, "the root's revocation list is missing", VALID_AT), EvidenceError)


def test_a_body_has_one_encoding(samples: Samples) -> None:
    for body in (samples.trustee(), samples.google(), samples.gce()):
        assert serialize_body(parse_body(body)) == body


# Step 1


@pytest.mark.parametrize("version", range(2, 6))
@pytest.mark.parametrize("product", PRODUCTS)
def test_each_version_of_each_product_is_accepted(product: SnpProduct, version: int) -> None:
    amd = Amd(product)
    table = SnpTable(products=(product,), minimum_tcb={product: SnpTcb(bootloader=10, tee=1, snp=23, microcode=217)})
    report = check(amd.attest(version), table=table, roots=amd.roots)
    fmc = "fmc 2, " if product == "turin" else ""
    assert report == TrustedReport(
        format="sev-snp",
        measurement=bytes(range(48)),
        bound=bytes(range(64)),
        platform_id=amd.hwid,
        firmware=f"{fmc}bootloader 10, tee 1, snp 23, microcode 217",
        expires_at=NOW + YEAR,
    )


def test_what_step_1_found_and_the_mitigations_are_told(amd: Amd) -> None:
    steps = Steps(snp.TITLES)
    snp.verify(amd.attest(5), ANY, NOW, steps, roots=amd.roots)
    assert steps.passed[0].found == "a report of version 5"
    assert "mitigations at launch 0x1, now 0x3" in steps.passed[8].found


LAYOUTS: list[tuple[int, dict[str, int | bytes], str]] = [
    (0, {}, "report is of version 0, not 2 to 5"),
    (1, {}, "report is of version 1, not 2 to 5"),
    (6, {}, "report is of version 6, not 2 to 5"),
    (0x10002, {}, "report is of version 65538, not 2 to 5"),
    (3, {"signature_algo": 0}, "signature_algo is 0, not ECDSA"),
    (3, {"signature_algo": 2}, "signature_algo is 2, not ECDSA"),
    (3, {"key_info": 1 << 5}, "reserved bits of key_info are not zero"),
    (3, {"key_info": 1 << 31}, "reserved bits of key_info are not zero"),
    (3, {"after_key_info": 1 << 24}, "reserved octets after key_info are not zero"),
    (2, {"cpuid": bytes([0x19, 0x11, 0])}, "reserved octets after reported_tcb are not zero"),
    (2, {"after_cpuid": bytes(20) + b"\1"}, "reserved octets after reported_tcb are not zero"),
    (3, {"after_cpuid": b"\1" + bytes(20)}, "reserved octets after cpuid_step are not zero"),
    (3, {"after_current_version": 1}, "reserved octets after current version are not zero"),
    (3, {"after_committed_version": 1}, "reserved octets after committed version are not zero"),
    (4, {"mitigations": b"\1" + bytes(15)}, "reserved octets after launch_tcb are not zero"),
    (4, {"after_mitigations": bytes(151) + b"\1"}, "reserved octets after launch_tcb are not zero"),
    (5, {"after_mitigations": b"\1" + bytes(151)}, "reserved octets after current_mit_vector are not zero"),
    (5, {"after_mitigations": bytes(151) + b"\1"}, "reserved octets after current_mit_vector are not zero"),
]


@pytest.mark.parametrize(("version", "others", "why"), LAYOUTS)
def test_a_report_of_another_layout_is_refused_though_signed(
    amd: Amd, version: int, others: dict[str, int | bytes], why: str
) -> None:
    unsigned = amd.unsigned_report(version, **others)
    body = amd.body(sign(version.to_bytes(4, "little") + unsigned[4:]))
    assert isinstance(refuse(body, 1, why, roots=amd.roots), EvidenceError)


def test_octets_after_the_signature_have_to_be_zero(amd: Amd) -> None:
    report = amd.report()
    for at in (0x330, 0x49F):
        changed = report[:at] + b"\1" + report[at + 1 :]
        refuse(amd.body(changed), 1, "reserved octets after the signature are not zero", roots=amd.roots)


@pytest.mark.parametrize("length", [0, 0x49F, 0x4A1])
def test_a_report_of_another_length_is_refused(amd: Amd, length: int) -> None:
    body = amd.body(amd.report().ljust(length, b"\0")[:length])
    refuse(body, 1, f"the report has {length} octets, not 1184", roots=amd.roots)


def test_other_numbers_of_parts_are_refused(amd: Amd) -> None:
    report, chain, crl = amd.report(), (amd.vcek(), amd.ask, amd.ark), amd.crl()
    for count in (0, 1, 2, 4):
        body = serialize_body(SnpEvidence(report, (*chain, amd.ark)[:count], (crl,)))
        refuse(body, 1, f"the body has {count} certificates, not the 3", roots=amd.roots)
    refuse(amd.body(crls=(crl, crl)), 1, "the body has 2 revocation lists", roots=amd.roots)


def test_what_no_body_holds_is_our_own_fault(amd: Amd) -> None:
    with pytest.raises(UsageError):
        serialize_body(SnpEvidence(bytes(1 << 16), ()))
    with pytest.raises(UsageError):
        serialize_body(SnpEvidence(b"", (b"",) * 256))


# Step 2


def test_a_signing_key_that_is_no_vcek_is_refused(amd: Amd) -> None:
    assert isinstance(refuse(amd.attest(key_info=1 << 2), 2, "signed by a VLEK", roots=amd.roots), PolicyError)
    for kind in range(2, 8):
        refuse(amd.attest(key_info=kind << 2), 2, f"signed by no VCEK: signing_key is {kind}", roots=amd.roots)
    check(amd.attest(key_info=1), roots=amd.roots)  # an author key took part in the launch


def test_a_certificate_that_is_no_vcek_is_refused(amd: Amd) -> None:
    good = amd.extensions()
    csp = {"5": b"\x16\x03CSP"}
    without = {number: value for number, value in good.items() if number != "4"}
    for vcek in (
        amd.vcek(name="SEV-VLEK"),
        amd.vcek(extensions=good | csp),
        amd.vcek(extensions=without),
        amd.vcek(extensions=without | csp),
    ):
        refuse(amd.body(vcek=vcek), 2, "the first certificate is not a VCEK's", roots=amd.roots)
    refuse(amd.body(vcek=b"\x30\x00"), 2, "the VCEK certificate is not a certificate", roots=amd.roots)


# Step 3


def test_a_chain_with_a_fault_is_refused() -> None:
    chain = "certificate {} of the SEV-SNP chain"
    faulty: list[tuple[dict[str, dict[str, object]], str]] = [
        ({"ask": {"name": "SEV-VLEK-Genoa"}}, f"{chain.format(1)} is not that of SEV-Genoa"),
        ({"ask": {"name": "SEV-Milan"}}, f"{chain.format(1)} is not that of SEV-Genoa"),
        ({"ask": {"ca": False}}, f"{chain.format(1)} may sign no certificates"),
        ({"ark": {"path_length": 0}}, f"{chain.format(2)} allows 0 certificates"),
        ({"ask": {"pss": False}}, f"{chain.format(1)} is not signed with RSASSA-PSS and SHA-384"),
        ({"ask": {"digest": hashes.SHA256()}}, f"{chain.format(1)} is not signed with RSASSA-PSS and SHA-384"),
        ({"ark": {"digest": hashes.SHA256()}}, f"{chain.format(2)} is not signed with RSASSA-PSS and SHA-384"),
        ({"ask": {"end": NOW}}, f"{chain.format(1)} is valid from"),
        ({"ask": {"start": NOW + 1}}, f"{chain.format(1)} is valid from"),
        ({"ark": {"end": NOW}}, f"{chain.format(2)} is valid from"),
    ]
    for changes, why in faulty:
        amd = Amd("genoa", **changes)
        refuse(amd.attest(), 3, why, roots=amd.roots)


def test_a_short_key_of_the_issuer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tests.attestation.snp_signer.rsa_key", lambda name: rsa_key(name, 2048 if name == "short" else 4096)
    )
    amd = Amd("genoa", ask={"key": "short"})
    refuse(
        amd.attest(), 3, "certificate 1 of the SEV-SNP chain has a key that is not of RSA with 4096", roots=amd.roots
    )


def test_a_vcek_with_a_fault_is_refused(amd: Amd) -> None:
    place = "certificate 0 of the SEV-SNP chain"
    for vcek, why in (
        (amd.vcek(pss=False), "is not signed with RSASSA-PSS and SHA-384"),
        (amd.vcek(digest=hashes.SHA256()), "is not signed with RSASSA-PSS and SHA-384"),
        (amd.vcek(key=ec.generate_private_key(ec.SECP256R1()).public_key()), "has a key that is not of P-384"),
        (amd.vcek(key=amd.ark_key.public_key()), "has a key that is not of P-384"),
        (amd.vcek(unreadable_key=True), "has a key that cannot be read"),
        (amd.vcek(ca=True), "is that of a CA"),
        (amd.vcek(end=NOW), "is valid from"),
        (amd.vcek(start=NOW + 1), "is valid from"),
        (Amd("milan").vcek(), "is not signed by the next"),
    ):
        refuse(amd.body(vcek=vcek), 3, f"{place} {why}", roots=amd.roots)
    assert amd.vcek().count(SERIAL_ZERO) == 1
    check(amd.body(vcek=amd.vcek(start=NOW, end=NOW + 1)), NOW + 0.999, roots=amd.roots)
    refuse(amd.body(vcek=amd.vcek(end=NOW + 1)), 3, f"{place} is valid from", NOW + 1, roots=amd.roots)


def test_an_unknown_root_and_a_root_of_an_unknown_product_are_refused(amd: Amd) -> None:
    refuse(amd.attest(), 3, "does not end at a pinned root")
    roots = dict.fromkeys(amd.roots, "venice")
    refuse(amd.attest(), 3, "a root for venice, which is no product known here", roots=roots)


# Step 4


def test_a_revocation_list_with_a_fault_is_refused(amd: Amd) -> None:
    lists = [
        (amd.crl(key=amd.ask_key), "is not signed by its issuer"),
        (amd.crl(issuer="ARK-Milan"), "is not signed by its issuer"),
        (amd.crl(key=amd.ask_key, issuer="SEV-Genoa"), "is not signed by its issuer"),
        (amd.crl(end=NOW), "is valid from"),
        (amd.crl(start=NOW + 1), "is valid from"),
        (b"", "is not a well-formed one"),
        (amd.ark, "is not a well-formed one"),
    ]
    for crl, why in lists:
        refuse(amd.body(crls=(crl,)), 4, f"the AMD revocation list {why}", roots=amd.roots)
    refuse(amd.body(crls=()), 4, "the root's revocation list is missing", roots=amd.roots)


def test_a_revoked_certificate_is_refused(amd: Amd) -> None:
    for serials, position in (([0x20001], 1), ([0x20000], 2), ([5, 0x20001], 1)):
        crl = amd.crl(serials)
        refuse(amd.body(crls=(crl,)), 4, f"certificate {position} of the SEV-SNP chain is revoked", roots=amd.roots)
    check(amd.body(crls=(amd.crl([0x20002, 7]),)), roots=amd.roots)


def test_a_report_counts_until_the_first_of_chain_and_list_ends(amd: Amd) -> None:
    assert check(amd.body(crls=(amd.crl(end=NOW + 9),)), roots=amd.roots).expires_at == NOW + 9
    assert check(amd.body(vcek=amd.vcek(end=NOW + 8)), roots=amd.roots).expires_at == NOW + 8


# Step 5


def test_a_signature_by_another_key_or_over_other_octets_is_refused(amd: Amd) -> None:
    unsigned = amd.unsigned_report()
    why = "the report is not signed by the key of its certificate"
    refuse(amd.body(sign(unsigned, chip_key("other"))), 5, why, roots=amd.roots)
    other = amd.unsigned_report(report_data=bytes(64))
    refuse(amd.body(other + sign(unsigned)[len(unsigned) :]), 5, why, roots=amd.roots)


def test_a_signature_out_of_range_is_refused(amd: Amd) -> None:
    unsigned = amd.unsigned_report()
    report = parse_report(sign(unsigned))
    r, s = report.r, report.s
    why = "r or s of the signature is out of the range of P-384"
    for pair in ((0, s), (r, 0), (0, 0), (ORDER, s), (r, ORDER), (r + ORDER, s), (r, s + ORDER), (r | 1 << 575, s)):
        refuse(amd.body(with_signature(unsigned, *pair)), 5, why, roots=amd.roots)
    for pair in ((ORDER - 1, s), (r, ORDER - 1), (1, 1), (s, r)):
        refuse(amd.body(with_signature(unsigned, *pair)), 5, "not signed by the key", roots=amd.roots)


def test_what_is_not_signed_is_what_the_module_says_and_no_more(amd: Amd) -> None:
    unsigned = amd.unsigned_report()
    report = parse_report(sign(unsigned))
    check(amd.body(with_signature(unsigned, report.r, ORDER - report.s)), roots=amd.roots)


# Step 6


MODELS: Final = {
    "milan": [(0x19, model) for model in (0x00, 0x01, 0x0F)],
    "genoa": [(0x19, model) for model in (0x10, 0x11, 0x1F, 0xA0, 0xAF)],
    "turin": [(0x1A, model) for model in (0x00, 0x02, 0x11)],
}
NOBODYS: Final = [(0x19, 0x20), (0x19, 0x9F), (0x19, 0xB0), (0x1A, 0x12), (0x1A, 0xA0), (0x17, 0x01), (0, 0)]


@pytest.mark.usefixtures("kept_chains")
def test_the_cpuid_of_a_report_has_to_be_the_products() -> None:
    for product in PRODUCTS:
        amd = Amd(product)
        vcek, crl = amd.vcek(), amd.crl()
        for owner, models in (*MODELS.items(), ("nobody", NOBODYS)):
            for family, model in models:
                body = amd.body(amd.report(3, cpuid=bytes([family, model, 2])), vcek=vcek, crls=(crl,))
                if owner == product:
                    check(body, roots=amd.roots)
                else:
                    why = f"CPUID family {family:#x} and model {model:#x} of the report are not {product}'s"
                    assert isinstance(refuse(body, 6, why, roots=amd.roots), EvidenceError)


def test_a_product_that_is_not_accepted_is_refused() -> None:
    for product in PRODUCTS:
        amd = Amd(product)
        others = tuple(other for other in PRODUCTS if other != product)
        table = SnpTable(products=others, minimum_tcb=FLOORS)
        why = f"the product is {product}, and accepted are {', '.join(others)}"
        for version in (2, 5):
            assert isinstance(refuse(amd.attest(version), 6, why, table=table, roots=amd.roots), PolicyError)


# Step 7


def test_a_chip_that_is_hidden_or_another_is_refused(amd: Amd) -> None:
    for hidden, why in (
        (amd.attest(key_info=2), "the host masks the chip's key"),
        (amd.attest(chip_id=bytes(64)), "chip_id is zero"),
    ):
        assert isinstance(refuse(hidden, 7, why, roots=amd.roots), PolicyError)
    for chip in (amd.hwid[:-1] + b"\0", bytes(63) + b"\1", amd.hwid[::-1]):
        body = amd.attest(chip_id=chip)
        assert isinstance(refuse(body, 7, "chip_id of the report is not hwID", roots=amd.roots), EvidenceError)


def test_the_chip_of_a_turin_has_8_octets_and_zeros_behind() -> None:
    amd = Amd("turin")
    for chip in (amd.hwid + bytes(55) + b"\1", amd.hwid * 8, amd.hwid[:7] + bytes(57)):
        refuse(amd.attest(chip_id=chip), 7, "chip_id of the report is not hwID", roots=amd.roots)
    for hwid in (amd.hwid.ljust(64, b"\0"), amd.hwid[:7], b"", b"\x04\x07" + amd.hwid):
        body = amd.body(vcek=amd.vcek(extensions=amd.extensions() | {"4": hwid}))
        refuse(body, 7, "hwID of the certificate is not 8 octets", roots=amd.roots)


def test_the_chip_of_a_certificate_may_stand_in_an_octet_string() -> None:
    for product in PRODUCTS:
        amd = Amd(product)
        vcek = amd.vcek(extensions=amd.extensions() | {"4": bytes([4, len(amd.hwid)]) + amd.hwid})
        assert check(amd.body(vcek=vcek), roots=amd.roots).platform_id == amd.hwid


@pytest.mark.parametrize("product", ["genoa", "turin"])
def test_only_chips_of_the_list_are_accepted_where_there_is_one(product: SnpProduct) -> None:
    amd = Amd(product)
    table = SnpTable(minimum_tcb=FLOORS, chips=("00" * 8, amd.hwid.hex()))
    check(amd.attest(), table=table, roots=amd.roots)
    table = SnpTable(minimum_tcb=FLOORS, chips=("00" * 8, amd.hwid[::-1].hex()))
    why = f"chip {amd.hwid.hex()} is not among those accepted"
    assert isinstance(refuse(amd.attest(), 7, why, table=table, roots=amd.roots), PolicyError)


# Step 8


def levels_of(product: str) -> tuple[str, ...]:
    return ("bootloader", "tee", "snp", "microcode", *(("fmc",) if product == "turin" else ()))


@pytest.mark.parametrize("product", ["genoa", "turin"])
def test_each_level_of_the_report_has_to_be_the_certificates(product: SnpProduct) -> None:
    amd = Amd(product)
    for level in levels_of(product):
        body = amd.attest(reported_tcb=tcb_version(product, **{level: 99}))
        error = refuse(body, 8, f"the report states .*{level} 99", roots=amd.roots)
        assert isinstance(error, EvidenceError)
        body = amd.body(vcek=amd.vcek(extensions=amd.extensions(**{level: 99})))
        refuse(body, 8, f"its certificate is for .*{level} 99", roots=amd.roots)


@pytest.mark.parametrize("product", ["genoa", "turin"])
@pytest.mark.parametrize("name", ["certified", "current", "committed", "launch"])
def test_each_level_has_a_floor(product: SnpProduct, name: str) -> None:
    amd = Amd(product)
    floor = SnpTcb(bootloader=3, tee=3, snp=3, microcode=3, fmc=3 if product == "turin" else 0)
    table = SnpTable(minimum_tcb={product: floor})
    enough = dict.fromkeys(levels_of(product), 3)
    at = tcb_version(product, **enough)
    fields = ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb")
    good = dict.fromkeys(fields, at)
    vcek = amd.vcek(extensions=amd.extensions(**enough))
    check(amd.body(amd.report(**good), vcek=vcek), table=table, roots=amd.roots)
    for level in levels_of(product):
        low = enough | {level: 2}
        field = "reported_tcb" if name == "certified" else f"{name}_tcb"
        report = amd.report(**good | {field: tcb_version(product, **low)})
        leaf = amd.vcek(extensions=amd.extensions(**low)) if name == "certified" else vcek
        why = f"the {name} level of {level} is 2, below 3"
        error = refuse(amd.body(report, vcek=leaf), 8, why, table=table, roots=amd.roots)
        assert isinstance(error, PolicyError)


def test_a_product_without_a_floor_is_refused(amd: Amd) -> None:
    table = SnpTable(minimum_tcb={"turin": SnpTcb()})
    error = refuse(amd.attest(), 8, "minimum_tcb has no entry for genoa", table=table, roots=amd.roots)
    assert isinstance(error, PolicyError)


def test_a_floor_of_fmc_is_met_by_turin_only(amd: Amd) -> None:
    table = SnpTable(minimum_tcb={"genoa": SnpTcb(fmc=1), "turin": SnpTcb(fmc=1)})
    refuse(amd.attest(), 8, "the certified level of fmc is 0, below 1", table=table, roots=amd.roots)
    turin = Amd("turin")
    check(turin.attest(), table=table, roots=turin.roots)


def test_octets_that_a_product_reserves_in_a_level_are_refused() -> None:
    for product, reserved in (("genoa", (2, 3, 4, 5)), ("turin", (4, 5, 6))):
        amd = Amd(product)
        for field in ("reported_tcb", "current_tcb", "committed_tcb", "launch_tcb"):
            for at in reserved:
                octets = bytearray(tcb_version(product))
                octets[at] = 1
                body = amd.attest(**{field: bytes(octets)})
                refuse(body, 8, f"{field} has octets set that {product} reserves", roots=amd.roots)


def test_a_level_written_as_another_product_does_is_refused() -> None:
    amd = Amd("turin")
    why = "reported_tcb has octets set that turin reserves"
    refuse(amd.attest(reported_tcb=tcb_version("genoa")), 8, why, roots=amd.roots)


def test_a_level_of_the_certificate_has_to_be_one_der_integer(amd: Amd) -> None:
    good = amd.extensions()
    for value in (
        b"",
        b"\x02\x00",
        b"\x02\x02\x00\x0a",  # not the shortest
        b"\x02\x01\x8a",  # negative
        b"\x02\x02\x01\x00",  # 256
        b"\x02\x01\x0a\x00",
        b"\x04\x01\x0a",
        b"\x02\x02\x0a",
    ):
        body = amd.body(vcek=amd.vcek(extensions=good | {"3.1": value}))
        refuse(body, 8, "the certificate states no level of bootloader from 0 to 255", roots=amd.roots)
    for number, level in (("3.1", "bootloader"), ("3.2", "tee"), ("3.3", "snp"), ("3.8", "microcode")):
        without = {key: value for key, value in good.items() if key != number}
        body = amd.body(vcek=amd.vcek(extensions=without))
        refuse(body, 8, f"the certificate states no level of {level} from 0 to 255", roots=amd.roots)
    body = amd.body(vcek=amd.vcek(extensions=good | {"3.5": integer(1)}))
    refuse(body, 8, "the certificate states a level that is reserved", roots=amd.roots)
    body = amd.body(vcek=amd.vcek(extensions=good | {"3.9": integer(0)}))
    refuse(body, 8, "the certificate states a level of fmc, which genoa has not", roots=amd.roots)


def test_levels_from_0_to_255_are_read(amd: Amd) -> None:
    for value in (0, 1, 127, 128, 255):
        tcb = tcb_version("genoa", microcode=value)
        report = amd.report(reported_tcb=tcb, current_tcb=tcb, committed_tcb=tcb, launch_tcb=tcb)
        body = amd.body(report, vcek=amd.vcek(extensions=amd.extensions(microcode=value)))
        assert check(body, roots=amd.roots).firmware == f"bootloader 10, tee 1, snp 23, microcode {value}"


def test_provisional_firmware_is_refused(amd: Amd) -> None:
    for at in range(3):
        version = bytearray([31, 55, 1])
        version[at] += 1
        why = "SEV firmware .* is provisional: committed is 1.55.31"
        body = amd.attest(current_version=bytes(version))
        assert isinstance(refuse(body, 8, why, roots=amd.roots), PolicyError)
        refuse(amd.attest(committed_version=bytes(version)), 8, "firmware 1.55.31 is provisional", roots=amd.roots)


# Step 9


def test_debugging_and_migration_are_refused_under_every_policy(amd: Amd) -> None:
    for bit, why in ((19, "allows debugging"), (18, "allows a migration agent")):
        error = refuse(amd.attest(policy=POLICY | 1 << bit), 9, why, roots=amd.roots)
        assert isinstance(error, PolicyError)


@pytest.mark.usefixtures("kept_chains")
def test_bits_that_nobody_knows_are_refused(amd: Amd) -> None:
    vcek, crls = amd.vcek(), (amd.crl(),)

    def body(**others: int) -> bytes:
        return amd.body(amd.report(**others), vcek=vcek, crls=crls)

    for bit in range(26, 64):
        refuse(body(policy=POLICY | 1 << bit), 9, "guest policy has bits set that are not known", roots=amd.roots)
    for bit in range(8, 64):
        refuse(body(platform_info=1 << bit), 9, "platform_info has bits set that are not known", roots=amd.roots)
    refuse(body(policy=POLICY & ~(1 << 17)), 9, "bit 17 of the guest policy has to be one", roots=amd.roots)
    for bit in (*range(16), 16, 20, 21, 22, 23, 24, 25):
        check(body(policy=POLICY | 1 << bit), roots=amd.roots)
    for bit in range(8):
        check(body(platform_info=1 << bit), roots=amd.roots)


SETTINGS: Final = [
    ("smt", "policy", 16),
    ("smt", "platform_info", 0),
    ("single_socket", "policy", 20),
    ("cxl", "policy", 21),
    ("aes_256_xts", "policy", 22),
    ("rapl_disabled", "policy", 23),
    ("rapl_disabled", "platform_info", 3),
    ("ciphertext_hiding", "policy", 24),
    ("ciphertext_hiding", "platform_info", 4),
    ("alias_check_complete", "platform_info", 5),
]


@pytest.mark.parametrize(("name", "field", "bit"), SETTINGS)
def test_each_setting_can_be_required_allowed_and_forbidden(amd: Amd, name: str, field: str, bit: int) -> None:
    everything = {"policy": POLICY | 0x1F7 << 16 & ~(0b1100 << 16), "platform_info": 0xFF}
    nothing = {"policy": 1 << 17, "platform_info": 0}
    vcek, crls = amd.vcek(), (amd.crl(),)
    place = "guest policy" if field == "policy" else "platform"

    def body(fields: Mapping[str, int]) -> bytes:
        return amd.body(amd.report(**fields), vcek=vcek, crls=crls)

    def table(wanted: Bit) -> SnpTable:
        return SnpTable(minimum_tcb=FLOORS, **{"cxl": Bit.ALLOW, name: wanted})  # type: ignore[arg-type]

    without = body(everything | {field: everything[field] & ~(1 << bit)})
    alone = body(nothing | {field: nothing[field] | 1 << bit})
    check(body(everything), table=table(Bit.REQUIRE), roots=amd.roots)
    check(body(nothing), table=table(Bit.FORBID), roots=amd.roots)
    for each in (without, alone):
        check(each, table=table(Bit.ALLOW), roots=amd.roots)
    for each, wanted, why in (
        (without, Bit.REQUIRE, f"{name} is required, and the {place} is without it"),
        (alone, Bit.FORBID, f"{name} is forbidden, and the {place} is with it"),
    ):
        assert isinstance(refuse(each, 9, why, table=table(wanted), roots=amd.roots), PolicyError)


def test_every_setting_of_a_table_is_judged() -> None:
    bits = {name for name in SnpTable.__struct_fields__ if isinstance(getattr(SnpTable(minimum_tcb={}), name), Bit)}
    assert set(snp.SETTINGS) == {name for name, _, _ in SETTINGS} == bits


# Step 10


def test_another_vmpl_is_refused(amd: Amd) -> None:
    for vmpl in (1, 3, 4, 1 << 24):
        body = amd.attest(vmpl=vmpl)
        assert isinstance(refuse(body, 10, f"at VMPL {vmpl}, not 0", roots=amd.roots), PolicyError)
    table = SnpTable(minimum_tcb=FLOORS, vmpl=2)
    check(amd.attest(vmpl=2), table=table, roots=amd.roots)
    refuse(amd.attest(vmpl=0), 10, "at VMPL 0, not 2", table=table, roots=amd.roots)


def test_a_guest_of_too_low_a_version_is_refused(amd: Amd) -> None:
    table = SnpTable(minimum_tcb=FLOORS, minimum_guest_svn=7)
    check(amd.attest(guest_svn=7), table=table, roots=amd.roots)
    check(amd.attest(guest_svn=(1 << 32) - 1), table=table, roots=amd.roots)
    error = refuse(amd.attest(guest_svn=6), 10, "security version is 6, below 7", table=table, roots=amd.roots)
    assert isinstance(error, PolicyError)


# Hostile octets


@pytest.mark.usefixtures("kept_chains")
def test_four_thousand_mutated_reports_that_are_signed_raise_only_our_errors(amd: Amd) -> None:
    """Signed anew, so that what is behind the signature is reached too; anything else that is raised fails the test."""
    generator = random.Random(1)
    vcek, crls = amd.vcek(), (amd.crl(),)
    steps = set()
    for _ in range(4000):
        octets = bytearray(amd.unsigned_report(generator.randrange(2, 6)))
        for _ in range(generator.randrange(1, 4)):
            octets[generator.randrange(len(octets))] = generator.randrange(256)
        try:
            check(amd.body(sign(bytes(octets)), vcek=vcek, crls=crls), roots=amd.roots)
        except VerificationError as exc:
            steps.add(exc.step)
    assert steps == {1, 6, 7, 8, 9, 10}


def test_four_hundred_mutated_certificates_that_are_signed_raise_only_our_errors(amd: Amd) -> None:
    generator = random.Random(1)
    good, report, crls = amd.extensions(), amd.report(), (amd.crl(),)
    steps = set()
    for _ in range(400):
        changed = dict(good)
        name = generator.choice(list(changed))
        changed[name] = generator.randbytes(generator.randrange(6))
        try:
            check(amd.body(report, vcek=amd.vcek(extensions=changed), crls=crls), roots=amd.roots)
        except VerificationError as exc:
            steps.add(exc.step)
    assert steps == {7, 8}


def test_a_certificate_whose_extensions_do_not_parse_is_refused_as_such(amd: Amd) -> None:
    """The same extension twice, spoilt after the fact: it fails where it is first looked at."""
    vcek = amd.vcek()
    fmc, tee = bytes.fromhex("2b060104019c780103"), b"\x02"
    assert vcek.count(fmc + b"\x01") == 1
    twice = vcek.replace(fmc + b"\x01", fmc + tee)
    load_certificate(twice, "VCEK")
    refuse(amd.body(vcek=twice), 2, "extensions that are not well formed", roots=amd.roots)


def test_a_report_holds_what_it_states(amd: Amd) -> None:
    report = parse_report(amd.report(5, host_data=b"h" * 32, key_info=3))
    assert isinstance(report, Report)
    assert (report.host_data, report.mask_chip_key, report.signing_key) == (b"h" * 32, True, 0)
    assert (report.current_version, report.mitigations) == ((1, 55, 31), (1, 3))
