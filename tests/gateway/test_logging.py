"""The reconciler before a ledger: what is born is logged, and what is published is shown to be."""

import asyncio
from dataclasses import replace

import pytest

import gateway.epochs
from gateway.pool import State
from seclude.attestation.bundle import parse_bundle
from seclude.ledger import Path
from seclude.pool import parse_birth, parse_shared
from tests.gateway.conftest import (
    PERIOD,
    Build,
    House,
    core_of,
    eventually,
    is_logged,
    new_bundle,
)
from tests.gateway.fakeledger import FakeLedger

NOW = 1000


def log_of(house: House) -> FakeLedger:
    assert house.log is not None
    return house.log


def names(house: House) -> list[str]:
    return [name for name, _, _ in house.steps.taken]


def offered(house: House) -> str | None:
    offer = house.reconciler.offer
    return None if offer is None else offer.core


def births(house: House) -> int:
    return sum(len(fake.paths("/pool/birth")) for fake in house.fakes)


async def rested(house: House) -> None:
    """Let everyone have rested enough."""
    house.reconciler._ledger_trouble.until = 0.0
    for trouble in house.reconciler._trouble.values():
        trouble.until = 0.0
    await house.settle()


async def test_keys_are_logged_before_they_are_shared_and_published(build: Build) -> None:
    house = await build(3, logs=True)
    await house.settle()
    assert names(house) == ["birth", "log", "join", "publish", "join"]
    offer = house.reconciler.offer
    assert offer is not None
    assert is_logged(offer.bundle, offer.parts.proofs)
    assert parse_bundle(offer.bundle).proofs == log_of(house).proofs()
    assert house.reconciler.logged == NOW
    assert len(log_of(house).here.keys) == NOW + 1


async def test_a_worker_gets_the_newest_proofs_for_a_birth_and_a_join(build: Build) -> None:
    house = await build(2, logs=True)
    log = log_of(house)
    before = log.proofs()
    await house.settle()
    assert parse_birth(house.fakes[0].paths("/pool/birth")[0].body).proofs == before
    assert parse_shared(house.fakes[1].paths("/pool/keys")[0].body).proofs == log.proofs()


async def test_proofs_are_stapled_anew_and_the_keys_stay(build: Build) -> None:
    house = await build(2, announce=PERIOD, logs=True)
    await house.settle()
    first = house.reconciler.offers
    assert [offer.epoch for offer in first] == [NOW, NOW + 1]
    log_of(house).now += 30
    assert house.ledger is not None
    await house.ledger.fetch()
    second = house.reconciler.offers
    assert [offer.core for offer in second] == [offer.core for offer in first]
    assert [offer.key_configs for offer in second] == [offer.key_configs for offer in first]
    for old, new in zip(first, second, strict=True):
        assert new.bundle != old.bundle
        assert new.parts == replace(old.parts, proofs=log_of(house).proofs())
    assert house.reconciler.offers == second


async def test_nothing_more_is_asked_when_all_is_well(build: Build) -> None:
    house = await build(2, logs=True)
    await house.settle()
    steps = list(house.steps.taken)
    for _ in range(3):
        await house.settle()
    assert house.steps.taken == steps
    assert len(log_of(house).submitted) == 1


async def test_a_ledger_that_is_down_means_no_births_and_no_rest_for_workers(build: Build) -> None:
    house = await build(2, logs=True)
    await log_of(house).stop()
    await house.settle()
    assert house.steps.taken == [], "nothing was heard of it yet"
    await log_of(house).start()
    assert house.ledger is not None
    await house.ledger.fetch()
    await log_of(house).stop()
    await house.settle()
    assert house.steps.taken == [("birth", 0, "LedgerError")]
    assert births(house) == 0
    assert not house.reconciler._trouble, "it is no worker's fault"
    await log_of(house).start()
    await house.settle()
    assert len(house.steps.taken) == 1, "the ledger rests"
    await rested(house)
    assert names(house)[1:] == ["birth", "log", "join", "publish"]


async def test_the_ledger_rests_longer_with_each_failure(build: Build) -> None:
    house = await build(2, logs=True)
    await house.settle()
    house.clock.now += PERIOD
    await log_of(house).stop()
    rests = []
    for _ in range(7):
        await rested(house)
        rests.append(house.reconciler._ledger_trouble.until - asyncio.get_running_loop().time())
    limits = [min(2.0**failures, gateway.epochs.MAX_REST_SECONDS) for failures in range(7)]
    for rest, limit in zip(rests, limits, strict=True):
        assert limit * (1 - gateway.epochs.REST_JITTER) - 0.2 <= rest <= limit


async def test_what_was_published_stays_while_the_ledger_is_down(build: Build) -> None:
    house = await build(2, logs=True)
    await house.settle()
    published = house.reconciler.offer
    assert published is not None
    await log_of(house).stop()
    await rested(house)
    assert house.reconciler.offer == published


async def test_workers_join_while_the_ledger_is_down(build: Build) -> None:
    house = await build(2, logs=True)
    await house.settle()
    await log_of(house).stop()
    house.fakes[1].forget()
    await house.settle()
    assert house.fakes[1].bundles == house.fakes[0].bundles


async def test_a_submission_that_is_not_cosigned_in_time_is_repeated(build: Build) -> None:
    house = await build(2, logs=True)
    log_of(house).answer = {Path.ADD_EPOCH: (503, b"")}
    await house.settle()
    assert house.steps.taken == [("birth", 0, None), ("log", 0, "LedgerError")]
    assert offered(house) is None
    assert not house.reconciler._trouble
    log_of(house).answer.clear()
    await rested(house)
    assert names(house)[2:] == ["log", "join", "publish"]
    assert births(house) == 1


async def test_a_core_that_was_not_logged_before_its_slot_ended_is_logged_late(build: Build) -> None:
    house = await build(2, logs=True)
    log_of(house).answer = {Path.ADD_EPOCH: (503, b"")}
    await house.settle()
    house.clock.now += PERIOD
    log_of(house).answer.clear()
    await rested(house)
    assert [submission.epoch for submission in log_of(house).submitted] == [NOW, NOW + 1]
    assert offered(house) == core_of(house.fakes[1].bundles[NOW + 1])
    assert house.fakes[0].bundles == house.fakes[1].bundles


async def test_a_slot_that_somebody_else_has_logged_stays_empty(build: Build) -> None:
    house = await build(2, logs=True)
    await house.look()
    log_of(house).here.log(NOW, b"another core", b"evidence")
    await house.settle()
    assert house.steps.taken == []
    house.clock.now += PERIOD
    await house.settle()
    assert names(house) == ["birth", "log", "join", "publish"]


async def test_a_slot_that_is_taken_while_nobody_looks_costs_no_worker_a_rest(build: Build) -> None:
    house = await build(2, logs=True)
    await house.settle()
    house.clock.now += PERIOD
    log_of(house).here.log(NOW + 1, b"another core", b"evidence")  # after the last fetch
    await house.look()
    await house.reconciler.reconcile()
    assert house.steps.taken[-1] == ("birth", 0, "TakenError")
    assert not house.reconciler._trouble
    assert house.reconciler._ledger_trouble.failures == 0
    await house.settle()
    assert house.steps.taken[-1] == ("birth", 0, "TakenError"), "it is not asked for again"
    assert births(house) == 1


async def test_a_core_whose_leaf_is_another_s_is_neither_shared_nor_published(build: Build) -> None:
    house = await build(2, logs=True)
    house.fakes[0].bundles[NOW] = new_bundle(NOW)
    log_of(house).here.log(NOW, b"another core", b"evidence")
    await house.settle()
    assert house.steps.taken == [("log", 0, "TakenError")]
    assert offered(house) is None
    assert house.fakes[1].bundles == {}
    assert not house.reconciler._trouble
    await house.settle()
    assert len(house.steps.taken) == 1, "it is asked about once"
    house.clock.now += PERIOD
    await house.settle()
    assert offered(house) is not None
    # The one that holds it cannot give what it holds, so it joins the other.
    assert house.steps.taken[1:4] == [("birth", 1, None), ("log", 1, None), ("join", 0, None)]


async def test_a_refusal_is_believed_before_it_is_shown(build: Build) -> None:
    house = await build(2, logs=True)
    log_of(house).answer = {Path.ADD_EPOCH: (409, b"")}
    await house.settle()
    assert house.steps.taken == [("birth", 0, None), ("log", 0, "TakenError")]
    await rested(house)
    assert len(house.steps.taken) == 2
    assert births(house) == 1


async def test_of_two_cores_the_logged_one_counts_though_fewer_hold_it(build: Build) -> None:
    house = await build(3, logs=True)
    logged, other = new_bundle(NOW), new_bundle(NOW)
    house.fakes[0].bundles[NOW] = logged
    for fake in house.fakes[1:]:
        fake.bundles[NOW] = other
    parts = parse_bundle(logged)
    log_of(house).here.log(NOW, parts.core, parts.evidence)
    await house.settle()
    assert house.steps.taken[:2] == [("log", 1, "TakenError"), ("log", 0, None)]
    assert offered(house) == core_of(logged)
    assert all(fake.bundles == {NOW: logged} for fake in house.fakes)


async def test_a_worker_that_dies_between_log_and_join_takes_the_slot_with_it(build: Build) -> None:
    house = await build(2, logs=True)
    house.fakes[1].refuse = {"/pool/join": 503}
    await house.settle()
    assert names(house) == ["birth", "log", "join"]
    house.fakes[0].forget()
    house.fakes[1].refuse.clear()
    await rested(house)
    assert births(house) == 1
    assert offered(house) is None
    house.clock.now += PERIOD
    await rested(house)
    assert offered(house) is not None


async def test_a_worker_that_comes_back_with_the_logged_core_is_joined(build: Build) -> None:
    house = await build(2, logs=True)
    house.fakes[1].refuse = {"/pool/join": 503}
    await house.settle()
    await house.fakes[0].stop()
    await rested(house)
    assert births(house) == 1
    await house.fakes[0].start()
    house.fakes[1].refuse.clear()
    await rested(house)
    assert offered(house) == core_of(house.fakes[0].bundles[NOW])


async def test_a_restarted_gateway_learns_what_is_logged(build: Build) -> None:
    house = await build(2, announce=PERIOD, logs=True)
    await house.settle()
    published = [offer.core for offer in house.reconciler.offers]
    other = House(house.fakes, house.clock, announce=PERIOD, log=house.log)
    await other.settle()
    assert [offer.core for offer in other.reconciler.offers] == published
    assert names(other) == ["log", "log", "publish", "publish"]
    assert len(log_of(house).submitted) == 2, "what is there is not submitted again"
    house.fakes[1].forget()
    await other.settle()
    assert house.fakes[1].bundles == house.fakes[0].bundles
    await other.close()


async def test_a_gateway_that_restarts_between_birth_and_log_goes_on(build: Build) -> None:
    house = await build(2, logs=True)
    log_of(house).answer = {Path.ADD_EPOCH: (503, b"")}
    await house.settle()
    log_of(house).answer.clear()
    other = House(house.fakes, house.clock, log=house.log)
    await other.settle()
    assert names(other) == ["log", "join", "publish"]
    await other.close()


async def test_two_gateways_before_one_pool_log_and_publish_the_same(build: Build) -> None:
    house = await build(3, announce=PERIOD, logs=True)
    other = House(house.fakes, house.clock, announce=PERIOD, log=house.log)
    for _ in range(3):
        await asyncio.gather(house.settle(), other.settle())
        for each in (house, other):
            each.reconciler._ledger_trouble.until = 0.0
            for trouble in each.reconciler._trouble.values():
                trouble.until = 0.0
    offers = [offer.core for offer in house.reconciler.offers]
    assert len(offers) == 2
    assert [offer.core for offer in other.reconciler.offers] == offers
    assert len(log_of(house).here.keys) == NOW + 2
    await other.close()


async def test_a_pool_declared_single_logs_too(build: Build) -> None:
    house = await build(1, single=True, logs=True)
    await house.settle()
    assert names(house) == ["birth", "log", "publish"]


async def test_a_worker_that_does_not_accept_the_proofs_rests(build: Build) -> None:
    house = await build(2, logs=True)
    house.fakes[0].refuse = {"/pool/birth": 422}
    await house.settle()
    assert house.steps.taken[:2] == [("birth", 0, "RefusedError"), ("birth", 1, None)]
    assert set(house.reconciler._trouble) == {0}
    assert house.reconciler._ledger_trouble.failures == 0


async def test_proofs_that_contradict_what_was_shown_are_not_stapled(build: Build) -> None:
    house = await build(2, logs=True)
    await house.settle()
    before = house.reconciler.offer
    whole = log_of(house).here
    log_of(house).here = whole.split()
    log_of(house).here.keys.entries[-1] = b"another"
    log_of(house).here.keys._nodes.clear()
    await house.settle()
    assert house.heard.faults[-1] == "inconsistent"
    assert house.reconciler.offer == before


async def test_the_running_gateway_rotates_by_itself(build: Build) -> None:
    house = await build(2, announce=PERIOD, logs=True)
    loop = asyncio.get_running_loop()
    began, start = loop.time(), (NOW + 1) * PERIOD - 0.5
    house.reconciler._clock = lambda: start + loop.time() - began
    house.run()
    await eventually(lambda: house.reconciler.epoch == NOW + 1 and house.reconciler.announced is not None, 4.0)
    assert [submission.epoch for submission in log_of(house).submitted] == [NOW, NOW + 1, NOW + 2]
    assert all(worker.state is State.READY for worker in house.workers)
    assert not any(error for _, _, error in house.steps.taken)


@pytest.mark.parametrize("size", [1, 2])
async def test_what_is_published_without_a_ledger_has_no_proofs(build: Build, size: int) -> None:
    house = await build(size, single=size == 1)
    await house.settle()
    offer = house.reconciler.offer
    assert offer is not None
    assert parse_bundle(offer.bundle).proofs == b""
    assert offer.bundle == house.fakes[0].bundles[NOW]
    assert house.reconciler.logged is None
