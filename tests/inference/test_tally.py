"""What a language model counts: requests, whatever is written for each."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from inference.answer import Spoken
from inference.spoken import speak_whole
from inference.tasks.tally import Tally
from seclude import bhttp
from seclude.errors import BusyError

REQUEST = bhttp.Request(b"POST", b"https", b"a.example", b"/", (), b"")
REPLY = bhttp.Response(200, (), b"")


async def write(tally: Tally, *, refused: bool = False) -> None:
    with tally.writing() as count:
        await asyncio.sleep(0)
        if refused:
            raise BusyError("no room")
        count.read += 33
        count.written += 3


async def serve(tally: Tally, texts: int, *, streamed: bool = False, refused: bool = False) -> bhttp.Response:
    """Answer a request for which so many texts are written, beside each other."""

    async def several() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(texts):
                group.create_task(write(tally, refused=refused))
        assert tally.running == 1, "until the answer is made"

    async def whole() -> bhttp.Response:
        await several()
        return REPLY

    async def events() -> AsyncGenerator[bytes, None]:
        async def make() -> AsyncGenerator[bytes, None]:
            yield b"first"
            await several()
            yield b"last"

        return make()

    spoken = tally.by_request(lambda _request: Spoken(events if streamed else whole))(REQUEST)
    assert isinstance(spoken, Spoken)
    return await speak_whole(spoken, 0.0)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("texts", "read", "written"), [(1, 64, 4), (4, 256, 16)])
async def test_a_request_counts_once_whatever_is_written_for_it(
    streamed: bool, texts: int, read: int, written: int
) -> None:
    tally = Tally()
    assert (await serve(tally, texts, streamed=streamed)).status == 200
    assert tally == Tally(running=0, refused=0, read=read, written=written)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_request_is_refused_once(streamed: bool) -> None:
    tally = Tally()
    await serve(tally, 4, streamed=streamed, refused=True)
    assert tally == Tally(running=0, refused=1)


async def test_what_asks_the_model_for_nothing_does_not_count_and_what_is_whole_passes() -> None:
    tally = Tally()

    async def respond() -> bhttp.Response:
        assert tally.running == 0
        return REPLY

    spoken = tally.by_request(lambda _request: Spoken(respond))(REQUEST)
    assert isinstance(spoken, Spoken)
    assert await spoken.respond() is REPLY
    assert tally.by_request(lambda _request: REPLY)(REQUEST) is REPLY
    assert tally == Tally()


async def test_requests_beside_each_other_are_counted_apart() -> None:
    tally = Tally()

    async def respond() -> bhttp.Response:
        await write(tally)
        await asyncio.sleep(0.01)
        assert tally.running == 3
        await asyncio.sleep(0.01)
        return REPLY

    spoken = tally.by_request(lambda _request: Spoken(respond))(REQUEST)
    assert isinstance(spoken, Spoken)
    await asyncio.gather(*(speak_whole(spoken, 0.0) for _ in range(3)))
    assert tally == Tally(read=3 * 64, written=3 * 4)


async def test_what_is_written_for_nobodys_request_is_one_by_itself() -> None:
    tally = Tally()
    await asyncio.gather(write(tally), write(tally))
    assert tally == Tally(read=128, written=8)
