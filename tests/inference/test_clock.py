"""The worker's clock never goes back, and follows the wall only where it has jumped ahead."""

import time

import pytest

from inference.clock import BACK, DRIFT_SECONDS, FORWARD, WorkerClock


class Host:
    """The two clocks of a machine, in the hands of its owner."""

    def __init__(self) -> None:
        self.wall_time = 1_000_000.0
        self.seconds_since_boot = 50.0

    def clock(self, floor: float = 0.0) -> WorkerClock:
        return WorkerClock(lambda: self.wall_time, lambda: self.seconds_since_boot, floor)

    def pass_seconds(self, seconds: float) -> None:
        self.wall_time += seconds
        self.seconds_since_boot += seconds


def test_it_starts_at_the_wall_and_goes_on() -> None:
    clock = WorkerClock()
    first = clock()
    assert abs(first - time.time()) < 1
    time.sleep(0.01)
    assert clock() > first


@pytest.mark.parametrize("jump", [-86_400.0, -1.0, 1.0, 86_400.0])
def test_between_two_looks_a_wall_that_jumps_moves_nothing(jump: float) -> None:
    host = Host()
    clock = host.clock()
    host.wall_time += jump
    host.seconds_since_boot += 5
    assert clock() == 1_000_005.0


def test_a_step_back_is_refused() -> None:
    host = Host()
    clock = host.clock()
    host.pass_seconds(100)
    host.wall_time -= 86_400
    assert clock.look() == BACK
    assert clock() == 1_000_100.0
    host.pass_seconds(10)
    assert clock() == 1_000_110.0


def test_a_step_forward_is_followed_since_the_machine_may_have_been_paused() -> None:
    host = Host()
    clock = host.clock()
    host.wall_time += 3600  # a paused machine's own seconds stand still
    assert clock.look() == FORWARD
    assert clock() == 1_003_600.0
    assert clock.look() is None
    host.pass_seconds(10)
    assert clock() == 1_003_610.0


@pytest.mark.parametrize("drift", [-DRIFT_SECONDS, -1.0, 0.0, 1.0, DRIFT_SECONDS])
def test_drift_is_neither(drift: float) -> None:
    host = Host()
    clock = host.clock()
    host.wall_time += drift
    assert clock.look() is None
    assert clock() == 1_000_000.0


def test_no_time_before_the_floor_is_believed_and_the_floor_only_rises() -> None:
    host = Host()
    clock = host.clock(floor=2_000_000.0)
    assert clock() == 2_000_000.0
    clock.raise_floor(1_500_000.0)
    assert clock() == 2_000_000.0
    clock.raise_floor(2_500_000.0)
    host.pass_seconds(1)
    assert clock() == 2_500_001.0


def test_only_what_was_vouched_for_and_the_seconds_since_are_vouched_for() -> None:
    host = Host()
    clock = host.clock()
    assert not clock.is_vouched_for(), "only the host's clock has said so"
    clock.raise_floor(1_000_000.0 - DRIFT_SECONDS)
    assert clock.is_vouched_for()
    assert clock() == 1_000_000.0, "the floor is no ceiling"
    host.pass_seconds(5000)
    assert clock.is_vouched_for()
    host.wall_time += 3600
    assert clock.look() == FORWARD
    assert not clock.is_vouched_for()
    clock.raise_floor(clock())
    assert clock.is_vouched_for()


def test_a_host_that_is_behind_what_was_vouched_for_is_refused() -> None:
    host = Host()
    clock = host.clock()
    clock.raise_floor(1_000_100.0)
    assert clock.look() == BACK
    assert clock() == 1_000_100.0
    assert clock.is_vouched_for()


def test_seconds_that_run_back_move_nothing() -> None:
    host = Host()
    clock = host.clock()
    host.seconds_since_boot -= 10
    assert clock() == 1_000_000.0
