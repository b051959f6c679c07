"""A relay and a gateway always agree on how many requests there were, whatever a client sends.

The client speaks to a real relay, which speaks to a real gateway's server. What counts: every request that the gateway
saw was forwarded by the relay as one, and what was hidden inside a body never became a request of its own.
"""

import asyncio
import contextlib
import json
import os
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relay.keycache import KeyCache
from relay.main import Relay
from seclude.daemon.answering import answering
from seclude.daemon.limits import ServerLimits
from seclude.daemon.log import Log
from seclude.daemon.messages import Request, Response
from seclude.daemon.server import Server
from seclude.daemon.upstream import Upstream
from seclude.ohttp.media import GATEWAY_PATH, OHTTP_RES

PATH = GATEWAY_PATH.encode()
KIND = b"Content-Type: message/ohttp-req\r\n"
QUICK = ServerLimits(
    max_body_bytes=4096, header_timeout=0.03, first_octet_timeout=0.03, body_timeout=0.03, linger=0.01, keepalive=0.03
)
MUTATIONS = 400
HIDDEN = b"POST %s HTTP/1.1\r\nHost: hidden\r\n%sContent-Length: 6\r\n\r\nhidden" % (PATH, KIND)


def corpus() -> Iterator[tuple[str, bytes]]:
    """Yield gunicorn's valid and invalid requests: backslash escapes are octets, real newlines are not there."""
    folder = os.environ.get("SECLUDE_VECTORS")
    if folder is None:
        return
    for case in json.loads((Path(folder) / "http" / "gunicorn-requests.json").read_text()):
        text = case["text"].replace("\n", "")
        yield case["file"], text.encode("latin-1").decode("unicode_escape").encode("latin-1", "replace")


CORPUS = list(corpus())


def lawful(body: bytes, *, chunked: bool) -> bytes:
    """Return one good request."""
    head = b"POST %s HTTP/1.1\r\nHost: relay\r\n%s" % (PATH, KIND)
    if chunked:
        return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    return head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


# What has made two servers disagree before: RFC 9112, section 11.2, and the papers on request smuggling.
TRICKS: list[tuple[bytes, bytes]] = [
    (b"Content-Length:", b"Content-Length : "),
    (b"Content-Length:", b"Content-Length:\x0b"),
    (b"Content-Length:", b" Content-Length:"),
    (b"Content-Length:", b"X: y\r\n Content-Length:"),
    (b"Content-Length:", b"X: y\nContent-Length:"),
    (b"Content-Length:", b"X: y\rContent-Length:"),
    (b"Content-Length:", b"Content_Length: 0\r\nContent-Length:"),
    (b"Content-Length:", b"Content-Length: 0\r\nContent-Length:"),
    (b"Content-Length:", b"Transfer-Encoding: chunked\r\nContent-Length:"),
    (b"Content-Length:", b"Transfer-Encoding: identity\r\nContent-Length:"),
    (b"Content-Length:", b"Transfer_Encoding: chunked\r\nContent-Length:"),
    (b"Content-Length: ", b"Content-Length: +"),
    (b"Content-Length: ", b"Content-Length: 0x"),
    (b"Content-Length: ", b"Content-Length: 0, "),
    (b"Content-Length: ", b"Content-Length: 00"),
    (b"Transfer-Encoding:", b"Transfer-Encoding : "),
    (b"Transfer-Encoding:", b"Transfer-Encoding: gzip, "),
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding: xchunked"),
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked, identity"),
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x"),
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding:\tchunked"),
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding: CHUNKED"),
    (b"Transfer-Encoding:", b"Content-Length: 5\r\nTransfer-Encoding:"),
    (b"Transfer-Encoding:", b"Transfer-Encoding\x00:"),
    (b"HTTP/1.1", b"HTTP/1.0"),
    (b"HTTP/1.1", b"HTTP/0.9"),
    (b"HTTP/1.1", b"HTTP/2.0"),
    (b"\r\n\r\n", b"\n\n"),
    (b"\r\n\r\n", b"\r\n\n"),
    (b"\r\n\r\n", b"\r\n \r\n\r\n"),
    (b"\r\n0\r\n\r\n", b"\r\n0\r\n\n"),
    (b"\r\n0\r\n\r\n", b"\n0\r\n\r\n"),
    (b"\r\n0\r\n\r\n", b"\r\n0;x=\n\r\n\r\n"),
    (b"\r\n0\r\n\r\n", b"\r\n00000000000000000\r\n\r\n"),
    (b"\r\n0\r\n\r\n", b"\r\n0\r\nHost: x\r\n\r\n"),
    (b"\r\n0\r\n\r\n", b"\r\n0\r\nContent-Length: 40\r\n\r\n"),
    (b"\r\n0\r\n\r\n", b"\r\n0\r\nX: y\r\n\r\n"),
    (b"\r\n0\r\n\r\n", b"\r\n-1\r\n\r\n"),
    (b"\r\n0\r\n\r\n", b"\r\n0x0\r\n\r\n"),
    (b"Host: relay", b"Host: relay\r\nExpect: 100-continue"),
    (b"Host: relay", b"Host: relay\r\nUpgrade: h2c\r\nConnection: upgrade"),
    (b"Host: relay", b"Host: relay\r\nConnection: close"),
    (b"POST ", b"\r\nPOST "),
    (b"POST ", b"GET "),
    (b"POST ", b"CONNECT "),
]


def mutations() -> Iterator[bytes]:
    """Yield what a client may send on one connection: lawful requests under one to three tricks, something hidden."""
    dice = random.Random(3)
    for _ in range(MUTATIONS):
        hides = dice.random() < 0.7
        body = dice.randbytes(dice.randrange(1, 30)) + (HIDDEN if hides else b"")
        data = lawful(body, chunked=dice.random() < 0.5)
        for trick, instead in dice.sample(TRICKS, dice.randint(1, 3)):
            data = data.replace(trick, instead, 1)
        if dice.random() < 0.3:
            at = dice.randrange(len(data))
            data = data[:at] + dice.choice([b"\n", b"\r", b"\0", b" ", b"\r\n", b"0"]) + data[at + dice.randrange(2) :]
        yield data + (lawful(b"after", chunked=False) if dice.random() < 0.5 else b"")


@dataclass
class Pair:
    """A relay before a gateway's server, and what each of them counted."""

    relay: str = ""
    forwarded: list[int] = field(default_factory=list)
    """Octets of each request that the relay had answered by the gateway."""
    bodies: list[bytes] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    """Octets of each request that the gateway's server answered."""

    async def send(self, data: bytes, size: int) -> bytes:
        """Send some octets in pieces of a size and return all that comes back."""
        host, _, port = self.relay.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        answer = b""
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(data), size):
                writer.write(data[start : start + size])
                await asyncio.sleep(0)
            answer = await reader.read()  # the relay ends every connection soon
        writer.close()
        return answer


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()

    async def answer(request: Request) -> Response:
        pair.bodies.append(await request.body.read())
        assert (request.method, request.path) == ("POST", GATEWAY_PATH)
        return Response(200, OHTTP_RES, b"sealed")

    def at_gateway(status: int, reason: str, seconds: float, taken: int, given: int) -> None:
        pair.answered.append(taken)

    def at_relay(status: int, reason: str, seconds: float, taken: int, given: int) -> None:
        if status == 200:
            pair.forwarded.append(taken)

    gateway = Server(answering(answer), observe=at_gateway)
    upstream = Upstream(f"http://{await gateway.start('127.0.0.1:0')}")
    cache = KeyCache(upstream, lambda: 0.0, Log("relay"))
    relay = Server(Relay(upstream, cache, 4096).handle, QUICK, observe=at_relay)
    pair.relay = await relay.start("127.0.0.1:0")
    yield pair
    await relay.drain(within=0.5)
    await upstream.close()
    await gateway.drain(within=0.5)


def assert_in_step(pair: Pair, answer: bytes, data: bytes) -> None:
    """Both ends counted the same requests; each answer of the gateway went to one request of the client."""
    assert pair.answered == [len(body) for body in pair.bodies], "the gateway's server refused what the relay wrote"
    assert sorted(pair.forwarded) == sorted(pair.answered), data
    assert answer.count(b"sealed") <= len(pair.bodies)
    assert b"hidden" not in pair.bodies, data


@pytest.mark.skipif(not CORPUS, reason="SECLUDE_VECTORS is not set")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("size", [1 << 16, 7])
async def test_the_corpus_of_requests_desynchronises_nothing(pair: Pair, size: int) -> None:
    for name, data in CORPUS:
        for sent in (data, data + lawful(b"after", chunked=False)):
            for each in (pair.forwarded, pair.bodies, pair.answered):
                each.clear()
            answer = await pair.send(sent, size)
            assert_in_step(pair, answer, sent)
            assert len(pair.bodies) <= 1, name


@pytest.mark.timeout(180)
@pytest.mark.parametrize("size", [1 << 16, 11])
async def test_mutations_desynchronise_nothing(pair: Pair, size: int) -> None:
    outcomes: set[bytes] = set()
    passed = 0
    for data in mutations():
        for each in (pair.forwarded, pair.bodies, pair.answered):
            each.clear()
        answer = await pair.send(data, size)
        assert_in_step(pair, answer, data)
        passed += len(pair.bodies)
        outcomes.add(answer[:12])
    assert {b"HTTP/1.1 200", b"HTTP/1.1 400"} <= outcomes, "some pass and some are refused"
    assert passed > MUTATIONS // 10


async def test_what_was_refused_is_never_followed_by_what_was_hidden(pair: Pair) -> None:
    for trick, instead in TRICKS:
        for chunked in (False, True):
            data = lawful(b"x" * 5 + HIDDEN, chunked=chunked)
            if trick in data:
                sent = data.replace(trick, instead, 1) + HIDDEN.replace(b"hidden", b"pushed")
                answer = await pair.send(sent, 1 << 16)
                if answer.startswith(b"HTTP/1.1 4"):
                    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"hidden" not in pair.bodies
