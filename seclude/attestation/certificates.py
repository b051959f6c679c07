"""X.509 chains that end at a pinned root, and what their issuers revoked (RFC 5280).

Roots are pinned by the SHA-256 of their DER, so a chain always comes whole, the root included. Time is injected. Serial
numbers decide nothing but what a revocation list names: AMD's VCEKs all have serial number 0.
"""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtensionOID, NameOID

from seclude.errors import EvidenceError

Extension = TypeVar("Extension", bound=x509.ExtensionType)

MAX_CERTIFICATE: Final = 4096  # octets of DER; the largest in use, of RSA-4096 keys, take 1.7 KiB
MAX_CHAIN: Final = 8  # certificates; NVIDIA's and AWS Nitro's chains have five
MAX_CRL: Final = 65_536  # octets of DER; AMD's and Intel's take under 3 KiB

# Critical extensions that are judged here, or say nothing against a signature under evidence. An endorsement key's
# certificate names its TPM in subjectAltName, and an attestation key's says in extendedKeyUsage what it is.
KNOWN: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)

# What a certificate that parses lazily may raise when it is looked into.
BROKEN: Final = (
    KeyError,  # of an extension that names a TLS feature which nobody knows
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain that was verified: each certificate signed by the next, the last one pinned, all valid at the time."""

    certificates: tuple[x509.Certificate, ...]
    """Leaf first."""
    root: str
    """The name under which the root is pinned."""
    expires_at: int
    """Seconds since 1970: the first moment at which one of them is no longer valid."""

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate of whoever signed the evidence."""
        return self.certificates[0]


@dataclass(frozen=True, slots=True)
class Revocations:
    """A revocation list that its issuer signed and that is current."""

    serials: frozenset[int]
    expires_at: int


def load_certificate(der: bytes, name: str) -> x509.Certificate:
    """Read a certificate that is one DER encoding and nothing else; raises `EvidenceError`."""
    if len(der) > MAX_CERTIFICATE:
        raise EvidenceError(f"the {name} certificate has {len(der)} octets, limit {MAX_CERTIFICATE}")
    try:
        with warnings.catch_warnings():  # about a serial number of 0 or less: see above
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            certificate = x509.load_der_x509_certificate(der)
            # The parser forgives a BIT STRING of the signature that leaves out last bits which are zero.
            whole = der.endswith(b"\x00" + certificate.signature)
            exact = whole and certificate.public_bytes(Encoding.DER) == der
            _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc  # a date may be none, as of year 0
    except BROKEN:
        raise EvidenceError(f"the {name} certificate is not a certificate") from None
    if not exact:
        raise EvidenceError(f"the {name} certificate is not in DER")
    return certificate


def verify_chain(ders: Sequence[bytes], pinned: Mapping[bytes, str], now: float, *, name: str) -> Chain:
    """Return the chain, leaf first and root last, if it is whole and valid at `now`; raises `EvidenceError`.

    `pinned` maps the SHA-256 of a root's DER to its name; `name` says in errors whose chain it is. Every certificate
    above the leaf must be a CA that may sign certificates and has room for the path below it; the leaf must be none.
    """
    if not 2 <= len(ders) <= MAX_CHAIN:
        raise EvidenceError(f"the {name} chain has {len(ders)} certificates, not 2 to {MAX_CHAIN}")
    root = pinned.get(hashlib.sha256(ders[-1]).digest())
    if root is None:
        raise EvidenceError(f"the {name} chain does not end at a pinned root")
    certificates = tuple(load_certificate(der, name) for der in ders)
    for position, certificate in enumerate(certificates):
        issuer = certificates[min(position + 1, len(certificates) - 1)]
        if not is_issued_by(certificate, issuer):
            raise EvidenceError(f"certificate {position} of the {name} chain is not signed by the next")
        _check_use(certificate, position, name)
        check_validity(certificate, now, f"certificate {position} of the {name} chain")
    expires_at = int(min(certificate.not_valid_after_utc for certificate in certificates).timestamp())
    return Chain(certificates, root, expires_at)


def common_name(certificate: x509.Certificate) -> str:
    """Return the one common name of a certificate's subject; "" where it has none that can be read, or two."""
    try:
        values = [attribute.value for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except BROKEN:
        return ""
    return str(values[0]) if len(values) == 1 else ""


def check_validity(certificate: x509.Certificate, now: float, name: str) -> None:
    """Raise `EvidenceError` unless notBefore <= now < notAfter."""
    moment = datetime.fromtimestamp(now, UTC)
    if not certificate.not_valid_before_utc <= moment < certificate.not_valid_after_utc:
        raise EvidenceError(
            f"{name} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} "
            f"to {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, not at {moment:%Y-%m-%d %H:%M} UTC"
        )


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Say whether an issuer's key signed a certificate that names it; nothing else is checked."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*BROKEN, InvalidSignature):
        return False
    return True


def verify_crl(der: bytes, issuer: x509.Certificate, now: float, *, name: str) -> Revocations:
    """Return what an issuer revoked, if the list is signed by it and current; raises `EvidenceError`."""
    if len(der) > MAX_CRL:
        raise EvidenceError(f"the {name} revocation list has {len(der)} octets, limit {MAX_CRL}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            crl = x509.load_der_x509_crl(der)
            exact = der.endswith(b"\x00" + crl.signature) and crl.public_bytes(Encoding.DER) == der
            usage = _value(issuer.extensions, x509.KeyUsage)
            named = usage is not None and usage.crl_sign and crl.issuer == issuer.subject
            signed = named and crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
            serials = frozenset(entry.serial_number for entry in crl)
            start, end = crl.last_update_utc, crl.next_update_utc
            plain = not any(extension.critical for extension in crl.extensions)
    except (*BROKEN, InvalidSignature):
        raise EvidenceError(f"the {name} revocation list is not a well-formed one") from None
    if not exact:
        raise EvidenceError(f"the {name} revocation list is not in DER")
    if not signed:
        raise EvidenceError(f"the {name} revocation list is not signed by its issuer")
    if not plain:  # such as one that says for which certificates the list counts
        raise EvidenceError(f"the {name} revocation list has a critical extension that is not known here")
    moment = datetime.fromtimestamp(now, UTC)
    if end is None or not start <= moment < end:
        until = "an unknown time" if end is None else f"{end:%Y-%m-%d %H:%M} UTC"
        raise EvidenceError(
            f"the {name} revocation list is valid from {start:%Y-%m-%d %H:%M} to {until}, "
            f"not at {moment:%Y-%m-%d %H:%M} UTC"
        )
    return Revocations(serials, int(end.timestamp()))


def _check_use(certificate: x509.Certificate, position: int, name: str) -> None:
    """Check basicConstraints, pathLenConstraint and keyUsage (RFC 5280, section 6.1.4 (k) to (n))."""
    place = f"certificate {position} of the {name} chain"
    try:
        extensions = certificate.extensions
        unknown = [each.oid for each in extensions if each.critical and each.oid not in KNOWN]
        constraints = _value(extensions, x509.BasicConstraints)
        usage = _value(extensions, x509.KeyUsage)
    except BROKEN:
        raise EvidenceError(f"{place} has extensions that are not well formed") from None
    if unknown:  # RFC 5280, section 4.2
        raise EvidenceError(f"{place} has a critical extension that is not known here: {unknown[0].dotted_string}")
    is_ca = constraints is not None and constraints.ca
    signs = usage is not None and usage.key_cert_sign
    if position == 0:
        if is_ca or signs:
            raise EvidenceError(f"{place} is that of a CA, which signs no evidence")
        return
    if not is_ca or not signs:
        raise EvidenceError(f"{place} may sign no certificates")
    room = None if constraints is None else constraints.path_length
    if room is not None and room < position - 1:
        raise EvidenceError(f"{place} allows {room} certificates of CAs below it, and there are {position - 1}")


def _value(extensions: x509.Extensions, kind: type[Extension]) -> Extension | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
