"""Which lines answer a question, or a call for somebody.

What answers is decided by place in the chat and by plain signs: the right kind of fact, a yes, somebody's own part.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from inference.engine.lines import BRIEF, OH, PLEDGES, REFERS, Line
from seclude.tasks import Reason

REACH: Final = 8  # messages after a question in which its answer is looked for: later ones are about something else
BESIDES: Final = 1  # uncommon words of a late answer to when, where or how much: with more it is about something else

# The writer's own part in something: an answer if it is about the question.
_OWN: Final = re.compile(
    OH + r"(?:(?:so|ok|okay|then|and|well)[, ]{1,2}){0,2}(?:i(?:'\w{1,2})?|can|could|will|ich|je|yo|io|eu|ik)\b|"
    r"\b(?:from|on) me\W*$"
)
_PROPOSES: Final = re.compile(OH + r"(?:i think|i'd|let'?s|we (?:should|could|can|will|are)|we'll)\b")
# No answer, though it is said in place of one.
_EVADES: Final = re.compile(
    OH + r"(?:not sure|no idea|idk|i don'?t know|dunno|good question|let me (?:check|see|think|ask)|maybe|who knows|"
    r"hard to say|(?:it |that )?depends|i'?ll (?:check|see|ask|think)|keine ahnung|je sais pas|no s[eé]|non so)\b"
)
_NEGATES: Final = re.compile(r"(?:n't|\bnot|\bnicht|\bkeine?|\bpas)\b(?! mind)")
# Asks for a person: everybody's own part answers.
_WHO: Final = re.compile(
    r"\b(?:who|some(?:one|body)|any(?:one|body)|one of (?:you|us)|which of you|volunteers?|"
    r"what .{0,20}every(?:one|body)|wer|jemand|quién|alguien|qualcuno|quem|alguém)\b"
)
# The same without a question mark.
_CALLS: Final = re.compile(
    r"\b(?:(?:some(?:one|body)|one of (?:us|you)) (?:has|have|needs?|should|must)|"
    r"(?:we|they) (?:still |also )?(?:need|are looking for|could use))\b"
)
_NUMBER: Final = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|noon|midnight|always|never|soon|now)\b"
)
# Of a question: what it asks for, and how a reply right after it gives that where the cues do not know it.
_WANTS: Final[tuple[tuple[re.Pattern[str], Reason, re.Pattern[str]], ...]] = (
    (
        re.compile(r"\b(?:when|what time|which day|what day|how (?:long|late)|wann|quand|cuándo|quando)\b"),
        "time",
        _NUMBER,
    ),
    (
        re.compile(r"\b(?:where|which (?:place|room)|wo|dónde|dove)\b"),
        "place",
        re.compile(r"^(?:at|in|on|near|by|behind|outside|im|am|bei|beim|auf|en|al|à|au|chez|da|no|na)\b"),
    ),
    (re.compile(r"\b(?:how (?:much|many)|wie ?viele?|combien|cuánt[oa]s?|quanto)\b"), "amount", _NUMBER),
)


@dataclass(frozen=True, slots=True)
class _Question:
    """What a question, or a call for somebody, wants."""

    line: Line
    kinds: frozenset[Reason]
    """When, where or how much: an answer has one of these."""
    who: bool
    call: bool


def wants(line: Line) -> bool:
    """Whether a line asks for more than an opinion."""
    question = _question(line)
    if question is None:
        return False
    return bool(question.kinds or _WHO.search(line.low) or (line.cues.asks and "request" in line.cues.reasons))


def _question(line: Line) -> _Question | None:
    if line.cues.asks:
        kinds = frozenset(reason for pattern, reason, _ in _WANTS if pattern.search(line.low))
        return _Question(line, kinds, _WHO.search(line.low) is not None, call=False)
    return _Question(line, frozenset(), who=True, call=True) if _CALLS.search(line.low) else None


def find_answers(lines: Sequence[Line], position: int) -> list[int]:
    """Return the lines of others that answer a line, as far as can be told."""
    question = _question(lines[position])
    found: list[int] = []
    if question is None:
        return found
    others: list[str] = []  # who has replied so far
    chatter = True  # nothing that matters was said in between
    for later in range(position + 1, min(position + 1 + REACH, len(lines))):
        line = lines[later]
        if line.sender == question.line.sender:
            if question.who and found and line.cues.reasons & PLEDGES and _OWN.search(line.low):
                found.append(later)  # the asker takes a part, too
                others.append(line.sender)
            elif found or line.cues.asks:
                break
            continue
        turn = len(found) == len(others) and line.sender not in others
        if _answers_one(line, question, prompt=not others, turn=turn, first=not found, chatter=chatter):
            found.append(later)
        elif line.cues.asks and found:
            break
        elif line.small_talk or (line.declines and not line.cues.asks):
            continue
        else:
            chatter = chatter and not line.cues.reasons
        others.append(line.sender)
    # "I did it last time" is no answer to a call for somebody if another one then takes it on.
    takes = (at for at, taker in enumerate(found) if lines[taker].accepts or lines[taker].cues.reasons & PLEDGES)
    return found[next(takes, 0) :] if question.who else found


def _answers_one(line: Line, question: _Question, *, prompt: bool, turn: bool, first: bool, chatter: bool) -> bool:
    """Whether a line can be an answer.

    It is `prompt` if nothing else came between, it comes in `turn` if all that came were answers of other people, it
    is `first` if there were none, and what came was `chatter` if nothing of it mattered.
    """
    reasons = line.cues.reasons
    if _EVADES.match(line.low) or (question.who and _refuses(line)):
        return False
    if not question.call and chatter and (line.accepts or line.agrees):
        return True
    same = bool(line.content & question.line.content)
    if question.kinds:
        if question.kinds & reasons:
            # One that comes late is about the same, or about nothing else: "17:40 I think".
            return prompt or same or len(line.content) <= BESIDES
        given = any(kind in question.kinds and reply.search(line.low) for _, kind, reply in _WANTS)
        return prompt and (line.proposes or (given and line.words <= BRIEF))
    if line.small_talk:
        return False
    if "promise" in reasons or (_OWN.search(line.low) and not line.cues.asks):
        return prompt or (turn and question.who) or same or REFERS.match(line.low) is not None
    if question.call:
        return False
    if line.cues.asks:
        return prompt and line.proposes
    return prompt or (turn and same and line.words <= BRIEF) or (first and _PROPOSES.match(line.low) is not None)


def _refuses(line: Line) -> bool:
    """Whether a line says no to a call for somebody."""
    return bool(line.declines or (_NEGATES.search(line.low) and not line.cues.reasons & PLEDGES))
