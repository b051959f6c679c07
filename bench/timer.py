"""A timer that fires when it was asked to, to some microseconds.

The event loops count in milliseconds: at a thousand requests a second that would send them in pairs, and each would
look half a millisecond slower than it was. The kernel's timerfd (timerfd_create(2)) has no such grain.
"""

import asyncio
import ctypes
import os
from collections.abc import Callable
from typing import Final

CLOCK_MONOTONIC: Final = 1
TFD_TIMER_ABSTIME: Final = 1
TFD_NONBLOCK: Final = 0o4000
TFD_CLOEXEC: Final = 0o2000000


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


_libc: Final = ctypes.CDLL(None, use_errno=True)


class Timer:
    """Calls `fire` on the loop at a moment of the monotonic clock, once each time it is set."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fire: Callable[[], None]) -> None:
        self._loop = loop
        self._fire = fire
        self._spec = _Itimerspec()
        self._descriptor: int = _libc.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        loop.add_reader(self._descriptor, self._expired)

    def set(self, at_ns: int) -> None:
        """Fire at this moment, or at once where it has passed."""
        self._spec.value.seconds, self._spec.value.nanoseconds = divmod(max(1, at_ns), 1_000_000_000)
        _libc.timerfd_settime(self._descriptor, TFD_TIMER_ABSTIME, ctypes.byref(self._spec), None)

    def close(self) -> None:
        """Fire no more."""
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _expired(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:  # set anew between the kernel's word and now
            return
        self._fire()
