"""The synchronous face of the SDK, for programs without an event loop.

    with SyncClient(load_trust(path)) as client:
        answer = client.summarize(messages)

One background thread runs one event loop for the life of the client; every call waits for its answer. Only the end of
a stream waits for nothing: it may come on any thread, the background one too, whenever a generator is collected.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from seclude import bhttp
from seclude.attestation.steps import Step
from seclude.attestation.verify import TrustedPool
from seclude.client.asking import Observer
from seclude.client.consistency import Agreement
from seclude.client.sdk import Client, Told
from seclude.client.trust import Trust
from seclude.errors import UsageError
from seclude.tasks import Message, RewriteResponse, SummarizeResponse, Tone

T = TypeVar("T")


class SyncClient:
    """Asks attested workers; may be used from several threads. Errors are those of `Client`.

    What it is given to call (`observe`, `used`) is called on the client's own thread.
    """

    def __init__(self, trust: Trust, *, evidence: Path | None = None, trees: Path | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._streams: set[AsyncGenerator[Told, None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._closing = False
        """From when on no work begins: what comes to the loop behind its end would never be answered."""
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._loop.run_forever, name="seclude-client", daemon=True)
        self._thread.start()
        try:
            self._client = self._run(self._open(trust, evidence, trees))
        except BaseException:
            self._stop()
            raise

    @staticmethod
    async def _open(trust: Trust, evidence: Path | None, trees: Path | None) -> Client:
        return Client(trust, evidence=evidence, trees=trees)

    def _begin(self, work: Coroutine[None, None, T]) -> Future[T]:
        with self._lock:
            if not self._closing:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        raise UsageError("the client was closed")

    def _run(self, work: Coroutine[None, None, T]) -> T:
        return self._begin(work).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connections and the keys, and end what is under way; a second call does nothing."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
        try:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        finally:
            self._stop()

    async def _end(self) -> None:
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        # One by one: the loop's own way to end all generators at once would end the inner ones under the outer ones.
        try:
            while self._streams:
                await self._streams.pop().aclose()
        finally:
            await self._client.close()

    def verify(self, *, observe: Callable[[Step], None] | None = None) -> TrustedPool:
        """Fetch and verify the key bundle; `observe` is called on the client's thread with each step that passes."""
        return self._run(self._client.verify(observe=observe))

    def check_consistency(self, *, observe: Callable[[Step], None] | None = None) -> tuple[TrustedPool, Agreement]:
        """Fetch the key bundles from every source, the gateway included, compare them and verify them."""
        return self._run(self._client.check_consistency(observe=observe))

    @property
    def forgetful(self) -> str | None:
        """Why the file of trees could not be written, if it could not be."""
        return self._client.forgetful

    def request(self, message: bhttp.Request, *, used: Observer | None = None) -> bhttp.Response:
        """Send one inner request and return the inner response, whatever its status."""
        return self._run(self._client.request(message, used=used))

    def summarize(
        self,
        messages: Sequence[Message],
        *,
        max_highlights: int | None = None,
        abstract: bool = True,
        used: Observer | None = None,
    ) -> SummarizeResponse:
        """Return the highlights of a chat, oldest message first, and an abstract if a model of the pool wrote one."""
        asked = self._client.summarize(messages, max_highlights=max_highlights, abstract=abstract, used=used)
        return self._run(asked)

    def summarize_stream(
        self,
        messages: Sequence[Message],
        *,
        max_highlights: int | None = None,
        abstract: bool = True,
        used: Observer | None = None,
    ) -> Iterator[Told]:
        """Yield each highlight, each sentence of the abstract, and the whole summary at the end."""
        stream = self._client.summarize_stream(messages, max_highlights=max_highlights, abstract=abstract, used=used)
        turn = asyncio.Lock()

        async def following() -> Told | None:
            self._streams.add(stream)
            async with turn:
                return await anext(stream, None)

        async def ending() -> None:
            async with turn:  # after what was cancelled, which may still be on its way out
                await stream.aclose()
            self._streams.discard(stream)

        def end() -> None:
            if self._closing:  # which ends all streams
                return
            self._ending.add(task := self._loop.create_task(ending()))
            task.add_done_callback(self._ending.discard)

        asked: Future[Told | None] | None = None
        try:
            while (each := (asked := self._begin(following())).result()) is not None:
                yield each
        finally:
            if asked is not None:
                asked.cancel()  # where Ctrl-C ended the wait for it
            with suppress(RuntimeError):  # the client was closed, and the stream with it
                self._loop.call_soon_threadsafe(end)

    def rewrite(self, text: str, tone: Tone, *, used: Observer | None = None) -> RewriteResponse:
        """Return a suggestion for a text."""
        return self._run(self._client.rewrite(text, tone, used=used))
