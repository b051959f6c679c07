"""What NCC Group is known to have found, and weak spots that other relays and gateways were seen to have."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from bench.simulated import simulated_policy
from inference.producers.simulated import SimulatedPlatform, create_simulated_platform
from relay.policy import Forward, admit
from seclude import bhttp
from seclude.bhttp_stream import RequestReader
from seclude.client.hop import Hop
from seclude.daemon.answering import answering
from seclude.daemon.limits import ServerLimits
from seclude.daemon.log import Log
from seclude.daemon.messages import Request, Response
from seclude.daemon.metrics import Metrics
from seclude.daemon.server import Server
from seclude.daemon.upstream import Upstream
from seclude.errors import DecodeError, EvidenceError, MediaTypeError, UpstreamError, UsageError
from seclude.ohttp.media import GATEWAY_PATH, OHTTP_REQ
from seclude.wire import Writer
from tests.audit.ground import MANIFEST, born, policy_of, worker_on
from tests.client.serving import MESSAGES, T0, Relay, asking
from tests.gateway.conftest import ANSWER, Build, encapsulated, handle, http, post
from tests.relay.conftest import Gateway, Running

KIND = b"Content-Type: message/ohttp-req\r\n"
HEAD = b"POST /.well-known/ohttp-gateway HTTP/1.1\r\nHost: client.example\r\nConnection: close\r\n"
HIDDEN = (
    b"X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\nVia: 1.1 canary\r\n"
    b"Cookie: canary=1\r\nUser-Agent: canary\r\nAuthorization: canary\r\n"
    b"CF-IPCountry: canary\r\nAccept-Language: canary\r\n"
)


class NoBody:
    """Where a decision is by the head alone."""

    async def read(self) -> bytes:
        raise AssertionError("nobody reads the body")

    def pieces(self) -> AsyncIterator[bytes]:
        raise AssertionError("nobody reads the body")


def asked(kind: str | None) -> Request:
    return Request("POST", GATEWAY_PATH, kind, None, 5, NoBody())


async def test_ncc_1_keys_do_not_come_from_the_operator_to_each_device(relay: Running, gateway: Gateway) -> None:
    before = list(gateway.gets)
    for _ in range(5):
        answer = await relay.talk(b"GET /.well-known/ohttp-gateway HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.endswith(gateway.keys)
    assert gateway.gets == before
    assert not any(b"192.0.2" in get or b"X-" in get for get in gateway.gets)


async def test_ncc_2_a_worker_that_nobody_accepted_gets_nothing(platform: SimulatedPlatform, tmp_path: Path) -> None:
    pool = Relay(create_simulated_platform(tmp_path / "pool", T0))
    stranger = create_simulated_platform(tmp_path / "stranger", T0)
    pinned = simulated_policy(stranger, manifests=(MANIFEST,)).simulated
    async with asking(pool, simulated=pinned) as client:
        with pytest.raises(EvidenceError, match="not signed by a pinned root"):
            await client.summarize(MESSAGES)
    assert pool.posts == []
    holder, spoofed = await born(worker_on(platform)), worker_on(stranger)
    now = holder.keyring.policy.slots.start(1000) + 100
    with pytest.raises(EvidenceError) as caught:
        holder.member.admit(await spoofed.joiner.request(holder.member.nonce(now), now), now)
    assert caught.value.step == 3
    assert policy_of(simulated_policy(platform)).role == "worker"


@pytest.mark.parametrize(
    "kind",
    [
        "text/html, message/ohttp-req",
        "message/ohttp-reqx",
        "xmessage/ohttp-req",
        "text/plain; a=message/ohttp-req",
        "message/ohttp-req message/ohttp-res",
        "",
        None,
    ],
)
def test_weak_1_a_media_type_is_compared_whole(kind: str | None) -> None:
    assert isinstance(admit(asked(OHTTP_REQ), 1000), Forward)
    with pytest.raises(MediaTypeError):
        admit(asked(kind), 1000)


async def test_weak_2_no_answer_is_read_without_an_end(gateway: Gateway) -> None:
    gateway.get = http(200, "application/ohttp-keys", bytes(2000))
    upstream = Upstream(gateway.address, max_answer_bytes=1000)
    with pytest.raises(UpstreamError):
        await upstream.exchange("GET", "/")
    chunks = (
        b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"64\r\n%s\r\n" % bytes(100) * 20
    )
    gateway.get = chunks  # and never the last one
    with pytest.raises(UpstreamError):
        await upstream.exchange("GET", "/")
    await upstream.close()
    hop = Hop(gateway.address)  # a device's
    gateway.get = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 3000000\r\n\r\n"
    with pytest.raises(UpstreamError, match="too large"):
        await hop.exchange("GET", "/", seconds=2)
    gateway.get = chunks.partition(b"64\r\n")[0] + b"10000\r\n%s\r\n" % bytes(0x10000) * 40
    with pytest.raises(UpstreamError, match="too large"):
        await hop.exchange("GET", "/", seconds=2)
    await hop.close()


@pytest.mark.parametrize("length", [1000, 1001, 5000])
async def test_weak_3_a_body_in_chunks_has_the_same_limit(relay: Running, gateway: Gateway, length: int) -> None:
    half = length // 2
    body = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (half, bytes(half), length - half, bytes(length - half))
    answer = await relay.talk(HEAD + KIND + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 200" if length <= 1000 else b"HTTP/1.1 413")
    assert len(gateway.posts) == (1 if length <= 1000 else 0)


async def test_weak_4_no_field_of_an_answer_passes(relay: Running, gateway: Gateway, build: Build) -> None:
    marks = "Set-Cookie: canary=1", "ETag: canary", "Server: canary", "X-Canary: canary", "Location: canary"
    gateway.post = http(200, "message/ohttp-res", b"sealed", *marks)
    answer = await relay.talk(HEAD + KIND + b"Content-Length: 1\r\n\r\nx")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"sealed")
    assert b"canary" not in answer
    house = await build(1, single=True)
    house.fakes[0].behaviour = "raw"
    house.fakes[0].raw = http(200, "message/ohttp-res", ANSWER, *marks)
    await house.settle()
    assert await handle(house.gateway, post(encapsulated(1000))) == Response(200, "message/ohttp-res", ANSWER)


async def test_weak_5_nothing_of_a_client_or_a_relay_passes(relay: Running, gateway: Gateway, build: Build) -> None:
    for fields in (b"", HIDDEN):
        assert (await relay.talk(HEAD + fields + KIND + b"Content-Length: 1\r\n\r\nx")).startswith(b"HTTP/1.1 200")
    first, second = gateway.posts
    assert first == second
    names = [line.partition(b":")[0].lower() for line in first.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    assert sorted(names) == [b"content-length", b"content-type", b"host"]
    assert b"client.example" not in first
    house = await build(1, single=True)
    await house.settle()
    await handle(house.gateway, post(encapsulated(1000)))
    (received,) = house.fakes[0].paths("/ohttp")
    names = [line.partition(b":")[0].lower() for line in received.head.split(b"\r\n")[1:-2]]
    assert sorted(names) == [b"content-length", b"content-type", b"host"]


async def test_weak_6_a_path_or_a_method_makes_no_metric() -> None:
    async def nothing(_request: Request) -> Response:
        return Response(404, reason="not_found")

    metrics = Metrics("gateway")
    server = Server(answering(nothing), ServerLimits(), log=Log("gateway"), observe=metrics.observe)
    host, _, port = (await server.start("127.0.0.1:0")).rpartition(":")

    async def visit(line: bytes) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(line + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    before = len(generate_latest(metrics.registry).splitlines())
    for number in range(50):
        await visit(b"GET /canary/%d?canary=%d" % (number, number))
    await visit(b"CANARY /")
    await server.drain(within=0.2)
    text = generate_latest(metrics.registry).decode()
    assert "canary" not in text.lower()
    assert len(text.splitlines()) <= before + 4


SPLITTING = (
    (b"GET / HTTP/1.1\r\nX: y", b"https", b"a.example", b"/"),
    (b"G ET", b"https", b"a.example", b"/"),
    (b"GET", b"https\r\n", b"a.example", b"/"),
    (b"GET", b"https", b"a.example\r\nHost: b.example", b"/"),
    (b"GET", b"https", b"a.example b", b"/"),
    (b"GET", b"https", b"a.example", b"/ HTTP/1.1\r\nHost: b.example\r\n\r\nGET /"),
    (b"GET", b"https", b"a.example", b"/a\nb"),
    (b"GET", b"https", b"a.example", b"/a\0"),
    (b"GET", b"https", b"a.example", b"a"),
)
FIELDS = ((b"x\r\ny", b"z"), (b"x", b"y\r\nz: 1"), (b"x:", b"y"), (b"x", b"y\0"), (b"X", b"y"), (b":path", b"/"))


def encoded(control: tuple[bytes, ...], fields: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """Write a request of known length (RFC 9292, section 3.1) with whatever is in its parts."""
    lines = b"".join(_vec(part) for line in fields for part in line)
    writer = Writer().u8(0)
    return writer.raw(b"".join(map(_vec, control))).raw(_vec(lines)).raw(_vec(b"")).raw(_vec(b"")).getvalue()


def _vec(data: bytes) -> bytes:
    return (len(data).to_bytes(1) if len(data) < 64 else (0x4000 | len(data)).to_bytes(2)) + data


def read_slowly(data: bytes) -> bhttp.Request:
    """Read a request that comes octet by octet."""
    reader = RequestReader()
    for octet in data:
        reader.feed(bytes([octet]))
    return reader.finish()


GOOD = (b"GET", b"https", b"a.example", b"/")


def test_weak_7_no_part_of_an_inner_request_ends_a_line() -> None:
    lawful = encoded(GOOD, ((b"x", b"y"),))
    assert bhttp.parse_request(lawful) == read_slowly(lawful)
    hostile = [encoded(control) for control in SPLITTING] + [encoded(GOOD, (field,)) for field in FIELDS]
    for data in hostile:
        with pytest.raises(DecodeError):
            bhttp.parse_request(data)
        with pytest.raises(DecodeError):
            read_slowly(data)
    for control in SPLITTING:
        with pytest.raises(UsageError):
            bhttp.serialize_request(bhttp.Request(*control, (), b""))
