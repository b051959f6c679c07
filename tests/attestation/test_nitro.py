"""AWS Nitro: genuine documents at their time, every octet of them, and each rule broken alone by a module of tests."""

import functools
import hashlib
import os
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from seclude.attestation import nitro, p384
from seclude.attestation.accept import NitroTable
from seclude.attestation.cbor import Key, Value, serialize_item
from seclude.attestation.certificates import load_certificate, verify_chain
from seclude.attestation.evidence import TrustedReport
from seclude.attestation.steps import Steps
from seclude.errors import EvidenceError, PolicyError, VerificationError
from tests.attestation.nitro_signer import LINKS, NOW, THREE_HOURS, Link, Module, change, sign_raw

VALID_AT: Final = 1_665_651_482  # the timestamps of the two documents, in whole seconds
DEBUG_AT: Final = 1_665_582_606
P384_ORDER: Final = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16
)
ANY = NitroTable()


@pytest.fixture(scope="module")
def samples() -> Path:
    root = os.environ.get("SECLUDE_VECTORS")
    if not root:
        pytest.skip("SECLUDE_VECTORS is not set")
    return Path(root) / "nitro"


@pytest.fixture(scope="module")
def valid(samples: Path) -> bytes:
    return (samples / "evervault-valid.cbor").read_bytes()


@pytest.fixture(scope="module")
def debug(samples: Path) -> bytes:
    return (samples / "evervault-debug.cbor").read_bytes()


@pytest.fixture(scope="module")
def module() -> Module:
    return Module()


@pytest.fixture
def kept_chains(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Verify the same chain at the same time once, since thousands of documents differ elsewhere."""

    @functools.cache
    def verify(ders: tuple[bytes, ...], roots: tuple[tuple[bytes, str], ...], now: float, name: str) -> object:
        return verify_chain(ders, dict(roots), now, name=name)

    monkeypatch.setattr(
        p384, "verify_chain", lambda ders, roots, now, *, name: verify(ders, tuple(roots.items()), now, name)
    )
    return iter([None])


def check(
    body: bytes, now: float = NOW, table: NitroTable = ANY, roots: Mapping[bytes, str] = nitro.ROOTS
) -> TrustedReport:
    return nitro.verify(body, table, now, Steps(nitro.TITLES), roots=roots)


def refuse(
    body: bytes,
    step: int,
    why: str,
    now: float = NOW,
    table: NitroTable = ANY,
    roots: Mapping[bytes, str] = nitro.ROOTS,
) -> VerificationError:
    """Expect that exactly this step fails, and with these words."""
    with pytest.raises(VerificationError, match=why) as caught:
        check(body, now, table, roots)
    assert caught.value.step == step
    return caught.value


def test_the_pinned_root_is_the_file_of_aws(samples: Path) -> None:
    root = x509.load_pem_x509_certificate((samples / "aws-nitro-root-g1.pem").read_bytes())
    assert list(nitro.ROOTS) == [hashlib.sha256(root.public_bytes(Encoding.DER)).digest()]


def test_steps_have_the_same_numbers_everywhere() -> None:
    assert list(nitro.TITLES) == list(nitro.STAGES) == list(range(1, 8))
    assert all(f"\n {number}. " in str(nitro.__doc__) for number in nitro.TITLES)


def test_a_genuine_document_passes_all_steps_but_that_of_what_our_workers_bind(valid: bytes) -> None:
    steps = Steps(nitro.TITLES)
    with pytest.raises(EvidenceError, match="binds a nonce too") as caught:
        nitro.verify(valid, ANY, VALID_AT, steps)
    assert caught.value.step == 7
    assert [step.number for step in steps.passed] == [1, 2, 3, 4, 5, 6]
    found = [step.found for step in steps.passed]
    assert found[3] == "module i-020b6af9246d90e92-enc0183d09086c24190"
    claims = nitro.parse_claims(nitro.parse_body(valid).payload)
    assert claims.timestamp == VALID_AT * 1000 + 136
    assert len(claims.nonce or b"") == 256
    image = [claims.pcrs[index] for index in range(3)]
    assert [pcr.hex()[:8] for pcr in image] == ["f4d48b81", "bcdf05fe", "d8f114da"]
    assert claims.measurement == hashlib.sha384(b"".join(image)).digest()


def test_a_genuine_document_of_a_debug_enclave_is_refused_for_that(debug: bytes) -> None:
    assert isinstance(refuse(debug, 5, "PCR0 is zero: the enclave runs in debug mode", DEBUG_AT), PolicyError)


@pytest.mark.parametrize(("name", "time"), [("valid", VALID_AT), ("debug", DEBUG_AT)])
def test_a_genuine_document_counts_while_its_leaf_is_valid_and_not_one_second_more(
    samples: Path, name: str, time: int
) -> None:
    body = (samples / f"evervault-{name}.cbor").read_bytes()
    claims = nitro.parse_claims(nitro.parse_body(body).payload)
    leaf = load_certificate(claims.certificate, "leaf")
    start, end = (int(edge.timestamp()) for edge in (leaf.not_valid_before_utc, leaf.not_valid_after_utc))
    assert start <= time < end == start + THREE_HOURS + 3
    through = 7 if name == "valid" else 5
    refuse(body, through, "nonce|debug", start)
    refuse(body, through, "nonce|debug", end - 0.001)
    refuse(body, 3, "certificate 0 of the Nitro chain is valid from", start - 0.001)
    refuse(body, 3, "certificate 0 of the Nitro chain is valid from", end)
    refuse(body, 3, "certificate 0 of the Nitro chain is valid from", NOW)


@pytest.mark.usefixtures("kept_chains")
@pytest.mark.parametrize(("name", "time"), [("valid", VALID_AT), ("debug", DEBUG_AT)])
def test_every_flipped_octet_of_a_genuine_document_is_refused(samples: Path, name: str, time: int) -> None:
    """At the signature or before it, so no octet goes unsigned."""
    body = (samples / f"evervault-{name}.cbor").read_bytes()
    for at in range(len(body)):
        flipped = body[:at] + bytes([body[at] ^ 1 << at % 8]) + body[at + 1 :]
        with pytest.raises(EvidenceError) as caught:
            check(flipped, time)
        assert 1 <= caught.value.step <= 4, at


def test_every_truncation_of_a_genuine_document_is_refused(valid: bytes) -> None:
    for cut in range(len(valid)):
        with pytest.raises(EvidenceError) as caught:
            check(valid[:cut], VALID_AT)
        assert caught.value.step == 1, cut
    refuse(valid + b"\0", 1, "1 trailing octets after COSE_Sign1", VALID_AT)


def test_a_body_is_written_as_aws_writes_it(valid: bytes, debug: bytes) -> None:
    for body in (valid, debug):
        assert nitro.serialize_body(nitro.parse_body(body)) == body


def test_what_is_not_signed_is_what_the_module_says_and_no_more(valid: bytes) -> None:
    evidence = nitro.parse_body(valid)
    refuse(b"\xd2" + valid, 7, "nonce", VALID_AT)
    refuse(b"\xd2\xd2" + valid, 1, "has a tag", VALID_AT)
    refuse(b"\xd1" + valid, 1, "has a tag", VALID_AT)
    r, s = evidence.signature[:48], int.from_bytes(evidence.signature[48:])
    twin = nitro.NitroEvidence(evidence.payload, r + (P384_ORDER - s).to_bytes(48))
    refuse(nitro.serialize_body(twin), 7, "nonce", VALID_AT)


def test_an_accepted_document_says_what_its_claims_say(module: Module) -> None:
    report = check(module.attest(), roots=module.roots)
    pcrs = b"".join(bytes([index + 1]) * 48 for index in range(3))
    assert report == TrustedReport(
        format="nitro",
        measurement=hashlib.sha384(pcrs).digest(),
        bound=bytes(range(64)),
        platform_id=hashlib.sha256(b"i-0123456789abcdef0").digest(),
        firmware="Nitro hypervisor, no level stated",
        expires_at=NOW + THREE_HOURS,
        issued_at=NOW,
    )


def test_enclaves_of_one_instance_have_one_platform_and_those_of_another_have_not(module: Module) -> None:
    one, same, other = (
        check(module.attest(module_id=name), roots=module.roots).platform_id
        for name in ("i-1-enc1", "i-1-enc2", "i-2-enc1")
    )
    assert one == same != other


PROTECTED = bytes.fromhex("a1013822")
MESSAGES: list[tuple[Value, str]] = [
    ({}, "COSE_Sign1 is not an array"),
    ((), "COSE_Sign1 has 0 entries, not 4"),
    ((PROTECTED, {}, b""), "COSE_Sign1 has 3 entries, not 4"),
    ((PROTECTED, {}, b"", bytes(96), b""), "COSE_Sign1 has 5 entries, not 4"),
    ((b"", {}, b"", bytes(96)), "protected header is not exactly"),
    ((bytes.fromhex("a1013826"), {}, b"", bytes(96)), "protected header is not exactly"),  # -39: PS512
    ((bytes.fromhex("a201382204f6"), {}, b"", bytes(96)), "protected header is not exactly"),  # with a key identifier
    (({1: -35}, {}, b"", bytes(96)), "protected header is not exactly"),
    ((PROTECTED, {4: b"key"}, b"", bytes(96)), "unprotected header is not empty"),
    ((PROTECTED, b"", b"", bytes(96)), "unprotected header is not a map"),
    ((PROTECTED, {}, None, bytes(96)), "payload is not octets"),
    ((PROTECTED, {}, b"", None), "signature is not octets"),
    ((PROTECTED, {}, b"", bytes(95)), "signature has 95 octets, not 96"),
    ((PROTECTED, {}, b"", bytes(97)), "signature has 97 octets, not 96"),
]


@pytest.mark.parametrize(("message", "why"), MESSAGES)
def test_a_message_of_another_form_is_refused(message: Value, why: str) -> None:
    refuse(serialize_item(message), 1, why)


def test_what_is_signed_is_the_whole_structure_of_cose_and_no_other(module: Module) -> None:
    payload = serialize_item(module.claims())

    def sign_over(*structure: Value) -> bytes:
        return nitro.serialize_body(nitro.NitroEvidence(payload, sign_raw(module.key, serialize_item(structure))))

    check(sign_over("Signature1", PROTECTED, b"", payload), roots=module.roots)
    for structure in (
        ("Signature", PROTECTED, b"", payload),
        ("Signature1", b"", b"", payload),
        ("Signature1", PROTECTED, b"x", payload),
        ("Signature1", PROTECTED, payload),
    ):
        refuse(sign_over(*structure), 4, "not signed by the key of its certificate", roots=module.roots)
    bare = nitro.NitroEvidence(payload, sign_raw(module.key, payload))
    refuse(nitro.serialize_body(bare), 4, "not signed by the key of its certificate", roots=module.roots)


def pcrs(**others: Value) -> Value:
    """Return good PCRs with others in their place: `p5=...`; `...=None` leaves one out."""
    values: dict[Key, Value] = {index: bytes([index + 1]) * 48 for index in range(5)}
    values |= {int(name[1:]): value for name, value in others.items()}
    return {index: value for index, value in values.items() if value is not None}


CLAIMS: list[tuple[dict[str, Value], str]] = [
    ({"module_id": ""}, "module_id is empty"),
    ({"module_id": b"i-1"}, "module_id is not text"),
    ({"module_id": "i-1\x1b[2J"}, "module_id is not printable ASCII"),
    ({"module_id": "i-\u00e9"}, "module_id is not printable ASCII"),
    ({"digest": "SHA256"}, "digest is not SHA384"),
    ({"digest": b"SHA384"}, "digest is not SHA384"),
    ({"timestamp": 0}, "timestamp is not above 0"),
    ({"timestamp": -1}, "timestamp is not above 0"),
    ({"timestamp": "1"}, "timestamp is not an integer"),
    ({"pcrs": {}}, "pcrs is empty"),
    ({"pcrs": ()}, "pcrs is not a map"),
    ({"pcrs": pcrs(p32=bytes(48))}, "index of a PCR is not a number of 0 to 31"),
    ({"pcrs": {**dict.fromkeys(range(3), bytes(48)), -1: bytes(48)}}, "index of a PCR is not a number of 0 to 31"),
    ({"pcrs": {**dict.fromkeys(range(3), bytes(48)), "3": bytes(48)}}, "index of a PCR is not a number of 0 to 31"),
    ({"pcrs": dict.fromkeys(range(33), bytes(48))}, "33 entries, limit 32"),
    ({"pcrs": pcrs(p5=b"")}, "PCR5 has 0 octets, not 32, 48 or 64"),
    ({"pcrs": pcrs(p5=bytes(31))}, "PCR5 has 31 octets, not 32, 48 or 64"),
    ({"pcrs": pcrs(p5=bytes(49))}, "PCR5 has 49 octets, not 32, 48 or 64"),
    ({"pcrs": pcrs(p5="0" * 48)}, "PCR5 is not octets"),
    ({"pcrs": pcrs(p0=None)}, "PCR0 is not there with the 48 octets"),
    ({"pcrs": pcrs(p1=b"1" * 32)}, "PCR1 is not there with the 48 octets"),
    ({"pcrs": pcrs(p2=b"1" * 64)}, "PCR2 is not there with the 48 octets"),
    ({"certificate": b""}, "certificate has 0 octets, not 1 to 1024"),
    ({"certificate": bytes(1025)}, "certificate has 1025 octets, not 1 to 1024"),
    ({"certificate": None}, "certificate is not octets"),
    ({"cabundle": ()}, "cabundle is empty"),
    ({"cabundle": None}, "cabundle is not an array"),
    ({"cabundle": (b"1", b"")}, "certificate 1 of cabundle has 0 octets, not 1 to 1024"),
    ({"cabundle": (bytes(1025),)}, "certificate 0 of cabundle has 1025 octets, not 1 to 1024"),
    ({"cabundle": ("1",)}, "certificate 0 of cabundle is not octets"),
    ({"public_key": b""}, "public_key has 0 octets, not 1 to 1024"),
    ({"public_key": bytes(1025)}, "public_key has 1025 octets, not 1 to 1024"),
    ({"user_data": bytes(513)}, "user_data has 513 octets, not 0 to 512"),
    ({"user_data": "text"}, "user_data is not octets"),
    ({"nonce": bytes(513)}, "nonce has 513 octets, not 0 to 512"),
    ({"nonce": 1}, "nonce is not octets"),
    ({"other": None}, "1 claims that are not specified"),
    ({"Nonce": None, "user": 1}, "2 claims that are not specified"),
]


@pytest.mark.parametrize(("others", "why"), CLAIMS)
def test_claims_that_break_a_rule_of_aws_are_refused_though_signed(
    module: Module, others: dict[str, Value], why: str
) -> None:
    assert isinstance(refuse(module.attest(**others), 2, why, roots=module.roots), EvidenceError)


@pytest.mark.parametrize("name", sorted(nitro.REQUIRED))
def test_a_claim_that_is_missing_is_refused_though_signed(module: Module, name: str) -> None:
    claims = {key: value for key, value in module.claims().items() if key != name}
    refuse(module.sign(serialize_item(claims)), 2, f"the document has no {name}$", roots=module.roots)


def test_claims_that_are_not_strict_cbor_are_refused_though_signed(module: Module) -> None:
    good = serialize_item(module.claims())
    twice = bytes([good[0] + 1]) + good[1:] + serialize_item("nonce") + serialize_item(None)
    for payload, why in (
        (b"\xbf" + good[1:] + b"\xff", "indefinite length"),
        (twice, "key 9 of document is there twice"),
        (good + b"\0", "1 trailing octets after document"),
        (b"\xc0" + good, "document has a tag"),
        (good.replace(b"\x66SHA384", b"\x78\x06SHA384"), "not the shortest"),
        (serialize_item(b""), "document is not a map"),
        (b"", "truncated in document"),
    ):
        refuse(module.sign(payload), 2, why, roots=module.roots)


def test_claims_at_the_limits_of_aws_are_read(module: Module) -> None:
    edge = pcrs(p5=bytes(32), p6=bytes(64), p31=bytes(48))
    check(module.attest(pcrs=edge, timestamp=(1 << 64) - 1, module_id="i"), roots=module.roots)
    claims = module.claims(public_key=bytes(1024), user_data=bytes(512), nonce=bytes(512))
    parsed = nitro.parse_claims(serialize_item(claims))
    assert [len(value or b"") for value in (parsed.public_key, parsed.user_data, parsed.nonce)] == [1024, 512, 512]
    assert nitro.parse_claims(serialize_item(module.claims(user_data=b"", public_key=b"1"))).user_data == b""
    short = {key: value for key, value in module.claims().items() if key not in ("public_key", "nonce")}
    check(module.sign(serialize_item(short)), roots=module.roots)


CHAINS: list[tuple[tuple[Link, ...], str]] = [
    (change(LINKS, 3, ca=True), "certificate 0 of the Nitro chain is that of a CA"),
    (change(LINKS, 3, signs=True), "certificate 0 of the Nitro chain is that of a CA"),
    (change(LINKS, 2, ca=False, path_length=None, signs=False), "certificate 1 of the Nitro chain may sign no"),
    (change(LINKS, 2, signs=False), "certificate 1 of the Nitro chain may sign no"),
    (change(LINKS, 1, path_length=0), "certificate 2 of the Nitro chain allows 0 certificates of CAs below it"),
    (change(LINKS, 3, digest=hashes.SHA256()), "certificate 0 of the Nitro chain is not signed with ECDSA and SHA-384"),
    (change(LINKS, 1, digest=hashes.SHA256()), "certificate 2 of the Nitro chain is not signed with ECDSA and SHA-384"),
    (change(LINKS, 3, curve=ec.SECP256R1()), "certificate 0 of the Nitro chain has a key that is not of P-384"),
    (change(LINKS, 1, curve=ec.SECP521R1()), "certificate 2 of the Nitro chain has a key that is not of P-384"),
    (change(LINKS, 3, unreadable_key=True), "certificate 0 of the Nitro chain has a key that cannot be read"),
    (change(LINKS, 3, end=NOW), "certificate 0 of the Nitro chain is valid from"),
    (change(LINKS, 3, start=NOW + 1), "certificate 0 of the Nitro chain is valid from"),
    (change(LINKS, 2, end=NOW), "certificate 1 of the Nitro chain is valid from"),
    (change(LINKS, 0, end=NOW), "certificate 3 of the Nitro chain is valid from"),
]


@pytest.mark.parametrize(("links", "why"), CHAINS)
def test_a_chain_with_one_fault_is_refused(links: tuple[Link, ...], why: str) -> None:
    module = Module(links)
    payload = serialize_item(module.claims())
    body = nitro.serialize_body(nitro.NitroEvidence(payload, bytes(96)))  # the chain is judged before the signature
    refuse(body, 3, why, roots=module.roots)


def test_a_chain_under_another_root_is_refused(module: Module) -> None:
    refuse(module.attest(), 3, "does not end at a pinned root")
    other = Module()
    claims = module.claims(certificate=other.chain[0])
    refuse(module.sign(serialize_item(claims)), 3, "certificate 0 of the Nitro chain is not signed", roots=module.roots)


def test_a_chain_in_another_order_or_length_is_refused(module: Module) -> None:
    leaf, *issuers = module.chain
    bundles: list[tuple[tuple[bytes, ...], str]] = [
        (tuple(issuers), "does not end at a pinned root"),
        (tuple(reversed(issuers[1:])), "certificate 0 of the Nitro chain is not signed by the next"),
        ((*reversed(issuers), leaf), "certificate 1 of the Nitro chain may sign no|is not signed by the next"),
        ((issuers[-1],) * 8, "has 9 certificates, not 2 to 8"),
    ]
    for bundle, why in bundles:
        refuse(module.attest(cabundle=bundle), 3, why, roots=module.roots)


def test_a_certificate_that_is_none_is_refused(module: Module) -> None:
    refuse(module.attest(certificate=b"\x30\x00"), 3, "is not a certificate", roots=module.roots)
    refuse(module.attest(certificate=module.chain[0] + b"\0"), 3, "is not a certificate", roots=module.roots)


def test_a_signature_of_another_key_or_of_no_number_is_refused(module: Module) -> None:
    payload = serialize_item(module.claims())
    other = Module().sign(payload)
    bodies = [other, *(nitro.serialize_body(nitro.NitroEvidence(payload, octet * 96)) for octet in (b"\0", b"\xff"))]
    for body in bodies:
        refuse(body, 4, "not signed by the key of its certificate", roots=module.roots)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_one_zero_register_of_the_image_means_debug(module: Module, index: int) -> None:
    body = module.attest(pcrs=pcrs(**{f"p{index}": bytes(48)}))
    assert isinstance(refuse(body, 5, f"PCR{index} is zero", roots=module.roots), PolicyError)


def test_a_policy_may_name_parents_and_signers(module: Module) -> None:
    parent, signer = (b"\5" * 48).hex(), (b"\x09" * 48).hex()
    body = module.attest()
    check(body, table=NitroTable(parents=("00" * 48, parent), signers=(signer,)), roots=module.roots)
    refused = [
        (body, NitroTable(parents=(signer,)), "PCR4 is of a parent instance that is not accepted: 0505"),
        (body, NitroTable(signers=(parent,)), "PCR8 is of an image signer that is not accepted: 0909"),
        (module.attest(pcrs=pcrs()), NitroTable(signers=(signer,)), "has no PCR8, of an image signer"),
        (module.attest(pcrs=pcrs(p4=None)), NitroTable(parents=(parent,)), "has no PCR4, of a parent"),
    ]
    for body, table, why in refused:
        assert isinstance(refuse(body, 6, why, table=table, roots=module.roots), PolicyError)


BOUND: list[tuple[dict[str, Value], str]] = [
    ({"user_data": None}, "the document binds no user_data"),
    ({"user_data": b""}, "the document binds 0 octets, not 64"),
    ({"user_data": bytes(63)}, "the document binds 63 octets, not 64"),
    ({"user_data": bytes(65)}, "the document binds 65 octets, not 64"),
    ({"public_key": b"key"}, "the document binds a public_key too"),
    ({"nonce": bytes(32)}, "the document binds a nonce too"),
    ({"nonce": b""}, "the document binds a nonce too"),
]


@pytest.mark.parametrize(("others", "why"), BOUND)
def test_what_binds_anything_but_64_octets_fails_at_the_last_step(
    module: Module, others: dict[str, Value], why: str
) -> None:
    refuse(module.attest(**others), 7, why, roots=module.roots)


@pytest.mark.usefixtures("kept_chains")
def test_four_thousand_mutated_payloads_that_are_signed_raise_only_our_errors(module: Module) -> None:
    """Signed anew, so that what is behind the signature is reached too; anything else that is raised fails the test."""
    generator = random.Random(1)
    good = serialize_item(module.claims())
    steps = set()
    for _ in range(4000):
        payload = bytearray(good)
        for _ in range(generator.randint(1, 3)):
            payload[generator.randrange(len(payload))] = generator.randrange(256)
        try:
            check(module.sign(bytes(payload)), roots=module.roots)
        except (EvidenceError, PolicyError) as exc:
            steps.add(exc.step)
        else:
            steps.add(8)
    assert steps >= {2, 3, 8}
