"""The metrics of answers that come in pieces, under the field's names and with the JSON keys of `vllm bench serve`.

    E2EL  from the request to the end of the answer
    TTFT  to its first piece
    ITL   between one piece and the next
    TPOT  for each piece after the first, on average over an answer

An answer in one piece has the first two only; then TTFT is when its first octets came. Goodput counts the answers that
kept every limit.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat
from statistics import fmean, median, pstdev
from typing import Final

from bench.engine import Samples
from bench.histogram import MS, percentile
from seclude.errors import ConfigError

NAMES: Final = ("ttft", "tpot", "itl", "e2el")


@dataclass(frozen=True, slots=True)
class Answer:
    """When the pieces of one answer came; nanoseconds since the intended start of its request, in order."""

    pieces: Sequence[int]
    done: int

    @property
    def ttft(self) -> int:
        """Nanoseconds to the first piece."""
        return self.pieces[0] if self.pieces else self.done

    @property
    def gaps(self) -> list[int]:
        """Nanoseconds between pieces."""
        return [later - earlier for earlier, later in pairwise(self.pieces)]

    @property
    def tpot(self) -> float | None:
        """Nanoseconds for each piece after the first; None where there is none."""
        return (self.done - self.pieces[0]) / (len(self.pieces) - 1) if len(self.pieces) > 1 else None


def answers_of(samples: Samples) -> list[Answer]:
    """Return when the pieces of each answer came; of one that was not heard as it came, when its first octet did."""
    found, at = [], 0
    counts = samples.counts or repeat(0, len(samples.latency))
    for first, done, count in zip(samples.first, samples.latency, counts, strict=True):
        found.append(Answer(samples.heard[at : at + count] or (first,), done))
        at += count
    return found


def metrics(
    answers: Sequence[Answer], seconds: float, *, failed: int = 0, goodput: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Return the keys of vLLM's result; `goodput` gives limits in milliseconds by the names above."""
    found: dict[str, float] = {
        "duration": seconds,
        "completed": len(answers),
        "failed": failed,
        "request_throughput": len(answers) / seconds if seconds else 0.0,
    }
    if goodput is not None:
        good = sum(_keeps(answer, goodput) for answer in answers)
        found["request_goodput"] = good / seconds if seconds else 0.0
    series: dict[str, list[float]] = {
        "ttft": [answer.ttft for answer in answers],
        "tpot": [tpot for answer in answers if (tpot := answer.tpot) is not None],
        "itl": [gap for answer in answers for gap in answer.gaps],
        "e2el": [answer.done for answer in answers],
    }
    for name in NAMES:
        found |= _describe(name, series[name])
    return found


def parse_goodput(words: Sequence[str]) -> dict[str, float]:
    """Read limits such as `ttft:500` and `e2el:5000`, in milliseconds; raises ConfigError."""
    limits: dict[str, float] = {}
    for word in words:
        name, _, limit = word.partition(":")
        if name not in NAMES or name == "itl":
            raise ConfigError(f"--goodput: {word}: expected ttft:MS, tpot:MS or e2el:MS")
        try:
            limits[name] = float(limit)
        except ValueError:
            raise ConfigError(f"--goodput: {word}: {limit} is no number") from None
    return limits


def _keeps(answer: Answer, limits: Mapping[str, float]) -> bool:
    values = {"ttft": answer.ttft, "tpot": answer.tpot, "e2el": answer.done}
    return all((value := values[name]) is None or value <= limit * MS for name, limit in limits.items())


def _describe(name: str, values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = array("q", sorted(round(value) for value in values))
    return {
        f"mean_{name}_ms": fmean(values) / MS,
        f"median_{name}_ms": median(values) / MS,
        f"std_{name}_ms": pstdev(values) / MS,
        f"p99_{name}_ms": percentile(ordered, 0.99) / MS,
    }
