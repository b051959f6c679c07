"""What a gateway takes for a worker's status, and a worker for a gateway's wish."""

import json

import pytest

from seclude.errors import DecodeError
from seclude.pool import Held, Status, parse_birth, parse_status, serialize_birth, serialize_status

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
    assert serialize_birth(7) == b'{"epoch":7}'
    assert parse_birth(serialize_birth(7)) == 7


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


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"epoch":-1}',
        b'{"epoch":9223372036854775808}',
        b'{"epoch":1,"x":2}',
        b'{"epoch":"1"}',
        b"\xff",
        *NESTED,
    ],
)
def test_what_is_no_wish_for_a_birth_is_refused_without_repeating_it(data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_birth(data)
    assert str(caught.value) == "the request for a birth does not have its form"
