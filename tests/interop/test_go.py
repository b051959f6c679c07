"""Two makings in Go, as client and as gateway: `chris-wood/ohttp-go`, under Cloudflare's gateway, and `openpcc/ohttp`.

The second follows draft -03 of chunked Oblivious HTTP. Its octets are those of our -08; where its habits and limits
are others, a test says so. The first run compiles for some ten seconds; Go keeps what it compiled in its own cache.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from seclude import hpke
from seclude.bhttp import Request, Response, parse_response, serialize_request, serialize_response
from seclude.ohttp import chunked
from seclude.ohttp.encapsulation import encapsulate_request, start_request
from seclude.ohttp.keyconfig import REQUEST_HEADER_LENGTH, KeyConfig, choose, parse_key_configs
from seclude.ohttp.media import GATEWAY_PATH, OHTTP_CHUNKED_REQ, OHTTP_CHUNKED_RES, OHTTP_KEYS, OHTTP_REQ, OHTTP_RES
from seclude.wire import Reader, Writer
from tests.interop import ours
from tests.interop.ours import CHUNKED, PIECE, WHOLE, XWING, Answered, Library, Sealing, echo, fetch, library_gateway
from tests.interop.peers import ROWS, Peer, PeerFailedError, record, recorded
from tests.interop.suite import CLIENT, CLIENT_OF_LIBRARY, GATEWAYS, MESSAGES, Suite, each_form, make_request
from tests.running import Running

HERE: Final = Path(__file__).parent / "go"
MINIMUM_GO: Final = (1, 25, 4)  # what go.mod says, as `openpcc/ohttp` needs it
MODULES: Final = {"chriswood": "github.com/chris-wood/ohttp-go", "openpcc": "github.com/openpcc/ohttp"}
FORMS: Final = {"chriswood": (WHOLE,), "openpcc": (WHOLE, CHUNKED)}

DEFAULTS: Final = "/defaults"  # a gateway as openpcc's library makes it, where the other one is told what we need
GATEWAY: Final = GATEWAYS["library"]

pytestmark = pytest.mark.timeout(360)

with_chriswood = pytest.mark.parametrize("peer", ["chriswood"], indirect=True)
with_openpcc = pytest.mark.parametrize("peer", ["openpcc"], indirect=True)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both programs, built with the modules of go.sum."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed")
    environment = os.environ | {"GOTOOLCHAIN": "local"}  # a test does not fetch another Go
    command = [go, "env", "GOVERSION"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    if tuple(int(number) for number in re.findall(r"\d+", said)) < MINIMUM_GO:
        pytest.skip(f"{said.strip()} is older than {'.'.join(map(str, MINIMUM_GO))}")
    folder = tmp_path_factory.mktemp("go")
    command = [go, "build", "-mod=readonly", "-o", f"{folder}/", "./chriswood", "./openpcc"]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module", params=list(MODULES))
def peer(request: pytest.FixtureRequest, programs: Path) -> Peer:
    """One of the two."""
    program, module = str(programs / request.param), MODULES[request.param]
    version = re.search(rf"{re.escape(module)} v(\S+)", (HERE / "go.mod").read_text())
    assert version is not None
    name = f"Go: `{module.removeprefix('github.com/')}`"
    return Peer(name, version[1], (program, "client"), (program, "gateway"), forms=FORMS[request.param])


class TestGo(Suite):
    """With `peer`, everything of the suite; what `ohttp-go` is known not to do must fail."""

    @pytest.fixture(autouse=True)
    def known_fault(self, request: pytest.FixtureRequest, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
        """Expect the failure, and record its reason in place of its name."""
        fault = find_fault(request.node.callspec.params)
        if fault is not None:
            role, what, why = fault
            record(peer.name, peer.version, what, why, role=role)
            monkeypatch.delenv(ROWS, raising=False)
            failures = (AssertionError,)  # PeerFailedError is one
            request.applymarker(pytest.mark.xfail(strict=True, raises=failures, reason=why))


def find_fault(parameters: Mapping[str, object]) -> tuple[str, str, str] | None:
    """Return role, what and why where a test of the suite must fail."""
    if parameters["peer"] != "chriswood" or parameters["form"] != WHOLE:
        return None
    written = str(parameters.get("written", ""))
    if "informational" in written:
        return CLIENT_OF_LIBRARY, f"{WHOLE}, answers of: {written}", "refused: it reads only final ones"
    if written.startswith("indeterminate"):
        return CLIENT_OF_LIBRARY, f"{WHOLE}, answers of: {written}", "fails: it reads them as of known length"
    if parameters.get("indeterminate"):
        return GATEWAY, f"{WHOLE}, requests of: indeterminate length", "fails: it reads them as of known length"
    return None


@with_chriswood
def test_ohttp_go_loses_content_in_pieces(peer: Peer) -> None:
    """It parses framing indicator 3 as 1: the first piece is its content, and the second its trailers."""
    message = bytes.fromhex(
        "03 40c8 00"  # a response of indeterminate length, status 200, no fields
        "03 616263"  # "abc"
        "04 01610162"  # four octets of content, which also are a field line "a: b"
        "00 00"
    )
    assert parse_response(message).content == b"abc\1a\1b"
    with library_gateway(lambda _: message) as url:
        assert peer.ask(url, "/", None, WHOLE) == (200, "abc")


@with_chriswood
def test_ohttp_go_does_not_look_at_padding(peer: Peer) -> None:
    message = serialize_response(Response(200, content=b"abc")) + b"\0\1"
    with (
        recorded(peer, CLIENT_OF_LIBRARY, f"{WHOLE}: padding that is not zero", "accepted"),
        library_gateway(lambda _: message) as url,
    ):
        assert peer.ask(url, "/", None, WHOLE) == (200, "abc")


@with_openpcc
@each_form
def test_openpcc_refuses_padding_that_is_not_zero(peer: Peer, form: str) -> None:
    message = serialize_response(Response(200, content=b"abc")) + b"\0\1"
    with (
        recorded(peer, CLIENT_OF_LIBRARY, f"{form}: padding that is not zero", "refused"),
        library_gateway(lambda _: message) as url,
        pytest.raises(PeerFailedError, match="invalid padding byte 1"),
    ):
        peer.ask(url, "/", None, form)


@with_openpcc
@each_form
def test_openpcc_and_we_mean_the_same_xwing(peer: Peer, stack: Running, gateway: str, form: str) -> None:
    flags = ["--kem", "xwing", *["--chunked"] * (form == CHUNKED)]
    command = [*peer.client, stack.relay_url, "/v1/summarize", json.dumps({"messages": MESSAGES}), *flags]
    with recorded(peer, CLIENT, f"{form}: X-Wing"):
        done = subprocess.run(command, capture_output=True, text=True, timeout=ours.PATIENCE, check=True)
        assert json.loads(done.stdout)["status"] == 200
    request = make_request(b"to and fro")
    with recorded(peer, GATEWAY, f"{form}: X-Wing"):
        config = fetch_key(gateway, XWING)
        if form == CHUNKED:
            response = opened(*post_chunks(gateway, config, [serialize_request(request)]))
        else:
            body, opener = encapsulate_request(config, serialize_request(request))
            answer = fetch(gateway, "POST", fields={"content-type": OHTTP_REQ}, body=body)
            response = parse_response(opener.open(answer.body))
        assert (response.status, response.content) == (200, echo(request))


@with_openpcc
def test_openpcc_writes_chunks_in_the_octets_of_draft_08(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our library opens them. Each element of the message has its own, so its length shows; the last is empty."""
    bodies: list[bytes] = []
    post = Library.post

    def record_and_post(library: Library, kind: str, pieces: Iterable[bytes]) -> tuple[str, Iterator[bytes]]:
        assert kind == OHTTP_CHUNKED_REQ
        bodies.append(b"".join(pieces))
        return post(library, kind, bodies)

    monkeypatch.setattr(Library, "post", record_and_post)
    with library_gateway(lambda request: serialize_response(Response(200, content=request.content))) as url:
        assert peer.ask(url, "/echo", "to and fro", CHUNKED) == (200, '"to and fro"')
    reader = Reader(bodies[0])
    assert reader.take(REQUEST_HEADER_LENGTH, "header").hex() == "07002000010001"
    reader.take(32, "enc")
    lengths = []
    while length := reader.varint("chunk length"):
        reader.take(length, "chunk")
        lengths.append(length - hpke.TAG_LENGTH)
    assert reader.remaining == hpke.TAG_LENGTH
    assert lengths[:9] == [1, 1, len("POST"), 1, len("https"), 1, len("target.example"), 1, len("/echo")]
    assert max(lengths) <= PIECE


@with_openpcc
def test_openpcc_does_not_take_an_answer_without_its_final_chunk(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(sealer: Sealing, message: bytes) -> Iterator[bytes]:
        yield sealer.seal(message)

    monkeypatch.setattr(ours, "seal_pieces", cut)
    with (
        recorded(peer, CLIENT_OF_LIBRARY, f"{CHUNKED}: an answer without its final chunk", "refused"),
        library_gateway(lambda _: serialize_response(Response(200, content=b"abc"))) as url,
        pytest.raises(PeerFailedError, match="failed to decode chunk length: EOF"),
    ):
        peer.ask(url, "/", None, CHUNKED)


@with_openpcc
def test_openpcc_does_not_take_a_request_without_its_final_chunk(peer: Peer, gateway: str) -> None:
    message = serialize_request(make_request(b"to and fro"))
    with recorded(peer, GATEWAY, f"{CHUNKED}: a request without its final chunk", "refused"):
        response = opened(*post_chunks(gateway, fetch_key(gateway), [message], last=None))
        assert (response.status, response.content) == (400, b"failed to decode chunk length: EOF")


@with_openpcc
def test_openpcc_reads_content_of_the_final_chunk(peer: Peer, gateway: str) -> None:
    request = make_request(b"to and fro")
    with recorded(peer, GATEWAY, f"{CHUNKED}: all of it in the final chunk"):
        assert opened(*post_chunks(gateway, fetch_key(gateway), [], last=serialize_request(request))).content == echo(
            request
        )


@with_openpcc
def test_openpcc_takes_empty_chunks_that_draft_08_forbids(peer: Peer, gateway: str) -> None:
    """Section 6: a chunk that is not the last has content. `10` and sixteen octets are one that has not."""
    request = make_request(b"to and fro")
    with recorded(peer, GATEWAY, f"{CHUNKED}: an empty chunk that is not the last", "accepted"):
        answer = post_chunks(gateway, fetch_key(gateway), [b"", serialize_request(request), b""])
        assert opened(*answer).content == echo(request)


@with_openpcc
@pytest.mark.parametrize(("path", "limit"), [(GATEWAY_PATH, chunked.MAX_CHUNK), (DEFAULTS, 4096)])
def test_openpcc_takes_chunks_of_4096_octets_unless_told_to_take_more(
    peer: Peer, gateway: str, path: str, limit: int
) -> None:
    """Section 3: everyone must take 16384. It sends 4096 at most, and its client takes 16384."""
    request, url = make_for_defaults(bytes(2 * limit), path), gateway.replace(GATEWAY_PATH, path)
    message = serialize_request(request)
    config = fetch_key(gateway)
    with recorded(peer, GATEWAY, f"{CHUNKED}: chunks of {limit} octets" + ", as set at first" * (path == DEFAULTS)):
        pieces = [message[at : at + limit] for at in range(0, len(message), limit)]
        assert opened(*post_chunks(url, config, pieces)).content == echo(request)
        answer, _ = post_chunks(url, config, [message[: limit + 1], message[limit + 1 : 2 * limit]])
        assert answer.status == 400


@with_openpcc
def test_openpcc_chooses_the_form_of_an_answer_by_its_length(peer: Peer, gateway: str) -> None:
    """Section 3: chunks are answered with chunks, as our relay demands; RFC 9458 knows none."""
    url = gateway.replace(GATEWAY_PATH, DEFAULTS)
    config = fetch_key(gateway)
    short, long = (serialize_request(make_for_defaults(bytes(length), DEFAULTS)) for length in (10, 3000))
    with recorded(peer, GATEWAY, f"{CHUNKED}: a short answer, as set at first", "not in chunks"):
        assert post_chunks(url, config, [short])[0].kind == OHTTP_RES
        assert post_chunks(url, config, [long])[0].kind == OHTTP_CHUNKED_RES
    for message, kind in ((short, OHTTP_RES), (long, OHTTP_CHUNKED_RES)):
        with recorded(peer, GATEWAY, f"{WHOLE}: a long answer, as set at first", "in chunks"):
            body, _ = encapsulate_request(config, message)
            assert fetch(url, "POST", fields={"content-type": OHTTP_REQ}, body=body).kind == kind


@with_openpcc
def test_openpcc_serves_one_host_unless_told_others(peer: Peer, gateway: str) -> None:
    url = gateway.replace(GATEWAY_PATH, DEFAULTS)
    body, _ = encapsulate_request(fetch_key(gateway), serialize_request(make_request(b"")))
    assert fetch(url, "POST", fields={"content-type": OHTTP_REQ}, body=body).status == 400


def make_for_defaults(content: bytes, path: str) -> Request:
    """Return a request for the one host that openpcc's gateway serves at first, or for ours."""
    request = make_request(content)
    return replace(request, authority=b"ohttp.invalid") if path == DEFAULTS else request


def fetch_key(url: str, kem: int = hpke.KEM_X25519) -> KeyConfig:
    """Return the key of a gateway for this KEM and AES-128-GCM."""
    keys = fetch(url, fields={"accept": OHTTP_KEYS})
    return choose(parse_key_configs(keys.body), kem, hpke.KDF_HKDF_SHA256, hpke.AEAD_AES_128_GCM)


def post_chunks(
    url: str, config: KeyConfig, pieces: Iterable[bytes], last: bytes | None = b""
) -> tuple[Answered, chunked.ResponseOpener]:
    """Send a request in just these chunks, also those that our sealer refuses, and with `None` for no final one."""
    prefix, context, secret = start_request(config, chunked.CHUNKED, hpke.KDF_HKDF_SHA256, hpke.AEAD_AES_128_GCM)
    body = [prefix, *(Writer().varvec(context.seal(b"", piece)).getvalue() for piece in pieces)]
    if last is not None:
        body.append(b"\0" + context.seal(chunked.FINAL, last))
    fields = {"content-type": OHTTP_CHUNKED_REQ, "incremental": "?1"}
    return fetch(url, "POST", fields=fields, body=iter(body)), chunked.ResponseOpener(secret)


def opened(answer: Answered, opener: chunked.ResponseOpener) -> Response:
    """Return what an answer in chunks holds."""
    assert (answer.status, answer.kind) == (200, OHTTP_CHUNKED_RES), answer
    return parse_response(b"".join([*opener.feed(answer.body), opener.finish()]))
