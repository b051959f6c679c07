"""Handlers that read a body as it comes, and make an answer while it is sent."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from seclude.daemon.limits import ServerLimits
from seclude.daemon.messages import Request, Response, Streamed
from tests.daemon.conftest import Running, Serve

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = HEAD + b"Content-Length: 2\r\n\r\nhi"
LONG = ServerLimits(max_body_bytes=1 << 20, linger=0.2)
PIECE = b"x" * (1 << 16)


async def settled(running: Running) -> None:
    for _ in range(200):
        if not running.server.connections and not running.server.load.arriving_bytes and len(asyncio.all_tasks()) == 1:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("something stays behind")


async def test_a_body_is_read_as_it_comes(serve: Serve) -> None:
    taken: asyncio.Queue[bytes] = asyncio.Queue()

    async def handle(request: Request) -> Response:
        async for piece in request.body.pieces():
            taken.put_nowait(piece)
        return Response(200, "text/plain", b"done")

    running = await serve(handle)
    reader, writer = await running.connect()
    writer.write(CHUNKED + b"3\r\none\r\n")
    assert await asyncio.wait_for(taken.get(), 5) == b"one"
    writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
    assert await asyncio.wait_for(taken.get(), 5) == b"two"
    assert (await reader.read()).endswith(b"done")
    await settled(running)


async def test_what_is_read_as_it_comes_is_not_kept(serve: Serve) -> None:
    async def handle(request: Request) -> Response:
        async for _ in request.body.pieces():
            assert running.server.load.arriving_bytes <= 2 * len(PIECE)
        return Response(200, "text/plain", b"done")

    running = await serve(handle, LONG)
    reader, writer = await running.connect()
    writer.write(CHUNKED)
    for _ in range(12):
        writer.write(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    assert (await reader.read()).endswith(b"done")


async def test_a_body_that_is_too_long_is_refused_as_it_comes(serve: Serve) -> None:
    async def handle(request: Request) -> Response:
        async for _ in request.body.pieces():
            pass
        raise AssertionError("it never ends")

    running = await serve(handle)
    data = await running.talk(HEAD + b"Content-Length: 1001\r\n\r\n")
    assert b" 413 " in data.partition(b"\r\n")[0]
    await settled(running)


async def test_an_answer_is_sent_while_it_is_made(serve: Serve) -> None:
    go = asyncio.Event()

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"one"
        await go.wait()
        yield b"two"

    async def handle(_: Request) -> Streamed:
        return Streamed("a/b", pieces(), (("Incremental", "?1"),))

    running = await serve(handle)
    reader, writer = await running.connect()
    writer.write(WHOLE)
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"Incremental: ?1\r\n" in head
    assert await reader.readexactly(8) == b"3\r\none\r\n"
    go.set()
    assert await reader.read() == b"3\r\ntwo\r\n0\r\n\r\n"
    await settled(running)
    assert [(each.status, each.response_bytes) for each in running.exchanges] == [(200, 6)]


async def test_an_answer_is_made_no_faster_than_it_is_taken(serve: Serve) -> None:
    made = 0

    async def pieces() -> AsyncGenerator[bytes, None]:
        nonlocal made
        for _ in range(400):
            made += 1
            yield PIECE

    async def handle(_: Request) -> Streamed:
        return Streamed("a/b", pieces())

    running = await serve(handle, LONG)
    reader, writer = await running.connect()
    writer.write(WHOLE)
    await asyncio.sleep(0.3)
    assert made < 100, "the sockets' buffers, and no more"
    taken = 0
    while data := await reader.read(1 << 20):
        taken += len(data)
    assert made == 400
    assert taken > 400 * len(PIECE)


async def test_who_goes_away_ends_the_making(serve: Serve) -> None:
    ended = asyncio.Event()

    async def pieces() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"more"
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    async def handle(_: Request) -> Streamed:
        return Streamed("a/b", pieces())

    running = await serve(handle)
    reader, writer = await running.connect()
    writer.write(WHOLE)
    await reader.readuntil(b"more")
    writer.transport.abort()
    await asyncio.wait_for(ended.wait(), 5)
    await settled(running)


@pytest.mark.parametrize("before", [0, 1])
async def test_a_failure_is_an_answer_before_the_first_piece_and_a_broken_end_after_it(
    serve: Serve, before: int
) -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        for _ in range(before):
            yield b"one"
        raise ZeroDivisionError

    async def handle(_: Request) -> Streamed:
        return Streamed("a/b", pieces())

    running = await serve(handle)
    data = await running.talk(WHOLE)
    if before:
        assert not data.endswith(b"0\r\n\r\n")
    else:
        assert b" 500 " in data.partition(b"\r\n")[0]
    await settled(running)


async def test_a_client_that_knows_no_chunks_gets_no_stream(serve: Serve) -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"one"

    async def handle(_: Request) -> Streamed:
        return Streamed("a/b", pieces())

    running = await serve(handle)
    data = await running.talk(b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")
    assert b" 502 " in data.partition(b"\r\n")[0]
    await settled(running)
