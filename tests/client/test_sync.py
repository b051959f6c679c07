"""The synchronous client's end: it comes whatever other threads do, and nobody waits for what was not begun."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from inference.producers.simulated import create_simulated_platform
from seclude.client.sdk import Client
from seclude.client.sync import SyncClient
from seclude.client.trust import Trust
from seclude.errors import UsageError
from seclude.tasks import Message, Sentence
from tests.client.serving import trusting

MESSAGES = [Message(sender="Ana", text="Six o'clock")]


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return trusting(create_simulated_platform(tmp_path / "platform", 0), "http://127.0.0.1:1")


def streaming(monkeypatch: pytest.MonkeyPatch, closed: list[int]) -> None:
    """Let streams go on until they are closed, which takes a moment."""

    async def stream(*_: object, **__: object) -> AsyncGenerator[Sentence, None]:
        try:
            while True:
                yield Sentence("one")
        finally:
            await asyncio.sleep(0.01)
            closed.append(1)

    monkeypatch.setattr(Client, "summarize_stream", stream)


def test_a_client_closes_while_streams_end_on_other_threads(trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    streaming(monkeypatch, closed)
    client, begun, failures = SyncClient(trust), threading.Barrier(9), list[BaseException]()

    def follow(number: int) -> None:
        stream = client.summarize_stream(MESSAGES)
        next(stream)
        begun.wait(10)
        try:
            if number % 2:
                del stream  # which ends it, from this thread
            else:
                list(stream)
        except BaseException as exc:  # noqa: BLE001 - looked at below
            failures.append(exc)

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    begun.wait(10)
    client.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert len(closed) == 8, "each was closed on its way"
    assert {type(exc) for exc in failures} <= {UsageError, CancelledError}
    assert not client._thread.is_alive()


def test_a_client_that_is_closing_begins_nothing(trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    client, closing, go = SyncClient(trust), threading.Event(), threading.Event()

    async def close(_: Client) -> None:
        closing.set()
        await asyncio.to_thread(go.wait, 10)

    monkeypatch.setattr(Client, "close", close)
    thread = threading.Thread(target=client.close)
    thread.start()
    assert closing.wait(10)
    with pytest.raises(UsageError, match="closed"):
        client.verify()
    client.close()  # nothing more
    go.set()
    thread.join(10)
    assert not client._thread.is_alive()


def test_a_client_that_fails_to_close_ends_all_the_same(trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    async def close(_: Client) -> None:
        raise OSError("connection")

    client = SyncClient(trust)
    monkeypatch.setattr(Client, "close", close)
    with pytest.raises(OSError, match="connection"):
        client.close()
    assert not client._thread.is_alive()
    with pytest.raises(UsageError, match="closed"):
        client.verify()
