"""A server under test, and a client so small that every octet it sends stands in the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from seclude.daemon.answering import answering
from seclude.daemon.http1 import AnswerHead
from seclude.daemon.limits import ServerLimits
from seclude.daemon.messages import Handler, Request, Response, UpstreamResponse
from seclude.daemon.passage import Passage
from seclude.daemon.server import Server
from seclude.daemon.upstream import Upstream

QUICK = ServerLimits(
    max_body_bytes=1000,
    header_timeout=0.3,
    body_timeout=0.3,
    send_timeout=0.3,
    keepalive=2.0,
    max_inflight=2,
    linger=0.2,
)


@dataclass(frozen=True)
class Exchange:
    """One request that was answered, as the metrics see it."""

    status: int
    reason: str
    seconds: float
    request_bytes: int
    response_bytes: int


@dataclass
class Running:
    """A started server, what it reported, and ways to talk to it."""

    server: Server
    address: str
    exchanges: list[Exchange] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = self.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        self.writers.append(writer)
        return reader, writer

    async def talk(self, data: bytes) -> bytes:
        """Send some octets and return all that comes until the server closes."""
        reader, writer = await self.connect()
        writer.write(data)
        return await reader.read()


Serve = Callable[..., Awaitable[Running]]


class Carried(Passage[Upstream]):
    """Passes everything on to one next hop."""

    silence = 0.3

    def start(self) -> None:
        self.send_to(self.party, self.party.prepare("POST", "/"))

    def passes(self, head: AnswerHead) -> str | None:
        return head.content_type

    def looked_at(self, answer: UpstreamResponse) -> None:
        raise AssertionError("every answer passes")


async def echo(request: Request) -> Response:
    return Response(200, "text/plain", await request.body.read())


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    started: list[Running] = []

    async def start(handler: Handler = echo, limits: ServerLimits = QUICK, listen: str = "127.0.0.1:0") -> Running:
        exchanges: list[Exchange] = []
        server = Server(answering(handler), limits, observe=lambda *seen: exchanges.append(Exchange(*seen)))
        running = Running(server, await server.start(listen), exchanges)
        started.append(running)
        return running

    yield start
    for running in started:
        for writer in running.writers:
            writer.transport.abort()
        await running.server.drain(within=0.2)
