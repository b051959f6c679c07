"""The worker's inner HTTP: one decrypted request to one answer, bytes to bytes, keeping nothing.

What is wrong with a request is answered here, naming the path and the expectation, never the content. Anything else is
raised, and the caller turns it into an answer that says nothing.
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Final

from inference.answer import Answer, Emit, Events, Spoken, event, refuse, reply
from inference.engine.encoder import Encoder
from inference.engine.highlights import summarize
from inference.engine.seq2seq import Seq2Seq
from inference.engine.writer import LanguageWriter, SummariserWriter, Writer
from inference.runner import Runner
from inference.tasks.chat import chat, models
from inference.tasks.language import LanguageModel, new_seed
from inference.tasks.rewrite import RULES, rewrite
from inference.tasks.summary import summarize_with, summary_events
from inference.tasks.tone import INSTRUCTIONS, reword
from seclude.bhttp import Field, Request, Response, get
from seclude.chat import CHAT_PATH, MODELS_PATH, ChatRequest
from seclude.daemon.accept import choose
from seclude.errors import DecodeError, UsageError
from seclude.ohttp.media import EVENT_STREAM, media_type
from seclude.tasks import (
    HIGHLIGHT_EVENT,
    JSON,
    MAX_REQUEST_BYTES,
    REWRITE_PATH,
    SUMMARIZE_PATH,
    SUMMARY_EVENT,
    Highlight,
    RewriteRequest,
    SummarizeRequest,
    decode,
    encode,
)

POST: Final = b"POST"  # the method of every task that brings something
GET: Final = b"GET"
SUMMARIES_WAITING: Final = 1  # behind the one at work: who came third would be late, and is told at once


@dataclass(frozen=True, slots=True)
class _Pen:
    """A model that writes, and the threads for what has to be thought about it."""

    writer: Writer
    runner: Runner
    own: Runner | None = None
    """The writer's own thread, where it has one."""


class Tasks:
    """What a worker can be asked to do."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        runner: Runner | None = None,
        language: LanguageModel | None = None,
        summariser: Seq2Seq | None = None,
    ) -> None:
        """A summariser, where there is one, writes the abstracts, and else the language model; `runner` is theirs."""
        self._encoder = encoder
        self.language: Final = language
        self._tones = self._abstracts = None
        if language is not None or summariser is not None:
            self._tones, self._abstracts = _pens(language, summariser, runner)
        self._tasks: Final[dict[bytes, Callable[[bytes, str], Answer]]] = {
            SUMMARIZE_PATH.encode(): self._summarize,
            REWRITE_PATH.encode(): self._rewrite,
            CHAT_PATH.encode(): self._chat,
        }

    def close(self) -> None:
        """End what is being written."""
        if self.language is not None:
            self.language.close()
        if self._abstracts is not None and self._abstracts.own is not None:
            self._abstracts.own.close()

    def handle(self, request: Request) -> Answer:
        """Answer one request. Every error of the peer is an answer too; anything else is raised."""
        if request.path == MODELS_PATH.encode():
            return models(self.language) if request.method == GET else _only(GET)
        task = self._tasks.get(request.path)
        if task is None:
            return refuse(404)
        if request.method != POST:
            return _only(POST)
        content_type = get(request.fields, b"content-type") or b""
        if media_type(content_type.decode("latin-1")) != JSON:
            return refuse(415, f"the content must be {JSON}")
        if len(request.content) > MAX_REQUEST_BYTES:
            return refuse(413, f"the content may have {MAX_REQUEST_BYTES} octets")
        accept = (get(request.fields, b"accept") or b"").decode("latin-1")
        try:
            return task(request.content, accept)
        except DecodeError as exc:
            return refuse(400, str(exc))

    def _summarize(self, content: bytes, accept: str) -> Answer:
        request, encoder, pen = decode(SummarizeRequest, content), self._encoder, self._abstracts
        streamed = choose(accept, (JSON, EVENT_STREAM)) == EVENT_STREAM
        if pen is not None and request.abstract:
            return _abstract(request, encoder, pen, streamed=streamed)
        if not streamed:
            return reply(encode(summarize(request, encoder)))

        def produce(emit: Emit) -> None:
            def tell(highlight: Highlight) -> None:
                emit(event(HIGHLIGHT_EVENT, encode(highlight)))

            emit(event(SUMMARY_EVENT, encode(summarize(request, encoder, tell))))

        return Events(produce)

    def _rewrite(self, content: bytes, _accept: str) -> Answer:
        request, pen = decode(RewriteRequest, content), self._tones
        if pen is not None and request.tone in INSTRUCTIONS:
            return _wording(request, pen)
        if request.tone not in RULES:
            return refuse(501, f"{request.tone} needs a language model, and this worker has none")
        return reply(encode(rewrite(request)))

    def _chat(self, content: bytes, _accept: str) -> Answer:
        return chat(decode(ChatRequest, content), self.language)


def _pens(
    language: LanguageModel | None, summariser: Seq2Seq | None, runner: Runner | None
) -> tuple[_Pen | None, _Pen | None]:
    """Return what writes in tones, and what writes abstracts."""
    if runner is None:
        raise UsageError("models that write need a runner")
    tones = abstracts = None
    if language is not None:
        generation, name, context = language.generation, language.name, language.context
        writer = LanguageWriter(generation, name, context=context, wishes=language.defaults)
        tones = abstracts = _Pen(writer, runner)
    if summariser is not None:
        own = Runner(1, SUMMARIES_WAITING)  # it is at one request for seconds, and no other task must wait for that
        abstracts = _Pen(SummariserWriter(summariser, own), runner, own)
    return tones, abstracts


def _abstract(request: SummarizeRequest, encoder: Encoder, pen: _Pen, *, streamed: bool) -> Spoken:
    async def whole() -> Response:
        return reply(encode(await summarize_with(request, encoder, pen.writer, pen.runner, new_seed())))

    async def events() -> AsyncGenerator[bytes, None]:
        return summary_events(request, encoder, pen.writer, pen.runner, new_seed())

    return Spoken(events if streamed else whole)


def _wording(request: RewriteRequest, pen: _Pen) -> Spoken:
    async def whole() -> Response:
        return reply(encode(await reword(request, pen.writer, pen.runner, new_seed())))

    return Spoken(whole)


def _only(method: bytes) -> Response:
    return refuse(405, fields=(Field(b"allow", method),))
