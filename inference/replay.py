"""The exact set of requests that one epoch's keys have opened (RFC 9458, section 6.5.1).

It lives as long as the keys in this process and forgets nothing before: a set that is full refuses, since whatever it
evicted could be replayed. A worker that is started again and gets the keys from its pool begins with an empty one. It
holds SHA-256 digests of `enc`, so that an entry costs the same whatever the KEM: 114 octets as measured
with CPython 3.11 (80 for the digest, the rest for its place in the set, which doubles as it grows).
"""

import hashlib
from typing import Final

from seclude.errors import BusyError, ConfigError, ReplayError

# 114 MB. An epoch encrypts for one slot: that is 1,660 requests a second with slots of ten minutes, 11 with a day's.
MAX_ENTRIES: Final = 1_000_000
RETRY_SECONDS: Final = 60  # a full set empties only with its epoch, but another worker may have room


class ReplaySet:
    """Every `enc` that was opened with the keys of one epoch."""

    __slots__ = ("_limit", "_seen")

    def __init__(self, limit: int = MAX_ENTRIES) -> None:
        if limit < 1:
            raise ConfigError("the replay limit must be at least 1")
        self._limit = limit
        self._seen: set[bytes] = set()

    def insert(self, enc: bytes) -> None:
        """Remember one `enc`; raises `ReplayError` the second time and `BusyError` when the set is full."""
        digest = hashlib.sha256(enc).digest()
        if digest in self._seen:
            raise ReplayError("this encapsulated request was opened before")
        if self.is_full:
            raise BusyError("this epoch has opened all the requests it may", retry_after_seconds=RETRY_SECONDS)
        self._seen.add(digest)

    @property
    def is_full(self) -> bool:
        """Whether no further request can be remembered."""
        return len(self._seen) >= self._limit

    def __len__(self) -> int:
        return len(self._seen)

    def __repr__(self) -> str:
        return "<ReplaySet>"
