"""HTTP messages as bytes (RFC 9292), known and indeterminate length.

A serializer refuses with UsageError what a parser refuses with DecodeError, so nothing of ours can smuggle a line
break. Stricter than the RFC in two points: every pseudo-field is invalid, not only those that it lists, and so is
CONNECT, which has no path. The messages are what people write: their `repr` shows nothing of them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from seclude.errors import DecodeError, Error, TooLargeError, UsageError
from seclude.wire import MAX_VARINT, Reader, Writer

KNOWN_REQUEST: Final = 0
KNOWN_RESPONSE: Final = 1
INDETERMINATE_REQUEST: Final = 2
INDETERMINATE_RESPONSE: Final = 3

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")  # the same in lower case: RFC 9113, section 8.2.1
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*")  # RFC 3986, section 3.1
_AUTHORITY: Final = re.compile(rb"[!-~]*")  # visible ASCII; may be empty (RFC 9292, section 3.4)
_NOT_AUTHORITY: Final = re.compile(rb"[/?#@\\]")  # where it would end, and user information (RFC 9113, section 8.3.1)
_PATH: Final = re.compile(rb"/[!-\"$-~]*")  # visible ASCII without "#", which starts a fragment
_NOT_VALUE: Final = re.compile(rb"[\0\r\n]|\A[ \t]|[ \t]\Z")  # RFC 9113, section 8.2.1

_LINE_OVERHEAD: Final = 16  # a field line has two lengths, each a varint of at most eight octets


@dataclass(frozen=True, slots=True, repr=False)
class Field:
    """A line of a header or trailer section."""

    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """A request; `authority` may be empty."""

    method: bytes
    scheme: bytes
    authority: bytes
    path: bytes
    fields: tuple[Field, ...] = ()
    content: bytes = b""
    trailers: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Informational:
    """A response of status 100 to 199 that came before the final one."""

    status: int
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Response:
    """A final response of status 200 to 599, with those that came before it."""

    status: int
    fields: tuple[Field, ...] = ()
    content: bytes = b""
    trailers: tuple[Field, ...] = ()
    informational: tuple[Informational, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a message may hold; more raises TooLargeError. Padding is bounded by whoever received the bytes."""

    control_bytes: int = 8192
    """Octets of each of method, scheme, authority and path: the 8000 that RFC 9110, section 4.1, recommends."""
    fields: int = 64
    """Field lines of all sections together: our messages carry about five, a browser's about thirty."""
    fields_bytes: int = 16384
    """Octets of all names and values together: what common servers allow a header section."""
    content_bytes: int | None = 1 << 20
    """Octets: a long conversation is some 100 KiB of text, ten times less. None if a reader keeps no content."""
    informational: int = 8
    """Informational responses: 100, 102 and 103 are all there are, and only the last two could repeat."""

    @property
    def most_content(self) -> int:
        """The octets of content that may come: without a limit, what a length can say."""
        return MAX_VARINT if self.content_bytes is None else self.content_bytes


DEFAULT_LIMITS: Final = Limits()


def get(fields: Iterable[Field], name: bytes) -> bytes | None:
    """Return the value of a field, joined by commas where its name is repeated (RFC 9110, section 5.2).

    A repeated field that should stand alone thus fails to parse instead of leaving a choice between two values.
    """
    values = [field.value for field in fields if field.name == name]
    return b", ".join(values) if values else None


def parse_request(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Request:
    """Read a request of either form; anything invalid raises DecodeError (RFC 9292, section 4)."""
    reader = Reader(data)
    framing = reader.varint("framing indicator")
    if framing not in (KNOWN_REQUEST, INDETERMINATE_REQUEST):
        raise DecodeError("framing indicator is not a request's")
    method, scheme, authority, path = (
        reader.varvec(field, limits.control_bytes) for field in ("method", "scheme", "authority", "path")
    )
    check_control(method, scheme, authority, path, DecodeError)
    sections = _SectionReader(reader, framing == INDETERMINATE_REQUEST, limits)
    fields, content, trailers = sections.read_to_end()
    return Request(method, scheme, authority, path, fields, content, trailers)


def parse_response(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Response:
    """Read a response of either form; anything invalid raises DecodeError (RFC 9292, section 4)."""
    reader = Reader(data)
    framing = reader.varint("framing indicator")
    if framing not in (KNOWN_RESPONSE, INDETERMINATE_RESPONSE):
        raise DecodeError("framing indicator is not a response's")
    sections = _SectionReader(reader, framing == INDETERMINATE_RESPONSE, limits)
    informational: list[Informational] = []
    while (status := reader.varint("status")) < 200:
        check_status(status, 100, 199, DecodeError)
        if len(informational) == limits.informational:
            raise TooLargeError(f"more than {limits.informational} informational responses")
        informational.append(Informational(status, sections.fields("informational fields")))
    check_status(status, 200, 599, DecodeError)
    fields, content, trailers = sections.read_to_end()
    return Response(status, fields, content, trailers, tuple(informational))


def serialize_request(message: Request, *, indeterminate: bool = False, padding: int = 0) -> bytes:
    """Write a request, then `padding` zero octets."""
    check_control(message.method, message.scheme, message.authority, message.path, UsageError)
    writer = Writer().varint(INDETERMINATE_REQUEST if indeterminate else KNOWN_REQUEST)
    for part in (message.method, message.scheme, message.authority, message.path):
        writer.varvec(part)
    _write_to_end(writer, message, indeterminate, padding)
    return writer.getvalue()


def serialize_response(message: Response, *, indeterminate: bool = False, padding: int = 0) -> bytes:
    """Write a response, then `padding` zero octets."""
    writer = Writer().varint(INDETERMINATE_RESPONSE if indeterminate else KNOWN_RESPONSE)
    for interim in message.informational:
        check_status(interim.status, 100, 199, UsageError)
        write_fields(writer.varint(interim.status), interim.fields, indeterminate)
    check_status(message.status, 200, 599, UsageError)
    _write_to_end(writer.varint(message.status), message, indeterminate, padding)
    return writer.getvalue()


class FieldBudget:
    """What the field lines of a message may still hold, over all its sections."""

    __slots__ = ("_limits", "_lines_left", "octets_left")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lines_left = limits.fields
        self.octets_left = limits.fields_bytes
        """Of names and values: the most that the value of a line that was begun may take."""

    @property
    def section_bytes(self) -> int:
        """The most that a section of known length may take, lengths included."""
        return self.octets_left + _LINE_OVERHEAD * self._lines_left

    def begin_line(self, name_length: int) -> None:
        """Take one line and its name, before any octet of it is read."""
        if not self._lines_left:
            raise TooLargeError(f"more than {self._limits.fields} field lines")
        self._lines_left -= 1
        if name_length > self.octets_left:
            raise TooLargeError(f"more than {self._limits.fields_bytes} octets of field lines")
        self.octets_left -= name_length

    def end_line(self, name: bytes, value: bytes) -> Field:
        """Return the line that was begun, once its value was read."""
        self.octets_left -= len(value)
        field = Field(name, value)
        check_field(field, DecodeError)
        return field


class _SectionReader:
    """Reads what follows the control data, under one budget of field lines for the whole message.

    A section that would be empty may be missing at the end of the message (RFC 9292, section 3.8). The text names
    content and trailers; the examples of RFC 9458 also leave out the header section, so all three may go.
    """

    def __init__(self, reader: Reader, indeterminate: bool, limits: Limits) -> None:
        self._reader = reader
        self._indeterminate = indeterminate
        self._content_bytes = limits.most_content
        self._budget = FieldBudget(limits)

    def read_to_end(self) -> tuple[tuple[Field, ...], bytes, tuple[Field, ...]]:
        """Return header section, content and trailer section; nothing but zeros may follow them."""
        fields = self.fields("header section")
        content = self._content()
        trailers = self.fields("trailer section")
        padding = self._reader.rest()
        if padding.count(0) != len(padding):
            raise DecodeError("padding is not zero")
        return fields, content, trailers

    def fields(self, what: str) -> tuple[Field, ...]:
        """Return the lines of one section."""
        reader = self._reader
        if not reader.remaining:
            return ()
        lines: list[Field] = []
        if self._indeterminate:
            while length := reader.varint(what):
                lines.append(self._line(reader, length))
        else:
            section = Reader(reader.varvec(what, self._budget.section_bytes))
            while section.remaining:
                lines.append(self._line(section, section.varint("field name")))
        return tuple(lines)

    def _line(self, reader: Reader, name_length: int) -> Field:
        self._budget.begin_line(name_length)
        name = reader.take(name_length, "field name")
        return self._budget.end_line(name, reader.varvec("field value", self._budget.octets_left))

    def _content(self) -> bytes:
        reader, limit = self._reader, self._content_bytes
        if not reader.remaining:
            return b""
        if not self._indeterminate:
            return reader.varvec("content", limit)
        content = bytearray()
        while chunk := reader.varvec("content chunk", limit - len(content)):
            content += chunk
        return bytes(content)


def _write_to_end(writer: Writer, message: Request | Response, indeterminate: bool, padding: int) -> None:
    if padding < 0:
        raise UsageError("negative padding")
    write_fields(writer, message.fields, indeterminate)
    writer.varvec(message.content)
    if indeterminate and message.content:
        writer.varint(0)
    write_fields(writer, message.trailers, indeterminate)
    writer.raw(bytes(padding))


def write_fields(writer: Writer, fields: Iterable[Field], indeterminate: bool) -> None:
    """Write a header or trailer section; raises UsageError where a line is not one."""
    section = Writer()
    for field in fields:
        check_field(field, UsageError)
        section.varvec(field.name).varvec(field.value)
    if indeterminate:
        writer.raw(section.getvalue()).varint(0)
    else:
        writer.varvec(section.getvalue())


def check_control(method: bytes, scheme: bytes, authority: bytes, path: bytes, error: type[Error]) -> None:
    """Raise `error` unless these can begin a request (RFC 9292, section 3.4)."""
    if not _TOKEN.fullmatch(method):
        raise error("method is not a token")
    if not _SCHEME.fullmatch(scheme):
        raise error("scheme is not one")
    if not _AUTHORITY.fullmatch(authority) or _NOT_AUTHORITY.search(authority):
        raise error("authority has a character that is not allowed in it")
    if not _PATH.fullmatch(path) and (method, path) != (b"OPTIONS", b"*"):
        raise error("path does not start with a slash, or has a character that is not allowed in it")


def check_status(status: int, lowest: int, highest: int, error: type[Error]) -> None:
    """Raise `error` unless the status is of this range (RFC 9292, section 3.5)."""
    if not lowest <= status <= highest:
        raise error(f"status is not between {lowest} and {highest}")


def check_field(field: Field, error: type[Error]) -> None:
    """Raise `error` unless the line cannot be misread (RFC 9292, section 3.6)."""
    if not _NAME.fullmatch(field.name):
        raise error("field name is not a token in lower case")
    if _NOT_VALUE.search(field.value):
        raise error("field value has a character that is not allowed in it")
