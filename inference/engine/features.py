"""What can be seen of a clause and of its place in the chat, as numbers: the evidence for it being worth showing.

`worth` has the weights, and the reason for each. Nothing here knows what a chat is about. Counts enter by their
logarithm: the second figure in a clause says less than the first.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from math import log, log1p
from typing import Final

from inference.engine.clauses import clauses_of, count_words
from inference.engine.cues import read_message
from inference.engine.language import ENGLISH, OTHERS, words_of
from inference.engine.lines import SIGNED, Line
from inference.engine.threads import Threads
from inference.engine.tongues.reading import Signs, guess, read
from seclude.tasks import Reason

REPLIES: Final = 4  # lines after one, among which are the first two of others
HEARD: Final = 8  # lines after a question in which it is taken up, or its asker gives thanks
SHARED: Final = 3  # lines in which a word stands that the chat has for its own

_FIGURE: Final = re.compile(r"\d+(?:[.:,]\d+)*")
_CLOCK: Final = re.compile(r"(?<![\d.,])\d{1,2}[.:h]\d{2}(?![\d,])")
_CAPITALS: Final = re.compile(r"\b[^\W\d_]{3,30}\b")
_NAMED: Final = re.compile(r"(?<=[\w,] )[A-ZÀ-ÖØ-Þ][a-zß-ÿ]{2,30}\b")
_LABEL: Final = re.compile(r"\W{0,3}[^\W\d_]{3,20}(?: [^\W\d_]{1,20}){0,2} ?:(?!/)")
_LAUGHS: Final = re.compile("[\U0001f602\U0001f605\U0001f606\U0001f923\U0001f480]")
_PICTURE: Final = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
_QUOTES: Final = re.compile('["\u201c\u201e\u00ab]')
# What was, or is imagined: a story in a chat about what will be.
_STORY: Final = re.compile(
    r"\b(?:last (?:year|time|week|month|summer|night)|used to|remember when|back then|when i was|years ago|"
    r"apparently|imagine|literally|honestly|obviously|like a|looks like|i swear|"
    r"letzte[sn]? (?:jahr|mal|woche)|damals|früher|el año pasado|la última vez|una vez|"
    r"ano passado|da última vez|uma vez|geçen (?:sene|yil|sefer|hafta)|eskiden|pichle? (?:saal|baar)|"
    r"pehle)\b",
    re.IGNORECASE,
)
# What asks for what all should know, or whether it was done.
_OPEN: Final = re.compile(
    r"\b(?:do we|did (?:we|any)|does any|has any|is any|know|should we|are we|shall we|what about|falta|"
    r"was ist mit|y el|y la|e o|e a|peki)\b",
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
    seen = _seen(texts)
    signs = [read(text, tongue) for text in seen]
    nods = {position for position, each in zip(positions, signs, strict=True) if each.agreement}
    pleased = nods | {position for position, each in zip(positions, signs, strict=True) if each.thanks}
    shares = _shares(lines)
    talkative = _talkative(lines)
    clauses: list[Clause] = []
    around: dict[str, float] = {}
    for at, (position, text, begins) in enumerate(texts):
        if not clauses or clauses[-1].position != position:
            around = _around(lines, nods, threads, position)
        reasons = read_message(seen[at]).reasons | _reasons(signs[at])
        asks = "question" in reasons or "?" in text
        features = around | _surface(text, signs[at], reasons, names)
        features["content"] = log1p(len(contents[at]))
        features["long writer"] = talkative[lines[position].sender]
        features["asked late"] = around["late"] if asks else 0.0
        features["asks"] = float(asks)
        features["a figure"] = float(position > 0 and _FIGURE.search(text) is not None)
        features["common words"] = log1p(sum(shares[word] >= SHARED for word in contents[at]))
        if asks:
            features |= _asked(lines, pleased, position, text, contents[at])
        features["said in reply"] = float(not asks and position in threads.asked)
        features["part"] = float(positions[at - 1 : at] == [position] or positions[at + 1 : at + 2] == [position])
        clauses.append(Clause(position, text, begins, count_words(text), contents[at], reasons, features))
    return clauses


def _seen(texts: Sequence[tuple[int, str, bool]]) -> list[str]:
    """Return what of each clause is read for signs: what lies within the beginning of its message."""
    seen: list[str] = []
    last, room = -1, 0
    for position, text, _ in texts:
        room = room if position == last else SIGNED
        seen.append(text[:room])
        last, room = position, max(0, room - len(text))
    return seen


def _asked(
    lines: Sequence[Line], pleased: Set[int], question: int, text: str, content: frozenset[str]
) -> dict[str, float]:
    """Return what becomes of a question; `pleased` are the lines that agree to something or give thanks."""
    heard = range(question + 1, min(question + 1 + HEARD, len(lines)))
    own = [at for at in heard if lines[at].sender == lines[question].sender]
    others = [at for at in heard if lines[at].sender != lines[question].sender]
    return {
        "asks about": log1p(len(content)),
        "asks at length": log1p(count_words(text)),
        "asks what is known": float(_OPEN.search(text) is not None),
        "thanked for": float(any(at in pleased for at in own[:2])),
        "told at length": log1p(lines[others[0]].words) if others else 0.0,
        "heard": len(others) / HEARD,
    }


def _shares(lines: Sequence[Line]) -> Counter[str]:
    """Return in how many lines each uncommon word stands."""
    return Counter(word for line in lines for word in line.content)


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
        "amounts": log1p(signs.amount),
        "dates": log1p(signs.date),
        "times": log1p(signs.time),
        "promises": log1p(signs.promise),
        "requests": log1p(signs.request),
        "questions": log1p(signs.question),
        "problems": log1p(signs.problem),
        "long words": sum(map(len, text.split())) / max(len(text.split()), 1),
        "ends asking": float(text.endswith("?")),
        "trails off": float("…" in text or "..." in text),
        "story": float(_STORY.search(text) is not None),
        "names": float(not names.isdisjoint(words_of(text))),
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
        "small talk": float(signs.small_talk),
    }


def _around(lines: Sequence[Line], nods: Set[int], threads: Threads, position: int) -> dict[str, float]:
    """Return what stands around a line, and what it does there; `nods` are lines, too."""
    line = lines[position]
    late = position / max(len(lines) - 1, 1)
    after = range(position + 1, min(position + 1 + REPLIES, len(lines)))
    replies = [at for at in after if lines[at].sender != line.sender]
    before = lines[position - 1] if position else None
    return {
        "late": late,
        "message": log1p(line.words),
        "goes on": float(before is not None and before.sender == line.sender),
        "accepts": float(line.accepts),
        "leans": float(position in threads.needs),
        "answered": float(position in threads.answers),
        "after a question": float(before is not None and before.sender != line.sender and "?" in before.text),
        "agreed to": float(any(at in nods or lines[at].agrees for at in replies[:2])),
    }


def _talkative(lines: Sequence[Line]) -> dict[str, float]:
    """Return of each sender how much longer their lines are than the chat's, as a logarithm."""
    lengths: dict[str, list[int]] = defaultdict(list)
    for line in lines:
        lengths[line.sender].append(line.words)
    usual = sum(line.words for line in lines) / max(len(lines), 1)
    return {sender: log((sum(own) / len(own) + 1) / (usual + 1)) for sender, own in lengths.items()}
