"""A text as words that compare alike however they were typed, each knowing where it stands in the text.

Chats leave accents out ("manana"), stretch words ("okkk"), and shout. So letters are compared without case, accents and
nuktas, the dotless i as i, digits of every script as 0 to 9, and a letter that stands three times or more as one. The
signs that make a vowel in Devanagari are no accents, and stay. Offsets are always those of the text as it was given.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

LINK: Final = re.compile(r"\b(?:https?://|www\.)\S{1,2000}", re.IGNORECASE)
# What a chat's export puts where a picture or a recording was.
_ATTACHED: Final = re.compile(
    r"<[^<>\n]{1,80}>"
    r"|\b(?:sprachnachricht|voice message|mensaje de voz|mensagem de voz|sesli mesaj)\W{0,3}\d{1,2}:\d\d",
    re.IGNORECASE,
)

_ALIKE: Final = {
    "\u0131": "i",  # the Turkish dotless i
    "\u0901": "\u0902",  # candrabindu: most keyboards offer the anusvara first
    "\u2018": "'",
    "\u2019": "'",
    "\u02bc": "'",
}
_NUKTA: Final = "\u093c"

# A word, a number with its separators, a plus one, or one of the little pictures that answer for a word.
_TOKEN: Final = re.compile(
    r"(?P<word>(?:[^\W\d_]|[\u0900-\u0903\u093a-\u094f\u0955-\u0957\u0962\u0963])+"
    r"(?:'(?:[^\W\d_]|[\u0900-\u0903\u093a-\u094f])+){0,3})"
    r"|(?P<number>\d+(?:[.,:]\d+){0,4})"
    r"|(?P<sign>\+1(?!\d)|[\u2600-\u263f\u2643-\u27bf\U0001f300-\U0001f3fa\U0001f400-\U0001faff])"
    r"|(?P<stop>[.,;:!?\u2026\u00a1\u00bf\u0964\u061f\uff1f()\n\u2013\u2014\"])"
)
_STRETCHED: Final = re.compile(r"([^\W\d_])\1{2,}")
_ASKING: Final = frozenset("?\u061f\uff1f")
_ENDS: Final = frozenset(".!?\u2026\u0964\u061f\uff1f\n")


@dataclass(frozen=True, slots=True, repr=False)
class Word:
    """A word, a number, or a picture, as it is compared."""

    key: str
    start: int
    end: int
    """Where it stands in the text as given."""
    number: bool
    ordinal: bool
    """A number with a dot right behind it: the dot may end the sentence, or make it the 5th of May ("5. Mai")."""
    laughs: bool
    clause: int
    """Its clause, counted in the text; phrases do not reach from one into the next."""
    sentence: int


@dataclass(frozen=True, slots=True, repr=False)
class Folded:
    """A text, ready to be compared."""

    text: str
    """Folded; links, and what stands for attachments, are blank."""
    offsets: list[int] | None
    """For each folded character, and the end, its place in the text as given; None if the two run alike."""
    words: list[Word]
    asked: frozenset[int]
    """The sentences that end with a question mark."""

    def origin(self, place: int) -> int:
        """Return where a place in the folded text is in the text as given."""
        return place if self.offsets is None else self.offsets[place]


_LAUGH: Final = re.compile(
    r"a?(?:[hj]+[aeiou]+){2,40}[hj]*s?|k{3,}|(?:rs){1,40}s?|(?:js|sj){2,40}s?j?|x+d+|(?:kk|hh){2,}\w?"
)


def fold_word(word: str) -> str:
    """Return a word as it is compared."""
    return _STRETCHED.sub(r"\1", "".join(map(_fold, word)))


def fold(text: str) -> Folded:
    """Fold a text and find its words."""
    unlinked = _ATTACHED.sub(_blank, LINK.sub(_blank, text))
    if unlinked.isascii():
        lowered = unlinked.lower()
        return Folded(lowered, None, *_words(lowered, None))
    parts: list[str] = []
    offsets: list[int] = []
    for place, character in enumerate(unlinked):
        alike = _fold(character)
        parts.append(alike)
        offsets.extend([place] * len(alike))
    offsets.append(len(text))
    low = "".join(parts)
    return Folded(low, offsets, *_words(low, offsets))


def _blank(match: re.Match[str]) -> str:
    return "\n" * len(match.group())


def _fold(character: str) -> str:
    if character in _ALIKE:
        return _ALIKE[character]
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    parts = unicodedata.normalize("NFD", character.casefold())
    return "".join(part for part in parts if not "\u0300" <= part <= "\u036f" and part != _NUKTA)


def _words(low: str, offsets: list[int] | None) -> tuple[list[Word], frozenset[int]]:
    words: list[Word] = []
    asked: set[int] = set()
    clause = sentence = 0
    for token in _TOKEN.finditer(low):
        written = token.group()
        if token.lastgroup == "stop":
            if written in _ASKING:
                asked.add(sentence)
            # Marks in a row end one clause, and a sentence only after words: "¿" opens, "?!" closes once.
            clause += 1
            if written in _ENDS and words and words[-1].sentence == sentence:
                sentence += 1
            elif written in _ASKING:
                asked.add(max(0, sentence - 1))
            continue
        start, end = token.span()
        if offsets is not None:
            start, end = offsets[start], offsets[end - 1] + 1
        key = _STRETCHED.sub(r"\1", written)
        laughs = token.lastgroup == "word" and _LAUGH.fullmatch(written) is not None
        number = token.lastgroup == "number"
        ordinal = number and low.startswith(". ", token.end())
        words.append(Word(key, start, end, number, ordinal, laughs, clause, sentence))
    return words, frozenset(asked)
