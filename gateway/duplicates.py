"""Requests that the gateway has already passed on, so that a copy of one costs the workers nothing.

A saving, not a promise: the set is bounded and forgets the oldest first, each gateway process has its own, and whoever
runs the gateway can leave it out. What replays a request is refused by the worker that opened it (`inference/replay`).
"""

import hashlib
from typing import Final

from seclude.errors import DecodeError, ReplayError
from seclude.ohttp.keyconfig import REQUEST_HEADER_LENGTH, parse_request_header

REMEMBERED: Final = 50_000  # at least, twice as many at most: about 10 MB; at a hundred a second, eight minutes
DIGEST_BYTES: Final = 16  # chance of a wrong refusal below 2^-90 for a full set

# Nenc by KEM identifier (RFC 9180, section 7.1; draft-ietf-hpke-pq); `enc` stands after the header.
ENC_LENGTHS: Final = {0x0020: 32, 0x647A: 1120}


def digest_of(body: bytes) -> bytes:
    """Return what a request is remembered by, the same for each copy of it.

    A KEM whose `enc` has no known length raises `DecodeError`: no key that is served here is of such a KEM.
    """
    length = ENC_LENGTHS.get(parse_request_header(body).kem)
    if length is None:
        raise DecodeError("kem_id is of no key that is served here")
    enc = body[REQUEST_HEADER_LENGTH : REQUEST_HEADER_LENGTH + length]
    if len(enc) < length:
        raise DecodeError(f"truncated in enc: {len(enc)} of {length}")
    return hashlib.sha256(body[:1] + enc).digest()[:DIGEST_BYTES]


class Duplicates:
    """The requests that were passed on last, in two generations: when the younger is full, the older is forgotten."""

    __slots__ = ("_limit", "_older", "_younger")

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._older: set[bytes] = set()
        self._younger: set[bytes] = set()

    def insert(self, digest: bytes) -> None:
        """Remember one request; raises `ReplayError` the second time."""
        if digest in self._younger or digest in self._older:
            raise ReplayError("this encapsulated request was passed on before")
        if len(self._younger) >= self._limit:
            self._older, self._younger = self._younger, set()
        self._younger.add(digest)

    def forget(self, digest: bytes) -> None:
        """Let a request come again, as one that surely no worker began."""
        self._younger.discard(digest)
        self._older.discard(digest)
