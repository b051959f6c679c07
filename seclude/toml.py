"""Values as TOML 1.0; reading it is Python's own `tomllib`."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
PLAIN: Final = re.compile(r'[^\\"\x00-\x09\x0b-\x1f\x7f]*')  # lines that need no escape
LINE: Final = 80  # characters of an array that stands in one line


def render_toml(value: msgspec.Struct, table: str = "") -> str:
    """Return a Struct as TOML, keys in their order; as the contents of `table` where it is part of another file.

    Keys that hold None are left out. A table without keys stands there: that it does may say something.
    """
    lines = [f"[{table}]"] if table else []
    lines.extend(_lines(msgspec.to_builtins(value, enc_hook=str), table))
    return "\n".join(lines) + "\n"


def _lines(values: Mapping[str, object], table: str) -> Iterator[str]:
    """Yield the lines of one table: its values first, since a table that follows takes all that comes after it."""
    for key, value in values.items():
        if value is not None and not isinstance(value, Mapping):
            yield f"{_key(key)} = {_value(value)}"
    for key, value in values.items():
        if isinstance(value, Mapping):
            name = f"{table}.{_key(key)}" if table else _key(key)
            yield from ("", f"[{name}]")
            yield from _lines(value, name)


def _key(key: str) -> str:
    """Return a key, in quotes where it has other characters than a bare one may have."""
    return key if BARE.fullmatch(key) else _value(key)


def _value(value: object) -> str:
    """Return a value; JSON's spelling of strings, numbers and truth values is also TOML's, but for one character."""
    if isinstance(value, list | tuple):
        line = ", ".join(map(_value, value))
        return f"[{line}]" if len(line) < LINE else "[" + "".join(f"\n  {_value(item)}," for item in value) + "\n]"
    if isinstance(value, str) and "\n" in value and PLAIN.fullmatch(value):
        return f'"""\n{value}"""'
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
