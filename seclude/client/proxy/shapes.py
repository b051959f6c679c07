"""A worker's answers in OpenAI's shapes: what apps want to see around them is added on this device.

Identifiers are drawn here and times are this device's, so a worker cannot mark an answer with either. Each value is
read as its type and written anew: what a worker may say is what `chat` has a field for.
"""

from typing import Final

import msgspec

from seclude.chat import DONE, ChatChunk, ChatRequest, ChatResponse, Finish, ModelList, Usage
from seclude.client.events import Event
from seclude.errors import DecodeError, TaskError, UpstreamError
from seclude.tasks import ERROR_EVENT, Problem, decode

OWNER: Final = "seclude"
MESSAGE: Final = "message"  # the name of an event that has none
CUT: Final = "the worker ended the answer before it was whole; what came of it is not all of it"
DISORDER: Final = "the worker's answer is not one: its events are out of order"


class Head(msgspec.Struct, frozen=True):
    """What all pieces of an answer have in common."""

    id: str
    created: int
    model: str


def whole(head: Head, answer: ChatResponse) -> bytes:
    """Return an answer as `chat.completion`."""
    choice = answer.choices[0]
    message = {"role": "assistant", "content": choice.message.content, "refusal": None}
    return msgspec.json.encode(
        {
            "id": head.id,
            "object": "chat.completion",
            "created": head.created,
            "model": head.model,
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": choice.finish_reason},
            ],
            "usage": answer.usage,
        }
    )


def models(listed: ModelList, now: int) -> bytes:
    """Return the list of models; when they were made nobody says, so it is now."""
    data = [{"id": each.id, "object": "model", "created": now, "owned_by": OWNER} for each in listed.data]
    return msgspec.json.encode({"object": "list", "data": data})


def model(listed: ModelList, name: str, now: int) -> bytes:
    """Return one model of the list; raises TaskError where it is not there."""
    if all(each.id != name for each in listed.data):
        raise TaskError("the pool has no model of this name; GET /v1/models lists them", status=404)
    return msgspec.json.encode({"id": name, "object": "model", "created": now, "owned_by": OWNER})


def event(data: bytes) -> bytes:
    """Write an event, whose data has no line break, as JSON has none."""
    return b"data: %b\n\n" % data


class Chunks:
    """A streamed answer on its way to an app: pieces, the reason of the end, DONE; in this order and no other."""

    def __init__(self, head: Head, *, include_usage: bool) -> None:
        self._head = head
        self._include_usage = include_usage
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self._done = False

    @classmethod
    def of(cls, request: ChatRequest, identifier: str, now: int, *, include_usage: bool) -> "Chunks":
        """Return the beginning of an answer to a request."""
        return cls(Head(identifier, now, request.model), include_usage=include_usage)

    def begin(self) -> bytes:
        """Return the first chunk, which says who speaks."""
        return self._chunk({"role": "assistant", "content": ""}, None)

    def take(self, given: Event) -> bytes | None:
        """Return what an app is shown of an event; raises TaskError for the worker's own error, or UpstreamError."""
        if given.name == ERROR_EVENT:
            raise _failure(given.data)
        if given.name != MESSAGE:
            return None
        if self._done:
            raise UpstreamError(DISORDER)
        if given.data == DONE:
            self._done = True
            return None
        try:
            chunk = decode(ChatChunk, given.data)
        except DecodeError:
            raise UpstreamError(DISORDER) from None
        self._usage = chunk.usage or self._usage
        if not chunk.choices:
            return None
        if self._finish is not None:
            raise UpstreamError(DISORDER)
        (choice,) = chunk.choices
        self._finish = choice.finish_reason
        delta = {"content": choice.delta.content} if choice.delta.content else {}
        return self._chunk(delta, self._finish) if delta or self._finish else None

    def end(self) -> bytes:
        """Return the end, once the whole answer came and was authentic; raises UpstreamError where it is not whole."""
        if not self._done or self._finish is None:
            raise UpstreamError(CUT)
        usage = b""
        if self._include_usage:
            usage = event(msgspec.json.encode({**self._common(), "choices": [], "usage": self._usage}))
        return usage + event(DONE)

    def _chunk(self, delta: dict[str, str], finish: Finish | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self._include_usage else {}
        return event(msgspec.json.encode({**self._common(), "choices": [choice], **usage}))

    def _common(self) -> dict[str, object]:
        head = self._head
        return {"id": head.id, "object": "chat.completion.chunk", "created": head.created, "model": head.model}


def _failure(data: bytes) -> TaskError:
    try:
        problem = decode(Problem, data)
    except DecodeError:
        problem = Problem()
    return TaskError(problem.detail or problem.title or "the worker failed", status=problem.status or 500)
