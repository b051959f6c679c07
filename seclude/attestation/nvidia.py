"""NVIDIA GPUs in confidential computing mode: an SPDM measurement report that the GPU signs.

    body   = report vec16, count u8, count certificates vec16 (DER), the leaf first and the root last
    report = GET_MEASUREMENTS request 37, MEASUREMENTS response (DSP0274 1.1, section 10.11)

The last 96 octets of the response are r and s of ECDSA over P-384 and SHA-384, over everything before them, the
request with the verifier's nonce included. SPDM's integers are little-endian.

Four steps:
 1. The body decodes.
 2. Its report is a request for all measurements and the response to it.
 3. The certificates chain to a pinned root with ECDSA over P-384 and SHA-384 throughout, and are valid at `now`.
 4. Request and response are signed by the key of the leaf.

NOT CHECKED: the measurements against NVIDIA's signed reference manifests (RIM), revocation (OCSP), versions of driver
and VBIOS, and whether confidential computing is on. So the item proves that a GPU of NVIDIA's answered this nonce, and
nothing of what runs on it or how it is configured. The certificates of the chip are valid until the year 9999.
Not signed is which of the two values an ECDSA signature has that verify (s and n - s).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from seclude.attestation.accept import NvidiaTable
from seclude.attestation.certificates import MAX_CERTIFICATE, MAX_CHAIN
from seclude.attestation.evidence import NVIDIA, TrustedReport
from seclude.attestation.p384 import COORDINATE, verify_p384, verify_p384_chain
from seclude.attestation.steps import Steps
from seclude.errors import DecodeError, TooLargeError
from seclude.wire import Reader, Writer

# SHA-256 of the DER of "NVIDIA Device Identity CA", as in NVIDIA/nvtrust, verifier_device_root.pem.
ROOTS: Final[Mapping[bytes, str]] = MappingProxyType(
    {bytes.fromhex("102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48"): "NVIDIA Device Identity CA"}
)

TITLES: Final[Mapping[int, str]] = MappingProxyType(
    {
        1: "body decodes",
        2: "report is a request for measurements and its response",
        3: "certificates chain to a pinned root",
        4: "report is signed by the GPU",
    }
)
STAGES: Final[Mapping[int, int]] = MappingProxyType({1: 2, 2: 2, 3: 3, 4: 4})

MAX_REPORT: Final = 16_384  # octets; Hopper's take 4 KiB
MAX_OPAQUE: Final = 1024  # octets of OpaqueData (DSP0274 1.1, section 10.11.1)
NONCE: Final = 32

SPDM_1_1: Final = 0x11
GET_MEASUREMENTS: Final = 0xE0
MEASUREMENTS: Final = 0x60
WITH_SIGNATURE: Final = 0x01  # Param1 of the request: bit 0 asks for a signature
EVERY: Final = 0xFF  # Param2 of the request: all measurements
DMTF: Final = 0x01  # MeasurementSpecification of a block

UNJUDGED: Final = "not judged: measurements (RIM), revocation (OCSP), driver and VBIOS versions, CC mode"


@dataclass(frozen=True, slots=True)
class NvidiaEvidence:
    """The parts of a body, not verified."""

    report: bytes
    certificates: tuple[bytes, ...]
    """Leaf first, root last."""


@dataclass(frozen=True, slots=True)
class NvidiaReport:
    """What a report states; counts only with a verified signature."""

    nonce: bytes
    """The verifier's, from the request; the response has another, which the GPU chose."""
    count: int
    """Of measurements."""
    record: bytes
    """All measurement blocks, one after the other."""
    signed: bytes
    signature: bytes

    @property
    def measurement(self) -> bytes:
        """SHA-384 over the measurement record."""
        return hashlib.sha384(self.record).digest()


def serialize_body(evidence: NvidiaEvidence) -> bytes:
    """Return the body of the evidence."""
    writer = Writer().vec16(evidence.report).u8(len(evidence.certificates))
    for certificate in evidence.certificates:
        writer.vec16(certificate)
    return writer.getvalue()


def parse_body(data: bytes) -> NvidiaEvidence:
    """Read the parts of a body."""
    reader = Reader(data)
    report = reader.vec16("report", MAX_REPORT)
    count = reader.u8("count of certificates")
    if not 2 <= count <= MAX_CHAIN:
        raise DecodeError(f"{count} certificates, not 2 to {MAX_CHAIN}")
    certificates = tuple(reader.vec16("certificate", MAX_CERTIFICATE) for _ in range(count))
    reader.finish("NVIDIA evidence")
    return NvidiaEvidence(report, certificates)


def parse_report(data: bytes) -> NvidiaReport:
    """Read a request for all measurements with a signature, and the response to it."""
    reader = Reader(data)
    _constant(reader, SPDM_1_1, "SPDMVersion of the request")
    _constant(reader, GET_MEASUREMENTS, "RequestResponseCode of the request")
    _constant(reader, WITH_SIGNATURE, "Param1 of the request")
    _constant(reader, EVERY, "Param2 of the request")
    nonce = reader.take(NONCE, "Nonce of the request")
    _constant(reader, 0, "SlotIDParam of the request")
    _constant(reader, SPDM_1_1, "SPDMVersion of the response")
    _constant(reader, MEASUREMENTS, "RequestResponseCode of the response")
    _constant(reader, 0, "Param1 of the response")
    _constant(reader, 0, "Param2 of the response")
    count = reader.u8("NumberOfBlocks")
    record = reader.take(_little(reader, 3, "MeasurementRecordLength"), "MeasurementRecord")
    _check_blocks(record, count)
    reader.take(NONCE, "Nonce of the response")
    length = _little(reader, 2, "OpaqueLength")
    if length > MAX_OPAQUE:
        raise TooLargeError(f"OpaqueData is too large: {length} of at most {MAX_OPAQUE}")
    reader.take(length, "OpaqueData")
    end = reader.offset
    signature = reader.take(2 * COORDINATE, "Signature")
    reader.finish("NVIDIA report")
    return NvidiaReport(nonce, count, record, data[:end], signature)


def verify(
    body: bytes, table: NvidiaTable, now: float, steps: Steps, *, roots: Mapping[bytes, str] = ROOTS
) -> TrustedReport:
    """Return what a GPU's report says, if all four steps pass; `table` has no keys, since nothing is judged."""
    with steps.step(1) as found:
        evidence = parse_body(body)
        found.append(f"{len(evidence.certificates)} certificates")
    with steps.step(2) as found:
        report = parse_report(evidence.report)
        found.append(f"{report.count} measurements")
    with steps.step(3) as found:
        chain = verify_p384_chain(evidence.certificates, roots, now, name="NVIDIA")
        found.append(chain.root)
    with steps.step(4) as found:
        verify_p384(report.signature, report.signed, chain.leaf, what="report")
        key = chain.leaf.public_key()
        platform_id = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
        found.append(f"GPU {platform_id.hex()}; {UNJUDGED}")
    return TrustedReport(
        format=NVIDIA,
        measurement=report.measurement,
        bound=report.nonce,
        platform_id=platform_id,
        firmware="GPU firmware and driver, not judged",
        expires_at=chain.expires_at,
    )


def _constant(reader: Reader, value: int, field: str) -> None:
    found = reader.u8(field)
    if found != value:
        raise DecodeError(f"{field} is {found:#04x}, not {value:#04x}")


def _little(reader: Reader, length: int, field: str) -> int:
    return int.from_bytes(reader.take(length, field), "little")


def _check_blocks(record: bytes, count: int) -> None:
    """Check that the record is `count` blocks, of ascending index and of DMTF's form, and nothing else."""
    reader = Reader(record)
    last = 0
    for _ in range(count):
        index = reader.u8("Index of a measurement")
        if index <= last:
            raise DecodeError(f"measurement {index} comes after measurement {last}")
        last = index
        _constant(reader, DMTF, "MeasurementSpecification of a measurement")
        size = _little(reader, 2, "MeasurementSize")
        reader.u8("DMTFSpecMeasurementValueType")
        length = _little(reader, 2, "DMTFSpecMeasurementValueSize")
        if length + 3 != size:
            raise DecodeError(f"measurement {index} has {size} octets, of which {length} are its value")
        reader.take(length, "DMTFSpecMeasurementValue")
    reader.finish("MeasurementRecord")
