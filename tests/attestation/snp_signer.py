"""An AMD for tests: roots, signing keys and revocation lists of its own, and chips that sign any report.

Nothing but tests pins these roots. What is signed here is signed properly, so a report fails by the one fault it has.
Two keys of RSA with 4096 bits serve all products and all tests, since they take seconds to make.
"""

import datetime
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from seclude.attestation.snp import SnpEvidence, serialize_body
from seclude.attestation.snp_report import ARC, PRODUCTS, REPORT_BYTES, SIGNED_BYTES

NOW: Final = 1_700_000_000
YEAR: Final = 365 * 86_400
LEVELS: Final[Mapping[str, int]] = {"fmc": 2, "bootloader": 10, "tee": 1, "snp": 23, "microcode": 217}
CPUID: Final[Mapping[str, tuple[int, int, int]]] = {
    "milan": (0x19, 0x01, 1),
    "genoa": (0x19, 0x11, 1),
    "turin": (0x1A, 0x02, 1),
}
POLICY: Final = 1 << 17 | 1 << 16 | 55 << 0 | 1 << 8  # SMT allowed, at least ABI 1.55
SPL: Final[Mapping[str, int]] = {"bootloader": 1, "tee": 2, "snp": 3, "microcode": 8, "fmc": 9}

# X.509 forbids serial number 0, and AMD gives it to every VCEK; here with the version before it.
SERIAL_ONE: Final = bytes.fromhex("a003020102020101")
SERIAL_ZERO: Final = bytes.fromhex("a003020102020100")

# Where each field of a report stands, and how long it is.
FIELDS: Final[Mapping[str, tuple[int, int]]] = {
    "version": (0x00, 4),
    "guest_svn": (0x04, 4),
    "policy": (0x08, 8),
    "vmpl": (0x30, 4),
    "signature_algo": (0x34, 4),
    "current_tcb": (0x38, 8),
    "platform_info": (0x40, 8),
    "key_info": (0x48, 4),
    "after_key_info": (0x4C, 4),
    "report_data": (0x50, 64),
    "measurement": (0x90, 48),
    "host_data": (0xC0, 32),
    "report_id_ma": (0x160, 32),
    "reported_tcb": (0x180, 8),
    "cpuid": (0x188, 3),
    "after_cpuid": (0x18B, 21),
    "chip_id": (0x1A0, 64),
    "committed_tcb": (0x1E0, 8),
    "current_version": (0x1E8, 3),
    "after_current_version": (0x1EB, 1),
    "committed_version": (0x1EC, 3),
    "after_committed_version": (0x1EF, 1),
    "launch_tcb": (0x1F0, 8),
    "mitigations": (0x1F8, 16),
    "after_mitigations": (0x208, 152),
}


@dataclass(frozen=True, slots=True)
class Link:
    """A certificate of the chain, as it should be made; the chain is that of a good AMD until a test changes it."""

    name: str
    ca: bool = True
    path_length: int | None = None
    serial: int = 1
    digest: hashes.SHA256 | hashes.SHA384 = field(default_factory=hashes.SHA384)
    pss: bool = True
    start: int = NOW - YEAR
    end: int = NOW + 20 * YEAR
    key: str = ""
    """Which of the cached keys it is for, where it is an issuer's."""
    unreadable_key: bool = False
    """Whether the key of a chip is of a curve that nobody knows."""


@functools.cache
def rsa_key(name: str, bits: int = 4096) -> rsa.RSAPrivateKey:
    """Return a key that is the same for the whole run."""
    return rsa.generate_private_key(65537, bits)


@functools.cache
def chip_key(name: str = "chip") -> ec.EllipticCurvePrivateKey:
    """Return a chip's key at one level of firmware."""
    return ec.generate_private_key(ec.SECP384R1())


def make_name(common_name: str) -> x509.Name:
    """Return a name as AMD's certificates have it."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Engineering"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.LOCALITY_NAME, "Santa Clara"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "CA"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Advanced Micro Devices"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def pss() -> padding.PSS:
    """Return the padding of all of AMD's signatures."""
    return padding.PSS(padding.MGF1(hashes.SHA384()), 48)


def tcb_version(product: str, **levels: int) -> bytes:
    """Return a TCB_VERSION as the product writes it."""
    octets = bytearray(8)
    for level, at in PRODUCTS[product].levels.items():
        octets[at] = {**LEVELS, **levels}[level]
    return bytes(octets)


def integer(value: int) -> bytes:
    """Return the DER INTEGER of 0 to 255."""
    return bytes([2, 2, 0, value]) if value >= 0x80 else bytes([2, 1, value])


class Amd:
    """One product line: its root and its signing key, and one chip of it; `roots` is what a verifier has to pin."""

    def __init__(self, product: str = "genoa", **changes: Mapping[str, object]) -> None:
        self.product = product
        self.title = product.title()
        ark = Link(f"ARK-{self.title}", serial=0x20000, key="ark")
        ask = Link(f"SEV-{self.title}", serial=0x20001, path_length=0, key="ask")
        self.ark_link = replace(ark, **changes.get("ark", {}))  # type: ignore[arg-type]
        self.ask_link = replace(ask, **changes.get("ask", {}))  # type: ignore[arg-type]
        self.ark_key, self.ask_key = rsa_key(self.ark_link.key), rsa_key(self.ask_link.key)
        self.ark = _certify(self.ark_link, self.ark_key.public_key(), self.ark_link.name, self.ark_key)
        self.ask = _certify(self.ask_link, self.ask_key.public_key(), self.ark_link.name, self.ark_key)
        self.roots: Mapping[bytes, str] = {hashlib.sha256(self.ark).digest(): product}
        self.hwid = bytes(range(1, PRODUCTS[product].hwid_bytes + 1))

    def extensions(self, **levels: int) -> dict[str, bytes]:
        """Return what a VCEK certificate states, by the last numbers of the OIDs."""
        names = PRODUCTS[self.product].levels
        spls = {f"3.{SPL[level]}": integer({**LEVELS, **levels}[level]) for level in names}
        reserved = {f"3.{number}": integer(0) for number in (range(5, 8) if "fmc" in names else range(4, 8))}
        title = f"{self.title}-B1".encode()
        return {"1": integer(0), "2": bytes([0x16, len(title)]) + title, **spls, **reserved, "4": self.hwid}

    def vcek(
        self,
        *,
        extensions: Mapping[str, bytes] | None = None,
        key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | None = None,
        **changes: object,
    ) -> bytes:
        """Return the chip's certificate, with serial number 0 as all of AMD's have it."""
        link = replace(Link("SEV-VCEK", ca=False, serial=0, end=NOW + 7 * YEAR), **changes)  # type: ignore[arg-type]
        stated = self.extensions() if extensions is None else extensions
        return _certify(link, key or chip_key().public_key(), self.ask_link.name, self.ask_key, stated)

    def crl(
        self,
        revoked: Sequence[int] = (),
        *,
        issuer: str | None = None,
        key: rsa.RSAPrivateKey | None = None,
        start: int = NOW - 60,
        end: int = NOW + YEAR,
    ) -> bytes:
        """Return a revocation list of the root's."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(make_name(issuer or self.ark_link.name))
            .last_update(_moment(start))
            .next_update(_moment(end))
            .add_extension(x509.CRLNumber(4), critical=False)
        )
        for serial in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_moment(start))
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(key or self.ark_key, hashes.SHA384(), rsa_padding=pss()).public_bytes(Encoding.DER)

    def unsigned_report(self, version: int = 3, /, **others: int | bytes) -> bytes:
        """Return the 0x2A0 octets that are signed, of a good report with others in their place."""
        tcb = tcb_version(self.product)
        values: dict[str, int | bytes] = {
            "version": version,
            "guest_svn": 7,
            "policy": POLICY,
            "signature_algo": 1,
            "platform_info": 1 << 0 | 1 << 2,
            "report_data": bytes(range(64)),
            "measurement": bytes(range(48)),
            "report_id_ma": b"\xff" * 32,
            "chip_id": self.hwid.ljust(64, b"\0"),
            "current_version": bytes([31, 55, 1]),
            "committed_version": bytes([31, 55, 1]),
            **dict.fromkeys(("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"), tcb),
        }
        if version >= 3:
            values["cpuid"] = bytes(CPUID[self.product])
        if version >= 5:
            values["mitigations"] = bytes([1, *bytes(7), 3, *bytes(7)])
        octets = bytearray(SIGNED_BYTES)
        for name, value in (values | others).items():
            at, length = FIELDS[name]
            octets[at : at + length] = value.to_bytes(length, "little") if isinstance(value, int) else value
        assert len(octets) == SIGNED_BYTES
        return bytes(octets)

    def report(self, version: int = 3, /, **others: int | bytes) -> bytes:
        """Return a report that the chip signed."""
        return sign(self.unsigned_report(version, **others))

    def attest(self, version: int = 3, /, **others: int | bytes) -> bytes:
        """Return the body round a report that the chip signed."""
        return self.body(self.report(version, **others))

    def body(
        self, report: bytes | None = None, *, vcek: bytes | None = None, crls: Sequence[bytes] | None = None
    ) -> bytes:
        """Return the body of good parts, with others in their place."""
        chain = (vcek or self.vcek(), self.ask, self.ark)
        lists = (self.crl(),) if crls is None else tuple(crls)
        return serialize_body(SnpEvidence(self.report() if report is None else report, chain, lists))


def sign(octets: bytes, key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    """Return the report of signed octets: r and s follow, in little-endian order, and zeros."""
    r, s = decode_dss_signature((key or chip_key()).sign(octets, ec.ECDSA(hashes.SHA384())))
    return with_signature(octets, r, s)


def with_signature(octets: bytes, r: int, s: int) -> bytes:
    """Return the report with any two numbers for its signature."""
    report = octets[:SIGNED_BYTES] + r.to_bytes(72, "little") + s.to_bytes(72, "little")
    return report.ljust(REPORT_BYTES, b"\0")


def _moment(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _certify(
    link: Link,
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    issuer: str,
    signer: rsa.RSAPrivateKey,
    extensions: Mapping[str, bytes] | None = None,
) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(make_name(link.name))
        .issuer_name(make_name(issuer))
        .public_key(key)
        .serial_number(link.serial or 1)
        .not_valid_before(_moment(link.start))
        .not_valid_after(_moment(link.end))
    )
    if link.ca:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        constraints = x509.BasicConstraints(ca=True, path_length=link.path_length)
        builder = builder.add_extension(constraints, critical=True).add_extension(usage, critical=True)
        place = x509.UniformResourceIdentifier("https://amd.invalid/crl")  # another verifier fetches from the ASK's
        points = x509.CRLDistributionPoints([x509.DistributionPoint([place], None, None, None)])
        builder = builder.add_extension(points, critical=False)
    for number, value in (extensions or {}).items():
        oid = x509.ObjectIdentifier(ARC + number)
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    scheme = padding.PSS(padding.MGF1(link.digest), link.digest.digest_size) if link.pss else padding.PKCS1v15()
    certificate = builder.sign(signer, link.digest, rsa_padding=scheme)
    if link.serial:
        return certificate.public_bytes(Encoding.DER)
    changes = [(SERIAL_ONE, SERIAL_ZERO)]
    if link.unreadable_key:
        changes.append((bytes.fromhex("06052b81040022"), bytes.fromhex("06052b8104007f")))  # of secp384r1, and none
    return _sign_changed(certificate, changes, lambda tbs: signer.sign(tbs, scheme, link.digest))


def _sign_changed(
    certificate: x509.Certificate, changes: Sequence[tuple[bytes, bytes]], signer: Callable[[bytes], bytes]
) -> bytes:
    """Return the certificate with octets of its TBSCertificate changed for as many others, signed anew."""
    der = certificate.public_bytes(Encoding.DER)
    tbs = changed = certificate.tbs_certificate_bytes
    for old, new in changes:
        changed = changed.replace(old, new, 1)
    signature = signer(changed)
    return der.replace(tbs, changed)[: -len(signature)] + signature
