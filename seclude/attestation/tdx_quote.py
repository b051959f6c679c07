"""Quotes of Intel TDX: their layout, and what Intel says of a platform in its PCK certificate.

    quote          = header 48, (version 5: type u16, size u32,) report 584 | 648, length u32, signature data, zeros
    signature data = signature 64, attestation key 64, 6 u16, length u32, certification
    certification  = QE report 384, signature 64, length u16, authentication data, 5 u16, length u32, certificates

After "Intel TDX DCAP Quoting Library API", appendix 3 (version 4: TD 1.0; version 5: TD 1.0 as type 2, TD 1.5 as type
3). Its integers are little-endian, its certificates in PEM. Nothing is verified here but the form. Each quote has one
form only, save that a zero may end the PEM, that its last line break may be missing, and that any number of zeros may
follow the quote.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from seclude.attestation.certificates import BROKEN, MAX_CHAIN
from seclude.errors import DecodeError, EvidenceError
from seclude.wire import Reader

VERSIONS: Final = (4, 5)
ECDSA_P256: Final = 2  # type of the attestation key
TEE_TDX: Final = 0x81
INTEL_QE: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")  # vendor of the quoting enclave
BODIES: Final[Mapping[int, int]] = {2: 584, 3: 648}  # octets of the report of TD 1.0, and of TD 1.5
TD_1_0: Final = 2
TD_1_5: Final = 3
QE_REPORT_CERTIFICATION: Final = 6  # a QE report and what certifies it
PCK_CHAIN: Final = 5  # PCK certificate chain in PEM
REGISTER: Final = 48  # octets of SHA-384
SVNS: Final = 16  # components of a security version
SIGNATURE: Final = 64  # r and s of P-256
COORDINATE: Final = 32

BEGIN: Final = b"-----BEGIN CERTIFICATE-----\n"
END: Final = b"-----END CERTIFICATE-----\n"
PEM_BLOCK: Final = re.compile(re.escape(BEGIN) + rb"([A-Za-z0-9+/=\n]+)" + re.escape(END))
PEM_LINE: Final = 64  # characters

SGX_EXTENSION: Final = x509.ObjectIdentifier("1.2.840.113741.1.13.1")
SGX_ARC: Final = bytes.fromhex("2a864886f84d010d01")  # the same identifier in DER; each entry's begins with it
PPID, TCB, PCEID, FMSPC = b"\1", b"\2", b"\3", b"\4"  # what follows the arc
PCESVN: Final = b"\2\x11"
CPUSVN: Final = b"\2\x12"
INTEGER: Final = 0x02
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
SEQUENCE: Final = 0x30


@dataclass(frozen=True, slots=True)
class TdReport:
    """What the TDX module states of a trust domain; counts only with a verified quote."""

    tee_tcb_svn: bytes
    mrseam: bytes
    mrsignerseam: bytes
    seam_attributes: bytes
    td_attributes: int
    xfam: int
    mrtd: bytes
    mrconfigid: bytes
    mrowner: bytes
    mrownerconfig: bytes
    rtmrs: tuple[bytes, ...]
    report_data: bytes
    tee_tcb_svn2: bytes | None
    """TD 1.5 only: the level after updates that left the trust domain running."""
    mrservicetd: bytes | None
    """TD 1.5 only: the digest of service trust domains bound to this one, or zero."""


@dataclass(frozen=True, slots=True)
class EnclaveReport:
    """The report of the quoting enclave, an SGX enclave of Intel's."""

    signed: bytes
    """All of it."""
    miscselect: bytes
    attributes: bytes
    mrsigner: bytes
    isv_prod_id: int
    isv_svn: int
    report_data: bytes


@dataclass(frozen=True, slots=True)
class Quote:
    """The parts of a quote, not verified."""

    version: int
    body_type: int
    report: TdReport
    signed: bytes
    """What the attestation key signs: all before the length of the signature data."""
    signature: bytes
    attestation_key: bytes
    """Both coordinates of a point of P-256."""
    qe_report: EnclaveReport
    qe_report_signature: bytes
    authentication_data: bytes
    certificates: tuple[bytes, ...]
    """DER: the PCK certificate first, the root last."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What Intel certifies of a platform in the PCK certificate."""

    ppid: bytes
    sgx_svns: tuple[int, ...]
    pce_svn: int
    cpu_svn: bytes
    pce_id: bytes
    fmspc: bytes


def parse_quote(data: bytes) -> Quote:
    """Read a quote of version 4 or 5; only zeros may follow it."""
    reader = Reader(data)
    version = _read_header(reader)
    body_type = TD_1_0
    if version == VERSIONS[1]:
        body_type = _little(reader, 2, "type of the report")
        size = _little(reader, 4, "size of the report")
        if BODIES.get(body_type) != size:
            raise DecodeError(f"the report is of type {body_type} with {size} octets, not one of TD 1.0 or TD 1.5")
    report = _read_td_report(Reader(reader.take(BODIES[body_type], "report")), body_type)
    signed = data[: reader.offset]
    parts = Reader(_sized(reader, 4, "signature data"))
    if any(reader.rest()):
        raise DecodeError("octets that are not zero follow the quote")
    signature = parts.take(SIGNATURE, "signature of the quote")
    key = parts.take(2 * COORDINATE, "attestation key")
    inner = Reader(_read_certification(parts, QE_REPORT_CERTIFICATION, "certification data of the attestation key"))
    parts.finish("signature data")
    qe_report = _read_enclave_report(inner.take(384, "QE report"))
    qe_report_signature = inner.take(SIGNATURE, "signature of the QE report")
    authentication_data = _sized(inner, 2, "QE authentication data")
    pem = _read_certification(inner, PCK_CHAIN, "certification data of the QE report")
    inner.finish("certification data")
    return Quote(
        version=version,
        body_type=body_type,
        report=report,
        signed=signed,
        signature=signature,
        attestation_key=key,
        qe_report=qe_report,
        qe_report_signature=qe_report_signature,
        authentication_data=authentication_data,
        certificates=parse_pem_chain(pem, "PCK certificate chain"),
    )


def parse_pem_chain(text: bytes, name: str) -> tuple[bytes, ...]:
    """Return the DER of certificates in PEM as Intel writes it: lines of 64 characters, and nothing around them."""
    text = text.removesuffix(b"\0")
    if not text.endswith(b"\n"):
        text += b"\n"
    blocks = PEM_BLOCK.findall(text)
    if not 0 < len(blocks) <= MAX_CHAIN:
        raise DecodeError(f"the {name} has {len(blocks)} certificates in PEM, not 1 to {MAX_CHAIN}")
    try:
        ders = tuple(base64.b64decode(block.replace(b"\n", b""), validate=True) for block in blocks)
    except binascii.Error:
        raise DecodeError(f"the {name} is not base64 within PEM") from None
    if serialize_pem_chain(ders) != text:
        raise DecodeError(f"the {name} is not in the one form of PEM that is read here")
    return ders


def serialize_pem_chain(ders: Sequence[bytes]) -> bytes:
    """Return certificates in PEM."""
    blocks = []
    for der in ders:
        text = base64.b64encode(der)
        lines = (text[at : at + PEM_LINE] + b"\n" for at in range(0, len(text), PEM_LINE))
        blocks.append(BEGIN + b"".join(lines) + END)
    return b"".join(blocks)


def parse_platform(pck: x509.Certificate) -> Platform:
    """Read the extension for SGX of a PCK certificate (Intel, "SGX PCK Certificate and CRL Profile", 1.3.5)."""
    try:
        values = [each.value for each in pck.extensions if each.oid == SGX_EXTENSION]
    except BROKEN:
        raise EvidenceError("the PCK certificate has extensions that are not well formed") from None
    octets = b"".join(value.value for value in values if isinstance(value, x509.UnrecognizedExtension))
    if not octets:  # a certificate has no extension twice
        raise EvidenceError("the PCK certificate has no extension for SGX")
    reader = Reader(octets)
    entries = _entries(_expect(reader, SEQUENCE, "SGX extension"), "SGX extension")
    reader.finish("SGX extension")
    tcb = _entries(_entry(entries, TCB, SEQUENCE, "TCB"), "TCB of the SGX extension")
    return Platform(
        ppid=_exact(_entry(entries, PPID, OCTET_STRING, "PPID"), 16, "PPID"),
        sgx_svns=tuple(_integer(tcb, TCB + bytes([n]), 255, f"SVN {n}") for n in range(1, SVNS + 1)),
        pce_svn=_integer(tcb, PCESVN, 0xFFFF, "PCESVN"),
        cpu_svn=_exact(_entry(tcb, CPUSVN, OCTET_STRING, "CPUSVN"), SVNS, "CPUSVN"),
        pce_id=_exact(_entry(entries, PCEID, OCTET_STRING, "PCEID"), 2, "PCEID"),
        fmspc=_exact(_entry(entries, FMSPC, OCTET_STRING, "FMSPC"), 6, "FMSPC"),
    )


def verify_p256(key: EllipticCurvePublicKey, signature: bytes, message: bytes, failure: str) -> None:
    """Raise `EvidenceError(failure)` unless r and s, one after the other, sign the message (ECDSA, SHA-256)."""
    reader = Reader(signature)
    r, s = (int.from_bytes(reader.take(COORDINATE, name)) for name in ("r", "s"))
    try:
        key.verify(encode_dss_signature(r, s), message, ECDSA(SHA256()))
    except InvalidSignature:
        raise EvidenceError(failure) from None


def key_of(certificate: x509.Certificate, name: str) -> EllipticCurvePublicKey:
    """Return the key of a certificate, which has to be of P-256."""
    try:
        key = certificate.public_key()
    except BROKEN:
        raise EvidenceError(f"the key of {name} cannot be read") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise EvidenceError(f"the key of {name} is not of P-256")
    return key


def _read_header(reader: Reader) -> int:
    """Read the header and return the version."""
    version = _little(reader, 2, "version")
    if version not in VERSIONS:
        raise DecodeError(f"the quote is of version {version}, not 4 or 5")
    key_type = _little(reader, 2, "type of the attestation key")
    if key_type != ECDSA_P256:
        raise DecodeError(f"the attestation key is of type {key_type}, not ECDSA over P-256")
    tee = _little(reader, 4, "TEE type")
    if tee != TEE_TDX:
        raise DecodeError(f"the quote is of TEE type {tee:#x}, not of TDX")
    reader.take(4, "reserved octets of the header")  # signed; older quoting enclaves put versions here
    if reader.take(16, "QE vendor") != INTEL_QE:
        raise DecodeError("the quoting enclave is of another vendor than Intel")
    reader.take(20, "user data of the header")
    return version


def _read_td_report(reader: Reader, body_type: int) -> TdReport:
    return TdReport(
        tee_tcb_svn=reader.take(SVNS, "TEE_TCB_SVN"),
        mrseam=reader.take(REGISTER, "MRSEAM"),
        mrsignerseam=reader.take(REGISTER, "MRSIGNERSEAM"),
        seam_attributes=reader.take(8, "SEAMATTRIBUTES"),
        td_attributes=_little(reader, 8, "TDATTRIBUTES"),
        xfam=_little(reader, 8, "XFAM"),
        mrtd=reader.take(REGISTER, "MRTD"),
        mrconfigid=reader.take(REGISTER, "MRCONFIGID"),
        mrowner=reader.take(REGISTER, "MROWNER"),
        mrownerconfig=reader.take(REGISTER, "MROWNERCONFIG"),
        rtmrs=tuple(reader.take(REGISTER, f"RTMR{n}") for n in range(4)),
        report_data=reader.take(64, "REPORTDATA"),
        tee_tcb_svn2=reader.take(SVNS, "TEE_TCB_SVN2") if body_type == TD_1_5 else None,
        mrservicetd=reader.take(REGISTER, "MRSERVICETD") if body_type == TD_1_5 else None,
    )


def _read_enclave_report(data: bytes) -> EnclaveReport:
    reader = Reader(data)
    reader.take(16, "CPUSVN")
    miscselect = reader.take(4, "MISCSELECT")
    reader.take(28, "reserved octets")
    attributes = reader.take(16, "ATTRIBUTES")
    reader.take(32 + 32, "MRENCLAVE and reserved octets")
    mrsigner = reader.take(32, "MRSIGNER")
    reader.take(96, "reserved octets")
    isv_prod_id = _little(reader, 2, "ISVPRODID")
    isv_svn = _little(reader, 2, "ISVSVN")
    reader.take(60, "reserved octets")
    report_data = reader.take(64, "REPORTDATA")
    return EnclaveReport(data, miscselect, attributes, mrsigner, isv_prod_id, isv_svn, report_data)


def _read_certification(reader: Reader, kind: int, field: str) -> bytes:
    found = _little(reader, 2, field)
    if found != kind:
        raise DecodeError(f"{field} is of type {found}, not {kind}")
    return _sized(reader, 4, field)


def _sized(reader: Reader, width: int, field: str) -> bytes:
    return reader.take(_little(reader, width, f"length of {field}"), field)


def _little(reader: Reader, length: int, field: str) -> int:
    return int.from_bytes(reader.take(length, field), "little")


def _expect(reader: Reader, tag: int, field: str) -> bytes:
    """Return the contents of a DER value of this tag (X.690, sections 8.1 and 10.1)."""
    found, contents = _value(reader, field)
    if found != tag:
        raise DecodeError(f"{field} has tag {found:#04x}, not {tag:#04x}")
    return contents


def _value(reader: Reader, field: str) -> tuple[int, bytes]:
    tag, length = reader.u8(field), reader.u8(field)
    if length >= 0x80:  # the rest of the octet says how many octets of length follow
        width = length & 0x7F
        length = int.from_bytes(reader.take(width, field)) if width in (1, 2) else 0
        if length < (0x80, 0x100)[width == 2]:
            raise DecodeError(f"{field} has a length that is not in DER")
    return tag, reader.take(length, field)


def _entries(contents: bytes, field: str) -> dict[bytes, tuple[int, bytes]]:
    """Return tag and contents by identifier, without the arc that all have, of a sequence of such pairs."""
    reader = Reader(contents)
    entries: dict[bytes, tuple[int, bytes]] = {}
    while reader.remaining:
        pair = Reader(_expect(reader, SEQUENCE, field))
        identifier = _expect(pair, OBJECT_IDENTIFIER, field)
        value = _value(pair, field)
        pair.finish(f"entry of {field}")
        name = identifier.removeprefix(SGX_ARC)
        if name == identifier or name in entries:
            raise DecodeError(f"{field} has an entry of another kind, or one twice")
        entries[name] = value
    return entries


def _entry(entries: Mapping[bytes, tuple[int, bytes]], name: bytes, tag: int, field: str) -> bytes:
    found, contents = entries.get(name, (-1, b""))
    if found != tag:
        raise DecodeError(f"the SGX extension has no {field}, or one of another type")
    return contents


def _integer(entries: Mapping[bytes, tuple[int, bytes]], name: bytes, most: int, field: str) -> int:
    contents = _entry(entries, name, INTEGER, field)
    value = int.from_bytes(contents, signed=True)
    if not contents or not 0 <= value <= most:
        raise DecodeError(f"{field} of the SGX extension is not a number of 0 to {most}")
    return value


def _exact(contents: bytes, length: int, field: str) -> bytes:
    if len(contents) != length:
        raise DecodeError(f"{field} has {len(contents)} octets, not {length}")
    return contents
