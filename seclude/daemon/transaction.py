"""One request and its one answer on the server's side, as a handler sees them.

A handler is called once the head was read, and returns at once. It answers then, or names a `Carrier` that gets the
body as it comes and answers later. Whatever goes wrong becomes a problem document if no octet of an answer is out, and
a broken connection if one is: what was begun never ends as if it were whole.
"""

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Final, Protocol

from seclude.daemon.http1 import PHRASES, RequestHead
from seclude.daemon.messages import Response
from seclude.daemon.problems import CLIENT_GONE, OK, answer_for
from seclude.errors import TooLargeError, UpstreamError, UsageError

if TYPE_CHECKING:
    from seclude.daemon.inbound import Connection

GONE_STATUS: Final = 499  # counted, never sent: the client went away before the answer
Fields = tuple[tuple[str, str], ...]


class Carrier(Protocol):
    """Takes the body of one request, and sees the request through."""

    def body(self, piece: bytes, *, ended: bool) -> None:
        """Take some octets of the body, perhaps its last; what this raises ends the request with an answer."""
        ...

    def client_lost(self) -> None:
        """Give up: the client is gone, or was refused in the middle of its body. Called at most once, and last."""
        ...

    def client_congested(self) -> None:
        """Stop writing the answer for now: the client takes it more slowly than it comes."""
        ...

    def client_relieved(self) -> None:
        """Go on writing."""
        ...


class Transaction:
    """Answers one request, once."""

    taken = 0
    """Octets of the body that came."""
    done = False
    """Whether the answer is out, or never will be."""
    begun = False
    """Whether an answer has begun."""
    carrier: Carrier | None = None
    """Who takes the body, if anybody does."""
    _admitted = False
    _whole = False  # whether it is counted as one whose body is there
    status = 0
    """Of the answer."""
    reason = OK
    """Of the answer, as it is counted."""
    given = 0
    """Octets of the answer's body."""
    _head: bytes | None = None  # of an answer that has begun, until its first octets go out with it
    _left: int | None = None  # octets that the answer still has; None where it is chunked

    def __init__(self, connection: "Connection", request: RequestHead) -> None:
        self.request: Final = request
        self._connection = connection
        self.started: Final = perf_counter()

    def carry(self, carrier: Carrier) -> None:
        """Let the body go to `carrier`; raises TooLargeError for one that is known to be too long."""
        limit = self._connection.limits.max_body_bytes
        if (self.request.content_length or 0) > limit:
            raise TooLargeError(f"body over {limit} octets")
        self.carrier = carrier

    def admit(self, whole: bool = True) -> None:
        """Count the request until it is answered, as in flight or as one that is not whole yet; raises BusyError."""
        if not self._admitted:
            self._connection.load.admit(whole)
            self._admitted, self._whole = True, whole
        elif whole and not self._whole:
            self._connection.load.complete()
            self._whole = True

    def hold(self, octets: int) -> None:
        """Count octets of the body that are kept until it is whole; raises BusyError."""
        self._connection.load.hold(octets)

    def pause_body(self) -> None:
        """Let the rest of the body wait at the client."""
        self._connection.pause_body()

    def resume_body(self) -> None:
        """Let it come."""
        self._connection.resume_body()

    def respond(self, response: Response) -> None:
        """Answer with something whole, in one write."""
        if self.done:
            return
        if self.begun:
            raise UsageError("an answer has begun")
        self.status, self.reason, self.given = response.status, response.reason, len(response.body)
        body = b"" if self.request.method == "HEAD" else response.body
        # RFC 9110, section 8.6: an answer without content has no length
        length = None if response.status == 204 else len(response.body)
        self._connection.write(self._render(response.status, response.content_type, length, response.fields) + body)
        self._end()

    def answer(self, content_type: str, body: bytes) -> None:
        """Answer with status 200 and something whole, in one write."""
        if self.done:
            return
        if self.begun:
            raise UsageError("an answer has begun")
        self.status, self.given = 200, len(body)
        last = self._connection.last_fields(self.request)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {self.given}\r\n{last}\r\n"
        self._connection.write(head.encode("latin-1") + body)
        self._end()

    def begin(self, content_type: str, length: int | None, fields: Fields = ()) -> None:
        """Begin an answer of status 200 whose body comes in pieces; without a length it is chunked."""
        if self.done:
            return
        if self.begun:
            raise UsageError("an answer has begun")
        if length is None and not self.request.is_http11:  # it knows no chunks, and could not see a broken end
            self.fail(UpstreamError("an answer of unknown length"))
            return
        self.begun = True
        self.status, self._left = 200, length
        self._head = self._render(200, content_type, length, fields, chunked=length is None)

    def write(self, piece: bytes) -> None:
        """Pass on some octets of the answer."""
        if self.done or not piece:
            return
        self.given += len(piece)
        if self._left is None:
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        else:
            self._left -= len(piece)
        if self._head is not None:
            piece, self._head = self._head + piece, None
        self._connection.write(piece)

    def finish(self) -> None:
        """End an answer that came in pieces."""
        if self.done:
            return
        if self._left:
            self.break_off()
            return
        rest = (self._head or b"") + (b"0\r\n\r\n" if self._left is None else b"")
        if rest:
            self._connection.write(rest)
        self._end()

    def break_off(self) -> None:
        """End an answer that has begun so that nobody can take it for whole."""
        if not self.done:
            self.reason = "upstream_down"
            self._end(broken=True)

    def fail(self, exc: Exception) -> None:
        """Answer with what `exc` deserves, or break off what has begun."""
        if self.done:
            return
        if self.begun:
            self.break_off()
            return
        response = answer_for(exc)
        if response.reason == "internal":
            self._connection.handler_failed(exc)
        self.respond(response)

    def lose_client(self, exc: Exception | None = None) -> None:
        """Give up; with an exception the client is still there to be told why."""
        carrier, self.carrier = self.carrier, None
        if exc is not None:
            self.fail(exc)
        elif not self.done:
            self.status, self.reason = GONE_STATUS, CLIENT_GONE
            self._end(broken=True)
        if carrier is not None:
            carrier.client_lost()

    def _render(
        self, status: int, content_type: str | None, length: int | None, fields: Fields, *, chunked: bool = False
    ) -> bytes:
        framing = "" if length is None else f"Content-Length: {length}\r\n"
        if chunked:
            framing = "Transfer-Encoding: chunked\r\n"
        kind = "" if content_type is None else f"Content-Type: {content_type}\r\n"
        more = "".join([f"{name}: {value}\r\n" for name, value in fields]) if fields else ""
        phrase = PHRASES.get(status, "")
        last = self._connection.last_fields(self.request)
        return f"HTTP/1.1 {status} {phrase}\r\n{kind}{framing}{more}{last}\r\n".encode("latin-1")

    def _end(self, *, broken: bool = False) -> None:
        self.done = True
        self.carrier = None  # which knows this transaction: no cycle is left for the garbage collector
        if self._admitted:
            self._admitted = False
            self._connection.load.release(self._whole)
        self._connection.answered(self, broken=broken)


Observer = Callable[[int, str, float, int, int], None]
"""Takes the status and the reason of an answer, how many seconds it took, and the octets of both bodies."""
