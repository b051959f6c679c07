"""WhatsApp Private Processing, reviewed by Trail of Bits: the findings on keys, lengths, times, logs and transport."""

import asyncio
import io
import json
import logging
import re
import secrets
import ssl
import time
from pathlib import Path

import pytest
from prometheus_client import generate_latest

import seclude.client.keys
from inference.answer import Decides, Events
from inference.chunked import Opening, answer_chunked
from inference.convert.protobuf import GraphWriter
from inference.engine.encoder import SentenceEncoder
from inference.open import answer_request, open_request
from inference.pace import Line
from inference.producers.simulated import create_simulated_platform
from seclude import bhttp
from seclude.client import hop
from seclude.client.relays import RANDOM
from seclude.client.sdk import Client
from seclude.daemon.answering import answering
from seclude.daemon.log import Log
from seclude.daemon.messages import Request, Response
from seclude.daemon.metrics import OCTETS, Metrics
from seclude.daemon.server import Server
from seclude.daemon.tls import ClientCertificates, ClientTLS, ServerCertificates, ServerTLS
from seclude.daemon.upstream import Upstream
from seclude.errors import ConfigError, Error, EvidenceError, ReplayError, UpstreamError
from seclude.hpke import AEAD_AES_128_GCM, KEM_XWING, PrivateKey
from seclude.ohttp.chunked import encapsulate_chunked
from seclude.ohttp.encapsulation import HeldKey, encapsulate_request
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms
from seclude.padding import LARGEST, is_bucket
from seclude.tasks import Message
from tests.authority import Authority
from tests.client.serving import ANSWER, MESSAGES, PERIOD, T0, Clock, Relay, asking, trusting
from tests.relay.conftest import Gateway, Running
from tests.running import ROOT

KEY = PrivateKey.generate(KEM_XWING)
CONFIG = KeyConfig(0, KEM_XWING, KEY.public_key, (SymmetricAlgorithms(1, 1),))
HELD = {0: HeldKey(CONFIG, KEY)}
INNER = bhttp.Request(b"POST", b"https", b"ai.example", b"/v1/summarize", (), b"{}")
ENC_XWING = 1120
HEADER = 7


@pytest.fixture
def pool(tmp_path: Path) -> Relay:
    return Relay(create_simulated_platform(tmp_path / "platform", T0))


def keep(_key_id: int, _enc: bytes) -> None:
    """Remember nothing."""


def refuse(_key_id: int, _enc: bytes) -> None:
    raise ReplayError("seen before")


async def test_wapi_03_the_relay_gives_one_copy_to_everybody_and_fetches_for_nobody(
    relay: Running, gateway: Gateway
) -> None:
    assert len(gateway.gets) == 2  # the list and the bundles, before anybody asked
    answers = set()
    for fields in (
        b"",
        b"Cookie: a=1\r\nUser-Agent: one\r\n",
        b"X-Forwarded-For: 192.0.2.1\r\n",
        b"Cache-Control: no-cache\r\n",
    ):
        head = b"GET /.well-known/ohttp-gateway?user=7 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        answer = await relay.talk(head + b"Accept: application/seclude-key-bundles\r\n" + fields + b"\r\n")
        answers.add(answer.partition(b"\r\n\r\n")[2])
    assert answers == {gateway.bundles}
    assert len(gateway.gets) == 2


async def test_wapi_03_a_device_that_sees_two_keys_uses_neither(pool: Relay) -> None:
    special = Relay(pool.platform)
    async with asking(pool, special) as client:
        with pytest.raises(EvidenceError, match="two cores"):
            await client.check_consistency()
        with pytest.raises(EvidenceError):
            await client.summarize(MESSAGES)
    assert pool.posts == special.posts == []


class Recorder:
    """Draws as the client draws, and remembers between what and what came."""

    def __init__(self) -> None:
        self.drawn: list[tuple[float, float, float]] = []
        self._random = RANDOM

    def uniform(self, earliest: float, latest: float) -> float:
        self.drawn.append((earliest, latest, self._random.uniform(earliest, latest)))
        return self.drawn[-1][2]


async def test_wapi_04_the_moment_of_prefetching_is_drawn_from_a_wide_range(
    pool: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(RANDOM, secrets.SystemRandom)
    assert vars(seclude.client.keys)["RANDOM"] is RANDOM
    recorder = Recorder()
    monkeypatch.setattr("seclude.client.keys.RANDOM", recorder)
    start = T0 + 2 * PERIOD
    pool.clock = clock = Clock(start + PERIOD * 0.1)
    async with pool.up() as url:
        for _ in range(40):
            async with Client(trusting(pool.platform, url), clock=clock) as client:
                await client.summarize(MESSAGES)
    parts = sorted((moment - start) / PERIOD for _, _, moment in recorder.drawn)
    assert len(set(parts)) == 40
    assert parts[0] >= 0.5
    assert parts[-1] <= 0.9
    assert parts[9] < 0.75  # forty draws of the same small part of the range happen once in 10^12 runs
    assert parts[30] > 0.6


async def test_wapi_05_a_device_writes_no_word_of_a_chat_when_something_fails(
    pool: Relay, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = f"meet me at {secrets.token_hex(8)}"
    messages = [Message(sender="Ana", text=secret)]
    said = []
    broken = bhttp.Response(500, (), secret.encode())
    for outer, inner in (
        (Response(502), None),
        (Response(200, "message/ohttp-res", secret.encode()), None),
        (Response(422, "application/problem+json", b"{}"), None),
        (None, broken),
    ):
        pool.outer = outer
        if inner is not None:
            pool.inner = lambda _request: broken
        async with asking(pool) as client:
            with pytest.raises(Error) as caught:
                await client.summarize(messages)
            said += [str(caught.value), repr(caught.value), repr(client)]
    written = capfd.readouterr()
    everything = "".join([*said, caplog.text, written.out, written.err])
    assert secret not in everything
    assert said


def test_wapi_05_a_daemon_can_write_no_free_text() -> None:
    stream = io.StringIO()
    log = Log("worker", stream=stream)
    log.failure("handler_failed", ValueError("a secret word"))
    assert json.loads(stream.getvalue())["error"] == "ValueError"
    assert "secret" not in stream.getvalue()
    for fields in ({"text": "a"}, {"signal": "a secret word"}):
        with pytest.raises(Error):
            log.event("stopping", **fields)


def test_wapi_06_metrics_have_closed_labels_and_round_sizes() -> None:
    metrics = Metrics("relay")
    for number in range(100):
        metrics.observe(200 + number * 7, f"attribute-{number}", 0.003, 1000 + number, 1337)
    text = generate_latest(metrics.registry).decode()
    assert "attribute-" not in text
    assert text.count("seclude_relay_requests_total{") <= 10
    sums = [
        float(line.split()[1]) for line in text.splitlines() if line.startswith("seclude_relay_response_size_bytes_sum")
    ]
    assert sums == [100.0 * min(bound for bound in OCTETS if bound >= 1337)]


async def echo(request: Request) -> Response:
    return Response(200, "text/plain", await request.body.read())


async def test_wapi_11_daemons_and_devices_speak_tls_1_3_and_nothing_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    chain, key = authority.issue("server")
    server = Server(answering(echo), tls=ServerCertificates(ServerTLS(chain, key)))
    host, _, port = (await server.start("127.0.0.1:0")).rpartition(":")
    old = ssl.create_default_context(cafile=authority.certificate)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(host, int(port), ssl=old)
    _, writer = await asyncio.open_connection(
        host, int(port), ssl=ssl.create_default_context(cafile=authority.certificate)
    )
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
    writer.close()
    monkeypatch.setenv("SSL_CERT_FILE", authority.certificate)  # what a device believes, if it speaks 1.3
    hop._modern_tls.cache_clear()
    device = hop.Hop(f"https://127.0.0.1:{port}")
    assert (await device.exchange("POST", "/", body=b"x")).status == 200
    await device.close()
    await server.drain(within=0.2)

    older = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    older.load_cert_chain(chain, key)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    shaken: list[object] = []

    def take(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shaken.append(writer)
        writer.close()

    listening = await asyncio.start_server(take, "127.0.0.1", 0, ssl=older)
    port = str(listening.sockets[0].getsockname()[1])
    upstream = Upstream(f"https://127.0.0.1:{port}", tls=ClientCertificates(ClientTLS(authority.certificate)))
    with pytest.raises(UpstreamError):
        await upstream.exchange("GET", "/")
    await upstream.close()
    device = hop.Hop(f"https://127.0.0.1:{port}")
    with pytest.raises(UpstreamError):
        await device.exchange("GET", "/")
    await device.close()
    hop._modern_tls.cache_clear()
    listening.close()
    await listening.wait_closed()
    assert shaken == []


async def test_wapi_12_what_a_device_sends_is_encapsulated_to_x_wing(pool: Relay) -> None:
    async with asking(pool) as client:
        assert await client.summarize(MESSAGES) == ANSWER
    (post,) = pool.posts
    assert int.from_bytes(post[1:3]) == KEM_XWING == 0x647A
    assert len(post) > HEADER + ENC_XWING


def test_wapi_15_a_model_is_onnx_files_that_name_none_outside_their_folder(tmp_path: Path) -> None:
    graph = GraphWriter("far", io.BytesIO(), "../../etc/shadow")
    graph.output(graph.node("Relu", [graph.stream("w", "float32", [1], [])], ["y"]), "float32", [1])
    (tmp_path / "model.onnx").write_bytes(graph.model())
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="keeps tensors outside"):
        SentenceEncoder(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"\x80\x04\x95cposix\nsystem\n")  # as a pickle begins
    with pytest.raises(ConfigError, match="is not an ONNX model"):
        SentenceEncoder(tmp_path)
    readers = [
        path
        for path in (ROOT / "inference").rglob("*.py")
        if re.search(r"(?:import|from) pickle|allow_pickle", path.read_text())
    ]
    assert readers == []


def saying(size: int) -> Decides:
    """Return a task that answers with so many octets."""
    return lambda _request: bhttp.Response(200, (), bytes(size))


def test_wapi_16_answers_have_the_lengths_of_few_buckets() -> None:
    lengths = set()
    sizes = [*range(0, 4096, 7), 100_000, 500_000]
    for size in sizes:
        data, _ = encapsulate_request(CONFIG, bhttp.serialize_request(INNER), aead=AEAD_AES_128_GCM)
        opened = open_request(data, HELD, keep)
        lengths.add(len(answer_request(opened, saying(size), 0.0)))
    overhead = 16 + 16  # the response's nonce and the tag, with AES-128-GCM
    assert all(is_bucket(length - overhead) for length in lengths)
    assert len(lengths) < len(sizes) / 10
    assert min(lengths) == 1024 + overhead  # every answer of up to some 1,000 octets
    data, _ = encapsulate_request(CONFIG, bhttp.serialize_request(INNER), aead=AEAD_AES_128_GCM)
    with pytest.raises(Error, match="limit"):
        answer_request(open_request(data, HELD, keep), saying(LARGEST), 0.0)


def test_wapi_24_every_package_is_of_one_version_with_its_hash() -> None:
    lists = sorted((ROOT / "requirements").glob("*.txt"))
    assert {"client.txt", "gateway.txt", "relay.txt", "worker.txt"} <= {path.name for path in lists}
    for path in lists:
        text = path.read_text().replace("\\\n", " ")
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        assert lines
        for line in lines:
            assert re.match(r"\S+==\S+( ;[^-]+)? .*--hash=sha256:[0-9a-f]{64}", line), f"{path.name}: {line[:60]}"
    assert ssl.OPENSSL_VERSION_INFO >= (3, 0)


def test_wapi_26_the_shipped_tokenizer_keeps_no_words(model: Path) -> None:
    """A cache of words would make the time of one request depend on the words of another; WordPiece has none."""
    assert json.loads((model / "tokenizer.json").read_bytes())["model"]["type"] == "WordPiece"


async def test_wapi_x3_after_an_error_no_task_runs() -> None:
    ran: list[bytes] = []

    def task(request: bhttp.Request) -> bhttp.Response | Events:
        ran.append(request.path)
        return bhttp.Response(200)

    message = bhttp.serialize_request(INNER)
    data, opener = encapsulate_request(CONFIG, message, aead=AEAD_AES_128_GCM)
    answer = bhttp.parse_response(opener.open(answer_request(open_request(data, HELD, refuse), task, 0.0)))
    assert (answer.status, ran) == (409, [])
    data, opener = encapsulate_request(CONFIG, b"\x07junk", aead=AEAD_AES_128_GCM)
    answer = bhttp.parse_response(opener.open(answer_request(open_request(data, HELD, keep), task, 0.0)))
    assert (answer.status, ran) == (400, [])
    dated = bhttp.serialize_request(
        bhttp.Request(*(b"POST", b"https", b"a", b"/"), (bhttp.Field(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT"),), b"")
    )
    data, opener = encapsulate_request(CONFIG, dated, aead=AEAD_AES_128_GCM)
    answer = bhttp.parse_response(opener.open(answer_request(open_request(data, HELD, keep), task, time.time())))
    assert (answer.status, ran) == (400, [])

    for insert, runs in ((refuse, 0), (keep, 1)):
        sealer, _ = encapsulate_chunked(CONFIG)
        opening = Opening(HELD, insert)
        opening.feed(sealer.finish(message))
        answer_chunked(opening.finish(), task, 0.0, Line())
        assert len(ran) == runs


async def test_wapi_x4_the_host_that_a_client_names_decides_nothing(relay: Running, gateway: Gateway) -> None:
    kind = b"Content-Type: message/ohttp-req\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"
    for target, host in (
        (b"", b"a.example"),
        (b"http://b.example", b"c.example"),
        (b"https://d.example:99", b"d.example"),
    ):
        head = b"POST %s/.well-known/ohttp-gateway HTTP/1.1\r\nHost: %s\r\n" % (target, host)
        assert (await relay.talk(head + kind)).startswith(b"HTTP/1.1 200")
    assert len(gateway.posts) == 3
    assert len(set(gateway.posts)) == 1
    twice = b"POST /.well-known/ohttp-gateway HTTP/1.1\r\nHost: a\r\nHost: b\r\n"
    assert (await relay.talk(twice + kind)).startswith(b"HTTP/1.1 400")
    assert len(gateway.posts) == 3
