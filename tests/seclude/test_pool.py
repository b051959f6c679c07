"""What a gateway takes for a worker's status, and a worker for a gateway's wish."""

import json
from collections.abc import Callable

import pytest

from seclude.attestation.bundle import MAX_PROOFS
from seclude.errors import DecodeError
from seclude.pool import (
    MAX_SHARED_KEYS,
    Birth,
    Held,
    Shared,
    Status,
    parse_birth,
    parse_shared,
    parse_status,
    serialize_birth,
    serialize_shared,
    serialize_status,
)

DIGEST = "0f" * 32
GOOD = {
    "ready": True,
    "reasons": [],
    "manifest": DIGEST,
    "epochs": [{"epoch": 7, "core": DIGEST, "key_ids": [14, 15]}],
}


def test_a_status_is_read() -> None:
    status = parse_status(json.dumps(GOOD).encode())
    assert status.ready
    assert not status.draining
    assert status.epochs == (Held(7, DIGEST, frozenset({14, 15})),)


def test_what_is_written_is_read() -> None:
    status = Status(
        False, ("draining",), DIGEST, (Held(7, DIGEST, frozenset({200, 14, 15})), Held(8, DIGEST, frozenset()))
    )
    assert parse_status(serialize_status(status)) == status
    for birth in (Birth(7), Birth(7, b"proofs"), Birth((1 << 63) - 1, bytes(MAX_PROOFS))):
        assert parse_birth(serialize_birth(birth)) == birth
    for shared in (Shared(b""), Shared(b"keys", b"proofs"), Shared(bytes(MAX_SHARED_KEYS), bytes(MAX_PROOFS))):
        assert parse_shared(serialize_shared(shared)) == shared


def test_the_messages_to_a_worker_have_their_documented_layout() -> None:
    assert serialize_birth(Birth(7, b"p")) == b"SECLUDE-BIRTH\x01" + bytes(7) + b"\x07\0\0\0\x01p"
    assert serialize_shared(Shared(b"k", b"p")) == b"SECLUDE-SHARED\x01\0\0\0\x01k\0\0\0\x01p"


def test_a_worker_is_due_only_if_it_says_so() -> None:
    assert not parse_status(json.dumps(GOOD).encode()).due
    assert parse_status(json.dumps({**GOOD, "due": True}).encode()).due
    due = Status(True, (), DIGEST, (), due=True)
    assert parse_status(serialize_status(due)) == due


def test_fields_of_later_versions_are_passed_over() -> None:
    assert parse_status(json.dumps({**GOOD, "temperature": 40}).encode()) == parse_status(json.dumps(GOOD).encode())


def test_a_draining_worker_is_known_by_its_reason() -> None:
    assert parse_status(json.dumps({**GOOD, "ready": False, "reasons": ["draining"]}).encode()).draining


@pytest.mark.parametrize(
    "change",
    [
        {"ready": "yes"},
        {"ready": 1},
        {"due": 1},
        {"due": "true"},
        {"reasons": ["x"] * 33},
        {"manifest": DIGEST.upper()},
        {"manifest": DIGEST + "\n"},
        {"manifest": DIGEST[:-1]},
        {"epochs": GOOD["epochs"] * 17},  # type: ignore[operator]
        {"epochs": [{"epoch": -1, "core": DIGEST, "key_ids": []}]},
        {"epochs": [{"epoch": 1 << 63, "core": DIGEST, "key_ids": []}]},
        {"epochs": [{"epoch": 1, "core": DIGEST, "key_ids": [256]}]},
        {"epochs": [{"epoch": 1, "core": DIGEST, "key_ids": list(range(9))}]},
        {"epochs": [{"epoch": 1, "core": "core", "key_ids": [1]}]},
        {"epochs": None},
    ],
)
def test_a_status_out_of_form_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(DecodeError):
        parse_status(json.dumps({**GOOD, **change}).encode())


# Nested deeper than any parser's stack: as nothing that is known, in a field of a later version, in a field of ours.
NESTED = (b"[" * 100_000, b'{"x":' * 100_000, b'{"epochs":' + b"[" * 100_000)


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b"{" * 5000, b'{"ready": true}', *NESTED])
def test_what_is_no_status_is_refused_without_repeating_it(data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_status(data)
    assert str(caught.value) == "the status of a worker does not have its form"


def test_every_truncation_is_refused() -> None:
    data = json.dumps(GOOD).encode()
    for cut in range(len(data)):
        with pytest.raises(DecodeError):
            parse_status(data[:cut])


BIRTH = serialize_birth(Birth(7, b"proofs"))
SHARED = serialize_shared(Shared(b"keys", b"proofs"))


@pytest.mark.parametrize(("data", "parse"), [(BIRTH, parse_birth), (SHARED, parse_shared)])
def test_a_message_to_a_worker_that_is_cut_or_goes_on_is_refused(data: bytes, parse: Callable[[bytes], object]) -> None:
    for cut in range(len(data)):
        with pytest.raises(DecodeError):
            parse(data[:cut])
    with pytest.raises(DecodeError):
        parse(data + b"x")
    with pytest.raises(DecodeError, match=r"not .* of a version known here"):
        parse(bytes([data[0] ^ 1]) + data[1:])


@pytest.mark.parametrize("parse", [parse_birth, parse_shared])
def test_one_message_is_not_taken_for_the_other(parse: Callable[[bytes], object]) -> None:
    with pytest.raises(DecodeError):
        parse(SHARED if parse is parse_birth else BIRTH)


def test_what_is_over_its_limit_is_refused() -> None:
    with pytest.raises(DecodeError):
        parse_birth(serialize_birth(Birth(7, bytes(MAX_PROOFS + 1))))
    with pytest.raises(DecodeError):
        parse_shared(serialize_shared(Shared(bytes(MAX_SHARED_KEYS + 1))))
    with pytest.raises(DecodeError):
        parse_shared(serialize_shared(Shared(b"", bytes(MAX_PROOFS + 1))))
