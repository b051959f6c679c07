"""OpenAI's own library, unchanged, against the proxy."""

import asyncio
import time
from pathlib import Path
from typing import Any

import openai as library
import pytest

from inference.producers.simulated import create_simulated_platform
from seclude import bhttp
from tests.client.proxyworld import FAILED, MODEL, SAID, STORY, TEXT, ChatRelay, piece, proxy, refused
from tests.client.serving import T0

openai: Any = library  # whose types know no plain dictionaries, as people write messages
MESSAGES = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Where is dinner?"}]


@pytest.fixture
def relay(tmp_path: Path) -> ChatRelay:
    return ChatRelay(create_simulated_platform(tmp_path / "platform", T0))


def texts(chunks: list[Any]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


async def test_a_chat(relay: ChatRelay) -> None:
    async with proxy(relay) as url, openai.AsyncOpenAI(base_url=url, api_key="unused") as app:
        answer = await app.chat.completions.create(model=MODEL, messages=MESSAGES, temperature=0, max_tokens=20)
        assert answer.choices[0].message.content == TEXT
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage.total_tokens == 13
        again = [*MESSAGES, answer.choices[0].message, {"role": "user", "content": "And when?"}]
        await app.chat.completions.create(model=MODEL, messages=again, user="somebody", metadata={"a": "b"})
    assert [each.role for each in relay.asked[1].messages] == ["system", "user", "assistant", "user"]
    for request in relay.inners:
        message = bhttp.serialize_request(request).lower()
        assert not [word for word in (b"openai", b"stainless", b"somebody", b"unused", b"python") if word in message]


async def test_a_stream(relay: ChatRelay) -> None:
    async with proxy(relay) as url, openai.AsyncOpenAI(base_url=url, api_key="unused") as app:
        stream = await app.chat.completions.create(
            model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert texts(chunks) == TEXT
    assert chunks[-1].usage.completion_tokens == 4
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"


async def test_the_librarys_own_helper_for_streams(relay: ChatRelay) -> None:
    async with (
        proxy(relay) as url,
        openai.AsyncOpenAI(base_url=url, api_key="unused") as app,
        app.chat.completions.stream(model=MODEL, messages=MESSAGES) as stream,
    ):
        kinds = [event.type async for event in stream]
        final = await stream.get_final_completion()
    assert "content.delta" in kinds
    assert final.choices[0].message.content == TEXT


async def test_the_synchronous_library(relay: ChatRelay) -> None:
    def ask(url: str) -> tuple[str, str, list[str]]:
        with openai.OpenAI(base_url=url, api_key="unused") as app:
            answer = app.chat.completions.create(model=MODEL, messages=MESSAGES)
            streamed = list(app.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True))
            return answer.choices[0].message.content, texts(streamed), [model.id for model in app.models.list()]

    async with proxy(relay) as url:
        assert await asyncio.to_thread(ask, url) == (TEXT, TEXT, [MODEL])


async def test_models(relay: ChatRelay) -> None:
    async with proxy(relay) as url, openai.AsyncOpenAI(base_url=url, api_key="unused") as app:
        assert [model.id async for model in app.models.list()] == [MODEL]
        assert (await app.models.retrieve(MODEL)).owned_by == "seclude"
        with pytest.raises(openai.NotFoundError):
            await app.models.retrieve("gpt-4o")


async def test_errors_are_raised_as_what_they_are(relay: ChatRelay) -> None:
    async with proxy(relay, token=b"0123456789abcdef") as url:
        async with openai.AsyncOpenAI(base_url=url, api_key="wrong") as app:
            with pytest.raises(openai.AuthenticationError, match="token-file"):
                await app.models.list()
        async with openai.AsyncOpenAI(base_url=url, api_key="0123456789abcdef") as app:
            with pytest.raises(openai.BadRequestError, match="tools is not supported") as caught:
                await app.chat.completions.create(model=MODEL, messages=MESSAGES, tools=[{"type": "function"}])
            assert (caught.value.param, caught.value.code) == ("tools", "unsupported_value")
            with pytest.raises(openai.NotFoundError, match="no model of this name") as missing:
                await app.chat.completions.create(model="gpt-4o", messages=MESSAGES)
            assert missing.value.code == "model_not_found"
            with pytest.raises(openai.NotFoundError, match="only chats"):
                await app.completions.create(model=MODEL, prompt="Dinner is")
    assert len(relay.posts) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_pool_is_an_error_and_is_not_asked_again(relay: ChatRelay, stream: bool) -> None:
    async with proxy(relay, manifests=("00" * 32,)) as url, openai.AsyncOpenAI(base_url=url, api_key="x") as app:
        with pytest.raises(openai.InternalServerError, match="refused, nothing was sent: step 8") as caught:
            await app.chat.completions.create(model=MODEL, messages=MESSAGES, stream=stream)
    assert (caught.value.type, caught.value.code) == ("pool_not_trusted", "step_8")
    assert (relay.gets, relay.posts) == (1, [])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "asked"), [(500, 1), (503, 3)])
async def test_the_library_asks_again_where_the_worker_did_nothing_and_nowhere_else(
    relay: ChatRelay, stream: bool, status: int, asked: int
) -> None:
    relay.inner = lambda _: refused(status, "not now", (b"retry-after", b"0"))
    async with proxy(relay) as url, openai.AsyncOpenAI(base_url=url, api_key="x") as app:
        with pytest.raises(openai.InternalServerError, match="not now"):
            await app.chat.completions.create(model=MODEL, messages=MESSAGES, stream=stream)
    assert len(relay.inners) == asked


@pytest.mark.parametrize(("events", "words"), [(STORY[:-1], "before it was whole"), ((piece("a"), FAILED), "Service")])
async def test_a_stream_that_is_not_whole_is_raised(relay: ChatRelay, events: tuple[bytes, ...], words: str) -> None:
    relay.events = events
    chunks: list[Any] = []

    async def read(stream: Any) -> None:
        async for chunk in stream:
            chunks.append(chunk)  # noqa: PERF401 - what came before the error is looked at

    async with proxy(relay) as url, openai.AsyncOpenAI(base_url=url, api_key="x") as app:
        stream = await app.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError, match=words):
            await read(stream)
    assert texts(chunks) == (TEXT if len(events) > 2 else "a")


async def test_a_stream_that_is_closed_is_cancelled_at_the_worker(relay: ChatRelay) -> None:
    relay.hold_after = 2
    async with proxy(relay) as url, openai.AsyncOpenAI(base_url=url, api_key="x") as app:
        stream = await app.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        async for chunk in stream:
            if texts([chunk]) == SAID[1]:
                break
        assert not relay.gone.is_set()
        await stream.close()
        async with asyncio.timeout(5):
            await relay.gone.wait()


async def test_an_app_that_waits_no_longer_cancels_at_the_worker(relay: ChatRelay) -> None:
    relay.hold_after = 0
    async with proxy(relay) as url, openai.AsyncOpenAI(base_url=url, api_key="x", timeout=0.5, max_retries=0) as app:
        began = time.monotonic()
        stream = await app.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        with pytest.raises(openai.APITimeoutError):
            _ = [chunk async for chunk in stream]
        assert time.monotonic() - began < 5
        async with asyncio.timeout(5):
            await relay.gone.wait()


async def test_eight_at_once_get_their_own(relay: ChatRelay) -> None:
    async with proxy(relay) as url, openai.AsyncOpenAI(base_url=url, api_key="x") as app:

        async def ask() -> str:
            stream = await app.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
            return texts([chunk async for chunk in stream])

        assert await asyncio.gather(*(ask() for _ in range(8))) == [TEXT] * 8
    assert relay.gets == 1
