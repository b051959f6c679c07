"""Rules on a row of logits, each against what it says, and chance against its probabilities."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from inference.engine.logits import NUCLEUS, Row, Rules, choose, largest, normalise, random_from, restrict
from seclude.errors import UsageError

SIZE = 12
SEED = bytes(range(32))


def row(*values: float) -> Row:
    return np.array(values or range(SIZE), dtype=np.float32)


def left(history: Sequence[int], rules: Rules) -> set[int]:
    scores = row()
    restrict(scores, history, rules)
    return {token for token in range(SIZE) if scores[token] > -np.inf}


def but(*tokens: int) -> set[int]:
    return set(range(SIZE)) - set(tokens)


def test_without_rules_the_likeliest_comes_and_of_equals_the_first() -> None:
    assert choose(row(0, 3, 3, 1), [0], Rules()) == 1
    assert left([1, 2, 3], Rules()) == but()


@pytest.mark.parametrize(
    ("history", "size", "forbidden"),
    [
        ([1, 2, 3, 1, 2], 3, {3}),
        ([1, 2, 3, 1, 2, 4, 1, 2], 3, {3, 4}),
        ([1, 2], 3, set()),
        ([1, 1, 1], 3, {1}),
        ([1, 2, 1], 2, {2}),
        ([5, 6], 1, {5, 6}),
        ([2, 2], 2, {2}),
        ([1, 2, 3], 2, set()),
        ([7], 2, set()),
    ],
)
def test_no_run_of_tokens_comes_twice(history: list[int], size: int, forbidden: set[int]) -> None:
    assert left(history, Rules(no_repeat_ngram=size)) == but(*forbidden)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=24), st.integers(1, 4))
def test_what_is_forbidden_would_repeat_and_nothing_else(history: list[int], size: int) -> None:
    runs = [tuple(history[place : place + size]) for place in range(len(history) - size + 1)]
    for token in range(4):
        repeats = len(history) >= size - 1 and (*history[len(history) - size + 1 :], token) in runs
        assert (token in left(history, Rules(no_repeat_ngram=size))) is not repeats


def test_nothing_ends_the_text_before_its_least_length() -> None:
    rules = Rules(eos=frozenset({2, 3}), min_length=4)
    assert left([0, 1, 1], rules) == but(2, 3)
    assert left([0, 1, 1, 1], rules) == but()


def test_forced_tokens_come_whatever_else_is_said() -> None:
    rules = Rules(forced_bos=5, forced_eos=(2,), eos=frozenset({2}), max_length=6, min_length=99, no_repeat_ngram=1)
    assert left([0], rules) == {5}
    assert left([0, 5], rules) == but(0, 5, 2)
    assert left([0, 5, 1, 2, 3], rules) == {2}


def test_bad_words_do_not_come() -> None:
    rules = Rules(bad_words=((4,), (1, 2, 3), (7, 8)))
    assert left([0], rules) == but(4)
    assert left([1, 2], rules) == but(4, 3)
    assert left([7], rules) == but(4, 8)
    assert left([2], rules) == but(4)


def test_what_is_suppressed_does_not_come_and_some_only_not_first() -> None:
    rules = Rules(suppressed=(1,), suppressed_first=(2,))
    assert left([0], rules) == but(1, 2)
    assert left([0, 3], rules) == but(1)
    late = replace(rules, forced_bos=9)
    assert left([0], late) == {9}
    assert left([0, 9], late) == but(1, 2)


def test_what_was_said_becomes_less_likely_once_however_often_it_was() -> None:
    scores = row(4, -4, 4, -4)
    restrict(scores, [0, 1, 0, 1], Rules(repetition_penalty=2))
    assert scores.tolist() == [2, -8, 4, -4]


@pytest.mark.parametrize(
    ("history", "ended"), [([0, 2], True), ([0, 1], False), ([0, 1, 1, 1], True), ([2, 1], False), ([0], False)]
)
def test_a_text_ends_with_its_mark_or_at_its_greatest_length(history: list[int], ended: bool) -> None:
    assert Rules(eos=frozenset({2}), max_length=4).ended(history) is ended


def drawn(logits: Row, rules: Rules, times: int = 4000) -> dict[int, float]:
    random = random_from(SEED)
    tokens = [choose(logits.copy(), [0], rules, random) for _ in range(times)]
    return {token: tokens.count(token) / times for token in sorted(set(tokens))}


def test_chance_follows_the_probabilities() -> None:
    logits = np.log(row(0.1, 0.2, 0.3, 0.4))
    seen = drawn(logits, Rules(temperature=1.0))
    assert seen == pytest.approx({0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4}, abs=0.03)


def test_a_low_temperature_sharpens_and_a_high_one_flattens() -> None:
    logits = np.log(row(0.2, 0.8))
    assert drawn(logits, Rules(temperature=0.5))[1] == pytest.approx(0.64 / 0.68, abs=0.02)
    assert drawn(logits, Rules(temperature=2.0))[1] == pytest.approx(2 / 3, abs=0.03)


@pytest.mark.parametrize(
    ("rules", "tokens"),
    [
        (Rules(temperature=1, top_k=2), {2, 3}),
        (Rules(temperature=1, top_k=1), {3}),
        (Rules(temperature=1, top_k=99), {0, 1, 2, 3}),
        (Rules(temperature=1, top_p=0.3), {3}),
        (Rules(temperature=1, top_p=0.69), {2, 3}),
        (Rules(temperature=1, top_p=0.71), {1, 2, 3}),
        (Rules(temperature=1, top_p=0.0001), {3}),
        (Rules(temperature=1, top_k=3, top_p=0.7), {2, 3}),  # of what top-k left, 0.7 of 0.9
        (Rules(temperature=1, suppressed=(3,)), {0, 1, 2}),
        (Rules(temperature=1, suppressed=(3,), top_p=0.99), {0, 1, 2}),
    ],
)
def test_only_the_likeliest_take_part(rules: Rules, tokens: set[int]) -> None:
    assert set(drawn(np.log(row(0.1, 0.2, 0.3, 0.4)), rules, 500)) == tokens


def test_the_same_seed_draws_the_same_tokens() -> None:
    rules = Rules(temperature=1.0)

    def some(seed: bytes) -> list[int]:
        random = random_from(seed)
        return [choose(row(*[0.0] * 50), [0], rules, random) for _ in range(20)]

    assert some(SEED) == some(SEED)
    assert some(SEED) != some(SEED[::-1])


def test_chance_needs_numbers_that_nobody_can_guess() -> None:
    with pytest.raises(UsageError, match="random numbers"):
        choose(row(), [0], Rules(temperature=1.0))
    with pytest.raises(UsageError, match="guessed"):
        random_from(bytes(15))


def test_logarithms_of_probabilities_add_up() -> None:
    logits = np.array([[1, 2, 3], [1000, 0, -1000]], dtype=np.float32)
    normalise(logits)
    assert np.exp(logits).sum(axis=1) == pytest.approx([1, 1])
    assert logits[0, 1] - logits[0, 0] == pytest.approx(1)


@given(st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=30), st.integers(1, 40))
def test_the_largest_are_those_of_a_stable_sort(values: list[float], count: int) -> None:
    order = sorted((place for place in range(len(values)) if values[place] > -np.inf), key=lambda place: -values[place])
    assert largest(row(*values), count).tolist() == order[:count]


def test_top_p_chooses_among_so_many_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a device asks for, no more than that is sorted at a token."""
    sorted_: list[int] = []
    argsort = np.argsort

    def counted(values: Row, **how: Any) -> NDArray[np.intp]:
        sorted_.append(len(values))
        return argsort(values, **how)

    monkeypatch.setattr(np, "argsort", counted)
    scores = (np.random.Generator(np.random.PCG64(1)).permutation(20_000) / 20_000).astype(np.float32)
    rules, random = Rules(temperature=2.0, top_p=0.999999), random_from(b"0123456789abcdef")
    drawn = [choose(scores.copy(), [1], rules, random) for _ in range(200)]
    assert max(sorted_) == NUCLEUS[-1]
    least = np.sort(scores)[-NUCLEUS[-1]]
    assert all(scores[token] >= least for token in drawn)
    assert len(set(drawn)) > 150
