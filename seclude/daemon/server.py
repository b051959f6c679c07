"""The HTTP/1.1 server under every daemon: bytes in, bytes out, and a bound on everything a peer can make it hold.

It passes a handler only what `messages.Request` names, adds no field of its own but Date and Content-Length, and logs
nothing about a peer. aiohttp does the parsing and is not visible outside this module.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from socket import gaierror
from time import perf_counter
from typing import Final, cast

from aiohttp import HttpVersion11, web

from seclude.daemon.addresses import PLAINTEXT, ListenAddress, parse_listen, require_local
from seclude.daemon.arrival import ArrivingBody, Load
from seclude.daemon.limits import ServerLimits
from seclude.daemon.log import Log
from seclude.daemon.messages import Handler, Request, Response
from seclude.daemon.problems import CLIENT_GONE, answer_for, refusal
from seclude.errors import ConfigError, UsageError

GONE_STATUS: Final = 499  # counted, never sent: the client went away before the answer
ARRIVAL_GRACE: Final = 0.5  # seconds; a request sent before its client could know of the end arrives within this
CLOSE_GRACE: Final = 0.1  # seconds for a cancelled handler to unwind; aiohttp reads 0 as "for ever"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request that was answered, as the metrics see it."""

    status: int
    reason: str
    seconds: float
    request_bytes: int
    response_bytes: int


Observer = Callable[[Exchange], None]


class Server:
    """Serves one handler on one address."""

    def __init__(
        self,
        handler: Handler,
        limits: ServerLimits | None = None,
        *,
        name: str,
        log: Log | None = None,
        observe: Observer | None = None,
        insecure_plaintext: bool = False,
    ) -> None:
        self.limits = limits or ServerLimits()
        self._handler = handler
        self._name = name
        self._log = log
        self._observe = observe
        self._insecure_plaintext = insecure_plaintext
        self._listener: asyncio.Server | None = None
        self._web: _Web | None = None
        self._load = Load(self.limits)
        self._handling = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._retiring = False

    @property
    def inflight(self) -> int:
        """How many requests are being answered; one whose body is still on its way is not among them."""
        return self._load.inflight

    async def start(self, listen: str) -> str:
        """Listen, and return the address really bound in the same form; raises ConfigError."""
        if self._web is not None:
            raise UsageError("a server starts once")
        address = parse_listen(listen)
        if not self._insecure_plaintext:
            require_local(address, PLAINTEXT)
        self._web = _Web(self)
        loop = asyncio.get_running_loop()
        try:
            if address.path is not None:
                self._listener = await loop.create_unix_server(self._web, address.path, backlog=1024)
                return str(address)
            self._listener = await loop.create_server(self._web, address.host, address.port, backlog=1024)
        except OSError as exc:
            raise ConfigError(f"cannot listen on {address}: {_cause(exc)}") from exc
        return str(ListenAddress(address.host, self._listener.sockets[0].getsockname()[1]))

    def retire_connections(self) -> None:
        """Let every answer from now on close its connection, so that clients move to another server by themselves."""
        self._retiring = True

    def stop_accepting(self) -> None:
        """Close the listener; requests on open connections are still served, and end them."""
        self._retiring = True
        if self._listener is not None:
            self._listener.close()

    async def drain(self, within: float) -> bool:
        """Finish what is in flight; what is left after `within` seconds is cancelled. Returns whether none was."""
        self.stop_accepting()
        if self._web is None:
            return True
        now = asyncio.get_running_loop().time()
        deadline = now + within
        await _reached(self._web.none_open, min(deadline, now + ARRIVAL_GRACE))
        finished = await _reached(self._idle, deadline)
        await self._web.shutdown(CLOSE_GRACE)
        await _reached(self._web.none_open, deadline)  # answers that the sockets have not taken yet
        self._web.abort()
        return finished

    async def serve(self, raw: web.BaseRequest) -> web.Response:
        """Answer one request; called by aiohttp, once per head that parsed."""
        started = perf_counter()
        body = ArrivingBody(raw, self.limits, self._load)
        refused = _refuse_head(raw, self.limits.max_head_bytes)
        try:
            response = refused or await self._answer(raw, body)
        except asyncio.CancelledError:
            self._report(Exchange(GONE_STATUS, CLIENT_GONE, perf_counter() - started, body.taken, 0))
            raise
        self._report(
            Exchange(response.status, response.reason, perf_counter() - started, body.taken, len(response.body))
        )
        answer = _render(response)
        if self._retiring or refused is not None or not raw.content.is_eof():
            answer.force_close()  # where a body was not read or is in doubt, the next head cannot be found
        return answer

    async def _answer(self, raw: web.BaseRequest, body: ArrivingBody) -> Response:
        self._handling += 1
        self._idle.clear()
        try:
            self._load.require_room()
            self._load.require_room_for_octets()
            if raw.content.is_eof():
                body.admit()
            return await self._handler(_request(raw, body))
        except Exception as exc:  # noqa: BLE001 - the edge where every error becomes an answer
            response = answer_for(exc)
            if response.reason == "internal" and self._log is not None:
                self._log.event("handler_failed", error=type(exc).__name__)
            return response
        finally:
            body.release()
            self._handling -= 1
            if not self._handling:
                self._idle.set()

    def unparsed(self) -> web.Response:
        """Answer bytes that are no HTTP request."""
        response = refusal(400)
        self._report(Exchange(response.status, response.reason, 0.0, 0, len(response.body)))
        answer = _render(response)
        answer.force_close()
        return answer

    def _report(self, exchange: Exchange) -> None:
        if self._observe is not None:
            self._observe(exchange)


class _Answer(web.Response):
    """An answer without the Server field, which would name aiohttp, its version and Python's."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)


class _Web(web.Server):
    """aiohttp's connection factory, with our connections."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.serve, handler_cancellation=True)
        self.server = server
        self.open: set[_Connection] = set()
        self.none_open = asyncio.Event()
        self.none_open.set()

    def __call__(self) -> "_Connection":
        return _Connection(self)

    def abort(self) -> None:
        """Reset every connection that is still there."""
        for connection in list(self.open):
            connection.abort()


class _Connection(web.RequestHandler):
    """One connection; adds to aiohttp's the clocks for a slow head and a slow reader, which it lacks."""

    __slots__ = ("_answered", "_head_bytes", "_head_clock", "_send_clock", "_socket", "_web")

    def __init__(self, owner: _Web) -> None:
        limits = owner.server.limits
        super().__init__(
            owner,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.keepalive,
            access_log=None,  # type: ignore[arg-type] # aiohttp's own way to switch it off
            max_line_size=limits.max_line_bytes,
            max_field_size=limits.max_line_bytes,
            max_headers=limits.max_fields,
            lingering_time=limits.linger,
            auto_decompress=False,  # a body is opaque here, and a small one could unfold to a large one
        )
        self._web = owner
        self._answered = 0
        self._head_bytes = 0
        self._socket: asyncio.Transport | None = None
        self._head_clock: asyncio.TimerHandle | None = None
        self._send_clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        socket = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's
        self._socket = socket
        self._web.open.add(self)
        self._web.none_open.clear()
        socket.set_write_buffer_limits(high=0)  # so that pause_writing() starts the clock at the first octet kept
        self._start_head_clock()
        if len(self._web.open) > self._web.server.limits.max_connections:
            self.abort()

    def data_received(self, data: bytes) -> None:
        heads = self._request_count
        is_for_head = heads == self._answered
        if is_for_head and self._head_clock is None:
            self._start_head_clock()
        super().data_received(data)
        if self._request_count > heads:
            self._stop_head_clock()
            self._head_bytes = 0
        elif is_for_head:
            self._head_bytes += len(data)
            if self._head_bytes > self._web.server.limits.max_head_bytes:
                self.abort()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Note that from now on what comes is a head; aiohttp calls this once per head that parsed or failed to."""
        self._answered += 1
        return await super().finish_response(request, resp, start_time)

    def _start_head_clock(self) -> None:
        self._head_clock = self._loop.call_later(self._web.server.limits.header_timeout, self.abort)

    def _stop_head_clock(self) -> None:
        if self._head_clock is not None:
            self._head_clock.cancel()
            self._head_clock = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._send_clock = self._loop.call_later(self._web.server.limits.send_timeout, self.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._send_clock is not None:
            self._send_clock.cancel()
            self._send_clock = None

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._stop_head_clock()
        if self._send_clock is not None:
            self._send_clock.cancel()
        self._web.open.discard(self)
        if not self._web.open:
            self._web.none_open.set()

    def abort(self) -> None:
        """Drop the connection and what was not sent."""
        if self._socket is not None:
            self._socket.abort()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what could not be parsed. aiohttp's own answer would echo parts of it and log the peer's address."""
        return self._web.server.unparsed()


async def _reached(event: asyncio.Event, deadline: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            await event.wait()
    return event.is_set()


def _cause(exc: OSError) -> str:
    # asyncio puts the address into the text of its own errors; the numbers of getaddrinfo() are not those of errno.
    return str(exc.strerror) if isinstance(exc, gaierror) or exc.errno is None else os.strerror(exc.errno)


def _request(raw: web.BaseRequest, body: ArrivingBody) -> Request:
    return Request(
        method=raw.method,
        path=raw.rel_url.raw_path,
        content_type=raw.headers.get("Content-Type"),
        accept=raw.headers.get("Accept"),
        content_length=raw.content_length,
        body=body,
    )


def _render(response: Response) -> web.Response:
    headers = list(response.fields)
    if response.content_type is not None:
        headers.append(("Content-Type", response.content_type))
    return _Answer(status=response.status, body=response.body, headers=headers)


def _refuse_head(raw: web.BaseRequest, max_bytes: int) -> Response | None:
    """Refuse heads on which another HTTP implementation in front of us might disagree, and expectations."""
    fields = raw.headers
    if sum(len(name) + len(value) for name, value in raw.raw_headers) > max_bytes:
        return refusal(431)
    if "Expect" in fields:  # RFC 9458, section 5.1: a gateway that does not support it responds with an error
        return refusal(417)
    hosts = len(fields.getall("Host", []))
    ambiguous = (
        (raw.version < HttpVersion11 and "Transfer-Encoding" in fields)  # RFC 9112, section 6.1: faulty framing
        or (raw.version >= HttpVersion11 and hosts != 1)  # RFC 9112, section 3.2
        or "Transfer_Encoding" in fields  # read as the real ones by servers that map "-" to "_"
        or "Content_Length" in fields
        or "Upgrade" in fields  # aiohttp would read the body as something else than the next proxy does
        or raw.method == "CONNECT"
    )
    return refusal(400) if ambiguous else None
