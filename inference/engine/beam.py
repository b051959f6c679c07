"""Search for one request: the likeliest next token each time, or of several texts those that go on, and which one wins.

No model is in it: it is given a row of logits for each of its texts and says which row each next text continues. A beam
search's decisions are those of transformers' `_beam_search` of 4.50 and later: twice as many candidates as texts (more,
where several tokens end a text), only the best `num_beams` candidates may end, finished texts compared by their
log-probability over (tokens made) ** `length_penalty`, and three ways to stop early.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np

from inference.engine.logits import Row, Rules, choose, largest, normalise, restrict
from seclude.errors import UsageError

NOT_YET: Final = -1e9  # the score of all texts but one at the start, since they are the same text

Early = bool | Literal["never"]


@dataclass(frozen=True, slots=True)
class Finished:
    """A text that has ended."""

    score: float
    tokens: tuple[int, ...]


class Search(Protocol):
    """One request's texts, and how they go on."""

    tokens: list[list[int]]
    """The unfinished texts, in the order of the rows that `advance` is given."""
    done: bool

    def advance(self, logits: Row) -> list[int]:
        """Take the next token of every text, and return which row each of them continues; the logits are spoilt."""

    def settled(self) -> int:
        """Return how many tokens of the answer are certain, with the one given at the start."""

    def best(self) -> Sequence[int]:
        """Return the text that would be the answer now."""

    def clear(self) -> None:
        """Forget all texts."""


class Line:
    """The search with one text: each token is chosen once, so all of them are certain."""

    def __init__(self, start: int, rules: Rules, random: np.random.Generator | None = None) -> None:
        self._rules, self._random = rules, random
        self.tokens: list[list[int]] = [[start]]
        self.done = False

    def advance(self, logits: Row) -> list[int]:
        """Take the next token."""
        text = self.tokens[0]
        text.append(choose(logits[0], text, self._rules, self._random))
        self.done = self._rules.ended(text)
        return [0]

    def settled(self) -> int:
        """Return how many tokens there are."""
        return len(self.tokens[0])

    def best(self) -> Sequence[int]:
        """Return the text."""
        return self.tokens[0]

    def clear(self) -> None:
        """Forget the text."""
        self.tokens, self.done = [], True


class Beams:
    """The search with `width` texts at a time."""

    def __init__(
        self, start: int, rules: Rules, width: int, *, length_penalty: float = 1.0, early: Early = False
    ) -> None:
        if rules.max_length is None:
            raise UsageError("a beam search needs a greatest length")
        self._rules = rules
        self._width: Final = width
        self._penalty: Final = length_penalty
        self._early: Final = early
        self._most: Final = rules.max_length - 1  # tokens that are made, at most
        self._scores = np.array([0.0] + [NOT_YET] * (width - 1), dtype=np.float32)
        self._finished: list[Finished] = []  # the best first, `width` of them at most
        self._candidates: Final = max(2, 1 + len(rules.eos)) * width
        self.tokens: list[list[int]] = [[start] for _ in range(width)]
        self.done = False

    def advance(self, logits: Row) -> list[int]:
        """Take the next token of every text, and return which row each of them continues; the logits are spoilt."""
        if self.done:
            raise UsageError("this search is over")
        normalise(logits)
        for row, history in enumerate(self.tokens):
            restrict(logits[row], history, self._rules)
        logits += self._scores[:, None]
        flat, vocabulary = logits.reshape(-1), logits.shape[1]
        places = largest(flat, self._candidates)
        going: list[tuple[np.float32, int, int]] = []
        ending: list[Finished] = []
        made = len(self.tokens[0])
        for rank, place in enumerate(places.tolist()):
            score, (row, token) = flat[place], divmod(place, vocabulary)
            history = [*self.tokens[row], token]
            if not self._rules.ended(history):
                going.append((score, row, token))
            elif rank < self._width:
                ending.append(Finished(float(score) / math.pow(made, self._penalty), tuple(history)))
        places.fill(0)
        self._finished = sorted([*self._finished, *ending], key=lambda text: -text.score)[: self._width]
        return self._go_on(going, made)

    def settled(self) -> int:
        """Return how many tokens of the answer are certain: those that whatever may still win begins with."""
        texts: list[Sequence[int]] = [text.tokens for text in self._finished]
        if self.done:
            return len(texts[0])
        texts += [text for text, score in zip(self.tokens, self._scores, strict=True) if score > -np.inf]
        shortest = min(map(len, texts))
        for place, tokens in enumerate(zip(*(text[:shortest] for text in texts), strict=True)):
            if len(set(tokens)) > 1:
                return place
        return shortest

    def best(self) -> Sequence[int]:
        """Return the text that would be the answer now, with the token given at the start."""
        return self._finished[0].tokens if self.done else self.tokens[0]

    def clear(self) -> None:
        """Forget all texts."""
        self._finished.clear()
        self.tokens = []
        self.done = True

    def _go_on(self, going: list[tuple[np.float32, int, int]], made: int) -> list[int]:
        if not going or self._enough(float(going[0][0]), made):
            self.done = True
            if not self._finished:  # every candidate was forbidden: what there is must do
                self._finished = [Finished(float(self._scores[0]), tuple(self.tokens[0]))]
            return list(range(self._width))
        going = going[: self._width]
        going += [(np.float32(-np.inf), going[0][1], going[0][2])] * (self._width - len(going))  # rows that are dead
        self.tokens = [[*self.tokens[row], token] for _, row, token in going]
        self._scores = np.array([score for score, _, _ in going], dtype=np.float32)
        return [row for _, row, _ in going]

    def _enough(self, running: float, made: int) -> bool:
        """Say whether no unfinished text can, or need, become better than the worst of the finished ones."""
        if len(self._finished) < self._width:
            return False
        if self._early is True:
            return True
        length = self._most if self._early == "never" and self._penalty > 0 else made
        return running / math.pow(length, self._penalty) <= self._finished[-1].score
