"""What may come next, and which of it does: rules on one row of a model's logits, in the order in which
transformers applies them, so that a model's `generation_config.json` means here what it means there.

It knows no model and keeps nothing; arrays that hold tokens are filled with zeros, since numpy keeps small ones as they
are. Where there is chance, the numbers come from a generator that the caller seeded for this one request, so the same
request with the same seed gets the same tokens, whoever else is served at the same time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from seclude.errors import UsageError

# Tokens to sort for top-p: the first number is mostly enough, and the second is all that one may choose among. Who asks
# for nearly all of a vocabulary at a high temperature would have the whole of it sorted, at each token of everybody's.
NUCLEUS: Final = (256, 4096)
NEVER: Final = np.float32(-np.inf)
MIN_SEED_OCTETS: Final = 16  # fewer could be guessed by somebody who knows the tokens

Row = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for one request. Lengths are those of the history, which begins with the token given at the start."""

    eos: frozenset[int] = frozenset()
    """Tokens that end the text."""
    min_length: int = 0
    """Below it nothing ends the text."""
    max_length: int | None = None
    """At it the text ends, `forced_eos` being its last token."""
    forced_bos: int | None = None
    """The first token after the one given at the start."""
    forced_eos: tuple[int, ...] = ()
    no_repeat_ngram: int = 0
    """No run of so many tokens comes twice; 0 for no such rule."""
    repetition_penalty: float = 1.0
    bad_words: tuple[tuple[int, ...], ...] = ()
    suppressed: tuple[int, ...] = ()
    suppressed_first: tuple[int, ...] = ()
    temperature: float = 0.0
    """0 takes the likeliest token, without chance."""
    top_k: int = 0
    """Only so many of the likeliest tokens; 0 for all."""
    top_p: float = 1.0
    """Only the likeliest tokens that together have this probability, and no more than `NUCLEUS` says."""

    def ended(self, history: Sequence[int]) -> bool:
        """Say whether nothing comes after this."""
        return history[-1] in self.eos or (self.max_length is not None and len(history) >= self.max_length)


def random_from(seed: bytes) -> np.random.Generator:
    """Return the random numbers of one request. It asks the system for nothing, which the lockdown would refuse."""
    if len(seed) < MIN_SEED_OCTETS:
        raise UsageError(f"a seed of {len(seed)} octets can be guessed")
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed)))


def choose(logits: Row, history: Sequence[int], rules: Rules, random: np.random.Generator | None = None) -> int:
    """Return the token that comes after `history`. The logits are worked on where they stand, and are spoilt."""
    restrict(logits, history, rules)
    if rules.temperature <= 0:
        return int(logits.argmax())
    if random is None:
        raise UsageError("a temperature needs random numbers")
    return _draw(logits, rules, random)


def restrict(scores: Row, history: Sequence[int], rules: Rules) -> None:
    """Apply all rules but those of chance to logits or their log-softmax, where they stand; what may not come is -inf.

    The order tells where rules disagree: a forced token comes even if an earlier rule forbids it.
    """
    if rules.repetition_penalty != 1.0:
        seen, penalty = np.array(sorted(set(history)), dtype=np.intp), np.float32(rules.repetition_penalty)
        known = scores[seen]
        scores[seen] = np.where(known < 0, known * penalty, known / penalty)
        seen.fill(0)
    if rules.no_repeat_ngram:
        _forbid(scores, _completions(history, rules.no_repeat_ngram))
    for word in rules.bad_words:
        if len(history) + 1 >= len(word) > 0 and tuple(history[len(history) - len(word) + 1 :]) == word[:-1]:
            scores[word[-1]] = NEVER
    if len(history) < rules.min_length:
        _forbid(scores, rules.eos)
    if rules.forced_bos is not None and len(history) == 1:
        _force(scores, (rules.forced_bos,))
    if rules.forced_eos and rules.max_length is not None and len(history) == rules.max_length - 1:
        _force(scores, rules.forced_eos)
    _forbid(scores, rules.suppressed)
    if len(history) == (1 if rules.forced_bos is None else 2):
        _forbid(scores, rules.suppressed_first)


def normalise(logits: Row) -> None:
    """Turn logits into the logarithms of the probabilities, along the last axis and where they stand."""
    logits -= logits.max(axis=-1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def largest(values: Row, count: int) -> NDArray[np.intp]:
    """Return where the `count` largest values that are not -inf stand, largest first, and of equal ones the first."""
    least = np.partition(values, len(values) - count)[len(values) - count] if count < len(values) else NEVER
    places = np.flatnonzero(values >= least if least > NEVER else values > NEVER)
    chosen = places[np.argsort(-values[places], kind="stable")[:count]]
    places.fill(0)
    return chosen


def _completions(history: Sequence[int], size: int) -> list[int]:
    """Return the tokens that would complete a run of `size` that the history already holds."""
    if len(history) < size:
        return []
    if size == 1:
        return list(history)
    last, opening = history[-1], tuple(history[len(history) - size + 1 :])
    return [
        history[place]
        for place in range(size - 1, len(history))
        if history[place - 1] == last and tuple(history[place - size + 1 : place]) == opening
    ]


def _forbid(scores: Row, tokens: Iterable[int]) -> None:
    for token in tokens:
        scores[token] = NEVER


def _force(scores: Row, tokens: Sequence[int]) -> None:
    scores.fill(NEVER)
    for token in tokens:
        scores[token] = 0


def _draw(logits: Row, rules: Rules, random: np.random.Generator) -> int:
    """Draw a token from what temperature, top-k and top-p leave, in this order."""
    best = float(logits.max())
    if rules.top_k or rules.top_p >= 1:
        tokens = largest(logits, rules.top_k) if rules.top_k else np.flatnonzero(logits > NEVER)
        below = _weigh(logits[tokens], best, rules)
        whole = float(below[-1])
    else:
        whole = float(np.exp((logits.astype(np.float64) - best) / rules.temperature).sum())
        tokens, below = _reach(logits, best, rules, whole)
    if rules.top_p < 1:
        below = below[: int(np.searchsorted(below, rules.top_p * whole)) + 1]  # what reaches the sum is kept
    place = int(np.searchsorted(below, random.random() * below[-1], side="right"))
    token = int(tokens[min(place, len(below) - 1)])
    tokens.fill(0)
    return token


def _reach(logits: Row, best: float, rules: Rules, whole: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the largest tokens that together reach top-p, or as many as may."""
    for count in NUCLEUS:
        tokens = largest(logits, count)
        below = _weigh(logits[tokens], best, rules)
        if below[-1] >= rules.top_p * whole:
            break
    return tokens, below


def _weigh(chosen: Row, best: float, rules: Rules) -> NDArray[np.float64]:
    """Return the sums of the weights up to each token."""
    return np.cumsum(np.exp((chosen.astype(np.float64) - best) / rules.temperature))
