"""Results: what they say, when they do not count, and the one schema in which they are stored."""

from pathlib import Path

import msgspec
import pytest

from bench.machine import describe
from bench.page import render_page
from bench.result import IN_ALL, SCHEMA, Result, case_of, median_of, over_time, read, steps_of, write
from bench.table import cell_rows, render
from seclude.errors import ConfigError
from tests.bench.samples import MACHINE, ladder, samples


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    result = ladder()
    write(tmp_path / "result.json", result)
    assert read(tmp_path / "result.json") == result
    assert msgspec.json.decode((tmp_path / "result.json").read_bytes())["schema"] == SCHEMA


@pytest.mark.parametrize(
    "text", ["", "{}", '{"kind": "run"}', '{"schema": "seclude-bench/2", "kind": "run"}', '{"schema": 1}']
)
def test_anything_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(ConfigError):
        read(tmp_path / "result.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json"):
        read(tmp_path / "none.json")


def test_rounds_are_put_together_and_kept_apart() -> None:
    case = case_of("relay", [samples([1, 2], relay=30), samples([3, 4], relay=50)])
    assert case.completed == 4
    assert case.latency.p50_ms == 2
    assert [each.p50_ms for each in case.rounds] == [1, 3]
    assert case.cpu_us == {"relay": 40}
    assert case.completed_per_second == 2


def test_failures_are_no_latencies() -> None:
    case = case_of("relay", [samples([1, 1], failed=2)])
    assert case.failed == {"status 503": 2}
    assert sum(count for _, count in case.histogram) == 2
    assert case.streaming["failed"] == 2


def test_a_step_is_the_median_of_pairs() -> None:
    step, whole = steps_of(
        [
            ("first", [samples([value], worker=10) for value in (1, 2, 30)]),
            ("second", [samples([value], worker=15, gateway=4) for value in (3, 4, 31)]),
        ]
    )
    assert (step.name, step.p50_ms) == ("second", 2)
    assert step.cpu_us == {"gateway": 4, "worker": 5}
    assert (whole.name, whole.p50_ms) == (IN_ALL, 2)


def test_a_late_generator_makes_a_result_invalid() -> None:
    late = samples([1.0] * 100)
    late.lags.extend([20_000_000] * 100)
    assert "generator-bound" in case_of("relay", [late]).invalid


def test_a_generator_that_never_rested_makes_a_result_invalid() -> None:
    busy = samples([1.0])
    busy.busy = 0.99
    assert "generator-bound" in case_of("relay", [busy]).invalid


def test_no_answer_makes_a_result_invalid() -> None:
    assert Result(kind="run", machine=MACHINE, cases=[case_of("x", [samples([], failed=3)])]).invalid


def test_failures_and_drops_beyond_a_small_share_make_a_result_invalid() -> None:
    assert not case_of("relay", [samples([1.0] * 999, failed=1)]).invalid
    assert "2 of 1000 failed or were dropped" in case_of("relay", [samples([1.0] * 998, failed=1, dropped=1)]).invalid
    assert not case_of("relay", [samples([1.0] * 9, dropped=1)], max_failed=0.1).invalid


def test_a_percentile_that_may_be_one_of_those_without_latency_is_marked() -> None:
    [_, row] = cell_rows([case_of("relay", [samples([1.0] * 985, dropped=15)])])
    assert row[2:7] == ("1.00", "1.00", ">1.00", ">1.00", ">1.00")


def test_a_party_whose_processes_changed_makes_a_result_invalid() -> None:
    some = samples([1.0], relay=10)
    some.changed = {"relay"}
    assert "process of the relay" in case_of("relay", [samples([1.0], relay=10), some]).invalid


def test_an_empty_round_is_no_free_one() -> None:
    rungs = [("first", [samples([5]), samples([7])]), ("second", [samples([6]), samples([], failed=3)])]
    assert [step.p50_ms for step in steps_of(rungs)] == [1, 1]
    empty = case_of("second", rungs[1][1])
    assert empty.rounds[1].p50_ms is None
    assert "one of the rounds" in empty.invalid
    assert not steps_of([("first", [samples([5])]), ("second", [samples([])])])


def test_few_arrivals_are_judged_by_the_one_that_was_latest() -> None:
    late = samples([10.0] * 10)
    late.lags.extend([0] * 9 + [9_000_000])
    case = case_of("relay", [late])
    assert case.lag_p99_ms == 9
    assert "generator-bound" in case.invalid
    assert case_of("relay", [samples([10.0])]).lag_p99_ms is None


def test_a_lag_is_held_against_the_latency_of_which_it_is_a_part() -> None:
    for latency, valid in ((2.5, False), (3.0, True)):
        some = samples([latency] * 100)
        some.lags.extend([2_000_000] * 100)
        assert (not case_of("relay", [some]).invalid) is valid


def test_a_limit_that_one_round_decides_about_is_undecided() -> None:
    open_, kept, missed, one = (
        median_of("x", values, "times", 1.5)
        for values in ((1.4, 1.45, 1.6), (1.0, 1.2, 1.3, 2.0), (1.4, 1.6, 1.7, 1.8), (1.6,))
    )
    assert (open_.good, open_.undecided, open_.low, open_.high) == (True, True, 1.4, 1.6)
    assert [(each.good, each.undecided) for each in (kept, missed, one)] == [(True, False)] + [(False, False)] * 2


@pytest.mark.parametrize("name", ["ladder", "peers"])
def test_a_result_that_was_stored_before_is_still_read(name: str) -> None:
    result = read(Path("bench/results") / f"{name}.json")
    assert result.cases
    assert render(result)
    assert render_page(result)


def test_the_rate_over_time_adds_up() -> None:
    some = samples([1.0] * 240)
    points = over_time(some.done, 1.0)
    assert sum(points) / len(points) == pytest.approx(240)


def test_a_machine_is_described_without_its_names() -> None:
    machine = describe()
    assert machine.cores >= 1
    text = msgspec.json.encode(machine).decode()
    assert Path.home().as_posix() not in text or Path.home() == Path("/")
    assert str(Path.cwd()) not in text
