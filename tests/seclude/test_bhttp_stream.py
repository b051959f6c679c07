"""seclude.bhttp_stream comes to what seclude.bhttp comes to, however the octets were cut, and sooner."""

import tracemalloc
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seclude.bhttp import (
    DEFAULT_LIMITS,
    Field,
    Informational,
    Limits,
    Request,
    Response,
    parse_request,
    parse_response,
    serialize_request,
    serialize_response,
)
from seclude.bhttp_stream import Head, RequestReader, ResponseReader, ResponseWriter, content_overhead
from seclude.errors import DecodeError, TooLargeError, UsageError
from seclude.wire import Writer
from tests.seclude.test_bhttp import (
    BAD_CONTROL,
    BAD_LINES,
    CHUNKED,
    FORMS,
    FULL_REQUEST,
    FULL_RESPONSE,
    INDETERMINATE_REQUEST,
    INDETERMINATE_RESPONSE,
    KNOWN_REQUEST,
    KNOWN_RESPONSE,
    LIMITS,
    SHORT_REQUEST,
    SHORT_RESPONSE,
    request,
    with_line,
)

Answer = tuple[int, tuple[Field, ...], bytes]
Outcome = Request | Answer | type[DecodeError]

REQUESTS = [
    KNOWN_REQUEST,
    INDETERMINATE_REQUEST,
    SHORT_REQUEST,
    serialize_request(FULL_REQUEST, padding=3),
    serialize_request(FULL_REQUEST, indeterminate=True, padding=3),
]
RESPONSES = [
    KNOWN_RESPONSE,
    INDETERMINATE_RESPONSE,
    SHORT_RESPONSE,
    serialize_response(FULL_RESPONSE, padding=3),
    serialize_response(FULL_RESPONSE, indeterminate=True, padding=3),
]
MESSAGES = pytest.mark.parametrize("data", [*REQUESTS, *RESPONSES])
HEAD = bytes.fromhex("0340c800")  # a response of indeterminate length and status 200, without fields
POST = b"\x02" + request(method=b"POST")[1:] + b"\0"


def cuts(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def read_request(pieces: Iterable[bytes], limits: Limits = DEFAULT_LIMITS) -> Request:
    reader = RequestReader(limits)
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


def read_response(pieces: Iterable[bytes], limits: Limits = DEFAULT_LIMITS) -> Answer:
    """Return status, fields and content, which must have come in this order and no later than they could."""
    reader = ResponseReader(limits)
    events = []
    for piece in pieces:
        came = reader.feed(piece)
        assert sum(len(event) for event in came if isinstance(event, bytes)) <= len(piece)
        events += came
    events += reader.finish()
    head, *content = events
    assert reader.ended
    assert isinstance(head, Head)
    assert all(isinstance(event, bytes) and event for event in content)
    return head.status, head.fields, b"".join(event for event in content if isinstance(event, bytes))


def outcome(read: Callable[[], Outcome]) -> Outcome:
    try:
        return read()
    except DecodeError as exc:
        return type(exc)


def at_once(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Outcome:
    """Return what seclude.bhttp makes of a message, as far as a reader gives it out."""

    def read() -> Outcome:
        if data[:1] not in (b"\1", b"\3"):
            return parse_request(data, limits)
        response = parse_response(data, limits)
        return response.status, response.fields, response.content

    return outcome(read)


def in_pieces(data: bytes, pieces: Iterable[bytes], limits: Limits = DEFAULT_LIMITS) -> Outcome:
    if data[:1] not in (b"\1", b"\3"):
        return outcome(lambda: read_request(pieces, limits))
    return outcome(lambda: read_response(pieces, limits))


@MESSAGES
def test_the_examples_are_read_in_any_cuts(data: bytes) -> None:
    expected = at_once(data)
    assert not isinstance(expected, type)
    for size in range(1, len(data) + 1):
        assert in_pieces(data, cuts(data, size)) == expected
    for at in range(len(data) + 1):
        assert in_pieces(data, [data[:at], b"", data[at:]]) == expected


@MESSAGES
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_every_truncation_is_read_or_refused_as_if_it_came_at_once(data: bytes, size: int) -> None:
    for end in range(len(data)):
        assert in_pieces(data, cuts(data[:end], size)) == at_once(data[:end])


@MESSAGES
@pytest.mark.parametrize("size", [1, 1000])
def test_every_flipped_bit_is_read_or_refused_as_if_it_came_at_once(data: bytes, size: int) -> None:
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert in_pieces(bytes(damaged), cuts(bytes(damaged), size)) == at_once(bytes(damaged))


LINES = st.lists(
    st.builds(Field, st.sampled_from([b"a", b"date"]), st.sampled_from([b"", b"b" * 70, b"a, b"])), max_size=3
).map(tuple)
CONTENT = st.binary(max_size=200)
MADE = st.one_of(
    st.builds(
        lambda fields, content, trailers: Request(b"POST", b"https", b"", b"/", fields, content, trailers),
        LINES,
        CONTENT,
        LINES,
    ),
    st.builds(
        Response,
        st.integers(200, 599),
        LINES,
        CONTENT,
        LINES,
        st.lists(st.builds(Informational, st.integers(100, 199), LINES), max_size=2).map(tuple),
    ),
)


@given(MADE, st.booleans(), st.integers(0, 9), st.lists(st.integers(0, 600), max_size=8), st.integers(0, 600))
def test_made_messages_are_read_in_any_cuts_whole_or_not(
    message: Request | Response, indeterminate: bool, padding: int, places: list[int], end: int
) -> None:
    if isinstance(message, Request):
        data = serialize_request(message, indeterminate=indeterminate, padding=padding)
    else:
        data = serialize_response(message, indeterminate=indeterminate, padding=padding)
    for whole in (data, data[:end]):
        edges = [0, *sorted(places), len(whole)]
        pieces = [whole[start:stop] for start, stop in pairwise(edges)]
        assert in_pieces(whole, pieces) == at_once(whole)
        assert in_pieces(whole, cuts(whole, 1)) == at_once(whole)


@pytest.mark.parametrize("parts", BAD_CONTROL)
def test_bad_control_data_is_refused_with_its_last_octet(parts: dict[str, bytes]) -> None:
    data = request(**parts)
    reader = RequestReader()
    reader.feed(data[:-1])
    with pytest.raises(DecodeError):
        reader.feed(data[-1:])


@FORMS
@pytest.mark.parametrize(("name", "value"), BAD_LINES)
def test_a_bad_field_line_is_refused_with_its_last_octet(name: bytes, value: bytes, indeterminate: bool) -> None:
    data = with_line(name, value, indeterminate)
    end = len(data) - 1 if indeterminate else len(data)
    reader = RequestReader()
    reader.feed(data[: end - 1])
    with pytest.raises(DecodeError):
        reader.feed(data[end - 1 :])


def test_a_field_without_a_name_is_refused() -> None:
    with pytest.raises(DecodeError, match="field name"):
        RequestReader().feed(with_line(b"", b"value", indeterminate=False))


@pytest.mark.parametrize("framing", [4, 63, 1 << 20])
def test_another_framing_is_refused_at_once(framing: int) -> None:
    for reader, other in ((RequestReader(), framing), (ResponseReader(), framing)):
        with pytest.raises(DecodeError, match="framing"):
            reader.feed(Writer().varint(other).getvalue())
    for reader, data in ((RequestReader(), KNOWN_RESPONSE), (ResponseReader(), INDETERMINATE_REQUEST)):
        with pytest.raises(DecodeError, match="framing"):
            reader.feed(data[:1])


@pytest.mark.parametrize("status", [0, 99, 600, 1 << 40])
def test_a_status_that_is_none_is_refused_at_once(status: int) -> None:
    with pytest.raises(DecodeError, match="status"):
        ResponseReader().feed(Writer().varint(1).varint(status).getvalue())


def test_long_forms_of_lengths_are_read() -> None:
    data = b"\x40\x00\x80\x00\x00\x03" + SHORT_REQUEST[2:] + bytes.fromhex("c000000000000000 4000 80000000")
    assert read_request(cuts(data, 1)) == parse_request(SHORT_REQUEST)


@pytest.mark.parametrize("zeros", [0, 1, 100])
def test_padding_that_is_not_zero_is_refused_at_once(zeros: int) -> None:
    for reader, data in (
        (RequestReader(), KNOWN_REQUEST),
        (ResponseReader(), serialize_response(CHUNKED, indeterminate=True)),
    ):
        reader.feed(data)
        reader.feed(bytes(zeros))
        with pytest.raises(DecodeError, match="padding"):
            reader.feed(b"\1")


def test_a_response_comes_as_it_is_fed() -> None:
    data = serialize_response(FULL_RESPONSE, indeterminate=True, padding=2)
    start = data.index(b"later")
    reader = ResponseReader()
    assert reader.feed(data[: start - 2]) == []
    assert reader.feed(data[start - 2 : start]) == [Head(503, FULL_RESPONSE.fields)]
    assert reader.feed(b"la") == [b"la"]
    assert reader.feed(b"") == []
    assert reader.feed(b"ter") == [b"ter"]
    assert reader.feed(data[start + 5 :]) == []
    assert reader.finish() == []


def test_one_feed_gives_one_piece_of_content() -> None:
    reader = ResponseReader()
    assert reader.feed(HEAD + b"\1a\2bc\1") == [Head(200), b"abc"]
    assert reader.feed(b"d\0\0") == [b"d"]


@pytest.mark.parametrize("data", [SHORT_RESPONSE, b"\3" + SHORT_RESPONSE[1:]])
def test_the_head_of_a_response_without_sections_comes_at_its_end(data: bytes) -> None:
    reader = ResponseReader()
    assert (reader.feed(data), reader.ended) == ([], False)
    assert (reader.finish(), reader.ended) == ([Head(200)], True)


def test_content_is_complete_with_its_last_octet_or_with_the_zero_after_it() -> None:
    known, indeterminate = ResponseReader(), ResponseReader()
    assert (known.feed(b"\1\x40\xc8\0\2a"), known.ended) == ([Head(200), b"a"], False)
    assert (known.feed(b"b"), known.ended) == ([b"b"], True)
    assert (indeterminate.feed(HEAD + b"\2ab"), indeterminate.ended) == ([Head(200), b"ab"], False)
    assert (indeterminate.feed(b"\0"), indeterminate.ended) == ([], True)


@pytest.mark.parametrize("tail", [b"\2a", b"\2ab", b"\2ab\0\1", b"\2ab\0\1a\1"])
def test_what_came_of_a_response_that_is_cut_short_is_not_the_whole(tail: bytes) -> None:
    reader = ResponseReader()
    assert reader.feed(HEAD + tail)[0] == Head(200)
    with pytest.raises(DecodeError, match="truncated"):
        reader.finish()


def test_a_reader_that_has_refused_or_finished_is_of_no_more_use() -> None:
    refused, finished = RequestReader(), ResponseReader()
    with pytest.raises(DecodeError):
        refused.feed(b"\1")
    finished.feed(SHORT_RESPONSE)
    finished.finish()
    for reader in (refused, finished):
        with pytest.raises(UsageError):
            reader.feed(b"\0")
        with pytest.raises(UsageError):
            reader.finish()
    cut_short = RequestReader()
    with pytest.raises(DecodeError):
        cut_short.finish()
    with pytest.raises(UsageError):
        cut_short.finish()


LINE = (Field(b"a", b"b"),)
INTERIM = (Informational(103, LINE),)
AT_AND_OVER = [
    (Response(200, content=bytes(5)), Response(200, content=bytes(6))),
    (Response(200, LINE * 2), Response(200, LINE * 3)),
    (Response(200, LINE, b"", LINE), Response(200, LINE, b"", LINE * 2)),
    (Response(200, LINE, informational=INTERIM), Response(200, LINE, b"", LINE, INTERIM)),
    (Response(200, (Field(b"abcde", b"fghij"),)), Response(200, (Field(b"abcde", b"fghijk"),))),
    (Response(200, (Field(b"abcdefghij", b""),)), Response(200, (Field(b"abcdefghijk", b""),))),
    (Response(200, informational=INTERIM), Response(200, informational=INTERIM * 2)),
]


@FORMS
@pytest.mark.parametrize(("at", "over"), AT_AND_OVER)
def test_every_limit_of_a_response_holds_at_n_and_refuses_above(
    at: Response, over: Response, indeterminate: bool
) -> None:
    for message in (at, over):
        data = serialize_response(message, indeterminate=indeterminate)
        for size in (1, len(data)):
            assert in_pieces(data, cuts(data, size), LIMITS) == at_once(data, LIMITS)
    with pytest.raises(TooLargeError):
        ResponseReader(LIMITS).feed(data)


@pytest.mark.parametrize("part", ["method", "scheme", "authority", "path"])
def test_control_data_above_its_limit_is_refused_by_its_length(part: str) -> None:
    longest = b"/" + b"a" * 19 if part == "path" else b"a" * 20
    assert getattr(read_request(cuts(request(**{part: longest}), 1), LIMITS), part) == longest
    data = request(**{part: longest + b"a"})
    with pytest.raises(TooLargeError, match=part):
        RequestReader(LIMITS).feed(data[: data.index(longest)])


def test_content_above_its_limit_is_refused_by_its_length() -> None:
    assert read_request([POST, b"\3abc\2de\0"], LIMITS).content == b"abcde"
    assert read_response([HEAD, b"\3abc\2de\0"], LIMITS) == (200, (), b"abcde")
    for reader, head in ((RequestReader(LIMITS), POST), (ResponseReader(LIMITS), HEAD)):
        reader.feed(head + b"\3abc")
        with pytest.raises(TooLargeError, match="content"):
            reader.feed(b"\3")
    with pytest.raises(TooLargeError, match="content"):
        RequestReader(LIMITS).feed(request() + b"\0\6")


def test_a_field_line_above_its_limit_is_refused_by_its_length() -> None:
    for line in (b"\x0b", b"\5abcde\6"):
        with pytest.raises(TooLargeError):
            ResponseReader(LIMITS).feed(HEAD[:-1] + line)
    with pytest.raises(TooLargeError):
        ResponseReader(LIMITS).feed(bytes.fromhex("0140c8") + Writer().varint(43).getvalue())


def test_what_is_too_large_and_cut_short_is_too_large() -> None:
    data = bytes.fromhex("0140c8 0c") + b"\1a\1b" * 2 + b"\1"
    assert at_once(data, LIMITS) is DecodeError
    assert in_pieces(data, cuts(data, 1), LIMITS) is TooLargeError


def test_a_line_may_not_cross_the_end_of_its_section() -> None:
    line = Writer().varvec(b"name").varvec(b"value").getvalue()
    reader = RequestReader()
    with pytest.raises(DecodeError, match="truncated in field value: 4 of 5"):
        reader.feed(Writer().raw(request()).varvec(line[:-1]).getvalue())


def test_without_a_limit_of_content_a_length_says_how_much_may_come() -> None:
    unlimited = Limits(content_bytes=None)
    reader = ResponseReader(unlimited)
    assert reader.feed(HEAD + b"\xff" * 8 + b"a") == [Head(200), b"a"]
    assert parse_response(HEAD + b"\1a\0", unlimited).content == b"a"


@FORMS
def test_memory_does_not_grow_with_the_content(indeterminate: bool) -> None:
    piece, count = bytes(1 << 14), 1 << 12  # 64 MiB
    reader = ResponseReader(Limits(content_bytes=None))
    reader.feed(HEAD if indeterminate else bytes.fromhex("0140c800") + Writer().varint(count << 14).getvalue())
    chunk = Writer().varvec(piece).getvalue() if indeterminate else piece
    came = 0
    tracemalloc.start()
    for _ in range(count):
        for event in reader.feed(chunk[:100]) + reader.feed(chunk[100:]):
            assert isinstance(event, bytes)
            came += len(event)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert came == count << 14
    assert peak < 1 << 20


def test_what_is_written_is_read() -> None:
    writer = ResponseWriter(200, LINE)
    data = writer.head() + writer.content(b"a") + writer.content(bytes(100)) + writer.end(padding=7)
    assert parse_response(data) == Response(200, LINE, b"a" + bytes(100))
    assert data.endswith(bytes(9))


def test_a_response_without_content_is_written_as_its_whole_is() -> None:
    writer = ResponseWriter(503)
    assert writer.head() + writer.end() == serialize_response(Response(503), indeterminate=True)
    writer = ResponseWriter(200, iter(LINE))
    data = writer.head() + writer.content(b"later") + writer.end(3)
    assert data == serialize_response(Response(200, LINE, b"later"), indeterminate=True, padding=3)


@pytest.mark.parametrize("status", [0, 103, 199, 600])
def test_a_status_that_is_not_final_is_not_written(status: int) -> None:
    with pytest.raises(UsageError):
        ResponseWriter(status)


@pytest.mark.parametrize(("name", "value"), BAD_LINES)
def test_a_bad_field_line_is_not_written(name: bytes, value: bytes) -> None:
    with pytest.raises(UsageError):
        ResponseWriter(200, (Field(name, value),))


def test_the_parts_of_a_response_are_written_in_their_order() -> None:
    writer = ResponseWriter(200)
    acts: list[Callable[[], bytes]] = [writer.head, lambda: writer.content(b"a"), writer.end]
    for early in acts[1:]:
        with pytest.raises(UsageError):
            early()
    assert [act() for act in acts] == [HEAD, b"\1a", b"\0\0"]
    for late in acts:
        with pytest.raises(UsageError):
            late()


def test_an_empty_chunk_and_negative_padding_are_our_own_fault() -> None:
    writer = ResponseWriter(200)
    writer.head()
    with pytest.raises(UsageError):
        writer.content(b"")
    with pytest.raises(UsageError):
        writer.end(-1)
    assert writer.end(1) == bytes(3)


@pytest.mark.parametrize(
    ("length", "overhead"), [(1, 1), (63, 1), (64, 2), (16383, 2), (16384, 4), ((1 << 30) - 1, 4), (1 << 30, 8)]
)
def test_the_overhead_of_a_chunk_is_that_of_its_length(length: int, overhead: int) -> None:
    assert content_overhead(length) == overhead
    if length < 1 << 20:
        writer = ResponseWriter(200)
        writer.head()
        assert len(writer.content(bytes(length))) == length + overhead


def test_nothing_of_a_head_is_shown() -> None:
    shown = repr((Head(503, (Field(b"retry-after", b"now"),)), ResponseReader(), ResponseWriter(503)))
    for word in ("retry", "now", "status"):
        assert word not in shown
