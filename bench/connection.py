"""One connection of the load: a request out, its answer in, on the bare transport.

It parses with llhttp and keeps as little as it can, since what the generator takes is not there for the target.
"""

import asyncio
from collections.abc import Callable
from time import monotonic_ns
from typing import Final, Protocol, cast

import httptools

from bench.hearing import Hearing
from bench.workload import Check

BROKEN_OFF: Final = "broken off"
MALFORMED: Final = "malformed answer"
TIMED_OUT: Final = "timed out"


class Owner(Protocol):
    """Who uses the connections."""

    def finished(self, connection: "Connection") -> None:
        """Take an answer that is complete; the connection may be used again at once if it is still `usable`."""
        ...

    def broke(self, connection: "Connection", why: str) -> None:
        """Take note that a request got no whole answer."""
        ...

    def lost(self, connection: "Connection") -> None:
        """Take note that a connection is gone, after `broke` where it carried a request."""
        ...


class Connection(asyncio.Protocol):
    """Carries one request at a time; its times are of the monotonic clock, in nanoseconds."""

    __slots__ = (
        "_complete",
        "_owner",
        "_parser",
        "_take",
        "_transport",
        "busy",
        "check",
        "first",
        "intended",
        "pieces",
        "sent",
        "usable",
    )

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self.usable = False
        self.busy = False
        self._complete = False
        self.intended = self.sent = self.first = 0
        self.pieces: list[bytes] = []
        """Of the body, unless whoever looks at it hears it as it comes."""
        self._take: Callable[[bytes], None] = self.pieces.append
        self.check: Check | None = None

    @property
    def status(self) -> int:
        """The status of the answer that is being read, or was read last."""
        return int(self._parser.get_status_code())

    def send(self, data: bytes, intended: int, check: Check) -> None:
        """Send one whole request."""
        assert self._transport is not None
        self.busy, self.intended, self.check, self.first = True, intended, check, 0
        self._complete = False
        self.pieces.clear()
        self._take = check.feed if isinstance(check, Hearing) else self.pieces.append
        self._transport.write(data)
        self.sent = monotonic_ns()

    def give_up(self, why: str) -> None:
        """End the connection, and the request that it carries."""
        self._break(why)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's
        self.usable = True

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.usable = False
        self._break(BROKEN_OFF)
        self._owner.lost(self)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if not self.first:
            self.first = monotonic_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.usable = False
            self.give_up(MALFORMED)
            return
        if self._complete and self.busy:
            self._finish()

    def on_body(self, data: bytes) -> None:
        """Take what came (llhttp)."""
        if not self._complete:
            self._take(data)

    def on_message_complete(self) -> None:
        """Take note (llhttp). What is raised in here would pass for a malformed answer, so nothing more happens."""
        self._complete = True
        self.usable = self.usable and self._parser.should_keep_alive()  # it no longer knows once this has returned

    def _finish(self) -> None:
        self.busy = False
        if not self.usable and self._transport is not None:
            self._transport.close()
        self._owner.finished(self)

    def _break(self, why: str) -> None:
        if self.busy:
            self.busy = False
            self._owner.broke(self, why)
