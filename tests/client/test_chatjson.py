"""Chats in JSON: our own shape and Telegram's."""

import json
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seclude.client.chats import Chat, ChatError, ChatMessage, Skipped
from seclude.client.formats import parse_chat_file

WHEN = datetime(2023, 12, 31, 21, 41, 5)
ANNA: dict[str, object] = {"sender": "Anna", "text": "hi", "time": "2023-12-31T21:41:05"}
BOB: dict[str, object] = {"sender": " Bob ", "text": " yes\n", "id": 7, "type": "message"}


def read(value: object) -> Chat:
    return parse_chat_file(json.dumps(value).encode())


@pytest.mark.parametrize(
    "file", [[ANNA, BOB], {"messages": [ANNA, BOB]}, {"title": "x", "v": 2, "messages": [ANNA, BOB]}]
)
def test_a_list_and_an_object_with_messages_are_read(file: object) -> None:
    chat = read(file)
    assert chat.messages == (ChatMessage("Anna", "hi", WHEN), ChatMessage("Bob", "yes", None))
    assert (chat.format, chat.skipped, chat.ambiguous_dates, chat.warnings) == ("json", Skipped(), False, ())


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\n\t ", b"\xef\xbb\xbf\r\n"])
def test_space_and_a_byte_order_mark_before_it_do_not_matter(start: bytes) -> None:
    assert len(parse_chat_file(start + json.dumps([ANNA]).encode()).messages) == 1
    assert len(parse_chat_file(start + json.dumps({"messages": [ANNA]}, indent=1).encode()).messages) == 1
    assert len(parse_chat_file(start + b"[\n  " + json.dumps(ANNA).encode() + b"\n]").messages) == 1


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("2023-12-31T21:41:05", WHEN),
        ("2023-12-31 21:41:05", WHEN),
        ("2023-12-31T21:41", WHEN.replace(second=0)),
        ("2023-12-31T21:41:05Z", WHEN),
        ("2023-12-31T21:41:05-08:00", WHEN),
        ("2023-12-31", datetime(2023, 12, 31)),
        (None, None),
    ],
)
def test_a_time_is_read_as_its_clock_showed_it(written: str | None, time: datetime | None) -> None:
    assert read([{**ANNA, "time": written}]).messages[0].time == time


def test_messages_without_words_are_counted() -> None:
    chat = read([ANNA, {"sender": "Bob", "text": " "}])
    assert len(chat.messages) == 1
    assert chat.skipped == Skipped(media=1)


def test_an_empty_list_is_a_chat_without_messages() -> None:
    assert read([]).messages == read({"messages": []}).messages == ()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"text": "hi"}, "sender"),
        ({"sender": "Anna"}, "text"),
        ({**ANNA, "text": 5}, "text"),
        ({**ANNA, "sender": None}, "sender"),
        ({**ANNA, "sender": ""}, "sender"),
        ({**ANNA, "sender": " \t"}, "sender"),
        ({**ANNA, "time": 1704058865}, "time"),
        ({**ANNA, "time": "31/12/2023"}, "time"),
        ({**ANNA, "time": "secret plan"}, "time"),
    ],
)
def test_an_error_names_the_index_and_the_field_but_not_the_content(wrong: dict[str, object], field: str) -> None:
    for file, path in (([ANNA, wrong], "$[1]"), ({"messages": [ANNA, wrong]}, "$.messages[1]")):
        with pytest.raises(ChatError) as refused:
            read(file)
        assert path in str(refused.value)
        assert field in str(refused.value)
        assert "secret" not in str(refused.value)
        assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "junk",
    [
        b"{",
        b"{}",
        b"[{]",
        b'{"messages": 5}',
        b'{"messages": null}',
        b'{"messages": [5]}',
        b"[{}",
        b"[{},]",
        b'{"messages": []} trailing',
        b'{"a": ' * 100_000,
        b'[{"sender": ' + b"[" * 100_000,
        b'[{"sender": "A", "text": "\xff"}]',
        b'{"messages": [{"sender": "A", "text": "\\ud800"}]}',
        b"{\x00}",
    ],
)
def test_other_json_is_refused_in_one_sentence(junk: bytes) -> None:
    with pytest.raises(ChatError) as refused:
        parse_chat_file(junk)
    assert "give" in str(refused.value)
    assert refused.value.__cause__ is None


def telegram(*messages: dict[str, object]) -> Chat:
    full = [
        {"id": n, "type": "message", "date": "2023-12-31T21:41:05", "from": "Anna", "from_id": "user1", **m}
        for n, m in enumerate(messages)
    ]
    return read({"name": "Street", "type": "private_group", "id": 123, "messages": full})


def test_telegrams_export_is_read() -> None:
    chat = telegram(
        {"type": "service", "actor": "Anna", "action": "create_group", "text": ""},
        {"text": "plain"},
        {
            "text": [
                "see ",
                {"type": "link", "text": "https://example.org"},
                " and ",
                {"type": "bold", "text": "hurry"},
            ],
            "edited": "2023-12-31T21:42:00",
        },
        {"from": None, "text": "gone"},
        {"text": "", "photo": "photos/photo_1.jpg", "width": 10},
        {"text": "the cat", "photo": "photos/photo_2.jpg"},
        {"text": "", "media_type": "sticker", "file": "sticker.webp", "sticker_emoji": "🌻"},
        {"text": "", "contact_information": {"first_name": "Cy", "phone_number": "+44 7700 900123"}},
    )
    assert [(m.sender, m.text) for m in chat.messages] == [
        ("Anna", "plain"),
        ("Anna", "see https://example.org and hurry"),
        ("Deleted Account", "gone"),
        ("Anna", "the cat"),
    ]
    assert {m.time for m in chat.messages} == {WHEN}
    assert (chat.format, chat.skipped) == ("telegram", Skipped(system=1, media=4))


def test_telegrams_polls_and_places_are_kept_as_text() -> None:
    chat = telegram(
        {
            "text": "",
            "poll": {"question": "When?", "closed": False, "answers": [{"text": "Sat", "voters": 2}, {"text": "Sun"}]},
        },
        {"text": "", "location_information": {"latitude": 1.5, "longitude": -2.25}},
        {"text": "", "place_name": "The Tap", "location_information": {"latitude": 1, "longitude": 2}},
    )
    assert [m.text for m in chat.messages] == [
        "Poll: When?\nOption: Sat\nOption: Sun",
        "Location: 1.5, -2.25",
        "Location: The Tap 1.0, 2.0",
    ]


@pytest.mark.parametrize(
    "wrong", [{"text": 5}, {"text": [5]}, {"text": {"text": "hi"}}, {"date": "secret"}, {"date": 5}, {"from": 5}]
)
def test_an_error_in_telegrams_export_names_the_index_and_the_field(wrong: dict[str, object]) -> None:
    with pytest.raises(ChatError, match=rf"\$\.messages\[1\]\.{next(iter(wrong))}") as refused:
        telegram({"text": "hi"}, wrong)
    assert "secret" not in str(refused.value)


def test_telegrams_export_of_all_chats_is_refused_with_a_hint() -> None:
    with pytest.raises(ChatError, match="export the one chat"):
        read({"about": "x", "chats": {"list": [{"name": "Street", "messages": []}]}})


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).map(str.strip).filter(bool)
MESSAGES = st.lists(
    st.tuples(TEXT, TEXT, st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2099, 1, 1))), max_size=8
)


@given(sent=MESSAGES, listed=st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_chat_written_as_json_is_read_back(sent: list[tuple[str, str, datetime | None]], listed: bool) -> None:
    entries = [{"sender": sender, "text": text, "time": time and time.isoformat()} for sender, text, time in sent]
    assert read(entries if listed else {"messages": entries}).messages == tuple(
        ChatMessage(*message) for message in sent
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["messages", "sender", "text", "time", "from", "type", "date", "poll"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON)
@settings(max_examples=300, deadline=None)
def test_no_json_breaks_the_reader(value: object) -> None:
    try:
        chat = read(value)
    except ChatError:
        return
    assert all(message.sender and message.text for message in chat.messages)
