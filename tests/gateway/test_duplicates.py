"""The gateway's memory of what it passed on."""

import pytest

from gateway.duplicates import Duplicates, digest_of
from seclude.errors import DecodeError, ReplayError

X25519 = bytes.fromhex("01002000010001")


def encapsulated(number: int, *, header: bytes = X25519, tail: bytes = b"ciphertext") -> bytes:
    return header + number.to_bytes(32, "big") + tail


def request(number: int, *, header: bytes = X25519, tail: bytes = b"ciphertext") -> bytes:
    """Return what a request is remembered by."""
    return digest_of(encapsulated(number, header=header, tail=tail))


def test_a_request_passes_once() -> None:
    duplicates = Duplicates()
    duplicates.insert(request(1))
    duplicates.insert(request(2))
    with pytest.raises(ReplayError):
        duplicates.insert(request(1))


def test_other_octets_than_key_and_enc_make_no_new_request() -> None:
    duplicates = Duplicates()
    duplicates.insert(request(1))
    with pytest.raises(ReplayError):
        duplicates.insert(request(1, tail=b"changed"))
    with pytest.raises(ReplayError):
        duplicates.insert(request(1, header=bytes.fromhex("01002000010003")))


def test_the_same_enc_for_another_key_is_another_request() -> None:
    duplicates = Duplicates()
    duplicates.insert(request(1))
    duplicates.insert(request(1, header=bytes.fromhex("03002000010001")))


def test_x_wing_requests_are_told_apart_by_their_whole_enc() -> None:
    header = bytes.fromhex("00647a00010001")
    one, other = header + bytes(1119) + b"a", header + bytes(1119) + b"b"
    assert digest_of(one) != digest_of(other)
    assert digest_of(one) == digest_of(one + b"ciphertext")


def test_a_forgotten_request_may_come_again() -> None:
    duplicates = Duplicates()
    duplicates.insert(request(1))
    duplicates.forget(request(1))
    duplicates.insert(request(1))


@pytest.mark.parametrize("limit", [2, 5])
def test_as_many_as_the_limit_are_remembered_and_twice_as_many_forgotten(limit: int) -> None:
    duplicates = Duplicates(limit)
    for number in range(2 * limit + 1):
        duplicates.insert(request(number))
    for number in range(limit + 1, 2 * limit + 1):
        with pytest.raises(ReplayError):
            duplicates.insert(request(number))
    duplicates.insert(request(0))


@pytest.mark.parametrize("cut", range(len(encapsulated(1, tail=b""))))
def test_every_truncation_is_refused(cut: int) -> None:
    with pytest.raises(DecodeError):
        digest_of(encapsulated(1)[:cut])


def test_a_kem_that_is_not_served_is_refused() -> None:
    with pytest.raises(DecodeError, match="kem_id"):
        digest_of(bytes.fromhex("01001000010001") + bytes(100))
