"""The next hop: a pool of connections to one address.

It sends the fields named in `prepare()`, Host and framing, nothing else; it keeps no cookies, follows no redirects,
decompresses nothing and reads no proxy settings from the environment.
"""

import asyncio
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from seclude.daemon.addresses import ListenAddress
from seclude.daemon.clock import Clock
from seclude.daemon.http1 import AnswerHead
from seclude.daemon.messages import UpstreamResponse
from seclude.daemon.outbound import Attempt, ExchangeError, Outbound, Receiver
from seclude.daemon.tls import SHUTDOWN_SECONDS, ClientCertificates, ClientTLS
from seclude.errors import ConfigError

MAX_ANSWER_BYTES: Final = (1 << 20) + (1 << 16)  # octets; as the largest request, which no answer of a model nears
IDLE_SECONDS: Final = 15.0  # well under the server's 75, so that no request meets a closing connection
AGE_SECONDS: Final = 300.0  # after which a connection is not used again: names and balancers may point elsewhere
MAX_CONNECTIONS: Final = 4096  # at once; the server in front bounds what is in flight, this bounds a mistake


@dataclass(frozen=True, slots=True)
class UpstreamTimeouts:
    """How long the next hop may take, in seconds."""

    connect: float = 3.0  # two lost SYNs
    total: float = 120.0  # a long answer on a slow model; the caller's own deadline may be shorter


class Upstream:
    """A pool of connections to one address: "http://HOST:PORT", "https://HOST[:PORT]" or "unix:PATH".

    Raises ConfigError for plain HTTP to another machine, and for certificates that cannot be used.
    """

    def __init__(
        self,
        address: str,
        *,
        timeouts: UpstreamTimeouts | None = None,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        tls: ClientCertificates | None = None,
        insecure_plaintext: bool = False,
    ) -> None:
        self._target = _parse(address)
        if self._target.plain and not (insecure_plaintext or ListenAddress(self._target.host).is_local):
            raise ConfigError(
                "the next hop is not loopback: use https (RFC 9458, section 6), or set insecure_plaintext"
            )
        self._tls = tls or ClientCertificates()
        if not self._target.secure and tls is not None and tls.tls != ClientTLS():
            raise ConfigError("certificates are given, but the address of the next hop is not https://")
        if self._target.secure:
            _ = self._tls.context  # so that what is wrong with its files is said at the start
        self._timeouts = timeouts or UpstreamTimeouts()
        self._max_answer_bytes = max_answer_bytes
        self._clock: Clock | None = None
        self._idle: list[Outbound] = []
        self._open: set[Outbound] = set()
        self._connecting: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """How many connections there are, idle ones included."""
        return len(self._open) + len(self._connecting)

    def renew_tls(self) -> None:
        """Read certificates again for connections from now on; raises ConfigError, and stays as it was then.

        Those that are there are used until they are AGE_SECONDS old.
        """
        self._tls.renew()

    def prepare(
        self,
        method: str,
        path: str,
        *,
        content_type: str | None = None,
        accept: str | None = None,
        incremental: bool = False,
    ) -> bytes:
        """Return the part of a request's head that is the same for all; `begin` adds the framing."""
        kind = "" if content_type is None else f"Content-Type: {content_type}\r\n"
        wanted = "" if accept is None else f"Accept: {accept}\r\n"
        at_once = "Incremental: ?1\r\n" if incremental else ""
        return f"{method} {path} HTTP/1.1\r\nHost: {self._target.name}\r\n{kind}{wanted}{at_once}".encode("ascii")

    def begin(
        self, head: bytes, length: int | None, body: bytes, receiver: Receiver, *, within: float | None = None
    ) -> Attempt:
        """Send a prepared head and what there is of the body; without a length the body is chunked.

        The rest is written to the attempt, which is then told of the end; of a body that is all there, it knows.

        `within` is a shorter time than the pool's own, in seconds. The receiver hears of an answer, or that there will
        be none, only after this has returned.
        """
        now = (self._clock or self._start()).now()
        total = self._timeouts.total if within is None or within > self._timeouts.total else within
        if length is None:
            attempt = Attempt(receiver, now + total, head + b"Transfer-Encoding: chunked\r\n\r\n", chunked=True)
            if body:
                attempt.write(body)
        else:
            framing = b"" if length == 0 and head.startswith(b"GET ") else b"Content-Length: %d\r\n" % length
            attempt = Attempt(receiver, now + total, b"%b%b\r\n%b" % (head, framing, body))
            attempt.complete = len(body) == length
        while self._idle:
            connection = self._idle.pop()  # the one used last, so that the others grow old and the pool shrinks
            if now - connection.made_at < AGE_SECONDS and connection.carry(attempt):
                return attempt
            connection.drop()
        task = asyncio.get_running_loop().create_task(self._connect(attempt, now))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return attempt

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        content_type: str | None = None,
        accept: str | None = None,
        body: bytes = b"",
    ) -> UpstreamResponse:
        """Send one request and return the whole answer, whatever its status; raises ExchangeError.

        A POST is never sent twice; a GET may be, when the server closed a kept connection under it.
        """
        head = self.prepare(method, path, content_type=content_type, accept=accept)
        kept = bool(self._idle)
        try:
            return await self._collect(head, body)
        except ExchangeError as exc:
            if method != "GET" or exc.answered or exc.timed_out or not kept:
                raise
        return await self._collect(head, body)

    async def close(self) -> None:
        """Close the pool."""
        for task in list(self._connecting):
            task.cancel()
        for connection in list(self._open):
            connection.drop()
        self._idle.clear()
        await asyncio.gather(*self._connecting, return_exceptions=True)

    async def _collect(self, head: bytes, body: bytes) -> UpstreamResponse:
        whole = Whole(self._max_answer_bytes)
        attempt = self.begin(head, len(body), body, whole)
        whole.attempt = attempt
        try:
            return await whole.result
        finally:
            attempt.cancel()

    async def _connect(self, attempt: Attempt, began: float) -> None:
        """Make a connection for an attempt; whatever comes of it, the attempt hears of it."""
        limit = min(began + self._timeouts.connect, attempt.deadline)
        if self.connections > MAX_CONNECTIONS:
            attempt.fail("too many connections to the next hop", sent=False, answered=False)
            return
        try:
            async with asyncio.timeout_at(limit):
                connection = await self._dial()
        except TimeoutError:
            attempt.expire(connecting=True)
        except Exception:  # noqa: BLE001 - whatever it is, the attempt must hear of it; its text may hold an address
            attempt.fail("no connection to the next hop", sent=False, answered=False)
        except asyncio.CancelledError:
            attempt.fail("the pool was closed", sent=False, answered=False)
            raise
        else:
            if connection.closed:  # it spoke before it was asked, or was gone at once
                attempt.fail("the next hop broke off", sent=False, answered=False)
                return
            self._open.add(connection)
            if attempt.over:
                self._free(connection)
            else:
                connection.carry(attempt)

    async def _dial(self) -> Outbound:
        loop = asyncio.get_running_loop()
        target = self._target
        if target.path is not None:
            _, connection = await loop.create_unix_connection(self._make, target.path)
        elif target.plain:
            _, connection = await loop.create_connection(self._make, target.host, target.port)
        else:
            context = self._tls.context
            _, connection = await loop.create_connection(
                self._make,
                target.host,
                target.port,
                ssl=context,
                server_hostname=target.host,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        return connection

    def _make(self) -> Outbound:
        return Outbound(self._clock or self._start(), self._free, self._lost)

    def _free(self, connection: Outbound) -> None:
        connection.deadline = (self._clock or self._start()).now() + IDLE_SECONDS
        self._idle.append(connection)

    def _lost(self, connection: Outbound) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _start(self) -> Clock:
        self._clock = Clock(min(self._timeouts.connect, self._timeouts.total))
        return self._clock


class Whole:
    """Collects one answer up to a limit; `result` is done with it or with an ExchangeError."""

    def __init__(self, limit: int) -> None:
        self.result: asyncio.Future[UpstreamResponse] = asyncio.get_running_loop().create_future()
        self.attempt: Attempt | None = None
        self._limit = limit
        self._pieces: list[bytes] = []
        self._taken = 0

    def answer(self, head: AnswerHead, piece: bytes, *, ended: bool) -> None:
        self._taken += len(piece)
        self._pieces.append(piece)
        if max(self._taken, head.content_length or 0) > self._limit:
            self.answer_failed(ExchangeError("answer too large"))
            if self.attempt is not None:
                self.attempt.cancel()
        elif ended and not self.result.done():
            body = b"".join(self._pieces)
            answer = UpstreamResponse(head.status, head.content_type, body, head.retry_after, head.cache_control)
            self.result.set_result(answer)

    def answer_failed(self, exc: ExchangeError) -> None:
        if not self.result.done():
            self.result.set_exception(exc)

    def upstream_congested(self) -> None:
        """The request is in the transport already."""

    def upstream_relieved(self) -> None:
        """As above."""


@dataclass(frozen=True, slots=True)
class _Target:
    """Where to connect to."""

    name: str
    """As in the Host field."""
    host: str = ""
    port: int = 0
    path: str | None = None
    plain: bool = False

    @property
    def secure(self) -> bool:
        """Whether it is reached over TLS."""
        return self.path is None and not self.plain


def _parse(address: str) -> _Target:
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        if not path:
            raise ConfigError("an address unix:PATH needs a path")
        return _Target("localhost", path=path)
    try:
        url = urlsplit(address)
        port = url.port
    except ValueError:
        url, port = SplitResult("", "", "", "", ""), None
    scheme, host = url.scheme, url.hostname
    rest = url.path not in ("", "/") or url.query or url.fragment or url.username is not None
    if scheme not in ("http", "https") or not host or rest or "?" in address or "#" in address:
        raise ConfigError('the address of the next hop is "http://HOST:PORT", "https://HOST[:PORT]" or "unix:PATH"')
    name = url.netloc.lower()
    return _Target(name, host, port or (443 if scheme == "https" else 80), plain=scheme == "http")
