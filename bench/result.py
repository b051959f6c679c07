"""What a run of the bench says, as the JSON that is stored, compared and drawn.

The schema is versioned: a field may be added under the same name, and nothing else changes without a new one.
"""

import statistics
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Struct

from bench.engine import Samples, together
from bench.histogram import MS, Latency, histogram, percentile, summarise
from bench.machine import Machine, describe
from bench.streaming import answers_of, metrics
from seclude.errors import ConfigError

SCHEMA: Final = "seclude-bench/1"
IN_ALL: Final = "in all"  # the name of the last step of a ladder, which is all of them together
OVER_TIME: Final = 60  # points of the plot over time, however long the run was
MAX_LAG_MS: Final = 10.0  # how late the generator itself may be at most, at its 99th percentile, in an open loop
MAX_BUSY: Final = 0.95  # the share of the time in which a generator may run or wait for a core
LAG_SHARE: Final = 0.75  # of the p99 of the latency, of which the generator's own lag is a part
LAG_FLOOR_MS: Final = 1.0  # less is what any process waits for a core, however fast the target is
MAX_FAILED: Final = 0.001  # of all requests; those that failed or were dropped have no latency, and may have been slow
GENERATOR_BOUND: Final = "generator-bound"

Config = dict[str, str | int | float | bool | None]


class Round(Struct, frozen=True):
    """One of several rounds of a case."""

    p50_ms: float | None
    """None where nothing was answered."""
    p99_ms: float | None
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
    lag_p99_ms: float | None = None
    """How late the generator itself was; None in a closed loop, which is never late."""
    generator_busy: float = 0.0
    invalid: str = ""
    """Why the figures say nothing about the target, where they do not."""
    note: str = ""
    tokens_per_second: float = 0.0
    """Of a language model, in all answers together."""
    cpu_us_per_token: dict[str, float] = {}
    """CPU microseconds for each of these, by party."""

    @property
    def answered_share(self) -> float:
        """The share of the requests that have a latency; percentiles beyond it are higher than what is known."""
        answered = sum(count for _, count in self.histogram)
        offered = answered + sum(self.failed.values()) + self.dropped
        return answered / offered if offered else 0.0


class Step(Struct, frozen=True):
    """What one rung of the ladder costs beyond the one before it."""

    name: str
    p50_ms: float
    """Median over the rounds of the difference within each round."""
    p99_ms: float
    cpu_us: dict[str, float]
    """By party; a party that was not there before counts whole."""


class Figure(Struct, frozen=True):
    """One number that is no latency of a case, such as memory, with the limit that it is held against."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    good: bool = True
    """Whether it does not miss its limit; see `undecided`."""
    low: float | None = None
    """The lowest and the highest of the values that it is the median of."""
    high: float | None = None
    undecided: bool = False
    """Whether it would be on the other side of its limit if one of those values had not been measured."""


class Result(Struct, frozen=True, kw_only=True):
    """One run of one command."""

    schema: Annotated[str, msgspec.Meta(pattern=r"^seclude-bench/1$")] = SCHEMA
    kind: Literal["run", "ladder", "stream", "peers", "idle", "slow", "hpke", "decode", "talk"]
    machine: Machine = msgspec.field(default_factory=describe)
    seed: int = 0
    config: Config = msgspec.field(default_factory=dict)
    cases: list[Case] = msgspec.field(default_factory=list)
    streams: list[Case] = msgspec.field(default_factory=list)
    """Chats that a language model answers piece by piece; a ladder has rungs of them as well."""
    steps: list[Step] = msgspec.field(default_factory=list)
    figures: list[Figure] = msgspec.field(default_factory=list)
    skipped: dict[str, str] = msgspec.field(default_factory=dict)
    """What was left out, and why."""

    @property
    def invalid(self) -> list[str]:
        """Why the result does not count, where it does not."""
        return [f"{case.name}: {case.invalid}" for case in (*self.cases, *self.streams) if case.invalid]


def case_of(
    name: str,
    rounds: Sequence[Samples],
    goodput: Mapping[str, float] | None = None,
    *,
    max_failed: float = MAX_FAILED,
) -> Case:
    """Return the figures of one load, of all its rounds together; `max_failed` is a share of its requests."""
    samples = together(rounds)
    lag = percentile(sorted(samples.lags), 0.99) / MS if samples.lags else None
    latency = summarise(samples.latency)
    by_round = [_round(each) for each in rounds]
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
        latency=latency,
        service=summarise(samples.service),
        cpu_us=cpu_us(samples),
        histogram=histogram(samples.latency),
        over_time=over_time(samples.done, seconds),
        streaming=metrics(answers_of(samples), seconds, failed=failures + samples.dropped, goodput=goodput),
        rounds=by_round,
        lag_p99_ms=lag,
        generator_busy=samples.busy,
        invalid=_loss(samples, by_round, max_failed) or _generator_bound(samples.busy, lag, latency),
        note=f"the prepared requests ran out after {seconds:.1f} s (see --supply)" if samples.exhausted else "",
        tokens_per_second=samples.written / seconds if seconds else 0.0,
        cpu_us_per_token={name: spent / 1000 / samples.written for name, spent in samples.cpu_ns.items()}
        if samples.written
        else {},
    )


def median_of(name: str, values: Sequence[float], unit: str, limit: float | None = None) -> Figure:
    """Return the median of some rounds, held against a limit that it must not exceed."""
    middle = statistics.median(values)
    without_one = [statistics.median([*values[:place], *values[place + 1 :]] or values) for place in range(len(values))]
    undecided = limit is not None and min(without_one) <= limit < max(without_one)
    good = limit is None or middle <= limit or undecided
    return Figure(name, middle, unit, limit, good, min(values), max(values), undecided)


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
    """Return what each rung adds to the one before it, and at the end all of them to the first one.

    Pairs of the same round are compared, and a pair of which one side was not answered is none. A step without pairs
    is left out.
    """
    both = [(name, before, after) for (_, before), (name, after) in pairwise(rungs)]
    if len(rungs) > 1:
        both.append((IN_ALL, rungs[0][1], rungs[-1][1]))
    return [_step(name, pairs) for name, before, after in both if (pairs := answered(before, after))]


def answered(before: Sequence[Samples], after: Sequence[Samples]) -> list[tuple[Samples, Samples]]:
    """Return the pairs of the same round in which something was answered on both sides."""
    return [pair for pair in zip(before, after, strict=True) if all(each.latency for each in pair)]


def added_ms(pairs: Iterable[tuple[Samples, Samples]], share: float = 0.5) -> list[float]:
    """Return for each pair what the second load adds to a percentile of the first one."""
    return [_percentile_ms(upper, share) - _percentile_ms(lower, share) for lower, upper in pairs]


def _step(name: str, pairs: Sequence[tuple[Samples, Samples]]) -> Step:
    costs = [(cpu_us(lower), cpu_us(upper)) for lower, upper in pairs]
    return Step(
        name=name,
        p50_ms=statistics.median(added_ms(pairs)),
        p99_ms=statistics.median(added_ms(pairs, 0.99)),
        cpu_us={
            party: statistics.median(upper.get(party, 0.0) - lower.get(party, 0.0) for lower, upper in costs)
            for party in sorted({party for pair in costs for each in pair for party in each})
        },
    )


class _Named(Struct):
    """The schema, which a file must name; a result that is made here has it by itself."""

    schema: str


def write(path: Path, result: Result) -> None:
    """Write a result as JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")


def read(path: Path) -> Result:
    """Read a result; raises ConfigError where it is none of this schema."""
    try:
        data = path.read_bytes()
        msgspec.json.decode(data, type=_Named)
        return msgspec.json.decode(data, type=Result)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from None
    except msgspec.DecodeError as exc:
        raise ConfigError(f"{path}: no result of schema {SCHEMA}: {exc}") from None


def _round(samples: Samples) -> Round:
    median, slow = (_percentile_ms(samples, share) if samples.latency else None for share in (0.5, 0.99))
    rate = samples.completed / samples.seconds if samples.seconds else 0.0
    return Round(median, slow, rate, cpu_us(samples))


def _percentile_ms(samples: Samples, share: float) -> float:
    return percentile(sorted(samples.latency), share) / MS


def _loss(samples: Samples, rounds: Sequence[Round], max_failed: float) -> str:
    """Say what is missing from the figures, if that is so much that they do not count."""
    if not samples.completed or not samples.latency:
        return "nothing was answered"
    if any(each.p50_ms is None for each in rounds):
        return "nothing was answered in one of the rounds"
    lost = samples.failed.total() + samples.dropped
    if lost > max_failed * samples.offered:
        return f"{lost} of {samples.offered} failed or were dropped, limit {max_failed:.2%}"
    if samples.changed:
        return f"a process of the {', '.join(sorted(samples.changed))} ended or started"
    return ""


def _generator_bound(busy: float, lag_ms: float | None, latency: Latency) -> str:
    """Say whether the figures are of the load rather than of what it was run against."""
    limit = min(MAX_LAG_MS, max(LAG_FLOOR_MS, LAG_SHARE * latency.p99_ms))
    if lag_ms is not None and lag_ms > limit:
        return f"{GENERATOR_BOUND} (it was {lag_ms:.1f} ms late at its p99, limit {limit:.1f})"
    if busy > MAX_BUSY:
        return f"{GENERATOR_BOUND} (it ran or waited for a core {busy:.0%} of the time)"
    return ""
