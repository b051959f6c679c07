"""The pool's keys by the device's own clock: which epoch counts, and what is fetched when."""

import asyncio
import gc
import time
from dataclasses import replace

import pytest

from seclude.attestation.bundle import parse_bundle, serialize_bundle
from seclude.client.keys import AHEAD
from seclude.daemon.messages import Response
from seclude.errors import EvidenceError, PolicyError, UpstreamError
from tests.client.serving import ANSWER, MESSAGES, NOW, PERIOD, T0, Clock, InOrder, Relay, asking

SLOT = T0 + NOW * PERIOD  # where the present one starts
SOON = 0.05  # seconds until a test fetches ahead
WAIT = 5.0  # seconds; what no request may take in a test where a fetch takes longer


def soon(in_order: InOrder) -> None:
    """Let the fetch ahead happen in a moment, whatever the bounds are."""
    in_order.moment = lambda earliest, _latest: earliest + SOON


async def settle(relay: Relay, gets: int) -> None:
    """Wait until so many fetches were answered, and a moment longer for one too many."""
    async with asyncio.timeout(WAIT):
        while relay.gets < gets:  # noqa: ASYNC110 - what a relay counts wakes nobody
            await asyncio.sleep(0.01)
    await asyncio.sleep(3 * SOON)
    assert relay.gets == gets


def spoil(bundle: bytes) -> bytes:
    """Return the bundle with the same core and evidence that does not decode."""
    return serialize_bundle(replace(parse_bundle(bundle), evidence=b"none"))


async def test_of_a_list_the_epoch_of_the_own_clock_counts(relay: Relay) -> None:
    clock = Clock(SLOT + 1)
    relay.clock = pools = Clock(SLOT - PERIOD + 1)
    relay.renew()
    before, present = relay.bundles().values()
    pools.now = SLOT + 1
    *_, after = relay.bundles().values()
    relay.offer(before, present, after)
    async with asking(relay, clock=clock) as client:
        assert (await client.verify()).epoch == NOW
        clock.now += PERIOD
        assert (await client.verify()).epoch == NOW + 1


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        (2 * PERIOD, rf"epoch {NOW} is past its end, which was .* UTC; epoch {NOW + 1} is past its end"),
        (-PERIOD, rf"epoch {NOW} has not begun; it starts .* UTC; epoch {NOW + 1} has not begun"),
        (-10 * PERIOD, "before t0"),
    ],
)
async def test_where_the_own_epoch_is_not_offered_nothing_else_is_used(relay: Relay, shift: int, words: str) -> None:
    async with asking(relay, clock=lambda: time.time() + shift) as client:
        with pytest.raises(PolicyError, match=words) as refusal:
            await client.summarize(MESSAGES)
    assert refusal.value.step == 10
    assert relay.posts == []


async def test_the_next_epochs_keys_are_verified_when_its_slot_begins_without_a_fetch(relay: Relay) -> None:
    clock = relay.clock = Clock(SLOT + PERIOD * 0.95)  # too late to fetch ahead
    async with asking(relay, clock=clock) as client:
        await client.summarize(MESSAGES)
        clock.now = SLOT + PERIOD
        assert await client.summarize(MESSAGES) == ANSWER
    assert relay.gets == 1
    assert relay.posts[0][0] != relay.posts[1][0], "another key"


async def test_where_they_do_not_verify_they_are_fetched(relay: Relay) -> None:
    clock = relay.clock = Clock(SLOT + PERIOD * 0.95)
    relay.renew()
    present, after = relay.bundles().values()
    relay.offer(present, spoil(after))
    async with asking(relay, clock=clock) as client:
        await client.summarize(MESSAGES)
        clock.now = SLOT + PERIOD
        with pytest.raises(EvidenceError) as refusal:
            await client.summarize(MESSAGES)
        assert refusal.value.step == 2
        relay.offered = None
        assert await client.summarize(MESSAGES) == ANSWER
    assert relay.gets == 3


async def test_a_client_in_use_fetches_once_before_the_slot_ends(relay: Relay, in_order: InOrder) -> None:
    soon(in_order)
    clock = relay.clock = Clock(SLOT + PERIOD * 0.6)
    async with asking(relay, clock=clock) as client:
        await asyncio.gather(*(client.summarize(MESSAGES) for _ in range(3)))
        await settle(relay, 2)
        await client.summarize(MESSAGES)
        await settle(relay, 2)


@pytest.mark.parametrize(("asked", "expected"), [(0.1, (0.5, 0.9)), (0.7, (0.7, 0.9)), (0.95, None)])
async def test_the_moment_is_drawn_from_what_is_left_of_the_last_part(
    relay: Relay, in_order: InOrder, asked: float, expected: tuple[float, float] | None
) -> None:
    assert AHEAD == (0.5, 0.1)
    clock = relay.clock = Clock(SLOT + PERIOD * asked)
    async with asking(relay, clock=clock) as client:
        await client.summarize(MESSAGES)
        await client.summarize(MESSAGES)
    bounds = [tuple((moment - SLOT) / PERIOD for moment in pair) for pair in in_order.bounds]
    assert bounds == ([pytest.approx(expected)] if expected else [])


async def test_no_request_waits_at_a_slots_start(relay: Relay, in_order: InOrder) -> None:
    soon(in_order)
    clock = relay.clock = Clock(SLOT + PERIOD * 0.6)
    relay.renew()
    present, _ = relay.bundles().values()
    relay.offer(present)  # the next epoch is announced later
    async with asking(relay, clock=clock) as client:
        await client.summarize(MESSAGES)
        relay.offered = None
        await settle(relay, 2)
        relay.pause = 10 * WAIT
        clock.now = SLOT + PERIOD
        async with asyncio.timeout(WAIT):
            await asyncio.gather(*(client.summarize(MESSAGES) for _ in range(3)))
        assert relay.gets == 2
        relay.pause = 0.0


async def test_an_idle_client_does_not_fetch(relay: Relay, in_order: InOrder) -> None:
    soon(in_order)
    clock = relay.clock = Clock(SLOT + PERIOD * 0.6)
    async with asking(relay, clock=clock) as client:
        await client.verify()
        await settle(relay, 1)
        await client.summarize(MESSAGES)
        clock.now += PERIOD  # the device slept, and the fetch ahead comes in a slot in which nobody has asked
        await settle(relay, 1)


async def test_a_failed_fetch_ahead_is_silent_and_the_next_request_fetches(relay: Relay, in_order: InOrder) -> None:
    soon(in_order)
    clock = relay.clock = Clock(SLOT + PERIOD * 0.6)
    relay.renew()
    present, _ = relay.bundles().values()
    relay.offer(present)
    async with asking(relay, clock=clock) as client:
        await client.summarize(MESSAGES)
        relay.offered = Response(503)
        await settle(relay, 2)
        assert await client.summarize(MESSAGES) == ANSWER, "this slot's key is as good as before"
        relay.offered = None
        clock.now = SLOT + PERIOD
        assert await client.summarize(MESSAGES) == ANSWER
        assert relay.gets == 3


@pytest.mark.parametrize("fetching", [False, True])
async def test_nothing_runs_on_after_close(relay: Relay, in_order: InOrder, fetching: bool) -> None:
    in_order.moment = lambda earliest, latest: earliest + SOON if fetching else latest
    relay.clock = Clock(SLOT + PERIOD * 0.6)
    async with asking(relay, clock=relay.clock) as client:
        mine = {"Keys._refresh", "Client.verify", "Keys.verify"}

        def running() -> set[str]:
            return {task.get_coro().__qualname__ for task in asyncio.all_tasks()} & mine  # type: ignore[union-attr]

        await client.summarize(MESSAGES)
        assert running() == {"Keys._refresh"}
        if fetching:
            relay.pause = 2.0
            while relay.gets < 2:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        await client.close()
        assert running() == set()


@pytest.mark.parametrize("steps", [(1, 0, 1, 0), (1, 2, 1), (-1, 0)])
async def test_a_clock_that_jumps_by_a_slot_fails_no_request(relay: Relay, steps: tuple[int, ...]) -> None:
    """The pool's own time stands; the device's runs a slot ahead or behind, and comes back."""
    relay.clock = pools = Clock(SLOT - PERIOD + 1)
    relay.renew()
    pools.now = SLOT + 1
    own = Clock(SLOT + 1)
    async with asking(relay, clock=own) as client:
        assert await client.summarize(MESSAGES) == ANSWER
        for step in steps:
            own.now = SLOT + 1 + step * PERIOD
            if step == 2:  # farther than any key lives
                with pytest.raises(PolicyError):
                    await client.summarize(MESSAGES)
            else:
                assert await client.summarize(MESSAGES) == ANSWER


async def test_the_key_of_the_slot_before_still_opens(relay: Relay) -> None:
    relay.clock = pools = Clock(SLOT + PERIOD - 1)
    async with asking(relay, clock=Clock(pools.now)) as client:
        await client.summarize(MESSAGES)
        pools.now += 2
        assert await client.summarize(MESSAGES) == ANSWER
    assert relay.gets == 1


def stale(relay: Relay) -> Relay:
    """Return a relay of the same pool that still has the keys of the slot before, and no others."""
    other = relay.twin()
    now = relay.clock()
    assert isinstance(relay.clock, Clock)
    relay.clock.now = SLOT - PERIOD + 1
    relay.renew()
    other.offer(relay.bundles()[NOW - 1])
    other.keyring = relay.keyring
    relay.clock.now = now
    return other


async def test_a_relay_without_the_present_keys_is_stepped_over(relay: Relay, in_order: InOrder) -> None:
    relay.clock = Clock(SLOT + 1)
    old = stale(relay)
    async with asking(old, relay, clock=relay.clock) as client:
        assert (await client.verify()).epoch == NOW
    assert (old.gets, relay.gets) == (1, 1)


async def test_where_all_relays_lack_them_it_is_said_once(relay: Relay, in_order: InOrder) -> None:
    relay.clock = Clock(SLOT + 1)
    old, late = stale(relay), relay.twin()
    late.offer(relay.bundles()[NOW + 1])
    words = rf"no keys of epoch {NOW}.*: epoch {NOW - 1} is past its end, .*; epoch {NOW + 1} has not begun; [^;]*$"
    async with asking(old, late, clock=relay.clock) as client:
        with pytest.raises(PolicyError, match=words) as refusal:
            await client.verify()
    assert refusal.value.step == 10
    assert (old.gets, late.gets) == (1, 1)


async def test_the_next_keys_are_looked_for_at_every_relay(relay: Relay, in_order: InOrder) -> None:
    soon(in_order)
    clock = relay.clock = Clock(SLOT + PERIOD * 0.6)
    relay.renew()
    behind = relay.twin()
    behind.offer(relay.bundles()[NOW])
    async with asking(behind, relay, clock=clock) as client:
        await client.summarize(MESSAGES)
        await settle(relay, 1)
        clock.now = SLOT + PERIOD
        assert await client.summarize(MESSAGES) == ANSWER
    assert (behind.gets, relay.gets) == (2, 1)


async def test_a_failure_that_nobody_waits_for_is_not_logged(relay: Relay) -> None:
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    relay.pause, relay.offered = SOON, Response(404)
    async with asking(relay) as client:
        caller = asyncio.create_task(client.summarize(MESSAGES))
        await settle_start(relay)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        fetching = client._keys._fetching
        assert fetching is not None
        await asyncio.wait([fetching])
        client._keys._fetching = None  # the next failure takes its place
        del fetching
        gc.collect()
        assert complaints == []
        with pytest.raises(UpstreamError):
            await client.summarize(MESSAGES)


async def settle_start(relay: Relay) -> None:
    """Wait until a fetch has begun."""
    async with asyncio.timeout(WAIT):
        while not relay.gets:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
