"""An Intel for tests: a root of its own, and below it PCK certificates, revocation lists, collateral and quotes.

Nothing but tests pins this root. What is signed here is signed properly, so a body fails by the one fault it has.
"""

import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from seclude.attestation.tdx import TdxEvidence, serialize_body
from seclude.attestation.tdx_collateral import Collateral, Signed
from seclude.attestation.tdx_quote import INTEL_QE, SGX_ARC, SGX_EXTENSION, serialize_pem_chain

NOW: Final = 1_750_000_000
DAY: Final = 86_400
START: Final = NOW - DAY
END: Final = NOW + 30 * DAY
FAR: Final = NOW + 3650 * DAY

ROOT, PLATFORM, PROCESSOR, TCB = "Root CA", "PCK Platform CA", "PCK Processor CA", "TCB Signing"

FMSPC: Final = bytes.fromhex("b0c06f000000")
PPID: Final = bytes(range(16))
SGX_SVNS: Final = (3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0)
PCE_SVN: Final = 11
TEE_TCB_SVN: Final = bytes((6, 1, 3)) + bytes(13)
MODULE_SIGNER: Final = bytes(48)
QE_SIGNER: Final = bytes(range(32))
SEPT_VE_DISABLE: Final = 1 << 28

Changes = dict[str, Any]


def der(tag: int, *contents: bytes) -> bytes:
    """Return a value in DER."""
    inner = b"".join(contents)
    length = len(inner)
    if length < 0x80:
        return bytes((tag, length)) + inner
    width = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | width)) + length.to_bytes(width) + inner


def entry(suffix: bytes, value: bytes) -> bytes:
    """Return an entry of the SGX extension; `value` is in DER."""
    return der(0x30, der(0x06, SGX_ARC + suffix), value)


def sgx_extension(
    *,
    ppid: bytes = PPID,
    svns: Sequence[int] = SGX_SVNS,
    pce_svn: int = PCE_SVN,
    pce_id: bytes = bytes(2),
    fmspc: bytes = FMSPC,
) -> bytes:
    """Return what Intel states of a platform in its PCK certificate."""

    def integer(value: int) -> bytes:
        return der(0x02, value.to_bytes(value.bit_length() // 8 + 1))

    levels = [entry(b"\2" + bytes([number]), integer(svn)) for number, svn in enumerate(svns, start=1)]
    levels += [entry(b"\2\x11", integer(pce_svn)), entry(b"\2\x12", der(0x04, bytes(svns)))]
    return der(
        0x30,
        entry(b"\1", der(0x04, ppid)),
        entry(b"\2", der(0x30, *levels)),
        entry(b"\3", der(0x04, pce_id)),
        entry(b"\4", der(0x04, fmspc)),
        entry(b"\5", der(0x0A, b"\1")),
    )


def sign_raw(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Return r and s of P-256 with SHA-256, one after the other."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return both coordinates of the public key."""
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32) + numbers.y.to_bytes(32)


def stamp(seconds: int) -> str:
    """Return a time as Intel's documents have it."""
    return f"{at(seconds):%Y-%m-%dT%H:%M:%SZ}"


def at(seconds: int) -> datetime.datetime:
    """Return a time as certificates want it."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def level(status: str, svns: Sequence[int], pce_svn: int, tdx: Sequence[int]) -> dict[str, Any]:
    """Return a level of a platform."""
    tcb = {
        "sgxtcbcomponents": [{"svn": svn, "category": "BIOS"} for svn in svns],
        "pcesvn": pce_svn,
        "tdxtcbcomponents": [{"svn": svn} for svn in tdx],
    }
    return {"tcb": tcb, "tcbDate": "2025-05-14T00:00:00Z", "tcbStatus": status, "advisoryIDs": ["INTEL-SA-00000"]}


def software_level(status: str, svn: int) -> dict[str, Any]:
    """Return a level of a module or of the quoting enclave."""
    return {"tcb": {"isvsvn": svn}, "tcbDate": "2025-05-14T00:00:00Z", "tcbStatus": status}


def module(**others: Any) -> dict[str, Any]:
    """Return the identity of a TDX module."""
    return {"mrsigner": MODULE_SIGNER.hex(), "attributes": "00" * 8, "attributesMask": "FF" * 8} | others


def tcb_info(**others: Any) -> dict[str, Any]:
    """Return TCB information that fits the quote, with others in its place."""
    low = [0] * 16
    return {
        "id": "TDX",
        "version": 3,
        "issueDate": stamp(START),
        "nextUpdate": stamp(END),
        "fmspc": FMSPC.hex().upper(),
        "pceId": "0000",
        "tcbType": 0,
        "tcbEvaluationDataNumber": 17,
        "tdxModule": module(),
        "tdxModuleIdentities": [
            module(id="TDX_03", tcbLevels=[software_level("UpToDate", 3)]),
            module(id="TDX_01", tcbLevels=[software_level("UpToDate", 4), software_level("OutOfDate", 2)]),
        ],
        "tcbLevels": [
            level("UpToDate", (2, 2, 2, 2, 3, 1, 0, 5, *low[8:]), 11, (5, 0, 2, *low[3:])),
            level("OutOfDate", (2, 2, 2, 2, 3, 1, 0, 5, *low[8:]), 5, (5, 0, 2, *low[3:])),
            level("Revoked", low, 0, low),
        ],
    } | others


def qe_identity(**others: Any) -> dict[str, Any]:
    """Return the identity of the quoting enclave, with others in its place."""
    return {
        "id": "TD_QE",
        "version": 2,
        "issueDate": stamp(START),
        "nextUpdate": stamp(END),
        "tcbEvaluationDataNumber": 17,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11" + "00" * 15,
        "attributesMask": "FB" + "FF" * 7 + "00" * 8,
        "mrsigner": QE_SIGNER.hex().upper(),
        "isvprodid": 2,
        "tcbLevels": [software_level("UpToDate", 4), software_level("OutOfDate", 2), software_level("Revoked", 0)],
    } | others


def td_report(body_type: int, **others: Any) -> bytes:
    """Return a report of TD 1.0 (2) or TD 1.5 (3)."""
    fields: dict[str, Any] = {
        "tee_tcb_svn": TEE_TCB_SVN,
        "mrseam": bytes([1]) * 48,
        "mrsignerseam": MODULE_SIGNER,
        "seam_attributes": bytes(8),
        "td_attributes": SEPT_VE_DISABLE,
        "xfam": 0x602E7,
        "mrtd": bytes([2]) * 48,
        "mrconfigid": bytes([3]) * 48,
        "mrowner": bytes([4]) * 48,
        "mrownerconfig": bytes([5]) * 48,
        "rtmrs": b"".join(bytes([number]) * 48 for number in range(6, 10)),
        "report_data": bytes(range(64)),
    }
    if body_type == 3:
        fields |= {"tee_tcb_svn2": TEE_TCB_SVN, "mrservicetd": bytes(48)}
    assert fields.keys() >= others.keys()
    values = (fields | others).values()
    return b"".join(value.to_bytes(8, "little") if isinstance(value, int) else value for value in values)


def enclave_report(bound: bytes, **others: Any) -> bytes:
    """Return the report of the quoting enclave."""
    fields: dict[str, Any] = {
        "cpusvn": bytes(16),
        "miscselect": bytes(4),
        "reserved1": bytes(28),
        "attributes": bytes.fromhex("1500000000000000e700000000000000"),
        "mrenclave": bytes(64),
        "mrsigner": QE_SIGNER,
        "reserved2": bytes(96),
        "isv_prod_id": 2,
        "isv_svn": 6,
        "reserved3": bytes(60),
        "report_data": bound,
    }
    assert fields.keys() >= others.keys()
    values = (fields | others).values()
    return b"".join(value.to_bytes(2, "little") if isinstance(value, int) else value for value in values)


class Intel:
    """Issues and signs; `roots` is what a verifier of it has to pin."""

    def __init__(self, ca: str = PLATFORM, *, pck: Changes | None = None) -> None:
        self.keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in (ROOT, PLATFORM, PROCESSOR, TCB)}
        self.ca = ca
        self.certificates = {
            ROOT: self.issue(ROOT, self.keys[ROOT], ROOT, ca=True),
            PLATFORM: self.issue(PLATFORM, self.keys[PLATFORM], ROOT, ca=True),
            PROCESSOR: self.issue(PROCESSOR, self.keys[PROCESSOR], ROOT, ca=True),
            TCB: self.issue(TCB, self.keys[TCB], ROOT),
        }
        self.roots = {hashlib.sha256(self.certificates[ROOT].public_bytes(Encoding.DER)).digest(): "root of tests"}
        self.pck_key = ec.generate_private_key(ec.SECP256R1())
        self.pck = self.issue("PCK Certificate", self.pck_key, ca, extension=sgx_extension(**(pck or {})))
        self.attestation_key = ec.generate_private_key(ec.SECP256R1())

    def issue(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        issuer: str,
        *,
        ca: bool = False,
        extension: bytes | None = None,
        start: int = START,
        end: int = FAR,
        digest: hashes.SHA256 | hashes.SHA384 | None = None,
    ) -> x509.Certificate:
        """Return a certificate under one of the CAs."""
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(common_name(name))
            .issuer_name(common_name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(at(start))
            .not_valid_after(at(end))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=1 if name == ROOT else 0 if ca else None), True)
            .add_extension(
                x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, decipher_only=False, **usage),
                True,
            )
        )
        if extension is not None:
            builder = builder.add_extension(x509.UnrecognizedExtension(SGX_EXTENSION, extension), False)
        return builder.sign(self.keys[issuer], digest or hashes.SHA256())

    def chain(self, *names: str) -> tuple[bytes, ...]:
        """Return certificates of the CAs in DER."""
        return tuple(self.certificates[name].public_bytes(Encoding.DER) for name in names)

    def crl(
        self, issuer: str, revoked: Sequence[x509.Certificate] = (), *, start: int = START, end: int = END
    ) -> bytes:
        """Return a revocation list of one of the CAs."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(common_name(issuer))
            .last_update(at(start))
            .next_update(at(end))
        )
        for certificate in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(certificate.serial_number)
                .revocation_date(at(START))
                .build()
            )
        return builder.sign(self.keys[issuer], hashes.SHA256()).public_bytes(Encoding.DER)

    def sign(self, document: bytes | Mapping[str, Any], signer: str = TCB) -> Signed:
        """Return a document with its signature."""
        octets = document if isinstance(document, bytes) else json.dumps(document, separators=(",", ":")).encode()
        return Signed(octets, sign_raw(self.keys[signer], octets), self.chain(TCB, ROOT))

    def collateral(self, **others: Any) -> Collateral:
        """Return collateral that fits, with other parts in its place."""
        parts: dict[str, Any] = {
            "root_crl": self.crl(ROOT),
            "pck_crl": self.crl(self.ca),
            "pck_crl_chain": self.chain(self.ca, ROOT),
            "tcb_info": self.sign(tcb_info()),
            "qe_identity": self.sign(qe_identity()),
        }
        return Collateral(**parts | others)

    def quote(
        self,
        version: int = 4,
        body_type: int = 2,
        *,
        header: Changes | None = None,
        report: Changes | None = None,
        qe: Changes | None = None,
        pck_chain: Sequence[bytes] | None = None,
        descriptor: bytes | None = None,
        signer: ec.EllipticCurvePrivateKey | None = None,
        qe_signer: ec.EllipticCurvePrivateKey | None = None,
        certification: Sequence[int] = (6, 5),
        pem_tail: bytes = b"\0",
        padding: bytes = b"",
    ) -> bytes:
        """Return a quote, with changes in its parts."""
        fields: dict[str, Any] = {
            "version": version.to_bytes(2, "little"),
            "key_type": b"\2\0",
            "tee": b"\x81\0\0\0",
            "reserved": bytes(4),
            "vendor": INTEL_QE,
            "user_data": bytes(20),
        }
        body = td_report(body_type, **(report or {}))
        between = bytes((body_type, 0)) + len(body).to_bytes(4, "little") if version == 5 else b""
        signed = b"".join((fields | (header or {})).values()) + (between if descriptor is None else descriptor) + body
        key, auth = point(self.attestation_key), bytes(range(32))
        enclave = enclave_report(hashlib.sha256(key + auth).digest() + bytes(32), **(qe or {}))
        ders = pck_chain or (self.pck.public_bytes(Encoding.DER), *self.chain(self.ca, ROOT))
        pem = serialize_pem_chain(ders) + pem_tail
        inner = enclave + sign_raw(qe_signer or self.pck_key, enclave) + little(auth, 2)
        inner += certification[1].to_bytes(2, "little") + little(pem, 4)
        data = sign_raw(signer or self.attestation_key, signed) + key
        data += certification[0].to_bytes(2, "little") + little(inner, 4)
        return signed + little(data, 4) + padding

    def body(self, quote: bytes | None = None, collateral: Collateral | None = None) -> bytes:
        """Return a body of a good quote and good collateral, or of what is given."""
        return serialize_body(TdxEvidence(quote or self.quote(), collateral or self.collateral()))


def common_name(name: str) -> x509.Name:
    """Return the name of one of Intel's certificates."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Intel SGX {name}")])


def little(data: bytes, width: int) -> bytes:
    """Return octets after their length."""
    return len(data).to_bytes(width, "little") + data
