"""Other wordings of a draft: which of a model's are suggested, and what is where none is."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import get_args

import pytest

from inference.engine.batching import Batcher
from inference.engine.decoder import Decoder
from inference.engine.generation import Ended, Generation, template_of
from inference.engine.writer import LanguageWriter
from inference.runner import Runner
from inference.tasks import tone
from inference.tasks.rewrite import RULES
from inference.tasks.tone import CANDIDATES, INSTRUCTIONS, choose, holds, reword
from seclude.errors import BusyError, TooLargeError, UsageError
from seclude.tasks import RewriteRequest, RewriteResponse, Tone
from tests.languagemodel import named_model

SEED = bytes(32)
DRAFT = "hey Klaus, I can't bring the 40 chairs on friday, sry. could you ask Petra?"
GOOD = "Hello Klaus, unfortunately I cannot bring the 40 chairs on Friday. Could you please ask Petra?"


class Writing:
    """A model of our own: it writes what a test says."""

    name = "ours"
    follows_instructions = True

    def __init__(self, *answers: str, window: int = 1000, waits: float = 0.0, fails: Exception | None = None) -> None:
        self.answers, self.window, self.waits, self.fails = answers, window, waits, fails
        self.calls: list[tuple[str, list[str], int]] = []

    def count(self, text: str) -> int:
        return len(text.split())

    async def write(self, instruction: str, texts: Sequence[str], *, most: int, seed: bytes) -> list[str]:
        self.calls.append((instruction, list(texts), most))
        if self.fails is not None:
            raise self.fails
        await asyncio.sleep(self.waits)
        return [self.answers[place % len(self.answers)] for place in range(len(texts))]


@pytest.fixture
def runner() -> Iterator[Runner]:
    runner = Runner(1, 4)
    yield runner
    runner.close()


async def ask(writer: Writing, runner: Runner, how: Tone = "rephrase", draft: str = DRAFT) -> RewriteResponse:
    return await reword(RewriteRequest(text=draft, tone=how), writer, runner, SEED)


async def test_a_wording_that_keeps_to_the_draft_is_suggested_and_names_its_model(runner: Runner) -> None:
    writer = Writing("Sure! They cannot come.", GOOD)
    answer = await ask(writer, runner, "professional")
    assert (answer.kind, answer.text, answer.changed, answer.model) == ("suggestion", GOOD, True, "ours")
    assert (answer.changes, answer.note) == ((), None)
    ((instruction, texts, most),) = writer.calls
    assert texts == [DRAFT] * CANDIDATES
    assert "professional" in instruction
    assert DRAFT not in instruction
    assert most < 3 * writer.count(DRAFT) + 20


@pytest.mark.parametrize(
    "wording",
    [
        GOOD.replace("40", "45"),
        GOOD.replace("40 ", ""),
        GOOD.replace("Friday", "Saturday"),
        GOOD.replace(" on Friday", ""),
        GOOD.replace("Petra", "Paula"),
        GOOD.replace("Petra", "her"),
        GOOD.replace("Hello Klaus,", "Hello Karl,"),
        GOOD.replace("Hello Klaus,", "Karl,"),
        GOOD.replace("unfortunately I cannot", "I will gladly"),
        GOOD.replace("?", "."),
        GOOD + " See you at 7.",
        GOOD + " It is on example.com.",
        GOOD + " Let me know what else I can do, what else I can do, what else I can do." * 2,
        GOOD.replace("I cannot", "nobody can"),
        "Sure, here is it: " + GOOD,
        "The new one: " + GOOD,
        "Hallo Klaus, ich kann die 40 Stühle am Freitag leider nicht mitbringen. Kannst du Petra fragen?",
        DRAFT.upper(),
        "I'm not sure about that. I'm sorry for your loss. Did you know?",
        "",
    ],
)
async def test_a_wording_that_does_not_keep_to_it_is_never_suggested(runner: Runner, wording: str) -> None:
    answer = await ask(Writing(wording), runner)
    assert answer == RewriteResponse(
        kind="suggestion",
        tone="rephrase",
        text=DRAFT,
        changed=False,
        changes=(),
        note="the model's wordings did not keep to the draft: nothing is suggested",
    )


@pytest.mark.parametrize(
    "written",
    [
        f'"{GOOD}"',
        f'"{GOOD}',
        f"\u201c{GOOD}\u201d",
        f"Here is a more professional version:\n\n{GOOD}\n",
        f"Rephrased:\n{GOOD}",
    ],
)
async def test_what_stands_around_a_wording_is_left_out(runner: Runner, written: str) -> None:
    assert (await ask(Writing(written), runner)).text == GOOD


def test_of_several_the_one_that_keeps_most_is_taken_and_where_it_is_wanted_the_shortest() -> None:
    draft = "I think that we should probably meet at the station at 5 on Friday, if that is fine with everybody"
    shorter = ["Let's meet at the station at 5 on Friday.", "We could meet at 5 on Friday at the station, I think."]
    assert choose(RewriteRequest(text=draft, tone="shorter"), shorter) == shorter[0]
    rephrased = ["Meet us at 5 on Friday.", "I suppose we should meet at the station on Friday at 5, if that is fine."]
    assert choose(RewriteRequest(text=draft, tone="rephrase"), rephrased) == rephrased[1]


def test_shorter_is_shorter() -> None:
    draft = "I wanted to tell you that I will be there at 5, as we said before, with the keys"
    assert holds(draft, "I'll be there at 5 with the keys", "shorter")
    assert not holds(draft, draft.replace("as we said before", "as we have already said before"), "shorter")
    assert not holds(draft, "I 5", "shorter")


@pytest.mark.parametrize(
    ("draft", "wording"),
    [
        ("no puedo ir el viernes, lo siento", "Lo siento, el viernes no podré ir."),
        ("Kannst du am Freitag um 17 Uhr kommen?", "Wäre es dir möglich, am Freitag um 17 Uhr zu kommen?"),
        ("yarın gelemiyorum, kusura bakma", "Kusura bakma, yarın gelemiyorum maalesef."),
        ("maine 500 rupees bhej diye", "500 rupees maine bhej diye hain"),
    ],
)
def test_wordings_in_other_languages_can_hold(draft: str, wording: str) -> None:
    assert holds(draft, wording, "rephrase")


@pytest.mark.parametrize("how", get_args(Tone))
async def test_rules_take_over_where_they_know_the_tone(runner: Runner, how: Tone) -> None:
    answer = await ask(Writing("Paula brings 45."), runner, how)
    assert answer.model is None
    if how in RULES:
        assert answer.text.startswith(("hey", "Hey", "Hello"))
    else:
        assert (answer.text, answer.changed) == (DRAFT, False)
    assert how == "proofread" or "did not keep to the draft" in (answer.note or "")


async def test_proofreading_asks_no_model(runner: Runner) -> None:
    writer = Writing(GOOD)
    await ask(writer, runner, "proofread")
    assert writer.calls == []
    assert set(INSTRUCTIONS) == set(get_args(Tone)) - {"proofread"}


@pytest.mark.parametrize(
    "failure",
    [
        BusyError("full", retry_after_seconds=3),
        TooLargeError("text: 9 tokens, of 5"),
        UsageError("the decoder failed at a step"),
    ],
)
async def test_what_neither_model_nor_rules_can_do_is_refused(runner: Runner, failure: Exception) -> None:
    with pytest.raises(type(failure)):
        await ask(Writing(fails=failure), runner, "funny")
    answer = await ask(Writing(fails=failure), runner, "shorter")
    assert answer.model is None
    assert "by rules" in (answer.note or "")


async def test_a_model_that_is_late_is_busy(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tone, "WORDING_SECONDS", 0.05)
    with pytest.raises(BusyError) as late:
        await ask(Writing(GOOD, waits=60), runner, "funny")
    assert late.value.retry_after_seconds >= 20, "what kept the model from it is at work for longer than a second"
    assert "not done in time" in ((await ask(Writing(GOOD, waits=60), runner, "shorter")).note or "")


async def test_a_draft_that_does_not_fit_is_refused_before_it_is_written(runner: Runner) -> None:
    writer = Writing(GOOD, window=5)
    with pytest.raises(TooLargeError, match="15 tokens, of 5"):
        await ask(writer, runner, "funny")
    assert writer.calls == []


@pytest.mark.parametrize("how", sorted(INSTRUCTIONS))
async def test_a_real_model_is_believed_where_it_keeps_to_the_draft(runner: Runner, how: Tone) -> None:
    folder = named_model()
    decoder = Decoder(folder, 2, 4, context=1024)
    batcher = Batcher[str | Ended](decoder, waiting=4)
    try:
        generation = Generation(decoder, template_of(folder, decoder), batcher, runner)
        writer = LanguageWriter(generation, folder.name, context=decoder.context)
        answer = await reword(RewriteRequest(text=DRAFT, tone=how), writer, runner, SEED)
    finally:
        batcher.close()
    if answer.model is None:
        assert "did not keep to the draft" in (answer.note or "")
    else:
        assert (answer.model, answer.note) == (folder.name, None)
        assert holds(DRAFT, answer.text, how)
