"""The plots of a result: what each rung adds, what requests cost, how long they took, and how even the load was.

Parties keep their colour in every plot; rungs, which have an order, have shades of one colour; and among the peers only
ours is coloured, since everything else is there to be compared with it.
"""

import math
import statistics
from collections.abc import Collection, Sequence
from typing import Final

from bench.result import IN_ALL, Case, Step
from bench.svg import Scale, curve, element, line, log_ticks, number, picture, rect, signed, text, ticks

WIDTH: Final = 760.0
LABELS: Final = 150.0  # room for names to the left of bars
VALUES: Final = 120.0  # room for numbers to the right of them
MARGIN: Final = 126.0  # room for names to the right of lines
BAR: Final = 24.0
ROW: Final = 40.0
PARTIES: Final = ("client", "relay", "gateway", "worker")  # in this order, each with its colour
FASTEST: Final = 0.01  # the share of the fastest requests that is not drawn: one of them would stretch the axis
SHARES: Final = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)


def ladder_latency(base: Case, steps: Sequence[Step]) -> str:
    """Draw what each rung adds to the median: bars that begin where the one before ended."""
    reach = [(min(0.0, each), max(0.0, each)) for each in _ends(steps)]
    low, high = min(0.0, *(pair[0] for pair in reach)), max(0.1, *(pair[1] for pair in reach))
    scale = Scale(low, high, LABELS, WIDTH - VALUES)
    height = ROW * len(steps) + 34
    parts = _grid(scale, height - 30, "ms")
    at = 0.0
    for place, step in enumerate(steps):
        y = ROW * place + 8
        begin, end = (0.0, step.p50_ms) if step.name == IN_ALL else (at, at + step.p50_ms)
        told = f"{step.name}: {step.p50_ms:+.2f} ms at the median, {step.p99_ms:+.2f} ms at the 99th percentile"
        left, right = sorted((scale(begin), scale(end)))
        parts.append(rect(left, y, max(1.5, right - left), BAR, kind=_rung_kind(step, place, len(steps)), title=told))
        parts.append(text(LABELS - 12, y + 17, _sign(step.name), kind="name", anchor="end"))
        parts.append(text(right + 8, y + 17, signed(step.p50_ms, 2, "ms"), kind="value"))
        at = end
        if place + 1 < len(steps) and steps[place + 1].name != IN_ALL:
            parts.append(line(scale(at), y + BAR, scale(at), y + ROW, kind="link"))
    return picture(WIDTH, height, parts, label=f"Added to the median of {number(base.latency.p50_ms)} ms, by rung")


def ladder_cpu(steps: Sequence[Step]) -> str:
    """Draw what each rung adds to the CPU time of a request, by the party that spends it."""
    sums = [sum(max(0.0, spent) for spent in step.cpu_us.values()) for step in steps]
    scale = Scale(0.0, max(1.0, *sums), LABELS, WIDTH - VALUES)
    height = ROW * len(steps) + 34
    parts = _grid(scale, height - 30, "µs")
    for place, step in enumerate(steps):
        y, x = ROW * place + 8, LABELS
        for party in in_order(step.cpu_us):
            width = scale(max(0.0, step.cpu_us[party])) - LABELS
            told = f"{step.name}, {party}: {step.cpu_us[party]:+.0f} µs"
            if width > 0:
                parts.append(rect(x, y, max(0.0, width - 1), BAR, kind=party_kind(party), title=told))
            x += width
        parts.append(text(LABELS - 12, y + 17, _sign(step.name), kind="name", anchor="end"))
        parts.append(text(x + 8, y + 17, signed(sum(step.cpu_us.values()), 0, "µs"), kind="value"))
    return picture(WIDTH, height, parts, label="Added CPU time, by rung and party")


def cpu_bars(cases: Sequence[Case], party: str, ours: str) -> str:
    """Draw the CPU time of a request in one party for each case: a bar to the median, a dot for each round."""
    rows = sorted((case for case in cases if party in case.cpu_us), key=lambda case: _median_cpu(case, party))
    highest = max((each.cpu_us.get(party, 0.0) for case in rows for each in case.rounds), default=1.0)
    scale = Scale(0.0, max(1.0, highest), LABELS, WIDTH - VALUES)
    height = ROW * len(rows) + 34
    parts = _grid(scale, height - 30, "µs")
    for place, case in enumerate(rows):
        y, middle = ROW * place + 8, _median_cpu(case, party)
        kind = "accent" if case.name.startswith(ours) else "other"
        told = f"{case.name}: {middle:.1f} µs of CPU for each request, median of {len(case.rounds)} rounds"
        parts.append(rect(LABELS, y, scale(middle) - LABELS, BAR, kind=kind, title=told))
        spread = [each.cpu_us[party] for each in case.rounds if party in each.cpu_us]
        parts += [element("circle", cx=scale(each), cy=y + BAR / 2, r=3.5, class_="dot") for each in spread]
        parts.append(text(LABELS - 12, y + 17, case.name, kind="name", anchor="end"))
        parts.append(text(scale(max(spread, default=middle)) + 10, y + 17, f"{middle:.1f} µs", kind="value"))
    return picture(WIDTH, height, parts, label="CPU time for each request")


def percentiles(cases: Sequence[Case], kinds: Sequence[str]) -> str:
    """Draw latency over percentile, the last ones stretched: half of the width is for the slowest few."""
    lines = [(case, kind, _quantiles(case)) for case, kind in zip(cases, kinds, strict=True)]
    lines = [each for each in lines if each[2]]
    if not lines:
        return ""
    right = min(points[-1][0] for _, _, points in lines)  # as far as all of them have samples
    lines = [(case, kind, [point for point in points if point[0] <= right]) for case, kind, points in lines]
    values = [value for _, _, points in lines for _, value in points]
    low, high = _octave(min(values), max(values))
    across, up = Scale(0.0, _nines(right), 64.0, WIDTH - MARGIN), Scale(low, high, 290.0, 14.0, log=True)
    parts = [_across(across, share) for share in SHARES if share <= right]
    for value in log_ticks(low, high):
        parts.append(line(64.0, up(value), WIDTH - MARGIN, up(value), kind="grid"))
        parts.append(text(56.0, up(value) + 4, number(value), kind="tick", anchor="end"))
    parts.append(text(8.0, 10.0, "ms", kind="tick"))
    ends = []
    for case, kind, points in lines:
        drawn = [(across(_nines(share)), up(value)) for share, value in points]
        told = f"{case.name}: p50 {case.latency.p50_ms:.2f} ms, p99 {case.latency.p99_ms:.2f} ms"
        parts.append(curve(drawn, kind=f"line {kind}", title=told))
        ends.append((drawn[-1][1], WIDTH - MARGIN, case.name))
    parts += [text(x + 8, y + 4, name, kind="name") for y, x, name in _apart(ends)]
    return picture(WIDTH, 326, parts, label="Latency by percentile")


def over_time(cases: Sequence[Case], kinds: Sequence[str]) -> str:
    """Draw completed requests a second over the measured time: one strip for each case, all on one scale."""
    strips = [(case, kind) for case, kind in zip(cases, kinds, strict=True) if case.over_time]
    highest = max((max(case.over_time) for case, _ in strips), default=1.0)
    parts, row = [], 56.0
    for place, (case, kind) in enumerate(strips):
        top = place * row + 8
        across = Scale(0.0, len(case.over_time) - 1.0, LABELS, WIDTH - VALUES)
        up = Scale(0.0, highest, top + row - 14, top)
        parts.append(line(LABELS, up(0), WIDTH - VALUES, up(0), kind="axis"))
        for border in range(1, len(case.rounds)):
            x = LABELS + border / len(case.rounds) * (WIDTH - VALUES - LABELS)
            parts.append(line(x, up(0), x, top, kind="grid"))
        points = [(across(place), up(value)) for place, value in enumerate(case.over_time)]
        parts.append(curve(points, kind=f"line {kind}", title=case.name))
        parts.append(text(LABELS - 12, top + 26, case.name, kind="name", anchor="end"))
        rate = f"{number(case.completed_per_second)} / s"
        parts.append(text(WIDTH - VALUES + 10, top + 26, rate, kind="value"))
    return picture(WIDTH, row * len(strips) + 8, parts, label="Completed requests a second over time")


def rung_kinds(count: int) -> list[str]:
    """Return the classes of rungs, from the lightest shade to the darkest."""
    return [f"shade{round(1 + 4 * place / max(1, count - 1))}" for place in range(count)]


def party_kind(party: str) -> str:
    """Return the class of a party's colour."""
    return f"party{PARTIES.index(party)}" if party in PARTIES else "other"


def _grid(scale: Scale, bottom: float, unit: str) -> list[str]:
    parts = []
    for value in ticks(scale.low, scale.high, 5):
        parts.append(line(scale(value), 0, scale(value), bottom, kind="grid"))
        parts.append(text(scale(value), bottom + 18, f"{number(value)} {unit}", kind="tick", anchor="middle"))
    return parts


def _across(across: Scale, share: float) -> str:
    x = across(_nines(share))
    words = f"{100 * share:.5g} %"
    return line(x, 14, x, 290, kind="grid") + text(x, 310, words, kind="tick", anchor="middle")


def _quantiles(case: Case) -> list[tuple[float, float]]:
    """Return share and latency in milliseconds, for each bucket of the histogram."""
    total, seen, points = sum(count for _, count in case.histogram), 0, []
    for lower, count in case.histogram:
        if lower and seen >= FASTEST * total:
            points.append((seen / total, lower / 1e6))
        seen += count
    return points


def _nines(share: float) -> float:
    return -math.log10(max(1e-9, 1.0 - share))


def _octave(low: float, high: float) -> tuple[float, float]:
    """Return bounds of an axis with a little room."""
    return low * 0.9, max(high * 1.1, low * 2)


def _apart(ends: list[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Move labels down until none covers the one above."""
    placed: list[tuple[float, float, str]] = []
    for y, x, name in sorted(ends):
        placed.append((max(y, placed[-1][0] + 15) if placed else y, x, name))
    return placed


def _ends(steps: Sequence[Step]) -> list[float]:
    ends, at = [], 0.0
    for step in steps:
        at = step.p50_ms if step.name == IN_ALL else at + step.p50_ms
        ends.append(at)
    return ends


def _rung_kind(step: Step, place: int, count: int) -> str:
    return "total" if step.name == IN_ALL else rung_kinds(count)[place + 1 if count > place + 1 else place]


def _sign(name: str) -> str:
    return name if name == IN_ALL else f"+ {name}"


def in_order(spent: Collection[str]) -> list[str]:
    """Return parties as they stand on the path."""
    known = [party for party in PARTIES if party in spent]
    return known + sorted(set(spent) - set(known))


def _median_cpu(case: Case, party: str) -> float:
    return statistics.median([each.cpu_us[party] for each in case.rounds if party in each.cpu_us] or [0.0])
