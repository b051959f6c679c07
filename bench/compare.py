"""`seclude-bench compare`: two stored results, case by case, and a gate for what must not get worse.

A figure is the median of a case's rounds, or how many requests failed or were dropped in all of them. CPU time is that
of the parties that are measured, not of the load or of stubs. On a machine that others use too, gate on CPU time and
leave latencies to people. What is invalid, missing or was measured under another load is no better than what is worse.
"""

import argparse
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.engine import CLIENT
from bench.result import Case, Result, Round, read
from bench.table import grid
from seclude.errors import ConfigError

STUB: Final = "stub"
NOT_MEASURED: Final = frozenset({CLIENT, STUB})
METRICS: Final = ("p50_ms", "p99_ms", "cpu_us", "rate", "failed", "dropped")
LOAD: Final = ("rate", "seconds", "connections", "encap", "arrivals", "closed")  # what two results must have alike
EXAMPLE: Final = """examples:
  seclude-bench compare before.json after.json
  seclude-bench compare before.json after.json --fail-on 'cpu_us>+10%' --fail-on 'relay:p50_ms>+0.5'
  seclude-bench compare before.json after.json --fail-on 'cpu_us.gateway>+5%' --fail-on 'rate<-10%'
  seclude-bench compare before.json after.json --fail-on 'failed>+0'

A rule is [CASE:]METRIC[.PARTY], > or <, and by how much: +10% of what it was, or +0.5 of its unit.
"""
_RULE: Final = re.compile(
    r"(?:(?P<case>[^:]+):)?(?P<metric>[a-z0-9_]+)(?:\.(?P<party>[\w-]+))?\s*(?P<way>[<>])\s*"
    r"(?P<amount>[+-]\d+(?:\.\d+)?)(?P<percent>%?)"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """What must not be: a figure that differs by more than this."""

    text: str
    metric: str
    amount: float
    """Of the figure's unit, or of the figure itself where it is `relative`."""
    relative: bool
    falling: bool
    case: str | None = None
    party: str | None = None

    def breaks(self, before: float, after: float) -> bool:
        """Whether the figure went too far."""
        border = before * (1 + self.amount) if self.relative else before + self.amount
        return after < border if self.falling else after > border


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "compare",
        help="two results, and a gate",
        description="Compare two results of the same command; exit with 1 where they do not compare, or break a rule.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--fail-on", action="append", default=[], metavar="RULE", help="may be given several times")
    parser.add_argument("--force", action="store_true", help="compare what was measured under different loads")
    parser.set_defaults(act=act)


def act(flags: argparse.Namespace) -> int:
    """Run the command."""
    rules = [parse_rule(text) for text in flags.fail_on]
    before, after = read(flags.before), read(flags.after)
    print("\n".join(grid(table(before, after))))
    lines = [f"does not compare: {line}" for line in obstacles(before, after, force=flags.force)]
    lines += [f"broken: {line}" for line in broken_rules(before, after, rules)]
    print("".join(f"{line}\n" for line in lines), end="")
    return 1 if lines else 0


def parse_rule(text: str) -> Rule:
    """Read a rule; raises ConfigError."""
    found = _RULE.fullmatch(text.strip())
    if found is None or found["metric"] not in METRICS:
        raise ConfigError(f"--fail-on: {text} is no rule; for example 'cpu_us>+10%', with one of {', '.join(METRICS)}")
    amount, relative = float(found["amount"]), bool(found["percent"])
    if (found["way"] == ">") != (found["amount"][0] == "+"):
        raise ConfigError(f"--fail-on: {text}: write > with +, and < with -")
    if found["party"] and found["metric"] != "cpu_us":
        raise ConfigError(f"--fail-on: {text}: only cpu_us is counted by party")
    return Rule(
        text,
        found["metric"],
        amount / 100 if relative else amount,
        relative,
        falling=found["way"] == "<",
        case=found["case"],
        party=found["party"],
    )


def obstacles(before: Result, after: Result, *, force: bool = False) -> list[str]:
    """Return why the two say nothing about each other, if so; `force` lets them be of different loads."""
    found = [f"{name}: {why}" for name, result in (("before", before), ("after", after)) for why in result.invalid]
    there = {case.name for case in after.cases}
    found += [f"after: there is no {case.name}" for case in before.cases if case.name not in there]
    if not force:
        alike = [key for key in LOAD if key in before.config and key in after.config]
        pairs = [(key, before.config[key], after.config[key]) for key in alike]
        found += [f"{key} was {was} and is {now} (see --force)" for key, was, now in pairs if was != now]
    return found


def figure(case: Case, metric: str, party: str | None = None) -> float | None:
    """Return a figure of a case; None where there is nothing to tell, if only in one of its rounds."""
    if metric in ("failed", "dropped"):
        return float(case.dropped if metric == "dropped" else sum(case.failed.values()))
    take: dict[str, Callable[[Round], float | None]] = {
        "p50_ms": lambda each: each.p50_ms,
        "p99_ms": lambda each: each.p99_ms,
        "rate": lambda each: each.rate,
        "cpu_us": lambda each: _cpu(each, party),
    }
    values = [value for each in case.rounds if (value := take[metric](each)) is not None]
    return statistics.median(values) if values and len(values) == len(case.rounds) else None


def broken_rules(before: Result, after: Result, rules: Sequence[Rule]) -> list[str]:
    """Return a line for each rule and case that breaks it; raises ConfigError for a rule that fits no case."""
    broken = []
    for rule in rules:
        known = 0
        for old, new in _pairs(before, after):
            was, now = figure(old, rule.metric, rule.party), figure(new, rule.metric, rule.party)
            if rule.case not in (None, old.name) or was is None:
                continue
            known += 1
            if now is None:
                broken.append(f"{rule.text}: {old.name} has no such figure any more")
            elif rule.breaks(was, now):
                broken.append(f"{rule.text}: {old.name} went from {was:.2f} to {now:.2f}")
        if not known:
            raise ConfigError(f"--fail-on: {rule.text} fits no case that both results have")
    return broken


def table(before: Result, after: Result) -> list[tuple[str, ...]]:
    """Return a row for each case and figure."""
    rows: list[tuple[str, ...]] = [("", "figure", "before", "after", "change")]
    for old, new in _pairs(before, after):
        parties: list[str | None] = [None, *(party for party in old.cpu_us if party in new.cpu_us)]
        wanted = [(metric, None) for metric in METRICS if metric != "cpu_us"] + [("cpu_us", party) for party in parties]
        for metric, party in wanted:
            was, now = figure(old, metric, party), figure(new, metric, party)
            if was is None or now is None:
                continue
            change = f"{now / was - 1:+.1%}" if was else ""
            rows.append((old.name, metric + (f".{party}" if party else ""), f"{was:.2f}", f"{now:.2f}", change))
    return rows


def _pairs(before: Result, after: Result) -> list[tuple[Case, Case]]:
    if before.kind != after.kind:
        raise ConfigError(f"a result of `{before.kind}` cannot be compared with one of `{after.kind}`")
    later = {case.name: case for case in after.cases}
    return [(case, later[case.name]) for case in before.cases if case.name in later]


def _cpu(each: Round, party: str | None) -> float | None:
    if party is not None:
        return each.cpu_us.get(party)
    counted = [spent for name, spent in each.cpu_us.items() if name not in NOT_MEASURED]
    return sum(counted) if counted else None
