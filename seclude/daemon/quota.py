"""What one address may cost: connections at once and requests in a while, counted in memory only.

An address is kept as a keyed hash under a salt that is drawn anew every hour and never leaves the process, so what is
counted cannot be told from outside, written down, or compared with another hour. Connections that are open keep their
own count over the change.
"""

import hashlib
import secrets
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Final

from msgspec import Meta, Struct

SALT_SECONDS: Final = 3600.0  # long enough for a rate to mean something, short enough to be soon forgotten
MAX_ADDRESSES: Final = 65_536  # about 15 MB; beyond it newcomers share one count rather than the memory of the process
IPV6_HOST_BITS: Final = 64  # what one household or one server is given


class QuotaLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """What one address may cost; a mobile network puts thousands of phones behind one. 0 sets no limit."""

    connections: Annotated[int, Meta(ge=0, le=1 << 20)] = 1024
    """At once."""
    requests_per_second: Annotated[float, Meta(ge=0, le=1e6)] = 500.0
    burst: Annotated[int, Meta(ge=1, le=1 << 20)] = 2000
    """Requests that may come at once after a pause."""
    loopback: bool = False
    """Whether this machine's own addresses count too; one behind which a TLS terminator stands is everybody's."""


class Quota:
    """The count of one address."""

    __slots__ = ("_burst", "_rate", "_tokens", "_when", "connections")

    def __init__(self, limits: QuotaLimits, now: float) -> None:
        self._rate = limits.requests_per_second
        self._burst = self._tokens = float(limits.burst)
        self._when = now
        self.connections = 0

    def take(self, now: float) -> bool:
        """Count one request; returns whether it is within the rate."""
        if not self._rate:
            return True
        tokens = self._tokens + (now - self._when) * self._rate
        self._when = now
        if tokens > self._burst:
            tokens = self._burst
        self._tokens = tokens - 1.0 if tokens >= 1.0 else tokens
        return tokens >= 1.0

    def leave(self) -> None:
        """Count a connection that is gone."""
        self.connections -= 1

    def idle(self, now: float) -> bool:
        """Whether nothing would be lost if the count began anew."""
        return not self.connections and self._tokens + (now - self._when) * self._rate >= self._burst

    def __repr__(self) -> str:
        return "<Quota>"


class Quotas:
    """The counts of all addresses."""

    __slots__ = ("_limits", "_overflow", "_renewed_at", "_salt", "_table")

    def __init__(self, limits: QuotaLimits, now: float) -> None:
        self._limits = limits
        self._salt = secrets.token_bytes(32)
        self._renewed_at = now
        self._table: dict[bytes, Quota] = {}
        self._overflow = Quota(limits, now)

    def counts(self, address: str) -> bool:
        """Whether connections from an address are limited at all."""
        return self._limits.loopback or not _parse(address).is_loopback

    def enter(self, address: str, now: float) -> Quota | None:
        """Count one more connection from an address; None if it has too many."""
        if now - self._renewed_at >= SALT_SECONDS:
            self._renew(now)
        quota = self._of(address, now)
        if self._limits.connections and quota.connections >= self._limits.connections:
            return None
        quota.connections += 1
        return quota

    def _renew(self, now: float) -> None:
        self._salt = secrets.token_bytes(32)
        self._renewed_at = now
        self._table = {}
        self._overflow = Quota(self._limits, now)

    def _of(self, address: str, now: float) -> Quota:
        key = hashlib.blake2b(_network(address), key=self._salt, digest_size=16).digest()
        quota = self._table.get(key)
        if quota is None:
            if len(self._table) >= MAX_ADDRESSES:
                self._table = {key: each for key, each in self._table.items() if not each.idle(now)}
            if len(self._table) >= MAX_ADDRESSES:
                return self._overflow
            quota = self._table[key] = Quota(self._limits, now)
        return quota

    def __repr__(self) -> str:
        return "<Quotas>"


def _network(address: str) -> bytes:
    """Return the part of an address that stands for one holder."""
    parsed = _parse(address)
    return parsed.packed[: IPV6_HOST_BITS // 8] if isinstance(parsed, IPv6Address) else parsed.packed


def _parse(address: str) -> IPv4Address | IPv6Address:
    parsed = ip_address(address.partition("%")[0])  # without the zone of a link-local one
    return parsed.ipv4_mapped or parsed if isinstance(parsed, IPv6Address) else parsed
