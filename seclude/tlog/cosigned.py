"""A checkpoint that a log signed and enough witnesses cosigned, and what their clocks say about it.

Each witness dates its cosignature by its own clock, so there is no one time. Two hold however the witnesses that are
not needed lie: the checkpoint is at least as fresh as `since`, for a quorum cosigned then or later, and it existed by
`until`, for a quorum had cosigned by then.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType

from seclude.errors import EvidenceError
from seclude.tlog.checkpoint import Checkpoint
from seclude.tlog.cosignature import MAX_TIMESTAMP, verify_cosignature, verify_log_signature
from seclude.tlog.keys import VerifierKey
from seclude.tlog.note import Note, parse_note
from seclude.tlog.quorum import Quorum


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint that may be believed; only `open_cosigned` makes one."""

    checkpoint: Checkpoint
    note: bytes
    """The signed note as it came, to be shown to others."""
    times: Mapping[str, int]
    """By the witness's name in the quorum: the newest of its cosignatures."""
    since: int
    """The greatest T such that the witnesses that cosigned at T or later meet the quorum."""
    until: int
    """The smallest T such that the witnesses that cosigned at T or earlier meet the quorum."""


def open_cosigned(data: bytes, log: VerifierKey, quorum: Quorum) -> Cosigned:
    """Return the checkpoint, if this log signed it and the quorum is met.

    Octets that are no note raise DecodeError, everything else EvidenceError. Times are not compared with any clock: the
    caller knows how old is too old. A quorum that asks for no witness learns no time: `since` is 0, `until` 2^63 - 1.
    """
    note = parse_note(data)
    checkpoint = verify_log_signature(note, log)
    times = verify_cosignatures(note, checkpoint, quorum)
    if not quorum.is_met(times.keys()):
        names = ", ".join(times) or "none"
        raise EvidenceError(
            f"cosigned by {len(times)} of {len(quorum.witnesses)} witnesses: {names}; the quorum {quorum} is not met"
        )
    if quorum.rule is None:
        return Cosigned(checkpoint, data, times, since=0, until=MAX_TIMESTAMP)
    moments = sorted(set(times.values()))
    since = next(moment for moment in reversed(moments) if quorum.is_met(_names(times, moment, MAX_TIMESTAMP)))
    until = next(moment for moment in moments if quorum.is_met(_names(times, 0, moment)))
    return Cosigned(checkpoint, data, times, since, until)


def open_signed(data: bytes, log: VerifierKey) -> Checkpoint:
    """Return a checkpoint that this log signed, whoever else did: no proof that others see the same."""
    return verify_log_signature(parse_note(data), log)


def verify_cosignatures(note: Note, checkpoint: Checkpoint, quorum: Quorum) -> Mapping[str, int]:
    """Return who of the quorum's witnesses cosigned, and when; a bad signature in a known name spoils the note."""
    known = {(witness.key.name, witness.key.key_id): witness for witness in quorum.witnesses}
    times: dict[str, int] = {}
    for signature in note.signatures:
        witness = known.get((signature.name, signature.key_id))
        if witness is not None:
            moment = verify_cosignature(checkpoint, witness.key, signature.signature)
            times[witness.name] = max(moment, times.get(witness.name, 0))
    return MappingProxyType(times)


def _names(times: Mapping[str, int], earliest: int, latest: int) -> Set[str]:
    return {name for name, moment in times.items() if earliest <= moment <= latest}
