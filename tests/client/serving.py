"""Relays of our own making, which hold real keys and may lie; each test of the client puts some before it."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from socket import socket
from typing import TypeVar

import msgspec

from bench.simulated import SimulatedHere, simulated_policy
from inference.answer import EVENTS_FIELDS, run_task
from inference.chunked import Opening
from inference.keyring import Keyring
from inference.open import answer_request, open_request
from inference.producers.simulated import SimulatedPlatform
from seclude import bhttp
from seclude.attestation.bundle import Bundle, parse_bundle, serialize_bundle, serialize_bundles
from seclude.attestation.policy import Policy
from seclude.attestation.slots import Slots
from seclude.bhttp_stream import ResponseWriter
from seclude.client.sdk import Client
from seclude.client.trust import SlotTable, Trust
from seclude.daemon.answering import answering
from seclude.daemon.messages import Request, Response, Streamed
from seclude.daemon.server import Server
from seclude.ohttp.media import GATEWAY_PATH, KEY_BUNDLES, OHTTP_CHUNKED_REQ, OHTTP_CHUNKED_RES, OHTTP_RES
from seclude.tasks import Message, SummarizeResponse, encode
from tests.ledgers import LedgerHere

PERIOD = 86_400
T0 = int(time.time()) - 2 * PERIOD - 1000  # now is in the slot of epoch 2
NOW = 2
MEASUREMENT = b"m" * 32
MESSAGES = (Message(sender="Ana", text="hello"),)
ANSWER = SummarizeResponse("highlights", "hello", (), 1, 1, 1, "none")

T = TypeVar("T")
Inner = Callable[[bhttp.Request], bhttp.Response]


def summary(_request: bhttp.Request) -> bhttp.Response:
    return bhttp.Response(200, (bhttp.Field(b"content-type", b"application/json"),), encode(ANSWER))


def at_once(coroutine: Coroutine[object, object, T]) -> T:
    """Return what comes of a coroutine that waits for nothing, as a birth does whose evidence is made right here."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("it waits for something")


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.now


@dataclass
class Relay:
    """A relay, a gateway and a worker in one, recording what it was asked."""

    platform: SimulatedPlatform
    clock: Callable[[], float] = time.time
    inner: Inner = summary
    events: tuple[bytes, ...] = ()
    """What a streamed answer says."""
    stream: Callable[[], AsyncGenerator[bytes, None]] | None = None
    """Sent instead of a streamed answer."""
    outer: Response | None = None
    """Given instead of every encapsulated answer."""
    offered: Response | None = None
    """Given instead of the bundles."""
    pause: float = 0.0
    """Before the bundles are given."""
    gets: int = 0
    posts: list[bytes] = field(default_factory=list)
    inners: list[bhttp.Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.renew()

    @property
    def pins(self) -> dict[str, object]:
        """What devices pin beside the platform and the software."""
        return {}

    def renew(self) -> None:
        """Make other keys for the same epochs."""
        document = msgspec.structs.replace(simulated_policy(self.platform, manifests=(MEASUREMENT,)), **self.pins)
        policy = Policy(origin="a.example", slots=Slots(t0=T0, period_seconds=PERIOD), document=document)
        self.keyring = Keyring(policy, SimulatedHere(self.platform, MEASUREMENT, self.clock), MEASUREMENT)
        self.bundles()

    def bundles(self) -> dict[int, bytes]:
        """Return the bundles of the present epoch and the next, and of the one before where it lived already."""
        now = self.clock()
        for epoch in (0, 1):
            at_once(self.keyring.birth((int(now) - T0) // PERIOD + epoch, now))
        return {epoch.number: epoch.bundle for epoch in self.keyring.epochs()}

    def offer(self, *bundles: bytes) -> None:
        """Give these bundles from now on."""
        self.offered = Response(200, KEY_BUNDLES, serialize_bundles(bundles))

    def twin(self) -> "Relay":
        """Return another relay of the same pool."""
        other = Relay(self.platform, self.clock)
        other.keyring = self.keyring
        return other

    async def handle(self, request: Request) -> Response | Streamed:
        body = await request.body.read()
        if request.method == "GET":
            assert request.accept == KEY_BUNDLES
            self.gets += 1
            await asyncio.sleep(self.pause)
            return self.offered or Response(200, KEY_BUNDLES, serialize_bundles(list(self.bundles().values())))
        self.posts.append(body)
        if self.outer is not None:
            return self.outer
        if request.media_type == OHTTP_CHUNKED_REQ:
            return Streamed(OHTTP_CHUNKED_RES, self.in_chunks(body) if self.stream is None else self.stream())
        opened = open_request(body, self.keyring.keys(self.clock()), self.keyring.insert)
        return Response(200, OHTTP_RES, answer_request(opened, self.work, self.clock()))

    async def in_chunks(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """Answer in a chunk for each of `events`, or whole where there are none."""
        opening = Opening(self.keyring.keys(self.clock()), self.keyring.insert)
        opening.feed(body)
        opened = opening.finish()
        answer = run_task(opened.parse, opened.failure, self.work, self.clock())
        assert isinstance(answer, bhttp.Response)
        if answer.status != 200 or not self.events:
            yield opened.sealer.finish(bhttp.serialize_response(answer))
            return
        writer = ResponseWriter(200, EVENTS_FIELDS)
        yield opened.sealer.seal(writer.head())
        for each in self.events:
            yield opened.sealer.seal(writer.content(each))
        yield opened.sealer.finish(writer.end())

    def work(self, request: bhttp.Request) -> bhttp.Response:
        self.inners.append(request)
        return self.inner(request)

    @asynccontextmanager
    async def up(self) -> AsyncIterator[str]:
        """Yield the URL at which it listens."""
        server = Server(answering(self.handle))
        address = await server.start("127.0.0.1:0")
        try:
            yield f"http://{address}{GATEWAY_PATH}"
        finally:
            await server.drain(1.0)


@dataclass
class Logged(Relay):
    """The same, of a pool whose software and keys stand in a ledger."""

    ledger: LedgerHere = field(default_factory=lambda: LedgerHere(origin="a.example"))
    maturity_seconds: int = 0

    def __post_init__(self) -> None:
        if not len(self.ledger.state):
            released = self.clock() - PERIOD
            self.ledger.publish(self.ledger.release(MEASUREMENT, now=released), now=released)
        super().__post_init__()

    @property
    def pins(self) -> dict[str, object]:
        return {"manifests": (), "ledger": self.ledger.table(maturity_seconds=self.maturity_seconds)}

    def proofs(self) -> bytes:
        """Return what the ledger shows now, with as old a checkpoint of the state as it takes."""
        now = self.clock()
        return self.ledger.proofs(now, earlier=now - self.maturity_seconds if self.maturity_seconds else None)

    def born(self) -> dict[int, Bundle]:
        """Return what workers made for the epochs that live, logged as a gateway would."""
        now = self.clock()
        for epoch in ((int(now) - T0) // PERIOD + ahead for ahead in (0, 1)):
            made = parse_bundle(at_once(self.keyring.birth(epoch, now, self.proofs())))
            if len(self.ledger.keys) <= epoch:
                self.ledger.log(epoch, made.core, made.evidence)
        return {epoch.number: parse_bundle(epoch.bundle) for epoch in self.keyring.epochs()}

    def bundles(self) -> dict[int, bytes]:
        born = self.born()
        return {epoch: serialize_bundle(replace(made, proofs=self.proofs())) for epoch, made in born.items()}

    def twin(self) -> "Logged":
        other = Logged(self.platform, self.clock, ledger=self.ledger, maturity_seconds=self.maturity_seconds)
        other.keyring = self.keyring
        return other


def trusting(platform: SimulatedPlatform, *urls: str, gateway: str | None = None, **pins: object) -> Trust:
    """Return a trust file of these relays, which is right but for `pins`."""
    document = msgspec.structs.replace(simulated_policy(platform, manifests=(MEASUREMENT,)), **pins)
    return Trust("a.example", urls, SlotTable(T0, PERIOD), document, gateway=gateway)


@asynccontextmanager
async def asking(
    *relays: Relay | str,
    clock: Callable[[], float] = time.time,
    gateway: Relay | None = None,
    evidence: Path | None = None,
    trees: Path | None = None,
    **pins: object,
) -> AsyncIterator[Client]:
    """A client of these relays; one that is given as a URL need not answer."""
    first = next(relay for relay in relays if isinstance(relay, Relay))
    async with AsyncExitStack() as stack:
        urls = [each if isinstance(each, str) else await stack.enter_async_context(each.up()) for each in relays]
        direct = None if gateway is None else await stack.enter_async_context(gateway.up())
        trust = trusting(first.platform, *urls, gateway=direct, **{**first.pins, **pins})
        client = await stack.enter_async_context(Client(trust, clock=clock, evidence=evidence, trees=trees))
        yield client


@contextmanager
def closed() -> Iterator[str]:
    """A URL at which nobody listens, and nobody else can for as long as the block lasts."""
    with socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{holder.getsockname()[1]}{GATEWAY_PATH}"


@asynccontextmanager
async def breaking(*, late: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """An address that takes requests whole and breaks off, or is `late` for ever; and the methods of what it took."""
    taken: list[bytes] = []
    taking: set[asyncio.Task[object] | None] = set()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taking.add(asyncio.current_task())
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
        await reader.readexactly(length)
        taken.append(head.split(b" ")[0])
        if late:
            await reader.read()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{host}:{port}", taken
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*(task for task in taking if task is not None))


class InOrder:
    """Draws what a test can foretell: relays in the order of the trust file, and the earliest moment."""

    def __init__(self) -> None:
        self.reverse = False
        self.bounds: list[tuple[float, float]] = []
        self.moment: Callable[[float, float], float] = lambda earliest, _latest: earliest

    def sample(self, population: tuple[object, ...], k: int) -> list[object]:
        return list(population[::-1] if self.reverse else population)[:k]

    def uniform(self, earliest: float, latest: float) -> float:
        self.bounds.append((earliest, latest))
        return self.moment(earliest, latest)
