"""Key configurations and the header of an encapsulated request (RFC 9458, sections 3.1, 3.2 and 4.1).

Only bytes and numbers: the relay and the gateway read them, and neither loads any cryptography.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from seclude.errors import DecodeError, TooLargeError, UnknownKeyError, UsageError
from seclude.wire import Reader, Writer

# Npk by KEM identifier. The encoding does not give the length of a public key, so a reader must know it:
# RFC 9180, section 7.1, and draft-ietf-hpke-pq. Standing here does not mean that anything uses the KEM.
PUBLIC_KEY_LENGTHS: Final[Mapping[int, int]] = MappingProxyType(
    {
        0x0010: 65,  # DHKEM(P-256)
        0x0011: 97,  # DHKEM(P-384)
        0x0012: 133,  # DHKEM(P-521)
        0x0020: 32,  # DHKEM(X25519)
        0x0021: 56,  # DHKEM(X448)
        0x0030: 1216,  # X25519Kyber768Draft00, obsolete, but still the first one that some gateways list
        0x0040: 800,  # ML-KEM-512
        0x0041: 1184,  # ML-KEM-768
        0x0042: 1568,  # ML-KEM-1024
        0x0050: 1249,  # MLKEM768-P256
        0x0051: 1665,  # MLKEM1024-P384
        0x647A: 1216,  # X-Wing, MLKEM768-X25519
    }
)
MAX_KEY_CONFIGS: Final = 256  # a key identifier is one octet; a longer list could not tell its keys apart
REQUEST_HEADER_LENGTH: Final = 7


@dataclass(frozen=True, slots=True)
class SymmetricAlgorithms:
    """A KDF and an AEAD that go together (RFC 9180, sections 7.2 and 7.3)."""

    kdf: int
    aead: int


@dataclass(frozen=True, slots=True)
class KeyConfig:
    """A public key of the gateway and what may be used with it."""

    key_id: int
    kem: int
    public_key: bytes
    algorithms: tuple[SymmetricAlgorithms, ...]


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """What an encapsulated request says in the clear: the key and the suite it was made for."""

    key_id: int
    kem: int
    kdf: int
    aead: int


def parse_key_config(data: bytes) -> KeyConfig:
    """Read one key configuration (RFC 9458, section 3.1); a KEM that is not in the table raises DecodeError."""
    reader = Reader(data)
    key_id = reader.u8("key_id")
    kem = reader.u16("kem_id")
    npk = PUBLIC_KEY_LENGTHS.get(kem)
    if npk is None:
        raise DecodeError(f"unknown kem_id {kem:#06x}: the length of its public key is not known")
    public_key = reader.take(npk, "public key")
    algorithms = Reader(reader.vec16("symmetric algorithms"))
    reader.finish("key configuration")
    if algorithms.remaining == 0 or algorithms.remaining % 4:
        raise DecodeError(f"symmetric algorithms are not groups of 4 octets: {algorithms.remaining}")
    pairs = []
    while algorithms.remaining:
        pairs.append(SymmetricAlgorithms(kdf=algorithms.u16("kdf_id"), aead=algorithms.u16("aead_id")))
    return KeyConfig(key_id, kem, public_key, tuple(pairs))


def serialize_key_config(config: KeyConfig) -> bytes:
    """Write one key configuration."""
    if len(config.public_key) != PUBLIC_KEY_LENGTHS.get(config.kem):
        raise UsageError("the public key does not have the length of its KEM")
    if not config.algorithms:
        raise UsageError("a key configuration needs symmetric algorithms")
    algorithms = Writer()
    for pair in config.algorithms:
        algorithms.u16(pair.kdf).u16(pair.aead)
    head = Writer().u8(config.key_id).u16(config.kem).raw(config.public_key)
    return head.vec16(algorithms.getvalue()).getvalue()


def parse_key_configs(data: bytes) -> tuple[KeyConfig, ...]:
    """Read an `application/ohttp-keys` list (RFC 9458, section 3.2).

    Any encoding error discards the whole list. A configuration for a KEM that is not in the table is left out, for
    its length is given and it is not malformed; so the result may be empty, but the list itself may not.
    """
    reader = Reader(data)
    configs = []
    for _ in range(MAX_KEY_CONFIGS):
        entry = reader.vec16("key configuration")
        if _kem_of(entry) in PUBLIC_KEY_LENGTHS:
            configs.append(parse_key_config(entry))
        if not reader.remaining:
            return tuple(configs)
    raise TooLargeError(f"more than {MAX_KEY_CONFIGS} key configurations")


def serialize_key_configs(configs: Sequence[KeyConfig]) -> bytes:
    """Write an `application/ohttp-keys` list, the most wanted key first; it holds at least one."""
    if not 1 <= len(configs) <= MAX_KEY_CONFIGS:
        raise UsageError(f"a list holds between 1 and {MAX_KEY_CONFIGS} key configurations: {len(configs)}")
    writer = Writer()
    for config in configs:
        writer.vec16(serialize_key_config(config))
    return writer.getvalue()


def choose(configs: Iterable[KeyConfig], kem: int, kdf: int, aead: int) -> KeyConfig:
    """Return the first configuration that offers this suite; raise UnknownKeyError where none does.

    Key identifiers may repeat across KEMs, so the suite and the order decide, never the identifier.
    """
    for config in configs:
        if config.kem == kem and SymmetricAlgorithms(kdf, aead) in config.algorithms:
            return config
    raise UnknownKeyError(f"no key configuration offers kem {kem:#06x}, kdf {kdf:#06x}, aead {aead:#06x}")


def parse_request_header(data: bytes) -> RequestHeader:
    """Read the first 7 octets of an encapsulated request; what follows them is not looked at."""
    reader = Reader(data)
    return RequestHeader(reader.u8("key_id"), reader.u16("kem_id"), reader.u16("kdf_id"), reader.u16("aead_id"))


def serialize_request_header(header: RequestHeader) -> bytes:
    """Write the 7 octets that begin an encapsulated request."""
    return Writer().u8(header.key_id).u16(header.kem).u16(header.kdf).u16(header.aead).getvalue()


def _kem_of(entry: bytes) -> int:
    reader = Reader(entry)
    reader.u8("key_id")
    return reader.u16("kem_id")
