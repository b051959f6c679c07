"""Our side of the talk with other makings: a client and a gateway that are the library alone, over plain HTTP."""

import http.client
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final, Protocol
from urllib.parse import urlsplit

from seclude import hpke
from seclude.bhttp import Request, Response, parse_request, parse_response
from seclude.ohttp.chunked import MAX_CHUNK, RequestOpener, encapsulate_chunked
from seclude.ohttp.encapsulation import HeldKey, decapsulate, encapsulate_request
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms, choose, parse_key_configs, serialize_key_configs
from seclude.ohttp.media import (
    GATEWAY_PATH,
    OHTTP_CHUNKED_REQ,
    OHTTP_CHUNKED_RES,
    OHTTP_KEYS,
    OHTTP_REQ,
    OHTTP_RES,
)

WHOLE: Final = "RFC 9458"
CHUNKED: Final = "chunked"
AES: Final = "AES-128-GCM"
CHACHA: Final = "ChaCha20-Poly1305"
AEADS: Final[Mapping[str, int]] = {AES: hpke.AEAD_AES_128_GCM, CHACHA: hpke.AEAD_CHACHA20_POLY1305}

PATIENCE: Final = 30.0  # seconds for one program to start, to answer or to end
PIECE: Final = 100  # octets of a chunk, so that even a small message has several
XWING: Final = 0x647A  # listed first, as a device of ours prefers it: a peer must look further

Answer = Callable[[Request], bytes]


@dataclass(frozen=True)
class Answered:
    """An HTTP answer."""

    status: int
    kind: str
    body: bytes


class Sealing(Protocol):
    """Either sealer of chunks."""

    def seal(self, piece: bytes) -> bytes:
        """Return the octets that carry a piece."""

    def finish(self, piece: bytes = b"") -> bytes:
        """Return the octets that carry the last piece."""


def fetch(
    url: str, method: str = "GET", *, fields: Mapping[str, str] | None = None, body: bytes | Iterator[bytes] = b""
) -> Answered:
    """Exchange one HTTP message; a body in pieces is sent in HTTP's own chunks."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request(method, parts.path, body=body or None, headers=dict(fields or {}))
        answer = connection.getresponse()
        return Answered(answer.status, answer.getheader("content-type", ""), answer.read())
    finally:
        connection.close()


def echo(request: Request) -> bytes:
    """Return the content that a peer's gateway answers with, of what only a reader of the whole request can know."""
    return request.method + b" " + request.path + b" " + request.content[::-1]


def seal_pieces(sealer: Sealing, message: bytes) -> Iterator[bytes]:
    """Seal a message in chunks: small ones, or for a long message the largest, and an empty one at the end."""
    size = PIECE if len(message) < MAX_CHUNK else MAX_CHUNK
    for at in range(0, len(message), size):
        yield sealer.seal(message[at : at + size])
    yield sealer.finish()


def ask(url: str, message: bytes, form: str, aead: str) -> Response:
    """Ask as a device of ours does that chose X25519 and this AEAD from the list of keys."""
    keys = fetch(url, fields={"accept": OHTTP_KEYS})
    assert (keys.status, keys.kind) == (200, OHTTP_KEYS)
    config = choose(parse_key_configs(keys.body), hpke.KEM_X25519, hpke.KDF_HKDF_SHA256, AEADS[aead])
    if form == WHOLE:
        body, opener = encapsulate_request(config, message, aead=AEADS[aead])
        answer = fetch(url, "POST", fields={"content-type": OHTTP_REQ}, body=body)
        assert (answer.status, answer.kind) == (200, OHTTP_RES), answer
        return parse_response(opener.open(answer.body))
    sealer, chunks = encapsulate_chunked(config, aead=AEADS[aead])
    fields = {"content-type": OHTTP_CHUNKED_REQ, "incremental": "?1"}
    answer = fetch(url, "POST", fields=fields, body=seal_pieces(sealer, message))
    assert (answer.status, answer.kind) == (200, OHTTP_CHUNKED_RES), answer
    return parse_response(b"".join([*chunks.feed(answer.body), chunks.finish()]))


class Library:
    """A gateway that holds its keys itself: what it lists, and what it answers to one sealed request."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        private_key = hpke.PrivateKey.generate(hpke.KEM_X25519)
        suites = tuple(SymmetricAlgorithms(hpke.KDF_HKDF_SHA256, aead) for aead in AEADS.values())
        config = KeyConfig(7, hpke.KEM_X25519, private_key.public_key, suites)
        self.keys: Final = serialize_key_configs((KeyConfig(8, XWING, bytes(1216), suites), config))
        self._held = {config.key_id: HeldKey(config, private_key)}

    def post(self, kind: str, pieces: Iterable[bytes]) -> tuple[str, Iterator[bytes]]:
        """Return the media type and the pieces of the answer to a request that comes in pieces."""
        if kind == OHTTP_REQ:
            opened = decapsulate(b"".join(pieces), self._held)
            return OHTTP_RES, iter([opened.sealer.seal(self._answer(parse_request(opened.message)))])
        assert kind == OHTTP_CHUNKED_REQ
        opener = RequestOpener(self._held)
        message = b"".join(opened for piece in pieces for opened in opener.feed(piece)) + opener.finish()
        return OHTTP_CHUNKED_RES, seal_pieces(opener.sealer(), self._answer(parse_request(message)))


@contextmanager
def library_gateway(answer: Answer) -> Iterator[str]:
    """Serve with our library alone, where `answer` makes every Binary HTTP response; yields the URL."""
    library = Library(answer)

    class Handler(_Handler):
        gateway = library

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False  # closing the server waits for them
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{GATEWAY_PATH}"
    finally:
        server.shutdown()
        thread.join(PATIENCE)
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    gateway: Library

    def do_GET(self) -> None:
        """Answer with the list of keys."""
        self._send(OHTTP_KEYS, [self.gateway.keys])

    def do_POST(self) -> None:
        """Answer with what the library seals."""
        self._send(*self.gateway.post(self.headers["content-type"], self._pieces()))

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing: a request that fails shows in the test."""

    def _send(self, kind: str, pieces: Iterable[bytes]) -> None:
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.send_header("connection", "close")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _pieces(self) -> Iterator[bytes]:
        if "transfer-encoding" not in self.headers:
            yield self.rfile.read(int(self.headers["content-length"]))
            return
        while length := int(self.rfile.readline(), 16):
            yield self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
