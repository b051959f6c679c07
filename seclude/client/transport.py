"""Transports for httpx2 and httpx: an app keeps its OpenAI library, and asks the pool without a local address.

    client = OpenAI(
        base_url=BASE_URL, api_key="unused", http_client=httpx2.Client(transport=PoolTransport(load_trust(path)))
    )

Requests and answers are those of `seclude proxy` (docs/proxy.md), errors too; of a request's fields none goes on. One
class serves both libraries: it answers in the types of whichever asked, and imports neither. A read timeout counts, as
on a network, for the beginning of an answer and for each piece. With asyncio only.
"""

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from seclude.client.proxy.door import Door, Local, Reply
from seclude.client.sdk import Client
from seclude.client.trust import Trust
from seclude.errors import UsageError

BASE_URL: Final = "http://seclude.invalid/v1"
"""No such host exists (RFC 6761, section 6.4): a request that does not go through a transport goes nowhere."""
LATE: Final = "the answer did not come within the read timeout"

T = TypeVar("T")

if TYPE_CHECKING:
    _Transport = Any  # so that a checker takes these for what either library calls a transport
    _Library = Any
else:
    _Transport = _Library = object


class _Request(Protocol):
    """What is used of a request, in both libraries."""

    method: str
    url: Any
    headers: Any
    extensions: Any

    def read(self) -> bytes: ...

    async def aread(self) -> bytes: ...


class Opened:
    """One answer under way, on the loop that it was opened on: pieces and end come one after the other."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._stack = AsyncExitStack()
        self._turn = asyncio.Lock()
        self._pieces: AsyncGenerator[bytes, None] | None = None

    async def begin(self, local: Local) -> Reply:
        """Return the answer; whoever has it calls `end`."""
        async with self._turn:
            reply = await self._stack.enter_async_context(self._door.answering(local))
            if not isinstance(reply.body, bytes):
                self._pieces = reply.body
            return reply

    async def next(self) -> bytes | None:
        """Return the next piece, or None where there are no more."""
        async with self._turn:
            return None if self._pieces is None else await anext(self._pieces, None)

    async def end(self) -> None:
        """End the answer, and the request to the pool where it still runs."""
        async with self._turn:  # after what was cancelled, which may still be on its way out
            if self._pieces is not None:
                await self._pieces.aclose()
            await self._stack.aclose()


class AsyncPoolTransport(_Transport):  # type: ignore[misc]
    """For `httpx2.AsyncClient` and `httpx.AsyncClient`; closed with them."""

    def __init__(self, trust: Trust, *, evidence: Path | None = None, trees: Path | None = None) -> None:
        self._client = Client(trust, evidence=evidence, trees=trees)
        self._door = Door(self._client, trust.origin)

    async def __aenter__(self) -> "AsyncPoolTransport":
        return self

    async def __aexit__(self, *_failure: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Drop the connections and the keys."""
        await self._client.close()

    async def handle_async_request(self, request: _Request) -> Any:
        """Answer a request of either library."""
        library, seconds = _library_of(request), _read_seconds(request)
        opened = Opened(self._door)
        local = _local(request, await request.aread())
        try:
            async with asyncio.timeout(seconds):
                reply = await opened.begin(local)
        except TimeoutError:
            raise library.ReadTimeout(LATE, request=request) from None
        if isinstance(reply.body, bytes):
            await opened.end()
            return _whole(library, request, reply)
        return _answer(library, request, reply, _async_stream(library)(opened, request, seconds))


class PoolTransport(_Transport):  # type: ignore[misc]
    """For `httpx2.Client` and `httpx.Client`, on any thread; closed with them. One background thread runs a loop."""

    def __init__(self, trust: Trust, *, evidence: Path | None = None, trees: Path | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="seclude-transport", daemon=True)
        self._thread.start()
        self._opened: set[Opened] = set()
        self._ending: set[asyncio.Task[None]] = set()
        try:
            self._client, self._door = self.run(self._open(trust, evidence, trees), None)
        except BaseException:
            self._stop()
            raise

    @staticmethod
    async def _open(trust: Trust, evidence: Path | None, trees: Path | None) -> tuple[Client, Door]:
        client = Client(trust, evidence=evidence, trees=trees)
        return client, Door(client, trust.origin)

    def run(self, work: Coroutine[None, None, T], seconds: float | None) -> T:
        """Wait for some work on the loop; what waits no longer, for whatever reason, cancels it."""
        if self._loop.is_closed():
            work.close()
            raise UsageError("the transport was closed")
        asked: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return asked.result(seconds)
        finally:
            asked.cancel()  # does nothing where it is done

    def __enter__(self) -> "PoolTransport":
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()

    def close(self) -> None:
        """End what is under way, and drop the connections and the keys; a second call does nothing."""
        if not self._loop.is_closed():
            self.run(self._end_all(), None)
            self._stop()

    async def _end_all(self) -> None:
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for opened in tuple(self._opened):
            await opened.end()
        await self._client.close()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def handle_request(self, request: _Request) -> Any:
        """Answer a request of either library."""
        library, seconds = _library_of(request), _read_seconds(request)
        local = _local(request, request.read())
        opened = Opened(self._door)
        streaming = False
        try:
            reply = self.run(self._begin(opened, local), seconds)
            streaming = not isinstance(reply.body, bytes)
        except TimeoutError:
            raise library.ReadTimeout(LATE, request=request) from None
        finally:
            if not streaming:
                self.end(opened)
        if not streaming:
            return _whole(library, request, reply)
        return _answer(library, request, reply, _stream(library)(self, opened, request, seconds))

    async def _begin(self, opened: Opened, local: Local) -> Reply:
        self._opened.add(opened)
        return await opened.begin(local)

    def end(self, opened: Opened) -> None:
        """Let an answer end, without waiting for it: this may be called wherever a generator is collected."""

        async def ending() -> None:
            await opened.end()
            self._opened.discard(opened)

        def end() -> None:
            self._ending.add(task := self._loop.create_task(ending()))
            task.add_done_callback(self._ending.discard)

        with suppress(RuntimeError):  # the transport was closed, and the answer with it
            self._loop.call_soon_threadsafe(end)


def _library_of(request: _Request) -> Any:
    return sys.modules[type(request).__module__.partition(".")[0]]


def _read_seconds(request: _Request) -> float | None:
    seconds = request.extensions.get("timeout", {}).get("read")
    return None if seconds is None else float(seconds)


def _local(request: _Request, body: bytes) -> Local:
    path = request.url.raw_path.decode("ascii")
    return Local(request.method, path, request.headers.get("content-type"), body)


def _whole(library: _Library, request: _Request, reply: Reply) -> Any:
    return library.Response(reply.status, headers=list(reply.fields), content=reply.body, request=request)


def _answer(library: _Library, request: _Request, reply: Reply, stream: object) -> Any:
    return library.Response(reply.status, headers=list(reply.fields), stream=stream, request=request)


@cache
def _stream(library: _Library) -> Any:
    """Return a stream of the library's own kind."""

    class Pieces(library.SyncByteStream):  # type: ignore[misc]
        def __init__(self, transport: PoolTransport, opened: Opened, request: _Request, seconds: float | None) -> None:
            self._transport, self._opened, self._request, self._seconds = transport, opened, request, seconds

        def __iter__(self) -> Iterator[bytes]:
            try:
                while (piece := self._transport.run(self._opened.next(), self._seconds)) is not None:
                    yield piece
            except TimeoutError:
                raise library.ReadTimeout(LATE, request=self._request) from None

        def close(self) -> None:
            self._transport.end(self._opened)

    return Pieces


@cache
def _async_stream(library: _Library) -> Any:
    """Return a stream of the library's own kind."""

    class Pieces(library.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, opened: Opened, request: _Request, seconds: float | None) -> None:
            self._opened, self._request, self._seconds = opened, request, seconds

        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                while True:
                    async with asyncio.timeout(self._seconds):
                        piece = await self._opened.next()
                    if piece is None:
                        return
                    yield piece
            except TimeoutError:
                raise library.ReadTimeout(LATE, request=self._request) from None

        async def aclose(self) -> None:
            await self._opened.end()

    return Pieces
