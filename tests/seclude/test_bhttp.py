"""seclude.bhttp against the examples of RFC 9292, and what it refuses."""

from contextlib import suppress
from dataclasses import replace

import pytest

from seclude.bhttp import (
    DEFAULT_LIMITS,
    Field,
    Informational,
    Limits,
    Request,
    Response,
    get,
    parse_request,
    parse_response,
    serialize_request,
    serialize_response,
)
from seclude.errors import DecodeError, TooLargeError, UsageError
from seclude.wire import Writer

# RFC 9292, section 5.1
KNOWN_REQUEST = bytes.fromhex(
    "0003474554056874747073000a2f68656c6c6f2e747874406c0a757365722d6167656e74346375726c2f372e31362e33"
    "206c69626375726c2f372e31362e33204f70656e53534c2f302e392e376c207a6c69622f312e322e3304686f73740f77"
    "77772e6578616d706c652e636f6d0f6163636570742d6c616e677561676506656e2c206d690000"
)
INDETERMINATE_REQUEST = bytes.fromhex(
    "0203474554056874747073000a2f68656c6c6f2e7478740a757365722d6167656e74346375726c2f372e31362e33206c"
    "69626375726c2f372e31362e33204f70656e53534c2f302e392e376c207a6c69622f312e322e3304686f73740f777777"
    "2e6578616d706c652e636f6d0f6163636570742d6c616e677561676506656e2c206d6900000000000000000000000000"
)
# RFC 9292, section 5.2
INDETERMINATE_RESPONSE = bytes.fromhex(
    "03406607 72756e6e 696e670a 22736c65 65702031 35220040 67046c69 6e6b233c 2f737479 6c652e63 73733e3b 2072656c"
    "3d707265 6c6f6164 3b206173 3d737479 6c65046c 696e6b24 3c2f7363 72697074 2e6a733e 3b207265 6c3d7072 656c6f61"
    "643b2061 733d7363 72697074 0040c804 64617465 1d4d6f6e 2c203237 204a756c 20323030 39203132 3a32383a 35332047"
    "4d540673 65727665 72064170 61636865 0d6c6173 742d6d6f 64696669 65641d57 65642c20 3232204a 756c2032 30303920"
    "31393a31 353a3536 20474d54 04657461 67142233 34616133 38372d64 2d313536 38656230 30220d61 63636570 742d7261"
    "6e676573 05627974 65730e63 6f6e7465 6e742d6c 656e6774 68023531 04766172 790f4163 63657074 2d456e63 6f64696e"
    "670c636f 6e74656e 742d7479 70650a74 6578742f 706c6169 6e003348 656c6c6f 20576f72 6c642120 4d792063 6f6e7465"
    "6e742069 6e636c75 64657320 61207472 61696c69 6e672043 524c462e 0d0a0000"
)
KNOWN_RESPONSE = bytes.fromhex(
    "0140c800 1d546869 7320636f 6e74656e 7420636f 6e746169 6e732043 524c462e 0d0a0d07 74726169 6c657204 74657874"
)
# RFC 9458, appendix A
SHORT_REQUEST = bytes.fromhex("00034745540568747470730b6578616d706c652e636f6d012f")
SHORT_RESPONSE = bytes.fromhex("0140c8")

CURL = b"curl/7.16.3 libcurl/7.16.3 OpenSSL/0.9.7l zlib/1.2.3"
HELLO = Request(
    b"GET",
    b"https",
    b"",
    b"/hello.txt",
    (Field(b"user-agent", CURL), Field(b"host", b"www.example.com"), Field(b"accept-language", b"en, mi")),
)
CHUNKED = Response(200, (), b"This content contains CRLF.\r\n", (Field(b"trailer", b"text"),))
FULL_REQUEST = Request(
    b"POST",
    b"https",
    b"example.com:8443",
    b"/v1/summarize?a=b",
    (Field(b"content-type", b"application/json"), Field(b"x", b"")),
    b"\0content\xff",
    (Field(b"trailer", b"a b\tc"),),
)
FULL_RESPONSE = Response(
    503,
    (Field(b"retry-after", b"1"),),
    b"later",
    (Field(b"trailer", b"text"),),
    (Informational(102), Informational(103, (Field(b"link", b"</a>"),))),
)
FORMS = pytest.mark.parametrize("indeterminate", [False, True], ids=["known", "indeterminate"])


def request(
    method: bytes = b"GET", scheme: bytes = b"https", authority: bytes = b"example.com", path: bytes = b"/"
) -> bytes:
    return Writer().varint(0).varvec(method).varvec(scheme).varvec(authority).varvec(path).getvalue()


def with_line(name: bytes, value: bytes, indeterminate: bool) -> bytes:
    line = Writer().varvec(name).varvec(value).getvalue()
    if indeterminate:
        return b"\x02" + request()[1:] + line + b"\0"
    return Writer().raw(request()).varvec(line).getvalue()


def test_the_requests_of_rfc_9292_are_read() -> None:
    assert parse_request(KNOWN_REQUEST) == HELLO
    assert parse_request(INDETERMINATE_REQUEST) == HELLO


def test_the_requests_of_rfc_9292_are_written() -> None:
    assert serialize_request(HELLO) == KNOWN_REQUEST
    assert serialize_request(HELLO, indeterminate=True, padding=10) == INDETERMINATE_REQUEST


def test_the_responses_of_rfc_9292_are_read_and_written() -> None:
    assert parse_response(KNOWN_RESPONSE) == CHUNKED
    assert serialize_response(CHUNKED) == KNOWN_RESPONSE
    response = parse_response(INDETERMINATE_RESPONSE)
    assert (response.status, [each.status for each in response.informational]) == (200, [102, 103])
    assert get(response.informational[0].fields, b"running") == b'"sleep 15"'
    assert [field.name for field in response.informational[1].fields] == [b"link", b"link"]
    assert response.content == b"Hello World! My content includes a trailing CRLF.\r\n"
    assert serialize_response(response, indeterminate=True) == INDETERMINATE_RESPONSE


def test_the_messages_of_rfc_9458_are_read() -> None:
    assert parse_request(SHORT_REQUEST) == Request(b"GET", b"https", b"example.com", b"/")
    assert parse_response(SHORT_RESPONSE) == Response(200)


@FORMS
@pytest.mark.parametrize("padding", [0, 1, 1000])
def test_everything_that_is_written_is_read(indeterminate: bool, padding: int) -> None:
    for message in (FULL_REQUEST, HELLO):
        assert parse_request(serialize_request(message, indeterminate=indeterminate, padding=padding)) == message
    for answer in (FULL_RESPONSE, CHUNKED, Response(599)):
        assert parse_response(serialize_response(answer, indeterminate=indeterminate, padding=padding)) == answer


def readable_cuts(data: bytes) -> dict[int, Request | Response]:
    """Return the truncations of a message that are messages, by their lengths."""
    parse = parse_response if data[0] & 1 else parse_request
    messages = {}
    for cut in range(len(data)):
        with suppress(DecodeError):
            messages[cut] = parse(data[:cut])
    return messages


def beginnings(message: Request | Response) -> list[Request | Response]:
    """Return the message without any section, with its header section, with that and its content."""
    with_content = replace(message, trailers=())
    with_fields = replace(with_content, content=b"")
    return [replace(with_fields, fields=()), with_fields, with_content]


def test_a_truncation_is_refused_but_for_whole_sections_at_the_end() -> None:
    control, last = 23, len(KNOWN_REQUEST)
    bare = replace(HELLO, fields=())
    assert readable_cuts(KNOWN_REQUEST) == {control: bare, last - 2: HELLO, last - 1: HELLO}
    last = len(INDETERMINATE_REQUEST)
    assert readable_cuts(INDETERMINATE_REQUEST) == {control: bare} | dict.fromkeys(range(last - 12, last), HELLO)
    assert list(readable_cuts(KNOWN_RESPONSE)) == [3, 4, 34]
    assert readable_cuts(SHORT_REQUEST) == readable_cuts(SHORT_RESPONSE) == {}


@FORMS
def test_a_truncation_within_any_section_is_refused(indeterminate: bool) -> None:
    request_cuts = readable_cuts(serialize_request(FULL_REQUEST, indeterminate=indeterminate))
    assert list(request_cuts.values()) == beginnings(FULL_REQUEST)
    response_cuts = readable_cuts(serialize_response(FULL_RESPONSE, indeterminate=indeterminate))
    assert list(response_cuts.values()) == beginnings(FULL_RESPONSE)


def test_a_truncated_example_with_informational_responses_keeps_them_all() -> None:
    assert list(readable_cuts(INDETERMINATE_RESPONSE).values()) == beginnings(parse_response(INDETERMINATE_RESPONSE))


@pytest.mark.parametrize("data", [KNOWN_REQUEST, INDETERMINATE_REQUEST, KNOWN_RESPONSE, INDETERMINATE_RESPONSE])
def test_every_flipped_bit_is_refused_or_gives_a_message_that_can_be_written(data: bytes) -> None:
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            if data[0] & 1:
                response = parse_response(bytes(damaged))
                assert parse_response(serialize_response(response)) == response
            else:
                message = parse_request(bytes(damaged))
                assert parse_request(serialize_request(message)) == message
        except DecodeError:
            continue


@pytest.mark.parametrize("framing", [1, 3, 4, 63, 1 << 20])
def test_another_framing_is_no_request(framing: int) -> None:
    with pytest.raises(DecodeError, match="framing"):
        parse_request(Writer().varint(framing).raw(KNOWN_REQUEST[1:]).getvalue())


@pytest.mark.parametrize("framing", [0, 2, 4, 63])
def test_another_framing_is_no_response(framing: int) -> None:
    with pytest.raises(DecodeError, match="framing"):
        parse_response(Writer().varint(framing).raw(KNOWN_RESPONSE[1:]).getvalue())


def test_a_length_need_not_be_the_shortest() -> None:
    assert parse_request(b"\x40\x00\x80\x00\x00\x03" + SHORT_REQUEST[2:]) == parse_request(SHORT_REQUEST)


@pytest.mark.parametrize("zeros", [0, 1, 100])
@pytest.mark.parametrize("last", [b"\x01", b"\xff", b"\x01\0"])
def test_padding_that_is_not_zero_is_refused(zeros: int, last: bytes) -> None:
    with pytest.raises(DecodeError, match="padding"):
        parse_request(KNOWN_REQUEST + bytes(zeros) + last)
    with pytest.raises(DecodeError, match="padding"):
        parse_response(KNOWN_RESPONSE + bytes(zeros) + last)


def test_negative_padding_is_our_own_fault() -> None:
    with pytest.raises(UsageError):
        serialize_request(HELLO, padding=-1)


BAD_CONTROL = [
    {"method": b""},
    {"method": b"GE T"},
    {"method": b"GET\r\n"},
    {"method": b"G\xc3T"},
    {"scheme": b""},
    {"scheme": b"ht tps"},
    {"scheme": b"1https"},
    {"scheme": b"https:"},
    {"authority": b"example.com\r\nhost: other"},
    {"authority": b"example.com "},
    {"authority": b"example.com\0"},
    {"authority": b"user@example.com"},
    {"authority": b"example.com/path"},
    {"authority": b"example.com?query"},
    {"authority": b"ex\xe4mple.com"},
    {"path": b""},
    {"path": b"*"},
    {"path": b"hello.txt"},
    {"path": b"https://example.com/"},
    {"path": b"/a b"},
    {"path": b"/\n"},
    {"path": b"/\x7f"},
    {"path": b"/\xc3\xa4"},
    {"path": b"/a#fragment"},
    {"method": b"CONNECT", "path": b""},
    {"method": b"options", "path": b"*"},
]


@pytest.mark.parametrize("parts", BAD_CONTROL)
def test_control_data_that_could_be_misread_is_neither_read_nor_written(parts: dict[str, bytes]) -> None:
    with pytest.raises(DecodeError):
        parse_request(request(**parts))
    with pytest.raises(UsageError):
        serialize_request(replace(Request(b"GET", b"https", b"example.com", b"/"), **parts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "parts",
    [
        {"method": b"OPTIONS", "path": b"*"},
        {"method": b"PATCH", "path": b"/a/b;c?d=%20&e='\"!$(){}|~"},
        {"authority": b"[::1]:8443"},
        {"authority": b""},
        {"scheme": b"coap+tcp"},
    ],
)
def test_unusual_control_data_is_read_and_written(parts: dict[str, bytes]) -> None:
    message = parse_request(request(**parts))
    assert {name: getattr(message, name) for name in parts} == parts
    assert parse_request(serialize_request(message)) == message


BAD_LINES = [
    (b"Name", b"value"),
    (b":method", b"GET"),
    (b":status", b"200"),
    (b":extension", b"value"),
    (b"na me", b"value"),
    (b"na:me", b"value"),
    (b"name\r\n", b"value"),
    (b"nam\xc3", b"value"),
    (b"name", b"a\r\nb"),
    (b"name", b"a\rb"),
    (b"name", b"a\nb"),
    (b"name", b"a\n"),
    (b"name", b"a\0b"),
    (b"name", b" a"),
    (b"name", b"\ta"),
    (b"name", b"a "),
    (b"name", b"a\t"),
    (b"name", b" "),
]


@FORMS
@pytest.mark.parametrize(("name", "value"), BAD_LINES)
def test_field_lines_that_could_be_misread_are_neither_read_nor_written(
    name: bytes, value: bytes, indeterminate: bool
) -> None:
    with pytest.raises(DecodeError):
        parse_request(with_line(name, value, indeterminate))
    for message in (replace(HELLO, fields=(Field(name, value),)), replace(HELLO, trailers=(Field(name, value),))):
        with pytest.raises(UsageError):
            serialize_request(message, indeterminate=indeterminate)
    with pytest.raises(UsageError):
        serialize_response(Response(200, informational=(Informational(103, (Field(name, value),)),)))


def test_a_field_without_a_name_is_neither_read_nor_written() -> None:
    with pytest.raises(DecodeError):
        parse_request(with_line(b"", b"value", indeterminate=False))
    with pytest.raises(UsageError):
        serialize_request(replace(HELLO, fields=(Field(b"", b"value"),)))


@FORMS
@pytest.mark.parametrize("value", [b"", b"a", b"a b", b"a\tb", b"\xff\x80", b'"quoted, list"'])
def test_field_values_may_hold_anything_else(value: bytes, indeterminate: bool) -> None:
    assert get(parse_request(with_line(b"name", value, indeterminate)).fields, b"name") == value


@FORMS
@pytest.mark.parametrize("status", [0, 99, 600, 999, 1 << 40])
def test_a_status_that_is_none_is_neither_read_nor_written(status: int, indeterminate: bool) -> None:
    with pytest.raises(DecodeError, match="status"):
        parse_response(Writer().varint(3 if indeterminate else 1).varint(status).getvalue())
    with pytest.raises(UsageError):
        serialize_response(Response(status), indeterminate=indeterminate)


def test_a_status_in_the_wrong_place_is_not_written() -> None:
    with pytest.raises(UsageError):
        serialize_response(Response(103))
    with pytest.raises(UsageError):
        serialize_response(Response(200, informational=(Informational(200),)))


def test_a_response_without_a_final_status_is_refused() -> None:
    with pytest.raises(DecodeError):
        parse_response(Writer().varint(1).varint(103).varint(0).getvalue())


def test_a_field_section_that_ends_within_a_line_is_refused() -> None:
    line = Writer().varvec(b"name").varvec(b"value").getvalue()
    data = Writer().raw(request()).varvec(line[:-1]).raw(b"e\0\0").getvalue()
    with pytest.raises(DecodeError):
        parse_request(data)


def test_chunks_of_content_are_joined() -> None:
    head = b"\x02" + request()[1:] + b"\0"
    chunks = Writer().varvec(b"a").varvec(b"bc").varvec(bytes(100)).varint(0).getvalue()
    assert parse_request(head + chunks).content == b"abc" + bytes(100)
    with pytest.raises(DecodeError):
        parse_request(head + chunks[:-1])


LIMITS = Limits(control_bytes=20, fields=2, fields_bytes=10, content_bytes=5, informational=1)


def assert_at_limit(at: Response, over: Response, limits: Limits = LIMITS) -> None:
    for indeterminate in (False, True):
        assert parse_response(serialize_response(at, indeterminate=indeterminate), limits) == at
        with pytest.raises(TooLargeError):
            parse_response(serialize_response(over, indeterminate=indeterminate), limits)


def test_content_is_read_at_its_limit_and_refused_above_it() -> None:
    assert_at_limit(Response(200, content=bytes(5)), Response(200, content=bytes(6)))
    head = bytes.fromhex("0340c800")
    assert parse_response(head + Writer().varvec(b"abc").varvec(b"de").getvalue() + b"\0", LIMITS).content == b"abcde"
    with pytest.raises(TooLargeError):
        parse_response(head + Writer().varvec(b"abc").varvec(b"def").getvalue() + b"\0", LIMITS)


def test_field_lines_are_counted_over_all_sections() -> None:
    line = (Field(b"a", b"b"),)
    assert_at_limit(Response(200, line * 2), Response(200, line * 3))
    assert_at_limit(Response(200, line, b"", line), Response(200, line, b"", line * 2))
    interim = (Informational(103, line),)
    assert_at_limit(Response(200, line, informational=interim), Response(200, line, b"", line, interim))


def test_octets_of_field_lines_are_counted_over_all_sections() -> None:
    assert_at_limit(Response(200, (Field(b"abcde", b"fghij"),)), Response(200, (Field(b"abcde", b"fghijk"),)))
    assert_at_limit(Response(200, (Field(b"abcdefghij", b""),)), Response(200, (Field(b"abcdefghijk", b""),)))
    line = Field(b"abc", b"de")
    assert_at_limit(Response(200, (line, line)), Response(200, (line, Field(b"abc", b"def"))))
    assert_at_limit(Response(200, (line,), b"", (line,)), Response(200, (line,), b"", (Field(b"abcd", b"ef"),)))


def test_long_forms_of_lengths_do_not_count_as_octets_of_fields() -> None:
    long_line = b"\xc0\0\0\0\0\0\0\x05abcde\xc0\0\0\0\0\0\0\0"
    data = bytes.fromhex("0140c8") + Writer().varvec(long_line * 2).getvalue()
    assert parse_response(data, LIMITS).fields == (Field(b"abcde", b""),) * 2


def test_a_huge_field_section_is_refused_before_its_lines_are_read() -> None:
    with pytest.raises(TooLargeError):
        parse_response(bytes.fromhex("0140c8") + Writer().varvec(bytes(43)).getvalue(), LIMITS)


def test_informational_responses_are_read_at_their_limit_and_refused_above_it() -> None:
    interim = (Informational(100),)
    assert_at_limit(Response(200, informational=interim), Response(200, informational=interim * 2))


@pytest.mark.parametrize("part", ["method", "scheme", "authority", "path"])
def test_control_data_is_read_at_its_limit_and_refused_above_it(part: str) -> None:
    longest = b"/" + b"a" * 19 if part == "path" else b"a" * 20
    assert getattr(parse_request(request(**{part: longest}), LIMITS), part) == longest
    with pytest.raises(TooLargeError):
        parse_request(request(**{part: longest + b"a"}), LIMITS)


def test_the_limits_that_hold_where_none_are_given() -> None:
    at = Response(200, content=bytes(DEFAULT_LIMITS.most_content))
    assert_at_limit(at, replace(at, content=at.content + b"\0"), DEFAULT_LIMITS)
    line = (Field(b"a", b"b"),)
    most = DEFAULT_LIMITS.fields
    assert_at_limit(Response(200, line * most), Response(200, line * (most + 1)), DEFAULT_LIMITS)


def test_a_repeated_field_is_joined_and_an_absent_one_is_none() -> None:
    fields = (Field(b"date", b"Mon"), Field(b"other", b"x"), Field(b"date", b"Tue"))
    assert get(fields, b"date") == b"Mon, Tue"
    assert get(fields, b"other") == b"x"
    assert get(fields, b"Date") is None
    assert get((), b"date") is None
    assert get((Field(b"empty", b""),), b"empty") == b""


def test_nothing_of_a_message_is_shown() -> None:
    shown = repr((FULL_REQUEST, FULL_RESPONSE, FULL_REQUEST.fields, FULL_RESPONSE.informational))
    for word in ("summarize", "content", "json", "later", "link", "503"):
        assert word not in shown
