"""Bodies on their way: how fast one must come, and how much all of them may hold together.

A request counts as in flight only once its body is there, so that slow senders take no room from anybody.
"""

import asyncio

from aiohttp import web

from seclude.daemon.limits import ServerLimits
from seclude.daemon.problems import PeerTimeoutError
from seclude.errors import BusyError, DecodeError, TooLargeError


class Load:
    """What all connections of a server hold together: requests that arrived, and octets of those on their way."""

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self.inflight = 0
        self.arriving_bytes = 0

    def require_room(self) -> None:
        """Raise `BusyError` if one more request would be too many."""
        if self.inflight >= self._limits.max_inflight:
            raise BusyError("too many requests in flight")

    def require_room_for_octets(self) -> None:
        """Raise `BusyError` if bodies on their way hold all the memory that they may."""
        if self.arriving_bytes >= self._limits.max_arriving_bytes:
            raise BusyError("too many octets on their way")


class ArrivingBody:
    """Reads one body within the limits of size and time, and counts its request once it is there."""

    def __init__(self, raw: web.BaseRequest, limits: ServerLimits, load: Load) -> None:
        self._raw = raw
        self._limits = limits
        self._load = load
        self._admitted = False
        self.taken = 0

    def admit(self) -> None:
        """Count the request as in flight, if there is room for it; raises `BusyError`."""
        if not self._admitted:
            self._load.require_room()
            self._load.inflight += 1
            self._admitted = True

    def release(self) -> None:
        """Let the request be counted no more."""
        self._load.inflight -= self._admitted
        self._admitted = False

    async def read(self) -> bytes:
        """Return the whole body, and count its request as in flight; raises as `messages.BodyReader` says."""
        limit = self._limits.max_body_bytes
        if (self._raw.content_length or 0) > limit:
            raise TooLargeError(f"body over {limit} octets")
        try:
            data = await self._collect(limit)
        except TimeoutError:
            raise PeerTimeoutError("body not sent in time") from None
        except (web.RequestPayloadError, ConnectionError):
            raise DecodeError("broken body") from None
        self.admit()
        return data

    async def _collect(self, limit: int) -> bytes:
        started = asyncio.get_running_loop().time()
        pieces = bytearray()
        try:
            async with asyncio.timeout_at(started + self._limits.first_octet_timeout) as deadline:
                while piece := await self._raw.content.readany():
                    deadline.reschedule(started + self._limits.body_timeout)
                    pieces += piece
                    self._load.arriving_bytes += len(piece)
                    self.taken = len(pieces)
                    if self.taken > limit:
                        raise TooLargeError(f"body over {limit} octets")
                    self._load.require_room_for_octets()
        finally:
            self._load.arriving_bytes -= len(pieces)
        return bytes(pieces)
