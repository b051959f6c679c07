"""The JSON of the tasks: what is refused, and that an error never tells what it found."""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seclude.errors import DecodeError
from seclude.tasks import (
    MAX_MESSAGES,
    MAX_SENDER,
    MAX_TEXT,
    Change,
    Highlight,
    Message,
    Problem,
    RewriteRequest,
    RewriteResponse,
    Sentence,
    SummarizeRequest,
    SummarizeResponse,
    decode,
    encode,
)

SECRET = "canary"
TYPES = (
    *(Message, SummarizeRequest, Highlight, Sentence, SummarizeResponse),
    *(RewriteRequest, RewriteResponse, Change, Problem),
)


def chat(*messages: Mapping[str, object]) -> bytes:
    return msgspec.json.encode({"messages": messages})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (chat({"sender": 5, "text": "a"}), "$.messages[0].sender: Expected str, got int"),
        (chat({"sender": "", "text": "a"}), "$.messages[0].sender: Expected str of length >= 1"),
        (chat({"sender": "A"}), "$.messages[0]: Object missing required field text"),
        (chat({"sender": "A", "text": "a"}, {"sender": "A", "text": "a", SECRET: 1}), "$.messages[1]: unknown field"),
        (chat({"sender": "A", "text": "a", "time": SECRET}), "$.messages[0].time: Invalid RFC3339 encoded datetime"),
        (chat(), "$.messages: Expected array of length >= 1"),
        (b'{"messages":[{"sender":"A","text":"a"}],"max_highlights":0}', "$.max_highlights: Expected int >= 1"),
        (b'{"messages":[{"sender":"A","text":"a"}],"max_highlights":51}', "$.max_highlights: Expected int <= 50"),
        (b'{"messages":[{"sender":"A","text":"a"}],"abstract":"canary"}', "$.abstract: Expected bool, got str"),
        (b"{}", "$: Object missing required field messages"),
        (b"[1]", "$: Expected object, got array"),
    ],
)
def test_an_error_names_path_and_expectation(content: bytes, complaint: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(SummarizeRequest, content)
    assert str(caught.value) == complaint


@pytest.mark.parametrize(
    "content",
    [
        *(
            b"",
            b"{",
            b'{"messages":',
            b"\xff",
            b"canary",
            b"{}canary",
            b"[" * 100_000,
            b'{"messages":' + b"[" * 100_000,
        ),
        *(b'{"messages":[{"sender":"canary\xff","text":""}]}', b'{"messages":[{"sender":"A","text":"\\ud800"}]}'),
    ],
)
def test_what_is_not_json_is_refused(content: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(SummarizeRequest, content)
    assert SECRET not in str(caught.value)


def test_an_unknown_tone_is_answered_with_the_known_ones() -> None:
    with pytest.raises(DecodeError) as caught:
        decode(RewriteRequest, b'{"text":"a","tone":"canary"}')
    assert str(caught.value).startswith("$.tone: expected one of proofread, shorter")
    assert SECRET not in str(caught.value)


@given(
    st.recursive(
        st.text() | st.integers() | st.none() | st.booleans(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_junk_raises_decode_error_only_and_has_no_cause(value: object) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(SummarizeRequest, msgspec.json.encode(value))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_limits_hold_at_n_and_break_at_n_plus_one() -> None:
    for sender, text in ((MAX_SENDER, 0), (1, MAX_TEXT)):
        decode(SummarizeRequest, chat({"sender": "s" * sender, "text": "t" * text}))
    for sender, text in ((MAX_SENDER + 1, 0), (1, MAX_TEXT + 1)):
        with pytest.raises(DecodeError):
            decode(SummarizeRequest, chat({"sender": "s" * sender, "text": "t" * text}))
    message = {"sender": "A", "text": ""}
    assert len(decode(SummarizeRequest, chat(*[message] * MAX_MESSAGES)).messages) == MAX_MESSAGES
    with pytest.raises(DecodeError):
        decode(SummarizeRequest, chat(*[message] * (MAX_MESSAGES + 1)))
    assert decode(RewriteRequest, encode(RewriteRequest(text="t" * MAX_TEXT, tone="shorter"))).tone == "shorter"
    for draft in ("", "t" * (MAX_TEXT + 1)):
        with pytest.raises(DecodeError):
            decode(RewriteRequest, msgspec.json.encode({"text": draft, "tone": "shorter"}))


def test_values_come_back_as_they_were() -> None:
    time = datetime(2026, 5, 4, 10, 30, tzinfo=UTC)
    request = SummarizeRequest(messages=(Message(sender="Ana", text="9 €? 🎉", time=time), Message("Bo", "")))
    assert decode(SummarizeRequest, encode(request)) == request
    highlight = Highlight(index=0, sender="Ana", time=time, text="9 €? 🎉", reasons=("amount", "question"))
    answer = SummarizeResponse("highlights", "Ana: 9 €? 🎉", (highlight,), 2, 1, 1, "m", note=None)
    assert decode(SummarizeResponse, encode(answer)) == answer
    assert decode(SummarizeRequest, chat({"sender": "A", "text": "a"})).abstract, "unless it is declined"


def test_no_repr_shows_what_people_wrote() -> None:
    message = Message(sender=SECRET, text=SECRET)
    request = SummarizeRequest(messages=(message,))
    draft = RewriteRequest(text=SECRET, tone="shorter")
    assert SECRET not in f"{message!r} {request!r} {draft!r} {message} {Change('slang', SECRET, SECRET)!r}"


def test_values_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Message(sender="A", text="a").text = "b"  # type: ignore[misc]


@pytest.mark.parametrize("type_", TYPES)
def test_every_field_says_what_it_is(type_: type[msgspec.Struct]) -> None:
    info = msgspec.inspect.type_info(type_)
    assert isinstance(info, msgspec.inspect.StructType)
    for field in info.fields:
        assert isinstance(field.type, msgspec.inspect.Metadata), field.name
        assert (field.type.extra_json_schema or {}).get("description"), field.name


def test_a_problem_with_members_that_we_do_not_know_is_read() -> None:
    problem = decode(Problem, b'{"status":501,"title":"Not Implemented","instance":"x"}')
    assert (problem.status, problem.type, problem.detail) == (501, "about:blank", None)
