"""How words are counted, compared and found: as people do who forgive accents and capitals, but no digit."""

import re
import unicodedata
from functools import cache
from typing import Final

STRAIGHT: Final = str.maketrans("\u2018\u2019\u02bc\u201c\u201d", "'''\"\"")
_ACCENTS: Final = re.compile(r"[\u0300-\u036f]")  # not the vowel signs of Devanagari, which are letters
# Vowel signs of the Indic scripts are no word characters to `re`; the two dandas among them are full stops.
_LETTER: Final = r"[\w\u0900-\u0963\u0966-\u0d7f]"
_WORD: Final = re.compile(rf"{_LETTER}+(?:['.,:]{_LETTER}+)*")


def count_words(text: str) -> int:
    """Return how many words a text has: what stands between spaces and has a letter or a digit in it."""
    return sum(any(character.isalnum() for character in word) for word in text.split())


def fold(text: str) -> str:
    """Return a text without what people leave out when they type fast: case, accents, curly apostrophes."""
    decomposed = unicodedata.normalize("NFKD", text.translate(STRAIGHT))
    return _ACCENTS.sub("", decomposed).casefold().replace("\u0131", "i")  # Turkish people write i for both


def folded_words(text: str) -> list[str]:
    """Return the words of a text, folded."""
    return _WORD.findall(fold(text))


def sentences(text: str) -> list[str]:
    """Return the lines of a text, ended at full stops."""
    return [part for part in re.split(r"\n+|(?<=[.!?\u2026\u0964])\s+", text) if part.strip()]


@cache
def pattern(phrase: str) -> re.Pattern[str]:
    """Return what finds a phrase in a folded text as whole words.

    "8" is not in "8.15", in "1,800" or in "18", but it is in "8.00".
    """
    words = fold(phrase).split()
    before = rf"(?<!{_LETTER})" if re.match(_LETTER, words[0]) else ""
    after = rf"(?!{_LETTER})" if re.search(rf"{_LETTER}\Z", words[-1]) else ""
    if words[0][0].isdigit():
        before += r"(?<!\d[.,:])"
    if words[-1][-1].isdigit():
        after += r"(?![.,:](?!00(?!\d))\d)"
    return re.compile(before + r"\s+".join(map(re.escape, words)) + after)
