"""A chat written for the purpose, with what a good summary of it must keep and must not say.

The form of the JSON files is in docs/quality.md; anything else in them is refused, so that a typo is not a lost fact.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from bench.quality.words import count_words
from seclude.errors import ConfigError
from seclude.tasks import Message, SummarizeRequest

SHORT: Final = 24  # messages; a chat of fewer holds little but facts, and its summary may be half of it
THIRD: Final = 1 / 3
HALF: Final = 1 / 2


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message."""

    sender: str
    text: str
    time: datetime | None = None


class Fact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that a reader of the summary must learn."""

    what: str
    """In a sentence, for people."""
    kind: str
    sources: tuple[int, ...] = msgspec.field(name="from")
    """Positions of the messages that say it."""
    needs: tuple[tuple[str, ...], ...]
    """Of each list one alternative must be in the summary, all of them near one another."""
    who: str | None = None
    """Whose word or duty it is."""


class Falsehood(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that the chat suggests and that is not so, as regular expressions any of which says it."""

    what: str
    any: tuple[str, ...]


class Chat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A chat with its facts."""

    title: str
    setting: str
    language: str
    messages: tuple[Line, ...]
    facts: tuple[Fact, ...]
    falsehoods: tuple[Falsehood, ...] = msgspec.field(name="not", default=())
    reader: str | None = None
    """Who would read the summary."""

    @property
    def words(self) -> int:
        """How many words the chat has as one reads it, each message after its sender's name."""
        return sum(count_words(as_read(line)) for line in self.messages)

    @property
    def budget(self) -> int:
        """How many words a summary may have, counted in the same way."""
        return int(self.words * (HALF if len(self.messages) < SHORT else THIRD))

    def request(self) -> SummarizeRequest:
        """Return what a device would ask for."""
        messages = tuple(Message(sender=line.sender, text=line.text, time=line.time) for line in self.messages)
        return SummarizeRequest(messages=messages)


def as_read(line: Line) -> str:
    """Return a message as a line to read, in the form that highlights have too."""
    return f"{line.sender}: {' '.join(line.text.split())}"


def load_chat(path: Path) -> Chat:
    """Read one chat. Raises ConfigError if it is not of that form, or if its facts could not be looked for."""
    try:
        chat = msgspec.json.decode(path.read_bytes(), type=Chat)
        for falsehood in chat.falsehoods:
            for pattern in falsehood.any:
                re.compile(pattern)
    except (OSError, ValueError, msgspec.MsgspecError, re.error) as exc:
        raise ConfigError(f"{path.name}: {exc}") from None
    for fact in chat.facts:
        if not fact.needs or not all(fact.needs) or not all(all(need) for need in fact.needs):
            raise ConfigError(f"{path.name}: a fact without anything to look for")
        if not all(0 <= source < len(chat.messages) for source in fact.sources):
            raise ConfigError(f"{path.name}: a fact from a message that is not there")
    return chat


def load_chats(folder: Path) -> dict[str, Chat]:
    """Read the chats of a folder by their files' names, in their order."""
    chats = {path.stem: load_chat(path) for path in sorted(folder.glob("*.json"))}
    if not chats:
        raise ConfigError(f"{folder.name}: no chat (*.json) there")
    return chats
