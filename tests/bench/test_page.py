"""The page: complete in itself, well formed where it is drawn, and safe with whatever a name holds."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from msgspec.structs import replace

from bench.page import FROM_SENDING, FROM_START, render_page
from bench.result import Figure, Result, case_of
from bench.svg import Scale, element, log_ticks, number, signed, text, ticks
from bench.table import render
from tests.bench.samples import MACHINE, ladder, samples


def peers() -> Result:
    rounds = {name: [samples([0.5, 0.6], proxy=cpu)] * 2 for name, cpu in (("nginx", 15), ("seclude-relay", 20))}
    return Result(
        kind="peers",
        machine=MACHINE,
        cases=[case_of(name, each) for name, each in rounds.items()],
        figures=[Figure("CPU of seclude-relay / nginx", 1.33, "times", 1.5)],
        skipped={"HAProxy": "not installed"},
    )


RESULTS = {
    "ladder": ladder(),
    "falling": ladder(0.5),
    "peers": peers(),
    "run": Result(kind="run", machine=MACHINE, cases=[case_of("relay", [samples([1, 2, 3], failed=1, relay=20)])]),
    "empty": Result(kind="run", machine=MACHINE, cases=[case_of("relay", [samples([])])]),
    "idle": Result(kind="idle", machine=MACHINE, figures=[Figure("grown by", 21.0, "MB", 20.0, False)]),
}


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS.keys())
def test_every_drawing_is_well_formed(result: Result) -> None:
    page = render_page(result)
    for drawing in re.findall(r"<svg.*?</svg>", page):
        picture = ET.fromstring(drawing)
        width, height = (float(each) for each in picture.attrib["viewBox"].split()[2:])
        for each in picture.iter():
            for name, border in (("x", width), ("x1", width), ("x2", width), ("y", height), ("y1", height)):
                assert 0 <= float(each.attrib.get(name, 0)) <= border
            assert "nan" not in " ".join(each.attrib.values())


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS.keys())
def test_the_page_needs_nothing_from_elsewhere(result: Result) -> None:
    page = render_page(result)
    assert not re.search(r"<script|<link|src=|href=|url\(|@import|https?://", page)


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS.keys())
def test_a_table_tells_the_same(result: Result) -> None:
    printed = render(result)
    for case in result.cases:
        assert case.name in printed
    for name in result.skipped:
        assert f"skipped {name}" in printed


def test_the_page_says_what_was_asked_for_and_noted() -> None:
    result = peers()
    noted = [replace(case, note="the load was the limit") for case in result.cases]
    page = render_page(replace(result, cases=noted, config={"rounds": 2, "tls": True}))
    assert "seclude-relay: the load was the limit" in page
    assert "rounds 2, tls" in page
    assert "rounds 2, tls" in render(replace(result, config={"rounds": 2, "tls": True}))


def test_a_closed_loop_is_not_said_to_count_from_the_intended_start() -> None:
    closed = replace(RESULTS["run"], config={"closed": 4})
    assert FROM_START in render_page(RESULTS["run"])
    assert FROM_START not in render_page(closed)
    for page in map(render_page, (closed, RESULTS["peers"])):
        assert FROM_SENDING in page


def test_what_is_undecided_is_seen() -> None:
    figure = Figure("CPU of seclude-relay / nginx", 1.45, "times", 1.5, True, 1.4, 1.6, undecided=True)
    result = replace(peers(), figures=[figure])
    assert "undecided" in render_page(result)
    assert "1.40 to 1.60" in render_page(result)
    assert "UNDECIDED" in render(result)


def test_a_ladder_is_drawn_with_all_its_plots() -> None:
    assert render_page(RESULTS["ladder"]).count("<svg") == 4
    assert render_page(RESULTS["peers"]).count("<svg") == 3


def test_names_are_escaped() -> None:
    hostile = '"><script>alert(1)</script>'
    result = Result(kind="run", machine=MACHINE, cases=[case_of(hostile, [samples([1, 2], relay=20)])])
    assert "<script" not in render_page(result)


def test_attributes_and_text_are_escaped() -> None:
    assert element("g", class_='"<') == '<g class="&quot;&lt;"/>'
    assert "&lt;b&gt;" in text(0, 0, "<b>")


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 937.0), (-3.0, 12.5), (0.001, 0.002)])
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high, 5)
    assert 2 <= len(found) <= 8
    assert low - 1e-9 <= found[0]
    assert found[-1] <= high + 1e-9
    gaps = {round(later - earlier, 9) for earlier, later in pairwise(found)}
    assert len(gaps) == 1


def test_logarithmic_ticks_are_inside() -> None:
    assert log_ticks(0.3, 40) == pytest.approx([0.5, 1, 2, 5, 10, 20])


def test_a_scale_keeps_to_its_ends() -> None:
    scale = Scale(1.0, 100.0, 0.0, 200.0, log=True)
    assert [scale(value) for value in (0.1, 1.0, 10.0, 100.0, 1e6)] == pytest.approx([0, 0, 100, 200, 200])


def test_numbers_have_three_digits_that_matter() -> None:
    assert [number(value) for value in (0, 0.01234, 1.5, 12.345, 1234.5)] == [
        "0",
        "0.0123",
        "1.5",
        "12.3",
        "1\u202f234",
    ]
    assert signed(-1.5, 1, "ms") == "\N{MINUS SIGN}1.5 ms"
