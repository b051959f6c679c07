"""What holds with every other making of Oblivious HTTP, as client and as gateway, whole (RFC 9458) and chunked."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import pytest

from seclude.bhttp import Field, Informational, Request, Response, serialize_request, serialize_response
from tests.interop.ours import AEADS, AES, CHUNKED, WHOLE, ask, echo, library_gateway
from tests.interop.peers import Peer, PeerFailedError, record, recorded
from tests.running import Running

MESSAGES: Final = [{"sender": "Ana", "text": "We decided to meet at 9 on Saturday."}, {"sender": "Ben", "text": "ok!"}]
CLIENT: Final = "client of our relay, gateway and worker"
CLIENT_OF_LIBRARY: Final = "client of our library"
GATEWAYS: Final = {"library": "gateway of our library", "relay": "gateway of our library, behind our relay"}

PADDING: Final = 1000  # octets of zeros, as our worker fills the bucket of a short answer
LONG: Final = 50_000  # octets of content that need more than one of the largest chunks

WRITERS: Final[Mapping[str, Callable[[Response], bytes]]] = {
    "known length": serialize_response,
    "known length, padded": lambda response: serialize_response(response, padding=PADDING),
    "indeterminate length": lambda response: serialize_response(response, indeterminate=True),
    "indeterminate length, padded": lambda response: serialize_response(response, indeterminate=True, padding=PADDING),
    "two parts, the first informational": lambda response: serialize_response(
        replace(response, informational=(Informational(103, (Field(b"link", b"</style.css>"),)),))
    ),
    "50,000 octets": lambda response: serialize_response(replace(response, content=response.content + b"." * LONG)),
}

each_form = pytest.mark.parametrize("form", [WHOLE, CHUNKED])
each_aead = pytest.mark.parametrize("aead", list(AEADS))


class Suite:
    """Collected where a module has a fixture `peer` of its own, which builds it."""

    @pytest.fixture(autouse=True)
    def form_is_spoken(self, peer: Peer, form: str) -> None:
        """Leave out what a peer does not speak at all."""
        if form not in peer.forms:
            record(peer.name, peer.version, form, "not spoken", role="client and gateway")
            pytest.skip(f"{peer.name} speaks no {form}")

    @each_form
    @each_aead
    def test_its_client_gets_a_summary(self, peer: Peer, stack: Running, form: str, aead: str) -> None:
        fault = peer.faults.get((form, aead))
        with recorded(peer, CLIENT, f"{form}: {aead}", fault.why if fault else "works"):
            if fault is not None:
                with pytest.raises(PeerFailedError, match=fault.says):
                    peer.ask(stack.relay_url, "/v1/summarize", {"messages": MESSAGES}, form, aead)
                return
            status, body = peer.ask(stack.relay_url, "/v1/summarize", {"messages": MESSAGES}, form, aead)
            assert status == 200
            answer = json.loads(body)
            assert answer["kind"] == "highlights"
            assert "9 on Saturday" in answer["text"]

    @each_form
    def test_its_client_can_read_a_sealed_error(self, peer: Peer, stack: Running, form: str) -> None:
        with recorded(peer, CLIENT, f"{form}: an error inside"):
            status, body = peer.ask(stack.relay_url, "/v1/nothing", {}, form)
            assert status == 404
            assert json.loads(body)["status"] == 404

    @each_form
    @pytest.mark.parametrize("written", list(WRITERS))
    def test_its_client_reads_every_form_of_answer(self, peer: Peer, form: str, written: str) -> None:
        def answer(request: Request) -> bytes:
            return WRITERS[written](Response(200, (Field(b"content-type", b"text/plain"),), echo(request)))

        with recorded(peer, CLIENT_OF_LIBRARY, f"{form}, answers of: {written}"), library_gateway(answer) as url:
            status, body = peer.ask(url, "/echo", "to and fro", form)
            assert (status, body.rstrip(".")) == (200, 'POST /echo "orf dna ot"')

    @each_form
    @each_aead
    def test_its_gateway_answers_our_client(self, peer: Peer, relay: str, form: str, aead: str) -> None:
        request = make_request(b"to and fro")
        with recorded(peer, GATEWAYS["relay"], f"{form}: {aead}"):
            response = ask(relay, serialize_request(request), form, aead)
            assert (response.status, response.content) == (200, echo(request))

    @each_form
    @pytest.mark.parametrize("indeterminate", [False, True])
    @pytest.mark.parametrize("padding", [0, PADDING])
    @pytest.mark.parametrize("content", [b"", b"to and fro", b"to and fro " * (LONG // 11)])
    def test_its_gateway_reads_every_form_of_request(
        self, peer: Peer, gateway: str, form: str, indeterminate: bool, padding: int, content: bytes
    ) -> None:
        request = make_request(content)
        length = "indeterminate length" if indeterminate else "known length"
        what = f"{form}, requests of: {length}" + ", padded" * bool(padding)
        with recorded(peer, GATEWAYS["library"], what):
            message = serialize_request(request, indeterminate=indeterminate, padding=padding)
            response = ask(gateway, message, form, AES)
            assert (response.status, response.content) == (200, echo(request))


def make_request(content: bytes) -> Request:
    """Return a request as a device makes it."""
    return Request(b"POST", b"https", b"target.example", b"/echo", (Field(b"content-type", b"text/plain"),), content)
