"""What a ledger, the gateways and publishers that write to it, and whoever reads it say to each other.

Everything that is read is public and static but `/proofs`. What is submitted is authenticated by a secret that both
sides hold, so that nobody else fills a log; what it *says* is believed for its own signatures and digests only.

    submission       = HMAC-SHA-256(secret, label, 0x00, payload) 32, payload
    epoch submission = head, epoch u64, core vec16, evidence vec32

A submission that is sent twice is answered alike, so a copy of one does nothing.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from seclude.attestation.bundle import MAX_CORE, MAX_EVIDENCE, expect_head
from seclude.errors import DecodeError, UnauthorizedError, UsageError
from seclude.wire import Reader, Writer


class Path(StrEnum):
    """Where a ledger serves what; a log's tiles stand below its own path (C2SP tlog-tiles)."""

    PAGE = "/"
    KEYS = "/keys"
    STATE = "/state"
    CHECKPOINT = "/checkpoint"
    """Below a log's path: its newest checkpoint that a quorum of witnesses has cosigned."""
    EPOCHS = "/epochs"
    """Below it, by number: core and evidence of an epoch, as they were submitted."""
    PROOFS = "/proofs"
    """What gateways staple to bundles (`attestation/proofs.py`)."""
    ADD_EPOCH = "/keys/add"
    ADD_STATE = "/state/add"


EPOCH_HEAD: Final = b"SECLUDE-EPOCH\x01"
MAC_BYTES: Final = 32
SECRET_BYTES: Final = 32
MAX_SUBMISSION: Final = MAC_BYTES + len(EPOCH_HEAD) + 8 + 2 + MAX_CORE + 4 + MAX_EVIDENCE

EPOCH_LABEL: Final = b"seclude submit epoch v1"
STATE_LABEL: Final = b"seclude submit state v1"


@dataclass(frozen=True, slots=True)
class EpochSubmission:
    """What stands behind leaf n of the keys log."""

    epoch: int
    core: bytes
    evidence: bytes


def seal_submission(label: bytes, payload: bytes, secret: bytes) -> bytes:
    """Return a payload with what shows that it is from a holder of the secret."""
    if len(secret) != SECRET_BYTES:
        raise UsageError(f"a submit secret has {len(secret)} octets, not {SECRET_BYTES}")
    return _mac(label, payload, secret) + payload


def open_submission(label: bytes, data: bytes, secrets: Iterable[bytes]) -> bytes:
    """Return the payload; raises `UnauthorizedError` where none of the secrets made it."""
    mac, payload = data[:MAC_BYTES], data[MAC_BYTES:]
    found = [hmac.compare_digest(mac, _mac(label, payload, secret)) for secret in secrets]
    if not any(found):
        raise UnauthorizedError("the submission is authenticated by no secret that is known here")
    return payload


def serialize_epoch(submission: EpochSubmission) -> bytes:
    """Return the encoding of an epoch, which is also how the ledger keeps it."""
    return Writer().raw(EPOCH_HEAD).u64(submission.epoch).vec16(submission.core).vec32(submission.evidence).getvalue()


def parse_epoch(data: bytes) -> EpochSubmission:
    """Read an epoch; core and evidence stay unread."""
    reader = Reader(data)
    expect_head(reader, EPOCH_HEAD, "an epoch")
    submission = EpochSubmission(
        epoch=reader.u64("epoch"),
        core=reader.vec16("core", MAX_CORE),
        evidence=reader.vec32("evidence", MAX_EVIDENCE),
    )
    reader.finish("epoch")
    if submission.epoch >= 1 << 63:
        raise DecodeError("the epoch has no number that a log could reach")
    return submission


def epoch_path(epoch: int) -> str:
    """Return where a ledger serves what stands behind leaf n."""
    return f"{Path.EPOCHS}/{epoch}"


def _mac(label: bytes, payload: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, label + b"\x00" + payload, hashlib.sha256)
