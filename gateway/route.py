"""What the gateway answers: keys to those who ask for them, and the pool's answer to an encapsulated request.

A request is opaque. Its first seven octets name the key, which decides who can open it, and the encapsulated key after
them is compared with those of others; nothing else of it is read, and nothing but the two bodies passes, in either
direction.
"""

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

from gateway.duplicates import Duplicates, digest_of
from gateway.epochs import Reconciler
from gateway.link import Link
from gateway.pool import Pool, Worker
from seclude.daemon.accept import choose
from seclude.daemon.messages import Request, Response, UpstreamResponse
from seclude.daemon.problems import refusal
from seclude.daemon.upstream import Attempt, ExchangeError
from seclude.errors import BusyError, Error, MediaTypeError, UnknownKeyError, UpstreamError
from seclude.ohttp.keyconfig import parse_request_header
from seclude.ohttp.media import GATEWAY_PATH, KEY_BUNDLE, OHTTP_KEYS, OHTTP_REQ, OHTTP_RES, media_type

PATIENCE_SECONDS: Final = 2.0  # in which a worker that was restarted, or the next one of the pool, is noticed
MAX_AGE: Final = 10  # seconds that a cache may keep the keys; relays fetch every five

# What a worker may say about a request that it did not open. Everything else that is no answer becomes 502.
PASSED: Final = frozenset({400, 413, 415})


class Gateway:
    """The handler."""

    def __init__(
        self,
        pool: Pool,
        links: Sequence[Link],
        reconciler: Reconciler,
        *,
        deadline_seconds: float,
        count_retry: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._links = links
        self._reconciler = reconciler
        self._deadline_seconds = deadline_seconds
        self._count_retry = count_retry
        self._duplicates = Duplicates()

    async def handle(self, request: Request) -> Response:
        """Answer one request of a relay."""
        if request.path != GATEWAY_PATH:
            return refusal(404)
        if request.method == "GET":
            return self._keys(request)
        if request.method != "POST":
            return refusal(405, fields=(("Allow", "GET, POST"),))
        if media_type(request.content_type) != OHTTP_REQ:
            raise MediaTypeError("request is not message/ohttp-req")
        body = await request.body.read()
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return _rebuild(await self._ask(body, parse_request_header(body).key_id, digest_of(body)))
        except TimeoutError:
            raise UpstreamError("no worker answered in time", timed_out=True) from None

    def _keys(self, request: Request) -> Response:
        """Answer with what is published for the slot of now, the same for everybody."""
        wanted = choose(request.accept, (OHTTP_KEYS, KEY_BUNDLE))
        if wanted is None:
            return refusal(406)
        offer = self._reconciler.offer
        if offer is None:
            raise BusyError("nothing is published for this slot")
        age = max(0, min(MAX_AGE, int(self._reconciler.seconds_left)))
        caching = (("Cache-Control", f"public, max-age={age}"), ("Vary", "Accept"))
        return Response(200, wanted, offer.key_configs if wanted == OHTTP_KEYS else offer.bundle, caching)

    async def _ask(self, body: bytes, key_id: int, digest: bytes) -> UpstreamResponse:
        """Return a worker's answer. Each worker is asked at most once, and another one only while that is harmless.

        That is when no octet of an answer came from a worker that broke off or is heard of no more, or when a worker
        said that it did not begin. One that is silent until the deadline and answers its polls may be at work: nobody
        else is asked (RFC 9458, section 6.5). A request is a duplicate from when a worker is first asked, unless in
        the end surely none began: then whoever asked may send it again.
        """
        asked: set[int] = set()
        idle: set[int] = set()  # those who surely did not begin
        failure: Error | None = None
        try:
            while (worker := await self._pool.find(key_id, asked, PATIENCE_SECONDS)) is not None:
                if asked:
                    self._count_retry()
                else:
                    self._duplicates.insert(digest)
                asked.add(worker.index)
                try:
                    return await self._try(worker, body, key_id)
                except (BusyError, UnknownKeyError) as exc:
                    idle.add(worker.index)
                    # A key is unknown only if everyone says so.
                    failure = exc if failure is None or isinstance(exc, BusyError) else failure
                except ExchangeError as exc:
                    if exc.answered:
                        raise
                    idle |= set() if exc.sent else {worker.index}
                    failure = exc
        finally:
            if asked and asked == idle:
                self._duplicates.forget(digest)
        raise failure or BusyError("no worker is ready")

    async def _try(self, worker: Worker, body: bytes, key_id: int) -> UpstreamResponse:
        """Return one worker's answer; raises BusyError or UnknownKeyError where it said that it did not begin.

        A fault of the worker's own, such as 500, does not tell whether it had begun, so the request ends with it. But
        the worker is out until its next poll: failing takes no time, and as the least busy one it would be given all.
        """
        attempt = Attempt()
        try:
            with self._pool.carrying(worker, attempt.give_up):
                answer = await self._links[worker.index].ask(body, attempt)
        except ExchangeError as exc:
            if not exc.timed_out:
                self._pool.fail(worker)
            raise
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise BusyError("every worker is busy")
        if answer.status == UnknownKeyError.status:
            self._pool.lacks(worker, key_id)
            raise UnknownKeyError("no worker holds this key")
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._pool.fail(worker)
        return answer


def _rebuild(answer: UpstreamResponse) -> Response:
    """Write a worker's answer anew."""
    if answer.status == HTTPStatus.OK and media_type(answer.content_type) == OHTTP_RES and answer.body:
        return Response(200, OHTTP_RES, answer.body)
    if answer.status in PASSED:
        return refusal(answer.status)
    raise UpstreamError("the worker's answer is none that is known here")
