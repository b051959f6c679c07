"""One chunked request inside the worker: opened as it comes, answered in chunks (draft-ietf-ohai-chunked-ohttp-08).

The task begins when the last chunk has opened and not before. An answer that is whole when it is decided is padded to
its bucket and sent at once. Events leave at the pace of `pace.py`, whatever they say and whenever they were made.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from inference.answer import Events, Spoken, Task, produce, run_task
from inference.pace import Line
from inference.runner import Runner
from inference.scrub import bare
from inference.spoken import speak
from seclude import bhttp
from seclude.bhttp_stream import RequestReader
from seclude.errors import BusyError, Error, PeerError
from seclude.ohttp.chunked import MAX_CHUNK, RequestOpener, ResponseSealer
from seclude.ohttp.encapsulation import HeldKey
from seclude.padding import pad


@dataclass(frozen=True, slots=True, repr=False)
class OpenedChunks:
    """A request that authenticated, whole or refused."""

    parse: Callable[[], bhttp.Request]
    sealer: ResponseSealer
    failure: Error | None
    """Why the request must be refused, inside the encapsulation."""


class Opening:
    """Takes one request in pieces; what is wrong before its first chunk has opened is raised, later it is kept."""

    def __init__(self, keys: Mapping[int, HeldKey], insert: Callable[[int, bytes], None]) -> None:
        """`insert` takes the key identifier and `enc`."""
        self._opener: Final = RequestOpener(keys)
        self._insert = insert
        self._reader = RequestReader()
        self._counted = False
        self.failure: Error | None = None
        """What was found wrong; the rest of the request need not be read."""

    def feed(self, data: bytes) -> None:
        """Take some octets; raises UnknownKeyError, DecodeError or OpenError, all of which are answered in plain."""
        self._guard(lambda: self._take(self._opener.feed(data)))

    def finish(self) -> OpenedChunks:
        """Take the end of the request; raises as `feed` does."""
        if self.failure is None:
            self._guard(lambda: self._take([self._opener.finish()]))
        return OpenedChunks(self._reader.finish, self._opener.sealer(), self.failure)

    def _take(self, pieces: list[bytes]) -> None:
        self._count()
        for piece in pieces:
            self._reader.feed(piece)

    def _guard(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (PeerError, BusyError) as exc:
            if not self._opener.authentic:
                raise
            self.failure = self.failure or bare(exc)  # that it is a replay counts more than what else is wrong with it
            self._count()

    def _count(self) -> None:
        """Remember the request once it is authentic, whatever else is wrong with it."""
        if self._opener.authentic and not self._counted:
            self._counted = True
            try:
                self._insert(self._opener.key_id, self._opener.enc)
            except (PeerError, BusyError) as exc:
                self.failure = bare(exc)


async def respond_chunked(opened: OpenedChunks, task: Task, now: float, runner: Runner, line: Line) -> list[bytes]:
    """Return the encapsulated answer to an opened request, or nothing where events went to the line.

    It is decided on a thread, and spoken on the loop if need be.
    """
    with runner.place():
        answer = await runner.run(answer_chunked, opened, task, now, line)
        if not isinstance(answer, Spoken):
            return answer
        whole = await speak(answer, line, now)
        return [] if whole is None else seal_chunks(opened, whole)


def answer_chunked(opened: OpenedChunks, task: Task, now: float, line: Line) -> list[bytes] | Spoken:
    """Run the task for an opened request; return the encapsulated answer, nothing for events, or what makes either."""
    answer = run_task(opened.parse, opened.failure, task, now)
    if isinstance(answer, Spoken):
        return answer
    if isinstance(answer, Events):
        line.begin()
        produce(answer, line.put, now)
        return []
    return seal_chunks(opened, answer)


def seal_chunks(opened: OpenedChunks, answer: bhttp.Response) -> list[bytes]:
    """Return an answer that is whole, encapsulated in its bucket."""
    message = pad(bhttp.serialize_response(answer))
    pieces = [message[at : at + MAX_CHUNK] for at in range(0, len(message), MAX_CHUNK)]
    return [*map(opened.sealer.seal, pieces[:-1]), opened.sealer.finish(pieces[-1])]
