"""What a tongue's table of phrases is, and how the phrases of all tongues are found in a text.

A phrase is written as words with a few marks:

    let's        this word                        bring*     a word that begins so       *unga     one that ends so
    i|we         one of these                     <deed>     one of the words of that list of the tongue
    #            a number, in digits or in words
    ..           at most three words between      ^ at the head, $ at the end: where a clause begins, or ends

Every phrase is filed under its first word, its first letters or its last ones. So a text is read word by word, with a
few look-ups at each, in time linear in its length: no phrase is longer than a handful of words.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Final

from inference.engine.tongues.folding import Word, fold_word

_UMLAUTS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
GAP: Final = 3  # words; more than these between two words, and they do not belong together


@dataclass(frozen=True, slots=True, kw_only=True)
class Tongue:
    """One language: its common words, and what it says for each thing. Phrases are parted by commas or lines."""

    code: str
    """As in BCP 47."""
    common: str
    """Words that hardly a message does without, by which the language is known."""
    numbers: str
    """One to twelve, and the tens and hundreds that chats write out."""
    openers: str = ""
    """Words that may stand before the first word of a sentence without changing it: "and", "so", "hey"."""

    lists: Mapping[str, str] = field(default_factory=dict)
    """Words that stand in the same places of several phrases, by a name."""

    decision: str = ""
    promise: str = ""
    request: str = ""
    question: str = ""
    problem: str = ""
    time: str = ""
    date: str = ""
    place: str = ""
    amount: str = ""
    change: str = ""
    negation: str = ""
    agreement: str = ""
    greeting: str = ""
    thanks: str = ""
    laughter: str = ""
    filler: str = ""
    idiom: str = ""
    """What looks like one of the others and is none: "let's see". It hides what stands within it, but small talk."""


KINDS: Final = tuple(
    part.name for part in fields(Tongue) if part.name not in {"code", "common", "numbers", "openers", "lists"}
)


SMALL_TALK: Final = frozenset({"agreement", "greeting", "thanks", "laughter", "filler"})


@dataclass(frozen=True, slots=True)
class Piece:
    """One word of a phrase."""

    words: frozenset[str] = frozenset()
    stems: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()
    number: bool = False

    def fits(self, word: Word) -> bool:
        """Whether a word of a text is this one."""
        if word.number:
            return self.number
        return word.key in self.words or word.key.startswith(self.stems) or word.key.endswith(self.endings)


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase of a tongue."""

    kind: str
    tongue: str
    pieces: tuple[Piece | None, ...]
    """None stands for up to three words between."""
    head: bool
    tail: bool
    shared: bool = False
    """It may well be something else in another tongue: it counts only in a chat in its own."""


@dataclass(frozen=True, slots=True)
class Found:
    """A phrase in a text: the words from `first` up to, not including, `after`."""

    kind: str
    first: int
    after: int


@dataclass(frozen=True, slots=True)
class Phrasebook:
    """The phrases of all tongues, by how their first words begin."""

    words: dict[str, list[Phrase]] = field(default_factory=dict)
    stems: dict[str, list[Phrase]] = field(default_factory=dict)
    endings: dict[str, list[Phrase]] = field(default_factory=dict)
    numbers: list[Phrase] = field(default_factory=list)
    openers: set[str] = field(default_factory=set)

    def find(self, words: Sequence[Word], tongue: str | None) -> Iterator[Found]:
        """Yield the phrases in a text of a chat in this tongue: not what an idiom, or one of its own phrases, hides."""
        clause, head, hidden, own = -1, True, 0, 0
        for place, word in enumerate(words):
            head = head or word.clause != clause
            clause = word.clause
            found = [
                (phrase, after)
                for phrase in self._beginning(word)
                if (head or not phrase.head) and (not phrase.shared or phrase.tongue == tongue)
                if (after := _match(phrase, words, place))
            ]
            for phrase, after in found:
                if phrase.kind == "idiom":
                    hidden = max(hidden, after)
                if phrase.tongue == tongue:
                    own = max(own, after)
            for phrase, after in found:
                shown = after > hidden or phrase.kind in SMALL_TALK
                if shown and phrase.kind != "idiom" and (phrase.tongue == tongue or after > own):
                    yield Found(phrase.kind, place, after)
            head = head and word.key in self.openers

    def _beginning(self, word: Word) -> Iterator[Phrase]:
        if word.number:
            yield from self.numbers
            return
        key = word.key
        yield from self.words.get(key, ())
        for length in range(1, min(len(key), MAX_STEM) + 1):
            yield from self.stems.get(key[:length], ())
            yield from self.endings.get(key[-length:], ())


OWN_ENDING: Final = 5  # letters; "-enge" ends Hindi verbs and German nouns, "-iyorum" is Turkish anywhere
MAX_STEM: Final = 16  # letters of a stem; the longest words of the tables are shorter


def compile_phrases(tongues: Sequence[Tongue]) -> Phrasebook:
    """Return the phrases of all tongues, filed."""
    book = Phrasebook()
    common = {tongue.code: frozenset(map(fold_word, tongue.common.split())) for tongue in tongues}
    every = [phrase for tongue in tongues for phrase in _phrases(tongue)]
    same: dict[tuple[str, tuple[Piece | None, ...]], set[str]] = {}
    for phrase in every:
        same.setdefault((phrase.kind, phrase.pieces), set()).add(phrase.tongue)
    for phrase in every:
        agreeing = same[phrase.kind, phrase.pieces]
        others = [words for code, words in common.items() if code not in agreeing]
        shared = _ends_briefly(phrase) or any(_sayable(phrase, words) for words in others)
        _file(book, Phrase(phrase.kind, phrase.tongue, phrase.pieces, phrase.head, phrase.tail, shared))
    book.openers.update(fold_word(word) for tongue in tongues for word in tongue.openers.split())
    return book


def _phrases(tongue: Tongue) -> Iterator[Phrase]:
    lists = {f"<{name}>": words.split() for name, words in tongue.lists.items()} | {"#": tongue.numbers.split()}
    for kind in KINDS:
        table: str = getattr(tongue, kind)
        for written in table.replace("\n", ",").split(","):
            marks = written.split()
            if not marks:
                continue
            head, tail = marks[0] == "^", marks[-1] == "$"
            inner = marks[head : len(marks) - tail]
            pieces = tuple(None if mark == ".." else _piece(mark, lists) for mark in inner)
            yield Phrase(kind, tongue.code, pieces, head, tail)


def _piece(mark: str, lists: Mapping[str, list[str]]) -> Piece:
    words: set[str] = set()
    stems: list[str] = []
    endings: list[str] = []
    for choice in mark.split("|"):
        for word in lists[choice] if choice.startswith(("<", "#")) else [choice]:
            if word.endswith("*"):
                stems.append(fold_word(word[:-1]))
            elif word.startswith("*"):
                endings.append(fold_word(word[1:]))
            else:
                # Where a keyboard has no umlauts, "für" is "fuer".
                words |= {fold_word(word), fold_word(word.translate(_UMLAUTS))}
    return Piece(frozenset(words), tuple(stems), tuple(endings), "#" in mark)


def _file(book: Phrasebook, phrase: Phrase) -> None:
    first = phrase.pieces[0]
    assert first is not None, "a phrase begins with a word"
    assert "" not in first.stems, "a phrase begins with a certain word"
    for word in first.words:
        book.words.setdefault(word, []).append(phrase)
    for stem in first.stems:
        book.stems.setdefault(stem, []).append(phrase)
    for ending in first.endings:
        book.endings.setdefault(ending, []).append(phrase)
    if first.number:
        book.numbers.append(phrase)


def _ends_briefly(phrase: Phrase) -> bool:
    """Whether it is a single ending, so short that words of other tongues end so by chance."""
    return len(phrase.pieces) == 1 and any(
        len(ending) < OWN_ENDING for piece in phrase.pieces if piece for ending in piece.endings
    )


def _sayable(phrase: Phrase, common: frozenset[str]) -> bool:
    """Whether words of another tongue could be this phrase."""
    return all(
        piece is None
        or piece.number
        or not piece.words.isdisjoint(common)
        or (
            (piece.stems or piece.endings)
            and any(word.startswith(piece.stems) or word.endswith(piece.endings) for word in common)
        )
        for piece in phrase.pieces
    )


def _match(phrase: Phrase, words: Sequence[Word], first: int) -> int:
    """Return where a phrase that begins at a word ends, or 0 if it is not there."""
    clause = words[first].clause
    place = first
    gap = False
    for piece in phrase.pieces:
        if piece is None:
            gap = True
            continue
        if first < place < len(words) and words[place - 1].ordinal:
            clause = words[place].clause
        reach = min(len(words), place + (GAP + 1 if gap else 1))
        while place < reach and words[place].clause == clause and not piece.fits(words[place]):
            place += 1
        if place >= reach or words[place].clause != clause:
            return 0
        place += 1
        gap = False
    ends = place == len(words) or words[place].clause != clause
    return place if ends or not phrase.tail else 0
