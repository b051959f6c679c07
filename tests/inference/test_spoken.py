"""Answers that are made on the event loop: whole or as events, and what becomes of failures and of who goes away."""

import asyncio
from collections.abc import AsyncGenerator

import msgspec
import pytest

from inference.answer import EVENTS_FIELDS, Spoken, event
from inference.spoken import Heap, speak, speak_whole
from seclude import bhttp
from seclude.errors import BusyError, DecodeError, TooLargeError

NOW = 1_750_000_000.0
REPLY = bhttp.Response(200, (), b"whole")


def of(*events: bytes, fails: Exception | None = None) -> Spoken:
    async def make() -> AsyncGenerator[bytes, None]:
        for each in events:
            yield each
        if fails is not None:
            raise fails

    async def respond() -> AsyncGenerator[bytes, None]:
        return make()

    return Spoken(respond)


def failing(failure: Exception) -> Spoken:
    async def respond() -> bhttp.Response:
        raise failure

    return Spoken(respond)


def told(answer: bhttp.Response) -> dict[str, object]:
    return dict(msgspec.json.decode(answer.content))


async def test_a_whole_answer_is_the_answer() -> None:
    async def respond() -> bhttp.Response:
        return REPLY

    assert await speak_whole(Spoken(respond), NOW) is REPLY
    assert await speak(Spoken(respond), Heap(), NOW) is REPLY


async def test_events_leave_together_for_who_did_not_ask_in_chunks() -> None:
    answer = await speak_whole(of(b"a\n\n", b"b\n\n"), NOW)
    assert answer == bhttp.Response(200, EVENTS_FIELDS, b"a\n\nb\n\n")
    assert (await speak_whole(of(), NOW)).content == b""


@pytest.mark.parametrize("spoken", [failing, lambda failure: of(fails=failure)], ids=["at once", "before an event"])
async def test_what_goes_wrong_before_the_first_event_is_the_answer(spoken: object) -> None:
    assert callable(spoken)
    busy = await speak_whole(spoken(BusyError("x", retry_after_seconds=7)), NOW)
    assert (busy.status, bhttp.get(busy.fields, b"retry-after")) == (503, b"7")
    large = await speak_whole(spoken(TooLargeError("messages: 9 tokens, of 8")), NOW)
    assert (large.status, told(large)["detail"]) == (413, "messages: 9 tokens, of 8")
    assert (await speak_whole(spoken(DecodeError("stop: none")), NOW)).status == 400
    bug = await speak_whole(spoken(ValueError("somebody's words")), NOW)
    assert bug.status == 500
    assert b"words" not in bug.content


async def test_what_goes_wrong_later_is_the_last_event() -> None:
    answer = await speak_whole(of(b"a\n\n", fails=ValueError("somebody's words")), NOW)
    assert answer.status == 200
    assert answer.content.startswith(b"a\n\n" + event("error", b"")[:-2])
    assert b"words" not in answer.content


async def test_who_goes_away_closes_the_events_where_they_are() -> None:
    closed = asyncio.Event()

    async def make() -> AsyncGenerator[bytes, None]:
        try:
            yield b"a"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def respond() -> AsyncGenerator[bytes, None]:
        return make()

    heap = Heap()
    speaking = asyncio.create_task(speak(Spoken(respond), heap, NOW))
    for _ in range(5):
        await asyncio.sleep(0)
    assert heap.answer().content == b"a"
    speaking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await speaking
    assert closed.is_set()
