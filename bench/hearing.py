"""A streamed chat as a device hears it: opened as it comes, with the moment of every piece of text.

A piece is what the language model's worker says in one event: a token, or several where a character has more of them.
It is there when it was opened, so that the device's cryptography is inside the times.
"""

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic_ns
from typing import Final

from seclude import bhttp
from seclude.bhttp_stream import Head, ResponseReader
from seclude.chat import DONE, ChatChunk
from seclude.client.events import Event, EventReader
from seclude.errors import DecodeError, OpenError
from seclude.tasks import ERROR_EVENT, decode

NOT_READ: Final = "not read"
NOT_WHOLE: Final = "not whole"
ERROR: Final = "error event"


@dataclass(frozen=True, slots=True)
class Shell:
    """What a message is taken out of: octets in, octets of the inner message out."""

    feed: Callable[[bytes], list[bytes]]
    finish: Callable[[], bytes]


CLEAR: Final = Shell(lambda data: [data], lambda: b"")


class Hearing:
    """Reads one answer, and says at its end what was wrong with it, as `workload.Check` does."""

    __slots__ = ("_done", "_events", "_failure", "_reader", "_shell", "times", "tokens")

    def __init__(self, shell: Shell = CLEAR) -> None:
        self._shell = shell
        self._reader = ResponseReader(bhttp.Limits(content_bytes=None))  # most of it is what fills the chunks
        self._events = EventReader()
        self._failure: str | None = None
        self._done = False
        self.times = array("q")
        """When each piece of text was there, in nanoseconds of the monotonic clock."""
        self.tokens = 0
        """Of the whole answer, as the worker counts them."""

    def feed(self, data: bytes) -> None:
        """Take what came of the answer's body."""
        if self._failure is None:
            self._try(lambda: self._take(data))

    def __call__(self, _body: bytes) -> str | None:
        """Say what is wrong with the answer, which has ended, or nothing."""
        if self._failure is None:
            self._try(self._end)
        if self._failure is None and not (self._done and self.tokens and self.times):
            self._failure = NOT_WHOLE
        return self._failure

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (OpenError, DecodeError):
            self._failure = NOT_READ

    def _take(self, data: bytes) -> None:
        for piece in self._shell.feed(data):
            self._read(piece)

    def _end(self) -> None:
        self._read(self._shell.finish())
        self._reader.finish()

    def _read(self, piece: bytes) -> None:
        for each in self._reader.feed(piece):
            if isinstance(each, Head):
                if each.status != 200:
                    self._failure = f"inner status {each.status}"
                continue
            for event in self._events.feed(each):
                self._hear(event)

    def _hear(self, event: Event) -> None:
        if event.name == ERROR_EVENT:
            self._failure = ERROR
        elif event.data == DONE:
            self._done = True
        elif self._failure is None:
            chunk = decode(ChatChunk, event.data)
            if any(choice.delta.content for choice in chunk.choices):
                self.times.append(monotonic_ns())
            if chunk.usage is not None:
                self.tokens = chunk.usage.completion_tokens
