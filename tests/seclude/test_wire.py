"""seclude.wire: what a reader takes, what it refuses, and that a writer writes what a reader reads."""

import pytest

from seclude.errors import DecodeError, TooLargeError, UsageError
from seclude.wire import MAX_VARINT, Reader, Writer


@pytest.mark.parametrize(
    ("encoded", "value"),
    [  # RFC 9000, appendix A.1
        ("c2197c5eff14e88c", 151288809941952652),
        ("9d7f3e7d", 494878333),
        ("7bbd", 15293),
        ("25", 37),
    ],
)
def test_varints_are_those_of_rfc_9000(encoded: str, value: int) -> None:
    assert Reader(bytes.fromhex(encoded)).varint("field") == value
    assert Writer().varint(value).getvalue().hex() == encoded


@pytest.mark.parametrize("encoded", ["25", "4025", "80000025", "c000000000000025"])
def test_a_varint_may_be_longer_than_it_must(encoded: str) -> None:
    reader = Reader(bytes.fromhex(encoded))
    assert reader.varint("field") == 37
    assert reader.remaining == 0


@pytest.mark.parametrize(
    ("value", "length"),
    [(0, 1), (63, 1), (64, 2), (16383, 2), (16384, 4), ((1 << 30) - 1, 4), (1 << 30, 8), (MAX_VARINT, 8)],
)
def test_a_varint_is_written_in_its_shortest_form(value: int, length: int) -> None:
    encoded = Writer().varint(value).getvalue()
    assert len(encoded) == length
    assert Reader(encoded).varint("field") == value


@pytest.mark.parametrize("value", [-1, MAX_VARINT + 1])
def test_a_value_that_fits_no_varint_is_refused(value: int) -> None:
    with pytest.raises(UsageError):
        Writer().varint(value)


def test_integers_are_big_endian_and_come_back() -> None:
    encoded = Writer().u8(0x01).u16(0x0203).u32(0x04050607).u64(0x08090A0B0C0D0E0F).getvalue()
    assert encoded == bytes(range(1, 16))
    reader = Reader(encoded)
    assert (reader.u8("a"), reader.u16("b")) == (0x01, 0x0203)
    assert (reader.u32("c"), reader.u64("d")) == (0x04050607, 0x08090A0B0C0D0E0F)
    reader.finish("integers")


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_an_integer_that_does_not_fit_is_refused(bits: int) -> None:
    writers = {8: Writer().u8, 16: Writer().u16, 32: Writer().u32, 64: Writer().u64}
    assert writers[bits]((1 << bits) - 1).getvalue() == b"\xff" * (bits // 8)
    for value in (-1, 1 << bits):
        with pytest.raises(UsageError):
            writers[bits](value)


EVERYTHING = (
    Writer().u8(1).u16(2).u32(3).u64(4).varint(70).vec8(b"ab").vec16(b"cd").vec32(b"ef").varvec(b"gh").raw(b"ij")
).getvalue()


def read_everything(data: bytes) -> list[int | bytes]:
    reader = Reader(data)
    values: list[int | bytes] = [reader.u8("u8"), reader.u16("u16"), reader.u32("u32"), reader.u64("u64")]
    values += [reader.varint("varint"), reader.vec8("vec8"), reader.vec16("vec16"), reader.vec32("vec32", 2)]
    values += [reader.varvec("varvec", 2), reader.take(2, "raw")]
    reader.finish("everything")
    return values


def test_everything_that_is_written_is_read() -> None:
    assert read_everything(EVERYTHING) == [1, 2, 3, 4, 70, b"ab", b"cd", b"ef", b"gh", b"ij"]


@pytest.mark.parametrize("cut", range(len(EVERYTHING)))
def test_every_truncation_is_refused(cut: int) -> None:
    with pytest.raises(DecodeError, match="truncated in"):
        read_everything(EVERYTHING[:cut])


def test_trailing_octets_are_refused_by_number() -> None:
    with pytest.raises(DecodeError, match="1 trailing octets after everything"):
        read_everything(EVERYTHING + b"\0")


def test_an_error_names_the_field_and_sizes_but_not_the_content() -> None:
    with pytest.raises(DecodeError) as caught:
        Reader(b"secret").take(7, "enc")
    assert str(caught.value) == "truncated in enc: 6 of 7"


def test_a_vector_is_read_at_its_limit_and_refused_above_it() -> None:
    two, three = b"ab", b"abc"
    assert Reader(Writer().vec16(two).getvalue()).vec16("field", 2) == two
    assert Reader(Writer().vec32(two).getvalue()).vec32("field", 2) == two
    assert Reader(Writer().varvec(two).getvalue()).varvec("field", 2) == two
    with pytest.raises(TooLargeError):
        Reader(Writer().vec16(three).getvalue()).vec16("field", 2)
    with pytest.raises(TooLargeError):
        Reader(Writer().vec32(three).getvalue()).vec32("field", 2)
    with pytest.raises(TooLargeError):
        Reader(Writer().varvec(three).getvalue()).varvec("field", 2)


def test_a_huge_length_is_refused_before_the_octets_are_asked_for() -> None:
    with pytest.raises(TooLargeError):
        Reader(b"\xff\xff\xff\xff").vec32("field", 1 << 20)


def test_a_vector_that_does_not_fit_its_length_is_refused() -> None:
    assert len(Writer().vec8(bytes(255)).getvalue()) == 256
    with pytest.raises(UsageError):
        Writer().vec8(bytes(256))
    with pytest.raises(UsageError):
        Writer().vec16(bytes(65536))


def test_a_reader_never_moves_backwards() -> None:
    reader = Reader(b"abc")
    reader.take(2, "field")
    with pytest.raises(UsageError):
        reader.take(-1, "field")
    assert reader.offset == 2


def test_a_refused_read_leaves_the_position_alone() -> None:
    reader = Reader(b"abc")
    with pytest.raises(DecodeError):
        reader.take(4, "field")
    assert reader.rest() == b"abc"
    assert reader.rest() == b""
