"""A stream that was cut, changed or put together anew on its way is never presented as whole.

One live answer of the real path is recorded; then the device's own code reads it again, changed at every place.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from seclude import bhttp
from seclude.client.asking import Streaming
from seclude.client.relays import Endpoint
from seclude.client.sdk import Client, Told, summary_of
from seclude.client.trust import Trust, load_trust, render_trust
from seclude.daemon.answering import answering
from seclude.daemon.messages import Request, Response, Streamed
from seclude.daemon.server import Server
from seclude.daemon.upstream import Upstream
from seclude.errors import UpstreamError
from seclude.ohttp.chunked import MAX_CHUNK, ResponseOpener, encapsulate_chunked
from seclude.ohttp.media import EVENT_STREAM, GATEWAY_PATH, OHTTP_CHUNKED_REQ, OHTTP_CHUNKED_RES
from seclude.padding import pad
from seclude.tasks import JSON, SUMMARIZE_PATH, Highlight, Message, SummarizeRequest, SummarizeResponse, encode
from seclude.wire import Reader
from tests.running import Running

NONCE = 16
CHAT = tuple(Message(sender=f"P{n % 3}", text=f"We decided to meet at {n} on day {n}.") for n in range(1, 8))
PIECE = 700  # octets; so that chunks and pieces of the connection never end together


@dataclass
class Recorded:
    """What came back, and what opens it, as often as one likes."""

    trust: Trust
    body: bytes
    opener: ResponseOpener

    async def read(self, body: bytes) -> list[Told]:
        """Return what the device makes of a body; raises as it does."""
        opener = ResponseOpener(self.opener._secret)  # each answer needs one of its own
        relay = Endpoint.connect(self.trust.relays[0], "relay")
        streaming = Streaming(relay, Played(body), opener)  # type: ignore[arg-type] # as far as it is looked at
        await streaming.begin()
        return [each async for each in summary_of(streaming)]


@dataclass
class Played:
    """An answer that comes again."""

    body: bytes

    async def pieces(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self.body), PIECE):
            yield self.body[at : at + PIECE]


@pytest.fixture(scope="module")
def recorded(stack: Running) -> Recorded:
    return asyncio.run(record(load_trust(stack.trust)))


async def record(trust: Trust) -> Recorded:
    async with Client(trust) as client:
        config = (await client.verify()).key_configs[0]
    fields = (bhttp.Field(b"content-type", JSON.encode()), bhttp.Field(b"accept", EVENT_STREAM.encode()))
    content = encode(SummarizeRequest(messages=CHAT))
    inner = bhttp.Request(b"POST", b"https", trust.origin.encode(), SUMMARIZE_PATH.encode(), fields, content)
    sealer, opener = encapsulate_chunked(config)
    message = pad(bhttp.serialize_request(inner))
    assert len(message) <= MAX_CHUNK
    relay = Upstream(trust.relays[0].removesuffix(GATEWAY_PATH))
    body = sealer.finish(message)
    answer = await relay.exchange("POST", GATEWAY_PATH, content_type=OHTTP_CHUNKED_REQ, body=body)
    await relay.close()
    assert (answer.status, answer.content_type) == (200, OHTTP_CHUNKED_RES)
    return Recorded(trust, answer.body, opener)


async def test_the_recorded_answer_is_whole(recorded: Recorded) -> None:
    *highlights, summary = await recorded.read(recorded.body)
    assert isinstance(summary, SummarizeResponse)
    assert {highlight.index for highlight in summary.highlights} == {
        highlight.index for highlight in highlights if isinstance(highlight, Highlight)
    }
    assert len(frames(recorded.body)) > 2, "of one chunk nothing could be left out"


@pytest.mark.timeout(300)
async def test_every_truncation_of_a_live_stream_is_detected(recorded: Recorded) -> None:
    for cut in range(len(recorded.body)):
        with pytest.raises(UpstreamError):
            await recorded.read(recorded.body[:cut])


@pytest.mark.timeout(300)
async def test_every_flipped_bit_of_a_live_stream_is_detected(recorded: Recorded) -> None:
    for bit in range(8 * len(recorded.body)):
        changed = bytearray(recorded.body)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UpstreamError):
            await recorded.read(bytes(changed))


async def test_chunks_left_out_repeated_or_put_elsewhere_are_detected(recorded: Recorded) -> None:
    nonce, chunks = recorded.body[:NONCE], frames(recorded.body)
    last = len(chunks) - 1
    orders = [
        *(chunks[:at] + chunks[at + 1 :] for at in range(len(chunks))),
        *(chunks[: at + 1] + chunks[at:] for at in range(len(chunks))),
        *([*chunks[:at], chunks[at + 1], chunks[at], *chunks[at + 2 :]] for at in range(last)),
        [*chunks, b"\0"],
    ]
    for order in orders:
        with pytest.raises(UpstreamError):
            await recorded.read(nonce + b"".join(order))


def frames(body: bytes) -> list[bytes]:
    """Return the chunks as they stand in a body, each with its length."""
    reader, found = Reader(body[NONCE:]), []
    while True:
        start = reader.offset
        length = reader.varint("length")
        reader.take(length if length else reader.remaining, "chunk")
        found.append(reader.data[start : reader.offset])
        if not length:
            return found


@pytest.mark.parametrize("keep", [0, 1, 2])
async def test_the_command_says_that_an_answer_was_cut_short(stack: Running, tmp_path: Path, keep: int) -> None:
    trust = load_trust(stack.trust)
    honest = Upstream(trust.relays[0].removesuffix(GATEWAY_PATH))

    async def cut(request: Request) -> Response | Streamed:
        body = await request.body.read()
        answer = await honest.exchange(
            request.method, GATEWAY_PATH, content_type=request.content_type, accept=request.accept, body=body
        )
        if request.method == "GET":
            return Response(answer.status, answer.content_type, answer.body)

        async def some() -> AsyncGenerator[bytes, None]:
            yield answer.body[:NONCE] + b"".join(frames(answer.body)[:keep])

        return Streamed(OHTTP_CHUNKED_RES, some())  # it ends in order, as if it were whole

    relay = Server(answering(cut))
    address = await relay.start("127.0.0.1:0")
    lured = tmp_path / "trust.toml"
    lured.write_text(
        render_trust(msgspec.structs.replace(trust, relays=(f"http://{address}{GATEWAY_PATH}",), gateway=None))
    )
    done = await asyncio.to_thread(
        stack.seclude, "summarize", "deploy/demo/chat.txt", "--stream", "--trust", str(lured)
    )
    await relay.drain(1.0)
    await honest.close()
    assert done.returncode == 1
    assert "cut short" in done.stderr
    assert "highlights of" not in done.stdout
