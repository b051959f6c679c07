"""What a worker counts: encapsulated requests and nothing else, under labels from closed sets."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
from prometheus_client import generate_latest

from inference.answer import Spoken
from inference.metrics import WorkerMetrics
from inference.tasks.tally import Tally
from seclude import bhttp
from seclude.daemon.messages import Request, Response
from seclude.errors import BusyError, OpenError
from seclude.pool import Message
from seclude.tasks import REWRITE_PATH, SUMMARIZE_PATH

Respond = Callable[[], Awaitable[bhttp.Response | AsyncGenerator[bytes, None]]]


def request(path: str) -> Request:
    return Request("POST", path, None, None, 300, None)  # type: ignore[arg-type] # no handler here reads a body


def ask(path: str) -> bhttp.Request:
    return bhttp.Request(b"POST", b"https", b"a.example", path.encode(), (), b"")


def samples(metrics: WorkerMetrics) -> dict[str, float]:
    """Return every sample of the scraped page by its name and labels."""
    page = generate_latest(metrics.registry).decode()
    found = re.findall(r"^(seclude_\S+) (\S+)$", page, re.MULTILINE)
    return {name: float(value) for name, value in found}


async def test_only_encapsulated_requests_are_counted() -> None:
    metrics = WorkerMetrics(lambda: 0)

    async def answer(_: Request) -> Response:
        return Response(200, body=b"x" * 300)

    handle = metrics.counting(answer)
    for path in [*Message, "/elsewhere"]:
        answered = await handle(request(path))
        assert isinstance(answered, Response)
        assert answered.status == 200
    found = samples(metrics)
    assert {name: found[name] for name in found if name.startswith("seclude_worker_requests_total")} == {
        'seclude_worker_requests_total{code="200",reason="ok"}': 1
    }
    assert found["seclude_worker_request_duration_seconds_count"] == 1
    assert found["seclude_worker_request_size_bytes_sum"] == found["seclude_worker_response_size_bytes_sum"] == 1024


@pytest.mark.parametrize(
    ("failure", "labels"),
    [
        (OpenError("x"), 'code="400",reason="open_failed"'),
        (BusyError("x"), 'code="503",reason="busy"'),
        (KeyError("x"), 'code="500",reason="internal"'),
        (asyncio.CancelledError(), 'code="499",reason="client_gone"'),
    ],
    ids=["refused", "busy", "a bug", "gone"],
)
async def test_a_failure_passes_on_and_is_counted_as_it_will_be_answered(failure: BaseException, labels: str) -> None:
    metrics = WorkerMetrics(lambda: 0)

    async def fail(_: Request) -> Response:
        raise failure

    with pytest.raises(type(failure)):
        await metrics.counting(fail)(request(Message.REQUEST))
    assert samples(metrics)[f"seclude_worker_requests_total{{{labels}}}"] == 1


def test_tasks_are_timed_and_nothing_tells_which_they_were() -> None:
    metrics = WorkerMetrics(lambda: 0)
    reply = bhttp.Response(200, (), b"")
    task = metrics.timing(lambda _: reply)
    for path in (SUMMARIZE_PATH, SUMMARIZE_PATH, REWRITE_PATH, "/canary", "/v1/canary"):
        assert task(ask(path)) is reply
    found = samples(metrics)
    counts = {name: value for name, value in found.items() if name.startswith("seclude_worker_task_seconds_count")}
    assert counts == {"seclude_worker_task_seconds_count": 5}


def test_a_task_that_fails_is_timed_too() -> None:
    metrics = WorkerMetrics(lambda: 0)

    def fail(_: bhttp.Request) -> bhttp.Response:
        raise KeyError

    with pytest.raises(KeyError):
        metrics.timing(fail)(ask(REWRITE_PATH))
    assert samples(metrics)["seclude_worker_task_seconds_count"] == 1


async def test_what_is_spoken_is_timed_until_it_ends() -> None:
    metrics = WorkerMetrics(lambda: 0)
    reply = bhttp.Response(200, (), b"")

    async def whole() -> bhttp.Response:
        return reply

    async def make() -> AsyncGenerator[bytes, None]:
        yield b"a"
        yield b"b"

    async def events() -> AsyncGenerator[bytes, None]:
        return make()

    async def fail() -> bhttp.Response:
        raise BusyError("x")

    def count() -> float:
        return samples(metrics)["seclude_worker_task_seconds_count"]

    def spoken(respond: Respond) -> Spoken:
        answer = metrics.timing(lambda _: Spoken(respond))(ask(SUMMARIZE_PATH))
        assert isinstance(answer, Spoken)
        return answer

    assert await spoken(whole).respond() is reply
    assert count() == 1
    with pytest.raises(BusyError):
        await spoken(fail).respond()
    assert count() == 2
    made = await spoken(events).respond()
    assert isinstance(made, AsyncGenerator)
    assert await anext(made) == b"a"
    assert count() == 2
    assert [each async for each in made] == [b"b"]
    assert count() == 3
    left = await spoken(events).respond()
    assert isinstance(left, AsyncGenerator)
    await anext(left)
    await left.aclose()
    assert count() == 4


def test_a_language_model_shows_its_load_and_what_it_did() -> None:
    metrics, tally = WorkerMetrics(lambda: 0), Tally(running=5, refused=2, read=64, written=1)
    metrics.watch_language(tally, slots=4)
    found = {name: value for name, value in samples(metrics).items() if "_language_" in name}
    assert found == {
        "seclude_worker_language_slots": 4,
        "seclude_worker_language_slots_used": 4,
        "seclude_worker_language_waiting": 1,
        "seclude_worker_language_refusals_total": 2,
        'seclude_worker_language_tokens_total{what="read"}': 64,
        'seclude_worker_language_tokens_total{what="written"}': 1,
    }
    tally.running = 0
    assert samples(metrics)["seclude_worker_language_waiting"] == 0


def test_opening_has_a_clock_of_its_own() -> None:
    metrics = WorkerMetrics(lambda: 3)
    metrics.opened("ok", 0.0003)
    metrics.opened("refused", 0.0003)
    found = samples(metrics)
    assert found["seclude_worker_hpke_seconds_count"] == 2
    assert found["seclude_worker_request_duration_seconds_count"] == 0
    assert found['seclude_worker_decapsulations_total{result="ok"}'] == 1
    assert found["seclude_worker_epochs"] == 3
