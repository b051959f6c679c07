"""The metrics of streams under their names in `vllm bench serve`."""

import pytest

from bench.histogram import MS
from bench.streaming import Answer, metrics, parse_goodput
from seclude.errors import ConfigError


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
