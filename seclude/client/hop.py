"""The device's way to the next party: one small HTTP/1.1 client with a pool of connections to one address.

It sends the fields named in `exchange()` and Host and Content-Length, nothing else; it keeps no cookies, follows no
redirects, decompresses nothing and reads no proxy settings from the environment. aiohttp is not visible outside.
"""

import math
import ssl
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
)
from yarl import URL

from seclude.daemon.addresses import ListenAddress
from seclude.daemon.messages import UpstreamResponse
from seclude.errors import ConfigError, UpstreamError

CONNECT_SECONDS: Final = 5.0  # two lost SYNs, on a mobile network
TOTAL_SECONDS: Final = 120.0  # ten thousand messages take a worker under a minute
SILENCE_SECONDS: Final = 60.0  # between two pieces of a streamed answer; a worker sends some ten times a second
IDLE_SECONDS: Final = 15.0  # well under the relay's 75, so that no request meets a closing connection
MAX_ANSWER_BYTES: Final = (1 << 20) + (1 << 16)  # octets; as the largest request, which no answer of a model nears
AUTOMATIC: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")  # aiohttp adds these unless told not to


class NotSentError(UpstreamError):
    """Raised when no connection could be made, which proves that no octet of a POST left this device."""


class OversizeError(UpstreamError):
    """Raised when an answer is longer than whoever asked would read."""


class Incoming:
    """One answer whose head is there: its body is read whole, or as it comes, and whoever has it closes it."""

    def __init__(self, response: ClientResponse) -> None:
        self._response = response
        self.status: Final = response.status
        self.content_type: Final = response.headers.get("Content-Type")

    async def read(self, limit: int = MAX_ANSWER_BYTES) -> UpstreamResponse:
        """Return the whole answer, whose body is bounded, and let go of it; raises UpstreamError."""
        try:
            with _failures():
                content = await _read(self._response, limit)
        finally:
            self.close()
        return UpstreamResponse(self.status, self.content_type, content, self._response.headers.get("Retry-After"))

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Return the body as it comes, to its end; raises UpstreamError where that does not come."""
        with _failures():
            async for piece in self._response.content.iter_any():
                yield piece

    def close(self) -> None:
        """Let go of it; a connection on which more of it would come is dropped."""
        self._response.close()


class Hop:
    """A pool of connections to one address: "http://HOST:PORT" on this machine, or "https://HOST[:PORT]".

    Raises ConfigError for plain HTTP to another machine.
    """

    def __init__(self, address: str) -> None:
        try:
            url = URL(address)
            whole = url.scheme in ("http", "https") and bool(url.host) and url.port is not None
        except ValueError:
            whole = False
        if not whole or url.user is not None or url.path != "/" or url.query_string or url.fragment:
            raise ConfigError('the address is "https://HOST[:PORT]"')
        if url.scheme == "http" and not ListenAddress(url.host or "").is_local:
            raise ConfigError("the address is not on this machine: use https (RFC 9458, section 6)")
        self._base = url
        self._session: ClientSession | None = None

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        content_type: str | None = None,
        accept: str | None = None,
        body: bytes = b"",
        seconds: float = TOTAL_SECONDS,
        limit: int = MAX_ANSWER_BYTES,
    ) -> UpstreamResponse:
        """Send one request and return the whole answer, whatever its status; raises UpstreamError or NotSentError.

        A POST is never sent twice; a GET may be, when the other side closed a kept connection under it.
        """
        fields = [("Content-Type", content_type), ("Accept", accept)]
        headers = {name: value for name, value in fields if value is not None}
        incoming = await self._send(method, path, headers, body, _limits(seconds))
        return await incoming.read(limit)

    async def begin(self, path: str, content_type: str, body: bytes) -> Incoming:
        """Post something and return an answer that may come in pieces; raises as above.

        Any octet within SILENCE_SECONDS keeps it alive, so whoever has the answer must bound what says nothing.
        """
        headers = {"Content-Type": content_type, "Incremental": "?1"}
        return await self._send("POST", path, headers, body, _limits(None, SILENCE_SECONDS))

    async def _send(
        self, method: str, path: str, headers: dict[str, str], body: bytes, limits: ClientTimeout
    ) -> Incoming:
        with _failures():
            response = await self._open().request(
                method,
                self._base.join(URL(path, encoded=True)),
                headers=headers,
                data=body or None,
                allow_redirects=False,
                timeout=limits,
            )
        return Incoming(response)

    async def close(self) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> ClientSession:
        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS, ssl=_modern_tls()),
                cookie_jar=DummyCookieJar(),
                skip_auto_headers=AUTOMATIC,
                auto_decompress=False,
            )
        return self._session


@cache  # the system's certificates take ten milliseconds to load
def _modern_tls() -> ssl.SSLContext:
    """Return what the system trusts, and TLS 1.3 (RFC 8446) alone."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _limits(seconds: float | None, silence: float | None = None) -> ClientTimeout:
    return ClientTimeout(
        total=seconds,
        sock_read=silence,
        connect=CONNECT_SECONDS,
        sock_connect=CONNECT_SECONDS,
        ceil_threshold=math.inf,  # aiohttp would round up to whole seconds
    )


async def _read(response: ClientResponse, limit: int) -> bytes:
    pieces = bytearray()
    if (response.content_length or 0) <= limit:
        async for piece in response.content.iter_any():
            pieces += piece
            if len(pieces) > limit:
                break
        else:
            return bytes(pieces)
    response.close()
    raise OversizeError("answer too large")


@contextmanager
def _failures() -> Iterator[None]:
    """Turn aiohttp's errors into ours. Their texts, which hold addresses, stop here."""
    try:
        yield
    except ConnectionTimeoutError:  # of aiohttp's timeouts the one that ends before a connection is there
        raise NotSentError("no connection in time", timed_out=True) from None
    except ClientConnectorError:  # a name that does not resolve, a refused connection, a certificate that is not theirs
        raise NotSentError("no connection") from None
    except TimeoutError:
        raise UpstreamError("no answer in time", timed_out=True) from None
    except (ClientError, OSError):
        raise UpstreamError("the connection broke off") from None
