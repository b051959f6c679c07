"""What a handler gets and gives, and what the next hop answered: HTTP messages as plain values.

No field of a peer reaches a handler but the ones named here, so nothing else can be passed on by mistake.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from seclude.ohttp.media import media_type


class BodyReader(Protocol):
    """The body of one request, read on demand, whole or as it comes."""

    async def read(self) -> bytes:
        """Return the whole body; raises TooLargeError, DecodeError, or PeerTimeoutError where it comes too slowly."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """Return the body piece by piece; raises as `read` does. What was taken is not kept."""
        ...


class Head(Protocol):
    """One request as far as a decision about its head may look."""

    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def media_type(self) -> str: ...

    @property
    def accept(self) -> str | None: ...

    @property
    def content_length(self) -> int | None: ...

    @property
    def is_http11(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Request:
    """One request as far as a handler may know it."""

    method: str
    path: str
    """As it was sent, still percent-encoded; the query string is cut off, so it can change nothing."""
    content_type: str | None
    accept: str | None
    content_length: int | None
    """None where the body is chunked."""
    body: BodyReader
    is_http11: bool = True

    @property
    def media_type(self) -> str:
        """Of the content, in lower case and without parameters; "" where there is none."""
        return media_type(self.content_type)


@dataclass(frozen=True, slots=True)
class Response:
    """One answer; `fields` are added as they are."""

    status: int
    content_type: str | None = None
    body: bytes = b""
    fields: tuple[tuple[str, str], ...] = ()
    reason: str = "ok"
    """Why, in one word of `problems.REASONS`; counted by the metrics and never sent."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer of status 200 that is made while it is sent; it begins with the first piece."""

    content_type: str
    pieces: AsyncGenerator[bytes, None]
    fields: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Awaitable[Response | Streamed]]


@dataclass(frozen=True, slots=True)
class UpstreamResponse:
    """What the next hop answered, as far as anyone here may look at it."""

    status: int
    content_type: str | None
    body: bytes
    retry_after: str | None = None
    cache_control: str | None = None
