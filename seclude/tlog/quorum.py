"""Which logs and which witnesses are believed, and how many of them it takes (C2SP tlog-policy).

    log <verifier key> [<url>]
    witness <name> <verifier key> [<url>]
    group <name> <k | any | all> <member>...
    quorum <witness, group or none>

Names are of this text only. A witness or a group is a member once at most, so that nobody counts twice. A quorum that
two sets of witnesses without a common member could both meet does not keep a log from showing two histories: each set
is honest, and sees one of them. `can_split` tells, so that whoever must not be split can refuse such a text.
"""

import re
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Final

from seclude.errors import ConfigError
from seclude.tlog.cosignature import LOG_ALGORITHMS, WITNESS_ALGORITHMS
from seclude.tlog.keys import VerifierKey, parse_vkey

MAX_DEFINED: Final = 32  # logs, witnesses and groups, each: what tlog-policy asks for; groups nest no deeper
NONE: Final = "none"
COUNT: Final = re.compile(r"[1-9][0-9]?")
WORDS: Final = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class Witness:
    """One party that watches logs."""

    name: str
    """In this text; the name of its key may be another."""
    key: VerifierKey
    url: str | None = None
    """The prefix of its service (C2SP tlog-witness), for those who ask it."""


@dataclass(frozen=True, slots=True)
class Group:
    """Witnesses and groups of which `threshold` suffice."""

    name: str
    threshold: int
    members: tuple["str | Group", ...]


@dataclass(frozen=True, slots=True)
class Quorum:
    """Logs, witnesses, and the rule."""

    logs: tuple[VerifierKey, ...]
    witnesses: tuple[Witness, ...]
    rule: str | Group | None
    """A witness by its name, a group, or None where no cosignature is asked for."""

    def is_met(self, names: Set[str]) -> bool:
        """Tell whether these witnesses, by their names in this text, are enough."""
        return self.rule is None or _is_met(self.rule, names)

    @property
    def can_split(self) -> bool:
        """Whether two sets of witnesses that have no member in common could both meet it."""
        return self.rule is None or _can_split(self.rule)

    def __str__(self) -> str:
        """The rule in words, such as `2 of (w1, w2, w3)`."""
        return "no witness" if self.rule is None else _words(self.rule)


def _is_met(rule: str | Group, names: Set[str]) -> bool:
    if isinstance(rule, str):
        return rule in names
    return sum(_is_met(member, names) for member in rule.members) >= rule.threshold


def _can_split(rule: str | Group) -> bool:
    """A member that can be split serves both sets, any other one of them; no witness is below two members."""
    if isinstance(rule, str):
        return False
    return 2 * rule.threshold <= len(rule.members) + sum(_can_split(member) for member in rule.members)


def _words(rule: str | Group) -> str:
    if isinstance(rule, str):
        return rule
    return f"{rule.threshold} of ({', '.join(_words(member) for member in rule.members)})"


def parse_quorum(text: str) -> Quorum:
    """Read such a text; what is wrong with it is a ConfigError that names the line."""
    draft = _Draft()
    for number, line in enumerate(text.split("\n"), 1):
        words = [word for word in WORDS.split(line) if word]
        if any((character < " " and character != "\t") or character == "\x7f" for character in line):
            raise ConfigError(f"policy, line {number}: has a control character")
        if words and not words[0].startswith("#"):
            draft.take(number, words)
    if not draft.has_quorum:
        raise ConfigError("policy: has no line `quorum`; `quorum none` asks for no witness")
    return Quorum(tuple(draft.logs), tuple(draft.witnesses), draft.rule)


@dataclass(slots=True)
class _Draft:
    """A policy as far as it was read."""

    logs: list[VerifierKey] = field(default_factory=list)
    witnesses: list[Witness] = field(default_factory=list)
    groups: dict[str, Group] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    rule: str | Group | None = None
    has_quorum: bool = False

    def take(self, number: int, words: list[str]) -> None:
        lines: dict[str, Callable[[list[str]], None]] = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._quorum,
        }
        if words[0] not in lines:
            raise ConfigError(f"policy, line {number}: begins with none of {', '.join(lines)}")
        try:
            lines[words[0]](words[1:])
        except ConfigError as exc:
            raise ConfigError(f"policy, line {number}: {exc}") from None

    def _log(self, words: list[str]) -> None:
        if len(words) not in (1, 2):
            raise ConfigError("a log is: log <verifier key> [<url>]")
        key = self._new_key(words[0])
        if key.algorithm not in LOG_ALGORITHMS:
            raise ConfigError(f"the key of {key.name} is a witness's, not a log's")
        self.logs.append(key)
        _require_few(len(self.logs), "logs")

    def _witness(self, words: list[str]) -> None:
        if len(words) not in (2, 3):
            raise ConfigError("a witness is: witness <name> <verifier key> [<url>]")
        key = self._new_key(words[1])
        if key.algorithm not in WITNESS_ALGORITHMS:
            raise ConfigError(f"the key of {key.name} signs texts; a witness's key is of type 0x04 or 0x06")
        self.witnesses.append(Witness(self._new_name(words[0]), key, words[2] if len(words) > 2 else None))
        _require_few(len(self.witnesses), "witnesses")

    def _group(self, words: list[str]) -> None:
        if len(words) < 3:
            raise ConfigError("a group is: group <name> <k, any or all> <member>...")
        members = tuple(self._member(word) for word in words[2:])
        name, threshold = self._new_name(words[0]), _threshold(words[1], len(members))
        self.groups[name] = Group(name, threshold, members)
        _require_few(len(self.groups), "groups")

    def _quorum(self, words: list[str]) -> None:
        if len(words) != 1 or self.has_quorum:
            raise ConfigError("there is one quorum, and it is one name")
        self.rule = None if words[0] == NONE else self._defined(words[0])
        self.has_quorum = True

    def _new_name(self, name: str) -> str:
        if name == NONE or name in self.groups or any(name == witness.name for witness in self.witnesses):
            raise ConfigError(f"the name {name} is taken")
        return name

    def _new_key(self, text: str) -> VerifierKey:
        """A key in two places would count twice, or let a log witness itself."""
        key = parse_vkey(text)
        for other in (*self.logs, *(witness.key for witness in self.witnesses)):
            if other.public_key == key.public_key:
                raise ConfigError(f"the key of {key.name} is also that of {other.name}")
            if (other.name, other.key_id) == (key.name, key.key_id):
                raise ConfigError(f"two keys of {key.name} have the same id; make one anew")
        return key

    def _member(self, name: str) -> str | Group:
        member = self._defined(name)
        if name in self.members:
            raise ConfigError(f"{name} is a member already, and would count twice")
        self.members.add(name)
        return member

    def _defined(self, name: str) -> str | Group:
        if name in self.groups:
            return self.groups[name]
        if any(name == witness.name for witness in self.witnesses):
            return name
        raise ConfigError(f"no line above defines {name}")


def _threshold(word: str, members: int) -> int:
    if word in ("any", "all"):
        return 1 if word == "any" else members
    if COUNT.fullmatch(word) is None or int(word) > members:
        raise ConfigError(f"the threshold is a number from 1 to {members}, any, or all")
    return int(word)


def _require_few(count: int, what: str) -> None:
    if count > MAX_DEFINED:
        raise ConfigError(f"more than {MAX_DEFINED} {what}")
