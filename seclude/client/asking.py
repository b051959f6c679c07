"""One encapsulated request: which key, which relay, and what may be sent again.

Where the key is not known or does not open the request, which then was surely not processed or cannot be, it is fetched
and verified anew once; and where a relay cannot be reached, another one is. Nothing else is sent twice, since a request
that may have been processed must not be repeated without the caller's word (RFC 9458, section 6.5). Each time it is
encapsulated anew: nobody must be able to tell that two requests are one.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Final

from seclude import bhttp
from seclude.attestation.verify import TrustedPool
from seclude.bhttp_stream import Head, ResponseReader
from seclude.client.answers import parse_problem, refusal
from seclude.client.hop import SILENCE_SECONDS, TOTAL_SECONDS, Incoming
from seclude.client.keys import Keys
from seclude.client.receipts import Use
from seclude.client.relays import Endpoint, Relays
from seclude.daemon.messages import UpstreamResponse
from seclude.errors import OHTTP_KEY, DecodeError, OpenError, UpstreamError
from seclude.ohttp.chunked import MAX_CHUNK, ResponseOpener, encapsulate_chunked
from seclude.ohttp.encapsulation import ResponseOpener as WholeOpener
from seclude.ohttp.encapsulation import encapsulate_request
from seclude.ohttp.media import OHTTP_CHUNKED_REQ, OHTTP_CHUNKED_RES, OHTTP_REQ, OHTTP_RES, media_type
from seclude.padding import pad

CHANGED: Final = "the answer was changed on its way or does not belong to this request; nothing of it is shown"
Observer = Callable[[Use], None]
"""Called with the keys that a request was encapsulated for, before any of it is sent; again where it is sent anew."""

CUT: Final = "the answer was cut short or changed on its way; what came of it is not the whole of it"


async def ask(keys: Keys, relays: Relays, message: bhttp.Request, used: Observer | None = None) -> bhttp.Response:
    """Send one inner request to the pool and return the inner response, whatever its status."""
    data = pad(bhttp.serialize_request(message))
    for last in (False, True):
        pool = await _keys_for(keys, used)
        answer, opener = await relays.send(partial(_post, pool, data))
        if answer.status == 200 and media_type(answer.content_type) == OHTTP_RES:
            try:
                return bhttp.parse_response(opener.open(answer.body))
            except (OpenError, DecodeError):
                raise UpstreamError(CHANGED) from None
        _see_to(answer, keys, pool, last=last)
    raise AssertionError("the second refusal is raised")


class Streaming:
    """One answer in pieces: its head is there, its content comes; only the end of `content` says that it is whole."""

    def __init__(self, relay: Endpoint, incoming: Incoming, opener: ResponseOpener) -> None:
        self._relay = relay
        self._incoming = incoming
        self._opener = opener
        self._reader = ResponseReader(bhttp.Limits(content_bytes=None))
        self._events = self._read()
        self.head = Head(0)
        """Status and fields of the inner response."""

    async def begin(self) -> None:
        """Wait for the head."""
        first = await anext(self._events)
        assert isinstance(first, Head)  # a reader gives it first
        self.head = first

    async def close(self) -> None:
        """Let go of what has not come yet."""
        self._incoming.close()
        await self._events.aclose()

    async def content(self) -> AsyncGenerator[bytes, None]:
        """Return the content as it comes; raises UpstreamError where it is cut short, changed, or no more comes."""
        async with aclosing(self._events):
            async for piece in self._events:
                assert isinstance(piece, bytes)
                yield piece

    async def read(self, limit: int = bhttp.DEFAULT_LIMITS.most_content) -> bytes:
        """Return the whole content, where it is known to be short."""
        content = b""
        async with aclosing(self.content()) as pieces:
            async for piece in pieces:
                content += piece
                if len(content) > limit:
                    raise UpstreamError("the answer is longer than such an answer may be")
        return content

    async def _read(self) -> AsyncGenerator[Head | bytes, None]:
        now = asyncio.get_running_loop().time
        heard = now()
        try:
            with self._relay.explaining():
                async with aclosing(self._incoming.pieces()) as pieces:
                    # Octets that open to nothing could come for ever, even such as never make a piece.
                    while (piece := await _next(pieces, heard + SILENCE_SECONDS)) is not None:
                        for opened in self._opener.feed(piece):
                            for event in self._reader.feed(opened):
                                yield event
                            heard = now()  # only here, since a caller who is slow is no silence
            for event in [*self._reader.feed(self._opener.finish()), *self._reader.finish()]:
                yield event
        except (OpenError, DecodeError):
            raise UpstreamError(CUT) from None


@asynccontextmanager
async def ask_streaming(
    keys: Keys, relays: Relays, message: bhttp.Request, used: Observer | None = None
) -> AsyncIterator[Streaming]:
    """Send one inner request in chunks, and give the inner response as it comes; it ends with the block."""
    data = pad(bhttp.serialize_request(message))
    for last in (False, True):
        pool = await _keys_for(keys, used)
        answer = await relays.send(partial(_begin, pool, data))
        if isinstance(answer, Streaming):
            try:
                yield answer
            finally:
                await answer.close()
            return
        _see_to(answer, keys, pool, last=last)


async def _keys_for(keys: Keys, used: Observer | None) -> TrustedPool:
    """Return the keys of the present slot, and tell whoever keeps a receipt."""
    use = await keys.current()
    if used is not None:
        used(use)
    return use.pool


def _see_to(answer: UpstreamResponse, keys: Keys, pool: TrustedPool, *, last: bool) -> None:
    """Drop a key that is not known; raises where asking again is of no use."""
    problem = parse_problem(answer.content_type, answer.body)
    # A plain 400 may mean that the pool was lost and has another key under the same identifier.
    if last or not (problem.type == OHTTP_KEY or answer.status == 400):
        raise refusal(answer, problem)
    keys.drop(pool)


async def _post(pool: TrustedPool, data: bytes, relay: Endpoint) -> tuple[UpstreamResponse, WholeOpener]:
    """Encapsulate for this one relay, and post it."""
    body, opener = encapsulate_request(pool.key_configs[0], data)
    return await relay.exchange("POST", content_type=OHTTP_REQ, body=body), opener


async def _begin(pool: TrustedPool, data: bytes, relay: Endpoint) -> Streaming | UpstreamResponse:
    """Encapsulate in chunks for this one relay, post them, and wait for the head of the answer or all of a refusal."""
    sealer, opener = encapsulate_chunked(pool.key_configs[0])
    pieces = [data[at : at + MAX_CHUNK] for at in range(0, len(data), MAX_CHUNK)]
    body = b"".join([*map(sealer.seal, pieces[:-1]), sealer.finish(pieces[-1])])
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            return await _receive(relay, await relay.begin(OHTTP_CHUNKED_REQ, body), opener)
    except TimeoutError:
        raise relay.late() from None


async def _receive(relay: Endpoint, incoming: Incoming, opener: ResponseOpener) -> Streaming | UpstreamResponse:
    """Return an answer whose head has opened, or a whole refusal."""
    if incoming.status != 200 or media_type(incoming.content_type) != OHTTP_CHUNKED_RES:
        with relay.explaining():
            return await incoming.read()
    streaming = Streaming(relay, incoming, opener)
    try:
        await streaming.begin()
    except BaseException:
        incoming.close()
        raise
    return streaming


async def _next(pieces: AsyncIterator[bytes], deadline: float) -> bytes | None:
    """Return the next piece, or None at the end; raises UpstreamError where neither comes before the deadline."""
    try:
        async with asyncio.timeout_at(deadline):
            return await anext(pieces, None)
    except TimeoutError:
        raise UpstreamError("no more of the answer came in time", timed_out=True) from None
