"""The next hop: exactly which octets are sent, and what is believed of the answer."""

import asyncio
import contextlib
import gzip
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from seclude.daemon.outbound import Attempt, ExchangeError
from seclude.daemon.upstream import Upstream, UpstreamTimeouts, Whole
from seclude.errors import ConfigError

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Script = bytes | Callable[[Streams], Awaitable[None]]
QUICK = UpstreamTimeouts(connect=0.5, total=0.4)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: a/b\r\n\r\nhi"


class Recorder:
    """A server that keeps what it got and answers each request on a connection with the next of its scripts."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.requests: list[bytes] = []
        self.connections = 0
        self.address = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.scripts:
                head = await reader.readuntil(b"\r\n\r\n")
                _, _, length = head.lower().partition(b"content-length: ")
                body = await reader.readexactly(int(length.partition(b"\r\n")[0] or b"0"))
                self.requests.append(head + body)
                script = self.scripts.pop(0)
                if isinstance(script, bytes):
                    writer.write(script)
                    await writer.drain()
                else:
                    await script((reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


Record = Callable[..., Awaitable[tuple[Recorder, Upstream]]]


@pytest.fixture
async def record() -> AsyncIterator[Record]:
    servers: list[asyncio.Server] = []
    upstreams: list[Upstream] = []

    async def start(*scripts: Script, **options: object) -> tuple[Recorder, Upstream]:
        recorder = Recorder(*scripts)
        servers.append(await asyncio.start_server(recorder, "127.0.0.1", 0))
        recorder.address = f"127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"
        upstreams.append(Upstream(f"http://{recorder.address}", **{"timeouts": QUICK, **options}))  # type: ignore[arg-type]
        return recorder, upstreams[-1]

    yield start
    for upstream in upstreams:
        await upstream.close()
    for server in servers:
        server.close()
        await server.wait_closed()
    await asyncio.sleep(0.05)  # the recorders see the end of their connections


async def test_a_post_has_exactly_these_octets(record: Record) -> None:
    recorder, upstream = await record(OK)
    answer = await upstream.exchange("POST", "/a%2Fb", content_type="x/y", body=b"body")
    assert (answer.status, answer.content_type, answer.body, answer.retry_after) == (200, "a/b", b"hi", None)
    head = f"POST /a%2Fb HTTP/1.1\r\nHost: {recorder.address}\r\nContent-Type: x/y\r\nContent-Length: 4\r\n\r\nbody"
    assert recorder.requests == [head.encode()]


async def test_a_get_has_exactly_these_octets(record: Record) -> None:
    recorder, upstream = await record(OK, OK)
    await upstream.exchange("GET", "/", accept="x/y")
    await upstream.exchange("GET", "/")
    host = f"Host: {recorder.address}\r\n"
    assert recorder.requests == [
        f"GET / HTTP/1.1\r\n{host}Accept: x/y\r\n\r\n".encode(),
        f"GET / HTTP/1.1\r\n{host}\r\n".encode(),
    ]


async def test_connections_are_kept(record: Record) -> None:
    recorder, upstream = await record(OK, OK, OK)
    for _ in range(3):
        await upstream.exchange("POST", "/", body=b"x")
    assert recorder.connections == 1


async def test_a_refused_connection_is_no_answer() -> None:
    upstream = Upstream("http://127.0.0.1:1")
    with pytest.raises(ExchangeError) as caught:
        await upstream.exchange("POST", "/", body=b"x")
    assert (caught.value.answered, caught.value.timed_out) == (False, False)
    assert "127.0.0.1" not in str(caught.value)
    await upstream.close()


async def close(streams: Streams) -> None:
    streams[1].close()


async def reset(streams: Streams) -> None:
    streams[1].get_extra_info("socket").setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER of zero: RST
    streams[1].transport.abort()


def after(data: bytes, then: Callable[[Streams], Awaitable[None]]) -> Callable[[Streams], Awaitable[None]]:
    async def script(streams: Streams) -> None:
        streams[1].write(data)
        await streams[1].drain()
        await asyncio.sleep(0.05)
        await then(streams)

    return script


@pytest.mark.parametrize("before", [(), (OK,)])
@pytest.mark.parametrize(
    ("script", "answered"),
    [
        (close, False),
        (reset, False),
        (after(b"H", close), True),
        (after(b"H", reset), True),
        (after(b"HTTP/1.1 200 OK\r\n", close), True),
        (after(OK[:-1], close), True),
        (after(OK[:-1], reset), True),
        (b"garbage\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", True),
    ],
)
async def test_a_broken_exchange_says_whether_any_octet_of_an_answer_came(
    record: Record, script: Script, answered: bool, before: tuple[Script, ...]
) -> None:
    recorder, upstream = await record(*before, script)
    for _ in before:  # the next request then goes over the kept connection, on which an earlier answer came
        await upstream.exchange("POST", "/", body=b"x")
    with pytest.raises(ExchangeError) as caught:
        await upstream.exchange("POST", "/", body=b"x")
    assert caught.value.answered is answered
    assert not caught.value.timed_out
    assert len(recorder.requests) == len(before) + 1


async def hang(streams: Streams) -> None:
    await streams[0].read()


@pytest.mark.parametrize("sent", [b"", b"H", OK[:-1]])
async def test_a_slow_next_hop_times_out_and_may_have_answered(record: Record, sent: bytes) -> None:
    _, upstream = await record(after(sent, hang))
    started = time.monotonic()
    with pytest.raises(ExchangeError) as caught:
        await upstream.exchange("POST", "/", body=b"x")
    assert (caught.value.timed_out, caught.value.answered) == (True, True)
    assert 0.3 < time.monotonic() - started < 5


@pytest.mark.parametrize(("length", "whole"), [(999, True), (1000, True), (1001, False), (100_000, False)])
@pytest.mark.parametrize("framing", ["sized", "chunked", "until close"])
async def test_an_answer_may_have_the_limit_and_not_one_octet_more(
    record: Record, framing: str, length: int, whole: bool
) -> None:
    body = b"x" * length
    answers = {
        "sized": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (length, body),
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (length, body),
        "until close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body,
    }
    _, upstream = await record(after(answers[framing], close), max_answer_bytes=1000)
    if whole and framing != "until close":  # where nobody can tell whether it was cut short
        assert (await upstream.exchange("POST", "/", body=b"x")).body == body
    else:
        with pytest.raises(ExchangeError):
            await upstream.exchange("POST", "/", body=b"x")


async def test_redirects_cookies_and_codings_of_the_answer_have_no_effect(record: Record) -> None:
    packed = gzip.compress(b"x" * 1000)
    fields = b"Location: /elsewhere\r\nSet-Cookie: a=b; Path=/\r\nContent-Encoding: gzip\r\nRetry-After: 3\r\n"
    redirect = b"HTTP/1.1 307 Go\r\n%sContent-Length: %d\r\n\r\n%s" % (fields, len(packed), packed)
    recorder, _ = await record(redirect, OK)
    upstream = Upstream(f"http://localhost:{recorder.address.rpartition(':')[2]}")
    answer = await upstream.exchange("POST", "/", body=b"x")
    assert (answer.status, answer.body, answer.retry_after) == (307, packed, "3")
    await upstream.exchange("POST", "/", body=b"x")
    assert recorder.requests[0] == recorder.requests[1]
    await upstream.close()


async def test_the_environment_has_no_effect(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    _, upstream = await record(OK)
    assert (await upstream.exchange("GET", "/")).status == 200


async def test_a_caller_that_gives_up_closes_the_connection(record: Record) -> None:
    gone = asyncio.Event()

    async def watch(streams: Streams) -> None:
        await streams[0].read()
        gone.set()

    _, upstream = await record(watch)
    task = asyncio.create_task(upstream.exchange("POST", "/", body=b"x"))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(gone.wait(), 1)


def begin(upstream: Upstream) -> tuple[Attempt, Whole]:
    """Begin to ask for something, in a way that can be given up."""
    whole = Whole(1000)
    attempt = upstream.begin(upstream.prepare("POST", "/"), 1, b"x", whole)
    attempt.end()
    return attempt, whole


async def failure_of(whole: Whole) -> ExchangeError:
    with pytest.raises(ExchangeError) as caught:
        await whole.result
    return caught.value


@pytest.mark.parametrize("before", [0, 1])
async def test_a_silent_exchange_can_be_given_up(record: Record, before: int) -> None:
    recorder, upstream = await record(*[OK] * before, hang, timeouts=UpstreamTimeouts(total=30))
    for _ in range(before):
        await upstream.exchange("POST", "/", body=b"x")
    attempt, whole = begin(upstream)
    await asyncio.sleep(0.1)
    attempt.give_up()
    error = await failure_of(whole)
    assert (error.timed_out, error.sent, error.answered, attempt.given_up) == (True, True, False, True)
    assert len(recorder.requests) == before + 1


@pytest.mark.parametrize("sent", [b"H", OK[:-1]])
async def test_an_exchange_with_an_octet_of_an_answer_is_not_given_up(record: Record, sent: bytes) -> None:
    _, upstream = await record(after(sent, hang))
    attempt, whole = begin(upstream)
    await asyncio.sleep(0.1)
    attempt.give_up()
    error = await failure_of(whole)
    assert (error.timed_out, error.answered, attempt.given_up) == (True, True, False)


async def test_giving_up_what_is_over_or_was_given_up_changes_nothing(record: Record) -> None:
    _, upstream = await record(OK, hang, OK, timeouts=UpstreamTimeouts(total=30))
    over, whole = begin(upstream)
    assert (await whole.result).status == 200
    over.give_up()
    assert not over.given_up
    twice, whole = begin(upstream)
    await asyncio.sleep(0.05)
    for _ in range(2):
        twice.give_up()
    assert not (await failure_of(whole)).answered
    assert (await upstream.exchange("POST", "/", body=b"x")).status == 200


async def test_what_is_given_up_before_there_is_a_connection_was_not_sent(record: Record) -> None:
    recorder, upstream = await record(OK)
    attempt, whole = begin(upstream)
    attempt.give_up()
    assert not (await failure_of(whole)).sent
    await asyncio.sleep(0.05)
    assert recorder.requests == []
    assert (await upstream.exchange("POST", "/", body=b"x")).status == 200
    assert recorder.connections == 1, "the connection that was made is used by the next"


async def test_whether_anything_was_sent_is_known(record: Record) -> None:
    _, upstream = await record(close)
    with pytest.raises(ExchangeError) as caught:
        await upstream.exchange("POST", "/", body=b"x")
    assert caught.value.sent
    nobody = Upstream("http://127.0.0.1:1")
    attempt, whole = begin(nobody)
    assert not (await failure_of(whole)).sent
    attempt.give_up()
    assert not attempt.given_up, "it is over"
    await nobody.close()


async def test_a_unix_socket_is_an_address_too(tmp_path: Path) -> None:
    recorder = Recorder(OK)
    server = await asyncio.start_unix_server(recorder, tmp_path / "socket")
    upstream = Upstream(f"unix:{tmp_path / 'socket'}")
    assert (await upstream.exchange("POST", "/ohttp", body=b"x")).body == b"hi"
    assert recorder.requests == [b"POST /ohttp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"]
    await upstream.close()
    server.close()
    await asyncio.sleep(0.05)
    with pytest.raises(ExchangeError) as caught:
        await upstream.exchange("POST", "/", body=b"x")
    assert not caught.value.answered
    await upstream.close()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1:80",
        "ftp://127.0.0.1",
        "http://",
        "http://127.0.0.1:99999",
        "http://127.0.0.1/path",
        "unix:",
        "http://user@127.0.0.1",
        "http://127.0.0.1?q",
        "http://127.0.0.1#f",
        "http://[::1",
    ],
)
def test_anything_else_is_no_address(address: str) -> None:
    with pytest.raises(ConfigError):
        Upstream(address)


def test_plain_http_goes_to_this_machine_only_unless_asked_for() -> None:
    for address in ("http://192.0.2.1:80", "http://gateway.example:80"):
        with pytest.raises(ConfigError, match="https"):
            Upstream(address)
        Upstream(address, insecure_plaintext=True)
    for address in ("https://gateway.example", "http://localhost:80", "http://[::1]:80"):
        Upstream(address)


async def test_a_next_hop_that_speaks_before_it_is_asked_is_a_failure_and_never_a_wait() -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    upstream = Upstream("http://127.0.0.1:{1}".format(*server.sockets[0].getsockname()))
    for _ in range(30):
        with contextlib.suppress(ExchangeError):  # asyncio may have sent the request before it heard anything
            await asyncio.wait_for(upstream.exchange("POST", "/", body=b"x"), 5)
    assert upstream.connections == 0 or not upstream._idle
    await upstream.close()
    server.close()
    await server.wait_closed()


async def test_a_name_that_is_none_is_a_failure_and_never_a_wait() -> None:
    upstream = Upstream("http://a..b:1", insecure_plaintext=True)
    with pytest.raises(ExchangeError) as caught:
        await asyncio.wait_for(upstream.exchange("POST", "/", body=b"x"), 5)
    assert not caught.value.sent


async def test_a_next_hop_that_ends_while_the_request_waits_is_noticed_at_once(record: Record) -> None:
    async def end(streams: Streams) -> None:
        streams[1].write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")
        streams[1].write_eof()
        await asyncio.sleep(2)

    _, upstream = await record(end, timeouts=UpstreamTimeouts(connect=0.5, total=10.0))
    began = time.monotonic()
    with pytest.raises(ExchangeError) as caught:
        await upstream.exchange("POST", "/", body=b"hello")
    assert not caught.value.timed_out
    assert time.monotonic() - began < 1.5
