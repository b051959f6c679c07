"""The ledger on the whole path: what is published stands in its logs, and what follows where somebody is away."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.stack import Stack
from seclude.attestation.bundle import parse_bundle, parse_bundles
from seclude.attestation.proofs import epoch_leaf, parse_proofs
from seclude.client.sdk import Client
from seclude.errors import Error
from seclude.ohttp.media import KEY_BUNDLES
from seclude.tasks import Message
from seclude.tlog.outline import require_consistent
from tests.stack.conftest import ask

MESSAGES = (Message(sender="Ana", text="We decided to meet at 9 on Saturday."),)


@asynccontextmanager
async def running(state: Path, model: Path, *, workers: int = 1, period: int = 86_400) -> AsyncIterator[Stack]:
    stack = Stack(state, workers, model, period)
    try:
        await stack.start()
        yield stack
    finally:
        await stack.stop()


def published(stack: Stack) -> dict[int, bytes]:
    """Return the bundles that the gateway offers, by epoch."""
    assert stack.trust is not None
    answer = ask(str(stack.trust.gateway), fields={"accept": KEY_BUNDLES})
    return parse_bundles(answer.body) if answer.status == 200 else {}


async def serves(stack: Stack) -> bool:
    """Ask as a device that has seen nothing yet."""
    assert stack.trust is not None
    async with Client(stack.trust) as client:
        try:
            return "meet at 9" in (await client.summarize(MESSAGES)).text
        except Error:
            return False


def reasons(stack: Stack) -> str:
    return ask(f"http://{stack.parties['gateway'].admin}/readyz").body.decode()


async def until(what: Callable[[], bool], within: float) -> None:
    async with asyncio.timeout(within):
        while not await asyncio.to_thread(what):  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.05)


async def until_served(stack: Stack) -> None:
    """Wait until a device is served again; a relay that had no keys to fetch for long asks every 15 seconds."""
    async with asyncio.timeout(20):
        while not await serves(stack):  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.2)


async def test_a_stack_that_is_started_again_goes_on_with_its_logs(model: Path, tmp_path: Path) -> None:
    async with running(tmp_path / "state", model) as stack:
        assert await serves(stack)
        first = parse_proofs(parse_bundle(published(stack)[0]).proofs)
    async with running(tmp_path / "state", model) as stack:
        assert await serves(stack)
        bundles = published(stack)
        for epoch, bundle in bundles.items():
            parts = parse_bundle(bundle)
            second = parse_proofs(parts.proofs)
            assert second.keys.outline.leaf(epoch) == epoch_leaf(parts.core, parts.evidence)
            assert require_consistent(first.keys.outline, second.keys.outline) == first.keys.outline.size
            assert require_consistent(first.state.outline, second.state.outline) == first.state.outline.size
        assert min(bundles) == first.keys.outline.size, "what was logged stays, and its keys are gone"


@pytest.mark.timeout(120)
async def test_a_ledger_that_is_away_costs_nothing_until_announced_keys_are_used_up(
    model: Path, tmp_path: Path
) -> None:
    period = 6
    async with running(tmp_path / "state", model, period=period) as stack:
        await until(lambda: len(published(stack)) > 1, 10)
        last = max(published(stack))
        await stack.parties["ledger"].stop()
        ends = stack.t0 + (last + 1) * period
        while time.time() < ends - 1:
            assert await serves(stack)
            await asyncio.sleep(0.5)
        await until(lambda: "the ledger does not answer" in reasons(stack), period)
        assert max(published(stack), default=last) == last
        await stack.parties["ledger"].start()
        await until(lambda: max(published(stack), default=0) > last, 3 * period + 32)
        await until_served(stack)
        leaves = parse_proofs(parse_bundle(list(published(stack).values())[-1]).proofs).keys.outline.size
        assert leaves > last + 1


@pytest.mark.timeout(120)
async def test_one_witness_may_be_away_and_two_may_not(model: Path, tmp_path: Path) -> None:
    period = 4
    async with running(tmp_path / "state", model, period=period) as stack:
        await stack.parties["witness-1"].stop()
        began = max(published(stack))
        await until(lambda: max(published(stack), default=0) >= began + 2, 4 * period)
        assert await serves(stack)
        await stack.parties["witness-2"].stop()
        last = max(published(stack))
        await until(lambda: "the ledger" in reasons(stack), 5 * period)
        assert max(published(stack), default=0) <= last + 1
        await stack.parties["witness-2"].start()
        await until(lambda: max(published(stack), default=0) > last + 1, 4 * period + 32)
        await until_served(stack)
