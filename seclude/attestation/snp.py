"""AMD SEV-SNP: a guest's attestation report, signed by the key of one chip at one firmware level (VCEK).

    body = report vec16, count u8, count certificates vec16, count u8, count revocation lists vec16

The certificates are VCEK, ASK and ARK, in this order; the revocation list is the ARK's. `snp_report.py` has the
layouts. Ten steps:
 1. The body decodes: a report of version 2 to 5 for ECDSA over P-384, with zeros wherever it reserves octets.
 2. The report says that a VCEK signed it, and the certificate is a VCEK's.
 3. The certificates chain to a pinned ARK, with RSASSA-PSS and SHA-384 throughout, and are valid at `now`.
 4. The ARK revoked none of them, in a list that is current.
 5. The report is signed by the key of the VCEK.
 6. The product is that of the ARK, agrees with the CPUID that the report states, and is an accepted one.
 7. The chip is the one of the certificate, which is not hidden, and one of those accepted, where a policy names any.
 8. The firmware levels are those of the certificate, none of them is too low, and what runs is committed.
 9. Debugging and migration are off, and policy and platform are as the policy wants them.
10. The report was asked for at the expected VMPL, by a guest of a version that is not too low.

VLEK is refused under every policy: a provider's key signs for its whole fleet, and one broken machine leaks it. The
level that counts is that of the certificate (TOB-WAPI-8); the chip is that of the certificate (TOB-WAPI-10).
Not signed are r, s and the octets after them, which have to be zero; an ECDSA signature verifies as (r, n - s) too.
A flip of any octet is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from seclude.attestation.accept import Bit, SnpTable
from seclude.attestation.certificates import (
    BROKEN,
    Chain,
    Revocations,
    common_name,
    load_certificate,
    verify_chain,
    verify_crl,
)
from seclude.attestation.evidence import SEV_SNP, TrustedReport
from seclude.attestation.slots import in_words
from seclude.attestation.snp_report import (
    CHIP_BYTES,
    LEVELS,
    PRODUCTS,
    VCEK,
    VLEK,
    Product,
    Report,
    Tcb,
    certified_hwid,
    certified_tcb,
    is_vcek,
    parse_report,
    parse_tcb,
)
from seclude.attestation.steps import Steps
from seclude.errors import DecodeError, EvidenceError, PolicyError
from seclude.wire import Reader, Writer

# SHA-256 of the DER of AMD's roots, as its key distribution service gives them in /vcek/v1/{Milan,Genoa,Turin}/
# cert_chain, and as confidential-containers/trustee has them; until 2045, 2047 and 2048. A root tells the product.
ROOTS: Final[Mapping[bytes, str]] = MappingProxyType(
    {
        bytes.fromhex("69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd"): "milan",
        bytes.fromhex("4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1"): "genoa",
        bytes.fromhex("1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a"): "turin",
    }
)

TITLES: Final[Mapping[int, str]] = MappingProxyType(
    {
        1: "body decodes",
        2: "report is signed by a VCEK",
        3: "certificates chain to a pinned root",
        4: "no certificate is revoked",
        5: "signature is the VCEK's",
        6: "product is accepted",
        7: "chip is accepted",
        8: "firmware is accepted",
        9: "guest policy and platform are accepted",
        10: "privilege level and guest version are accepted",
    }
)
STAGES: Final[Mapping[int, int]] = MappingProxyType({1: 2, 2: 3, 3: 3, 4: 3, 5: 4, 6: 5, 7: 5, 8: 5, 9: 5, 10: 5})

CERTIFICATES: Final = 3
MAX_CRLS: Final = 1
RSA_BITS: Final = 4096
P384_ORDER: Final = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16
)

# Bits of GUEST_POLICY and of PLATFORM_INFO (ABI 1.58, sections 4.3 and 7.3).
POLICY_ONE: Final = 1 << 17
MIGRATE_MA: Final = 1 << 18
DEBUG: Final = 1 << 19
POLICY_KNOWN: Final = (1 << 26) - 1
PLATFORM_KNOWN: Final = (1 << 8) - 1
# For each setting of a table: its bit of GUEST_POLICY, and its bit of PLATFORM_INFO. Where it has both, both count: the
# first is what firmware holds the host to, the second what is so now.
SETTINGS: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        "smt": (1 << 16, 1 << 0),
        "single_socket": (1 << 20, 0),
        "cxl": (1 << 21, 0),
        "aes_256_xts": (1 << 22, 0),
        "rapl_disabled": (1 << 23, 1 << 3),
        "ciphertext_hiding": (1 << 24, 1 << 4),
        "alias_check_complete": (0, 1 << 5),
    }
)


@dataclass(frozen=True, slots=True)
class SnpEvidence:
    """The parts of a body, not verified."""

    report: bytes
    certificates: tuple[bytes, ...]
    """DER: VCEK, ASK and ARK."""
    crls: tuple[bytes, ...] = ()
    """DER: the ARK's revocation list, without which no report is accepted."""


def serialize_body(evidence: SnpEvidence) -> bytes:
    """Return the body of parts of any number, so that what is missing is for the verifier to say."""
    writer = Writer().vec16(evidence.report)
    for parts in (evidence.certificates, evidence.crls):
        writer.u8(len(parts))
        for part in parts:
            writer.vec16(part)
    return writer.getvalue()


def parse_body(data: bytes) -> SnpEvidence:
    """Read a body with three certificates, and one revocation list or none."""
    reader = Reader(data)
    report = reader.vec16("report")
    count = reader.u8("count of certificates")
    if count != CERTIFICATES:
        raise DecodeError(f"the body has {count} certificates, not the {CERTIFICATES} of VCEK, ASK and ARK")
    certificates = tuple(reader.vec16("certificate") for _ in range(count))
    count = reader.u8("count of revocation lists")
    if count > MAX_CRLS:
        raise DecodeError(f"the body has {count} revocation lists, and one root signs {MAX_CRLS}")
    crls = tuple(reader.vec16("revocation list") for _ in range(count))
    reader.finish("body")
    return SnpEvidence(report, certificates, crls)


def verify(
    body: bytes, table: SnpTable, now: float, steps: Steps, *, roots: Mapping[bytes, str] = ROOTS
) -> TrustedReport:
    """Return what a guest's report says, if all ten steps pass; `roots` maps each pin to a product."""
    with steps.step(1) as found:
        evidence = parse_body(body)
        report = parse_report(evidence.report)
        found.append(f"a report of version {report.version}")
    with steps.step(2) as found:
        _check_signing_key(report, evidence.certificates[0])
        found.append("the key of one chip at one firmware level")
    with steps.step(3) as found:
        chain, product = _verify_certificates(evidence, roots, now)
        found.append(f"AMD's root for {product.name}; the chain is valid until {in_words(chain.expires_at)}")
    with steps.step(4) as found:
        revocations = _verify_revocations(evidence, chain, now)
        found.append(f"the list is valid until {in_words(revocations.expires_at)}")
    with steps.step(5) as found:
        _verify_signature(report, chain.leaf)
        found.append("ECDSA over P-384 with SHA-384")
    with steps.step(6) as found:
        found.append(_check_product(report, product, table))
    with steps.step(7) as found:
        hwid = _check_chip(report, chain.leaf, product, table)
        found.append(f"chip {hwid.hex()}")
    with steps.step(8) as found:
        firmware = _check_firmware(report, chain.leaf, product, table).in_words(product)
        found.append(f"{firmware}; SEV firmware {_dotted(report.current_version)}")
    with steps.step(9) as found:
        found.append(_check_settings(report, table))
    with steps.step(10) as found:
        _check_guest(report, table)
        found.append(f"VMPL {report.vmpl}; guest SVN {report.guest_svn}; launch digest {report.measurement.hex()}")
    return TrustedReport(
        format=SEV_SNP,
        measurement=report.measurement,
        bound=report.report_data,
        platform_id=hwid,
        firmware=firmware,
        expires_at=min(chain.expires_at, revocations.expires_at),
    )


def _check_signing_key(report: Report, der: bytes) -> None:
    certificate = load_certificate(der, "VCEK")
    if report.signing_key == VLEK:
        raise PolicyError(
            "the report is signed by a VLEK, the key of a provider's whole fleet, and no policy accepts it"
        )
    if report.signing_key != VCEK:
        raise EvidenceError(f"the report is signed by no VCEK: signing_key is {report.signing_key}")
    if not is_vcek(certificate):
        raise EvidenceError("the report says that a VCEK signed it, and the first certificate is not a VCEK's")


def _verify_certificates(evidence: SnpEvidence, roots: Mapping[bytes, str], now: float) -> tuple[Chain, Product]:
    chain = verify_chain(evidence.certificates, roots, now, name="SEV-SNP")
    product = PRODUCTS.get(chain.root)
    if product is None:
        raise EvidenceError(f"the SEV-SNP chain ends at a root for {chain.root}, which is no product known here")
    for position, certificate in enumerate(chain.certificates):
        _check_algorithms(certificate, position)
    if common_name(chain.certificates[1]) != product.issuer:  # the ARK certifies the issuer of VLEKs too
        raise EvidenceError(f"certificate 1 of the SEV-SNP chain is not that of {product.issuer}")
    return chain, product


def _check_algorithms(certificate: x509.Certificate, position: int) -> None:
    """Check that a certificate is as AMD makes them: by RSASSA-PSS with SHA-384, with a key of P-384 or RSA-4096."""
    place = f"certificate {position} of the SEV-SNP chain"
    padding, digest = certificate.signature_algorithm_parameters, certificate.signature_hash_algorithm
    if not isinstance(padding, PSS) or not isinstance(digest, SHA384):
        raise EvidenceError(f"{place} is not signed with RSASSA-PSS and SHA-384")
    if position == 0:
        _chip_key(certificate)
        return
    key = certificate.public_key()  # it verified a signature, so it can be read
    if not isinstance(key, RSAPublicKey) or key.key_size != RSA_BITS:
        raise EvidenceError(f"{place} has a key that is not of RSA with {RSA_BITS} bits")


def _chip_key(leaf: x509.Certificate) -> EllipticCurvePublicKey:
    try:
        key = leaf.public_key()
    except BROKEN:
        raise EvidenceError("certificate 0 of the SEV-SNP chain has a key that cannot be read") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP384R1):
        raise EvidenceError("certificate 0 of the SEV-SNP chain has a key that is not of P-384")
    return key


def _verify_revocations(evidence: SnpEvidence, chain: Chain, now: float) -> Revocations:
    if not evidence.crls:
        raise EvidenceError("the root's revocation list is missing; it has to come with the report")
    revocations = verify_crl(evidence.crls[0], chain.certificates[-1], now, name="AMD")
    for position, certificate in enumerate(chain.certificates):
        # The list is of what the root issued. Every VCEK has serial number 0, so one cannot be revoked by it.
        if position and certificate.serial_number in revocations.serials:
            raise EvidenceError(f"certificate {position} of the SEV-SNP chain is revoked")
    return revocations


def _verify_signature(report: Report, leaf: x509.Certificate) -> None:
    if not 0 < report.r < P384_ORDER or not 0 < report.s < P384_ORDER:
        raise EvidenceError("r or s of the signature is out of the range of P-384")
    try:
        _chip_key(leaf).verify(encode_dss_signature(report.r, report.s), report.signed, ECDSA(SHA384()))
    except InvalidSignature:
        raise EvidenceError("the report is not signed by the key of its certificate") from None


def _check_product(report: Report, product: Product, table: SnpTable) -> str:
    """Hold the root's product against the report and the table; a report of version 2 says nothing of it."""
    words: str = product.name
    if report.cpuid is not None:
        family, model, stepping = report.cpuid
        if model not in product.models.get(family, frozenset()):
            raise EvidenceError(f"CPUID family {family:#x} and model {model:#x} of the report are not {product.name}'s")
        words += f"; CPUID family {family:#x}, model {model:#x}, stepping {stepping:#x}"
    if product.name not in table.products:
        raise PolicyError(f"the product is {product.name}, and accepted are {', '.join(table.products)}")
    return words


def _check_chip(report: Report, leaf: x509.Certificate, product: Product, table: SnpTable) -> bytes:
    if report.mask_chip_key:
        raise PolicyError("the host masks the chip's key, so the report names no chip")
    if not any(report.chip_id):
        raise PolicyError("the host masks the chip's identifier: chip_id is zero")
    hwid = certified_hwid(leaf, product)
    if report.chip_id != hwid.ljust(CHIP_BYTES, b"\0"):
        raise EvidenceError("chip_id of the report is not hwID of the certificate")
    if table.chips and hwid.hex() not in table.chips:
        raise PolicyError(f"chip {hwid.hex()} is not among those accepted")
    return hwid


def _check_firmware(report: Report, leaf: x509.Certificate, product: Product, table: SnpTable) -> Tcb:
    """Return the certificate's firmware levels; they are what the signature proves, and the report's own are not."""
    certified = certified_tcb(leaf, product)
    levels = {
        "certified": certified,
        "reported": parse_tcb(report.reported_tcb, product, "reported_tcb"),
        "current": parse_tcb(report.current_tcb, product, "current_tcb"),
        "committed": parse_tcb(report.committed_tcb, product, "committed_tcb"),
        "launch": parse_tcb(report.launch_tcb, product, "launch_tcb"),
    }
    if levels["reported"] != certified:
        raise EvidenceError(
            f"the report states {levels['reported'].in_words(product)}, "
            f"and its certificate is for {certified.in_words(product)}"
        )
    floor = table.minimum_tcb.get(product.name)
    if floor is None:
        raise PolicyError(f"minimum_tcb has no entry for {product.name}")
    for name, tcb in levels.items():
        for level in LEVELS:
            least, value = getattr(floor, level), getattr(tcb, level)
            if value < least:
                raise PolicyError(f"the {name} level of {level} is {value}, below {least}")
    if report.committed_version != report.current_version:
        raise PolicyError(
            f"SEV firmware {_dotted(report.current_version)} is provisional: "
            f"committed is {_dotted(report.committed_version)}"
        )
    return certified


def _check_settings(report: Report, table: SnpTable) -> str:
    """Hold bits against a table, and return those that are set in words."""
    if report.policy & ~POLICY_KNOWN:
        raise PolicyError("the guest policy has bits set that are not known here")
    if not report.policy & POLICY_ONE:
        raise PolicyError("bit 17 of the guest policy has to be one, and is zero")
    if report.platform_info & ~PLATFORM_KNOWN:
        raise PolicyError("platform_info has bits set that are not known here")
    if report.policy & DEBUG:
        raise PolicyError("the guest policy allows debugging: the host can read the guest's memory")
    if report.policy & MIGRATE_MA:
        raise PolicyError("the guest policy allows a migration agent: it can move the guest's memory elsewhere")
    for name, masks in SETTINGS.items():
        wanted: Bit = getattr(table, name)
        for place, bits, mask in (
            ("guest policy", report.policy, masks[0]),
            ("platform", report.platform_info, masks[1]),
        ):
            if mask and wanted is Bit.REQUIRE and not bits & mask:
                raise PolicyError(f"{name} is required, and the {place} is without it")
            if mask and wanted is Bit.FORBID and bits & mask:
                raise PolicyError(f"{name} is forbidden, and the {place} is with it")
    words = f"debug and migration off; guest policy {report.policy:#x}, platform {report.platform_info:#x}"
    if report.mitigations is not None:
        words += f", mitigations at launch {report.mitigations[0]:#x}, now {report.mitigations[1]:#x}"
    return words


def _check_guest(report: Report, table: SnpTable) -> None:
    if report.vmpl != table.vmpl:
        raise PolicyError(f"the report was asked for at VMPL {report.vmpl}, not {table.vmpl}")
    if report.guest_svn < table.minimum_guest_svn:
        raise PolicyError(f"the guest's security version is {report.guest_svn}, below {table.minimum_guest_svn}")


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))
