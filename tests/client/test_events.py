"""Event streams are read as HTML has them, in any cuts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seclude.client.events import MAX_EVENT, Event, EventReader
from seclude.errors import TooLargeError


def read(*pieces: bytes) -> list[Event]:
    reader = EventReader()
    return [event for piece in pieces for event in reader.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [Event("message", b"a")]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [Event("x", b"a"), Event("message", b"b")]),
        (b"data: a\ndata:b\ndata\n\n", [Event("message", b"a\nb\n")]),
        (b": nothing\n\n:\ndata:  two spaces\n\n", [Event("message", b" two spaces")]),
        (b"event: x\n\ndata: a\n\n", [Event("message", b"a")]),  # an event without data is none
        (b"id: 1\nretry: 5\nother\ndata: a\n\n", [Event("message", b"a")]),
        (
            b"data: a\r\n\r\ndata: b\r\rdata: c\n\n",
            [Event("message", b"a"), Event("message", b"b"), Event("message", b"c")],
        ),
        (b"data: a\n", []),
        (b"", []),
    ],
)
def test_the_grammar_is_html_s(stream: bytes, events: list[Event]) -> None:
    assert read(stream) == events
    assert read(*(stream[at : at + 1] for at in range(len(stream)))) == events


@given(
    st.lists(st.tuples(st.sampled_from(["highlight", "summary"]), st.binary(max_size=50)), max_size=5),
    st.integers(1, 40),
)
def test_any_cuts_give_the_same_events(made: list[tuple[str, bytes]], size: int) -> None:
    events = [Event(name, data.replace(b"\r", b"").replace(b"\n", b"") + b".") for name, data in made]
    stream = b"".join(b"event: %b\ndata: %b\n\n:   \n" % (event.name.encode(), event.data) for event in events)
    assert read(*(stream[at : at + size] for at in range(0, len(stream), size))) == events


@pytest.mark.parametrize("line", [b"data: ", b"data: x\n"])
def test_an_event_without_end_is_refused(line: bytes) -> None:
    reader = EventReader()
    reader.feed(b"data: " + bytes(MAX_EVENT - 10))
    with pytest.raises(TooLargeError):
        reader.feed(b"x" * 10 + line * 3)


@pytest.mark.parametrize("line", [b"data\n", b"data:\n", b"data: \n"])
def test_lines_without_octets_count_too(line: bytes) -> None:
    reader = EventReader()
    reader.feed(line * (MAX_EVENT - 10))
    with pytest.raises(TooLargeError):
        reader.feed(line * 11)


def test_comments_are_not_kept() -> None:
    reader = EventReader()
    for _ in range(100):
        assert reader.feed(b":" + b" " * 100_000 + b"\n") == []
