"""How fast a model is on this machine, and what it takes: a figure for each batch, in bounded time.

Only the model and the engine's own runs of it are measured, without a network, a template or a queue. So these figures
say what a machine can do at most; what a worker does is in `seclude-bench`.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from inference.engine.decoder import Decoder
from inference.engine.encoder import SentenceEncoder
from inference.engine.layout import Layout, layout_of
from inference.engine.seq2seq import Seq2Seq
from inference.model.progress import MEGABYTE, Report

BATCHES: Final = (1, 2, 4, 8)
CONTEXT: Final = 512  # tokens of a slot: a prompt of a chat, and an answer
PROMPT: Final = 256
SEATED: Final = 64  # tokens that each text has when its first step is measured
ANSWER: Final = 64  # tokens that an encoder-decoder model makes of a text
SENTENCES: Final = 32  # of one chat
SENTENCE: Final = "we could take the bus at half past eight, {} of us, and be back for dinner"


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure."""

    what: str
    batch: int
    per_second: float
    unit: str


@dataclass(frozen=True, slots=True)
class Speed:
    """All figures of one model."""

    load_seconds: float
    memory_octets: int
    """By which this process grew when it loaded the model."""
    measures: tuple[Measure, ...]


Rounds = Callable[[], int]
"""Does one round of what is measured, and returns how many units that were."""
Plan = list[tuple[str, int, str, Rounds]]


def measure(folder: Path, threads: int, seconds: float, report: Report) -> Speed:
    """Measure the model in a folder for about so many seconds, a round of each figure being the least."""
    layout = layout_of(folder)
    report(f"loading {folder.name}")
    before, began = _resident_octets(), time.monotonic()
    plan = _PLANS[layout](folder, threads)
    load = time.monotonic() - began
    memory = _resident_octets() - before
    return Speed(load, memory, tuple(_measures(plan, seconds, report)))


def _measures(plan: Plan, seconds: float, report: Report) -> Iterator[Measure]:
    for place, (what, batch, unit, rounds) in enumerate(plan):
        report(f"measuring: {what}, batch {batch}; {place + 1} of {len(plan)}")
        rounds()  # the first one of a shape allocates
        units, spent, share = 0, 0.0, seconds / len(plan)
        while spent < share:
            began = time.monotonic()
            units += rounds()
            spent += time.monotonic() - began
        yield Measure(what, batch, units / spent, unit)


def _decoder(folder: Path, threads: int) -> Plan:
    model = Decoder(folder, threads, max(BATCHES), context=CONTEXT)
    random = np.random.Generator(np.random.PCG64(0))
    prompt = random.integers(0, model.vocabulary, min(PROMPT, model.context // 2)).tolist()

    def clear() -> None:
        for slot in range(model.slots):
            model.clear(slot)

    def prefill() -> int:
        clear()
        model.prefill(0, prompt)
        return len(prompt)

    def decode(batch: int) -> int:
        """Take one step; where a slot is full, all begin anew, and that is part of what is measured."""
        seated = [slot for slot in range(model.slots) if model.length(slot)]
        if seated != list(range(batch)) or model.length(0) == model.context:
            clear()
            for slot in range(batch):
                model.prefill(slot, prompt[:SEATED])
        model.step(dict.fromkeys(range(batch), prompt[0]))
        return batch

    steps: Plan = [("decode", batch, "tokens/s", partial(decode, batch)) for batch in BATCHES]
    return [("prefill", 1, "tokens/s", prefill), *steps]


def _seq2seq(folder: Path, threads: int) -> Plan:
    model = Seq2Seq(folder, threads)
    ids = model.encode(SENTENCE * (PROMPT // 16))[: min(PROMPT, model.max_input)]
    rules = replace(model.rules(ANSWER), temperature=0.0)
    assert rules.max_length is not None  # `rules` with a limit has one
    rules = replace(rules, min_length=rules.max_length)  # nothing ends before

    def read() -> int:
        with closing(model.begin([ids], replace(rules, max_length=2, min_length=0))) as batch:
            batch.step()
        return len(ids)

    def write(count: int) -> int:
        made = 0
        with closing(model.begin([ids] * count, rules)) as batch:
            while batch.running:
                made += len(batch.running)
                batch.step()
        return made

    batches = BATCHES if model.alone is None else (1,)
    steps: Plan = [("write", batch, "tokens/s", partial(write, batch)) for batch in batches]
    return [("read", 1, "tokens/s", read), *steps]


def _encoder(folder: Path, threads: int) -> Plan:
    model = SentenceEncoder(folder, threads)
    chat = [SENTENCE.format(number) for number in range(SENTENCES)]

    def embed(count: int) -> int:
        return len(model.embed(chat[:count]))

    return [("embed", count, "sentences/s", partial(embed, count)) for count in (1, SENTENCES)]


_PLANS: Final[dict[Layout, Callable[[Path, int], Plan]]] = {
    Layout.DECODER: _decoder,
    Layout.SEQ2SEQ: _seq2seq,
    Layout.ENCODER: _encoder,
}


def text_of(name: str, speed: Speed, threads: int) -> str:
    """Return the figures as a table."""
    memory = speed.memory_octets / MEGABYTE
    title = f"{name}: loaded in {speed.load_seconds:.1f} s, {memory:.0f} MB more memory, threads: {threads}"
    rows = [f"{each.what:8}  {each.batch:5}  {each.per_second:9.1f}  {each.unit}" for each in speed.measures]
    return "\n".join([title, f"{'':8}  batch   a second", *rows])


def _resident_octets() -> int:
    """Return how much memory this process has now (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
