"""When a worker has served for long enough: after so many requests, or so long a time, it should be started anew.

Python cannot promise that octets are gone from memory, so what might stay is bounded by how long a process lives. The
gateway picks the moment, when another worker holds every key (`gateway/plan.py`, rule 8). One that is withheld the word
for as long again, and has shared its keys, ends by itself: renewal must not depend on the good will of the gateway.
"""

import secrets
from collections.abc import Callable
from typing import Final

SPREAD: Final = 0.25  # taken off at random, so that workers started together are not all due together
PER_MILLE: Final = 1000


class Lifetime:
    """Counts one worker's life."""

    __slots__ = ("_began", "_part", "_requests", "_seconds", "_ticks", "served", "shared")

    def __init__(self, requests: int, seconds: float, ticks: Callable[[], float]) -> None:
        """`ticks` is a clock that only advances, in seconds."""
        self._part = 1 - SPREAD * secrets.randbelow(PER_MILLE) / PER_MILLE
        self._requests = requests
        self._seconds = seconds
        self._ticks = ticks
        self._began = ticks()
        self.served = 0
        """Requests that were opened."""
        self.shared = False
        """Whether another worker was given this one's keys, or gave it its own: then the pool outlives this process."""

    @property
    def due(self) -> bool:
        """Whether the worker wishes to be renewed."""
        return self._lived() >= self._part

    @property
    def overdue(self) -> bool:
        """Whether it has waited too long for the word, and others most likely have its keys."""
        return self.shared and self._lived() >= 1.0 + self._part

    def _lived(self) -> float:
        """Return how much of its life has passed; 1 is the whole of what was set."""
        return max(self.served / self._requests, (self._ticks() - self._began) / self._seconds)
