"""What a chat is on the device.

Chats are what this project keeps private: no value shows a name or a text in its `repr`, and no error quotes the file.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeAlias

from seclude.errors import ConfigError, UsageError

DateOrder: TypeAlias = Literal["dmy", "mdy", "ymd"]

# Octets. WhatsApp exports at most 40,000 messages, which is below 10 MiB; six times that leaves room for Telegram's
# JSON, and parsing stays within what a phone's memory holds.
MAX_CHAT_BYTES: Final = 64 << 20

READABLE: Final = (
    'give WhatsApp\'s own export (.txt or .zip), Telegram\'s result.json, or JSON with "sender", "text" and "time"'
)


class ChatError(ConfigError):
    """Raised when a file is no chat that can be read; the message says which files can."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message that somebody wrote."""

    sender: str = field(repr=False)
    text: str = field(repr=False)
    time: datetime | None
    """Naive, in the exporter's local time: exports name no zone."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """How many entries were left out because nobody wrote them, or nothing of them is left to read."""

    system: int = 0
    media: int = 0
    """Includes media whose caption was kept as a message."""
    deleted: int = 0


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat in the order of its file."""

    messages: tuple[ChatMessage, ...]
    skipped: Skipped
    format: str
    ambiguous_dates: bool = False
    """Day and month could be the other way round; `warnings` says how they were read."""
    warnings: tuple[str, ...] = ()


def select(chat: Chat, *, unread: int | None = None, since: datetime | None = None) -> tuple[ChatMessage, ...]:
    """Return the messages at or after `since` (naive, as in the chat), and of those the last `unread`."""
    messages = chat.messages
    if since is not None:
        if since.tzinfo is not None:
            raise UsageError("since must be naive: a chat's times name no zone")
        if messages and all(message.time is None for message in messages):
            raise ChatError("this chat has no times: choose messages by their number (--unread)")
        messages = tuple(message for message in messages if message.time is not None and message.time >= since)
    if unread is not None:
        if unread < 0:
            raise ChatError("the number of unread messages cannot be negative")
        messages = messages[len(messages) - min(unread, len(messages)) :]
    return messages
