"""Tasks on a few threads: a bounded number at once, counted until they really end, and given up with their device.

A thread cannot be interrupted. So a task whose device went away is told, and looks at `stop_if_given_up` between the
pieces of its work; until it has ended it counts as busy, whatever became of the connection.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import Final, ParamSpec, TypeVar

from seclude.errors import BusyError

P = ParamSpec("P")
T = TypeVar("T")

_NEVER: Final = threading.Event()  # for work that nobody can give up, such as the warm-up
_given_up: Final[ContextVar[threading.Event]] = ContextVar("given_up", default=_NEVER)


class GivenUpError(Exception):
    """Raised inside a task that nobody waits for any more."""


def stop_if_given_up() -> None:
    """End the running task if nobody waits for it any more; called between two pieces of work."""
    if _given_up.get().is_set():
        raise GivenUpError


class Runner:
    """Runs functions on `threads` threads, with `waiting` more of them in line."""

    def __init__(self, threads: int, waiting: int) -> None:
        self._limit = threads + waiting
        self._executor = ThreadPoolExecutor(threads, "task")
        self._running: set[threading.Event] = set()

    @property
    def busy(self) -> int:
        """How many tasks have not ended, those that were given up included."""
        return len(self._running)

    def require_room(self) -> None:
        """Raise `BusyError` if `run` would refuse now."""
        if self.busy >= self._limit:
            raise BusyError("too many tasks at once")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the function returns, run on a thread; a cancelled wait gives the task up."""
        self.require_room()
        given_up = threading.Event()
        context = copy_context()
        context.run(_given_up.set, given_up)
        loop = asyncio.get_running_loop()
        self._running.add(given_up)

        def ended(_: Future[T]) -> None:  # on the task's thread
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody counts any more
                loop.call_soon_threadsafe(self._running.discard, given_up)

        future = self._executor.submit(lambda: context.run(function, *args, **kwargs))
        future.add_done_callback(ended)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            given_up.set()
            raise

    def close(self) -> None:
        """Give everything up, and wait for nothing."""
        for given_up in self._running:
            given_up.set()
        self._executor.shutdown(wait=False, cancel_futures=True)
