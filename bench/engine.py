"""Runs one load with several generators, reads the parties' CPU clocks around the measured window, and merges.

The window begins after the warm-up and is the same for everything: latencies are those of requests that were meant to
start in it, rates and CPU times are of what was completed in it.
"""

import asyncio
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Final

import msgspec

from bench.account import family, family_cpu_ns, pin, waited_ns
from bench.arrivals import SECOND
from bench.job import READY, REPORT, TICK, Job, Report, nanoseconds
from seclude.daemon.processes import end_with_parent

LEAD_NS: Final = 100_000_000  # between the word to start and the start, so that every generator has heard it
CLIENT: Final = "client"  # the party that the generators are, with the device's cryptography

Say = Callable[[str], None]


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
    """When each of them was complete, from the start of the window."""
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

    def add(self, other: "Samples") -> None:
        """Take in another round of the same load."""
        offset = round(self.seconds * SECOND)
        self.latency.extend(other.latency)
        self.service.extend(other.service)
        self.first.extend(other.first)
        self.done.extend(each + offset for each in other.done)
        self.lags.extend(other.lags)
        self.failed.update(other.failed)
        self.seconds += other.seconds
        self.dropped += other.dropped
        self.offered += other.offered
        self.completed += other.completed
        for name, spent in other.cpu_ns.items():
            self.cpu_ns[name] = self.cpu_ns.get(name, 0) + spent
        self.busy = max(self.busy, other.busy)
        self.exhausted = self.exhausted or other.exhausted


def together(rounds: Iterable[Samples]) -> Samples:
    """Return several rounds of one load as one."""
    whole = Samples()
    for each in rounds:
        whole.add(each)
    return whole


@dataclass(frozen=True, slots=True)
class Reading:
    """The kernel's books at one moment."""

    at: int
    cpu: Mapping[str, int]
    generators: tuple[tuple[int, int], ...]
    """CPU time, and time in which it waited for a core, of each."""


class Books:
    """Reads what each party and each generator has used."""

    def __init__(self, parties: Mapping[str, int], generators: Sequence[int]) -> None:
        self._families = {name: family(pid) for name, pid in parties.items()}
        self._generators = generators

    def read(self) -> Reading:
        """Read all."""
        cpu = {name: family_cpu_ns(pids) for name, pids in self._families.items()}
        cpu[CLIENT] = family_cpu_ns(self._generators)
        generators = tuple((family_cpu_ns([pid]), waited_ns(pid)) for pid in self._generators)
        return Reading(monotonic_ns(), cpu, generators)


async def run_load(jobs: Sequence[Job], parties: Mapping[str, int], say: Say, cores: Sequence[int] = ()) -> Samples:
    """Run the jobs side by side against what they name; `parties` are the processes whose CPU time counts."""
    processes = [await _spawn(cores) for _ in jobs]
    try:
        await asyncio.gather(*(_hand_over(process, job) for process, job in zip(processes, jobs, strict=True)))
        start = monotonic_ns() + LEAD_NS
        for process in processes:
            _tell(process, str(start))
        progress = Progress(say, len(jobs), jobs[0])
        books = Books(parties, [process.pid for process in processes])
        async with asyncio.TaskGroup() as group:
            reports = [group.create_task(_listen(process, index, progress)) for index, process in enumerate(processes)]
            await _until(start + round(jobs[0].warmup_seconds * SECOND), ())
            before = books.read()
            await _until(start + round((jobs[0].warmup_seconds + jobs[0].seconds) * SECOND), reports)
            after = books.read()
        return merge([report.result() for report in reports], jobs[0], start, before, after)
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()  # a generator that has reported waits for this
            await process.wait()


def merge(reports: Sequence[Report], job: Job, start: int, before: Reading, after: Reading) -> Samples:
    """Put together what several generators saw in the window."""
    window = (round(job.warmup_seconds * SECOND), round((job.warmup_seconds + job.seconds) * SECOND))
    samples = Samples(seconds=(window[1] - window[0]) / SECOND)
    read_from, read_to = before.at - start, after.at - start
    for report in reports:
        _merge_one(samples, report, window, (read_from, read_to))
    if any(report.exhausted for report in reports):  # it ended before its time
        samples.exhausted = True
        samples.seconds = (after.at - before.at) / SECOND
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
    for place, due in enumerate(intended):
        kind, end = report.outcome[place], done[place]
        if not kind and read[0] <= end < read[1]:
            samples.completed += 1
        if not window[0] <= due < window[1]:
            continue
        samples.offered += 1
        if kind:
            samples.failed[report.kinds[kind]] += 1
            continue
        samples.latency.append(end - due)
        samples.service.append(end - sent[place])
        samples.first.append(first[place] - due)
        samples.done.append(end - window[0])
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


async def _hand_over(process: asyncio.subprocess.Process, job: Job) -> None:
    _tell(process, msgspec.json.encode(job).decode())
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
        elif words[0] == REPORT:
            return msgspec.msgpack.decode(await process.stdout.readexactly(int(words[1])), type=Report)
    raise GeneratorError("a generator ended without a report")


async def _until(at_ns: int, unless: Collection[asyncio.Task[Report]]) -> None:
    """Wait for a moment of the monotonic clock, or until these are all done."""
    seconds = max(0.0, (at_ns - monotonic_ns()) / SECOND)
    if unless:
        await asyncio.wait(unless, timeout=seconds)
    else:
        await asyncio.sleep(seconds)
