"""The worker's clock does not follow the wall."""

import time

import pytest

from inference.clock import steady_clock


def test_it_starts_at_the_wall() -> None:
    assert abs(steady_clock()() - time.time()) < 1


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_wall_that_jumps_moves_nothing(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = steady_clock()
    before, wall = clock(), time.time()
    monkeypatch.setattr(time, "time", lambda: wall + jump)
    assert 0 <= clock() - before < 5


def test_it_goes_on() -> None:
    clock = steady_clock()
    first = clock()
    time.sleep(0.01)
    assert clock() > first
