"""Workers are started anew after so many requests, one after the other, and nobody notices."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Running, start_stack, stop_stack
from tests.stack.conftest import Load, events, eventually, wait_until_whole

REQUESTS = 60  # each worker is due after 45 to 60 of them, and ends by itself after 60 more
PER_SECOND = 8  # so that the other one has seven seconds to come back meanwhile


@pytest.fixture
def renewing(model: Path, tmp_path: Path) -> Iterator[Running]:
    running = start_stack(tmp_path / "state", "--workers", "2", "--renew-requests", str(REQUESTS))
    yield running
    stop_stack(running)


@pytest.mark.timeout(180)
async def test_no_request_fails_while_every_worker_is_renewed(renewing: Running) -> None:
    wait_until_whole(renewing)
    before = {worker: renewing.pid(worker) for worker in ("worker-0", "worker-1")}
    load = Load(renewing)
    async with load.running_on(per_second=PER_SECOND):
        await asyncio.to_thread(
            eventually, lambda: all(renewed(renewing, worker) for worker in before), 90, "every worker is renewed"
        )
    wait_until_whole(renewing, 60)  # now, since under this load one of the two is nearly always away
    assert load.failed == []
    assert load.answered >= REQUESTS
    assert {worker: renewing.pid(worker) for worker in before} != before
    for worker in before:
        told = events(renewing, worker)
        assert told.count("retiring") >= 1
        assert "crashed" not in told


def renewed(running: Running, worker: str) -> bool:
    """Whether a worker was told to retire, ended in good order, and is ready again."""
    told = events(running, worker)
    return "retiring" in told and "ready" in told[told.index("retiring") :]
