"""Eight people at once on one pool: nobody gets anything of another, and everybody what they would get alone.

Each question holds words that stand in no other. They must be in nobody else's answer; but a model may never repeat
what it was told, so more is asked: every answer is, letter for letter, the one that the same question gets when nobody
else asks. That this would show rows, keys or values that were mixed up, is shown with decoders that mix them up.
"""

import asyncio
import re
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from deploy.stack import Stack
from inference.engine.decoder import Decoder
from inference.engine.generation import Ended, Options, template_of
from inference.engine.request import Logits
from inference.engine.template import Turn
from inference.runner import Runner
from inference.tasks.language import LanguageModel
from inference.tasks.summary import BUSY, LATE
from seclude.client.sdk import Client
from seclude.client.transport import BASE_URL, AsyncPoolTransport
from seclude.tasks import Message, SummarizeResponse
from tests.languagemodel import named_model, small_model
from tests.stack.apps import openai, proxied

USERS, ROUNDS = 8, 4
TREES = ("alder", "birch", "cedar", "damson", "elder", "fig", "gorse", "hazel")
ODD_SECONDS = 0.037  # between people, who come one after the other and never in step
LONG, SHORT = 400, 32  # tokens: of the small model, whose steps take less than a millisecond, and of a real one
FILLER = "The harbour was quiet, and nobody had seen the ferry. "


@dataclass(frozen=True)
class Question:
    """What one of them asks in one round."""

    user: int
    round: int
    tokens: int

    @property
    def canary(self) -> str:
        return f"{TREES[self.user]}-{self.round}{self.user}7-quince"

    @property
    def is_summary(self) -> bool:
        return (self.user + self.round) % 4 == 3

    @property
    def is_streamed(self) -> bool:
        return (self.user + self.round) % 3 > 0

    @property
    def pieces_wanted(self) -> int | None:
        """After how many pieces this person goes away."""
        return 3 if self.is_streamed and self.user % 4 == 1 else None

    @property
    def content(self) -> str:
        return f"Say {self.canary} again. " + FILLER * (self.user * self.round % 5) + f"Again: {self.canary}"

    @property
    def chat(self) -> tuple[Message, ...]:
        lines = (
            f"We decided to meet {self.canary} at {self.user + 9} on Saturday.",
            "ok",
            f"I bring {self.round} euros.",
        )
        return tuple(Message(sender=name, text=line) for name, line in zip(("Ana", "Ben", "Ana"), lines, strict=True))

    @property
    def choices(self) -> dict[str, Any]:
        """The likeliest tokens for some, which a small model soon repeats; for most, chance with their own seed."""
        return {"temperature": 0} if self.user % 4 == 2 else {"temperature": 1.5, "seed": 100 * self.round + self.user}


@dataclass(frozen=True)
class Said:
    """What came of an answer."""

    text: str
    whole: bool = True
    """Nobody went away before its end."""


def strangers(said: Mapping[Question, Said], alone: Mapping[Question, Said]) -> list[str]:
    """Return what is wrong: answers that are not those given alone, and canaries in others' answers."""
    found = []
    for asked, answer in said.items():
        own = alone[asked].text
        if answer.text != (own if answer.whole else own[: len(answer.text)]):
            found.append(f"{asked.canary}: not what it is alone")
        others = (each.canary for each in said if each != asked)
        found += [f"{asked.canary}: has {canary}" for canary in others if canary in answer.text]
    return found


def assert_differ(said: Mapping[Question, Said]) -> None:
    """Want nearly every answer to be another one; equal ones would hide that people were mixed up."""
    assert len({answer.text for answer in said.values()}) > 0.75 * len(said)


async def chatted(app: Any, model: str, asked: Question, *, stays: bool = False) -> Said:
    """Ask through OpenAI's library; some go away in the middle of the answer."""
    messages = [{"role": "user", "content": asked.content}]
    whole = {"model": model, "messages": messages, "max_tokens": asked.tokens, **asked.choices}
    if not asked.is_streamed:
        return Said((await app.chat.completions.create(**whole)).choices[0].message.content)
    text, pieces = "", 0
    async with await app.chat.completions.create(**whole, stream=True) as stream:
        async for piece in stream:
            text += "".join(choice.delta.content or "" for choice in piece.choices)
            pieces += 1
            if pieces == asked.pieces_wanted and not stays:
                return Said(text, whole=False)
    return Said(text)


async def summarised(client: Client, asked: Question) -> Said:
    """Ask for a summary; where the model had no time for its abstract, only the highlights are compared."""
    if asked.is_streamed:
        answer = [each async for each in client.summarize_stream(asked.chat)][-1]
        assert isinstance(answer, SummarizeResponse)
    else:
        answer = await client.summarize(asked.chat)
    assert asked.canary in answer.text
    if answer.note and (BUSY in answer.note or LATE in answer.note):
        return Said(answer.text, whole=False)
    return Said(f"{answer.text}\n{answer.abstract}\n{answer.note}")


@dataclass(frozen=True)
class Pool:
    """A pool of two workers with a language model, and the ways in which people ask it."""

    stack: Stack
    model: str
    client: Client
    apps: tuple[Any, ...]

    async def ask(self, asked: Question, *, stays: bool = False) -> Said:
        if asked.is_summary:
            return await summarised(self.client, asked)
        return await chatted(self.apps[asked.user % len(self.apps)], self.model, asked, stays=stays)

    async def rounds(self, user: int, questions: list[Question], said: dict[Question, Said]) -> None:
        await asyncio.sleep(user * ODD_SECONDS)
        for asked in questions:
            said[asked] = await self.ask(asked)

    def used(self) -> list[int]:
        """Return how many slots each worker's model has in use."""
        return [self._used(name) for name in self.stack.names]

    def _used(self, name: str) -> int:
        with urllib.request.urlopen(f"http://{self.stack.parties[name].admin}/metrics") as page:
            found = re.search(r"^seclude_worker_language_slots_used (\S+)$", page.read().decode(), re.MULTILINE)
        assert found is not None
        return int(float(found[1]))


@asynccontextmanager
async def pool_of(model: Path, language: Path, state: Path) -> AsyncIterator[Pool]:
    async with AsyncExitStack() as opened:
        stack = Stack(state, 2, model, language_model=language)
        opened.push_async_callback(stack.stop)
        await stack.start()
        assert stack.trust is not None
        client = await opened.enter_async_context(Client(stack.trust))
        inside = httpx2.AsyncClient(transport=AsyncPoolTransport(stack.trust), timeout=120)
        within = openai.AsyncOpenAI(base_url=BASE_URL, api_key="unused", http_client=inside, max_retries=0)
        apps = (
            await opened.enter_async_context(proxied(stack.trust_file, api_key="unused", timeout=120, max_retries=0)),
            await opened.enter_async_context(within),
        )
        yield Pool(stack, language.name, client, apps)


async def assert_nobody_gets_anothers(pool: Pool, tokens: int) -> None:
    questions = [[Question(user, number, tokens) for number in range(ROUNDS)] for user in range(USERS)]
    alone = {asked: await pool.ask(asked, stays=True) for each in questions for asked in each}
    assert_differ(alone)
    said: dict[Question, Said] = {}
    together = 0
    async with asyncio.TaskGroup() as group:
        people = [group.create_task(pool.rounds(user, each, said)) for user, each in enumerate(questions)]
        while not all(each.done() for each in people):
            together = max(together, *await asyncio.to_thread(pool.used))
            await asyncio.sleep(0.01)
    assert together >= 2, "they were not there at once"
    assert len(said) == USERS * ROUNDS
    assert [each.pieces_wanted for each, answer in said.items() if not answer.whole and not each.is_summary]
    assert strangers(said, alone) == []


@pytest.mark.timeout(240)
async def test_nobody_gets_anything_of_another(model: Path, tmp_path: Path) -> None:
    async with pool_of(model, small_model(tmp_path), tmp_path / "state") as pool:
        await assert_nobody_gets_anothers(pool, LONG)


@pytest.mark.drill
async def test_nobody_gets_anything_of_another_from_a_real_model(model: Path, tmp_path: Path) -> None:
    async with pool_of(model, named_model(), tmp_path / "state") as pool:
        await assert_nobody_gets_anothers(pool, SHORT)


class Swapped(Decoder):
    """Gives two of those who write each other's logits."""

    def step(self, tokens: Mapping[int, int]) -> dict[int, Logits]:
        rows = super().step(tokens)
        if len(rows) > 1:
            one, other, *_ = rows
            rows[one], rows[other] = rows[other], rows[one]
        return rows


class Misplaced(Decoder):
    """Goes on with the keys and values of another one of those who write."""

    def step(self, tokens: Mapping[int, int]) -> dict[int, Logits]:
        slots = list(tokens)
        places = dict(zip(slots, [*slots[1:], *slots[:1]], strict=True))
        rows = super().step({places[slot]: token for slot, token in tokens.items()})
        return {slot: rows[places[slot]] for slot in slots}


class Uncleared(Decoder):
    """Leaves in a slot what the one before has said and read."""

    def clear(self, slot: int) -> None:
        del slot


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("small"))


@pytest.fixture
def runner() -> Iterator[Runner]:
    with closing(Runner(1, USERS)) as running:
        yield running


async def answers(decoder: Decoder, folder: Path, runner: Runner, *, at_once: bool) -> dict[Question, Said]:
    """Ask a decoder that is not behind any worker."""
    questions = [Question(user, 0, SHORT) for user in range(USERS)]
    template, wishes = template_of(folder, decoder), Options(max_tokens=SHORT, wait_seconds=60)
    model = LanguageModel(folder.name, decoder, template, runner, waiting=USERS, defaults=wishes)

    async def ask(asked: Question) -> Said:
        chosen = replace(wishes, temperature=asked.choices["temperature"], seed=2 * asked.canary.encode())
        async with aclosing(model.generation.write([Turn("user", asked.content)], chosen)) as pieces:
            return Said("".join([piece async for piece in pieces if not isinstance(piece, Ended)]))

    with closing(model):
        if at_once:
            return dict(zip(questions, await asyncio.gather(*map(ask, questions)), strict=True))
        return {asked: await ask(asked) for asked in questions}


@pytest.mark.parametrize("slots", [2, 3, USERS])
async def test_a_decoder_gives_everybody_what_they_would_get_alone(small: Path, runner: Runner, slots: int) -> None:
    alone = await answers(Decoder(small, 1, 1), small, runner, at_once=False)
    assert_differ(alone)
    assert strangers(await answers(Decoder(small, 1, slots), small, runner, at_once=True), alone) == []


@pytest.mark.parametrize("kind", [Swapped, Misplaced, Uncleared])
async def test_a_decoder_that_mixes_people_up_is_found_out(small: Path, runner: Runner, kind: type[Decoder]) -> None:
    alone = await answers(Decoder(small, 1, 1), small, runner, at_once=False)
    assert strangers(await answers(kind(small, 1, 3), small, runner, at_once=True), alone)


def test_a_canary_in_anothers_answer_is_found_out() -> None:
    one, other = Question(0, 0, SHORT), Question(1, 0, SHORT)
    said = {one: Said(f"as {other.canary} said"), other: Said("yes")}
    assert strangers(said, said) == [f"{one.canary}: has {other.canary}"]
