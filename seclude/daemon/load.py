"""What all connections of a server hold together: requests that are being answered, and octets of those on their way.

A request counts as in flight once its body is there. One that is passed on before that counts among the partial ones,
of which there may be a quarter as many: so slow senders take no room from those who send at once.
"""

from typing import Final

from seclude.daemon.limits import ServerLimits
from seclude.errors import BusyError

PARTIAL_SHARE: Final = 4  # one partial request for so many in flight


class Load:
    """Counts; raises `BusyError` where one more would be too many."""

    __slots__ = ("_max_arriving_bytes", "_max_inflight", "_max_partial", "arriving_bytes", "inflight", "partial")

    def __init__(self, limits: ServerLimits) -> None:
        self._max_inflight = limits.max_inflight
        self._max_arriving_bytes = limits.max_arriving_bytes
        self._max_partial = max(1, limits.max_inflight // PARTIAL_SHARE)
        self.inflight = 0
        self.partial = 0
        self.arriving_bytes = 0

    def require_room(self) -> None:
        """Raise `BusyError` unless one more request can be answered and one more body held."""
        if self.inflight >= self._max_inflight:
            raise BusyError("too many requests in flight")
        if self.arriving_bytes >= self._max_arriving_bytes:
            raise BusyError("too many octets on their way")

    def admit(self, whole: bool) -> None:
        """Count a request as in flight, or as partial where its body is still coming."""
        if self.inflight >= self._max_inflight:
            raise BusyError("too many requests in flight")
        if whole:
            self.inflight += 1
        elif self.partial >= self._max_partial:
            raise BusyError("too many requests of which a part is missing")
        else:
            self.partial += 1

    def complete(self) -> None:
        """Count a partial request as in flight, whose body is there now; it was let in, so there is room for it."""
        self.partial -= 1
        self.inflight += 1

    def release(self, whole: bool) -> None:
        """Count it no more."""
        if whole:
            self.inflight -= 1
        else:
            self.partial -= 1

    def hold(self, octets: int) -> None:
        """Count octets of a body that is not whole yet; a negative number gives them back."""
        self.arriving_bytes += octets
        if octets > 0 and self.arriving_bytes > self._max_arriving_bytes:
            self.arriving_bytes -= octets
            raise BusyError("too many octets on their way")
