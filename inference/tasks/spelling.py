"""Words that nobody spells so, by a dictionary (symspellpy): put right where one common word alone is a slip away.

The library's dictionary has 82,834 English words with how often they are written, British and American forms alike.
It is read once, when this module is loaded, and no word is ever added; looking a word up leaves nothing behind. Names
and slang are in no dictionary, so a guess is made only for a word in small letters of which nearly every reader would
think the same: it begins with the same letter, one slip away, and is far more frequent than the next word that is.
"""

import hashlib
import re
from importlib.resources import files
from threading import Lock
from typing import Final

from symspellpy import SymSpell, Verbosity

from inference.tasks.edits import Draft
from inference.tasks.slang import SHORTHAND, SLANG
from seclude.errors import ConfigError

DICTIONARY: Final = "frequency_dictionary_en_82_765.txt"
SHA256: Final = "68e9dc81c7e73bd7310b57e516ecaea0d8b6387ff71344a57c04174650a407a7"
"""Of the dictionary: it is data, which the manifest does not list, so this source holds it to what was measured."""
COMMON: Final = 15_000_000  # of the 5 * 10^11 that were counted; 4,290 words are as frequent
APART: Final = 50  # times as frequent as the next word
SLIPS: Final = 1  # letters left out, added, changed, or two that change places
PREFIX: Final = (
    5  # letters by which words are found: with the usual seven it takes 25 MB more, and 8 microseconds a word, not 25
)

_WORD: Final = re.compile(r"(?<![\w'-])[a-z]{5,20}(?![\w'-])")  # a shorter word is too near to too many


def _load() -> tuple[SymSpell, frozenset[str]]:
    """Return what is guessed from, and all words that are right. Raises ConfigError for another dictionary."""
    data = files("symspellpy").joinpath(DICTIONARY).read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ConfigError("the dictionary of symspellpy is not the one that this worker was made with")
    guesses = SymSpell(max_dictionary_edit_distance=SLIPS, prefix_length=PREFIX)
    words = dict(line.split(" ") for line in data.decode("utf-8-sig").splitlines())
    for word, count in words.items():
        if int(count) * APART > COMMON:  # rarer ones neither are a guess nor forbid one
            guesses.create_dictionary_entry(word, int(count))
    return guesses, frozenset(words)


_GUESSES, _WORDS = _load()
_TURN: Final = Lock()  # the library counts slips in lists that all look-ups share


def correct(draft: Draft) -> None:
    """Put right what is surely misspelt."""
    draft.apply("spelling", _WORD, lambda match: _guess(match.group()))


def _guess(word: str) -> str:
    """Return the one word that is meant, or the same word."""
    if word in _WORDS or word in SHORTHAND or word in SLANG or (word.endswith("s") and word[:-1] in _WORDS):
        return word  # with an s: "everyones" lacks an apostrophe, and is no "everyone"
    with _TURN:
        near = sorted(_GUESSES.lookup(word, Verbosity.ALL, SLIPS), key=lambda each: each.count, reverse=True)
    if not near or near[0].count < COMMON or near[0].term[0] != word[0]:
        return word
    return word if len(near) > 1 and near[1].count * APART > near[0].count else str(near[0].term)
