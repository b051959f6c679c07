"""One connection to the next hop, and one attempt to get an answer over it.

An attempt ends once: with an answer that is whole, or with an ExchangeError that says what is certain about it. A
connection carries one attempt after the other; whatever is in doubt ends it.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Protocol, cast

from seclude.daemon.clock import NEVER, Clock
from seclude.daemon.http1 import AnswerHead, AnswerReader
from seclude.errors import DecodeError, UpstreamError

# Octets of an answer that the kernel keeps while a client does not read, of which Linux makes twice as many. Left alone
# it would keep 6 MB (tcp(7), tcp_rmem).
RECEIVE_BUFFER: Final = 1 << 17
MAX_HEAD_BYTES: Final = 1 << 14  # octets; as in a request


class ExchangeError(UpstreamError):
    """Raised when an exchange failed.

    `sent` is false only if surely no octet of the request went out, `answered` only if surely none of an answer came.
    """

    def __init__(self, message: str, *, timed_out: bool = False, sent: bool = True, answered: bool = True) -> None:
        super().__init__(message, timed_out=timed_out)
        self.sent = sent
        self.answered = answered


class Receiver(Protocol):
    """Takes one answer as it comes."""

    def answer(self, head: AnswerHead, piece: bytes, *, ended: bool) -> None:
        """Take some octets of the body, perhaps its last; the first call comes with the head and may bring none."""
        ...

    def answer_failed(self, exc: ExchangeError) -> None:
        """Take note that no answer, or no more of it, will come. The last call."""
        ...

    def upstream_congested(self) -> None:
        """Stop writing the request for now: the next hop takes it more slowly than it comes."""
        ...

    def upstream_relieved(self) -> None:
        """Go on writing."""
        ...


class Attempt:
    """One request to the next hop, from the wish for a connection to the end of its answer."""

    sent = False
    """Whether any octet may have gone out."""
    heard = False
    """Whether any octet of an answer came."""
    complete = False
    """Whether the request was written to its end."""
    given_up = False
    over = False
    silence: float | None = None
    """How long an answer that streams may say nothing, in seconds; the whole of it may then take any time."""
    _paused = False
    _connection: "Outbound | None" = None

    def __init__(self, receiver: Receiver, deadline: float, data: bytes, *, chunked: bool = False) -> None:
        """`data` is what is there of the request, head and all."""
        self.receiver: Receiver | None = receiver
        """Who takes the answer; None once it is over."""
        self.deadline: Final = deadline
        """When it has lasted too long, by the loop's clock."""
        self._waiting = data  # until there is a connection
        self._chunked = chunked

    def write(self, piece: bytes) -> None:
        """Send some octets of the request's body."""
        if self._chunked:
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        self.send(piece)

    def end(self) -> None:
        """Say that the request is whole."""
        self.complete = True
        if self._chunked:
            self.send(b"0\r\n\r\n")

    def send(self, data: bytes) -> None:
        """Send octets as they are, or as soon as there is a connection."""
        if self.over:
            return
        if self._connection is not None:
            self._connection.write(data)
        else:
            self._waiting += data

    def start(self, connection: "Outbound") -> bytes:
        """Return what waits to be sent over a connection that is there now; called by the connection."""
        self._connection = connection
        self.sent = True
        data, self._waiting = self._waiting, b""
        if self._paused:
            connection.pause_reading()
        return data

    def stream(self, silence: float) -> None:
        """Let the answer go on for as long as it is not silent; called while a piece of it is taken."""
        self.silence = silence
        if self._connection is not None:
            self._connection.heard()

    def pause(self) -> None:
        """Let the rest of the answer wait at the next hop."""
        self._paused = True
        if self._connection is not None:
            self._connection.pause_reading()

    def resume(self) -> None:
        """Let it come."""
        self._paused = False
        if self._connection is not None:
            self._connection.resume_reading()

    def cancel(self) -> None:
        """End it without a word to the receiver; its connection is of no more use."""
        connection, self._connection = self._connection, None
        self._finish()
        if connection is not None:
            connection.drop()

    def give_up(self) -> None:
        """End it with an ExchangeError, unless an octet of an answer came or it is over."""
        if not self.heard and not self.over:
            self.given_up = True
            self.fail("the next hop was given up", timed_out=True, answered=False)

    def expire(self, *, connecting: bool = False) -> None:
        """End it because it has lasted too long."""
        if connecting:
            self.fail("no connection to the next hop in time", timed_out=True, sent=False, answered=False)
        else:
            self.fail("the next hop did not answer in time", timed_out=True, answered=True)

    def fail(
        self, message: str, *, timed_out: bool = False, sent: bool | None = None, answered: bool | None = None
    ) -> None:
        """End it with what is certain about it."""
        if self.over:
            return
        connection, self._connection = self._connection, None
        receiver = self._finish()
        if connection is not None:
            connection.drop()
        if receiver is not None:
            receiver.answer_failed(
                ExchangeError(
                    message,
                    timed_out=timed_out,
                    sent=self.sent if sent is None else sent,
                    answered=self.heard if answered is None else answered,
                )
            )

    def detach(self) -> None:
        """Let go of the connection, since the answer is whole."""
        self._connection = self.receiver = None
        self.over = True

    def _finish(self) -> Receiver | None:
        self.over = True
        receiver, self.receiver = self.receiver, None  # no cycle is left for the garbage collector
        self._waiting = b""
        return receiver


class Outbound(asyncio.Protocol):
    """One connection to the next hop."""

    deadline = NEVER
    """When its attempt has lasted too long; of a free one, when it closes by itself."""
    _attempt: Attempt | None = None
    _reader: AnswerReader | None = None
    _head: AnswerHead | None = None  # of the answer before
    _announced = False
    _paused = False
    _congested = False  # whether octets of a request wait to be sent
    closed = False
    """Whether it is of no more use."""
    _transport: asyncio.Transport | None = None

    def __init__(self, clock: Clock, idle: Callable[["Outbound"], None], gone: Callable[["Outbound"], None]) -> None:
        """`idle` takes the connection when it is free for another attempt, `gone` when it is lost."""
        self._clock = clock
        self._idle = idle
        self._gone = gone
        self.made_at: Final = clock.now()

    def carry(self, attempt: Attempt) -> bool:
        """Send an attempt over this connection; returns whether it was free for that."""
        if self._attempt is not None or self.closed or self._transport is None:
            return False
        self._attempt = attempt
        self._announced = False
        self.deadline = attempt.deadline
        self._transport.write(attempt.start(self))
        return True

    # From the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = connected = cast(asyncio.Transport, transport)
        # So that pause_writing() comes with the first octets kept; of 0, transports of TLS make a pause without end.
        connected.set_write_buffer_limits(high=1, low=0)
        sock = connected.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._clock.add(self)

    def data_received(self, data: bytes) -> None:
        """Pass on what came of the answer."""
        attempt = self._attempt
        if attempt is None or attempt.receiver is None:
            self.drop()  # nobody asked for anything
            return
        attempt.heard = True
        if attempt.silence is not None:
            self.heard()
        head, receiver = self._head, attempt.receiver
        if self._reader is None:
            if head is not None and data.startswith(head.raw) and len(data) == head.whole_length:
                self._release(attempt, head, keep=True)  # all of an answer that begins like the one before
                receiver.answer(head, data[len(head.raw) :], ended=True)
                return
            self._reader = AnswerReader(MAX_HEAD_BYTES, head)
        self._read_on(self._reader, attempt, receiver, data)

    def pause_writing(self) -> None:
        """Hold the request back."""
        self._congested = True
        if self._attempt is not None and self._attempt.receiver is not None:
            self._attempt.receiver.upstream_congested()

    def resume_writing(self) -> None:
        """Let it come."""
        self._congested = False
        if self._attempt is not None and self._attempt.receiver is not None:
            self._attempt.receiver.upstream_relieved()

    def eof_received(self) -> None:
        """End it: what breaks off in the middle is broken, and must not wait for what is still to be sent."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End with it what it carried."""
        self.closed = True
        self._clock.discard(self)
        attempt, self._attempt = self._attempt, None
        self._gone(self)
        if attempt is not None:
            attempt.fail("the next hop broke off")

    # From the attempt and the clock.

    def write(self, data: bytes) -> None:
        """Pass octets to the transport."""
        if self._transport is not None and not self.closed:
            self._transport.write(data)

    def heard(self) -> None:
        """Give an answer that streams new time; while it is us who do not read, time stands still."""
        if self._attempt is not None and self._attempt.silence is not None:
            self.deadline = NEVER if self._paused else self._clock.now() + self._attempt.silence

    def pause_reading(self) -> None:
        """Read no more for now."""
        if not self._paused and self._transport is not None and not self.closed:
            self._paused = True
            self._transport.pause_reading()
            self.heard()

    def resume_reading(self) -> None:
        """Read on."""
        if self._paused and self._transport is not None and not self.closed:
            self._paused = False
            self._transport.resume_reading()
            self.heard()

    def drop(self) -> None:
        """Close at once, and let what it carried go."""
        self._attempt = None
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def expire(self, now: float) -> None:
        """End what took too long, or a connection that nobody used."""
        if self._attempt is not None:
            self._attempt.expire()
        elif self._transport is not None:
            self.closed = True
            self._transport.close()

    def _read_on(self, reader: AnswerReader, attempt: Attempt, receiver: Receiver, data: bytes) -> None:
        try:
            piece = reader.feed(data)
        except DecodeError:
            attempt.fail("the next hop's answer is not HTTP/1.1")
            return
        head = reader.head
        if head is None:
            return
        if reader.ended:
            self._release(attempt, head, keep=not reader.overrun)
            receiver.answer(head, piece, ended=True)
        elif piece or not self._announced:
            self._announced = True
            receiver.answer(head, piece, ended=False)

    def _release(self, attempt: Attempt, head: AnswerHead, *, keep: bool) -> None:
        """Be free again, if nothing is in doubt."""
        self._attempt = self._reader = None
        self._head = head
        attempt.detach()
        if self._paused:
            self.resume_reading()
        if keep and attempt.complete and head.keep_alive and not self._congested:
            self._idle(self)
        else:
            self.drop()
