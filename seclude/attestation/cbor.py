"""CBOR (RFC 8949), as far as COSE_Sign1 and what AWS Nitro writes and reads have need of it.

A data item is an integer, octets, text, null, an array or a map. Lengths are definite and every head has its shortest
form (section 4.2.1), so that a value has one encoding but for the order of a map's keys, which AWS does not sort.
Tags, floats, booleans and other simple values are refused, and so is what follows the item.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias, TypeVar

from seclude.errors import DecodeError, TooLargeError, UsageError
from seclude.wire import Reader, Writer

Key: TypeAlias = int | str
Value: TypeAlias = "int | bytes | str | tuple[Value, ...] | Mapping[Key, Value] | None"

Scalar = TypeVar("Scalar", int, bytes, str)

MAX_OCTETS: Final = 0x3000  # the most that /dev/nsm answers with (NSM_RESPONSE_MAX_SIZE of linux/nsm.h)
MAX_ENTRIES: Final = 32  # of one array or map; the PCRs of a document are the most there is
MAX_DEPTH: Final = 3  # containers within each other; a document has two, and one is to spare

UNSIGNED, NEGATIVE, OCTETS, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)  # major types (section 3.1)
NULL: Final = 22  # the simple value (section 3.3)
DIRECT: Final = 24  # an argument below this stands in the first octet itself (section 3)
INDEFINITE: Final = 31

NAMES: Final = {int: "an integer", bytes: "octets", str: "text"}


def parse_item(data: bytes, what: str) -> Value:
    """Read octets that are one data item and nothing else; arrays come as tuples."""
    if len(data) > MAX_OCTETS:
        raise TooLargeError(f"{what} of {len(data)} octets, limit {MAX_OCTETS}")
    reader = Reader(data)
    value = _read(reader, what, MAX_DEPTH)
    reader.finish(what)
    return value


def serialize_item(value: Value) -> bytes:
    """Return the item with shortest heads; a map keeps its own order."""
    writer = Writer()
    _write(writer, value)
    return writer.getvalue()


def expect(value: Value, kind: type[Scalar], field: str) -> Scalar:
    """Return an integer, octets or text, if that is what the item is."""
    if not isinstance(value, kind):
        raise DecodeError(f"{field} is not {NAMES[kind]}")
    return value


def expect_array(value: Value, field: str) -> tuple[Value, ...]:
    """Return the entries, if the item is an array."""
    if not isinstance(value, tuple):
        raise DecodeError(f"{field} is not an array")
    return value


def expect_map(value: Value, field: str) -> Mapping[Key, Value]:
    """Return the entries by their keys, if the item is a map."""
    if not isinstance(value, Mapping):
        raise DecodeError(f"{field} is not a map")
    return value


def _read(reader: Reader, field: str, depth: int) -> Value:
    first = reader.u8(field)
    major, short = first >> 5, first & 0x1F
    if major == TAG:
        raise DecodeError(f"{field} has a tag")
    if major == SIMPLE:
        if short != NULL:
            raise DecodeError(f"{field} is a float or a simple value other than null")
        return None
    argument = _argument(reader, short, field)
    if major == UNSIGNED:
        return argument
    if major == NEGATIVE:
        return -1 - argument
    if major == OCTETS:
        return reader.take(argument, field)
    if major == TEXT:
        return _text(reader.take(argument, field), field)
    if depth == 0:
        raise TooLargeError(f"{field} is nested more than {MAX_DEPTH} deep")
    if argument > MAX_ENTRIES:
        raise TooLargeError(f"{field} has {argument} entries, limit {MAX_ENTRIES}")
    if major == ARRAY:
        return tuple(_read(reader, f"entry {position} of {field}", depth - 1) for position in range(argument))
    return _map(reader, argument, field, depth - 1)


def _argument(reader: Reader, short: int, field: str) -> int:
    """Return the value, length or count that a head states (section 3)."""
    if short < DIRECT:
        return short
    if short == INDEFINITE:
        raise DecodeError(f"{field} is of indefinite length")
    length = 1 << (short - DIRECT)
    if length > 8:  # 28 to 30 are reserved
        raise DecodeError(f"{field} has a reserved head")
    value = int.from_bytes(reader.take(length, field))
    if value < (DIRECT if length == 1 else 1 << (4 * length)):  # it fits half the octets, or the first one
        raise DecodeError(f"{field} has a head that is not the shortest")
    return value


def _text(octets: bytes, field: str) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise DecodeError(f"{field} is not UTF-8") from None


def _map(reader: Reader, count: int, field: str, depth: int) -> Mapping[Key, Value]:
    entries: dict[Key, Value] = {}
    for position in range(count):
        key = _read(reader, f"key {position} of {field}", 0)
        if not isinstance(key, int | str):
            raise DecodeError(f"key {position} of {field} is neither an integer nor text")
        if key in entries:
            raise DecodeError(f"key {position} of {field} is there twice")
        entries[key] = _read(reader, f"entry {position} of {field}", depth)
    return entries


def _write(writer: Writer, value: Value) -> None:
    if value is None:
        writer.u8(SIMPLE << 5 | NULL)
    elif isinstance(value, int):
        _head(writer, *((UNSIGNED, value) if value >= 0 else (NEGATIVE, -1 - value)))
    elif isinstance(value, bytes):
        _head(writer, OCTETS, len(value))
        writer.raw(value)
    elif isinstance(value, str):
        octets = value.encode()
        _head(writer, TEXT, len(octets))
        writer.raw(octets)
    elif isinstance(value, tuple):
        _head(writer, ARRAY, len(value))
        for entry in value:
            _write(writer, entry)
    else:
        _head(writer, MAP, len(value))
        for key, entry in value.items():
            _write(writer, key)
            _write(writer, entry)


def _head(writer: Writer, major: int, argument: int) -> None:
    """Append a major type and its argument in the shortest form."""
    if argument < DIRECT:
        writer.u8(major << 5 | argument)
        return
    power = next((power for power in range(4) if argument < 1 << (8 << power)), None)
    if power is None:
        raise UsageError("integer does not fit the eight octets of CBOR")
    writer.u8(major << 5 | DIRECT + power).raw(argument.to_bytes(1 << power))
