"""The worker's clock: the greatest time that was ever shown to it, and the machine's own seconds since then.

The host owns the wall clock. It is read at the start, and now and then again. A step back is refused, since it would
let keys live longer; so is one before the floor, which rises with what the witnesses of the ledger sign: a quorum that
says that it is at least this late is believed against any host. A step forward is followed when it is larger than a
clock's drift: a machine that was paused, or resumed from a copy, finds its keys expired and erases them. In between
only CLOCK_BOOTTIME advances it, which no setting of the time touches and which goes on while the machine sleeps.

Nothing here can tell a host that stops all clocks together from one that does nothing. What it gains is old keys that
live on: for new ones a worker needs checkpoints, whose time brings it back to ours.
"""

import time
from collections.abc import Callable
from typing import Final

TICKS: Final = 100  # per second, in /proc: USER_HZ is 100 on every architecture that Linux supports today
DRIFT_SECONDS: Final = 30.0  # more than a machine's own seconds are off between two looks; what a policy allows as skew
FORWARD: Final = "forward"
BACK: Final = "back"


class WorkerClock:
    """A time in seconds since 1970 that never goes back; call it to read it."""

    __slots__ = ("_floor", "_floor_mark", "_mark", "_seconds", "_time", "_wall")

    def __init__(
        self, wall: Callable[[], float] = time.time, seconds: Callable[[], float] | None = None, floor: float = 0.0
    ) -> None:
        """`wall` is the host's clock, `seconds` one that only advances; no time before `floor` is ever believed."""
        self._wall = wall
        self._seconds = seconds or boot_seconds
        self._mark = self._seconds()
        self._time = max(floor, wall())
        self._floor, self._floor_mark = floor, self._mark

    def __call__(self) -> float:
        """Return the time now."""
        return self._time + max(0.0, self._seconds() - self._mark)

    def look(self) -> str | None:
        """Look at the host's clock again; return FORWARD where it was followed, BACK where it was refused."""
        difference = self._wall() - self()
        if difference > DRIFT_SECONDS:
            self._move(self() + difference)
            return FORWARD
        return BACK if difference < -DRIFT_SECONDS else None

    def raise_floor(self, moment: float) -> None:
        """Take in that it is at least this late, by whatever vouches for it: cosignatures that were verified."""
        if moment > self._vouched():
            self._floor, self._floor_mark = moment, self._seconds()
        self._move(moment)

    def is_vouched_for(self) -> bool:
        """Whether the time is no further on than what was vouched for and the machine's own seconds since, but drift.

        Where it is not, only the host's clock has said that it is so late.
        """
        return self() - self._vouched() <= DRIFT_SECONDS

    def _vouched(self) -> float:
        return self._floor + max(0.0, self._seconds() - self._floor_mark)

    def _move(self, moment: float) -> None:
        """Go on to a moment; never back."""
        now, mark = self(), self._seconds()
        if moment > now:
            self._time, self._mark = moment, mark


def boot_seconds() -> float:
    """Return the seconds since the machine was started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def process_started() -> float:
    """Return when this process began, in seconds since 1970, a hundredth of a second early at most (proc(5))."""
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()  # the name before it may hold anything
    return time.time() - boot_seconds() + int(fields[19]) / TICKS
