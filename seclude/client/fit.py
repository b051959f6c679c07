"""What of a chat one request can hold: the newest messages, each within the limits of the task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from seclude.client.chats import ChatMessage
from seclude.tasks import MAX_MESSAGES, MAX_REQUEST_BYTES, MAX_SENDER, MAX_TEXT, Message, encode

ENVELOPE: Final = 1024  # octets; the JSON around the messages takes less than a hundred


@dataclass(frozen=True, slots=True)
class Fitted:
    """Messages to send, oldest first, and what was left behind."""

    messages: tuple[Message, ...]
    left_out: int
    """Older messages that did not fit."""
    shortened: int
    """Messages whose text or sender was cut."""


def fit(messages: Sequence[ChatMessage]) -> Fitted:
    """Return the newest messages that one request can hold."""
    room = MAX_REQUEST_BYTES - ENVELOPE
    kept: list[Message] = []
    shortened = 0
    for message in reversed(messages[-MAX_MESSAGES:]):
        candidate = Message(sender=message.sender[:MAX_SENDER], text=message.text[:MAX_TEXT], time=message.time)
        room -= len(encode(candidate)) + 1  # the comma between two
        if room < 0:
            break
        kept.append(candidate)
        shortened += len(message.sender) > MAX_SENDER or len(message.text) > MAX_TEXT
    return Fitted(tuple(reversed(kept)), len(messages) - len(kept), shortened)
