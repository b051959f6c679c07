"""Continuous batching: many requests on one decoder; they join and leave between two steps.

    generate() ──line──▶ a slot ──prompt, in pieces──▶ steps, with all who write ──▶ generate() yields

One thread runs the decoder; it is there before the lockdown. A round of it is: free what is over, give free slots to
the line, read at most one piece of one prompt, let everybody who writes take one step. The rules:

1. Slots go to the line in the order of arrival.
2. Those who have a slot and read their prompt take turns, a piece each. So a short prompt waits for one piece of each
   of the others, however long they are, and a long one gets its turn too. Pieces are cut by their place in the prompt
   and never by the load, since where a prompt is cut shows in the last bits of its result.
3. Reading takes at most `READING_SHARE` of the time while somebody writes. So between two tokens lie one step and at
   most one piece.
4. Who would have to wait longer than it wants to for a slot, or longer than `FIRST_TOKEN_SECONDS` for a first token,
   is refused at once, with the time after which it should be possible. Who was let in was promised both, and is
   refused only if that takes twice as long.
5. Who goes away is out before the next step; its slot is cleared then, as every slot is when it is left.

The loop is woken once for a run of the decoder, whatever it brought. Nothing is kept of a request that has ended, but
what `waiting` foretells from, which are means over all of them.
"""

import asyncio
import contextlib
import math
import os
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final, Generic, Protocol, TypeVar

from inference.engine.request import Logits, News, Request, Write, settle
from inference.engine.waiting import Forecast
from inference.runner import NICENESS
from inference.scrub import bare
from seclude.errors import BusyError, UsageError

PIECE_TOKENS: Final = 64  # of a prompt at a time: nine tenths of the speed of larger ones, and the time of four steps
READING_SHARE: Final = 0.5  # of the time, while others write: their tokens come half as fast then, and not slower
# From when it comes, its own prompt included. A gateway gives up after 110 seconds in which nothing came, and twice
# this time, which is when a promise ends, must lie before that: then the device is told when to come again.
FIRST_TOKEN_SECONDS: Final = 50.0

T = TypeVar("T")


class Slots(Protocol):
    """What is needed of a decoder."""

    @property
    def slots(self) -> int: ...

    @property
    def context(self) -> int: ...

    def prefill(self, slot: int, ids: Sequence[int], /) -> Logits: ...

    def step(self, tokens: Mapping[int, int], /) -> dict[int, Logits]: ...

    def clear(self, slot: int, /) -> None: ...


class Batcher(Generic[T]):
    """Runs requests on `decoder`, with `waiting` more of them in line than it has slots."""

    def __init__(self, decoder: Slots, *, waiting: int, piece_tokens: int = PIECE_TOKENS) -> None:
        self._decoder, self._waiting, self._size = decoder, waiting, min(piece_tokens, decoder.context)
        self._changed = threading.Condition()
        self._line: deque[Request[T]] = deque()
        self._seats: dict[int, Request[T]] = {}
        self._reading: deque[Request[T]] = deque()
        self._owed = 0.0
        """Seconds of writing before the next piece may be read."""
        self._stepped: float | None = None
        """When the last step ended, if there has been one in each round since."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._forecast: Final = self._warm_up()
        self._thread = threading.Thread(target=self._work, name="engine")
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether it serves nobody any more: it was closed, or its decoder failed for good."""
        return self._closed

    async def generate(
        self, ids: Sequence[int], write: Write[T], *, most: int, wait_seconds: float
    ) -> AsyncGenerator[T, None]:
        """Yield what `write` gives out. Raises BusyError before anything else if slot or first token came too late.

        Close it (contextlib.aclosing) where it may be left early: what is closed is out before the next step.
        """
        request = Request(ids, write, most, self._size)
        self._enter(request, wait_seconds)
        try:
            while came := await request.next():
                for piece in came:
                    yield piece
        finally:
            with self._changed:
                request.gone = True
                with contextlib.suppress(ValueError):
                    self._line.remove(request)

    def close(self) -> None:
        """End everything with the round at work; nobody's answer is finished."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def require_room(self, wait_seconds: float, pieces: int = 1) -> None:
        """Raise BusyError if a request whose prompt has so many pieces would be refused now."""
        with self._changed:
            if self._closed:
                raise BusyError("the engine has ended")
            seated, line = ([request.left for request in held] for held in (self._seats.values(), self._line))
            expected = self._forecast.seconds(seated, line)
            late, others = expected - wait_seconds, [*seated, *line]
            if others:  # who is alone is refused by nobody's work: it may try for as long as the promise lasts
                first = expected + self._forecast.reading(pieces, others)
                late = max(late, first - FIRST_TOKEN_SECONDS)
            full = len(others) >= self._waiting + self._decoder.slots
            if full or late > 0:
                raise BusyError("too many at once", retry_after_seconds=max(1, math.ceil(late)))

    def _enter(self, request: Request[T], wait_seconds: float) -> None:
        if not request.ids or request.most < 1 or len(request.ids) + request.most - 1 > self._decoder.context:
            raise UsageError(f"{len(request.ids)} tokens and {request.most} more do not fit {self._decoder.context}")
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if loop is not self._loop:
            raise UsageError("a batcher serves one event loop")
        now = time.monotonic()
        request.first_until = now + 2 * FIRST_TOKEN_SECONDS
        request.until = min(now + 2 * wait_seconds, request.first_until)
        with self._changed:  # it may be taken twice by one thread
            self.require_room(wait_seconds, request.pieces)
            self._line.append(request)
            self._changed.notify()

    def _warm_up(self) -> Forecast:
        """Run the decoder with every slot taken: the first run allocates, the second one tells how long it takes."""
        slots, read, stepped = range(self._decoder.slots), 0.0, 0.0
        for _ in range(2):
            for slot in slots[1:]:
                self._decoder.prefill(slot, [0])
            began = time.monotonic()
            self._decoder.prefill(0, [0] * min(self._size, self._decoder.context - 1))
            read = time.monotonic() - began
            self._decoder.step(dict.fromkeys(slots, 0))
            stepped = time.monotonic() - began - read
            for slot in slots:
                self._decoder.clear(slot)
        return Forecast(len(slots), READING_SHARE, read, stepped)

    # What follows runs on the engine's thread.

    def _work(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        try:
            with contextlib.suppress(Exception):  # what it says may be somebody's; that it was shows in `ended`
                while self._wait():
                    self._round()
        finally:
            with self._changed:
                self._closed = True
                left = [*self._seats.values(), *self._line]
                self._line.clear()
            self._tell([(request, (), True, BusyError("the engine has ended")) for request in left])
            for slot in self._seats:
                with contextlib.suppress(Exception):  # what ended the engine may be a slot that cannot be cleared
                    self._decoder.clear(slot)
            self._seats.clear()

    def _wait(self) -> bool:
        """Wait until there is something to do; say whether to go on."""
        with self._changed:
            while not (self._closed or self._line or self._seats):
                self._changed.wait()
            return not self._closed

    def _round(self) -> None:
        for act in (self._seat_and_read, self._step):
            news: list[News[T]] = []
            try:
                act(news)
            finally:
                self._tell(news)  # whatever else ends the engine

    def _seat_and_read(self, news: list[News[T]]) -> None:
        self._seat(news)
        self._read(news)

    def _seat(self, news: list[News[T]]) -> None:
        """Free the slots of those who are gone or too late, and give free ones to the line."""
        now = time.monotonic()
        for request in list(self._seats.values()):
            if request.gone:
                self._free(request)
            elif request.token is None and request.first_until < now:
                self._end(request, news, failure=BusyError("no first token in time"))
        with self._changed:
            for request in [request for request in self._line if request.until < now]:
                self._line.remove(request)
                news.append((request, (), True, BusyError("no slot in time")))
            for slot in range(self._decoder.slots):
                if self._line and slot not in self._seats:
                    request = self._seats[slot] = self._line.popleft()
                    request.slot, request.seated = slot, now
                    self._reading.append(request)

    def _read(self, news: list[News[T]]) -> None:
        """Read a piece of the prompt whose turn it is, unless it is the others' time."""
        if not self._reading or (self._owed > 0 and len(self._seats) > len(self._reading)):
            return
        request, began = self._reading.popleft(), time.monotonic()
        piece = request.ids[request.read : request.read + self._size]
        try:
            logits = self._decoder.prefill(request.slot, piece)
        except Exception:  # noqa: BLE001 - whatever it is, it is this request's, and what it says may be too
            self._end(request, news, failure=UsageError("the decoder failed at a prompt"))
            return
        now = time.monotonic()
        self._owed = (now - began) * (1 - READING_SHARE) / READING_SHARE
        if len(piece) == self._size:
            self._forecast.saw_piece(now - began)
        request.read += len(piece)
        if request.read < len(request.ids):
            self._reading.append(request)
            return
        if len(self._seats) == self._decoder.slots:
            self._forecast.saw_prompt(request.pieces, now - request.seated)
        self._advance(request, logits, news)

    def _step(self, news: list[News[T]]) -> None:
        """Let everybody who writes take one step."""
        tokens = {slot: one.token for slot, one in self._seats.items() if one.token is not None and not one.gone}
        if not tokens:
            self._stepped = None
            return
        began = time.monotonic()
        try:
            rows = self._decoder.step(tokens)
        except Exception:  # noqa: BLE001 - as above
            for slot in tokens:
                self._end(self._seats[slot], news, failure=UsageError("the decoder failed at a step"))
            return
        full = len(self._seats) == self._decoder.slots
        for slot, logits in rows.items():
            self._advance(self._seats[slot], logits, news)
        now = time.monotonic()
        self._owed -= now - began
        if full and self._stepped is not None:
            self._forecast.saw_token(now - self._stepped)
        self._stepped = now

    def _advance(self, request: Request[T], logits: Logits, news: list[News[T]]) -> None:
        """Let a request choose its next token."""
        try:
            token, pieces = request.write(logits)
        except Exception as exc:  # noqa: BLE001 - whatever went wrong belongs to whoever waits
            self._end(request, news, failure=bare(exc))
            return
        request.made += 1
        if token is not None and request.made < request.most:
            request.token = token
            if pieces:
                news.append((request, pieces, False, None))
            return
        self._forecast.saw_end(request.made, request.most)
        self._end(request, news, pieces, None if token is None else UsageError("a request writes more than it may"))

    def _end(
        self, request: Request[T], news: list[News[T]], pieces: Sequence[T] = (), failure: Exception | None = None
    ) -> None:
        self._free(request)
        news.append((request, pieces, True, failure))

    def _free(self, request: Request[T]) -> None:
        """Clear a slot, and let others have it."""
        self._decoder.clear(request.slot)
        request.ids.clear()
        with self._changed:
            del self._seats[request.slot]
            with contextlib.suppress(ValueError):
                self._reading.remove(request)

    def _tell(self, news: list[News[T]]) -> None:
        """Wake the loop, once, with what a round brought to all requests."""
        if news and self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(settle, news)
            except RuntimeError:  # the loop is closed, and nobody waits
                for request, *_ in news:
                    request.gone = True
