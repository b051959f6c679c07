"""Chats in JSON: messages of our own shape, and Telegram Desktop's export of one chat (`result.json`).

Our shape is a list of `{"sender", "text", "time"?}`, or an object with such a list as `messages`. Fields that are not
named here are ignored, since neither shape is ours alone to extend. Errors name the path, such as
`$.messages[3].text`, and never what was found there.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from seclude.client.chats import READABLE, Chat, ChatError, ChatMessage, Skipped

_DELETED_ACCOUNT: Final = "Deleted Account"  # what Telegram shows for a sender that it exports as null

_T = TypeVar("_T")


class _Entry(msgspec.Struct):
    sender: str
    text: str
    time: str | None = None


class _Outline(msgspec.Struct):
    """Enough of a message to tell whose shape it has."""

    sender: object = None
    type: object = None


class _File(msgspec.Struct):
    messages: list[_Outline] | None = None
    chats: object = None


class _Entries(msgspec.Struct):
    messages: list[_Entry]


class _Part(msgspec.Struct):
    text: str = ""


class _Answer(msgspec.Struct):
    text: str = ""


class _Poll(msgspec.Struct):
    question: str
    answers: list[_Answer] = []


class _Place(msgspec.Struct):
    latitude: float
    longitude: float


class _TelegramEntry(msgspec.Struct, rename={"sender": "from"}):
    type: str
    date: str
    sender: str | None = None
    text: str | list[str | _Part] = ""
    poll: _Poll | None = None
    place_name: str = ""
    location_information: _Place | None = None
    # Any of these means that something was sent beside the text.
    photo: object = None
    file: object = None
    media_type: object = None
    contact_information: object = None


class _TelegramEntries(msgspec.Struct):
    messages: list[_TelegramEntry]


def parse_chat(data: bytes) -> Chat:
    """Return the chat in a JSON text. Raises `ChatError`."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if data.lstrip().startswith(b"["):
        return _own(_decode(data, list[_Entry]), "$")
    outline = _decode(data, _File)
    if outline.messages is None and outline.chats is not None:
        raise ChatError("this is Telegram's export of all chats: export the one chat from its own menu")
    if any(message.sender is None and message.type in ("message", "service") for message in outline.messages or ()):
        return _telegram(_decode(data, _TelegramEntries).messages)
    return _own(_decode(data, _Entries).messages, "$.messages")


def _decode(data: bytes, shape: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        # A decoding error of Python carries the whole file into a traceback.
        reason = str(exc) if isinstance(exc, msgspec.MsgspecError) else "it is not UTF-8"
        raise ChatError(f"this JSON is no chat ({reason}): {READABLE}") from None
    except RecursionError:
        raise ChatError(f"this JSON is no chat (it is nested too deeply): {READABLE}") from None


def _own(entries: list[_Entry], path: str) -> Chat:
    messages = []
    empty = 0
    for index, entry in enumerate(entries):
        sender, text = entry.sender.strip(), entry.text.strip()
        if not sender:
            raise ChatError(f"{path}[{index}].sender is empty: name who wrote the message")
        time = _time(entry.time, f"{path}[{index}].time") if entry.time is not None else None
        if text:
            messages.append(ChatMessage(sender, text, time))
        else:
            empty += 1
    return Chat(messages=tuple(messages), skipped=Skipped(media=empty), format="json")


def _telegram(entries: list[_TelegramEntry]) -> Chat:
    messages = []
    system = media = 0
    for index, entry in enumerate(entries):
        if entry.type != "message":
            system += 1
            continue
        time = _time(entry.date, f"$.messages[{index}].date")
        sent = (entry.photo, entry.file, entry.media_type, entry.contact_information)
        text = "\n".join(part for part in _written(entry) if part)
        if not text or any(thing is not None for thing in sent):
            media += 1
        if text:
            messages.append(ChatMessage((entry.sender or "").strip() or _DELETED_ACCOUNT, text, time))
    return Chat(messages=tuple(messages), skipped=Skipped(system=system, media=media), format="telegram")


def _written(entry: _TelegramEntry) -> Iterable[str]:
    """Return what a person put into a message: words, a poll, a place."""
    parts = [entry.text] if isinstance(entry.text, str) else entry.text
    yield "".join(part if isinstance(part, str) else part.text for part in parts).strip()
    if entry.poll is not None:
        yield "\n".join([f"Poll: {entry.poll.question}", *(f"Option: {answer.text}" for answer in entry.poll.answers)])
    if entry.location_information is not None:
        place = entry.location_information
        yield f"Location: {entry.place_name} {place.latitude}, {place.longitude}".replace("  ", " ")


def _time(text: str, path: str) -> datetime:
    """Return an ISO 8601 time as its clock showed it; an offset is left out, since a chat's times name no zone."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        raise ChatError(f"{path} is no ISO 8601 time: write it like 2026-01-31T18:30:00") from None
