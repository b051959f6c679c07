"""What all connections of a server hold together: requests that are being answered, and octets of those on their way.

A request counts as in flight only once its body is there or is passed on, so that slow senders take no room.
"""

from seclude.daemon.limits import ServerLimits
from seclude.errors import BusyError


class Load:
    """Counts; raises `BusyError` where one more would be too many."""

    __slots__ = ("_max_arriving_bytes", "_max_inflight", "arriving_bytes", "inflight")

    def __init__(self, limits: ServerLimits) -> None:
        self._max_inflight = limits.max_inflight
        self._max_arriving_bytes = limits.max_arriving_bytes
        self.inflight = 0
        self.arriving_bytes = 0

    def require_room(self) -> None:
        """Raise `BusyError` unless one more request can be answered and one more body held."""
        if self.inflight >= self._max_inflight:
            raise BusyError("too many requests in flight")
        if self.arriving_bytes >= self._max_arriving_bytes:
            raise BusyError("too many octets on their way")

    def admit(self) -> None:
        """Count a request as in flight."""
        if self.inflight >= self._max_inflight:
            raise BusyError("too many requests in flight")
        self.inflight += 1

    def release(self) -> None:
        """Count it no more."""
        self.inflight -= 1

    def hold(self, octets: int) -> None:
        """Count octets of a body that is not whole yet; a negative number gives them back."""
        self.arriving_bytes += octets
        if octets > 0 and self.arriving_bytes > self._max_arriving_bytes:
            self.arriving_bytes -= octets
            raise BusyError("too many octets on their way")
