"""What a monitor finds in a ledger: values, each with a name for programs and a sentence for people.

A *finding* is something that should never be, and that somebody has to answer for. A *warning* is something that will
become one if nobody acts, or that can be told from a finding only later.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

MAX_OF_KIND: Final = 256  # in one look; who fills a log with nonsense must not fill the memory of those who read it

Fact = str | int | tuple[str, ...]


class Kind(StrEnum):
    """What was found, by the name that `--json` prints."""

    INCONSISTENT = "inconsistent"
    """Two signed checkpoints that no single log can have; the evidence convicts the log or its witnesses."""
    ROLLBACK = "rollback"
    """A log that is smaller than it was."""
    CHECKPOINT = "checkpoint"
    """A checkpoint that the log did not sign, or that no quorum of witnesses cosigned."""
    STALE = "stale"
    """Cosignatures that are too old for devices, or from the future."""
    TILES = "tiles"
    """Files of a log that are missing, do not parse, or do not give the tree that its checkpoint states."""
    SNAPSHOT = "snapshot"
    """An entry of the state log that devices would refuse: its form, its publishers, its service."""
    ORDER = "order"
    """A snapshot that is dated before the one that it replaces."""
    SOURCE = "source"
    """A release that nobody can look behind: without a source, or without a revision."""
    CHANGED = "changed"
    """A release that says other things of the same software than before."""
    UNREVOKED = "unrevoked"
    """A revocation that a later snapshot leaves out."""
    EXPIRING = "expiring"
    """A newest snapshot that has expired or soon will."""
    LEAF = "leaf"
    """An entry of the keys log that is neither an epoch's nor void."""
    PREIMAGE = "preimage"
    """An epoch of which the ledger does not show what its leaf is the digest of."""
    EPOCH = "epoch"
    """An epoch whose core is of another number, role, origin or division of time, or does not parse."""
    EARLY = "early"
    """A slot that was used before its time."""
    EVIDENCE = "evidence"
    """Evidence that does not hold for its core, as of its slot."""
    UNRELEASED = "unreleased"
    """Software that held keys and stood in no snapshot of that time."""
    EXPIRED = "expired"
    REVOKED = "revoked"
    IMMATURE = "immature"
    """Software that held keys before others had the time to look at it."""
    WITNESS = "witness"
    """A witness that has not cosigned for long."""
    RELAY = "relay"
    """Keys that a relay gives to devices and that the log does not show."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two notes that convict whoever signed both, with the path that shows that one tree cannot have both roots."""

    origin: str
    first: bytes
    """The signed checkpoint that was seen before, or that a core binds."""
    second: bytes
    proof: tuple[bytes, ...]
    """Leads to the root of the second, and to another root than the first's at the first's size."""
    root: bytes
    """That other root."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found."""

    kind: Kind
    words: str
    """A sentence without its full stop; public facts only."""
    facts: Mapping[str, Fact] = field(default_factory=lambda: MappingProxyType({}))
    warning: bool = False
    conflict: Conflict | None = field(default=None, repr=False)


class Findings:
    """What one look finds in one log: of each kind the first `MAX_OF_KIND`, and how many more there were."""

    def __init__(self) -> None:
        self._kept: list[Finding] = []
        self._counts: Counter[tuple[Kind, bool]] = Counter()

    def append(self, finding: Finding) -> None:
        """Keep one more, or count it."""
        which = finding.kind, finding.warning
        self._counts[which] += 1
        if self._counts[which] <= MAX_OF_KIND:
            self._kept.append(finding)

    def extend(self, findings: Iterable[Finding]) -> None:
        """Keep or count several."""
        for finding in findings:
            self.append(finding)

    def __iter__(self) -> Iterator[Finding]:
        yield from self._kept
        for (kind, warning), count in self._counts.items():
            if more := max(count - MAX_OF_KIND, 0):
                words = f"{more} more of this kind were found after these {MAX_OF_KIND} and are not listed"
                yield Finding(kind, words, MappingProxyType({"more": more}), warning)


def found(kind: Kind, words: str, **facts: Fact) -> Finding:
    """Return a finding."""
    return Finding(kind, words, MappingProxyType(facts))


def warned(kind: Kind, words: str, **facts: Fact) -> Finding:
    """Return a warning."""
    return Finding(kind, words, MappingProxyType(facts), warning=True)
