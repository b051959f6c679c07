"""Notes come apart and together in one way only."""

import pytest

from seclude.errors import DecodeError, TooLargeError, UsageError
from seclude.tlog.note import (
    MAX_NOTE,
    MAX_SIGNATURES,
    Note,
    NoteSignature,
    add_signatures,
    is_key_name,
    parse_note,
    parse_signature_lines,
    serialize_note,
    serialize_signature_lines,
)

ONE = NoteSignature("a.example/1", b"\x00\x01\x02\x03", b"signature")
TWO = NoteSignature("b.example/\u00e9", b"\xff\xff\xff\xff", b"s" * 64)
NOTE = Note("text\n\nwith an empty line and \u00e9\n", (ONE, TWO))
DATA = serialize_note(NOTE)

# C2SP tlog-checkpoint; its key is not published.
EXAMPLE = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u2014 example.com/behind-the-sofa \
Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
""".encode()


def test_the_example_of_the_specification_is_read() -> None:
    note = parse_note(EXAMPLE)
    assert note.text.count("\n") == 3
    (signature,) = note.signatures
    assert (signature.name, signature.key_id.hex()) == ("example.com/behind-the-sofa", "033de0ae")
    assert len(signature.signature) == 64
    assert serialize_note(note) == EXAMPLE


def test_what_was_written_is_read() -> None:
    assert parse_note(DATA) == NOTE


@pytest.mark.parametrize("cut", range(len(DATA)))
def test_every_truncation_is_refused_or_drops_whole_signatures(cut: int) -> None:
    try:
        note = parse_note(DATA[:cut])
    except DecodeError:
        return
    assert note == Note(NOTE.text, (ONE,))


def test_whatever_is_read_after_a_bit_flipped_is_written_the_same() -> None:
    for place in range(len(DATA) * 8):
        data = bytearray(DATA)
        data[place // 8] ^= 1 << place % 8
        try:
            note = parse_note(bytes(data))
        except DecodeError:
            continue
        assert serialize_note(note) == data
        assert note != NOTE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"text\n",
        b"text\n\n",
        b"text\n\nno dash name c2lnbmF0dXJl\n",
        b"text\n\n\xe2\x80\x94 name\n",
        b"text\n\n\xe2\x80\x94  c2lnbmF0dXJl\n",
        b"text\n\n\xe2\x80\x94 a+b c2lnbmF0dXJl\n",
        b"text\n\n\xe2\x80\x94 a\xc2\xa0b c2lnbmF0dXJl\n",
        b"text\n\n\xe2\x80\x94 name c2lnbmF0dXJl",
        b"text\n\n\xe2\x80\x94 name c2lnbmF0dXJl \n",
        b"text\n\n\xe2\x80\x94 name c2lnbmF0dXJl\r\n",
        b"text\n\n\xe2\x80\x94 name c2lnbmF0dXJl\n ",
        b"text\n\n\xe2\x80\x94 name c2lnbmF0dXJm=\n",
        b"text\n\n\xe2\x80\x94 name c2ln\n",
        b"text\n\n\xe2\x80\x94 name c2lnbg==\n",
        b"te\txt\n\n\xe2\x80\x94 name c2lnbmF0dXJl\n",
        b"te\x00xt\n\n\xe2\x80\x94 name c2lnbmF0dXJl\n",
        b"te\xffxt\n\n\xe2\x80\x94 name c2lnbmF0dXJl\n",
        b"text\n\n\xe2\x80\x93 name c2lnbmF0dXJl\n",
        b"text\n\n\xe2\x80\x94 " + b"n" * 256 + b" c2lnbmF0dXJl\n",
    ],
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_note(data)


def test_signatures_are_as_many_as_the_limit_and_no_more() -> None:
    many = [NoteSignature(f"k{number}", bytes(4), b"s") for number in range(MAX_SIGNATURES + 1)]
    assert len(parse_note(serialize_note(Note("t\n", tuple(many[:-1])))).signatures) == MAX_SIGNATURES
    data = "t\n\n" + serialize_signature_lines(*many)
    with pytest.raises(TooLargeError, match="65 of at most 64"):
        parse_note(data.encode())


def test_a_note_is_as_long_as_the_limit_and_no_longer() -> None:
    rest = len(serialize_note(Note("\n", (ONE,))))
    text = "t" * (MAX_NOTE - rest) + "\n"
    assert len(serialize_note(Note(text, (ONE,)))) == MAX_NOTE
    with pytest.raises(TooLargeError, match="65537 of at most 65536"):
        parse_note(b"t" + serialize_note(Note(text, (ONE,))))


@pytest.mark.parametrize(
    "note",
    [
        Note("no newline", (ONE,)),
        Note("", (ONE,)),
        Note("text\n", ()),
        Note("tab\t\n", (ONE,)),
        Note("text\n", (NoteSignature("a b", bytes(4), b"s"),)),
        Note("text\n", (NoteSignature("", bytes(4), b"s"),)),
        Note("text\n", (NoteSignature("a", bytes(3), b"s"),)),
        Note("text\n", (NoteSignature("a", bytes(4), b""),)),
        Note("text\n", (NoteSignature("a", bytes(3), b"ss"),)),
    ],
)
def test_what_could_not_be_read_again_is_not_written(note: Note) -> None:
    with pytest.raises(UsageError):
        serialize_note(note)


def test_a_later_signature_by_the_same_key_takes_the_place_of_the_earlier() -> None:
    again = NoteSignature(ONE.name, ONE.key_id, b"again")
    other = NoteSignature(ONE.name, b"\x09" * 4, b"other")
    assert add_signatures(NOTE, again, other).signatures == (TWO, again, other)
    assert add_signatures(NOTE) == NOTE


def test_signature_lines_stand_alone_too() -> None:
    text = serialize_signature_lines(ONE, TWO)
    assert parse_signature_lines(text) == (ONE, TWO)
    for wrong in ("", text[:-1], "\n" + text, text + "\n", text.replace(" ", "\t"), "x" * MAX_NOTE + "\n"):
        with pytest.raises(DecodeError):
            parse_signature_lines(wrong)
    with pytest.raises(TooLargeError):
        parse_signature_lines(text * 33)


def test_names_of_keys_have_no_space_no_plus_and_no_control_character() -> None:
    for good in ("a", "example.com/log", "\u00e9", "n" * 255):
        assert is_key_name(good)
    for bad in ("", "a b", "a+b", "a\u2003b", "a\x85b", "a\n", "a\x1f", "\u00e9" * 128, "n" * 256):
        assert not is_key_name(bad)
