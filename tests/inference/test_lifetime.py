"""When a worker wishes to be started anew, and when it goes without being told to."""

from dataclasses import dataclass

import pytest

from inference.lifetime import PER_MILLE, SPREAD, Lifetime

REQUESTS, SECONDS = 1000, 100.0


@dataclass
class Ticks:
    """A clock that only a test advances, and that did not begin at zero."""

    now: float = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture(params=[0, PER_MILLE - 1], ids=["latest", "earliest"])
def drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """What part of its life a worker serves before it is due: the greatest that can be drawn, or the smallest."""
    thousandths: int = request.param
    monkeypatch.setattr("inference.lifetime.secrets.randbelow", lambda _limit: thousandths)
    return 1 - SPREAD * thousandths / PER_MILLE


def test_it_is_due_after_so_many_requests(drawn: float, ticks: Ticks) -> None:
    life = Lifetime(REQUESTS, SECONDS, ticks)
    life.served = int(drawn * REQUESTS) - 1
    assert not life.due
    life.served += 2
    assert life.due


def test_it_is_due_after_so_long(drawn: float, ticks: Ticks) -> None:
    life = Lifetime(REQUESTS, SECONDS, ticks)
    ticks.now += drawn * SECONDS - 0.01
    assert not life.due
    ticks.now += 0.02
    assert life.due


def test_requests_and_time_do_not_add_up(drawn: float, ticks: Ticks) -> None:
    life = Lifetime(REQUESTS, SECONDS, ticks)
    life.served = int(drawn * REQUESTS) - 1
    ticks.now += drawn * SECONDS - 0.01
    assert not life.due


def test_workers_that_start_together_are_not_all_due_together(ticks: Ticks) -> None:
    lives = [Lifetime(REQUESTS, SECONDS, ticks) for _ in range(200)]
    ticks.now += SECONDS * (1 - SPREAD) - 0.01
    assert not any(life.due for life in lives)
    ticks.now += SECONDS * SPREAD / 2
    assert 50 < sum(life.due for life in lives) < 150, "about half of them, at half of the spread"
    ticks.now += SECONDS * SPREAD / 2 + 0.02
    assert all(life.due for life in lives)


@pytest.mark.parametrize(("served", "seconds"), [(2 * REQUESTS, 0.0), (0, 2 * SECONDS)])
@pytest.mark.parametrize("shared", [True, False])
def test_it_is_overdue_after_twice_as_much_and_only_where_its_keys_are_shared(
    ticks: Ticks, served: int, seconds: float, shared: bool
) -> None:
    life = Lifetime(REQUESTS, SECONDS, ticks)
    life.shared = shared
    life.served = int(0.87 * served)  # the spread takes at most a quarter of one life off the two
    ticks.now += 0.87 * seconds
    assert (life.due, life.overdue) == (True, False)
    life.served = served
    ticks.now += 0.13 * seconds + 0.01
    assert (life.due, life.overdue) == (True, shared), "a key that nobody else holds would be lost"


def test_a_new_worker_is_neither(ticks: Ticks) -> None:
    life = Lifetime(1, 0.001, ticks)
    life.shared = True
    assert (life.due, life.overdue) == (False, False)
