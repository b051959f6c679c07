"""How good a summary is: facts kept, things said that are not so, words repeated, words needed.

Everything is counted by rules that a person can follow with a pencil, in the text that a reader gets and nothing else.
No model judges another. docs/quality.md has the reasons.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench.quality.chat import Chat, Fact
from bench.quality.unsupported import unsupported
from bench.quality.words import STRAIGHT, count_words, fold, folded_words, pattern, sentences

NEAR: Final = 30  # words, two or three highlights: fewer, and a question and its answer are already too far apart
CONTENT: Final = 5  # letters; shorter words are mostly grammar, in all languages here


@dataclass(frozen=True, slots=True)
class Score:
    """What was found in one summary of one chat."""

    kept: tuple[bool, ...]
    """Of each fact, whether the summary says it."""
    named: tuple[bool, ...]
    """Of each fact kept that is somebody's, whether that name stands with it."""
    falsehoods: tuple[str, ...]
    """Those of the chat that the summary says."""
    unsupported: tuple[str, ...]
    """Its numbers, dates and names that the chat has not."""
    redundancy: float
    """Share of its longer words that an earlier line already had."""
    words: int
    """Of the summary, names and dates counted."""
    chat_words: int
    """Of the chat, counted in the same way."""
    over: bool
    """Whether it is longer than it may be."""

    @property
    def recall(self) -> float:
        """Share of the facts kept."""
        return sum(self.kept) / len(self.kept) if self.kept else 1.0

    @property
    def inventions(self) -> int:
        """How many things it says that are not so, or that nobody said."""
        return len(self.falsehoods) + len(self.unsupported)

    @property
    def length(self) -> float:
        """Words of the summary for each of the chat."""
        return self.words / max(self.chat_words, 1)


def score(chat: Chat, summary: str) -> Score:
    """Score a summary, given as the text that its reader sees."""
    text = _Text(summary)
    where = [text.find(fact) for fact in chat.facts]
    owned = [(fact.who, place) for fact, place in zip(chat.facts, where, strict=True) if fact.who and place]
    words = count_words(summary)
    return Score(
        kept=tuple(place is not None for place in where),
        named=tuple(text.names(who, place) for who, place in owned),
        falsehoods=tuple(falsehoods(chat, summary)),
        unsupported=unsupported(chat, summary),
        redundancy=redundancy(summary, [message.sender for message in chat.messages]),
        words=words,
        chat_words=chat.words,
        over=words > chat.budget,
    )


def says(text: str, fact: Fact) -> bool:
    """Whether a text says a fact."""
    return _Text(text).find(fact) is not None


def falsehoods(chat: Chat, summary: str) -> Iterator[str]:
    """Yield those of a chat's falsehoods that a summary says."""
    text = unicodedata.normalize("NFC", summary.translate(STRAIGHT))
    for falsehood in chat.falsehoods:
        if any(re.search(expression, text, re.IGNORECASE) for expression in falsehood.any):
            yield falsehood.what


def redundancy(summary: str, senders: Sequence[str]) -> float:
    """Return the share of longer words, names left out, that stood in an earlier line of the summary."""
    names = {word for sender in senders for word in folded_words(sender)}
    seen: set[str] = set()
    repeated = total = 0
    for line in sentences(summary):
        words = {word for word in folded_words(line) if len(word) >= CONTENT and word not in names}
        total += len(words)
        repeated += len(words & seen)
        seen |= words
    return repeated / max(total, 1)


class _Text:
    """A summary in which phrases are found by the numbers of their words."""

    def __init__(self, text: str) -> None:
        self._folded = fold(text)
        self._starts = [match.start() for match in re.finditer(r"\S+", self._folded)]
        self._lines = [self._folded.count("\n", 0, start) for start in self._starts]

    def find(self, fact: Fact) -> range | None:
        """Return the fewest words that say a fact, or None if no words near one another do."""
        options = [[place for phrase in need for place in self._places(phrase)] for need in fact.needs]
        found: list[range] = []
        for begin in sorted({place.start for places in options for place in places}):
            ends = [min((place.stop for place in places if place.start >= begin), default=None) for places in options]
            reached = [end for end in ends if end is not None]
            if len(reached) < len(ends):
                break  # none that begins later has them all either
            found.append(range(begin, max(reached)))
        return min((span for span in found if len(span) <= NEAR), key=len, default=None)

    def names(self, who: str, place: range) -> bool:
        """Whether a person is named in the lines of a place; a part of the name will do, as it does for people."""
        lines = {self._lines[word] for word in place}
        parts = [part for part in who.split() if len(part) > 2] or [who]
        return any(self._lines[found.start] in lines for part in parts for found in self._places(part))

    def _places(self, phrase: str) -> list[range]:
        return [
            range(self._word_at(match.start()), self._word_at(match.end() - 1) + 1)
            for match in pattern(phrase).finditer(self._folded)
        ]

    def _word_at(self, offset: int) -> int:
        return bisect_right(self._starts, offset) - 1
