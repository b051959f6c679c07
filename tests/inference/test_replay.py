"""The replay set: exact, bounded, and it never forgets."""

import pytest

from inference.replay import ReplaySet
from seclude.errors import BusyError, ConfigError, ReplayError


def enc(number: int, size: int = 32) -> bytes:
    return number.to_bytes(size)


def test_a_second_insert_is_a_replay() -> None:
    replays = ReplaySet()
    replays.insert(enc(1))
    replays.insert(enc(2))
    for number in (1, 2, 1):
        with pytest.raises(ReplayError):
            replays.insert(enc(number))
    assert len(replays) == 2


def test_n_entries_fit_and_one_more_is_refused() -> None:
    replays = ReplaySet(limit=3)
    for number in range(3):
        replays.insert(enc(number))
    with pytest.raises(BusyError) as caught:
        replays.insert(enc(3))
    assert caught.value.retry_after_seconds > 0
    assert len(replays) == 3


def test_a_full_set_still_knows_every_entry() -> None:
    replays = ReplaySet(limit=100)
    for number in range(100):
        replays.insert(enc(number))
    for number in range(100):
        with pytest.raises(ReplayError):
            replays.insert(enc(number))


def test_values_of_any_length_are_told_apart_exactly() -> None:
    replays = ReplaySet()
    for size in (1, 31, 32, 33, 1120):
        replays.insert(enc(7, size))
    assert len(replays) == 5


def test_a_limit_below_one_is_a_config_error() -> None:
    with pytest.raises(ConfigError):
        ReplaySet(limit=0)


def test_its_repr_says_nothing() -> None:
    replays = ReplaySet()
    replays.insert(enc(1))
    assert repr(replays) == "<ReplaySet>"
