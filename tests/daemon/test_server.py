"""The server: what it lets a peer cost, and what it says."""

import asyncio
import gzip
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from seclude.daemon.answering import answering
from seclude.daemon.http1 import RequestHead
from seclude.daemon.limits import ServerLimits
from seclude.daemon.log import Log
from seclude.daemon.messages import Request, Response
from seclude.daemon.server import Server
from seclude.errors import BusyError, ConfigError, OpenError, UnknownKeyError, UpstreamError, UsageError
from tests.daemon.conftest import QUICK

if TYPE_CHECKING:
    from tests.daemon.conftest import Serve

HEAD = b"POST /path?query HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
KEPT = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def sized(body: bytes, head: bytes = HEAD) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes) -> bytes:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 100]), body[i : i + 100]) for i in range(0, len(body), 100))
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return head + await reader.readexactly(int(length.partition(b":")[2]))


class Gate:
    """A handler that waits to be let go."""

    def __init__(self, expected: int = 1) -> None:
        self.entered, self.open, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.expected = expected

    async def __call__(self, request: Request) -> Response:
        await request.body.read()
        self.expected -= 1
        if self.expected <= 0:
            self.entered.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return Response(200, "text/plain", b"done")


async def test_a_handler_sees_the_named_parts_of_a_request_only(serve: "Serve") -> None:
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        return Response(200, body=await request.body.read())

    running = await serve(handler)
    head = b"POST /a%2Fb?q=1 HTTP/1.1\r\nHost: x\r\nContent-Type: a/b; c\r\nAccept: d/e\r\n"
    await running.talk(sized(b"body", head + b"Cookie: f\r\nConnection: close\r\n"))
    request = seen[0]
    assert (request.method, request.path) == ("POST", "/a%2Fb")
    assert (request.content_type, request.accept, request.content_length) == ("a/b; c", "d/e", 4)


@pytest.mark.parametrize("encode", [sized, chunked])
@pytest.mark.parametrize(("length", "expected"), [(999, 200), (1000, 200), (1001, 413), (50_000, 413)])
async def test_a_body_may_have_the_limit_and_not_one_octet_more(
    serve: "Serve", encode: Callable[[bytes], bytes], length: int, expected: int
) -> None:
    running = await serve()
    answer = await running.talk(encode(b"x" * length))
    assert status(answer) == expected
    if expected == 200:
        assert answer.endswith(b"\r\n\r\n" + b"x" * length)


async def test_a_declared_length_over_the_limit_is_refused_before_any_body_comes(serve: "Serve") -> None:
    running = await serve()
    started = time.monotonic()
    answer = await running.talk(HEAD + b"Content-Length: 1073741824\r\n\r\n")
    assert status(answer) == 413
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("framing", [b"Content-Length: 900\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n55\r\nab"])
async def test_a_slow_body_is_answered_with_408_in_time_and_the_connection_closed(
    serve: "Serve", framing: bytes
) -> None:
    running = await serve(limits=ServerLimits(body_timeout=0.3, linger=1.0))
    reader, writer = await running.connect()
    started = time.monotonic()
    writer.write(HEAD.replace(b"Connection: close\r\n", b"") + framing)

    async def drip() -> None:
        for _ in range(10):  # half a second: each octet comes in time, the body does not
            writer.write(b"x")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    assert status(await read_answer(reader)) == 408
    assert 0.25 < time.monotonic() - started < 5
    await dripping
    assert await reader.read() == b""


@pytest.mark.parametrize("first", [b"", b"POST /", b"POST / HTTP/1.1\r\nHost: x\r\nX-A: "])
async def test_a_silent_or_dripping_head_is_closed_in_time_without_an_answer(serve: "Serve", first: bytes) -> None:
    running = await serve()
    started = time.monotonic()
    reader, writer = await running.connect()
    writer.write(first)

    async def drip() -> None:
        while first:
            writer.write(b"x")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    try:
        answer = await reader.read()
    except ConnectionResetError:
        answer = b""
    dripping.cancel()
    writer.close()
    assert answer == b""
    assert 0.25 < time.monotonic() - started < 5


async def test_the_second_head_on_a_connection_has_the_same_time_and_idleness_has_more(serve: "Serve") -> None:
    running = await serve()
    reader, writer = await running.connect()
    writer.write(KEPT)
    await read_answer(reader)
    await asyncio.sleep(0.5)  # longer than the time for a head, shorter than that between requests
    writer.write(KEPT)
    assert status(await read_answer(reader)) == 200
    started = time.monotonic()
    writer.write(b"POST /")
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    assert time.monotonic() - started < 5
    writer.close()


async def test_an_idle_connection_is_closed_after_the_keepalive_time(serve: "Serve") -> None:
    running = await serve(limits=ServerLimits(keepalive=0.3))
    reader, writer = await running.connect()
    writer.write(KEPT)
    await read_answer(reader)
    started = time.monotonic()
    assert await reader.read() == b""
    assert 0.2 < time.monotonic() - started < 5
    writer.close()


async def test_a_head_that_is_too_large_or_has_too_many_fields_is_refused(serve: "Serve") -> None:
    running = await serve()
    assert status(await running.talk(HEAD + b"X: " + b"a" * 17_000 + b"\r\n\r\n")) == 431
    for count, expected in ((61, 200), (62, 200), (63, 431)):  # HEAD has two fields
        fields = b"".join(b"X-%d: 1\r\n" % number for number in range(count))
        assert status(await running.talk(HEAD + fields + b"\r\n")) == expected


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer_Encoding: chunked\r\nConnection: close\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent_Length: 2\r\nConnection: close\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost : x\r\nContent-Length: 0\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_heads_that_two_servers_might_read_differently_are_refused(serve: "Serve", head: bytes) -> None:
    async def handler(request: Request) -> Response:
        raise AssertionError("reached the handler")

    answer = await (await serve(handler)).talk(head)
    assert status(answer) == 400
    assert answer.endswith(b'{"type":"about:blank","title":"Bad Request","status":400}')


async def test_a_body_after_an_upgrade_is_never_read_as_a_request(serve: "Serve") -> None:
    seen: list[str] = []

    async def handler(request: Request) -> Response:
        seen.append(request.path)
        return Response(200)

    running = await serve(handler)
    inner = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"POST / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    started = time.monotonic()
    answer = await running.talk(sized(inner, head))
    assert status(answer) == 400
    assert time.monotonic() - started < 5  # closed by the answer, not by the keepalive time
    assert answer.count(b"HTTP/1.1") == 1
    assert seen == []


async def test_expectations_fail_and_close(serve: "Serve") -> None:
    answer = await (await serve()).talk(
        HEAD.replace(b"close", b"keep-alive") + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    )
    assert status(answer) == 417
    assert b"connection: close" in answer.lower()
    assert b"100 Continue" not in answer


@pytest.mark.parametrize(
    "data", [sized(b"x"), b"GARBAGE secret\r\n\r\n", HEAD + b"Expect: x\r\n\r\n", sized(b"x" * 2000)]
)
async def test_no_answer_names_the_server_or_repeats_the_request(serve: "Serve", data: bytes) -> None:
    answer = (await (await serve()).talk(data)).lower()
    assert b"server:" not in answer
    assert b"python" not in answer
    assert b"secret" not in answer


async def test_a_body_is_not_decompressed(serve: "Serve") -> None:
    bomb = gzip.compress(b"x" * 100_000)
    assert len(bomb) < 1000
    answer = await (await serve()).talk(sized(bomb, HEAD + b"Content-Encoding: gzip\r\n"))
    assert answer.endswith(bomb)


async def test_over_the_limit_in_flight_a_request_is_shed_before_its_body_is_read(serve: "Serve") -> None:
    gate = Gate(expected=2)
    running = await serve(gate)
    waiting = [asyncio.create_task(running.talk(sized(b"x"))) for _ in range(2)]
    await gate.entered.wait()
    assert running.server.inflight == 2
    started = time.monotonic()
    shed = await running.talk(HEAD + b"Content-Length: 500\r\n\r\n")
    assert status(shed) == 503
    assert b"Retry-After: 1\r\n" in shed
    assert time.monotonic() - started < 5
    gate.open.set()
    assert [status(answer) for answer in await asyncio.gather(*waiting)] == [200, 200]
    assert running.server.inflight == 0


async def test_requests_still_on_their_way_shed_nobody(serve: "Serve") -> None:
    running = await serve()
    for _ in range(4):  # twice the limit in flight
        _, writer = await running.connect()
        writer.write(HEAD + b"Content-Length: 500\r\n\r\nx")
    await asyncio.sleep(0.05)
    assert running.server.inflight == 0
    assert status(await running.talk(sized(b"x"))) == 200


async def test_octets_on_their_way_are_bounded_over_all_connections(serve: "Serve") -> None:
    running = await serve(limits=ServerLimits(max_arriving_bytes=1500, body_timeout=5.0))
    _, slow = await running.connect()
    slow.write(HEAD + b"Content-Length: 1000\r\n\r\n" + bytes(900))
    await asyncio.sleep(0.05)
    assert status(await running.talk(HEAD + b"Content-Length: 1000\r\n\r\n" + bytes(900))) == 503
    slow.write(bytes(100))
    await asyncio.sleep(0.05)
    assert status(await running.talk(sized(bytes(900)))) == 200


async def test_a_body_that_does_not_begin_is_answered_with_408_sooner(serve: "Serve") -> None:
    running = await serve(limits=ServerLimits(first_octet_timeout=0.1, body_timeout=60.0))
    assert status(await running.talk(HEAD + b"Content-Length: 5\r\n\r\n")) == 408


async def test_a_get_is_in_flight_from_its_head_on(serve: "Serve") -> None:
    gate = Gate(expected=2)
    running = await serve(gate)
    waiting = [
        asyncio.create_task(running.talk(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) for _ in "ab"
    ]
    await gate.entered.wait()
    assert running.server.inflight == 2
    gate.open.set()
    assert [status(answer) for answer in await asyncio.gather(*waiting)] == [200, 200]


async def test_a_head_is_bounded_as_a_whole(serve: "Serve") -> None:
    running = await serve(limits=ServerLimits(max_head_bytes=4000))
    head = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(5))
    assert status(await running.talk(HEAD + head + b"Content-Length: 0\r\n\r\n")) == 431
    reader, writer = await running.connect()
    for _ in range(5):  # a head that does not end is refused as soon as it is too long
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 900 if not _ else b"\r\nX: " + b"a" * 900)
        await asyncio.sleep(0.02)
    assert status(await reader.read()) == 431


async def test_a_client_that_goes_away_cancels_its_handler(serve: "Serve") -> None:
    gate = Gate()
    running = await serve(gate)
    _, writer = await running.connect()
    writer.write(sized(b"x"))
    await gate.entered.wait()
    writer.transport.abort()
    await asyncio.wait_for(gate.cancelled.wait(), 1)
    await asyncio.sleep(0.05)
    assert running.server.inflight == 0
    assert [(exchange.status, exchange.reason) for exchange in running.exchanges] == [(499, "client_gone")]


async def test_a_body_cut_short_never_looks_whole(serve: "Serve") -> None:
    finished: list[bytes] = []

    async def handler(request: Request) -> Response:
        finished.append(await request.body.read())
        return Response(200)

    running = await serve(handler)
    for data in (HEAD + b"Content-Length: 10\r\n\r\nabc", HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc"):
        _, writer = await running.connect()
        writer.write(data)
        await writer.drain()
        writer.close()
        await asyncio.sleep(0.05)
    answer = await running.talk(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n")
    assert answer == b"" or status(answer) == 400
    assert finished == []


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (OpenError("which step failed"), 400),
        (UnknownKeyError("key 7"), 422),
        (BusyError("full", retry_after_seconds=7), 503),
        (UpstreamError("10.0.0.1 refused"), 502),
        (UpstreamError("10.0.0.1 slow", timed_out=True), 504),
        (UsageError("opened twice"), 500),
        (ValueError("a secret"), 500),
        (TimeoutError(), 500),
    ],
)
async def test_an_error_becomes_a_problem_document_without_its_text(
    serve: "Serve", raised: Exception, expected: int
) -> None:
    async def handler(request: Request) -> Response:
        raise raised

    answer = await (await serve(handler)).talk(sized(b""))
    assert status(answer) == expected
    assert b"application/problem+json" in answer
    assert not str(raised) or str(raised).encode() not in answer
    assert (b"Retry-After: 7" in answer) == isinstance(raised, BusyError)


async def test_a_bug_is_logged_by_the_name_of_its_class_only(capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(request: Request) -> Response:
        raise ValueError("a secret")

    server = Server(answering(handler), log=Log("test"))
    host, _, port = (await server.start("127.0.0.1:0")).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sized(b""))
    assert status(await reader.read()) == 500
    writer.close()
    await server.drain(within=1)
    logged = capsys.readouterr().err
    assert '"event":"handler_failed","error":"ValueError"' in logged
    assert "secret" not in logged
    assert "127.0.0.1" not in logged


async def test_draining_finishes_what_is_in_flight_and_refuses_new_connections(serve: "Serve") -> None:
    gate = Gate()
    running = await serve(gate)
    idle, idle_writer = await running.connect()
    busy = asyncio.create_task(running.talk(sized(b"x", HEAD.replace(b"Connection: close\r\n", b""))))
    await gate.entered.wait()
    draining = asyncio.create_task(running.server.drain(within=5))
    await asyncio.sleep(0.1)
    with pytest.raises(ConnectionRefusedError):
        await running.connect()
    gate.open.set()
    answer = await busy
    assert status(answer) == 200
    assert b"connection: close" in answer.lower()
    assert await draining
    assert await idle.read() == b""
    idle_writer.close()


async def test_a_request_that_is_on_its_way_when_draining_begins_is_still_answered(serve: "Serve") -> None:
    running = await serve()
    fresh, fresh_writer = await running.connect()
    kept, kept_writer = await running.connect()
    kept_writer.write(KEPT)
    await read_answer(kept)
    draining = asyncio.create_task(running.server.drain(within=5))
    await asyncio.sleep(0.1)
    for reader, writer in ((fresh, fresh_writer), (kept, kept_writer)):
        writer.write(KEPT)
        assert status(await reader.read()) == 200
    assert await draining


async def test_draining_delivers_an_answer_that_the_socket_could_not_take_at_once(serve: "Serve") -> None:
    large = b"x" * (16 << 20)

    async def handler(request: Request) -> Response:
        return Response(200, body=large)

    running = await serve(handler, ServerLimits())
    reader, writer = await running.connect()
    writer.write(sized(b""))
    head = await reader.readuntil(b"\r\n\r\n")
    draining = asyncio.create_task(running.server.drain(within=5))
    await asyncio.sleep(0.2)
    assert await reader.read() == large
    assert b"200" in head
    await draining
    writer.close()


async def test_what_is_left_at_the_deadline_is_cancelled(serve: "Serve") -> None:
    gate = Gate()
    running = await serve(gate)
    busy = asyncio.create_task(running.talk(sized(b"x")))
    await gate.entered.wait()
    started = time.monotonic()
    assert not await running.server.drain(within=0.3)
    assert gate.cancelled.is_set()
    assert time.monotonic() - started < 5
    assert await busy == b""


async def test_retired_connections_close_after_their_next_answer_while_new_ones_are_still_taken(serve: "Serve") -> None:
    running = await serve()
    reader, writer = await running.connect()
    writer.write(KEPT)
    assert b"connection: close" not in (await read_answer(reader)).lower()
    running.server.retire_connections()
    writer.write(KEPT)
    assert b"connection: close" in (await reader.read()).lower()
    writer.close()
    assert status(await running.talk(sized(b"x"))) == 200


async def test_a_peer_that_does_not_read_its_answer_is_cut_off(serve: "Serve") -> None:
    async def handler(request: Request) -> Response:
        return Response(200, body=b"x" * (32 << 20))

    running = await serve(handler)
    reader, writer = await running.connect()
    writer.write(sized(b""))
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(0.8)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await reader.readexactly(32 << 20)
    writer.close()


async def test_connections_over_the_limit_are_dropped_and_others_stay(serve: "Serve") -> None:
    running = await serve(limits=ServerLimits(max_connections=2))
    kept = [await running.connect() for _ in range(2)]
    reader, writer = await running.connect()
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()
    for reader, writer in kept:
        writer.write(KEPT)
        assert status(await read_answer(reader)) == 200
        writer.close()


async def test_pipelined_requests_are_answered_in_order(serve: "Serve") -> None:
    running = await serve()
    answer = await running.talk(KEPT + KEPT.replace(b"hi", b"ho") + sized(b"end"))
    assert answer.count(b"HTTP/1.1 200") == 3
    assert answer.index(b"hi") < answer.index(b"ho") < answer.index(b"end")


async def test_exchanges_are_reported_with_status_reason_and_sizes(serve: "Serve") -> None:
    running = await serve()
    await running.talk(sized(b"x" * 7))
    await running.talk(sized(b"x" * 2000))
    await running.talk(b"GARBAGE\r\n\r\n")
    shown = [(each.status, each.reason, each.request_bytes) for each in running.exchanges]
    assert shown == [(200, "ok", 7), (413, "too_large", 0), (400, "malformed", 0)]


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.org:0"])
async def test_plaintext_on_anything_but_loopback_is_refused(listen: str) -> None:
    with pytest.raises(ConfigError, match="not loopback"):
        await Server(answering(Gate())).start(listen)


async def test_plaintext_elsewhere_is_served_when_asked_for() -> None:
    server = Server(answering(Gate()), insecure_plaintext=True)
    assert (await server.start("0.0.0.0:0")).startswith("0.0.0.0:")
    await server.drain(within=0.1)


async def test_a_server_listens_on_a_unix_socket_and_takes_over_a_stale_one(serve: "Serve", tmp_path: Path) -> None:
    path = tmp_path / "socket"
    for _ in range(2):
        running = await serve(listen=f"unix:{path}")
        assert running.address == f"unix:{path}"
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(sized(b"x"))
        assert status(await reader.read()) == 200
        writer.close()
        await running.server.drain(within=0.1)


async def test_an_address_in_use_is_a_config_error(serve: "Serve") -> None:
    running = await serve()
    with pytest.raises(ConfigError, match="cannot listen"):
        await serve(listen=running.address)


async def test_a_server_starts_once(serve: "Serve") -> None:
    running = await serve()
    with pytest.raises(UsageError):
        await running.server.start("127.0.0.1:0")


async def test_limits_may_be_changed_one_by_one(serve: "Serve") -> None:
    running = await serve(limits=replace(ServerLimits(), max_body_bytes=1))
    assert status(await running.talk(sized(b"x"))) == 200
    assert status(await running.talk(sized(b"xx"))) == 413


async def test_who_takes_no_answers_is_answered_no_more_until_it_does(serve: "Serve") -> None:
    """Or else one connection, full of requests, would fill the memory with their answers."""
    answered = 0

    async def handler(request: Request) -> Response:
        nonlocal answered
        answered += 1
        return Response(200, "a/b", b"z" * 20_000)

    running = await serve(handler, replace(ServerLimits(), send_timeout=20.0))
    asked = 2000
    reader, writer = await running.connect()
    cast(asyncio.Transport, writer.transport).pause_reading()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * asked)
    before = -1
    while answered != before:
        before = answered
        await asyncio.sleep(0.2)
    assert answered < asked // 2
    (connection,) = running.server._open
    assert connection._transport is not None
    assert connection._transport.get_write_buffer_size() < 1 << 17
    cast(asyncio.Transport, writer.transport).resume_reading()
    for _ in range(asked):
        assert status(await asyncio.wait_for(read_answer(reader), 5)) == 200
    assert answered == asked


async def test_what_was_sent_ahead_does_not_cost_the_answer_before_it(serve: "Serve") -> None:
    """Closing with octets unread would reset the connection, and the answer would be lost with it."""

    async def handler(request: Request) -> Response:
        await asyncio.sleep(0.3)
        return Response(200, "a/b", b"z" * 3_000_000)

    running = await serve(handler, replace(ServerLimits(), linger=1.0))
    reader, writer = await running.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await asyncio.sleep(0.1)
    for _ in range(3):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
        await asyncio.sleep(0.02)
    assert len(await asyncio.wait_for(read_answer(reader), 10)) > 3_000_000


async def test_connections_that_wait_to_be_accepted_when_draining_begins_are_served(serve: "Serve") -> None:
    running = await serve(limits=ServerLimits())
    host, _, port = running.address.rpartition(":")
    clients = [socket.create_connection((host, int(port))) for _ in range(20)]  # blocking, so that nobody accepts
    for client in clients:
        client.sendall(KEPT)
    assert await running.server.drain(within=5)
    for client in clients:
        client.settimeout(5)
        answer = await asyncio.to_thread(client.recv, 1000)
        assert status(answer) == 200
        assert b"Connection: close" in answer
        client.close()


async def test_a_retired_connection_says_so_before_it_ends(serve: "Serve") -> None:
    """Also where an answer's head was out already: a client must not send into a connection that is going."""
    gate = Gate()
    running = await serve(gate)
    reader, writer = await running.connect()
    writer.write(KEPT)
    await gate.entered.wait()
    (connection,) = running.server._open
    last_fields = connection.last_fields

    def late(request: RequestHead) -> str:
        fields = last_fields(request)
        connection.retire()
        return fields

    connection.last_fields = late  # type: ignore[method-assign]
    gate.open.set()
    assert b"connection: close" not in (await read_answer(reader)).lower()
    writer.write(KEPT)
    assert b"connection: close" in (await reader.read()).lower()
    writer.close()


@pytest.mark.parametrize(("sent", "reason"), [(b"", "slow_head"), (b"GET / HT", "slow_head"), (KEPT, None)])
async def test_slow_heads_are_counted_and_idleness_is_not(serve: "Serve", sent: bytes, reason: str | None) -> None:
    running = await serve(limits=replace(QUICK, keepalive=0.3))
    reader, writer = await running.connect()
    writer.write(sent)
    await asyncio.wait_for(reader.read(), 3)
    assert {name: count for name, count in running.server.dropped.items() if count} == ({reason: 1} if reason else {})
    writer.close()


async def test_answers_that_are_not_taken_are_counted(serve: "Serve") -> None:
    async def handler(request: Request) -> Response:
        return Response(200, body=b"x" * (32 << 20))

    running = await serve(handler)
    _, writer = await running.connect()
    cast(asyncio.Transport, writer.transport).pause_reading()
    writer.write(sized(b""))
    async with asyncio.timeout(5):
        while not running.server.dropped["unread_answer"]:  # noqa: ASYNC110 - a plain count
            await asyncio.sleep(0.05)
    writer.transport.abort()
