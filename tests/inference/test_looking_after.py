"""What a worker does about time while nobody asks it for anything."""

import asyncio
import io
from pathlib import Path
from typing import cast

import pytest

from bench.simulated import SimulatedHere, simulated_policy
from inference import worker
from inference.attester import Attester
from inference.clock import WorkerClock
from inference.join import Joiner
from inference.keyring import Keyring
from inference.lifetime import Lifetime
from inference.producers.simulated import create_simulated_platform
from seclude.attestation.policy import Policy
from seclude.attestation.slots import Slots
from seclude.daemon.lifecycle import Stop
from seclude.daemon.log import Log

NOW = 1_750_000_000.0
MEASUREMENT = b"m" * 32


class Helper(SimulatedHere):
    """A helper that never ends."""

    has_ended = False


@pytest.mark.parametrize("vouched", [True, False], ids=["witnesses", "host"])
async def test_who_is_ahead_of_the_host_goes_only_if_it_was_the_host_that_sent_it_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vouched: bool
) -> None:
    monkeypatch.setattr(worker, "CHECK_SECONDS", 0.001)
    wall = NOW
    clock = WorkerClock(lambda: wall, lambda: 0.0)
    if vouched:
        clock.raise_floor(NOW + 3600)
    else:
        wall = NOW + 3600
        clock.look()
        wall = NOW
    assert clock() == NOW + 3600
    platform = create_simulated_platform(tmp_path / "platform", NOW)
    helper = Helper(platform, MEASUREMENT, clock)
    policy = Policy(origin="a.example", slots=Slots(0, 600), document=simulated_policy(platform))
    keyring, stop, written = Keyring(policy, helper, MEASUREMENT), Stop(), io.StringIO()
    log = Log("worker", events=worker.EVENTS, words=worker.WORDS, stream=written)
    lifetime = Lifetime(10, 1e9, lambda: 0.0)
    looking = worker._look_after(keyring, Joiner(keyring, helper), clock, lifetime, cast(Attester, helper), stop, log)
    task = asyncio.create_task(looking)
    if vouched:
        await asyncio.sleep(0.05)  # some fifty looks
    else:
        async with asyncio.timeout(5):
            await stop.wait()
    task.cancel()
    assert stop.requested is not vouched
    assert written.getvalue().count('"clock_moved"') == 1
    assert ('"retiring"' in written.getvalue()) is not vouched
