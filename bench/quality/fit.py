"""Fit the weights of `inference.engine.worth`: `python -m bench.quality.fit MODEL CHATS...`.

A clause counts as worth showing if it says a fact of its chat by itself, or is one of the fewest that do together. The
weights are a logistic regression's, drawn towards zero; one that comes out against the sign its reason gives it is left
out, and the rest fitted again. A chat's say grows with the square root of its length, which lies between counting chats
and counting clauses. It prints the weights, and the recall of facts on chats that were left out of the fit.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from bench.quality.chat import Chat, Fact, load_chats
from bench.quality.score import says, score
from inference.engine import highlights
from inference.engine.encoder import Encoder, SentenceEncoder
from inference.engine.features import Clause, read_clauses
from inference.engine.highlights import BRIEF, lines_of
from inference.engine.nearness import nearness, with_nearness
from inference.engine.threads import find_threads
from inference.engine.worth import AGAINST, FOR

NAMES: Final = (*FOR, *AGAINST)
SIGNS: Final = np.array([1.0] * len(FOR) + [-1.0] * len(AGAINST))
RIDGE: Final = 30.0  # against ten thousand clauses: it keeps a feature that few clauses have from saying much
PARTS: Final = 5  # of the chats; each is left out once, and measured with what the others say
TOGETHER: Final = 3  # clauses that say a fact together
SLACK: Final = 1.2  # how many more words than the fewest another choice of clauses may have


Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Example:
    """A chat as rows of features, each with how much it belongs in a summary, 0 to 1."""

    chat: Chat
    rows: Matrix
    wanted: Matrix


@dataclass(frozen=True, slots=True)
class Weights:
    """A fitted curve: one signed weight for each of `NAMES`, and what is added to all."""

    values: Matrix
    base: float

    def worth(self, features: Mapping[str, float]) -> float:
        """Return what `inference.engine.worth.worth` would with these weights."""
        row = np.array([features.get(name, 0.0) for name in NAMES])
        return float(1 / (1 + np.exp(-(row @ self.values + self.base))))


class Remembering:
    """An encoder that encodes each text once: the chats here are nobody's."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[str, NDArray[np.float32]] = {}
        self.name = encoder.name

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row of length 1 for each text."""
        fresh = sorted({text for text in texts if text not in self._known})
        if fresh:
            self._known.update(zip(fresh, self._encoder.embed(fresh), strict=True))
        return np.stack([self._known[text] for text in texts])


def example(chat: Chat, encoder: Encoder) -> Example:
    """Read a chat as `highlights` does, with all its lines encoded."""
    lines = lines_of(chat.request().messages)
    clauses = read_clauses(lines, find_threads(lines))
    near = nearness(lines, range(len(lines)), encoder.embed([line.text for line in lines]))
    rows = [with_nearness(clause.features, near[clause.position]) for clause in clauses]
    said = [f"{lines[clause.position].sender}: {clause.text}" for clause in clauses]
    wanted = np.zeros(len(clauses))
    for fact in chat.facts:
        sources = [at for at, clause in enumerate(clauses) if lines[clause.position].index in fact.sources]
        for at, share in _tell(fact, clauses, said, sources):
            wanted[at] = max(wanted[at], share)
    return Example(chat, np.array([[row.get(name, 0.0) for name in NAMES] for row in rows]), wanted)


def _tell(
    fact: Fact, clauses: Sequence[Clause], said: Sequence[str], sources: Sequence[int]
) -> Iterator[tuple[int, float]]:
    """Yield the clauses that say a fact, or help to."""
    alone = [at for at in range(len(said)) if says(said[at], fact)]
    if alone:
        yield from ((at, 1.0) for at in alone)
        return
    for count in range(2, TOGETHER + 1):
        choices = [some for some in combinations(sources, count) if says("\n".join(said[at] for at in some), fact)]
        lengths = [sum(clauses[at].words for at in some) for some in choices]
        if choices:
            few = SLACK * min(lengths) + 1
            yield from ((at, 1.0) for some, words in zip(choices, lengths, strict=True) if words <= few for at in some)
            return
    yield from ((at, 0.5) for at in sources)


def fit(examples: Sequence[Example]) -> Weights:
    """Fit the weights; see the module."""
    rows = np.vstack([each.rows for each in examples])
    wanted = np.concatenate([each.wanted for each in examples])
    say = np.concatenate([np.full(len(each.rows), len(each.rows) ** -0.5) for each in examples])
    say *= len(say) / say.sum()
    mean, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    scaled = (rows - mean) / spread
    kept = list(range(len(NAMES)))
    while True:
        found = _regress(scaled[:, kept], wanted, say)
        wrong = sorted((abs(found[i]), name) for i, name in enumerate(kept) if found[i] * SIGNS[name] < 0)
        if not wrong:
            break
        for _, name in wrong[len(wrong) // 2 :]:
            kept.remove(name)
    values = np.zeros(len(NAMES))
    values[kept] = found[:-1] / spread[kept]
    return Weights(values, float(found[-1] - values @ mean))


def _regress(rows: Matrix, wanted: Matrix, say: Matrix) -> Matrix:
    """Return the weights of a logistic regression, the constant last, by Newton's method."""
    rows = np.hstack([rows, np.ones((len(rows), 1))])
    ridge = np.diag([RIDGE] * (rows.shape[1] - 1) + [1e-6])
    weights = np.zeros(rows.shape[1])
    for _ in range(15):
        chance = 1 / (1 + np.exp(-rows @ weights))
        slope = rows.T @ (say * (chance - wanted)) + ridge @ weights
        weights -= np.linalg.solve((rows.T * (say * chance * (1 - chance))) @ rows + ridge, slope)
    return weights


def recall(chat: Chat, weights: Weights, encoder: Encoder) -> tuple[bool, ...]:
    """Return which facts the highlights keep with these weights."""
    with patch.object(highlights, "worth", weights.worth):
        return score(chat, highlights.summarize(chat.request(), encoder).text).kept


def main(model: str, *folders: str) -> None:
    """Fit, print the weights, and say how well they do on chats that had no part in them."""
    encoder = Remembering(SentenceEncoder(Path(model)))
    examples = [example(chat, encoder) for folder in folders for chat in load_chats(Path(folder)).values()]
    weights = fit(examples)
    print(f"BASE {weights.base:.2f}")
    for name, value in sorted(zip(NAMES, weights.values, strict=True), key=lambda pair: -pair[1]):
        print(f"{name:18} {value:+.2f}")
    tuned = [recall(each.chat, weights, encoder) for each in examples]
    parts = [fit([other for at, other in enumerate(examples) if at % PARTS != part]) for part in range(PARTS)]
    apart = [recall(each.chat, parts[at % PARTS], encoder) for at, each in enumerate(examples)]
    for kind, kept in (("fitted", tuned), ("left out", apart)):
        brief = [
            fact
            for each, facts in zip(examples, kept, strict=True)
            if len(each.chat.messages) < BRIEF
            for fact in facts
        ]
        every = [fact for facts in kept for fact in facts]
        print(
            f"{kind}: {np.mean(every):.3f} of {len(every)} facts, {np.mean(brief):.3f} of {len(brief)} in brief chats"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
