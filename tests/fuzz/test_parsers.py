"""Every parser of the protocol core under seeded mutation and generated messages.

Whatever the bytes, only a refusal of the right family comes out, and whatever is read can be written and read again.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seclude.bhttp import (
    Field,
    Informational,
    Request,
    Response,
    parse_request,
    parse_response,
    serialize_request,
    serialize_response,
)
from seclude.bhttp_stream import Head, RequestReader, ResponseReader
from seclude.errors import DecodeError, OpenError, UnknownKeyError
from seclude.hpke import KEM_X25519, PrivateKey
from seclude.ohttp.encapsulation import HeldKey, decapsulate, encapsulate_request
from seclude.ohttp.keyconfig import (
    PUBLIC_KEY_LENGTHS,
    KeyConfig,
    RequestHeader,
    SymmetricAlgorithms,
    parse_key_config,
    parse_key_configs,
    parse_request_header,
    serialize_key_config,
    serialize_key_configs,
    serialize_request_header,
)
from seclude.wire import Reader, Writer
from tests.fuzz.damage import refuse_damage

EXECUTIONS = 20_000
CALM = settings(max_examples=150, deadline=None, database=None, derandomize=True)

LINE = (Field(b"content-type", b"application/json"), Field(b"date", b"Mon, 27 Jul 2009 12:28:53 GMT"))
REQUEST = Request(b"POST", b"https", b"example.com", b"/v1/summarize", LINE, b"content" * 10, LINE[:1])
RESPONSE = Response(200, LINE, b"content" * 10, LINE[:1], (Informational(102), Informational(103, LINE)))
AES, CHACHA = SymmetricAlgorithms(1, 1), SymmetricAlgorithms(1, 3)
KEY = PrivateKey.from_bytes(KEM_X25519, bytes(range(32)))
CONFIG = KeyConfig(1, KEM_X25519, KEY.public_key, (AES, CHACHA))
P256 = KeyConfig(2, 0x0010, bytes(65), (AES,))
UNKNOWN = Writer().vec16(b"\x03\xfe\xfe" + bytes(20)).getvalue()


def again_request(data: bytes) -> None:
    message = parse_request(data)
    assert parse_request(serialize_request(message, indeterminate=True, padding=3)) == message


def again_response(data: bytes) -> None:
    message = parse_response(data)
    assert parse_response(serialize_response(message, indeterminate=True, padding=3)) == message


def in_cuts(data: bytes) -> list[bytes]:
    """Cut to a size that the data itself gives."""
    size = 1 + sum(data) % 99
    return [data[at : at + size] for at in range(0, len(data), size)]


def read_request(data: bytes) -> Request:
    reader = RequestReader()
    for piece in in_cuts(data):
        reader.feed(piece)
    return reader.finish()


def read_response(data: bytes) -> Response:
    reader = ResponseReader()
    head, *content = [event for piece in in_cuts(data) for event in reader.feed(piece)] + reader.finish()
    assert isinstance(head, Head)
    return Response(head.status, head.fields, b"".join(piece for piece in content if isinstance(piece, bytes)))


def parse_response_given_out(data: bytes) -> Response:
    return replace(parse_response(data), trailers=(), informational=())


def again_in_pieces(data: bytes) -> None:
    """Read at once and in cuts: both come to the same, but in cuts the same refusal may be a narrower one."""
    is_response = data[:1] in (b"\1", b"\3")
    read, parse = (read_response, parse_response_given_out) if is_response else (read_request, parse_request)
    try:
        message = parse(data)
    except DecodeError as exc:
        with pytest.raises(type(exc)):
            read(data)
        raise
    assert message == read(data)


def again_key_config(data: bytes) -> None:
    assert serialize_key_config(parse_key_config(data)) == data


def again_key_configs(data: bytes) -> None:
    configs = parse_key_configs(data)
    assert not configs or parse_key_configs(serialize_key_configs(configs)) == configs


def again_header(data: bytes) -> None:
    assert serialize_request_header(parse_request_header(data)) == data[:7]


def again_wire(data: bytes) -> None:
    """Read by a programme that the data itself gives."""
    reader = Reader(data)
    while reader.remaining:
        operation = reader.u8("operation") % 8
        before = reader.offset
        match operation:
            case 0:
                reader.u16("u16")
            case 1:
                reader.u32("u32")
            case 2:
                reader.u64("u64")
            case 3:
                value = reader.varint("varint")
                assert Reader(Writer().varint(value).getvalue()).varint("varint") == value
            case 4:
                assert len(reader.vec8("vec8")) == reader.offset - before - 1
            case 5:
                assert len(reader.vec16("vec16", 20)) <= 20
            case 6:
                assert len(reader.vec32("vec32", 20)) <= 20
            case _:
                assert len(reader.varvec("varvec", 20)) <= 20
        assert before < reader.offset <= len(data)
    reader.finish("programme")


def again_decapsulate(data: bytes) -> None:
    assert decapsulate(data, {1: HeldKey(CONFIG, KEY)}).message == b"question"


REQUESTS = [serialize_request(REQUEST), serialize_request(REQUEST, indeterminate=True, padding=20)]
RESPONSES = [serialize_response(RESPONSE), serialize_response(RESPONSE, indeterminate=True, padding=20)]
CONFIGS = [serialize_key_config(CONFIG), serialize_key_config(P256)]
LISTS = [serialize_key_configs((CONFIG, P256)), UNKNOWN + serialize_key_configs((CONFIG,))]
PROGRAMMES = [bytes(99), b"\x04\x02ab\x05\x00\x02ab\x06\x00\x00\x00\x02ab\x07\x02ab\x03\x80\x00\x00\x01"]
SEALED = [encapsulate_request(CONFIG, b"question", aead=aead)[0] for aead in (1, 3)]


@pytest.mark.parametrize(
    ("again", "seeds", "refusals"),
    [
        (again_wire, PROGRAMMES, DecodeError),
        (again_request, REQUESTS, DecodeError),
        (again_response, RESPONSES, DecodeError),
        (again_in_pieces, REQUESTS + RESPONSES, DecodeError),
        (again_key_config, CONFIGS, DecodeError),
        (again_key_configs, LISTS, DecodeError),
        (again_header, SEALED, DecodeError),
        (again_decapsulate, SEALED, (DecodeError, OpenError, UnknownKeyError)),
    ],
)
def test_only_a_refusal_comes_out_of_damaged_bytes(
    again: Callable[[bytes], None],
    seeds: list[bytes],
    refusals: type[DecodeError] | tuple[type[Exception], ...],
) -> None:
    refuse_damage(again, seeds, EXECUTIONS, refusals)


TOKENS = st.from_regex(rb"[!#$%&'*+.^_`|~0-9a-z-]{1,20}", fullmatch=True)
VALUES = st.from_regex(rb"([!-~\x80-\xff]([ -~\t\x80-\xff]{0,20}[!-~\x80-\xff])?)?", fullmatch=True)
SECTIONS = st.lists(st.builds(Field, TOKENS, VALUES), max_size=5).map(tuple)
MESSAGES = st.builds(
    Request,
    TOKENS,
    st.from_regex(rb"[a-z][a-z0-9+.-]{0,8}", fullmatch=True),
    st.from_regex(rb"[a-z0-9.:\[\]-]{0,20}", fullmatch=True),
    st.from_regex(rb"/[a-z0-9?&=%/~]{0,30}", fullmatch=True),
    SECTIONS,
    st.binary(max_size=300),
    SECTIONS,
)
ANSWERS = st.builds(
    Response,
    st.integers(200, 599),
    SECTIONS,
    st.binary(max_size=300),
    SECTIONS,
    st.lists(st.builds(Informational, st.integers(100, 199), SECTIONS), max_size=3).map(tuple),
)
U16 = st.integers(0, 0xFFFF)
PAIRS = st.lists(st.builds(SymmetricAlgorithms, U16, U16), min_size=1, max_size=4).map(tuple)


def key_config(key_id: int, kem: int, fill: int, algorithms: tuple[SymmetricAlgorithms, ...]) -> KeyConfig:
    return KeyConfig(key_id, kem, bytes([fill]) * PUBLIC_KEY_LENGTHS[kem], algorithms)


OCTETS = st.integers(0, 255)
KEY_CONFIGS = st.builds(key_config, OCTETS, st.sampled_from(sorted(PUBLIC_KEY_LENGTHS)), OCTETS, PAIRS)


@CALM
@given(MESSAGES, st.booleans(), st.integers(0, 50))
def test_every_request_comes_back(message: Request, indeterminate: bool, padding: int) -> None:
    assert parse_request(serialize_request(message, indeterminate=indeterminate, padding=padding)) == message


@CALM
@given(ANSWERS, st.booleans(), st.integers(0, 50))
def test_every_response_comes_back(message: Response, indeterminate: bool, padding: int) -> None:
    assert parse_response(serialize_response(message, indeterminate=indeterminate, padding=padding)) == message


@CALM
@given(st.lists(KEY_CONFIGS, min_size=1, max_size=4).map(tuple))
def test_every_list_of_configurations_comes_back(configs: tuple[KeyConfig, ...]) -> None:
    assert parse_key_configs(serialize_key_configs(configs)) == configs


@CALM
@given(st.builds(RequestHeader, OCTETS, U16, U16, U16))
def test_every_header_comes_back(header: RequestHeader) -> None:
    assert parse_request_header(serialize_request_header(header)) == header


@CALM
@given(st.integers(0, (1 << 62) - 1))
def test_every_varint_comes_back(value: int) -> None:
    reader = Reader(Writer().varint(value).getvalue())
    assert reader.varint("value") == value
    reader.finish("varint")


@CALM
@given(st.binary(max_size=2000), st.sampled_from([1, 3]))
def test_every_request_opens_and_every_answer_too(message: bytes, aead: int) -> None:
    body, opener = encapsulate_request(CONFIG, message, aead=aead)
    opened = decapsulate(body, {1: HeldKey(CONFIG, KEY)})
    assert opened.message == message
    assert opener.open(opened.sealer.seal(message)) == message
