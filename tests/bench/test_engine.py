"""Merging what several generators saw into one window, and reading the kernel's books."""

import os
import subprocess
import time
from array import array
from collections.abc import Sequence

import msgspec
import pytest

from bench.account import cpu_ns, family, pin, resident_bytes, waited_ns
from bench.engine import CLIENT, Books, Reading, in_turn, merge, need_fresh
from bench.job import Job, Report, WorkloadSpec
from bench.result import case_of
from seclude.errors import ConfigError

MS = 1_000_000
JOB = Job("http://127.0.0.1:1/", WorkloadSpec("opaque"), 0.1, 1.0, 4, None)


def column(values: Sequence[float]) -> bytes:
    return array("q", (round(value * MS) for value in values)).tobytes()


def report(due: Sequence[float], took: float = 5, *, failed: int = 0, dropped: Sequence[float] = ()) -> Report:
    """Requests that were due at these milliseconds; the first `failed` of them failed."""
    return Report(
        intended=column(due),
        sent=column([each + 1 for each in due]),
        first=column([each + 2 for each in due]),
        done=column([each + took for each in due]),
        outcome=bytes([1] * failed + [0] * (len(due) - failed)),
        kinds=["ok", "status 503"],
        dropped=column(dropped),
        lags=column([0.5] * len(due)),
    )


def reading(at_ms: float, cpu: float, generator: float, waited: float = 0.0) -> Reading:
    return Reading(
        round(at_ms * MS),
        {"relay": round(cpu * MS), CLIENT: round(generator * MS)},
        ((round(generator * MS), round(waited * MS)),),
    )


BEFORE, AFTER = reading(100, 10, 1), reading(1100, 60, 401, 100)


def test_what_was_due_outside_the_window_does_not_count() -> None:
    merged = merge([report([50, 99, 100, 600, 1099, 1100])], JOB, 0, BEFORE, AFTER)
    assert len(merged.latency) == merged.offered == 3
    assert set(merged.latency) == {5 * MS}
    assert set(merged.service) == {4 * MS}
    assert set(merged.first) == {2 * MS}


def test_cpu_time_is_shared_by_what_was_completed_between_the_readings() -> None:
    merged = merge([report([98, 300, 1098])], JOB, 0, BEFORE, AFTER)
    assert merged.completed == 2  # the first one ended after the reading, the last one after the second
    assert merged.cpu_ns == {"relay": 50 * MS, CLIENT: 400 * MS}


def test_a_generator_is_busy_while_it_waits_for_a_core() -> None:
    assert merge([report([200])], JOB, 0, BEFORE, AFTER).busy == pytest.approx(0.5)


def test_reports_of_several_generators_are_one() -> None:
    both = merge([report([200, 400], failed=1), report([300], dropped=[350, 50])], JOB, 0, BEFORE, AFTER)
    assert (len(both.latency), both.failed, both.dropped, both.offered) == (2, {"status 503": 1}, 1, 4)
    assert len(both.lags) == 3


def test_rounds_follow_one_another() -> None:
    first, second = (merge([report([200])], JOB, 0, BEFORE, AFTER) for _ in range(2))
    first.add(second)
    assert first.seconds == 2
    assert list(first.done) == [105 * MS, 1105 * MS]


def test_the_rate_over_time_is_of_what_was_completed_in_the_window() -> None:
    merged = merge([report([98, 300, 1098])], JOB, 0, BEFORE, AFTER)
    assert list(merged.done) == [3 * MS, 205 * MS]  # one that was due before the window, and not the one after it


def test_the_window_ends_where_the_requests_ran_out() -> None:
    out = msgspec.structs.replace(report([200, 300]), exhausted=True)
    merged = merge([out], JOB, 0, BEFORE, reading(350, 20, 2))
    assert (merged.exhausted, merged.seconds, merged.completed) == (True, 0.25, 2)
    assert "ran out after 0.2 s" in case_of("worker", [merged]).note


def test_a_process_that_ends_between_two_readings_is_noticed() -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as child:
        books = Books({"relay": os.getpid()}, [])
        assert books.changed() == set()
        child.communicate(b"")
    assert books.changed() == {"relay"}


def test_rounds_begin_with_another_one_each() -> None:
    assert ["".join(in_turn("ABC", number)) for number in range(4)] == ["ABC", "BCA", "CAB", "ABC"]


def test_requests_that_would_be_too_old_when_sent_are_not_made() -> None:
    sealed = msgspec.structs.replace(JOB, workload=WorkloadSpec("encapsulated"), seconds=200.0)
    need_fresh(sealed, 30.0)
    with pytest.raises(ConfigError, match="too old"):
        need_fresh(sealed, 60.0)
    need_fresh(msgspec.structs.replace(sealed, workload=WorkloadSpec("encapsulated", inline=True)), 60.0)


def test_the_cpu_clock_of_a_process_is_its_own() -> None:
    before = cpu_ns(os.getpid())
    sum(range(2_000_000))
    spent = cpu_ns(os.getpid()) - before
    assert spent > 0
    assert abs(cpu_ns(os.getpid()) - time.process_time_ns()) < 1_000_000_000


def test_the_cpu_clock_agrees_with_the_ticks_of_proc() -> None:
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    ticks = (int(fields[11]) + int(fields[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    assert abs(cpu_ns(os.getpid()) - ticks) < 100_000_000


def test_a_process_that_is_gone_costs_nothing() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    assert pid in family(os.getpid())
    os.waitpid(pid, 0)
    assert cpu_ns(pid) == waited_ns(pid) == 0


def test_a_process_has_memory_and_can_be_kept_on_its_cores() -> None:
    assert resident_bytes(os.getpid()) > 1 << 20
    pin(os.getpid(), os.sched_getaffinity(0))
