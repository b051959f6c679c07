"""HTTP messages as bytes that come and go piece by piece (RFC 9292), known and indeterminate length.

A reader takes octets in any cuts, and comes to what `bhttp` comes to with all of them at once. It refuses as soon as
it can, so that a message both too large and cut short is too large here. No more is kept than one item that is not
whole: a varint, a control string, a field name or a field value. What came of a message may still be cut short:
only `finish` says that it is whole. A reader that has refused is of no more use. Bytes in, values out.

The steps of a message are generators that read like `bhttp`, and yield where they lack octets.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from seclude.bhttp import (
    DEFAULT_LIMITS,
    INDETERMINATE_REQUEST,
    INDETERMINATE_RESPONSE,
    KNOWN_REQUEST,
    KNOWN_RESPONSE,
    Field,
    FieldBudget,
    Limits,
    Request,
    check_control,
    check_status,
    write_fields,
)
from seclude.errors import DecodeError, TooLargeError, UsageError
from seclude.wire import Reader, Writer

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]


@dataclass(frozen=True, slots=True, repr=False)
class Head:
    """The beginning of a final response, of status 200 to 599."""

    status: int
    fields: tuple[Field, ...] = ()


Event: TypeAlias = Head | bytes


class _Octets(ABC):
    """What a peer's octets are made of; each method yields until all of its octets are there."""

    __slots__ = ()

    @abstractmethod
    def take(self, length: int, field: str) -> Steps[bytes]:
        """Return the next `length` octets."""

    def varint(self, field: str) -> Steps[int]:
        """Return a QUIC variable-length integer (RFC 9000, section 16)."""
        first = yield from self.take(1, field)
        rest = yield from self.take((1 << (first[0] >> 6)) - 1, field)
        return Reader(first + rest).varint(field)

    def length(self, field: str, limit: int) -> Steps[int]:
        """Return the length of what comes next; more than `limit` raises TooLargeError before any of it has come."""
        length = yield from self.varint(field)
        if length > limit:
            raise TooLargeError(f"{field} is too large: {length} of at most {limit}")
        return length

    def varvec(self, field: str, limit: int) -> Steps[bytes]:
        """Return opaque bytes that a varint of length precedes."""
        length = yield from self.length(field, limit)
        return (yield from self.take(length, field))


class _Stream(_Octets):
    """Octets that come in cuts of the peer's choosing."""

    __slots__ = ("_reader", "over")

    def __init__(self) -> None:
        self._reader = Reader(b"")
        self.over = False
        """No more will come: what is lacking now is truncated."""

    def feed(self, data: bytes) -> None:
        # Octets one by one make this quadratic in an item: 16 KiB by the default limits, and content is none.
        self._reader = Reader(self._reader.rest() + data)

    def take(self, length: int, field: str) -> Steps[bytes]:
        while self._reader.remaining < length and not self.over:
            yield
        return self._reader.take(length, field)

    def some(self, limit: int, field: str) -> Steps[bytes]:
        """Return what there is of the next `limit` octets, at least one."""
        yield from self.at_end()
        return self._reader.take(min(limit, self._reader.remaining) or 1, field)

    def at_end(self) -> Steps[bool]:
        """Whether nothing more will come."""
        while not self._reader.remaining and not self.over:
            yield
        return not self._reader.remaining

    def rest(self) -> bytes:
        """Return every octet that is there."""
        return self._reader.rest()


class _Section(_Octets):
    """The next octets of a stream, as many as a section of known length has; no line may cross its end."""

    __slots__ = ("_stream", "remaining")

    def __init__(self, stream: _Stream, length: int) -> None:
        self._stream = stream
        self.remaining = length

    def take(self, length: int, field: str) -> Steps[bytes]:
        if length > self.remaining:
            raise DecodeError(f"truncated in {field}: {self.remaining} of {length}")
        self.remaining -= length
        return (yield from self._stream.take(length, field))


class _MessageReader(ABC):
    """What readers of requests and of responses share: how they run, and the sections after the control data."""

    __slots__ = ("_budget", "_content", "_indeterminate", "_limits", "_steps", "_stream")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._budget = FieldBudget(limits)
        self._stream = _Stream()
        self._content = bytearray()
        self._indeterminate = False
        self._steps: Steps[None] | None = self._message()

    @abstractmethod
    def _message(self) -> Steps[None]:
        """Read the message from its first octet to its last."""

    def _come(self, data: bytes) -> None:
        """Go on as far as `data` allows."""
        steps, self._steps = self._steps, None  # until nothing was found wrong
        if steps is None:
            raise UsageError("the message has ended, or a reader that refused was used again")
        self._stream.feed(data)
        next(steps, None)
        self._steps = steps

    def _end(self) -> None:
        """Go on to the end of the message, which is here."""
        self._stream.over = True
        self._come(b"")
        self._steps = None

    def _framing(self, known: int, indeterminate: int, whose: str) -> Steps[None]:
        framing = yield from self._stream.varint("framing indicator")
        if framing not in (known, indeterminate):
            raise DecodeError(f"framing indicator is not a {whose}'s")
        self._indeterminate = framing == indeterminate

    def _fields(self, what: str) -> Steps[tuple[Field, ...]]:
        """Return the lines of one section, which may be missing at the end of the message (section 3.8)."""
        stream = self._stream
        lines: list[Field] = []
        if (yield from stream.at_end()):
            return ()
        if self._indeterminate:
            while length := (yield from stream.varint(what)):
                lines.append((yield from self._line(stream, length)))
        else:
            section = _Section(stream, (yield from stream.length(what, self._budget.section_bytes)))
            while section.remaining:
                length = yield from section.varint("field name")
                lines.append((yield from self._line(section, length)))
        return tuple(lines)

    def _line(self, octets: _Octets, name_length: int) -> Steps[Field]:
        self._budget.begin_line(name_length)
        name = yield from octets.take(name_length, "field name")
        value = yield from octets.varvec("field value", self._budget.octets_left)
        return self._budget.end_line(name, value)

    def _contents(self) -> Steps[None]:
        """Put the content where a reader finds it, as it comes."""
        stream, left = self._stream, self._limits.most_content
        if (yield from stream.at_end()):
            return
        if not self._indeterminate:
            yield from self._piece((yield from stream.length("content", left)), "content")
            return
        while length := (yield from stream.length("content chunk", left)):
            left -= length
            yield from self._piece(length, "content chunk")

    def _piece(self, length: int, field: str) -> Steps[None]:
        while length:
            some = yield from self._stream.some(length, field)
            self._content += some
            length -= len(some)

    def _padding(self) -> Steps[None]:
        """Refuse all but zeros from here to the end (section 3.8)."""
        while not (yield from self._stream.at_end()):
            padding = self._stream.rest()
            if padding.count(0) != len(padding):
                raise DecodeError("padding is not zero")


class RequestReader(_MessageReader):
    """Reads one request; its content is kept, and so must be bounded by whoever lifts that limit."""

    __slots__ = ("_request",)

    def feed(self, data: bytes) -> None:
        """Take the next octets; raises as `parse_request` does, as soon as it can."""
        self._come(data)

    def finish(self) -> Request:
        """Return the request: the message has ended here; raises DecodeError where that is not its end."""
        self._end()
        return self._request

    def _message(self) -> Steps[None]:
        yield from self._framing(KNOWN_REQUEST, INDETERMINATE_REQUEST, "request")
        stream, limit = self._stream, self._limits.control_bytes
        method = yield from stream.varvec("method", limit)
        scheme = yield from stream.varvec("scheme", limit)
        authority = yield from stream.varvec("authority", limit)
        path = yield from stream.varvec("path", limit)
        check_control(method, scheme, authority, path, DecodeError)
        fields = yield from self._fields("header section")
        yield from self._contents()
        trailers = yield from self._fields("trailer section")
        yield from self._padding()
        self._request = Request(method, scheme, authority, path, fields, bytes(self._content), trailers)


class ResponseReader(_MessageReader):
    """Reads one response and keeps nothing of it: informational responses and trailers are checked and passed over."""

    __slots__ = ("_head", "ended")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(limits)
        self._head: Head | None = None
        self.ended = False
        """Whether the content is complete."""

    def feed(self, data: bytes) -> list[Event]:
        """Return what `data` completes: the head, once, and then what it holds of the content, if anything.

        Raises as `parse_response` does, as soon as it can.
        """
        self._come(data)
        return self._events()

    def finish(self) -> list[Event]:
        """Say that the message has ended here; raises DecodeError where that is not its end.

        Returns nothing but the head of a message that ends with its status, which nothing else tells from one whose
        header section is still to come.
        """
        self._end()
        return self._events()

    def _message(self) -> Steps[None]:
        yield from self._framing(KNOWN_RESPONSE, INDETERMINATE_RESPONSE, "response")
        informational = 0
        while (status := (yield from self._stream.varint("status"))) < 200:
            check_status(status, 100, 199, DecodeError)
            if informational == self._limits.informational:
                raise TooLargeError(f"more than {informational} informational responses")
            informational += 1
            yield from self._fields("informational fields")
        check_status(status, 200, 599, DecodeError)
        self._head = Head(status, (yield from self._fields("header section")))
        yield from self._contents()
        self.ended = True
        yield from self._fields("trailer section")
        yield from self._padding()

    def _events(self) -> list[Event]:
        events: list[Event] = [event for event in (self._head, bytes(self._content)) if event]
        self._head = None
        self._content.clear()
        return events


class ResponseWriter:
    """Writes one response of indeterminate length: its head, then content, then its end."""

    __slots__ = ("_begun", "_ended", "_head")

    def __init__(self, status: int, fields: Iterable[Field] = ()) -> None:
        check_status(status, 200, 599, UsageError)
        head = Writer().varint(INDETERMINATE_RESPONSE).varint(status)
        write_fields(head, fields, indeterminate=True)
        self._head = head.getvalue()
        self._begun = self._ended = False

    def head(self) -> bytes:
        """Return the octets of status and fields, once."""
        if self._begun:
            raise UsageError("the head was written before")
        self._begun = True
        return self._head

    def content(self, piece: bytes) -> bytes:
        """Return the octets of one chunk of content; it must not be empty, which would end the content."""
        if not piece:
            raise UsageError("a chunk of content must not be empty")
        self._check_order()
        return Writer().varvec(piece).getvalue()

    def end(self, padding: int = 0) -> bytes:
        """Return the end of the content, a trailer section without lines, and `padding` zero octets."""
        if padding < 0:
            raise UsageError("negative padding")
        self._check_order()
        self._ended = True
        return Writer().varint(0).varint(0).raw(bytes(padding)).getvalue()

    def _check_order(self) -> None:
        if not self._begun or self._ended:
            raise UsageError("content comes after the head and before the end")


def content_overhead(length: int) -> int:
    """Return the octets that a chunk of content takes beyond its own `length`, for messages of an exact size."""
    return len(Writer().varint(length).getvalue())
