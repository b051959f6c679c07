"""Octets of tokens to text that can be shown: characters are never split, and of a stop string nothing is seen.

A token may end in the middle of a character, and a stop string may be spread over several tokens. So what comes is held
back as long as it may be the beginning of either, and not longer. How the octets are cut makes no difference to what is
shown in the end.

    feed(octets) -> text ... end() -> text        `stopped` says that a stop string came; nothing is shown from there on
"""

import codecs
from collections.abc import Sequence
from typing import Final

from seclude.chat import MAX_STOP, MAX_STOPS
from seclude.errors import DecodeError

_DECODER: Final = codecs.getincrementaldecoder("utf-8")


class Pieces:
    """The text of one answer, as it comes."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        """Raises DecodeError for stop strings that are empty, too long or too many."""
        if len(stops) > MAX_STOPS:
            raise DecodeError(f"at most {MAX_STOPS} stop strings")
        if not all(0 < len(stop) <= MAX_STOP for stop in stops):
            raise DecodeError(f"a stop string has 1 to {MAX_STOP} characters")
        self._stops = tuple(stops)
        self._longest = max(map(len, stops), default=0)
        # What can never become a character is U+FFFD, once for each longest beginning of one (Unicode, section 3.9).
        self._decoder = _DECODER("replace")
        self._held = ""
        self.stopped = False

    def feed(self, octets: bytes) -> str:
        """Return what can be shown now; nothing any more after a stop string."""
        return "" if self.stopped else self._show(self._decoder.decode(octets))

    def end(self, *, cut: bool = False) -> str:
        """Return what was held back, since no more comes. An answer that was cut may lack the rest of a character."""
        if self.stopped:
            return ""
        text = self._show("" if cut else self._decoder.decode(b"", final=True))
        self._decoder.reset()
        text, self._held = text + self._held, ""
        return text

    def _show(self, text: str) -> str:
        """Take text in, and return what is surely no part of a stop string."""
        text = self._held + text
        # Of those that came whole, the one that was whole first; of two that end together, the longer one. Both are
        # the same however the text was cut. What began before what is held cannot be a stop string.
        came = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if came:
            self.stopped, self._held = True, ""
            return text[: min(came)[1]]
        shown = len(text) - self._beginning(text)
        self._held = text[shown:]
        return text[:shown]

    def _beginning(self, text: str) -> int:
        """Return how many characters at the end may be the beginning of a stop string."""
        for length in range(min(len(text), self._longest - 1), 0, -1):
            if any(len(stop) > length and stop.startswith(text[-length:]) for stop in self._stops):
                return length
        return 0
