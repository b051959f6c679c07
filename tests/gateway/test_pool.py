"""Which worker gets a request."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import pytest

from gateway.pool import Pool, State, Worker
from seclude.errors import UnknownKeyError
from seclude.pool import Held, Status

RELEASE = "00" * 32
CORE = "aa" * 32
OTHER = "bb" * 32
KEY = 15


def status(core: str | None = CORE, *, ready: bool = True, epoch: int = 7) -> Status:
    held = () if core is None else (Held(epoch, core, frozenset({KEY})),)
    return Status(ready=ready, reasons=(), manifest=RELEASE, epochs=held)


def nothing() -> None:
    """Give nothing up."""


@contextmanager
def carried(worker: Worker, give_up: Callable[[], None]) -> Iterator[None]:
    """Let a worker have a request for a while."""
    worker.carried.add(give_up)
    yield
    worker.carried.remove(give_up)


def pool_of(*states: Status | None) -> Pool:
    pool = Pool(len(states), Random(1))
    for worker, state in zip(pool.workers, states, strict=True):
        pool.observe(worker, state, 0)
    pool.elect({7: CORE})
    return pool


def able(pool: Pool) -> set[int]:
    """Return every worker that is ever chosen."""
    chosen = [pool.choose(KEY, set()) for _ in range(200)]
    return {worker.index for worker in chosen if worker is not None}


def test_only_ready_workers_that_hold_the_elected_core_are_chosen() -> None:
    pool = pool_of(status(), status(ready=False), None, status(OTHER), status(None), status())
    assert able(pool) == {0, 5}


def test_states_are_counted() -> None:
    pool = pool_of(status(), status(ready=False), None)
    assert [pool.count(state) for state in State] == [1, 1, 1]


def test_excluded_workers_are_not_chosen() -> None:
    pool = pool_of(status(), status())
    chosen = pool.choose(KEY, {0})
    assert chosen is pool.workers[1]
    assert pool.choose(KEY, {0, 1}) is None


def test_another_key_of_the_epoch_has_no_worker() -> None:
    assert pool_of(status()).choose(KEY + 2, set()) is None


def test_an_epoch_that_is_no_longer_elected_has_no_worker() -> None:
    pool = pool_of(status())
    pool.elect({})
    assert pool.choose(KEY, set()) is None


def test_of_two_workers_the_less_busy_one_is_chosen() -> None:
    pool = pool_of(status(), status())
    with carried(pool.workers[0], nothing):
        for _ in range(50):
            assert pool.choose(KEY, set()) is pool.workers[1]
    assert pool.workers[0].inflight == 0


def test_load_is_spread_evenly() -> None:
    pool = pool_of(*[status()] * 8)
    for _ in range(400):
        worker = pool.choose(KEY, set())
        assert worker is not None
        worker.carried.add(lambda: None)
    loads = [worker.inflight for worker in pool.workers]
    # Two choices keep the fullest within a few of the mean; one choice at random would leave some 15 between them.
    assert max(loads) - min(loads) <= 6


def test_idle_workers_are_chosen_alike() -> None:
    pool = pool_of(*[status()] * 4)
    seen = Counter(worker.index for _ in range(4000) if (worker := pool.choose(KEY, set())))
    assert all(800 < seen[index] < 1200 for index in range(4))


def test_a_failed_exchange_takes_a_worker_out_at_once() -> None:
    pool = pool_of(status(), status())
    pool.fail(pool.workers[0])
    assert able(pool) == {1}


def test_a_poll_that_began_before_a_failure_does_not_bring_the_worker_back() -> None:
    pool = pool_of(status())
    before = pool.workers[0].generation
    pool.fail(pool.workers[0])
    pool.observe(pool.workers[0], status(), before)
    assert pool.count(State.DOWN) == 1
    pool.observe(pool.workers[0], status(), pool.workers[0].generation)
    assert pool.count(State.READY) == 1


def test_what_a_worker_has_is_given_up_after_two_polls_without_an_answer() -> None:
    pool = pool_of(status(), status())
    given_up: list[str] = []
    with (
        carried(pool.workers[0], lambda: given_up.append("first")),
        carried(pool.workers[0], lambda: given_up.append("second")),
        carried(pool.workers[1], lambda: given_up.append("other")),
    ):
        pool.miss(pool.workers[0])
        assert (pool.workers[0].state, given_up) == (State.DOWN, [])
        pool.miss(pool.workers[0])
    assert sorted(given_up) == ["first", "second"]


@pytest.mark.parametrize("heard", [status(), None])
def test_only_polls_in_a_row_count_as_missed(heard: Status | None) -> None:
    pool = pool_of(status())
    given_up: list[bool] = []
    with carried(pool.workers[0], lambda: given_up.append(True)):
        for _ in range(3):
            pool.miss(pool.workers[0])
            pool.observe(pool.workers[0], heard, 0)
    assert given_up == []


def test_what_has_ended_is_not_given_up() -> None:
    pool = pool_of(status())
    given_up: list[bool] = []
    with carried(pool.workers[0], lambda: given_up.append(True)):
        pass
    for _ in range(3):
        pool.miss(pool.workers[0])
    assert given_up == []


def test_a_worker_that_lacks_a_key_gets_no_requests_for_it_until_it_is_polled() -> None:
    both = Status(True, (), RELEASE, (Held(7, CORE, frozenset({KEY})), Held(8, OTHER, frozenset({17}))))
    pool = pool_of(both, status())
    pool.elect({7: CORE, 8: OTHER})
    before = pool.workers[0].generation
    pool.lacks(pool.workers[0], KEY)
    assert able(pool) == {1}
    assert pool.choose(17, set()) is pool.workers[0], "its other keys are as good as before"
    assert pool.count(State.READY) == 2
    pool.observe(pool.workers[0], both, before)
    assert able(pool) == {1}, "a poll that began before cannot know better"
    pool.observe(pool.workers[0], both, pool.workers[0].generation)
    assert able(pool) == {0, 1}


async def test_the_wait_for_a_worker_ends_when_one_gets_ready() -> None:
    pool = pool_of(status(), None)
    waiting = asyncio.create_task(pool.find(KEY, {0}, 5.0))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    pool.observe(pool.workers[1], status(), 0)
    assert await waiting is pool.workers[1]


async def test_the_wait_for_a_worker_is_bounded() -> None:
    pool = pool_of(status(ready=False))
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await pool.find(KEY, set(), 0.1) is None
    assert 0.08 < loop.time() - began < 0.5


async def test_nobody_waits_when_every_worker_was_tried() -> None:
    pool = pool_of(status(), status())
    async with asyncio.timeout(0.5):
        assert await pool.find(KEY, {0, 1}, 5.0) is None


async def test_an_unknown_key_is_refused_at_once() -> None:
    pool = pool_of(status(), None)
    async with asyncio.timeout(0.5):
        with pytest.raises(UnknownKeyError):
            await pool.find(KEY + 2, set(), 5.0)


async def test_the_key_of_a_core_that_does_not_count_is_unknown() -> None:
    pool = Pool(2)
    pool.observe(pool.workers[0], status(epoch=7), 0)
    pool.observe(pool.workers[1], Status(True, (), RELEASE, (Held(8, OTHER, frozenset({17})),)), 0)
    pool.elect({7: CORE})
    with pytest.raises(UnknownKeyError):
        await pool.find(17, set(), 0.1)


async def test_a_key_whose_holders_are_gone_is_not_unknown() -> None:
    pool = pool_of(status(), Status(True, (), RELEASE, (Held(8, CORE, frozenset({17})),)))
    pool.elect({7: CORE, 8: CORE})
    pool.fail(pool.workers[0])
    assert await pool.find(KEY, set(), 0.1) is None
    pool.elect({8: CORE})
    with pytest.raises(UnknownKeyError):
        await pool.find(KEY, set(), 0.1)


async def test_a_gateway_that_knows_no_key_calls_none_unknown() -> None:
    pool = Pool(1)
    assert await pool.find(KEY, set(), 0.05) is None


def test_a_worker_is_not_known_before_its_first_poll() -> None:
    worker = Pool(1).workers[0]
    assert (worker.state, worker.polled) == (State.DOWN, False)
    assert Worker(0).cores == {}
