"""What AMD SEV-SNP puts into a report and into a VCEK certificate, and how each product writes it.

A report is ATTESTATION_REPORT of "SEV Secure Nested Paging Firmware ABI" (AMD 56860, revision 1.58), versions 2 to 5;
its integers are little-endian. The certificate's extensions are those of "Versioned Chip Endorsement Key Certificate
and KDS Interface" (AMD 57230). Nothing here is verified.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cryptography import x509

from seclude.attestation.accept import SnpProduct
from seclude.attestation.certificates import BROKEN, common_name
from seclude.errors import DecodeError, EvidenceError
from seclude.wire import Reader

REPORT_BYTES: Final = 0x4A0
SIGNED_BYTES: Final = 0x2A0
VERSIONS: Final = range(2, 6)
ECDSA_P384_SHA384: Final = 1
COORDINATE: Final = 72  # octets of r, and of s; P-384 fills 48 of them
CHIP_BYTES: Final = 64
TCB_BYTES: Final = 8

VCEK: Final = 0
VLEK: Final = 1

# `LEVELS` in the order in which people read them; the names are those of accept.SnpTcb.
LEVELS: Final = ("fmc", "bootloader", "tee", "snp", "microcode")
ARC: Final = "1.3.6.1.4.1.3704.1."
OIDS: Final[Mapping[str, x509.ObjectIdentifier]] = MappingProxyType(
    {
        "bootloader": x509.ObjectIdentifier(ARC + "3.1"),
        "tee": x509.ObjectIdentifier(ARC + "3.2"),
        "snp": x509.ObjectIdentifier(ARC + "3.3"),
        "microcode": x509.ObjectIdentifier(ARC + "3.8"),
        "fmc": x509.ObjectIdentifier(ARC + "3.9"),
    }
)
RESERVED_OIDS: Final = tuple(x509.ObjectIdentifier(f"{ARC}3.{number}") for number in range(4, 8))  # spl_4 to spl_7
HWID: Final = x509.ObjectIdentifier(ARC + "4")
CSP_ID: Final = x509.ObjectIdentifier(ARC + "5")  # in VLEK certificates, in place of hwID


@dataclass(frozen=True, slots=True)
class Product:
    """One line of chips under one root of AMD's."""

    name: SnpProduct
    levels: Mapping[str, int]
    """Where in TCB_VERSION each level stands; the other octets are reserved."""
    hwid_bytes: int
    models: Mapping[int, frozenset[int]]
    """CPUID models by family."""

    @property
    def issuer(self) -> str:
        """The common name of the key (ASK) that certifies its VCEKs."""
        return f"SEV-{self.name.title()}"


OLDER: Final[Mapping[str, int]] = MappingProxyType({"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7})
TURIN: Final[Mapping[str, int]] = MappingProxyType({"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7})
GENOA_MODELS: Final = frozenset((*range(0x10, 0x20), *range(0xA0, 0xB0)))  # the second range: Bergamo and Siena
PRODUCTS: Final[Mapping[str, Product]] = MappingProxyType(
    {
        "milan": Product("milan", OLDER, 64, MappingProxyType({0x19: frozenset(range(0x10))})),
        "genoa": Product("genoa", OLDER, 64, MappingProxyType({0x19: GENOA_MODELS})),
        "turin": Product("turin", TURIN, 8, MappingProxyType({0x1A: frozenset(range(0x12))})),
    }
)


@dataclass(frozen=True, slots=True)
class Tcb:
    """Security patch levels of AMD's firmware; `fmc` is 0 before Turin."""

    bootloader: int
    tee: int
    snp: int
    microcode: int
    fmc: int = 0

    def in_words(self, product: Product) -> str:
        """Return the levels that the product has."""
        return ", ".join(f"{name} {getattr(self, name)}" for name in LEVELS if name in product.levels)


@dataclass(frozen=True, slots=True)
class Report:
    """The fields of a report that a decision or a person needs; counts only with a verified signature."""

    version: int
    guest_svn: int
    policy: int
    """GUEST_POLICY, which firmware enforces from launch on."""
    vmpl: int
    platform_info: int
    signing_key: int
    """`VCEK`, `VLEK`, or 7 where nothing signed."""
    mask_chip_key: bool
    report_data: bytes
    measurement: bytes
    host_data: bytes
    cpuid: tuple[int, int, int] | None
    """Family, model and stepping, from version 3 on."""
    chip_id: bytes
    current_tcb: bytes
    """TCB_VERSION, whose order of octets only the product tells, as with the other three."""
    reported_tcb: bytes
    committed_tcb: bytes
    launch_tcb: bytes
    current_version: tuple[int, int, int]
    """Major, minor and build."""
    committed_version: tuple[int, int, int]
    mitigations: tuple[int, int] | None
    """LAUNCH_MIT_VECTOR and CURRENT_MIT_VECTOR, from version 5 on."""
    signed: bytes
    r: int
    s: int


def parse_report(data: bytes) -> Report:
    """Read a report; whatever the version reserves has to be zero."""
    if len(data) != REPORT_BYTES:
        raise DecodeError(f"the report has {len(data)} octets, not {REPORT_BYTES}")
    reader = Reader(data)
    version = _little(reader, 4, "version")
    if version not in VERSIONS:
        raise DecodeError(f"the report is of version {version}, not {VERSIONS.start} to {VERSIONS.stop - 1}")
    guest_svn = _little(reader, 4, "guest_svn")
    policy = _little(reader, 8, "policy")
    reader.take(32, "family_id and image_id")
    vmpl = _little(reader, 4, "vmpl")
    algorithm = _little(reader, 4, "signature_algo")
    if algorithm != ECDSA_P384_SHA384:
        raise DecodeError(f"signature_algo is {algorithm}, not ECDSA over P-384 with SHA-384 ({ECDSA_P384_SHA384})")
    current_tcb = reader.take(TCB_BYTES, "current_tcb")
    platform_info = _little(reader, 8, "platform_info")
    key_info = _little(reader, 4, "key_info")
    if key_info >> 5:
        raise DecodeError("reserved bits of key_info are not zero")
    _zeros(reader, 4, "after key_info")
    report_data = reader.take(64, "report_data")
    measurement = reader.take(48, "measurement")
    host_data = reader.take(32, "host_data")
    reader.take(160, "id_key_digest, author_key_digest, report_id and report_id_ma")
    reported_tcb = reader.take(TCB_BYTES, "reported_tcb")
    cpuid = _parse_cpuid(reader, version)
    chip_id = reader.take(CHIP_BYTES, "chip_id")
    committed_tcb = reader.take(TCB_BYTES, "committed_tcb")
    current_version = _parse_version(reader, "current version")
    committed_version = _parse_version(reader, "committed version")
    launch_tcb = reader.take(TCB_BYTES, "launch_tcb")
    mitigations = _parse_mitigations(reader, version)
    r, s = (_little(reader, COORDINATE, name) for name in ("r", "s"))
    _zeros(reader, reader.remaining, "after the signature")
    return Report(
        version=version,
        guest_svn=guest_svn,
        policy=policy,
        vmpl=vmpl,
        platform_info=platform_info,
        signing_key=key_info >> 2,
        mask_chip_key=bool(key_info & 2),
        report_data=report_data,
        measurement=measurement,
        host_data=host_data,
        cpuid=cpuid,
        chip_id=chip_id,
        current_tcb=current_tcb,
        reported_tcb=reported_tcb,
        committed_tcb=committed_tcb,
        launch_tcb=launch_tcb,
        current_version=current_version,
        committed_version=committed_version,
        mitigations=mitigations,
        signed=data[:SIGNED_BYTES],
        r=r,
        s=s,
    )


def parse_tcb(data: bytes, product: Product, name: str) -> Tcb:
    """Read a TCB_VERSION as a product writes it; octets that it reserves have to be zero."""
    if any(octet for at, octet in enumerate(data) if at not in product.levels.values()):
        raise EvidenceError(f"{name} has octets set that {product.name} reserves")
    return Tcb(**{level: data[at] for level, at in product.levels.items()})


def is_vcek(certificate: x509.Certificate) -> bool:
    """Say whether a certificate has the form of one chip's (VCEK) and not of a provider's (VLEK)."""
    return (
        common_name(certificate) == "SEV-VCEK"
        and _extension(certificate, HWID) is not None
        and _extension(certificate, CSP_ID) is None
    )


def certified_hwid(certificate: x509.Certificate, product: Product) -> bytes:
    """Return the chip identifier that a VCEK certificate is for.

    AMD's certificates hold it bare, against X.690, or in an OCTET STRING; the lengths tell one from the other.
    """
    value = _extension(certificate, HWID) or b""
    bare = value.removeprefix(bytes([4, product.hwid_bytes])) if len(value) == product.hwid_bytes + 2 else value
    if len(bare) != product.hwid_bytes:
        raise EvidenceError(f"hwID of the certificate is not {product.hwid_bytes} octets, as {product.name} has them")
    return bare


def certified_tcb(certificate: x509.Certificate, product: Product) -> Tcb:
    """Return the firmware levels that a VCEK certificate is for."""
    for oid in RESERVED_OIDS:
        if _extension(certificate, oid) not in (None, b"\x02\x01\x00"):
            raise EvidenceError("the certificate states a level that is reserved")
    for level, oid in OIDS.items():
        if level not in product.levels and _extension(certificate, oid) is not None:
            raise EvidenceError(f"the certificate states a level of {level}, which {product.name} has not")
    return Tcb(**{level: _level(_extension(certificate, OIDS[level]), level) for level in product.levels})


def _level(value: bytes | None, level: str) -> int:
    """Read an INTEGER of 0 to 255, in DER."""
    if value is not None and len(value) in (3, 4):
        number = int.from_bytes(value[2:])
        shortest = number.to_bytes(2 if number >= 0x80 else 1)
        if number < 256 and value == bytes([2, len(shortest)]) + shortest:
            return number
    raise EvidenceError(f"the certificate states no level of {level} from 0 to 255")


def _extension(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> bytes | None:
    try:
        value = certificate.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return None
    except BROKEN:
        raise EvidenceError("the certificate of the signer has extensions that are not well formed") from None
    return value.value if isinstance(value, x509.UnrecognizedExtension) else None


def _parse_cpuid(reader: Reader, version: int) -> tuple[int, int, int] | None:
    if version < 3:
        _zeros(reader, 24, "after reported_tcb")
        return None
    cpuid = (reader.u8("cpuid_fam_id"), reader.u8("cpuid_mod_id"), reader.u8("cpuid_step"))
    _zeros(reader, 21, "after cpuid_step")
    return cpuid


def _parse_version(reader: Reader, field: str) -> tuple[int, int, int]:
    build, minor, major = (reader.u8(field) for _ in range(3))
    _zeros(reader, 1, f"after {field}")
    return major, minor, build


def _parse_mitigations(reader: Reader, version: int) -> tuple[int, int] | None:
    if version < 5:
        _zeros(reader, SIGNED_BYTES - reader.offset, "after launch_tcb")
        return None
    mitigations = (_little(reader, 8, "launch_mit_vector"), _little(reader, 8, "current_mit_vector"))
    _zeros(reader, SIGNED_BYTES - reader.offset, "after current_mit_vector")
    return mitigations


def _little(reader: Reader, length: int, field: str) -> int:
    return int.from_bytes(reader.take(length, field), "little")


def _zeros(reader: Reader, length: int, where: str) -> None:
    if any(reader.take(length, where)):
        raise DecodeError(f"reserved octets {where} are not zero")
