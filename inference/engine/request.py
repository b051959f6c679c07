"""One request's place with the engine: what it brings, how far it is, and what came for it.

The engine's thread and the loop both hold it. Which of them writes what stands with each group of fields; what passes
from one to the other is `gone`, and what `settle` brings.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from inference.engine.waiting import Work

Logits = NDArray[np.float32]
T = TypeVar("T")

Write = Callable[[Logits], tuple[int | None, Sequence[T]]]
"""What a request makes of the logits after its last token: the next one, or None at the end; and what to give out.

It is called on the engine's thread, `most` times at most, and the last time it must give None.
"""


class Request(Generic[T]):
    """One request, from the line to its end."""

    def __init__(self, ids: Sequence[int], write: Write[T], most: int, size: int) -> None:
        """`size` is how many tokens of the prompt are read at a time."""
        self.ids, self.write, self.most, self.size = list(ids), write, most, size
        self.pieces = math.ceil(len(ids) / size)
        self.until = self.first_until = 0.0
        """By when it has a slot, and its first token."""
        # The engine's.
        self.slot, self.read, self.made, self.seated = -1, 0, 0, 0.0
        self.token: int | None = None
        """Chosen, and not yet given to the decoder."""
        # The loop's.
        self.gone = False
        """Nobody waits for it any more."""
        self._came: deque[T] = deque()  # bounded by `most`
        self._ended = False
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def left(self) -> Work:
        """What is left of it, to foretell from."""
        if self.gone:
            return Work(0, 0)
        return Work(math.ceil(max(0, len(self.ids) - self.read) / self.size), self.most - self.made)

    async def next(self) -> Sequence[T]:
        """Return what came, at least one; nothing at the end. Raises what went wrong."""
        while not self._came:
            if self._failure is not None:
                try:
                    raise self._failure
                finally:
                    self._failure = None  # it refers to this frame from now on
            if self._ended:
                return ()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        came = tuple(self._came)
        self._came.clear()
        return came

    def bring(self, came: Sequence[T], ended: bool, failure: Exception | None) -> None:
        """Take in what a round brought, on the loop."""
        self._came.extend(came)
        self._ended, self._failure = ended, failure
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


News = tuple[Request[T], Sequence[T], bool, Exception | None]
"""What a round brought to one request: what came, whether that was all, and what went wrong."""


def settle(news: Sequence[News[T]]) -> None:
    """Give everybody what a round brought, on the loop."""
    for request, came, ended, failure in news:
        request.bring(came, ended, failure)
