"""Workers are started anew after so many requests, one after the other, and nobody notices: no stream is cut."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from seclude import bhttp
from seclude.chat import CHAT_PATH, DONE, ChatMessage, ChatRequest
from seclude.client.sdk import Client
from seclude.client.trust import load_trust
from seclude.ohttp.media import EVENT_STREAM
from seclude.tasks import JSON, encode
from tests.languagemodel import small_model
from tests.running import Running, start_stack, stop_stack
from tests.stack.conftest import Load, events, eventually, wait_until_whole

REQUESTS = 120  # each worker is due after 90 to 120 of them, and ends by itself after 120 more
PER_SECOND = 7  # with the chats, ten: so that the other one has twelve seconds to come back meanwhile
CHATS = 3  # streams that are read all the time; each takes about a second
TOKENS = 400
FIELDS = (bhttp.Field(b"content-type", JSON.encode()), bhttp.Field(b"accept", EVENT_STREAM.encode()))


@dataclass
class Chats:
    """Streams of a language model, one after the other, each of which must come to its end."""

    client: Client
    model: str
    whole: int = 0
    failed: list[str] = field(default_factory=list)

    async def keep_asking(self) -> None:
        while True:
            said = (ChatMessage("user", f"Count on from {self.whole}."),)
            request = ChatRequest(self.model, said, stream=True, max_tokens=TOKENS, temperature=1.0)
            message = bhttp.Request(b"POST", b"https", b"a.example", CHAT_PATH.encode(), FIELDS, encode(request))
            try:
                async with self.client.stream(message) as answer:
                    content = await answer.read()
                assert answer.head.status == 200, f"inner status {answer.head.status}"
                assert b"data: " + DONE in content.splitlines(), "a stream without its end"
            except Exception as exc:  # noqa: BLE001 - whatever it is, the stream was cut
                self.failed.append(f"{type(exc).__name__}: {exc}")
            else:
                self.whole += 1


@pytest.fixture
def renewing(model: Path, tmp_path: Path) -> Iterator[Running]:
    options = ("--workers", "2", "--renew-requests", str(REQUESTS), "--language-model", str(small_model(tmp_path)))
    running = start_stack(tmp_path / "state", *options)
    yield running
    stop_stack(running)


@pytest.mark.timeout(180)
async def test_no_request_fails_and_no_stream_is_cut_while_every_worker_is_renewed(renewing: Running) -> None:
    wait_until_whole(renewing)
    before = {worker: renewing.pid(worker) for worker in ("worker-0", "worker-1")}
    load = Load(renewing)
    async with Client(load_trust(renewing.trust)) as client, load.running_on(per_second=PER_SECOND):
        chats = Chats(client, "small-chat")
        asking = [asyncio.create_task(chats.keep_asking()) for _ in range(CHATS)]
        await asyncio.to_thread(
            eventually, lambda: all(renewed(renewing, worker) for worker in before), 90, "every worker is renewed"
        )
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    wait_until_whole(renewing, 60)  # now, since under this load one of the two is nearly always away
    assert (load.failed, chats.failed) == ([], [])
    assert load.answered + chats.whole >= REQUESTS
    assert chats.whole >= 2 * CHATS
    assert {worker: renewing.pid(worker) for worker in before} != before
    for worker in before:
        told = events(renewing, worker)
        assert told.count("retiring") >= 1
        assert "crashed" not in told
    assert any(finished(renewing, worker) for worker in before), "somebody's answer was under way"


def renewed(running: Running, worker: str) -> bool:
    """Whether a worker was told to retire, ended in good order, and is ready again."""
    told = events(running, worker)
    return "retiring" in told and "ready" in told[told.index("retiring") :]


def finished(running: Running, worker: str) -> int:
    """Return how many answers a worker that retired had under way, and finished."""
    lines = map(json.loads, (running.state / f"{worker}.log").read_text().splitlines())
    drained = [line for line in lines if line["event"] == "drained"]
    assert all(line["complete"] for line in drained)
    return sum(int(line["inflight"]) for line in drained)
