"""Searches against enumeration, where one that is wide enough must find the best, and against a plain reference."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from inference.engine.beam import Beams, Early, Line
from inference.engine.logits import Row, Rules, restrict
from seclude.errors import UsageError

START, EOS = 0, 1
Model = Callable[[Sequence[int]], Row]


def random_model(seed: int, vocabulary: int, sharp: float = 2.0) -> Model:
    """Logits that depend on the whole text."""

    def logits(history: Sequence[int]) -> Row:
        values = np.random.default_rng([seed, *history]).standard_normal(vocabulary) * sharp
        return values.astype(np.float32)

    return logits


def searched(model: Model, beams: Beams) -> list[int]:
    settled: list[int] = []
    while not beams.done:
        before = [list(text) for text in beams.tokens]
        parents = beams.advance(np.stack([model(text) for text in beams.tokens]))
        if not beams.done:
            assert [text[:-1] for text in beams.tokens] == [before[parent] for parent in parents]
        now = list(beams.best()[: beams.settled()])
        assert now[: len(settled)] == settled, "what was certain has changed"
        settled = now
    assert settled == list(beams.best())
    return settled


def probabilities(model: Model, text: Sequence[int], rules: Rules) -> list[float]:
    logits = [float(value) for value in model(text)]
    total = math.log(sum(math.exp(value) for value in logits))
    scores = np.array([value - total for value in logits], dtype=np.float32)
    restrict(scores, text, rules)
    return [float(score) for score in scores]


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0, -0.5])
@pytest.mark.parametrize("seed", range(6))
def test_a_search_that_is_wide_enough_finds_the_best_of_all_texts(seed: int, penalty: float) -> None:
    vocabulary, length = 4, 5
    model, rules = random_model(seed, vocabulary), Rules(eos=frozenset({EOS}), max_length=length)
    scores: dict[tuple[int, ...], float] = {}
    for tokens in itertools.product(range(vocabulary), repeat=length - 1):
        end = tokens.index(EOS) + 1 if EOS in tokens else length - 1
        text = (START, *tokens[:end])
        if text not in scores:
            made = [probabilities(model, text[:place], rules)[text[place]] for place in range(1, len(text))]
            scores[text] = sum(made) / len(made) ** penalty
    best = max(scores, key=lambda text: scores[text])
    beams = Beams(START, rules, vocabulary ** (length - 1), length_penalty=penalty, early="never")
    assert searched(model, beams) == list(best)


@dataclass
class Reference:
    """The search in plain words and lists: sort everything, every time."""

    model: Model
    rules: Rules
    width: int
    penalty: float
    early: Early
    start: int = START
    finished: list[tuple[float, list[int]]] = field(default_factory=list)

    def run(self) -> list[int]:
        running = [(0.0, [self.start])] + [(-1e9, [self.start])] * (self.width - 1)
        while True:
            candidates = []
            for score, text in running:
                options = probabilities(self.model, text, self.rules)
                candidates += [(score + options[token], [*text, token]) for token in range(len(options))]
            candidates = [each for each in candidates if each[0] > -math.inf]
            candidates.sort(key=lambda each: -each[0])
            candidates = candidates[: self.width * (1 + max(1, len(self.rules.eos)))]
            length = len(running[0][1])
            running = []
            for rank, (score, text) in enumerate(candidates):
                over = text[-1] in self.rules.eos or len(text) == self.rules.max_length
                if over and rank < self.width:
                    self.finished.append((score / length**self.penalty, text))
                if not over:
                    running.append((score, text))
            running = running[: self.width]
            self.finished = sorted(self.finished, key=lambda each: -each[0])[: self.width]
            if not running or self.full(running[0][0], length):
                return self.finished[0][1]

    def full(self, best: float, length: int) -> bool:
        if len(self.finished) < self.width:
            return False
        assert self.rules.max_length is not None
        hoped = self.rules.max_length - 1 if self.early == "never" and self.penalty > 0 else length
        return self.early is True or best / hoped**self.penalty <= self.finished[-1][0]


EVERY_RULE = Rules(
    eos=frozenset({EOS, 2}),
    max_length=10,
    min_length=4,
    forced_bos=3,
    forced_eos=(EOS,),
    no_repeat_ngram=2,
    repetition_penalty=1.3,
    bad_words=((5,), (6, 7)),
)
PLAIN = Rules(eos=frozenset({EOS}), max_length=12)


@pytest.mark.parametrize("rules", [PLAIN, EVERY_RULE], ids=["plain", "every rule"])
@pytest.mark.parametrize("early", [True, False, "never"])
@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_a_narrow_search_decides_as_the_reference(rules: Rules, early: Early, penalty: float, width: int) -> None:
    for seed in range(12):
        model = random_model(seed, 8, sharp=1.0 + seed % 3)
        beams = Beams(START, rules, width, length_penalty=penalty, early=early)
        assert searched(model, beams) == Reference(model, rules, width, penalty, early).run()


def test_a_search_with_one_text_and_a_line_can_differ_only_in_when_they_end() -> None:
    """A search of width one goes on after an end that was not the likeliest; a line takes the likeliest and is done."""
    model, rules = random_model(3, 6), Rules(max_length=8)
    line = Line(START, rules)
    while not line.done:
        assert line.advance(model(line.tokens[0])[None]) == [0]
        assert line.settled() == len(line.best())
    assert list(line.best()) == searched(model, Beams(START, rules, 1))


def test_texts_that_no_token_may_follow_end_where_they_are() -> None:
    rules = Rules(max_length=9, suppressed=tuple(range(6)))
    assert searched(random_model(1, 6), Beams(START, rules, 2)) == [START]


def test_fewer_possible_texts_than_the_search_is_wide() -> None:
    rules = Rules(eos=frozenset({EOS}), max_length=5, suppressed=(0, 3))
    model = random_model(2, 4)
    assert searched(model, Beams(START, rules, 4)) == Reference(model, rules, 4, 1.0, False).run()


def test_a_search_that_is_over_or_cleared_goes_no_further() -> None:
    beams = Beams(START, Rules(max_length=2), 2)
    searched(random_model(1, 4), beams)
    with pytest.raises(UsageError, match="over"):
        beams.advance(np.zeros((2, 4), dtype=np.float32))
    beams.clear()
    line = Line(START, PLAIN)
    line.clear()
    assert (beams.tokens, line.tokens, line.done) == ([], [], True)


def test_a_search_needs_an_end() -> None:
    with pytest.raises(UsageError, match="greatest length"):
        Beams(START, Rules(), 2)
