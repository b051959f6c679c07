"""The worker's inner HTTP: every path, method and error, bytes to bytes."""

import asyncio
import json
import threading
from collections.abc import Sequence
from contextlib import closing

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.answer import Events, Spoken
from inference.engine.generation import Options, is_token
from inference.engine.logits import Rules
from inference.engine.seq2seq import Batch, Chance, Seq2Seq
from inference.engine.template import recognise
from inference.runner import Runner
from inference.tasks.language import LanguageModel
from inference.tasks.router import Tasks
from inference.tasks.summary import BUSY
from seclude.bhttp import Field, Request, Response, get, parse_response, serialize_response
from seclude.tasks import (
    MAX_REQUEST_BYTES,
    TONES,
    Highlight,
    Message,
    Problem,
    RewriteRequest,
    RewriteResponse,
    SummarizeRequest,
    SummarizeResponse,
    Tone,
    decode,
    encode,
)
from tests.exports import tiny
from tests.inference.engine.test_generation import CHATML
from tests.inference.engine.tiny import Tiny

JSON = Field(b"content-type", b"application/json")
SUMMARIZE = b"/v1/summarize"
REWRITE = b"/v1/rewrite"
CHAT = encode(SummarizeRequest(messages=(Message("Ana", "I'll book a table for six at 7"), Message("Bo", "ok"))))
DRAFT = encode(RewriteRequest(text="i dont know", tone="proofread"))


class ConstantEncoder:
    name = "constant"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.ones((len(texts), 1), dtype=np.float32)


class BrokenEncoder(ConstantEncoder):
    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise ZeroDivisionError


def ask(path: bytes, content: bytes, *, method: bytes = b"POST", fields: tuple[Field, ...] = (JSON,)) -> Response:
    request = Request(method, b"https", b"ai.example", path, fields, content)
    return parse_response(serialize_response(handle(request)))


def handle(request: Request) -> Response:
    answer = Tasks(ConstantEncoder()).handle(request)
    assert isinstance(answer, Response)
    return answer


def assert_refused(answer: Response, status: int) -> Problem:
    assert answer.status == status
    assert get(answer.fields, b"content-type") == b"application/problem+json"
    problem = decode(Problem, answer.content)
    assert (problem.status, problem.type) == (status, "about:blank")
    assert set(json.loads(answer.content)) == {"type", "title", "status", "detail"}
    return problem


def test_a_chat_is_summarised() -> None:
    answer = ask(SUMMARIZE, CHAT)
    assert (answer.status, get(answer.fields, b"content-type")) == (200, b"application/json")
    summary = decode(SummarizeResponse, answer.content)
    assert summary.text.startswith("Ana: I'll book a table for six at 7")
    assert summary.model == "constant"


def test_a_draft_is_rewritten() -> None:
    answer = ask(REWRITE, DRAFT, fields=(Field(b"content-type", b'Application/JSON; charset="utf-8"'),))
    assert decode(RewriteResponse, answer.content).text == "I don't know"


@pytest.mark.parametrize("tone", TONES)
def test_a_tone_without_rules_says_what_it_needs(tone: Tone) -> None:
    answer = ask(REWRITE, encode(RewriteRequest(text="hello", tone=tone)))
    if tone in ("rephrase", "supportive", "funny"):
        detail = assert_refused(answer, 501).detail
        assert detail is not None
        assert "needs a language model" in detail
    else:
        assert answer.status == 200


@pytest.mark.parametrize(
    "path", [b"/", b"/v1", b"/v1/", b"/v1/summarize/", b"/v1/summarize?x=1", b"/V1/summarize", b"//v1/summarize"]
)
def test_only_the_exact_paths_exist(path: bytes) -> None:
    assert_refused(ask(path, CHAT), 404)


@pytest.mark.parametrize("path", [SUMMARIZE, REWRITE])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"post"])
def test_only_post_is_allowed(method: bytes, path: bytes) -> None:
    answer = ask(path, CHAT, method=method)
    assert_refused(answer, 405)
    assert get(answer.fields, b"allow") == b"POST"


@pytest.mark.parametrize(
    "value", [None, b"text/plain", b"application/jsonp", b"application/json, application/json", b"\xe9"]
)
def test_another_content_type_is_refused(value: bytes | None) -> None:
    fields = () if value is None else (Field(b"content-type", value),)
    assert_refused(ask(SUMMARIZE, CHAT, fields=fields), 415)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (SUMMARIZE, b""),
        (SUMMARIZE, b"canary"),
        (SUMMARIZE, b'{"messages":[{"sender":"canary","text":"canary","canary":1}]}'),
        (SUMMARIZE, b'{"messages":[{"sender":"A","text":"a","time":"canary"}]}'),
        (SUMMARIZE, DRAFT),
        (REWRITE, b'{"text":"canary","tone":"canary"}'),
        (REWRITE, CHAT),
    ],
)
def test_what_does_not_fit_the_schema_is_refused_without_its_content(path: bytes, content: bytes) -> None:
    answer = ask(path, content)
    problem = assert_refused(answer, 400)
    assert problem.detail
    assert b"canary" not in answer.content


def test_a_request_that_is_too_large_is_refused_before_it_is_read() -> None:
    request = Request(b"POST", b"https", b"", SUMMARIZE, (JSON,), b" " * (MAX_REQUEST_BYTES + 1))
    assert_refused(handle(request), 413)
    padded = CHAT + b" " * (MAX_REQUEST_BYTES - len(CHAT))
    request = Request(b"POST", b"https", b"", SUMMARIZE, (JSON,), padded)
    assert handle(request).status == 200


def test_a_summary_comes_as_events_to_who_asks_for_them() -> None:
    fields = (JSON, Field(b"accept", b"text/event-stream"))
    answer = Tasks(ConstantEncoder()).handle(Request(b"POST", b"https", b"", SUMMARIZE, fields, CHAT))
    assert isinstance(answer, Events)
    made: list[bytes] = []
    answer.produce(made.append)
    whole = decode(SummarizeResponse, ask(SUMMARIZE, CHAT).content)
    events = [each.split(b"\n") for each in made]
    assert [decode(Highlight, event[1].removeprefix(b"data: ")) for event in events[:-1]] == list(whole.highlights)
    assert events[-1][0] == b"event: summary"
    assert decode(SummarizeResponse, events[-1][1].removeprefix(b"data: ")) == whole


def test_a_refused_request_is_no_stream() -> None:
    fields = (JSON, Field(b"accept", b"text/event-stream"))
    assert_refused(ask(SUMMARIZE, b"{}", fields=fields), 400)


@pytest.mark.parametrize("cut", range(0, len(CHAT), 7))
def test_every_truncation_is_refused(cut: int) -> None:
    assert_refused(ask(SUMMARIZE, CHAT[:cut]), 400)


def test_our_own_fault_is_raised_and_not_answered() -> None:
    request = Request(b"POST", b"https", b"", SUMMARIZE, (JSON,), CHAT)
    with pytest.raises(ZeroDivisionError):
        Tasks(BrokenEncoder()).handle(request)


async def test_a_wording_is_made_as_the_models_settings_say() -> None:
    """Its longest answer, here: with settings of the writer's own there would be many more steps."""
    decoder, content = Tiny(2), encode(RewriteRequest(text="are you free at 5 tomorrow or on Friday", tone="funny"))
    with closing(Runner(1, 4)) as runner:
        template = recognise(CHATML, "", "<|im_end|>", is_token(decoder))
        model = LanguageModel("small", decoder, template, runner, waiting=4, defaults=Options(max_tokens=3))
        with closing(Tasks(ConstantEncoder(), runner=runner, language=model)) as tasks:
            decoder.log.clear()
            answer = tasks.handle(Request(b"POST", b"https", b"", REWRITE, (JSON,), content))
            assert isinstance(answer, Spoken)
            assert isinstance(await answer.respond(), Response)
    assert 0 < sum(what == "step" for what, *_ in decoder.log) <= 4 * 2


class Held(Seq2Seq):
    """A summariser that is at work until it is let go."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        super().__init__(tiny("tiny-bart"))
        self.gate.clear()

    def begin(
        self, texts: Sequence[Sequence[int]], rules: Rules | None = None, chances: Sequence[Chance] = ()
    ) -> Batch:
        self.gate.wait(60)
        return super().begin(texts, rules, chances)


async def test_a_summariser_keeps_no_other_task_waiting_and_refuses_who_would_wait_long() -> None:
    model = Held()
    with closing(Runner(1, 4)) as runner, closing(Tasks(ConstantEncoder(), runner=runner, summariser=model)) as tasks:

        async def abstract() -> str:
            answer = tasks.handle(Request(b"POST", b"https", b"", SUMMARIZE, (JSON,), CHAT))
            assert isinstance(answer, Spoken)
            response = await answer.respond()
            assert isinstance(response, Response)
            return decode(SummarizeResponse, response.content).note or ""

        asked = [asyncio.create_task(abstract()) for _ in range(3)]
        done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        assert [each.result() for each in done] == [BUSY]
        assert len(waiting) == 2
        assert runner.busy == 0
        assert await runner.run(lambda: "others work") == "others work"
        model.gate.set()
        assert BUSY not in await asyncio.gather(*waiting)
