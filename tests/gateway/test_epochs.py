"""The reconciler at work on fake workers."""

import asyncio
from itertools import pairwise

import pytest

import gateway.epochs
import gateway.link
from inference.join import MAX_PENDING, NONCE_BYTES, parse_join_keys, parse_join_request
from seclude.attestation.slots import Slots, x25519_key_id
from seclude.pool import Birth, parse_birth, parse_shared, serialize_birth
from tests.gateway.conftest import PERIOD, Build, FakeWorker, House, core_of, eventually, new_bundle

NOW = 1000


def births(house: House) -> list[int]:
    """Return how often each worker was asked for a birth."""
    return [len(fake.paths("/pool/birth")) for fake in house.fakes]


def offered(house: House) -> str | None:
    offer = house.reconciler.offer
    return None if offer is None else offer.core


async def test_one_worker_gives_birth_and_every_other_joins(build: Build) -> None:
    house = await build(4)
    await house.settle()
    assert births(house) == [1, 0, 0, 0]
    assert house.fakes[0].paths("/pool/birth")[0].body == serialize_birth(Birth(NOW))
    bundles = [fake.bundles for fake in house.fakes]
    assert all(bundle == bundles[0] for bundle in bundles)
    assert house.steps.taken == [
        ("birth", 0, None), ("join", 1, None), ("publish", 0, None), ("join", 2, None), ("join", 3, None)
    ]  # fmt: skip
    offer = house.reconciler.offer
    assert offer is not None
    assert (offer.epoch, offer.bundle) == (NOW, house.fakes[0].bundles[NOW])


async def test_the_four_messages_of_a_join_are_carried_unchanged(build: Build) -> None:
    house = await build(2)
    await house.settle()
    member, joiner = house.fakes
    assert [request.path for request in member.received if request.path in ("/pool/nonce", "/pool/admit")] == [
        "/pool/nonce", "/pool/admit"
    ]  # fmt: skip
    nonce = joiner.paths("/pool/join")[0].body
    assert len(nonce) == NONCE_BYTES
    assert parse_join_request(member.paths("/pool/admit")[0].body).nonce == nonce
    shared = parse_shared(joiner.paths("/pool/keys")[0].body)
    assert parse_join_keys(shared.keys).nonce == nonce
    assert shared.proofs == b""


async def test_nothing_more_is_asked_when_all_is_well(build: Build) -> None:
    house = await build(3)
    await house.settle()
    before = [len(fake.received) for fake in house.fakes]
    for _ in range(3):
        await house.settle()
    polls = [len(fake.received) for fake in house.fakes]
    assert polls == [count + 3 for count in before]
    assert births(house) == [1, 0, 0]


async def test_nothing_is_published_while_one_worker_alone_holds_the_key(build: Build) -> None:
    house = await build(2)
    await house.fakes[1].stop()
    await house.settle()
    assert house.fakes[0].bundles
    assert offered(house) is None
    await house.fakes[1].start()
    await house.settle()
    assert offered(house) == core_of(house.fakes[0].bundles[NOW])
    assert births(house) == [1, 0]


async def test_a_pool_declared_single_publishes_alone(build: Build) -> None:
    house = await build(1, single=True)
    await house.settle()
    assert offered(house) == core_of(house.fakes[0].bundles[NOW])


async def test_a_new_slot_gets_new_keys_and_the_old_ones_are_no_longer_offered(build: Build) -> None:
    house = await build(2)
    await house.settle()
    first = offered(house)
    house.clock.now += PERIOD
    assert offered(house) is None
    await house.settle()
    second = offered(house)
    assert second is not None
    assert second != first
    assert house.fakes[0].bundles[NOW + 1] == house.fakes[1].bundles[NOW + 1]
    assert house.reconciler.offer is not None
    assert house.reconciler.offer.epoch == NOW + 1
    # Requests that were made for the key of the slot before are still routed.
    assert house.pool.choose(x25519_key_id(NOW), set()) is not None


async def test_the_clock_of_a_running_gateway_starts_the_next_slot(build: Build) -> None:
    house = await build(2)
    loop = asyncio.get_running_loop()
    began, start = loop.time(), (NOW + 1) * PERIOD - 0.3
    house.reconciler._clock = lambda: start + loop.time() - began
    house.run()
    await eventually(lambda: offered(house) is not None, 2.0)
    await eventually(lambda: len(house.fakes[1].bundles) == 2, 2.0)
    await eventually(lambda: house.reconciler.offer is not None and house.reconciler.offer.epoch == NOW + 1, 2.0)
    assert births(house) == [2, 0]


async def test_before_the_first_slot_nothing_is_asked(build: Build) -> None:
    house = await build(2)
    house.clock.now = -1.0
    await house.settle()
    assert births(house) == [0, 0]
    assert offered(house) is None
    assert house.reconciler.offers == ()
    assert house.reconciler.announced is None
    assert house.reconciler.seconds_unchanged == 0


async def test_a_gateway_that_was_restarted_publishes_what_the_pool_holds(build: Build) -> None:
    house = await build(2)
    bundle = new_bundle(NOW)
    for fake in house.fakes:
        fake.bundles[NOW] = bundle
    await house.settle()
    assert offered(house) == core_of(bundle)
    assert all(fake.bundles == {NOW: bundle} for fake in house.fakes)
    assert births(house) == [1, 0]  # which a holder answers with the bundle that it has


async def test_a_worker_that_was_restarted_joins_again(build: Build) -> None:
    house = await build(2)
    await house.settle()
    published = offered(house)
    house.fakes[0].forget()
    await house.settle()
    assert house.fakes[0].bundles == house.fakes[1].bundles
    assert offered(house) == published
    assert births(house) == [1, 0]


async def test_a_pool_that_lost_its_published_key_waits_for_the_next_slot(build: Build) -> None:
    house = await build(2)
    await house.settle()
    published = offered(house)
    for fake in house.fakes:
        fake.forget()
    await house.settle()
    assert births(house) == [1, 0]
    assert offered(house) == published
    assert not house.pool.serves(NOW)
    house.clock.now += PERIOD
    await house.settle()
    assert births(house) == [2, 0]
    assert offered(house) not in (None, published)


async def test_a_key_that_was_lost_before_it_was_published_is_made_again(build: Build) -> None:
    house = await build(2)
    house.fakes[1].ready = False
    house.fakes[1].refuse["/pool/join"] = 500
    await house.settle()
    house.fakes[0].forget()
    house.fakes[1].refuse.clear()
    house.reconciler._trouble.clear()
    await house.settle()
    assert births(house) == [2, 0]
    assert offered(house) == core_of(house.fakes[0].bundles[NOW])


async def test_of_two_keys_for_one_slot_the_one_with_more_holders_is_published(build: Build) -> None:
    house = await build(4)
    few, many = new_bundle(NOW), new_bundle(NOW)
    for fake, bundle in zip(house.fakes, (few, many, many), strict=False):
        fake.bundles[NOW] = bundle
    await house.settle()
    assert offered(house) == core_of(many)
    assert [fake.bundles for fake in house.fakes] == [{NOW: many}] * 4


async def test_a_worker_that_does_not_give_its_key_up_gets_no_requests(build: Build) -> None:
    house = await build(3)
    few, many = new_bundle(NOW), new_bundle(NOW)
    for fake, bundle in zip(house.fakes, (few, many, many), strict=True):
        fake.bundles[NOW] = bundle
    house.fakes[0].refuse["/pool/keys"] = 400
    await house.settle()
    assert house.fakes[0].bundles == {NOW: few}
    assert house.pool.choose(x25519_key_id(NOW), {1, 2}) is None, "it could not open what is sealed to the other key"
    house.fakes[0].refuse.clear()
    house.clock.now += PERIOD
    house.reconciler._trouble.clear()
    await house.settle()
    assert len({fake.bundles[NOW + 1] for fake in house.fakes}) == 1


async def test_a_pool_that_split_in_two_halves_becomes_one_again(build: Build) -> None:
    house = await build(2)
    for fake in house.fakes:
        fake.bundles[NOW] = new_bundle(NOW)
    await house.settle()
    assert house.fakes[0].bundles == house.fakes[1].bundles
    assert offered(house) == core_of(house.fakes[0].bundles[NOW])


async def test_a_worker_that_refuses_a_birth_does_not_keep_the_slot_empty(build: Build) -> None:
    house = await build(3)
    house.fakes[0].refuse["/pool/birth"] = 500
    await house.settle()
    assert births(house) == [1, 1, 0]
    assert offered(house) == core_of(house.fakes[1].bundles[NOW])
    assert house.steps.taken[0] == ("birth", 0, "RefusedError")


async def test_while_one_birth_has_no_answer_nobody_else_is_asked(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.link, "CONTROL_TIMEOUT_SECONDS", 0.2)
    house = await build(2)
    house.fakes[0].hang.add("/pool/birth")
    await house.settle()
    await house.settle()
    assert births(house) == [1, 0]
    house.fakes[0].bundles[NOW] = new_bundle(NOW)  # it was only slow
    await house.settle()
    assert house.fakes[1].bundles == house.fakes[0].bundles
    assert offered(house) == core_of(house.fakes[0].bundles[NOW])


async def test_a_worker_that_dies_in_birth_is_replaced(build: Build) -> None:
    house = await build(3)
    house.fakes[0].hang.add("/pool/birth")
    await house.look()
    reconciling = asyncio.create_task(house.reconciler.reconcile())
    await eventually(lambda: births(house)[0] == 1, 1.0)
    await house.fakes[0].stop()
    await reconciling
    assert births(house) == [1, 1, 0]
    assert offered(house) == core_of(house.fakes[1].bundles[NOW])


async def test_two_gateways_of_one_pool_make_one_key(build: Build) -> None:
    house = await build(3)
    other = House(house.fakes, house.clock)
    try:
        await asyncio.gather(house.settle(), other.settle())
        await asyncio.gather(house.settle(), other.settle())
        assert births(house)[1:] == [0, 0]
        assert offered(house) == offered(other) == core_of(house.fakes[0].bundles[NOW])
    finally:
        await other.close()


async def test_a_broken_member_cannot_keep_others_out(build: Build) -> None:
    house = await build(3)
    bundle = new_bundle(NOW)
    for fake in house.fakes[:2]:
        fake.bundles[NOW] = bundle
    house.fakes[0].refuse["/pool/admit"] = 403
    await house.settle()
    assert house.fakes[2].bundles == {}
    assert house.steps.taken[-1] == ("join", 2, "RefusedError")
    house.reconciler._trouble[2].until = 0.0
    await house.settle()
    assert house.fakes[2].bundles == {NOW: bundle}


async def test_a_worker_that_takes_keys_and_does_not_keep_them_rests(build: Build) -> None:
    house = await build(2)
    house.fakes[1].refuse["/pool/keys"] = 204
    await house.settle()
    await house.settle()
    assert len(house.fakes[1].paths("/pool/keys")) == 1
    assert house.steps.taken[-1] == ("join", 1, "DecodeError")
    assert offered(house) is None


async def test_each_failure_doubles_the_rest_up_to_a_limit(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.epochs, "REST_JITTER", 0.0)
    house = await build(2)
    house.fakes[1].refuse["/pool/join"] = 500
    await house.settle()
    rests = []
    for _ in range(8):
        trouble = house.reconciler._trouble[1]
        rests.append(trouble.until - asyncio.get_running_loop().time())
        trouble.until = 0.0
        await house.settle()
    assert [round(later / sooner) for sooner, later in pairwise(rests[:5])] == [2, 2, 2, 2]
    assert max(rests) <= gateway.epochs.MAX_REST_SECONDS


async def test_gateways_do_not_rest_in_step() -> None:
    rests = []
    for _ in range(20):
        trouble = gateway.epochs._Trouble()
        gateway.epochs._rest(trouble)
        rests.append(trouble.until - asyncio.get_running_loop().time())
    assert max(rests) <= gateway.epochs.REST_SECONDS
    assert min(rests) >= gateway.epochs.REST_SECONDS * (1 - gateway.epochs.REST_JITTER) - 0.1
    assert max(rests) - min(rests) > 0.01


@pytest.mark.parametrize("path", ["/pool/nonce", "/pool/join", "/pool/admit", "/pool/keys"])
async def test_a_worker_that_hangs_in_a_step_does_not_hold_the_others_up(
    build: Build, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(gateway.epochs, "STEP_SECONDS", 0.2)
    house = await build(4)
    bundle = new_bundle(NOW)
    for fake in house.fakes[:2]:
        fake.bundles[NOW] = bundle
    broken = house.fakes[0 if path in ("/pool/nonce", "/pool/admit") else 2]
    broken.hang.add(path)
    async with asyncio.timeout(5):
        await house.settle()
        assert ("join", 2, "UpstreamError") in house.steps.taken
        house.reconciler._trouble.clear()
        broken.hang.clear()
        await house.settle()
    assert [fake.bundles for fake in house.fakes] == [{NOW: bundle}] * 4


async def test_joins_that_two_gateways_carry_at_once_both_end(build: Build) -> None:
    house = await build(2)
    house.fakes[0].bundles[NOW] = new_bundle(NOW)
    other = House(house.fakes, house.clock)
    try:
        await asyncio.gather(house.look(), other.look())
        await asyncio.gather(house.reconciler.reconcile(), other.reconciler.reconcile())
        paths = [request.path for request in house.fakes[1].received if request.path in ("/pool/join", "/pool/keys")]
        assert paths == ["/pool/join", "/pool/join", "/pool/keys", "/pool/keys"], "the two were under way at once"
        assert {failure for _, _, failure in house.steps.taken + other.steps.taken} == {None}
    finally:
        await other.close()


async def test_a_joiner_answers_as_many_members_as_a_real_one(build: Build) -> None:
    house = await build(2)
    member, joiner = house.links
    house.fakes[0].bundles[NOW] = new_bundle(NOW)
    requests = [await joiner.join(await member.nonce()) for _ in range(MAX_PENDING + 1)]
    sealed = [await member.admit(request) for request in requests]
    with pytest.raises(gateway.link.RefusedError, match="409"):
        await joiner.keys(sealed[0])
    for message in reversed(sealed[1:]):
        await joiner.keys(message)
    with pytest.raises(gateway.link.RefusedError, match="409"):
        await joiner.keys(sealed[1])
    with pytest.raises(gateway.link.RefusedError, match="409"):
        await member.admit(requests[0])
    with pytest.raises(gateway.link.RefusedError, match="400"):
        await joiner.join(bytes(16))


@pytest.mark.parametrize("bundle", [b"", b"junk", new_bundle(NOW)[:-1], new_bundle(NOW) + b"\0", new_bundle(NOW + 1)])
async def test_a_birth_without_a_fitting_bundle_is_not_published(build: Build, bundle: bytes) -> None:
    house = await build(1, single=True)
    house.fakes[0].bundles[NOW] = new_bundle(NOW)
    await house.look()
    kept = house.workers[0].status
    house.fakes[0].bundles[NOW] = bundle
    house.pool.observe(house.workers[0], kept, 0)
    await house.reconciler.reconcile()
    assert offered(house) is None
    assert house.steps.taken == [("publish", 0, "TooLargeError" if len(bundle) > 1 << 20 else "DecodeError")]


async def test_the_bundle_of_another_core_is_not_published(build: Build) -> None:
    house = await build(1, single=True)
    house.fakes[0].bundles[NOW] = new_bundle(NOW)
    await house.look()
    house.fakes[0].bundles[NOW] = new_bundle(NOW)
    await house.reconciler.reconcile()
    assert offered(house) is None


async def test_a_new_release_takes_over_at_a_slot_boundary(build: Build) -> None:
    house = await build(4)
    for fake in house.fakes[2:]:
        fake.manifest = "ff" * 32
    await house.settle()
    old = offered(house)
    assert [NOW in fake.bundles for fake in house.fakes] == [True, True, False, False]
    await house.fakes[1].stop()
    house.clock.now += PERIOD
    await house.settle()
    assert offered(house) not in (None, old)
    assert [NOW + 1 in fake.bundles for fake in house.fakes] == [False, False, True, True]
    assert house.pool.choose(x25519_key_id(NOW), set()) is house.workers[0], "the old key stays with the old software"


async def test_memory_does_not_grow_with_the_slots(build: Build) -> None:
    house = await build(2, announce=PERIOD)
    for _ in range(6):
        await house.settle()
        house.clock.now += PERIOD
    assert len(house.reconciler._offers) <= 3
    assert len(house.reconciler._drafts) == 0
    assert len(house.pool.elected) <= 3


# Keys that are announced.


def offers(house: House) -> list[int]:
    return [offer.epoch for offer in house.reconciler.offers]


async def test_the_next_keys_are_published_a_period_ahead_and_offered_without_a_gap(build: Build) -> None:
    house = await build(3, announce=PERIOD)
    await house.settle()
    assert offers(house) == [NOW, NOW + 1]
    assert births(house) == [2, 0, 0]
    announced = house.reconciler.announced
    assert announced is not None
    house.clock.now = (NOW + 1) * PERIOD
    assert house.reconciler.offer == announced, "before anything was asked in this slot"
    assert offers(house) == [NOW, NOW + 1]
    await house.settle()
    assert offers(house) == [NOW, NOW + 1, NOW + 2]
    assert [fake.bundles.keys() for fake in house.fakes] == [{NOW, NOW + 1, NOW + 2}] * 3


async def test_the_keys_of_now_are_published_before_the_next_are_born(build: Build) -> None:
    house = await build(2, announce=PERIOD)
    await house.settle()
    assert [name for name, _, _ in house.steps.taken] == ["birth", "join", "publish"] * 2
    wishes = [parse_birth(request.body) for request in house.fakes[0].paths("/pool/birth")]
    assert wishes == [Birth(NOW), Birth(NOW + 1)]


@pytest.mark.parametrize("announce", [0.0, 20.0])
async def test_nothing_is_announced_before_its_time(build: Build, announce: float) -> None:
    house = await build(2, announce=announce)
    house.clock.now = (NOW + 1) * PERIOD - announce - 0.01
    await house.settle()
    assert offers(house) == [NOW]
    assert house.reconciler.announced is None
    house.clock.now += 0.02
    await house.settle()
    assert house.reconciler.offers[-1].epoch == NOW + 1


async def test_a_joiner_gets_all_live_and_announced_keys_in_one_join(build: Build) -> None:
    house = await build(3, announce=PERIOD)
    await house.settle()
    house.clock.now += PERIOD
    await house.settle()
    house.fakes[2].forget()
    before = len(house.steps.taken)
    await house.settle()
    assert house.steps.taken[before:] == [("join", 2, None)]
    assert house.fakes[2].bundles == house.fakes[0].bundles
    assert house.fakes[2].bundles.keys() == {NOW, NOW + 1, NOW + 2}


async def test_a_request_for_announced_keys_goes_to_who_holds_them(build: Build) -> None:
    house = await build(3, announce=PERIOD)
    house.fakes[2].refuse["/pool/join"] = 500
    await house.settle()
    assert house.pool.choose(x25519_key_id(NOW + 1), {0, 1}) is None
    assert house.pool.choose(x25519_key_id(NOW + 1), set()) is not None


@pytest.mark.parametrize(("announce", "missed"), [(0.0, 0), (20.0, 0), (PERIOD, 1)])
async def test_a_pool_that_lost_every_worker_serves_again_from_the_next_slot_it_can_announce(
    build: Build, announce: float, missed: int
) -> None:
    house = await build(2, announce=announce)
    await house.settle()
    for fake in house.fakes:
        fake.forget()
    await house.settle()
    assert not house.pool.serves(NOW)
    for _ in range(missed):
        house.clock.now += PERIOD
        await house.settle()
        assert house.reconciler.epoch is not None
        assert not house.pool.serves(house.reconciler.epoch)
    house.clock.now += PERIOD
    await house.settle()
    assert house.pool.serves(NOW + missed + 1)
    assert house.reconciler.offer is not None


async def test_the_keys_before_are_offered_to_clocks_that_are_behind_and_not_for_long(build: Build) -> None:
    house = await build(2)
    await house.settle()
    house.clock.now = (NOW + 1) * PERIOD
    await house.settle()
    assert offers(house) == [NOW, NOW + 1]
    house.clock.now += gateway.epochs.GRACE_SECONDS - 0.01
    assert offers(house) == [NOW, NOW + 1]
    house.clock.now += 0.01
    assert offers(house) == [NOW + 1]


async def test_short_slots_have_less_to_spare(build: Build) -> None:
    house = await build(2)
    slots = Slots(0, 8)
    house.reconciler._slots = slots
    house.clock.now = 80.0
    await house.settle()
    house.clock.now = 88.0
    await house.settle()
    assert offers(house) == [10, 11]
    house.clock.now = 90.0
    assert offers(house) == [11]


@pytest.mark.parametrize(
    ("announce", "into", "unchanged"),
    [
        (0.0, 0.0, 60.0),
        (0.0, 59.5, 0.5),
        (0.0, 60.0, 540.0),
        (0.0, 599.5, 0.5),
        (20.0, 60.0, 520.0),
        (20.0, 580.0, 20.0),
        (600.0, 100.0, 500.0),
    ],
)
async def test_what_is_offered_stays_until_the_next_change(
    build: Build, announce: float, into: float, unchanged: float
) -> None:
    house = await build(1, single=True, announce=announce)
    house.clock.now = NOW * PERIOD + into
    assert house.reconciler.seconds_unchanged == pytest.approx(unchanged)


# Renewal.


def retired(house: House) -> list[int]:
    """Return how often each worker was told to retire."""
    return [len(fake.paths("/pool/retire")) for fake in house.fakes]


async def come_back(fake: FakeWorker) -> None:
    """End, and start again, as a worker does that is renewed."""
    await fake.stop()
    fake.forget()
    fake.due, fake.reasons = False, []
    await fake.start()


async def test_workers_that_are_due_are_renewed_one_after_the_other_without_a_gap(build: Build) -> None:
    house = await build(3)
    await house.settle()
    published = offered(house)
    for fake in house.fakes:
        fake.due = True
    for count, fake in enumerate(house.fakes, 1):
        await house.settle()
        assert sum(retired(house)) == count, "one at a time"
        assert retired(house)[count - 1] == 1
        await house.settle()
        assert sum(retired(house)) == count, "while one drains nobody else is told"
        assert house.pool.serves(NOW)
        await come_back(fake)
    await house.settle()
    assert retired(house) == [1, 1, 1]
    assert births(house) == [1, 0, 0]
    assert offered(house) == published
    assert all(fake.bundles == house.fakes[0].bundles for fake in house.fakes)
    assert [name for name, _, _ in house.steps.taken].count("retire") == 3


async def test_a_worker_that_says_it_is_due_and_does_not_go_rests(build: Build) -> None:
    house = await build(2)
    await house.settle()
    house.fakes[0].due = True
    house.fakes[0].refuse["/pool/retire"] = 204
    await house.settle()
    await house.settle()
    assert retired(house) == [1, 0]
    assert house.steps.taken[-1] == ("retire", 0, "DecodeError")


async def test_a_worker_that_refuses_to_retire_rests_and_serves_on(build: Build) -> None:
    house = await build(2)
    await house.settle()
    house.fakes[0].due = True
    house.fakes[0].refuse["/pool/retire"] = 409
    await house.settle()
    assert house.steps.taken[-1] == ("retire", 0, "RefusedError")
    assert house.workers[0].status is not None
    assert house.workers[0].status.ready


async def test_a_worker_that_is_gone_as_soon_as_it_was_told_did_what_it_was_asked(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await build(2)
    await house.settle()
    retire = house.links[0].retire

    async def retire_and_end() -> None:
        await retire()
        await house.fakes[0].stop()

    monkeypatch.setattr(house.links[0], "retire", retire_and_end)
    for fake in house.fakes:
        fake.due = True
    await house.settle()
    assert house.steps.taken[-1] == ("retire", 0, None)
    assert retired(house) == [1, 0], "the other one is the last that holds the keys"
    assert house.pool.serves(NOW)


async def test_the_last_worker_that_holds_the_keys_stays(build: Build) -> None:
    house = await build(2)
    await house.settle()
    house.fakes[1].due = True
    await house.fakes[0].stop()
    for _ in range(3):
        await house.settle()
    assert retired(house) == [0, 0]
    assert house.pool.serves(NOW)


async def test_a_pool_declared_single_renews_nobody(build: Build) -> None:
    house = await build(1, single=True)
    house.fakes[0].due = True
    await house.settle()
    assert offered(house) is not None
    assert retired(house) == [0]


def test_fake_workers_hold_what_they_say() -> None:
    fake = FakeWorker(bundles={NOW: new_bundle(NOW)})
    assert fake.status()["ready"]
