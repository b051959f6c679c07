"""What a hop does when either side vanishes at any octet, or takes its time: nothing stays behind, nothing piles up."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from seclude.daemon.limits import ServerLimits
from seclude.daemon.server import Server
from seclude.daemon.transaction import Transaction
from seclude.daemon.upstream import Upstream
from tests.daemon.conftest import Carried

LIMITS = ServerLimits(max_body_bytes=1 << 26, linger=0.2)
LONG = b"q" * 20_000  # of a request that is passed on as it comes
WHOLE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n4e20\r\n%b\r\n0\r\n\r\n" % LONG
)
STREAMED = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(LONG), LONG)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 6\r\n\r\nanswer"
CHUNKED_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nans\r\n3\r\nwer\r\n0\r\n\r\n"
)


class Next(asyncio.Protocol):
    """A next hop that answers what it was told to once the request has begun, and may then break off."""

    def __init__(self, hop: "Hop") -> None:
        self._hop = hop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from asyncio's
        self.received = 0
        self._hop.nexts.append(self)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._hop.on_data(self)


@dataclass
class Hop:
    """A server that passes on to a next hop, both in this process, and what each of them holds."""

    server: Server
    onward: Upstream
    address: tuple[str, int]
    nexts: list[Next] = field(default_factory=list)
    on_data: Callable[[Next], None] = lambda _: None

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address)

    async def settled(self) -> None:
        """Wait until nothing is held any more; raises where something stays."""

        def held() -> dict[str, int]:
            load = self.server.load
            return {
                "connections": self.server.connections,
                "requests begun": self.server.busy,
                "requests in flight": load.inflight,
                "octets on their way": load.arriving_bytes,
                "connections to the next hop in use": self.onward.connections - len(self.onward._idle),
                "tasks": len(asyncio.all_tasks()) - 1,
            }

        for _ in range(300):
            if not any(held().values()):
                return
            await asyncio.sleep(0.01)
        raise AssertionError({what: count for what, count in held().items() if count})


@pytest.fixture
async def hop() -> AsyncIterator[Hop]:
    loop, nexts = asyncio.get_running_loop(), list[Hop]()
    behind = await loop.create_server(lambda: Next(nexts[0]), "127.0.0.1", 0)
    onward = Upstream("http://127.0.0.1:{1}".format(*behind.sockets[0].getsockname()))

    def carry(transaction: Transaction) -> None:
        Carried(transaction, onward)

    server = Server(carry, LIMITS)
    host, _, port = (await server.start("127.0.0.1:0")).rpartition(":")
    nexts.append(Hop(server, onward, (host, int(port))))
    yield nexts[0]
    await server.drain(within=0.2)
    await onward.close()
    behind.close()
    await behind.wait_closed()


def cuts(message: bytes) -> list[int]:
    """Return every place of a short message, and those around the edges of a long one."""
    if len(message) < 300:
        return list(range(len(message)))
    return [*range(150), *range(150, len(message) - 20, 2503), *range(len(message) - 20, len(message))]


@pytest.mark.parametrize("request_", [WHOLE, CHUNKED, STREAMED], ids=["whole", "chunked", "streamed"])
async def test_a_client_that_vanishes_at_any_octet_leaves_nothing_behind(hop: Hop, request_: bytes) -> None:
    for cut in [*cuts(request_), len(request_)]:
        _, writer = await hop.connect()
        writer.write(request_[:cut])
        await asyncio.sleep(0)
        writer.transport.abort()
    await hop.settled()


@pytest.mark.parametrize("answer", [ANSWER, CHUNKED_ANSWER], ids=["whole", "chunked"])
@pytest.mark.parametrize("request_", [WHOLE, STREAMED], ids=["whole", "streamed"])
async def test_a_next_hop_that_vanishes_at_any_octet_never_makes_a_whole_answer(
    hop: Hop, request_: bytes, answer: bytes
) -> None:
    for cut in range(len(answer)):

        def break_off(there: Next, cut: int = cut) -> None:
            there.transport.write(answer[:cut])
            there.transport.close()

        hop.on_data = break_off
        reader, writer = await hop.connect()
        writer.write(request_)
        got = b""
        try:
            got = await asyncio.wait_for(reader.read(300), 5)
            if b" 502 " not in got:
                got += await asyncio.wait_for(reader.read(), 5)
        except (ConnectionError, TimeoutError):
            pass
        if not got.startswith(b"HTTP/1.1 502 "):
            assert not got.endswith((b"answer", b"0\r\n\r\n")), (cut, got)
        writer.transport.abort()
    await hop.settled()


async def test_a_client_that_vanishes_at_any_octet_of_its_answer_leaves_nothing_behind(hop: Hop) -> None:
    for cut in range(len(CHUNKED_ANSWER)):

        def begin(there: Next, cut: int = cut) -> None:
            there.transport.write(CHUNKED_ANSWER[:cut])

        hop.on_data = begin
        _, writer = await hop.connect()
        writer.write(WHOLE)
        await asyncio.sleep(0.002)
        writer.transport.abort()
    await hop.settled()


async def test_slow_senders_take_no_room_however_long_their_requests_are(hop: Hop) -> None:
    writers = [(await hop.connect())[1] for _ in range(20)]
    for writer in writers:
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\nx")
    await asyncio.sleep(0.1)
    assert (hop.server.busy, hop.server.load.inflight, hop.onward.connections) == (20, 0, 0)
    for writer in writers:
        writer.transport.abort()
    await hop.settled()


async def test_an_answer_that_cannot_be_told_to_an_old_client_is_given_up(hop: Hop) -> None:
    hop.on_data = lambda there: there.transport.write(CHUNKED_ANSWER[:-5])
    reader, writer = await hop.connect()
    writer.write(WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (await reader.read()).startswith(b"HTTP/1.1 502 ")
    writer.close()
    await hop.settled()


async def test_an_answer_waits_at_the_next_hop_while_its_client_does_not_read(hop: Hop) -> None:
    """What piles up is what sockets hold, however long the answer is."""
    size, sent = 64 << 20, 0
    blocked = asyncio.Event()

    def pour(there: Next) -> None:
        asyncio.get_running_loop().create_task(poured(there))

    async def poured(there: Next) -> None:
        nonlocal sent
        transport = there.transport
        transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            waited = 0
            while transport.get_write_buffer_size() > 1 << 16:
                waited += 1
                if waited > 30:
                    blocked.set()
                await asyncio.sleep(0.01)
            transport.write(bytes(1 << 16))
            sent += 1 << 16

    hop.on_data = pour
    client = socket.create_connection(hop.address)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, WHOLE)
    await asyncio.wait_for(blocked.wait(), 20)
    (connection,) = hop.server._open
    assert connection._transport is not None
    assert connection._transport.get_write_buffer_size() <= 1 << 19
    assert sent < size // 2
    got = 0
    while got < size:  # it goes on as soon as the client does
        piece = await asyncio.wait_for(loop.sock_recv(client, 1 << 20), 10)
        assert piece
        got += len(piece)
    client.close()
    await hop.settled()


async def test_a_request_waits_at_the_client_while_the_next_hop_does_not_read(hop: Hop) -> None:
    size, sent = 48 << 20, 0

    def stop_reading(there: Next) -> None:
        there.transport.pause_reading()

    hop.on_data = stop_reading
    _, writer = await hop.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
    still = 0
    while still < 30:
        if writer.transport.get_write_buffer_size() > 1 << 16:
            still += 1
            await asyncio.sleep(0.01)
            continue
        still = 0
        writer.write(bytes(1 << 16))
        sent += 1 << 16
        await asyncio.sleep(0)
    assert sent < size // 2
    (outbound,) = hop.onward._open
    assert outbound._transport is not None
    assert outbound._transport.get_write_buffer_size() <= 1 << 19
    writer.transport.abort()
    hop.on_data = lambda _: None
    hop.nexts[0].transport.resume_reading()
    await hop.settled()


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: message/ohttp-chunked-res\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_stream_that_falls_silent_is_broken_off(hop: Hop) -> None:
    hop.on_data = lambda there: there.transport.write(STREAM_HEAD + b"3\r\none\r\n")
    reader, writer = await hop.connect()
    writer.write(WHOLE)
    data = await asyncio.wait_for(reader.read(), 5)
    assert data.endswith(b"3\r\none\r\n")
    writer.close()
    await hop.settled()


async def test_a_stream_that_its_client_leaves_waiting_is_not_silent(hop: Hop) -> None:
    size = 16 << 20
    hop.on_data = lambda there: there.transport.write(STREAM_HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (size, bytes(size)))
    client = socket.create_connection(hop.address)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, WHOLE)
    await asyncio.sleep(3 * Carried.silence)  # longer than the next hop may be silent
    got = b""
    while not got.endswith(b"0\r\n\r\n"):
        piece = await asyncio.wait_for(loop.sock_recv(client, 1 << 20), 5)
        assert piece, "it was broken off"
        got = got[-10:] + piece
    client.close()
    await hop.settled()


async def test_requests_of_which_a_part_is_missing_leave_room_for_others(hop: Hop) -> None:
    hop.server.load._max_partial = 2
    slow = [await hop.connect() for _ in range(3)]
    for _, writer in slow:
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\n" + bytes(20_000))
    await asyncio.sleep(0.1)
    load = hop.server.load
    assert (load.partial, load.inflight) == (2, 0)
    refused = [await asyncio.wait_for(reader.read(12), 5) for reader, _ in slow[2:]]
    assert refused == [b"HTTP/1.1 503"]
    hop.on_data = lambda there: there.transport.write(ANSWER)
    reader, writer = await hop.connect()
    writer.write(WHOLE)
    assert (await asyncio.wait_for(reader.read(15), 5)) == b"HTTP/1.1 200 OK"
    for _, other in [*slow, (reader, writer)]:
        other.transport.abort()
    await hop.settled()
    assert load.partial == 0


async def test_a_partial_request_that_is_whole_in_the_end_counts_as_any_other(hop: Hop) -> None:
    load = hop.server.load
    reader, writer = await hop.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\n" + bytes(20_000))
    await asyncio.sleep(0.1)
    assert (load.partial, load.inflight) == (1, 0)
    writer.write(bytes(20_000))
    await asyncio.sleep(0.1)
    assert (load.partial, load.inflight) == (0, 1)
    hop.nexts[-1].transport.write(ANSWER)
    assert (await asyncio.wait_for(reader.read(15), 5)) == b"HTTP/1.1 200 OK"
    writer.transport.abort()
    await hop.settled()
