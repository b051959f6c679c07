"""One request carried from a client to the next hop, and the answer back: octets move, decisions are the party's.

Both ways at once, each as fast as the slower side takes it. A request that is small is passed on when it is whole, in
one write: then a client that sends slowly holds nothing but its own connection, and the sizes and times of its packets
say nothing to the next hop. A longer one is passed on as it comes, once there is so much of it, and one that asks for
that (`Incremental`, draft-ietf-httpbis-incremental) from its first octets on.

    client ──body──▶ Transaction ──▶ Passage ──▶ Attempt ──▶ next hop
    client ◀──write── Transaction ◀── Passage ◀── Outbound ◀── next hop
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from seclude.daemon.http1 import AnswerHead
from seclude.daemon.messages import UpstreamResponse
from seclude.daemon.outbound import Attempt, ExchangeError
from seclude.daemon.transaction import Transaction
from seclude.daemon.upstream import Upstream
from seclude.errors import DecodeError, UpstreamError, UsageError
from seclude.ohttp.media import AS_IT_COMES, INCREMENTAL

T = TypeVar("T")
Party = TypeVar("Party")

WHOLE: Final = 1 << 14  # octets; the short requests, and what one read of a socket brings of a long one
SILENCE_SECONDS: Final = 30.0  # between two pieces of an answer that streams; a worker sends some ten times a second
MAX_REFUSAL_BYTES: Final = 1 << 12  # octets of an answer that is not passed on but looked at: ours have a hundred
STREAMED: Final = frozenset(INCREMENTAL.values())
MAX_STREAM_BYTES: Final = (1 << 30) + (1 << 28)  # octets of one answer; the longest in chunks, with what seals them


class Passage(ABC, Generic[Party]):
    """Carries one request; a party says where to, and which answers pass."""

    silence = SILENCE_SECONDS
    """How long an answer that streams may say nothing."""
    keeps = 0
    """How many octets of what was sent are kept, to be sent again to somebody else; a party may say so."""
    _attempt: Attempt | None = None
    _size = 0  # octets of the body that came
    _waiting = 0  # octets of it that are counted as on their way
    _began = False
    _complete = False
    _over = False
    _held_back = False  # whether the rest of the body waits at the client until there is a next hop
    _dropped = False  # whether octets that were sent are no longer kept
    _returned = 0  # octets of the answer that came
    _kind: str | None = None  # of an answer that is passed on
    _looking = False  # at an answer that is not passed on
    _refusal = b""  # what came of such an answer

    def __init__(self, transaction: Transaction, party: Party) -> None:
        self.transaction: Final = transaction
        self.party: Final = party
        """What all of one party's share."""
        self.pieces: list[bytes] = []
        """What is kept of the body: until it is passed on, or for as long as `keeps` says."""
        transaction.carry(self)

    # What a party says.

    @property
    def enough(self) -> int:
        """How many octets of a request must be there before it is passed on, if it is not whole before that."""
        return WHOLE

    @abstractmethod
    def start(self) -> None:
        """Find a next hop for the request, now or later, and call `send_to`; raises what the client is told."""
        ...

    @abstractmethod
    def passes(self, head: AnswerHead) -> str | None:
        """Return the media type under which the body of an answer is passed on, or None for one to be looked at."""
        ...

    @abstractmethod
    def looked_at(self, answer: UpstreamResponse) -> None:
        """See to an answer that is not passed on."""
        ...

    def failed(self, exc: ExchangeError) -> None:
        """See to an attempt that failed, while no octet of an answer went to the client."""
        self.transaction.fail(exc)

    def released(self) -> None:
        """Take note that the request is over."""

    # For the party.

    def send_to(self, upstream: Upstream, head: bytes, *, within: float | None = None) -> Attempt:
        """Pass on what is there of the request, and let the rest follow."""
        if self._dropped:
            raise UsageError("what was sent is no longer there to be sent again")
        body = b"".join(self.pieces)
        if self._size > self.keeps:
            self._dropped = True
            self.pieces.clear()
        length = self._size if self._complete else self.transaction.request.content_length
        attempt = self._attempt = upstream.begin(head, length, body, self, within=within)
        if self._held_back:
            self._held_back = False
            self.transaction.resume_body()
        return attempt

    @property
    def can_send(self) -> bool:
        """Whether every octet that came is still there."""
        return not self._dropped

    def end(self, exc: Exception) -> None:
        """Answer the client with what `exc` deserves, or break off what it has of an answer."""
        self.transaction.fail(exc)
        self._release()

    def discard_attempt(self) -> None:
        """Let go of the attempt at hand; what it still brings is not wanted."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()

    # From the client; see `transaction.Carrier`.

    def body(self, piece: bytes, *, ended: bool) -> None:
        """Pass a piece on, or keep it until there is enough."""
        self._size += len(piece)
        self._complete = ended
        if not self._dropped:
            self.pieces.append(piece)
        if not self._began:
            self._wait_or_start(len(piece))
        else:
            self._pass_on(piece, ended=ended)

    def client_lost(self) -> None:
        """Take the request back from the next hop."""
        self.discard_attempt()
        self._release()

    def client_congested(self) -> None:
        """Let the answer wait at the next hop."""
        if self._attempt is not None:
            self._attempt.pause()

    def client_relieved(self) -> None:
        """Let it come."""
        if self._attempt is not None:
            self._attempt.resume()

    # From the next hop; see `outbound.Receiver`.

    def answer(self, head: AnswerHead, piece: bytes, *, ended: bool) -> None:
        """Pass a piece back, or keep it to be looked at; the client's answer begins with the first one that passes."""
        kind = self._kind
        if kind is None and not self._looking:
            kind = self._kind = self.passes(head)
            if kind is not None and ended and piece and kind not in STREAMED:  # most answers: whole, at once
                self._attempt = None
                self.transaction.answer(kind, piece)
                self._release()
                return
            self._looking = kind is None
        self._returned += len(piece)
        if kind is None:
            self._look_at(head, piece, ended=ended)
        elif max(self._returned, head.content_length or 0) > MAX_STREAM_BYTES:
            self.discard_attempt()
            self.end(UpstreamError("answer too large"))
        else:
            self._stream(kind, head, piece, ended=ended)

    def answer_failed(self, exc: ExchangeError) -> None:
        """Tell the party, or break off what the client has of an answer."""
        if self.transaction.begun:
            self._attempt = None
            self.end(exc)
        else:
            self._see_to(self.failed, exc)

    def upstream_congested(self) -> None:
        """Let the rest of the body wait at the client."""
        self.transaction.pause_body()

    def upstream_relieved(self) -> None:
        """Let it come."""
        self.transaction.resume_body()

    # Its own.

    def _wait_or_start(self, octets: int) -> None:
        if not self._complete:
            self.transaction.hold(octets)
            self._waiting += octets
            if self._size < self.enough:
                return
        elif not self._size:
            raise DecodeError("empty request")
        self._began = True
        if self._waiting:
            self.transaction.hold(-self._waiting)
            self._waiting = 0
        self.transaction.admit(self._complete)
        self.start()

    def _pass_on(self, piece: bytes, *, ended: bool) -> None:
        """Send more of a request that has begun."""
        if ended:
            self.transaction.admit()
        attempt = self._attempt
        if attempt is not None:
            if self._size > self.keeps:
                self._dropped = True
                self.pieces.clear()
            if piece:
                attempt.write(piece)
            if ended:
                attempt.end()
        elif self._size > max(WHOLE, self.keeps):  # while no next hop is found, the rest waits at the client
            self._held_back = True
            self.transaction.pause_body()

    def _stream(self, kind: str, head: AnswerHead, piece: bytes, *, ended: bool) -> None:
        if piece:
            if not self.transaction.begun:
                self.transaction.begin(kind, head.content_length, AS_IT_COMES if kind in STREAMED else ())
                if kind in STREAMED and self._attempt is not None:
                    self._attempt.stream(self.silence)
            if self.transaction.done:  # it cannot be told to this client
                self.discard_attempt()
                self._release()
                return
            self.transaction.write(piece)
        if not ended:
            return
        self._attempt = None
        if self._returned:
            self.transaction.finish()
            self._release()
        else:
            self.end(UpstreamError("an empty answer"))

    def _look_at(self, head: AnswerHead, piece: bytes, *, ended: bool) -> None:
        if self._returned <= MAX_REFUSAL_BYTES:
            self._refusal += piece
        if ended:
            answer = UpstreamResponse(head.status, head.content_type, self._refusal, head.retry_after)
            self._see_to(self.looked_at, answer)

    def _see_to(self, party: Callable[[T], None], what: T) -> None:
        """Let the party decide what comes of an attempt that is over."""
        self._attempt = None
        self._kind = None
        self._looking = False
        self._returned = 0
        self._refusal = b""
        self.transaction.resume_body()  # which the next hop may have held back
        try:
            party(what)
        except Exception as exc:  # noqa: BLE001 - the edge where every error becomes an answer
            self.transaction.fail(exc)
        if self.transaction.done:
            self._release()

    def _release(self) -> None:
        if self._waiting:
            self.transaction.hold(-self._waiting)
            self._waiting = 0
        self.pieces.clear()
        if not self._over:
            self._over = True
            self.released()
