"""Evidence: what a platform says about the software on it, in an envelope that names the format.

    evidence = head, format vec8, body vec32

The name selects the verifier and nothing else: a body counts only after `verify.py` has passed it.
"""

import re
from dataclasses import dataclass
from typing import Final

from seclude.attestation.bundle import MAX_EVIDENCE, expect_head, read_name
from seclude.errors import DecodeError, TooLargeError, UsageError
from seclude.wire import Reader, Writer

EVIDENCE_HEAD: Final = b"SECLUDE-EVIDENCE\x01"
SIMULATED: Final = "simulated"

FORMAT: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
MAX_BODY: Final = MAX_EVIDENCE - len(EVIDENCE_HEAD) - 1 - 32 - 4  # octets; what the envelope leaves of the limit


@dataclass(frozen=True, slots=True)
class UnverifiedEvidence:
    """A format's name and a body that nobody has checked."""

    format: str
    body: bytes


@dataclass(frozen=True, slots=True)
class TrustedReport:
    """What verified evidence says; it comes from `verify_report` only."""

    format: str
    measurement: bytes
    report_data: bytes
    platform_id: bytes
    """SHA-256 of the public key of the platform that signed."""
    firmware: int
    issued_at: int
    expires_at: int
    """Seconds since 1970; from then on the same evidence would be refused, by its age or by its certificates."""


def serialize_evidence(evidence: UnverifiedEvidence) -> bytes:
    """Return the envelope round a body."""
    if not FORMAT.fullmatch(evidence.format) or len(evidence.body) > MAX_BODY:
        raise UsageError("evidence has no such format, or its body is over the limit")
    return Writer().raw(EVIDENCE_HEAD).vec8(evidence.format.encode("ascii")).vec32(evidence.body).getvalue()


def parse_evidence(data: bytes) -> UnverifiedEvidence:
    """Read the envelope; a format that is unknown here parses, and is refused by policy."""
    if len(data) > MAX_EVIDENCE:
        raise TooLargeError(f"evidence of {len(data)} octets, limit {MAX_EVIDENCE}")
    reader = Reader(data)
    expect_head(reader, EVIDENCE_HEAD, "evidence")
    evidence = UnverifiedEvidence(format=read_name(reader, "format"), body=reader.vec32("body", MAX_BODY))
    reader.finish("evidence")
    if not FORMAT.fullmatch(evidence.format):
        raise DecodeError("format is not a word in lower case")
    return evidence
