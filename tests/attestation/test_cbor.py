"""CBOR: examples of RFC 8949, Appendix A, and that every other form of them is refused."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seclude.attestation.cbor import (
    MAX_DEPTH,
    MAX_ENTRIES,
    MAX_OCTETS,
    Value,
    expect,
    expect_array,
    expect_map,
    parse_item,
    serialize_item,
)
from seclude.errors import DecodeError, TooLargeError, UsageError

# RFC 8949, Appendix A: those of its examples that are of the kinds read here.
EXAMPLES: list[tuple[str, Value]] = [
    ("00", 0),
    ("17", 23),
    ("1818", 24),
    ("1903e8", 1000),
    ("1a000f4240", 1_000_000),
    ("1b000000e8d4a51000", 1_000_000_000_000),
    ("1bffffffffffffffff", (1 << 64) - 1),
    ("3bffffffffffffffff", -(1 << 64)),
    ("20", -1),
    ("3863", -100),
    ("3903e7", -1000),
    ("f6", None),
    ("40", b""),
    ("4401020304", b"\1\2\3\4"),
    ("60", ""),
    ("6449455446", "IETF"),
    ("62c3bc", "\u00fc"),
    ("64f0908591", "\U00010151"),
    ("80", ()),
    ("8301820203820405", (1, (2, 3), (4, 5))),
    ("98190102030405060708090a0b0c0d0e0f101112131415161718181819", tuple(range(1, 26))),
    ("a0", {}),
    ("a201020304", {1: 2, 3: 4}),
    ("a26161016162820203", {"a": 1, "b": (2, 3)}),
    ("826161a161626163", ("a", {"b": "c"})),
]

REFUSED = [
    ("", "truncated in item: 0 of 1"),
    ("0000", "1 trailing octets after item"),
    ("1c", "reserved head"),
    ("1e", "reserved head"),
    ("1817", "not the shortest"),
    ("1900ff", "not the shortest"),
    ("1a0000ffff", "not the shortest"),
    ("1b00000000ffffffff", "not the shortest"),
    ("3800", "not the shortest"),
    ("580100", "not the shortest"),
    ("5f42010243030405ff", "indefinite length"),
    ("7f657374726561646d696e67ff", "indefinite length"),
    ("9fff", "indefinite length"),
    ("bf61610161629f0203ffff", "indefinite length"),
    ("c074323031332d30332d32315432303a30343a30305a", "has a tag"),
    ("d2840000", "has a tag"),
    ("f4", "simple value other than null"),
    ("f7", "simple value other than null"),
    ("f90000", "simple value other than null"),
    ("fb3ff199999999999a", "simple value other than null"),
    ("ff", "simple value other than null"),
    ("61ff", "item is not UTF-8"),
    ("63eda080", "item is not UTF-8"),
    ("4401", "truncated in item: 1 of 4"),
    ("5bffffffffffffffff", "truncated in item: 0 of 18446744073709551615"),
    ("8201", "truncated in entry 1 of item"),
    ("a101", "truncated in entry 0 of item"),
    ("a201020103", "key 1 of item is there twice"),
    ("a2616101616102", "key 1 of item is there twice"),
    ("a14001", "neither an integer nor text"),
    ("a1f601", "neither an integer nor text"),
    ("a18001", "key 0 of item is nested"),
    ("a1a001", "key 0 of item is nested"),
]


@pytest.mark.parametrize(("octets", "value"), EXAMPLES)
def test_examples_of_the_rfc_are_read_and_written(octets: str, value: Value) -> None:
    assert parse_item(bytes.fromhex(octets), "item") == value
    assert serialize_item(value) == bytes.fromhex(octets)


@pytest.mark.parametrize(("octets", "why"), REFUSED)
def test_every_other_form_is_refused(octets: str, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        parse_item(bytes.fromhex(octets), "item")


@pytest.mark.parametrize("octets", [octets for octets, _ in EXAMPLES])
def test_every_truncation_is_refused(octets: str) -> None:
    data = bytes.fromhex(octets)
    for cut in range(len(data)):
        with pytest.raises(DecodeError, match="truncated"):
            parse_item(data[:cut], "item")


def nest(depth: int) -> bytes:
    return b"\x81" * depth + b"\0"


LIMITS: list[tuple[int, Callable[[int], bytes], str]] = [
    (MAX_DEPTH, nest, "nested more than 3 deep"),
    (MAX_ENTRIES, lambda count: serialize_item((0,) * count), "33 entries, limit 32"),
    (MAX_ENTRIES, lambda count: serialize_item(dict.fromkeys(range(count))), "33 entries, limit 32"),
    (MAX_OCTETS, lambda size: serialize_item(bytes(size - 3)), "12289 octets, limit 12288"),
]


@pytest.mark.parametrize(("limit", "make", "why"), LIMITS)
def test_limits_hold_at_the_last_value_and_not_one_above(limit: int, make: Callable[[int], bytes], why: str) -> None:
    parse_item(make(limit), "item")
    with pytest.raises(TooLargeError, match=why):
        parse_item(make(limit + 1), "item")


def test_a_count_that_no_octets_follow_is_refused_before_they_are_looked_for() -> None:
    with pytest.raises(TooLargeError, match="18446744073709551615 entries"):
        parse_item(bytes.fromhex("9bffffffffffffffff"), "item")


SCALARS = st.integers(-(1 << 64), (1 << 64) - 1) | st.binary(max_size=300) | st.text(max_size=99) | st.none()
KEYS = st.integers(-(1 << 64), (1 << 64) - 1) | st.text(max_size=30)


def containers(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    return st.lists(inner, max_size=5).map(tuple) | st.dictionaries(KEYS, inner, max_size=5)


@given(containers(SCALARS | containers(SCALARS)))
def test_what_is_written_is_read_again_in_its_one_encoding(value: Value) -> None:
    octets = serialize_item(value)
    parsed = parse_item(octets, "item")
    assert parsed == value
    assert serialize_item(parsed) == octets


def test_twenty_thousand_mutations_parse_to_one_encoding_or_are_refused() -> None:
    """Anything else that is raised fails the test."""
    generator = random.Random(8949)
    seeds = [bytes.fromhex(octets) for octets, _ in EXAMPLES] + [bytes.fromhex(octets) for octets, _ in REFUSED]
    seeds.append(serialize_item({"module_id": "i-1", "pcrs": {0: bytes(48), 1: bytes(48)}, "cabundle": (b"1", b"2")}))
    read = 0
    for _ in range(20_000):
        data = mutate(generator, generator.choice(seeds), generator.choice(seeds))
        try:
            value = parse_item(data, "item")
        except DecodeError:
            continue
        assert serialize_item(value) == data
        read += 1
    assert read > 1000, "too few mutations were read to say that they have one encoding"


def mutate(generator: random.Random, data: bytes, other: bytes) -> bytes:
    """Change, cut, join or stretch."""
    mutable = bytearray(data)
    for _ in range(generator.randint(1, 3)):
        at = generator.randint(0, len(mutable))
        match generator.randrange(4):
            case 0 if at < len(mutable):
                mutable[at] = generator.randrange(256)
            case 1:
                del mutable[at : at + generator.randint(1, 3)]
            case 2:
                mutable[at:at] = other
            case _:
                mutable[at:at] = generator.randbytes(generator.randint(1, 4))
    return bytes(mutable)


@pytest.mark.parametrize("value", [1 << 64, -(1 << 64) - 1])
def test_an_integer_of_more_than_eight_octets_is_not_written(value: int) -> None:
    with pytest.raises(UsageError, match="does not fit"):
        serialize_item(value)


def test_an_item_of_another_kind_than_expected_is_refused() -> None:
    assert expect(1, int, "count") == 1
    assert expect_array((1,), "list") == (1,)
    assert expect_map({1: 2}, "table") == {1: 2}
    with pytest.raises(DecodeError, match="field is not an integer"):
        expect("1", int, "field")
    with pytest.raises(DecodeError, match="field is not octets"):
        expect("1", bytes, "field")
    with pytest.raises(DecodeError, match="field is not text"):
        expect(b"1", str, "field")
    with pytest.raises(DecodeError, match="field is not an array"):
        expect_array({}, "field")
    with pytest.raises(DecodeError, match="field is not a map"):
        expect_map((), "field")


def test_a_request_to_the_security_module_has_the_octets_of_aws() -> None:
    """As serde writes `Request::Attestation` of aws-nitro-enclaves-nsm-api: a map under the variant's name."""
    request: Value = {"Attestation": {"user_data": b"\1\2", "nonce": None, "public_key": None}}
    assert serialize_item(request).hex() == (
        "a16b4174746573746174696f6ea3" + "69757365725f64617461420102" + "656e6f6e6365f6" + "6a7075626c69635f6b6579f6"
    )
