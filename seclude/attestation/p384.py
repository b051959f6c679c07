"""ECDSA over P-384 with SHA-384, of which AWS Nitro's and NVIDIA's chains are made throughout."""

from collections.abc import Mapping, Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.x509.oid import SignatureAlgorithmOID

from seclude.attestation.certificates import BROKEN, Chain, verify_chain
from seclude.errors import EvidenceError
from seclude.wire import Reader

COORDINATE: Final = 48  # octets of r, and of s


def verify_p384_chain(ders: Sequence[bytes], pinned: Mapping[bytes, str], now: float, *, name: str) -> Chain:
    """Return a chain as `verify_chain` does, if every key in it is of P-384 and signs with SHA-384."""
    chain = verify_chain(ders, pinned, now, name=name)
    for position, certificate in enumerate(chain.certificates):
        if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA384:
            raise EvidenceError(f"certificate {position} of the {name} chain is not signed with ECDSA and SHA-384")
        _public_key(certificate, f"certificate {position} of the {name} chain")
    return chain


def verify_p384(signature: bytes, signed: bytes, leaf: x509.Certificate, *, what: str) -> None:
    """Raise `EvidenceError` unless r and s, one after the other, are the leaf's signature."""
    reader = Reader(signature)
    r, s = (int.from_bytes(reader.take(COORDINATE, name)) for name in ("r", "s"))
    reader.finish("signature")
    try:
        _public_key(leaf, "the certificate").verify(encode_dss_signature(r, s), signed, ECDSA(SHA384()))
    except InvalidSignature:
        raise EvidenceError(f"the {what} is not signed by the key of its certificate") from None


def _public_key(certificate: x509.Certificate, place: str) -> EllipticCurvePublicKey:
    try:
        key = certificate.public_key()
    except BROKEN:
        raise EvidenceError(f"{place} has a key that cannot be read") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP384R1):
        raise EvidenceError(f"{place} has a key that is not of P-384")
    return key
