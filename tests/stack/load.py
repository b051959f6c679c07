"""An open load: requests leave at fixed times, whatever is still under way, and of each it is known how it ended.

What failed is written down with the moment of its slot, since that tells an epoch's end from a slow machine.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bench.front import ANSWER, ORIGIN, STREAM_PATH, stream
from seclude import bhttp
from seclude.attestation.slots import Slots
from seclude.client.events import Event, EventReader
from seclude.client.sdk import Client
from seclude.tasks import Message, SummarizeResponse

LONGEST_SECONDS = 30.0  # of one request: an answer that has not come by then counts as lost
STREAM_BYTES = (
    4_000  # of an event stream: it leaves in a quarter of a second, so some are under way at each epoch's end
)


@dataclass
class Load:
    """Requests of one kind, and what became of them."""

    kind: str
    slots: Slots
    sent: int = 0
    seconds: list[float] = field(default_factory=list)
    """Of each whole answer, from when the request was due."""
    epochs: Counter[int] = field(default_factory=Counter)
    """In which epoch each request was sent."""
    failed: list[str] = field(default_factory=list)

    async def take(self, asking: Awaitable[None]) -> None:
        """Wait for one answer, and take note of it."""
        began = time.time()
        epoch = self.slots.epoch_at(began)
        self.sent += 1
        self.epochs[epoch] += 1
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                await asking
        except Exception as exc:  # noqa: BLE001 - whatever it is, the device got no answer
            into, after = began - self.slots.start(epoch), time.time() - began
            why = f"{type(exc).__name__}: {exc}"
            self.failed.append(f"{self.kind}: sent {into:.2f} s into epoch {epoch}, ended {after:.2f} s later: {why}")
        else:
            self.seconds.append(time.time() - began)

    @property
    def lost(self) -> int:
        """How many requests neither failed nor have a whole answer."""
        return self.sent - len(self.seconds) - len(self.failed)

    def __str__(self) -> str:
        return (
            f"{self.kind}: {self.sent} sent in {len(self.epochs)} epochs, {len(self.failed)} failed, {self.lost} lost, "
            f"p50 {self.quantile(0.5) * 1000:.0f} ms, p99 {self.quantile(0.99) * 1000:.0f} ms, "
            f"max {self.quantile(1.0) * 1000:.0f} ms"
        )

    def quantile(self, part: float) -> float:
        """Return how long that part of the answers took at most."""
        ordered = sorted(self.seconds)
        return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else math.nan


async def send_at(per_second: float, seconds: float, send: Callable[[int], Awaitable[None]]) -> None:
    """Send request after request at fixed times; return when the last one has ended."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def one(number: int) -> None:
        await send(number)

    async with asyncio.TaskGroup() as group:
        for number in range(round(per_second * seconds)):
            await asyncio.sleep(began + number / per_second - loop.time())
            group.create_task(one(number))


async def ask_whole(client: Client, number: int) -> None:
    """Ask a worker without a model, and want its answer."""
    answer = await client.request(inner(b"/v1/nothing", number))
    assert (answer.status, answer.content) == (200, ANSWER.content), f"inner status {answer.status}"


async def ask_streamed(client: Client, octets: int = STREAM_BYTES) -> None:
    """Ask a worker without a model for an event stream, and want each of its events."""
    async with client.stream(inner(STREAM_PATH, octets)) as answer:
        assert answer.head.status == 200, f"inner status {answer.head.status}"
        reader, got = EventReader(), list[Event]()
        async for piece in answer.content():
            got += reader.feed(piece)
    made = list[bytes]()
    stream(octets).produce(made.append)
    assert got == EventReader().feed(b"".join(made)), f"{len(got)} events of {len(made)}"


async def summarize(client: Client, number: int, *, streamed: bool) -> None:
    """Ask for a summary, and want the one that only this chat can give."""
    sum_of_money = f"{number} euros"
    messages = (
        Message(sender="Ana", text=f"We decided: everybody pays {sum_of_money} by Tuesday."),
        Message(sender="Ben", text="ok"),
    )
    if streamed:
        *_, answer = [each async for each in client.summarize_stream(messages)]
        assert isinstance(answer, SummarizeResponse)
    else:
        answer = await client.summarize(messages)
    assert answer.messages == 2
    assert any(sum_of_money in each.text for each in answer.highlights), "an answer to another chat"


def inner(path: bytes, number: int) -> bhttp.Request:
    """Return a request for a worker without a model."""
    return bhttp.Request(b"POST", b"https", ORIGIN.encode(), path, (), str(number).encode())
