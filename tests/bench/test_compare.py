"""Comparing two results, and the rules that a second one must keep."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from bench.compare import broken_rules, obstacles, parse_rule, table
from bench.main import main
from bench.result import Result, write
from seclude.errors import ConfigError
from tests.bench.samples import MACHINE, ladder


def broken(rule: str, after: Result) -> list[str]:
    return broken_rules(ladder(), after, [parse_rule(rule)])


def test_equal_results_keep_every_rule() -> None:
    for rule in ("cpu_us>+1%", "p50_ms>+0.001", "rate<-1%", "p99_ms>+0%"):
        assert broken(rule, ladder()) == []


def test_a_rule_names_the_case_that_broke_it() -> None:
    [line] = broken("cpu_us>+10%", ladder(dearer=1.2))
    assert "HPKE" in line
    assert "7500" in line


def test_a_rule_can_be_about_one_case_or_one_party() -> None:
    after = ladder(2.0, dearer=1.2)
    assert broken("model direct:p50_ms>+10%", after) == []
    assert broken("HPKE:p50_ms>+10%", after)
    assert broken("cpu_us.worker>+10%", after)
    assert broken("cpu_us.client>+10%", after) == []


def test_an_absolute_rule_has_the_unit_of_its_figure() -> None:
    assert broken("p50_ms>+11", ladder(2.0))
    assert broken("p50_ms>+13", ladder(2.0)) == []


def test_a_fall_by_nothing_is_a_fall() -> None:
    slower = ladder()
    cases = [replace(case, rounds=[replace(each, rate=each.rate / 2) for each in case.rounds]) for case in slower.cases]
    assert broken("rate<-0%", ladder()) == []
    assert len(broken("rate<-0%", replace(slower, cases=cases))) == 2


def test_failures_are_held_against_a_rule() -> None:
    after = ladder()
    after.cases[1] = replace(after.cases[1], failed={"status 503": 2})
    [line] = broken("failed>+0", after)
    assert "HPKE went from 0.00 to 2.00" in line


def test_a_figure_that_is_gone_breaks_its_rule() -> None:
    after = ladder()
    case = after.cases[1]
    after.cases[1] = replace(case, rounds=[*case.rounds[1:], replace(case.rounds[0], p50_ms=None)])
    assert "no such figure" in broken("HPKE:p50_ms>+10%", after)[0]


def test_what_is_invalid_missing_or_of_another_load_does_not_compare() -> None:
    before, after = ladder(), ladder()
    assert obstacles(before, after) == []
    after.cases[0] = replace(after.cases[0], invalid="nothing was answered")
    del after.cases[1]
    before.config["rate"], after.config["rate"] = 100.0, 50.0
    before.config["closed"] = None  # as a result has it that is older than the option
    invalid, missing, rate = obstacles(before, after)
    assert "nothing was answered" in invalid
    assert "HPKE" in missing
    assert "rate was 100.0 and is 50.0" in rate
    assert obstacles(before, after, force=True) == [invalid, missing]


@pytest.mark.parametrize("rule", ["", "cpu_us", "speed>+1%", "cpu_us>10%", "cpu_us>-10%", "p50_ms.relay>+1%", "cpu>+1"])
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(ConfigError):
        parse_rule(rule)


def test_a_rule_that_fits_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="fits no case"):
        broken("relay:cpu_us>+1%", ladder())


def test_results_of_different_commands_are_not_compared() -> None:
    with pytest.raises(ConfigError):
        table(ladder(), Result(kind="run", machine=MACHINE))


def test_the_command_exits_with_one_where_a_rule_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    write(before, ladder())
    write(after, ladder(dearer=1.5))
    assert main(["compare", str(before), str(after)]) == 0
    assert main(["compare", str(before), str(after), "--fail-on", "cpu_us>+10%"]) == 1
    assert "broken: cpu_us>+10%: HPKE" in capsys.readouterr().out
    assert main(["compare", str(before), str(tmp_path / "none.json")]) == 2
    write(after, replace(ladder(), cases=[]))
    assert main(["compare", str(before), str(after)]) == 1
    assert "does not compare" in capsys.readouterr().out
