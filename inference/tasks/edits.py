"""A draft under rules of writing: what was changed, and what no rule may touch.

Links, addresses, mentions, code, quoted lines, file names, anything with a digit in it and emoticons stay as they are,
whatever a rule matches. Rules run one after another over the whole text; each takes time linear in it. Patterns see
straight apostrophes and quotation marks, whichever the draft has.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from inference.engine.language import plain
from seclude.tasks import Change, Rule

MAX_CHANGES: Final = 100  # listed; a text with more is compared as a whole anyway
NEIGHBOUR: Final = 30  # characters of context on each side of a change; a word

Replace = Callable[[re.Match[str]], str]

_NEEDS_CONTEXT: Final[frozenset[Rule]] = frozenset({"spacing", "punctuation", "doubled word", "article"})
_WORD_BEFORE: Final = re.compile(r"\S*\Z")
_WORD_AFTER: Final = re.compile(r"\s?\S*")

_CODE: Final = re.compile(r"```[\s\S]*?```|`[^`\n]+`|^[ \t]*>.*$", re.MULTILINE)  # the last is a quoted line
_TOKEN: Final = re.compile(r"\S+")
_MARKS: Final = ".,!?;:)(\"'\u2026"
_EMOTICON: Final = re.compile(r"[:;=8xX][-'^o]?[()\[\]DPpOo3/\\|*]+|<3+|\^_*\^|[oO]_[oO]|-_+-|:\w{2,20}:")
_VERBATIM: Final = re.compile(r"[\d@#_\\/]|\w\.\w|[a-z][A-Z]|^--?\w")
_WITH: Final = re.compile(r"(?:w/o?|b/c)[.,!?;:)]*", re.IGNORECASE)  # short for words, though a stroke stands in them


@dataclass(frozen=True, slots=True, repr=False)
class Edit:
    """One replacement, with the span of what it replaces."""

    start: int
    end: int
    after: str


class Draft:
    """A text on its way through the rules."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.changes: list[Change] = []

    def apply(self, rule: Rule, pattern: re.Pattern[str], replace: Replace | str) -> None:
        """Replace every match outside protected spans. A callable that returns the match itself refuses."""
        expand: Replace = (lambda match: match.expand(replace)) if isinstance(replace, str) else replace
        found = pattern.finditer(plain(self.text))
        self.edit(rule, (Edit(match.start(), match.end(), expand(match)) for match in found))

    def edit(self, rule: Rule, edits: Iterable[Edit]) -> None:
        """Make the edits, which come in order, but those that overlap protected spans or the edit before."""
        seen = plain(self.text)
        spans = _protected(seen)
        ends = [end for _, end in spans]
        pieces: list[str] = []
        last = 0
        for edit in edits:
            start, end, after = edit.start, edit.end, edit.after
            nearest = bisect_right(ends, start)
            if start < last or after == seen[start:end] or (nearest < len(spans) and spans[nearest][0] < end):
                continue
            pieces += [self.text[last:start], after]
            last = end
            self._record(rule, start, end, after)
        self.text = "".join([*pieces, self.text[last:]])

    def _record(self, rule: Rule, start: int, end: int, after: str) -> None:
        """Note a change, with the words it touches where it shows nothing by itself."""
        if len(self.changes) == MAX_CHANGES:
            return
        before = self.text[start:end]
        if rule in _NEEDS_CONTEXT:
            left = _WORD_BEFORE.search(self.text[max(0, start - NEIGHBOUR) : start])
            right = _WORD_AFTER.match(self.text[end : end + NEIGHBOUR])
            around = (left.group() if left else "", right.group() if right else "")
            before, after = before.join(around), after.join(around)
        self.changes.append(Change(rule, before.strip(), after.strip()))


def _protected(text: str) -> list[tuple[int, int]]:
    """Return the spans that stay as they are, in order and apart from each other."""
    spans = [match.span() for match in _CODE.finditer(text)]
    for match in _TOKEN.finditer(text):
        token = match.group()
        if _EMOTICON.fullmatch(token):
            spans.append(match.span())
        elif _VERBATIM.search(token) and not _WITH.fullmatch(token):
            start = match.start() + len(token) - len(token.lstrip(_MARKS))
            spans.append((start, max(start + 1, match.start() + len(token.rstrip(_MARKS)))))
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def like(before: str, after: str) -> str:
    """Return `after` with the capital that `before` starts with."""
    return after[:1].upper() + after[1:] if before[:1].isupper() else after


def table(text: str) -> dict[str, str]:
    """Read "before=after, before=after"."""
    return {before: after for before, _, after in (item.partition("=") for item in " ".join(text.split()).split(", "))}


def phrases(table: Mapping[str, str]) -> tuple[re.Pattern[str], Replace]:
    """Return a rule that replaces whole phrases, in any case, by what a table says."""
    longest_first = sorted(table, key=len, reverse=True)
    joined = "|".join(re.escape(phrase).replace(r"\ ", r"\s+") for phrase in longest_first)
    pattern = re.compile(rf"(?<![\w'-])(?:{joined})(?![\w-]|'\w)", re.IGNORECASE)

    def replace(match: re.Match[str]) -> str:
        return like(match.group(), table[" ".join(match.group().lower().split())])

    return pattern, replace
