"""What a language model has done, counted by requests: each once, however many texts were written for it.

What is counted can be scraped. On a quiet worker the difference of two scrapes is one request's, so its tokens count as
a power of two, as its octets count as their bucket, and nothing tells a chat from a rewrite, for which several texts
are written.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Final

from inference.answer import Answer, Spoken, Task
from seclude import bhttp
from seclude.errors import BusyError


@dataclass(slots=True)
class Count:
    """What one request has made of the model so far."""

    asked: bool = False
    refused: bool = False
    read: int = 0
    """Tokens of prompts."""
    written: int = 0
    """Tokens of answers that came to their ends."""


_request: Final[ContextVar[Count | None]] = ContextVar("request", default=None)
"""The request that is answered here; what is done for it beside each other has the same one."""


@dataclass(slots=True)
class Tally:
    """What a language model has done; nothing of any request."""

    running: int = 0
    """Requests that have asked for an answer and have not ended."""
    refused: int = 0
    """Those for which there was no room."""
    read: int = 0
    """Tokens of prompts, each request's rounded up to a power of two."""
    written: int = 0
    """Tokens of answers, likewise."""

    def by_request(self, task: Task) -> Task:
        """Return the task, with all that is written for one request counted as one."""

        def counted(request: bhttp.Request) -> Answer:
            answer = task(request)
            return Spoken(partial(self._respond, answer)) if isinstance(answer, Spoken) else answer

        return counted

    @contextmanager
    def writing(self) -> Iterator[Count]:
        """Return where to count one text, for the length of a block; what is for nobody's request is one by itself."""
        shared = _request.get()
        count = shared or Count()
        self.running += not count.asked
        count.asked = True
        try:
            yield count
        except BusyError:
            count.refused = True
            raise
        finally:
            if shared is None:
                self._end(count)

    async def _respond(self, spoken: Spoken) -> bhttp.Response | AsyncGenerator[bytes, None]:
        count, made = Count(), None
        _request.set(count)
        try:
            made = await spoken.respond()
            return made if isinstance(made, bhttp.Response) else self._events(made, count)
        finally:
            _request.set(None)
            if not isinstance(made, AsyncGenerator):
                self._end(count)

    async def _events(self, made: AsyncGenerator[bytes, None], count: Count) -> AsyncGenerator[bytes, None]:
        _request.set(count)  # in the context of who asks for the events, which is one task for each request
        try:
            async with aclosing(made) as events:
                async for each in events:
                    yield each
        finally:
            _request.set(None)
            self._end(count)

    def _end(self, count: Count) -> None:
        self.running -= count.asked
        self.refused += count.refused
        self.read += _rounded(count.read)
        self.written += _rounded(count.written)


def _rounded(tokens: int) -> int:
    return 1 << (tokens - 1).bit_length() if tokens else 0
