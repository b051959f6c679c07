"""Requests: every one different, readable by those who are meant to, and looked at when answered."""

import msgspec
import pytest

from bench.chats import chat
from bench.hearing import ERROR, NOT_READ, NOT_WHOLE, Hearing
from bench.job import Job, WorkloadSpec
from bench.questions import question
from bench.stub import Answers, key_config
from bench.workload import EMPTY, NOT_OPENED, Workload, build
from gateway.duplicates import digest_of
from inference.answer import event
from seclude import bhttp, hpke
from seclude.bhttp_stream import RequestReader, ResponseWriter
from seclude.chat import DONE, ChatChunk, ChatRequest, ChunkChoice, Delta, Usage
from seclude.hpke import PrivateKey
from seclude.ohttp.chunked import RequestOpener
from seclude.ohttp.encapsulation import HeldKey, decapsulate
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms, serialize_key_config
from seclude.pool import Birth, Message, parse_status, serialize_birth
from seclude.tasks import ERROR_EVENT, SummarizeRequest, decode, encode

URL = "http://127.0.0.1:9/.well-known/ohttp-gateway"
KEY = PrivateKey.generate(hpke.KEM_X25519)
CONFIG = KeyConfig(7, KEY.kem, KEY.public_key, (SymmetricAlgorithms(1, 1),))
ENCAPSULATED = WorkloadSpec("encapsulated", key_config=serialize_key_config(CONFIG), origin="x.invalid")


def bodies(workload: Workload, count: int) -> list[bytes]:
    return [workload.request()[0].partition(b"\r\n\r\n")[2] for _ in range(count)]


def test_opaque_requests_are_no_duplicates_of_each_other() -> None:
    spec = WorkloadSpec("opaque", key_config=serialize_key_config(key_config(3)))
    sent = bodies(build(spec, URL, 0, 2), 500) + bodies(build(spec, URL, 1, 2), 500)
    assert {len(body) for body in sent} == {spec.body_bytes}
    assert len({digest_of(body) for body in sent}) == 1000
    assert {body[0] for body in sent} == {key_config(3).key_id}


def test_encapsulated_requests_open_and_differ() -> None:
    workload = build(ENCAPSULATED, URL, 0, 1)
    workload.prepare(3)
    held = {7: HeldKey(CONFIG, KEY)}
    asked = [bhttp.parse_request(decapsulate(body, held).message) for body in bodies(workload, 3)]
    assert len({request.content for request in asked}) == 3
    for request in asked:
        assert decode(SummarizeRequest, request.content).messages
    with pytest.raises(IndexError):
        workload.request()


def test_an_answer_that_was_sealed_passes_the_look() -> None:
    workload = build(msgspec.structs.replace(ENCAPSULATED, inline=True), URL, 0, 1)
    data, check = workload.request()
    opened = decapsulate(data.partition(b"\r\n\r\n")[2], {7: HeldKey(CONFIG, KEY)})
    sealed = opened.sealer.seal(bhttp.serialize_response(bhttp.Response(200, (), b"{}")))
    assert check(sealed) is None


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [(bhttp.Response(500), "inner status 500"), (bhttp.Response(200), EMPTY)],
)
def test_an_answer_that_is_wrong_inside_is_named(answer: bhttp.Response, complaint: str) -> None:
    data, check = build(msgspec.structs.replace(ENCAPSULATED, inline=True), URL, 0, 1).request()
    opened = decapsulate(data.partition(b"\r\n\r\n")[2], {7: HeldKey(CONFIG, KEY)})
    assert check(opened.sealer.seal(bhttp.serialize_response(answer))) == complaint


def test_an_answer_that_does_not_open_is_named() -> None:
    _, check = build(msgspec.structs.replace(ENCAPSULATED, inline=True), URL, 0, 1).request()
    assert check(bytes(64)) == NOT_OPENED


TALKING = msgspec.structs.replace(ENCAPSULATED, inline=True, streamed=True, model="small", tokens=5)


def spoken(*events: bytes, status: int = 200) -> list[bytes]:
    """Return a streamed answer in pieces, not yet sealed."""
    writer = ResponseWriter(status)
    return [writer.head(), *map(writer.content, events), writer.end()]


def said(text: str) -> bytes:
    return event(None, encode(ChatChunk((ChunkChoice(Delta(text)),))))


ENDED = event(None, encode(ChatChunk((ChunkChoice(Delta(), "length"),), Usage(9, 5, 14)))) + event(None, DONE)


def test_a_chat_is_heard_piece_by_piece_as_it_is_opened() -> None:
    data, check = build(TALKING, URL, 0, 1).request()
    opener = RequestOpener({7: HeldKey(CONFIG, KEY)})
    reader = RequestReader()
    for piece in (*opener.feed(data.partition(b"\r\n\r\n")[2]), opener.finish()):
        reader.feed(piece)
    asked = decode(ChatRequest, reader.finish().content)
    assert (asked.model, asked.stream, asked.max_tokens) == ("small", True, 5)
    assert isinstance(check, Hearing)
    sealer = opener.sealer()
    *pieces, last = spoken(said("a"), b":  \n", said("b") + said("c"), ENDED)
    for piece in pieces:
        check.feed(sealer.seal(piece))
    check.feed(sealer.finish(last))
    assert check(b"") is None
    assert check.tokens == 5
    assert len(check.times) == 3
    assert list(check.times) == sorted(check.times)


@pytest.mark.parametrize(
    ("pieces", "complaint"),
    [
        (spoken(said("a"), ENDED), None),
        (spoken(said("a"), ENDED)[:-1], NOT_READ),
        (spoken(said("a")), NOT_WHOLE),
        (spoken(ENDED), NOT_WHOLE),
        (spoken(said("a"), event(ERROR_EVENT, b"{}")), ERROR),
        (spoken(event(None, b"{"), ENDED), NOT_READ),
        (spoken(b"{}", status=503), "inner status 503"),
        ([b"{}"], NOT_READ),
    ],
    ids=["whole", "cut", "without an end", "without text", "failed", "junk", "refused", "no message"],
)
def test_what_is_wrong_with_a_chat_is_named(pieces: list[bytes], complaint: str | None) -> None:
    hearing = Hearing()
    for piece in pieces:
        hearing.feed(piece)
    assert hearing(b"") == complaint


def test_a_chat_that_was_changed_on_its_way_is_named() -> None:
    _, check = build(TALKING, URL, 0, 1).request()
    assert isinstance(check, Hearing)
    check.feed(bytes(200))
    assert check(b"") == NOT_READ


def test_questions_are_those_of_their_seed_and_differ() -> None:
    assert question(1, 5, "small", 9) == question(1, 5, "small", 9)
    assert len({question(1, number, "small", 9) for number in range(200)}) == 200


def test_generators_ask_about_different_chats() -> None:
    first, second = (bodies(build(WorkloadSpec("plain"), URL, index, 2), 50) for index in (0, 1))
    assert not set(first) & set(second)


def test_a_chat_is_that_of_its_seed() -> None:
    assert chat(1, 5) == chat(1, 5)
    assert chat(1, 5) != chat(2, 5)


def test_a_job_survives_its_pipe() -> None:
    job = Job(URL, ENCAPSULATED, 1.0, 2.0, 3, None)
    assert msgspec.json.decode(msgspec.json.encode(job), type=Job) == job


def test_a_stub_gives_the_pool_what_it_asks_for() -> None:
    answers = Answers(10)

    def body(method: bytes, path: str, sent: bytes = b"") -> bytes:
        return answers.find(method, path.encode(), [sent]).partition(b"\r\n\r\n")[2]

    assert not parse_status(body(b"GET", Message.STATUS)).ready
    born = body(b"POST", Message.BIRTH, serialize_birth(Birth(4)))
    assert body(b"POST", Message.BIRTH, serialize_birth(Birth(4))) == born
    status = parse_status(body(b"GET", Message.STATUS))
    assert status.ready
    assert [held.epoch for held in status.epochs] == [4]
    assert len(body(b"POST", Message.REQUEST, bytes(1000))) == 10
