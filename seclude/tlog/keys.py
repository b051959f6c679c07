"""Keys of logs, witnesses and publishers, and their texts (C2SP signed-note, tlog-cosignature).

    verifier key = name+hex(key id)+base64(algorithm, public key)
    signer key   = PRIVATE+KEY+name+hex(key id)+base64(algorithm, seed)
    key id       = SHA-256(name, newline, algorithm, public key)[:4]

The algorithm says what the key signs, not only how: 0x01 signs texts, 0x04 and 0x06 sign statements about checkpoints.
The signer's text is Go's; C2SP has none. This module signs and verifies octets; which octets, others say.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from seclude.errors import ConfigError, DecodeError, EvidenceError, UsageError
from seclude.tlog.canonical import parse_base64, to_base64
from seclude.tlog.note import KEY_ID_BYTES, is_key_name

ED25519: Final = 0x01
COSIGNATURE_ED25519: Final = 0x04
ML_DSA_44: Final = 0x06

SEED_BYTES: Final = 32  # of a private key, for both
PUBLIC_BYTES: Final = {ED25519: 32, COSIGNATURE_ED25519: 32, ML_DSA_44: 1312}
SIGNATURE_BYTES: Final = {ED25519: 64, COSIGNATURE_ED25519: 64, ML_DSA_44: 2420}
PRIVATE: Final = "PRIVATE+KEY+"


class PublicKey(Protocol):
    """What both libraries' keys have in common."""

    def verify(self, signature: bytes, data: bytes, /) -> None: ...


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key under its name; `str()` is its text."""

    name: str
    algorithm: int
    public_key: bytes = field(repr=False)  # 1312 octets, for ML-DSA-44
    key_id: bytes = field(init=False)
    _loaded: PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            raise UsageError("a key's name is empty, too long, or has a space, a plus or a control character")
        if len(self.public_key) != PUBLIC_BYTES.get(self.algorithm):
            raise UsageError(f"no public key of algorithm {self.algorithm:#04x} has {len(self.public_key)} octets")
        hashed = hashlib.sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public_key)
        object.__setattr__(self, "key_id", hashed.digest()[:KEY_ID_BYTES])
        loaded: PublicKey
        if self.algorithm == ML_DSA_44:
            loaded = MLDSA44PublicKey.from_public_bytes(self.public_key)
        else:
            loaded = Ed25519PublicKey.from_public_bytes(self.public_key)
        object.__setattr__(self, "_loaded", loaded)

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{to_base64(bytes([self.algorithm]) + self.public_key)}"

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check a signature over exactly these octets."""
        try:
            self._loaded.verify(signature, message)
        except InvalidSignature:
            raise EvidenceError(f"signature of {self.name} is not good") from None


@dataclass(frozen=True, slots=True)
class SignerKey:
    """A private key under its name; it shows itself to nobody who does not ask `encode_skey`."""

    verifier: VerifierKey
    _seed: bytes = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """Return a signature over exactly these octets; only the modules that say which octets call it."""
        return _load_private(self.verifier.algorithm, self._seed).sign(message)


def parse_vkey(text: str) -> VerifierKey:
    """Read a verifier key; what is wrong with it is a ConfigError, since a person wrote it."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    algorithm, public_key = _parse_material(encoded, "verifier key")
    if len(public_key) != PUBLIC_BYTES[algorithm]:
        raise ConfigError(
            f"verifier key: {len(public_key)} octets of public key, not the {PUBLIC_BYTES[algorithm]} of its kind"
        )
    return _require_id(name, key_id, VerifierKey(_require_name(name), algorithm, public_key))


def generate_skey(name: str, algorithm: int) -> SignerKey:
    """Make a new key."""
    if algorithm not in PUBLIC_BYTES:
        raise UsageError(f"no algorithm {algorithm:#04x}")
    private = MLDSA44PrivateKey if algorithm == ML_DSA_44 else Ed25519PrivateKey
    return _signer(_require_name(name), algorithm, private.generate().private_bytes_raw())


def encode_skey(key: SignerKey) -> str:
    """Return the text of a private key, for a file that only its owner can read."""
    verifier = key.verifier
    material = to_base64(bytes([verifier.algorithm]) + key._seed)
    return f"{PRIVATE}{verifier.name}+{verifier.key_id.hex()}+{material}"


def parse_skey(text: str) -> SignerKey:
    """Read the text of a private key; no error repeats any of it."""
    if not text.startswith(PRIVATE):
        raise ConfigError(f"private key: does not begin with {PRIVATE}")
    name, _, rest = text.removeprefix(PRIVATE).partition("+")
    key_id, _, encoded = rest.partition("+")
    algorithm, seed = _parse_material(encoded, "private key")
    if len(seed) != SEED_BYTES:
        raise ConfigError(f"private key: {len(seed)} octets of seed, not {SEED_BYTES}")
    signer = _signer(_require_name(name), algorithm, seed)
    _require_id(name, key_id, signer.verifier)
    return signer


def _parse_material(encoded: str, what: str) -> tuple[int, bytes]:
    try:
        material = parse_base64(encoded, what)
    except DecodeError as exc:
        raise ConfigError(f"{exc}; it is name+8 hex digits+base64") from None
    if not material or material[0] not in PUBLIC_BYTES:
        known = ", ".join(f"{algorithm:#04x}" for algorithm in PUBLIC_BYTES)
        raise ConfigError(f"{what}: its algorithm is none of {known}")
    return material[0], material[1:]


def _require_name(name: str) -> str:
    if not is_key_name(name):
        raise ConfigError("key name: must not be empty, over 255 octets, or have spaces, pluses or control characters")
    return name


def _require_id(name: str, key_id: str, verifier: VerifierKey) -> VerifierKey:
    if key_id != verifier.key_id.hex():
        raise ConfigError(f"key of {name}: its id is not that of its name and public key; copy the whole line again")
    return verifier


def _load_private(algorithm: int, seed: bytes) -> Ed25519PrivateKey | MLDSA44PrivateKey:
    if algorithm == ML_DSA_44:
        return MLDSA44PrivateKey.from_seed_bytes(seed)
    return Ed25519PrivateKey.from_private_bytes(seed)


def _signer(name: str, algorithm: int, seed: bytes) -> SignerKey:
    public_key = _load_private(algorithm, seed).public_key().public_bytes_raw()
    return SignerKey(VerifierKey(name, algorithm, public_key), seed)
