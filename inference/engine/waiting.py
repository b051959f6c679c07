"""How long somebody who comes now would wait for a slot and for a first token, foretold from what was measured.

Four means over all requests, and nothing of any of them: what a piece of a prompt takes, from one turn to the next,
and what a token takes, while every slot is taken, so that all that others do meanwhile is in them; what a piece takes
by itself; and how much of what they are allowed to write requests do write. They follow the load, a little late.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FOLLOWED: Final = 0.1  # how much one measurement moves a mean: some twenty make it another one


@dataclass(frozen=True, slots=True)
class Work:
    """What is left of one request."""

    pieces: int
    """Of its prompt."""
    tokens: int
    """That it may still write."""


class Forecast:
    """Foretells for an engine with so many slots, where reading prompts gets `share` of the time while others write."""

    def __init__(self, slots: int, share: float, piece_seconds: float, step_seconds: float) -> None:
        """Begins with how long a piece of a prompt and a step of all slots take by themselves."""
        self._slots, self._share = slots, share
        self._piece = piece_seconds
        self._turn = piece_seconds / share
        self._token = step_seconds / (1 - share)
        self._written = 1.0

    def saw_piece(self, seconds: float) -> None:
        """Take in how long the decoder took for a piece of a prompt."""
        self._piece = _follow(self._piece, seconds)

    def saw_prompt(self, pieces: int, seconds: float) -> None:
        """Take in how long a prompt took, from its slot to its first token, while every slot was taken."""
        self._turn = _follow(self._turn, seconds / pieces)

    def saw_token(self, seconds: float) -> None:
        """Take in the time from one token to the next, while every slot was taken."""
        self._token = _follow(self._token, seconds)

    def saw_end(self, tokens: int, most: int) -> None:
        """Take in how much of what it was allowed to write a request wrote."""
        self._written = _follow(self._written, tokens / most)

    def seconds(self, seated: Sequence[Work], line: Sequence[Work]) -> float:
        """Return when the next one would have a slot, behind those that have one and those in line."""
        ends = [0.0] * (self._slots - len(seated)) + [self._left(work) for work in seated]
        heapq.heapify(ends)
        for work in line:
            heapq.heapreplace(ends, ends[0] + self._left(work))
        return ends[0]

    def reading(self, pieces: int, others: Sequence[Work]) -> float:
        """Return how long a prompt of so many pieces takes to read, in turns with the others, while some write.

        Of each of the others no more is read meanwhile than of this one.
        """
        turns = pieces + sum(min(pieces, other.pieces) for other in others)
        return turns * self._piece / self._share

    def _left(self, work: Work) -> float:
        return work.pieces * self._turn + work.tokens * self._written * self._token


def _follow(mean: float, measured: float) -> float:
    return mean + FOLLOWED * (measured - mean)
