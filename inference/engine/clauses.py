"""A message in clauses: the smallest pieces of it that are shown or left out, in its writer's own words.

What is left out must not change what the rest says. So a sentence is cut only where something is added to it ("and",
"because", after a comma or a dash), never before words that limit or correct it ("but not on Friday", "no, six"), nor
after a colon, which only announces, and not at all if it states a condition ("if", "unless"). All patterns are bounded:
reading takes time linear in the text.
"""

import re
from typing import Final

from inference.engine.cues import sentences_of

WHOLE: Final = 6  # words; a message this short is read at a glance, and its parts say nothing
LEAST: Final = 3  # words of a clause: fewer lean on what stands beside them
ADDED: Final = 4  # words after an "and": fewer are a thing in a list, not a statement
NEAR: Final = 200  # characters in which so many words are looked for
MOST: Final = 60  # clauses of one message; the rest of it stays in one piece

_CONDITION: Final = re.compile(
    r"\b(?:if|unless|except|otherwise|whether|wenn|falls|sonst|außer|si|salvo|excepto|exceto|se|senão|eğer|yoksa|agar|"
    r"warna|अगर|वरना)\b",
    re.IGNORECASE,
)
_LIMITS: Final = (
    r"(?:but|not|no|nor|or|only|though|although|until|till|instead|rather|even|sorry|actually|i mean|wait|"
    r"aber|nicht|nur|oder|doch|sondern|bis|pero|sino|solo|sólo|aunque|hasta|mas|só|embora|até|ou|ama|ya da|sadece|"
    r"değil|fakat|lekin|par|magar|nahi|nahin|sirf|लेकिन|पर|नहीं|सिर्फ)\b"
)
_ADDS: Final = r"(?:and|und|aur|so|because|cos|cuz|since|which|weil|denn|porque|pq|pois|çünkü|kyunki|और|क्योंकि)\s"
_BOUNDARY: Final = re.compile(
    rf"(?:[,;]|\s[-\u2013\u2014/])\s+(?!{_LIMITS})|\s+(?=\()|(?<=\))\s+|(?P<and>\s+(?={_ADDS}))", re.IGNORECASE
)


def count_words(text: str) -> int:
    """Return how many words a text has: what stands between spaces and has a letter or a digit in it."""
    return sum(any(character.isalnum() for character in word) for word in text.split())


def clauses_of(text: str) -> list[tuple[str, bool]]:
    """Return the clauses of a message, and of each whether it begins a sentence.

    Each stands on one line; with spaces between they are the message.
    """
    if count_words(text) <= WHOLE:
        return [(" ".join(text.split()), True)]
    pieces: list[tuple[str, bool]] = []
    for sentence in sentences_of(text):
        for number, piece in enumerate(_cut(sentence)):
            before, begins = pieces[-1] if pieces else ("", False)
            if pieces and (len(pieces) == MOST or min(count_words(piece[:NEAR]), count_words(before[:NEAR])) < LEAST):
                pieces[-1] = f"{before} {piece}", begins
            else:
                pieces.append((piece, number == 0))
    return pieces


def _cut(sentence: str) -> list[str]:
    """Return the clauses of one sentence, or the sentence."""
    sentence = " ".join(sentence.split())
    if _CONDITION.search(sentence):
        return [sentence]
    pieces: list[str] = []
    start = 0
    for boundary in _BOUNDARY.finditer(sentence):
        before, after = sentence[start : boundary.start()], sentence[boundary.end() :]
        least = ADDED if boundary["and"] else LEAST
        if count_words(before) >= least and count_words(after[:NEAR]) >= least:
            pieces.append(sentence[start : boundary.end()].rstrip())
            start = boundary.end()
    return [*pieces, sentence[start:]]
