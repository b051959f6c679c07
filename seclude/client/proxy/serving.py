"""The local HTTP server: it moves octets between apps and the door, and enforces limits. It logs nothing.

When an app goes away in the middle, its request is cancelled here, and with it the one that is under way to the pool.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Final

from aiohttp import web

from seclude.client.proxy.door import MAX_BODY_BYTES, Door, Local, Reply, refuse
from seclude.client.proxy.guard import Guard
from seclude.client.proxy.refusals import LocalError
from seclude.daemon.addresses import ListenAddress
from seclude.errors import BusyError, ConfigError

MAX_AT_ONCE: Final = 64  # requests; each holds at most a few MiB, and no person's apps ask more at once
BODY_SECONDS: Final = 30.0  # for 2 MiB from a program of this machine
STUCK_SECONDS: Final = 60.0  # that an app may leave a piece unread; the worker's line to us would be as long silent
DRAIN_SECONDS: Final = 1.0  # for answers that are nearly there; aiohttp waits twice, and a person for both
HEAD_BYTES: Final = 16_384  # octets of a request line or a field; API keys of some services have a kilobyte
SERVER: Final = "seclude"  # and no versions


class Serving:
    """Answers the requests of one listening address."""

    def __init__(self, door: Door, guard: Guard) -> None:
        self._door = door
        self._guard = guard
        self._under_way = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            self._guard.admit(request.headers)
            if self._under_way >= MAX_AT_ONCE:
                raise BusyError(f"{MAX_AT_ONCE} requests are under way; try again when one of them is done")
        except (LocalError, BusyError) as exc:
            return _whole(refuse(exc))
        self._under_way += 1
        try:
            return await self._answer(request)
        finally:
            self._under_way -= 1

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            body = await _read(request)
        except LocalError as exc:
            return _whole(refuse(exc))
        local = Local(request.method, request.rel_url.raw_path, request.headers.get("Content-Type"), body)
        async with self._door.answering(local) as reply:
            if isinstance(reply.body, bytes):
                return _whole(reply)
            return await _stream(request, reply, reply.body)


async def _read(request: web.BaseRequest) -> bytes:
    """Return the body; raises LocalError where it is too large or too slow."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.content.iter_any():
                body += piece
                if len(body) > MAX_BODY_BYTES:
                    sentence = f"the request is larger than {MAX_BODY_BYTES} octets"
                    raise LocalError(sentence, status=413, code="too_large")
    except TimeoutError:
        raise LocalError("the request did not come in time", status=408, code="slow") from None
    return bytes(body)


def _whole(reply: Reply) -> web.Response:
    assert isinstance(reply.body, bytes)
    response = web.Response(status=reply.status, headers=(*reply.fields, ("Server", SERVER)), body=reply.body)
    if reply.status in (408, 413):
        response.force_close()  # the rest of the body is not read
    return response


async def _stream(request: web.BaseRequest, reply: Reply, pieces: AsyncGenerator[bytes, None]) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=(*reply.fields, ("Server", SERVER)))
    async with aclosing(pieces):
        with suppress(ConnectionError, TimeoutError):  # the app went away or reads no more: nobody is left to tell
            await response.prepare(request)
            async for piece in pieces:
                async with asyncio.timeout(STUCK_SECONDS):
                    await response.write(piece)
            await response.write_eof()
            return response
    response.force_close()
    return response


@asynccontextmanager
async def serving(door: Door, guard: Guard, listen: ListenAddress) -> AsyncIterator[str]:
    """Listen for as long as the block lasts, and give the base URL for apps; raises ConfigError."""
    server = web.Server(
        Serving(door, guard).handle,
        handler_cancellation=True,
        access_log=None,
        logger=_silent(),
        max_line_size=HEAD_BYTES,
        max_field_size=HEAD_BYTES,
        auto_decompress=False,  # no app compresses, and what grows tenfold would pass no limit as what it is
    )
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=DRAIN_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, listen.host, listen.port)
        try:
            await site.start()
        except OSError as exc:
            raise ConfigError(f"cannot listen on {listen}: {exc.strerror}; name another with --listen") from exc
        yield f"http://{_bound(runner, listen)}/v1"
    finally:
        await runner.cleanup()


def _bound(runner: web.ServerRunner, listen: ListenAddress) -> ListenAddress:
    """Return where it listens, with the port that the system chose where none was named."""
    return ListenAddress(host=listen.host, port=runner.addresses[0][1])


def _silent() -> logging.Logger:
    """Return a logger that says nothing: a server's complaints quote what was sent."""
    logger = logging.Logger("seclude.proxy")
    logger.addHandler(logging.NullHandler())
    return logger
