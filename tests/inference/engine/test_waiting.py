"""How long one would wait for a slot: what stands before it, by what was measured."""

import pytest

from inference.engine.waiting import Forecast, Work


def test_a_free_slot_means_no_wait_unless_the_line_takes_it() -> None:
    forecast = Forecast(2, 0.5, piece_seconds=1.0, step_seconds=0.1)
    assert forecast.seconds([], []) == 0
    assert forecast.seconds([Work(0, 10)], []) == 0
    assert forecast.seconds([Work(0, 10)], [Work(0, 1)]) == pytest.approx(0.2)  # the line's end comes first


def test_each_in_line_takes_the_slot_that_is_free_first() -> None:
    forecast = Forecast(2, 0.5, piece_seconds=1.0, step_seconds=0.5)  # 2 s a piece, 1 s a token
    assert forecast.seconds([Work(0, 5), Work(1, 7)], []) == pytest.approx(5)
    assert forecast.seconds([Work(0, 5), Work(1, 7)], [Work(2, 1)]) == pytest.approx(9)
    assert forecast.seconds([Work(0, 5), Work(1, 7)], [Work(2, 1)] * 2) == pytest.approx(10)


def test_a_prompt_is_read_in_turns_with_the_others() -> None:
    forecast = Forecast(4, 0.5, piece_seconds=1.0, step_seconds=0.1)  # 2 s a piece
    assert forecast.reading(1, [Work(50, 10), Work(50, 10), Work(0, 10)]) == pytest.approx(6)
    assert forecast.reading(60, [Work(50, 10), Work(70, 10)]) == pytest.approx(2 * (60 + 50 + 60))
    for _ in range(100):
        forecast.saw_piece(0.1)
    assert forecast.reading(10, []) == pytest.approx(2, rel=0.01)


def test_what_was_measured_takes_over() -> None:
    forecast = Forecast(1, 0.5, piece_seconds=1.0, step_seconds=1.0)
    for _ in range(100):
        forecast.saw_token(0.01)
        forecast.saw_prompt(4, 0.8)
    assert forecast.seconds([Work(10, 100)], []) == pytest.approx(10 * 0.2 + 100 * 0.01, rel=0.01)
    for _ in range(100):
        forecast.saw_end(30, 300)  # people are allowed ten times what they write
    assert forecast.seconds([Work(0, 100)], []) == pytest.approx(0.1, rel=0.01)
