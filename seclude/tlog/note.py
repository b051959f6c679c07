"""Signed notes: a text, an empty line, and one line for each signature (C2SP signed-note).

    text
    <empty line>
    — <key name> base64(key id 4, signature)

This module takes notes apart and puts them together; whether a signature is any good is said elsewhere, so that a
party which only stores or forwards notes loads no cryptography. Until then a text is nobody's.
"""

import re
from dataclasses import dataclass
from typing import Final

from seclude.errors import DecodeError, TooLargeError, UsageError
from seclude.tlog.canonical import parse_base64, to_base64

MAX_NOTE: Final = 1 << 16  # octets; room for any entry of a log, or for 19 ML-DSA-44 signatures: C2SP asks for 16
MAX_SIGNATURES: Final = 64  # a log and the 32 witnesses of tlog-policy, with room for second keys; bounds the work
MAX_NAME: Final = 255  # octets of a key's name or a log's origin: the ML-DSA-44 message has one octet for the length
KEY_ID_BYTES: Final = 4
DASH: Final = "\u2014 "  # an em dash and a space
CONTROL: Final = re.compile(r"[\x00-\x1f]")
SEPARATOR: Final = "\n\n"


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line; nothing says yet that the key of that name made it."""

    name: str
    key_id: bytes
    """Four octets, to tell keys of one name apart; anybody can make a key that has the same."""
    signature: bytes
    """What the key's algorithm makes: a signature, or a timestamp and a signature."""


@dataclass(frozen=True, slots=True)
class Note:
    """A text with its signatures, unverified."""

    text: str
    """Ends with a newline."""
    signatures: tuple[NoteSignature, ...]


def parse_note(data: bytes) -> Note:
    """Take a note apart; every note has one encoding only, so `serialize_note` gives back the same octets."""
    if len(data) > MAX_NOTE:
        raise TooLargeError(f"note is too large: {len(data)} of at most {MAX_NOTE} octets")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError:
        raise DecodeError("note is no UTF-8") from None
    if not is_printable(whole.replace("\n", "")):
        raise DecodeError("note has a control character")
    text, separator, block = whole.rpartition(SEPARATOR)
    if not separator or not block.endswith("\n"):
        raise DecodeError("note has no signatures after an empty line, or its last line has no end")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise TooLargeError(f"note has too many signatures: {len(lines)} of at most {MAX_SIGNATURES}")
    return Note(text + "\n", tuple(_parse_line(line) for line in lines))


def serialize_note(note: Note) -> bytes:
    """Return the octets that `parse_note` takes; a note that it would refuse raises UsageError."""
    lines = [_line(signature) for signature in note.signatures]
    data = f"{note.text}\n{''.join(lines)}".encode()
    try:
        again = parse_note(data)
    except DecodeError as exc:
        raise UsageError(f"a note that cannot be read again: {exc}") from exc
    if again != note:
        raise UsageError("a note whose text or signatures would be read otherwise")
    return data


def add_signatures(note: Note, *signatures: NoteSignature) -> Note:
    """Return the note with these signatures at its end, instead of older ones by the same keys."""
    newest = {(signature.name, signature.key_id): signature for signature in signatures}
    kept = (one for one in note.signatures if (one.name, one.key_id) not in newest)
    return Note(note.text, (*kept, *newest.values()))


def parse_signature_lines(text: str) -> tuple[NoteSignature, ...]:
    """Return the signatures of lines that stand alone, as a witness answers them (C2SP tlog-witness)."""
    if len(text) > MAX_NOTE or text.count("\n") > MAX_SIGNATURES:
        raise TooLargeError("signature lines are too long or too many")
    if not text.endswith("\n") or not is_printable(text.replace("\n", "")):
        raise DecodeError("signature lines have a control character, or no end")
    return tuple(_parse_line(line) for line in text[:-1].split("\n"))


def serialize_signature_lines(*signatures: NoteSignature) -> str:
    """Return the lines that `parse_signature_lines` takes."""
    return "".join(_line(signature) for signature in signatures)


def is_printable(text: str) -> bool:
    """Tell whether there is no ASCII control character in it, which no line of a note may have."""
    return CONTROL.search(text) is None


def is_key_name(name: str) -> bool:
    """Tell whether a key may have this name: not empty, no space of any kind, no plus."""
    return (
        is_printable(name)
        and not any(character == "+" or character.isspace() for character in name)
        and 0 < len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME
    )


def _parse_line(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(DASH).partition(" ")
    if not line.startswith(DASH) or not space or not is_key_name(name):
        raise DecodeError("signature line is not a dash, a key's name and base64")
    blob = parse_base64(encoded, "signature")
    if len(blob) <= KEY_ID_BYTES:
        raise DecodeError(f"truncated in signature: {len(blob)} octets with the key's id")
    return NoteSignature(name, blob[:KEY_ID_BYTES], blob[KEY_ID_BYTES:])


def _line(signature: NoteSignature) -> str:
    return f"{DASH}{signature.name} {to_base64(signature.key_id + signature.signature)}\n"
