"""Batches: requests wait for one another and leave in an order of their own, so that times do not tell whose is whose.

Off by default, since it costs every request up to `delay_milliseconds`. Who watches both sides of a relay sees when a
request comes in and when one goes out; mixed, all that left together could each be any of those that came. A batch
protects no better than the number of people in it: where one person sends them all, it protects nobody.
"""

import asyncio
from collections.abc import Callable
from secrets import SystemRandom
from typing import Annotated, Final

from msgspec import Meta, Struct

MAX_DELAY: Final = 60_000  # milliseconds; half of what a device waits for an answer


class MixingLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """When a batch leaves: when it is full, or when its first request has waited long enough."""

    delay_milliseconds: Annotated[int, Meta(ge=0, le=MAX_DELAY, description="0: nothing waits")] = 0
    batch: Annotated[int, Meta(ge=2, le=1024, description="requests that leave together at the most")] = 64


class Mixer:
    """Holds requests until their batch leaves; one for each process of a relay."""

    def __init__(self, limits: MixingLimits) -> None:
        self.last_batch = 0
        """How many requests left together last."""
        self._seconds = limits.delay_milliseconds / 1000
        self._size = limits.batch
        self._waiting: dict[object, Callable[[], None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many requests wait now."""
        return len(self._waiting)

    def enter(self, go: Callable[[], None]) -> Callable[[], None]:
        """Call `go` when its batch leaves; returns what takes it back."""
        key = object()
        self._waiting[key] = go
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._leave)
        if len(self._waiting) >= self._size:
            self._leave()
        return lambda: self._take_back(key)

    def _take_back(self, key: object) -> None:
        self._waiting.pop(key, None)
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = list(self._waiting.values())
        self._waiting.clear()
        self.last_batch = len(batch)
        SystemRandom().shuffle(batch)
        for go in batch:
            go()
