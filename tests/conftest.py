"""Fixtures that several folders share: the model, and one running stack of real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import MODEL, Running, start_stack, stop_stack


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
