"""Values as TOML: what is written is what `tomllib` reads."""

import tomllib
from enum import StrEnum

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seclude.toml import LINE, render_toml


class Colour(StrEnum):
    RED = "red"


class Inner(msgspec.Struct):
    number: int = 1
    words: tuple[str, ...] = ()


class Empty(msgspec.Struct):
    pass


class Outer(msgspec.Struct, rename={"in_ner": "in-ner"}):
    in_ner: Inner = msgspec.field(default_factory=Inner)
    text: str = "a"
    octets: bytes = b"\x00\xff"
    colour: Colour = Colour.RED
    on: bool = True
    nothing: int | None = None
    named: dict[str, Inner] = {}
    plain: dict[str, str] = {}


def read(value: msgspec.Struct, table: str = "") -> dict[str, object]:
    return tomllib.loads(render_toml(value, table))


def test_values_stand_before_the_tables_that_follow_them() -> None:
    assert render_toml(Outer(named={"x": Inner(2, ("b",))}, plain={"7": "c"})) == (
        'text = "a"\noctets = "AP8="\ncolour = "red"\non = true\n'
        "\n[in-ner]\nnumber = 1\nwords = []\n"
        '\n[named]\n\n[named.x]\nnumber = 2\nwords = ["b"]\n'
        '\n[plain]\n7 = "c"\n'
    )


def test_what_is_written_is_read_back() -> None:
    value = Outer(Inner(-5, ("a", 'b"\\\n\t', "ä\u2028")), "x = 1\n[y]", b"\n", on=False, nothing=3)
    assert msgspec.convert(read(value), Outer) == value


def test_a_table_of_another_file_has_its_name_on_every_part() -> None:
    text = "first = 1\n\n[outer]\nother = 2\n\n" + render_toml(Outer(), "outer.deep")
    tables = tomllib.loads(text)
    assert msgspec.convert(tables["outer"]["deep"], Outer) == Outer()
    assert (tables["first"], tables["outer"]["other"]) == (1, 2)
    assert "[outer.deep.in-ner]" in text


def test_a_key_that_holds_nothing_is_left_out() -> None:
    assert "nothing" not in read(Outer())


def test_a_table_without_keys_is_written_since_that_it_is_there_may_say_something() -> None:
    class Holder(msgspec.Struct):
        there: Empty | None = None
        away: Empty | None = None

    assert read(Holder(there=Empty())) == {"there": {}}
    assert read(Empty()) == {}


@pytest.mark.parametrize("length", [LINE - 3, LINE - 2, LINE, 500])
def test_a_long_array_takes_a_line_for_each_value(length: int) -> None:
    value = Inner(words=("a" * length, "b"))
    text = render_toml(value)
    assert msgspec.convert(tomllib.loads(text), Inner) == value
    assert len(text.splitlines()) == (2 if length + 7 < LINE else 5)


@example("\x7f")  # DEL, which JSON writes as it is and TOML does not allow
@example("\x00\x1f\u0085\u2028\U0001f600")
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_is_read_back(text: str) -> None:
    value = Inner(words=(text, text))
    assert msgspec.convert(read(value), Inner) == value


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_every_integer_is_read_back(number: int) -> None:
    assert read(Inner(number)) == {"number": number, "words": []}
