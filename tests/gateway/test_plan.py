"""The rules by which keys are born, shared and published, each on a pool that is only written down."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from gateway.plan import (
    MAX_DOUBT,
    Birth,
    Join,
    KeysLog,
    Log,
    Publish,
    Retire,
    Step,
    View,
    elect,
    next_step,
    shortfall,
)
from gateway.pool import Worker
from seclude.pool import Held, Status

X, Y, Z = "aa" * 32, "bb" * 32, "cc" * 32
OLD, NEW = "00" * 32, "11" * 32
NOW = 7


def worker(
    index: int,
    held: Mapping[int, str] | None = None,
    *,
    ready: bool = True,
    manifest: str = OLD,
    draining: bool = False,
    polled: bool = True,
    down: bool = False,
    due: bool = False,
) -> Worker:
    epochs = tuple(Held(epoch, core, frozenset({epoch % 256})) for epoch, core in (held or {}).items())
    reasons = ("draining",) if draining else ()
    status = Status(ready=ready and not draining, reasons=reasons, manifest=manifest, epochs=epochs, due=due)
    return Worker(index, None if down else status, polled=polled)


def view(
    *workers: Worker,
    published: Mapping[int, str] | None = None,
    quorum: int = 2,
    failures: Mapping[int, int] | None = None,
    resting: set[int] | None = None,
    doubtful: Worker | None = None,
    wanted: tuple[int, ...] = (NOW,),
    keys_log: KeysLog | None = None,
) -> View:
    published = published or {}
    return View(
        workers=workers,
        elected=elect(workers, range(NOW - 1, NOW + 2), published, keys_log),
        published=published.keys(),
        wanted=wanted,
        quorum=quorum,
        failures=failures or {},
        resting=resting or set(),
        doubtful={} if doubtful is None else {NOW: doubtful},
        keys_log=keys_log,
    )


def logged(cores: Mapping[int, str] | None = None, *, refused: tuple[str, ...] = (), answers: bool = True) -> KeysLog:
    """Return a keys log in which these cores stand, and of which others were refused."""
    cores = cores or {}
    taken = {*cores, *(NOW for _ in refused)}
    return KeysLog(taken, cores, {(NOW, core) for core in refused}, answers)


def asked(step: Step | None) -> int:
    assert isinstance(step, Birth)
    return step.worker.index


def test_nothing_is_decided_before_every_worker_was_polled() -> None:
    assert next_step(view(worker(0), worker(1, polled=False, down=True))) is None
    assert next_step(view(worker(0), worker(1, down=True))) is not None


def test_a_pool_without_keys_asks_one_worker_for_a_birth() -> None:
    workers = worker(0), worker(1)
    assert next_step(view(*workers)) == Birth(workers[0], NOW)


def test_the_keys_of_the_slot_before_do_not_count_for_this_one() -> None:
    assert asked(next_step(view(worker(0, {NOW - 1: X}), worker(1, {NOW - 1: X})))) == 0


def test_a_ready_worker_gives_birth_before_one_that_is_not() -> None:
    assert asked(next_step(view(worker(0, ready=False), worker(1)))) == 1


@pytest.mark.parametrize("other", [worker(0, down=True), worker(0, draining=True)])
def test_a_worker_that_is_gone_or_about_to_go_gives_no_birth(other: Worker) -> None:
    assert asked(next_step(view(other, worker(1, ready=False)))) == 1
    assert next_step(view(other)) is None


def test_a_worker_that_refused_rests_and_another_is_asked() -> None:
    assert asked(next_step(view(worker(0), worker(1), resting={0}))) == 1
    assert next_step(view(worker(0), worker(1), resting={0, 1})) is None


def test_while_a_birth_is_in_doubt_no_other_worker_is_asked() -> None:
    doubtful = worker(0)
    assert next_step(view(doubtful, worker(1), resting={0}, doubtful=doubtful)) is None
    assert asked(next_step(view(doubtful, worker(1), failures={0: 1}, doubtful=doubtful))) == 0


def test_doubt_ends_with_the_worker() -> None:
    doubtful = worker(0, down=True)
    assert asked(next_step(view(doubtful, worker(1), resting={0}, doubtful=doubtful))) == 1


def test_doubt_ends_after_some_births_without_an_answer() -> None:
    doubtful = worker(1)
    assert asked(next_step(view(worker(0), doubtful, failures={1: MAX_DOUBT - 1}, doubtful=doubtful))) == 1
    assert asked(next_step(view(worker(0), doubtful, failures={1: MAX_DOUBT}, doubtful=doubtful))) == 0


def test_the_largest_group_of_equal_software_gives_birth() -> None:
    assert asked(next_step(view(worker(0), worker(1, manifest=NEW), worker(2, manifest=NEW)))) == 1


def test_of_equal_groups_the_one_that_serves_goes_on() -> None:
    pool = worker(0), worker(1), worker(2, {NOW - 1: X}, manifest=NEW), worker(3, {NOW - 1: X}, manifest=NEW)
    assert asked(next_step(view(*pool, published={NOW - 1: X}))) == 2


def test_a_key_is_published_when_a_second_worker_holds_it() -> None:
    holder, joiner = worker(0, {NOW: X}), worker(1)
    assert next_step(view(holder, joiner)) == Join(joiner, holder)
    both = worker(0, {NOW: X}), worker(1, {NOW: X})
    assert next_step(view(*both)) == Publish(both[0], NOW, X)
    assert next_step(view(*both, published={NOW: X})) is None


def test_a_pool_declared_single_publishes_at_once() -> None:
    only = worker(0, {NOW: X})
    assert next_step(view(only, quorum=1)) == Publish(only, NOW, X)


def test_publishing_comes_before_the_joins_of_further_workers() -> None:
    pool = worker(0), worker(1, {NOW: X}), worker(2, {NOW: X})
    assert next_step(view(*pool)) == Publish(pool[1], NOW, X)
    assert next_step(view(*pool, published={NOW: X})) == Join(pool[0], pool[1])


def test_a_holder_that_failed_to_give_its_bundle_is_passed_over() -> None:
    pool = worker(0, {NOW: X}), worker(1, {NOW: X})
    assert next_step(view(*pool, resting={0})) == Publish(pool[1], NOW, X)


def test_of_two_cores_the_one_with_more_holders_counts() -> None:
    pool = worker(0, {NOW: X}), worker(1, {NOW: Y}), worker(2, {NOW: Y})
    assert elect(pool, [NOW], {}) == {NOW: Y}


def test_of_two_cores_with_as_many_holders_the_lower_digest_counts() -> None:
    assert elect([worker(0, {NOW: Z}), worker(1, {NOW: Y})], [NOW], {}) == {NOW: Y}


def test_workers_that_are_down_have_no_vote() -> None:
    gone = worker(0, {NOW: X}, down=True)
    assert elect([gone, worker(1, {NOW: Y})], [NOW], {}) == {NOW: Y}


def test_a_published_core_stays_whoever_holds_another() -> None:
    pool = worker(0, {NOW: Y}), worker(1, {NOW: Y})
    assert elect(pool, [NOW], {NOW: X}) == {NOW: X}
    assert next_step(view(*pool, published={NOW: X})) is None


def test_a_slot_whose_published_key_is_lost_gets_no_second_one() -> None:
    assert next_step(view(worker(0), worker(1), published={NOW: X})) is None


def test_a_worker_with_a_core_that_does_not_count_joins_a_holder_of_the_one_that_does() -> None:
    pool = worker(0, {NOW: X}), worker(1, {NOW: X}), worker(2, {NOW: Y})
    assert next_step(view(*pool, published={NOW: X})) == Join(pool[2], pool[0])


def test_a_pool_of_two_that_split_becomes_one_and_publishes() -> None:
    pool = worker(0, {NOW: Y}), worker(1, {NOW: X})
    assert next_step(view(*pool)) == Join(pool[0], pool[1])


def test_a_member_that_would_take_more_than_it_gives_is_not_joined() -> None:
    # Worker 1 could give the key of the slot before, but would replace that of now.
    pool = worker(0, {NOW: X}), worker(1, {NOW: Y, NOW - 1: Z}, draining=True), worker(2, {NOW: X})
    assert next_step(view(*pool, published={NOW: X})) is None


def test_the_key_of_now_is_worth_that_of_the_slot_before() -> None:
    pool = worker(0, {NOW - 1: X}), worker(1, {NOW: X, NOW - 1: Y})
    step = next_step(view(*pool, published={NOW: X, NOW - 1: X}))
    assert step == Join(pool[0], pool[1])


def test_the_shortfall_counts_the_slot_of_now_first() -> None:
    elected = {NOW - 1: X, NOW: Y}
    assert shortfall({}, elected, [NOW]) == (1, 2)
    assert shortfall({NOW - 1: X}, elected, [NOW]) == (1, 1)
    assert shortfall({NOW: Y, NOW - 1: Z}, elected, [NOW]) == (0, 1)
    assert shortfall({**elected, NOW + 1: Z}, elected, [NOW]) == (0, 0)
    assert shortfall({NOW: Y}, {**elected, NOW + 1: Z}, [NOW, NOW + 1]) == (0, 1, 2)


def test_a_worker_also_joins_for_the_slot_that_still_opens() -> None:
    pool = worker(0, {NOW: X}), worker(1, {NOW: X, NOW - 1: Z})
    assert next_step(view(*pool, published={NOW: X})) == Join(pool[0], pool[1])


def test_workers_of_other_software_are_not_asked_to_join() -> None:
    pool = worker(0, {NOW: X}), worker(1, {NOW: X}), worker(2, manifest=NEW)
    assert next_step(view(*pool, published={NOW: X})) is None


@pytest.mark.parametrize("joiner", [worker(1, down=True), worker(1, draining=True)])
def test_a_worker_that_is_gone_or_about_to_go_does_not_join(joiner: Worker) -> None:
    assert next_step(view(worker(0, {NOW: X}), joiner, published={NOW: X})) is None


def test_a_draining_member_lets_others_in_when_there_is_no_other() -> None:
    leaving, staying, joiner = worker(0, {NOW: X}, draining=True), worker(1, {NOW: X}), worker(2)
    assert next_step(view(leaving, joiner, published={NOW: X})) == Join(joiner, leaving)
    assert next_step(view(leaving, staying, joiner, published={NOW: X})) == Join(joiner, staying)


def test_each_failure_moves_a_joiner_on_to_another_member() -> None:
    pool = worker(0, {NOW: X}), worker(1, {NOW: X}), worker(2)
    for failures, member in ((0, 0), (1, 1), (2, 0)):
        step = next_step(view(*pool, published={NOW: X}, failures={2: failures}))
        assert step == Join(pool[2], pool[member])
    assert next_step(view(*pool, published={NOW: X}, resting={2})) is None


# The slot that is announced.


BOTH = (NOW, NOW + 1)


def test_the_keys_of_now_are_born_shared_and_published_before_the_next_are_born() -> None:
    empty = worker(0), worker(1)
    assert next_step(view(*empty, wanted=BOTH)) == Birth(empty[0], NOW)
    born = worker(0, {NOW: X}), worker(1)
    assert next_step(view(*born, wanted=BOTH)) == Join(born[1], born[0])
    shared = worker(0, {NOW: X}), worker(1, {NOW: X})
    assert next_step(view(*shared, wanted=BOTH)) == Publish(shared[0], NOW, X)
    assert next_step(view(*shared, wanted=BOTH, published={NOW: X})) == Birth(shared[0], NOW + 1)
    assert next_step(view(*shared, published={NOW: X})) is None, "it is not yet time"


def test_the_keys_of_the_next_slot_are_shared_and_published_ahead_of_it() -> None:
    born = worker(0, {NOW: X, NOW + 1: Y}), worker(1, {NOW: X})
    assert next_step(view(*born, wanted=BOTH, published={NOW: X})) == Join(born[1], born[0])
    shared = worker(0, {NOW: X, NOW + 1: Y}), worker(1, {NOW: X, NOW + 1: Y})
    assert next_step(view(*shared, wanted=BOTH, published={NOW: X})) == Publish(shared[0], NOW + 1, Y)
    assert next_step(view(*shared, wanted=BOTH, published={NOW: X, NOW + 1: Y})) is None


def test_who_lacks_the_keys_of_now_joins_before_who_lacks_the_next() -> None:
    pool = worker(0, {NOW: X}), worker(1, {NOW: X, NOW + 1: Y}), worker(2, {NOW + 1: Y})
    assert next_step(view(*pool, wanted=BOTH, published={NOW: X})) == Join(pool[2], pool[0])


def test_a_joiner_takes_the_keys_of_now_from_who_holds_them() -> None:
    pool = worker(0, {NOW + 1: Y}), worker(1, {NOW: X}), worker(2)
    step = next_step(view(*pool, wanted=BOTH, published={NOW: X, NOW + 1: Y}))
    assert step == Join(pool[0], pool[1])


def test_the_next_keys_are_not_taken_at_the_price_of_those_of_now() -> None:
    pool = worker(0, {NOW: X}), worker(1, {NOW: Z, NOW + 1: Y}, draining=True), worker(2, {NOW: X})
    assert next_step(view(*pool, wanted=BOTH, published={NOW: X, NOW + 1: Y})) is None


def test_a_slot_of_now_that_is_lost_does_not_keep_the_next_one_empty() -> None:
    pool = worker(0), worker(1)
    assert next_step(view(*pool, wanted=BOTH, published={NOW: X})) == Birth(pool[0], NOW + 1)


def test_announced_keys_that_are_lost_are_not_made_again() -> None:
    pool = worker(0), worker(1)
    assert next_step(view(*pool, wanted=BOTH, published={NOW: X, NOW + 1: Y})) is None


def test_a_birth_in_doubt_holds_up_no_other_slot() -> None:
    pool = worker(0, {NOW: X}), worker(1, {NOW: X})
    resting = view(*pool, wanted=BOTH, published={NOW: X}, resting={0}, doubtful=pool[0])
    assert next_step(resting) == Birth(pool[1], NOW + 1)


def test_workers_that_rest_for_now_do_not_hold_up_the_next_slot() -> None:
    pool = worker(0, {NOW: X}), worker(1, {NOW: X}), worker(2)
    assert next_step(view(*pool, wanted=BOTH, published={NOW: X}, resting={2})) == Birth(pool[0], NOW + 1)


# Renewal.


KEYS = {NOW: X}


def test_a_worker_that_is_due_retires_when_another_holds_every_key() -> None:
    pool = worker(0, KEYS), worker(1, KEYS, due=True)
    assert next_step(view(*pool, published=KEYS)) == Retire(pool[1])
    assert next_step(view(worker(0, KEYS), worker(1, KEYS), published=KEYS)) is None


def test_of_several_that_are_due_one_retires_at_a_time() -> None:
    pool = worker(0, KEYS, due=True), worker(1, KEYS, due=True), worker(2, KEYS, due=True)
    assert next_step(view(*pool, published=KEYS)) == Retire(pool[0])
    leaving = worker(0, KEYS, due=True, draining=True)
    assert next_step(view(leaving, *pool[1:], published=KEYS)) is None


def test_until_one_that_retired_is_back_no_other_retires() -> None:
    """One that ended at once shows as down, as does one that is lost for good and must not hold the others up."""
    pool = worker(0, down=True), worker(1, KEYS, due=True), worker(2, KEYS)
    seen = view(*pool, published=KEYS)
    assert next_step(replace(seen, renewing=True)) is None
    assert next_step(seen) == Retire(pool[1])


def test_while_any_worker_is_on_its_way_out_no_other_retires() -> None:
    pool = worker(0, KEYS), worker(1, KEYS, due=True), worker(2, draining=True)
    assert next_step(view(*pool, published=KEYS)) is None


@pytest.mark.parametrize(
    "other",
    [
        worker(0, KEYS, ready=False),
        worker(0, KEYS, down=True),
        worker(0, {}, manifest=NEW),
        worker(0, {NOW - 1: Z}, manifest=NEW),
    ],
    ids=["not ready", "down", "without keys", "with other keys"],
)
def test_nobody_retires_while_no_other_could_do_its_work(other: Worker) -> None:
    assert next_step(view(other, worker(1, KEYS, due=True), published=KEYS)) is None


def test_who_takes_over_holds_the_keys_of_every_live_slot() -> None:
    every = {NOW - 1: Z, NOW: X, NOW + 1: Y}
    for missing in every:
        some = {epoch: core for epoch, core in every.items() if epoch != missing}
        pool = worker(0, some, manifest=NEW), worker(1, every, due=True)
        assert next_step(view(*pool, published=every, wanted=BOTH)) is None
        other = {**some, missing: "dd" * 32}
        pool = worker(0, other, manifest=NEW), worker(1, every, due=True)
        assert next_step(view(*pool, published=every, wanted=BOTH)) is None
    pool = worker(0, every, manifest=NEW), worker(1, every, due=True)
    assert next_step(view(*pool, published=every, wanted=BOTH)) == Retire(pool[1])


def test_renewal_waits_until_nothing_else_is_to_be_done() -> None:
    due = worker(0, due=True), worker(1)
    assert next_step(view(*due)) == Birth(due[0], NOW)
    joins = worker(0, KEYS, due=True), worker(1, KEYS), worker(2)
    assert next_step(view(*joins, published=KEYS)) == Join(joins[2], joins[0])
    publishes = worker(0, KEYS, due=True), worker(1, KEYS)
    assert next_step(view(*publishes)) == Publish(publishes[0], NOW, X)
    births = worker(0, KEYS, due=True), worker(1, KEYS)
    assert next_step(view(*births, published=KEYS, wanted=BOTH)) == Birth(births[0], NOW + 1)


def test_a_pool_declared_single_renews_nobody() -> None:
    pool = worker(0, KEYS, due=True), worker(1, KEYS)
    assert next_step(view(*pool, published=KEYS, quorum=1)) is None


def test_while_a_worker_that_did_not_retire_when_told_rests_no_other_does() -> None:
    """Two gateways of one pool choose alike, so that they do not send both of its workers away."""
    pool = worker(0, KEYS, due=True), worker(1, KEYS, due=True)
    assert next_step(view(*pool, published=KEYS, resting={0})) is None
    assert next_step(view(*pool, published=KEYS, resting={1})) == Retire(pool[0])


def test_what_was_born_is_logged_before_it_is_shared() -> None:
    holder, joiner = worker(0, {NOW: X}), worker(1)
    assert next_step(view(holder, joiner, keys_log=logged())) == Log(holder, NOW, X)
    assert next_step(view(holder, joiner, keys_log=logged({NOW: X}))) == Join(joiner, holder)


def test_what_is_not_logged_is_not_published() -> None:
    both = worker(0, {NOW: X}), worker(1, {NOW: X})
    assert next_step(view(*both, keys_log=logged())) == Log(both[0], NOW, X)
    assert next_step(view(*both, keys_log=logged(answers=False))) is None
    assert next_step(view(*both, keys_log=logged({NOW: X}))) == Publish(both[0], NOW, X)


def test_while_the_slot_of_now_has_no_leaf_nothing_is_made_or_logged_for_the_next() -> None:
    doubtful, holder = worker(0), worker(1, {NOW + 1: Y})
    both = (NOW, NOW + 1)
    waiting = view(doubtful, worker(1), resting={0}, doubtful=doubtful, wanted=both, keys_log=logged())
    assert next_step(waiting) is None
    waiting = view(doubtful, holder, resting={0}, doubtful=doubtful, wanted=both, keys_log=logged())
    assert next_step(waiting) is None
    taken = KeysLog(taken={NOW}, cores={})
    assert next_step(view(doubtful, holder, resting={0}, wanted=both, keys_log=taken)) == Log(holder, NOW + 1, Y)
    assert next_step(view(worker(0), worker(1), wanted=both, keys_log=taken)) == Birth(worker(0), NOW + 1)


def test_of_several_slots_the_oldest_is_logged_first() -> None:
    holder = worker(0, {NOW - 1: Z, NOW: X, NOW + 1: Y})
    pool = holder, worker(1)
    assert next_step(view(*pool, keys_log=logged())) == Log(holder, NOW - 1, Z)
    assert next_step(view(*pool, keys_log=logged({NOW - 1: Z}))) == Log(holder, NOW, X)
    assert next_step(view(*pool, keys_log=logged({NOW - 1: Z, NOW: X}), published={NOW: X})) == Log(holder, NOW + 1, Y)


def test_a_holder_that_failed_to_give_its_bundle_is_not_asked_to_have_it_logged() -> None:
    both = worker(0, {NOW: X}), worker(1, {NOW: X})
    assert next_step(view(*both, resting={0}, keys_log=logged())) == Log(both[1], NOW, X)
    assert next_step(view(*both, resting={0, 1}, keys_log=logged())) is None


def test_while_the_ledger_does_not_answer_there_are_no_births() -> None:
    assert next_step(view(worker(0), worker(1), keys_log=logged(answers=False))) is None
    assert asked(next_step(view(worker(0), worker(1), keys_log=logged()))) == 0


def test_while_the_ledger_does_not_answer_the_rest_goes_on() -> None:
    silent = logged({NOW: X}, answers=False)
    holder, joiner = worker(0, {NOW: X}), worker(1)
    assert next_step(view(holder, joiner, keys_log=silent)) == Join(joiner, holder)
    both = worker(0, {NOW: X}, due=True), worker(1, {NOW: X})
    assert next_step(view(*both, keys_log=silent)) == Publish(both[0], NOW, X)
    assert next_step(view(*both, published={NOW: X}, keys_log=silent)) == Retire(both[0])


def test_a_leaf_that_is_there_is_looked_at_without_asking_the_ledger() -> None:
    both = worker(0, {NOW: X}), worker(1, {NOW: X})
    there = KeysLog(taken={NOW}, cores={}, answers=False)
    assert next_step(view(*both, keys_log=there)) == Log(both[0], NOW, X)


def test_a_slot_that_has_a_leaf_gets_no_birth() -> None:
    taken = KeysLog(taken={NOW}, cores={})
    assert next_step(view(worker(0), worker(1), keys_log=taken)) is None
    assert next_step(view(worker(0), worker(1), keys_log=logged({NOW: X}))) is None
    assert next_step(view(worker(0), worker(1), wanted=(NOW, NOW + 1), keys_log=taken)) == Birth(worker(0), NOW + 1)


def test_a_core_whose_leaf_is_another_s_does_not_count() -> None:
    both = worker(0, {NOW: X}), worker(1, {NOW: X})
    assert next_step(view(*both, keys_log=logged(refused=(X,)))) is None
    pool = (*both, worker(2, {NOW: Y}))
    assert next_step(view(*pool, keys_log=logged(refused=(X,)))) == Log(pool[2], NOW, Y)
    assert view(*pool, keys_log=logged({NOW: Y}, refused=(X,))).elected == {NOW: Y}


def test_the_logged_core_counts_whoever_holds_another() -> None:
    pool = worker(0, {NOW: Y}), worker(1, {NOW: X}), worker(2, {NOW: X})
    assert next_step(view(*pool, keys_log=logged({NOW: Y}))) == Join(pool[1], pool[0])
    assert view(*pool[1:], keys_log=logged({NOW: Y})).elected == {NOW: Y}


@pytest.mark.parametrize("other", [{NOW: X, NOW + 1: Y}, {NOW: X, NOW - 1: Y}])
def test_a_worker_that_holds_what_is_not_logged_lets_nobody_in(other: dict[int, str]) -> None:
    holder, joiner, keys = worker(0, other, ready=False), worker(1), logged({NOW: X}, answers=False)
    assert next_step(view(holder, joiner, published={NOW: X}, keys_log=keys)) is None
    clean = worker(2, {NOW: X})
    assert next_step(view(holder, joiner, clean, published={NOW: X}, keys_log=keys)) == Join(joiner, clean)


def test_what_no_longer_opens_keeps_nobody_out() -> None:
    holder, joiner = worker(0, {NOW - 2: Z, NOW: X}), worker(1)
    assert next_step(view(holder, joiner, keys_log=logged({NOW: X}))) == Join(joiner, holder)


def test_a_worker_that_can_give_what_it_holds_gives_birth_before_one_that_cannot() -> None:
    pool = worker(0, {NOW - 1: X}), worker(1)
    lost = KeysLog(taken={NOW - 1}, cores={}, refused={(NOW - 1, X)})
    assert asked(next_step(view(*pool, keys_log=lost))) == 1
