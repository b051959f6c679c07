"""The generator against servers that misbehave: nothing is lost from the count, and nothing is made to look better."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from unittest.mock import Mock

import pytest

from bench.arrivals import Arrivals
from bench.connection import BROKEN_OFF, MALFORMED, TIMED_OUT, Connection
from bench.engine import CLIENT, Samples, run_load
from bench.job import Job, WorkloadSpec
from bench.result import case_of
from bench.workload import EMPTY

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """A server that reads requests properly and answers as it is told."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                await answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            tasks.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def load(answer: Answer, *, rate: float | None = 50.0, connections: int = 4, wait: float = 1.0) -> Samples:
    """Half a second of load without warm-up."""
    async with serving(answer) as url:
        arrivals = None if rate is None else Arrivals("constant", rate)
        job = Job(url, WorkloadSpec("opaque"), 0.0, 0.5, connections, arrivals, wait_seconds=wait, timeout_seconds=0.3)
        return await run_load([job], {}, lambda _: None)


async def good(writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


async def test_every_arrival_is_answered_once() -> None:
    samples = await load(good)
    assert (samples.offered, len(samples.latency), samples.dropped) == (25, 25, 0)
    assert not samples.failed
    assert samples.cpu_ns[CLIENT] > 0


async def test_a_closed_loop_asks_as_soon_as_it_is_answered() -> None:
    samples = await load(good, rate=None)
    assert samples.completed > 25
    assert samples.latency == samples.service or max(samples.latency) >= max(samples.service)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "status 503"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", EMPTY),
        (b"SSH-2.0-OpenSSH\r\n\r\n", MALFORMED),
    ],
)
async def test_a_failure_is_counted_under_its_name(said: bytes, kind: str) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(said)

    samples = await load(answer)
    assert samples.failed == {kind: 25}
    assert not samples.latency
    assert case_of("x", [samples]).invalid


async def test_a_connection_that_ends_within_an_answer_is_a_failure() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(OK[:-1])
        await writer.drain()
        writer.close()

    assert (await load(answer)).failed == {BROKEN_OFF: 25}


async def test_a_connection_that_ends_after_an_answer_is_none() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await writer.drain()
        writer.close()

    samples = await load(answer)
    assert not samples.failed
    assert len(samples.latency) == 25


async def test_who_is_never_answered_times_out_and_who_finds_no_connection_is_dropped() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    samples = await load(answer, connections=1, wait=0.05)
    assert samples.failed[TIMED_OUT] >= 1
    assert samples.dropped > 10
    assert samples.offered == samples.dropped + samples.failed.total() == 25


async def test_a_connection_is_used_again() -> None:
    seen: set[object] = set()

    async def answer(writer: asyncio.StreamWriter) -> None:
        seen.add(writer.get_extra_info("peername"))
        writer.write(OK)

    assert len((await load(answer, connections=2)).latency) == 25
    assert len(seen) == 2  # both, since the one that has rested longest is next


def test_an_error_of_the_owner_is_not_taken_for_an_answer_of_the_target() -> None:
    owner = Mock(finished=Mock(side_effect=AssertionError("ours")))
    connection = Connection(owner)
    connection.connection_made(Mock())
    connection.send(b"", 0, lambda _: None)
    with pytest.raises(AssertionError, match="ours"):
        connection.data_received(OK)
    owner.broke.assert_not_called()


async def test_a_stall_counts_for_those_who_could_not_even_be_sent() -> None:
    """With one connection, a server that stalls once makes everybody behind it late, and only one of them slow."""
    count = 0

    async def answer(writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count == 5:
            await asyncio.sleep(0.2)
        writer.write(OK)

    samples = await load(answer, connections=1)
    stall = 100_000_000
    assert sum(each > stall for each in samples.service) == 1
    assert sum(each > stall for each in samples.latency) >= 4
