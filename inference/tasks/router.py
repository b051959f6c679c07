"""The worker's inner HTTP: one decrypted request to one answer, bytes to bytes, keeping nothing.

What is wrong with a request is answered here, naming the path and the expectation, never the content. Anything else is
raised, and the caller turns it into an answer that says nothing.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from inference.answer import Emit, Events, event
from inference.engine.encoder import Encoder
from inference.engine.highlights import summarize
from inference.tasks.rewrite import RULES, rewrite
from seclude.bhttp import Field, Request, Response, get
from seclude.daemon.accept import choose
from seclude.errors import DecodeError
from seclude.ohttp.media import EVENT_STREAM, PROBLEM, media_type
from seclude.tasks import (
    HIGHLIGHT_EVENT,
    JSON,
    MAX_REQUEST_BYTES,
    REWRITE_PATH,
    SUMMARIZE_PATH,
    SUMMARY_EVENT,
    Highlight,
    Problem,
    RewriteRequest,
    SummarizeRequest,
    decode,
    encode,
)

METHOD: Final = b"POST"  # every task's


class Tasks:
    """What a worker can be asked to do."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._tasks: Final[dict[bytes, Callable[[bytes, str], Response | Events]]] = {
            SUMMARIZE_PATH.encode(): self._summarize,
            REWRITE_PATH.encode(): _rewrite,
        }

    def handle(self, request: Request) -> Response | Events:
        """Answer one request. Every error of the peer is an answer too; anything else is raised."""
        task = self._tasks.get(request.path)
        if task is None:
            return _problem(404)
        if request.method != METHOD:
            return _problem(405, fields=(Field(b"allow", METHOD),))
        content_type = get(request.fields, b"content-type") or b""
        if media_type(content_type.decode("latin-1")) != JSON:
            return _problem(415, f"the content must be {JSON}")
        if len(request.content) > MAX_REQUEST_BYTES:
            return _problem(413, f"the content may have {MAX_REQUEST_BYTES} octets")
        accept = (get(request.fields, b"accept") or b"").decode("latin-1")
        try:
            return task(request.content, accept)
        except DecodeError as exc:
            return _problem(400, str(exc))

    def _summarize(self, content: bytes, accept: str) -> Response | Events:
        request = decode(SummarizeRequest, content)
        if choose(accept, (JSON, EVENT_STREAM)) != EVENT_STREAM:
            return _response(200, JSON, encode(summarize(request, self._encoder)))

        def produce(emit: Emit) -> None:
            def tell(highlight: Highlight) -> None:
                emit(event(HIGHLIGHT_EVENT, encode(highlight)))

            emit(event(SUMMARY_EVENT, encode(summarize(request, self._encoder, tell))))

        return Events(produce)


def _rewrite(content: bytes, _accept: str) -> Response:
    request = decode(RewriteRequest, content)
    if request.tone not in RULES:
        return _problem(501, f"{request.tone} needs a language model, and this worker has none")
    return _response(200, JSON, encode(rewrite(request)))


def _problem(status: int, detail: str | None = None, fields: tuple[Field, ...] = ()) -> Response:
    """Return a problem document (RFC 9457); its title is the status's, since its type is about:blank."""
    problem = Problem(status=status, title=HTTPStatus(status).phrase, detail=detail)
    return _response(status, PROBLEM, encode(problem), fields)


def _response(status: int, kind: str, content: bytes, fields: tuple[Field, ...] = ()) -> Response:
    return Response(status, (Field(b"content-type", kind.encode()), *fields), content)
