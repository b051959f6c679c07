"""NVIDIA: the report of an H100, every octet of it, and each rule broken alone by a GPU of tests."""

import functools
import hashlib
import os
import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from seclude.attestation import nvidia, p384
from seclude.attestation.accept import NvidiaTable
from seclude.attestation.certificates import MAX_CERTIFICATE, verify_chain
from seclude.attestation.evidence import TrustedReport
from seclude.attestation.nvidia import NvidiaEvidence, parse_body, serialize_body
from seclude.attestation.steps import Steps
from seclude.errors import EvidenceError
from tests.attestation.nitro_signer import LINKS, NOW, THREE_HOURS, Link, change
from tests.attestation.nvidia_signer import GPU, NONCE, OPAQUE, RECORD, REQUEST, block, respond

YEAR_9999: Final = 253_402_300_799  # 9999-12-31 23:59:59 UTC, the end of every certificate of the sample
SINCE: Final = 1_646_092_800  # 2022-03-01, the latest of their beginnings
P384_ORDER: Final = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16
)


@pytest.fixture(scope="module")
def samples() -> Path:
    root = os.environ.get("SECLUDE_VECTORS")
    if not root:
        pytest.skip("SECLUDE_VECTORS is not set")
    return Path(root) / "nvidia"


@pytest.fixture(scope="module")
def chain(samples: Path) -> tuple[bytes, ...]:
    """The chain of the samples: the file has the leaf first and the root last."""
    text = (samples / "hopperCertChain.txt").read_text()
    pems = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
    return tuple(x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER) for pem in pems)


@pytest.fixture(scope="module")
def report(samples: Path) -> bytes:
    return bytes.fromhex((samples / "hopperAttestationReport.txt").read_text())


@pytest.fixture(scope="module")
def body(report: bytes, chain: tuple[bytes, ...]) -> bytes:
    return serialize_body(NvidiaEvidence(report, chain))


@pytest.fixture(scope="module")
def gpu() -> GPU:
    return GPU()


@pytest.fixture
def kept_chains(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Verify the same chain at the same time once, since thousands of bodies differ elsewhere."""

    @functools.cache
    def verify(ders: tuple[bytes, ...], roots: tuple[tuple[bytes, str], ...], now: float, name: str) -> object:
        return verify_chain(ders, dict(roots), now, name=name)

    monkeypatch.setattr(
        p384, "verify_chain", lambda ders, roots, now, *, name: verify(ders, tuple(roots.items()), now, name)
    )
    return iter([None])


def check(body: bytes, now: float = NOW, roots: Mapping[bytes, str] = nvidia.ROOTS) -> TrustedReport:
    return nvidia.verify(body, NvidiaTable(), now, Steps(nvidia.TITLES), roots=roots)


def refuse(body: bytes, step: int, why: str, now: float = NOW, roots: Mapping[bytes, str] = nvidia.ROOTS) -> None:
    """Expect that exactly this step fails, and with these words."""
    with pytest.raises(EvidenceError, match=why) as caught:
        check(body, now, roots)
    assert caught.value.step == step


def test_the_pinned_root_is_the_file_of_nvidia(samples: Path, chain: tuple[bytes, ...]) -> None:
    root = x509.load_pem_x509_certificate((samples / "verifier_device_root.pem").read_bytes())
    assert root.public_bytes(Encoding.DER) == chain[-1]
    assert list(nvidia.ROOTS) == [hashlib.sha256(chain[-1]).digest()]


def test_steps_have_the_same_numbers_everywhere() -> None:
    assert list(nvidia.TITLES) == list(nvidia.STAGES) == list(range(1, 5))
    assert all(f"\n {number}. " in str(nvidia.__doc__) for number in nvidia.TITLES)


def test_the_report_of_an_h100_is_genuine(body: bytes, report: bytes, chain: tuple[bytes, ...]) -> None:
    steps = Steps(nvidia.TITLES)
    found = nvidia.verify(body, NvidiaTable(), NOW, steps)
    key = x509.load_der_x509_certificate(chain[0]).public_key()
    assert found == TrustedReport(
        format="nvidia",
        measurement=hashlib.sha384(report[45 : 45 + 3520]).digest(),
        bound=report[4:36],
        platform_id=hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest(),
        firmware="GPU firmware and driver, not judged",
        expires_at=YEAR_9999,
    )
    assert [step.number for step in steps.passed] == [1, 2, 3, 4]
    assert steps.passed[1].found == "64 measurements"


def test_what_is_not_judged_is_said_where_the_report_passes(gpu: GPU) -> None:
    steps = Steps(nvidia.TITLES)
    nvidia.verify(gpu.attest(), NvidiaTable(), NOW, steps, roots=gpu.roots)
    for word in ("not judged", "measurements (RIM)", "revocation (OCSP)", "driver and VBIOS versions", "CC mode"):
        assert word in steps.passed[3].found


def test_the_sample_of_an_invalid_signature_fails_at_the_signature(samples: Path, chain: tuple[bytes, ...]) -> None:
    report = bytes.fromhex((samples / "hopperAttestationReportInvalidSignature.txt").read_text())
    assert nvidia.parse_report(report).count == 64
    refuse(serialize_body(NvidiaEvidence(report, chain)), 4, "not signed by the key of its certificate")


def test_the_chain_of_an_h100_is_valid_until_the_year_9999(body: bytes) -> None:
    check(body, SINCE)
    check(body, YEAR_9999 - 1)
    refuse(body, 3, "certificate 2 of the NVIDIA chain is valid from", SINCE - 1)
    refuse(body, 3, "certificate 0 of the NVIDIA chain is valid from", YEAR_9999)


@pytest.mark.usefixtures("kept_chains")
def test_every_flipped_octet_of_a_genuine_body_is_refused(body: bytes) -> None:
    for at in range(len(body)):
        flipped = body[:at] + bytes([body[at] ^ 1 << at % 8]) + body[at + 1 :]
        with pytest.raises(EvidenceError) as caught:
            check(flipped)
        assert 1 <= caught.value.step <= 4, at


def test_every_truncation_of_a_genuine_body_is_refused(body: bytes) -> None:
    for cut in range(len(body)):
        with pytest.raises(EvidenceError, match="truncated") as caught:
            check(body[:cut])
        assert caught.value.step == 1, cut
    refuse(body + b"\0", 1, "1 trailing octets after NVIDIA evidence")


def test_every_truncation_of_a_genuine_report_is_refused(report: bytes, chain: tuple[bytes, ...]) -> None:
    for cut in range(len(report)):
        with pytest.raises(EvidenceError, match="truncated") as caught:
            check(serialize_body(NvidiaEvidence(report[:cut], chain)))
        assert caught.value.step == 2, cut


def test_what_is_not_signed_is_what_the_module_says(report: bytes, chain: tuple[bytes, ...]) -> None:
    twin = report[:-48] + (P384_ORDER - int.from_bytes(report[-48:])).to_bytes(48)
    check(serialize_body(NvidiaEvidence(twin, chain)))


def test_a_body_is_read_as_it_was_written(body: bytes) -> None:
    assert serialize_body(parse_body(body)) == body


def test_an_accepted_report_says_what_was_asked_and_measured(gpu: GPU) -> None:
    found = check(gpu.attest(), roots=gpu.roots)
    assert (found.bound, found.measurement) == (NONCE, hashlib.sha384(RECORD).digest())
    assert (found.expires_at, found.issued_at, found.measures_manifest) == (NOW + THREE_HOURS, None, False)


REQUESTS = [
    (b"\x10" + REQUEST[1:], "SPDMVersion of the request is 0x10, not 0x11"),
    (b"\x12" + REQUEST[1:], "SPDMVersion of the request is 0x12, not 0x11"),
    (b"\x11\xe1" + REQUEST[2:], "RequestResponseCode of the request is 0xe1, not 0xe0"),
    (b"\x11\xe0\0" + REQUEST[3:], "Param1 of the request is 0x00, not 0x01"),
    (b"\x11\xe0\1\1" + REQUEST[4:], "Param2 of the request is 0x01, not 0xff"),
    (REQUEST[:36] + b"\1", "SlotIDParam of the request is 0x01, not 0x00"),
    (REQUEST[:36], "SlotIDParam of the request is 0x11, not 0x00"),  # the nonce is one octet short
]
RESPONSES = [
    (respond(head=bytes.fromhex("12600000")), "SPDMVersion of the response is 0x12, not 0x11"),
    (respond(head=bytes.fromhex("11610000")), "RequestResponseCode of the response is 0x61, not 0x60"),
    (respond(head=bytes.fromhex("11600100")), "Param1 of the response is 0x01, not 0x00"),
    (respond(head=bytes.fromhex("11600001")), "Param2 of the response is 0x01, not 0x00"),
    (respond(count=63), "55 trailing octets after MeasurementRecord"),
    (respond(count=65), "truncated in Index of a measurement"),
    (respond(count=0), "3520 trailing octets after MeasurementRecord"),
    (respond(block(1) + block(1), 2), "measurement 1 comes after measurement 1"),
    (respond(block(2) + block(1), 2), "measurement 1 comes after measurement 2"),
    (respond(block(0), 1), "measurement 0 comes after measurement 0"),
    (respond(block(1, specification=2), 1), "MeasurementSpecification of a measurement is 0x02, not 0x01"),
    (respond(block(1, more=1), 1), "measurement 1 has 52 octets, of which 48 are its value"),
    (respond(block(1, more=-51), 1), "measurement 1 has 0 octets, of which 48 are its value"),
    (respond(block(1)[:-1], 1), "truncated in DMTFSpecMeasurementValue: 47 of 48"),
    (respond(opaque=bytes(1025)), "OpaqueData is too large: 1025 of at most 1024"),
    (respond()[:-1], "truncated in Signature: 95 of 96"),
    (respond() + b"\0", "1 trailing octets after NVIDIA report"),
    (respond()[: 8 + len(RECORD) + 32], "truncated in|OpaqueData is too large"),
]


@pytest.mark.parametrize(("request_", "why"), REQUESTS)
def test_another_request_is_refused_though_signed(gpu: GPU, request_: bytes, why: str) -> None:
    refuse(gpu.attest(request=request_), 2, why, roots=gpu.roots)


@pytest.mark.parametrize(("response", "why"), RESPONSES)
def test_another_response_is_refused_though_signed(gpu: GPU, response: bytes, why: str) -> None:
    refuse(gpu.attest(response), 2, why, roots=gpu.roots)


def test_reports_at_the_limits_are_read(gpu: GPU) -> None:
    for response in (
        respond(b"", 0),
        respond(opaque=b""),
        respond(opaque=bytes(1024)),
        respond(block(1, b"") + block(255, bytes(9)), 2),
    ):
        check(gpu.attest(response), roots=gpu.roots)


def test_limits_of_the_body_hold_at_the_last_value_and_not_one_above(gpu: GPU) -> None:
    report = parse_body(gpu.attest()).report
    for count in (0, 1, 9):
        crowd = (*gpu.chain, *gpu.chain, gpu.chain[0])[:count]
        refuse(serialize_body(NvidiaEvidence(report, crowd)), 1, f"{count} certificates, not 2 to 8")
    refuse(serialize_body(NvidiaEvidence(report, (*gpu.chain, *gpu.chain))), 3, "not signed", roots=gpu.roots)
    size = nvidia.MAX_REPORT
    refuse(serialize_body(NvidiaEvidence(bytes(size), tuple(gpu.chain))), 2, "SPDMVersion")
    refuse(serialize_body(NvidiaEvidence(bytes(size + 1), tuple(gpu.chain))), 1, "report is too large: 16385")
    large = (bytes(MAX_CERTIFICATE + 1), *gpu.chain)
    refuse(serialize_body(NvidiaEvidence(report, large)), 1, "certificate is too large: 4097")


CHAINS: list[tuple[tuple[Link, ...], str]] = [
    (change(LINKS, 3, ca=True), "certificate 0 of the NVIDIA chain is that of a CA"),
    (change(LINKS, 3, signs=True), "certificate 0 of the NVIDIA chain is that of a CA"),
    (change(LINKS, 2, signs=False), "certificate 1 of the NVIDIA chain may sign no"),
    (change(LINKS, 1, path_length=0), "certificate 2 of the NVIDIA chain allows 0 certificates of CAs below it"),
    (
        change(LINKS, 3, digest=hashes.SHA256()),
        "certificate 0 of the NVIDIA chain is not signed with ECDSA and SHA-384",
    ),
    (
        change(LINKS, 1, digest=hashes.SHA256()),
        "certificate 2 of the NVIDIA chain is not signed with ECDSA and SHA-384",
    ),
    (change(LINKS, 3, curve=ec.SECP256R1()), "certificate 0 of the NVIDIA chain has a key that is not of P-384"),
    (change(LINKS, 1, curve=ec.SECP521R1()), "certificate 2 of the NVIDIA chain has a key that is not of P-384"),
    (change(LINKS, 3, unreadable_key=True), "certificate 0 of the NVIDIA chain has a key that cannot be read"),
    (change(LINKS, 3, end=NOW), "certificate 0 of the NVIDIA chain is valid from"),
    (change(LINKS, 2, start=NOW + 1), "certificate 1 of the NVIDIA chain is valid from"),
]


@pytest.mark.parametrize(("links", "why"), CHAINS)
def test_a_chain_with_one_fault_is_refused(links: tuple[Link, ...], why: str) -> None:
    gpu = GPU(links)
    report = REQUEST + respond() + bytes(96)  # the chain is judged before the signature
    refuse(serialize_body(NvidiaEvidence(report, tuple(gpu.chain))), 3, why, roots=gpu.roots)


def test_a_chain_under_another_root_or_in_another_order_is_refused(gpu: GPU, chain: tuple[bytes, ...]) -> None:
    report = parse_body(gpu.attest()).report
    refuse(gpu.attest(), 3, "does not end at a pinned root")
    refuse(serialize_body(NvidiaEvidence(report, (*gpu.chain, chain[-1]))), 3, "is not signed by the next")
    refuse(serialize_body(NvidiaEvidence(report, chain[::-1])), 3, "does not end at a pinned root")
    refuse(serialize_body(NvidiaEvidence(report, chain[:-1])), 3, "does not end at a pinned root")
    refuse(
        serialize_body(NvidiaEvidence(report, (chain[0], *chain[2:]))), 3, "certificate 0 of the NVIDIA chain is not"
    )
    refuse(serialize_body(NvidiaEvidence(report, chain[1:])), 3, "certificate 0 of the NVIDIA chain is that of a CA")


def test_a_report_of_another_gpu_is_refused(gpu: GPU, chain: tuple[bytes, ...]) -> None:
    report = parse_body(gpu.attest()).report
    refuse(serialize_body(NvidiaEvidence(report, chain)), 4, "not signed by the key of its certificate")
    for octet in (b"\0", b"\xff"):
        forged = NvidiaEvidence(report[:-96] + octet * 96, tuple(gpu.chain))
        refuse(serialize_body(forged), 4, "not signed by the key of its certificate", roots=gpu.roots)


@pytest.mark.usefixtures("kept_chains")
def test_three_thousand_mutated_reports_that_are_signed_raise_only_our_errors(gpu: GPU) -> None:
    """Signed anew, so that every field is reached; anything else that is raised fails the test."""
    generator = random.Random(1)
    small = REQUEST + respond(block(1) + block(2), 2, opaque=OPAQUE)
    steps = []
    for _ in range(3000):
        message = bytearray(small)
        for _ in range(generator.randint(1, 2)):
            message[generator.randrange(len(message))] = generator.randrange(256)
        try:
            check(gpu.attest(bytes(message[37:]), request=bytes(message[:37])), roots=gpu.roots)
        except EvidenceError as exc:
            steps.append(exc.step)
    assert set(steps) == {2}
    assert 300 < len(steps) < 3000
