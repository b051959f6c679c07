"""What the gateway answers: keys to those who ask for them, and the pool's answer to an encapsulated request.

A request is opaque. Its first seven octets name the key, which decides who can open it; nothing else of it is read, and
nothing but the two bodies passes, in either direction.
"""

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

from gateway.duplicates import Duplicates
from gateway.epochs import Reconciler
from gateway.link import Link
from gateway.pool import Pool
from seclude.daemon.accept import choose
from seclude.daemon.messages import Request, Response, UpstreamResponse
from seclude.daemon.problems import refusal
from seclude.daemon.upstream import ExchangeError
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
        key_id = parse_request_header(body).key_id
        digest = self._duplicates.insert(body)
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return _rebuild(await self._ask(body, key_id))
        except (BusyError, UnknownKeyError):
            self._duplicates.forget(digest)  # the last word was "not begun", so whoever asked may send it again
            raise
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

    async def _ask(self, body: bytes, key_id: int) -> UpstreamResponse:
        """Return a worker's answer. Each worker is asked at most once, and another one only while that is harmless.

        That is when no octet of an answer came, or the worker said that it is too busy to begin. A worker that is
        silent until the deadline may be at work: nobody else is asked (RFC 9458, section 6.5).
        """
        asked: set[int] = set()
        failure: Error = BusyError("no worker is ready")
        while (worker := await self._pool.find(key_id, asked, PATIENCE_SECONDS)) is not None:
            if asked:
                self._count_retry()
            asked.add(worker.index)
            try:
                with self._pool.carrying(worker):
                    answer = await self._links[worker.index].ask(body)
            except ExchangeError as exc:
                if not exc.timed_out:
                    self._pool.fail(worker)
                if exc.answered:
                    raise
                failure = exc
                continue
            if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
                return answer
            failure = BusyError("every worker is busy")
        raise failure


def _rebuild(answer: UpstreamResponse) -> Response:
    """Write a worker's answer anew."""
    if answer.status == HTTPStatus.OK and media_type(answer.content_type) == OHTTP_RES and answer.body:
        return Response(200, OHTTP_RES, answer.body)
    if answer.status == UnknownKeyError.status:
        raise UnknownKeyError("the worker does not hold this key")
    if answer.status in PASSED:
        return refusal(answer.status)
    raise UpstreamError("the worker's answer is none that is known here")
