"""Every length on the wire lies in the set of buckets, whatever was asked and answered, whole or streamed."""

from collections import defaultdict
from dataclasses import dataclass, field

import httptools
import pytest

from deploy.tap import Direction, Tap
from seclude.client.sdk import Client
from seclude.errors import TaskError
from seclude.hpke import TAG_LENGTH
from seclude.ohttp.media import OHTTP_CHUNKED_REQ, OHTTP_CHUNKED_RES, OHTTP_REQ, OHTTP_RES
from seclude.padding import is_bucket
from seclude.tasks import Message
from seclude.wire import Reader
from tests.privacy.conftest import Watched

PREFIX = 7 + 1120  # header and enc of X-Wing
NONCE = 16
CHUNK = 1024  # the default of `chunk_bytes`


@dataclass
class Bodies:
    """What llhttp finds in one direction of one connection: each message's media type and body."""

    found: list[tuple[str, bytes]] = field(default_factory=list)
    _kind: str = ""
    _body: bytes = b""

    def on_message_begin(self) -> None:
        self._kind, self._body = "", b""

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self._kind = value.decode()

    def on_body(self, piece: bytes) -> None:
        self._body += piece

    def on_message_complete(self) -> None:
        self.found.append((self._kind, self._body))


def bodies(tap: Tap, direction: Direction) -> dict[str, list[bytes]]:
    """Return the bodies that passed a tap in one direction, by media type."""
    connections: dict[int, bytes] = defaultdict(bytes)
    for piece in tap.pieces:
        if piece.direction == direction:
            connections[piece.connection] += piece.data
    by_kind: dict[str, list[bytes]] = defaultdict(list)
    for data in connections.values():
        reader = Bodies()
        parser = httptools.HttpRequestParser if direction == "request" else httptools.HttpResponseParser
        parser(reader).feed_data(data)
        for kind, body in reader.found:
            by_kind[kind].append(body)
    return by_kind


def chunks(data: bytes) -> list[int]:
    """Return the size of each chunk's content, the last one's included."""
    reader, sizes = Reader(data), []
    while length := reader.varint("length"):
        sizes.append(length - TAG_LENGTH)
        reader.take(length, "chunk")
    return [*sizes, len(reader.rest()) - TAG_LENGTH]


async def ask_everything(client: Client) -> None:
    for count, words in ((1, 1), (3, 5), (20, 12), (200, 15), (400, 30)):
        chat = [Message(sender=f"P{n % 5}", text=f"We meet at {n % 12 + 1} pm, " + "so " * words) for n in range(count)]
        await client.summarize(chat)
        async for _ in client.summarize_stream(chat):
            pass
    for text in ("hi", "cant come tmrw " * 40, "i think so " * 600):
        await client.rewrite(text, "proofread")
        with pytest.raises(TaskError):  # an error is answered too
            await client.rewrite(text, "funny")


@pytest.mark.timeout(120)
async def test_every_length_on_the_wire_is_that_of_a_bucket(watched: Watched) -> None:
    async with Client(watched.trust) as client:
        await ask_everything(client)
    for name in ("relay", "gateway"):
        requests, answers = (bodies(watched.taps[name], way) for way in ("request", "response"))
        whole = [len(body) - PREFIX - TAG_LENGTH for body in requests[OHTTP_REQ]]
        assert len(whole) == 11
        assert all(map(is_bucket, whole)), whole
        in_chunks = [sum(chunks(body[PREFIX:])) for body in requests[OHTTP_CHUNKED_REQ]]
        assert len(in_chunks) == 5
        assert all(map(is_bucket, in_chunks)), in_chunks
        back = [len(body) - NONCE - TAG_LENGTH for body in answers[OHTTP_RES]]
        assert len(back) == 11
        assert all(map(is_bucket, back)), back
        assert min(back) == 1024, "an error looks like a short answer"
        streams = [chunks(body[NONCE:]) for body in answers[OHTTP_CHUNKED_RES]]
        assert len(streams) == 5
        assert {size for stream in streams for size in stream} == {CHUNK}
