"""Runs one load with several generators, reads the parties' CPU clocks around the measured window, and merges.

The window begins after the warm-up and is the same for everything: latencies are those of requests that were meant to
start in it, rates and CPU times are of what was completed in it. Where prepared requests run out, it ends there.
"""

import asyncio
import contextlib
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Final, TypeVar

import msgspec

from bench.account import children, family, family_cpu_ns, pin, waited_ns
from bench.arrivals import SECOND
from bench.job import OVER, READY, REPORT, TICK, Job, Report, nanoseconds
from seclude.daemon.processes import end_with_parent
from seclude.errors import ConfigError

LEAD_NS: Final = 100_000_000  # between the word to start and the start, so that every generator has heard it
FRESH_SECONDS: Final = 240  # between making a request and sending it; a worker refuses dates 300 s off
CLIENT: Final = "client"  # the party that the generators are, with the device's cryptography

Say = Callable[[str], None]
Turn = TypeVar("Turn")


class GeneratorError(Exception):
    """Raised when a generator ends without a report; its own words stand on standard error."""


@dataclass(slots=True)
class Samples:
    """What was measured in one window; times are nanoseconds."""

    seconds: float = 0.0
    latency: "array[int]" = field(default_factory=lambda: array("q"))
    """From the intended start to the end of the answer, of requests that succeeded."""
    service: "array[int]" = field(default_factory=lambda: array("q"))
    """The same from when it was really sent."""
    first: "array[int]" = field(default_factory=lambda: array("q"))
    """From the intended start to the first octet of the answer."""
    done: "array[int]" = field(default_factory=lambda: array("q"))
    """When each answer that came within the window was complete, from its start."""
    failed: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    offered: int = 0
    completed: int = 0
    """Answers that came within the window, whenever their requests were due; what CPU times are divided by."""
    cpu_ns: dict[str, int] = field(default_factory=dict)
    lags: "array[int]" = field(default_factory=lambda: array("q"))
    busy: float = 0.0
    """The share of the window in which the busiest generator ran or waited for a core."""
    exhausted: bool = False
    heard: "array[int]" = field(default_factory=lambda: array("q"))
    """When each piece of text came, of streamed chats, from the intended start of its request; one after the other."""
    counts: "array[int]" = field(default_factory=lambda: array("q"))
    """How many of these each request of `latency` has; empty where nobody listened for any."""
    written: float = 0.0
    """Tokens that came within the window, whenever they were asked for."""
    changed: set[str] = field(default_factory=set)
    """Parties of which a process ended or started within the window, so that their CPU time is not known."""

    def add(self, other: "Samples") -> None:
        """Take in another round of the same load."""
        offset = round(self.seconds * SECOND)
        self.latency.extend(other.latency)
        self.service.extend(other.service)
        self.first.extend(other.first)
        self.done.extend(each + offset for each in other.done)
        self.lags.extend(other.lags)
        self.heard.extend(other.heard)
        self.counts.extend(other.counts)
        self.written += other.written
        self.failed.update(other.failed)
        self.seconds += other.seconds
        self.dropped += other.dropped
        self.offered += other.offered
        self.completed += other.completed
        for name, spent in other.cpu_ns.items():
            self.cpu_ns[name] = self.cpu_ns.get(name, 0) + spent
        self.busy = max(self.busy, other.busy)
        self.exhausted = self.exhausted or other.exhausted
        self.changed |= other.changed


def together(rounds: Iterable[Samples]) -> Samples:
    """Return several rounds of one load as one."""
    whole = Samples()
    for each in rounds:
        whole.add(each)
    return whole


def in_turn(items: Sequence[Turn], number: int) -> list[Turn]:
    """Return the order of one round. Each round begins with another one, so that none is always first or last."""
    first = number % max(1, len(items))
    return [*items[first:], *items[:first]]


@dataclass(frozen=True, slots=True)
class Reading:
    """The kernel's books at one moment."""

    at: int
    cpu: Mapping[str, int]
    generators: tuple[tuple[int, int], ...]
    """CPU time, and time in which it waited for a core, of each."""


class Books:
    """Reads what each party and each generator has used. Who belongs to a party is settled when it is made."""

    def __init__(self, parties: Mapping[str, int], generators: Sequence[int]) -> None:
        self._parties = parties
        self._families = self._look()
        self._generators = generators

    def read(self) -> Reading:
        """Read all."""
        cpu = {name: family_cpu_ns(pids) for name, pids in self._families.items()}
        cpu[CLIENT] = family_cpu_ns(self._generators)
        generators = tuple((family_cpu_ns([pid]), waited_ns(pid)) for pid in self._generators)
        return Reading(monotonic_ns(), cpu, generators)

    def changed(self) -> set[str]:
        """Return the parties that are not the processes they were; what was read of them is worth nothing."""
        now = self._look()
        return {name for name, pids in self._families.items() if set(pids) != set(now[name])}

    def _look(self) -> dict[str, list[int]]:
        tree = children()
        return {name: family(pid, tree) for name, pid in self._parties.items()}


async def run_load(jobs: Sequence[Job], parties: Mapping[str, int], say: Say, cores: Sequence[int] = ()) -> Samples:
    """Run the jobs side by side against what they name; `parties` are the processes whose CPU time counts."""
    need_fresh(jobs[0], 0.0)
    processes: list[asyncio.subprocess.Process] = []
    try:
        for _ in jobs:
            process = await _spawn(cores)
            processes.append(process)  # one by one, so that those that were started end where another was not
        began = monotonic_ns()
        await _hand_over(processes, jobs)
        need_fresh(jobs[0], (monotonic_ns() - began) / SECOND)
        start = monotonic_ns() + LEAD_NS
        for process in processes:
            _tell(process, str(start))
        progress = Progress(say, len(jobs), jobs[0])
        async with asyncio.TaskGroup() as group:
            reports = [group.create_task(_listen(process, index, progress)) for index, process in enumerate(processes)]
            await asyncio.sleep(_seconds_until(start + round(jobs[0].warmup_seconds * SECOND)))
            books = Books(parties, [process.pid for process in processes])
            before = books.read()
            with contextlib.suppress(TimeoutError):
                end = start + round((jobs[0].warmup_seconds + jobs[0].seconds) * SECOND)
                await asyncio.wait_for(progress.over.wait(), _seconds_until(end))
            after = books.read()
            changed = books.changed()
        samples = merge([report.result() for report in reports], jobs[0], start, before, after)
        samples.changed = changed
        return samples
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()  # a generator that has reported waits for this
            await process.wait()


def merge(reports: Sequence[Report], job: Job, start: int, before: Reading, after: Reading) -> Samples:
    """Put together what several generators saw in the window."""
    exhausted = any(report.exhausted for report in reports)
    read_from, read_to = before.at - start, after.at - start
    begin, end = round(job.warmup_seconds * SECOND), round((job.warmup_seconds + job.seconds) * SECOND)
    window = (begin, max(begin, min(end, read_to))) if exhausted else (begin, end)
    samples = Samples(seconds=(window[1] - window[0]) / SECOND, exhausted=exhausted)
    for report in reports:
        _merge_one(samples, report, window, (read_from, read_to))
    samples.cpu_ns = {name: after.cpu[name] - spent for name, spent in before.cpu.items()}
    wall = max(1, after.at - before.at)
    samples.busy = max(
        (ran[0] - had[0] + ran[1] - had[1]) / wall for had, ran in zip(before.generators, after.generators, strict=True)
    )
    return samples


def _merge_one(samples: Samples, report: Report, window: tuple[int, int], read: tuple[int, int]) -> None:
    intended, sent, first, done = (
        nanoseconds(column) for column in (report.intended, report.sent, report.first, report.done)
    )
    heard, counts, tokens = (nanoseconds(column) for column in (report.heard, report.counts, report.tokens))
    at = 0  # in `heard`
    for place, due in enumerate(intended):
        texts = heard[at : at + counts[place]] if counts else heard
        at += len(texts)
        kind, end = report.outcome[place], done[place]
        if not kind and read[0] <= end < read[1]:
            samples.completed += 1
        if not kind and texts:
            samples.written += tokens[place] * sum(read[0] <= each < read[1] for each in texts) / len(texts)
        if not kind and window[0] <= end < window[1]:
            samples.done.append(end - window[0])
        if not window[0] <= due < window[1]:
            continue
        samples.offered += 1
        if kind:
            samples.failed[report.kinds[kind]] += 1
            continue
        samples.latency.append(end - due)
        samples.service.append(end - sent[place])
        samples.first.append(first[place] - due)
        if counts:
            samples.counts.append(len(texts))
            samples.heard.extend(each - due for each in texts)
    dropped = sum(window[0] <= due < window[1] for due in nanoseconds(report.dropped))
    samples.dropped += dropped
    samples.offered += dropped
    samples.lags.extend(nanoseconds(report.lags))


@dataclass(slots=True)
class Progress:
    """Says once a second how far the load is."""

    say: Say
    generators: int
    job: Job
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set where a generator has no more requests: from then on the load is not what was asked for."""
    _ticks: dict[int, int] = field(default_factory=dict)
    _counts: dict[int, tuple[int, int]] = field(default_factory=dict)

    def tick(self, index: int, answered: int, failed: int) -> None:
        """Take the word of one generator; the last one of each second makes a line."""
        self._ticks[index] = self._ticks.get(index, 0) + 1
        self._counts[index] = (answered, failed)
        if index == self.generators - 1:
            total, wrong = (sum(pair[n] for pair in self._counts.values()) for n in (0, 1))
            whole = self.job.warmup_seconds + self.job.seconds
            self.say(f"  {self._ticks[index]:3d} of {whole:.0f} s: {total} answered, {wrong} failed")


async def _spawn(cores: Sequence[int]) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.generator",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=end_with_parent,
        limit=1 << 20,
    )
    if cores:
        pin(process.pid, cores)
    return process


def need_fresh(job: Job, prepared_seconds: float) -> None:
    """Raise ConfigError where requests made in advance would be too old when they are sent: each holds its date."""
    whole = prepared_seconds + job.warmup_seconds + job.seconds
    if job.workload.kind == "encapsulated" and not job.workload.inline and whole > FRESH_SECONDS:
        raise ConfigError(
            f"requests made in advance are refused as too old after {FRESH_SECONDS} s, and making and sending them "
            f"would take {whole:.0f} s; ask for fewer seconds, or for --encap inline"
        )


async def _hand_over(processes: Sequence[asyncio.subprocess.Process], jobs: Sequence[Job]) -> None:
    """Give each generator its job, and wait until all of them are ready."""
    for process, job in zip(processes, jobs, strict=True):
        _tell(process, msgspec.json.encode(job).decode())
    try:
        async with asyncio.timeout(FRESH_SECONDS):
            await asyncio.gather(*map(_until_ready, processes))
    except TimeoutError:
        raise GeneratorError(f"a generator did not get ready in {FRESH_SECONDS} s") from None


async def _until_ready(process: asyncio.subprocess.Process) -> None:
    if (await _line(process)) != [READY]:
        raise GeneratorError("a generator did not get ready")


def _tell(process: asyncio.subprocess.Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")


async def _line(process: asyncio.subprocess.Process) -> list[str]:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().split()


async def _listen(process: asyncio.subprocess.Process, index: int, progress: Progress) -> Report:
    assert process.stdout is not None
    while words := await _line(process):
        if words[0] == TICK:
            progress.tick(index, int(words[1]), int(words[2]))
        elif words[0] == OVER:
            progress.over.set()
        elif words[0] == REPORT:
            return msgspec.msgpack.decode(await process.stdout.readexactly(int(words[1])), type=Report)
    raise GeneratorError("a generator ended without a report")


def _seconds_until(at_ns: int) -> float:
    """Return how long it is to a moment of the monotonic clock."""
    return max(0.0, (at_ns - monotonic_ns()) / SECOND)
