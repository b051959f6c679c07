"""Tasks on a few threads: a bounded number at once, counted until they really end, and given up with their device.

A thread cannot be interrupted. So a task whose device went away is told, and looks at `stop_if_given_up` between the
pieces of its work; until it has ended it counts as busy, whatever became of the connection. The event loop is woken
once for each task, when it ends.
"""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar, copy_context
from queue import SimpleQueue
from typing import Final, ParamSpec, TypeVar

from inference.scrub import Sweeper, bare
from seclude.errors import BusyError

# Of a task's thread (sched(7)). An event loop needs a core for some microseconds at a time; behind a model, which never
# sleeps, it would wait for milliseconds, and so would the other parties of a machine that they share.
NICENESS: Final = 10
SWITCH_SECONDS: Final = 0.0003  # for which a task may keep the event loop from Python's lock; by default it is 0.005
P = ParamSpec("P")
T = TypeVar("T")


class _Job:
    """One task in line or at work."""

    __slots__ = ("claim", "drop", "given_up", "place")

    def __init__(self, drop: Callable[[], object], place: object = None) -> None:
        self.claim = threading.Lock()
        """Taken once: by the thread that begins, or by the loop that gives up what has not begun."""
        self.place: Final = place
        """The one that its request holds, if it holds one."""
        self.drop: Final = drop
        """Ends the wait for what will not begin."""
        self.given_up = False


_given_up: Final[ContextVar[_Job]] = ContextVar("given_up", default=_Job(lambda: None))  # noqa: B039 - which nobody gives up

_place: Final[ContextVar[object]] = ContextVar("place", default=None)


class GivenUpError(Exception):
    """Raised inside a task that nobody waits for any more."""


def stop_if_given_up() -> None:
    """End the running task if nobody waits for it any more; called between two pieces of work."""
    if _given_up.get().given_up:
        raise GivenUpError


class Runner:
    """Runs functions on `threads` threads, with `waiting` more of them in line."""

    def __init__(self, threads: int, waiting: int) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        self._limit = threads + waiting
        self._line: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._jobs: set[_Job] = set()
        self._places: set[object] = set()
        self._sweeper = Sweeper()
        self._threads = [threading.Thread(target=_work, args=(self._line,), name="task") for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def busy(self) -> int:
        """How many places are held or have a task that has not ended, those that were given up included."""
        return len(self._places.union(job.place or job for job in self._jobs))

    def require_room(self) -> None:
        """Raise `BusyError` if `run` would refuse now."""
        self._sweeper.begin()  # whoever asks is about to have something of a request
        if self.busy >= self._limit:
            raise BusyError("too many tasks at once")

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold one place for a request until its answer is made; what it runs meanwhile is let in. Raises BusyError."""
        self.require_room()
        place = object()
        self._places.add(place)
        before = _place.set(place)
        try:
            yield
        finally:
            _place.reset(before)
            self._places.discard(place)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the function returns, run on a thread; a cancelled wait gives the task up."""
        place = _place.get()
        if place not in self._places:
            self.require_room()
            place = None
        loop, context = asyncio.get_running_loop(), copy_context()
        future: asyncio.Future[T] = loop.create_future()
        job = _Job(future.cancel, place)
        context.run(_given_up.set, job)

        def ended(settle: Callable[[], None]) -> None:
            self._jobs.discard(job)
            if not future.done():
                settle()

        def work() -> None:  # on a task's thread
            if not job.claim.acquire(blocking=False):
                return
            settle: Callable[[], None]
            try:
                value = context.run(function, *args, **kwargs)
            except BaseException as exc:  # noqa: BLE001 - whatever it is belongs to whoever waits
                failure = bare(exc)
                settle = lambda: future.set_exception(failure)  # noqa: E731
            else:
                settle = lambda: future.set_result(value)  # noqa: E731
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody counts any more
                loop.call_soon_threadsafe(ended, settle)

        self._jobs.add(job)
        self._line.put(work)
        try:
            return await future
        except asyncio.CancelledError:
            self._give_up(job)
            raise

    def settle(self) -> None:
        """Let the sweeper pass over what is there by now, for good; nothing of anybody's request may be."""
        self._sweeper.end()
        self._sweeper = Sweeper()

    def close(self) -> None:
        """Give everything up, and wait for nothing."""
        self._sweeper.end()
        for job in list(self._jobs):
            self._give_up(job)
        for _ in self._threads:
            self._line.put(None)

    def _give_up(self, job: _Job) -> None:
        job.given_up = True
        if job.claim.acquire(blocking=False):  # it had not begun, and will not
            self._jobs.discard(job)
            job.drop()


def _work(line: "SimpleQueue[Callable[[], None] | None]") -> None:
    """Do what is in line, until told to end; whatever else wants a core for a moment gets it first."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    while (work := line.get()) is not None:
        work()
        del work  # with what it knows of a request
