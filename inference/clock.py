"""The worker's clock: what the wall said once, and the machine's own seconds since then.

The host owns the wall clock. A worker that asked it again and again could be made to erase its keys, or to keep them,
by one wrong reading; so it is read at the start and then only advanced by CLOCK_BOOTTIME, which no setting of the time
touches and which goes on while the machine sleeps.
"""

import time
from collections.abc import Callable
from typing import Final

TICKS: Final = 100  # per second, in /proc: USER_HZ is 100 on every architecture that Linux supports today


def steady_clock() -> Callable[[], float]:
    """Return a clock in seconds since 1970 that starts at the wall's time and never jumps."""
    offset = time.time() - boot_seconds()
    return lambda: offset + boot_seconds()


def boot_seconds() -> float:
    """Return the seconds since the machine was started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def process_started() -> float:
    """Return when this process began, in seconds since 1970, a hundredth of a second early at most (proc(5))."""
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()  # the name before it may hold anything
    return time.time() - boot_seconds() + int(fields[19]) / TICKS
