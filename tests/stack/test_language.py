"""A pool with a language model, all parties as processes: OpenAI's own library through `seclude proxy`, with taps.

What the relay and the gateway saw holds nothing of it: no word of prompt or answer, no field that the library sends
about itself, its user and this machine; and every length is that of a bucket or of a chunk.
"""

import asyncio
import re
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from deploy.stack import Stack
from deploy.tap import Tap
from seclude.client.sdk import Client
from seclude.hpke import TAG_LENGTH
from seclude.ohttp.media import OHTTP_CHUNKED_REQ, OHTTP_CHUNKED_RES, OHTTP_REQ, OHTTP_RES
from seclude.padding import is_bucket
from seclude.tasks import Message, SummarizeResponse
from tests.languagemodel import language_model
from tests.privacy.conftest import Watched
from tests.privacy.test_capture import forms
from tests.privacy.test_lengths import CHUNK, NONCE, PREFIX, bodies, chunks
from tests.stack.apps import openai, proxied
from tests.stack.conftest import eventually

CANARY = "wombat-7f3a-quince"
KEY, ORGANISATION, USER = "sk-canary-51c8", "org-canary-77", "somebody-9d"
ABOUT_ITSELF = (b"openai", b"stainless", b"python/", b"x-request", KEY.encode(), ORGANISATION.encode(), USER.encode())
APP: Final = {"api_key": KEY, "organization": ORGANISATION, "timeout": 60}
MESSAGES = [{"role": "system", "content": "Be short."}, {"role": "user", "content": f"What is {CANARY}?"}]
LONG = 1024  # tokens that nobody reads to their end
TRIES = 5

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]  # the first one waits for the stack


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return language_model(tmp_path_factory.mktemp("language"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(model: Path, language: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    """A stack of one worker with a language model, and a tap in front of every party."""
    taps: dict[str, Tap] = {}

    async def wrap(name: str, address: str) -> str:
        host, _, port = address.rpartition(":")
        taps[name] = await Tap.open((host, int(port)))
        return taps[name].address

    stack = Stack(tmp_path_factory.mktemp("pool") / "state", 1, model, language_model=language, wrap=wrap)
    await stack.start()
    yield Watched(stack, taps)
    await stack.stop()
    for tap in taps.values():
        await tap.close()


def counted(pool: Watched, name: str) -> float:
    """Return what the worker's metrics page says."""
    with urllib.request.urlopen(f"http://{pool.stack.parties['worker-0'].admin}/metrics") as page:
        found = re.search(rf"^seclude_worker_{re.escape(name)} (\S+)$", page.read().decode(), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def texts(pieces: list[Any]) -> str:
    return "".join(choice.delta.content or "" for piece in pieces for choice in piece.choices)


async def test_openais_library_chats_and_nobody_on_the_way_sees_any_of_it(pool: Watched, language: Path) -> None:
    asked = {"model": language.name, "messages": MESSAGES, "temperature": 0, "max_tokens": 40, "user": USER}
    for tap in pool.taps.values():
        tap.pieces.clear()
    async with proxied(pool.stack.trust_file, **APP) as app:
        assert [each.id async for each in app.models.list()] == [language.name]
        whole = await app.chat.completions.create(**asked)
        stream = await app.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        pieces = [piece async for piece in stream]
        with pytest.raises(openai.NotFoundError):
            await app.chat.completions.create(**asked | {"model": "gpt-4o"})
        with pytest.raises(openai.APIStatusError) as large:
            await app.chat.completions.create(**asked | {"messages": [{"role": "user", "content": CANARY * 2000}]})
    said = whole.choices[0].message.content
    assert said
    assert texts(pieces) == said, "the likeliest tokens are the same, whole or streamed"
    assert whole.usage == pieces[-1].usage
    assert whole.usage.prompt_tokens > 10
    assert 1 <= whole.usage.completion_tokens <= 40
    assert large.value.status_code == 413

    seen, logs, metrics = pool.everywhere(), pool.logs(), await pool.metrics()
    longest = max(re.split(r"[^\w]", said), key=len)
    needles = [form for words in (CANARY, said, longest) if len(words) >= 4 for form in forms(words)]
    for place in (seen, logs, metrics):
        assert not [needle for needle in needles if needle in place]
        assert not [word for word in ABOUT_ITSELF if word in place.lower()]
    assert_padded(pool, whole=4, streamed=1)


def assert_padded(pool: Watched, *, whole: int, streamed: int) -> None:
    for name in ("relay", "gateway"):
        requests, answers = (bodies(pool.taps[name], way) for way in ("request", "response"))
        lengths = [len(body) - PREFIX - TAG_LENGTH for body in requests[OHTTP_REQ]]
        lengths += [sum(chunks(body[PREFIX:])) for body in requests[OHTTP_CHUNKED_REQ]]
        assert len(lengths) == whole + streamed
        assert all(map(is_bucket, lengths)), lengths
        back = [len(body) - NONCE - TAG_LENGTH for body in answers[OHTTP_RES]]
        assert len(back) == whole
        assert all(map(is_bucket, back)), back
        streams = [chunks(body[NONCE:]) for body in answers[OHTTP_CHUNKED_RES]]
        assert len(streams) == streamed
        assert {size for stream in streams for size in stream} == {CHUNK}


async def test_an_app_that_closes_its_stream_frees_its_slot(pool: Watched, language: Path) -> None:
    messages = [{"role": "user", "content": "Count from 1 to 1000."}]
    asked = {"model": language.name, "messages": messages, "temperature": 0, "max_tokens": LONG, "stream": True}
    written, unread = 'language_tokens_total{what="written"}', 0
    async with proxied(pool.stack.trust_file, **APP) as app:
        for _ in range(TRIES):
            before = counted(pool, written)
            stream = await app.chat.completions.create(**asked)
            await anext(aiter(stream))
            await stream.close()
            await asyncio.to_thread(eventually, lambda: counted(pool, "language_slots_used") == 0, 10, "a free slot")
            unread += counted(pool, written) == before
        short = await app.chat.completions.create(**asked | {"stream": False, "max_tokens": 2})
    assert short.usage.completion_tokens <= 2
    assert unread, "a small model may be done before the word is there that nobody reads on, but not each time"


async def test_summaries_and_tones_are_answered_by_the_locked_worker(pool: Watched) -> None:
    messages = (
        Message(sender="Ana", text="We decided to meet at 9 on Saturday at the harbour."),
        Message(sender="Ben", text="I'll bring 20 euros and the keys."),
    )
    async with Client(pool.trust) as client:
        whole = await client.summarize(messages)
        streamed = [each async for each in client.summarize_stream(messages)]
        await client.rewrite("cant come tmrw, sorry", "funny")
    assert "meet at 9" in whole.text
    assert isinstance(streamed[-1], SummarizeResponse)
    assert "meet at 9" in streamed[-1].text


async def test_a_worker_that_is_told_to_stop_says_to_the_end_what_it_began(pool: Watched, language: Path) -> None:
    """The last of these tests: nobody starts it again."""
    messages = [{"role": "user", "content": "Count from 1 to 1000."}]
    worker = pool.stack.parties["worker-0"]
    assert worker.process is not None
    async with proxied(pool.stack.trust_file, **APP) as app:
        stream = aiter(
            await app.chat.completions.create(
                model=language.name, messages=messages, temperature=0, max_tokens=300, stream=True
            )
        )
        pieces = [await anext(stream)]
        worker.process.terminate()
        pieces += [piece async for piece in stream]
    assert pieces[-1].choices[0].finish_reason in ("stop", "length")
    assert texts(pieces)
    assert await worker.process.wait() == 0
    assert b'"event":"drained"' in pool.logs()
