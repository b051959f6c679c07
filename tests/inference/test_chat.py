"""Chats: a request of a device to the engine and back, whole and event by event, beside others, refused, given up."""

import asyncio
import codecs
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from inference.chunked import Opening, respond_chunked
from inference.engine.encoder import Encoder
from inference.engine.generation import Options, Words, is_token
from inference.engine.template import recognise
from inference.open import open_request, respond
from inference.pace import Line, Pace, paced
from inference.runner import Runner
from inference.tasks.chat import ENDING_SECONDS
from inference.tasks.language import LanguageModel, wishes_of
from inference.tasks.router import Tasks
from seclude import bhttp, hpke
from seclude.bhttp_stream import Head, ResponseReader
from seclude.chat import CHAT_PATH, MODELS_PATH, ChatChunk, ChatMessage, ChatRequest, ChatResponse, ModelList
from seclude.errors import BusyError, ConfigError
from seclude.hpke import PrivateKey
from seclude.ohttp.chunked import encapsulate_chunked
from seclude.ohttp.encapsulation import HeldKey, encapsulate_request
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms
from seclude.tasks import Problem, decode, encode
from tests.inference.engine.test_generation import CHATML, WHOLE, speaker
from tests.inference.engine.tiny import Tiny, alone
from tests.inference.test_router import ConstantEncoder

NOW = 1_750_000_000.0
KEY = PrivateKey.generate(hpke.KEM_X25519)
CONFIG = KeyConfig(7, KEY.kem, KEY.public_key, (SymmetricAlgorithms(hpke.KDF_HKDF_SHA256, hpke.AEAD_AES_128_GCM),))
HELD = {7: HeldKey(CONFIG, KEY)}
JSON = (bhttp.Field(b"content-type", b"application/json"),)
PACE = Pace(512, 0.002)
NAME = "small"


@dataclass
class World:
    """A worker's tasks over one small decoder, asked through both kinds of encapsulation."""

    tasks: Tasks
    runner: Runner
    model: LanguageModel
    tiny: Tiny

    async def post(self, request: ChatRequest | bytes) -> bhttp.Response:
        content = request if isinstance(request, bytes) else encode(request)
        return await self.ask(b"POST", CHAT_PATH, JSON, content)

    async def ask(
        self, method: bytes, path: str, fields: tuple[bhttp.Field, ...] = (), content: bytes = b""
    ) -> bhttp.Response:
        message = bhttp.Request(method, b"https", b"a.example", path.encode(), fields, content)
        data, opener = encapsulate_request(CONFIG, bhttp.serialize_request(message))
        opened = open_request(data, HELD, lambda _id, _enc: None)
        return bhttp.parse_response(opener.open(await respond(opened, self.tasks.handle, NOW, self.runner)))

    async def stream(self, request: ChatRequest) -> AsyncIterator[Head | bytes]:
        """Yield status and content as they come through chunked OHTTP."""
        message = bhttp.Request(b"POST", b"https", b"a.example", CHAT_PATH.encode(), JSON, encode(request))
        sealer, opener = encapsulate_chunked(CONFIG)
        opening = Opening(HELD, lambda _id, _enc: None)
        opening.feed(sealer.finish(bhttp.serialize_request(message)))
        opened, line, reader = opening.finish(), Line(), ResponseReader()
        job = asyncio.ensure_future(respond_chunked(opened, self.tasks.handle, NOW, self.runner, line))
        async with aclosing(paced(line, job, opened.sealer, PACE)) as pieces:
            async for piece in pieces:
                for plain in opener.feed(piece):
                    for each in reader.feed(plain):
                        yield each
        for each in reader.feed(opener.finish()):
            yield each
        reader.finish()


def chatting(decoder: Words, runner: Runner, *, waiting: int = 10, defaults: Options | None = None) -> LanguageModel:
    template = recognise(CHATML, "", "<|im_end|>", is_token(decoder))
    wishes = defaults or Options(wait_seconds=60.0)
    return LanguageModel(NAME, decoder, template, runner, waiting=waiting, defaults=wishes)


@asynccontextmanager
async def world(tiny: Tiny, *, waiting: int = 10, defaults: Options | None = None) -> AsyncIterator[World]:
    encoder: Encoder = ConstantEncoder()
    with closing(Runner(1, 20)) as runner:
        model = chatting(tiny, runner, waiting=waiting, defaults=defaults)
        with closing(Tasks(encoder, runner=runner, language=model)) as tasks:
            yield World(tasks, runner, model, tiny)


def asks(
    said: str, *, max_tokens: int = 30, stream: bool = False, seed: int | None = None, hot: bool = False
) -> ChatRequest:
    return ChatRequest(
        NAME,
        (ChatMessage("user", said),),
        max_tokens=max_tokens,
        stream=stream,
        seed=seed,
        temperature=2.0 if hot else 0.0,
    )


def chunks(content: bytes) -> list[ChatChunk]:
    """Return what the events of a whole stream say, whose last one is DONE."""
    events = [each for each in content.split(b"\n") if each.startswith(b"data: ")]
    assert events[-1] == b"data: [DONE]"
    return [decode(ChatChunk, each.removeprefix(b"data: ")) for each in events[:-1]]


def told(said: str, most: int) -> str:
    """Return what the small decoder says to somebody who is alone; half a character at the end is not shown."""
    tokens = alone(Tiny(1).encode(WHOLE.format(said), special=True), most)
    octets = bytes(token for token in tokens if 0 < token < 0xFE)
    return codecs.getincrementaldecoder("utf-8")("replace").decode(octets, final=0 in tokens)


def said_by(pieces: list[ChatChunk]) -> str:
    return "".join(choice.delta.content for piece in pieces for choice in piece.choices)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the engine's thread does."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what changes is on another thread
            await asyncio.sleep(0.001)


def detail(answer: bhttp.Response) -> str:
    return decode(Problem, answer.content).detail or ""


@pytest.mark.parametrize("ends", [True, False], ids=["by itself", "for length"])
async def test_a_chat_is_answered_whole(ends: bool) -> None:
    async with world(Tiny(2)) as w:
        said = speaker(30, ends=ends)
        answer = await w.post(asks(said))
        assert (answer.status, answer.fields) == (200, JSON)
        found = decode(ChatResponse, answer.content)
        (choice,) = found.choices
        assert choice.message.content == told(said, 30)
        assert choice.finish_reason == ("stop" if ends else "length")
        assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens
        assert found.usage.completion_tokens <= 30


async def test_the_same_chat_comes_in_chunks_or_as_one_answer_of_events() -> None:
    async with world(Tiny(2)) as w:
        said = speaker(30, ends=False)
        head, *rest = [each async for each in w.stream(asks(said, stream=True))]
        assert isinstance(head, Head)
        assert head.status == 200
        assert bhttp.get(head.fields, b"content-type") == b"text/event-stream"
        content = b"".join(each for each in rest if isinstance(each, bytes))
        assert said_by(chunks(content)) == told(said, 30)
        *pieces, last = chunks(content)
        assert [choice.finish_reason for each in pieces for choice in each.choices] == [None] * len(pieces)
        assert last.choices[0].finish_reason == "length"
        assert last.usage is not None
        assert last.usage.completion_tokens == 30
        together = await w.post(asks(said, stream=True))
        assert chunks(together.content) == [*pieces, last]


async def test_chance_is_the_devices_seed_and_else_the_requests_own() -> None:
    async with world(Tiny(4)) as w:
        texts = [(await w.post(asks("hello", seed=seed, hot=True))).content for seed in (1, 1, -2, None, None)]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 4


@pytest.mark.parametrize("method", [b"POST", b"HEAD", b"get"])
async def test_which_models_there_are(method: bytes) -> None:
    async with world(Tiny(1)) as w:
        assert [model.id for model in decode(ModelList, (await w.ask(b"GET", MODELS_PATH)).content).data] == [NAME]
        refused = await w.ask(method, MODELS_PATH)
        assert (refused.status, bhttp.get(refused.fields, b"allow")) == (405, b"GET")
    assert Tasks(ConstantEncoder()).handle(
        bhttp.Request(b"GET", b"https", b"", MODELS_PATH.encode(), (), b"")
    ) == bhttp.Response(200, JSON, b'{"data":[]}')


async def test_what_cannot_be_answered_says_why_and_shows_nothing() -> None:
    async with world(Tiny(1, context=64)) as w:
        other = msgspec.structs.replace(asks("canary"), model="canary")
        for request, status, words in (
            (other, 404, "there is no model of this name"),
            (asks("canary" * 20), 413, "messages: 139 tokens, of 64 that this model takes"),
            (b'{"model":"small","messages":[],"canary":1}', 400, "length >= 1"),
            (msgspec.structs.replace(asks("a"), messages=(ChatMessage("assistant", "canary"),)), 400, "user's"),
        ):
            answer = await w.post(request)
            assert answer.status == status
            assert words in detail(answer)
            assert b"canary" not in answer.content
        head, *_ = [each async for each in w.stream(asks("canary" * 20, stream=True))]
        assert isinstance(head, Head)
        assert head.status == 413, "what is wrong before the first event is the answer"
    none = Tasks(ConstantEncoder()).handle(
        bhttp.Request(b"POST", b"https", b"", CHAT_PATH.encode(), JSON, encode(asks("hello")))
    )
    assert isinstance(none, bhttp.Response)
    assert none.status == 501


async def test_who_finds_no_room_is_told_when_to_come_back_and_has_begun_nothing() -> None:
    tiny = Tiny(1, step_seconds=0.005)
    async with world(tiny, waiting=0, defaults=Options(wait_seconds=0.01)) as w:
        long = asks(speaker(200, ends=False), max_tokens=200, stream=True)
        async with aclosing(w.stream(long)) as first:  # type: ignore[type-var] # an async generator, as it is made
            await anext(first)
            for stream in (False, True):
                refused = await w.post(asks("hello", stream=stream))
                assert refused.status == 503
                assert int(bhttp.get(refused.fields, b"retry-after") or 0) >= 1
            assert w.model.tally.refused == 2
        await until(lambda: ("clear", 0, None) in tiny.log[-2:])
        assert (await w.post(asks("hello"))).status == 200


async def test_an_answer_in_one_piece_that_takes_long_ends_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = Tiny(1, step_seconds=0.01)
    async with world(tiny) as w:
        monkeypatch.setattr("inference.tasks.chat.WHOLE_SECONDS", ENDING_SECONDS)
        cut = decode(ChatResponse, (await w.post(asks(speaker(200, ends=False), max_tokens=200))).content)
        assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 1)


async def test_an_answer_in_one_piece_that_takes_too_long_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = Tiny(1, step_seconds=0.01)
    async with world(tiny) as w:
        monkeypatch.setattr("inference.tasks.chat.WHOLE_SECONDS", 0.05)
        monkeypatch.setattr("inference.tasks.chat.ENDING_SECONDS", -60.0)
        refused = await w.post(asks(speaker(200, ends=False), max_tokens=200))
        assert (refused.status, bhttp.get(refused.fields, b"retry-after")) == (503, b"30")
        await until(lambda: ("clear", 0, None) in tiny.log[-2:])
        assert sum(what == "step" for what, *_ in tiny.log) < 100


async def test_what_is_spoken_holds_its_place_until_it_ends() -> None:
    tiny = Tiny(1)
    async with world(tiny, waiting=100) as w:
        tiny.gate = threading.Semaphore(0)
        request = asks(speaker(5, ends=False), max_tokens=2)
        waiting = [asyncio.ensure_future(w.post(request)) for _ in range(21)]  # as many as the runner has places
        await until(lambda: w.model.tally.running == 21)
        assert w.runner.busy == 21
        with pytest.raises(BusyError):
            await w.post(request)
        tiny.gate.release(1000)
        assert {(await each).status for each in waiting} == {200}
        assert w.runner.busy == 0


async def test_a_device_that_goes_away_frees_its_slot_before_the_next_step() -> None:
    tiny = Tiny(1)
    tiny.gate = threading.Semaphore(40)
    async with world(tiny) as w:
        stream = w.stream(asks(speaker(500, ends=False), max_tokens=500, stream=True))
        await anext(stream)
        await until(lambda: sum(what == "step" for what, *_ in tiny.log) == 40)
        await stream.aclose()  # type: ignore[attr-defined] # it waits at the gate, in the one step under way
        assert w.model.tally.running == 0
        taken = len(tiny.log)
        for _ in range(100):
            tiny.gate.release()
        await until(lambda: ("clear", 0, None) in tiny.log[taken:])
        assert [what for what, *_ in tiny.log[taken:]].index("clear") <= 1, "after the step under way, and no other"
        assert (await w.post(asks("hello", max_tokens=3))).status == 200


async def test_eight_at_once_each_get_their_own() -> None:
    async with world(Tiny(4, step_seconds=0.0005)) as w:
        said = [f"{number} sheep" for number in range(8)]

        async def ask(words: str) -> str:
            parts = [each async for each in w.stream(asks(words, stream=True, max_tokens=60))]
            return said_by(chunks(b"".join(each for each in parts if isinstance(each, bytes))))

        assert await asyncio.gather(*map(ask, said)) == [told(words, 60) for words in said]
        assert w.model.tally.running == 0


async def test_what_is_counted_tells_no_length() -> None:
    async with world(Tiny(1)) as w:
        await w.post(asks("hello", max_tokens=1))
        assert (w.model.tally.read, w.model.tally.written) == (32, 1)
        await w.post(asks(speaker(20, ends=False), max_tokens=20))
        assert (w.model.tally.read, w.model.tally.written) == (64, 33)


async def test_an_engine_that_has_ended_refuses_and_ends_what_it_had() -> None:
    tiny = Tiny(1, step_seconds=0.002)
    async with world(tiny) as w:
        stream = w.stream(asks(speaker(500, ends=False), max_tokens=500, stream=True))
        await anext(stream)
        w.model.close()
        rest = b"".join([each async for each in stream if isinstance(each, bytes)])
        assert b'event: error\ndata: {"type":"about:blank","title":"Service Unavailable","status":503}' in rest
        assert b"[DONE]" not in rest
        assert (await w.post(asks("hello"))).status == 503


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("{}", Options()),
        ('{"temperature":0.7,"top_p":0.9,"top_k":40}', Options(top_k=40, top_p=0.9)),
        (
            '{"do_sample":true,"temperature":0.7,"repetition_penalty":1.1}',
            Options(temperature=0.7, repetition_penalty=1.1),
        ),
    ],
)
def test_a_models_own_wishes(tmp_path: Path, search: str, expected: Options) -> None:
    (tmp_path / "genai_config.json").write_text(f'{{"search":{search}}}')
    found = wishes_of(tmp_path, max_tokens=7, wait_seconds=2.0)
    assert found == replace(expected, max_tokens=7, wait_seconds=2.0)


@pytest.mark.parametrize(
    "search", ['{"top_p":0}', '{"do_sample":true,"temperature":3}', '{"top_k":"a"}', '{"top_k":true}']
)
def test_wishes_that_make_no_sense_are_refused(tmp_path: Path, search: str) -> None:
    (tmp_path / "genai_config.json").write_text(f'{{"search":{search}}}')
    with pytest.raises(ConfigError, match=r"search\.\w+ must be a number"):
        wishes_of(tmp_path, max_tokens=7, wait_seconds=2.0)
