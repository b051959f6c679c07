"""The next hop: one small HTTP/1.1 client with a pool of connections to one address.

It sends the fields named in `exchange()` and Host and Content-Length, nothing else; it keeps no cookies, follows no
redirects, decompresses nothing and reads no proxy settings from the environment. aiohttp is not visible outside.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from aiohttp import (
    BaseConnector,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
    UnixConnector,
)
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from seclude.daemon.addresses import ListenAddress
from seclude.daemon.messages import UpstreamResponse
from seclude.errors import ConfigError, UpstreamError

MAX_ANSWER_BYTES: Final = (1 << 20) + (1 << 16)  # octets; as the largest request, which no answer of a model nears
AUTOMATIC: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")  # aiohttp adds these unless told not to
POOL_KEEPALIVE: Final = 15.0  # seconds; well under the server's 75, so that no request meets a closing connection


@dataclass(frozen=True, slots=True)
class UpstreamTimeouts:
    """How long the next hop may take, in seconds."""

    connect: float = 3.0  # two lost SYNs
    total: float = 120.0  # a long answer on a slow model; the caller's own deadline may be shorter


class ExchangeError(UpstreamError):
    """Raised when an exchange failed.

    `sent` is false only if surely no octet of the request went out, `answered` only if surely none of an answer came.
    """

    def __init__(self, message: str, *, timed_out: bool = False, sent: bool = True, answered: bool = True) -> None:
        super().__init__(message, timed_out=timed_out)
        self.sent = sent
        self.answered = answered


class Attempt:
    """One exchange, which its caller may give up from outside as long as no octet of an answer came."""

    def __init__(self) -> None:
        self.sent = False
        """Whether there was a connection to send on."""
        self.heard = False
        """Whether any octet of an answer came."""
        self.given_up = False
        self._limit: asyncio.Timeout | None = None

    def give_up(self) -> None:
        """End the exchange with an ExchangeError, unless an octet of an answer came or it is over."""
        if self._limit is not None and not self.heard:
            self.given_up = True
            self._limit.reschedule(asyncio.get_running_loop().time())
            self._limit = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let the exchange be given up while this lasts."""
        _attempt.set(self)
        try:
            async with asyncio.timeout(None) as self._limit:
                yield
        finally:
            self._limit = None


_attempt: Final[ContextVar[Attempt]] = ContextVar("attempt")  # the latest of this task; its connection asks for it


class Upstream:
    """A pool of connections to one address: "http://HOST:PORT", "https://HOST[:PORT]" or "unix:PATH".

    Raises ConfigError for plain HTTP to another machine.
    """

    def __init__(
        self,
        address: str,
        *,
        timeouts: UpstreamTimeouts | None = None,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        insecure_plaintext: bool = False,
    ) -> None:
        self._base, self._path = _parse(address)
        if self._base.scheme == "http" and not (insecure_plaintext or ListenAddress(self._base.host or "").is_local):
            raise ConfigError(
                "the next hop is not loopback: use https (RFC 9458, section 6), or set insecure_plaintext"
            )
        self._timeouts = timeouts or UpstreamTimeouts()
        self._max_answer_bytes = max_answer_bytes
        self._session: ClientSession | None = None

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        content_type: str | None = None,
        accept: str | None = None,
        body: bytes = b"",
        attempt: Attempt | None = None,
    ) -> UpstreamResponse:
        """Send one request and return the whole answer, whatever its status; raises ExchangeError.

        A POST is never sent twice; a GET may be, when the server closed a kept connection under it.
        """
        fields = [("Content-Type", content_type), ("Accept", accept)]
        headers = {name: value for name, value in fields if value is not None}
        attempt = attempt or Attempt()
        async with _failures(attempt), attempt.running():
            response = await self._open().request(
                method,
                self._base.join(URL(path, encoded=True)),
                headers=headers,
                data=body or None,
                allow_redirects=False,
            )
            async with response:
                content = await self._read(response)
        return UpstreamResponse(
            response.status, response.headers.get("Content-Type"), content, response.headers.get("Retry-After")
        )

    async def close(self) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> ClientSession:
        if self._session is None:
            self._session = ClientSession(
                connector=self._connector(),
                cookie_jar=DummyCookieJar(),
                skip_auto_headers=AUTOMATIC,
                auto_decompress=False,
                timeout=ClientTimeout(
                    total=self._timeouts.total,
                    connect=self._timeouts.connect,
                    sock_connect=self._timeouts.connect,
                    ceil_threshold=math.inf,  # aiohttp would round up to whole seconds
                ),
            )
        return self._session

    def _connector(self) -> BaseConnector:
        # No limit here: the server in front bounds what is in flight.
        connector: BaseConnector
        if self._path is not None:
            connector = UnixConnector(self._path, limit=0, keepalive_timeout=POOL_KEEPALIVE)
        else:
            connector = TCPConnector(limit=0, keepalive_timeout=POOL_KEEPALIVE)
        loop = asyncio.get_running_loop()
        connector._factory = lambda: _Listening(loop=loop)  # type: ignore[assignment] # a partial, by annotation
        return connector

    async def _read(self, response: ClientResponse) -> bytes:
        if (response.content_length or 0) > self._max_answer_bytes:
            response.close()
            raise ExchangeError("answer too large")
        pieces = bytearray()
        async for piece in response.content.iter_any():
            pieces += piece
            if len(pieces) > self._max_answer_bytes:
                response.close()
                raise ExchangeError("answer too large")
        return bytes(pieces)


class _Listening(ResponseHandler):
    """A connection that tells the attempt it is used for what it sees."""

    attempt: Attempt | None = None

    def set_response_params(self, **options: object) -> None:  # called by aiohttp just before it sends a request
        self.attempt = _attempt.get()
        self.attempt.sent = True
        super().set_response_params(**options)  # type: ignore[arg-type] # passed on as they are

    def data_received(self, data: bytes) -> None:
        if self.attempt is not None and data:
            self.attempt.heard = True
        super().data_received(data)


@asynccontextmanager
async def _failures(attempt: Attempt) -> AsyncIterator[None]:
    """Turn aiohttp's errors into ours. Their texts, which hold addresses, stop here."""
    try:
        yield
    except ConnectionTimeoutError:
        raise ExchangeError(
            "no connection to the next hop in time", timed_out=True, sent=False, answered=False
        ) from None
    except TimeoutError:
        if attempt.given_up:
            raise ExchangeError(
                "the next hop was given up", timed_out=True, sent=attempt.sent, answered=attempt.heard
            ) from None
        raise ExchangeError("the next hop did not answer in time", timed_out=True) from None
    except ClientConnectorError:
        raise ExchangeError("no connection to the next hop", sent=False, answered=False) from None
    except (ClientError, OSError):
        raise ExchangeError("the next hop broke off", sent=attempt.sent, answered=attempt.heard) from None


def _parse(address: str) -> tuple[URL, str | None]:
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        if not path:
            raise ConfigError("an address unix:PATH needs a path")
        return URL("http://localhost"), path
    try:
        url = URL(address)
        whole = url.scheme in ("http", "https") and bool(url.host) and url.port is not None
    except ValueError:
        whole = False
    if not whole or url.user is not None or url.path != "/" or url.query_string or url.fragment:
        raise ConfigError('the address of the next hop is "http://HOST:PORT", "https://HOST[:PORT]" or "unix:PATH"')
    return url, None
