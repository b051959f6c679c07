"""Experiments with a language model: requests that lie side by side in its slots (`isolation` has the rules)."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

import numpy as np

from inference.engine.batching import Batcher
from inference.engine.decoder import Decoder, Logits
from inference.engine.generation import Ended, Generation, Options, template_of
from inference.engine.layout import batchable
from inference.engine.session import by_chance, leaks_across_rows
from inference.engine.template import Turn
from inference.model.findings import STEPS, TEXTS, TRIES, Finding, verdict
from inference.model.progress import Report
from inference.runner import Runner
from seclude.errors import ConfigError, DecodeError

SLOTS: Final = 8
CONTEXT: Final = 192  # tokens of a slot here: prompts are short, and the memory of a slot is looked at as a whole
ROWS, WIDTH = 4, 24  # the shape in which a graph is tried by itself
ENDED: Final = 3 * SLOTS  # requests that come and go
WAIT_SECONDS: Final = 3600.0  # for a slot: nobody is refused here, however slow the machine

Texts = Sequence[Sequence[int]]


class Watched(Decoder):
    """A decoder whose memory and graph can be looked at."""

    def held(self, slot: int) -> Logits:
        """Return a slot's keys and values, over all of its length and whatever its owner says of it."""
        return self._kept[:, :, self._rows[slot]].copy()

    def leaks(self) -> bool:
        """Run the graph by itself, with rows by chance and then with all but one by other chance: does a bit move?"""
        shapes = {
            item.name: (ROWS, item.shape[1], WIDTH, item.shape[3]) if len(item.shape) == 4 else (ROWS, 1)
            for item in self._session.get_inputs()
        }
        tries = []
        for seed in range(TRIES):
            random = np.random.Generator(np.random.PCG64(seed))
            lengths = random.integers(1, WIDTH + 1, (ROWS, 1))
            given = {"attention_mask": (np.arange(WIDTH) < lengths).astype(np.int64), "position_ids": lengths - 1}
            tries.append(by_chance(self._session, shapes, given, random))
        return leaks_across_rows(self._session, tries[0], tries[1:])


def check_slots(folder: Path, threads: int, report: Report) -> Iterator[Finding]:
    """Load a language model, and try it."""
    model, alone = Watched(folder, threads, SLOTS, context=CONTEXT), batchable(folder)
    yield Finding("operators", f"one request a run: {alone}" if alone else "none that share a scale between rows")
    if alone is None:
        report(f"trying {folder.name}: the graph by itself")
        yield verdict(
            f"{ROWS} rows of the graph, the others filled otherwise {TRIES - 1} times",
            not model.leaks(),
            "no bit of any row moved",
            "LEAK: a row's results depend on what the other rows hold",
        )
    prompts = [model.encode(text)[: model.context // 2] for text in TEXTS]
    report(f"trying {folder.name}: each text alone")
    expected = [_write(model, prompt) for prompt in prompts]
    for name, experiment in _EXPERIMENTS.items():
        report(f"trying {folder.name}: {name}")
        yield experiment(model, prompts, expected)
    report(f"trying {folder.name}: conversations through the engine")
    yield asyncio.run(_served(folder, model))


def _best(row: Logits) -> int:
    return int(row.argmax())


def _write(model: Decoder, prompt: Sequence[int], slot: int = 0) -> list[int]:
    """Return what follows a prompt, with nobody in the other slots."""
    tokens = [_best(model.prefill(slot, prompt))]
    while len(tokens) < STEPS:
        tokens.append(_best(model.step({slot: tokens[-1]})[slot]))
    model.clear(slot)
    return tokens


def _together(model: Watched, prompts: Texts, expected: Texts) -> Finding:
    """Rule 2."""
    same = True
    for first in range(len(prompts)):
        chosen = [(first + slot) % len(prompts) for slot in range(model.slots)]
        written = {slot: [_best(model.prefill(slot, prompts[each]))] for slot, each in enumerate(chosen)}
        for _ in range(STEPS - 1):
            rows = model.step({slot: tokens[-1] for slot, tokens in written.items()})
            for slot, row in rows.items():
                written[slot].append(_best(row))
        same = same and all(written[slot] == expected[each] for slot, each in enumerate(chosen))
        _clear_all(model)
    return verdict(
        f"{len(prompts)} ragged batches of {model.slots}, {STEPS} tokens each",
        same,
        "each text has the tokens that it has alone",
        "a text has other tokens than alone",
    )


def _others(model: Watched, prompts: Texts, expected: Texts) -> Finding:
    """Rule 1, through the engine's own runs: the logits of one text while the other slots hold this and that."""
    seen = set()
    for seed in range(TRIES):
        random = np.random.Generator(np.random.PCG64(seed))
        others = {
            slot: random.integers(0, model.vocabulary, random.integers(1, 40)).tolist() for slot in range(1, SLOTS)
        }
        for slot, prompt in others.items():
            model.prefill(slot, prompt[: model.context // 2])
        row = model.prefill(0, prompts[0])
        bits = [row.tobytes()]
        for token in expected[0]:
            chance = {slot: int(random.integers(0, model.vocabulary)) for slot in others}
            bits.append(model.step({0: token, **chance})[0].tobytes())
        seen.add(b"".join(bits))
        _clear_all(model)
    return verdict(
        f"one text in {model.slots} slots, the others filled otherwise {TRIES} times",
        len(seen) == 1,
        "no bit of its results moved",
        "LEAK: its results depend on what the other slots hold",
    )


def _come_and_go(model: Watched, prompts: Texts, expected: Texts) -> Finding:
    """Rules 3 and 5: requests begin, pause and end between steps, and slots are used again."""
    random = np.random.Generator(np.random.PCG64(1))
    running: dict[int, tuple[int, list[int]]] = {}
    ended, same = 0, True
    while ended < ENDED:
        free = [slot for slot in range(model.slots) if slot not in running]
        if free and random.random() < 0.6:
            slot, each = int(random.choice(free)), int(random.integers(len(prompts)))
            running[slot] = each, [_best(model.prefill(slot, prompts[each]))]
        chosen = {slot: tokens[-1] for slot, (_, tokens) in running.items() if random.random() < 0.8}
        for slot, row in model.step(chosen).items():
            running[slot][1].append(_best(row))
        for slot, (each, tokens) in list(running.items()):
            if len(tokens) >= STEPS or random.random() < 0.05:
                same = same and tokens == expected[each][: len(tokens)]
                model.clear(slot)
                del running[slot]
                ended += 1
    _clear_all(model)
    return verdict(
        f"{ended} requests that come and go between steps",
        same,
        "each has the tokens that it has alone",
        "a request has other tokens than alone",
    )


def _cleared(model: Watched, prompts: Texts, expected: Texts) -> Finding:
    """Rule 4, and rule 5 for the slot that was cleared."""
    tried = "slots after they were cleared"
    tokens = {slot: _best(model.prefill(slot, prompts[slot])) for slot in range(model.slots)}
    model.step({slot: tokens[slot] for slot in (model.slots - 1, 0)})  # they move to the first rows
    before = [model.held(slot) for slot in range(model.slots)]
    model.clear(0)
    left = bool(model.held(0).any())
    kept = all(np.array_equal(model.held(slot), before[slot]) for slot in range(1, model.slots))
    again = _write(model, prompts[0]) == expected[0]
    _clear_all(model)
    if left or any(model.held(slot).any() for slot in range(model.slots)):
        return Finding(tried, "LEAK: something is left in one", ok=False)
    return verdict(
        tried,
        kept and again,
        "they hold nothing; those beside them all that they held",
        "to clear one changed another, or what comes after it",
    )


def _clear_all(model: Decoder) -> None:
    for slot in range(model.slots):
        model.clear(slot)


async def _served(folder: Path, model: Decoder) -> Finding:
    """Rules 2 and 3 with all that a worker puts around a model: template, tokenizer, continuous batching."""
    tried = f"{len(TEXTS)} conversations through the engine at once"
    batcher, runner = Batcher[str | Ended](model, waiting=len(TEXTS)), Runner(1, len(TEXTS))
    options = Options(max_tokens=STEPS, wait_seconds=WAIT_SECONDS)
    try:
        generation = Generation(model, template_of(folder, model), batcher, runner)

        async def written(text: str) -> list[str | Ended]:
            async with aclosing(generation.write([Turn("user", text)], options)) as answer:
                pieces = [piece async for piece in answer]
            return ["".join(piece for piece in pieces if isinstance(piece, str)), pieces[-1]]

        texts = [text[: model.context // 2] for text in TEXTS]
        alone = [await written(text) for text in texts]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(written(text)) for text in texts]
        together = [task.result() for task in tasks]
    except (ConfigError, DecodeError) as exc:
        return Finding(tried, f"a worker would refuse it as its language model: {exc}", ok=False)
    finally:
        batcher.close()
        runner.close()
    return verdict(tried, together == alone, "each answer is what it is alone", "an answer is another than alone")


_EXPERIMENTS: Final = {
    "together": _together,
    "beside others": _others,
    "coming and going": _come_and_go,
    "cleared": _cleared,
}
