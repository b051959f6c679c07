"""The ledger's part of a bundle: both logs as their witnesses cosigned them, and the newest snapshot of the state.

One blob serves every epoch of a pool, for it shows the end of the keys log whole. It is the same for everybody who
asks at the same time. Gateways cut and staple it, so nothing here knows cryptography beyond hashes; what it is worth
is for `ledger.py` to say.

    proofs = head, keys log, state log, snapshot vec32, earlier
    log    = checkpoint vec16 (a signed note), outline vec16 (`tlog/outline.py`, of the checkpoint's size)
    earlier = count u8 of 0 or 1, then checkpoint vec16, snapshot vec32 (empty where it is the newest one)

A leaf of the keys log is `void`, for a slot without keys, or

    entry = "seclude epoch v1" 0x00, SHA-256(core) 32, SHA-256(evidence) 32
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from seclude.attestation.bundle import MAX_CHECKPOINT, MAX_PROOFS, expect_head
from seclude.errors import DecodeError, TooLargeError, UsageError
from seclude.tlog.canonical import parse_decimal
from seclude.tlog.checkpoint import Checkpoint, parse_checkpoint
from seclude.tlog.merkle import leaf_hash
from seclude.tlog.note import parse_note
from seclude.tlog.outline import Outline
from seclude.wire import Reader, Writer

PROOFS_HEAD: Final = b"SECLUDE-PROOFS\x01"
EPOCH_DOMAIN: Final = b"seclude epoch v1\x00"
VOID: Final = b"void"

MAX_OUTLINE: Final = 32_768  # octets; 127 leaves, 127 subtrees of 64, and 770 of 4,096: sixty years of ten minutes
MAX_SNAPSHOT: Final = (1 << 16) - 1  # octets; an entry of a tiled log has no more


@dataclass(frozen=True, slots=True)
class LogView:
    """One log: a checkpoint, as a note with all its signatures, and the outline of its tree."""

    checkpoint: bytes
    outline: Outline


@dataclass(frozen=True, slots=True)
class Earlier:
    """An older checkpoint of the state log, and the snapshot that was its last leaf: what shows maturity."""

    checkpoint: bytes
    snapshot: bytes
    """Empty where it is the newest one."""


@dataclass(frozen=True, slots=True)
class Proofs:
    """What a bundle carries of the ledger, none of it verified."""

    keys: LogView
    state: LogView
    snapshot: bytes
    """The last leaf of the state log: a signed note."""
    earlier: Earlier | None = None


def epoch_entry(core: bytes, evidence: bytes) -> bytes:
    """Return the entry of the keys log that stands for an epoch's keys."""
    return EPOCH_DOMAIN + hashlib.sha256(core).digest() + hashlib.sha256(evidence).digest()


def epoch_leaf(core: bytes, evidence: bytes) -> bytes:
    """Return the leaf that epoch n must have in the keys log."""
    return leaf_hash(epoch_entry(core, evidence))


def serialize_proofs(proofs: Proofs) -> bytes:
    """Return the encoding; parts over their limits are a `UsageError`."""
    writer = Writer().raw(PROOFS_HEAD)
    for log in (proofs.keys, proofs.state):
        writer.vec16(_within(MAX_CHECKPOINT, "a checkpoint", log.checkpoint))
        writer.vec16(_within(MAX_OUTLINE, "an outline", log.outline.serialize()))
    writer.vec32(_within(MAX_SNAPSHOT, "the snapshot", proofs.snapshot)).u8(proofs.earlier is not None)
    if proofs.earlier is not None:
        writer.vec16(_within(MAX_CHECKPOINT, "the earlier checkpoint", proofs.earlier.checkpoint))
        writer.vec32(_within(MAX_SNAPSHOT, "the earlier snapshot", proofs.earlier.snapshot))
    encoded = writer.getvalue()
    if len(encoded) > MAX_PROOFS:
        raise UsageError(f"the proofs take {len(encoded)} octets, limit {MAX_PROOFS}")
    return encoded


def parse_proofs(data: bytes) -> Proofs:
    """Read what a bundle carries; checkpoints are read for their sizes only."""
    if len(data) > MAX_PROOFS:
        raise TooLargeError(f"proofs of {len(data)} octets, limit {MAX_PROOFS}")
    reader = Reader(data)
    expect_head(reader, PROOFS_HEAD, "proofs of a ledger")
    keys, state = _read_log(reader, "keys log"), _read_log(reader, "state log")
    snapshot = reader.vec32("snapshot", MAX_SNAPSHOT)
    count = reader.u8("count of earlier checkpoints")
    if count > 1:
        raise DecodeError("more than one earlier checkpoint")
    earlier = None
    if count:
        checkpoint = reader.vec16("earlier checkpoint", MAX_CHECKPOINT)
        earlier = Earlier(checkpoint, reader.vec32("earlier snapshot", MAX_SNAPSHOT))
    reader.finish("proofs")
    return Proofs(keys, state, snapshot, earlier)


def claimed_checkpoint(checkpoint: bytes) -> Checkpoint:
    """Return what a signed checkpoint says, its signatures unread."""
    return parse_checkpoint(parse_note(checkpoint).text)


def _within(limit: int, what: str, part: bytes) -> bytes:
    if len(part) > limit:
        raise UsageError(f"{what} of the proofs takes {len(part)} octets, limit {limit}")
    return part


def _read_log(reader: Reader, what: str) -> LogView:
    checkpoint = reader.vec16(f"checkpoint of the {what}", MAX_CHECKPOINT)
    hashes = reader.vec16(f"outline of the {what}", MAX_OUTLINE)
    return LogView(checkpoint, Outline.parse(_claimed_size(checkpoint), hashes))


def _claimed_size(checkpoint: bytes) -> int:
    """Return the size of a checkpoint from its second line; whoever opens it reads the same line, and the rest."""
    _, _, rest = checkpoint.partition(b"\n")
    return parse_decimal(rest.partition(b"\n")[0].decode("ascii", "replace"), "size of a checkpoint")
