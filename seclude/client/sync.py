"""The synchronous face of the SDK, for programs without an event loop.

    with SyncClient(load_trust(path)) as client:
        answer = client.summarize(messages)

One background thread runs one event loop for the life of the client; every call waits for its answer.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from seclude import bhttp
from seclude.attestation.verify import Step, TrustedPool
from seclude.client.consistency import Agreement
from seclude.client.sdk import Client
from seclude.client.trust import Trust
from seclude.tasks import Highlight, Message, RewriteResponse, SummarizeResponse, Tone

T = TypeVar("T")


class SyncClient:
    """Asks attested workers; may be used from several threads. Errors are those of `Client`."""

    def __init__(self, trust: Trust, *, evidence: Path | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="seclude-client", daemon=True)
        self._thread.start()
        try:
            self._client = self._run(self._open(trust, evidence))
        except BaseException:
            self._stop()
            raise

    @staticmethod
    async def _open(trust: Trust, evidence: Path | None) -> Client:
        return Client(trust, evidence=evidence)

    def _run(self, work: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connections and the keys; a second call does nothing."""
        if not self._loop.is_closed():
            self._run(self._client.close())
            self._stop()

    def verify(self, *, observe: Callable[[Step], None] | None = None) -> TrustedPool:
        """Fetch and verify the key bundle; `observe` is called on the client's thread with each step that passes."""
        return self._run(self._client.verify(observe=observe))

    def check_consistency(self, *, observe: Callable[[Step], None] | None = None) -> tuple[TrustedPool, Agreement]:
        """Fetch the key bundles from every source, the gateway included, compare them and verify them."""
        return self._run(self._client.check_consistency(observe=observe))

    def request(self, message: bhttp.Request) -> bhttp.Response:
        """Send one inner request and return the inner response, whatever its status."""
        return self._run(self._client.request(message))

    def summarize(self, messages: Sequence[Message], *, max_highlights: int | None = None) -> SummarizeResponse:
        """Return the highlights of a chat, oldest message first."""
        return self._run(self._client.summarize(messages, max_highlights=max_highlights))

    def summarize_stream(
        self, messages: Sequence[Message], *, max_highlights: int | None = None
    ) -> Iterator[Highlight | SummarizeResponse]:
        """Yield each highlight when it is chosen, and the whole summary at the end."""
        stream = self._client.summarize_stream(messages, max_highlights=max_highlights)

        async def following() -> Highlight | SummarizeResponse | None:
            return await anext(stream, None)

        try:
            while (each := self._run(following())) is not None:
                yield each
        finally:
            self._run(stream.aclose())

    def rewrite(self, text: str, tone: Tone) -> RewriteResponse:
        """Return a suggestion for a text."""
        return self._run(self._client.rewrite(text, tone))
