"""A Nitro Security Module for tests, under a root of its own; and chains of P-384 certificates with any fault in them.

Nothing but tests pins these roots. What is signed here is signed properly, so a document fails by the one fault it has.
"""

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from seclude.attestation.cbor import Key, Value, serialize_item
from seclude.attestation.nitro import NitroEvidence, serialize_body, signed_octets

NOW: Final = 1_700_000_000
THREE_HOURS: Final = 3 * 3600
ROOT_NAME: Final = "root of tests"


@dataclass(frozen=True, slots=True)
class Link:
    """A certificate of a chain, as it should be made."""

    name: str
    ca: bool = True
    path_length: int | None = None
    signs: bool | None = None
    """keyCertSign; as `ca` says where it is left out."""
    curve: ec.EllipticCurve = field(default_factory=ec.SECP384R1)
    digest: hashes.SHA256 | hashes.SHA384 = field(default_factory=hashes.SHA384)
    start: int = NOW - 60
    end: int = NOW + THREE_HOURS
    unreadable_key: bool = False
    """Whether its key is of a curve that nobody knows."""


LINKS: Final = (Link("root"), Link("zone", path_length=1), Link("instance", path_length=0), Link("leaf", ca=False))


def change(links: Sequence[Link], position: int, **fields: object) -> tuple[Link, ...]:
    """Return the links with some fields of one of them changed."""
    changed = replace(links[position], **fields)  # type: ignore[arg-type]
    return tuple(changed if at == position else link for at, link in enumerate(links))


def make_chain(links: Sequence[Link] = LINKS) -> tuple[list[bytes], ec.EllipticCurvePrivateKey]:
    """Return the chain, leaf first and root last, and the leaf's key; the links come root first."""
    ders: list[bytes] = []
    issuer_key, issuer_name = None, None
    for link in links:
        key = ec.generate_private_key(link.curve)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, link.name)])
        signer = issuer_key or key
        certificate = _build(link, name, issuer_name or name, key.public_key()).sign(signer, link.digest)
        ders.insert(0, _spoil(certificate, signer) if link.unreadable_key else certificate.public_bytes(Encoding.DER))
        issuer_key, issuer_name = key, name
    return ders, key


def sign_raw(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Return r and s of P-384 with SHA-384, one after the other."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA384())))
    return r.to_bytes(48) + s.to_bytes(48)


class Module:
    """Signs documents; `roots` is what a verifier of them has to pin."""

    def __init__(self, links: Sequence[Link] = LINKS) -> None:
        self.chain, self.key = make_chain(links)
        self.roots: Mapping[bytes, str] = {hashlib.sha256(self.chain[-1]).digest(): ROOT_NAME}

    def claims(self, **others: Value) -> dict[Key, Value]:
        """Return the claims of a good document, with others in their place."""
        pcrs: dict[Key, Value] = {index: bytes([index + 1]) * 48 for index in (0, 1, 2, 3, 4, 8)}
        certificate, *issuers = self.chain
        claims: dict[Key, Value] = {
            "module_id": "i-0123456789abcdef0-enc0123456789abcdef",
            "digest": "SHA384",
            "timestamp": NOW * 1000 + 136,
            "pcrs": pcrs,
            "certificate": certificate,
            "cabundle": tuple(reversed(issuers)),
            "public_key": None,
            "user_data": bytes(range(64)),
            "nonce": None,
        }
        claims.update(others)
        return claims

    def sign(self, payload: bytes) -> bytes:
        """Return the body over any payload."""
        return serialize_body(NitroEvidence(payload, sign_raw(self.key, signed_octets(payload))))

    def attest(self, **others: Value) -> bytes:
        """Return the body over good claims, with others in their place."""
        return self.sign(serialize_item(self.claims(**others)))


def _build(
    link: Link, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    signs = link.ca if link.signs is None else link.signs
    usage = x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    start, end = (datetime.datetime.fromtimestamp(moment, datetime.UTC) for moment in (link.start, link.end))
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=link.ca, path_length=link.path_length), critical=True)
        .add_extension(usage, critical=True)
    )


def _spoil(certificate: x509.Certificate, signer: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the certificate with an unknown curve for its key, signed anew."""
    secp384r1, unknown = bytes.fromhex("06052b81040022"), bytes.fromhex("06052b8104007f")
    tbs = certificate.tbs_certificate_bytes.replace(secp384r1, unknown)
    signature = signer.sign(tbs, ec.ECDSA(hashes.SHA384()))
    ecdsa_with_sha384 = bytes.fromhex("300a06082a8648ce3d040303")
    inner = tbs + ecdsa_with_sha384 + bytes([3, len(signature) + 1, 0]) + signature
    return b"\x30\x82" + len(inner).to_bytes(2) + inner
