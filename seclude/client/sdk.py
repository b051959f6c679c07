"""The SDK that an app embeds: verify the pool, then ask it.

    async with Client(load_trust(path)) as client:
        answer = await client.summarize(messages)

The client sends nothing before the key bundle of the current epoch has passed every step of `verify_bundle`, and it
never falls back to less. What comes back outside the encapsulation was written by the relay or the gateway, which are
not trusted: it can make a request fail, or start one retry with a fresh encapsulation, and no more.
"""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Self

from seclude import bhttp
from seclude.attestation.steps import Step
from seclude.attestation.verify import TrustedPool
from seclude.client.answers import parse_problem
from seclude.client.asking import Observer, Streaming, ask, ask_streaming
from seclude.client.consistency import Agreement, Sightings
from seclude.client.events import EventReader
from seclude.client.keys import Keys
from seclude.client.relays import Endpoint, Relays
from seclude.client.trees import Trees
from seclude.client.trust import Trust
from seclude.errors import DATE, ConfigError, TaskError, UpstreamError
from seclude.ohttp.media import EVENT_STREAM
from seclude.tasks import (
    ABSTRACT_EVENT,
    ERROR_EVENT,
    HIGHLIGHT_EVENT,
    JSON,
    MAX_REQUEST_BYTES,
    REWRITE_PATH,
    SUMMARIZE_PATH,
    SUMMARY_EVENT,
    Highlight,
    Message,
    Problem,
    RewriteRequest,
    RewriteResponse,
    Sentence,
    SummarizeRequest,
    SummarizeResponse,
    Tone,
    decode,
    encode,
)

Told = Highlight | Sentence | SummarizeResponse
"""What a streamed summary gives: highlights, sentences of the abstract, and at the end the whole."""


async def summary_of(answer: Streaming) -> AsyncGenerator[Told, None]:
    """Yield what the events of a summary say; raises where the last of them is missing or is an error."""
    reader, summary = EventReader(), None
    async with aclosing(answer.content()) as pieces:
        async for piece in pieces:
            for event in reader.feed(piece):
                if event.name == HIGHLIGHT_EVENT:
                    yield decode(Highlight, event.data)
                elif event.name == ABSTRACT_EVENT:
                    yield decode(Sentence, event.data)
                elif event.name == SUMMARY_EVENT:
                    summary = decode(SummarizeResponse, event.data)
                elif event.name == ERROR_EVENT:
                    raise _failure(decode(Problem, event.data))
    if summary is None:
        raise UpstreamError("the worker ended the answer without the summary; try again later")
    yield summary


def _failure(problem: Problem) -> TaskError:
    """Return what to raise where the worker fails after it has begun to answer."""
    return TaskError(problem.detail or problem.title or "the worker failed", status=problem.status or 500)


def _check_size(content: bytes) -> None:
    if len(content) > MAX_REQUEST_BYTES:
        raise TaskError(
            f"the request has {len(content)} octets; the largest is {MAX_REQUEST_BYTES}: send less", status=413
        )


def _corrected_date(response: bhttp.Response) -> bytes | None:
    """Return the worker's own date where it refuses ours, for one retry and nothing else (RFC 9458, section 6.5.2)."""
    if response.status != 400 or _problem_of(response).type != DATE:
        return None
    return bhttp.get(response.fields, b"date")


def _task_error(response: bhttp.Response) -> TaskError:
    problem = _problem_of(response)
    sentence = problem.detail or problem.title or f"the worker answered {response.status}"
    return TaskError(sentence, status=response.status)


def _problem_of(response: bhttp.Response) -> Problem:
    """Return the problem document of an inner response."""
    kind = bhttp.get(response.fields, b"content-type")
    return parse_problem(kind.decode("latin-1") if kind else None, response.content)


class Client:
    """Asks attested workers through relays; keys are kept in memory for their epoch, and nothing else is.

    `evidence` is the file to write where two sources give different keys, as `Sightings` says; without it none is.
    `trees` is the file that keeps the newest trees of the ledger's logs (`Trees`), for a program that runs once for
    each question; without it they are kept in memory.

    Whatever sends a request takes `used`, which is called with the keys that the request is encapsulated for, before
    any of it is sent, and again where it is sent anew; `receipts.ReceiptFile` keeps them. Where it raises, nothing is
    sent.
    """

    def __init__(
        self,
        trust: Trust,
        *,
        clock: Callable[[], float] = time.time,
        evidence: Path | None = None,
        trees: Path | None = None,
    ) -> None:
        self._origin = trust.origin
        self._clock = clock
        self._relays = Relays(trust.relays)
        self._gateway = None if trust.gateway is None else Endpoint.connect(trust.gateway, "gateway")
        urls = [endpoint.url for endpoint in self._sources()]
        if len(set(urls)) != len(urls):
            raise ConfigError("trust file: relays and gateway name one place twice; each must be named once")
        policy = trust.policy()
        self._trees = Trees(policy.ledger, trees)
        self._keys = Keys(policy, self._relays, Sightings(evidence), self._trees, clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Drop the connections and the keys."""
        await self._keys.close()
        for endpoint in self._sources():
            await endpoint.hop.close()

    async def verify(self, *, observe: Callable[[Step], None] | None = None) -> TrustedPool:
        """Fetch the key bundles and verify the present slot's; `observe` is called with each step that passes.

        Raises VerificationError with the number of the step that failed, UpstreamError or BusyError.
        """
        return await self._keys.verify(observe)

    async def check_consistency(
        self, *, observe: Callable[[Step], None] | None = None
    ) -> tuple[TrustedPool, Agreement]:
        """Fetch the key bundles from every relay and from the gateway where the trust file names it, and compare them.

        The gateway sees this device's address, though nothing of any request. What was verified is what is asked next.
        Raises as `verify` does, and ConfigError where the trust file names one source only.
        """
        return await self._keys.verify_everywhere(self._sources(), observe)

    @property
    def forgetful(self) -> str | None:
        """Why the file of trees could not be written, if it could not be."""
        return self._trees.unwritten

    def _sources(self) -> tuple[Endpoint, ...]:
        return self._relays.endpoints if self._gateway is None else (*self._relays.endpoints, self._gateway)

    async def summarize(
        self,
        messages: Sequence[Message],
        *,
        max_highlights: int | None = None,
        abstract: bool = True,
        used: Observer | None = None,
    ) -> SummarizeResponse:
        """Return the highlights of a chat, oldest message first, and an abstract if a model of the pool wrote one.

        Raises TaskError, UpstreamError, VerificationError.
        """
        request = SummarizeRequest(messages=tuple(messages), max_highlights=max_highlights, abstract=abstract)
        return decode(SummarizeResponse, await self._post_json(SUMMARIZE_PATH, encode(request), used))

    async def summarize_stream(
        self,
        messages: Sequence[Message],
        *,
        max_highlights: int | None = None,
        abstract: bool = True,
        used: Observer | None = None,
    ) -> AsyncGenerator[Told, None]:
        """Yield each highlight, each sentence of the abstract, and the whole summary; raises as `summarize` does.

        A stream that ends without the summary was cut short, and raises UpstreamError.
        """
        request = SummarizeRequest(messages=tuple(messages), max_highlights=max_highlights, abstract=abstract)
        content = encode(request)
        _check_size(content)
        date = self._date()
        for last in (False, True):
            message = self._inner(SUMMARIZE_PATH, content, date, accept=EVENT_STREAM)
            async with self.stream(message, used=used) as answer:
                if answer.head.status == 200:
                    async with aclosing(summary_of(answer)) as events:
                        async for each in events:
                            yield each
                    return
                refused = bhttp.Response(answer.head.status, answer.head.fields, await answer.read())
            corrected = _corrected_date(refused)
            if last or corrected is None:
                raise _task_error(refused)
            date = corrected

    async def rewrite(self, text: str, tone: Tone, *, used: Observer | None = None) -> RewriteResponse:
        """Return a suggestion for a text; raises as `summarize` does."""
        request = RewriteRequest(text=text, tone=tone)
        return decode(RewriteResponse, await self._post_json(REWRITE_PATH, encode(request), used))

    async def _post_json(self, path: str, content: bytes, used: Observer | None) -> bytes:
        _check_size(content)
        date = self._date()
        response = await self.request(self._inner(path, content, date), used=used)
        corrected = _corrected_date(response)
        if corrected is not None:
            response = await self.request(self._inner(path, content, corrected), used=used)
        if response.status != 200:
            raise _task_error(response)
        return response.content

    def _date(self) -> bytes:
        """Return this device's time as a Date field has it (RFC 9110, section 5.6.7)."""
        try:
            return formatdate(self._clock(), usegmt=True).encode()
        except (ValueError, OverflowError, OSError):
            raise ConfigError("this device's clock shows a time that no calendar has; set it") from None

    def _inner(self, path: str, content: bytes, date: bytes, *, accept: str | None = None) -> bhttp.Request:
        """Return a request with JSON, and a Date, which lets the worker bound how long it could be replayed."""
        fields = [bhttp.Field(b"content-type", JSON.encode()), bhttp.Field(b"date", date)]
        if accept is not None:
            fields.append(bhttp.Field(b"accept", accept.encode()))
        return bhttp.Request(b"POST", b"https", self._origin.encode(), path.encode(), tuple(fields), content)

    async def request(self, message: bhttp.Request, *, used: Observer | None = None) -> bhttp.Response:
        """Send one inner request to the pool and return the inner response, whatever its status.

        It is sent again only where it surely was not processed; see `asking`.
        """
        return await ask(self._keys, self._relays, message, used)

    def stream(self, message: bhttp.Request, *, used: Observer | None = None) -> AbstractAsyncContextManager[Streaming]:
        """Send one inner request in chunks; the block gets the inner response, whose content comes as it is made."""
        return ask_streaming(self._keys, self._relays, message, used)
