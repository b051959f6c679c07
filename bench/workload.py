"""The requests of a load, every one different, and the look at what came back.

A request is whole when it is sent: head and body in one piece. What is wrong with an answer is named in one word or
two, and counted under that name.
"""

import os
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from typing import Final, Protocol
from urllib.parse import urlsplit

from bench.chats import chat
from bench.hearing import Hearing, Shell
from bench.job import WorkloadSpec
from bench.questions import question
from seclude import bhttp
from seclude.chat import CHAT_PATH
from seclude.errors import DecodeError, OpenError
from seclude.ohttp.chunked import MAX_CHUNK, ResponseOpener, encapsulate_chunked
from seclude.ohttp.encapsulation import encapsulate_request
from seclude.ohttp.keyconfig import KeyConfig, parse_key_config
from seclude.ohttp.media import EVENT_STREAM, OHTTP_CHUNKED_REQ, OHTTP_REQ
from seclude.padding import pad
from seclude.tasks import JSON, SUMMARIZE_PATH

Check = Callable[[bytes], str | None]
"""Says what is wrong with the body of an answer with status 200, or nothing."""

NOT_OPENED: Final = "not opened"
EMPTY: Final = "empty answer"


class Workload(Protocol):
    """Gives one request after the other."""

    def prepare(self, count: int) -> None:
        """Make so many requests in advance, if they are made in advance."""
        ...

    def request(self) -> tuple[bytes, Check]:
        """Return the next one; raises IndexError where what was prepared is used up."""
        ...


def build(spec: WorkloadSpec, url: str, index: int, generators: int) -> Workload:
    """Return the workload of one of several generators."""
    match spec.kind:
        case "opaque":
            return Opaque(spec, url)
        case "plain":
            return Plain(spec, url, index, generators)
        case "encapsulated":
            return Encapsulated(spec, url, index, generators)


def asked(spec: WorkloadSpec, number: int) -> tuple[str, bytes]:
    """Return path and content of one request inside."""
    if spec.model:
        return CHAT_PATH, question(spec.seed, number, spec.model, spec.tokens)
    return SUMMARIZE_PATH, chat(spec.seed, number)


def not_empty(body: bytes) -> str | None:
    """Want some octets."""
    return None if body else EMPTY


class Opaque:
    """Octets that look like an encapsulated request to everyone who has no key; no two have the same `enc`."""

    def __init__(self, spec: WorkloadSpec, url: str) -> None:
        header = _opaque_header(spec.key_config)
        self._head = head_of(url, OHTTP_REQ, spec.body_bytes) + header + os.urandom(16)
        self._tail = os.urandom(spec.body_bytes - len(header) - 32)
        self._number = int.from_bytes(os.urandom(12))

    def prepare(self, count: int) -> None:
        """Cheap enough to be made when needed."""

    def request(self) -> tuple[bytes, Check]:
        """Return the next request."""
        self._number += 1
        return self._head + self._number.to_bytes(16) + self._tail, not_empty


class Plain:
    """The task in plain JSON, as a worker without encryption would take it."""

    def __init__(self, spec: WorkloadSpec, url: str, index: int, generators: int) -> None:
        self._spec = spec
        self._number, self._step = index, generators
        self._head = partial(head_of, url, JSON, accept=EVENT_STREAM if spec.streamed else None)

    def prepare(self, count: int) -> None:
        """Cheap enough to be made when needed."""

    def request(self) -> tuple[bytes, Check]:
        """Return the next request."""
        _, content = asked(self._spec, self._number)
        self._number += self._step
        return self._head(len(content)) + content, Hearing() if self._spec.model else not_empty


class Encapsulated:
    """The task as a device sends it: Binary HTTP in a new HPKE context each time."""

    def __init__(self, spec: WorkloadSpec, url: str, index: int, generators: int) -> None:
        self._spec = spec
        self._head = partial(head_of, url, OHTTP_CHUNKED_REQ if spec.streamed else OHTTP_REQ)
        self._origin = spec.origin.encode()
        self._config = parse_key_config(spec.key_config)
        self._number, self._step = index, generators
        self._ready: list[tuple[bytes, Check]] = []

    def prepare(self, count: int) -> None:
        """Encapsulate so many; they are sent in the order in which they were made."""
        if not self._spec.inline:
            self._ready = [self._next() for _ in range(count)]
            self._ready.reverse()

    def request(self) -> tuple[bytes, Check]:
        """Return the next request."""
        return self._next() if self._spec.inline else self._ready.pop()

    def _next(self) -> tuple[bytes, Check]:
        path, content = asked(self._spec, self._number)
        self._number += self._step
        fields = [bhttp.Field(b"content-type", JSON.encode()), bhttp.Field(b"date", formatdate(usegmt=True).encode())]
        if self._spec.streamed:
            fields.append(bhttp.Field(b"accept", EVENT_STREAM.encode()))
        inner = bhttp.Request(b"POST", b"https", self._origin, path.encode(), tuple(fields), content)
        message = bhttp.serialize_request(inner)
        message = pad(message) if self._spec.padded else message
        ask = spoken if self._spec.model else in_chunks if self._spec.streamed else at_once
        body, check = ask(self._config, message)
        return self._head(len(body)) + body, check


def at_once(config: KeyConfig, message: bytes) -> tuple[bytes, Check]:
    """Encapsulate a request, and return what opens its answer."""
    body, opener = encapsulate_request(config, message)
    return body, lambda answer: _look_into(lambda: opener.open(answer))


def in_chunks(config: KeyConfig, message: bytes) -> tuple[bytes, Check]:
    """Encapsulate a request in chunks, and return what opens its answer."""
    body, opener = _chunked(config, message)
    return body, lambda answer: _look_into(lambda: b"".join([*opener.feed(answer), opener.finish()]))


def spoken(config: KeyConfig, message: bytes) -> tuple[bytes, Hearing]:
    """Encapsulate a request in chunks, and return what opens its answer as it comes."""
    body, opener = _chunked(config, message)
    return body, Hearing(Shell(opener.feed, opener.finish))


def _chunked(config: KeyConfig, message: bytes) -> tuple[bytes, ResponseOpener]:
    sealer, opener = encapsulate_chunked(config)
    pieces = [message[at : at + MAX_CHUNK] for at in range(0, len(message), MAX_CHUNK)]
    return b"".join([*map(sealer.seal, pieces[:-1]), sealer.finish(pieces[-1])]), opener


def _look_into(opening: Callable[[], bytes]) -> str | None:
    """Say what is wrong with an encapsulated answer."""
    try:
        answer = bhttp.parse_response(opening())
    except (OpenError, DecodeError):
        return NOT_OPENED
    if answer.status != 200:
        return f"inner status {answer.status}"
    return not_empty(answer.content)


def head_of(url: str, content_type: str, length: int, *, accept: str | None = None) -> bytes:
    """Return the head of a POST."""
    parts = urlsplit(url)
    wanted = "" if accept is None else f"Accept: {accept}\r\n"
    return (
        f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {length}\r\n{wanted}\r\n"
    ).encode()


def _opaque_header(key_config: bytes) -> bytes:
    config: KeyConfig | None = parse_key_config(key_config) if key_config else None
    key_id, kem = (config.key_id, config.kem) if config else (1, 0x0020)
    return bytes([key_id]) + kem.to_bytes(2) + b"\0\1\0\1"
