"""Requests that are mixed leave together, in an order that tells nothing, and never late."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import pytest

from relay.keycache import KeyCache
from relay.main import Relay
from relay.mixing import Mixer, MixingLimits
from seclude.daemon.limits import ServerLimits
from seclude.daemon.log import Log
from seclude.daemon.server import Server
from seclude.daemon.upstream import Upstream, UpstreamTimeouts
from tests.relay.conftest import Running

if TYPE_CHECKING:
    from tests.relay.conftest import Gateway

LONG = 60_000


def post(body: bytes) -> bytes:
    return (
        b"POST /.well-known/ohttp-gateway HTTP/1.1\r\nHost: x\r\nContent-Type: message/ohttp-req\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )


async def test_a_batch_leaves_when_it_is_full() -> None:
    mixer, left = Mixer(MixingLimits(LONG, batch=3)), []
    for number in range(5):
        mixer.enter(lambda n=number: left.append(n))  # type: ignore[misc]
    assert sorted(left) == [0, 1, 2]
    assert (mixer.last_batch, mixer.waiting) == (3, 2)


async def test_a_batch_leaves_when_its_first_has_waited_long_enough() -> None:
    mixer, left = Mixer(MixingLimits(20, batch=100)), asyncio.Event()
    mixer.enter(left.set)
    async with asyncio.timeout(5):
        await left.wait()
    assert (mixer.last_batch, mixer.waiting) == (1, 0)


async def test_one_that_was_taken_back_does_not_leave() -> None:
    mixer, left = Mixer(MixingLimits(LONG, batch=2)), []
    take_back = mixer.enter(lambda: left.append(1))
    take_back()
    take_back()
    mixer.enter(lambda: left.append(2))
    assert left == []
    mixer.enter(lambda: left.append(3))
    assert sorted(left) == [2, 3]


async def test_a_batch_leaves_in_every_order() -> None:
    orders = set()
    for _ in range(300):
        mixer, left = Mixer(MixingLimits(LONG, batch=3)), ""

        def leave(name: str) -> Callable[[], None]:
            def go() -> None:
                nonlocal left
                left += name

            return go

        for name in "abc":
            mixer.enter(leave(name))
        orders.add(left)
    assert len(orders) == 6  # missing one of six in 300 draws: 10^-23


@pytest.fixture
async def mixing(gateway: "Gateway") -> AsyncIterator[Running]:
    """A relay that waits for three requests, or a fifth of a second."""
    upstream = Upstream(gateway.address, timeouts=UpstreamTimeouts(connect=0.5, total=2.0))
    cache = KeyCache(upstream, lambda: 0.0, Log("relay", events={"keys_fetch_failed": frozenset({"error"})}))
    relay = Relay(upstream, cache, 1000, Mixer(MixingLimits(200, batch=3)))
    server = Server(relay.handle, ServerLimits(max_body_bytes=1000, linger=0.2))
    running = Running(await server.start("127.0.0.1:0"), cache)
    yield running
    running.hang_up()
    await server.drain(within=0.2)
    await upstream.close()


async def test_requests_wait_at_the_relay_for_their_batch(mixing: Running, gateway: "Gateway") -> None:
    first, second = (asyncio.create_task(mixing.talk(post(body))) for body in (b"first", b"second"))
    await asyncio.sleep(0.05)
    assert gateway.posts == []
    assert b" 200 " in await mixing.talk(post(b"third"))
    assert b" 200 " in await first
    assert b" 200 " in await second
    assert len(gateway.posts) == 3


async def test_a_request_in_chunks_leaves_whole(mixing: Running, gateway: "Gateway") -> None:
    reader, writer = await mixing.connect()
    head = post(b"").replace(b"ohttp-req", b"ohttp-chunked-req").replace(b"Content-Length: 0", b"Content-Length: 6")
    writer.write(head + b"one")
    await asyncio.sleep(0.3)
    assert gateway.posts == [], "not with a part missing, however long it has waited"
    writer.write(b"two")
    await reader.read(1)
    assert gateway.posts[0].endswith(b"\r\n\r\nonetwo")


async def test_a_request_alone_waits_no_longer_than_it_may(mixing: Running, gateway: "Gateway") -> None:
    began = asyncio.get_running_loop().time()
    assert b" 200 " in await mixing.talk(post(b"alone"))
    assert asyncio.get_running_loop().time() - began >= 0.2


async def test_who_goes_away_while_waiting_is_not_forwarded(mixing: Running, gateway: "Gateway") -> None:
    _, writer = await mixing.connect()
    writer.write(post(b"gone"))
    await asyncio.sleep(0.05)
    writer.transport.abort()
    await asyncio.sleep(0.3)
    assert gateway.posts == []
