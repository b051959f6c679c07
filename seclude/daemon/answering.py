"""Handlers that are coroutines: one task for each request, which reads the body when it wants it and answers it whole.

For those who do not move bytes but work on them: the worker's front and the admin ports. A client that goes away
cancels its task.
"""

import asyncio
from collections.abc import Callable

from seclude.daemon.messages import Handler, Request
from seclude.daemon.transaction import Transaction


def answering(handler: Handler) -> Callable[[Transaction], None]:
    """Return what a `Server` calls for each request."""

    def handle(transaction: Transaction) -> None:
        _Answering(transaction, handler)

    return handle


class _Answering:
    """One request and its task; it is the body that the handler reads, too."""

    __slots__ = ("_body", "_carried", "_failure", "_held", "_pieces", "_task", "_transaction")

    def __init__(self, transaction: Transaction, handler: Handler) -> None:
        self._transaction = transaction
        self._pieces: list[bytes] = []
        self._held = 0
        self._failure: Exception | None = None
        loop = asyncio.get_running_loop()
        self._body: asyncio.Future[bytes] = loop.create_future()
        try:
            transaction.carry(self)
        except Exception as exc:  # noqa: BLE001 - raised again when the handler reads the body
            self._failure = exc
        head = transaction.request
        request = Request(head.method, head.path, head.content_type, head.accept, head.content_length, self)
        if head.content_length == 0:
            self._body.set_result(b"")
        self._task = loop.create_task(self._run(handler, request))

    async def _run(self, handler: Handler, request: Request) -> None:
        try:
            response = await handler(request)
        except Exception as exc:  # noqa: BLE001 - the edge where every error becomes an answer
            self._transaction.fail(exc)
        else:
            self._transaction.respond(response)
        finally:
            self._give_back()
            del self._transaction  # what the task knows must not outlive it

    async def read(self) -> bytes:
        """Return the whole body; raises TooLargeError where it is known to be too long."""
        if self._failure is not None:
            raise self._failure
        return await self._body

    def body(self, piece: bytes, *, ended: bool) -> None:
        """Keep a piece; with the last one let the handler have the body, and the request be counted as in flight."""
        self._pieces.append(piece)
        if not ended:
            self._transaction.hold(len(piece))
            self._held += len(piece)
            return
        self._give_back()
        self._transaction.admit()
        if not self._body.done():
            self._body.set_result(b"".join(self._pieces))
        self._pieces.clear()

    def client_lost(self) -> None:
        """Cancel the task."""
        self._give_back()
        self._task.cancel()

    def client_congested(self) -> None:
        """An answer is whole before it is written: there is nothing to hold back."""

    def client_relieved(self) -> None:
        """Nothing was held back."""

    def _give_back(self) -> None:
        if self._held:
            self._transaction.hold(-self._held)
            self._held = 0
