"""How the lines of a chat hang together: which one answers which question, and which says nothing without another.

A bare "yes, five works" misleads when it stands alone, so it is shown with what it answers or not at all. What a line
belongs to is decided by place in the chat and by plain signs; where they are in doubt, the line counts as dependent.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from inference.engine.answers import REACH, find_answers, wants
from inference.engine.cues import CONCRETE, is_small_talk, read_sentence, sentences_of
from inference.engine.lines import BRIEF, OH, PLEDGES, REFERS, SHORT, Line

CHAIN: Final = 3  # lines that must be shown together; a longer chain is a conversation, not a highlight
TELLING: Final = 2  # kinds of fact, such as a decision and a time, that make a line worth showing alone
ANSWERS: Final = 3  # answers that are shown with one question
CLEAR: Final = 9  # words: in a longer line the rest tells what "it" is
WHOLE: Final = 7  # words of a promise or decision that stands alone: who, what, and to what

_I: Final = re.compile(r"\bi\b")
# How an answer, a correction or a remark on the line before begins.
_LEANS: Final = re.compile(
    OH + r"(?:yes|yeah|yep|yup|ya|no|nope|nah|k|sure|agreed|deal|exactly|same|true|works|"
    r"sounds|looks like|good (?:idea|point|call|plan)|me|mine|both|either|neither|will do|on it|"
    r"actually|instead|that's|that (?:is|was|works|sounds|one|would|might)|this (?:is|was|works)|these|those|"
    r"which (?:is|was|means|would|might|works)|it|it's|its|they|they're|he|he's|she|she's|him|her|them|there|if so|"
    r"in that case|never ?mind|nvm|scratch that|correction|only if|i mean|i meant|"
    r"of course|absolutely|definitely|maybe|probably|i think so|i don'?t think so|"
    r"thanks|thank you|thx|the (?:one|other)|ja|nein|oui|non|sí|si|sì|sim|não)\b"
)
# These may also only open what follows, so a line that is long enough stands without them.
_JOINS: Final = re.compile(
    OH + r"(?:ok|okay|fine|right|perfect|great|cool|nice|alright|"
    r"and|or|but|because|cause|cuz|so|then|also|plus|except|unless)\b"
)
# The same person goes on in the middle of a phrase.
_CONTINUES: Final = re.compile(
    r"^(?:to|at|in|on|with|for|from|by|of|about|like|until|than|not|as|when|where|who|while|since|\*)(?:\b|(?<=\*))"
)
# "Until what time?": a question word and no more is about the line before.
_BARE: Final = re.compile(
    OH + r"(?:(?:and|so|but|ok|okay)[, ]{1,2})?(?:(?:at|by|from|since|until|till|for|to|with|um|bis|à|a|até) )?"
    r"(?:what|which|how|when|where|who|why|wann|wo|wer|was|warum|wie|quand|où|qui|combien|quelle|cuándo|dónde|quién|qué|"
    r"cuánto|quando|dove|chi|che|quanto|onde|quem)"
    r"(?: (?:time|day|date|much|many|long|late|far|else|one|exactly|each|then|not|about|viele?|lange|uhr|heure|"
    r"hora|ora))?"
    r" ?[?\uff1f]"
)
_POINTS: Final = re.compile(r"\b(?:it|that|this|he|she|him|her|they|them|one|there)\b")


@dataclass(frozen=True, slots=True)
class Threads:
    """Positions in a sequence of lines, and what binds them."""

    answers: dict[int, tuple[int, ...]]
    """Of a question or a call for somebody: its answers. A question without an entry is open."""
    asked: dict[int, int]
    """Of an answer: its question. What settles a counter-question answers the first question."""
    needs: dict[int, int]
    """Of a dependent line: the line before it without which it must not be shown."""
    completed: dict[int, tuple[int, int]]
    """Of a statement that somebody asked about: that question and its first answer, without which it says half."""
    agreed: frozenset[int]
    """Statements that somebody else agreed to."""
    unmet: frozenset[int]
    """What asks for somebody, for help, or for a time, place or amount, and got no answer."""
    telling: frozenset[int]
    """Lines that say so much themselves, such as a new time or a cancellation, that they are shown alone if need be."""

    def question_of(self, position: int) -> int | None:
        """Return the question that a dependent line answers."""
        question = self.asked.get(position)
        return question if question is not None and self.needs.get(position) == question else None

    def chain_of(self, position: int) -> tuple[int, ...] | None:
        """Return a line and what it cannot stand without, in order, or None if that is too long to show.

        A telling line then stands alone: to drop it would leave what it corrects as if it still held.
        """
        chain = [position]
        while (before := self.needs.get(chain[-1])) is not None:
            chain.append(before)
            if len(chain) > CHAIN:
                return (position,) if position in self.telling else None
        return tuple(reversed(chain))

    def with_answers(self, chain: tuple[int, ...]) -> tuple[int, ...]:
        """Return a chain with the answers to its questions and what completes it, in order, and so on for those."""
        shown = set(chain)
        rest = list(chain)
        while rest and len(shown) <= CHAIN + ANSWERS:
            member = rest.pop(0)
            found = (*self.answers.get(member, ())[:ANSWERS], *self.completed.get(member, ()))
            rest += found
            shown.update(found)
        return tuple(sorted(shown))


def find_threads(lines: Sequence[Line]) -> Threads:
    """Find the answers of every question, and what every dependent line depends on."""
    asked: dict[int, int] = {}  # of two questions that a line may answer, the later one
    for position in range(len(lines)):
        asked.update((answer, position) for answer in find_answers(lines, position))
    answers = _settle(lines, asked)
    needs: dict[int, int] = {}
    for position in range(1, len(lines)):
        before = _before(lines, position)
        if position not in asked:
            # A question of some words is a start by itself where what it leans on is none.
            if _leans(lines, position) and not (before in needs and lines[position].asks_fully):
                needs[position] = before
        elif _leans(lines, position) or not _stands(lines[position], later=before != asked[position]):
            needs[position] = asked[position]
    completed, agreed = _upshots(lines, answers, needs)
    unmet = frozenset(position for position, line in enumerate(lines) if position not in answers and wants(line))
    telling = frozenset(
        position
        for position, line in enumerate(lines)
        if position not in asked and line.words > SHORT and len(line.cues.stated) >= TELLING
    )
    return Threads(answers, asked, needs, completed, agreed, unmet, telling)


def _settle(lines: Sequence[Line], asked: dict[int, int]) -> dict[int, tuple[int, ...]]:
    """Return the answers of every question, and let what settles a counter-question answer the first question."""
    answers: dict[int, tuple[int, ...]] = {}
    settled: set[int] = set()
    for answer in sorted(asked):
        if lines[answer].proposes or not lines[answer].cues.reasons & CONCRETE:
            continue
        while (counter := asked[answer]) in asked and lines[counter].proposes:
            settled.add(counter)
            answers[counter] = (*answers.get(counter, ()), answer)
            asked[answer] = asked[counter]
    for answer, question in sorted(asked.items()):
        if answer not in settled:
            answers[question] = (*answers.get(question, ()), answer)
    return answers


def _upshots(
    lines: Sequence[Line], answers: dict[int, tuple[int, ...]], needs: dict[int, int]
) -> tuple[dict[int, tuple[int, int]], frozenset[int]]:
    """Return the statements that a question and its answer complete, and those that somebody agreed to."""
    completed: dict[int, tuple[int, int]] = {}
    agreed: set[int] = set()
    for position in range(1, len(lines)):
        before = _before(lines, position)
        if lines[position].agrees and lines[before].sender != lines[position].sender:
            agreed.add(before)
    for question, found in answers.items():
        if (about := needs.get(question)) is None or lines[about].cues.asks:
            continue
        if _BARE.match(lines[question].low) or (lines[question].proposes and lines[question].words <= SHORT):
            completed.setdefault(about, (question, found[0]))
        elif lines[found[0]].accepts:
            agreed.add(about)
    return completed, frozenset(agreed - {position for position in agreed if lines[position].cues.asks} - needs.keys())


def _before(lines: Sequence[Line], position: int) -> int:
    """Return the line that another one follows up, over thanks and laughter in between."""
    for before in range(position - 1, max(position - REACH, -1), -1):
        if not lines[before].small_talk:
            return before
    return position - 1


def _stands(line: Line, *, later: bool) -> bool:
    """Whether an answer says enough without its question.

    It is long, goes on after thanks or a yes, or says in full what its writer will do; of one that comes `later`,
    after other lines, it is enough that it says something of its own.
    """
    if line.words > BRIEF or (is_small_talk(sentences_of(line.low)[0]) and _goes_on(line)):
        return True
    if later:
        return bool(line.content and line.cues.reasons)
    return line.words >= WHOLE and bool(line.cues.reasons & PLEDGES) and bool(_I.search(line.low))


def _leans(lines: Sequence[Line], position: int) -> bool:
    """Whether a line says too little by itself."""
    line = lines[position]
    if _BARE.match(line.low):
        return True
    if line.words < SHORT or (line.words == SHORT and not _says_enough(line)):
        return True
    if _LEANS.match(line.low):
        return line.words <= 2 * BRIEF and not _goes_on(line)
    if REFERS.match(line.low):
        return line.words <= CLEAR
    if line.declines and "problem" not in line.cues.reasons:
        return line.words <= BRIEF
    if _JOINS.match(line.low):
        return line.words <= SHORT or not line.cues.reasons
    return lines[position - 1].sender == line.sender and _CONTINUES.match(line.low) is not None


def _goes_on(line: Line) -> bool:
    """Whether a later sentence of a line says something that stands alone."""
    return any(
        read_sentence(sentence).reasons and not (_LEANS.match(sentence) or REFERS.match(sentence))
        for sentence in sentences_of(line.low)[1:]
        if len(sentence.split()) > SHORT
    )


def _says_enough(line: Line) -> bool:
    """Whether a line of three words stands alone: "dinner at seven", "who brings plates?", but not "was it good?"."""
    return bool(line.cues.reasons - {"question"}) or (line.cues.asks and not _POINTS.search(line.low))
