"""What is left of a request once it was answered: nothing that can be read, as far as Python lets us say so.

Two things keep words in memory. What is freed stays as it was until somebody else gets the place: so the C library is
told to overwrite it (`isolate`), Python's objects all come from the C library, and whether that works is tried here
before anything else. And what somebody still refers to is not freed: an exception knows the frames that it came
through, and with them every local variable. So one that is kept loses its traceback, and what refers to itself is
looked for once a second. What this does not reach is in docs/scrubbing.md.
"""

import asyncio
import ctypes
import gc
from typing import Final, TypeVar

from seclude.errors import ConfigError

SWEEP_SECONDS: Final = 1.0  # for which a cycle with somebody's words in it may be there; a sweep takes some 0.1 ms
PROBE: Final = b"what was freed"
PROBE_OCTETS: Final = 400  # Python's own allocator would serve it

E = TypeVar("E", bound=BaseException)


def bare(exc: E) -> E:
    """Return an exception that is kept for longer than it is handled, without the frames that it came through."""
    exc.__traceback__ = exc.__context__ = exc.__cause__ = None
    return exc


def require_overwriting() -> None:
    """Raise `ConfigError` unless an object's octets are overwritten when it is freed."""
    seen = ctypes.create_string_buffer(len(PROBE))
    around = [PROBE.center(PROBE_OCTETS) for _ in range(3)]  # the middle one is not the last in its piece of memory
    place = id(around[1]) + bytes.__basicsize__ - 1 + around[1].index(PROBE)  # the size counts a NUL at the end
    del around[1]
    ctypes.memmove(seen, place, len(PROBE))
    if seen.raw == PROBE:
        raise ConfigError("this C library does not overwrite what is freed: the worker needs glibc 2.26 or newer")


class Sweeper:
    """Frees what refers to itself, once a second; what is there when it is made stays for good, and is passed over."""

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Sweep from now on, on the running loop; a second call does nothing."""
        if self._timer is None:
            self._sweep(asyncio.get_running_loop())

    def end(self) -> None:
        """Sweep no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        gc.collect()
        self._timer = loop.call_later(SWEEP_SECONDS, self._sweep, loop)
