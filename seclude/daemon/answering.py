"""Handlers that are coroutines: one task for each request, which reads the body when it wants it and answers it.

For those who do not move bytes but work on them: the worker's front and the admin ports. A client that goes away
cancels its task.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from seclude.daemon.messages import Handler, Request, Streamed
from seclude.daemon.transaction import Transaction


def answering(handler: Handler) -> Callable[[Transaction], None]:
    """Return what a `Server` calls for each request."""

    def handle(transaction: Transaction) -> None:
        _Answering(transaction, handler)

    return handle


class _Answering:
    """One request and its task; it is the body that the handler reads, too."""

    __slots__ = ("_complete", "_failure", "_held", "_pieces", "_relieved", "_task", "_transaction", "_wake")

    def __init__(self, transaction: Transaction, handler: Handler) -> None:
        self._transaction = transaction
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._failure: Exception | None = None
        self._wake: asyncio.Future[None] | None = None  # of a handler that waits for the body
        self._relieved: asyncio.Future[None] | None = None  # of an answer that waits for the client
        try:
            transaction.carry(self)
        except Exception as exc:  # noqa: BLE001 - raised again when the handler reads the body
            self._failure = exc
        head = transaction.request
        request = Request(head.method, head.path, head.content_type, head.accept, head.content_length, self)
        self._complete = head.content_length == 0
        self._task = asyncio.get_running_loop().create_task(self._run(handler, request))

    async def _run(self, handler: Handler, request: Request) -> None:
        try:
            response = await handler(request)
            if isinstance(response, Streamed):
                await self._stream(response)
            else:
                self._transaction.respond(response)
        except Exception as exc:  # noqa: BLE001 - the edge where every error becomes an answer
            self._transaction.fail(exc)
        finally:
            self._give_back(self._held)
            del self._transaction  # what the task knows must not outlive it

    async def _stream(self, answer: Streamed) -> None:
        """Send an answer as it is made, no faster than the client takes it."""
        async with aclosing(answer.pieces) as pieces:
            async for piece in pieces:
                if not self._transaction.begun:
                    self._transaction.begin(answer.content_type, None, answer.fields)
                if self._transaction.done:  # it cannot be told to this client
                    return
                self._transaction.write(piece)
                if self._relieved is not None:
                    await self._relieved
        self._transaction.finish()

    async def read(self) -> bytes:
        """Return the whole body; raises TooLargeError where it is known to be too long."""
        while not self._complete and self._failure is None:
            await self._more()
        if self._failure is not None:
            raise self._failure
        pieces = list(self._pieces)
        self._pieces.clear()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Return the body as it comes; from the first piece on, the request counts as one that is worked on."""
        while True:
            if self._failure is not None:
                raise self._failure
            while self._pieces:
                self._transaction.admit(whole=self._complete)
                piece = self._pieces.popleft()
                self._give_back(min(self._held, len(piece)))
                yield piece
            if self._complete:
                return
            await self._more()

    def body(self, piece: bytes, *, ended: bool) -> None:
        """Keep a piece; with the last one let the request be counted as in flight."""
        if piece:
            self._pieces.append(piece)
        if ended:
            self._give_back(self._held)
            self._transaction.admit()
            self._complete = True
        else:
            self._transaction.hold(len(piece))
            self._held += len(piece)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def client_lost(self) -> None:
        """Cancel the task."""
        self._give_back(self._held)
        self._task.cancel()

    def client_congested(self) -> None:
        """Let an answer that comes in pieces wait."""
        if self._relieved is None:
            self._relieved = asyncio.get_running_loop().create_future()

    def client_relieved(self) -> None:
        """Let it come."""
        if self._relieved is not None:
            relieved, self._relieved = self._relieved, None
            if not relieved.done():
                relieved.set_result(None)

    async def _more(self) -> None:
        self._wake = asyncio.get_running_loop().create_future()
        await self._wake

    def _give_back(self, octets: int) -> None:
        if octets:
            self._transaction.hold(-octets)
            self._held -= octets
