"""Experiments with an encoder-decoder model: texts of several requests in one batch (`isolation` has the rules)."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from inference.engine.logits import Rules
from inference.engine.seq2seq import Seq2Seq
from inference.model.findings import STEPS, TEXTS, Finding, verdict
from inference.model.progress import Report

BATCH: Final = 5

Texts = Sequence[Sequence[int]]


def check_batches(folder: Path, threads: int, report: Report) -> Iterator[Finding]:
    """Load an encoder-decoder model, and try it."""
    model = Seq2Seq(folder, threads)  # which runs its graphs with rows by chance
    yield Finding(
        "rows of the graphs", f"one request a run: {model.alone}" if model.alone else "no bit of any row moved"
    )
    rules = replace(model.rules(STEPS), temperature=0.0)
    texts = [model.encode(model.prefix + text)[: model.max_input] for text in TEXTS]
    report(f"trying {folder.name}: each text alone")
    expected = [list(model.generate(ids, rules)) for ids in texts]
    if model.alone is None:
        report(f"trying {folder.name}: together")
        yield _ragged(model, texts, rules, expected)
        yield _beside_chance(model, texts, rules, expected)
        yield _dropped(model, texts, rules, expected)
    report(f"trying {folder.name}: each text alone, once more")
    yield verdict(
        "the same texts again, after all others",
        [list(model.generate(ids, rules)) for ids in texts] == expected,
        "each has the same tokens: nothing stays",
        "LEAK: what was served before changed a text",
    )


def _batch(model: Seq2Seq, texts: Texts, rules: Rules, drop: int | None = None) -> list[list[int]]:
    """Return what is made of texts in one batch, of which one may be dropped after a step."""
    made: list[list[int]] = [[] for _ in texts]
    with closing(model.begin(texts, rules)) as batch:
        while batch.running:
            for text, tokens in batch.step().items():
                made[text] += tokens
            if drop is not None:
                batch.drop(drop)
    return made


def _ragged(model: Seq2Seq, texts: Texts, rules: Rules, expected: Texts) -> Finding:
    orders = [[(first + place) % len(texts) for place in range(BATCH)] for first in range(len(texts))]
    same = all(
        _batch(model, [texts[each] for each in order], rules) == [expected[each] for each in order] for order in orders
    )
    return verdict(
        f"{len(orders)} ragged batches of {BATCH}",
        same,
        "each text has the tokens that it has alone",
        "a text has other tokens than alone",
    )


def _beside_chance(model: Seq2Seq, texts: Texts, rules: Rules, expected: Texts) -> Finding:
    """Rule 2, beside texts of which no two batches have the same."""
    random = np.random.Generator(np.random.PCG64(2))
    known = sorted({token for ids in texts for token in ids})
    same = True
    for each, ids in enumerate(texts):
        others = [
            random.choice(known, random.integers(1, 2 * len(ids) + 1)).tolist()[: model.max_input] for _ in range(3)
        ]
        same = same and _batch(model, [*others, ids], rules)[-1] == expected[each]
    return verdict(
        f"each of {len(texts)} texts beside three by chance",
        same,
        "each has the tokens that it has alone",
        "a text has other tokens than alone",
    )


def _dropped(model: Seq2Seq, texts: Texts, rules: Rules, expected: Texts) -> Finding:
    """Rule 3: one request goes away after the first step."""
    same = all(
        made == list(expected[each])
        for gone in range(len(texts))
        for each, made in enumerate(_batch(model, texts, rules, drop=gone))
        if each != gone
    )
    return verdict(
        "one text given up after the first step",
        same,
        "the others have the tokens that they have alone",
        "what one text did changed another",
    )
