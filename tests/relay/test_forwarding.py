"""What arrives at the gateway and what comes back, octet by octet."""

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.relay.conftest import Gateway, Running, Streams

PATH = b"/.well-known/ohttp-gateway"
KIND = b"Content-Type: message/ohttp-req\r\n"
HOSTILE = (
    b"User-Agent: canary/1\r\nCookie: id=canary\r\nX-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n"
    b"Via: 1.1 canary\r\nAccept-Encoding: gzip, canary\r\nAccept-Language: canary\r\nAccept: canary/canary\r\n"
    b"X-Canary: canary\r\nConnection: close, X-Canary\r\nProxy-Connection: canary\r\nKeep-Alive: timeout=9\r\n"
    b"TE: trailers\r\nTrailer: X-Canary\r\nAuthorization: Bearer canary\r\nOrigin: https://canary\r\n"
    b"Referer: https://canary/\r\nPriority: u=1\r\nTraceparent: 00-canary\r\nIf-None-Match: canary\r\n"
    b"Range: bytes=0-1\r\nContent-Encoding: canary\r\nCache-Control: canary\r\nDate: canary\r\nIncremental: ?1\r\n"
)


def post(body: bytes, fields: bytes = b"Connection: close\r\n", query: bytes = b"") -> bytes:
    head = b"POST %s%s HTTP/1.1\r\nHost: client.example\r\n" % (PATH, query)
    return head + KIND + fields + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes, trailers: bytes = b"") -> bytes:
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n" % PATH
    return head + KIND + b"\r\n%x;canary=1\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, trailers)


def get(fields: bytes = b"", query: bytes = b"") -> bytes:
    return b"GET %s%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n" % (PATH, query, fields)


def parse(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in rest), body


async def test_the_gateway_gets_a_request_written_from_scratch(relay: "Running", gateway: "Gateway") -> None:
    status, fields, body = parse(await relay.talk(post(b"sealed request", HOSTILE, b"?canary=1")))
    assert (status, fields["content-type"], body) == (200, "message/ohttp-res", b"sealed")
    host = gateway.address.removeprefix("http://").encode()
    head = b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: message/ohttp-req\r\n" % (PATH, host)
    assert gateway.posts == [head + b"Content-Length: 14\r\n\r\nsealed request"]


async def test_two_clients_differ_in_their_bodies_only(relay: "Running", gateway: "Gateway") -> None:
    plain = (
        b"POST %s HTTP/1.1\r\nHost: other\r\ncontent-type:Message/OHTTP-Req ;canary=1\r\nConnection: close\r\n" % PATH
    )
    for data in (
        post(b"first.", HOSTILE),
        plain + b"Content-Length: 000006\r\n\r\nsecond",
        chunked(b"third.", b"X-Canary: canary\r\n"),
        post(b"fourth", b"Connection: close\r\n" + b"X-A: b\r\n" * 30),
    ):
        assert parse(await relay.talk(data))[0] == 200
    bodies = [b"first.", b"second", b"third.", b"fourth"]
    assert [request[-6:] for request in gateway.posts] == bodies
    assert len({request[:-6] for request in gateway.posts}) == 1
    assert not any(b"canary" in request for request in gateway.posts)


@pytest.mark.parametrize("length", [1, 999, 1000])
async def test_a_body_up_to_the_limit_arrives_whole(relay: "Running", gateway: "Gateway", length: int) -> None:
    assert parse(await relay.talk(post(b"x" * length)))[0] == 200
    assert gateway.posts[0].endswith(b"\r\n\r\n" + b"x" * length)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (post(b"x" * 1001), 413),
        (chunked(b"x" * 1001), 413),
        (post(b"", b"Content-Length: 99999999999\r\nConnection: close\r\n"), 400),
        (post(b""), 400),
        (
            b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n%s\r\n0\r\n\r\n"
            % (PATH, KIND),
            400,
        ),
        (post(b"x").replace(b"message/ohttp-req", b"message/ohttp-chunked-res"), 415),
        (post(b"x").replace(KIND, b""), 415),
        (post(b"x").replace(PATH, b"/"), 404),
        (post(b"x").replace(PATH, b"/.well-known/x/../ohttp-gateway"), 404),
        (post(b"x").replace(b"POST", b"PUT"), 405),
        (post(b"x", b"Expect: 100-continue\r\n"), 417),
        (post(b"x").replace(b"HTTP/1.1", b"HTTP/9.9"), 400),
        (get(b"Accept: text/html\r\n"), 406),
    ],
)
async def test_what_is_refused_never_reaches_the_gateway(
    relay: "Running", gateway: "Gateway", data: bytes, expected: int
) -> None:
    status, fields, body = parse(await relay.talk(data))
    assert status == expected
    assert fields["content-type"] == "application/problem+json"
    assert json.loads(body)["status"] == expected
    assert gateway.posts == []


async def test_a_body_that_stops_coming_is_answered_with_408_and_never_forwarded(
    relay: "Running", gateway: "Gateway"
) -> None:
    started = time.monotonic()
    assert parse(await relay.talk(post(b"x" * 100)[:-50]))[0] == 408
    assert time.monotonic() - started < 5
    assert gateway.posts == []


FIELDS = (
    b"Set-Cookie: id=canary\r\nLocation: https://canary/\r\nX-Forwarded-For: 192.0.2.1\r\nServer: canary\r\n"
    b"Via: 1.1 canary\r\nETag: canary\r\nCache-Control: canary\r\nAlt-Svc: canary\r\nProxy-Status: canary\r\n"
    b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Encoding: canary\r\nTrailer: X-Canary\r\nRetry-After: canary\r\n"
    b"Content-Disposition: canary\r\nVary: canary\r\nAge: 42\r\nWarning: canary\r\nLink: canary\r\nNEL: canary\r\n"
)


@pytest.mark.parametrize(
    ("line", "kind", "expected"),
    [
        (b"200 canary", b"message/ohttp-res; canary=1", 200),
        (b"206 Partial", b"message/ohttp-res", 502),
        (b"302 Found", b"message/ohttp-res", 502),
        (b"307 Go", b"message/ohttp-res", 502),
        (b"200 OK", b"text/html", 502),
        (b"422 canary", b"application/problem+json", 422),
        (b"503 canary", b"application/problem+json", 503),
        (b"299 canary", b"message/ohttp-res", 502),
    ],
)
async def test_nothing_but_the_answer_itself_comes_back(
    relay: "Running", gateway: "Gateway", line: bytes, kind: bytes, expected: int
) -> None:
    body = b'{"type":"canary","detail":"canary"}' if b"json" in kind else b"sealed"
    gateway.post = b"HTTP/1.1 %s\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s" % (
        line,
        kind,
        FIELDS,
        len(body),
        body,
    )
    answer = await relay.talk(post(b"x"))
    status, fields, _ = parse(answer)
    assert status == expected
    assert b"canary" not in answer
    assert b"1970" not in answer
    assert set(fields) == {"content-type", "content-length", "date", "connection"}


async def test_a_huge_or_endless_answer_is_a_bad_gateway(relay: "Running", gateway: "Gateway") -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: message/ohttp-res\r\n"
    gateway.post = head + b"Content-Length: 2000000000\r\n\r\n" + b"x" * 1000
    assert parse(await relay.talk(post(b"x")))[0] == 502


@pytest.mark.parametrize("framing", [b"Content-Length: 100000", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("end", ["close", "silence", "never"])
async def test_an_answer_that_breaks_off_never_looks_whole(
    relay: "Running", gateway: "Gateway", framing: bytes, end: str
) -> None:
    async def begin(streams: "Streams") -> None:
        writer = streams[1]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: message/ohttp-res\r\n" + framing + b"\r\n\r\n")
        writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)
        while end == "never" and b"chunked" in framing:
            writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            await writer.drain()
        if end == "close":
            writer.close()
        else:
            await streams[0].read()

    gateway.post = begin
    reader, writer = await relay.connect()
    writer.write(post(b"x"))
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    body = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := await reader.read(1 << 16):
            body += piece
    assert not body.endswith(b"0\r\n\r\n")
    assert len(body) < 100_000 or b"chunked" in framing


async def test_a_gateway_that_breaks_off_is_a_bad_gateway_and_is_asked_once(
    relay: "Running", gateway: "Gateway"
) -> None:
    async def close(streams: "Streams") -> None:
        streams[1].close()

    for script in (close, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nx", b"junk\r\n\r\n"):
        gateway.posts.clear()
        gateway.post = script
        assert parse(await relay.talk(post(b"x")))[0] in (502, 504)
        assert len(gateway.posts) == 1


async def test_a_slow_gateway_is_a_timeout(relay: "Running", gateway: "Gateway") -> None:
    async def hang(streams: "Streams") -> None:
        await streams[0].readexactly(1)

    gateway.post = hang
    started = time.monotonic()
    assert parse(await relay.talk(post(b"x")))[0] == 504
    assert 0.4 < time.monotonic() - started < 5
    assert len(gateway.posts) == 1


async def test_a_client_that_goes_away_takes_its_request_back_from_the_gateway(
    relay: "Running", gateway: "Gateway"
) -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def hang(streams: "Streams") -> None:
        arrived.set()
        assert await streams[0].read() == b""
        gone.set()

    gateway.post = hang
    _, writer = await relay.connect()
    writer.write(post(b"x"))
    await arrived.wait()
    writer.transport.abort()
    await asyncio.wait_for(gone.wait(), 0.4)  # sooner than the relay would give up by itself


async def test_no_request_for_keys_reaches_the_gateway_and_all_answers_are_equal(
    relay: "Running", gateway: "Gateway"
) -> None:
    answers = set()
    for data in (
        get(),
        get(query=b"?fresh=1"),
        get(b"If-None-Match: *\r\nIf-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT\r\nCache-Control: no-cache\r\n"),
        get(b"Range: bytes=0-3\r\nCookie: a=b\r\nAccept: */*\r\n"),
        get(b"Accept: application/ohttp-keys\r\nAccept-Encoding: gzip\r\n"),
    ):
        status, fields, body = parse(await relay.talk(data))
        fields.pop("date")
        answers.add((status, tuple(sorted(fields.items())), body))
    assert len(answers) == 1
    (status, _, body) = answers.pop()
    assert (status, body) == (200, gateway.keys)
    assert len(gateway.gets) == 2, "its own, for the bundles and for the list"


async def test_the_bundle_is_served_to_those_who_ask_for_it(relay: "Running", gateway: "Gateway") -> None:
    status, fields, body = parse(await relay.talk(get(b"Accept: application/seclude-key-bundles\r\n")))
    assert (status, fields["content-type"], body) == (200, "application/seclude-key-bundles", gateway.bundles)


CHUNKED_HEAD = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: message/ohttp-chunked-req\r\n" % PATH
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: message/ohttp-chunked-res\r\nTransfer-Encoding: chunked\r\n\r\n"


async def answer_in_pieces(streams: "Streams") -> None:
    _, writer = streams
    writer.write(STREAM_HEAD + b"3\r\none\r\n")
    await asyncio.sleep(0.2)
    writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
    await writer.drain()


async def test_an_answer_in_chunks_is_passed_on_as_it_comes(relay: "Running", gateway: "Gateway") -> None:
    gateway.post = answer_in_pieces
    reader, writer = await relay.connect()
    writer.write(CHUNKED_HEAD + b"Content-Length: 7\r\n\r\nchunked")
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"Incremental: ?1\r\n" in head
    assert b"Content-Type: message/ohttp-chunked-res\r\n" in head
    assert await reader.readexactly(8) == b"3\r\none\r\n"
    began = asyncio.get_running_loop().time()
    assert await reader.readexactly(13) == b"3\r\ntwo\r\n0\r\n\r\n"
    assert asyncio.get_running_loop().time() - began > 0.1
    assert b"Incremental: ?1\r\n" in gateway.posts[0]
    assert b"Content-Type: message/ohttp-chunked-req\r\n" in gateway.posts[0]


async def test_a_request_in_chunks_is_passed_on_from_its_first_octet(relay: "Running", gateway: "Gateway") -> None:
    arrived = asyncio.Event()

    async def hear(streams: "Streams") -> None:
        reader, writer = streams
        assert await reader.readexactly(8) == b"3\r\none\r\n"
        arrived.set()
        assert await reader.readexactly(13) == b"3\r\ntwo\r\n0\r\n\r\n"
        writer.write(STREAM_HEAD + b"2\r\nok\r\n0\r\n\r\n")

    gateway.post = hear
    reader, writer = await relay.connect()
    writer.write(CHUNKED_HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
    async with asyncio.timeout(5):
        await arrived.wait()
    writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
    assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"2\r\nok\r\n0\r\n\r\n")


async def test_a_stream_that_breaks_off_is_broken_off(relay: "Running", gateway: "Gateway") -> None:
    async def break_off(streams: "Streams") -> None:
        _, writer = streams
        writer.write(STREAM_HEAD + b"3\r\none\r\n")
        await writer.drain()
        writer.close()

    gateway.post = break_off
    data = await relay.talk(CHUNKED_HEAD + b"Content-Length: 7\r\n\r\nchunked")
    assert not data.endswith(b"0\r\n\r\n")


async def test_a_request_in_chunks_has_no_whole_answer(relay: "Running", gateway: "Gateway") -> None:
    head = CHUNKED_HEAD + b"Connection: close\r\nContent-Length: 7\r\n\r\nchunked"
    assert parse(await relay.talk(head))[0] == 502


async def test_a_stream_may_take_longer_than_an_answer(relay: "Running", gateway: "Gateway") -> None:
    async def slow(streams: "Streams") -> None:
        _, writer = streams
        writer.write(STREAM_HEAD)
        for _ in range(8):  # the relay of these tests gives an answer half a second
            writer.write(b"1\r\nx\r\n")
            await asyncio.sleep(0.1)
        writer.write(b"0\r\n\r\n")

    gateway.post = slow
    data = await relay.talk(CHUNKED_HEAD + b"Connection: close\r\nContent-Length: 7\r\n\r\nchunked")
    assert data.endswith(b"0\r\n\r\n")
    assert data.count(b"1\r\nx\r\n") == 8
