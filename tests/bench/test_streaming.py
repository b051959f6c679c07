"""The metrics of streams under their names in `vllm bench serve`."""

from array import array

import pytest

from bench.engine import Reading, merge
from bench.histogram import MS
from bench.job import Job, Report, WorkloadSpec
from bench.result import case_of
from bench.streaming import Answer, answers_of, metrics, parse_goodput
from seclude.errors import ConfigError
from tests.bench.samples import samples


def answer(*pieces: float) -> Answer:
    """An answer whose pieces came at these milliseconds."""
    times = [round(piece * MS) for piece in pieces]
    return Answer(times, times[-1])


def test_a_stream_has_all_four() -> None:
    found = metrics([answer(100, 120, 160)], 1.0)
    assert found["mean_ttft_ms"] == 100
    assert found["mean_e2el_ms"] == 160
    assert found["mean_tpot_ms"] == 30  # sixty milliseconds for the two pieces after the first
    assert found["mean_itl_ms"] == 30
    assert found["p99_itl_ms"] == 40


def test_a_whole_answer_has_no_gaps() -> None:
    found = metrics([Answer((5 * MS,), 7 * MS)], 2.0, failed=3)
    assert (found["median_ttft_ms"], found["median_e2el_ms"]) == (5, 7)
    assert "mean_itl_ms" not in found
    assert (found["completed"], found["failed"], found["request_throughput"]) == (1, 3, 0.5)


def test_pieces_are_those_of_their_own_answers() -> None:
    heard = samples([40, 90])
    heard.heard.extend(each * MS for each in (10, 20, 30, 80))
    heard.counts.extend((3, 1))
    first, second = answers_of(heard)
    assert (list(first.pieces), first.done) == ([10 * MS, 20 * MS, 30 * MS], 40 * MS)
    assert (list(second.pieces), second.done) == ([80 * MS], 90 * MS)
    assert [answer.ttft for answer in answers_of(samples([40, 90]))] == [40 * MS, 90 * MS], "nobody listened"


def ns(*milliseconds: float) -> bytes:
    return array("q", (round(each * MS) for each in milliseconds)).tobytes()


def test_tokens_count_in_the_window_in_which_their_pieces_came() -> None:
    report = Report(
        intended=ns(0, 200, 900),
        sent=ns(0, 200, 900),
        first=ns(50, 250, 950),
        done=ns(300, 500, 1400),
        outcome=bytes([0, 1, 0]),
        kinds=["ok", "not whole"],
        dropped=b"",
        lags=b"",
        heard=ns(50, 150, 250, 300, 950, 1050, 1100, 1200),
        counts=array("q", (3, 1, 4)).tobytes(),
        tokens=array("q", (6, 1, 8)).tobytes(),
    )
    job = Job("http://127.0.0.1:1/", WorkloadSpec("plain"), 0.1, 1.0, 3, None, cooldown_seconds=1.0)
    merged = merge([report], job, 0, Reading(100 * MS, {}, ((0, 0),)), Reading(1100 * MS, {}, ((0, 0),)))
    assert merged.written == 4 + 4, "two of three pieces of six tokens, and two of four of eight; none of what failed"
    [answer] = answers_of(merged)
    assert list(answer.pieces) == [50 * MS, 150 * MS, 200 * MS, 300 * MS]
    assert case_of("relay", [merged]).tokens_per_second == 8


def test_goodput_counts_those_that_keep_every_limit() -> None:
    answers = [answer(10, 20), answer(10, 200), answer(90, 95)]
    assert metrics(answers, 1.0, goodput={"ttft": 50, "e2el": 100})["request_goodput"] == 1
    assert metrics(answers, 1.0, goodput={})["request_goodput"] == 3


def test_limits_are_named_as_in_vllm() -> None:
    assert parse_goodput(["ttft:500", "e2el:5000"]) == {"ttft": 500.0, "e2el": 5000.0}


@pytest.mark.parametrize("word", ["ttft", "itl:5", "speed:1", "ttft:fast"])
def test_other_limits_are_refused(word: str) -> None:
    with pytest.raises(ConfigError, match=r"expected|no number"):
        parse_goodput([word])
