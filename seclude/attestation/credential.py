"""MakeCredential: a secret that a TPM gives up only if it holds both an endorsement key and a certain other key.

TPM 2.0 Part 1: section 24 (credential protection), section 11.4.10 (KDFa, KDFe), annexes B.10.4 (RSA) and C.6.3 (ECC).
An authority seals a secret to the endorsement key of a TPM and to the Name of an attestation key. The TPM opens it
(TPM2_ActivateCredential) and checks the Name: whoever returns the secret has shown that both keys are in one TPM.
Endorsement keys are those of the templates L-1 (RSA-2048) and L-2 (P-256) of the TCG's EK Credential Profile.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode

from seclude.attestation.tpm_structures import Attributes, Public
from seclude.errors import EvidenceError, UsageError
from seclude.wire import Writer

SEED_BYTES: Final = 32  # of SHA-256, the name algorithm of these endorsement keys
AES_BITS: Final = 128
MAX_SECRET: Final = 32  # octets; a TPM refuses one longer than the digest of its endorsement key's name algorithm
POINT_BYTES: Final = 32
IDENTITY: Final = b"IDENTITY\x00"  # labels count with their final zero

REQUIRED: Final = (
    Attributes.FIXED_TPM
    | Attributes.FIXED_PARENT
    | Attributes.SENSITIVE_DATA_ORIGIN
    | Attributes.RESTRICTED
    | Attributes.DECRYPT
)


@dataclass(frozen=True, slots=True)
class Credential:
    """What TPM2_ActivateCredential takes."""

    id_object: bytes
    """TPMS_ID_OBJECT: the sealed secret and its integrity."""
    encrypted_seed: bytes
    """The contents of a TPM2B_ENCRYPTED_SECRET: what the endorsement key opens."""


def make_credential(ek: Public, name: bytes, secret: bytes) -> Credential:
    """Seal a secret to a TPM that holds an endorsement key and the key of this Name.

    Whose the endorsement key is, its certificate has to say.
    """
    if not 0 < len(secret) <= MAX_SECRET:
        raise UsageError(f"a credential's secret has 1 to {MAX_SECRET} octets")
    check_endorsement_key(ek)
    seed, encrypted_seed = _share_seed(ek)
    cipher = Cipher(AES(kdfa(seed, b"STORAGE", name, b"", AES_BITS)), CFB(bytes(16))).encryptor()
    identity = cipher.update(Writer().vec16(secret).getvalue()) + cipher.finalize()
    integrity = hmac.digest(kdfa(seed, b"INTEGRITY", b"", b"", 8 * SEED_BYTES), identity + name, hashlib.sha256)
    return Credential(Writer().vec16(integrity).raw(identity).getvalue(), encrypted_seed)


def check_endorsement_key(ek: Public) -> None:
    """Raise `EvidenceError` unless a public area is that of an endorsement key of template L-1 or L-2."""
    missing = [flag.name for flag in REQUIRED if not ek.attributes & flag]
    if missing:
        raise EvidenceError(f"the endorsement key lacks {', '.join(str(name) for name in missing)}")
    if ek.attributes & Attributes.SIGN:
        raise EvidenceError("the endorsement key also signs")
    if ek.symmetric_bits != AES_BITS:
        raise EvidenceError("the endorsement key does not protect with AES-128")
    if isinstance(ek.key, rsa.RSAPublicKey):
        if ek.key.key_size != 2048:
            raise EvidenceError(f"the endorsement key is RSA-{ek.key.key_size}, not RSA-2048")
    elif not isinstance(ek.key.curve, ec.SECP256R1):
        raise EvidenceError(f"the endorsement key is on {ek.key.curve.name}, not on P-256")


def kdfa(key: bytes, label: bytes, context_u: bytes, context_v: bytes, bits: int) -> bytes:
    """KDFa (section 11.4.10.2): SP 800-108 in counter mode with HMAC-SHA-256; the label comes without its zero."""
    return KBKDFHMAC(
        algorithm=SHA256(),
        mode=Mode.CounterMode,
        length=bits // 8,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=label,
        context=context_u + context_v,
        fixed=None,
    ).derive(key)


def kdfe(z: bytes, label: bytes, party_u: bytes, party_v: bytes, bits: int) -> bytes:
    """KDFe (section 11.4.10.3): the concatenation KDF of SP 800-56A with SHA-256; the label comes with its zero."""
    return ConcatKDFHash(algorithm=SHA256(), length=bits // 8, otherinfo=label + party_u + party_v).derive(z)


def _share_seed(ek: Public) -> tuple[bytes, bytes]:
    """Return a fresh seed and what carries it to the endorsement key."""
    if isinstance(ek.key, rsa.RSAPublicKey):
        seed = secrets.token_bytes(SEED_BYTES)
        oaep = padding.OAEP(padding.MGF1(SHA256()), SHA256(), label=IDENTITY)
        return seed, ek.key.encrypt(seed, oaep)
    ephemeral = ec.generate_private_key(ec.SECP256R1())
    point, static = ephemeral.public_key().public_numbers(), ek.key.public_numbers()
    x, y = point.x.to_bytes(POINT_BYTES), point.y.to_bytes(POINT_BYTES)
    shared = ephemeral.exchange(ec.ECDH(), ek.key)
    seed = kdfe(shared, IDENTITY, x, static.x.to_bytes(POINT_BYTES), 8 * SEED_BYTES)
    return seed, Writer().vec16(x).vec16(y).getvalue()
