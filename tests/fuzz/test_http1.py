"""The readers of HTTP/1.1 under seeded mutation: whatever the octets, only a refusal comes out."""

import random
from collections.abc import Iterator

import pytest

from seclude.daemon.http1 import HEAD_END, AnswerReader, RequestHead
from seclude.errors import DecodeError

EXECUTIONS = 20_000
MAX_FIELDS, MAX_HEAD = 16, 2048

REQUESTS = [
    b"POST /.well-known/a HTTP/1.1\r\nHost: x\r\nContent-Type: message/ohttp-req\r\nContent-Length: 4\r\n\r\n",
    b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX: y\r\n\r\n",
    b"GET http://h/p HTTP/1.0\r\nAccept: a/b\r\nConnection: keep-alive\r\nX: 1\r\nX: 2\r\n\r\n",
]
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Type: message/ohttp-res\r\nContent-Length: 4\r\n\r\nbody",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 503 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nbody\r\n0\r\n\r\n",
    b"HTTP/1.0 204 No\r\nConnection: keep-alive\r\n\r\n",
]
SPICE = [b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"\xff", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"]
SPICE += [b"Upgrade: h2c\r\nConnection: upgrade\r\n", b"HTTP/1.1", b"1", b"0", b"CONNECT ", HEAD_END]


def mutated(seeds: list[bytes]) -> Iterator[bytes]:
    """Yield seeds after one to five changes, and now and then plain noise."""
    dice = random.Random(9)
    for _ in range(EXECUTIONS):
        data = dice.randbytes(dice.randrange(60)) if dice.random() < 0.03 else dice.choice(seeds)
        for _ in range(dice.randint(1, 5)):
            at = dice.randrange(len(data) + 1)
            with_spice = dice.choice(SPICE) if dice.random() < 0.7 else dice.randbytes(1)
            data = data[:at] + with_spice + data[at + dice.randrange(4) :]
        yield data


@pytest.mark.timeout(120)
def test_only_a_refusal_comes_of_any_request() -> None:
    heads = bodies = 0
    for data in mutated(REQUESTS):
        raw, end, rest = data.partition(HEAD_END)
        try:
            head = RequestHead(raw + end, MAX_FIELDS)
            heads += 1
            if head.content_length is None:
                chunks = head.chunks()
                for octet in rest:
                    if chunks.ended:
                        break
                    chunks.feed(bytes([octet]))
                bodies += chunks.ended
        except DecodeError:
            continue
        assert head.path.startswith("/")
        assert head.content_length is None or head.content_length >= 0
    assert heads > EXECUTIONS // 20
    assert bodies > EXECUTIONS // 200


@pytest.mark.timeout(120)
def test_only_a_refusal_comes_of_any_answer_however_it_is_cut() -> None:
    whole = 0
    for number, data in enumerate(mutated(ANSWERS)):
        size = 1 + number % 40
        try:
            reader = AnswerReader(MAX_HEAD, None)
            for start in range(0, len(data), size):
                if reader.ended:
                    break
                reader.feed(data[start : start + size])
        except DecodeError:
            continue
        whole += reader.ended
    assert whole > EXECUTIONS // 20


@pytest.mark.parametrize("data", [HEAD_END, b"X" + HEAD_END, b"HTTP/1.1" + HEAD_END, b"HTTP/1.1 1" + HEAD_END])
def test_the_shortest_heads_are_no_answer(data: bytes) -> None:
    with pytest.raises(DecodeError):
        AnswerReader(MAX_HEAD, None).feed(data + b"HTTP/1.1 2" + HEAD_END)
