"""Fixtures that several folders share: the model, and one running stack of real processes."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop
from hypothesis import settings

from tests.running import MODEL, Running, start_stack, stop_stack

# The same examples in every run of the suite, so that a change is judged by itself; `make drills` draws others.
settings.register_profile("steady", derandomize=True, database=None)
settings.register_profile("drill", database=None)


def pytest_configure(config: pytest.Config) -> None:
    """Choose how examples are drawn."""
    settings.load_profile("drill" if "not drill" not in str(config.option.markexpr) else "steady")


LoopFactory = Callable[[], asyncio.AbstractEventLoop]
LOOPED = {"daemon", "relay", "gateway"}


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, LoopFactory]:
    """Run what moves bytes on both loops: they deliver data, pauses and ends of connections in different orders."""
    loops: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    if item.path.parent.name in LOOPED:
        loops["uvloop"] = uvloop.new_event_loop
    return loops


@pytest.fixture(scope="session")
def model() -> Path:
    """The folder of the sentence encoder."""
    if not (MODEL / "model.onnx").exists():
        pytest.skip(f"no model in {MODEL.name}: run `seclude-model install`")
    return MODEL


@pytest.fixture(scope="session")
def stack(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One stack of a relay, a gateway and two workers for all tests that do no harm to it."""
    running = start_stack(tmp_path_factory.mktemp("stack"))
    yield running
    stop_stack(running)
