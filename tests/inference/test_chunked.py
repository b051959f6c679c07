"""A chunked request inside the worker: opened in any cuts, counted once, and answered in chunks that look alike."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass

import pytest

from inference.answer import Emit, Events, Spoken, Task, event, problem
from inference.chunked import Opening, respond_chunked, seal_chunks
from inference.pace import LINE_BYTES, Line, Pace, comment, fill, paced
from inference.replay import ReplaySet
from inference.runner import Runner
from seclude import bhttp, hpke
from seclude.bhttp_stream import Head, ResponseReader, content_overhead
from seclude.errors import BusyError, DecodeError, OpenError, UnknownKeyError, UsageError
from seclude.hpke import PrivateKey
from seclude.ohttp.chunked import RequestSealer, ResponseOpener, encapsulate_chunked
from seclude.ohttp.encapsulation import HeldKey
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms
from seclude.padding import is_bucket

NOW = 1_750_000_000.0
KEY = PrivateKey.generate(hpke.KEM_X25519)
CONFIG = KeyConfig(7, KEY.kem, KEY.public_key, (SymmetricAlgorithms(hpke.KDF_HKDF_SHA256, hpke.AEAD_AES_128_GCM),))
HELD = {7: HeldKey(CONFIG, KEY)}
QUESTION = bhttp.Request(b"POST", b"https", b"a.example", b"/", (), b"hello")
PACE = Pace(512, 0.005)
HEADER = 7 + 32


def echo(request: bhttp.Request) -> bhttp.Response:
    return bhttp.Response(200, (), request.content)


def of_length(octets: int) -> Task:
    return lambda _: bhttp.Response(200, (), b"x" * octets)


def counting(*events: bytes) -> Task:
    def produce(emit: Emit) -> None:
        for each in events:
            emit(each)

    return lambda _: Events(produce)


def unseen(_key_id: int, _enc: bytes) -> None:
    """Remember nothing."""


def asked(message: bytes | None = None) -> tuple[bytes, ResponseOpener]:
    sealer, opener = encapsulate_chunked(CONFIG)
    data = bhttp.serialize_request(QUESTION) if message is None else message
    return sealer.seal(data[:10]) + sealer.finish(data[10:]), opener


@dataclass
class Answered:
    """What a device made of an answer, and how it came."""

    status: int
    content: bytes
    sizes: list[int]
    plain: int = 0


@pytest.fixture
def runner() -> Iterator[Runner]:
    runner = Runner(threads=1, waiting=1)
    yield runner
    runner.close()


async def answer(runner: Runner, opening: Opening, task: Task, pace: Pace = PACE) -> AsyncIterator[bytes]:
    opened, line = opening.finish(), Line()
    job = asyncio.ensure_future(respond_chunked(opened, task, NOW, runner, line))
    async with aclosing(paced(line, job, opened.sealer, pace)) as pieces:
        async for piece in pieces:
            yield piece


async def read(pieces: AsyncIterator[bytes], opener: ResponseOpener) -> Answered:
    reader, answered = ResponseReader(), Answered(0, b"", [])
    events = []
    async for piece in pieces:
        answered.sizes.append(len(piece))
        for plaintext in opener.feed(piece):
            answered.plain += len(plaintext)
            events += reader.feed(plaintext)
    last = opener.finish()
    answered.plain += len(last)
    events += reader.feed(last)
    reader.finish()
    for each in events:
        if isinstance(each, Head):
            answered.status = each.status
        else:
            answered.content += each
    return answered


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
async def test_a_request_may_come_in_any_cuts(runner: Runner, size: int) -> None:
    data, opener = asked()
    opening = Opening(HELD, unseen)
    for at in range(0, len(data), size):
        opening.feed(data[at : at + size])
    answered = await read(answer(runner, opening, echo), opener)
    assert (answered.status, answered.content) == (200, b"hello")


async def test_a_whole_answer_is_in_its_bucket(runner: Runner) -> None:
    for length in (0, 900, 40_000):
        data, opener = asked()
        opening = Opening(HELD, unseen)
        opening.feed(data)
        answered = await read(answer(runner, opening, of_length(length)), opener)
        assert answered.content == b"x" * length
        assert is_bucket(answered.plain)


async def test_events_leave_in_chunks_of_one_size_whatever_they_say(runner: Runner) -> None:
    shapes = []
    for events in ([b"x" * 10], [b"y" * 300] * 4, []):
        made = [event("a", each) for each in events]
        data, opener = asked()
        opening = Opening(HELD, unseen)
        opening.feed(data)
        answered = await read(answer(runner, opening, counting(*made)), opener)
        lines = [line for line in answered.content.split(b"\n") if line and not line.startswith(b":")]
        assert b"".join(lines) == b"".join(made).replace(b"\n", b"")
        shapes.append(answered.sizes)
    assert {size for sizes in shapes for size in sizes[1:-1]} <= {2 + 512 + 16}
    assert {sizes[-1] for sizes in shapes[:2]} == {1 + 512 + 16}
    assert {sizes[0] for sizes in shapes[:2]} == {16 + 2 + 512 + 16}


async def test_no_chunk_leaves_before_its_tick(runner: Runner) -> None:
    pace, moments = Pace(512, 0.03), list[float]()
    data, _ = asked()
    opening = Opening(HELD, unseen)
    opening.feed(data)
    async for _ in answer(runner, opening, counting(*[event("a", b"x" * 400)] * 4), pace):
        moments.append(asyncio.get_running_loop().time())
    assert len(moments) >= 5
    assert all(later - moments[0] >= 0.9 * pace.tick_seconds * tick for tick, later in enumerate(moments))


async def test_a_request_that_finds_no_room_in_the_end_is_answered_inside() -> None:
    data, opener = asked()
    opening = Opening(HELD, unseen)
    opening.feed(data)
    opened = opening.finish()
    job = asyncio.get_running_loop().create_future()
    job.set_result(seal_chunks(opened, problem(BusyError("no room"), NOW)))
    assert (await read(paced(Line(), job, opened.sealer, PACE), opener)).status == 503


def speaking(*events: bytes) -> Task:
    async def make() -> AsyncGenerator[bytes, None]:
        for each in events:
            yield each

    async def respond() -> AsyncGenerator[bytes, None]:
        return make()

    return lambda _: Spoken(respond)


async def test_what_is_spoken_leaves_as_what_a_thread_makes(runner: Runner) -> None:
    made = [event("a", b"x" * size) for size in (10, 400, 3, 900)]
    seen = []
    for task in (counting(*made), speaking(*made)):
        data, opener = asked()
        opening = Opening(HELD, unseen)
        opening.feed(data)
        seen.append(await read(answer(runner, opening, task), opener))
    for answered in seen:
        lines = [line for line in answered.content.split(b"\n") if line and not line.startswith(b":")]
        assert b"".join(lines) == b"".join(made).replace(b"\n", b"")
    assert set(seen[0].sizes) == set(seen[1].sizes)


async def test_who_speaks_faster_than_it_leaves_waits(runner: Runner) -> None:
    line, added = Line(), list[int]()

    async def speak() -> None:
        for number in range(5):
            await line.add(bytes(LINE_BYTES // 2))
            added.append(number)

    speaking = asyncio.create_task(speak())
    for _ in range(5):
        await asyncio.sleep(0)
    assert added == [0, 1]
    line.take(1)
    for _ in range(5):
        await asyncio.sleep(0)
    assert added == [0, 1, 2]
    while not (speaking.done() and line.empty):
        line.take(LINE_BYTES)
        await asyncio.sleep(0)
    assert added == [0, 1, 2, 3, 4]


async def test_a_whole_answer_that_is_spoken_is_in_its_bucket(runner: Runner) -> None:
    async def respond() -> bhttp.Response:
        return bhttp.Response(200, (), b"x" * 2000)

    data, opener = asked()
    opening = Opening(HELD, unseen)
    opening.feed(data)
    answered = await read(answer(runner, opening, lambda _: Spoken(respond)), opener)
    assert answered.content == b"x" * 2000
    assert is_bucket(answered.plain)


async def test_chunks_leave_on_their_tick_though_nothing_is_there(runner: Runner) -> None:
    go = threading.Event()

    def slow(emit: Emit) -> None:
        go.wait(5)
        emit(event("a", b"1"))

    data, opener = asked()
    opening = Opening(HELD, unseen)
    opening.feed(data)
    pieces = answer(runner, opening, lambda _: Events(slow))
    first = [await anext(pieces) for _ in range(5)]
    go.set()

    async def all_of_it() -> AsyncIterator[bytes]:
        for piece in first:
            yield piece
        async for piece in pieces:
            yield piece

    answered = await read(all_of_it(), opener)
    assert answered.content.rstrip(b" :\n").endswith(b"event: a\ndata: 1")


async def test_a_failure_in_the_middle_is_the_last_event(runner: Runner) -> None:
    def fails(emit: Emit) -> None:
        emit(event("a", b"1"))
        raise ValueError("hello")

    data, opener = asked()
    opening = Opening(HELD, unseen)
    opening.feed(data)
    answered = await read(answer(runner, opening, lambda _: Events(fails)), opener)
    assert b"event: error\ndata: {" in answered.content
    assert b"hello" not in answered.content


async def test_who_goes_away_ends_the_task(runner: Runner) -> None:
    def endless(emit: Emit) -> None:
        while True:
            emit(event("a", b"x" * 200))

    data, _ = asked()
    opening = Opening(HELD, unseen)
    opening.feed(data)
    pieces = answer(runner, opening, lambda _: Events(endless))
    await anext(pieces)
    await pieces.aclose()  # type: ignore[attr-defined]
    for _ in range(200):
        if not runner.busy:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the task goes on")


def test_what_does_not_open_is_a_plain_error() -> None:
    data, _ = asked()
    with pytest.raises(UnknownKeyError):
        Opening({}, unseen).feed(data)
    with pytest.raises(OpenError):
        Opening(HELD, unseen).feed(data[: HEADER + 1] + bytes(len(data) - HEADER - 1))
    with pytest.raises(DecodeError):
        Opening(HELD, unseen).finish()


@pytest.mark.parametrize("cut", [0, 7, HEADER, HEADER + 5, HEADER + 26])
def test_what_ends_before_the_first_chunk_is_a_plain_error(cut: int) -> None:
    data, _ = asked()
    opening = Opening(HELD, unseen)
    opening.feed(data[:cut])
    with pytest.raises(DecodeError):
        opening.finish()


async def test_what_goes_wrong_after_the_first_chunk_is_sealed(runner: Runner) -> None:
    data, opener = asked()
    for broken in (data[:-1], data[:-1] + bytes([data[-1] ^ 1]), data[: HEADER + 28]):
        opening = Opening(HELD, unseen)
        opening.feed(broken)
        assert isinstance(opening.finish().failure, OpenError | DecodeError)
    opening = Opening(HELD, unseen)
    opening.feed(data[:-1])
    assert (await read(answer(runner, opening, echo), opener)).status == 400


async def test_a_request_counts_though_its_rest_is_broken(runner: Runner) -> None:
    data, _ = asked()
    seen = ReplaySet(10)
    opening = Opening(HELD, lambda _, enc: seen.insert(enc))
    opening.feed(data[:-1] + bytes([data[-1] ^ 1]))
    opening.finish()
    again = Opening(HELD, lambda _, enc: seen.insert(enc))
    again.feed(data)
    opened = again.finish()
    assert opened.failure is not None
    assert opened.failure.status == 409  # type: ignore[attr-defined]


async def test_a_full_worker_says_so_inside(runner: Runner) -> None:
    def full(_key_id: int, _enc: bytes) -> None:
        raise BusyError("full")

    data, opener = asked()
    opening = Opening(HELD, full)
    opening.feed(data)
    assert (await read(answer(runner, opening, echo), opener)).status == 503


async def test_a_message_that_is_no_request_is_a_sealed_error(runner: Runner) -> None:
    for message in (b"\1" + bytes(40), bhttp.serialize_request(QUESTION)[:12]):
        data, opener = asked(message)
        opening = Opening(HELD, unseen)
        opening.feed(data)
        assert (await read(answer(runner, opening, echo), opener)).status == 400


def test_the_sealer_of_a_request_is_its_own() -> None:
    assert isinstance(encapsulate_chunked(CONFIG)[0], RequestSealer)


@pytest.mark.parametrize("octets", range(1, 70))
def test_a_comment_is_a_line_of_its_size(octets: int) -> None:
    line = comment(octets)
    assert len(line) == octets
    assert line.endswith(b"\n")
    assert line == b"\n" or line.startswith(b":")


async def test_content_that_cannot_have_a_size_is_a_mistake_of_ours() -> None:
    line = Line()
    for octets in (2, 64, 66, 300, 1024, 16384, 16385):
        assert len(fill(line, octets)) + content_overhead(len(fill(line, octets))) == octets
    with pytest.raises(UsageError):
        fill(line, 65)  # 63 octets take 64, and 64 take 66
