"""Event streams (text/event-stream; HTML, section 9.2.6), read as they come: names and data, no reconnecting.

A worker fills its chunks with comments, so most of what comes here says nothing and is dropped at once.
"""

import re
from dataclasses import dataclass
from typing import Final

from seclude.errors import TooLargeError

MAX_EVENT: Final = 1 << 21  # octets that are not yet an event; the longest is a whole summary, as the whole answer is
_LINE_END: Final = re.compile(rb"\r\n|\n|\r(?=.)", re.DOTALL)  # a CR at the end may be half of a CRLF


@dataclass(frozen=True, slots=True, repr=False)
class Event:
    """One event; `name` is "message" where the stream gives none."""

    name: str
    data: bytes


class EventReader:
    """Takes octets in any cuts and returns the events that they complete."""

    __slots__ = ("_data", "_held", "_name")

    def __init__(self) -> None:
        self._held = b""  # of a line that is not whole
        self._name = b""
        self._data: list[bytes] = []

    def feed(self, octets: bytes) -> list[Event]:
        """Return the events that are whole; raises TooLargeError for one without end."""
        *lines, self._held = _LINE_END.split(self._held + octets)
        found: list[Event] = []
        for line in lines:
            if not line:
                found.extend(self._dispatch())
            elif not line.startswith(b":"):
                self._take(line)
        # An octet more for each line, for lines without any take memory too.
        if len(self._held) + sum(map(len, self._data)) + len(self._data) > MAX_EVENT:
            raise TooLargeError(f"an event of more than {MAX_EVENT} octets")
        return found

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            self._name = value
        elif field == b"data":
            self._data.append(value)

    def _dispatch(self) -> list[Event]:
        name, data = self._name.decode("utf-8", "replace") or "message", self._data
        self._name, self._data = b"", []
        return [Event(name, b"\n".join(data))] if data else []
