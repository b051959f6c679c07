"""Hybrid public key encryption in base mode (RFC 9180), on pyhpke, which no other module imports.

Everything foreign stops here: a peer's fault comes out as DecodeError or OpenError, and what could tell an attacker
which step failed does not come out at all. Contexts are for one task at a time.
"""

import copy
import hmac
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pyhpke import AEADId, CipherSuite, ContextInterface, KDFId, KEMId, KEMKey, KEMKeyPair
from pyhpke import OpenError as ForeignOpenError
from pyhpke import SealError as ForeignSealError

from seclude.errors import DecodeError, OpenError, UsageError

KEM_X25519: Final = 0x0020
KDF_HKDF_SHA256: Final = 0x0001
AEAD_AES_128_GCM: Final = 0x0001
AEAD_CHACHA20_POLY1305: Final = 0x0003

NH: Final = 32  # octets of a SHA-256 digest
TAG_LENGTH: Final = 16  # octets that either AEAD adds to a plaintext
OPEN_FAILED: Final = "does not authenticate"  # one sentence for every cause: a second one would be an oracle

_NK: Final = {AEAD_AES_128_GCM: 16, AEAD_CHACHA20_POLY1305: 32}


@dataclass(frozen=True, slots=True)
class Suite:
    """A KEM, a KDF and an AEAD that we implement; any other raises UsageError."""

    kem: int
    kdf: int
    aead: int

    def __post_init__(self) -> None:
        if self.kem != KEM_X25519 or self.kdf != KDF_HKDF_SHA256 or self.aead not in _NK:
            raise UsageError(f"unsupported suite {self.kem:#06x}, {self.kdf:#06x}, {self.aead:#06x}")

    @property
    def nk(self) -> int:
        """Octets of an AEAD key."""
        return _NK[self.aead]

    @property
    def nn(self) -> int:
        """Octets of an AEAD nonce."""
        return 12

    @property
    def nenc(self) -> int:
        """Octets of an encapsulated key."""
        return 32

    @property
    def npk(self) -> int:
        """Octets of a public key."""
        return 32


class PrivateKey:
    """A KEM private key; its `repr` never changes."""

    __slots__ = ("_foreign", "_key", "kem", "public_key")

    def __init__(self, kem: int, key: X25519PrivateKey) -> None:
        if kem != KEM_X25519:
            raise UsageError(f"unsupported kem {kem:#06x}")
        self.kem: Final = kem
        self.public_key: Final = key.public_key().public_bytes_raw()
        self._key = key
        self._foreign = KEMKey.from_pyca_cryptography_key(key)

    @classmethod
    def generate(cls, kem: int) -> Self:
        """Make a new key from the system's randomness."""
        return cls(kem, X25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, kem: int, sk: bytes) -> Self:
        """Take a serialized key; a wrong length raises DecodeError."""
        try:
            return cls(kem, X25519PrivateKey.from_private_bytes(sk))
        except ValueError:
            raise DecodeError("private key has a wrong length") from None

    def private_bytes(self) -> bytes:
        """Return the secret itself, to hand it to another member of the pool."""
        return self._key.private_bytes_raw()

    def __repr__(self) -> str:
        return "<PrivateKey>"


class SenderContext:
    """The sender's end of one encapsulation; only `setup_sender` makes one."""

    __slots__ = ("_context",)

    def __init__(self, context: ContextInterface) -> None:
        self._context = context

    def seal(self, aad: bytes, plaintext: bytes) -> bytes:
        """Encrypt the next message of the sequence."""
        try:
            return self._context.seal(plaintext, aad)
        except ForeignSealError:  # only what no message of ours is, such as one of 2 GiB
            raise UsageError("this cannot be sealed") from None

    def export(self, exporter_context: bytes, length: int) -> bytes:
        """Derive a secret that both ends share (RFC 9180, section 5.3)."""
        return _export(self._context, exporter_context, length)


class RecipientContext:
    """The recipient's end of one encapsulation; only `setup_recipient` makes one."""

    __slots__ = ("_context",)

    def __init__(self, context: ContextInterface) -> None:
        self._context = context

    def open(self, aad: bytes, ciphertext: bytes) -> bytes:
        """Decrypt the next message of the sequence; a failure raises OpenError and leaves the sequence where it was."""
        # pyhpke counts a failed message; RFC 9180, section 5.2, counts only those that opened. So a copy goes first.
        attempt = copy.copy(self._context)
        try:
            plaintext = attempt.open(ciphertext, aad)
        except ForeignOpenError:
            raise OpenError(OPEN_FAILED) from None
        self._context = attempt
        return plaintext

    def export(self, exporter_context: bytes, length: int) -> bytes:
        """Derive a secret that both ends share (RFC 9180, section 5.3)."""
        return _export(self._context, exporter_context, length)


def setup_sender(
    suite: Suite, public_key: bytes, info: bytes, *, testing_only_ephemeral: PrivateKey | None = None
) -> tuple[bytes, SenderContext]:
    """Encapsulate to a public key (SetupBaseS); a key that is unusable raises DecodeError."""
    foreign = _cipher_suite(suite)
    kem = foreign.kem
    eks: KEMKeyPair | None = None  # pyhpke then makes a new one
    if testing_only_ephemeral is not None:
        eks_public = kem.deserialize_public_key(testing_only_ephemeral.public_key)
        eks = KEMKeyPair(testing_only_ephemeral._foreign, eks_public)
    try:
        enc, context = foreign.create_sender_context(kem.deserialize_public_key(public_key), info, eks=eks)
    except ValueError:  # a wrong length, or a point of low order: the shared secret would be zero (RFC 9180, 7.1.4)
        raise DecodeError("public key is not usable") from None
    return enc, SenderContext(context)


def setup_recipient(suite: Suite, private_key: PrivateKey, enc: bytes, info: bytes) -> RecipientContext:
    """Decapsulate (SetupBaseR); `enc` of a wrong length raises DecodeError, of low order OpenError."""
    if private_key.kem != suite.kem:
        raise UsageError("the private key is for another kem")
    if len(enc) != suite.nenc:
        raise DecodeError(f"enc has a wrong length: {len(enc)} of {suite.nenc}")
    try:
        context = _cipher_suite(suite).create_recipient_context(enc, private_key._foreign, info)
    except ValueError:  # the shared secret is all zero (RFC 9180, section 7.1.4)
        raise OpenError(OPEN_FAILED) from None
    return RecipientContext(context)


def extract(salt: bytes, ikm: bytes) -> bytes:
    """Return the pseudorandom key of HKDF-SHA256 (RFC 5869, section 2.2), without HPKE's labels."""
    return hmac.digest(salt, ikm, "sha256")


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    """Return `length` octets of HKDF-SHA256 (RFC 5869, section 2.3), without HPKE's labels."""
    _check_expandable(length)
    okm = block = b""
    for counter in range(1, -(-length // NH) + 1):
        block = hmac.digest(prk, block + info + bytes([counter]), "sha256")
        okm += block
    return okm[:length]


def aead_seal(suite: Suite, key: bytes, nonce: bytes, aad: bytes, pt: bytes) -> bytes:
    """Encrypt under a key and nonce of the caller's, who must never use that pair twice."""
    _check_aead_input(suite, key, nonce)
    return _cipher_suite(suite).aead.import_key(key).seal(pt, nonce, aad)


def aead_open(suite: Suite, key: bytes, nonce: bytes, aad: bytes, ct: bytes) -> bytes:
    """Decrypt under a key and nonce of the caller's; every failure raises the same OpenError."""
    _check_aead_input(suite, key, nonce)
    try:
        return _cipher_suite(suite).aead.import_key(key).open(ct, nonce, aad)
    except InvalidTag:
        raise OpenError(OPEN_FAILED) from None


@lru_cache(maxsize=len(_NK))  # one entry for each suite that Suite accepts
def _cipher_suite(suite: Suite) -> CipherSuite:
    return CipherSuite.new(KEMId(suite.kem), KDFId(suite.kdf), AEADId(suite.aead))


def _export(context: ContextInterface, exporter_context: bytes, length: int) -> bytes:
    _check_expandable(length)
    return context.export(exporter_context, length)


def _check_expandable(length: int) -> None:
    if not 0 <= length <= 255 * NH:  # HKDF counts its blocks in one octet
        raise UsageError(f"cannot derive {length} octets")


def _check_aead_input(suite: Suite, key: bytes, nonce: bytes) -> None:
    if len(key) != suite.nk or len(nonce) != suite.nn:
        raise UsageError("key or nonce has a wrong length")
