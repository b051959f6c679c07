"""A stack with a tap in front of every party, which records every byte; no daemon knows of it."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.stack import Stack
from deploy.tap import Tap
from seclude.client.trust import Trust

DEVICE = "127.77.0.1"


@dataclass
class Watched:
    """A stack with a tap in front of every party."""

    stack: Stack
    taps: dict[str, Tap] = field(default_factory=dict)

    @property
    def trust(self) -> Trust:
        assert self.stack.trust is not None
        return self.stack.trust

    def behind_relay(self) -> bytes:
        """Everything recorded on the far side of the relay, in both directions."""
        return b"".join(piece.data for name, tap in self.taps.items() if name != "relay" for piece in tap.pieces)

    def everywhere(self) -> bytes:
        return b"".join(piece.data for tap in self.taps.values() for piece in tap.pieces)

    def logs(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.stack.state.glob("*.log")))

    async def metrics(self) -> bytes:
        pages = [
            asyncio.to_thread(_fetch, f"http://{party.admin}{path}")
            for party in self.stack.parties.values()
            for path in ("/metrics", "/readyz", "/version")
        ]
        return b"".join(await asyncio.gather(*pages))


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url) as page:
        return bytes(page.read())


@pytest.fixture
async def watched(model: Path, tmp_path: Path) -> AsyncIterator[Watched]:
    taps: dict[str, Tap] = {}

    async def wrap(name: str, address: str) -> str:
        host, _, port = address.rpartition(":")
        taps[name] = await Tap.open((host, int(port)), source=DEVICE if name == "relay" else None)
        return taps[name].address

    stack = Stack(tmp_path / "state", 2, model, wrap=wrap)
    await stack.start()
    yield Watched(stack, taps)
    await stack.stop()
    for tap in taps.values():
        await tap.close()
