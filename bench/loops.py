"""Greedy decoding as a loop that somebody would write by hand on onnxruntime, and as the engine does it.

A bare loop does what cannot be left out: the same graph with the same options, the likeliest token of each row, keys
and values passed on where they stand. It checks nothing, serves nobody, clears nothing. Both write from the same tokens
and for as long, whatever ends a text otherwise; what they wrote is returned, since only the same work is compared.
Both are in `decoderloops` and in `seq2seqloops`, one module for each layout of a model; here is what they share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter_ns, process_time_ns
from typing import Final, Protocol

from inference.engine.logits import Rules

PLAIN: Final = Rules()
PAST: Final = "past_key_values"
PRESENT: Final = "present"

Tokens = list[list[int]]
"""What was written: a list for each row."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a stretch of decoding took, for each token of it."""

    cpu_us: float
    """Of all threads of the process."""
    wall_us: float
    tokens: Tokens


class Loop(Protocol):
    """Reads the same tokens in each row, and measures so many steps after the first token."""

    def __call__(self, ids: Sequence[int], rows: int, steps: int, /) -> Taken: ...


class Clock:
    """Reads what the process and the wall's clock say at the begin and the end of a stretch."""

    def __init__(self) -> None:
        self._began = (0, 0)
        self._took = (0, 0)

    def start(self) -> None:
        """Begin the stretch."""
        self._began = process_time_ns(), perf_counter_ns()

    def stop(self) -> None:
        """End it."""
        self._took = process_time_ns() - self._began[0], perf_counter_ns() - self._began[1]

    def taken(self, tokens: Tokens, steps: int) -> Taken:
        """Return what the stretch took, of so many steps of all rows."""
        cpu, wall = (each / 1000 / steps / len(tokens) for each in self._took)
        return Taken(cpu, wall, tokens)


def same(one: Tokens, other: Tokens) -> bool:
    """Say whether two loops wrote the same, as far as both went: an engine's rows begin one after the other."""
    pairs = [pair for rows in zip(one, other, strict=True) for pair in zip(*rows, strict=False)]
    return bool(pairs) and all(left == right for left, right in pairs)


def by_row(steps: list[list[int]]) -> Tokens:
    """Turn what was written step by step into a list for each row."""
    return [list(row) for row in zip(*steps, strict=True)]
