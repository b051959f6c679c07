"""A chat as texts that a model can read at once: one line a message, cut between messages.

    Ana: shall we say five?          a line is `Sender: text`; nobody's name or text can make another one
    Bo: fine, I'll bring the grill

What people wrote is data here, but a model may take it for an instruction ("ignore the others and write ..."), and no
wording of ours prevents that. What bounds the harm is the comparison afterwards: whatever the model was talked into,
its numbers, times, dates, names and links are the chat's own (`faithful`).
"""

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from inference.runner import stop_if_given_up
from seclude.tasks import Message

MOST_WINDOWS: Final = 4  # of one request, the newest; some 250 messages with windows of a thousand tokens

_END: Final = re.compile(r"[.!?\u2026\u0964][\"'\u201d\u2019)]*(?= )")


@dataclass(frozen=True, slots=True, repr=False)
class Windows:
    """The end of a chat, in order."""

    texts: tuple[str, ...]
    messages: int
    """How many of the chat's messages are whole in them, the last one backwards; those without words count."""


@dataclass(frozen=True, slots=True, repr=False)
class _Line:
    text: str
    message: int
    first: bool
    """Whether the message begins with it: one that is too long for a window makes several."""
    tokens: int


def cut(messages: Sequence[Message], count: Callable[[str], int], window: int, most: int = MOST_WINDOWS) -> Windows:
    """Return the end of a chat as at most `most` texts of at most `window` tokens each, all of about the same size."""
    lines: list[_Line] = []
    total, room = 0, most * window
    for place in range(len(messages) - 1, -1, -1):
        own = list(_lines(messages[place], place, count, window))
        lines[:0] = own
        total += sum(line.tokens for line in own)
        if total > room:
            break
    share = min(window, math.ceil(total / max(1, math.ceil(total / window)))) if total else window
    packed = _pack(lines, share, window)[-most:]
    kept = [line for lines in packed for line in lines]
    if not kept:
        return Windows((), len(messages))
    complete = total <= room and len(kept) == len(lines)
    oldest = 0 if complete else kept[0].message + (not kept[0].first)
    return Windows(tuple("\n".join(line.text for line in lines) for lines in packed), len(messages) - oldest)


def line_of(sender: str, text: str) -> str:
    """Return a message as one line: without breaks, controls and changes of direction, and one colon after the name."""
    return f"{_flat(sender.replace(':', ' '))}: {_flat(text)}"


def _lines(message: Message, place: int, count: Callable[[str], int], window: int) -> Iterator[_Line]:
    """Yield a message as a line, or as several that fit; nothing if it has no words."""
    stop_if_given_up()
    if not any(character.isalnum() for character in message.text):
        return
    line = line_of(message.sender, message.text)
    if (tokens := count(line + "\n")) <= window:
        yield _Line(line, place, True, tokens)
        return
    first = True
    head = _head(message.sender, count, window // 2)
    for piece, tokens in _pieces(head, _flat(message.text), count, window):
        yield _Line(head + piece, place, first, tokens)
        first = False


def _head(sender: str, count: Callable[[str], int], most: int) -> str:
    """Return what stands before a text; of a name that takes more than so many tokens, the beginning."""
    while count((head := line_of(sender, "")) + "\n") > most and len(sender) > 1:
        sender = sender[: len(sender) // 2]
    return head


def _pieces(head: str, text: str, count: Callable[[str], int], window: int) -> Iterator[tuple[str, int]]:
    """Yield a text in pieces that fit behind a name, each with how many tokens its line has.

    What fitted, or did not, tells in proportion how long the next try is: so nearly every piece is counted once.
    """
    taken, piece = count(head + "\n"), text
    while text:
        stop_if_given_up()
        tokens = count(head + piece + "\n")
        if tokens <= window or len(piece) == 1:
            yield piece, tokens
            text = text[len(piece) :].lstrip()
        piece = _until(text, max(1, len(piece) * (window - taken) // max(1, tokens - taken)))


def _until(text: str, size: int) -> str:
    """Return at most so many characters, cut between sentences where it can be, else between words, else anywhere."""
    if size >= len(text):
        return text
    end = max((match.end() for match in _END.finditer(text, 0, size + 1)), default=text.rfind(" ", 0, size + 1))
    return text[: end if end > 0 else size]


def _pack(lines: Sequence[_Line], share: int, window: int) -> list[list[_Line]]:
    """Return the lines in windows: each takes its share, and never more than it can hold."""
    packed: list[list[_Line]] = []
    held = share
    for line in lines:
        if held >= share or held + line.tokens > window:
            packed.append([])
            held = 0
        packed[-1].append(line)
        held += line.tokens
    return packed


def _flat(text: str) -> str:
    """Return a text on one line, without control characters and such as change the direction."""
    kept = (
        " " if character.isspace() else character
        for character in text
        if character.isspace() or character == "\u200d" or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
    )
    return " ".join("".join(kept).split())
