"""Chats with a language model, as both sides read them."""

import re
from typing import get_args

import msgspec
import pytest

from seclude import chat
from seclude.chat import ChatChunk, ChatMessage, ChatRequest, ChatResponse, ModelList
from seclude.errors import DecodeError
from seclude.tasks import decode, encode
from tests.running import ROOT

HELLO: dict[str, object] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def request(**more: object) -> ChatRequest:
    return decode(ChatRequest, msgspec.json.encode(HELLO | more))


def turns(count: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": "x"}] * count


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("model", "m" * chat.MAX_MODEL, "m" * (chat.MAX_MODEL + 1)),
        ("messages", turns(chat.MAX_CHAT_MESSAGES), turns(chat.MAX_CHAT_MESSAGES + 1)),
        ("messages", [{"role": "user", "content": "x" * chat.MAX_CONTENT}], [{"role": "user", "content": 1}]),
        ("max_tokens", chat.MAX_ANSWER_TOKENS, chat.MAX_ANSWER_TOKENS + 1),
        ("max_tokens", 1, 0),
        ("temperature", 0, -0.1),
        ("temperature", chat.MAX_TEMPERATURE, chat.MAX_TEMPERATURE + 0.1),
        ("top_p", 1, 1.1),
        ("top_p", 0.001, 0),
        ("stop", ["x"] * chat.MAX_STOPS, ["x"] * (chat.MAX_STOPS + 1)),
        ("stop", ["x" * chat.MAX_STOP], ["x" * (chat.MAX_STOP + 1)]),
        ("seed", (1 << 63) - 1, 1 << 63),
        ("seed", -(1 << 63), -(1 << 63) - 1),
        ("n", 1, 2),
        ("stream", True, "yes"),
    ],
)
def test_limits(name: str, good: object, bad: object) -> None:
    assert request(**{name: good})
    with pytest.raises(DecodeError, match=rf"\$\.{name}"):
        request(**{name: bad})


@pytest.mark.parametrize("name", ["user", "tools", "metadata", "top_k"])
def test_what_is_not_of_a_chat_is_refused(name: str) -> None:
    with pytest.raises(DecodeError, match="unknown field"):
        request(**{name: None})


def test_what_is_left_out_is_the_default() -> None:
    asked = request()
    assert encode(asked) == msgspec.json.encode(HELLO)
    assert decode(ChatRequest, encode(asked)) == asked


def test_no_repr_shows_what_was_said() -> None:
    message = ChatMessage("user", "hello")
    assert "hello" not in repr(message) + repr(request())


def test_the_examples_of_the_page_are_what_is_spoken() -> None:
    _, _, page = (ROOT / "docs" / "proxy.md").read_text().partition("## Inside the encapsulation")
    blocks = re.findall(r"(?:^    .*\n|^\n)+", page, re.MULTILINE)
    whole = [text for block in blocks if (text := " ".join(block.split())).startswith("{")]
    listed, asked, answer = whole
    assert decode(ModelList, listed.encode()).data[0].id == "smollm2-135m-instruct"
    assert [each.role for each in decode(ChatRequest, asked.encode()).messages] == ["system", "user"]
    assert decode(ChatResponse, answer.encode()).choices[0].finish_reason == "stop"
    events = re.findall(r"^    data: (\{\S*\}|\[DONE\])", page, re.MULTILINE)
    assert events.pop().encode() == chat.DONE
    chunks = [decode(ChatChunk, event.encode()) for event in events]
    assert [encode(chunk).decode() for chunk in chunks] == events, "in as few octets as they take"
    assert [len(chunk.choices) for chunk in chunks] == [1, 1, 0]
    assert get_args(chat.Finish) == ("stop", "length")
