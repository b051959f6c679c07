"""Percentiles of exact samples, the stored histogram, and the HDR text."""

from array import array

import pytest

from bench.histogram import MS, Latency, bucket, hdr_text, histogram, percentile, summarise


def milliseconds(*values: float) -> "array[int]":
    return array("q", (round(value * MS) for value in values))


def test_a_percentile_is_a_value_that_was_seen() -> None:
    ordered = list(range(1, 101))
    assert [percentile(ordered, each) for each in (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)] == [1, 50, 90, 99, 100, 100]


def test_nothing_has_no_percentiles() -> None:
    assert percentile([], 0.5) == 0
    assert summarise(array("q")) == Latency()


def test_a_summary_is_in_milliseconds_and_needs_no_order() -> None:
    found = summarise(milliseconds(3, 1, 2))
    assert (found.mean_ms, found.p50_ms, found.max_ms) == (2.0, 2.0, 3.0)
    assert found.sd_ms == pytest.approx(0.8165, abs=1e-4)


@pytest.mark.parametrize("value", [0, 1, 63, 64, 127, 128, 129, 12345, 10**9, 2**40 + 12345])
def test_a_bucket_is_near_what_it_holds(value: int) -> None:
    lower = bucket(value)
    assert lower <= value
    assert value - lower <= value / 64
    assert bucket(lower) == lower


def test_a_histogram_loses_nobody() -> None:
    samples = array("q", (n * n for n in range(1000)))
    counted = histogram(samples)
    assert sum(count for _, count in counted) == 1000
    assert [lower for lower, _ in counted] == sorted({lower for lower, _ in counted})


def test_the_hdr_text_ends_with_everybody() -> None:
    lines = hdr_text(milliseconds(*range(1, 101))).splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    rows = [line.split() for line in lines[2:] if not line.startswith("#")]
    assert rows[0][2] == "1"
    assert rows[-1] == ["100.000", "1.000000000000", "100"]
    counts = [int(row[2]) for row in rows]
    assert counts == sorted(counts)
    assert lines[-2].startswith("#[Max")


def test_the_hdr_text_of_nothing_is_still_one() -> None:
    assert "Total count" in hdr_text(array("q"))
