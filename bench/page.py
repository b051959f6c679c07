"""A result as one page that is complete in itself: no script, no font, no picture from elsewhere; light and dark."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from bench.plots import cpu_bars, in_order, ladder_cpu, ladder_latency, over_time, party_kind, percentiles, rung_kinds
from bench.result import IN_ALL, Case, Figure, Result
from bench.style import STYLE
from bench.svg import number
from bench.table import cell_rows, cpu_rows, settings, spread, stream_rows, token_rows

TITLES: Final = {
    "run": "One load",
    "ladder": "The price of privacy",
    "peers": "Beside other proxies",
    "idle": "Idle connections",
    "slow": "Slow clients",
    "hpke": "The price of encryption",
    "stream": "Streamed answers",
    "talk": "Chats, streamed",
    "decode": "The engine by itself",
}
FROM_START: Final = "Latency counts from the moment a request was meant to start."
FROM_SENDING: Final = (
    "Every connection was asked again as soon as it had answered: latency counts from the moment of sending, and says "
    "nothing about those who would have come meanwhile."
)
OURS: Final = "seclude"
PROXY: Final = "proxy"


def render_page(result: Result) -> str:
    """Return the HTML of a result."""
    machine = result.machine
    place = f"{machine.cpu_model}, {machine.cores} cores, {machine.kernel}, Python {machine.python}"
    commit = f"commit {machine.commit}" if machine.commit else "no commit"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{TITLES[result.kind]} - seclude-bench</title><style>{STYLE}</style></head><body><main>"
        f"<header><p class=eyebrow>seclude-bench</p><h1>{TITLES[result.kind]}</h1>"
        f"<p class=lead>{escape(_lead(result))}</p>"
        f"<p class=meta>{escape(place)} · {escape(commit)} · seed {result.seed}</p>"
        f"<p class=meta>{escape(settings(result))}</p></header>"
        f"{''.join(_warnings(result))}{''.join(_sections(result))}</main></body></html>\n"
    )


def _lead(result: Result) -> str:
    match result.kind:
        case "ladder" if result.steps and result.steps[-1].name == IN_ALL:
            base, whole = result.cases[0], result.steps[-1]
            last = result.steps[-2].name if len(result.steps) > 1 else ""  # the rung at the end of the path
            top = next((case for case in result.cases if case.name == last), result.cases[-1])
            return (
                f"The same short summaries, {number(base.offered_per_second)} a second, asked of the model directly "
                "and through more and more of the path. At the median the model alone takes "
                f"{number(base.latency.p50_ms)} ms; the whole path adds {number(whole.p50_ms)} ms to it, and "
                f"{number(sum(whole.cpu_us.values()))} µs of CPU time in all parties together. "
                f"The slowest of a hundred took {number(top.latency.p99_ms)} ms."
            )
        case "peers":
            same = "The same small requests, on connections that stay open, through several proxies in turns."
            found = [f"{figure.value:.2f} times that of {figure.name.partition(' / ')[2]}" for figure in result.figures]
            return f"{same} The CPU time of ours is {_listed(found)}." if found else same
        case "talk":
            return "People who ask a language model at once, directly and through more and more of the path."
        case "idle":
            return (
                "What the memory of a relay grows by when thousands of devices keep their connection and say nothing."
            )
        case "slow":
            return "Clients that drip, stall and do not read, and what those notice who came for an answer."
    return " ".join([*map(_sentence, result.cases), FROM_SENDING if _is_closed(result) else FROM_START])


def _is_closed(result: Result) -> bool:
    """Whether each connection was asked again as soon as it had answered."""
    return result.kind in ("peers", "hpke") or result.config.get("closed") is not None


def _sentence(case: Case) -> str:
    latency = case.latency
    return (
        f"{case.name} answered {number(case.completed_per_second)} requests a second: half of them within "
        f"{number(latency.p50_ms)} ms, 99 of a hundred within {number(latency.p99_ms)} ms."
    )


def _listed(words: Sequence[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _warnings(result: Result) -> Iterator[str]:
    for why in result.invalid:
        yield f"<p class=warning>Not valid: {escape(why)}.</p>"
    for case in result.cases:
        if case.note:
            yield f"<p class=note>{escape(case.name)}: {escape(case.note)}.</p>"
    for name, why in result.skipped.items():
        yield f"<p class=note>Skipped: {escape(name)} ({escape(why)}).</p>"


def _sections(result: Result) -> Iterator[str]:
    cases = result.cases
    if result.kind == "ladder" and result.steps:
        yield _section(
            "What each rung adds to the median",
            f"Beyond the {number(cases[0].latency.p50_ms)} ms of the model itself; each bar begins where the one "
            "before ended. Medians of the rounds, in which the rungs took turns; they do not add up exactly.",
            ladder_latency(cases[0], result.steps),
        )
        yield _section(
            "What each rung adds to the CPU time",
            "Of one request, by the party that spends it. The model itself takes "
            f"{number(cases[0].cpu_us.get('worker', 0.0))} µs. Few requests a second make a request look dear: a "
            "process that wakes from sleep for each of them finds its caches cold.",
            _legend(in_order({party for case in cases for party in case.cpu_us})) + ladder_cpu(result.steps),
        )
    if result.kind == "peers":
        yield _section(
            "CPU time for each request",
            "Of the proxy alone, by the kernel's own books, on one core. The bar ends at the median of the rounds, and "
            "each dot is one round.",
            cpu_bars(cases, PROXY, OURS),
        )
    kinds = _kinds(result, cases)
    if cases and (plot := percentiles(cases, kinds)):
        yield _section(
            "Latency by percentile",
            "How long the fastest half, nine of ten, 99 of a hundred of those that were answered waited at most. The "
            "further to the right, the rarer; both axes are logarithmic. "
            + (FROM_SENDING if _is_closed(result) else FROM_START),
            plot,
        )
    if any(case.over_time for case in cases):
        yield _section(
            "Completed requests a second, over time",
            "A dip is a moment in which less was answered. Thin lines part the rounds. Every strip reaches from 0 to "
            f"{number(max(max(case.over_time, default=0.0) for case in cases))} a second.",
            over_time(cases, kinds),
        )
    if result.streams:
        words = (
            "Milliseconds to the first piece of text (TTFT), for each after it (TPOT), between two (ITL), to the end "
            "(E2EL). Beyond the first rung pieces leave on a tick, so that the time between two is a multiple of it; "
            "tokens a second are those of all people together."
        )
        yield _section(
            "Several people at once, each with a streamed answer", words, _table(stream_rows(result.streams))
        )
        yield _section("CPU time of a token", "Microseconds, by party.", _table(token_rows(result.streams)))
    if result.figures:
        promised = any(figure.limit is not None for figure in result.figures)
        yield _section("Held against what was promised" if promised else "Also measured", "", _figures(result))
    if cases:
        words = "Of all rounds together. What failed or was dropped has no latency; it may make a value higher: >."
        yield _section("Latency in numbers", words, _table(cell_rows(cases)))
        if any(case.cpu_us for case in cases):
            words = (
                "Microseconds for each completed request, by party; a stub stands where no party is measured. Here all "
                "rounds are one, so that the busier ones weigh more; bars and differences are medians of the rounds."
            )
            yield _section("CPU time in numbers", words, _table(cpu_rows(cases)))


def _section(title: str, words: str, content: str) -> str:
    told = f"<p>{escape(words)}</p>" if words else ""
    return f"<section><h2>{escape(title)}</h2>{told}<div class=scroll>{content}</div></section>"


def _kinds(result: Result, cases: Sequence[Case]) -> list[str]:
    if result.kind == "ladder":
        return rung_kinds(len(cases))
    if result.kind == "peers":
        others = iter(rung_kinds(len(cases) + 2))
        return ["accent" if case.name.startswith(OURS) else f"{next(others)} muted" for case in cases]
    return [f"party{place % 4}" for place in range(len(cases))]


def _legend(parties: Sequence[str]) -> str:
    items = (f"<span><i class={party_kind(party)}></i>{escape(party)}</span>" for party in parties)
    return f"<p class=legend>{''.join(items)}</p>"


def _figures(result: Result) -> str:
    rows = "".join(
        f"<tr><th scope=row>{escape(figure.name)}<td>{number(figure.value)} {escape(figure.unit)}"
        f"<td>{spread(figure)}<td>{'' if figure.limit is None else number(figure.limit)}<td>{_word(figure)}"
        for figure in result.figures
    )
    head = "<th scope=col>".join(("", "", "measured", "rounds", "limit", ""))
    return f"<table><tr>{head}{rows}</table>"


def _word(figure: Figure) -> str:
    """Return whether a limit was kept; where one round decides, it is neither."""
    if figure.undecided:
        return "<b>undecided</b>"
    if not figure.good:
        return "<b class=bad>missed</b>"
    return "" if figure.limit is None else "<b class=good>kept</b>"


def _table(cells: Sequence[Sequence[str]]) -> str:
    head, *rows = cells
    top = "".join(f"<th scope=col>{escape(cell)}" for cell in head)
    body = "".join(
        f"<tr><th scope=row>{escape(row[0])}{''.join(f'<td>{escape(cell)}' for cell in row[1:])}" for row in rows
    )
    return f"<table><tr>{top}{body}</table>"
