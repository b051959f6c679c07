"""Slots: time cut into periods, so that an epoch's number is computed and never believed."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from seclude.errors import ConfigError

MAX_PERIOD_SECONDS: Final = 7 * 86_400  # a key that lives for three weeks is no longer forward secret
MAX_T0: Final = 1 << 40  # seconds; far beyond any date, and exact in a float
NOT_BEGUN: Final = "clock before the first slot"  # why a party is not ready while `Slots.have_begun` is false


@dataclass(frozen=True, slots=True)
class Slots:
    """Epoch n encrypts in [t0 + n * period, t0 + (n + 1) * period), in seconds since 1970, UTC."""

    t0: int
    period_seconds: int

    def __post_init__(self) -> None:
        if not 0 <= self.t0 <= MAX_T0:
            raise ConfigError("t0 is not a time in seconds since 1970")
        if not 0 < self.period_seconds <= MAX_PERIOD_SECONDS:
            raise ConfigError(f"period_seconds is not between 1 and {MAX_PERIOD_SECONDS}")

    def epoch_at(self, now: float) -> int:
        """Return the epoch whose slot holds `now`; raises `ConfigError` before t0, when no key may exist."""
        if not self.have_begun(now):
            raise ConfigError("the clock stands before t0, the first slot; one of them is wrong")
        return int(now - self.t0) // self.period_seconds

    def have_begun(self, now: float) -> bool:
        """Whether `now` lies in any slot; before the first one no key may exist."""
        return math.isfinite(now) and now >= self.t0

    def start(self, epoch: int) -> int:
        """Return the first second of an epoch's slot."""
        return self.t0 + epoch * self.period_seconds

    def end(self, epoch: int) -> int:
        """Return the first second after an epoch's slot."""
        return self.start(epoch + 1)

    def outside(self, epoch: int, current: int) -> str:
        """Say why another epoch than `current` may not be used now."""
        if epoch < current:
            return f"epoch {epoch} is past its end, which was {in_words(self.end(epoch))}"
        return f"epoch {epoch} has not begun; it starts {in_words(self.start(epoch))}"


def in_words(seconds: int) -> str:
    """Return a time as people write it; one that no calendar holds stays a number."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"second {seconds}"


def xwing_key_id(epoch: int) -> int:
    """Return the key identifier (RFC 9458, section 3.1) of an epoch's X-Wing configuration.

    It is even, that of X25519 the odd number after it. Epochs less than 128 apart differ in both, so each is unique
    among those that live at once.
    """
    return 2 * epoch % 256


def x25519_key_id(epoch: int) -> int:
    """Return the key identifier of an epoch's X25519 configuration."""
    return xwing_key_id(epoch) + 1


# What identifies an epoch's key of each KEM, the most wanted first: X-Wing (draft-ietf-hpke-pq), X25519 (RFC 9180,
# section 7.1). The KEMs are numbers here, since the gateway counts slots too and loads no cryptography.
KEY_IDS: Final[Mapping[int, Callable[[int], int]]] = MappingProxyType({0x647A: xwing_key_id, 0x0020: x25519_key_id})
