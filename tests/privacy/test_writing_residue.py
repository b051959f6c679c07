"""What is left of people's words once models have written about them: nothing, neither words nor what was made of them.

Chats, abstracts and other wordings go through a stack of real processes, whose models are small ones of random weights,
or the language model that `SECLUDE_LANGUAGE_MODEL` names. What is looked for besides words: the numbers that tokenizers
made of them, side by side or as objects; keys and values, computed here by the same models; and what the models wrote.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Final

import pytest
from aiohttp import ClientSession

from deploy.party import Party, module
from deploy.stack import Stack
from inference.engine.template import Turn
from inference.isolate import ENVIRONMENT
from seclude.attestation.verify import TrustedPool
from seclude.client.sdk import Client
from tests.exports import tiny_if_any
from tests.languagemodel import language_model, small_model
from tests.privacy.canaries import Canary, ask_all, draw
from tests.privacy.residue import Needles, forget_what_is_there, residue
from tests.privacy.test_residue import SETTLED_SECONDS, left, pids, places, written
from tests.privacy.writing import KINDS, Copies, Writing, add_all
from tests.running import ROOT

ROUNDS: Final = 3
AS_BEFORE: Final = ("summary", "stream", "malformed", "replay", "chunked replay", "half a body", "stream given up")
"""Those of the other requests that these workers answer alike, some with an abstract."""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a locked worker's memory is read with CAP_SYS_PTRACE alone")


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return language_model(tmp_path_factory.mktemp("language"))


@asynccontextmanager
async def writing(folder: Path, model: Path, language: Path) -> AsyncIterator[tuple[Stack, Copies]]:
    """Run a stack with models that write, for the length of a block; a summariser if one is named."""
    summariser = tiny_if_any("tiny-bart")
    stack = Stack(folder, 1, model, language_model=language, summariser=summariser)
    await stack.start()
    try:
        yield stack, await asyncio.to_thread(Copies, language, summariser)
    finally:
        await stack.stop()


async def ask(stack: Stack, model: Path, copies: Copies, count: int) -> tuple[Needles, Needles]:
    """Have requests answered; return what to look for of them everywhere, and of the answers in the worker."""
    assert stack.language_model is not None
    assert stack.trust is not None
    name = stack.language_model.name
    drawn, needles = draw(count, (*KINDS, *AS_BEFORE), model)
    await add_all(copies, needles, [canary for canary in drawn if canary.kind in KINDS])
    for pid in pids(stack).values():
        await asyncio.to_thread(forget_what_is_there, pid, needles)
    made: list[Writing] = []

    def make(client: Client, session: ClientSession, pool: TrustedPool, workers: Sequence[str]) -> Writing:
        made.append(Writing(client, session, pool, workers, name))
        return made[0]

    workers = [party.listen for name, party in stack.parties.items() if name.startswith("worker")]
    assert set(await ask_all(stack.trust, workers, drawn, make)) == {*KINDS, *AS_BEFORE}
    await asyncio.sleep(SETTLED_SECONDS)
    answers = Needles()
    for text in filter(None, made[0].answers):
        answers.add_text("answer", text)
    await forget_what_a_fresh_one_has(stack, answers)
    return needles, answers


async def forget_what_a_fresh_one_has(stack: Stack, needles: Needles) -> None:
    """Take out of the needles what a worker has that nobody has asked anything, such as the words of a vocabulary."""
    fresh = Party("fresh", module("inference", "--config", str(stack.state / "worker.toml")), stack.state / "fresh.log")
    await fresh.start()
    try:
        assert fresh.process is not None
        await asyncio.to_thread(forget_what_is_there, fresh.process.pid, needles)
    finally:
        await fresh.stop()


async def nothing_is_left(stack: Stack, needles: Needles, answers: Needles, since: float) -> None:
    assert await left(stack, needles) == {}
    assert written(places(stack), needles, since) == {}
    worker = pids(stack)["worker-0"]
    assert await asyncio.to_thread(residue, worker, answers) == {}
    assert written([stack.state], answers, since) == {}


@needs_root
@pytest.mark.timeout(300)
async def test_nothing_of_what_models_read_and_wrote_is_left(tmp_path: Path, model: Path, language: Path) -> None:
    began = time.time()
    async with writing(tmp_path / "state", model, language) as (stack, copies):
        await nothing_is_left(stack, *await ask(stack, model, copies, 28), began)


@pytest.mark.drill
@needs_root
@pytest.mark.timeout(900)
async def test_nothing_is_left_of_three_times_two_hundred_requests(tmp_path: Path, model: Path, language: Path) -> None:
    began = time.time()
    async with writing(tmp_path / "state", model, language) as (stack, copies):
        for _ in range(ROUNDS):
            await nothing_is_left(stack, *await ask(stack, model, copies, 210), began)


def test_a_slot_that_is_not_cleared_and_a_list_of_tokens_are_found(tmp_path: Path) -> None:
    """As long as a worker held either, the tests above would fail."""
    folder = small_model(tmp_path)
    canary = Canary.draw("chat", 0)
    needles = Needles()
    turns = [Turn("user", canary.draft)]
    Copies(folder, None).add_chat(needles, "chat", turns, canary.words)
    command = [sys.executable, "-m", "tests.privacy.holding", str(folder)]
    environment = {**os.environ, **ENVIRONMENT}
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True, encoding="utf-8", cwd=ROOT, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        seen = []
        for line, expected in (("", "ready"), (canary.draft, "held"), ("", "cleared")):
            process.stdin.write(line + "\n")
            process.stdin.flush()
            assert process.stdout.readline().strip() == expected
            if expected == "ready":
                forget_what_is_there(process.pid, needles)
            seen.append(residue(process.pid, needles))
        process.stdin.close()
    assert seen[0] == seen[2] == {}
    assert seen[1]["chat, keys and values, floats"] > 0
    assert seen[1]["chat, language, ids as objects"] > 0
