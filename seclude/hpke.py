"""Hybrid public key encryption in base mode (RFC 9180), with a key schedule of our own on `cryptography`.

HMAC and the AEADs are the library's, the KEMs are in `kem`; what stands here is section 5 of the RFC, with everything
that does not depend on the message computed once. It is tested against the RFC's vectors and against pyhpke, which
takes half as long again. What could tell an attacker which step failed does not come out. Contexts are for one task at
a time.
"""

import hmac
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from seclude.errors import OpenError, UsageError
from seclude.kem import KEM_X25519 as KEM_X25519  # under the same name: who uses HPKE finds its keys here
from seclude.kem import KEM_XWING as KEM_XWING
from seclude.kem import KEMS, encap
from seclude.kem import OPEN_FAILED as OPEN_FAILED
from seclude.kem import PrivateKey as PrivateKey
from seclude.kem import Unique as Unique

KDF_HKDF_SHA256: Final = 0x0001
AEAD_AES_128_GCM: Final = 0x0001
AEAD_CHACHA20_POLY1305: Final = 0x0003

NH: Final = 32  # octets of a SHA-256 digest
TAG_LENGTH: Final = 16  # octets that either AEAD adds to a plaintext
MAX_AEAD_BYTES: Final = (1 << 31) - 1  # of one text; beyond it OpenSSL's binding panics, which no handler expects
TOO_LONG: Final = "longer than an AEAD of the library takes"

MAX_SEQUENCE: Final = (1 << 96) - 1  # messages of one context, by the length of a nonce (section 5.2)

_NK: Final = {AEAD_AES_128_GCM: 16, AEAD_CHACHA20_POLY1305: 32}
_VERSION: Final = b"HPKE-v1"
_MODE_BASE: Final = b"\x00"
_CONTEXTS_KEPT: Final = 64  # of (suite, info): two suites for each key configuration that is live


@dataclass(frozen=True, slots=True)
class Suite:
    """A KEM, a KDF and an AEAD that we implement; any other raises UsageError."""

    kem: int
    kdf: int
    aead: int
    nk: int = field(init=False, repr=False, compare=False)
    """Octets of an AEAD key."""
    nn: int = field(default=12, init=False, repr=False, compare=False)
    """Octets of an AEAD nonce."""
    nenc: int = field(init=False, repr=False, compare=False)
    """Octets of an encapsulated key."""
    npk: int = field(init=False, repr=False, compare=False)
    """Octets of a public key."""

    def __post_init__(self) -> None:
        if self.kem not in KEMS or self.kdf != KDF_HKDF_SHA256 or self.aead not in _NK:
            raise UsageError(f"unsupported suite {self.kem:#06x}, {self.kdf:#06x}, {self.aead:#06x}")
        kem = KEMS[self.kem]
        for name, octets in (("nk", _NK[self.aead]), ("nenc", kem.nenc), ("npk", kem.npk)):
            object.__setattr__(self, name, octets)


class _Context(Unique):
    """What both ends of an encapsulation share (section 5.1)."""

    __slots__ = ("_aead", "_base_nonce", "_exporter_secret", "_prefix", "_sequence", "_suite")

    def __init__(self, suite: Suite, schedule: "_Schedule", shared_secret: bytes) -> None:
        secret = hmac.digest(shared_secret, schedule.secret_label, "sha256")
        key = hmac.digest(secret, schedule.key_info, "sha256")[: suite.nk]
        self._aead = _cipher(suite, key)
        self._base_nonce = int.from_bytes(hmac.digest(secret, schedule.nonce_info, "sha256")[: suite.nn])
        self._exporter_secret = hmac.digest(secret, schedule.exporter_info, "sha256")
        self._prefix = schedule.prefix
        self._sequence = 0
        self._suite = suite

    def export(self, exporter_context: bytes, length: int) -> bytes:
        """Derive a secret that both ends share (RFC 9180, section 5.3)."""
        _check_expandable(length)
        return expand(self._exporter_secret, length.to_bytes(2) + self._prefix + b"sec" + exporter_context, length)

    def _nonce(self) -> bytes:
        if self._sequence >= MAX_SEQUENCE:
            raise UsageError("a context has sealed all that it may")
        return (self._base_nonce ^ self._sequence).to_bytes(self._suite.nn)


class SenderContext(_Context):
    """The sender's end of one encapsulation; only `setup_sender` makes one."""

    __slots__ = ()

    def seal(self, aad: bytes, plaintext: bytes) -> bytes:
        """Encrypt the next message of the sequence."""
        if not _fits(aad, plaintext):
            raise UsageError(TOO_LONG)
        ciphertext = self._aead.encrypt(self._nonce(), plaintext, aad)
        self._sequence += 1
        return ciphertext


class RecipientContext(_Context):
    """The recipient's end of one encapsulation; only `setup_recipient` makes one."""

    __slots__ = ()

    def open(self, aad: bytes, ciphertext: bytes) -> bytes:
        """Decrypt the next message of the sequence; a failure raises OpenError and leaves the sequence where it was."""
        if not _fits(aad, ciphertext):
            raise OpenError(OPEN_FAILED)
        try:
            plaintext = self._aead.decrypt(self._nonce(), ciphertext, aad)
        except InvalidTag:
            raise OpenError(OPEN_FAILED) from None
        self._sequence += 1
        return plaintext


def setup_sender(
    suite: Suite, public_key: bytes, info: bytes, *, testing_only_ephemeral: PrivateKey | None = None
) -> tuple[bytes, SenderContext]:
    """Encapsulate to a public key (SetupBaseS); a key that is unusable raises DecodeError."""
    shared_secret, enc = encap(suite.kem, public_key, testing_only_ephemeral)
    return enc, SenderContext(suite, _schedule(suite, info), shared_secret)


def setup_recipient(suite: Suite, private_key: PrivateKey, enc: bytes, info: bytes) -> RecipientContext:
    """Decapsulate (SetupBaseR); `enc` of a wrong length raises DecodeError, and what is no good opens nothing."""
    if private_key.kem != suite.kem:
        raise UsageError("the private key is for another kem")
    return RecipientContext(suite, _schedule(suite, info), private_key.decap(enc))


def extract(salt: bytes, ikm: bytes) -> bytes:
    """Return the pseudorandom key of HKDF-SHA256 (RFC 5869, section 2.2), without HPKE's labels."""
    return hmac.digest(salt, ikm, "sha256")


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    """Return `length` octets of HKDF-SHA256 (RFC 5869, section 2.3), without HPKE's labels."""
    if 0 < length <= NH:  # one block, as nearly always
        return hmac.digest(prk, info + b"\x01", "sha256")[:length]
    _check_expandable(length)
    okm = block = b""
    for counter in range(1, -(-length // NH) + 1):
        block = hmac.digest(prk, block + info + bytes([counter]), "sha256")
        okm += block
    return okm[:length]


def aead_seal(suite: Suite, key: bytes, nonce: bytes, aad: bytes, pt: bytes) -> bytes:
    """Encrypt under a key and nonce of the caller's, who must never use that pair twice."""
    _check_aead_input(suite, key, nonce)
    if not _fits(aad, pt):
        raise UsageError(TOO_LONG)
    return _cipher(suite, key).encrypt(nonce, pt, aad)


def aead_open(suite: Suite, key: bytes, nonce: bytes, aad: bytes, ct: bytes) -> bytes:
    """Decrypt under a key and nonce of the caller's; every failure raises the same OpenError."""
    _check_aead_input(suite, key, nonce)
    if not _fits(aad, ct):
        raise OpenError(OPEN_FAILED)
    try:
        return _cipher(suite, key).decrypt(nonce, ct, aad)
    except InvalidTag:
        raise OpenError(OPEN_FAILED) from None


@dataclass(frozen=True, slots=True)
class _Schedule:
    """What of the key schedule depends on nothing but the suite and the info."""

    prefix: bytes
    """What stands before every label."""
    secret_label: bytes
    key_info: bytes
    nonce_info: bytes
    exporter_info: bytes


# A request's info is made of identifiers that were found among the keys held, so no peer adds to these. The info of a
# join has a nonce in it: it pushes another out, which costs that one's next request two hashes. None of it is secret.
@lru_cache(maxsize=_CONTEXTS_KEPT)
def _schedule(suite: Suite, info: bytes) -> _Schedule:
    """Return the constants of KeySchedule (section 5.1), in base mode: psk and psk_id are empty."""
    prefix = _VERSION + _suite_id(suite)
    psk_id_hash = extract(b"", prefix + b"psk_id_hash")
    context = _MODE_BASE + psk_id_hash + extract(b"", prefix + b"info_hash" + info)

    def expansion(length: int, label: bytes) -> bytes:
        return length.to_bytes(2) + prefix + label + context + b"\x01"  # of the one block that HKDF-Expand needs

    return _Schedule(
        prefix,
        prefix + b"secret",
        expansion(suite.nk, b"key"),
        expansion(suite.nn, b"base_nonce"),
        expansion(NH, b"exp"),
    )


def _suite_id(suite: Suite) -> bytes:
    return b"HPKE" + suite.kem.to_bytes(2) + suite.kdf.to_bytes(2) + suite.aead.to_bytes(2)


def _cipher(suite: Suite, key: bytes) -> AESGCM | ChaCha20Poly1305:
    return AESGCM(key) if suite.aead == AEAD_AES_128_GCM else ChaCha20Poly1305(key)


def _check_expandable(length: int) -> None:
    if not 0 <= length <= 255 * NH:  # HKDF counts its blocks in one octet
        raise UsageError(f"cannot derive {length} octets")


def _fits(aad: bytes, text: bytes) -> bool:
    return len(aad) <= MAX_AEAD_BYTES and len(text) <= MAX_AEAD_BYTES


def _check_aead_input(suite: Suite, key: bytes, nonce: bytes) -> None:
    if len(key) != suite.nk or len(nonce) != suite.nn:
        raise UsageError("key or nonce has a wrong length")
