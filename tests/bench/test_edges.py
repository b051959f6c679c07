"""The long commands where something is missing: no rate of nothing, no wait without an end, no name of a place."""

from unittest.mock import AsyncMock, Mock

import pytest

from bench import idle, ladder
from bench.connection import Connection
from bench.engine import Samples
from bench.job import WorkloadSpec
from bench.targets import ELSEWHERE, Target, elsewhere
from bench.workload import build
from seclude.errors import ConfigError

URL = "http://127.0.0.1:1/secret"


async def test_half_of_no_ceiling_is_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "run_load", AsyncMock(return_value=Samples(seconds=2.0)))
    with pytest.raises(ConfigError, match="answered nothing"):
        await ladder._half_the_ceiling(Target("path", URL, WorkloadSpec("opaque"), {}), 1, lambda _: None)


async def test_an_idle_connection_that_is_not_answered_is_no_good_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "ANSWER_SECONDS", 0.01)
    crowd = idle.Crowd(build(WorkloadSpec("opaque"), URL, 0, 1))
    connection = Connection(crowd)
    connection.connection_made(Mock())
    assert not await crowd.use(connection)


async def test_a_target_elsewhere_is_not_named() -> None:
    target = await elsewhere(URL, None)
    assert (target.name, target.url) == (ELSEWHERE, URL)
