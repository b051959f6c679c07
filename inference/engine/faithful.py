"""Does a text say only what its source says? Sentence by sentence, as far as that can be looked up.

Numbers, times, dates, currencies, names and links of a sentence must occur in the source, each in one of the ways to
read it (`facts`). That bounds what a model can invent, and what a chat can talk it into. It proves no more: who does
what, whether it was denied, asked or settled, and which of two numbers belongs where cannot be looked up, so a sentence
that holds here can still be wrong.

What leaves this module about a sentence that does not hold is how many there were and of which kinds, never a word.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from inference.engine.facts import Kind, facts_of
from inference.engine.tongues.folding import fold_word

CIRCLES: Final = "repetition"
TALK: Final = "talk about the task"
COPIED: Final = "copied message"
ALIKE: Final = 0.8  # of a sentence's words that an earlier one has too: it says the same
RUN, TIMES = 3, 3  # a run of so many words, so many times in one sentence: the model goes round in circles

# No sentence ends in "am 2. Februar", "Dr. No" or "J. Smith".
_BOUNDARY: Final = re.compile(
    r"(?:(?<=[.!?\u2026\u0964])|(?<=[.!?\u2026\u0964][\"'\u201d\u2019)]))"
    r"(?:(?<!\d\.)|(?!\s+(?:Jan|Feb|M\u00e4r|Apr|Mai|Jun|Jul|Aug|Sep|Okt|Nov|Dez)))(?<!\b[A-Z]\.)(?<!\b(?:Mr|Ms|Dr|Fr|Hr|St|Sr|Nr)\.)(?<!\b(?:Mrs|Sra)\.)\s+(?=[^\sa-z])|\n+"
)
# Where it is not quoted, the one who says it in an abstract is nobody.
_FIRST_PERSON: Final = re.compile(
    r"\b(?:i|i'(?:m|ll|ve|d)|im|ive|my|me|ich|mir|mich|yo|eu|benim|bana)\b|\bmain (?:hoon|hun)\b|"
    r"(?:^|\s)(?:\u092e\u0948\u0902|\u092e\u0941\u091d\u0947)(?=\s)",
    re.IGNORECASE,
)
_QUOTED: Final = re.compile(r"[\"\u201c\u201e\u00ab][^\"\u201c\u201d\u201e\u00ab\u00bb]{0,400}[\"\u201d\u201c\u00bb]")
_SPEAKER: Final = re.compile(r"^\W*([^:\n]{1,100}):(?=\s|\Z)")
_BULLET: Final = re.compile(r"^(?:[-*\u2022]|\d{1,2}[.)](?!\d))\s+")
_WORD: Final = re.compile(r"[^\W_]+")
_TALK: Final = re.compile(
    r"^\W*(?:sure|certainly|of course|absolutely|okay|here(?: is|'s|\u2019s| are)|below is|i hope this|"
    r"i(?:'m| am) sorry, but|(?:i(?:'m| am)|as) an? (?:ai|assistant|language model)|let me know if|feel free to|"
    r"please (?:let me know|note that)|the (?:rewritten|revised|rephrased)|"
    r"(?:rewritten|revised|rephrased|summary|note)\b.{0,40}:|"
    r"aqu\u00ed (?:tienes|est\u00e1)|aqui est\u00e1|hier ist|i\u015fte)",
    re.IGNORECASE,
)
# With what the sentences of an abstract begin, and no name does; words that the source has are known already.
_OPENERS: Final = frozenset(
    fold_word(word)
    for word in """
    a an the this that these those it its they their he she we you who what when where there here both each every
    everyone everybody someone somebody nobody no not none several some many most all another other others one two
    in on at by for from with without after before during until since as if when while because although though but and
    or so then also finally meanwhile however later first next currently overall additionally furthermore instead
    is are was were has have had will would can could should may might must do does did let lets
    chat group message messages members participants people person conversation discussion discussions plan plans
    summary update updates question questions decision decisions open still nothing anyone
    el la los las un una unos unas este esta esto se su sus hay todos todas ella ellos alguien nadie en con para por
    sin el grupo también además luego después antes aún
    o os as um uma uns umas ele eles elas todos todas há alguém ninguém em no na com para por sem depois antes ainda
    der die das ein eine er sie es wir ihr alle jemand niemand im am um mit für nach vor bis wegen wenn weil aber und
    oder auch noch zum zur beim außerdem danach zuerst dann man
    bir bu şu o onlar herkes kimse biri bazi tüm her ve ama için ile sonra önce ayrica henüz
    """.split()  # noqa: SIM905 (a list of words reads as one)
)


class Source:
    """What is known: a chat, with the names of those who wrote it, or a draft."""

    def __init__(self, texts: Iterable[str], speakers: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._speakers = {tuple(words_of(speaker)) for speaker in speakers}
        for text in texts:
            for fact in facts_of(text):
                self._known |= fact.readings | fact.supports

    def lacks(self, text: str, *, openings: bool = True) -> Counter[Kind]:
        """Return how many facts of a text are not here, by kind.

        `openings` says whether words that begin a sentence can be names.
        """
        lacking: Counter[Kind] = Counter()
        for fact in facts_of(text):
            if not fact.readings or not self._known.isdisjoint(fact.readings):
                continue
            if fact.kind is Kind.NAME and fact.opening and (not openings or self._opens(fact.readings)):
                continue
            lacking[fact.kind] += 1
        return lacking

    def is_line(self, text: str) -> bool:
        """Whether a text is a line as the chat has them: "Ana: ..."."""
        match = _SPEAKER.match(text)
        return match is not None and tuple(words_of(match[1])) in self._speakers

    @staticmethod
    def speaks(text: str) -> bool:
        """Whether a text is somebody's own words, without their name: "I'll bring it"."""
        return _FIRST_PERSON.search(_QUOTED.sub(" ", text.replace("\u2019", "'"))) is not None

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
        self._speakers.clear()

    @staticmethod
    def _opens(readings: frozenset[str]) -> bool:
        return any(reading.removeprefix("word ") in _OPENERS for reading in readings)


@dataclass(frozen=True, slots=True, repr=False)
class Verdict:
    """Which sentences of a text hold, and why the others do not."""

    held: tuple[str, ...]
    dropped: int
    why: Mapping[str, int]
    """Kinds of facts that were not found, or of other faults, with the number of sentences that have them."""


def check(text: str, source: Source) -> Verdict:
    """Compare a text with its source. What says the same as an earlier sentence is left out, and counts for nothing."""
    held: list[str] = []
    why: Counter[str] = Counter()
    dropped = 0
    for line in text.splitlines():
        copied = source.is_line(line)
        for sentence in sentences(line):
            faults = {*_faults(sentence, source), *([COPIED] if copied else [])}
            if faults:
                dropped += 1
                why.update(faults)
            elif _WORD.search(sentence) and not repeats(sentence, held):
                held.append(sentence)
    return Verdict(tuple(held), dropped, dict(why))


def _faults(sentence: str, source: Source) -> Iterator[str]:
    yield from source.lacks(sentence)
    if source.speaks(sentence):
        yield COPIED
    if is_talk(sentence):
        yield TALK
    if circles(sentence):
        yield CIRCLES


def sentences(text: str) -> list[str]:
    """Return the sentences of a text; the marks of a list before them are left out."""
    pieces = (_BULLET.sub("", piece.strip()) for piece in _BOUNDARY.split(text))
    return [piece for piece in pieces if piece]


def is_talk(text: str) -> bool:
    """Whether a text speaks about the task or of the one who does it: "Sure, here is ..."."""
    return _TALK.match(text) is not None


def circles(text: str) -> bool:
    """Whether a text says the same again and again."""
    words = words_of(text)
    runs = Counter(zip(*(words[start:] for start in range(RUN)), strict=False))
    return max(runs.values(), default=0) >= TIMES


def repeats(text: str, earlier: Sequence[str]) -> bool:
    """Whether one of some texts says the same in nearly the same words."""
    words = set(words_of(text))
    alike = (other for other in earlier if len(words & set(words_of(other))) >= ALIKE * len(words))
    return any(not Source([other]).lacks(text) for other in alike)


def words_of(text: str) -> list[str]:
    """Return the words and numbers of a text, as they are compared."""
    return [fold_word(word) for word in _WORD.findall(text)]
