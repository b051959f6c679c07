"""Key encapsulation: DHKEM(X25519, HKDF-SHA256) (RFC 9180, section 4.1), and X-Wing, which is X25519 beside ML-KEM-768.

X-Wing (draft-connolly-cfrg-xwing-kem, section 5; the MLKEM768-X25519 of draft-ietf-hpke-pq) is broken only where both
of its halves are: what is recorded today stays closed to a quantum computer. X25519, ML-KEM, SHAKE and HMAC are the
library's. What could tell an attacker which step of a decapsulation failed does not come out.

A private key stands in octets that can be overwritten, and every step that makes one from nothing goes through such
octets. Only `private_bytes` makes a copy that cannot be.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, NoReturn, Self, SupportsIndex

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHAKE256, XOFHash

from seclude.errors import DecodeError, UsageError

KEM_X25519: Final = 0x0020
KEM_XWING: Final = 0x647A

NSK: Final = 32  # octets of a private key: the scalar of X25519, the seed of X-Wing
SECRET_BYTES: Final = 32  # of the shared secret of either KEM
OPEN_FAILED: Final = "does not authenticate"  # one sentence for every cause: a second one would be an oracle


class Unique:
    """What must exist once: a copy would repeat nonces, or work twice; a pickle would leave the process."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is neither copied nor pickled")


class _DHKEM:
    """DHKEM(X25519, HKDF-SHA256): a key that is loaded, and its two operations, which raise ValueError."""

    __slots__ = ("_key", "public_key")
    nenc: ClassVar = 32
    npk: ClassVar = 32

    def __init__(self, sk: bytearray) -> None:
        self._key: Final = X25519PrivateKey.from_private_bytes(sk)
        self.public_key: Final = self._key.public_key().public_bytes_raw()

    def decap(self, enc: bytes) -> bytes:
        """Return the shared secret that `enc` carries."""
        return _extract_and_expand(_exchange(self._key, enc), enc + self.public_key)

    @staticmethod
    def encap(public_key: bytes, ephemeral: X25519PrivateKey) -> tuple[bytes, bytes]:
        """Return a shared secret and the `enc` that carries it."""
        enc = ephemeral.public_key().public_bytes_raw()
        return _extract_and_expand(_exchange(ephemeral, public_key), enc + public_key), enc


class _XWing:
    """X-Wing: the two keys that a seed stands for, and its two operations, which raise ValueError.

    The draft lets an X25519 secret of zero pass, for the half of ML-KEM still protects it; the library refuses it, and
    no honest peer sends one.
    """

    __slots__ = ("_mlkem", "_pk_x", "_x25519", "public_key")
    nenc: ClassVar = 1120
    npk: ClassVar = 1216
    label: ClassVar = bytes.fromhex("5c2e2f2f5e5c")  # a wing in ASCII: \./ above /^\
    npk_m: ClassVar = 1184  # octets of a public key that are ML-KEM's; X25519's follow
    nct_m: ClassVar = 1088  # octets of a ciphertext that are ML-KEM's

    def __init__(self, seed: bytearray) -> None:
        expanded = _expand(seed)
        try:
            self._mlkem: Final = MLKEM768PrivateKey.from_seed_bytes(memoryview(expanded)[:64])
            self._x25519: Final = X25519PrivateKey.from_private_bytes(memoryview(expanded)[64:])
        finally:
            _overwrite(expanded)
        self._pk_x: Final = self._x25519.public_key().public_bytes_raw()
        self.public_key: Final = self._mlkem.public_key().public_bytes_raw() + self._pk_x

    def decap(self, enc: bytes) -> bytes:
        """Return the shared secret that `enc` carries (section 5.5); ML-KEM makes up one where `enc` is none of its."""
        ct_m, ct_x = enc[: self.nct_m], enc[self.nct_m :]
        return self._combine(self._mlkem.decapsulate(ct_m), _exchange(self._x25519, ct_x), ct_x, self._pk_x)

    @classmethod
    def encap(cls, public_key: bytes) -> tuple[bytes, bytes]:
        """Return a shared secret and the `enc` that carries it (section 5.4)."""
        pk_m, pk_x = public_key[: cls.npk_m], public_key[cls.npk_m :]
        ephemeral = X25519PrivateKey.generate()
        ct_x = ephemeral.public_key().public_bytes_raw()
        ss_m, ct_m = MLKEM768PublicKey.from_public_bytes(pk_m).encapsulate()
        return cls._combine(ss_m, _exchange(ephemeral, pk_x), ct_x, pk_x), ct_m + ct_x

    @classmethod
    def _combine(cls, ss_m: bytes, ss_x: bytes, ct_x: bytes, pk_x: bytes) -> bytes:
        """Return the shared secret of both halves (section 5.3); ML-KEM binds its own ciphertext and public key."""
        return hashlib.sha3_256(ss_m + ss_x + ct_x + pk_x + cls.label).digest()


KEMS: Final[Mapping[int, type[_DHKEM | _XWing]]] = MappingProxyType({KEM_X25519: _DHKEM, KEM_XWING: _XWing})


class PrivateKey(Unique):
    """A KEM private key; its `repr` never changes. It is overwritten by `erase`, or when its last reference goes."""

    __slots__ = ("_loaded", "_sk", "kem", "public_key")

    def __init__(self, kem: int, sk: bytearray) -> None:
        """Take over the octets of a key; they are this object's from now on."""
        self._sk: Final = sk
        self._loaded: _DHKEM | _XWing | None = None
        if kem not in KEMS:
            raise UsageError(f"unsupported kem {kem:#06x}")
        if len(sk) != NSK:
            raise DecodeError("private key has a wrong length")
        self._loaded = KEMS[kem](sk)
        self.kem: Final = kem
        self.public_key: Final = self._loaded.public_key

    @classmethod
    def generate(cls, kem: int) -> Self:
        """Make a new key from the system's randomness."""
        sk = bytearray(NSK)
        for position in range(NSK):  # octet by octet: 32 at once would be an object that nothing overwrites
            sk[position] = secrets.randbits(8)
        return cls(kem, sk)

    @classmethod
    def from_bytes(cls, kem: int, sk: bytes) -> Self:
        """Take a serialized key; a wrong length raises DecodeError."""
        return cls(kem, bytearray(sk))

    @property
    def erased(self) -> bool:
        """Whether only the public key is left."""
        return self._loaded is None

    def decap(self, enc: bytes) -> bytes:
        """Return the shared secret that `enc`, of the right length, carries (Decap).

        Where X25519 agrees on zero, which must not be used (RFC 9180, section 7.1.4), it is a secret that nobody knows:
        what follows then fails to open as everything else does, and as late.
        """
        if self._loaded is None:
            raise UsageError("the private key was erased")
        if len(enc) != self._loaded.nenc:
            raise DecodeError(f"enc has a wrong length: {len(enc)} of {self._loaded.nenc}")
        try:
            return self._loaded.decap(enc)
        except ValueError:
            return secrets.token_bytes(SECRET_BYTES)

    def private_bytes(self) -> bytes:
        """Return the secret itself, to hand it to another member of the pool."""
        if self._loaded is None:
            raise UsageError("the private key was erased")
        return bytes(self._sk)

    def erase(self) -> None:
        """Overwrite the secret and let go of the library's keys, which clears them; only the public key remains."""
        self._loaded = None
        _overwrite(self._sk)

    def __del__(self) -> None:
        self.erase()

    def __repr__(self) -> str:
        return "<PrivateKey>"


def encap(kem: int, public_key: bytes, ephemeral: PrivateKey | None = None) -> tuple[bytes, bytes]:
    """Return a shared secret and the `enc` that carries it (Encap); a key that is unusable raises DecodeError.

    Only tests bring an ephemeral key, and only for X25519: the library has no derandomized encapsulation of ML-KEM.
    """
    if ephemeral is not None and (kem, ephemeral.kem) != (KEM_X25519, KEM_X25519):
        raise UsageError("an ephemeral key is for X25519 alone")
    try:
        if kem == KEM_XWING:
            return _XWing.encap(public_key)
        if ephemeral is None:
            return _DHKEM.encap(public_key, X25519PrivateKey.generate())
        return _DHKEM.encap(public_key, X25519PrivateKey.from_private_bytes(ephemeral.private_bytes()))
    except ValueError:  # a wrong length, a number that ML-KEM does not know, or an X25519 secret of zero
        raise DecodeError("public key is not usable") from None


def _exchange(private_key: X25519PrivateKey, public_key: bytes) -> bytes:
    """Return what X25519 agrees on; ValueError for a wrong length or, as RFC 9180, section 7.1.4, has it, for zero."""
    return private_key.exchange(X25519PublicKey.from_public_bytes(public_key))


_EAE_PRK: Final = b"HPKE-v1KEM\x00\x20eae_prk"
_SHARED_SECRET: Final = b"\x00\x20HPKE-v1KEM\x00\x20shared_secret"


def _extract_and_expand(dh: bytes, kem_context: bytes) -> bytes:
    """ExtractAndExpand of RFC 9180, section 4.1, with what depends on no message written out."""
    eae_prk = hmac.digest(b"", _EAE_PRK + dh, "sha256")
    return hmac.digest(eae_prk, _SHARED_SECRET + kem_context + b"\x01", "sha256")


def _expand(seed: bytearray) -> bytearray:
    """Return the 64 octets of a seed for ML-KEM and the 32 of an X25519 key (expandDecapsulationKey, section 5.2)."""
    expanded = bytearray(96)
    xof = XOFHash(SHAKE256(len(expanded)))
    xof.update(seed)
    for position in range(len(expanded)):  # octet by octet, as in `PrivateKey.generate`
        expanded[position] = xof.squeeze(1)[0]
    return expanded


def _overwrite(octets: bytearray) -> None:
    octets[:] = bytes(len(octets))
