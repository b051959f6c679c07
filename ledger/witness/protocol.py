"""A witness: cosigns the checkpoints of the logs it knows, each only where it continues what was cosigned before.

This is the C2SP tlog-witness protocol without its HTTP: octets in, a status and octets out, and it blocks while the
disk works. What it promises is one history for each log: check, time and record are one step under the log's lock, and
nothing is signed that is not stored. It sees the roots of trees and never an entry.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from ledger.add_checkpoint import SIZE_MEDIA_TYPE, AddCheckpoint, parse_add_checkpoint
from ledger.witness.memory import LogMemory, Seen
from seclude.daemon.messages import Response
from seclude.errors import DecodeError, EvidenceError
from seclude.tlog.checkpoint import Checkpoint, parse_checkpoint
from seclude.tlog.cosignature import cosign, verify_log_signature
from seclude.tlog.keys import SignerKey, VerifierKey
from seclude.tlog.merkle import verify_consistency
from seclude.tlog.note import Note, parse_note, serialize_note, serialize_signature_lines

TEXT: Final = "text/plain; charset=utf-8"
# A clock that is set right goes back by a second or so. That much is bridged by giving the last time once more, which
# claims no freshness that was not claimed before. Beyond it this witness does not know what time it is, and a
# cosignature is also a statement about time.
MAX_STEP_BACK_SECONDS: Final = 10


class Result(StrEnum):
    """How a request ended, in the word that it is counted under."""

    COSIGNED = "cosigned"
    MALFORMED = "malformed"
    UNKNOWN_LOG = "unknown_log"
    UNSIGNED = "unsigned"
    SHRUNK = "shrunk"
    OTHER_SIZE = "other_size"
    SPLIT = "split"
    INCONSISTENT = "inconsistent"
    CLOCK = "clock"
    DISK = "disk"


# The status of each refusal is the protocol's; the last two are ours, and the log may come again.
REFUSALS: Final = {
    Result.MALFORMED: (400, "this is not an old size, a proof and a checkpoint"),
    Result.UNKNOWN_LOG: (404, "this witness does not know a log of this origin"),
    Result.UNSIGNED: (403, "no signature of a key of this log, or one that does not verify"),
    Result.SHRUNK: (400, "the old size is beyond the size of the checkpoint"),
    Result.SPLIT: (409, "another tree of this size was cosigned before: the log has signed two histories"),
    Result.INCONSISTENT: (
        422,
        "the proof does not show that the checkpoint continues the tree that was cosigned before",
    ),
    Result.CLOCK: (
        503,
        "the clock of this witness is behind a time that it signed; it cosigns nothing until it is right",
    ),
    Result.DISK: (503, "the disk of this witness does not take the checkpoint, so it was not cosigned"),
}
RETRY_AFTER: Final = (("Retry-After", "5"),)  # seconds; a ledger that works asks that often anyway


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer, and what there is to count of it."""

    response: Response
    result: Result
    origin: str = ""
    """One of the logs that are known here, or nothing."""
    is_first_split: bool = False


class Witness:
    """One witness with all its keys and all the logs it knows."""

    def __init__(
        self,
        keys: Sequence[SignerKey],
        logs: Iterable[VerifierKey],
        remember: Callable[[str], LogMemory],
        now: Callable[[], float],
    ) -> None:
        """A log may have several keys under its one origin; `remember` returns the memory of each origin."""
        self._keys: Final = tuple(keys)
        self._now = now
        self._verifiers: dict[str, list[VerifierKey]] = {}
        for key in logs:
            self._verifiers.setdefault(key.name, []).append(key)
        self.memories: Final = {origin: remember(origin) for origin in self._verifiers}
        """What is remembered of each log, by its origin."""

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """The keys by which others know its cosignatures."""
        return tuple(key.verifier for key in self._keys)

    @property
    def is_behind(self) -> bool:
        """Whether the clock is behind a time that was signed, so that nothing can be dated."""
        newest = max((memory.seen.time for memory in self.memories.values()), default=0)
        return self._now() < newest - MAX_STEP_BACK_SECONDS

    def add_checkpoint(self, body: bytes) -> Outcome:
        """Answer one request; it may be called from several threads at a time. Steps 1 to 9, any of which refuses."""
        try:
            request = parse_add_checkpoint(body)  # 1
            origin = _claimed_origin(request.checkpoint)
        except DecodeError:
            return _refuse(Result.MALFORMED)
        memory = self.memories.get(origin)  # 2
        if memory is None:
            return _refuse(Result.UNKNOWN_LOG)
        verified = self._verify(request.checkpoint, origin)  # 3
        if verified is None:
            return _refuse(Result.UNSIGNED, origin)
        checkpoint, signed = verified
        if request.old > checkpoint.size:  # 4
            return _refuse(Result.SHRUNK, checkpoint.origin)
        with memory.lock:
            refusal = _refusal(request, checkpoint, signed, memory)  # 5 to 7
            if refusal is not None:
                return refusal
            time = self._time(memory.seen)  # 8
            if time is None:
                return _refuse(Result.CLOCK, checkpoint.origin)
            try:
                _remember(memory, Seen(checkpoint.size, checkpoint.root, time, signed))  # 9
            except OSError:
                return _refuse(Result.DISK, checkpoint.origin)
        # What is signed now is stored and stays true, whatever another thread cosigns meanwhile.
        lines = serialize_signature_lines(*(cosign(checkpoint, key, time) for key in self._keys))
        return Outcome(Response(200, TEXT, lines.encode()), Result.COSIGNED, checkpoint.origin)

    def _verify(self, data: bytes, origin: str) -> tuple[Checkpoint, str] | None:
        """Return the checkpoint, and its note with the log's own signatures; None where there is none, or a bad one.

        Signatures of keys that nobody here knows are left out, since they could be anybody's words.
        """
        known = {(key.name, key.key_id): key for key in self._verifiers[origin]}
        try:
            note = parse_note(data)
            # Each line once: anybody can write one that verifies 64 times, and each time would cost a verification.
            own = tuple(dict.fromkeys(each for each in note.signatures if (each.name, each.key_id) in known))
            signed = Note(note.text, own)
            checkpoints = {
                verify_log_signature(signed, known[signer]) for signer in {(each.name, each.key_id) for each in own}
            }
        except (DecodeError, EvidenceError):  # what does not read as a signature is none
            return None
        return (checkpoints.pop(), serialize_note(signed).decode()) if checkpoints else None

    def _time(self, seen: Seen) -> int | None:
        """Return the time to sign, which is never before one that was signed; None where the clock must be wrong."""
        now = int(self._now())
        if now <= 0 or now < seen.time - MAX_STEP_BACK_SECONDS:
            return None
        return max(now, seen.time)


def _claimed_origin(note: bytes) -> str:
    """Return the log that a note says to be of, to find the keys that may have signed it; raises DecodeError."""
    text, _, _ = note.partition(b"\n\n")
    try:
        return parse_checkpoint(text.decode() + "\n").origin
    except UnicodeDecodeError:
        raise DecodeError("the checkpoint is not text") from None


def _refusal(request: AddCheckpoint, checkpoint: Checkpoint, signed: str, memory: LogMemory) -> Outcome | None:
    """Compare a checkpoint that the log signed with what was cosigned before."""
    seen = memory.seen
    if request.old != seen.size:  # 5
        response = Response(409, SIZE_MEDIA_TYPE, f"{seen.size}\n".encode(), reason="conflict")
        return Outcome(response, Result.OTHER_SIZE, checkpoint.origin)
    if checkpoint.size == seen.size and checkpoint.root != seen.root:  # 6
        return _split(signed, memory)
    try:
        verify_consistency(seen.size, seen.root, checkpoint.size, checkpoint.root, request.proof)  # 7
    except (EvidenceError, DecodeError):
        return _refuse(Result.INCONSISTENT, checkpoint.origin)
    return None


def _remember(memory: LogMemory, seen: Seen) -> None:
    """Store what is to be signed, unless that very tree is stored with that very second; raises OSError.

    Anybody can show the newest checkpoint again, and would keep the disk busy for as long as they like otherwise.
    """
    known = memory.seen
    if (known.size, known.root, known.time) != (seen.size, seen.root, seen.time):
        memory.keep(seen)


def _split(signed: str, memory: LogMemory) -> Outcome:
    """Refuse a second tree of one size, and keep both: together they show to anybody that the log is dishonest."""
    try:
        first = memory.keep_split(signed)
    except OSError:  # it is refused all the same
        first = False
    return replace(_refuse(Result.SPLIT, memory.origin), is_first_split=first)


def _refuse(result: Result, origin: str = "") -> Outcome:
    status, sentence = REFUSALS[result]
    response = Response(status, TEXT, sentence.encode() + b"\n", RETRY_AFTER if status == 503 else (), result)
    return Outcome(response, result, origin)
