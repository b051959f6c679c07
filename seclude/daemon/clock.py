"""Ends what takes too long: one timer for all connections of a server, however many there are.

A connection only writes down until when its peer has time. That costs an assignment, where a timer of its own would
cost more than everything else that is done for a small request. All are looked at once a tick.
"""

import asyncio
from typing import Final, Protocol

NEVER: Final = float("inf")
FINEST: Final = 0.01  # seconds; limits in tests are tenths of a second
COARSEST: Final = 0.1  # seconds, at 60 ns a connection and look; what ends together ends in small lots


class Timed(Protocol):
    """Something that must not last for ever."""

    deadline: float
    """Until when it may go on as it is, by the loop's clock."""

    def expire(self, now: float) -> None:
        """End it, or set a later deadline."""
        ...


class Clock:
    """Looks after everything that was added until it is discarded."""

    __slots__ = ("_loop", "_tick", "_timed", "_timer", "now")

    def __init__(self, shortest: float) -> None:
        """`shortest` is the shortest limit that it is used for, in seconds; it is kept to an eighth."""
        self._loop = asyncio.get_running_loop()
        self.now: Final = self._loop.time
        """Returns the loop's time in seconds."""
        self._tick = min(max(shortest / 8, FINEST), COARSEST)
        self._timed: set[Timed] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, timed: Timed) -> None:
        """Look after something from now on."""
        self._timed.add(timed)
        if self._timer is None:
            self._timer = self._loop.call_later(self._tick, self._look)

    def discard(self, timed: Timed) -> None:
        """Look after it no more."""
        self._timed.discard(timed)

    def _look(self) -> None:
        now = self._loop.time()
        try:
            for timed in [each for each in self._timed if each.deadline <= now]:
                timed.expire(now)
        finally:  # one that fails must not take from all others the end of their time
            self._timer = self._loop.call_later(self._tick, self._look) if self._timed else None
