"""A result as text for a terminal."""

from collections.abc import Iterator, Sequence
from typing import Final

from bench.result import IN_ALL, Case, Result


def render(result: Result) -> str:
    """Return the tables of a result."""
    return "\n".join(_lines(result)) + "\n"


def grid(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows in columns, the first one to the left and the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()
        if not number:
            yield "  ".join("-" * width for width in widths)


def _lines(result: Result) -> Iterator[str]:
    machine = result.machine
    yield f"{machine.cpu_model}, {machine.cores} cores, {machine.kernel}, Python {machine.python}, {machine.commit}"
    yield ""
    if result.cases:
        yield from grid(cell_rows(result.cases))
        yield ""
        if any(case.cpu_us for case in result.cases):
            yield "CPU us per request"
            yield from grid(cpu_rows(result.cases))
    for case in result.cases:
        yield from _trouble(case)
    if result.steps:
        yield ""
        yield "the price of privacy: what each rung adds"
        yield from grid(
            [
                ("rung", "p50 ms", "p99 ms", "CPU us", "of which"),
                *(
                    (
                        step.name if step.name == IN_ALL else f"+ {step.name}",
                        f"{step.p50_ms:+.2f}",
                        f"{step.p99_ms:+.2f}",
                        f"{sum(step.cpu_us.values()):+.0f}",
                        ", ".join(f"{party} {spent:+.0f}" for party, spent in step.cpu_us.items()),
                    )
                    for step in result.steps
                ),
            ]
        )
    if result.figures:
        yield ""
        yield from grid(
            [
                ("figure", "value", "unit", "limit", ""),
                *(
                    (
                        figure.name,
                        f"{figure.value:.2f}",
                        figure.unit,
                        "" if figure.limit is None else f"{figure.limit:g}",
                        "" if figure.good else "MISSED",
                    )
                    for figure in result.figures
                ),
            ]
        )
    for name, why in result.skipped.items():
        yield f"skipped {name}: {why}"
    for why in result.invalid:
        yield f"invalid: {why}"


def cell_rows(cases: Sequence[Case]) -> list[tuple[str, ...]]:
    """Return the head and a row for each case."""
    return [_HEAD, *(_row(case) for case in cases)]


_HEAD: Final = ("", "req/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "service p50", "failed", "dropped")


def _row(case: Case) -> tuple[str, ...]:
    latency = case.latency
    times = (latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms, case.service.p50_ms)
    return (
        case.name,
        f"{case.completed_per_second:.1f}",
        *(f"{each:.2f}" for each in times),
        str(sum(case.failed.values())),
        str(case.dropped),
    )


def cpu_rows(cases: Sequence[Case]) -> list[tuple[str, ...]]:
    """Return a head of parties and a row for each case."""
    parties = list(dict.fromkeys(party for case in cases for party in case.cpu_us))
    rows = [
        (case.name, *(f"{case.cpu_us[party]:.1f}" if party in case.cpu_us else "-" for party in parties))
        for case in cases
    ]
    return [("", *parties), *rows]


def _trouble(case: Case) -> Iterator[str]:
    for kind, count in case.failed.items():
        yield f"{case.name}: {count} failed: {kind}"
    if case.note:
        yield f"{case.name}: {case.note}"
