"""The pool's keys where a ledger stands behind them: what was seen of it counts for everything that comes later."""

import asyncio
from dataclasses import replace

import pytest

from inference.producers.simulated import SimulatedPlatform
from seclude.attestation.bundle import Bundle, serialize_bundle
from seclude.attestation.snapshot import Revocation
from seclude.client.keys import AHEAD
from seclude.client.receipts import Use
from seclude.client.sdk import Client
from seclude.daemon.messages import Response
from seclude.errors import BusyError, EvidenceError, PolicyError
from tests.client.serving import ANSWER, MEASUREMENT, MESSAGES, NOW, PERIOD, T0, Clock, InOrder, Logged, Relay, asking
from tests.client.test_keys import SLOT, SOON, settle, soon
from tests.ledgers import LedgerHere

KEYS, STATE = "log.example/keys", "log.example/state"


@pytest.fixture
def clock() -> Clock:
    return Clock(SLOT + 0.6 * PERIOD)


@pytest.fixture
def platform(relay: Relay) -> SimulatedPlatform:
    return relay.platform


@pytest.fixture
def logged(platform: SimulatedPlatform, clock: Clock) -> Logged:
    return Logged(platform, clock)


def sizes(client: Client) -> dict[str, int]:
    """Return the sizes of the trees that a client has seen."""
    return {name: outline.size for name, outline in client._trees.known.items()}


def stapled(made: dict[int, Bundle], ledger: LedgerHere, now: float) -> list[bytes]:
    proofs = ledger.proofs(now)
    return [serialize_bundle(replace(bundle, proofs=proofs)) for bundle in made.values()]


def revoke(logged: Logged, now: float) -> LedgerHere:
    """Return a ledger that went on with a snapshot in which the pool's software is revoked."""
    ledger = logged.ledger.split()
    revocation = Revocation(manifest=MEASUREMENT.hex(), reason="a hole", revoked=int(now))
    ledger.publish(now=now, signers=(1,), revocations=(revocation,))
    return ledger


async def test_what_was_seen_is_remembered(logged: Logged, clock: Clock) -> None:
    async with asking(logged, clock=clock) as client:
        uses: list[Use] = []
        assert await client.summarize(MESSAGES, used=uses.append) == ANSWER
        assert sizes(client) == {KEYS: NOW + 2, STATE: 1}
    (use,) = uses
    assert use.pool.ledger is not None
    assert [step.number for step in use.pool.steps] == list(range(1, 19))


async def test_keys_that_were_fetched_ahead_are_good_in_their_slot(logged: Logged, clock: Clock) -> None:
    clock.now = SLOT + 0.95 * PERIOD
    async with asking(logged, clock=clock) as client:
        await client.summarize(MESSAGES)
        clock.now = SLOT + PERIOD + 1
        assert await client.summarize(MESSAGES) == ANSWER
    assert logged.gets == 1


async def test_a_revocation_that_was_seen_since_counts_for_keys_that_were_fetched_ahead(
    logged: Logged, clock: Clock, in_order: InOrder
) -> None:
    """The fetch ahead brings the revocation; the next slot's keys, fetched before it, verify in themselves."""
    soon(in_order)
    made = logged.born()
    logged.offer(*stapled(made, logged.ledger, clock.now))
    async with asking(logged, clock=clock) as client:
        await client.summarize(MESSAGES)
        logged.offer(*stapled(made, revoke(logged, clock.now), clock.now))
        await settle(logged, 2)
        assert sizes(client)[STATE] == 2
        clock.now = SLOT + PERIOD + 1
        posted = len(logged.posts)
        with pytest.raises(PolicyError, match=r"was revoked at .*: a hole") as caught:
            await client.summarize(MESSAGES)
        assert caught.value.step == 8
        logged.offer(*stapled(made, logged.ledger, clock.now))  # nor does an older copy that is still fresh help
        with pytest.raises(PolicyError, match="a newer snapshot is withheld") as withheld:
            await client.summarize(MESSAGES)
        assert withheld.value.step == 17
        assert len(logged.posts) == posted


async def test_a_revocation_reaches_a_device_with_the_next_bundle_that_it_fetches(
    logged: Logged, clock: Clock, in_order: InOrder
) -> None:
    """Keys that were verified are used to the end of their slot, and so are those of the next that came with them."""
    clock.now = SLOT + 0.95 * PERIOD  # too late to fetch ahead
    made = logged.born()
    logged.offer(*stapled(made, logged.ledger, clock.now))
    async with asking(logged, clock=clock) as client:
        await client.summarize(MESSAGES)
        logged.offer(*stapled(made, revoke(logged, clock.now), clock.now))
        for moment in (0.99, 1.01, 1.95):
            clock.now = SLOT + moment * PERIOD
            assert await client.summarize(MESSAGES) == ANSWER
        clock.now = SLOT + 2 * PERIOD + 1
        with pytest.raises(PolicyError) as caught:
            await client.summarize(MESSAGES)
        assert caught.value.step == 10, "nobody makes keys for it any more"
    assert logged.gets == 2


async def test_another_relay_s_older_copy_is_no_reason_to_refuse(
    logged: Logged, clock: Clock, in_order: InOrder
) -> None:
    """The keys log grows all the time, and a relay's copy may be a little old: it shows how the larger tree began."""
    behind = logged.twin()
    made = logged.born()
    behind.offer(*stapled(made, logged.ledger, clock.now - 60))
    ledger = logged.ledger.split()
    for epoch in range(NOW + 2, NOW + 80):
        ledger.log(epoch, b"core", b"evidence")
    logged.offer(*stapled(made, ledger, clock.now))
    async with asking(logged, behind, clock=clock) as client:
        assert (await client.verify()).epoch == NOW
        assert sizes(client)[KEYS] == NOW + 80
        in_order.reverse = True
        assert (await client.verify()).epoch == NOW
        assert sizes(client)[KEYS] == NOW + 80
        assert await client.summarize(MESSAGES) == ANSWER
    assert (logged.gets, behind.gets) == (1, 1)


async def test_a_relay_that_withholds_a_snapshot_is_stepped_over(
    logged: Logged, clock: Clock, in_order: InOrder
) -> None:
    behind = logged.twin()
    made = logged.born()
    behind.offer(*stapled(made, logged.ledger, clock.now))
    ledger = logged.ledger.split()
    ledger.publish(ledger.release(MEASUREMENT, now=T0), now=clock.now)
    logged.offer(*stapled(made, ledger, clock.now))
    async with asking(logged, behind, clock=clock) as client:
        await client.verify()
        in_order.reverse = True
        assert (await client.verify()).ledger is not None
    assert (logged.gets, behind.gets) == (2, 1)


async def test_two_histories_are_refused_whichever_relay_shows_the_second(
    logged: Logged, clock: Clock, in_order: InOrder
) -> None:
    """All witnesses lie here, and the keys of now are the same in both trees: what differs is long past."""
    made = logged.born()
    logged.offer(*stapled(made, logged.ledger, clock.now))
    forked = logged.ledger.split()
    forked.keys.entries[0] = b"another past"
    forked.keys._nodes.clear()
    async with asking(logged, clock=clock) as client:
        await client.verify()
        logged.offer(*stapled(made, forked, clock.now))
        with pytest.raises(EvidenceError, match=f"{NOW + 2} was .* and is|two histories") as caught:
            await client.verify()
        assert caught.value.step == 15
        assert sizes(client) == {KEYS: NOW + 2, STATE: 1}


async def test_a_refused_bundle_teaches_only_what_witnesses_vouch_for(logged: Logged, clock: Clock) -> None:
    """Or any relay could lock a device out, with a revocation of its own making."""
    made = logged.born()
    ledger = revoke(logged, clock.now)
    lone = ledger.view(clock.now)
    proofs = replace(lone.state, checkpoint=ledger.checkpoint(ledger.state, ledger.state_key, clock.now, by=(0,)))
    logged.offer(
        *(
            serialize_bundle(
                replace(bundle, proofs=ledger.changed(clock.now, lambda view: replace(view, state=proofs)))
            )
            for bundle in made.values()
        )
    )
    async with asking(logged, clock=clock) as client:
        with pytest.raises(PolicyError) as caught:
            await client.verify()
        assert caught.value.step == 8, "the snapshot says that the software is revoked, and nothing vouches for it"
        assert sizes(client) == {}
        logged.offered = None
        assert await client.summarize(MESSAGES) == ANSWER


async def test_trust_ends_when_the_checkpoints_are_too_old(logged: Logged, clock: Clock) -> None:
    """A pool is not used for longer than its proofs are fresh, though its slot goes on."""
    made = logged.born()
    logged.offer(*stapled(made, logged.ledger, clock.now))
    pinned = logged.ledger.table(max_checkpoint_age_seconds=600)
    async with asking(logged, clock=clock, ledger=pinned) as client:
        await client.summarize(MESSAGES)
        clock.now += 599
        await client.summarize(MESSAGES)
        clock.now += 1
        with pytest.raises(PolicyError, match="older than 600 seconds") as caught:
            await client.summarize(MESSAGES)
        assert caught.value.step == 14
        logged.offered = None
        assert await client.summarize(MESSAGES) == ANSWER


async def test_keys_are_fetched_anew_before_their_checkpoints_are_too_old(
    logged: Logged, clock: Clock, in_order: InOrder
) -> None:
    """So no request waits for it, nor is one refused where the relay is away just then."""
    in_order.moment = lambda _earliest, _latest: clock.now + SOON
    pinned = logged.ledger.table(max_checkpoint_age_seconds=600)
    async with asking(logged, clock=clock, ledger=pinned) as client:
        await client.summarize(MESSAGES)
        await client.summarize(MESSAGES)
        (bounds,) = in_order.bounds
        ends = clock.now + 600 - 1  # a checkpoint is of the second before, and of whole seconds
        assert bounds == pytest.approx(tuple(ends - part * 600 for part in AHEAD), abs=2)
        clock.now += 400
        await settle(logged, 2)
        logged.offered = Response(503, "", b"")
        clock.now += 500
        assert await client.summarize(MESSAGES) == ANSWER
        clock.now += 101
        with pytest.raises(BusyError):
            await client.summarize(MESSAGES)


async def test_a_tree_that_came_with_other_keys_counts_too(logged: Logged, clock: Clock, in_order: InOrder) -> None:
    """A good bundle of the next slot shows a newer snapshot: what the present one showed is older from then on."""
    made = logged.born()
    before = stapled(made, logged.ledger, clock.now)
    ledger = logged.ledger.split()
    ledger.publish(ledger.release(MEASUREMENT, now=T0), now=clock.now)
    after = stapled(made, ledger, clock.now)
    logged.offer(before[0], after[1])
    async with asking(logged, clock=clock) as client:
        with pytest.raises(PolicyError, match="a newer snapshot is withheld"):
            await client.verify()
        assert sizes(client)[STATE] == 2
        logged.offer(*after)
        assert await client.summarize(MESSAGES) == ANSWER


async def test_two_histories_in_one_answer_are_refused(logged: Logged, clock: Clock) -> None:
    """Neither was known before, so each bundle verifies by itself."""
    made = logged.born()
    forked = logged.ledger.split()
    forked.keys.entries[0] = b"another past"
    forked.keys._nodes.clear()
    logged.offer(stapled(made, logged.ledger, clock.now)[0], stapled(made, forked, clock.now)[1])
    async with asking(logged, clock=clock) as client:
        with pytest.raises(EvidenceError, match="two histories") as caught:
            await client.summarize(MESSAGES)
        assert caught.value.step == 15
    assert logged.posts == []


async def test_many_at_once_verify_once(logged: Logged, clock: Clock) -> None:
    async with asking(logged, clock=clock) as client:
        answers = await asyncio.gather(*(client.summarize(MESSAGES) for _ in range(5)))
    assert answers == [ANSWER] * 5
    assert logged.gets == 1
