"""A relay of a pool of its own, and choices that a test can foretell."""

from pathlib import Path

import pytest

from inference.producers.simulated import create_simulated_platform
from tests.client.serving import T0, InOrder, Relay


@pytest.fixture
def relay(tmp_path: Path) -> Relay:
    return Relay(create_simulated_platform(tmp_path / "platform", T0))


@pytest.fixture
def in_order(monkeypatch: pytest.MonkeyPatch) -> InOrder:
    drawn = InOrder()
    monkeypatch.setattr("seclude.client.relays.RANDOM", drawn)
    monkeypatch.setattr("seclude.client.keys.RANDOM", drawn)
    return drawn
