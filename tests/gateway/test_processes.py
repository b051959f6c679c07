"""A gateway of several processes: to the workers it is one."""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

from tests.gateway.conftest import FakeWorker, Launch, Running, encapsulated, eventually
from tests.gateway.test_process import PERIOD, epoch, started

PROCESSES = 3
REQUESTS = 1000
AT_ONCE = 60  # connections; each copy is on its way together with the two others


async def several(launch: Launch, fakes: list[FakeWorker]) -> Running:
    running = await launch(fakes, "--period", str(PERIOD), "--processes", str(PROCESSES))
    await running.until(200)
    return running


def children(running: Running) -> list[int]:
    pid = running.process.pid
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def answers(running: Running, bodies: list[bytes]) -> list[int]:
    """Send all, many at once; return the statuses."""
    room = asyncio.Semaphore(AT_ONCE)

    async def ask(body: bytes) -> int:
        async with room:
            return (await running.ask(body))[0]

    return await asyncio.gather(*map(ask, bodies))


async def test_of_three_copies_at_once_one_is_passed_on_whichever_processes_get_them(launch: Launch) -> None:
    fakes = [FakeWorker(0), FakeWorker(1)]
    running = await several(launch, fakes)
    bodies = [encapsulated(epoch()) for _ in range(REQUESTS)]
    statuses = await answers(running, [body for body in bodies for _ in range(3)])
    assert Counter(statuses) == {200: REQUESTS, 409: 2 * REQUESTS}
    passed = Counter(request.body for fake in fakes for request in fake.paths("/ohttp"))
    assert passed == Counter(bodies)
    counts = [
        sum(line.startswith(b"seclude_gateway_requests_total") and float(line.split()[1]) for line in text.splitlines())
        for _, _, text in [await running.fetch("/metrics", address=admin) for admin in running.admins]
    ]
    assert min(counts) > REQUESTS / 2, "every process had its part"


async def test_a_process_that_is_started_again_knows_the_duplicates(launch: Launch) -> None:
    fakes = [FakeWorker(0), FakeWorker(1)]
    running = await several(launch, fakes)
    bodies = [encapsulated(epoch()) for _ in range(60)]
    assert Counter(await answers(running, bodies)) == {200: len(bodies)}
    before = children(running)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    await eventually(lambda: len(children(running)) == PROCESSES and not set(children(running)) & set(before), 5.0)
    assert Counter(await answers(running, bodies)) == {409: len(bodies)}


async def test_one_process_needs_no_memory_of_a_parent(launch: Launch) -> None:
    running = await started(launch, [FakeWorker(0), FakeWorker(1)])
    body = encapsulated(epoch())
    assert await answers(running, [body] * 3) in ([200, 409, 409], [409, 200, 409], [409, 409, 200])
