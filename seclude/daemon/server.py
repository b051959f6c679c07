"""The HTTP/1.1 server under every daemon: bytes in, bytes out, and a bound on everything a peer can make it hold.

It passes a handler only what `messages.Request` names, adds no field of its own but Date and Content-Length, and logs
nothing about a peer. aiohttp does the parsing and is not visible outside this module.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Final, cast

from aiohttp import HttpVersion11, web

from seclude.daemon.addresses import ListenAddress, parse_listen
from seclude.daemon.log import Log
from seclude.daemon.messages import BodyReader, Handler, Request, Response
from seclude.daemon.problems import CLIENT_GONE, PeerTimeoutError, answer_for, refusal
from seclude.errors import BusyError, ConfigError, DecodeError, TooLargeError, UsageError

__all__ = ["BodyReader", "Exchange", "Handler", "Observer", "Request", "Response", "Server", "ServerLimits"]

GONE_STATUS: Final = 499  # counted, never sent: the client went away before the answer
ARRIVAL_GRACE: Final = 0.5  # seconds; a request sent before its client could know of the end arrives within this
CLOSE_GRACE: Final = 0.1  # seconds for a cancelled handler to unwind; aiohttp reads 0 as "for ever"


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a peer may make the server hold, and for how long; seconds and octets."""

    max_body_bytes: int = (1 << 20) + (1 << 16)  # a request of 1 MiB and what encapsulation and padding add to it
    max_head_bytes: int = 8190  # one line or one field; RFC 9110, section 4.1, asks for 8000 in a request target
    max_fields: int = 64  # a browser behind two proxies sends about thirty
    header_timeout: float = 10.0  # one head is one packet; ten seconds forgive three lost ones
    body_timeout: float = 30.0  # 1 MiB at 35 kB/s, the slow end of a mobile network
    send_timeout: float = 30.0  # the same for a peer that does not read its answer
    keepalive: float = 75.0  # longer than the pools of our own clients, so that they close first
    max_inflight: int = 512  # 1 MiB each at the worst: half a gigabyte
    max_connections: int = 4096  # silent ones cost a descriptor and about 20 kB each
    linger: float = 2.0  # to read on after a refusal, so that the answer is not lost in a reset


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
        self._inflight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._retiring = False

    @property
    def inflight(self) -> int:
        """How many requests are with the handler."""
        return self._inflight

    async def start(self, listen: str) -> str:
        """Listen, and return the address really bound in the same form; raises ConfigError."""
        if self._web is not None:
            raise UsageError("a server starts once")
        address = parse_listen(listen)
        if not (address.is_local or self._insecure_plaintext):
            raise ConfigError(
                f"{self._name} would serve plaintext on {address}, which is not loopback: "
                "put TLS in front of a loopback address or a Unix socket, or set insecure_plaintext"
            )
        self._web = _Web(self)
        loop = asyncio.get_running_loop()
        try:
            if address.path is not None:
                self._listener = await loop.create_unix_server(self._web, address.path, backlog=1024)
                return str(address)
            self._listener = await loop.create_server(self._web, address.host, address.port, backlog=1024)
        except OSError as exc:
            raise ConfigError(f"cannot listen on {address}: {exc.strerror}") from exc
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
        body = _Body(raw, self.limits)
        refused = _refuse_head(raw)
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

    async def _answer(self, raw: web.BaseRequest, body: "_Body") -> Response:
        if self._inflight >= self.limits.max_inflight:
            return answer_for(BusyError("too many requests in flight"))
        self._inflight += 1
        self._idle.clear()
        try:
            return await self._handler(_request(raw, body))
        except Exception as exc:  # noqa: BLE001 - the edge where every error becomes an answer
            response = answer_for(exc)
            if response.reason == "internal" and self._log is not None:
                self._log.event("handler_failed", error=type(exc).__name__)
            return response
        finally:
            self._inflight -= 1
            if not self._inflight:
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


class _Body:
    """Reads one body within the limits of size and time."""

    def __init__(self, raw: web.BaseRequest, limits: ServerLimits) -> None:
        self._raw = raw
        self._limits = limits
        self.taken = 0

    async def read(self) -> bytes:
        limit = self._limits.max_body_bytes
        if (self._raw.content_length or 0) > limit:
            raise TooLargeError(f"body over {limit} octets")
        pieces = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_timeout):
                while piece := await self._raw.content.readany():
                    pieces += piece
                    self.taken = len(pieces)
                    if len(pieces) > limit:
                        raise TooLargeError(f"body over {limit} octets")
        except TimeoutError:
            raise PeerTimeoutError("body not sent in time") from None
        except (web.RequestPayloadError, ConnectionError):
            raise DecodeError("broken body") from None
        return bytes(pieces)


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

    __slots__ = ("_head_clock", "_send_clock", "_socket", "_web")

    def __init__(self, owner: _Web) -> None:
        limits = owner.server.limits
        super().__init__(
            owner,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.keepalive,
            access_log=None,  # type: ignore[arg-type] # aiohttp's own way to switch it off
            max_line_size=limits.max_head_bytes,
            max_field_size=limits.max_head_bytes,
            max_headers=limits.max_fields,
            lingering_time=limits.linger,
            auto_decompress=False,  # a body is opaque here, and a small one could unfold to a large one
        )
        self._web = owner
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
        if self._head_clock is None and self._is_waiting_for_head():
            self._start_head_clock()
        super().data_received(data)
        if not self._is_waiting_for_head():
            self._stop_head_clock()

    def _is_waiting_for_head(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

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


def _request(raw: web.BaseRequest, body: _Body) -> Request:
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


def _refuse_head(raw: web.BaseRequest) -> Response | None:
    """Refuse heads on which another HTTP implementation in front of us might disagree, and expectations."""
    fields = raw.headers
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
