"""Encapsulated requests that are sent again: the same octets each time, and each answer opened for itself."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import ClientSession

from bench.front import ORIGIN
from seclude import bhttp
from seclude.bhttp_stream import Head, ResponseReader
from seclude.errors import DecodeError, OpenError
from seclude.hpke import AEAD_AES_128_GCM, KDF_HKDF_SHA256
from seclude.ohttp.chunked import CHUNKED, RequestSealer
from seclude.ohttp.chunked import ResponseOpener as ChunkedOpener
from seclude.ohttp.encapsulation import WHOLE, ResponseOpener, ResponseSecret, start_request
from seclude.ohttp.keyconfig import KeyConfig
from seclude.ohttp.media import ANSWERED_BY, OHTTP_CHUNKED_REQ, OHTTP_REQ, media_type
from seclude.padding import pad

COPIES = 3

Outcome = str
"""What an answer is: "plain 409" from outside the encapsulation, "inner 200" from inside."""


@dataclass(frozen=True, slots=True)
class Copied:
    """One request, and what opens each of its answers."""

    number: int
    kind: str
    body: bytes
    secret: ResponseSecret

    async def send(self, session: ClientSession, url: str) -> Outcome:
        """Send it once; say what came back."""
        async with session.post(url, data=self.body, headers={"Content-Type": self.kind}) as answer:
            body = await answer.read()
            if answer.status == 200 and media_type(answer.content_type) == ANSWERED_BY[self.kind]:
                try:
                    return f"inner {self._open(body)}"
                except (OpenError, DecodeError) as exc:
                    return f"not opened: {exc}"
            return f"plain {answer.status}"

    async def send_all(self, session: ClientSession, urls: Iterable[str]) -> list[Outcome]:
        """Send it to each place, all at once."""
        return await asyncio.gather(*(self.send(session, url) for url in urls))

    def _open(self, body: bytes) -> int:
        """Return the status of the inner response."""
        if self.kind == OHTTP_REQ:
            return bhttp.parse_response(ResponseOpener(self.secret).open(body)).status
        opener, reader = ChunkedOpener(self.secret), ResponseReader()
        head, *_ = [event for piece in [*opener.feed(body), opener.finish()] for event in reader.feed(piece)]
        reader.finish()
        assert isinstance(head, Head)  # a reader gives it first
        return head.status


def encapsulate(config: KeyConfig, count: int) -> list[Copied]:
    """Return so many requests, every second one in chunks."""
    return [(_whole, _chunked)[number % 2](config, number) for number in range(count)]


def all_of(outcomes: Iterable[Iterable[Outcome]]) -> str:
    """Say how many answers there were of each sort."""
    counts = Counter(each for several in outcomes for each in several)
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))


def _whole(config: KeyConfig, number: int) -> Copied:
    prefix, context, secret = start_request(config, WHOLE, KDF_HKDF_SHA256, AEAD_AES_128_GCM)
    return Copied(number, OHTTP_REQ, prefix + context.seal(b"", _message(number)), secret)


def _chunked(config: KeyConfig, number: int) -> Copied:
    prefix, context, secret = start_request(config, CHUNKED, KDF_HKDF_SHA256, AEAD_AES_128_GCM)
    return Copied(number, OHTTP_CHUNKED_REQ, RequestSealer(prefix, context.seal).finish(_message(number)), secret)


def _message(number: int) -> bytes:
    request = bhttp.Request(b"POST", b"https", ORIGIN.encode(), b"/v1/nothing", (), str(number).encode())
    return pad(bhttp.serialize_request(request))
