"""Finds the heads of requests at the front of what a peer sent, and remembers the one before.

What a client sends again on its connection is not read again: it is compared.
"""

from typing import Final

from seclude.daemon.http1 import HEAD_END, HeadError, RequestHead
from seclude.daemon.limits import ServerLimits

LENGTH_OF_END: Final = len(HEAD_END)


class HeadFinder:
    """Takes one head after the other, on one connection."""

    __slots__ = ("_before", "_limits")

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._before: RequestHead | None = None

    def take(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """Return the head and what stands behind it, or None if it is not whole; raises HeadError."""
        before = self._before
        if before is not None and data.startswith(before.raw):
            return before, data[len(before.raw) :]
        end = data.find(HEAD_END)
        if end < 0 and len(data) <= self._limits.max_head_bytes and _may_become_head(data):
            return None
        end += LENGTH_OF_END
        head = self._before = self._read(data[:end], len(data))
        return head, data[end:]

    def _read(self, raw: bytes, received: int) -> RequestHead:
        limits = self._limits
        if not LENGTH_OF_END <= len(raw) <= limits.max_head_bytes:
            too_large = received > limits.max_head_bytes
            raise HeadError("head too large" if too_large else "no head", 431 if too_large else 400)
        if not raw[:1].isalpha():  # llhttp would skip empty lines, and how many would depend on the packets
            raise HeadError("no head")
        return RequestHead(raw, limits.max_fields)


def _may_become_head(data: bytes) -> bool:
    """Whether it is worth waiting for more: TLS, other protocols and bare line feeds never become a head."""
    return data[:1].isalpha() and data.count(b"\n") == data.count(b"\r\n")
