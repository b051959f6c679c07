"""What may be added to which log: one rule for each kind, which turns a submission into entries or refuses it.

Rules are asked in the order in which submissions came, right before their batch is written, and see the log with what
was admitted to the batch before. They have no memory of their own, so a batch that fails leaves nothing behind.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol

from ledger.tree import MAX_ENTRY
from seclude.attestation.proofs import VOID, epoch_entry
from seclude.attestation.slots import Slots
from seclude.attestation.snapshot import Snapshot, parse_snapshot, verify_snapshot
from seclude.errors import ConfigError, DecodeError, PeerError, VerificationError
from seclude.ledger import EPOCH_LABEL, STATE_LABEL, Path, epoch_path, parse_epoch
from seclude.tlog.keys import VerifierKey
from seclude.tlog.merkle import leaf_hash
from seclude.tlog.note import parse_note

PLAIN_LABEL: Final = b"seclude submit plain v1"
MAX_VOIDS: Final = 1 << 20  # slots without keys that one epoch may follow: twenty years of ten minutes, in some seconds
MAX_AHEAD: Final = 1  # slots: keys are announced for the one after the present one, as the gateway announces them
MAX_CLOCK_DIFFERENCE: Final = 600  # seconds between two parties' clocks, which are set by people or by NTP


class Refusal(StrEnum):
    """Why a submission is not admitted, as it is counted."""

    MALFORMED = "malformed"
    UNAUTHORIZED = "unauthorized"
    TAKEN = "taken"
    VOID = "void"
    EARLY = "early"
    GAP = "gap"
    UNSIGNED = "unsigned"
    OLD = "old"
    EXPIRED = "expired"


class RefusedError(PeerError):
    """Raised when a submission is not admitted; its sentence is told to whoever sent it, who holds a secret."""

    def __init__(self, refusal: Refusal, sentence: str) -> None:
        super().__init__(sentence)
        self.refusal: Final = refusal


class Tail(Protocol):
    """The log as it is with what was admitted before."""

    @property
    def size(self) -> int: ...

    def leaf(self, index: int) -> bytes:
        """Return the hash of an entry."""
        ...

    def entry(self, index: int) -> bytes:
        """Return an entry."""
        ...


@dataclass(frozen=True, slots=True)
class Admitted:
    """What a submission adds, and where it then stands."""

    index: int
    entries: Sequence[bytes] = ()
    """None where it stands there already."""
    beside: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))
    """Files that must be stored before the entries are."""


class Rule(Protocol):
    """One kind of log."""

    @property
    def label(self) -> bytes:
        """What submissions to it are authenticated under."""
        ...

    def admit(self, payload: bytes, tail: Tail) -> Admitted:
        """Return what is to be added; raises RefusedError, and DecodeError."""
        ...


class PlainRule:
    """Any octets, in the order in which they came; nothing is the same as anything before."""

    label: Final = PLAIN_LABEL

    def admit(self, payload: bytes, tail: Tail) -> Admitted:
        """Admit what an entry can hold."""
        if len(payload) > MAX_ENTRY:
            raise RefusedError(Refusal.MALFORMED, f"an entry has at most {MAX_ENTRY} octets")
        return Admitted(tail.size, (payload,))


class KeysRule:
    """Leaf n is epoch n: two keys for one slot cannot both stand in it."""

    label: Final = EPOCH_LABEL

    def __init__(self, slots: Slots, now: Callable[[], float]) -> None:
        self._slots = slots
        self._now = now

    def admit(self, payload: bytes, tail: Tail) -> Admitted:
        """Admit an epoch of the present slot or the next one; slots before it that had no keys become void."""
        submission = parse_epoch(payload)
        number = submission.epoch
        entry = epoch_entry(submission.core, submission.evidence)
        if number < tail.size:
            return _stands(number, entry, tail)
        self._require_near(number)
        voids = number - tail.size
        if voids > MAX_VOIDS:
            raise RefusedError(
                Refusal.GAP,
                f"{voids} slots before epoch {number} would become void, and at most {MAX_VOIDS} do at once",
            )
        return Admitted(number, (*(VOID,) * voids, entry), {epoch_path(number).removeprefix("/"): payload})

    def _require_near(self, number: int) -> None:
        try:
            present = self._slots.epoch_at(self._now())
        except ConfigError:
            raise RefusedError(
                Refusal.EARLY, "the first slot has not begun, by the clocks of the ledger and its witnesses"
            ) from None
        if number > present + MAX_AHEAD:
            raise RefusedError(
                Refusal.EARLY,
                f"epoch {number} is too early: the slot of now is {present}, by the clocks of the ledger and its "
                "witnesses",
            )


def _stands(number: int, entry: bytes, tail: Tail) -> Admitted:
    """Say that an epoch stands in the log already, or that it never can."""
    leaf = tail.leaf(number)
    if leaf == leaf_hash(entry):
        return Admitted(number)
    if leaf == leaf_hash(VOID):
        raise RefusedError(Refusal.VOID, f"epoch {number} is void: a later one was logged before it")
    raise RefusedError(Refusal.TAKEN, f"epoch {number} has other keys in the log, and leaf {number} stays what it is")


class StateRule:
    """Every leaf is the whole state, signed by its publishers and not older than the one before."""

    label: Final = STATE_LABEL

    def __init__(
        self, publishers: Sequence[VerifierKey], origin: str, now: Callable[[], float], max_snapshot: int = MAX_ENTRY
    ) -> None:
        """`max_snapshot` is how many octets there is room for in what gateways staple."""
        self._publishers = publishers
        self._origin = origin
        self._now = now
        self._max_snapshot = min(max_snapshot, MAX_ENTRY)

    def admit(self, payload: bytes, tail: Tail) -> Admitted:
        """Admit a snapshot that devices could believe."""
        if len(payload) > self._max_snapshot:  # devices would get no proofs at all from then on
            raise RefusedError(
                Refusal.MALFORMED,
                f"the snapshot has {len(payload)} octets, and bundles have room for two of {self._max_snapshot}; "
                "name fewer chips",
            )
        if tail.size and tail.leaf(tail.size - 1) == leaf_hash(payload):
            return Admitted(tail.size - 1)
        snapshot = self._verify(payload)
        if tail.size:
            last = parse_snapshot(parse_note(tail.entry(tail.size - 1)).text)  # by publishers of its time
            if snapshot.issued <= last.issued:
                raise RefusedError(
                    Refusal.OLD,
                    f"the snapshot was issued at {snapshot.issued}, and the newest one in the log at {last.issued}; "
                    "build it anew from that one",
                )
        now = self._now()
        if snapshot.issued > now + MAX_CLOCK_DIFFERENCE:  # nothing issued before that day could follow it
            raise RefusedError(Refusal.EARLY, f"the snapshot was issued at {snapshot.issued}, and now it is {int(now)}")
        if snapshot.expires <= now:
            raise RefusedError(Refusal.EXPIRED, "the snapshot has expired, so devices would refuse every release")
        return Admitted(tail.size, (payload,))

    def _verify(self, entry: bytes) -> Snapshot:
        try:
            snapshot, _ = verify_snapshot(entry, self._publishers, self._origin)
        except (DecodeError, VerificationError) as exc:
            raise RefusedError(Refusal.UNSIGNED, str(exc)) from exc
        return snapshot


ADD: Final = "/add"
PLAIN: Final = "/plain"
"""The path of a log of any entries."""
PREFIXES: Final = {"keys": str(Path.KEYS), "state": str(Path.STATE), "plain": PLAIN}
"""The path of each log, by its name in the configuration."""
