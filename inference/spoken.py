"""Answers that are made on the event loop: run there, and given out whole or event by event.

    task's thread ──Spoken──▶ respond() ──▶ Response                        the answer
                                        ──▶ events ──begin, add──▶ Outlet   a line that leaves at its pace, or a heap

Until the first event is there, whatever goes wrong is the answer, with its status; then the status is out, and it is
the last event. Whoever gives up cancels the wait, which closes the events where they are: what a model holds for them
is free before its next step.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from inference.answer import EVENTS_FIELDS, Spoken, event, problem, refuse
from seclude import bhttp
from seclude.errors import DecodeError
from seclude.tasks import ERROR_EVENT


class Outlet(Protocol):
    """Where events go; see `pace.Line`."""

    def begin(self) -> None: ...

    async def add(self, event: bytes, /) -> None: ...


class Heap:
    """Takes events for who did not ask in chunks: they leave together."""

    def __init__(self) -> None:
        self._events: list[bytes] = []

    def begin(self) -> None:
        """Take note that there will be events, of which nothing follows here."""

    async def add(self, event: bytes) -> None:
        """Add an event."""
        self._events.append(event)

    def answer(self) -> bhttp.Response:
        """Return them as one answer."""
        return bhttp.Response(200, EVENTS_FIELDS, b"".join(self._events))


async def speak(spoken: Spoken, outlet: Outlet, now: float) -> bhttp.Response | None:
    """Make the answer, and return it if it is whole; None where its events went to the outlet, all of them."""
    try:
        made = await spoken.respond()
    except Exception as exc:  # noqa: BLE001 - whatever went wrong, the peer gets a sealed answer and no word about it
        return _failed(exc, now)
    return made if isinstance(made, bhttp.Response) else await _pass_on(made, outlet, now)


async def speak_whole(spoken: Spoken, now: float) -> bhttp.Response:
    """Make the answer, and return it in one piece even if it is events."""
    heap = Heap()
    whole = await speak(spoken, heap, now)
    return heap.answer() if whole is None else whole


async def _pass_on(made: AsyncGenerator[bytes, None], outlet: Outlet, now: float) -> bhttp.Response | None:
    begun = False
    async with aclosing(made) as events:
        try:
            async for each in events:
                if not begun:
                    begun = True
                    outlet.begin()
                await outlet.add(each)
        except Exception as exc:  # noqa: BLE001 - as above
            failed = _failed(exc, now)
            if not begun:
                return failed
            await outlet.add(event(ERROR_EVENT, failed.content))
    if not begun:
        outlet.begin()
    return None


def _failed(exc: Exception, now: float) -> bhttp.Response:
    """Return the answer to a failure; what a task finds wrong with a request is said in its words, as by the router."""
    return refuse(exc.status, str(exc)) if isinstance(exc, DecodeError) else problem(exc, now)
