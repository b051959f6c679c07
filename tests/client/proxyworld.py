"""A pool that answers chats as docs/proxy.md says, and the proxy before it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from inference.answer import EVENTS_FIELDS, event
from inference.chunked import Opening
from seclude import bhttp
from seclude.bhttp_stream import ResponseWriter
from seclude.chat import (
    CHAT_PATH,
    DONE,
    MODELS_PATH,
    AnswerMessage,
    ChatChunk,
    ChatRequest,
    ChatResponse,
    Choice,
    ChunkChoice,
    Delta,
    Model,
    ModelList,
    Usage,
)
from seclude.client.proxy.door import Door
from seclude.client.proxy.guard import Guard
from seclude.client.proxy.serving import serving
from seclude.daemon.addresses import ListenAddress
from seclude.ohttp.media import PROBLEM
from seclude.tasks import decode, encode
from tests.client.serving import MEASUREMENT, Relay, asking

MODEL = "small-chat"
SAID = ("Hel", "lo, ", "Ana: ", "dinner at 7")
TEXT = "".join(SAID)
USAGE = Usage(prompt_tokens=9, completion_tokens=4, total_tokens=13)
FILLER = b":" + b" " * 60 + b"\n"
JSON = (bhttp.Field(b"content-type", b"application/json"),)


def piece(text: str) -> bytes:
    return b"data: %b\n\n" % encode(ChatChunk(choices=(ChunkChoice(Delta(text)),)))


END = b"data: %b\n\n" % encode(ChatChunk(choices=(ChunkChoice(Delta(), "stop"),), usage=USAGE))
LAST = b"data: %b\n\n" % DONE
STORY = (*map(piece, SAID), FILLER, END, LAST)
FAILED = event("error", msgspec.json.encode({"status": 503, "title": "Service Unavailable"}))


def refused(status: int, detail: str, *fields: tuple[bytes, bytes]) -> bhttp.Response:
    content = msgspec.json.encode({"status": status, "title": "no", "detail": detail})
    more = tuple(bhttp.Field(name, value) for name, value in fields)
    return bhttp.Response(status, (bhttp.Field(b"content-type", PROBLEM.encode()), *more), content)


def chat(request: bhttp.Request) -> bhttp.Response:
    """Answer as a worker with one model does."""
    if (request.method, request.path) == (b"GET", MODELS_PATH.encode()):
        return bhttp.Response(200, JSON, encode(ModelList((Model(MODEL),))))
    if (request.method, request.path) != (b"POST", CHAT_PATH.encode()):
        return refused(404, "nothing is here")
    asked = decode(ChatRequest, request.content)
    if asked.model != MODEL:
        return refused(404, "there is no model of this name")
    return bhttp.Response(200, JSON, encode(ChatResponse((Choice(AnswerMessage(TEXT), "stop"),), USAGE)))


@dataclass
class ChatRelay(Relay):
    """A relay, a gateway and a worker in one, which may stop in the middle of an answer until it is told to go on."""

    hold_after: int = -1
    """After so many events of a stream; none where it is negative."""
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set where an answer was given up in the middle."""

    def __post_init__(self) -> None:
        self.inner = chat
        self.events = STORY
        super().__post_init__()

    @property
    def asked(self) -> list[ChatRequest]:
        """What workers were asked."""
        return [decode(ChatRequest, request.content) for request in self.inners if request.method == b"POST"]

    async def in_chunks(self, body: bytes) -> AsyncGenerator[bytes, None]:
        if self.hold_after < 0:
            async for each in super().in_chunks(body):
                yield each
            return
        opening = Opening(self.keyring.keys(self.clock()), self.keyring.insert)
        opening.feed(body)
        opened = opening.finish()
        assert self.work(opened.parse()).status == 200
        writer = ResponseWriter(200, EVENTS_FIELDS)
        yield opened.sealer.seal(writer.head())
        whole = False
        try:
            for at, each in enumerate(self.events):
                if at == self.hold_after:
                    await self.go_on.wait()
                yield opened.sealer.seal(writer.content(each))
            yield opened.sealer.finish(writer.end())
            whole = True
        finally:
            if not whole:
                self.gone.set()


@asynccontextmanager
async def proxy(
    relay: Relay, *, token: bytes | None = None, manifests: tuple[str, ...] = (MEASUREMENT.hex(),)
) -> AsyncIterator[str]:
    """Yield the base URL of a proxy before a relay."""
    async with asking(relay, manifests=manifests) as client:
        door = Door(client, "a.example")
        async with serving(door, Guard(token), ListenAddress("127.0.0.1", 0)) as url:
            yield url
