"""Tasks on threads: counted until they end, given up with their device."""

import asyncio
import threading
import time

import pytest

from inference.runner import GivenUpError, Runner, stop_if_given_up
from seclude.errors import BusyError


async def settled(runner: Runner, busy: int) -> None:
    async with asyncio.timeout(5):
        while runner.busy != busy:  # noqa: ASYNC110 - what changes is on another thread
            await asyncio.sleep(0.01)


async def test_a_task_returns_its_value_and_its_error() -> None:
    runner = Runner(1, 1)
    assert await runner.run(lambda number: number + 1, 1) == 2
    with pytest.raises(ZeroDivisionError):
        await runner.run(lambda: 1 / 0)
    await settled(runner, 0)
    runner.close()


async def test_one_more_than_the_limit_is_refused() -> None:
    runner, gate = Runner(1, 1), threading.Event()
    tasks = [asyncio.create_task(runner.run(gate.wait, 5)) for _ in range(2)]
    await settled(runner, 2)
    with pytest.raises(BusyError):
        runner.require_room()
    with pytest.raises(BusyError):
        await runner.run(gate.wait, 5)
    gate.set()
    assert await asyncio.gather(*tasks) == [True, True]
    await settled(runner, 0)
    runner.require_room()
    runner.close()


async def test_who_holds_a_place_is_let_in_and_counts_once() -> None:
    runner, gate = Runner(1, 1), threading.Event()

    async def request() -> None:
        with runner.place():
            await asyncio.gather(runner.run(gate.wait, 5), runner.run(gate.wait, 5))

    tasks = [asyncio.create_task(request()) for _ in range(2)]
    await settled(runner, 2)
    with pytest.raises(BusyError), runner.place():
        pass
    with pytest.raises(BusyError):
        await runner.run(gate.wait, 5)
    gate.set()
    await asyncio.gather(*tasks)
    await settled(runner, 0)
    runner.close()


async def test_a_place_that_is_left_counts_until_its_task_has_ended() -> None:
    runner, gate = Runner(1, 0), threading.Event()

    async def request() -> None:
        with runner.place():
            await runner.run(gate.wait, 5)

    task = asyncio.create_task(request())
    await settled(runner, 1)
    await asyncio.sleep(0.05)  # so that it runs
    task.cancel()
    await asyncio.wait([task])
    assert runner.busy == 1
    gate.set()
    await settled(runner, 0)
    runner.close()


async def test_a_running_task_counts_until_it_has_ended_though_nobody_waits() -> None:
    runner, gate = Runner(1, 0), threading.Event()
    task = asyncio.create_task(runner.run(gate.wait, 5))
    await settled(runner, 1)
    await asyncio.sleep(0.05)  # so that it runs, and is not only in line
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert runner.busy == 1
    with pytest.raises(BusyError):
        runner.require_room()
    gate.set()
    await settled(runner, 0)
    runner.close()


async def test_a_task_in_line_that_is_cancelled_never_runs() -> None:
    runner, gate, ran = Runner(1, 1), threading.Event(), threading.Event()
    first = asyncio.create_task(runner.run(gate.wait, 5))
    await settled(runner, 1)
    second = asyncio.create_task(runner.run(ran.set))
    await settled(runner, 2)
    second.cancel()
    await settled(runner, 1)
    gate.set()
    await first
    await settled(runner, 0)
    assert not ran.is_set()
    runner.close()


def work(ended: list[type[BaseException]]) -> None:
    """Work in small pieces, as the encoder does."""
    try:
        for _ in range(500):
            stop_if_given_up()
            time.sleep(0.01)
    except BaseException as exc:
        ended.append(type(exc))
        raise


async def test_a_task_that_looks_ends_soon_after_it_was_given_up() -> None:
    runner, ended = Runner(1, 0), list[type[BaseException]]()
    task = asyncio.create_task(runner.run(work, ended))
    await settled(runner, 1)
    await asyncio.sleep(0.05)
    task.cancel()
    await settled(runner, 0)
    assert ended == [GivenUpError]
    runner.close()


async def test_closing_gives_everything_up_and_waits_for_nothing() -> None:
    runner, ended = Runner(1, 5), list[type[BaseException]]()
    tasks = [asyncio.create_task(runner.run(work, ended)) for _ in range(3)]
    await settled(runner, 3)
    await asyncio.sleep(0.05)
    started = time.monotonic()
    runner.close()
    assert time.monotonic() - started < 1
    await asyncio.gather(*tasks, return_exceptions=True)
    assert ended == [GivenUpError]


def test_work_outside_a_runner_is_never_given_up() -> None:
    stop_if_given_up()
