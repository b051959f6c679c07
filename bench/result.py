"""What a run of the bench says, as the JSON that is stored, compared and drawn.

The schema is versioned: a field may be added under the same name, and nothing else changes without a new one.
"""

import statistics
from array import array
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Struct

from bench.engine import Samples, together
from bench.histogram import Latency, histogram, percentile, summarise
from bench.machine import Machine, describe
from bench.streaming import Answer, metrics
from seclude.errors import ConfigError

SCHEMA: Final = "seclude-bench/1"
IN_ALL: Final = "in all"  # the name of the last step of a ladder, which is all of them together
OVER_TIME: Final = 60  # points of the plot over time, however long the run was
MAX_LAG_MS: Final = 10.0  # how late the generator itself may be, at its 99th percentile, in an open loop
MAX_BUSY: Final = 0.95  # the share of the time in which a generator may run or wait for a core
MIN_LAGS: Final = 50  # with fewer arrivals a percentile says nothing

Config = dict[str, str | int | float | bool | None]


class Round(Struct, frozen=True):
    """One of several rounds of a case."""

    p50_ms: float
    p99_ms: float
    rate: float
    cpu_us: dict[str, float]


class Case(Struct, frozen=True):
    """One load against one target: a rung of the ladder, a peer, or the only one there is."""

    name: str
    seconds: float
    offered_per_second: float
    completed_per_second: float
    completed: int
    dropped: int
    failed: dict[str, int]
    latency: Latency
    """From the intended start of a request, so that waiting for a stalled target counts."""
    service: Latency
    """From when the request was really sent."""
    cpu_us: dict[str, float]
    """CPU microseconds for each completed request, by party."""
    histogram: list[tuple[int, int]]
    """Of `latency`: lower bound of a bucket in nanoseconds, and how many fell into it."""
    over_time: list[float]
    """Completed requests a second, in stretches of equal length."""
    streaming: dict[str, float]
    rounds: list[Round]
    lag_p99_ms: float = 0.0
    """How late the generator itself was."""
    generator_busy: float = 0.0
    invalid: str = ""
    """Why the figures say nothing about the target, where they do not."""
    note: str = ""


class Step(Struct, frozen=True):
    """What one rung of the ladder costs beyond the one before it."""

    name: str
    p50_ms: float
    """Median over the rounds of the difference within each round."""
    p99_ms: float
    cpu_us: dict[str, float]
    """By party; a party that was not there before counts whole."""


class Figure(Struct, frozen=True):
    """One number that is no latency, such as memory, with the limit that it is held against."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    good: bool = True


class Result(Struct, frozen=True, kw_only=True):
    """One run of one command."""

    schema: Annotated[str, msgspec.Meta(pattern=r"^seclude-bench/1$")] = SCHEMA
    kind: Literal["run", "ladder", "peers", "idle", "slow"]
    machine: Machine = msgspec.field(default_factory=describe)
    seed: int = 0
    config: Config = msgspec.field(default_factory=dict)
    cases: list[Case] = msgspec.field(default_factory=list)
    steps: list[Step] = msgspec.field(default_factory=list)
    figures: list[Figure] = msgspec.field(default_factory=list)
    skipped: dict[str, str] = msgspec.field(default_factory=dict)
    """What was left out, and why."""

    @property
    def invalid(self) -> list[str]:
        """Why the result does not count, where it does not."""
        return [f"{case.name}: {case.invalid}" for case in self.cases if case.invalid]


def case_of(name: str, rounds: Sequence[Samples], goodput: Mapping[str, float] | None = None) -> Case:
    """Return the figures of one load, of all its rounds together."""
    samples = together(rounds)
    lag = percentile(sorted(samples.lags), 0.99) / 1e6 if len(samples.lags) >= MIN_LAGS else 0.0
    answers = [Answer((first,), done) for first, done in zip(samples.first, samples.latency, strict=True)]
    failures = samples.failed.total()
    seconds = samples.seconds
    return Case(
        name=name,
        seconds=seconds,
        offered_per_second=samples.offered / seconds if seconds else 0.0,
        completed_per_second=samples.completed / seconds if seconds else 0.0,
        completed=samples.completed,
        dropped=samples.dropped,
        failed=dict(samples.failed),
        latency=summarise(samples.latency),
        service=summarise(samples.service),
        cpu_us=cpu_us(samples),
        histogram=histogram(samples.latency),
        over_time=over_time(samples.done, seconds),
        streaming=metrics(answers, seconds, failed=failures + samples.dropped, goodput=goodput),
        rounds=[_round(each) for each in rounds],
        lag_p99_ms=lag,
        generator_busy=samples.busy,
        invalid=_verdict(samples, lag),
    )


def cpu_us(samples: Samples) -> dict[str, float]:
    """Return the CPU microseconds of each party for each completed request."""
    return {name: spent / 1000 / samples.completed for name, spent in samples.cpu_ns.items() if samples.completed}


def over_time(done: "array[int]", seconds: float) -> list[float]:
    """Return completed requests a second, in stretches of equal length."""
    if not seconds or not done:
        return []
    counts = [0] * OVER_TIME
    for each in done:
        place = int(each / 1e9 / seconds * OVER_TIME)
        if 0 <= place < OVER_TIME:
            counts[place] += 1
    return [count * OVER_TIME / seconds for count in counts]


def steps_of(rungs: Sequence[tuple[str, Sequence[Samples]]]) -> list[Step]:
    """Return what each rung adds to the one before it, and at the end all of them to the first one."""
    steps = [_step(name, before, after) for (_, before), (name, after) in pairwise(rungs)]
    return [*steps, _step(IN_ALL, rungs[0][1], rungs[-1][1])] if len(rungs) > 1 else []


def _step(name: str, before: Sequence[Samples], after: Sequence[Samples]) -> Step:
    """Compare by pairs of the same round."""
    pairs = [(_round(lower), _round(upper)) for lower, upper in zip(before, after, strict=True)]
    parties = {party for pair in pairs for each in pair for party in each.cpu_us}
    return Step(
        name=name,
        p50_ms=statistics.median(upper.p50_ms - lower.p50_ms for lower, upper in pairs),
        p99_ms=statistics.median(upper.p99_ms - lower.p99_ms for lower, upper in pairs),
        cpu_us={
            party: statistics.median(
                upper.cpu_us.get(party, 0.0) - lower.cpu_us.get(party, 0.0) for lower, upper in pairs
            )
            for party in sorted(parties)
        },
    )


def write(path: Path, result: Result) -> None:
    """Write a result as JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")


def read(path: Path) -> Result:
    """Read a result; raises ConfigError where it is none of this schema."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Result)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from None
    except msgspec.DecodeError as exc:
        raise ConfigError(f"{path}: no result of schema {SCHEMA}: {exc}") from None


def _round(samples: Samples) -> Round:
    ordered = sorted(samples.latency)
    rate = samples.completed / samples.seconds if samples.seconds else 0.0
    return Round(percentile(ordered, 0.5) / 1e6, percentile(ordered, 0.99) / 1e6, rate, cpu_us(samples))


def _verdict(samples: Samples, lag_ms: float) -> str:
    """Say why the figures do not count, if so."""
    if not samples.completed:
        return "nothing was answered"
    if lag_ms > MAX_LAG_MS:
        return f"generator-bound (it was {lag_ms:.1f} ms late at its p99, limit {MAX_LAG_MS:.0f})"
    if samples.busy > MAX_BUSY:
        return f"generator-bound (it ran or waited for a core {samples.busy:.0%} of the time)"
    return ""
