"""One connection of a server: heads and bodies in, one answer after the other out, and a clock for each phase.

    HEAD ──▶ BODY ──▶ ANSWER ──▶ HEAD       one request at a time; what is pipelined waits, and reading with it
      │        └──────────┴────▶ LINGER     an answer before the end of a body ends the connection
      └──▶ CLOSED

It decides nothing about a request but whether it is one. A connection belongs to a `Home`, which is the server.
"""

import asyncio
import contextlib
import socket
import struct
from enum import Enum, auto
from time import perf_counter
from typing import TYPE_CHECKING, Final, cast

from seclude.daemon.clock import NEVER
from seclude.daemon.heads import HeadFinder
from seclude.daemon.home import SLOW_HEAD, UNREAD_ANSWER, Home
from seclude.daemon.http1 import Chunks, HeadError, RequestHead
from seclude.daemon.messages import Response
from seclude.daemon.problems import PeerTimeoutError, RateError, refusal
from seclude.daemon.transaction import Transaction
from seclude.errors import DecodeError, TooLargeError

if TYPE_CHECKING:
    from seclude.daemon.quota import Quota


class Phase(Enum):
    """What a connection waits for."""

    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    LINGER = auto()
    CLOSED = auto()


HEAD, BODY, ANSWER, LINGER, CLOSED = Phase  # as names of the module, which are found faster than members


NO_LINGER: Final = struct.pack("ii", 1, 0)
# Why no more is read for now.
NEXT_HOP: Final = 1  # it takes the body more slowly than it comes
TURN: Final = 2  # what was sent ahead waits until the answers before it are out


class Connection(asyncio.Protocol):
    """Serves one peer."""

    quota: "Quota | None" = None
    """The count of its peer's address, if those are counted."""
    deadline = NEVER
    """The earlier of the two that follow."""
    _read_by = NEVER  # until when the peer may go on to send
    _send_by = NEVER  # until when it may leave lying what it was sent
    _phase = HEAD
    _transport: asyncio.Transport | None = None
    _transaction: Transaction | None = None
    _data = b""  # of a head that is not whole, or of what was sent ahead
    _chunks: Chunks | None = None  # of a chunked body
    _remaining = 0  # octets that a body with a length still has
    _body_began = 0.0
    _served = False  # whether a head came
    _closing = False  # whether an answer has said so
    _retired = False  # whether the next one will
    _held = 0  # reasons why no more is read
    _congested = False  # whether the peer leaves lying what it was sent
    _running = False

    def __init__(self, home: Home) -> None:
        self._home: Final = home
        self.limits: Final = home.limits
        self.load: Final = home.load
        self._heads = HeadFinder(home.limits)

    @property
    def made(self) -> bool:
        """Whether there ever was a transport."""
        return self._transport is not None

    # From the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; the server may have no room, and drops the connection then."""
        self._transport = connected = cast(asyncio.Transport, transport)  # uvloop's do not inherit from asyncio's
        # So that pause_writing() comes with the first octets kept; of 0, transports of TLS make a pause without end.
        connected.set_write_buffer_limits(high=1, low=0)
        self._wait_for_peer(self.limits.header_timeout)
        self._home.clock.add(self)
        self._home.opened(self, connected)

    def data_received(self, data: bytes) -> None:
        """Take what the peer sent, according to the phase."""
        if self._phase is HEAD:
            self._data = self._data + data if self._data else data
            self._run()
        elif self._phase is BODY:
            self._take_body(data)
            self._run()
        elif self._phase is ANSWER:  # sent ahead: it waits, and no more of it is read
            self._data += data
            self._hold(TURN)

    def pause_writing(self) -> None:
        """Give the peer its time to take what was written; until then it is answered nothing more."""
        self._congested = True
        self._send_by = self._home.clock.now() + self.limits.send_timeout
        self._wait_until(self._read_by)
        if self._transaction is not None and self._transaction.carrier is not None:
            self._transaction.carrier.client_congested()

    def resume_writing(self) -> None:
        """Go on."""
        self._congested = False
        self._send_by = NEVER
        self._wait_until(self._read_by)
        if self._transaction is not None and self._transaction.carrier is not None:
            self._transaction.carrier.client_relieved()
        elif self._phase is HEAD:
            self._release(TURN)
            self._run()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give up what the peer can no longer be told."""
        self._phase = CLOSED
        self._data = b""
        self._home.clock.discard(self)
        self._home.closed(self)
        if self.quota is not None:
            self.quota.leave()
        if self._transaction is not None:
            self._transaction.lose_client()

    # From the clock.

    def expire(self, now: float) -> None:
        """End what took too long; while the peer waits for an answer, its time stands still."""
        if self._send_by > now and self._phase is ANSWER:
            self._wait_until(NEVER)
            return
        if self._send_by <= now or self._phase is not BODY or self._transaction is None:
            if self._send_by <= now:
                self._home.dropping(UNREAD_ANSWER)
                self._forget_unsent()
            elif self._phase is HEAD and (self._data or not self._served):
                self._home.dropping(SLOW_HEAD)
            self.abort()
            return
        taken = self._transaction.taken
        by = self._body_began + self.limits.body_timeout + taken / self.limits.min_body_rate
        if taken and by > now:
            self._wait_until(by)
        else:
            self._transaction.lose_client(PeerTimeoutError("body not sent in time"))

    # From the transaction.

    def write(self, data: bytes) -> None:
        """Pass octets to the transport, which is asked to keep none without saying so."""
        if self._transport is not None and self._phase is not CLOSED:
            self._transport.write(data)

    def pause_body(self) -> None:
        """Read no more for now, since the next hop is slow."""
        self._hold(NEXT_HOP)

    def resume_body(self) -> None:
        """Read on, with new time for what is left of a body."""
        self._release(NEXT_HOP)

    def last_fields(self, request: RequestHead) -> str:
        """Return the fields that say when the answer was made and whether it ends the connection."""
        if self._retired or self._home.retiring or not request.keep_alive or self._phase is BODY:
            self._closing = True
            return f"{self._home.date_field}Connection: close\r\n"
        return self._home.date_field if request.is_http11 else f"{self._home.date_field}Connection: keep-alive\r\n"

    def handler_failed(self, exc: Exception) -> None:
        """Let the server log what was nobody's doing but its own."""
        self._home.handler_failed(exc)

    def answered(self, transaction: Transaction, *, broken: bool) -> None:
        """Go on to the next request, or end the connection."""
        self._transaction = None
        home = self._home
        home.busy -= 1
        if not home.busy and home.when_idle is not None:
            home.when_idle.set()
        if home.observe is not None:
            seconds = perf_counter() - transaction.started
            home.observe(transaction.status, transaction.reason, seconds, transaction.taken, transaction.given)
        if self._phase is CLOSED:
            return
        if broken:
            self.abort()
        elif self._closing or self._phase is BODY:
            self._end(linger=self._phase is BODY or self._held != 0)
        else:
            self._phase = HEAD
            self._read_by = until = home.clock.now() + self.limits.keepalive
            self.deadline = until if until < self._send_by else self._send_by
            if self._held:
                self._release(NEXT_HOP | TURN)
            if self._data:
                self._run()

    # Its own.

    def abort(self) -> None:
        """Drop the connection and what was not sent."""
        if self._transport is not None:
            self._transport.abort()

    def _forget_unsent(self) -> None:
        """Let the kernel drop what it keeps for the peer, which it would go on to offer for minutes (socket(7))."""
        sock = None if self._transport is None else self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)

    def retire(self) -> None:
        """Let the next answer end the connection, and say so."""
        self._retired = True

    def end_if_idle(self) -> None:
        """Close a connection on which nothing is under way."""
        if self._phase is HEAD and self._transport is not None:
            self._transport.close()

    def give_up(self) -> None:
        """Cancel what is under way."""
        if self._transaction is not None:
            self._transaction.lose_client()

    def _run(self) -> None:
        """Serve what was received, request after request; what ends meanwhile goes on here and not deeper."""
        if self._running:
            return
        self._running = True
        try:
            while self._phase is HEAD and self._data and not self._congested and self._take_head():
                pass
        finally:
            self._running = False
        if self._congested and self._phase is HEAD and self._data:
            self._hold(TURN)

    def _take_head(self) -> bool:
        """Take one request from the front of the data; returns whether its head was whole."""
        try:
            found = self._heads.take(self._data)
        except HeadError as exc:
            self._refuse(exc.answer)
            return True
        if found is None:
            if self._read_by - self._home.clock.now() > self.limits.header_timeout:  # it was idle until now
                self._wait_for_peer(self.limits.header_timeout)
            return False
        self._data = b""
        self._served = True
        self._serve(*found)
        return True

    def _serve(self, request: RequestHead, rest: bytes) -> None:
        """Hand a request to the handler, and to its carrier what is there of the body."""
        home = self._home
        transaction = self._transaction = Transaction(self, request)
        home.busy += 1
        length = request.content_length
        whole = length is not None and len(rest) >= length
        if whole:
            self._phase = ANSWER
            if len(rest) != length:  # what was sent ahead
                rest, self._data = rest[:length], rest[length:]
        else:
            self._phase = BODY
            self._chunks = request.chunks() if length is None else None
            self._remaining = length or 0
            self._body_began = now = home.clock.now()
            self._wait_until(now + (self.limits.body_timeout if rest else self.limits.first_octet_timeout))
        try:
            if self.quota is not None and not self.quota.take(home.clock.now()):
                raise RateError("too many requests from one address")
            if not whole:  # one that is there is counted by whoever carries it
                self.load.require_room()
            elif not length:
                transaction.admit()
            home.handle(transaction)
            if whole and transaction.carrier is not None:
                transaction.taken = len(rest)
                transaction.carrier.body(rest, ended=True)
        except Exception as exc:  # noqa: BLE001 - the edge where every error becomes an answer
            transaction.lose_client(exc)
        if self._phase is BODY and rest:
            self._take_body(rest)

    def _take_body(self, data: bytes) -> None:
        """Pass on what came of a body."""
        transaction = self._transaction
        if transaction is None:
            return
        chunks = self._chunks
        try:
            if chunks is not None:
                piece = chunks.feed(data)
                ended = chunks.ended
                self._closing |= chunks.extra  # where the next request begins, llhttp does not tell
            else:
                piece, self._data = data[: self._remaining], data[self._remaining :]
                self._remaining -= len(piece)
                ended = not self._remaining
        except DecodeError as exc:
            transaction.lose_client(exc)
            return
        if not transaction.taken and piece:
            self._wait_until(self._body_began + self.limits.body_timeout)
        self._deliver(transaction, piece, ended=ended)

    def _deliver(self, transaction: Transaction, piece: bytes, *, ended: bool) -> None:
        transaction.taken += len(piece)
        try:
            if transaction.taken > self.limits.max_body_bytes:
                raise TooLargeError(f"body over {self.limits.max_body_bytes} octets")
            if ended and self._phase is BODY:
                self._phase = ANSWER
            if transaction.carrier is not None and (piece or ended):
                transaction.carrier.body(piece, ended=ended)
        except Exception as exc:  # noqa: BLE001 - as above
            transaction.lose_client(exc)

    def _refuse(self, status: int) -> None:
        """Answer what is no request, and end the connection."""
        response = refusal(status)
        if self._home.observe is not None:
            self._home.observe(response.status, response.reason, 0.0, 0, len(response.body))
        self.write(_render_refusal(response, self._home.date_field))
        self._end(linger=True)

    def _end(self, *, linger: bool) -> None:
        """Close; where octets are still coming, they are read and dropped for a moment.

        Closing at once would reset the connection and take the answer from the peer with it.
        """
        self._data = b""
        if self._transport is None:
            return
        self._phase = LINGER
        self._held = 0
        if not linger:
            self._wait_for_peer(self.limits.send_timeout)  # for the answer to leave, at most
            self._transport.close()
            return
        self._wait_for_peer(self.limits.linger)
        self._transport.resume_reading()
        if self._transport.can_write_eof():
            with contextlib.suppress(OSError):  # of a peer that is gone already
                self._transport.write_eof()

    def _hold(self, reason: int) -> None:
        """Read no more for now; the peer's time stands still, since it is not the one who is slow."""
        if self._phase is CLOSED or self._transport is None:
            return
        if not self._held:
            self._transport.pause_reading()
            self._wait_until(NEVER)
        self._held |= reason

    def _release(self, reason: int) -> None:
        """Read on, if nothing else stands against it."""
        if self._phase is CLOSED or self._transport is None or not self._held:
            return
        self._held &= ~reason
        if self._held:
            return
        self._transport.resume_reading()
        if self._phase is BODY and self._transaction is not None:
            now = self._home.clock.now()
            self._body_began = now - self._transaction.taken / self.limits.min_body_rate
            self._wait_until(now + self.limits.body_timeout)
        elif self._phase is HEAD:
            self._wait_for_peer(self.limits.keepalive)

    def _wait_for_peer(self, seconds: float) -> None:
        self._wait_until(self._home.clock.now() + seconds)

    def _wait_until(self, time: float) -> None:
        self._read_by = time
        self.deadline = time if time < self._send_by else self._send_by


def _render_refusal(response: Response, date_field: str) -> bytes:
    head = (
        f"HTTP/1.1 {response.status} Refused\r\nContent-Type: {response.content_type}\r\n"
        f"Content-Length: {len(response.body)}\r\n{date_field}Connection: close\r\n\r\n"
    )
    return head.encode() + response.body
