"""What a long chat's highlights are about: which of them belong together.

Lines that lean on one another, and questions with their answers, are one topic from the start. Then the two topics that
are most alike become one, by the mean similarity of their lines and by how near they stand in the chat, until none are
alike enough. Of equal ones, the earlier: the same chat has always the same topics.
"""

from collections.abc import Mapping, Sequence
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


def topics_of(shown: Sequence[int], vectors: Mapping[int, Matrix], threads: Threads) -> dict[int, int]:
    """Return the topic of each shown line, from 0, in the order of their first lines.

    A line without a vector belongs to what it leans on, or is alone.
    """
    topics = _bound(sorted(shown), threads)
    totals = np.stack([_total(topic, vectors) for topic in topics]) if topics else np.zeros((0, 1), dtype=np.float32)
    sums = totals @ totals.T  # of the similarities of all lines of two topics
    gaps = np.array([[_gap(one, other) for other in topics] for one in topics], dtype=np.float32)
    while len(topics) > 1:
        sizes = np.array([len(topic) for topic in topics], dtype=np.float32)
        alike = sums / np.outer(sizes, sizes) + BESIDE * np.exp(-(gaps - 1) / REACH)
        alike[np.tril_indices(len(topics))] = -np.inf
        i, j = divmod(int(alike.argmax()), len(topics))  # of equal ones the first
        if alike[i, j] < ALIKE and len(topics) <= MOST:
            break
        topics[i] += topics.pop(j)
        sums = _joined(sums, i, j, np.add)
        gaps = _joined(gaps, i, j, np.minimum)
    ordered = sorted(map(min, topics))
    return {position: ordered.index(min(topic)) for topic in topics for position in topic}


def _bound(shown: Sequence[int], threads: Threads) -> list[tuple[int, ...]]:
    """Return the shown lines in units of what is not read apart."""
    unit = {position: position for position in shown}
    for position in shown:
        for other in (threads.needs.get(position), threads.asked.get(position)):
            if other in unit:
                old, new = unit[position], unit[other]
                unit = {each: new if its == old else its for each, its in unit.items()}
    return [tuple(each for each in shown if unit[each] == its) for its in dict.fromkeys(unit.values())]


def _total(unit: tuple[int, ...], vectors: Mapping[int, Matrix]) -> Matrix:
    """Return the sum of the embeddings of a unit's lines."""
    known = [vectors[position] for position in unit if position in vectors]
    width = len(next(iter(vectors.values()))) if vectors else 1
    return np.sum(known, axis=0) if known else np.zeros(width, dtype=np.float32)


def _gap(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Return how far apart two units stand, where they are nearest."""
    return min(abs(a - b) for a in one for b in other)


def _joined(pairs: Matrix, i: int, j: int, join: np.ufunc) -> Matrix:
    """Return a matrix of pairs in which the later of two has become part of the earlier."""
    pairs[i] = join(pairs[i], pairs[j])
    pairs[:, i] = join(pairs[:, i], pairs[:, j])
    kept: Matrix = np.delete(np.delete(pairs, j, axis=0), j, axis=1)
    return kept
