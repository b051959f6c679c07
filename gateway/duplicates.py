"""Requests that the gateway has already passed on, so that a copy of one costs the workers nothing.

Exact across the processes of one gateway: they share memory that their parent holds, so one that is started again finds
what was there. Still a saving, not a promise: the memory is bounded and forgets the oldest first, each machine has its
own, and whoever runs the gateway can leave it out. What replays a request is refused by the worker that opened it
(`inference/replay`).

    memory = secret 32, shards
    shard  = 128 names of 16 octets, the newest first, then zeros

The name is a hash under a secret that nobody outside knows, and says of which shard a request is: so nobody can fill
one shard to push a request out of it. A shard that short is searched as it is, without a cursor, counts or tombstones,
so nothing has to be repaired when a process is killed at its work.
"""

import fcntl
import hashlib
import mmap
import os
import secrets
from typing import Final

from seclude.errors import ConfigError, DecodeError, ReplayError
from seclude.ohttp.keyconfig import REQUEST_HEADER_LENGTH, parse_request_header

REMEMBERED: Final = 50_000  # at least, 131,072 at most; at a hundred a second, eight minutes
NAME_BYTES: Final = 16  # chance of a wrong refusal below 2^-110
SECRET_BYTES: Final = 32
SHARDS: Final = 1 << 10
# Twice REMEMBERED over all shards, and a quarter more: that 128 of the next 50,000 fall to one shard, where 49 are to
# be expected, has a chance below 10^-18.
SHARD_BYTES: Final = 128 * NAME_BYTES
MEMORY_BYTES: Final = SECRET_BYTES + SHARDS * SHARD_BYTES  # 2 MiB, for all processes together

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
    return hashlib.sha256(body[:1] + enc).digest()


def share() -> int:
    """Return the descriptor of new memory, for the processes of one gateway to inherit."""
    descriptor = os.memfd_create("duplicates")
    os.ftruncate(descriptor, MEMORY_BYTES)
    os.pwrite(descriptor, secrets.token_bytes(SECRET_BYTES), 0)
    return descriptor


class Duplicates:
    """The requests that were passed on last."""

    __slots__ = ("_descriptor", "_memory", "_secret")

    def __init__(self, descriptor: int | None = None) -> None:
        """Use the memory that `share` made, or without a descriptor some of one's own; raises `ConfigError`."""
        self._descriptor = descriptor
        try:
            self._memory = mmap.mmap(-1 if descriptor is None else descriptor, MEMORY_BYTES)
        except (OSError, ValueError):
            raise ConfigError(f"descriptor {descriptor} is no memory for duplicates") from None
        if descriptor is None:
            self._memory[:SECRET_BYTES] = secrets.token_bytes(SECRET_BYTES)
        self._secret = self._memory[:SECRET_BYTES]

    def insert(self, digest: bytes) -> None:
        """Remember one request; raises `ReplayError` the second time."""
        name, start = self._place(digest)
        self._lock(start, fcntl.LOCK_EX)
        try:
            if name in self._memory[start : start + SHARD_BYTES]:
                raise ReplayError("this encapsulated request was passed on before")
            self._memory.move(start + NAME_BYTES, start, SHARD_BYTES - NAME_BYTES)
            self._memory[start : start + NAME_BYTES] = name
        finally:
            self._lock(start, fcntl.LOCK_UN)

    def forget(self, digest: bytes) -> None:
        """Let a request come again, as one that surely no worker began."""
        name, start = self._place(digest)
        self._lock(start, fcntl.LOCK_EX)
        try:
            names = self._memory[start : start + SHARD_BYTES]
            before, found, after = names.partition(name)
            self._memory[start : start + SHARD_BYTES] = before + after + bytes(len(found))
        finally:
            self._lock(start, fcntl.LOCK_UN)

    def _place(self, digest: bytes) -> tuple[bytes, int]:
        """Return the name of a request, and where its shard begins."""
        name = hashlib.blake2b(digest, digest_size=NAME_BYTES, key=self._secret).digest()
        return name, SECRET_BYTES + (name[0] << 8 | name[1]) % SHARDS * SHARD_BYTES

    def _lock(self, start: int, operation: int) -> None:
        """Lock or unlock a shard among processes, for microseconds; the kernel unlocks it for a process that dies."""
        if self._descriptor is not None:
            fcntl.lockf(self._descriptor, operation, 1, start)
