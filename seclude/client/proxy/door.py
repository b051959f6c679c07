"""What is behind the local address, without its sockets: an app's request in, an answer of the pool out.

    async with door.answering(Local("POST", "/v1/chat/completions", "application/json", body)) as reply:
        ...                    # a body of octets, or pieces that come as the worker makes them

Of the app's request only the body counts, and of that what `fields` lets through: no header goes on. The block's end,
however it comes, ends the request to the pool too. Whatever goes wrong is an answer in OpenAI's form.
"""

import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final, TypeVar
from urllib.parse import unquote

from seclude import bhttp
from seclude.chat import CHAT_PATH, MODELS_PATH, ChatResponse, ModelList
from seclude.client.answers import parse_problem
from seclude.client.asking import Streaming
from seclude.client.events import Event, EventReader
from seclude.client.proxy import shapes
from seclude.client.proxy.fields import Asked, parse_asked
from seclude.client.proxy.refusals import ALWAYS, JSON_TYPE, LocalError, WorkerBusyError, refusal_for
from seclude.client.proxy.shapes import Chunks, Head
from seclude.client.sdk import Client
from seclude.errors import DATE, DecodeError, Error, TaskError, UpstreamError
from seclude.ohttp.media import EVENT_STREAM, media_type
from seclude.tasks import MAX_REQUEST_BYTES, Problem, decode, encode

MAX_BODY_BYTES: Final = 2 * MAX_REQUEST_BYTES  # JSON may escape letters, or be indented; what goes on is written anew
LEGACY_PATH: Final = "/v1/completions"
GARBLED: Final = "the worker's answer is not one that this version of the software can read"
WORDS: Final = {
    404: "the pool has no model of this name; GET /v1/models lists them",
    413: "the chat is longer than the context of the model; send less of it",
    501: "this pool runs no language model: none installed",
    503: "no worker has room; try again in a moment",
}
"""What a worker means, who may say no more than the status."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, repr=False)
class Local:
    """What of an app's request is looked at here."""

    method: str
    path: str
    content_type: str | None = None
    body: bytes = b""


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """An answer for an app: whole, or in pieces, which may be read once."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes | AsyncGenerator[bytes, None]


class Door:
    """Answers apps of this device. Nothing of a request is kept after its answer."""

    def __init__(self, client: Client, origin: str, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._origin = origin.encode()
        self._clock = clock

    @asynccontextmanager
    async def answering(self, local: Local) -> AsyncIterator[Reply]:
        """Give the answer to a request; pieces of it must be read inside the block."""
        async with AsyncExitStack() as stack:
            try:
                reply = await self._answer(local, stack)
            except Exception as exc:  # noqa: BLE001 - an app gets an answer in its form, and no word of what broke
                reply = refuse(exc)
            yield reply

    async def _answer(self, local: Local, stack: AsyncExitStack) -> Reply:
        method, path = local.method, local.path.partition("?")[0].rstrip("/")
        if path == CHAT_PATH:
            _require_method(method, "POST")
            return await self._chat(_parse(local), stack)
        if path == MODELS_PATH:
            _require_method(method, "GET")
            return _json(shapes.models(await self._models(), int(self._clock())))
        if path.startswith(f"{MODELS_PATH}/"):
            _require_method(method, "GET")
            name = unquote(path.removeprefix(f"{MODELS_PATH}/"))
            return _json(shapes.model(await self._models(), name, int(self._clock())))
        if path == LEGACY_PATH:
            raise LocalError(f"only chats are answered here; use {CHAT_PATH}", status=404, code="not_found")
        raise LocalError(f"nothing is here; there are {CHAT_PATH} and {MODELS_PATH}", status=404, code="not_found")

    async def _models(self) -> ModelList:
        answer = await self._whole(b"GET", MODELS_PATH, b"")
        return _read(ModelList, answer)

    async def _chat(self, asked: Asked, stack: AsyncExitStack) -> Reply:
        content = encode(asked.request)
        if len(content) > MAX_REQUEST_BYTES:
            raise TaskError(f"the request is larger than {MAX_REQUEST_BYTES} octets; send less of the chat", status=413)
        identifier, now = f"chatcmpl-{secrets.token_hex(12)}", int(self._clock())
        if asked.request.stream:
            answer = await self._begin(CHAT_PATH, content, stack)
            chunks = Chunks.of(asked.request, identifier, now, include_usage=asked.include_usage)
            return Reply(200, (("Content-Type", EVENT_STREAM), *ALWAYS), _pieces(answer, chunks))
        whole = _read(ChatResponse, await self._whole(b"POST", CHAT_PATH, content))
        return _json(shapes.whole(Head(identifier, now, asked.request.model), whole))

    async def _whole(self, method: bytes, path: str, content: bytes) -> bhttp.Response:
        """Return the worker's answer of status 200; raises what it says instead.

        A date that the worker refuses is corrected by its own, for one retry (RFC 9458, section 6.5.2).
        """
        response = await self._client.request(self._inner(method, path, content, self._date()))
        if (corrected := _corrected_date(response)) is not None:
            response = await self._client.request(self._inner(method, path, content, corrected))
        if response.status != 200:
            raise _refusal(response)
        return response

    async def _begin(self, path: str, content: bytes, stack: AsyncExitStack) -> Streaming:
        """Return the worker's answer of status 200, whose content is to come; as above."""
        date = self._date()
        for last in (False, True):
            message = self._inner(b"POST", path, content, date, accept=EVENT_STREAM)
            answer = await stack.enter_async_context(self._client.stream(message))
            if answer.head.status == 200:
                kind = bhttp.get(answer.head.fields, b"content-type") or b""
                if media_type(kind.decode("latin-1")) != EVENT_STREAM:
                    raise UpstreamError(GARBLED)
                return answer
            refused = bhttp.Response(answer.head.status, answer.head.fields, await answer.read())
            corrected = _corrected_date(refused)
            if last or corrected is None:
                raise _refusal(refused)
            date = corrected
        raise AssertionError("the second refusal is raised")

    def _date(self) -> bytes:
        return formatdate(self._clock(), usegmt=True).encode()

    def _inner(
        self, method: bytes, path: str, content: bytes, date: bytes, *, accept: str = JSON_TYPE
    ) -> bhttp.Request:
        """Return the request for the worker, whose fields are the same from every app and every device."""
        fields = [bhttp.Field(b"accept", accept.encode()), bhttp.Field(b"date", date)]
        if method == b"POST":
            fields.append(bhttp.Field(b"content-type", JSON_TYPE.encode()))
        return bhttp.Request(method, b"https", self._origin, path.encode(), tuple(fields), content)


def refuse(exc: Exception) -> Reply:
    """Return the answer that says why there is none."""
    refusal = refusal_for(exc)
    return Reply(refusal.status, refusal.fields(), refusal.body())


async def _pieces(answer: Streaming, chunks: Chunks) -> AsyncGenerator[bytes, None]:
    """Give the events for an app as the worker's come; the last is DONE where all came, and an error everywhere else.

    DONE waits for the end of the encapsulated answer: until then, whoever carries it could still cut it.
    """
    reader = EventReader()
    yield chunks.begin()
    try:
        async with aclosing(answer.content()) as pieces:
            async for piece in pieces:
                for each in _events(reader, piece):
                    if (shown := chunks.take(each)) is not None:
                        yield shown
        yield chunks.end()
    except Exception as exc:  # noqa: BLE001 - the status is out; what is left to say is that this is not the whole of it
        yield shapes.event(refusal_for(exc).body())


def _events(reader: EventReader, piece: bytes) -> list[Event]:
    try:
        return reader.feed(piece)
    except DecodeError:
        raise UpstreamError(GARBLED) from None


def _parse(local: Local) -> Asked:
    if media_type(local.content_type) != JSON_TYPE:  # which no page of another origin can send without being asked
        raise LocalError("the request must be application/json", status=415, code="media_type")
    return parse_asked(local.body)


def _require_method(method: str, wanted: str) -> None:
    if method != wanted:
        raise LocalError(f"the method here is {wanted}", status=405, code="method")


def _json(body: bytes) -> Reply:
    return Reply(200, (("Content-Type", JSON_TYPE), *ALWAYS), body)


def _read(kind: type[T], response: bhttp.Response) -> T:
    try:
        return decode(kind, response.content)
    except DecodeError:
        raise UpstreamError(GARBLED) from None


def _problem(response: bhttp.Response) -> Problem:
    kind = bhttp.get(response.fields, b"content-type")
    return parse_problem(kind.decode("latin-1") if kind else None, response.content)


def _corrected_date(response: bhttp.Response) -> bytes | None:
    if response.status != 400 or _problem(response).type != DATE:
        return None
    return bhttp.get(response.fields, b"date")


def _refusal(response: bhttp.Response) -> Error:
    """Return what the worker's own refusal means."""
    problem = _problem(response)
    sentence = problem.detail or WORDS.get(response.status) or problem.title or f"the worker answered {response.status}"
    if response.status == 503:
        wait = bhttp.get(response.fields, b"retry-after") or b""
        seconds = int(wait) if wait.isdigit() and len(wait) <= 3 else 1
        return WorkerBusyError(sentence, retry_after_seconds=seconds)
    return TaskError(sentence, status=response.status)
