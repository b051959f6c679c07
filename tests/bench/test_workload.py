"""Requests: every one different, readable by those who are meant to, and looked at when answered."""

import msgspec
import pytest

from bench.chats import chat
from bench.job import Job, WorkloadSpec
from bench.stub import Answers, key_config
from bench.workload import EMPTY, NOT_OPENED, Workload, build
from gateway.duplicates import digest_of
from seclude import bhttp, hpke
from seclude.hpke import PrivateKey
from seclude.ohttp.encapsulation import HeldKey, decapsulate
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms, serialize_key_config
from seclude.pool import Birth, Message, parse_status, serialize_birth
from seclude.tasks import SummarizeRequest, decode

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


def test_generators_ask_about_different_chats() -> None:
    first, second = (bodies(build(WorkloadSpec("summarize"), URL, index, 2), 50) for index in (0, 1))
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
