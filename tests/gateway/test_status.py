"""What the gateway takes for a worker's status."""

import json

import pytest

from gateway.status import Held, parse_status
from seclude.errors import DecodeError

DIGEST = "0f" * 32
GOOD = {
    "ready": True,
    "reasons": [],
    "inflight": 3,
    "manifest": DIGEST,
    "epochs": [{"epoch": 7, "core": DIGEST, "key_ids": [14, 15]}],
}


def test_a_status_is_read() -> None:
    status = parse_status(json.dumps(GOOD).encode())
    assert status.ready
    assert not status.draining
    assert status.epochs == (Held(7, DIGEST, frozenset({14, 15})),)


def test_fields_of_later_versions_are_passed_over() -> None:
    assert parse_status(json.dumps({**GOOD, "temperature": 40}).encode()) == parse_status(json.dumps(GOOD).encode())


def test_a_draining_worker_is_known_by_its_reason() -> None:
    assert parse_status(json.dumps({**GOOD, "ready": False, "reasons": ["draining"]}).encode()).draining


@pytest.mark.parametrize(
    "change",
    [
        {"ready": "yes"},
        {"ready": 1},
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


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b"{" * 5000, b'{"ready": true}'])
def test_what_is_no_status_is_refused_without_repeating_it(data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_status(data)
    assert str(caught.value) == "the status of a worker does not have its form"


def test_every_truncation_is_refused() -> None:
    data = json.dumps(GOOD).encode()
    for cut in range(len(data)):
        with pytest.raises(DecodeError):
            parse_status(data[:cut])
