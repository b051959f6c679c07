"""Epochs that end under load, and keys that come back: no request fails where an epoch ends."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from deploy.stack import Stack
from seclude.attestation.slots import Slots
from seclude.client.sdk import Client
from seclude.client.trust import Trust
from seclude.errors import Error
from tests.stack.load import Load, ask_streamed, ask_whole, send_at, summarize
from tests.stack.pool import FrontPool, front_pool

CLIENTS = 4  # so that their refreshes fall on different moments


@asynccontextmanager
async def devices(trust: Trust) -> AsyncIterator[list[Client]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Client(trust)) for _ in range(CLIENTS)]


@asynccontextmanager
async def summarizing(state: Path, model: Path, period: int) -> AsyncIterator[Stack]:
    """The whole path with the real model."""
    stack = Stack(state, 2, model, period)
    try:
        await stack.start()
        yield stack
    finally:
        await stack.stop()


async def ask_pool(pool: FrontPool, per_second: float, seconds: float) -> list[Load]:
    """Load workers without a model, half whole and half streamed."""
    loads = [Load("whole", pool.slots), Load("streamed", pool.slots)]
    async with devices(pool.trust) as clients:

        async def send(number: int) -> None:
            client = clients[number // 2 % CLIENTS]
            await loads[number % 2].take(ask_streamed(client) if number % 2 else ask_whole(client, number))

        await send_at(per_second, seconds, send)
    return loads


async def ask_stack(stack: Stack, per_second: float, seconds: float) -> list[Load]:
    """Load workers with the model, half whole and half streamed."""
    slots = Slots(stack.t0, stack.period_seconds)
    loads = [Load("summaries", slots), Load("summaries streamed", slots)]
    assert stack.trust is not None
    async with devices(stack.trust) as clients:

        async def send(number: int) -> None:
            streamed = bool(number % 2)
            asking = summarize(clients[number // 2 % CLIENTS], number, streamed=streamed)
            await loads[streamed].take(asking)

        await send_at(per_second, seconds, send)
    return loads


def assert_nothing_failed(loads: Sequence[Load], *, sent: int, epochs: int) -> None:
    for load in loads:
        print(f"drill epochs: {load}")
    failures = [failure for load in loads for failure in load.failed]
    assert not failures, "\n".join(failures)
    assert sum(load.lost for load in loads) == 0
    assert sum(len(load.seconds) for load in loads) == sent
    assert all(len(load.epochs) >= epochs for load in loads), "the load must have seen epochs end"


@pytest.mark.drill
@pytest.mark.timeout(240)
async def test_no_request_fails_in_a_minute_of_epochs_of_five_seconds(model: Path, tmp_path: Path) -> None:
    pooled, stacked = front_pool(tmp_path, period=5), summarizing(tmp_path / "stack", model, 5)
    async with pooled as pool, stacked as stack:
        loads = await asyncio.gather(ask_pool(pool, 50, 60), ask_stack(stack, 5, 60))
    assert_nothing_failed([*loads[0], *loads[1]], sent=60 * 55, epochs=12)


async def test_no_request_fails_where_epochs_end(tmp_path: Path) -> None:
    async with front_pool(tmp_path, period=3) as pool:
        loads = await ask_pool(pool, 20, 9)
    assert_nothing_failed(loads, sent=180, epochs=3)


async def test_no_summary_fails_where_epochs_end(model: Path, tmp_path: Path) -> None:
    async with summarizing(tmp_path / "stack", model, 3) as stack:
        loads = await ask_stack(stack, 4, 7)
    assert_nothing_failed(loads, sent=28, epochs=3)


async def until_slot_is_young(pool: FrontPool, least: float, most: float) -> None:
    """Wait for a moment between two ages of a slot, so that what follows falls into one slot."""
    age = pool.into_slot
    if not least <= age <= most:
        await asyncio.sleep((least - age) % pool.slots.period_seconds)


async def first_answer(pool: FrontPool, within: float) -> tuple[int, float]:
    """Ask five times a second, whatever is under way; return the epoch of the first answer, and the age of its slot."""
    answered: asyncio.Future[tuple[int, float]] = asyncio.get_running_loop().create_future()
    async with devices(pool.trust) as clients:

        async def send(number: int) -> None:
            try:
                await ask_whole(clients[number % CLIENTS], number)
            except Error:
                return  # there is no pool
            if not answered.done():
                answered.set_result((pool.epoch, pool.into_slot))

        sending = asyncio.create_task(send_at(5, within, send))
        try:
            async with asyncio.timeout(within):
                return await answered
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


@pytest.mark.parametrize(("flags", "after"), [(("--announce-ahead", "0"), 1), ((), 2)], ids=["ahead 0", "default"])
async def test_a_pool_that_lost_all_workers_serves_again(tmp_path: Path, flags: tuple[str, ...], after: int) -> None:
    period = 4
    async with front_pool(tmp_path, period=period, gateway_flags=flags) as pool:
        await until_slot_is_young(pool, 0.7, 1.5)  # by then keys are published that are to be announced
        lost = pool.epoch
        for worker in pool.workers:
            await pool.kill(worker)
        for party in pool.workers.values():
            await party.start()
        assert pool.epoch == lost, "the workers must be back in the slot in which they were lost"
        epoch, into_slot = await first_answer(pool, 3 * period)
    print(f"lost in epoch {lost}, first answer {into_slot:.2f} s into epoch {epoch}")
    assert epoch == lost + after


async def test_a_joiner_holds_all_live_epochs_before_it_is_given_requests(tmp_path: Path) -> None:
    period, seconds = 3, 6
    async with front_pool(tmp_path, period=period, workers=3, late=1) as pool, devices(pool.trust) as clients:
        await asyncio.sleep(period - pool.into_slot)  # so that there is an epoch that still opens
        await until_slot_is_young(pool, 0.5, 1.0)
        load = Load("whole", pool.slots)
        sending = asyncio.create_task(
            send_at(40, seconds, lambda number: load.take(ask_whole(clients[number % CLIENTS], number)))
        )
        try:
            await pool.workers["worker-2"].start()
            joiner, members = await first_keys(pool, "worker-2", "worker-0")
            await sending
            assert pool.began("worker-2"), "it never was given a request"
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    assert joiner in members
    assert len(joiner) == 3, "the epoch that still opens, that of now, and the one that is announced"
    assert_nothing_failed([load], sent=40 * seconds, epochs=2)


async def first_keys(pool: FrontPool, joiner: str, member: str) -> tuple[dict[int, str], list[dict[int, str]]]:
    """Return the cores that a joiner first says it holds, and what a member held just before that and just after."""
    deadline = time.monotonic() + 5
    held: dict[int, str] = {}
    while not held:
        assert time.monotonic() < deadline, "it got no keys"
        assert not pool.began(joiner), "it was given requests before it held the keys"
        before = await held_by(pool, member)
        held = await held_by(pool, joiner)
    return held, [before, await held_by(pool, member)]


async def held_by(pool: FrontPool, worker: str) -> dict[int, str]:
    """Return the core that a worker says it holds for each epoch."""
    status = await asyncio.to_thread(pool.status, worker)
    return {each.epoch: each.core for each in status.epochs}
