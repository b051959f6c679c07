"""A message as one line of a chat, with the plain signs of what it does there: accept, decline, agree, propose."""

import re
from dataclasses import dataclass
from typing import Final

from inference.engine.cues import LINK, Cues, is_small_talk, read_message
from inference.engine.language import ENGLISH, OTHERS, plain, words_of
from seclude.tasks import Reason

PLEDGES: Final[frozenset[Reason]] = frozenset({"decision", "promise"})
SHORT: Final = 3  # words: too few to say by themselves who does what
SIGNED: Final = 1000  # characters of a message that are read for signs, so that a chat of 10,000 each stays cheap
BRIEF: Final = 12  # words: an answer this short leans on its question

OH: Final = r"^(?:(?:oh|ah|aw+|hm+|well|haha\w{0,20}|lol|yay|wow|omg)[ ,.!]+){0,3}"
# An answer to the question before it, whatever chatter is between.
_ACCEPTS: Final = re.compile(
    r"(?!oh,? (?:no|nein|non)\b)"
    + OH
    + r"(?:(?:yes|yeah|yep|yup|ya|no|nope|nah|not me|ok|okay|k|sure|fine|will do|on it|done|of course|absolutely|"
    r"definitely|me|ja|nein|oui|non|sí|si|sì|sim|não)\b|i (?:can|could|will|do|did|have|am)\W*$|\+1)"
)
# Others agree to what was said: this settles it.
_AGREES: Final = re.compile(
    OH + r"(?:agreed|deal|sounds (?:good|great|perfect|like a plan)|good (?:idea|plan)|works for (?:me|us)|"
    r"(?:fine|good) (?:by|with|for) (?:me|us)|perfect|let's do (?:that|it)|abgemacht|einverstanden|d'accord)\b|^\+1"
)
# A question for somebody stays open when one person declines.
_DECLINES: Final = re.compile(
    OH + r"(?:no|nope|nah|not me|not yet|nobody|sorry|i (?:can't|cannot|won't|couldn't)|can't|cannot|nein|non|"
    r"yo no|io no|ich nicht|ich kann (?:leider )?nicht|moi non|pas moi|eu não)\b|"
    r"\bsorry\W*$"
)
# "Bring it please": so near the start that nothing before it in the line can be what is meant.
REFERS: Final = re.compile(
    r"^(?:\S{1,20} ){1,4}?(?<!make )(?<!made )(?:(?:it|them|him)(?=\W*$|[.,!?;]| (?:on|at|by|to|in|for|before|after|"
    r"until|from|with|tomorrow|today|tonight|now|later|soon|myself|please|pls|then|and|or|back|up|out|over|again)\b)|"
    r"(?:this|that|these|those|there)(?=\W*$|[.,!?;]))"
)
_COMMON: Final = ENGLISH | OTHERS
_IDEOGRAPHS: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@dataclass(frozen=True, slots=True, repr=False)
class Line:
    """A message that has words, with what its surface tells."""

    index: int
    sender: str
    text: str
    low: str
    words: int
    cues: Cues
    small_talk: bool
    accepts: bool
    """It says yes or no to something, or takes it on."""
    agrees: bool
    """It agrees to what somebody said, which settles it."""
    declines: bool
    """It says no to something."""
    asks_fully: bool
    """It asks, in more than a few words."""
    proposes: bool
    """It answers with a question: "at six?"."""
    content: frozenset[str]
    """Its uncommon words, by which two lines can be told to be about the same."""


def read_line(index: int, sender: str, text: str) -> Line:
    """Read one message."""
    begin = text[:SIGNED]
    low = plain(begin).lower().strip()
    unlinked = LINK.sub(" ", low)
    # Scripts without spaces: two characters are about a word.
    words = len(unlinked.split()) + len(_IDEOGRAPHS.findall(unlinked)) // 2
    cues = read_message(begin)
    return Line(
        index,
        sender,
        text,
        low,
        words,
        cues,
        small_talk=is_small_talk(begin),
        accepts=_ACCEPTS.match(low) is not None,
        agrees=_AGREES.match(low) is not None,
        declines=_DECLINES.search(low) is not None,
        asks_fully=cues.asks and words > SHORT,
        proposes=cues.asks and bool(cues.reasons - {"question", "request"}) and words <= BRIEF,
        content=frozenset(word.removesuffix("s") for word in words_of(low) if len(word) > 2 and word not in _COMMON),
    )
