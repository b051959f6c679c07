"""Highlights: the messages of a chat that matter, in their writers' own words and in the order of the chat.

Three things speak for a message: cues on its surface (decisions, times, promises, open questions), its place in the
middle of what the chat is about (mean similarity of its embedding to the others), and that nothing chosen so far says
the same (maximal marginal relevance; Carbonell and Goldstein, SIGIR 1998). Every word of the result is the chat's.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.engine.cues import read_message, read_sentence, score, sentences_of
from inference.engine.encoder import Encoder
from inference.engine.language import looks_english, words_of
from inference.engine.lines import PLEDGES, Line, read_line
from inference.engine.threads import Threads, find_threads
from seclude.tasks import Highlight, Message, Reason, SummarizeRequest, SummarizeResponse

MAX_ENCODED: Final = 300  # messages; about a second of one core
BLOCKS: Final = 30  # parts of a long chat, each of which sends its best messages
DEFAULT_HIGHLIGHTS: Final = 12  # what fits a phone's screen or two
SHARE: Final = 5  # one highlight for so many messages
EXCERPT: Final = 400  # characters; a longer message is cut to its sentences with cues
CENTRALITY: Final = 0.3  # weight of being typical, against the cues
NOVELTY: Final = 0.35  # weight of saying something new, against being relevant
COMPANY: Final = 0.05  # what each further line that must be shown along costs
FULL: Final = 8  # words of a message, with what it needs, that says who does what; shorter ones say less
UNMET: Final = 0.3  # what it adds to a question for somebody or something that it got no answer
SETTLED: Final = 0.75  # what the cues of an answered question are worth: the answer says the rest
AGAIN: Final = 0.6  # similarity above which two messages of a person are about the same; others have about 0.2
LATER: Final = 0.04  # bonus of the last line over the first: of two that say the same, the later one counts
ENOUGH: Final = 0.25  # relevance below which a message is not worth a highlight, unless nothing else is there
ENOUGH_BY_SIMILARITY: Final = 0.1  # the same where most cues are not known, as in another language

NOTHING: Final = "nothing to highlight"
NOT_ENGLISH: Final = "not English as far as can be told: only numbers, times, amounts and questions were recognised"

# What messengers write in place of a message.
_PLACEHOLDER: Final = re.compile(
    r"^\W*(?:<[^>]{1,40}>|(?:image|video|audio|gif|sticker|document|contact card|media) omitted|"
    r"(?:this message was|you) deleted(?: this message)?|missed (?:voice|video|group)(?: voice| video)? call|null|"
    r"messages and calls are end-to-end encrypted.{0,200})\W*$",
    re.IGNORECASE,
)
# Directions that would reorder what stands around them (CVE-2021-42574), and control characters that terminals obey.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069]")


def summarize(
    request: SummarizeRequest, encoder: Encoder, chosen: Callable[[Highlight], None] = lambda _: None
) -> SummarizeResponse:
    """Choose the highlights of a chat; `chosen` hears of each when it is, the most telling first."""
    messages = request.messages
    lines = [
        read_line(index, message.sender, message.text)
        for index, message in enumerate(messages)
        if not _PLACEHOLDER.match(message.text) and any(character.isalnum() for character in message.text)
    ]
    units = _units(lines, find_threads(lines))
    vectors = encoder.embed([lines[unit.head].text for unit in units])
    budget = request.max_highlights or default_highlights(len(lines))
    english = looks_english(word for line in lines for word in words_of(line.text))
    shown: dict[int, Highlight] = {}
    for position, why in _choose(units, vectors, budget, ENOUGH if english else ENOUGH_BY_SIMILARITY):
        shown[position] = _highlight(messages[lines[position].index], lines[position], why)
        chosen(shown[position])
    highlights = tuple(shown[position] for position in sorted(shown))
    return SummarizeResponse(
        kind="highlights",
        text=_text(highlights, messages),
        highlights=highlights,
        messages=len(messages),
        considered=len(lines),
        encoded=len(units),
        model=encoder.name,
        note=NOTHING if not highlights else None if english else NOT_ENGLISH,
    )


def default_highlights(lines: int) -> int:
    """Return how many highlights a chat gets: a fifth, and room for a question and two answers."""
    return min(DEFAULT_HIGHLIGHTS, lines // SHARE + 3, max(lines, 1))


@dataclass(frozen=True, slots=True)
class _Unit:
    """A line that can be a highlight, by its position, and what comes with it."""

    head: int
    line: Line
    needed: tuple[int, ...]
    """What must be shown with it, and itself."""
    wanted: tuple[int, ...]
    """The same, the answers, and what completes it."""
    merit: float
    fullness: float


def _units(lines: Sequence[Line], threads: Threads) -> list[_Unit]:
    """Return what can be chosen, at most `MAX_ENCODED`, from everywhere in the chat."""
    latest = {(line.sender, line.low): position for position, line in enumerate(lines)}
    units = []
    for position, line in enumerate(lines):
        needed = threads.chain_of(position)
        if needed is None or line.small_talk:
            continue
        if len(needed) > 1 or latest[line.sender, line.low] == position:  # of what somebody repeats, the last time
            fullness = min(1.0, sum(lines[member].words for member in needed) / FULL)
            merit = _merit(lines, threads, position) * (0.6 + 0.4 * fullness)
            units.append(_Unit(position, line, needed, threads.with_answers(needed), merit, fullness))
    if len(units) <= MAX_ENCODED:
        return units
    by_merit = sorted(units, key=lambda unit: -unit.merit)
    room = dict.fromkeys(range(BLOCKS), MAX_ENCODED // BLOCKS)
    kept = []
    for unit in by_merit:
        block = unit.head * BLOCKS // len(lines)
        if room[block]:
            room[block] -= 1
            kept.append(unit)
    return sorted(kept, key=lambda unit: unit.head)


def _merit(lines: Sequence[Line], threads: Threads, position: int) -> float:
    """Return how much the cues of a line say, 0 to 1.

    A question and its answer count together, what somebody takes on counts as what it was asked for, and what nobody
    has answered or taken on counts more.
    """
    reasons = lines[position].cues.reasons
    question = threads.asked.get(position)
    asked = lines[question].cues.reasons - {"question", "request"} if question is not None else frozenset()
    if lines[position].cues.asks and position in threads.answers:
        return max(SETTLED * score(_told(lines, threads, position)), score(lines[position].cues.stated - {"request"}))
    if threads.question_of(position) is not None:
        return max(score(reasons), SETTLED * score(asked))
    if position in threads.unmet:
        return 1 - (1 - score(reasons | {"question"})) * (1 - UNMET)
    if position in threads.agreed:
        return score(reasons | {"decision"})
    return score(reasons | asked if reasons & PLEDGES else reasons)


def _told(lines: Sequence[Line], threads: Threads, question: int) -> set[Reason]:
    """Return what a question and those of its answers that cannot stand without it tell together."""
    asked = lines[question].cues.reasons
    told = set(asked - {"question", "request"})
    for answer in threads.answers[question]:
        if threads.question_of(answer) == question:
            told |= lines[answer].cues.reasons - {"question"}
            if "request" in asked and lines[answer].accepts:
                told.add("promise")
    return told


def _choose(
    units: Sequence[_Unit], vectors: NDArray[np.float32], budget: int, enough: float
) -> Iterator[tuple[int, Reason]]:
    """Yield the positions to show as they are chosen, each with the reason that counts if it has no cue of its own."""
    if not units:
        return
    similar = np.clip(vectors @ vectors.T, 0, 1)
    typical = _centrality(similar) * np.array([unit.fullness for unit in units])
    relevance = (1 - CENTRALITY) * np.array([unit.merit for unit in units]) + CENTRALITY * typical
    relevance += LATER * np.linspace(0, 1, len(units))
    relevance *= 1 - _superseded(units, similar)
    redundancy = np.zeros(len(units))
    shown: dict[int, Reason] = {}
    while True:
        room = budget - len(shown)
        fresh = {i: _fresh(unit, shown, room, budget) for i, unit in enumerate(units) if unit.head not in shown}
        value = {
            i: float(relevance[i] - NOVELTY * redundancy[i] - COMPANY * (len(lines) - 1))
            for i, lines in fresh.items()
            if lines
        }
        best = max(value, key=value.__getitem__, default=None)
        if best is None or (shown and relevance[best] < enough):
            return
        why: Reason = "central" if len(units[best].wanted) == 1 else "context"
        shown.update(dict.fromkeys(fresh[best], why))
        yield from ((position, why) for position in fresh[best])
        redundancy = np.maximum(redundancy, similar[best])


def _superseded(units: Sequence[_Unit], similar: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how much of each the same person replaces later: a plan by a fact, or what was open by a decision."""
    replaced = np.zeros(len(units))
    for i, unit in enumerate(units):
        for j in range(i + 1, len(units)):
            if units[j].line.sender == unit.line.sender and similar[i, j] > AGAIN:
                before, after = unit.line.cues.reasons, units[j].line.cues.reasons
                if ("promise" in before - after and after) or "decision" in after - before:
                    replaced[i] = max(replaced[i], similar[i, j])
    return replaced


def _fresh(unit: _Unit, shown: Mapping[int, Reason], room: int, budget: int) -> list[int]:
    """Return the lines that choosing a unit would add: it and all its answers, or nothing if there is no room left.

    Where the whole budget cannot hold them, as many of the answers as there is room for.
    """
    fresh = [position for position in unit.wanted if position not in shown]
    if len(fresh) <= room:
        return fresh
    needed = [position for position in unit.needed if position not in shown]
    if len(unit.wanted) <= budget or len(needed) > room:
        return []
    answers = [position for position in fresh if position not in needed]
    return sorted(needed + answers[: room - len(needed)])


def _centrality(similar: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how similar each is to all others on average, scaled to 0 (least) and 1 (most)."""
    if len(similar) < 3:
        return np.ones(len(similar))
    mean = (similar.sum(axis=1, dtype=np.float64) - 1) / (len(similar) - 1)
    scaled: NDArray[np.float64] = (mean - mean.min()) / max(np.ptp(mean), 1e-6)
    return scaled


def _highlight(message: Message, line: Line, why: Reason) -> Highlight:
    text = excerpt(_clean(message.text))
    reasons = sorted(read_message(text).reasons) or [why]
    return Highlight(line.index, _clean(message.sender), message.time, text, tuple(reasons))


def _clean(text: str) -> str:
    """Return a text on one line, without what could pass for another line or another order of words."""
    return " ".join(_UNPRINTABLE.sub("", text).split())


def excerpt(text: str) -> str:
    """Return a text, or of a long one its sentences with the most cues, with "…" for what is left out."""
    if len(text) <= EXCERPT:
        return text
    sentences = sentences_of(text)
    cues = [read_sentence(sentence) for sentence in sentences]
    kept: set[int] = set()
    room = EXCERPT
    for index in sorted(range(len(sentences)), key=lambda index: (not cues[index].asks, -cues[index].score)):
        if not kept or (cues[index].reasons and len(sentences[index]) < room):
            kept.add(index)
            room -= len(sentences[index]) + 1
    parts: list[str] = []
    for index, sentence in enumerate(sentences):
        if index in kept:
            parts.append(_cut(sentence))
        elif not parts or parts[-1] != "…":
            parts.append("…")
    return " ".join(parts)


def _cut(sentence: str) -> str:
    """Return a sentence, ended between two words if it is longer than an excerpt."""
    if len(sentence) <= EXCERPT:
        return sentence
    head = sentence[:EXCERPT]
    return (head.rpartition(" ")[0] or head) + " …"


def _text(highlights: Sequence[Highlight], messages: Sequence[Message]) -> str:
    """Return the highlights as lines, under their dates if the chat has several: "tomorrow" is read with its day."""
    days = {message.time.date() for message in messages if message.time is not None}
    lines: list[str] = []
    day = None
    for item in highlights:
        if len(days) > 1 and item.time is not None and item.time.date() != day:
            day = item.time.date()
            lines.append(f"{day.isoformat()}:")
        lines.append(f"{item.sender}: {item.text}")
    return "\n".join(lines)
