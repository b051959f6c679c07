"""A worker that is killed costs nobody an answer."""

import asyncio
import os
import signal
import time

import pytest

from tests.running import Running
from tests.stack.conftest import Load, eventually, is_ready, wait_until_whole

WORKERS = ("worker-0", "worker-1")


def kill_and_wait(running: Running, party: str) -> float:
    """Kill a worker; return how long it took until the supervisor's new one was ready."""
    before = running.pid(party)
    began = time.monotonic()
    os.kill(before, signal.SIGKILL)
    eventually(lambda: running.pid(party) != before, 30, f"{party} started again")
    eventually(lambda: is_ready(running, party), 30, f"{party} ready again")
    return time.monotonic() - began


async def kill_in_turn(running: Running, kills: int) -> tuple[Load, list[float]]:
    """Kill the workers in turn under load, each as soon as the other says that it is ready."""
    wait_until_whole(running)
    load = Load(running)
    seconds = []
    async with load.running_on():
        await asyncio.sleep(0.5)
        for number in range(kills):
            worker = WORKERS[number % 2]
            seconds.append(await asyncio.to_thread(kill_and_wait, running, worker))
        await asyncio.sleep(0.5)
    return load, seconds


async def test_no_request_fails_while_workers_are_killed_in_turn(rough: Running) -> None:
    load, seconds = await kill_in_turn(rough, 2)
    assert load.failed == []
    assert load.answered > 2 * sum(seconds), "the load must have gone on while a worker was away"


@pytest.mark.drill
@pytest.mark.timeout(600)
async def test_no_request_fails_through_ten_kills(rough: Running) -> None:
    load, seconds = await kill_in_turn(rough, 10)
    asked = load.answered + len(load.failed)
    print(
        f"drill kills: 10 kills, {asked} requests, {len(load.failed)} failed, "
        f"pool back after {max(seconds):.1f} s (max), slowest answer {load.slowest:.2f} s"
    )
    assert load.failed == []
    assert load.answered > 2 * sum(seconds)
