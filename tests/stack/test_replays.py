"""A request that is sent again is served once: behind one gateway, and by each worker whatever a gateway does."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, DummyCookieJar, TCPConnector

from seclude.client.sdk import Client
from tests.running import ROOT
from tests.stack.conftest import eventually
from tests.stack.copies import COPIES, Copied, Outcome, all_of, encapsulate
from tests.stack.load import send_at
from tests.stack.pool import FrontPool, front_pool

PERIOD = 86_400  # no epoch ends during a run
PROCESSES = 3
AT_ONCE = 8  # requests; a worker has room for 32, and gets three copies of each where it is asked directly
ONE_SERVED = ["inner 200"] + ["plain 409"] * (COPIES - 1)
STATED_BYTES = 114_000_000  # of a full set, by the docstring of inference/replay.py
ALLOWANCE = 1.05  # what the allocator keeps besides differs from run to run

FILL = """
import os
from bench.account import resident_bytes
from inference.replay import MAX_ENTRIES, ReplaySet
from seclude.errors import BusyError
replays, before = ReplaySet(), resident_bytes(os.getpid())
for number in range(MAX_ENTRIES):
    replays.insert(number.to_bytes(32))
grown = resident_bytes(os.getpid()) - before
try:
    replays.insert(MAX_ENTRIES.to_bytes(32))
except BusyError:
    print(len(replays), grown)
"""


@asynccontextmanager
async def copying(pool: FrontPool, count: int) -> AsyncIterator[tuple[ClientSession, list[Copied]]]:
    """Requests to the pool's key, and a connection for each copy, so that the kernel draws a process for each."""
    async with Client(pool.trust) as client:
        config = (await client.verify()).key_configs[0]
    connector = TCPConnector(limit=0, force_close=True)
    async with ClientSession(connector=connector, cookie_jar=DummyCookieJar()) as session:
        yield session, encapsulate(config, count)


async def send_copies(
    pool: FrontPool, session: ClientSession, requests: Sequence[Copied], per_second: float
) -> list[list[Outcome]]:
    """Send requests to the gateway at fixed times, all copies of one at once; return the answers to each, sorted."""
    outcomes: list[list[Outcome]] = [[] for _ in requests]

    async def send(place: int) -> None:
        outcomes[place] = sorted(await requests[place].send_all(session, [pool.gateway_url] * COPIES))

    await send_at(per_second, len(requests) / per_second, send)
    return outcomes


def assert_one_of_each_is_served(pool: FrontPool, outcomes: Sequence[list[Outcome]]) -> None:
    assert {number: several for number, several in enumerate(outcomes) if several != ONE_SERVED} == {}
    shares = pool.counted("seclude_gateway_requests_total")
    assert min(shares) > len(outcomes) / 2, "every process of the gateway must have had its part of the copies"


async def while_a_worker_joins(folder: Path, count: int, per_second: float) -> None:
    async with front_pool(folder, period=PERIOD, workers=3, late=1, processes=PROCESSES) as pool:
        async with copying(pool, count) as (session, requests), asyncio.TaskGroup() as group:
            sending = group.create_task(send_copies(pool, session, requests, per_second))
            await asyncio.sleep(count / per_second / 4)
            await pool.workers["worker-2"].start()
        outcomes = sending.result()
        served = {worker: pool.began(worker) for worker in pool.workers}
        shares = {worker: tasks.total() for worker, tasks in served.items()}
        print(f"drill replays: {count} requests, {COPIES} copies each: {all_of(outcomes)}, tasks by worker: {shares}")
        assert_one_of_each_is_served(pool, outcomes)
        assert sum(served.values(), Counter()) == names(requests)
        assert min(shares.values()) > 0, "every worker must have had its part"


async def while_a_worker_dies(folder: Path, count: int, per_second: float) -> None:
    async with front_pool(folder, period=PERIOD, workers=3, processes=PROCESSES, task_seconds=0.1) as pool:
        async with copying(pool, count) as (session, requests), asyncio.TaskGroup() as group:
            sending = group.create_task(send_copies(pool, session, requests, per_second))
            await asyncio.sleep(count / per_second / 2)
            await kill_at_work(pool, "worker-0")
        outcomes, retries = sending.result(), int(sum(pool.counted("seclude_gateway_retries_total")))
        began = sum((pool.began(worker) for worker in pool.workers), Counter[bytes]())
        print(
            f"drill replays: a worker killed, {count} requests, {COPIES} copies each: {all_of(outcomes)}, "
            f"{retries} passed to a further worker, {began.total()} tasks begun"
        )
        assert_one_of_each_is_served(pool, outcomes)
        assert began.keys() == names(requests).keys()
        assert count < began.total() <= count + retries, "what the dead worker had begun is begun again, and no more is"


async def kill_at_work(pool: FrontPool, worker: str) -> None:
    """Kill a worker that has just begun a task."""
    before = pool.began(worker)
    await asyncio.to_thread(eventually, lambda: pool.began(worker) != before, 5, "a task begun")
    await pool.kill(worker)


async def straight_to_the_workers(folder: Path, count: int) -> None:
    async with front_pool(folder, period=PERIOD) as pool, copying(pool, count) as (session, requests):
        urls = {worker: pool.request_url(worker) for worker in pool.workers}
        room = asyncio.Semaphore(AT_ONCE)

        async def send(request: Copied) -> dict[str, list[Outcome]]:
            async with room:
                answers = await request.send_all(session, [url for url in urls.values() for _ in range(COPIES)])
            return {worker: sorted(answers[at * COPIES : (at + 1) * COPIES]) for at, worker in enumerate(urls)}

        outcomes = await asyncio.gather(*map(send, requests))
        for worker in urls:
            answers = [each[worker] for each in outcomes]
            print(f"drill replays: straight to {worker}, {count} requests, {COPIES} copies each: {all_of(answers)}")
            assert answers == [["inner 200", "inner 409", "inner 409"]] * count
            assert pool.began(worker) == names(requests)


def names(requests: Sequence[Copied]) -> Counter[bytes]:
    """Return what a tally says of requests that were begun once each."""
    return Counter(str(request.number).encode() for request in requests)


async def test_of_three_copies_one_is_served_also_while_a_worker_joins(tmp_path: Path) -> None:
    await while_a_worker_joins(tmp_path, 60, 15)


@pytest.mark.drill
@pytest.mark.timeout(180)
async def test_of_a_thousand_requests_with_copies_a_thousand_are_served(tmp_path: Path) -> None:
    await while_a_worker_joins(tmp_path, 1000, 50)


async def test_a_retry_of_the_gateways_own_is_no_duplicate(tmp_path: Path) -> None:
    await while_a_worker_dies(tmp_path, 80, 30)


@pytest.mark.drill
@pytest.mark.timeout(180)
async def test_a_retry_of_the_gateways_own_is_no_duplicate_among_a_thousand(tmp_path: Path) -> None:
    await while_a_worker_dies(tmp_path, 1000, 30)


async def test_each_worker_serves_a_request_once_whoever_sends_it(tmp_path: Path) -> None:
    await straight_to_the_workers(tmp_path, 60)


@pytest.mark.drill
@pytest.mark.timeout(180)
async def test_each_worker_serves_each_of_a_thousand_requests_once(tmp_path: Path) -> None:
    await straight_to_the_workers(tmp_path, 1000)


@pytest.mark.drill
@pytest.mark.timeout(120)
def test_a_full_replay_set_costs_what_is_stated_and_refuses_the_next_request() -> None:
    """In an interpreter of its own, whose memory nothing else has used."""
    done = subprocess.run([sys.executable, "-c", FILL], capture_output=True, text=True, cwd=ROOT, check=True)
    entries, grown = map(int, done.stdout.split())  # nothing is printed where the next one was not refused
    print(f"drill replays: {entries} entries take {grown} octets, {grown / entries:.1f} each")
    assert entries == 1_000_000
    assert grown <= STATED_BYTES * ALLOWANCE
