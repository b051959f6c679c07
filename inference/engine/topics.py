"""What a long chat's highlights are about: which of them belong together.

Lines that lean on one another, and questions with their answers, are one topic from the start. Then the two topics that
are most alike become one, by the mean similarity of their lines and by how near they stand in the chat, until none are
alike enough. Of equal ones, the earlier: the same chat has always the same topics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.engine.threads import Threads

LONG: Final = 60  # messages worth showing; a shorter chat is read through at once
ALIKE: Final = 0.35  # similarity of two topics that become one; lines about different things have about 0.2
BESIDE: Final = 0.25  # what standing side by side adds to it
REACH: Final = 6.0  # lines after which that has lost two thirds
MOST: Final = 8  # topics: with more, a heading each would tell nothing

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Topic:
    positions: tuple[int, ...]
    total: Matrix
    """The sum of its lines' embeddings."""


def topics_of(shown: Sequence[int], vectors: Mapping[int, Matrix], threads: Threads) -> dict[int, int]:
    """Return the topic of each shown line, from 0, in the order of their first lines.

    A line without a vector belongs to what it leans on, or is alone.
    """
    topics = [_start(unit, vectors) for unit in _bound(sorted(shown), threads)]
    while len(topics) > 1:
        pairs = [(i, j) for i in range(len(topics)) for j in range(i + 1, len(topics))]
        likeness = [_alike(topics[i], topics[j]) for i, j in pairs]
        best = max(range(len(pairs)), key=lambda at: (likeness[at], -at))
        if likeness[best] < ALIKE and len(topics) <= MOST:
            break
        i, j = pairs[best]
        joined = _Topic(topics[i].positions + topics[j].positions, topics[i].total + topics[j].total)
        topics = [joined if at == i else topic for at, topic in enumerate(topics) if at != j]
    ordered = sorted(min(topic.positions) for topic in topics)
    return {position: ordered.index(min(topic.positions)) for topic in topics for position in topic.positions}


def _bound(shown: Sequence[int], threads: Threads) -> list[tuple[int, ...]]:
    """Return the shown lines in units of what is not read apart."""
    unit = {position: position for position in shown}
    for position in shown:
        for other in (threads.needs.get(position), threads.asked.get(position)):
            if other in unit:
                old, new = unit[position], unit[other]
                unit = {each: new if its == old else its for each, its in unit.items()}
    return [tuple(each for each in shown if unit[each] == its) for its in dict.fromkeys(unit.values())]


def _start(unit: tuple[int, ...], vectors: Mapping[int, Matrix]) -> _Topic:
    known = [vectors[position] for position in unit if position in vectors]
    width = len(next(iter(vectors.values()))) if vectors else 1
    return _Topic(unit, np.sum(known, axis=0) if known else np.zeros(width, dtype=np.float32))


def _alike(one: _Topic, other: _Topic) -> float:
    gap = min(abs(a - b) for a in one.positions for b in other.positions)
    mean = float(one.total @ other.total) / (len(one.positions) * len(other.positions))
    return mean + BESIDE * exp(-(gap - 1) / REACH)
