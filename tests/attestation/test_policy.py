"""Policies: none that accepts nothing or anything, and join policies with one encoding."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from seclude.attestation.bundle import MAX_JOIN_POLICY
from seclude.attestation.policy import (
    MAX_ROOT,
    MAX_ROOTS,
    Policy,
    parse_join_policy,
    serialize_join_policy,
    verify_join_policy,
)
from seclude.attestation.slots import Slots
from seclude.errors import ConfigError, DecodeError, PolicyError

MEASUREMENT = bytes(range(32))
POLICY = Policy(
    role="worker",
    origin="ai.example",
    slots=Slots(1000, 600),
    measurements=frozenset({MEASUREMENT}),
    simulated_roots=(b"root a", b"root b"),
    max_evidence_age_seconds=1800,
    minimum_firmware=2,
)
ENCODED = serialize_join_policy(POLICY)

WRONG: list[Callable[[], Policy]] = [
    lambda: replace(POLICY, measurements=frozenset()),
    lambda: replace(POLICY, measurements=frozenset({MEASUREMENT[1:]})),
    lambda: replace(POLICY, simulated_roots=()),
    lambda: replace(POLICY, simulated_roots=(b"",)),
    lambda: replace(POLICY, simulated_roots=(bytes(MAX_ROOT + 1),)),
    lambda: replace(POLICY, simulated_roots=(b"root",) * (MAX_ROOTS + 1)),
    lambda: replace(POLICY, role="Worker"),
    lambda: replace(POLICY, origin="https://ai.example"),
    lambda: replace(POLICY, max_evidence_age_seconds=0),
    lambda: replace(POLICY, minimum_firmware=-1),
    lambda: replace(POLICY, clock_skew_seconds=-1),
    lambda: replace(POLICY, clock_skew_seconds=301),
]


@pytest.mark.parametrize("make", WRONG)
def test_a_policy_that_accepts_nothing_or_too_much_cannot_be_made(make: Callable[[], Policy]) -> None:
    with pytest.raises(ConfigError, match="policy"):
        make()


def test_a_join_policy_is_encoded_as_documented() -> None:
    assert (
        b"SECLUDE-JOIN-POLICY\x01\x06worker\x0aai.example"
        + (1000).to_bytes(8)
        + (600).to_bytes(4)
        + (2).to_bytes(4)
        + (1800).to_bytes(4)
        + (30).to_bytes(4)
        + b"\x02\x00\x06root a\x00\x06root b"
    ) == ENCODED
    assert parse_join_policy(ENCODED, {MEASUREMENT}) == POLICY


def test_the_order_in_which_roots_are_pinned_does_not_show() -> None:
    assert serialize_join_policy(replace(POLICY, simulated_roots=(b"root b", b"root a", b"root b"))) == ENCODED


def test_measurements_are_no_part_of_a_join_policy() -> None:
    assert serialize_join_policy(replace(POLICY, measurements=frozenset({bytes(32)}))) == ENCODED


@pytest.mark.parametrize("cut", range(len(ENCODED)))
def test_every_truncation_is_refused(cut: int) -> None:
    with pytest.raises(DecodeError):
        parse_join_policy(ENCODED[:cut], {MEASUREMENT})


@pytest.mark.parametrize(
    "data",
    [
        ENCODED + b"\0",
        ENCODED.replace(b"\x00\x06root a\x00\x06root b", b"\x00\x06root b\x00\x06root a"),
        ENCODED.replace(b"\x00\x06root a\x00\x06root b", b"\x00\x06root a\x00\x06root a"),
        ENCODED.replace(b"\x02\x00\x06root a\x00\x06root b", b"\x00"),
        ENCODED.replace(b"\x06worker", b"\x06Worker"),
        ENCODED.replace((600).to_bytes(4), bytes(4)),
        ENCODED.replace((30).to_bytes(4), (301).to_bytes(4)),
    ],
)
def test_another_encoding_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_join_policy(data, {MEASUREMENT})


def test_the_largest_join_policy_fits_its_field_in_the_core() -> None:
    roots = tuple(bytes([number]) * MAX_ROOT for number in range(1, MAX_ROOTS + 1))
    largest = replace(POLICY, role="w" * 32, origin="a" * 255, simulated_roots=roots)
    assert len(serialize_join_policy(largest)) <= MAX_JOIN_POLICY


def test_a_worker_accepts_its_own_measurement_and_no_other() -> None:
    many = replace(POLICY, measurements=frozenset({MEASUREMENT, bytes(32)}))
    assert many.for_measurement(bytes(32)).measurements == {bytes(32)}
    with pytest.raises(ConfigError):
        many.for_measurement(b"short")


def test_a_worker_must_be_able_to_verify_keys_for_as_long_as_they_live() -> None:
    with pytest.raises(ConfigError, match="3 periods"):
        replace(POLICY, max_evidence_age_seconds=1799).for_measurement(MEASUREMENT)


@pytest.mark.parametrize(
    "stricter",
    [
        replace(POLICY, simulated_roots=(b"root b",)),
        replace(POLICY, minimum_firmware=3),
        replace(POLICY, clock_skew_seconds=0),
        POLICY,
    ],
)
def test_a_stricter_join_policy_is_accepted(stricter: Policy) -> None:
    assert verify_join_policy(stricter, POLICY) == stricter


@pytest.mark.parametrize(
    "laxer",
    [
        replace(POLICY, simulated_roots=(b"root a", b"root c")),
        replace(POLICY, minimum_firmware=1),
        replace(POLICY, role="other"),
        replace(POLICY, origin="other.example"),
        replace(POLICY, slots=Slots(1000, 601)),
        replace(POLICY, slots=Slots(1001, 600)),
    ],
)
def test_a_laxer_or_another_join_policy_is_refused(laxer: Policy) -> None:
    with pytest.raises(PolicyError):
        verify_join_policy(laxer, POLICY)
