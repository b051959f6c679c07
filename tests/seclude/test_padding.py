"""Lengths fall into few buckets, and the buckets are Padmé's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seclude import bhttp
from seclude.errors import TooLargeError, UsageError
from seclude.padding import LARGEST, SMALLEST, bucket, is_bucket, pad


def padme(length: int) -> int:
    """The algorithm as the paper has it (PURBs, section 4.2, algorithm 1)."""
    e = length.bit_length() - 1
    s = e.bit_length()
    mask = (1 << (e - s)) - 1
    return (length + mask) & ~mask


@given(st.integers(SMALLEST, LARGEST))
def test_a_bucket_is_that_of_the_paper(length: int) -> None:
    assert bucket(length) == padme(length)


@given(st.integers(0, LARGEST))
def test_a_bucket_holds_its_message_and_costs_little(length: int) -> None:
    found = bucket(length)
    assert found >= length
    assert found == SMALLEST or found <= 1.12 * length
    assert is_bucket(found)
    assert bucket(found) == found


def test_there_are_few_buckets() -> None:
    found = {bucket(length) for length in range(0, LARGEST + 1, 16)}
    assert len(found) == 226  # for a million lengths
    assert min(found) == SMALLEST
    assert max(found) == LARGEST
    assert all(map(is_bucket, found))


def test_a_length_between_two_buckets_is_none() -> None:
    assert not any(map(is_bucket, (0, 1, SMALLEST - 1, SMALLEST + 1, LARGEST - 1, LARGEST + 1)))


def test_what_is_larger_than_the_largest_bucket_is_refused() -> None:
    assert bucket(LARGEST) == LARGEST
    with pytest.raises(TooLargeError):
        bucket(LARGEST + 1)
    with pytest.raises(UsageError):
        bucket(-1)


@given(st.binary(max_size=3000))
def test_a_padded_message_says_the_same(content: bytes) -> None:
    message = bhttp.Response(200, (), content)
    padded = pad(bhttp.serialize_response(message))
    assert is_bucket(len(padded))
    assert bhttp.parse_response(padded) == message
