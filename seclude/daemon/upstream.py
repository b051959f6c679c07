"""The next hop: one small HTTP/1.1 client with a pool of connections to one address.

It sends the fields named in `exchange()` and Host and Content-Length, nothing else; it keeps no cookies, follows no
redirects, decompresses nothing and reads no proxy settings from the environment. aiohttp is not visible outside.
"""

import asyncio
import math
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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

__all__ = ["ExchangeError", "Upstream", "UpstreamResponse", "UpstreamTimeouts"]

MAX_ANSWER_BYTES: Final = (1 << 20) + (1 << 16)  # octets; as the largest request, which no answer of a model nears
AUTOMATIC: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")  # aiohttp adds these unless told not to
POOL_KEEPALIVE: Final = 15.0  # seconds; well under the server's 75, so that no request meets a closing connection


@dataclass(frozen=True, slots=True)
class UpstreamTimeouts:
    """How long the next hop may take, in seconds."""

    connect: float = 3.0  # two lost SYNs
    total: float = 120.0  # a long answer on a slow model; the caller's own deadline may be shorter


class ExchangeError(UpstreamError):
    """Raised when an exchange failed; `answered` is false only if surely no octet of an answer had come."""

    def __init__(self, message: str, *, timed_out: bool = False, answered: bool = True) -> None:
        super().__init__(message, timed_out=timed_out)
        self.answered = answered


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
        tls: ssl.SSLContext | None = None,
        insecure_plaintext: bool = False,
    ) -> None:
        self._base, self._path = _parse(address)
        if self._base.scheme == "http" and not (insecure_plaintext or ListenAddress(self._base.host or "").is_local):
            raise ConfigError(
                "the next hop is not loopback: use https (RFC 9458, section 6), or set insecure_plaintext"
            )
        self._timeouts = timeouts or UpstreamTimeouts()
        self._max_answer_bytes = max_answer_bytes
        self._tls = tls
        self._session: ClientSession | None = None

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
        fields = [("Content-Type", content_type), ("Accept", accept)]
        headers = {name: value for name, value in fields if value is not None}
        async with _failures():
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
            connector = TCPConnector(limit=0, keepalive_timeout=POOL_KEEPALIVE, ssl=self._tls or True)
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
    """Knows whether any octet of the answer came, and writes that on the exception when the connection fails."""

    heard = False

    def set_response_params(self, **options: object) -> None:  # called by aiohttp before each request
        self.heard = False
        super().set_response_params(**options)  # type: ignore[arg-type] # passed on as they are

    def data_received(self, data: bytes) -> None:
        self.heard = self.heard or bool(data)
        super().data_received(data)

    def set_exception(self, exc: type[BaseException] | BaseException, *cause: BaseException) -> None:
        if not self.heard and isinstance(exc, BaseException):
            exc.add_note(_SILENT)
        super().set_exception(exc, *cause)  # type: ignore[arg-type] # aiohttp's two bases disagree on the first type


_SILENT: Final = "no octet of an answer came"


@asynccontextmanager
async def _failures() -> AsyncIterator[None]:
    """Turn aiohttp's errors into ours. Their texts, which hold addresses, stop here."""
    try:
        yield
    except ConnectionTimeoutError:
        raise ExchangeError("no connection to the next hop in time", timed_out=True, answered=False) from None
    except TimeoutError:
        raise ExchangeError("the next hop did not answer in time", timed_out=True) from None
    except ClientConnectorError:
        raise ExchangeError("no connection to the next hop", answered=False) from None
    except (ClientError, OSError) as exc:
        silent = _SILENT in getattr(exc, "__notes__", ())
        raise ExchangeError("the next hop broke off", answered=not silent) from None


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
