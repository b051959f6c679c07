"""Text from octets: characters whole, stop strings never seen, nothing held longer than it must be."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.engine.pieces import Pieces
from seclude.chat import MAX_STOP, MAX_STOPS
from seclude.errors import DecodeError

# Few letters, so that stop strings and their beginnings come often; some of two, three and four octets.
TEXTS = st.text("ab<|é€😀\n", max_size=40)
STOPS = st.lists(st.text("ab<|é€😀\n", min_size=1, max_size=5), max_size=MAX_STOPS)
OCTETS = st.one_of(st.binary(max_size=40), TEXTS.map(str.encode))


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    """Cut octets at some places, modulo their number."""
    at = sorted({place % (len(octets) + 1) for place in places} | {0, len(octets)})
    return [octets[begin:end] for begin, end in itertools.pairwise(at)]


def shown(pieces: Pieces, parts: list[bytes]) -> str:
    return "".join([*map(pieces.feed, parts), pieces.end()])


def stopped_at(text: str, stops: list[str]) -> str:
    """Say the same as `Pieces`, the slow way: let the text grow by characters until it ends with a stop string."""
    for end in range(1, len(text) + 1):
        ended = [stop for stop in stops if text[:end].endswith(stop)]
        if ended:
            return text[: end - max(map(len, ended))]
    return text


@given(OCTETS, STOPS, st.lists(st.integers(0, 100), max_size=20))
def test_what_is_shown_is_the_text_before_the_stop_however_it_was_cut(
    octets: bytes, stops: list[str], places: list[int]
) -> None:
    text = octets.decode(errors="replace")
    assert shown(Pieces(stops), cut(octets, places)) == stopped_at(text, stops)


@given(TEXTS, STOPS)
def test_no_more_is_held_than_may_be_the_beginning_of_a_stop(text: str, stops: list[str]) -> None:
    pieces, came = Pieces(stops), ""
    for end, character in enumerate(text, 1):
        came += pieces.feed(character.encode())
        if pieces.stopped:
            assert came == stopped_at(text[:end], stops)
            return
        held = text[len(came) : end]
        assert text.startswith(came)
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)


@given(TEXTS)
def test_without_stops_a_character_is_shown_when_it_is_whole(text: str) -> None:
    pieces = Pieces()
    for character in text:
        *first, last = ([octet] for octet in character.encode())
        assert [pieces.feed(bytes(octet)) for octet in first] == [""] * len(first)
        assert pieces.feed(bytes(last)) == character
    assert pieces.end() == ""


def test_octets_that_can_become_no_character_are_replaced_as_soon_as_that_is_sure() -> None:
    pieces = Pieces()
    assert pieces.feed(b"\xe2\x82") == ""  # may become a euro sign
    assert pieces.feed(b"a") == "\ufffda"
    assert pieces.feed(b"\xff") == "\ufffd"
    assert pieces.feed(b"\xf0\x9f") == ""
    assert pieces.end() == "\ufffd"


def test_a_character_that_a_limit_cut_is_left_out() -> None:
    pieces = Pieces(["zz"])
    assert pieces.feed(b"a z\xf0\x9f\x98") == "a "
    assert pieces.end(cut=True) == "z"
    assert pieces.end() == ""


def test_a_stop_that_came_over_many_tokens_is_not_seen_and_nothing_after_it() -> None:
    pieces = Pieces(["<|im_end|>", "\n\n"])
    assert [pieces.feed(part) for part in (b"Yes <", b"|im", b"_end", b"|> no", b"more")] == ["Yes ", "", "", "", ""]
    assert pieces.stopped
    assert pieces.end() == ""


def test_of_two_stops_the_one_that_is_whole_first_counts() -> None:
    assert shown(Pieces(["abcd", "c"]), [b"abcd"]) == shown(Pieces(["abcd", "c"]), [b"ab", b"c", b"d"]) == "ab"
    assert shown(Pieces(["b", "ab"]), [b"xab"]) == "x"


@pytest.mark.parametrize("stops", [[""], ["a"] * (MAX_STOPS + 1), ["a" * (MAX_STOP + 1)]])
def test_stops_that_cannot_be_are_refused(stops: list[str]) -> None:
    with pytest.raises(DecodeError):
        Pieces(stops)
