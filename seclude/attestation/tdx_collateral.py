"""Intel's collateral for TDX: what it revoked, and which levels of firmware it holds to be good.

    collateral = root_ca_crl vec16, pck_crl vec16, pck_crl_issuer_chain, tcb_info vec16, tcb_info_signature vec8,
                 tcb_info_issuer_chain, qe_identity vec16, qe_identity_signature vec8, qe_identity_issuer_chain
    chain      = count u8, count certificates vec16 (DER), the issuer first and the root last

After version 4 of the API of Intel's Provisioning Certification Service. A part may be empty, which says that it is
missing; the step that needs it then fails. The two JSON documents are kept as Intel signed them, octet by octet, and
are read only after their signatures were verified.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, TypeVar

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import SignatureAlgorithmOID

from seclude.attestation.certificates import (
    MAX_CERTIFICATE,
    MAX_CHAIN,
    Chain,
    Revocations,
    common_name,
    load_certificate,
    verify_chain,
    verify_crl,
)
from seclude.attestation.slots import in_words
from seclude.attestation.tdx_quote import SIGNATURE, SVNS, key_of, parse_pem_chain, verify_p256
from seclude.errors import DecodeError, EvidenceError, UsageError
from seclude.wire import Reader, Writer

PCK_LEAF: Final = "Intel SGX PCK Certificate"
PCK_CAS: Final = ("Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA")
TCB_SIGNING: Final = "Intel SGX TCB Signing"
ROOT: Final = "Intel SGX Root CA"

MAX_DOCUMENT: Final = 32_768  # octets of JSON; Intel's take 6 KiB, and each new level adds one
MAX_JSON: Final = 131_072  # octets of the whole collateral in JSON, where CRLs take two characters for an octet
REVOKED: Final = "Revoked"

Count = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Svn = Annotated[int, msgspec.Meta(ge=0, le=0xFF)]
Time = Annotated[datetime, msgspec.Meta(tz=True)]
Word = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_]{1,64}\Z")]  # shown to whoever verifies
Hex2 = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{4}\Z")]
Hex4 = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{8}\Z")]
Hex6 = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{12}\Z")]
Hex8 = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{16}\Z")]
Hex16 = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{32}\Z")]
Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{64}\Z")]
Hex48 = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{96}\Z")]


class Document(msgspec.Struct, frozen=True, rename="camel"):
    """Part of a document of Intel's. Fields that are unknown here are let be: Intel signed them and adds some."""


class Component(Document, frozen=True):
    """The least security version of one component."""

    svn: Svn


Components = Annotated[tuple[Component, ...], msgspec.Meta(min_length=SVNS, max_length=SVNS)]


class PlatformSvns(Document, frozen=True):
    """The least security versions of all components of a platform."""

    sgxtcbcomponents: Components
    pcesvn: Count
    tdxtcbcomponents: Components


class IsvSvn(Document, frozen=True):
    """The least security version of an enclave or a module."""

    isvsvn: Count


class Level(Document, frozen=True, kw_only=True):
    """What Intel says of a level: a status, and the day up to which its advisories are dealt with."""

    tcb_date: Time
    tcb_status: Word

    def __str__(self) -> str:
        return f"{self.tcb_status} of {self.tcb_date:%Y-%m-%d}"


class PlatformLevel(Level, frozen=True, kw_only=True):
    """A level of a platform."""

    tcb: PlatformSvns


class SoftwareLevel(Level, frozen=True, kw_only=True):
    """A level of a TDX module or of the quoting enclave."""

    tcb: IsvSvn


class Module(Document, frozen=True, kw_only=True):
    """Who signed a TDX module, and with which attributes it runs."""

    mrsigner: Hex48
    attributes: Hex8
    attributes_mask: Hex8


class ModuleIdentity(Module, frozen=True, kw_only=True):
    """A TDX module of one major version, and its levels, the highest first."""

    id: Word
    tcb_levels: tuple[SoftwareLevel, ...]


class Dated(Document, frozen=True, kw_only=True):
    """What both documents have."""

    id: Word
    version: Count
    issue_date: Time
    next_update: Time
    tcb_evaluation_data_number: Count


class TcbInfo(Dated, frozen=True, kw_only=True):
    """Levels of the platforms of one FMSPC, the highest first, and the TDX modules for them."""

    fmspc: Hex6
    pce_id: Hex2
    tcb_type: Count
    tdx_module: Module
    tdx_module_identities: tuple[ModuleIdentity, ...] = ()
    tcb_levels: tuple[PlatformLevel, ...]


class QeIdentity(Dated, frozen=True, kw_only=True):
    """The quoting enclave, and its levels, the highest first."""

    miscselect: Hex4
    miscselect_mask: Hex4
    attributes: Hex16
    attributes_mask: Hex16
    mrsigner: Hex32
    isvprodid: Count
    tcb_levels: tuple[SoftwareLevel, ...]


class JsonCollateral(msgspec.Struct, frozen=True):
    """Collateral in the JSON form that quote verifiers widely use: lists in hexadecimal, chains in PEM."""

    root_ca_crl: str
    pck_crl: str
    pck_crl_issuer_chain: str
    tcb_info: str
    tcb_info_signature: str
    tcb_info_issuer_chain: str
    qe_identity: str
    qe_identity_signature: str
    qe_identity_issuer_chain: str


@dataclass(frozen=True, slots=True)
class Signed:
    """A document, its signature, and the chain of who signed it; nothing verified, and empty what is missing."""

    document: bytes = b""
    signature: bytes = b""
    chain: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Collateral:
    """The parts of collateral, not verified; empty what is missing."""

    root_crl: bytes = b""
    pck_crl: bytes = b""
    pck_crl_chain: tuple[bytes, ...] = ()
    tcb_info: Signed = Signed()
    qe_identity: Signed = Signed()


R = TypeVar("R", bytes, tuple[bytes, ...])
T = TypeVar("T", bound=Dated)


def serialize_collateral(collateral: Collateral) -> bytes:
    """Return the encoding of collateral."""
    writer = Writer().vec16(collateral.root_crl).vec16(collateral.pck_crl)
    _write_chain(writer, collateral.pck_crl_chain)
    for part in (collateral.tcb_info, collateral.qe_identity):
        if len(part.signature) not in (0, SIGNATURE):
            raise UsageError(f"a signature of collateral has {SIGNATURE} octets or none")
        _write_chain(writer.vec16(part.document).vec8(part.signature), part.chain)
    return writer.getvalue()


def parse_collateral(data: bytes) -> Collateral:
    """Read the encoding of collateral."""
    reader = Reader(data)
    collateral = Collateral(
        root_crl=reader.vec16("root_ca_crl"),
        pck_crl=reader.vec16("pck_crl"),
        pck_crl_chain=_read_chain(reader, "pck_crl_issuer_chain"),
        tcb_info=_read_signed(reader, "tcb_info"),
        qe_identity=_read_signed(reader, "qe_identity"),
    )
    reader.finish("collateral")
    return collateral


def collateral_from_json(text: str) -> Collateral:
    """Read collateral in its widely used JSON form, for auditors; raises `DecodeError`."""
    if len(text) > MAX_JSON:
        raise DecodeError(f"collateral in JSON of {len(text)} characters, limit {MAX_JSON}")
    try:
        parts = msgspec.json.decode(text, type=JsonCollateral)
        documents = (parts.tcb_info.encode(), parts.qe_identity.encode())
        pems = (parts.pck_crl_issuer_chain, parts.tcb_info_issuer_chain, parts.qe_identity_issuer_chain)
        chains = [parse_pem_chain(pem.encode(), "issuer chain") for pem in pems]
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise DecodeError("collateral is not JSON of the form that is read here") from None
    hexes = (parts.root_ca_crl, parts.pck_crl, parts.tcb_info_signature, parts.qe_identity_signature)
    try:
        root_crl, pck_crl, tcb_signature, qe_signature = map(bytes.fromhex, hexes)
    except ValueError:
        raise DecodeError("collateral has a field that is not hexadecimal") from None
    for signature in (tcb_signature, qe_signature):
        if len(signature) != SIGNATURE:
            raise DecodeError(f"a signature of collateral has {len(signature)} octets, not {SIGNATURE}")
    return Collateral(
        root_crl=root_crl,
        pck_crl=pck_crl,
        pck_crl_chain=chains[0],
        tcb_info=Signed(documents[0], tcb_signature, chains[1]),
        qe_identity=Signed(documents[1], qe_signature, chains[2]),
    )


def verify_intel_chain(
    ders: Sequence[bytes], roots: Mapping[bytes, str], now: float, *, subjects: Sequence[Sequence[str]], name: str
) -> Chain:
    """Return a chain of Intel's with these common names, leaf first; ECDSA over P-256 and SHA-256 throughout.

    The names keep one key of Intel's from doing the work of another, such as a PCK signing TCB information.
    """
    if len(ders) != len(subjects):
        raise EvidenceError(f"the {name} chain has {len(ders)} certificates, not {len(subjects)}")
    chain = verify_chain(ders, roots, now, name=name)
    for position, (certificate, accepted) in enumerate(zip(chain.certificates, subjects, strict=True)):
        place = f"certificate {position} of the {name} chain"
        key_of(certificate, place)
        if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256:
            raise EvidenceError(f"{place} is not signed with ECDSA and SHA-256")
        if common_name(certificate) not in accepted:
            raise EvidenceError(f"{place} is not that of {' or '.join(accepted)}")
    return chain


def verify_pck_chain(ders: Sequence[bytes], roots: Mapping[bytes, str], now: float) -> Chain:
    """Return the chain of a PCK certificate: under either of Intel's two CAs for them."""
    return verify_intel_chain(ders, roots, now, subjects=((PCK_LEAF,), PCK_CAS, (ROOT,)), name="PCK")


def verify_revocations(
    collateral: Collateral, pck: Chain, roots: Mapping[bytes, str], now: float
) -> tuple[Revocations, int]:
    """Return what the root revoked, and until when both lists count, if nothing of the PCK chain is revoked."""
    leaf, ca, root = pck.certificates
    revoked = verify_crl(required(collateral.root_crl, "revocation list of the root"), root, now, name="root")
    issuers = required(collateral.pck_crl_chain, "issuer chain of the PCK revocation list")
    found, expected = common_name(load_certificate(issuers[0], "issuer of the PCK revocation list")), common_name(ca)
    if found != expected:
        raise EvidenceError(f"the PCK revocation list comes from another CA than {expected}, which issued the PCK")
    chain = verify_pck_chain((leaf.public_bytes(Encoding.DER), *issuers), roots, now)
    crl = required(collateral.pck_crl, "PCK revocation list")
    revoked_leaves = verify_crl(crl, chain.certificates[1], now, name="PCK")
    if {ca.serial_number, chain.certificates[1].serial_number} & revoked.serials:
        raise EvidenceError(f"the certificate of {expected} is revoked")
    if leaf.serial_number in revoked_leaves.serials:
        raise EvidenceError("the PCK certificate is revoked")
    return revoked, min(revoked.expires_at, revoked_leaves.expires_at, chain.expires_at)


def verify_tcb_info(
    signed: Signed, revoked: Revocations, roots: Mapping[bytes, str], now: float
) -> tuple[TcbInfo, int]:
    """Return Intel's word on platforms, and until when it counts."""
    info, expires_at = _verify_signed(signed, TcbInfo, "TCB information", revoked, roots, now)
    if (info.id, info.version, info.tcb_type) != ("TDX", 3, 0):
        raise EvidenceError("the TCB information is not that of TDX in version 3 with TCBs of type 0")
    return info, expires_at


def verify_qe_identity(
    signed: Signed, revoked: Revocations, roots: Mapping[bytes, str], now: float
) -> tuple[QeIdentity, int]:
    """Return Intel's word on the quoting enclave, and until when it counts."""
    identity, expires_at = _verify_signed(signed, QeIdentity, "QE identity", revoked, roots, now)
    if (identity.id, identity.version) != ("TD_QE", 2):
        raise EvidenceError("the QE identity is not that of the quoting enclave for TDX in version 2")
    return identity, expires_at


def required(part: R, name: str) -> R:
    """Return a part of collateral that must not be missing."""
    if not part:
        raise EvidenceError(f"the collateral has no {name}")
    return part


def _verify_signed(
    signed: Signed, kind: type[T], name: str, revoked: Revocations, roots: Mapping[bytes, str], now: float
) -> tuple[T, int]:
    """Verify the signature over the document's octets as they came, and only then read them."""
    document = required(signed.document, name)
    signature = required(signed.signature, f"signature of the {name}")
    ders = required(signed.chain, f"issuer chain of the {name}")
    chain = verify_intel_chain(ders, roots, now, subjects=((TCB_SIGNING,), (ROOT,)), name=f"{name} issuer")
    if chain.leaf.serial_number in revoked.serials:
        raise EvidenceError(f"the certificate that signed the {name} is revoked")
    verify_p256(
        key_of(chain.leaf, f"the signer of the {name}"), signature, document, f"the {name} is not signed by Intel"
    )
    try:
        value = msgspec.json.decode(document, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise EvidenceError(f"the {name} is not JSON of the form that Intel specifies") from None
    issued_at, expires_at = value.issue_date.timestamp(), int(value.next_update.timestamp())
    if not issued_at <= now < expires_at:
        span = f"from {in_words(int(issued_at))} to {in_words(expires_at)}"
        raise EvidenceError(f"the {name} is valid {span}, not at {in_words(int(now))}")
    return value, min(expires_at, chain.expires_at)


def _write_chain(writer: Writer, chain: Sequence[bytes]) -> None:
    writer.u8(len(chain))
    for der in chain:
        writer.vec16(der)


def _read_chain(reader: Reader, field: str) -> tuple[bytes, ...]:
    count = reader.u8(f"count of {field}")
    if count > MAX_CHAIN:
        raise DecodeError(f"{field} has {count} certificates, not up to {MAX_CHAIN}")
    return tuple(reader.vec16(field, MAX_CERTIFICATE) for _ in range(count))


def _read_signed(reader: Reader, field: str) -> Signed:
    document = reader.vec16(field, MAX_DOCUMENT)
    signature = reader.vec8(f"{field}_signature")
    if len(signature) not in (0, SIGNATURE):
        raise DecodeError(f"{field}_signature has {len(signature)} octets, not {SIGNATURE} or none")
    return Signed(document, signature, _read_chain(reader, f"{field}_issuer_chain"))
