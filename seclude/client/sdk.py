"""The SDK that an app embeds: verify the pool, then ask it.

    async with Client(load_trust(path)) as client:
        answer = await client.summarize(messages)

The client sends nothing before the key bundle of the current epoch has passed every step of `verify_bundle`, and it
never falls back to less. What comes back outside the encapsulation was written by the relay or the gateway, which are
not trusted: it can make a request fail, or start one retry with a fresh encapsulation, and no more.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from seclude import bhttp
from seclude.attestation.verify import Step, TrustedPool, verify_bundle
from seclude.client.hop import Hop
from seclude.client.trust import Trust
from seclude.daemon.messages import UpstreamResponse
from seclude.errors import (
    DATE,
    OHTTP_KEY,
    BusyError,
    ConfigError,
    DecodeError,
    Error,
    OpenError,
    TaskError,
    UpstreamError,
)
from seclude.ohttp.encapsulation import encapsulate_request
from seclude.ohttp.media import GATEWAY_PATH, KEY_BUNDLE, OHTTP_REQ, OHTTP_RES, PROBLEM, media_type
from seclude.tasks import (
    JSON,
    MAX_REQUEST_BYTES,
    REWRITE_PATH,
    SUMMARIZE_PATH,
    Message,
    Problem,
    RewriteRequest,
    RewriteResponse,
    SummarizeRequest,
    SummarizeResponse,
    Tone,
    decode,
    encode,
)


def _parse_problem(content_type: str | None, content: bytes) -> Problem:
    """Return a peer's problem document, or an empty one where it is none."""
    if media_type(content_type) != PROBLEM:
        return Problem()
    try:
        return decode(Problem, content)
    except DecodeError:
        return Problem()


def _problem_of(response: bhttp.Response) -> Problem:
    """Return the problem document of an inner response."""
    kind = bhttp.get(response.fields, b"content-type")
    return _parse_problem(kind.decode("latin-1") if kind else None, response.content)


class Client:
    """Asks attested workers through one relay; verified keys are kept in memory for their epoch, nothing else is."""

    def __init__(self, trust: Trust, *, clock: Callable[[], float] = time.time) -> None:
        self._policy = trust.policy()
        self._origin = trust.origin
        self._clock = clock
        self._relay, self._path = _connect(trust.relay)
        self._pool: TrustedPool | None = None
        self._seen: dict[int, bytes] = {}
        self._verifying: asyncio.Task[TrustedPool] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Drop the connections to the relay and the keys."""
        self._pool = None
        if self._verifying is not None:
            self._verifying.cancel()
            await asyncio.wait({self._verifying})
        await self._relay.close()

    async def fetch_bundle(self) -> bytes:
        """Return the relay's copy of the key bundle, unverified; raises UpstreamError."""
        answer = await self._ask_relay("GET", accept=KEY_BUNDLE)
        if answer.status == 503:
            raise BusyError(f"no worker is ready: the relay has no keys to give; {_when(answer)}")
        if answer.status != 200 or media_type(answer.content_type) != KEY_BUNDLE:
            raise UpstreamError(
                f"the relay gave no key bundle (status {answer.status}); check `relay` in the trust file"
            )
        return answer.body

    async def verify(self, *, observe: Callable[[Step], None] | None = None) -> TrustedPool:
        """Fetch the key bundle and verify it; `observe` is called with each step that passes.

        Raises VerificationError with the number of the step that failed, UpstreamError or BusyError.
        """
        bundle = await self.fetch_bundle()
        pool = verify_bundle(bundle, self._policy, self._clock(), self._seen, observe=observe)
        # Cores of epochs that can no longer be accepted need no remembering.
        self._seen = {epoch: core for epoch, core in self._seen.items() if epoch >= pool.epoch - 1}
        self._seen[pool.epoch] = pool.core_digest
        self._pool = pool
        return pool

    async def _trusted_pool(self) -> TrustedPool:
        """Return the verified pool of the current epoch, fetched once per epoch however many ask at once."""
        if self._pool is not None and self._clock() < self._pool.expires_at:
            return self._pool
        if self._verifying is None or self._verifying.done():
            self._verifying = asyncio.create_task(self.verify())
        # Shielded, so that one caller who gives up does not take the answer, or the failure, from the others.
        return await asyncio.shield(self._verifying)

    async def summarize(self, messages: Sequence[Message], *, max_highlights: int | None = None) -> SummarizeResponse:
        """Return the highlights of a chat, oldest message first; raises TaskError, UpstreamError, VerificationError."""
        request = SummarizeRequest(messages=tuple(messages), max_highlights=max_highlights)
        return decode(SummarizeResponse, await self._post_json(SUMMARIZE_PATH, encode(request)))

    async def rewrite(self, text: str, tone: Tone) -> RewriteResponse:
        """Return a suggestion for a text; raises as `summarize` does."""
        return decode(
            RewriteResponse, await self._post_json(REWRITE_PATH, encode(RewriteRequest(text=text, tone=tone)))
        )

    async def _post_json(self, path: str, content: bytes) -> bytes:
        if len(content) > MAX_REQUEST_BYTES:
            raise TaskError(
                f"the request has {len(content)} octets; the largest is {MAX_REQUEST_BYTES}: send less", status=413
            )
        response = await self._post_dated(path, content, formatdate(self._clock(), usegmt=True).encode())
        if response.status == 400 and _problem_of(response).type == DATE:
            # The worker's own date, taken for this one retry and kept for nothing else (RFC 9458, section 6.5.2).
            corrected = bhttp.get(response.fields, b"date")
            if corrected is not None:
                response = await self._post_dated(path, content, corrected)
        if response.status != 200:
            problem = _problem_of(response)
            sentence = problem.detail or problem.title or f"the worker answered {response.status}"
            raise TaskError(sentence, status=response.status)
        return response.content

    async def _post_dated(self, path: str, content: bytes, date: bytes) -> bhttp.Response:
        """Post JSON with a Date, which lets the worker bound how long a request could be replayed."""
        fields = (bhttp.Field(b"content-type", JSON.encode()), bhttp.Field(b"date", date))
        return await self.request(
            bhttp.Request(b"POST", b"https", self._origin.encode(), path.encode(), fields, content)
        )

    async def request(self, message: bhttp.Request) -> bhttp.Response:
        """Send one inner request to the pool and return the inner response, whatever its status.

        Where the key is not known or does not open the request, which then was surely not processed or cannot be, it is
        fetched and verified anew once; nothing else is sent twice, since a request that may have been processed must
        not be repeated without the caller's word (RFC 9458, section 6.5).
        """
        data = bhttp.serialize_request(message)
        for last in (False, True):
            pool = await self._trusted_pool()
            encapsulated, opener = encapsulate_request(pool.key_configs[0], data)
            answer = await self._ask_relay("POST", content_type=OHTTP_REQ, body=encapsulated)
            if answer.status == 200 and media_type(answer.content_type) == OHTTP_RES:
                try:
                    return bhttp.parse_response(opener.open(answer.body))
                except (OpenError, DecodeError):
                    raise UpstreamError(
                        "the answer was changed on its way or does not belong to this request; nothing of it is shown"
                    ) from None
            problem = _parse_problem(answer.content_type, answer.body)
            # A plain 400 may mean that the pool was lost and has another key under the same identifier.
            if (problem.type == OHTTP_KEY or answer.status == 400) and not last:
                self._pool = None
                continue
            break
        raise _refusal(answer, problem)

    async def _ask_relay(
        self, method: str, *, accept: str | None = None, content_type: str | None = None, body: bytes = b""
    ) -> UpstreamResponse:
        try:
            return await self._relay.exchange(method, self._path, accept=accept, content_type=content_type, body=body)
        except UpstreamError as exc:
            if exc.timed_out:
                raise UpstreamError("the relay did not answer in time; try again later", timed_out=True) from exc
            raise UpstreamError("the relay cannot be reached; check the network and `relay` in the trust file") from exc


def _connect(url: str) -> tuple[Hop, str]:
    """Return the way to the relay, without using it yet, and the path to ask; raises ConfigError."""
    try:
        relay = urlsplit(url)
        return Hop(f"{relay.scheme}://{relay.netloc}"), relay.path.rstrip("/") or GATEWAY_PATH
    except (ConfigError, ValueError):
        raise ConfigError(
            "trust file: relay must be https://HOST[:PORT] with or without a path, or http:// on this machine"
        ) from None


def _refusal(answer: UpstreamResponse, problem: Problem) -> Error:
    """Say in one sentence what an answer from outside the encapsulation means for the person who asked."""
    if problem.type == OHTTP_KEY:
        return UpstreamError("the gateway does not know the current key, twice; its pool is being replaced: try again")
    match answer.status:
        case 400:
            return UpstreamError("the pool cannot open what was sealed to its current key, twice; try again later")
        case 503 | 429:
            return BusyError(f"no worker is free; {_when(answer)}")
        case 502:
            return UpstreamError("the gateway cannot be reached through the relay; try again later")
        case 504:
            return UpstreamError("the gateway did not answer in time; ask for less, or try again later", timed_out=True)
        case 413:
            return TaskError("the request is too large for the relay; send fewer messages", status=413)
        case status:
            return UpstreamError(f"the relay refused the request (status {status}); check `relay` in the trust file")


def _when(answer: UpstreamResponse) -> str:
    """Say when to try again, as far as the answer promises anything."""
    seconds = answer.retry_after or ""
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 3):  # the relay may write anything
        return "try again later"
    return "try again in a few seconds" if int(seconds) <= 1 else f"try again in {seconds} seconds"
