"""How the lines of a chat hang together: which one answers which question, and which says nothing without another.

A bare "yes, five works" misleads when it stands alone, so it is shown with what it answers or not at all. What a line
belongs to is decided by place in the chat and by plain signs; where they are in doubt, the line counts as dependent.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from inference.engine.cues import LINK, Cues, is_small_talk, read_message
from inference.engine.language import plain
from seclude.tasks import Reason

REACH: Final = 8  # messages after a question in which its answer is looked for: later ones are about something else
CHAIN: Final = 3  # lines that must be shown together; a longer chain is a conversation, not a highlight
ANSWERS: Final = 3  # answers that are shown with one question
SHORT: Final = 3  # words: too few to say by themselves who does what
BRIEF: Final = 12  # words: an answer this short leans on its question

_OH: Final = r"^(?:(?:oh|ah|aw+|hm+|well|haha\w{0,20}|lol|yay|wow|omg)[ ,.!]+){0,3}"
_ACCEPTS: Final = re.compile(
    _OH + r"(?:yes|yeah|yep|yup|ya|no|nope|nah|not me|ok|okay|k|sure|fine|will do|on it|done|of course|absolutely|"
    r"definitely|me|i can|i'll|i will|i am|i'm|i do|i have|i've|ja|nein|oui|non|sí|si|sì|sim|não)\b|^\+1"
)
_PROPOSES: Final = re.compile(_OH + r"(?:i think|i'd|let'?s|we (?:should|could|can|will|are)|we'll)\b")
# No answer, though it is said in place of one.
_EVADES: Final = re.compile(
    _OH + r"(?:not sure|no idea|idk|i don'?t know|dunno|good question|let me (?:check|see|think|ask)|maybe|who knows|"
    r"hard to say|i'?ll (?:check|see|ask|think)|keine ahnung|je sais pas|no s[eé]|non so)\b"
)
# How an answer, a correction or a remark on the line before begins.
_LEANS: Final = re.compile(
    _OH + r"(?:yes|yeah|yep|yup|ya|no|nope|nah|k|sure|agreed|deal|exactly|same|true|works|"
    r"sounds|looks like|good (?:idea|point|call|plan)|me|mine|both|either|neither|will do|on it|"
    r"actually|instead|that's|that (?:is|was|works|sounds|one|would|might)|this (?:is|was|works)|these|those|which|"
    r"it|it's|its|they|they're|he|he's|she|she's|him|her|them|there|if so|in that case|never ?mind|nvm|scratch that|"
    r"correction|only if|i mean|i meant|of course|absolutely|definitely|maybe|probably|i think so|i don'?t think so|"
    r"thanks|thank you|thx|the (?:one|other)|ja|nein|oui|non|sí|si|sì|sim|não)\b"
)
# These may also only open what follows, so a line that is long enough stands without them.
_JOINS: Final = re.compile(
    _OH + r"(?:ok|okay|fine|right|perfect|great|cool|nice|alright|"
    r"and|or|but|because|cause|cuz|so|then|also|plus|except|unless)\b"
)
# The same person goes on in the middle of a phrase.
_CONTINUES: Final = re.compile(
    r"^(?:to|at|in|on|with|for|from|by|of|about|like|until|than|not|as|when|where|who|while|since|\*)(?:\b|(?<=\*))"
)
_POINTS: Final = re.compile(r"\b(?:it|that|this|he|she|him|her|they|them|one|there)\b")
_IDEOGRAPHS: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_WANTS: Final[tuple[tuple[re.Pattern[str], Reason], ...]] = (
    (re.compile(r"\b(?:when|what time|which day|what day|how (?:long|late)|wann|quand|cuándo|quando)\b"), "time"),
    (re.compile(r"\b(?:where|which (?:place|room)|wo|dónde|dove)\b"), "place"),
    (re.compile(r"\b(?:how (?:much|many)|wie ?viele?|combien|cuántos?|quanto)\b"), "amount"),
)


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


def read_line(index: int, sender: str, text: str) -> Line:
    """Read one message."""
    low = plain(text).lower().strip()
    unlinked = LINK.sub(" ", low)
    # Scripts without spaces: two characters are about a word.
    words = len(unlinked.split()) + len(_IDEOGRAPHS.findall(unlinked)) // 2
    return Line(index, sender, text, low, words, read_message(text), is_small_talk(text))


@dataclass(frozen=True, slots=True)
class Threads:
    """Positions in a sequence of lines, and what binds them."""

    answers: dict[int, tuple[int, ...]]
    """Of a question: its answers. A question without an entry is open."""
    needs: dict[int, int]
    """Of a dependent line: the line before it without which it must not be shown."""

    def question_of(self, position: int) -> int | None:
        """Return the question that a dependent line answers."""
        question = self.needs.get(position)
        return question if question is not None and position in self.answers.get(question, ()) else None

    def chain_of(self, position: int) -> tuple[int, ...] | None:
        """Return a line and what it cannot stand without, in order, or None if that is too long to show."""
        chain = [position]
        while (before := self.needs.get(chain[-1])) is not None:
            chain.append(before)
            if len(chain) > CHAIN:
                return None
        return tuple(reversed(chain))

    def with_answers(self, chain: tuple[int, ...]) -> tuple[int, ...]:
        """Return a chain and what leans on its questions as their answers, in order; a counter-question needs none."""
        shown = set(chain)
        for member in chain:
            if self.question_of(member) is not None:
                continue
            leaning = [answer for answer in self.answers.get(member, ()) if self.needs.get(answer) == member]
            shown.update(leaning[:ANSWERS])
        return tuple(sorted(shown))


def find_threads(lines: Sequence[Line]) -> Threads:
    """Find the answers of every question, and what every dependent line depends on."""
    answers: dict[int, tuple[int, ...]] = {}
    needs: dict[int, int] = {}
    for position, line in enumerate(lines):
        if line.cues.asks and (found := _answers(lines, position)):
            answers[position] = found
            for answer in found:
                if lines[answer].words <= BRIEF or _leans(lines, answer):
                    needs[answer] = position  # of two questions that it may answer, the later one
    for position in range(1, len(lines)):
        if position not in needs and _leans(lines, position):
            needs[position] = _before(lines, position)
    return Threads(answers, needs)


def _before(lines: Sequence[Line], position: int) -> int:
    """Return the line that another one follows up, over thanks and laughter in between."""
    for before in range(position - 1, max(position - REACH, -1), -1):
        if not lines[before].small_talk:
            return before
    return position - 1


def _answers(lines: Sequence[Line], position: int) -> tuple[int, ...]:
    """Return the lines of others that answer a question, as far as can be told."""
    question = lines[position]
    wanted = {reason for pattern, reason in _WANTS if pattern.search(question.low)}
    found: list[int] = []
    replies = 0
    for later in range(position + 1, min(position + 1 + REACH, len(lines))):
        line = lines[later]
        if line.sender == question.sender:
            if found or line.cues.asks:
                break
        elif _answers_one(line, wanted, prompt=not replies, first=not found):
            found.append(later)
            replies += 1
        elif line.cues.asks and found:
            break
        else:
            replies += 1
    return tuple(found)


def _answers_one(line: Line, wanted: set[Reason], *, prompt: bool, first: bool) -> bool:
    """Whether a line can be an answer to a question that wants to know about `wanted`."""
    if _EVADES.match(line.low):
        return False
    if wanted & line.cues.reasons or _ACCEPTS.match(line.low):
        return True
    if first and _PROPOSES.match(line.low):
        return True
    if line.cues.asks:  # "at six?" proposes, while "why?" does not
        return prompt and not wanted and bool(line.cues.reasons - {"question", "request"}) and line.words <= BRIEF
    return prompt and not wanted


def _leans(lines: Sequence[Line], position: int) -> bool:
    """Whether a line says too little by itself."""
    line = lines[position]
    if line.words < SHORT or (line.words == SHORT and not _says_enough(line)):
        return True
    if _LEANS.match(line.low):
        return line.words <= 2 * BRIEF
    if _JOINS.match(line.low):
        return line.words <= SHORT or not line.cues.reasons
    return lines[position - 1].sender == line.sender and _CONTINUES.match(line.low) is not None


def _says_enough(line: Line) -> bool:
    """Whether a line of three words stands alone: "dinner at seven", "who brings plates?", but not "was it good?"."""
    return bool(line.cues.reasons - {"question"}) or (line.cues.asks and not _POINTS.search(line.low))
