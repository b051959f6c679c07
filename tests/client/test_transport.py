"""Transports under OpenAI's library, without a local address."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import openai as sdk
import pytest

from inference.producers.simulated import create_simulated_platform
from seclude import bhttp
from seclude.client.transport import BASE_URL, AsyncPoolTransport, PoolTransport
from seclude.client.trust import Trust
from seclude.errors import UsageError
from tests.client.proxyworld import MODEL, SAID, STORY, TEXT, ChatRelay, refused
from tests.client.serving import MEASUREMENT, T0, trusting

openai: Any = sdk

MESSAGES = [{"role": "user", "content": "Where is dinner?"}]


@pytest.fixture(params=["httpx2", "httpx"])
def library(request: pytest.FixtureRequest) -> Any:
    return import_module(request.param)


@pytest.fixture
def relay(tmp_path: Path) -> ChatRelay:
    return ChatRelay(create_simulated_platform(tmp_path / "platform", T0))


@asynccontextmanager
async def trust(relay: ChatRelay, manifests: tuple[str, ...] = (MEASUREMENT.hex(),)) -> AsyncIterator[Trust]:
    async with relay.up() as url:
        yield trusting(relay.platform, url, manifests=manifests)


@asynccontextmanager
async def app(relay: ChatRelay, library: Any, **options: Any) -> AsyncIterator[Any]:
    async with trust(relay) as pinned, AsyncPoolTransport(pinned) as transport:
        http = library.AsyncClient(transport=transport)
        async with openai.AsyncOpenAI(base_url=BASE_URL, api_key="unused", http_client=http, **options) as made:
            yield made


def texts(chunks: list[Any]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


async def test_a_chat_a_stream_and_models(relay: ChatRelay, library: Any) -> None:
    async with app(relay, library) as asking:
        answer = await asking.chat.completions.create(model=MODEL, messages=MESSAGES, user="somebody")
        stream = await asking.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        assert answer.choices[0].message.content == texts([chunk async for chunk in stream]) == TEXT
        assert [model.id async for model in asking.models.list()] == [MODEL]
    for request in relay.inners:
        message = bhttp.serialize_request(request).lower()
        assert not [word for word in (b"openai", b"stainless", b"somebody", b"unused", b"python") if word in message]


async def test_the_synchronous_library(relay: ChatRelay, library: Any) -> None:
    def ask(pinned: Trust) -> tuple[str, str, list[str]]:
        with (
            library.Client(transport=PoolTransport(pinned)) as http,
            openai.OpenAI(base_url=BASE_URL, api_key="unused", http_client=http) as asking,
        ):
            answer = asking.chat.completions.create(model=MODEL, messages=MESSAGES)
            streamed = list(asking.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True))
            return answer.choices[0].message.content, texts(streamed), [model.id for model in asking.models.list()]

    async with trust(relay) as pinned:
        assert await asyncio.to_thread(ask, pinned) == (TEXT, TEXT, [MODEL])
    assert "seclude-transport" not in {thread.name for thread in threading.enumerate()}


async def test_errors_are_those_of_the_proxy(relay: ChatRelay, library: Any) -> None:
    async with app(relay, library) as asking:
        with pytest.raises(openai.BadRequestError, match="tools is not supported"):
            await asking.chat.completions.create(model=MODEL, messages=MESSAGES, tools=[{"type": "function"}])
        relay.inner = lambda _: refused(503, "not now", (b"retry-after", b"0"))
        with pytest.raises(openai.InternalServerError, match="not now"):
            await asking.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert len(relay.inners) == 3


async def test_a_pool_that_is_not_trusted_is_sent_nothing(relay: ChatRelay, library: Any) -> None:
    async with trust(relay, manifests=("00" * 32,)) as pinned, AsyncPoolTransport(pinned) as transport:
        http = library.AsyncClient(transport=transport)
        async with openai.AsyncOpenAI(base_url=BASE_URL, api_key="unused", http_client=http) as asking:
            with pytest.raises(openai.InternalServerError, match="step 8"):
                await asking.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert relay.posts == []


async def test_a_stream_that_is_not_whole_is_raised(relay: ChatRelay, library: Any) -> None:
    relay.events = STORY[:-1]
    async with app(relay, library) as asking:
        stream = await asking.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError, match="before it was whole"):
            _ = [chunk async for chunk in stream]


async def test_a_stream_that_is_closed_is_cancelled_at_the_worker(relay: ChatRelay, library: Any) -> None:
    relay.hold_after = 2
    async with app(relay, library) as asking:
        stream = await asking.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        async for chunk in stream:
            if texts([chunk]) == SAID[1]:
                break
        assert not relay.gone.is_set()
        await stream.close()
        async with asyncio.timeout(5):
            await relay.gone.wait()


async def test_a_synchronous_stream_that_is_closed_is_cancelled_too(relay: ChatRelay, library: Any) -> None:
    relay.hold_after = 2

    def ask(pinned: Trust, loop: asyncio.AbstractEventLoop) -> None:
        with (
            library.Client(transport=PoolTransport(pinned)) as http,
            openai.OpenAI(base_url=BASE_URL, api_key="unused", http_client=http) as asking,
        ):
            stream = asking.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
            for chunk in stream:
                if texts([chunk]) == SAID[1]:
                    break
            stream.close()
            asyncio.run_coroutine_threadsafe(asyncio.wait_for(relay.gone.wait(), 5), loop).result()

    async with trust(relay) as pinned:
        await asyncio.to_thread(ask, pinned, asyncio.get_running_loop())


@pytest.mark.parametrize("hold_after", [0, 1])
async def test_a_read_timeout_counts(relay: ChatRelay, library: Any, hold_after: int) -> None:
    relay.hold_after = hold_after

    def ask(pinned: Trust) -> float:
        began = time.monotonic()
        with (
            library.Client(transport=PoolTransport(pinned)) as http,
            openai.OpenAI(base_url=BASE_URL, api_key="x", http_client=http, timeout=0.5, max_retries=0) as asking,
        ):
            stream = asking.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
            with pytest.raises(openai.APITimeoutError):
                list(stream)
        return time.monotonic() - began

    async with app(relay, library, timeout=0.5, max_retries=0) as asking:
        stream = await asking.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        with pytest.raises(openai.APITimeoutError):
            _ = [chunk async for chunk in stream]
        async with asyncio.timeout(5):
            await relay.gone.wait()
    relay.gone.clear()
    async with trust(relay) as pinned:
        assert await asyncio.to_thread(ask, pinned) < 5
        async with asyncio.timeout(5):
            await relay.gone.wait()


async def test_no_answer_at_all_in_time(relay: ChatRelay, library: Any) -> None:
    relay.pause = 3.0  # before the keys are given

    def ask(pinned: Trust) -> None:
        with (
            library.Client(transport=PoolTransport(pinned)) as http,
            openai.OpenAI(base_url=BASE_URL, api_key="x", http_client=http, timeout=0.3, max_retries=0) as asking,
            pytest.raises(openai.APITimeoutError),
        ):
            asking.models.list()

    async with app(relay, library, timeout=0.3, max_retries=0) as asking:
        with pytest.raises(openai.APITimeoutError):
            await asking.models.list()
    async with trust(relay) as pinned:
        await asyncio.to_thread(ask, pinned)
    assert relay.posts == []


async def test_a_transport_that_is_closed_ends_what_is_under_way(relay: ChatRelay, library: Any) -> None:
    relay.hold_after = 2

    def ask(pinned: Trust) -> None:
        transport = PoolTransport(pinned)
        http = library.Client(transport=transport)
        asking = openai.OpenAI(base_url=BASE_URL, api_key="x", http_client=http)
        stream = asking.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        next(stream)
        transport.close()
        transport.close()
        stream.close()
        http.close()
        with pytest.raises(UsageError, match="closed"):
            transport.handle_request(library.Request("GET", f"{BASE_URL}/models"))

    async with trust(relay) as pinned:
        await asyncio.to_thread(ask, pinned)
        async with asyncio.timeout(5):
            await relay.gone.wait()
