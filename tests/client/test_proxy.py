"""The local address, over HTTP: answers, errors, and what reaches a worker of it."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, suppress
from email.utils import formatdate
from io import BytesIO
from pathlib import Path

import msgspec
import pytest
from aiohttp import ClientSession

import seclude.client.proxy.serving
from inference.answer import event
from inference.producers.simulated import create_simulated_platform
from seclude import bhttp
from seclude.chat import ChatChunk, ChunkChoice, Delta
from seclude.client.events import Event
from seclude.client.proxy.door import MAX_BODY_BYTES, Door
from seclude.client.proxy.guard import Guard
from seclude.client.proxy.serving import serving
from seclude.client.proxy.shapes import Chunks, Head
from seclude.client.sdk import Client
from seclude.daemon.addresses import ListenAddress
from seclude.daemon.messages import Response
from seclude.errors import DATE, TaskError, UpstreamError
from seclude.ohttp.media import GATEWAY_PATH, PROBLEM
from seclude.padding import is_bucket
from seclude.tasks import encode
from tests.client.proxyworld import (
    END,
    FAILED,
    FILLER,
    LAST,
    MODEL,
    SAID,
    STORY,
    TEXT,
    ChatRelay,
    chat,
    piece,
    proxy,
    refused,
)
from tests.client.serving import T0, InOrder, asking, trusting

HELLO: dict[str, object] = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
STREAM = HELLO | {"stream": True}
PREFIX = 7 + 1120  # octets before the ciphertext of a request
Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture
def relay(tmp_path: Path) -> ChatRelay:
    return ChatRelay(create_simulated_platform(tmp_path / "platform", T0))


async def post(url: str, body: object = HELLO, path: str = "/chat/completions", **headers: str) -> Answer:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    fields = {"Content-Type": "application/json", **{name.replace("_", "-"): each for name, each in headers.items()}}
    async with ClientSession() as session, session.post(url + path, data=BytesIO(data), headers=fields) as answer:
        return answer.status, {name.lower(): each for name, each in answer.headers.items()}, await answer.read()


async def get(url: str, path: str) -> Answer:
    async with ClientSession() as session, session.get(url + path) as answer:
        return answer.status, dict(answer.headers), await answer.read()


def events(content: bytes) -> list[object]:
    """Return the data of each event; the text of the last is no JSON where all is well."""
    lines = [line.removeprefix(b"data: ") for line in content.split(b"\n\n") if line]
    return [line.decode() if line == b"[DONE]" else json.loads(line) for line in lines]


def said(content: bytes) -> str:
    chunks = [each for each in events(content) if isinstance(each, dict) and "choices" in each]
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


async def test_a_whole_answer(relay: ChatRelay) -> None:
    async with proxy(relay) as url:
        status, fields, content = await post(url)
    answer = json.loads(content)
    assert (status, fields["content-type"], fields["cache-control"]) == (200, "application/json", "no-store")
    assert fields["server"] == "seclude"
    assert answer.pop("id").startswith("chatcmpl-")
    assert abs(answer.pop("created") - time.time()) < 60
    assert answer == {
        "object": "chat.completion",
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
    }


@pytest.mark.parametrize("include_usage", [True, False])
async def test_a_streamed_answer(relay: ChatRelay, include_usage: bool) -> None:
    async with proxy(relay) as url:
        status, fields, content = await post(url, STREAM | {"stream_options": {"include_usage": include_usage}})
    assert (status, fields["content-type"]) == (200, "text/event-stream")
    found = events(content)
    assert found.pop() == "[DONE]"
    chunks = [each for each in found if isinstance(each, dict)]
    assert len({(each["id"], each["created"], each["model"], each["object"]) for each in chunks}) == 1
    if include_usage:
        last = chunks.pop()
        assert (last["choices"], last["usage"]["total_tokens"]) == ([], 13)
        assert all(each["usage"] is None for each in chunks)
    assert ["usage" in each for each in chunks] == [include_usage] * len(chunks)
    assert [each["choices"][0]["delta"] for each in chunks] == [
        {"role": "assistant", "content": ""},
        *({"content": text} for text in SAID),
        {},
    ]
    assert [each["choices"][0]["finish_reason"] for each in chunks] == [None] * (len(SAID) + 1) + ["stop"]


async def test_pieces_come_as_the_worker_makes_them(relay: ChatRelay) -> None:
    relay.hold_after = 2
    async with (
        proxy(relay) as url,
        ClientSession() as session,
        session.post(f"{url}/chat/completions", json=STREAM) as answer,
    ):
        content = b""
        while said(content) != "Hello, ":
            content += await answer.content.readuntil(b"\n\n")
        relay.go_on.set()
        content += await answer.content.read()
    assert said(content) == TEXT


async def test_models_are_those_of_the_worker(relay: ChatRelay) -> None:
    async with proxy(relay) as url:
        _, _, content = await get(url, "/models")
        (model,) = json.loads(content)["data"]
        assert (model["id"], model["object"], model["owned_by"]) == (MODEL, "model", "seclude")
        status, _, content = await get(url, f"/models/{MODEL}")
        assert (status, json.loads(content)["id"]) == (200, MODEL)
        status, _, content = await get(url, "/models/another")
        assert (status, json.loads(content)["error"]["code"]) == (404, "model_not_found")
    assert {request.path for request in relay.inners} == {b"/v1/models"}


async def test_nothing_that_tells_the_app_or_the_person_reaches_a_worker(relay: ChatRelay) -> None:
    marks = {
        "User_Agent": "OpenAI/Python canary",
        "X_Stainless_OS": "canary",
        "X_Stainless_Retry_Count": "canary",
        "OpenAI_Organization": "canary",
        "OpenAI_Project": "canary",
        "Idempotency_Key": "canary",
        "Authorization": "Bearer canary",
        "Cookie": "canary=canary",
        "X_Forwarded_For": "canary",
        "Accept_Language": "canary",
    }
    body = {"user": "canary", "safety_identifier": "canary", "metadata": {"canary": "canary"}, "store": True}
    async with proxy(relay) as url:
        assert (await post(url, HELLO | body, "/chat/completions?canary=canary", **marks))[0] == 200
        assert (await post(url, STREAM | body | {"prompt_cache_key": "canary"}, **marks))[0] == 200
    plain, streamed = relay.inners
    for request in (plain, streamed):
        assert b"canary" not in bhttp.serialize_request(request)
        assert {field.name for field in request.fields} == {b"accept", b"date", b"content-type"}
        assert (request.authority, request.path) == (b"a.example", b"/v1/chat/completions")
    assert [asked.messages for asked in relay.asked] == [relay.asked[0].messages] * 2
    assert is_bucket(len(relay.posts[0]) - PREFIX - 16)
    assert is_bucket(len(relay.posts[1]) - PREFIX - 1 - 16)  # one chunk, the last one


@pytest.mark.parametrize(
    ("events_given", "code"),
    [
        (STORY[:-1], "no_answer"),  # all but DONE
        (STORY[:2], "no_answer"),
        ((), "no_answer"),
        ((LAST,), "no_answer"),  # no word of why it ended
        ((piece("a"), LAST, piece("b")), "no_answer"),
        ((piece("a"), END, piece("b"), LAST), "no_answer"),
        ((piece("a"), b"data: {\n\n", END, LAST), "no_answer"),
        ((b'data: {"choices":[],"canary":1}\n\n', END, LAST), "no_answer"),
        ((b"data: " + b"x" * (1 << 21), FILLER), "no_answer"),
    ],
)
async def test_a_stream_that_is_not_whole_ends_with_an_error(
    relay: ChatRelay, events_given: tuple[bytes, ...], code: str
) -> None:
    relay.events = events_given
    relay.hold_after = len(events_given) + 1  # never, but it lets a stream have no events
    async with proxy(relay) as url:
        status, _, content = await post(url, STREAM)
    last = events(content)[-1]
    assert status == 200
    assert b"[DONE]" not in content
    assert isinstance(last, dict)
    assert last["error"]["code"] == code


async def test_the_workers_own_error_in_the_middle_is_passed_on(relay: ChatRelay) -> None:
    relay.events = (piece("a"), FAILED)
    async with proxy(relay) as url:
        _, _, content = await post(url, STREAM)
    last = events(content)[-1]
    assert isinstance(last, dict)
    assert last["error"]["message"] == "Service Unavailable"
    assert b"[DONE]" not in content


async def test_an_answer_that_is_cut_after_done_is_not_whole(relay: ChatRelay) -> None:
    whole = relay.in_chunks

    async def cut(body: bytes) -> AsyncGenerator[bytes, None]:
        held: bytes | None = None  # the last of them, which says that it is the end
        async for each in whole(body):
            if held is not None:
                yield held
            held = each

    relay.in_chunks = cut  # type: ignore[method-assign]
    async with proxy(relay) as url:
        _, _, content = await post(url, STREAM)
    last = events(content)[-1]
    assert isinstance(last, dict)
    assert said(content) == TEXT
    assert last["error"]["code"] == "no_answer"


@pytest.mark.parametrize("body", [HELLO, STREAM])
@pytest.mark.parametrize(
    ("inner", "status", "code", "again"),
    [
        (refused(404, "there is no model of this name"), 404, "model_not_found", "false"),
        (refused(413, "the chat is longer than the model's context"), 413, "too_long", "false"),
        (refused(501, "no language model is installed"), 501, "no_language_model", "false"),
        (refused(503, "no slot is free", (b"retry-after", b"7")), 503, "worker_busy", "true"),
        (refused(503, "no slot is free", (b"retry-after", b"soon")), 503, "worker_busy", "true"),
        (refused(500, "it broke"), 500, None, "false"),
    ],
)
async def test_what_the_worker_refuses(
    relay: ChatRelay, body: object, inner: bhttp.Response, status: int, code: str | None, again: str
) -> None:
    relay.inner = lambda _: inner
    async with proxy(relay) as url:
        found, fields, content = await post(url, body)
    error = json.loads(content)["error"]
    assert (found, error["code"], fields["x-should-retry"]) == (status, code, again)
    assert error["message"] == json.loads(inner.content)["detail"]
    assert fields.get("retry-after") == ({b"7": "7", b"soon": "1"}[inner.fields[1].value] if status == 503 else None)


@pytest.mark.parametrize("body", [HELLO, STREAM])
async def test_a_pool_that_is_not_trusted_is_sent_nothing(relay: ChatRelay, body: object) -> None:
    async with proxy(relay, manifests=("00" * 32,)) as url:
        status, fields, content = await post(url, body)
    error = json.loads(content)["error"]
    assert (status, error["type"], error["code"]) == (502, "pool_not_trusted", "step_8")
    assert error["message"].startswith("refused, nothing was sent: step 8")
    assert fields["x-should-retry"] == "false"
    assert relay.posts == []


@pytest.mark.parametrize("body", [HELLO, STREAM])
@pytest.mark.parametrize(
    ("outer", "status", "code"),
    [
        (Response(503, PROBLEM, b'{"detail":"canary"}'), 503, "busy"),
        (Response(502, PROBLEM, b'{"detail":"canary"}'), 502, "no_answer"),
        (Response(504, PROBLEM, b'{"detail":"canary"}'), 504, "late"),
        (Response(413, PROBLEM, b'{"detail":"canary"}'), 413, "too_long"),
        (Response(422, PROBLEM, msgspec.json.encode({"type": "https://canary"})), 502, "no_answer"),
        (Response(200, "text/html", b"canary"), 502, "no_answer"),
    ],
)
async def test_no_word_of_those_in_between_is_shown_and_nothing_is_repeated(
    relay: ChatRelay, body: object, outer: Response, status: int, code: str
) -> None:
    relay.outer = outer
    async with proxy(relay) as url:
        found, fields, content = await post(url, body)
    assert (found, json.loads(content)["error"]["code"], fields["x-should-retry"]) == (status, code, "false")
    assert b"canary" not in content
    assert len(relay.posts) == 1


@pytest.mark.parametrize("body", [HELLO, STREAM])
async def test_where_nothing_was_sent_a_library_may_ask_again(relay: ChatRelay, body: object) -> None:
    async with AsyncExitStack() as relays:
        trust = trusting(relay.platform, await relays.enter_async_context(relay.up()))
        async with (
            Client(trust) as client,
            serving(Door(client, trust.origin), Guard(None), ListenAddress("127.0.0.1", 0)) as url,
        ):
            assert (await post(url))[0] == 200
            await relays.aclose()
            status, fields, content = await post(url, body)
    assert (status, json.loads(content)["error"]["code"], fields["x-should-retry"]) == (502, "not_sent", "true")


@pytest.mark.parametrize("body", [HELLO, STREAM])
async def test_a_clock_that_is_off_is_corrected_once(relay: ChatRelay, body: object) -> None:
    right = formatdate(time.time() - 100, usegmt=True).encode()

    def choosy(request: bhttp.Request) -> bhttp.Response:
        if bhttp.get(request.fields, b"date") == right:
            return chat(request)
        fields = (bhttp.Field(b"content-type", PROBLEM.encode()), bhttp.Field(b"date", right))
        return bhttp.Response(400, fields, msgspec.json.encode({"type": DATE, "status": 400}))

    relay.inner = choosy
    async with proxy(relay) as url:
        assert (await post(url, body))[0] == 200
    assert len(relay.inners) == 2
    relay.inner = lambda _: bhttp.Response(
        400,
        (bhttp.Field(b"content-type", PROBLEM.encode()), bhttp.Field(b"date", right)),
        msgspec.json.encode({"type": DATE, "status": 400, "detail": "date outside the window"}),
    )
    async with proxy(relay) as url:
        status, _, content = await post(url, body)
    assert (status, json.loads(content)["error"]["message"]) == (400, "date outside the window")
    assert len(relay.inners) == 4


@pytest.mark.parametrize("content", [b"", b"{}", b'{"choices":[],"usage":null}', b'{"data":1}'])
async def test_an_answer_that_is_none_is_the_workers_fault(relay: ChatRelay, content: bytes) -> None:
    relay.inner = lambda _: bhttp.Response(200, (), content)
    relay.events = ()
    async with proxy(relay) as url:
        for body in (HELLO, STREAM):
            status, _, found = await post(url, body)
            assert (status, json.loads(found)["error"]["type"]) == (502, "no_answer")
        assert (await get(url, "/models"))[0] == 502


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("GET", "/chat/completions", {}, b"", 405),
        ("POST", "/models", {"Content-Type": "application/json"}, b"{}", 405),
        ("POST", "/completions", {"Content-Type": "application/json"}, b"{}", 404),
        ("POST", "/embeddings", {"Content-Type": "application/json"}, b"{}", 404),
        ("GET", "/", {}, b"", 404),
        ("POST", "/chat/completions", {"Content-Type": "text/plain"}, b"{}", 415),
        ("POST", "/chat/completions", {"Content-Type": "application/json"}, b"{", 400),
        ("POST", "/chat/completions", {"Content-Type": "application/json"}, b"x" * (MAX_BODY_BYTES + 1), 413),
        ("POST", "/chat/completions", {"Origin": "https://evil.example"}, b"{}", 403),
        ("OPTIONS", "/chat/completions", {"Origin": "https://evil.example"}, b"", 403),
        ("GET", "/models", {"Host": "evil.example"}, b"", 403),
        ("GET", "/models", {"Sec-Fetch-Site": "cross-site"}, b"", 403),
    ],
)
async def test_what_is_refused_on_this_device(
    relay: ChatRelay, method: str, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    async with (
        proxy(relay) as url,
        ClientSession() as session,
        session.request(method, url + path, data=BytesIO(body) if body else None, headers=headers) as answer,
    ):
        content = await answer.read()
        assert answer.status == status
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert json.loads(content)["error"]["type"] == "invalid_request_error"
    assert (relay.gets, relay.posts) == (0, [])


@pytest.mark.parametrize(("status", "words"), [(404, "GET /v1/models"), (413, "context"), (501, "none installed")])
async def test_a_worker_of_few_words_is_explained(relay: ChatRelay, status: int, words: str) -> None:
    content = msgspec.json.encode({"status": status, "title": "No"})
    relay.inner = lambda _: bhttp.Response(status, (bhttp.Field(b"content-type", PROBLEM.encode()),), content)
    async with proxy(relay) as url:
        found, _, answer = await post(url)
    assert found == status
    assert words in json.loads(answer)["error"]["message"]


async def test_a_request_that_grows_too_large_is_refused(relay: ChatRelay) -> None:
    large = [{"role": "user", "content": "x" * 400_000}] * 3
    async with proxy(relay) as url:
        status, _, content = await post(url, HELLO | {"messages": large})
    assert (status, json.loads(content)["error"]["code"]) == (413, "too_long")


async def test_the_token_keeps_others_out(relay: ChatRelay) -> None:
    async with proxy(relay, token=b"0123456789abcdef") as url:
        assert (await post(url))[0] == 401
        assert (await post(url, Authorization="Bearer 0123456789abcdef"))[0] == 200
    assert len(relay.posts) == 1


async def test_what_is_no_http_is_answered_without_a_word_in_any_log(
    relay: ChatRelay, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    async with proxy(relay) as url:
        host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"canary canary canary\r\n\r\n")
        assert b"400" in await reader.readline()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    printed = capfd.readouterr()
    assert "canary" not in caplog.text + printed.out + printed.err
    assert not [record for record in caplog.records if not record.name.startswith("asyncio")]


@pytest.mark.parametrize("body", [HELLO, STREAM])
async def test_no_more_than_so_many_at_once(
    relay: ChatRelay, monkeypatch: pytest.MonkeyPatch, body: dict[str, object]
) -> None:
    monkeypatch.setattr(seclude.client.proxy.serving, "MAX_AT_ONCE", 1)
    relay.hold_after = 1
    async with proxy(relay) as url, ClientSession() as session:
        async with session.post(f"{url}/chat/completions", json=STREAM) as answer:
            await answer.content.readuntil(b"\n\n")
            status, fields, content = await post(url, body)
            assert (status, json.loads(content)["error"]["code"], fields["retry-after"]) == (503, "busy", "1")
            relay.go_on.set()
            assert said(await answer.content.read()) == TEXT
        assert (await post(url))[0] == 200


async def test_an_app_that_goes_away_ends_its_request_to_the_pool(relay: ChatRelay) -> None:
    relay.hold_after = 2
    async with proxy(relay) as url:
        async with ClientSession() as session, session.post(f"{url}/chat/completions", json=STREAM) as answer:
            await answer.content.readuntil(b"\n\n")
        async with asyncio.timeout(5):
            await relay.gone.wait()


async def test_so_does_one_that_waits_for_a_whole_answer(relay: ChatRelay, in_order: InOrder) -> None:
    taken, gone = asyncio.Event(), asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        taken.set()
        await reader.read()
        gone.set()
        writer.close()

    late = await asyncio.start_server(take, "127.0.0.1", 0)
    port = late.sockets[0].getsockname()[1]
    async with (
        late,
        asking(relay, f"http://127.0.0.1:{port}{GATEWAY_PATH}") as client,
        serving(Door(client, "a.example"), Guard(None), ListenAddress("127.0.0.1", 0)) as url,
    ):
        await client.verify()
        in_order.reverse = True
        posting = asyncio.create_task(post(url))
        async with asyncio.timeout(5):
            await taken.wait()
            posting.cancel()
            await gone.wait()
        with suppress(asyncio.CancelledError):
            await posting


async def test_a_proxy_that_stops_ends_what_is_under_way(relay: ChatRelay) -> None:
    relay.hold_after = 2
    async with ClientSession() as session:
        async with proxy(relay) as url:
            answer = await session.post(f"{url}/chat/completions", json=STREAM)
            await answer.content.readuntil(b"\n\n")
        async with asyncio.timeout(5):
            await relay.gone.wait()
        answer.close()


async def test_an_app_that_reads_nothing_is_given_up(relay: ChatRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seclude.client.proxy.serving, "STUCK_SECONDS", 0.3)
    relay.events = (piece("x" * 60_000),) * 400
    relay.hold_after = 1000
    async with proxy(relay) as url:
        host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
        _, writer = await asyncio.open_connection(host, int(port), limit=1024)
        body = msgspec.json.encode(STREAM)
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        async with asyncio.timeout(10):
            await relay.gone.wait()
        writer.transport.abort()


def test_events_out_of_order_are_refused() -> None:
    head = Head("chatcmpl-1", 1, "m")
    for name, data, error in (
        ("error", b"not JSON", TaskError),
        ("message", b"[DONE] ", UpstreamError),
    ):
        with pytest.raises(error):
            Chunks(head, include_usage=False).take(Event(name, data))
    chunks = Chunks(head, include_usage=False)
    assert chunks.take(Event("other", b"x")) is None, "an event of a kind that is not known says nothing"
    assert chunks.take(Event("message", encode(ChatChunk(choices=(ChunkChoice(Delta()),))))) is None
    assert event("error", b"{}").startswith(b"event: error")
