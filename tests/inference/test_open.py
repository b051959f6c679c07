"""One request inside the worker: plain errors before it opened, sealed ones after, and no third way."""

from collections.abc import Callable
from email.utils import formatdate

import msgspec
import pytest

from inference.answer import DATE_WINDOW_SECONDS, Emit, Events, event
from inference.open import answer_request, open_request
from inference.replay import ReplaySet
from seclude import bhttp, hpke
from seclude.errors import DATE, BusyError, DecodeError, OpenError, UnknownKeyError
from seclude.hpke import PrivateKey
from seclude.ohttp.encapsulation import HeldKey, ResponseOpener, encapsulate_request
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms
from seclude.padding import is_bucket

NOW = 1_750_000_000.0
KEY = PrivateKey.generate(hpke.KEM_X25519)
ALGORITHMS = (SymmetricAlgorithms(hpke.KDF_HKDF_SHA256, hpke.AEAD_AES_128_GCM),)
CONFIG = KeyConfig(7, hpke.KEM_X25519, KEY.public_key, ALGORITHMS)
HELD = {7: HeldKey(CONFIG, KEY)}
SECRET = b"the cat is under the piano"


def echo(request: bhttp.Request) -> bhttp.Response:
    return bhttp.Response(200, (), request.content)


def unseen(_key_id: int, _enc: bytes) -> None:
    """Remember nothing, so that every request is the first."""


def sealed(*fields: bhttp.Field, message: bytes | None = None) -> tuple[bytes, ResponseOpener]:
    request = bhttp.Request(b"POST", b"https", b"a.example", b"/", fields, SECRET)
    return encapsulate_request(CONFIG, bhttp.serialize_request(request) if message is None else message)


def answered(
    data: bytes,
    opener: ResponseOpener,
    *,
    task: Callable[[bhttp.Request], bhttp.Response] = echo,
    insert: Callable[[int, bytes], None] = unseen,
) -> bhttp.Response:
    return bhttp.parse_response(opener.open(answer_request(open_request(data, HELD, insert), task, NOW)))


def test_a_request_is_answered_to_the_one_who_asked() -> None:
    assert answered(*sealed()).content == SECRET


def test_what_does_not_open_is_a_plain_error() -> None:
    data, _ = sealed()
    with pytest.raises(UnknownKeyError):
        open_request(bytes([8]) + data[1:], HELD, unseen)
    with pytest.raises(OpenError):
        open_request(data[:-1] + bytes([data[-1] ^ 1]), HELD, unseen)
    with pytest.raises(DecodeError):
        open_request(data[:20], HELD, unseen)


def test_a_request_that_did_not_open_is_not_remembered() -> None:
    data, opener = sealed()
    replays = ReplaySet(1)
    with pytest.raises(OpenError):
        open_request(data[:-1] + bytes([data[-1] ^ 1]), HELD, lambda _id, enc: replays.insert(enc))
    assert len(replays) == 0
    assert answered(data, opener, insert=lambda _id, enc: replays.insert(enc)).status == 200


def test_a_replay_is_refused_inside_and_the_task_does_not_run() -> None:
    data, opener = sealed()
    replays = ReplaySet()
    open_request(data, HELD, lambda _id, enc: replays.insert(enc))
    response = answered(data, opener, task=fail, insert=lambda _id, enc: replays.insert(enc))
    assert response.status == 409
    assert SECRET not in response.content


def test_a_full_replay_set_refuses_inside() -> None:
    def full(_key_id: int, _enc: bytes) -> None:
        raise BusyError("full", retry_after_seconds=9)

    response = answered(*sealed(), task=fail, insert=full)
    assert response.status == 503
    assert bhttp.get(response.fields, b"retry-after") == b"9"


def fail(_request: bhttp.Request) -> bhttp.Response:
    raise AssertionError("the task must not run")


@pytest.mark.parametrize("offset", [0, DATE_WINDOW_SECONDS, -DATE_WINDOW_SECONDS])
def test_a_date_within_the_window_is_accepted(offset: int) -> None:
    date = bhttp.Field(b"date", formatdate(NOW + offset, usegmt=True).encode())
    assert answered(*sealed(date)).status == 200


@pytest.mark.parametrize("offset", [DATE_WINDOW_SECONDS + 1, -DATE_WINDOW_SECONDS - 1, 86_400, -86_400])
def test_a_date_outside_the_window_is_refused_with_the_registered_problem(offset: int) -> None:
    date = bhttp.Field(b"date", formatdate(NOW + offset, usegmt=True).encode())
    response = answered(*sealed(date), task=fail)
    assert response.status == 400
    assert msgspec.json.decode(response.content)["type"] == DATE
    assert bhttp.get(response.fields, b"date") == formatdate(NOW, usegmt=True).encode()
    assert bhttp.get(response.fields, b"cache-control") == b"no-store"


@pytest.mark.parametrize(
    "value", [b"yesterday", b"", b"\xff", b"Mon, 99 Foo 2025 00:00:00 GMT", b"Tue, 1 Jan 2024 99999999999:00:00 GMT"]
)
def test_a_malformed_date_is_refused(value: bytes) -> None:
    response = answered(*sealed(bhttp.Field(b"date", value)), task=fail)
    assert response.status == 400
    assert msgspec.json.decode(response.content)["type"] == "about:blank"


@pytest.mark.parametrize("message", [b"", b"\x00", b"\xff" * 40, bhttp.serialize_response(bhttp.Response(200))])
def test_what_is_no_binary_http_request_is_refused_inside(message: bytes) -> None:
    assert answered(*sealed(message=message), task=fail).status == 400


def test_a_failure_of_ours_is_sealed_and_says_nothing() -> None:
    def break_down(request: bhttp.Request) -> bhttp.Response:
        raise RuntimeError(request.content.decode())

    response = answered(*sealed(), task=break_down)
    assert response.status == 500
    assert SECRET not in response.content
    assert b"RuntimeError" not in response.content


def test_an_opened_request_shows_nothing_of_itself() -> None:
    data, _ = sealed()
    assert "cat" not in repr(open_request(data, HELD, unseen))


def of_length(octets: int) -> Callable[[bhttp.Request], bhttp.Response]:
    return lambda _: bhttp.Response(200, (), bytes(octets))


def test_an_answer_is_in_its_bucket() -> None:
    data, opener = sealed()
    sizes = set()
    for length in (0, 1, 500, 990):
        data, opener = sealed()
        answer = answer_request(open_request(data, HELD, unseen), of_length(length), NOW)
        assert is_bucket(len(opener.open(answer)))
        sizes.add(len(answer))
    data, opener = sealed(bhttp.Field(b"date", b"nonsense"))
    sizes.add(len(answer_request(open_request(data, HELD, unseen), echo, NOW)))  # an error looks like a short answer
    assert len(sizes) == 1


def test_events_for_who_did_not_ask_in_chunks_are_one_answer() -> None:
    def made(_: bhttp.Request) -> Events:
        def produce(emit: Emit) -> None:
            emit(event("a", b"1"))
            raise ValueError(SECRET)

        return Events(produce)

    data, opener = sealed()
    answer = bhttp.parse_response(opener.open(answer_request(open_request(data, HELD, unseen), made, NOW)))
    assert bhttp.get(answer.fields, b"content-type") == b"text/event-stream"
    assert answer.content.startswith(b"event: a\ndata: 1\n\nevent: error\ndata: {")
    assert SECRET not in answer.content
