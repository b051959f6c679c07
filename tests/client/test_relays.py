"""Which relay a request goes through, and when it goes through another."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from operator import eq
from pathlib import Path

import pytest

import seclude.client.asking
from seclude.client.hop import Hop, NotSentError
from seclude.client.relays import UNREACHABLE_SECONDS, Endpoint, Relays
from seclude.daemon.messages import Response
from seclude.errors import BusyError, ConfigError, EvidenceError, UpstreamError
from seclude.ohttp.encapsulation import ResponseOpener, encapsulate_request
from seclude.ohttp.keyconfig import KeyConfig
from tests.authority import Authority
from tests.client.serving import ANSWER, MESSAGES, Clock, InOrder, Relay, asking, breaking, closed

ENC = slice(7, 39)  # its first octets, whichever KEM it is of
URLS = ("https://a.example", "https://b.example", "https://c.example")


async def test_requests_and_fetches_are_spread_over_all_relays(relay: Relay) -> None:
    relays = [relay, relay.twin(), relay.twin()]
    async with asking(*relays) as client:
        for _ in range(60):  # one of three is left out by chance once in a thousand million runs
            await client.summarize(MESSAGES)
            await client.verify()
    assert all(each.posts and each.gets for each in relays)
    assert sum(len(each.posts) for each in relays) == 60


async def test_a_refused_connection_moves_a_request_on_encapsulated_anew(
    relay: Relay, in_order: InOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []

    def recorded(config: KeyConfig, data: bytes) -> tuple[bytes, ResponseOpener]:
        body, opener = encapsulate_request(config, data)
        made.append(body)
        return body, opener

    monkeypatch.setattr(seclude.client.asking, "encapsulate_request", recorded)
    with closed() as nobody:
        async with asking(relay, nobody) as client:
            await client.verify()
            in_order.reverse = True  # the one that is down first
            assert await client.summarize(MESSAGES) == ANSWER
    assert len(made) == 2
    assert relay.posts == made[1:]
    assert made[0][ENC] != made[1][ENC]


async def test_a_request_that_was_sent_and_broken_off_is_not_sent_again(relay: Relay, in_order: InOrder) -> None:
    async with breaking() as (address, taken), asking(f"http://{address}", relay) as client:
        with pytest.raises(UpstreamError, match="no whole answer") as failure:
            await client.summarize(MESSAGES)
    assert not isinstance(failure.value, NotSentError)
    assert b"POST" in taken
    assert (relay.gets, relay.posts) == (1, []), "keys may be asked for again, a request may not"


@pytest.mark.parametrize("status", [404, 429, 500, 502, 503, 504])
async def test_an_answer_of_any_kind_moves_no_request_on(relay: Relay, in_order: InOrder, status: int) -> None:
    other = relay.twin()
    relay.outer = Response(status)
    async with asking(relay, other) as client:
        with pytest.raises((UpstreamError, BusyError)):
            await client.summarize(MESSAGES)
    assert (len(relay.posts), other.posts) == (1, [])


@pytest.mark.parametrize(
    "offered",
    [
        Response(503),
        Response(404),
        Response(200, "text/html", b"<html>"),
        Response(200, "application/seclude-key-bundles", b"junk"),
    ],
)
async def test_keys_are_fetched_from_another_relay_after_any_failure(
    relay: Relay, in_order: InOrder, offered: Response
) -> None:
    other = relay.twin()
    relay.offered = offered
    async with asking(relay, other) as client:
        await client.verify()
    assert (relay.gets, other.gets) == (1, 1)


@pytest.mark.parametrize("other", [Response(200, "application/seclude-key-bundles", b"other junk"), Response(503)])
async def test_where_none_gives_keys_a_refusal_to_trust_one_is_raised_first(
    relay: Relay, in_order: InOrder, other: Response
) -> None:
    second = relay.twin()
    relay.offered, second.offered = Response(200, "application/seclude-key-bundles", b"junk"), other
    async with asking(relay, second) as client:
        with pytest.raises(EvidenceError) as refusal:
            await client.verify()
    assert refusal.value.step == 1
    assert (relay.gets, second.gets) == (1, 1)


async def test_a_relay_alone_that_is_down_is_named_with_what_to_do() -> None:
    with closed() as nobody:
        relays = Relays([nobody])
        with pytest.raises(NotSentError, match="relay cannot be reached; check the network and `relays`"):
            await relays.fetch(lambda endpoint: endpoint.exchange("GET"), lambda _: True)
        await relays.endpoints[0].hop.close()


Attempt = Callable[[Endpoint], Awaitable[str]]


def trying(tried: list[str], failures: dict[str, BaseException]) -> Attempt:
    """An attempt that records which relays are tried; some of them fail."""

    async def attempt(endpoint: Endpoint) -> str:
        host = endpoint.url.removeprefix("https://")[0]
        tried.append(host)
        if host in failures:
            raise failures[host]
        return host

    return attempt


@pytest.mark.parametrize(
    ("failure", "sent", "fetched"),
    [
        (NotSentError("refused"), "ab", "ab"),
        (UpstreamError("broken off"), "a", "ab"),
        (UpstreamError("too late", timed_out=True), "a", "ab"),
        (BusyError("no keys"), "a", "ab"),
        (EvidenceError("forged"), "a", "ab"),
        (asyncio.CancelledError(), "a", "a"),
    ],
)
async def test_only_what_was_surely_not_sent_moves_a_request_on(
    in_order: InOrder, failure: BaseException, sent: str, fetched: str
) -> None:
    async def fetch(attempt: Attempt) -> str:
        (answer,) = await Relays(URLS).fetch(attempt, lambda _: True)
        return answer

    for move, expected in ((Relays(URLS).send, sent), (fetch, fetched)):
        tried: list[str] = []
        if len(expected) > 1:
            assert await move(trying(tried, {"a": failure})) == "b"
        else:
            with pytest.raises(type(failure)):
                await move(trying(tried, {"a": failure}))
        assert "".join(tried) == expected


async def test_what_is_not_enough_is_kept_while_the_others_are_asked(in_order: InOrder) -> None:
    for wanted, expected in (("b", "ab"), ("none", "abc")):
        tried: list[str] = []
        answers = await Relays(URLS).fetch(trying(tried, {}), partial(eq, wanted))
        assert answers == tried == list(expected)


async def test_a_relay_that_could_not_be_reached_is_tried_last_for_a_while(in_order: InOrder) -> None:
    clock = Clock(0.0)
    relays = Relays(URLS, clock=clock)
    down: dict[str, BaseException] = {"a": NotSentError("refused")}
    seen = []
    for clock.now in (1.0, 2.0, UNREACHABLE_SECONDS, UNREACHABLE_SECONDS + 1.0):
        tried: list[str] = []
        await relays.send(trying(tried, down))
        seen.append("".join(tried))
    assert seen == ["ab", "b", "b", "ab"]


async def test_when_all_are_down_the_last_failure_is_raised(in_order: InOrder) -> None:
    tried: list[str] = []
    with pytest.raises(NotSentError, match="c"):
        await Relays(URLS).send(trying(tried, {each: NotSentError(each) for each in "abc"}))
    assert tried == ["a", "b", "c"]


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/", "https://[::1", "ftp://a.example", "https://user@a.example", "a.example", ""]
)
def test_what_is_no_address_is_refused_with_the_setting(url: str) -> None:
    with pytest.raises(ConfigError, match="trust file: relays must be https"):
        Relays([url])
    with pytest.raises(ConfigError, match="trust file: gateway must be https"):
        Endpoint.connect(url, "gateway")


def test_no_relay_is_refused() -> None:
    with pytest.raises(ConfigError, match="relays names none"):
        Relays([])


async def test_a_place_named_twice_is_refused(relay: Relay) -> None:
    with closed() as nobody, pytest.raises(ConfigError, match="twice"):
        async with asking(relay, nobody, nobody.rpartition("/.well-known")[0]):
            pass


@pytest.mark.parametrize("late", [False, True])
async def test_nothing_that_happens_after_sending_proves_that_it_was_not_sent(late: bool) -> None:
    async with breaking(late=late) as (address, taken):
        hop = Hop(f"http://{address}")
        with pytest.raises(UpstreamError) as failure:
            await hop.exchange("POST", "/", body=b"x", seconds=0.3)
        await hop.close()
    assert taken == [b"POST"], "aiohttp must not repeat it either"
    assert failure.value.timed_out == late
    assert not isinstance(failure.value, NotSentError)


async def test_who_shows_a_certificate_of_nobody_gets_no_request(tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*Authority(tmp_path).issue("relay"))

    def shake(listener: socket.socket) -> None:
        with listener.accept()[0] as accepted, pytest.raises(ssl.SSLError):
            context.wrap_socket(accepted, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        shaking = asyncio.create_task(asyncio.to_thread(shake, listener))
        hop = Hop(f"https://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(NotSentError):
            await hop.exchange("POST", "/", body=b"x")
        await hop.close()
        await shaking
