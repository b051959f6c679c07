"""What a message does, read from its words in any of the tongues known here: decide, promise, ask, refuse, greet.

The phrases of all tongues count at once, as people mix them; a phrase whose words mean something else in another tongue
counts only in a chat that is in its own (`guess`). What is read is counted and forgotten: nothing is kept.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from inference.engine.tongues import english, german, hindi, pictures, portuguese, spanish, turkish
from inference.engine.tongues.figures import Span, SpanKind, figures_of
from inference.engine.tongues.folding import Folded, Word, fold, fold_word
from inference.engine.tongues.phrasebook import SMALL_TALK, Found, compile_phrases

TONGUES: Final = tuple(module.TONGUE for module in (english, german, hindi, pictures, portuguese, spanish, turkish))
_BOOK: Final = compile_phrases(TONGUES)
_STATED: Final = frozenset({"decision", "promise", "agreement"})
_WHEN: Final = frozenset({"time", "date"})
_SPANS: Final = _WHEN | {"amount"}


@dataclass(frozen=True, slots=True)
class Signs:
    """How often each kind of sign stands in a text."""

    decision: int = 0
    promise: int = 0
    request: int = 0
    question: int = 0
    """Sentences that ask something: not "really?", not "how are you?"."""
    problem: int = 0
    time: int = 0
    date: int = 0
    place: int = 0
    amount: int = 0
    change: int = 0
    """Cancelled, moved, instead, not A but B."""
    negation: int = 0
    agreement: int = 0
    """A short yes."""
    greeting: int = 0
    thanks: int = 0
    laughter: int = 0
    filler: int = 0
    small_talk: bool = False
    """Every word of it greets, thanks, agrees, laughs, or fills: the text says nothing by itself."""
    spans: tuple[Span, ...] = ()
    """Times, dates, amounts, numbers to call, plates, codes and links, in the order of the text."""


def read(text: str, tongue: str | None = None) -> Signs:
    """Return the signs in a text, of a chat in this tongue if it is known."""
    folded = fold(text)
    words = folded.words
    found = list(_BOOK.find(words, tongue))
    found += [Found("laughter", place, place + 1) for place, word in enumerate(words) if word.laughs]
    measured = {each.first for each in found if each.kind == "amount"}
    # "At" before a number is no time where the number counts something: "at 50 euros".
    found = [each for each in _longest(found) if each.kind not in _WHEN or each.after - 1 not in measured]
    denials = {place for each in found if each.kind == "negation" for place in range(each.first, each.after)}
    found = [each for each in found if each.kind != "promise" or not _denied(each, words, denials)]
    empty = {place for each in found if each.kind in SMALL_TALK for place in range(each.first, each.after)}
    asking = _asking(folded, found, empty)
    found = [each for each in found if each.kind != "agreement" or _leads(each, words)]
    kinds = Counter(each.kind for each in found if words[each.first].sentence not in asking or each.kind not in _STATED)
    spans = _spans(found, figures_of(folded, text), words)
    kinds.update(question=len(asking) - kinds["question"])
    for kind in _SPANS:
        kinds[kind] = sum(span.kind == kind for span in spans)
    small_talk = len(empty) == len(words) and all(span.kind == "link" for span in spans)
    return Signs(**kinds, small_talk=small_talk, spans=tuple(spans))


def guess(texts: Iterable[str]) -> str | None:
    """Return the tongue most of the words of a chat are in, of those known here, or None if it cannot be told."""
    score: dict[str, float] = {}
    for text in texts:
        for word in fold(text).words:
            codes = _COMMON.get(word.key, ())
            for code in codes:
                # A word that several tongues have says less for each.
                score[code] = score.get(code, 0.0) + 1 / len(codes)
    ranked = sorted(score, key=lambda code: score[code], reverse=True)
    if not ranked or (len(ranked) > 1 and score[ranked[0]] == score[ranked[1]]):
        return None
    return ranked[0]


def _common() -> dict[str, tuple[str, ...]]:
    codes: dict[str, tuple[str, ...]] = {}
    for tongue in TONGUES:
        for word in {fold_word(word) for word in tongue.common.split()}:
            codes[word] = (*codes.get(word, ()), tongue.code)
    return codes


_COMMON: Final = _common()


def _longest(found: Sequence[Found]) -> list[Found]:
    """Return the phrases of which no other of the same kind says the same words and more."""
    kept: list[Found] = []
    reach: dict[str, int] = {}
    for each in sorted(found, key=lambda each: (each.first, -each.after)):
        if each.after > reach.get(each.kind, 0):
            reach[each.kind] = each.after
            kept.append(each)
    return kept


def _denied(each: Found, words: Sequence[Word], denials: set[int]) -> bool:
    """Whether a word in a phrase, before it or after it, in the same clause, says no: "ich komm nicht"."""
    clause = words[each.first].clause
    around = range(max(0, each.first - 1), min(len(words), each.after + 1))
    return any(place in denials and words[place].clause == clause for place in around)


def _leads(each: Found, words: Sequence[Word]) -> bool:
    """Whether a clause begins with it."""
    return each.first == 0 or words[each.first - 1].clause != words[each.first].clause


def _asking(folded: Folded, found: Iterable[Found], empty: set[int]) -> set[int]:
    """Return the sentences that ask something, and not in small talk alone."""
    full = {word.sentence for place, word in enumerate(folded.words) if place not in empty}
    asking = {folded.words[each.first].sentence for each in found if each.kind == "question"} & full
    last = {word.sentence: word.clause for word in folded.words}
    for place, word in enumerate(folded.words):
        # "I bring the bread, ok?" states.
        if word.sentence in folded.asked and word.clause == last[word.sentence] and place not in empty:
            asking.add(word.sentence)
    return asking


def _spans(found: Iterable[Found], figures: Iterable[Span], words: Sequence[Word]) -> list[Span]:
    """Return the spans of words and of digits, those of a kind that overlap as one."""
    worded = [
        Span(cast("SpanKind", each.kind), words[each.first].start, words[each.after - 1].end)
        for each in found
        if each.kind in _SPANS
    ]
    last: dict[str, int] = {}  # of each kind, where its last span stands among the merged
    merged: list[Span] = []
    for span in sorted((*worded, *figures), key=lambda span: span.start):
        place = last.get(span.kind)
        if place is None or span.start >= merged[place].end:
            last[span.kind] = len(merged)
            merged.append(span)
        elif span.end > merged[place].end:
            merged[place] = Span(span.kind, merged[place].start, span.end)
    return merged
