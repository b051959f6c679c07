"""What the gateway answers: keys to those who ask for them, and the pool's answer to an encapsulated request.

A request is opaque. Its first seven octets name the key, which decides who can open it, and the encapsulated key after
them is compared with those of others; nothing else of it is read, and nothing but the two bodies passes, in either
direction.
"""

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

from gateway.duplicates import ENC_LENGTHS, Duplicates, digest_of
from gateway.epochs import Reconciler
from gateway.link import Link
from gateway.pool import Pool, Worker
from seclude.attestation.bundle import serialize_bundles
from seclude.daemon.accept import choose
from seclude.daemon.http1 import AnswerHead
from seclude.daemon.messages import Head, Response, UpstreamResponse
from seclude.daemon.outbound import ExchangeError
from seclude.daemon.passage import Passage
from seclude.daemon.problems import refusal
from seclude.daemon.transaction import Transaction
from seclude.errors import BusyError, Error, MediaTypeError, UnknownKeyError, UpstreamError
from seclude.ohttp.keyconfig import REQUEST_HEADER_LENGTH, parse_request_header
from seclude.ohttp.media import ANSWERED_BY, GATEWAY_PATH, INCREMENTAL, KEY_BUNDLES, OHTTP_KEYS

OK: Final = 200
PATIENCE_SECONDS: Final = 2.0  # in which a worker that was restarted, or the next one of the pool, is noticed
MAX_AGE: Final = 10  # seconds that a cache may keep the keys; relays fetch every five

# Octets of one request, to be sent again to another worker: a chat of two thousand messages. With 512 in flight, that
# is 128 MiB. A longer one goes through without being kept, and fails with its worker.
MAX_KEPT: Final = 1 << 18

# What a worker may say about a request that it did not open. Everything else that is no answer becomes 502.
PASSED: Final = frozenset({400, 413, 415})


class Gateway:
    """The handler."""

    def __init__(
        self,
        pool: Pool,
        links: Sequence[Link],
        reconciler: Reconciler,
        duplicates: Duplicates,
        *,
        deadline_seconds: float,
        count_retry: Callable[[], None],
    ) -> None:
        self.pool: Final = pool
        self.links: Final = links
        self.deadline_seconds: Final = deadline_seconds
        self.count_retry: Final = count_retry
        self.duplicates: Final = duplicates
        self._reconciler = reconciler

    def handle(self, transaction: Transaction) -> None:
        """Answer one request of a relay, or carry it to a worker."""
        request = transaction.request
        if request.path != GATEWAY_PATH:
            transaction.respond(refusal(404))
        elif request.method == "GET":
            transaction.respond(self._keys(request))
        elif request.method != "POST":
            transaction.respond(refusal(405, fields=(("Allow", "GET, POST"),)))
        elif request.media_type not in ANSWERED_BY:
            raise MediaTypeError("request is not of Oblivious HTTP")
        else:
            Asking(transaction, self)

    def _keys(self, request: Head) -> Response:
        """Answer with what is published, the same for everybody.

        Standard clients get the keys of now and use them at once. Devices also get those of the slots beside it, and
        choose by their own clock.
        """
        wanted = choose(request.accept, (OHTTP_KEYS, KEY_BUNDLES))
        if wanted is None:
            return refusal(406)
        offer = self._reconciler.offer
        if offer is None:
            raise BusyError("nothing is published for this slot")
        if wanted == OHTTP_KEYS:
            body = offer.key_configs
        else:
            body = serialize_bundles([each.bundle for each in self._reconciler.offers])
        age = max(0, min(MAX_AGE, int(self._reconciler.seconds_unchanged)))
        caching = (("Cache-Control", f"public, max-age={age}"), ("Vary", "Accept"))
        return Response(200, wanted, body, caching)


class Asking(Passage[Gateway]):
    """One request on its way to a worker. Each is asked at most once, and another only while that is harmless.

    That is when no octet of an answer came from a worker that broke off or is heard of no more, or when a worker said
    that it did not begin. One that is silent until the deadline and answers its polls may be at work: nobody else is
    asked (RFC 9458, section 6.5). A request is a duplicate from when a worker is first asked, unless in the end surely
    none began: then whoever asked may send it again. A long request is not kept, and has one worker only.
    """

    keeps = MAX_KEPT
    _key_id = -1
    _digest = b""
    _deadline = 0.0
    _worker: Worker | None = None
    _give_up: Callable[[], None] | None = None
    _failure: Error | None = None
    _finding: asyncio.Task[None] | None = None

    def __init__(self, transaction: Transaction, gateway: Gateway) -> None:
        super().__init__(transaction, gateway)
        self._asked: set[int] = set()
        self._idle: set[int] = set()  # those who surely did not begin

    @property
    def enough(self) -> int:
        """Pass on what asks for that as soon as it can be told from others."""
        if self._media_type not in INCREMENTAL:
            return super().enough
        prefix = b"".join(self.pieces)
        if len(prefix) < REQUEST_HEADER_LENGTH:
            return REQUEST_HEADER_LENGTH
        return REQUEST_HEADER_LENGTH + ENC_LENGTHS.get(parse_request_header(prefix).kem, 0)

    def start(self) -> None:
        """Find out which key the request is for, and who holds it."""
        prefix = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
        self._key_id = parse_request_header(prefix).key_id
        self._digest = digest_of(prefix)
        self._deadline = asyncio.get_running_loop().time() + self.party.deadline_seconds
        self._next()

    def passes(self, head: AnswerHead) -> str | None:
        """Let encapsulated answers through."""
        return head.media_type if head.media_type == ANSWERED_BY[self._media_type] and head.status == OK else None

    def looked_at(self, answer: UpstreamResponse) -> None:
        """See to what is no answer; who said that it did not begin is followed by another.

        A fault of the worker's own, such as 500, does not tell whether it had begun, so the request ends with it. But
        the worker is out until its next poll: failing takes no time, and as the least busy one it would be given all.
        """
        worker, pool = self._let_go(), self.party.pool
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            self._failure = BusyError("every worker is busy")
        elif answer.status == UnknownKeyError.status:
            pool.lacks(worker, self._key_id)
            if self._failure is None:  # a key is unknown only if everyone says so
                self._failure = UnknownKeyError("no worker holds this key")
        else:
            if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                pool.fail(worker)
            if answer.status not in PASSED:
                raise UpstreamError("the worker's answer is none that is known here")
            self.transaction.respond(refusal(answer.status))
            return
        self._idle.add(worker.index)
        self._next()

    def failed(self, exc: ExchangeError) -> None:
        """See to a worker that broke off, was given up, or took too long."""
        worker = self._let_go()
        if not exc.timed_out:
            self.party.pool.fail(worker)
        if exc.answered:
            raise exc
        if not exc.sent:
            self._idle.add(worker.index)
        self._failure = exc
        self._next()

    def client_lost(self) -> None:
        """Take the request back, wherever it is."""
        if self._finding is not None:
            self._finding.cancel()
        super().client_lost()

    def released(self) -> None:
        """Count the request as in flight no more."""
        if self._worker is not None:
            self._let_go()
        if self._asked and self._asked == self._idle:
            self.party.duplicates.forget(self._digest)

    def _next(self) -> None:
        """Ask a worker that was not asked yet, now or when one is there."""
        if not self.can_send:
            assert self._failure is not None  # it was sent, so somebody did not answer it
            self.end(self._failure)
            return
        worker = self.party.pool.choose(self._key_id, self._asked)
        if worker is not None:
            self._ask(worker)
        else:
            self._finding = asyncio.get_running_loop().create_task(self._find())

    async def _find(self) -> None:
        patience = min(PATIENCE_SECONDS, self._deadline - asyncio.get_running_loop().time())
        try:
            worker = await self.party.pool.find(self._key_id, self._asked, patience)
            if worker is None:
                raise self._failure or BusyError("no worker is ready")
            self._ask(worker)
        except Exception as exc:  # noqa: BLE001 - the edge where every error becomes an answer
            self.end(exc)

    def _ask(self, worker: Worker) -> None:
        gateway = self.party
        if self._asked:
            gateway.count_retry()
        else:
            gateway.duplicates.insert(self._digest)
        self._asked.add(worker.index)
        self._worker = worker
        link = gateway.links[worker.index]
        within = self._deadline - asyncio.get_running_loop().time()
        self._give_up = self.send_to(link.requests, link.heads[self._media_type], within=within).give_up
        worker.carried.add(self._give_up)

    @property
    def _media_type(self) -> str:
        return self.transaction.request.media_type

    def _let_go(self) -> Worker:
        """Count the request as in flight with its worker no more."""
        worker, self._worker = self._worker, None
        assert worker is not None
        assert self._give_up is not None
        worker.carried.discard(self._give_up)
        return worker
