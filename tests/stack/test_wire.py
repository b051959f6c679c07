"""Relay and gateway on the wire, as a client meets them that knows nothing of this project's SDK."""

import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import msgspec
import pytest

from seclude.attestation.bundle import parse_bundle, parse_bundles, parse_core
from seclude.client.sdk import Client
from seclude.client.trust import Trust, load_trust
from seclude.daemon.answering import answering
from seclude.daemon.messages import Request, Response
from seclude.daemon.problems import refusal
from seclude.daemon.server import Server
from seclude.daemon.upstream import Upstream
from seclude.errors import OHTTP_KEY, BusyError, UpstreamError, VerificationError
from seclude.ohttp.keyconfig import RequestHeader, parse_key_configs, serialize_request_header
from seclude.ohttp.media import GATEWAY_PATH, KEY_BUNDLES, OHTTP_KEYS, OHTTP_REQ, PROBLEM
from seclude.tasks import Message
from tests.running import Running
from tests.stack.conftest import Answer, ask

LIMIT = 1_114_112  # octets; max_body_bytes of relay.toml and gateway.toml
REQUEST = {"Content-Type": OHTTP_REQ}
UNKNOWN = serialize_request_header(RequestHeader(key_id=200, kem=0x0020, kdf=1, aead=1)) + bytes(64)
KNOWN = serialize_request_header(RequestHeader(key_id=1, kem=0x0020, kdf=1, aead=1))  # the key of epoch 0
MESSAGES = (Message(sender="Ana", text="We decided to meet at 9 on Saturday."),)


@pytest.fixture(params=["relay", "gateway"])
def hop(request: pytest.FixtureRequest, stack: Running) -> str:
    """Where a standard client posts: each fact holds at both."""
    return str(stack.facts[f"{request.param}_url"])


def assert_refused(answer: Answer, status: int, problem: str = "about:blank") -> None:
    """The answer is a problem document that agrees with its status line, and tells nothing else."""
    assert (answer.status, answer.fields["content-type"]) == (status, PROBLEM)
    document = json.loads(answer.body)
    assert set(document) == {"type", "title", "status"}
    assert (document["status"], document["type"]) == (status, problem)
    assert set(answer.fields) <= {"content-type", "content-length", "date", "connection", "allow", "retry-after"}


def test_a_body_at_the_limit_is_read(hop: str) -> None:
    assert_refused(ask(hop, "POST", fields=REQUEST, body=UNKNOWN.ljust(LIMIT, b"\0")), 422, OHTTP_KEY)


def test_a_body_over_the_limit_is_413(hop: str) -> None:
    assert_refused(ask(hop, "POST", fields=REQUEST, body=UNKNOWN.ljust(LIMIT + 1, b"\0")), 413)


def test_a_length_over_the_limit_is_413_before_the_body_comes(hop: str) -> None:
    with socket.create_connection((urlsplit(hop).hostname, urlsplit(hop).port), timeout=5) as connection:
        head = f"POST {GATEWAY_PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {OHTTP_REQ}\r\n"
        connection.sendall(f"{head}Content-Length: {LIMIT + 1}\r\n\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(("over", "status"), [(0, 422), (1, 413)])
def test_a_chunked_body_has_the_same_limit(hop: str, over: int, status: int) -> None:
    # A key that nobody holds is answered before the body has come, so the one over the limit names one that is held.
    start = KNOWN + os.urandom(64) if over else UNKNOWN

    def pieces() -> Iterator[bytes]:
        yield start
        left = LIMIT + over - len(start)
        while left:
            piece = bytes(min(left, 1 << 16))
            left -= len(piece)
            yield piece

    answer = ask(hop, "POST", fields=REQUEST, body=pieces())
    assert_refused(answer, status, OHTTP_KEY if status == 422 else "about:blank")


@pytest.mark.parametrize("kind", [None, "application/json", "message/ohttp-res", "message/ohttp-req+json", "message"])
def test_another_media_type_is_415(hop: str, kind: str | None) -> None:
    assert_refused(ask(hop, "POST", fields={"Content-Type": kind} if kind else {}, body=UNKNOWN), 415)


@pytest.mark.parametrize("path", ["/", "/.well-known/ohttp-gateway/", "/.well-known/OHTTP-gateway", "/ohttp", "//"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_path_is_404(hop: str, method: str, path: str) -> None:
    url = hop.replace(GATEWAY_PATH, path)
    assert_refused(ask(url, method, fields=REQUEST, body=UNKNOWN if method == "POST" else b""), 404)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_another_method_is_405_and_says_which_are_allowed(hop: str, method: str) -> None:
    answer = ask(hop, method, fields=REQUEST)
    assert_refused(answer, 405)
    assert answer.fields["allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("head", "rest"),
    [
        pytest.param(b"", 0, id="nothing"),
        pytest.param(KNOWN[:3], 0, id="three octets"),
        pytest.param(KNOWN, 0, id="a header alone"),
        pytest.param(KNOWN, 32 + 15, id="one octet less than the shortest"),
        pytest.param(KNOWN, 120, id="junk under a known key"),
        pytest.param(KNOWN[:1] + b"\x12\x34" + KNOWN[3:], 64, id="another KEM"),
        pytest.param(KNOWN[:5] + b"\xff\xff", 64, id="another AEAD"),
    ],
)
def test_what_is_not_oblivious_http_is_400(hop: str, head: bytes, rest: int) -> None:
    body = head + os.urandom(rest)  # new each time: the gateway refuses what it has seen before
    assert_refused(ask(hop, "POST", fields={**REQUEST, "Content-Length": str(len(body))}, body=body), 400)


def test_an_unknown_key_is_422_with_its_problem_type(hop: str) -> None:
    assert_refused(ask(hop, "POST", fields=REQUEST, body=UNKNOWN), 422, OHTTP_KEY)


def keys_of(url: str, accept: str | None = None) -> Answer:
    return ask(url, fields={"Accept": accept} if accept else {})


def test_the_configurations_are_the_same_everywhere(stack: Running) -> None:
    relay, gateway = (keys_of(str(stack.facts[f"{hop}_url"]), OHTTP_KEYS) for hop in ("relay", "gateway"))
    assert (relay.status, relay.fields["content-type"]) == (200, OHTTP_KEYS)
    assert relay.body == gateway.body
    assert [(config.key_id, config.kem) for config in parse_key_configs(relay.body)] == [(0, 0x647A), (1, 0x0020)]


def test_the_bundle_is_the_same_everywhere_and_holds_the_same_keys(stack: Running) -> None:
    relay, gateway = (keys_of(str(stack.facts[f"{hop}_url"]), KEY_BUNDLES) for hop in ("relay", "gateway"))
    assert (relay.status, relay.fields["content-type"]) == (200, KEY_BUNDLES)
    assert relay.body == gateway.body
    bundles = parse_bundles(relay.body)
    assert list(bundles) == [0, 1], "the epoch of now, and the one that is announced"
    assert parse_core(parse_bundle(bundles[0]).core).key_configs == keys_of(stack.relay_url).body


@pytest.mark.parametrize("accept", [None, "*/*", "application/*", f"text/html, {OHTTP_KEYS};q=0.1"])
def test_a_standard_client_gets_configurations_by_default(hop: str, accept: str | None) -> None:
    answer = keys_of(hop, accept)
    assert (answer.status, answer.fields["content-type"]) == (200, OHTTP_KEYS)
    assert answer.fields["vary"] == "Accept"
    assert answer.fields["cache-control"].startswith("public, max-age=")


def test_a_client_that_wants_neither_gets_406(hop: str) -> None:
    assert_refused(keys_of(hop, "text/html"), 406)


def test_nothing_that_a_client_sends_changes_which_keys_it_gets(hop: str) -> None:
    fields = {
        "Cookie": "id=1",
        "If-None-Match": '"x"',
        "Range": "bytes=0-3",
        "User-Agent": "phone",
        "Cache-Control": "no",
    }
    plain, marked = keys_of(hop), ask(f"{hop}?who=me", fields=fields)
    assert (plain.status, plain.body) == (marked.status, marked.body)
    assert set(plain.fields) == set(marked.fields)


Decide = Callable[[int], Response | None]


class Between:
    """A relay that passes everything on, but for what it was told to answer itself."""

    def __init__(self, honest: Upstream, post: Decide, get: Decide) -> None:
        self._honest = honest
        self._decide = {"POST": post, "GET": get}
        self.bodies: dict[str, list[bytes]] = {"POST": [], "GET": []}

    async def handle(self, request: Request) -> Response:
        body = await request.body.read()
        self.bodies[request.method].append(body)
        own = self._decide[request.method](len(self.bodies[request.method]))
        if own is not None:
            return own
        answer = await self._honest.exchange(
            request.method, GATEWAY_PATH, content_type=request.content_type, accept=request.accept, body=body
        )
        return Response(answer.status, answer.content_type, answer.body)


@asynccontextmanager
async def through(
    trust: Trust, *, post: Decide = lambda _: None, get: Decide = lambda _: None
) -> AsyncIterator[tuple[Client, Between]]:
    """Yield a client whose relay answers some exchanges itself: each decision is told which one it is, from 1."""
    honest = Upstream(trust.relays[0].removesuffix(GATEWAY_PATH))
    between = Between(honest, post, get)
    relay = Server(answering(between.handle))
    address = await relay.start("127.0.0.1:0")
    async with Client(msgspec.structs.replace(trust, relays=(f"http://{address}{GATEWAY_PATH}",))) as client:
        yield client, between
    await relay.drain(1.0)
    await honest.close()


@pytest.fixture
def trust(stack: Running) -> Trust:
    return load_trust(stack.trust)


STALE = refusal(422, problem=OHTTP_KEY)


async def test_a_stale_key_costs_one_refresh_and_one_retry(trust: Trust) -> None:
    async with through(trust, post=lambda number: STALE if number == 2 else None) as (client, between):
        await client.summarize(MESSAGES)
        answer = await client.summarize(MESSAGES)
    assert "meet at 9" in answer.text
    assert (len(between.bodies["GET"]), len(between.bodies["POST"])) == (2, 3)
    assert len({body[7:39] for body in between.bodies["POST"]}) == 3, "each attempt is encapsulated anew"


async def test_a_key_that_stays_unknown_is_an_error_after_one_retry(trust: Trust) -> None:
    async with through(trust, post=lambda _: STALE) as (client, between):
        with pytest.raises(UpstreamError, match="twice"):
            await client.summarize(MESSAGES)
    assert (len(between.bodies["GET"]), len(between.bodies["POST"])) == (2, 2)


async def test_a_refreshed_bundle_is_verified_before_the_retry(trust: Trust) -> None:
    junk = Response(200, KEY_BUNDLES, b"junk")
    async with through(trust, post=lambda _: STALE, get=lambda number: junk if number == 2 else None) as (client, seen):
        with pytest.raises(VerificationError) as refusal:
            await client.summarize(MESSAGES)
    assert refusal.value.step == 1
    assert len(seen.bodies["POST"]) == 1


@pytest.mark.parametrize(("status", "error"), [(503, BusyError), (502, UpstreamError), (504, UpstreamError)])
async def test_other_refusals_are_not_asked_twice(trust: Trust, status: int, error: type[Exception]) -> None:
    """A request that may have been processed is repeated only by the caller (RFC 9458, section 6.5)."""
    async with through(trust, post=lambda _: refusal(status)) as (client, between):
        with pytest.raises(error):
            await client.summarize(MESSAGES)
    assert len(between.bodies["POST"]) == 1


async def test_a_client_asks_for_the_bundle_once_for_many_requests(trust: Trust) -> None:
    async with through(trust) as (client, between):
        for _ in range(3):
            await client.summarize(MESSAGES)
    assert (len(between.bodies["GET"]), len(between.bodies["POST"])) == (1, 3)
