"""The SDK against a relay of our own making, which holds real keys and may lie."""

import asyncio
import time
from email.utils import formatdate

import msgspec
import pytest

from seclude import bhttp
from seclude.daemon.messages import Response
from seclude.errors import DATE, OHTTP_KEY, BusyError, ConfigError, EvidenceError, PolicyError, TaskError, UpstreamError
from seclude.ohttp.media import PROBLEM
from seclude.tasks import SummarizeResponse
from tests.client.serving import ANSWER, MESSAGES, Relay, asking


async def test_keys_are_fetched_once_for_all_who_ask_at_once(relay: Relay) -> None:
    relay.pause = 0.1
    async with asking(relay) as client:
        await asyncio.gather(*(client.summarize(MESSAGES) for _ in range(5)))
        await client.summarize(MESSAGES)
    assert (relay.gets, len(relay.posts)) == (1, 6)
    assert len({body[7:39] for body in relay.posts}) == 6, "a new HPKE context for each request"


async def test_one_who_gives_up_takes_nothing_from_the_others(relay: Relay) -> None:
    relay.pause = 0.2
    async with asking(relay) as client:
        waiting = [asyncio.create_task(client.summarize(MESSAGES)) for _ in range(3)]
        await asyncio.sleep(0.05)
        waiting[0].cancel()
        done = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert [type(each) for each in done[1:]] == [SummarizeResponse] * 2
    assert relay.gets == 1


async def test_a_refusal_is_everybodys_and_nothing_is_sent(relay: Relay) -> None:
    relay.pause = 0.1
    async with asking(relay, manifests=("00" * 32,)) as client:
        done = await asyncio.gather(*(client.summarize(MESSAGES) for _ in range(3)), return_exceptions=True)
    assert [(type(each), getattr(each, "step", 0)) for each in done] == [(PolicyError, 8)] * 3
    assert (relay.gets, relay.posts) == (1, [])


async def test_a_second_core_for_an_epoch_is_refused(relay: Relay) -> None:
    async with asking(relay) as client:
        await client.summarize(MESSAGES)
        relay.renew()
        with pytest.raises(EvidenceError) as refusal:
            await client.verify()
        assert refusal.value.step == 11


@pytest.mark.parametrize("now", [1e12, float("nan"), float("inf"), -1e18])
async def test_a_clock_that_no_calendar_has_is_said(relay: Relay, now: float) -> None:
    async with asking(relay, clock=lambda: now) as client:
        with pytest.raises(ConfigError, match="no calendar has; set it"):
            await client.summarize(MESSAGES)
    assert relay.posts == []


@pytest.mark.parametrize(
    "outer", [Response(422, PROBLEM, msgspec.json.encode({"type": OHTTP_KEY})), Response(400, PROBLEM, b"{}")]
)
async def test_an_unknown_key_or_one_that_does_not_open_is_fetched_anew_once(relay: Relay, outer: Response) -> None:
    relay.outer = outer
    async with asking(relay) as client:
        with pytest.raises(UpstreamError, match="twice"):
            await client.summarize(MESSAGES)
    assert (relay.gets, len(relay.posts)) == (2, 2)
    assert relay.posts[0][7:39] != relay.posts[1][7:39]


@pytest.mark.parametrize(
    ("status", "retry_after", "kind", "words"),
    [
        (503, "7", BusyError, "in 7 seconds"),
        (503, "1", BusyError, "in a few seconds"),
        (503, None, BusyError, "later"),
        (429, "soon", BusyError, "later"),
        (503, "9" * 5000, BusyError, "later"),
        (502, None, UpstreamError, "gateway cannot be reached"),
        (504, None, UpstreamError, "not answer in time"),
        (413, None, TaskError, "fewer messages"),
        (404, None, UpstreamError, "status 404"),
        (200, None, UpstreamError, "status 200"),
    ],
)
async def test_a_plain_answer_becomes_one_sentence_and_no_second_request(
    relay: Relay, status: int, retry_after: str | None, kind: type[Exception], words: str
) -> None:
    fields = (("Retry-After", retry_after),) if retry_after else ()
    relay.outer = Response(status, "text/plain", b"secret words of the relay", fields)
    async with asking(relay) as client:
        with pytest.raises(kind, match=words) as refusal:
            await client.summarize(MESSAGES)
    assert "secret" not in str(refusal.value)
    assert len(relay.posts) == 1


async def test_a_wrong_clock_is_corrected_for_one_retry_only(relay: Relay) -> None:
    async with asking(relay, clock=lambda: time.time() + 900) as client:
        assert await client.summarize(MESSAGES) == ANSWER
        assert len(relay.posts) == 2
        await client.summarize(MESSAGES)
        assert len(relay.posts) == 4, "the worker's date is used for nothing else"


async def test_a_worker_that_never_likes_the_date_is_asked_twice(relay: Relay) -> None:
    def dislike(_request: bhttp.Request) -> bhttp.Response:
        fields = (
            bhttp.Field(b"content-type", PROBLEM.encode()),
            bhttp.Field(b"date", formatdate(time.time(), usegmt=True).encode()),
        )
        return bhttp.Response(400, fields, msgspec.json.encode({"type": DATE, "title": "date outside the window"}))

    relay.inner = dislike
    async with asking(relay) as client:
        with pytest.raises(TaskError, match="date outside the window"):
            await client.summarize(MESSAGES)
    assert len(relay.posts) == 2


async def test_the_inner_request_is_whole_and_says_nothing_of_the_device(relay: Relay) -> None:
    async with asking(relay) as client:
        await client.summarize(MESSAGES)
    (request,) = relay.inners
    assert (request.method, request.scheme, request.authority, request.path) == (
        b"POST",
        b"https",
        b"a.example",
        b"/v1/summarize",
    )
    assert {entry.name for entry in request.fields} == {b"content-type", b"date"}


async def test_a_failure_of_the_worker_names_its_status(relay: Relay) -> None:
    relay.inner = lambda _request: bhttp.Response(500)
    async with asking(relay) as client:
        with pytest.raises(TaskError, match="500") as failure:
            await client.summarize(MESSAGES)
    assert failure.value.status == 500
