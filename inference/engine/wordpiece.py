"""Text as the numbers of a BERT model's vocabulary: BERT's own cleaning and cutting, lower case, then WordPiece.

It is in Python although a library does the same, because of what stays in memory: a native library's strings fill the
pieces of memory that they get to the last octet, and the last eight of those are what glibc may leave when it
overwrites what is freed (docs/scrubbing.md). Python's strings end with zeros there. It keeps nothing of any text.

Unlike the library it takes no "[SEP]" in somebody's message for the model's own mark.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final
from unicodedata import category, normalize

UNKNOWN: Final = "[UNK]"
BEGIN: Final = "[CLS]"
END: Final = "[SEP]"
CONTINUED: Final = "##"  # begins a piece that does not begin a word
MAX_WORD: Final = 100  # characters; a longer word is unknown, as in BERT

_ASCII_WORD: Final = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")
_ASCII_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NO_CHARACTERS: Final = frozenset({"Cc", "Cf", "Co", "Cs"})  # what is not assigned yet may be a character to others
# Chinese characters, each of which is a word; the gap before 0x2B920 is in the library that made the models' numbers.
_IDEOGRAPHS: Final = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class WordPieces:
    """Cuts texts into the pieces of one vocabulary."""

    def __init__(self, vocabulary: Mapping[str, int], most: int) -> None:
        """A text gives at most `most` numbers; KeyError where the vocabulary lacks one of the three marks."""
        self._begin, self._end, self._unknown = (vocabulary[mark] for mark in (BEGIN, END, UNKNOWN))
        self._most: Final = most
        self._first = {piece: number for piece, number in vocabulary.items() if not piece.startswith(CONTINUED)}
        self._later = {
            piece.removeprefix(CONTINUED): number for piece, number in vocabulary.items() if piece.startswith(CONTINUED)
        }
        self._longest: Final = max(map(len, vocabulary))

    def encode(self, text: str) -> list[int]:
        """Return the numbers of a text, between the marks of its begin and its end."""
        numbers = [self._begin]
        for word in words_of(text):
            numbers += self._pieces(word)
            if len(numbers) >= self._most:
                break
        return [*numbers[: self._most - 1], self._end]

    def _pieces(self, word: str) -> list[int]:
        """Return the longest piece that the word begins with, then that of the rest, and so on."""
        if len(word) > MAX_WORD:
            return [self._unknown]
        found: list[int] = []
        pieces, at = self._first, 0
        while at < len(word):
            for end in range(min(len(word), at + self._longest), at, -1):
                number = pieces.get(word[at:end])
                if number is not None:
                    break
            else:
                return [self._unknown]
            found.append(number)
            pieces, at = self._later, end
        return found


def words_of(text: str) -> list[str]:
    """Return the words and the marks of a text, cleaned as BERT's texts were."""
    if text.isascii():
        return _ASCII_WORD.findall(_ASCII_CONTROL.sub("", text).lower())
    cleaned = "".join(_clean(text))
    return "".join(_apart(normalize("NFD", cleaned))).split()


def _clean(text: str) -> Iterator[str]:
    """Drop what is no character, and put spaces around Chinese ones."""
    for character in text:
        if character.isspace() and not "\x1c" <= character <= "\x1f":
            yield " " if character not in "\x0b\x0c\x85" else ""
        elif character == "\ufffd" or category(character) in _NO_CHARACTERS:
            continue
        elif any(first <= ord(character) <= last for first, last in _IDEOGRAPHS):
            yield f" {character} "
        else:
            yield character


def _apart(text: str) -> Iterator[str]:
    """Drop accents, lower each character by itself, and put spaces around punctuation."""
    for character in text:
        if category(character) == "Mn":
            continue
        for lower in character.lower():
            yield f" {lower} " if _is_mark(lower) else lower


def _is_mark(character: str) -> bool:
    if character.isascii():
        return not character.isalnum() and not character.isspace()
    return category(character)[0] == "P"
