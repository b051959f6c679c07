"""Intel TDX: a trust domain's quote, with Intel's collateral for the platform it runs on.

    body = quote vec16, collateral vec32

The layouts are those of `tdx_quote.py` and `tdx_collateral.py`. Fourteen steps:
 1. The body decodes.
 2. The quote is of version 4 or 5, for TDX, by a quoting enclave of Intel's with a key of ECDSA over P-256.
 3. The PCK certificates chain to a pinned root, are valid at `now`, and state what the platform is.
 4. The quoting enclave's report is signed by the PCK key.
 5. That report binds the attestation key: SHA-256 of the key and the authentication data, and 32 zeros.
 6. The quote is signed by the attestation key.
 7. Root and PCK CA revoked no certificate of the chain, in lists that are current.
 8. The TCB information is signed by Intel, current, recent enough for the policy, and for this kind of platform.
 9. So is the QE identity.
10. The quoting enclave is the one of the QE identity, at an accepted level.
11. The TDX module is one of the TCB information, not altered by attributes, and at an accepted level.
12. The platform is at an accepted level: SVNs of SGX and PCE by the PCK certificate, those of TDX by the quote.
13. The trust domain cannot be debugged or migrated, and its attributes are as the policy wants them.
14. The chip is among those accepted, where a policy names any.

Unknown levels, revoked levels and every level that is out of date are refused under every policy. A quote of TD 1.5
tells two levels of TDX, at the launch of the trust domain and now, and both must be accepted.
Not signed are: how many zeros follow the quote, a last line break and a zero at the end of its PEM, and which of the
two values an ECDSA signature has that verify (s and n - s). A flip of any octet is refused.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding

from seclude.attestation.accept import Bit, TdxTable
from seclude.attestation.certificates import Chain
from seclude.attestation.evidence import MAX_BODY, TDX, TrustedReport
from seclude.attestation.slots import in_words
from seclude.attestation.steps import Steps
from seclude.attestation.tdx_collateral import (
    REVOKED,
    Collateral,
    Component,
    Dated,
    Level,
    PlatformLevel,
    QeIdentity,
    SoftwareLevel,
    TcbInfo,
    parse_collateral,
    serialize_collateral,
    verify_pck_chain,
    verify_qe_identity,
    verify_revocations,
    verify_tcb_info,
)
from seclude.attestation.tdx_quote import (
    COORDINATE,
    TD_1_0,
    EnclaveReport,
    Platform,
    Quote,
    TdReport,
    key_of,
    parse_platform,
    parse_quote,
    verify_p256,
)
from seclude.errors import EvidenceError, PolicyError
from seclude.wire import Reader, Writer

# SHA-256 of the DER of "Intel SGX Root CA", as in google/go-tdx-guest, verify/trusted_root.pem; until 2049.
ROOTS: Final[Mapping[bytes, str]] = MappingProxyType(
    {bytes.fromhex("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"): "Intel SGX Root CA"}
)

TITLES: Final[Mapping[int, str]] = MappingProxyType(
    {
        1: "body decodes",
        2: "quote is of TDX, by Intel's quoting enclave",
        3: "PCK certificates chain to a pinned root",
        4: "quoting enclave's report is signed by the PCK key",
        5: "that report binds the attestation key",
        6: "quote is signed by the attestation key",
        7: "no certificate of the chain is revoked",
        8: "TCB information is signed, current and for this platform",
        9: "QE identity is signed and current",
        10: "quoting enclave is accepted",
        11: "TDX module is accepted",
        12: "level of the platform is accepted",
        13: "attributes of the trust domain are accepted",
        14: "chip is accepted",
    }
)
STAGES: Final[Mapping[int, int]] = MappingProxyType(
    {1: 2, 2: 2, 3: 3, 4: 4, 5: 4, 6: 4, 7: 3, 8: 5, 9: 5, 10: 5, 11: 5, 12: 5, 13: 5, 14: 5}
)

MAX_QUOTE: Final = 16_384  # octets; a quote takes 5 KiB, and Linux's buffer for one has 16 KiB

# TDATTRIBUTES and XFAM, after "Intel TDX Module ABI Specification": ATTRIBUTES, and Extended Features Available Mask.
DEBUG: Final = 1 << 0
DEBUG_GROUP: Final = 0xFF  # "TUD", trust domain under debug: profiling too lets the host look in
MIGRATABLE: Final = 1 << 29
SEPT_VE_DISABLE: Final = 1 << 28
PKS: Final = 1 << 30
KEY_LOCKER: Final = 1 << 31
PERFMON: Final = 1 << 63
JUDGED: Final = DEBUG_GROUP | MIGRATABLE | SEPT_VE_DISABLE | PKS | KEY_LOCKER | PERFMON
XFAM_MANDATORY: Final = 0x3  # x87 and SSE
XFAM_ALLOWED: Final = 0x6DBE7  # and AVX, AVX-512, PT, PKRU, CET, user interrupts, LBR and AMX; the rest is reserved


@dataclass(frozen=True, slots=True)
class TdxEvidence:
    """The parts of a body, not verified."""

    quote: bytes
    collateral: Collateral


L = TypeVar("L", bound=Level)


def serialize_body(evidence: TdxEvidence) -> bytes:
    """Return the body of the evidence."""
    return Writer().vec16(evidence.quote).vec32(serialize_collateral(evidence.collateral)).getvalue()


def parse_body(data: bytes) -> TdxEvidence:
    """Read the parts of a body."""
    reader = Reader(data)
    quote = reader.vec16("quote", MAX_QUOTE)
    collateral = parse_collateral(reader.vec32("collateral", MAX_BODY))
    reader.finish("TDX evidence")
    return TdxEvidence(quote, collateral)


def registers(quote: Quote) -> dict[str, str]:
    """Return what is measured, by name and in order, in hexadecimal.

    MRSERVICETD is among them only where it says something, so that a trust domain without services has one measurement
    whichever version of quotes its host makes.
    """
    report = quote.report
    values = {"MRTD": report.mrtd}
    values |= {f"RTMR{number}": value for number, value in enumerate(report.rtmrs)}
    values |= {"MRCONFIGID": report.mrconfigid, "MROWNER": report.mrowner, "MROWNERCONFIG": report.mrownerconfig}
    if report.mrservicetd is not None and any(report.mrservicetd):
        values["MRSERVICETD"] = report.mrservicetd
    return {name: value.hex() for name, value in values.items()}


def measure(quote: Quote) -> bytes:
    """Return SHA-384 over all registers, one after the other."""
    return hashlib.sha384(bytes.fromhex("".join(registers(quote).values()))).digest()


def verify(
    body: bytes, table: TdxTable, now: float, steps: Steps, *, roots: Mapping[bytes, str] = ROOTS
) -> TrustedReport:
    """Return what a trust domain's quote says, if all fourteen steps pass."""
    with steps.step(1) as found:
        evidence = parse_body(body)
        found.append(f"a quote of {len(evidence.quote)} octets")
    with steps.step(2) as found:
        quote = parse_quote(evidence.quote)
        found.append(f"version {quote.version}, of TD {'1.0' if quote.body_type == TD_1_0 else '1.5'}")
    with steps.step(3) as found:
        pck = verify_pck_chain(quote.certificates, roots, now)
        platform = parse_platform(pck.leaf)
        found.append(f"{pck.root}; FMSPC {platform.fmspc.hex()}, PPID {platform.ppid.hex()}")
    _verify_signatures(quote, pck, steps)
    info, identity, expires_at = _verify_collateral(evidence.collateral, pck, platform, table, now, steps)
    with steps.step(10) as found:
        found.append(f"quoting enclave {_check_qe(quote.qe_report, identity, table)}")
    with steps.step(11) as found:
        found.extend(_check_module(quote.report, info, table))
    with steps.step(12) as found:
        level = _check_platform(quote.report, platform, info, table)
        firmware = f"TCB {level}, evaluation {info.tcb_evaluation_data_number}"
        found.append(firmware)
    with steps.step(13) as found:
        _check_attributes(quote.report, table)
        found.append(f"debug off; TDATTRIBUTES {quote.report.td_attributes:#x}, XFAM {quote.report.xfam:#x}")
    with steps.step(14) as found:
        if table.chips and platform.ppid.hex() not in table.chips:
            raise PolicyError(f"the chip is not among those accepted: PPID {platform.ppid.hex()}")
        found.append("listed chip" if table.chips else "any chip")
    return TrustedReport(
        format=TDX,
        measurement=measure(quote),
        bound=quote.report.report_data,
        platform_id=platform.ppid,
        firmware=firmware,
        expires_at=expires_at,
    )


def _verify_signatures(quote: Quote, pck: Chain, steps: Steps) -> None:
    """Take steps 4 to 6: from the PCK to the quoting enclave, to its attestation key, to the quote."""
    report = quote.qe_report
    with steps.step(4):
        failure = "the quoting enclave's report is not signed by the PCK key"
        verify_p256(key_of(pck.leaf, "the PCK certificate"), quote.qe_report_signature, report.signed, failure)
    with steps.step(5):
        digest = hashlib.sha256(quote.attestation_key + quote.authentication_data).digest()
        if report.report_data != digest + bytes(32):
            raise EvidenceError("the quoting enclave's report does not bind the attestation key")
    with steps.step(6) as found:
        failure = "the quote is not signed by the attestation key"
        verify_p256(_point(quote.attestation_key), quote.signature, quote.signed, failure)
        found.append(f"measurement {measure(quote).hex()}")
        found.extend(f"{name} {value}" for name, value in registers(quote).items())


def _verify_collateral(
    collateral: Collateral, pck: Chain, platform: Platform, table: TdxTable, now: float, steps: Steps
) -> tuple[TcbInfo, QeIdentity, int]:
    """Take steps 7 to 9, and return Intel's two documents and until when everything that was verified counts."""
    root = hashlib.sha256(pck.certificates[-1].public_bytes(Encoding.DER)).digest()
    roots = {root: pck.root}  # the root of the PCK and no other, also where several are pinned
    with steps.step(7) as found:
        revoked, lists_end = verify_revocations(collateral, pck, roots, now)
        found.append(f"the lists are current until {in_words(lists_end)}")
    with steps.step(8) as found:
        info, info_ends = verify_tcb_info(collateral.tcb_info, revoked, roots, now)
        for name, ours, theirs in (("FMSPC", info.fmspc, platform.fmspc), ("PCEID", info.pce_id, platform.pce_id)):
            if bytes.fromhex(ours) != theirs:
                raise EvidenceError(f"the TCB information is for {name} {ours.lower()}, not {theirs.hex()}")
        _check_evaluation(info, table, "TCB information")
        found.append(f"evaluation {info.tcb_evaluation_data_number}, current until {in_words(info_ends)}")
    with steps.step(9) as found:
        identity, identity_ends = verify_qe_identity(collateral.qe_identity, revoked, roots, now)
        _check_evaluation(identity, table, "QE identity")
        found.append(f"evaluation {identity.tcb_evaluation_data_number}, current until {in_words(identity_ends)}")
    return info, identity, min(pck.expires_at, lists_end, info_ends, identity_ends)


def _check_evaluation(document: Dated, table: TdxTable, name: str) -> None:
    number, least = document.tcb_evaluation_data_number, table.minimum_tcb_evaluation
    if number < least:
        raise PolicyError(f"the {name} is of evaluation {number}, and the policy wants at least {least}")


def _check_qe(report: EnclaveReport, identity: QeIdentity, table: TdxTable) -> SoftwareLevel:
    """Hold the quoting enclave against Intel's identity of it, and return its level."""
    if report.mrsigner != bytes.fromhex(identity.mrsigner):
        raise EvidenceError("the quoting enclave is not signed by whom the QE identity names")
    if report.isv_prod_id != identity.isvprodid:
        raise EvidenceError(f"the quoting enclave is product {report.isv_prod_id}, not {identity.isvprodid}")
    if not _equals_under(report.miscselect, identity.miscselect, identity.miscselect_mask):
        raise EvidenceError("the quoting enclave's MISCSELECT is not that of the QE identity")
    if not _equals_under(report.attributes, identity.attributes, identity.attributes_mask):
        raise EvidenceError("the quoting enclave's attributes are not those of the QE identity")
    return _accept(_level_of(identity.tcb_levels, report.isv_svn), table, "quoting enclave")


def _check_module(report: TdReport, info: TcbInfo, table: TdxTable) -> Iterator[str]:
    """Hold the TDX module against Intel's identities of it, at launch and now, and return what was found in words.

    Octet 1 of the SVNs is the module's major version, and octet 0 its level. Version 0 has one identity for all its
    levels, which are part of the platform's.
    """
    if any(report.seam_attributes):
        raise PolicyError("the TDX module runs with attributes, which no module in production has")
    for svn in _svns(report):
        module, levels = info.tdx_module, None
        if svn[1]:
            name = f"TDX_{svn[1]:02X}"
            identity = next((each for each in info.tdx_module_identities if each.id.upper() == name), None)
            if identity is None:
                raise PolicyError(f"the TCB information knows no TDX module {name}")
            module, levels = identity, identity.tcb_levels
        if report.mrsignerseam != bytes.fromhex(module.mrsigner):
            raise EvidenceError("the TDX module is not signed by whom the TCB information names")
        if not _equals_under(report.seam_attributes, module.attributes, module.attributes_mask):
            raise EvidenceError("the TDX module's attributes are not those of the TCB information")
        level = "no level of its own" if levels is None else _accept(_level_of(levels, svn[0]), table, "TDX module")
        yield f"TDX module {svn[1]}.{svn[0]}: {level}"
    yield f"MRSEAM {report.mrseam.hex()}"


def _check_platform(report: TdReport, platform: Platform, info: TcbInfo, table: TdxTable) -> PlatformLevel:
    """Return the level at which the trust domain was launched; that of now must be accepted too."""
    levels = [
        _accept(next((level for level in info.tcb_levels if _reaches(level, platform, svn)), None), table, "platform")
        for svn in _svns(report)
    ]
    return levels[0]


def _check_attributes(report: TdReport, table: TdxTable) -> None:
    """Judge TDATTRIBUTES and XFAM; what no policy may allow comes first."""
    attributes = report.td_attributes
    if attributes & DEBUG:
        raise PolicyError("the trust domain runs in debug mode")
    if attributes & DEBUG_GROUP:
        raise PolicyError("the trust domain lets its host profile it")
    if attributes & MIGRATABLE:
        raise PolicyError("the trust domain can be migrated")
    if attributes & ~JUDGED:
        raise PolicyError(f"the trust domain has attributes that are reserved or unknown: {attributes & ~JUDGED:#x}")
    for mask, name, wanted in (
        (SEPT_VE_DISABLE, "SEPT_VE_DISABLE", table.sept_ve_disable),
        (PKS, "PKS", table.pks),
        (KEY_LOCKER, "KL", table.key_locker),
        (PERFMON, "PERFMON", table.perfmon),
    ):
        if wanted is Bit.REQUIRE and not attributes & mask:
            raise PolicyError(f"{name} is not set, and the policy requires it")
        if wanted is Bit.FORBID and attributes & mask:
            raise PolicyError(f"{name} is set, and the policy forbids it")
    if report.xfam & XFAM_MANDATORY != XFAM_MANDATORY:
        raise PolicyError(f"XFAM {report.xfam:#x} lacks a bit that is always set")
    if report.xfam & ~XFAM_ALLOWED:
        raise PolicyError(f"XFAM has bits that are reserved or unknown: {report.xfam & ~XFAM_ALLOWED:#x}")


def _svns(report: TdReport) -> list[bytes]:
    """Return TEE_TCB_SVN, and TEE_TCB_SVN2 where there is one that differs."""
    second = report.tee_tcb_svn2
    return [report.tee_tcb_svn] if second in (None, report.tee_tcb_svn) else [report.tee_tcb_svn, second]


def _reaches(level: PlatformLevel, platform: Platform, tee_tcb_svn: bytes) -> bool:
    """Say whether all SVNs are at least those of a level.

    From version 1 of the TDX module on, its own two octets are judged by the module's identity and left out here.
    """
    start = 2 if tee_tcb_svn[1] else 0
    return (
        _cover(platform.sgx_svns, level.tcb.sgxtcbcomponents)
        and platform.pce_svn >= level.tcb.pcesvn
        and _cover(tuple(tee_tcb_svn)[start:], level.tcb.tdxtcbcomponents[start:])
    )


def _cover(svns: Sequence[int], components: Sequence[Component]) -> bool:
    return all(svn >= component.svn for svn, component in zip(svns, components, strict=True))


def _level_of(levels: Sequence[SoftwareLevel], svn: int) -> SoftwareLevel | None:
    return next((level for level in levels if svn >= level.tcb.isvsvn), None)


def _accept(level: L | None, table: TdxTable, name: str) -> L:
    """Return a level whose status the policy accepts; whatever it accepts, a revoked level is refused."""
    if level is None:
        raise PolicyError(f"Intel knows no level that the {name} reaches")
    if level.tcb_status == REVOKED:
        raise PolicyError(f"Intel revoked the level of the {name}")
    if level.tcb_status not in table.statuses:
        raise PolicyError(f"the level of the {name} is {level.tcb_status}, and the policy accepts only {_list(table)}")
    return level


def _list(table: TdxTable) -> str:
    return " or ".join(table.statuses)


def _equals_under(value: bytes, expected: str, mask: str) -> bool:
    """Say whether octets are those expected, in hexadecimal, where the mask has ones."""
    triples = zip(value, bytes.fromhex(expected), bytes.fromhex(mask), strict=True)
    return all(ours & ones == theirs & ones for ours, theirs, ones in triples)


def _point(key: bytes) -> EllipticCurvePublicKey:
    reader = Reader(key)
    x, y = (int.from_bytes(reader.take(COORDINATE, name)) for name in ("x", "y"))
    try:
        return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
    except ValueError:
        raise EvidenceError("the attestation key is not a point of P-256") from None
