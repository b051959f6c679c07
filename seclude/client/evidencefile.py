"""Evidence as an auditor has it: a file of this project, or a vendor's own, with chain and collateral beside it.

What a file is shows in its first octets. Vendors' files come bare, in PEM-like armour, or in hexadecimal.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from seclude.attestation import nvidia, snp, tdx
from seclude.attestation.bundle import BUNDLE_HEAD, BUNDLES_HEAD, parse_bundle, parse_bundles
from seclude.attestation.certificates import BROKEN, MAX_CHAIN, load_certificate
from seclude.attestation.evidence import (
    EVIDENCE_HEAD,
    NITRO,
    NVIDIA,
    SEV_SNP,
    SIMULATED,
    TDX,
    TPM,
    UnverifiedEvidence,
    parse_evidence,
)
from seclude.attestation.tdx_collateral import Collateral, collateral_from_json
from seclude.errors import ConfigError

MAX_FILE: Final = 1 << 20  # octets; the largest file of evidence, a list of bundles, has a few hundred KiB
MAX_PART: Final = 0xFFFF  # octets of a report or a quote in a body; the largest takes a quarter of it
ARMOUR: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s([A-Za-z0-9+/=\s]+)-----END \1-----")
HEXADECIMAL: Final = re.compile(rb"\s*(?:[0-9a-fA-F]{2}\s*){16,}")

# How vendors' own files begin.
SNP_REPORT: Final = re.compile(rb"[\x02-\x05]\0\0\0", re.DOTALL)
TDX_QUOTE: Final = re.compile(rb"[\x04\x05]\0\x02\0\x81\0\0\0", re.DOTALL)
NITRO_DOCUMENT: Final = re.compile(rb"\xd2?\x84\x44\xa1\x01\x38\x22", re.DOTALL)
NVIDIA_REPORT: Final = re.compile(rb"\x11\xe0", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One thing that a file shows, not verified."""

    items: tuple[UnverifiedEvidence, ...]
    whole: bool
    """Whether these are all the items that there are; a vendor's own file is one of perhaps several."""
    bundle: bytes | None = None
    core: bytes | None = None
    """What the evidence is for, where the file is a key bundle."""


def read_exhibits(
    data: bytes, format_name: str | None, chain: Sequence[bytes], collateral: bytes | None
) -> list[Exhibit]:
    """Return what is in a file: a key bundle, a list of them as relays serve it, evidence, or a vendor's own file.

    `chain` are the contents of files with certificates, `collateral` is what the vendor published to judge the platform
    by: AMD's revocation list, or Intel's collateral as JSON. Raises `ConfigError` for a file that is none of these.
    """
    if data.startswith((BUNDLE_HEAD, BUNDLES_HEAD)):
        bundles = [data] if data.startswith(BUNDLE_HEAD) else list(parse_bundles(data).values())
        parsed = [(each, parse_bundle(each)) for each in bundles]
        return [Exhibit(parse_evidence(bundle.evidence), True, each, bundle.core) for each, bundle in parsed]
    if data.startswith(EVIDENCE_HEAD):
        return [Exhibit(parse_evidence(data), True)]
    return [Exhibit((_read_vendors(data, format_name, chain, collateral),), False)]


def _read_vendors(
    data: bytes, format_name: str | None, chain: Sequence[bytes], collateral: bytes | None
) -> UnverifiedEvidence:
    bare = _bare(data)
    if len(bare) > MAX_PART:
        raise ConfigError(f"the evidence has {len(bare)} octets, limit {MAX_PART}; it is another file")
    kind = format_name or _guess(bare)
    certificates = order([der for text in chain for der in _certificates(text)])
    match kind:
        case "sev-snp":
            crls = () if collateral is None else _revocations(collateral, certificates)
            body = snp.serialize_body(snp.SnpEvidence(bare, certificates, crls))
        case "tdx":
            known = Collateral() if collateral is None else collateral_from_json(collateral.decode(errors="replace"))
            body = tdx.serialize_body(tdx.TdxEvidence(bare, known))
        case "nvidia":
            body = nvidia.serialize_body(nvidia.NvidiaEvidence(bare, certificates))
        case "nitro" | "tpm" | "simulated":
            body = bare
        case _:
            raise ConfigError(
                "this is no evidence that is known here; say what it is with --format "
                f"{', '.join((SEV_SNP, TDX, NITRO, TPM, NVIDIA, SIMULATED))}"
            )
    return UnverifiedEvidence(kind, body)


def order(certificates: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the chain that the first certificate begins, each followed by the one that names itself its issuer.

    Files of a vendor hold more than one chain needs, in any order; whether it holds is for the verifier to say.
    """
    left = [(der, load_certificate(der, "given")) for der in certificates]
    if not left:
        return ()
    chain = [left.pop(0)]
    while chain[-1][1].subject != chain[-1][1].issuer and len(chain) < MAX_CHAIN:
        found = next((each for each in left if each[1].subject == chain[-1][1].issuer), None)
        if found is None:
            break
        chain.append(found)
        left.remove(found)
    return tuple(der for der, _ in chain)


def _guess(data: bytes) -> str | None:
    for name, beginning in (
        (SEV_SNP, SNP_REPORT),
        (TDX, TDX_QUOTE),
        (NITRO, NITRO_DOCUMENT),
        (NVIDIA, NVIDIA_REPORT),
    ):
        if beginning.match(data):
            return name
    return None


def _bare(data: bytes) -> bytes:
    """Return the octets inside armour or hexadecimal; what is no text is bare, though a quote holds armour itself."""
    if not data.isascii():
        return data
    armoured = ARMOUR.search(data)
    if armoured is not None:
        try:
            return base64.b64decode(armoured[2])
        except binascii.Error:
            raise ConfigError("the text between BEGIN and END is not base64") from None
    if HEXADECIMAL.fullmatch(data):
        return bytes.fromhex(data.decode())
    return data


def _revocations(data: bytes, chain: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the revocation list in a file; of several, that of the chain's root."""
    try:
        armoured = [base64.b64decode(body) for label, body in ARMOUR.findall(data) if label == b"X509 CRL"]
        if len(armoured) < 2 or not chain:
            return (armoured[0] if armoured else _bare(data),)
        root = load_certificate(chain[-1], "root").subject
        return tuple(der for der in armoured if x509.load_der_x509_crl(der).issuer == root)
    except BROKEN:  # binascii.Error is a ValueError
        raise ConfigError("the collateral holds a revocation list that is none") from None


def _certificates(data: bytes) -> list[bytes]:
    """Return the certificates in a file, in DER."""
    try:
        if b"-----BEGIN" in data:
            return [certificate.public_bytes(Encoding.DER) for certificate in x509.load_pem_x509_certificates(data)]
    except ValueError:
        raise ConfigError("a file of the chain holds something else than certificates") from None
    return [data]
