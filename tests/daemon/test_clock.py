"""One timer for all limits of time."""

import asyncio

import pytest

from seclude.daemon.clock import Clock


class Timed:
    """Wants to be looked at, and may fail."""

    def __init__(self, *, fails: bool) -> None:
        self.deadline = 0.0
        self.looks = 0
        self._fails = fails

    def expire(self, now: float) -> None:
        self.looks += 1
        if self._fails:
            raise ZeroDivisionError


async def test_one_that_fails_does_not_end_the_time_of_all_others(caplog: pytest.LogCaptureFixture) -> None:
    failures = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))
    clock, bad, good = Clock(0.08), Timed(fails=True), Timed(fails=False)
    clock.add(bad)
    clock.add(good)
    await asyncio.sleep(0.1)
    clock.discard(bad)
    seen = good.looks
    await asyncio.sleep(0.1)
    assert good.looks > seen
    assert failures
    clock.discard(good)
    await asyncio.sleep(0.05)
