"""Evidence: what a platform says about the software on it, in an envelope that names the formats.

    evidence = head, count u8, count items (format vec8, body vec32)

The first item is of the platform that keeps memory secret; others add to it, such as the quote of a TPM or the report
of a GPU, and each binds the same report data. A name selects a verifier and nothing else: a body counts only after
`verify.py` has passed it.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from seclude.attestation.bundle import MAX_EVIDENCE, expect_head, read_name
from seclude.errors import DecodeError, TooLargeError, UsageError
from seclude.wire import Reader, Writer

EVIDENCE_HEAD: Final = b"SECLUDE-EVIDENCE\x02"

SEV_SNP: Final = "sev-snp"
TDX: Final = "tdx"
NITRO: Final = "nitro"
TPM: Final = "tpm"
NVIDIA: Final = "nvidia"
SIMULATED: Final = "simulated"

FORMAT: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
MAX_ITEMS: Final = 4  # a platform, its TPM, its GPU, and one to spare
MAX_BODY: Final = MAX_EVIDENCE - len(EVIDENCE_HEAD) - 1 - 1 - 32 - 4  # octets; what the envelope leaves of the limit


@dataclass(frozen=True, slots=True)
class UnverifiedEvidence:
    """A format's name and a body that nobody has checked."""

    format: str
    body: bytes


@dataclass(frozen=True, slots=True)
class TrustedReport:
    """What one verified item of evidence says; it comes from a format's `verify` only."""

    format: str
    measurement: bytes
    """What the platform measured, in the format's own form; for "simulated" and "tpm", the manifest's digest."""
    bound: bytes
    """What the report binds: `bound_by(format, report_data)` of what was to be bound."""
    platform_id: bytes
    """What names the machine: a chip's identifier, or the SHA-256 of the public key that signed."""
    firmware: str
    """The level of the platform's firmware, in words."""
    expires_at: int
    """Seconds since 1970: from then on a certificate or a collateral that was needed is no longer valid."""
    issued_at: int | None = None
    """Seconds since 1970, where the platform itself dates its reports; SEV-SNP, TDX and TPM do not."""
    measures_manifest: bool = False
    """Whether `measurement` is the manifest's digest, and not that of a machine's image which contains it."""


def bound_by(format_name: str, report_data: bytes) -> bytes:
    """Return what an item of this format has to carry for 64 octets of report data.

    TPM's qualifying data and the nonce of NVIDIA's GPUs have room for 32 octets.
    """
    return hashlib.sha256(report_data).digest() if format_name in (TPM, NVIDIA) else report_data


def serialize_evidence(*items: UnverifiedEvidence) -> bytes:
    """Return the envelope round one item or more."""
    if not 0 < len(items) <= MAX_ITEMS:
        raise UsageError(f"evidence has 1 to {MAX_ITEMS} items")
    writer = Writer().raw(EVIDENCE_HEAD).u8(len(items))
    for item in items:
        if not FORMAT.fullmatch(item.format) or len(item.body) > MAX_BODY:
            raise UsageError("evidence has no such format, or its body is over the limit")
        writer.vec8(item.format.encode("ascii")).vec32(item.body)
    return writer.getvalue()


def parse_evidence(data: bytes) -> tuple[UnverifiedEvidence, ...]:
    """Read the envelope, the main item first; a format that is unknown here parses, and is refused by policy."""
    if len(data) > MAX_EVIDENCE:
        raise TooLargeError(f"evidence of {len(data)} octets, limit {MAX_EVIDENCE}")
    reader = Reader(data)
    expect_head(reader, EVIDENCE_HEAD, "evidence")
    count = reader.u8("count of items")
    if not 0 < count <= MAX_ITEMS:
        raise DecodeError(f"evidence of {count} items, of 1 to {MAX_ITEMS}")
    items = tuple(
        UnverifiedEvidence(format=read_name(reader, "format"), body=reader.vec32("body", MAX_BODY))
        for _ in range(count)
    )
    reader.finish("evidence")
    if not all(FORMAT.fullmatch(item.format) for item in items):
        raise DecodeError("format is not a word in lower case")
    if len({item.format for item in items}) != len(items):
        raise DecodeError("two items are of one format")
    return items
