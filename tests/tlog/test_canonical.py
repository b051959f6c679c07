"""One text for each number and for each octet string."""

import pytest

from seclude.errors import DecodeError
from seclude.tlog.canonical import parse_base64, parse_decimal, parse_hash, to_base64


def test_numbers_have_one_text() -> None:
    for number in (0, 1, 10, 2**63 - 1):
        assert parse_decimal(str(number), "size") == number


@pytest.mark.parametrize(
    "text",
    ["", "00", "01", "+1", "-1", " 1", "1 ", "1\n", "1_0", "1.0", "0x1", "\u0661", "\u00b2", str(2**63), "9" * 30],
)
def test_any_other_text_of_a_number_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="size is no decimal"):
        parse_decimal(text, "size")


def test_octets_have_one_text() -> None:
    for data in (b"", b"\x00", b"ab", b"abc", bytes(range(256))):
        assert parse_base64(to_base64(data), "key") == data


@pytest.mark.parametrize(
    "text",
    ["YQ", "YR==", "YWJ=", "YQ==\n", " YQ==", "Y Q==", "YQ===", "YQ==YQ==", "_-8=", "Y\u00e9==", "=", "Y", "\ud800"],
)
def test_any_other_text_of_octets_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="key is"):
        parse_base64(text, "key")


def test_a_hash_has_32_octets() -> None:
    assert parse_hash(to_base64(bytes(32)), "root") == bytes(32)
    for length in (31, 33):
        with pytest.raises(DecodeError, match=f"root has {length} octets"):
            parse_hash(to_base64(bytes(length)), "root")
