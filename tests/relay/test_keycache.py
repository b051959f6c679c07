"""One copy of the keys for everybody, and nothing a client does makes a difference."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from relay.keycache import INTERVAL, JITTER, LAST_RETRY, LEAST_INTERVAL, STALE, KeyCache, parse_copy
from seclude.daemon.log import Log
from seclude.daemon.messages import UpstreamResponse
from seclude.daemon.upstream import Upstream, UpstreamTimeouts
from seclude.errors import DecodeError
from tests.relay.conftest import make_keys

if TYPE_CHECKING:
    from tests.relay.conftest import Gateway, Script, Streams

KEYS, BUNDLES = "application/ohttp-keys", "application/seclude-key-bundles"
EVENTS = {"keys_fetch_failed": frozenset({"error"}), "keys_fetched": frozenset[str]()}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logged() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
async def cache(gateway: "Gateway", clock: Clock, logged: io.StringIO) -> AsyncIterator[KeyCache]:
    upstream = Upstream(gateway.address, timeouts=UpstreamTimeouts(connect=0.3, total=0.3))
    yield KeyCache(upstream, clock, Log("relay", events=EVENTS, stream=logged))
    await upstream.close()


def answers(gateway: "Gateway") -> tuple[UpstreamResponse, UpstreamResponse]:
    return UpstreamResponse(200, BUNDLES, gateway.bundles), UpstreamResponse(200, KEYS, gateway.keys)


def test_the_key_list_may_be_that_of_any_bundle(gateway: "Gateway") -> None:
    bundles, keys = answers(gateway)
    copy = parse_copy(bundles, keys)
    assert (copy.keys, copy.bundles) == (gateway.keys, gateway.bundles)
    following = make_keys(5)
    assert parse_copy(bundles, UpstreamResponse(200, KEYS, following)).keys == following


def test_a_key_list_of_other_keys_and_the_bundles_are_no_copy(gateway: "Gateway") -> None:
    with pytest.raises(DecodeError, match="of none of the bundles"):
        parse_copy(answers(gateway)[0], UpstreamResponse(200, KEYS, make_keys(4)))


def test_a_plain_key_list_has_no_bundles(gateway: "Gateway") -> None:
    copy = parse_copy(None, answers(gateway)[1])
    assert (copy.keys, copy.bundles) == (gateway.keys, None)


def test_what_does_not_parse_whole_is_no_copy(gateway: "Gateway") -> None:
    bundles, keys = answers(gateway)
    for broken in [gateway.keys + b"\x00", *(gateway.keys[:cut] for cut in range(len(gateway.keys)))]:
        with pytest.raises(DecodeError):
            parse_copy(None, UpstreamResponse(200, KEYS, broken))
    for broken in [gateway.bundles + b"\x00", *(gateway.bundles[:cut] for cut in range(len(gateway.bundles)))]:
        with pytest.raises(DecodeError):
            parse_copy(UpstreamResponse(200, BUNDLES, broken), keys)
    for status, other in ((503, BUNDLES), (200, "text/html"), (200, None), (206, BUNDLES), (200, KEYS)):
        with pytest.raises(DecodeError):
            parse_copy(UpstreamResponse(status, other, gateway.bundles), keys)
    for status, other in ((503, KEYS), (404, KEYS), (200, BUNDLES), (200, None)):
        with pytest.raises(DecodeError):
            parse_copy(bundles, UpstreamResponse(status, other, gateway.keys))


async def test_before_the_first_fetch_there_is_nothing(cache: KeyCache) -> None:
    answer = cache.serve(KEYS)
    assert (answer.status, answer.fields) == (503, (("Retry-After", "1"),))
    assert cache.reasons() == ["no key bundle"]


async def test_both_representations_come_from_one_fetch(cache: KeyCache, gateway: "Gateway") -> None:
    await cache.fetch()
    assert (cache.serve(KEYS).body, cache.serve(BUNDLES).body) == (gateway.keys, gateway.bundles)
    assert cache.serve(BUNDLES).fields == (("Cache-Control", "public, max-age=10"), ("Vary", "Accept"))
    assert len(gateway.gets) == 2
    assert cache.reasons() == []


async def test_a_pool_that_is_replaced_within_a_fetch_is_seen_by_the_next(cache: KeyCache, gateway: "Gateway") -> None:
    await cache.fetch()
    before = cache.serve(KEYS), cache.serve(BUNDLES)

    async def replace(streams: "Streams") -> None:
        if b"ohttp-keys" in gateway.gets[-1]:
            gateway.publish(9)
        await gateway.give(streams)

    gateway.get = replace
    await cache.fetch()
    assert (cache.serve(KEYS), cache.serve(BUNDLES)) == before
    await cache.fetch()
    assert (cache.serve(KEYS).body, cache.serve(BUNDLES).body) == (gateway.keys, gateway.bundles)


@pytest.mark.parametrize(
    ("caching", "age"),
    [
        ("Cache-Control: public, max-age=3", 3),
        ("cache-control: max-age=0", 0),
        ("Cache-Control: public, max-age=99", 10),
        ("Cache-Control: no-store", 10),
        ("X-Cache-Control: max-age=3", 10),
        ("Cache-Control: max-age=-3", 10),
    ],
)
async def test_nobody_may_keep_a_copy_longer_than_the_gateway_says(
    cache: KeyCache, gateway: "Gateway", clock: Clock, caching: str, age: int
) -> None:
    gateway.caching = caching.encode() + b"\r\n"
    await cache.fetch()
    assert cache.serve(KEYS).fields[0] == ("Cache-Control", f"public, max-age={age}")
    clock.now += 2
    assert cache.serve(BUNDLES).fields[0] == ("Cache-Control", f"public, max-age={max(0, age - 2)}")
    assert cache._pause() == min(max(age, LEAST_INTERVAL), INTERVAL)


async def test_a_gateway_without_bundles_is_asked_for_its_list(
    cache: KeyCache, gateway: "Gateway", plain: "Script"
) -> None:
    gateway.get = plain
    await cache.fetch()
    assert cache.serve(KEYS).body == gateway.keys
    assert cache.serve(BUNDLES).status == 406
    assert cache.reasons() == []


@pytest.fixture
def plain(gateway: "Gateway") -> "Script":
    async def script(streams: "Streams") -> None:
        if b"seclude" in gateway.gets[-1]:
            streams[1].write(b"HTTP/1.1 406 No\r\nContent-Length: 0\r\n\r\n")
        else:
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {KEYS}\r\nContent-Length: {len(gateway.keys)}\r\n\r\n"
            streams[1].write(head.encode() + gateway.keys)

    return script


BROKEN = [
    b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/seclude-key-bundles\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 302 Go\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/seclude-key-bundles\r\nContent-Length: 999999999\r\n\r\n",
]


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_failed_fetch_leaves_the_copy_as_it_is(cache: KeyCache, gateway: "Gateway", broken: bytes) -> None:
    await cache.fetch()
    before = cache.serve(BUNDLES)
    gateway.get = broken
    await cache.fetch()
    assert cache.serve(BUNDLES) == before
    assert cache.reasons() == []


async def test_new_keys_replace_both_representations_at_once(cache: KeyCache, gateway: "Gateway") -> None:
    await cache.fetch()
    gateway.publish(5)
    await cache.fetch()
    assert (cache.serve(KEYS).body, cache.serve(BUNDLES).body) == (gateway.keys, gateway.bundles)


async def test_a_stale_copy_is_served_by_an_unready_relay(cache: KeyCache, gateway: "Gateway", clock: Clock) -> None:
    await cache.fetch()
    gateway.get = BROKEN[0]
    clock.now += STALE
    await cache.fetch()
    assert cache.reasons() == []
    clock.now += 1
    assert cache.reasons() == ["stale key bundle"]
    assert cache.serve(BUNDLES).status == 200
    gateway.publish(5)
    await cache.fetch()
    assert cache.reasons() == []


async def test_a_gateway_that_does_not_answer_is_named_as_the_reason(gateway: "Gateway", clock: Clock) -> None:
    upstream = Upstream("http://127.0.0.1:1")
    cache = KeyCache(upstream, clock, Log("relay", events=EVENTS))
    await cache.fetch()
    assert cache.reasons() == ["no key bundle", "gateway unreachable"]
    await upstream.close()


async def test_a_gateway_that_hangs_does_not_stop_the_timer(
    gateway: "Gateway", clock: Clock, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(streams: "Streams") -> None:
        await streams[0].read()

    gateway.get = hang
    monkeypatch.setattr("relay.keycache.PATIENCE", 0.2)
    upstream = Upstream(gateway.address, timeouts=UpstreamTimeouts(total=30))
    cache = KeyCache(upstream, clock, Log("relay", events=EVENTS, stream=logged))
    await asyncio.wait_for(cache.fetch(), 1)
    assert cache.reasons() == ["no key bundle", "gateway unreachable"]
    await upstream.close()


async def test_a_run_of_failures_is_logged_once(cache: KeyCache, gateway: "Gateway", logged: io.StringIO) -> None:
    gateway.get, publishing = BROKEN[0], gateway.get
    for _ in range(3):
        await cache.fetch()
    gateway.get = publishing
    await cache.fetch()
    text = logged.getvalue()
    assert (text.count("keys_fetch_failed"), text.count("keys_fetched")) == (1, 1)
    assert "127.0.0.1" not in text


async def test_the_timer_fetches_by_itself_and_backs_off(
    cache: KeyCache, gateway: "Gateway", monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 9:
            gateway.publish(3)
        if len(pauses) == 11:
            raise asyncio.CancelledError

    monkeypatch.setattr("relay.keycache.asyncio.sleep", sleep)
    gateway.get = BROKEN[0]
    with pytest.raises(asyncio.CancelledError):
        await cache.keep()
    monkeypatch.undo()
    expected = [0.5, 1, 2, 4, 8, *[LAST_RETRY] * 4, INTERVAL, INTERVAL]
    assert all(want * (1 - JITTER) <= got <= want * (1 + JITTER) for want, got in zip(expected, pauses, strict=True))
    assert len(set(pauses)) == len(pauses)
    assert len(gateway.gets) == 9 * 2 + 2 * 2
