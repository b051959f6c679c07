"""Schedules: when requests are due, alike for everyone who computes them."""

from itertools import pairwise

import pytest

from bench.arrivals import SECOND, Arrivals, schedule, share

KINDS = [
    Arrivals("constant", 100.0),
    Arrivals("poisson", 100.0, seed=7),
    Arrivals("ramp", 50.0, 150.0),
    Arrivals("ramp", 100.0),
]


@pytest.mark.parametrize("arrivals", KINDS, ids=lambda each: f"{each.kind}-{each.to_rate}")
def test_starts_are_in_order_and_within_the_time(arrivals: Arrivals) -> None:
    starts = schedule(arrivals, 2.0)
    assert all(earlier <= later for earlier, later in pairwise(starts))
    assert starts[0] >= 0
    assert starts[-1] < 2 * SECOND


def test_a_constant_rate_has_equal_gaps() -> None:
    starts = schedule(Arrivals("constant", 1000.0), 0.1)
    assert len(starts) == 100
    assert {later - earlier for earlier, later in pairwise(starts)} == {SECOND // 1000}


def test_poisson_arrivals_are_those_of_their_seed() -> None:
    first, again, other = (schedule(Arrivals("poisson", 500.0, seed=seed), 4.0) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert 1700 < len(first) < 2300  # six standard deviations about 2000


def test_poisson_gaps_vary_as_those_of_people_do() -> None:
    starts = schedule(Arrivals("poisson", 1000.0, seed=3), 10.0)
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert 0.9 < variance**0.5 / mean < 1.1  # 1 for an exponential distribution


def test_a_ramp_sends_more_in_its_second_half() -> None:
    starts = schedule(Arrivals("ramp", 0.0, 200.0), 10.0)
    early = sum(start < 5 * SECOND for start in starts)
    assert len(starts) == 1000
    assert early == pytest.approx(250, abs=2)


@pytest.mark.parametrize("generators", [1, 2, 3, 7])
def test_shares_make_up_the_whole(generators: int) -> None:
    whole = schedule(Arrivals("poisson", 300.0), 1.0)
    parts = [share(whole, index, generators) for index in range(generators)]
    assert sorted(start for part in parts for start in part) == list(whole)
