"""Slots: every moment belongs to exactly one epoch."""

import pytest

from seclude.attestation.slots import KEY_IDS, MAX_PERIOD_SECONDS, Slots, in_words, x25519_key_id, xwing_key_id
from seclude.errors import ConfigError

SLOTS = Slots(t0=1000, period_seconds=600)


@pytest.mark.parametrize(
    ("now", "epoch"), [(1000, 0), (1599, 0), (1599.999999, 0), (1600, 1), (1600.5, 1), (1_000_000_000, 1_666_665)]
)
def test_a_moment_belongs_to_the_slot_that_holds_it(now: float, epoch: int) -> None:
    assert SLOTS.epoch_at(now) == epoch
    assert SLOTS.start(epoch) <= now < SLOTS.end(epoch)


def test_slots_leave_no_gap() -> None:
    assert SLOTS.end(4) == SLOTS.start(5) == 4000


@pytest.mark.parametrize("now", [999.999, 0, -1, float("nan"), float("inf"), float("-inf")])
def test_there_is_no_epoch_before_the_first_slot(now: float) -> None:
    with pytest.raises(ConfigError, match="t0"):
        SLOTS.epoch_at(now)
    assert not SLOTS.have_begun(now)


def test_slots_begin_with_the_first_one() -> None:
    assert SLOTS.have_begun(1000)


@pytest.mark.parametrize(("t0", "period"), [(-1, 600), (1 << 41, 600), (0, 0), (0, -1), (0, MAX_PERIOD_SECONDS + 1)])
def test_slots_that_make_no_sense_are_refused(t0: int, period: int) -> None:
    with pytest.raises(ConfigError):
        Slots(t0, period)


def test_the_limits_themselves_are_allowed() -> None:
    assert Slots(0, MAX_PERIOD_SECONDS).epoch_at(0) == 0
    assert Slots(1 << 40, 1).start(0) == 1 << 40


def test_key_ids_are_even_and_odd_and_unique_among_neighbours() -> None:
    for epoch in (0, 126, 127, 128, 10**12):
        for key_id, odd in ((xwing_key_id, 0), (x25519_key_id, 1)):
            ids = [key_id(each) for each in range(epoch, epoch + 128)]
            assert all(0 <= each <= 255 and each % 2 == odd for each in ids)
            assert len(set(ids)) == 128


def test_every_kem_has_key_identifiers_of_its_own_among_epochs_that_live_at_once() -> None:
    for epoch in range(300):
        live = [key_id(number) for number in range(epoch, epoch + 3) for key_id in KEY_IDS.values()]
        assert len(set(live)) == len(live)
        assert all(0 <= key_id < 256 for key_id in live)


def test_why_another_epoch_may_not_be_used_is_said_in_words() -> None:
    slots = Slots(0, 60)
    assert slots.outside(1, 3) == "epoch 1 is past its end, which was 1970-01-01 00:02:00 UTC"
    assert slots.outside(4, 3) == "epoch 4 has not begun; it starts 1970-01-01 00:04:00 UTC"
    assert in_words(1 << 60) == f"second {1 << 60}"
