"""When each request of an open loop is meant to start: decided before the run, whatever the target does then.

A schedule is an array of nanoseconds since the start, in order. Several generators share one schedule, so that what
they send together is the process that was asked for, and not a sum of several.
"""

import random
from array import array
from typing import Final, Literal

from msgspec import Struct

SECOND: Final = 1_000_000_000  # nanoseconds

Kind = Literal["constant", "poisson", "ramp"]


class Arrivals(Struct, frozen=True, forbid_unknown_fields=True):
    """An arrival process; rates are requests per second."""

    kind: Kind
    rate: float
    to_rate: float | None = None
    """Where a ramp ends; it begins at `rate`."""
    seed: int = 1


def schedule(arrivals: Arrivals, seconds: float) -> "array[int]":
    """Return the intended starts within `seconds`."""
    match arrivals.kind:
        case "constant":
            return array("q", (round(n * SECOND / arrivals.rate) for n in range(round(arrivals.rate * seconds))))
        case "poisson":
            return _poisson(arrivals.rate, seconds, random.Random(arrivals.seed))  # noqa: S311 - a load, not a secret
        case "ramp":
            return _ramp(arrivals.rate, arrivals.rate if arrivals.to_rate is None else arrivals.to_rate, seconds)


def share(whole: "array[int]", index: int, generators: int) -> "array[int]":
    """Return what one of several generators sends: every n-th arrival."""
    return whole[index::generators]


def _poisson(rate: float, seconds: float, source: random.Random) -> "array[int]":
    starts, at = array("q"), source.expovariate(rate)
    while at < seconds:
        starts.append(round(at * SECOND))
        at += source.expovariate(rate)
    return starts


def _ramp(first: float, last: float, seconds: float) -> "array[int]":
    """Solve first * t + (last - first) / (2 * seconds) * t^2 = n for each n."""
    half = (last - first) / (2 * seconds)
    total = int((first + last) / 2 * seconds)
    if not half:
        return array("q", (round(n / first * SECOND) for n in range(total)))
    return array("q", (round(_root(half, first, n) * SECOND) for n in range(total)))


def _root(half: float, first: float, n: int) -> float:
    return float(((first * first + 4 * half * n) ** 0.5 - first) / (2 * half))
