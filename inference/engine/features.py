"""What can be seen of a clause and of its place in the chat, as numbers: the evidence for it being worth showing.

`worth` has the weights, and the reason for each. Nothing here knows what a chat is about. Counts enter by their
logarithm: the second figure in a clause says less than the first.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from math import log, log1p
from typing import Final

from inference.engine.clauses import clauses_of, count_words
from inference.engine.cues import read_message, score
from inference.engine.language import ENGLISH, OTHERS, words_of
from inference.engine.lines import PLEDGES, Line
from inference.engine.threads import Threads
from inference.engine.tongues.reading import Signs, guess, read
from seclude.tasks import Reason

REPLIES: Final = 4  # lines after one in which others react to it
FEW: Final = 3  # words of a reply that is a reaction and no more
UNMET: Final = 0.3  # what it adds to a question for somebody or something that it got no answer
SETTLED: Final = 0.75  # what the cues of an answered question are worth: the answer says the rest
CLOSING: Final = 0.85  # part of the chat after which a question has hardly had time to be answered

_FIGURE: Final = re.compile(r"\d+(?:[.:,]\d+)*")
_CLOCK: Final = re.compile(r"(?<![\d.,])\d{1,2}[.:h]\d{2}(?![\d,])")
_CAPITALS: Final = re.compile(r"\b[^\W\d_]{3,30}\b")
_NAMED: Final = re.compile(r"(?<=[\w,] )[A-ZÀ-ÖØ-Þ][a-zß-ÿ]{2,30}\b")
_LABEL: Final = re.compile(r"\W{0,3}[^\W\d_]{3,20}(?: [^\W\d_]{1,20}){0,2} ?:(?!/)")
_LAUGHS: Final = re.compile("[\U0001f602\U0001f605\U0001f606\U0001f923\U0001f480]")
_PICTURE: Final = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
_QUOTES: Final = re.compile('["\u201c\u201e\u00ab]')
_JOINS: Final = re.compile(
    r"\W{0,3}(?:and|so|but|because|cos|cuz|since|which|und|aber|weil|denn|y|pero|porque|e|mas|ve|ama|aur|lekin)\b",
    re.IGNORECASE,
)
_COMMON: Final = ENGLISH | OTHERS


@dataclass(frozen=True, slots=True, repr=False)
class Clause:
    """A piece of a line, given by the line's position."""

    position: int
    text: str
    begins: bool
    """Whether it begins a sentence; the rest of one is not shown without its beginning."""
    words: int
    content: frozenset[str]
    """Its uncommon words and its figures: what it tells."""
    reasons: frozenset[Reason]
    features: Mapping[str, float]
    """By their names; those left out are 0."""


def read_clauses(lines: Sequence[Line], threads: Threads) -> list[Clause]:
    """Return the clauses of all lines, in order."""
    tongue = guess(line.text for line in lines)
    names = {word for sender in {line.sender for line in lines} for word in words_of(sender)}
    texts = [(position, *piece) for position, line in enumerate(lines) for piece in clauses_of(line.text)]
    contents = [_content(text) for _, text, _ in texts]
    positions = [position for position, _, _ in texts]
    signs = [read(text, tongue) for _, text, _ in texts]
    nods = {position for position, each in zip(positions, signs, strict=True) if each.agreement}
    laughs = {position for position, each in zip(positions, signs, strict=True) if each.laughter}
    told = _tell(lines, positions, contents)
    opening = next((position for position, line in enumerate(lines) if not line.small_talk), 0)
    clauses: list[Clause] = []
    around: dict[str, float] = {}
    for at, (position, text, begins) in enumerate(texts):
        if not clauses or clauses[-1].position != position:
            around = _around(lines, nods, laughs, threads, position)
        reasons = read_message(text).reasons | _reasons(signs[at])
        asks = "question" in reasons or "?" in text
        features = around | _surface(text, signs[at], reasons, names) | told[at]
        features["first"] = float(position == opening)
        features["asked late"] = around["late"] if asks else 0.0
        features["left open"] = float(asks and around["late"] > CLOSING and position not in threads.answers)
        features["said in reply"] = float(not asks and position in threads.asked)
        features["part"] = float(positions[at - 1 : at] == [position] or positions[at + 1 : at + 2] == [position])
        clauses.append(Clause(position, text, begins, count_words(text), contents[at], reasons, features))
    return clauses


def _reasons(signs: Signs) -> frozenset[Reason]:
    found: dict[Reason, int] = {
        "decision": signs.decision + signs.change,
        "promise": signs.promise,
        "request": signs.request,
        "question": signs.question,
        "problem": signs.problem,
        "time": signs.time + signs.date,
        "place": signs.place,
        "amount": signs.amount,
    }
    return frozenset(reason for reason, count in found.items() if count)


def _content(text: str) -> frozenset[str]:
    words = (word.removesuffix("s") for word in words_of(text) if len(word) > 2 and word not in _COMMON)
    return frozenset((*words, *_FIGURE.findall(text)))


def _surface(text: str, signs: Signs, reasons: frozenset[Reason], names: set[str]) -> dict[str, float]:
    """Return what stands in the clause itself."""
    words = count_words(text)
    figures = len(_FIGURE.findall(text))
    shouted = [word for word in _CAPITALS.findall(text) if word.isupper() and word.lower() not in names]
    named = [word for word in _NAMED.findall(text) if word.lower() not in names]
    return {
        **dict.fromkeys(reasons, 1.0),
        "time": float("time" in reasons or _CLOCK.search(text) is not None),
        "figures": float(figures > 1),
        "clock": float(_CLOCK.search(text) is not None),
        "words": log1p(words),
        "shouted": log1p(len(shouted)),
        "stressed": float("!!" in text),
        "asked twice": float("??" in text),
        "labelled": float(_LABEL.match(text) is not None),
        "named": log1p(len(named)),
        "quotes": float(_QUOTES.search(text) is not None),
        "laughs": float(_LAUGHS.search(text) is not None or signs.laughter > 0),
        "picture": float(_PICTURE.search(text) is not None),
        "thanks": float(signs.thanks > 0),
        "greets": float(signs.greeting > 0),
        "small talk": float(signs.small_talk),
        "joins on": float(_JOINS.match(text) is not None),
    }


def _around(
    lines: Sequence[Line], nods: Set[int], laughs: Set[int], threads: Threads, position: int
) -> dict[str, float]:
    """Return what stands around a line, and what it does there; `nods` and `laughs` are lines, too."""
    line = lines[position]
    late = position / max(len(lines) - 1, 1)
    after = range(position + 1, min(position + 1 + REPLIES, len(lines)))
    replies = [at for at in after if lines[at].sender != line.sender]
    before = lines[position - 1] if position else None
    return {
        "late": late,
        "merit": _merit(lines, threads, position),
        "last": float(position >= len(lines) - max(3, 0.06 * len(lines))),
        "message": log1p(line.words),
        "accepts": float(line.accepts),
        "takes on": float(position in threads.asked and bool(line.cues.reasons & PLEDGES)),
        "leans": float(position in threads.needs),
        "answered": float(position in threads.answers),
        "after a question": float(before is not None and before.sender != line.sender and "?" in before.text),
        "agreed to": float(any(at in nods or lines[at].agrees for at in replies[:2])),
        "laughed at": float(any(at in laughs or _LAUGHS.search(lines[at].text) for at in replies[:2])),
        "reactions": log1p(len({lines[at].sender for at in replies if lines[at].words <= FEW})),
    }


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


def _tell(
    lines: Sequence[Line], positions: Sequence[int], contents: Sequence[frozenset[str]]
) -> list[dict[str, float]]:
    """Return, for every clause, what its uncommon words say in this chat, and how much its writer usually says."""
    said: dict[str, list[int]] = defaultdict(list)
    for at, content in enumerate(contents):
        for word in content:
            said[word].append(at)
    shared = {word for word, where in said.items() if len({lines[positions[at]].sender for at in where}) > 1}
    lengths: dict[str, list[int]] = defaultdict(list)
    for line in lines:
        lengths[line.sender].append(line.words)
    usual = sum(line.words for line in lines) / max(len(lines), 1)
    told = []
    for at, content in enumerate(contents):
        own = lengths[lines[positions[at]].sender]
        told.append(
            {
                "content": log1p(len(content)),
                "said once": log1p(sum(len(said[word]) == 1 for word in content)),
                "brings up": log1p(sum(word in shared and said[word][0] == at for word in content)),
                "long writer": log((sum(own) / len(own) + 1) / (usual + 1)),
            }
        )
    return told
