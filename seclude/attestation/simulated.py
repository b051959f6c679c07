"""The simulated evidence format: real certificates and signatures over a platform that does not exist.

SIMULATED means that the worker measures itself and signs with a key that lies in a file. The format shows what
evidence looks like and lets every step of verification run, and fail, in earnest. It proves nothing against whoever
owns the machine. Its root is a type of its own and says so in its subject, so it cannot pass for a vendor's.

    body   = certificate vec16 (DER), report vec16, signature 64 (Ed25519)
    report = head, flags u32, firmware u32, platform_id 32, measurement 32, report_data 64, issued_at u64

Four steps:
 1. The body decodes.
 2. Its certificate is signed by a pinned root, and both are valid at `now`.
 3. The report is signed by the platform that the certificate names.
 4. The platform's firmware is recent enough, and debug is off.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID, NameOID

from seclude.attestation.accept import SimulatedTable
from seclude.attestation.bundle import DIGEST_BYTES, REPORT_DATA_BYTES, expect_head
from seclude.attestation.certificates import BROKEN, check_validity, is_issued_by, load_certificate
from seclude.attestation.evidence import SIMULATED, TrustedReport
from seclude.attestation.steps import Steps
from seclude.errors import ConfigError, EvidenceError, PolicyError
from seclude.wire import Reader, Writer

REPORT_HEAD: Final = b"SIMULATED-REPORT\x01"
ROOT_NAME: Final = "Seclude SIMULATED attestation root"
PLATFORM_NAME: Final = "SIMULATED platform"
DEBUG: Final = 1  # bit of `flags`; the others are unused and must be 0

TITLES: Final[Mapping[int, str]] = MappingProxyType(
    {
        1: "body decodes",
        2: "certificate is signed by a pinned root",
        3: "report is signed by the platform",
        4: "firmware level and debug",
    }
)
STAGES: Final[Mapping[int, int]] = MappingProxyType({1: 2, 2: 3, 3: 4, 4: 5})

MAX_CERTIFICATE: Final = 2048  # octets; a platform certificate takes 400
SIGNATURE_BYTES: Final = 64  # Ed25519
EXTENSIONS: Final = {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE}


@dataclass(frozen=True, slots=True)
class Report:
    """What the platform states; counts only with a verified signature."""

    flags: int
    firmware: int
    platform_id: bytes
    measurement: bytes
    report_data: bytes
    issued_at: int


@dataclass(frozen=True, slots=True)
class SignedReport:
    """The three parts of a body, not verified."""

    certificate: bytes
    report: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform whose certificate chains to a pinned root."""

    public_key: Ed25519PublicKey
    platform_id: bytes
    root: bytes
    """SHA-256 of the root certificate that it chains to."""
    expires_at: int


def serialize_body(signed: SignedReport) -> bytes:
    """Return the body of the evidence."""
    return Writer().vec16(signed.certificate).vec16(signed.report).raw(signed.signature).getvalue()


def parse_body(body: bytes) -> SignedReport:
    """Read the three parts of a body."""
    reader = Reader(body)
    signed = SignedReport(
        certificate=reader.vec16("certificate", MAX_CERTIFICATE),
        report=reader.vec16("report"),
        signature=reader.take(SIGNATURE_BYTES, "signature"),
    )
    reader.finish("simulated evidence")
    return signed


def serialize_report(report: Report) -> bytes:
    """Return the report's one encoding."""
    return (
        Writer()
        .raw(REPORT_HEAD)
        .u32(report.flags)
        .u32(report.firmware)
        .raw(report.platform_id)
        .raw(report.measurement)
        .raw(report.report_data)
        .u64(report.issued_at)
        .getvalue()
    )


def parse_report(data: bytes) -> Report:
    """Read a report."""
    reader = Reader(data)
    expect_head(reader, REPORT_HEAD, "a simulated report")
    report = Report(
        flags=reader.u32("flags"),
        firmware=reader.u32("firmware"),
        platform_id=reader.take(DIGEST_BYTES, "platform_id"),
        measurement=reader.take(DIGEST_BYTES, "measurement"),
        report_data=reader.take(REPORT_DATA_BYTES, "report_data"),
        issued_at=reader.u64("issued_at"),
    )
    reader.finish("simulated report")
    return report


def signed_octets(certificate: bytes, report: bytes) -> bytes:
    """Return what the platform signs: the report, under a name of its own, and the exact certificate sent with it.

    The certificate is covered because DER parsers forgive a few variants of one certificate; evidence has one form.
    """
    return b"seclude simulated report v1\x00" + hashlib.sha256(certificate).digest() + report


def platform_id(public_key: Ed25519PublicKey) -> bytes:
    """Return the SHA-256 of a key's SubjectPublicKeyInfo, the identity of its platform."""
    spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()


def verify(body: bytes, table: SimulatedTable, now: float, steps: Steps) -> TrustedReport:
    """Return what a simulated platform says, if all four steps pass."""
    with steps.step(1) as found:
        signed = parse_body(body)
        found.append("simulated: shows the flow, proves nothing against the owner of the machine")
    with steps.step(2) as found:
        platform = verify_chain(signed.certificate, table.roots, now)
        found.append(f"root {platform.root.hex()}")
    with steps.step(3) as found:
        report = verify_signature(signed, platform)
        found.append(f"platform {platform.platform_id.hex()}")
    with steps.step(4) as found:
        _check_firmware(report, table)
        found.append(f"firmware {report.firmware}, debug off")
    return TrustedReport(
        format=SIMULATED,
        measurement=report.measurement,
        bound=report.report_data,
        platform_id=report.platform_id,
        firmware=f"level {report.firmware}",
        expires_at=platform.expires_at,
        issued_at=report.issued_at,
        measures_manifest=True,
    )


def verify_chain(certificate: bytes, roots: tuple[bytes, ...], now: float) -> Platform:
    """Return the platform, if its certificate is signed by a pinned root and both are valid at `now`."""
    pinned = [load_root(root) for root in roots]
    leaf = load_certificate(certificate, "platform")
    try:
        public_key = leaf.public_key()
        _check_shape(leaf, is_ca=False)
    except BROKEN:
        raise EvidenceError("the platform certificate is not a well-formed certificate of a platform") from None
    if not isinstance(public_key, Ed25519PublicKey):
        raise EvidenceError("the platform key is not an Ed25519 key")
    root = next((root for root in pinned if is_issued_by(leaf, root)), None)
    if root is None:
        raise EvidenceError("the platform certificate is not signed by a pinned root")
    check_validity(root, now, "the root certificate")
    check_validity(leaf, now, "the platform certificate")
    return Platform(
        public_key=public_key,
        platform_id=platform_id(public_key),
        root=hashlib.sha256(root.public_bytes(Encoding.DER)).digest(),
        expires_at=int(min(root.not_valid_after_utc, leaf.not_valid_after_utc).timestamp()),
    )


def verify_signature(signed: SignedReport, platform: Platform) -> Report:
    """Return the report, if this platform signed it and it names this platform."""
    try:
        platform.public_key.verify(signed.signature, signed_octets(signed.certificate, signed.report))
    except InvalidSignature:
        raise EvidenceError("the report is not signed by the platform") from None
    report = parse_report(signed.report)
    if report.platform_id != platform.platform_id:
        raise EvidenceError("the report names another platform than its certificate")
    return report


def load_root(root: bytes) -> x509.Certificate:
    """Read a root that is to be pinned, which is ours to get right; raises `ConfigError`."""
    try:
        certificate = load_certificate(root, "root")
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        _check_shape(certificate, is_ca=True)
        is_root = is_issued_by(certificate, certificate)
    except (*BROKEN, EvidenceError):
        raise ConfigError("a pinned simulated root is not a well-formed root certificate") from None
    if [name.value for name in names] != [ROOT_NAME] or not is_root:
        raise ConfigError(f'a pinned simulated root is not a self-signed "{ROOT_NAME}"')
    return certificate


def _check_firmware(report: Report, table: SimulatedTable) -> None:
    if report.flags & DEBUG:
        raise PolicyError("the platform is in debug mode")
    if report.flags:
        raise EvidenceError("the report sets flags that have no meaning")
    if report.firmware < table.minimum_firmware:
        raise PolicyError(f"firmware level {report.firmware} is below the minimum of {table.minimum_firmware}")


def _check_shape(certificate: x509.Certificate, *, is_ca: bool) -> None:
    """Raise `ValueError` unless the certificate has exactly the two extensions, critical, that its place asks for."""
    extensions = certificate.extensions
    if {extension.oid for extension in extensions} != EXTENSIONS or not all(each.critical for each in extensions):
        raise ValueError("extensions")
    if extensions.get_extension_for_class(x509.BasicConstraints).value.ca is not is_ca:
        raise ValueError("basicConstraints")
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    if usage.key_cert_sign is not is_ca or usage.digital_signature is is_ca:
        raise ValueError("keyUsage")
