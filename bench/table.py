"""A result as text for a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from bench.result import IN_ALL, Case, Figure, Result
from bench.streaming import NAMES


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
    if result.config:
        yield settings(result)
    yield ""
    if result.cases:
        yield from grid(cell_rows(result.cases))
        yield ""
        if any(case.cpu_us for case in result.cases):
            yield "CPU us per request"
            yield from grid(cpu_rows(result.cases))
    if result.streams:
        yield from _streams(result.streams)
    for case in (*result.cases, *result.streams):
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
                ("figure", "value", "rounds", "unit", "limit", ""),
                *(
                    (
                        figure.name,
                        f"{figure.value:.2f}",
                        spread(figure),
                        figure.unit,
                        "" if figure.limit is None else f"{figure.limit:g}",
                        "UNDECIDED" if figure.undecided else "" if figure.good else "MISSED",
                    )
                    for figure in result.figures
                ),
            ]
        )
    for name, why in result.skipped.items():
        yield f"skipped {name}: {why}"
    for why in result.invalid:
        yield f"invalid: {why}"


def _streams(cases: Sequence[Case]) -> Iterator[str]:
    yield from ("", "chats with the language model, streamed")
    yield from grid(stream_rows(cases))
    yield from ("", "CPU us per token")
    yield from grid(token_rows(cases))


def settings(result: Result) -> str:
    """Return what was asked for, in a line."""
    told = {name: value for name, value in result.config.items() if value not in (None, "", False)}
    return ", ".join(name if value is True else f"{name} {value}" for name, value in told.items())


def spread(figure: Figure) -> str:
    """Return between what the values of the rounds were."""
    return "" if figure.low is None or figure.high is None else f"{figure.low:.2f} to {figure.high:.2f}"


def cell_rows(cases: Sequence[Case]) -> list[tuple[str, ...]]:
    """Return the head and a row for each case.

    Requests that failed or were dropped have no latency. A percentile that may be one of theirs is higher than the
    value, and has a ">" before it.
    """
    return [_HEAD, *(_row(case) for case in cases)]


_HEAD: Final = (
    *("", "req/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "service p50"),
    *("lag p99", "failed", "dropped"),
)


def _row(case: Case) -> tuple[str, ...]:
    latency = case.latency
    times = ((0.5, latency.p50_ms), (0.9, latency.p90_ms), (0.99, latency.p99_ms), (0.999, latency.p999_ms))
    known = case.answered_share
    return (
        case.name,
        f"{case.completed_per_second:.1f}",
        *(f"{'>' if share > known else ''}{each:.2f}" for share, each in (*times, (1.0, latency.max_ms))),
        f"{case.service.p50_ms:.2f}",
        "-" if case.lag_p99_ms is None else f"{case.lag_p99_ms:.2f}",
        str(sum(case.failed.values())),
        str(case.dropped),
    )


def stream_rows(cases: Sequence[Case]) -> list[tuple[str, ...]]:
    """Return the head and a row for each case that was heard piece by piece: milliseconds, by their usual names."""
    shares = [(kind, share) for kind in NAMES for share in ("median", "p99")]
    head = ("", "tokens/s", *(f"{kind.upper()} {share.replace('median', 'p50')}" for kind, share in shares), "failed")
    rows = [
        (
            case.name,
            f"{case.tokens_per_second:.1f}",
            *(_one(case.streaming.get(f"{share}_{kind}_ms")) for kind, share in shares),
            str(sum(case.failed.values())),
        )
        for case in cases
    ]
    return [head, *rows]


def cpu_rows(cases: Sequence[Case]) -> list[tuple[str, ...]]:
    """Return a head of parties and a row for each case: CPU time of a request."""
    return _by_party([(case.name, case.cpu_us) for case in cases])


def token_rows(cases: Sequence[Case]) -> list[tuple[str, ...]]:
    """Return a head of parties and a row for each case: CPU time of a token."""
    return _by_party([(case.name, case.cpu_us_per_token) for case in cases])


def _by_party(spent: Sequence[tuple[str, Mapping[str, float]]]) -> list[tuple[str, ...]]:
    parties = list(dict.fromkeys(party for _, by_party in spent for party in by_party))
    rows = [(name, *(_one(by_party.get(party)) for party in parties)) for name, by_party in spent]
    return [("", *parties), *rows]


def _one(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _trouble(case: Case) -> Iterator[str]:
    for kind, count in case.failed.items():
        yield f"{case.name}: {count} failed: {kind}"
    if case.note:
        yield f"{case.name}: {case.note}"
