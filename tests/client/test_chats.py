"""Choosing the format of a file, and the messages of a chat."""

import importlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seclude.client import formats
from seclude.client.chats import Chat, ChatError, ChatMessage, Skipped, select
from seclude.client.formats import parse_chat_file
from seclude.errors import ConfigError, UsageError

DEMO = Path(__file__).parents[2] / "deploy" / "demo" / "chat.txt"


def at(hour: int, text: str = "hi") -> ChatMessage:
    return ChatMessage("Anna", text, datetime(2023, 12, 31, hour))


CHAT = Chat(tuple(at(hour) for hour in range(10)), Skipped(), "json")
TIMELESS = Chat((ChatMessage("Anna", "hi", None),), Skipped(), "json")


@pytest.mark.parametrize(
    ("data", "format_"),
    [
        (b"31/12/2023, 21:41 - Anna: hi", "whatsapp-android"),
        (b"[31/12/2023, 21:41:05] Anna: hi", "whatsapp-ios"),
        ("\ufeff\u200e[31/12/2023, 21:41:05] Anna: hi".encode(), "whatsapp-ios"),
        (b'[{"sender": "Anna", "text": "hi"}]', "json"),
        (b'{"messages": [{"sender": "Anna", "text": "hi"}]}', "json"),
        (
            b'{"messages": [{"type": "message", "from": "Anna", "date": "2023-12-31T21:41:05", "text": "hi"}]}',
            "telegram",
        ),
    ],
)
def test_the_format_is_found_from_the_content(data: bytes, format_: str) -> None:
    chat = parse_chat_file(data)
    assert chat.format == format_
    assert [(m.sender, m.text) for m in chat.messages] == [("Anna", "hi")]


@pytest.mark.parametrize("data", [b"", b" \r\n\t", b"\n" * 1000])
def test_an_empty_file_is_refused(data: bytes) -> None:
    with pytest.raises(ChatError, match="empty"):
        parse_chat_file(data)


def test_a_file_over_the_limit_is_refused_and_one_at_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"31/12/2023, 21:41 - Anna: " + b"x" * (1 << 20)
    monkeypatch.setattr(formats, "MAX_CHAT_BYTES", len(data))
    assert len(parse_chat_file(data).messages) == 1
    with pytest.raises(ChatError, match="more than 1 MiB: export the chat without media"):
        parse_chat_file(data + b"x")


def test_a_chat_error_is_a_mistake_in_how_the_program_was_started() -> None:
    assert issubclass(ChatError, ConfigError)


def test_no_value_shows_a_name_or_a_text() -> None:
    chat = parse_chat_file(json.dumps([{"sender": "Secretname", "text": "secretword"}]).encode())
    assert "ecret" not in repr(chat) + str(chat) + repr(chat.messages[0])


def test_the_last_unread_messages_are_chosen() -> None:
    assert select(CHAT) == CHAT.messages
    assert select(CHAT, unread=3) == CHAT.messages[7:]
    assert select(CHAT, unread=10) == select(CHAT, unread=99) == CHAT.messages
    assert select(CHAT, unread=0) == ()


def test_messages_since_a_time_include_that_time() -> None:
    assert select(CHAT, since=datetime(2023, 12, 31, 8)) == CHAT.messages[8:]
    assert select(CHAT, since=datetime(2023, 12, 31, 8, 1)) == CHAT.messages[9:]
    assert select(CHAT, since=datetime(2024, 1, 1)) == ()


def test_both_limits_hold() -> None:
    assert select(CHAT, unread=2, since=datetime(2023, 12, 31, 5)) == CHAT.messages[8:]
    assert select(CHAT, unread=8, since=datetime(2023, 12, 31, 5)) == CHAT.messages[5:]


def test_messages_without_a_time_are_not_since_any() -> None:
    mixed = Chat((at(1), ChatMessage("Anna", "hi", None), at(3)), Skipped(), "json")
    assert select(mixed, since=datetime(2023, 12, 31)) == (mixed.messages[0], mixed.messages[2])
    with pytest.raises(ChatError, match="no times"):
        select(TIMELESS, since=datetime(2023, 12, 31))
    assert select(TIMELESS, unread=1) == TIMELESS.messages


def test_a_negative_number_and_a_time_with_a_zone_are_refused() -> None:
    with pytest.raises(ChatError, match="negative"):
        select(CHAT, unread=-1)
    with pytest.raises(UsageError, match="naive"):
        select(CHAT, since=datetime(2023, 12, 31, tzinfo=UTC))


@pytest.mark.parametrize("module", ["chats", "whatsapp", "chatjson", "notices"])
def test_every_module_imports_alone(module: str) -> None:
    assert importlib.import_module(f"seclude.client.{module}")
    subprocess.run([sys.executable, "-c", f"import seclude.client.{module}"], check=True, timeout=30)


def test_the_demo_chat_is_read_whole() -> None:
    chat = parse_chat_file(DEMO.read_bytes())
    assert 55 <= len(chat.messages) <= 75
    assert {m.sender for m in chat.messages} == {"Mara", "Tobi", "Ilse", "Devrim", "Noor"}
    assert len({m.time.date() for m in chat.messages if m.time is not None}) == 2
    assert min(chat.skipped.system, chat.skipped.media, chat.skipped.deleted) >= 1
    assert (chat.format, chat.ambiguous_dates, chat.warnings) == ("whatsapp-android", False, ())
