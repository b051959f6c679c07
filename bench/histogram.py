"""Latencies as numbers: percentiles of exact samples, a raw histogram to store, and the HDR percentile text.

Percentiles are of the samples themselves, by the nearest rank: a value that was really seen. The stored histogram has
buckets of equal relative width, so that two results can be compared and merged long after their samples are gone.
"""

import math
from array import array
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

PRECISION_BITS: Final = 6  # buckets are a 64th of their power of two wide: values are off by 1.6 % at most
MS: Final = 1_000_000  # nanoseconds
HDR_TICKS: Final = 5  # lines for each halving of what is left to 100 %, as HdrHistogram prints them


class Latency(Struct, frozen=True):
    """Percentiles in milliseconds."""

    mean_ms: float = 0.0
    sd_ms: float = 0.0
    p50_ms: float = 0.0
    p75_ms: float = 0.0
    p90_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    p999_ms: float = 0.0
    max_ms: float = 0.0


def percentile(ordered: Sequence[int], share: float) -> int:
    """Return the value below or at which this share of the ordered samples lies; 0 where there is none."""
    if not ordered:
        return 0
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summarise(samples: "array[int]") -> Latency:
    """Return the percentiles of samples in nanoseconds, in any order."""
    if not samples:
        return Latency()
    ordered = sorted(samples)
    mean, sd = _moments(ordered)
    shares = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)
    return Latency(mean / MS, sd / MS, *(percentile(ordered, share) / MS for share in shares))


def bucket(value: int) -> int:
    """Return the lower bound of the bucket that holds a value in nanoseconds."""
    shift = max(0, value.bit_length() - PRECISION_BITS - 1)
    return value >> shift << shift


def histogram(samples: "array[int]") -> list[tuple[int, int]]:
    """Return lower bound and count of each bucket that is not empty, in order."""
    counts: dict[int, int] = {}
    for value in samples:
        lower = bucket(max(0, value))
        counts[lower] = counts.get(lower, 0) + 1
    return sorted(counts.items())


def hdr_text(samples: "array[int]") -> str:
    """Return the percentile distribution in milliseconds, in the layout that HdrHistogram's plotters read."""
    ordered = sorted(samples)
    mean, sd = _moments(ordered)
    lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
    for share in _hdr_shares(len(ordered)):
        rank = max(1, math.ceil(share * len(ordered)))
        lines.append(f"{ordered[rank - 1] / MS:12.3f} {share:2.12f} {rank:10d} {1 / (1 - share):14.2f}")
    if ordered:
        lines.append(f"{ordered[-1] / MS:12.3f} {1:2.12f} {len(ordered):10d}")
    largest = ordered[-1] / MS if ordered else 0.0
    lines.append(f"#[Mean    = {mean / MS:12.3f}, StdDeviation   = {sd / MS:12.3f}]")
    lines.append(f"#[Max     = {largest:12.3f}, Total count    = {len(ordered):12d}]")
    lines.append(f"#[Buckets = {1:12d}, SubBuckets     = {len(ordered):12d}]")
    return "\n".join(lines) + "\n"


def _hdr_shares(count: int) -> Iterator[float]:
    """Yield shares that come closer to 1 by half and half again, as far as the samples can tell."""
    left = 1.0
    while left * count >= 1:
        for tick in range(HDR_TICKS):
            yield 1 - left + left / 2 * tick / HDR_TICKS
        left /= 2


def _moments(values: Sequence[int]) -> tuple[float, float]:
    """Return mean and standard deviation."""
    if not values:
        return 0.0, 0.0
    mean = sum(values) / len(values)
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
