"""What of an app's request reaches a worker."""

import re

import msgspec
import pytest

from seclude.chat import MAX_STOPS, ChatMessage, ChatRequest
from seclude.client.proxy import fields
from seclude.client.proxy.fields import FieldError, parse_asked
from seclude.errors import DecodeError
from seclude.tasks import encode
from tests.running import ROOT

HELLO: dict[str, object] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
SECRET = "a secret word"


def ask(**more: object) -> ChatRequest:
    return parse_asked(msgspec.json.encode(HELLO | more)).request


def refusal(**more: object) -> FieldError:
    with pytest.raises(FieldError) as caught:
        ask(**more)
    assert SECRET not in str(caught.value)
    return caught.value


def test_the_least_that_one_can_ask() -> None:
    assert ask() == ChatRequest(model="m", messages=(ChatMessage("user", "hello"),))
    assert encode(ask()) == b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'


def test_what_means_the_same_to_a_worker_is_carried() -> None:
    asked = ask(stream=True, max_tokens=5, temperature=0, top_p=0.5, stop=["a", "b"], seed=-1, n=1)
    assert (asked.stream, asked.max_tokens, asked.temperature, asked.top_p) == (True, 5, 0, 0.5)
    assert (asked.stop, asked.seed, asked.n) == (("a", "b"), -1, 1)


def test_other_words_for_the_same_are_translated() -> None:
    assert ask(max_completion_tokens=7).max_tokens == 7
    assert ask(max_completion_tokens=7, max_tokens=7).max_tokens == 7
    assert refusal(max_completion_tokens=7, max_tokens=8).param == "max_completion_tokens"
    assert ask(stop="a").stop == ("a",)
    assert ask(messages=[{"role": "developer", "content": "x"}]).messages == (ChatMessage("system", "x"),)


@pytest.mark.parametrize("name", sorted(fields.DROPPED))
@pytest.mark.parametrize("value", [SECRET, {"a": SECRET}, True, None])
def test_what_tells_who_asks_is_dropped(name: str, value: object) -> None:
    assert ask(**{name: value}) == ask()


@pytest.mark.parametrize("name", sorted({*fields.NEUTRAL, *fields.CARRIED, *fields.RENAMED} - {"model", "messages"}))
def test_null_asks_for_nothing(name: str) -> None:
    assert ask(**{name: None}) == ask()


@pytest.mark.parametrize(("name", "value"), [(name, each) for name, all in fields.NEUTRAL.items() for each in all])
def test_what_asks_for_nothing_is_dropped(name: str, value: object) -> None:
    assert ask(**{name: value}) == ask()


@pytest.mark.parametrize("name", sorted(fields.NEUTRAL))
@pytest.mark.parametrize("value", [SECRET, [SECRET], {"a": SECRET}, 1, True])
def test_what_a_worker_does_not_do_is_refused_by_name(name: str, value: object) -> None:
    found = refusal(**{name: value})
    assert found.param == name
    assert name in str(found)


def test_false_is_not_zero() -> None:
    assert refusal(presence_penalty=False).param == "presence_penalty"
    assert refusal(logprobs=0).param == "logprobs"


def test_what_nobody_knows_is_refused() -> None:
    assert refusal(top_k=5).param == "top_k"
    assert refusal(top_k=None).param == "top_k"
    assert refusal(**{SECRET: 1}).param is None, "a name that is none may be anything"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": SECRET}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"stop": ["a"] * (MAX_STOPS + 1)}, "stop"),
        ({"stop": [""]}, "stop[0]"),
        ({"seed": 1 << 63}, "seed"),
        ({"n": 2}, "n"),
        ({"n": True}, "n"),
        ({"stream": SECRET}, "stream"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": SECRET}, "messages"),
        ({"messages": [SECRET]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": SECRET}]}, "messages[0]"),
        ({"messages": [{"role": SECRET, "content": SECRET}]}, "messages[0]"),
        ({"messages": [{"role": [SECRET], "content": SECRET}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": SECRET, "image": SECRET}]}, "messages[0]"),
        ({"messages": [{"role": "assistant", "content": "x", "tool_calls": [SECRET]}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": SECRET}]}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages[0]"),
        ({"stream_options": SECRET}, "stream_options"),
        ({"stream_options": {"include_usage": 1}}, "stream_options"),
        ({"stream_options": {SECRET: 1}}, "stream_options"),
    ],
)
def test_what_is_wrong_is_named_and_never_quoted(more: dict[str, object], param: str) -> None:
    assert refusal(**more).param == param


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"model":', b'"a secret word"', b"[" * 100_000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_asked(body)
    assert SECRET not in str(caught.value)


def test_parts_of_text_are_one_message() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert ask(messages=[{"role": "user", "content": parts}]).messages == (ChatMessage("user", "a\nb"),)


def test_an_earlier_answer_goes_back_as_libraries_write_it() -> None:
    empty: dict[str, object] = {"refusal": None, "annotations": [], "tool_calls": None, "audio": None}
    turn = {"role": "assistant", "content": "x", "name": SECRET, **empty}
    assert ask(messages=[turn]).messages == (ChatMessage("assistant", "x"),)


def test_the_count_of_tokens_is_the_proxys_own_business() -> None:
    for options, wanted in ((None, False), ({"include_usage": True}, True), ({"include_obfuscation": True}, False)):
        asked = parse_asked(msgspec.json.encode(HELLO | {"stream": True, "stream_options": options}))
        assert asked.include_usage is wanted
        assert asked.request == ask(stream=True)


def test_no_repr_shows_a_message() -> None:
    asked = parse_asked(msgspec.json.encode(HELLO))
    assert "hello" not in repr(asked) + repr(asked.request) + repr(asked.request.messages[0])


def test_the_page_names_every_field_with_its_decision() -> None:
    page = (ROOT / "docs" / "proxy.md").read_text()
    rows = re.findall(r"^\| `([a-z_]+)` \| (carried|dropped|neutral|here) \|", page, re.MULTILINE)
    assert dict(rows) == {
        **dict.fromkeys((*fields.CARRIED, *fields.RENAMED), "carried"),
        **dict.fromkeys(fields.DROPPED, "dropped"),
        **dict.fromkeys(fields.NEUTRAL, "neutral"),
        fields.STREAM_OPTIONS: "here",
    }
    assert len(rows) == len(dict(rows))
