"""Structures of a TPM 2.0 on the wire: quotes, public areas of keys, signatures (TPM 2.0 Part 2: Structures).

Only what attestation needs: TPMS_ATTEST of type quote (10.12.8), TPMT_PUBLIC of RSA and ECC keys (12.2.4), and
TPMT_SIGNATURE of ECDSA, RSASSA and RSAPSS (11.3.4). Integers are big-endian. Parsing decides nothing about trust: that
is `tpm.py`.
"""

import hashlib
from dataclasses import dataclass
from enum import IntFlag
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from seclude.errors import DecodeError, EvidenceError, UsageError
from seclude.wire import Reader

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

GENERATED: Final = 0xFF544347  # TPM_GENERATED_VALUE: no restricted key signs foreign data that begins with it
QUOTE: Final = 0x8018  # TPM_ST_ATTEST_QUOTE
ENDORSEMENT: Final = 0x4000000B  # TPM_RH_ENDORSEMENT

# TPM_ALG_ID (section 6.3).
RSA: Final = 0x0001
AES: Final = 0x0006
SHA256: Final = 0x000B
NULL: Final = 0x0010
RSASSA: Final = 0x0014
RSAPSS: Final = 0x0016
ECDSA: Final = 0x0018
ECC: Final = 0x0023
CFB: Final = 0x0043

# TPM_ECC_CURVE (section 6.4): the curves, and the octets of a coordinate.
CURVES: Final = MappingProxyType({0x0003: (ec.SECP256R1(), 32), 0x0004: (ec.SECP384R1(), 48)})
RSA_BITS: Final = frozenset({2048, 3072, 4096})
MAX_DIGEST: Final = 64  # octets; SHA-512, the largest hash that a TPM has
MAX_NAME: Final = 2 + MAX_DIGEST
MAX_SELECTIONS: Final = 8  # hash banks; TPMs have one to four
MAX_SELECT: Final = 4  # octets of a bitmap of PCRs; a PC's TPM has 24 of them


class Attributes(IntFlag):
    """TPMA_OBJECT (section 8.3), as far as it matters here."""

    FIXED_TPM = 1 << 1
    FIXED_PARENT = 1 << 4
    SENSITIVE_DATA_ORIGIN = 1 << 5
    USER_WITH_AUTH = 1 << 6
    ADMIN_WITH_POLICY = 1 << 7
    NO_DA = 1 << 10
    RESTRICTED = 1 << 16
    DECRYPT = 1 << 17
    SIGN = 1 << 18


@dataclass(frozen=True, slots=True)
class Selection:
    """TPMS_PCR_SELECTION: one bank, and a bitmap of its PCRs, the lowest first."""

    hash: int
    bitmap: bytes


@dataclass(frozen=True, slots=True)
class Quote:
    """TPMS_ATTEST with TPMS_QUOTE_INFO: PCRs at one moment, under a signature that is somewhere else."""

    qualified_signer: bytes
    extra_data: bytes
    clock: int
    """Milliseconds that the TPM was powered since its clock was set back."""
    reset_count: int
    restart_count: int
    safe: bool
    """Whether no greater value of the clock was reported before, which an unorderly shutdown may bring about."""
    firmware_version: int
    selections: tuple[Selection, ...]
    pcr_digest: bytes


@dataclass(frozen=True, slots=True)
class Public:
    """TPMT_PUBLIC of an RSA or ECC key."""

    encoded: bytes
    """The structure as it came: what the key's Name is a hash of."""
    attributes: int
    symmetric_bits: int
    """The size of the AES-CFB key with which a storage key protects what is under it; 0 for others."""
    scheme: int
    """ECDSA, RSASSA, RSAPSS, each with SHA-256; or NULL."""
    key: PublicKey

    @property
    def name(self) -> bytes:
        """The key's Name (Part 1, section 16): what a TPM calls it by."""
        return name_of(self.encoded)

    @property
    def qualified_name(self) -> bytes:
        """The Qualified Name (Part 1, section 26.5) that the key has as a primary key of the endorsement hierarchy."""
        return name_of(ENDORSEMENT.to_bytes(4) + self.name)

    @property
    def spki_digest(self) -> bytes:
        """SHA-256 of the key's SubjectPublicKeyInfo."""
        return spki_digest(self.key)


@dataclass(frozen=True, slots=True)
class Signature:
    """TPMT_SIGNATURE over SHA-256; `values` are (r, s), or (the signature,) as an integer."""

    scheme: int
    values: tuple[int, ...]


def name_of(octets: bytes) -> bytes:
    """Return a Name with SHA-256 as the name algorithm."""
    return SHA256.to_bytes(2) + hashlib.sha256(octets).digest()


def spki_digest(key: PublicKey) -> bytes:
    """Return the SHA-256 of a SubjectPublicKeyInfo."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def parse_quote(data: bytes) -> Quote:
    """Read a TPMS_ATTEST; one that no TPM generated or that is no quote raises `EvidenceError`."""
    reader = Reader(data)
    if (magic := reader.u32("magic")) != GENERATED:
        raise EvidenceError(f"the attested structure begins with {magic:#010x}, so no TPM generated it")
    if (kind := reader.u16("type")) != QUOTE:
        raise EvidenceError(f"the attested structure is of type {kind:#06x}, not a quote")
    quote = Quote(
        qualified_signer=reader.vec16("qualifiedSigner", MAX_NAME),
        extra_data=reader.vec16("extraData", MAX_DIGEST),
        clock=reader.u64("clock"),
        reset_count=reader.u32("resetCount"),
        restart_count=reader.u32("restartCount"),
        safe=_yes_no(reader, "safe"),
        firmware_version=reader.u64("firmwareVersion"),
        selections=_selections(reader),
        pcr_digest=reader.vec16("pcrDigest", MAX_DIGEST),
    )
    reader.finish("TPMS_ATTEST")
    return quote


def parse_public(data: bytes) -> Public:
    """Read a TPMT_PUBLIC with SHA-256 as its name algorithm."""
    reader = Reader(data)
    kind = reader.u16("type")
    if kind not in (RSA, ECC):
        raise DecodeError(f"type of the key is {kind:#06x}, neither RSA nor ECC")
    if (name_alg := reader.u16("nameAlg")) != SHA256:
        raise DecodeError(f"nameAlg is {name_alg:#06x}, not SHA-256")
    attributes = reader.u32("objectAttributes")
    reader.vec16("authPolicy", MAX_DIGEST)
    symmetric_bits = _symmetric(reader)
    scheme = _scheme(reader, (ECDSA,) if kind == ECC else (RSASSA, RSAPSS))
    key: PublicKey = _ecc_key(reader) if kind == ECC else _rsa_key(reader)
    reader.finish("TPMT_PUBLIC")
    return Public(data, attributes, symmetric_bits, scheme, key)


def parse_signature(data: bytes) -> Signature:
    """Read a TPMT_SIGNATURE over a SHA-256 digest."""
    reader = Reader(data)
    scheme = _scheme(reader, (ECDSA, RSASSA, RSAPSS))
    if scheme == NULL:
        raise DecodeError("the signature has no scheme")
    fields, limit = (("signatureR", "signatureS"), 48) if scheme == ECDSA else (("sig",), 512)
    # Some TPMs leave out leading zeros, so that the length of a value says nothing.
    values = tuple(int.from_bytes(reader.vec16(field, limit)) for field in fields)
    reader.finish("TPMT_SIGNATURE")
    return Signature(scheme, values)


def pcr_selection(numbers: frozenset[int]) -> Selection:
    """Return the selection of PCRs of the SHA-256 bank as a PC's TPM writes it: a bitmap of 24 (section 10.6.1)."""
    if not all(0 <= number < 24 for number in numbers):
        raise UsageError("PCRs are numbered from 0 to 23")
    return Selection(SHA256, sum(1 << number for number in numbers).to_bytes(3, "little"))


def _yes_no(reader: Reader, field: str) -> bool:
    value = reader.u8(field)
    if value > 1:
        raise DecodeError(f"{field} is {value}, neither 0 nor 1")
    return value == 1


def _selections(reader: Reader) -> tuple[Selection, ...]:
    count = reader.u32("count of selections")
    if count > MAX_SELECTIONS:
        raise DecodeError(f"{count} selections of PCRs, limit {MAX_SELECTIONS}")
    selections = []
    for _ in range(count):
        bank, size = reader.u16("bank"), reader.u8("sizeofSelect")
        if size > MAX_SELECT:
            raise DecodeError(f"sizeofSelect is {size}, limit {MAX_SELECT}")
        selections.append(Selection(bank, reader.take(size, "pcrSelect")))
    return tuple(selections)


def _symmetric(reader: Reader) -> int:
    """Read TPMT_SYM_DEF_OBJECT (section 11.1.7): nothing, or AES in CFB mode."""
    algorithm = reader.u16("symmetric")
    if algorithm == NULL:
        return 0
    bits, mode = reader.u16("keyBits of symmetric"), reader.u16("mode of symmetric")
    if algorithm != AES or mode != CFB or bits not in (128, 256):
        raise DecodeError("symmetric is not AES in CFB mode")
    return bits


def _scheme(reader: Reader, known: tuple[int, ...]) -> int:
    """Read a scheme and its hash, which is SHA-256."""
    scheme = reader.u16("scheme")
    if scheme == NULL:
        return scheme
    if scheme not in known:
        raise DecodeError(f"scheme is {scheme:#06x}, not a signature that is known for such a key")
    if (hash_alg := reader.u16("hash of scheme")) != SHA256:
        raise DecodeError(f"hash of scheme is {hash_alg:#06x}, not SHA-256")
    return scheme


def _ecc_key(reader: Reader) -> ec.EllipticCurvePublicKey:
    """Read the rest of TPMS_ECC_PARMS and a TPMS_ECC_POINT (sections 12.2.3.6 and 11.2.5.2)."""
    curve_id, kdf = reader.u16("curveID"), reader.u16("kdf")
    if curve_id not in CURVES:
        raise DecodeError(f"curveID is {curve_id:#06x}, neither P-256 nor P-384")
    if kdf != NULL:
        raise DecodeError("kdf is not NULL")
    curve, size = CURVES[curve_id]
    x, y = (int.from_bytes(reader.vec16(field, size)) for field in ("x", "y"))
    try:
        return ec.EllipticCurvePublicNumbers(x, y, curve).public_key()
    except ValueError:
        raise DecodeError("the point of the key is not on its curve") from None


def _rsa_key(reader: Reader) -> rsa.RSAPublicKey:
    """Read the rest of TPMS_RSA_PARMS and a modulus (sections 12.2.3.5 and 11.2.4.5)."""
    bits, exponent = reader.u16("keyBits"), reader.u32("exponent")
    if bits not in RSA_BITS:
        raise DecodeError(f"the RSA key has {bits} bits, not one of {sorted(RSA_BITS)}")
    if exponent not in (0, 65_537):  # 0 says that it is the default
        raise DecodeError("exponent is not 65537")
    modulus = int.from_bytes(reader.vec16("modulus", bits // 8))
    if modulus.bit_length() != bits or not modulus & 1:
        raise DecodeError(f"modulus is not an odd number of {bits} bits")
    try:
        return rsa.RSAPublicNumbers(65_537, modulus).public_key()
    except ValueError:
        raise DecodeError("modulus is not one of an RSA key") from None
