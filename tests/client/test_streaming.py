"""Streamed summaries on the device: what comes, and everything that may go wrong with it."""

import asyncio
import time
from collections.abc import AsyncGenerator
from email.utils import formatdate

import msgspec
import pytest

import seclude.client.asking
from inference.answer import event
from seclude import bhttp
from seclude.client.sync import SyncClient
from seclude.daemon.messages import Response
from seclude.errors import DATE, OHTTP_KEY, BusyError, TaskError, UpstreamError
from seclude.ohttp.media import OHTTP_RES, PROBLEM
from seclude.padding import is_bucket
from seclude.tasks import Highlight, SummarizeResponse, encode
from tests.client.serving import ANSWER, MESSAGES, Relay, asking, trusting

PICKED = Highlight(0, "Ana", None, "hello", ("central",))
HIGHLIGHT = event("highlight", encode(PICKED))
SUMMARY = event("summary", encode(ANSWER))
FILLER = b":" + b" " * 100 + b"\n"
PREFIX = 7 + 1120


async def stream(relay: Relay) -> list[Highlight | SummarizeResponse]:
    async with asking(relay) as client:
        return [each async for each in client.summarize_stream(MESSAGES)]


async def test_highlights_come_as_they_are_chosen_and_the_summary_last(relay: Relay) -> None:
    relay.events = (HIGHLIGHT + FILLER, HIGHLIGHT[:10], HIGHLIGHT[10:] + SUMMARY[:5], SUMMARY[5:], FILLER)
    assert await stream(relay) == [PICKED, PICKED, ANSWER]
    (request,) = relay.inners
    assert bhttp.get(request.fields, b"accept") == b"text/event-stream"
    (body,) = relay.posts
    assert is_bucket(len(body) - PREFIX - 1 - 16)  # one chunk, the last one


async def test_events_are_given_before_the_stream_ends(relay: Relay) -> None:
    relay.events = (HIGHLIGHT,) * 3 + (SUMMARY,)
    async with asking(relay) as client:
        answers = client.summarize_stream(MESSAGES)
        assert await anext(answers) == PICKED
        await answers.aclose()


@pytest.mark.parametrize("events", [(HIGHLIGHT,), (FILLER,), (SUMMARY[:-1],)])
async def test_a_stream_without_its_summary_is_not_whole(relay: Relay, events: tuple[bytes, ...]) -> None:
    relay.events = events
    with pytest.raises(UpstreamError, match="without the summary"):
        await stream(relay)


async def test_octets_that_never_make_a_chunk_do_not_keep_it_waiting(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seclude.client.asking, "SILENCE_SECONDS", 0.3)

    async def dribble() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"\x7f"  # of the nonce, and then of a length that is never whole
            await asyncio.sleep(0.05)

    relay.stream = dribble
    with pytest.raises(UpstreamError, match="in time"):
        await stream(relay)


async def test_an_error_in_the_middle_is_raised(relay: Relay) -> None:
    relay.events = (HIGHLIGHT, event("error", b'{"status":503,"title":"Service Unavailable"}'))
    with pytest.raises(TaskError, match="Service Unavailable") as failure:
        await stream(relay)
    assert failure.value.status == 503


async def test_a_refusal_of_the_worker_is_raised(relay: Relay) -> None:
    problem = bhttp.Response(
        413, (bhttp.Field(b"content-type", PROBLEM.encode()),), b'{"status":413,"detail":"too much"}'
    )
    relay.inner = lambda _: problem
    with pytest.raises(TaskError, match="too much"):
        await stream(relay)


async def test_a_clock_that_is_off_is_corrected_once(relay: Relay) -> None:
    relay.events = (SUMMARY,)
    asked: list[bytes | None] = []
    right = formatdate(time.time() - 100, usegmt=True).encode()

    def choosy(request: bhttp.Request) -> bhttp.Response:
        asked.append(bhttp.get(request.fields, b"date"))
        if asked[-1] == right:
            return bhttp.Response(200)
        fields = (bhttp.Field(b"content-type", PROBLEM.encode()), bhttp.Field(b"date", right))
        return bhttp.Response(400, fields, msgspec.json.encode({"type": DATE, "status": 400}))

    relay.inner = choosy
    assert await stream(relay) == [ANSWER]
    assert len(asked) == 2
    assert asked[0] != right


async def test_a_clock_that_stays_off_is_an_error(relay: Relay) -> None:
    fields = (bhttp.Field(b"content-type", PROBLEM.encode()), bhttp.Field(b"date", b"x"))
    relay.inner = lambda _: bhttp.Response(400, fields, msgspec.json.encode({"type": DATE, "status": 400}))
    with pytest.raises(TaskError):
        await stream(relay)
    assert len(relay.posts) == 2


async def test_an_unknown_key_is_fetched_anew_once(relay: Relay) -> None:
    relay.outer = Response(422, PROBLEM, msgspec.json.encode({"type": OHTTP_KEY}))
    with pytest.raises(UpstreamError, match="twice"):
        await stream(relay)
    assert (relay.gets, len(relay.posts)) == (2, 2)
    assert relay.posts[0][7:PREFIX] != relay.posts[1][7:PREFIX]


@pytest.mark.parametrize(
    ("outer", "error"),
    [(Response(503), BusyError), (Response(502), UpstreamError), (Response(200, OHTTP_RES, b"x" * 100), UpstreamError)],
)
async def test_any_other_answer_is_not_asked_for_twice(relay: Relay, outer: Response, error: type[Exception]) -> None:
    relay.outer = outer
    with pytest.raises(error):
        await stream(relay)
    assert len(relay.posts) == 1


async def test_a_synchronous_client_streams_too(relay: Relay) -> None:
    relay.events = (HIGHLIGHT, SUMMARY)
    async with relay.up() as url:

        def ask() -> list[Highlight | SummarizeResponse]:
            with SyncClient(trusting(relay.platform, url)) as client:
                assert next(client.summarize_stream(MESSAGES)) == PICKED  # and leave the rest
                return list(client.summarize_stream(MESSAGES))

        assert await asyncio.to_thread(ask) == [PICKED, ANSWER]
