"""How events leave the worker: chunks of one size on a fixed tick, so that sizes and times do not spell out words.

    task's thread ──put──▶ Line ──take, once a tick──▶ chunk of `chunk_bytes`, filled up ──▶ sealed
    event loop ────add──▶

What fills a chunk is a comment of the event stream (HTML, section 9.2.6), which every reader passes over. What stays
visible is how many ticks the answer took. An event that is made wakes nobody: it waits for the tick.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final, Protocol

from inference.answer import EVENTS_FIELDS
from inference.runner import stop_if_given_up
from seclude.bhttp_stream import ResponseWriter, content_overhead
from seclude.errors import UsageError

# Octets by which a task may be ahead of what has left: more than the longest summary has, so that a thread is free when
# its model is done. With 32 in flight, 8 MiB.
LINE_BYTES: Final = 1 << 18
LOOK_SECONDS: Final = 0.5  # how often a task that waits for room looks whether anybody still waits for it


@dataclass(frozen=True, slots=True)
class Pace:
    """The size of each chunk before it is sealed, and the time between two."""

    chunk_bytes: int
    tick_seconds: float


class Sealer(Protocol):
    """Protects the chunks of one answer; see `seclude.ohttp.chunked.ResponseSealer`."""

    def seal(self, piece: bytes) -> bytes: ...

    def finish(self, piece: bytes = b"") -> bytes: ...


class Line:
    """Events on their way out, in order, with a bound: from the task's thread, or from the loop itself."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.begun: Final[asyncio.Future[None]] = self._loop.create_future()
        """Done when the task has accepted the request."""
        self._events: deque[bytes] = deque()
        self._size = 0
        self._changed = threading.Condition()
        self._room: asyncio.Future[None] | None = None
        """Of who waits on the loop until something has left."""

    def begin(self) -> None:
        """Say, from either side, that events will come."""
        self._loop.call_soon_threadsafe(self._set_begun)

    def put(self, event: bytes) -> None:
        """Add an event, on the task's thread; waits while too many have not left yet."""
        with self._changed:
            while self._size >= LINE_BYTES:
                stop_if_given_up()
                self._changed.wait(LOOK_SECONDS)
            self._append(event)

    async def add(self, event: bytes) -> None:
        """Add an event, on the loop; waits while too many have not left yet."""
        while self._size >= LINE_BYTES:
            self._room = self._loop.create_future()
            await self._room
        with self._changed:
            self._append(event)

    def take(self, octets: int) -> bytes:
        """Return at most so many octets of what waits, on the loop."""
        with self._changed:
            taken, left = [], octets
            while self._events and left:
                event = self._events.popleft()
                if len(event) > left:
                    self._events.appendleft(event[left:])
                    event = event[:left]
                taken.append(event)
                left -= len(event)
            self._size -= octets - left
            self._changed.notify()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        return b"".join(taken)

    @property
    def empty(self) -> bool:
        """Whether everything has left."""
        return not self._events

    def _append(self, event: bytes) -> None:
        self._events.append(event)
        self._size += len(event)

    def _set_begun(self) -> None:
        if not self.begun.done():
            self.begun.set_result(None)


async def paced(
    line: Line, job: "asyncio.Future[list[bytes]]", sealer: Sealer, pace: Pace
) -> AsyncGenerator[bytes, None]:
    """Yield the encapsulated answer of a job that gives it whole, or that has put its events on the line.

    Close it where it may be left early: then the job has let go of all that it held, if it runs on the loop.
    """
    try:
        either: list[asyncio.Future[list[bytes]] | asyncio.Future[None]] = [job, line.begun]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not line.begun.done():
            for piece in await job:
                yield piece
            return
        loop = asyncio.get_running_loop()
        writer = ResponseWriter(200, EVENTS_FIELDS)
        head = writer.head()
        began, tick = loop.time(), 0
        while True:
            ended = job.done()
            if ended and line.empty:
                break
            content = fill(line, pace.chunk_bytes - len(head))
            yield sealer.seal(head + writer.content(content))
            head = b""
            tick = max(tick, int((loop.time() - began) / pace.tick_seconds)) + 1  # one that came late is left out
            await asyncio.sleep(began + tick * pace.tick_seconds - loop.time())
        await job
        end = writer.end()
        yield sealer.finish(head + end + bytes(pace.chunk_bytes - len(head) - len(end)))
    finally:
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)


def fill(line: Line, octets: int) -> bytes:
    """Return content that takes so many octets with its length before it: events, and a comment behind them."""
    lengths = [octets - taken for taken in (1, 2, 4) if octets > taken and content_overhead(octets - taken) == taken]
    if not lengths:
        raise UsageError("no content takes exactly so many octets")
    length = lengths[0]
    content = line.take(length)
    return content + comment(length - len(content))


def comment(octets: int) -> bytes:
    """Return a line of so many octets that says nothing; what stands before it has ended with a line."""
    return b":" + b" " * (octets - 2) + b"\n" if octets > 1 else b"\n" * octets
