"""Models that write: each text its own answer, alone or together, whole sentences, and nothing for who cannot wait."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.engine.batching import Batcher
from inference.engine.generation import Ended, Generation, Options, is_token
from inference.engine.seq2seq import Seq2Seq
from inference.engine.template import recognise
from inference.engine.writer import LanguageWriter, SummariserWriter, Writer, _whole
from inference.runner import Runner
from seclude.errors import BusyError, TooLargeError
from tests.exports import tiny
from tests.inference.engine.tiny import VOCABULARY, Tiny

SEED = bytes(range(32))
CHATML = "'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'"


class Spelling(Tiny):
    """A decoder that writes letters, spaces and full stops, by what it has read."""

    def __init__(self, slots: int, *, context: int = 4096, step_seconds: float = 0.0) -> None:
        super().__init__(slots, context=context, step_seconds=step_seconds)

    def piece(self, token: int) -> bytes:
        return b"abc. "[token % 5 :][:1]


@asynccontextmanager
async def writing(decoder: Tiny, *, waiting: int = 100, wishes: Options | None = None) -> AsyncIterator[LanguageWriter]:
    batcher, runner = Batcher[str | Ended](decoder, waiting=waiting), Runner(1, 100)
    try:
        template = recognise(CHATML, "", "<|im_end|>", is_token(decoder))
        generation = Generation(decoder, template, batcher, runner)
        yield LanguageWriter(generation, "spelling", context=decoder.context, wishes=wishes)
    finally:
        batcher.close()
        runner.close()


def takes(writer: Writer) -> str:
    """Say to the type checker that these are writers."""
    return writer.name


async def test_texts_written_together_are_those_written_alone() -> None:
    texts = ["hello", "good morning", "at five", "who", "where"]
    async with writing(Spelling(3)) as writer:
        assert takes(writer) == "spelling"
        together = await writer.write("Say it.", texts, most=60, seed=SEED)
        alone = [(await writer.write("Say it.", [text], most=60, seed=SEED))[0] for text in texts]
    assert together == alone
    assert len(set(together)) == len(texts)


async def test_the_instruction_is_read() -> None:
    async with writing(Spelling(2)) as writer:
        first, second = [await writer.write(how, ["hello"], most=60, seed=SEED) for how in ("Say it.", "Sing it.")]
    assert first != second


async def test_equal_texts_get_different_answers_and_the_same_seed_the_same_ones() -> None:
    class Even(Spelling):
        """Every letter is as likely as the others."""

        def step(self, tokens: Mapping[int, int]) -> dict[int, NDArray[np.float32]]:
            return {slot: row * 0 for slot, row in super().step(tokens).items()}

    async with writing(Even(4)) as writer:
        made = [await writer.write("Say it.", ["hello"] * 3, most=80, seed=SEED) for _ in range(2)]
        other = await writer.write("Say it.", ["hello"] * 3, most=80, seed=bytes(32))
    assert made[0] == made[1]
    assert len(set(made[0])) == 3
    assert made[0][0] == other[0], "the first one is without chance"
    assert made[0][1:] != other[1:]


async def test_one_request_leaves_slots_to_others() -> None:
    decoder = Spelling(8)
    async with writing(decoder) as writer:
        decoder.log.clear()
        await writer.write("Say it.", ["x" * number for number in range(1, 20)], most=20, seed=SEED)
    assert max(len(slots) for what, slots, _ in decoder.log if what == "step" and isinstance(slots, tuple)) == 4


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 8])
async def test_an_idle_engine_has_room_for_all_texts_of_a_request(slots: int) -> None:
    decoder = Spelling(slots)
    async with writing(decoder, waiting=0) as writer:
        for texts in (["hello"] * 4, ["a", "b", "c", "d", "e"]):
            decoder.log.clear()
            await writer.write("Say it.", texts, most=20, seed=SEED)
            assert sum(what == "clear" for what, *_ in decoder.log) == len(texts)
            seated = max(len(each) for what, each, _ in decoder.log if what == "step" and isinstance(each, tuple))
            assert seated <= max(1, slots // 2)


async def test_of_equal_texts_as_many_are_answered_as_there_is_room_for() -> None:
    decoder = Spelling(8, step_seconds=0.002)
    decoder.eos = frozenset({VOCABULARY})  # so that the others are at work for as long as this takes
    async with writing(decoder, waiting=0) as writer, asyncio.TaskGroup() as group:
        others = [group.create_task(writer.write("Say it.", [text], most=2000, seed=SEED)) for text in "abcdef"]
        await asyncio.sleep(0.1)
        made = await writer.write("Say it.", ["hello"] * 4, most=200, seed=SEED)
        assert sum(map(bool, made)) == 2
        with pytest.raises(BusyError):
            await writer.write("Say it.", ["hello", "hello", "you", "there"], most=200, seed=SEED)
        for other in others:
            assert not other.done()
            other.cancel()


async def test_what_the_models_files_wish_holds() -> None:
    decoder = Spelling(2)
    async with writing(decoder, wishes=Options(max_tokens=5)) as writer:
        decoder.log.clear()
        await writer.write("Say it.", ["hello"], most=60, seed=SEED)
        assert sum(what == "step" for what, *_ in decoder.log) < 5


async def test_no_room_in_time_is_said() -> None:
    async with writing(Spelling(1, step_seconds=0.005), waiting=0) as writer:
        first = asyncio.create_task(writer.write("Say it.", ["hello"], most=200, seed=SEED))
        await asyncio.sleep(0.05)
        with pytest.raises(BusyError):
            await writer.write("Say it.", ["a", "b"], most=20, seed=SEED)
        first.cancel()


async def test_who_stops_waiting_frees_the_slots() -> None:
    decoder = Spelling(4, step_seconds=0.005)
    async with writing(decoder) as writer:
        decoder.log.clear()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await writer.write("Say it.", ["a", "b"], most=4000, seed=SEED)
        await writer.write("Say it.", ["c"], most=4, seed=SEED)
    cleared = [place for place, (what, *_) in enumerate(decoder.log) if what == "clear"]
    assert len(cleared) == 3
    assert cleared[1] < 200, "of the thousands of steps that they wanted"
    steps = [slots for what, slots, _ in decoder.log[cleared[1] :] if what == "step"]
    assert all(isinstance(slots, tuple) and len(slots) == 1 for slots in steps)


async def test_what_does_not_fit_is_too_large() -> None:
    async with writing(Spelling(1, context=64)) as writer:
        assert writer.window == 32
        with pytest.raises(TooLargeError):
            await writer.write("Say it.", ["x" * 64], most=4, seed=SEED)


async def test_a_count_is_what_a_text_adds() -> None:
    async with writing(Spelling(1)) as writer:
        assert [writer.count(text) for text in ("", "abc", "<|im_end|>")] == [0, 3, 10]


@pytest.mark.parametrize(
    ("text", "whole", "uncut"),
    [
        (" One. Two", "One.", "One. Two"),
        ("We meet at 5.", "We meet at 5.", "We meet at 5."),
        ("We meet at 5.3", "", "We meet at 5.3"),
        ('"So?" he', '"So?"', '"So?" he'),
        ("\u0939\u093e\u0902\u0964 \u0915", "\u0939\u093e\u0902\u0964", "\u0939\u093e\u0902\u0964 \u0915"),
        ("", "", ""),
    ],
)
def test_a_text_that_was_cut_ends_with_a_sentence(text: str, whole: str, uncut: str) -> None:
    assert _whole(text, cut=True) == whole
    assert _whole(text, cut=False) == uncut


TEXTS = ("Ana: shall we say five?\nBo: fine", "Ana: at the station then", "Cem: I'll bring the grill\nBo: great")


@pytest.fixture(params=["tiny-bart", "tiny-t5"])
def model(request: pytest.FixtureRequest) -> Seq2Seq:
    return Seq2Seq(tiny(request.param))


def said(model: Seq2Seq, text: str, most: int) -> str:
    """Return what the model makes of a text alone, every token of it."""
    return b"".join(map(model.piece, model.generate(model.encode(text), model.rules(most)))).decode(errors="ignore")


async def test_a_summariser_makes_of_texts_together_what_it_makes_of_each(
    model: Seq2Seq, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.engine.writer._whole", lambda text, cut: text)  # random weights end no sentence
    runner = Runner(1, 4)
    try:
        writer = SummariserWriter(model, runner)
        assert takes(writer) == model.name
        made = await writer.write("is not read", TEXTS, most=20, seed=SEED)
        monkeypatch.setattr(model, "_alone", "its rows move each other")
        assert await writer.write("", TEXTS, most=20, seed=SEED) == made
    finally:
        runner.close()
    assert made == [said(model, text, 20) for text in TEXTS]
    assert any(made)


async def test_a_summariser_counts_what_fits(model: Seq2Seq) -> None:
    runner = Runner(1, 4)
    try:
        writer = SummariserWriter(model, runner)
        assert writer.count("") == 0
        text = "word " * writer.window
        while writer.count(text) > writer.window:
            text = text[:-1]
        await writer.write("", [text], most=4, seed=SEED)
        with pytest.raises(TooLargeError):
            await writer.write("", [text * 2], most=4, seed=SEED)
        assert await writer.write("", [], most=4, seed=SEED) == []
    finally:
        runner.close()


async def test_a_summariser_stops_within_a_step_when_nobody_waits(model: Seq2Seq) -> None:
    runner = Runner(1, 4)
    try:
        task = asyncio.create_task(SummariserWriter(model, runner).write("", TEXTS * 20, most=100, seed=SEED))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            while runner.busy:  # noqa: ASYNC110 - a task's end has no event
                await asyncio.sleep(0.01)
    finally:
        runner.close()
