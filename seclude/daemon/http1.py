"""HTTP/1.1 messages as a hop reads them (RFC 9112): llhttp parses, and what it lets pass too easily is refused.

Pure: octets in, values out. Only the fields named here are ever looked at; all others are dropped while they are
parsed, so nothing a peer sent can be passed on by mistake. A reader is for one message. It is fed, then looked at.
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

import httptools

from seclude.errors import DecodeError
from seclude.ohttp.media import media_type

HEAD_END: Final = b"\r\n\r\n"
MAX_CHUNK_LINE: Final = 1 << 10  # octets between two pieces of a chunked body; a size and no extension has ten

_DECIDING: Final = {  # fields of a request that say what it is and where it ends; each may stand once
    b"host": "host",
    b"content-type": "type",
    b"content-length": "length",
    b"accept": "accept",
    b"connection": "connection",
    b"transfer-encoding": "coding",
    b"expect": "expect",  # RFC 9458, section 5.1: a gateway that does not support it responds with an error
    b"upgrade": "refused",  # what follows would be something else than the next server takes it for
    b"transfer_encoding": "refused",  # read as the real ones by servers that map "-" to "_"
    b"content_length": "refused",
}
_TOLD: Final = {  # fields of an answer that are looked at
    b"content-type": "type",
    b"content-length": "length",
    b"transfer-encoding": "coding",
    b"connection": "connection",
    b"retry-after": "later",
    b"cache-control": "caching",
}
# What must not come after a body: framing, routing, conditions, authentication and the content's own description (RFC
# 9110, section 6.5.1). Other trailers are dropped like other fields.
_NO_TRAILERS: Final = _DECIDING.keys() | {
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-range",
    b"cookie",
    b"max-forwards",
    b"proxy-authorization",
    b"range",
    b"set-cookie",
    b"te",
    b"trailer",
}
_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_STATUS_PLACE: Final = len("HTTP/1.1 ")
PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


class HeadError(DecodeError):
    """Raised when a head is refused; `answer` is the status to refuse it with."""

    def __init__(self, message: str, answer: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.answer = answer


class _Fields(dict[bytes, bytes]):
    """What llhttp finds. Of several lines of one field the first counts; whoever minds looks for the others."""

    on_header = dict.setdefault  # no frame of Python for each field, most of which nobody wants to know
    url = b""

    def on_url(self, url: bytes) -> None:
        self.url += url


class Chunks:
    """A chunked body (RFC 9112, section 7.1), read by the parser that has read its head."""

    ended = False
    extra = False
    """Whether an octet of another message came behind it."""
    _idle = 0  # octets since the last one of the body

    def __init__(self, kind: "type[httptools.HttpRequestParser | httptools.HttpResponseParser]", head: bytes) -> None:
        self._pieces: list[bytes] = []
        self._forbidden = False
        self._parser = kind(self)
        self._parser.feed_data(head)
        self._forbidden = False  # so far these were the fields of the head

    def feed(self, data: bytes) -> bytes:
        """Return what `data` adds to the body; raises DecodeError for wrong framing and forbidden trailers."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if not self.extra:  # what follows the body is no part of it, and is not read
                raise DecodeError("broken body") from None
        if self._forbidden and not self.extra:
            raise DecodeError("a field that must not be a trailer")
        piece = b"".join(self._pieces)
        self._pieces.clear()
        self._idle = 0 if piece else self._idle + len(data)
        if self._idle > MAX_CHUNK_LINE:
            raise DecodeError("a chunk extension without end")
        return piece

    def on_message_begin(self) -> None:
        self.extra = self.ended

    def on_header(self, name: bytes, value: bytes) -> None:
        self._forbidden |= name.lower() in _NO_TRAILERS

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        self.ended = True


class RequestHead:
    """The head of one request."""

    content_length: int | None = 0
    """Octets of the body; None where it is chunked."""

    def __init__(self, head: bytes, max_fields: int) -> None:
        """Read a head up to its empty line; raises HeadError."""
        fields = _Fields()
        parser = httptools.HttpRequestParser(fields)
        _feed(parser, head)
        lines = head.count(b"\n") - 2
        if lines > max_fields:
            raise HeadError("too many fields", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        version: str = parser.get_http_version()
        self.raw: Final = head
        self.is_http11: Final = version == "1.1"
        self.keep_alive = self.is_http11
        self.method: Final[str] = parser.get_method().decode("ascii")
        if version not in ("1.1", "1.0") or self.method == "CONNECT":
            raise HeadError("not served here")
        self.path: Final = _path(fields.url.decode("ascii"))  # llhttp lets nothing else through
        found = _deciding(fields.items() if lines == len(fields) else _lines(head))
        if "host" not in found and self.is_http11:  # RFC 9112, section 3.2
            raise HeadError("no host")
        self.content_type: Final = _text(found.get("type"))
        self.media_type: Final = media_type(self.content_type)
        self.accept: Final = _text(found.get("accept"))
        self._take_framing(found)

    def chunks(self) -> Chunks:
        """Return what reads the body, where it is chunked."""
        return Chunks(httptools.HttpRequestParser, self.raw)

    def _take_framing(self, found: Mapping[str, bytes]) -> None:
        if "expect" in found:
            raise HeadError("an expectation", HTTPStatus.EXPECTATION_FAILED)
        if "refused" in found:
            raise HeadError("a field that two servers may read in two ways")
        if "connection" in found:
            self.keep_alive = _keeps_alive(found["connection"], is_http11=self.is_http11)
        if "coding" in found:
            if found["coding"].lower() != b"chunked" or not self.is_http11:  # RFC 9112, sections 6.1 and 6.3
                raise HeadError("a transfer coding that is not chunked alone")
            self.content_length = None
        else:
            self.content_length = int(found.get("length", b"0"))


class AnswerHead:
    """The head of one answer."""

    content_length: int | None = 0
    """Octets of the body; None where it is chunked."""

    def __init__(self, head: bytes) -> None:
        """Read a head up to its empty line; raises DecodeError for what is no answer or has no certain end."""
        fields = _Fields()
        parser = httptools.HttpResponseParser(fields)
        _feed(parser, head)
        found = {kind: value for name, value in fields.items() if (kind := _TOLD.get(name.lower())) is not None}
        is_http11 = parser.get_http_version() == "1.1"
        self.raw: Final = head
        self.status: Final[int] = parser.get_status_code()
        self.keep_alive: Final = _keeps_alive(found.get("connection", b""), is_http11=is_http11)
        self.content_type: Final = _text(found.get("type"))
        self.media_type: Final = media_type(self.content_type)
        self.retry_after: Final = _text(found.get("later"))
        self.cache_control: Final = _text(found.get("caching"))
        self._take_framing(found)
        self.whole_length: Final = None if self.content_length is None else len(head) + self.content_length
        """Octets of the head and the body; None where the body is chunked."""

    def _take_framing(self, found: Mapping[str, bytes]) -> None:
        if self.status in _BODILESS:
            return
        if "coding" in found:
            if found["coding"].lower() != b"chunked":
                raise DecodeError("a transfer coding that is not chunked alone")
            self.content_length = None
        elif "length" in found:
            self.content_length = int(found["length"])
        else:
            raise DecodeError("an answer whose end cannot be told")

    def chunks(self) -> Chunks:
        """Return what reads the body, where it is chunked."""
        return Chunks(httptools.HttpResponseParser, self.raw)


class AnswerReader:
    """One answer, in pieces as they come."""

    head: AnswerHead | None = None
    ended = False
    """Whether the answer is whole."""
    overrun = False
    """Whether octets came behind the end of the answer."""
    _early = b""  # of a head that is not whole
    _left = 0  # octets that a body with a length still has
    _chunks: Chunks | None = None

    def __init__(self, max_head_bytes: int, before: AnswerHead | None) -> None:
        """`before` is the head of the answer before on this connection: one that is the same is not read again."""
        self._max_head_bytes = max_head_bytes
        self._before = before

    def feed(self, data: bytes) -> bytes:
        """Return what `data` adds to the body; raises DecodeError for what is no answer or has no certain end."""
        head = self.head
        if head is None:
            data = self._early + data if self._early else data
            head, data = self._take_head(data)
            if head is None:
                return b""
        if self._chunks is not None:
            piece = self._chunks.feed(data)
            self.ended, self.overrun = self._chunks.ended, self._chunks.extra
            return piece
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data
        self.ended, self.overrun = True, left < 0
        return data if left == 0 else data[:left]

    def _take_head(self, data: bytes) -> tuple[AnswerHead | None, bytes]:
        end = data.find(HEAD_END) + len(HEAD_END)
        # An interim answer says nothing to who expects none (RFC 9110, section 15.2).
        while (
            end >= len(HEAD_END)
            and data[_STATUS_PLACE : _STATUS_PLACE + 1] == b"1"
            and not data.startswith(b"HTTP/1.1 101")
        ):
            data = data[end:]
            end = data.find(HEAD_END) + len(HEAD_END)
        whole = end >= len(HEAD_END)
        if (end if whole else len(data)) > self._max_head_bytes:
            raise DecodeError("a head without end")
        if not whole:
            self._early = data
            if not b"HTTP/1.".startswith(data[:7]):
                raise DecodeError("not HTTP/1.1")
            return None, b""
        raw = data[:end]
        before = self._before
        head = self.head = before if before is not None and before.raw == raw else AnswerHead(raw)
        if head.content_length is None:
            self._chunks = head.chunks()
        else:
            self._left = head.content_length
        return head, data[end:]


def _feed(parser: "httptools.HttpRequestParser | httptools.HttpResponseParser", head: bytes) -> None:
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        raise HeadError("an upgrade") from None
    except httptools.HttpParserError:
        raise HeadError("not HTTP/1.1") from None


def _deciding(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, bytes]:
    """Return the fields that decide, by what they decide; raises HeadError where one stands twice."""
    found: dict[str, bytes] = {}
    for name, value in fields:
        kind = _DECIDING.get(name.lower())
        if kind is not None:
            if kind in found:
                raise HeadError("a field that decides stands twice")
            found[kind] = value
    return found


def _lines(head: bytes) -> list[tuple[bytes, bytes]]:
    """Return every field line of a head that llhttp has read, for one in which a name stands more than once."""
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:-2]]
    return [(name, value.strip(b" \t")) for name, _, value in lines]


def _keeps_alive(connection: bytes, *, is_http11: bool) -> bool:
    """Whether another message may follow on the connection (RFC 9112, section 9.3)."""
    options = connection.lower()
    return b"close" not in options and (is_http11 or b"keep-alive" in options)


def _path(target: str) -> str:
    """Return the path of a request target in origin or absolute form (RFC 9112, section 3.2), without its query."""
    if target.startswith("/"):
        return target.partition("?")[0] if "?" in target else target
    _, scheme_end, rest = target.partition("://")
    if not scheme_end:
        raise HeadError("not a path")
    return "/" + rest.partition("/")[2].partition("?")[0]


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
