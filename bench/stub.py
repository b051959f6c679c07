"""A neighbour that costs next to nothing: answers as a gateway and as a worker would, with octets made at the start.

    python -m bench.stub --listen 127.0.0.1:0 --admin 127.0.0.1:0 --announce FD

It knows the pool's messages just well enough that a gateway counts it in and a relay finds keys. It has no limits, no
timeouts and no cryptography, and opens nothing: it is there to be cheaper than whatever is measured in front of it.
"""

import argparse
import asyncio
import os
import signal
from collections.abc import Sequence
from typing import Final, cast

import httptools
import uvloop

from seclude.attestation.bundle import Bundle, Core, core_digest, serialize_bundle, serialize_core
from seclude.attestation.slots import x25519_key_id, xwing_key_id
from seclude.daemon.lifecycle import announce
from seclude.hpke import KEM_X25519, KEM_XWING
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms, serialize_key_configs
from seclude.ohttp.media import GATEWAY_PATH, KEY_BUNDLE, OHTTP_KEYS, OHTTP_RES
from seclude.pool import JSON, Held, Message, Status, parse_birth, serialize_status

ANSWER_BYTES: Final = 1100  # 1 KiB and what an encapsulation adds to an answer
# What the Rust `ohttp-relay` asks a gateway before it forwards anything: a list with the one purpose that it serves.
PURPOSES_PATH: Final = f"{GATEWAY_PATH}?allowed_purposes"
PURPOSES: Final = "application/x-ohttp-allowed-purposes"
PURPOSE: Final = b"BIP77 454403bb-9f7b-4385-b31f-acd2dae20b7e"
LARGE_REQUEST_BYTES: Final = 4096  # a body beyond this asks for the large answer, for those who then do not read it
LARGE_ANSWER_BYTES: Final = 3 << 20  # somewhat more than the kernel takes for a client that does not read (tcp(7))
PUBLIC_KEY: Final = bytes(range(1, 33))  # of nobody
XWING_PUBLIC_KEY: Final = bytes(1216)  # of nobody either: as long as a worker's, so that bundles are as large


class Answers:
    """The octets that it answers with."""

    def __init__(self, answer_bytes: int) -> None:
        self._bundles: dict[int, tuple[str, bytes]] = {}
        self._encapsulated = http(200, OHTTP_RES, os.urandom(answer_bytes))
        self._large = http(200, OHTTP_RES, bytes(LARGE_ANSWER_BYTES))

    def find(self, method: bytes, path: bytes, body: Sequence[bytes]) -> bytes:
        """Return the whole answer to a request."""
        if path in (Message.REQUEST.encode(), GATEWAY_PATH.encode()) and method == b"POST":
            return self._encapsulated if sum(map(len, body)) <= LARGE_REQUEST_BYTES else self._large
        if path == GATEWAY_PATH.encode():
            return http(200, OHTTP_KEYS, serialize_key_configs(key_configs(0)))  # as one that never looks at Accept
        if path == PURPOSES_PATH.encode():
            return http(200, PURPOSES, b"\0\1" + bytes([len(PURPOSE)]) + PURPOSE)
        if path == Message.STATUS.encode():
            return http(200, JSON, self._status())
        if path == Message.BIRTH.encode():
            return http(200, KEY_BUNDLE, self._birth(parse_birth(b"".join(body)).epoch))
        return http(404, JSON, b"{}")

    def _birth(self, epoch: int) -> bytes:
        if epoch not in self._bundles:
            configs = serialize_key_configs(key_configs(epoch))
            core = serialize_core(Core("worker", "stub.invalid", epoch, configs, bytes(32), b"none", b"none"))
            self._bundles[epoch] = core_digest(core).hex(), serialize_bundle(Bundle(core, b"none"))
        return self._bundles[epoch][1]

    def _status(self) -> bytes:
        epochs = tuple(
            Held(epoch, core, frozenset({xwing_key_id(epoch), x25519_key_id(epoch)}))
            for epoch, (core, _) in self._bundles.items()
        )
        return serialize_status(Status(bool(epochs), () if epochs else ("no epoch",), "00" * 32, epochs))


class Connection(asyncio.Protocol):
    """Answers request after request."""

    __slots__ = ("_answers", "_body", "_parser", "_path", "_transport")

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._body: list[bytes] = []
        self._path = b""
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's

    def data_received(self, data: bytes) -> None:
        """Read on."""
        assert self._transport is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_url(self, url: bytes) -> None:
        """Take the path (llhttp)."""
        self._path = url
        self._body.clear()

    def on_body(self, body: bytes) -> None:
        """Keep the body, which only a birth looks at (llhttp)."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Answer (llhttp)."""
        assert self._transport is not None
        self._transport.write(self._answers.find(self._parser.get_method(), self._path, self._body))


def key_config(epoch: int) -> KeyConfig:
    """Return the configuration that requests for a stub name; nobody has its private key."""
    return key_configs(epoch)[1]


def key_configs(epoch: int) -> tuple[KeyConfig, KeyConfig]:
    """Return what a stub publishes, in the order in which a worker does."""
    pairs = (SymmetricAlgorithms(1, 1),)
    xwing = KeyConfig(xwing_key_id(epoch), KEM_XWING, XWING_PUBLIC_KEY, pairs)
    return xwing, KeyConfig(x25519_key_id(epoch), KEM_X25519, PUBLIC_KEY, pairs)


def http(status: int, kind: str, body: bytes) -> bytes:
    """Write one answer."""
    return f"HTTP/1.1 {status} OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def serve(flags: argparse.Namespace) -> None:
    """Answer until SIGTERM."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    answers = Answers(flags.answer_bytes)
    host, _, port = flags.listen.rpartition(":")
    server = await loop.create_server(lambda: Connection(answers), host, int(port), backlog=4096)
    bound = "{}:{}".format(*server.sockets[0].getsockname()[:2])
    announce(flags.announce, listen=bound, admin=bound)
    await ended.wait()
    server.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one stub."""
    parser = argparse.ArgumentParser(prog="bench.stub")
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--admin", help="ignored: a stub is ready as soon as it listens")
    parser.add_argument("--announce", type=int)
    parser.add_argument("--answer-bytes", type=int, default=ANSWER_BYTES)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
