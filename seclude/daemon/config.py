"""One frozen msgspec Struct per daemon, from defaults, then a TOML file, then flags. The environment is not read.

Unknown keys are errors, since a misspelt limit is no limit. Secrets stand in files; a configuration holds paths only,
so it can be printed whole.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec.structs import FieldInfo, fields

from seclude.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)
Table = dict[str, object]

MAX_CONFIG_BYTES: Final = 1 << 20  # octets; ours have a screenful, and the wrong file should not fill the memory
_PATH: Final = re.compile(r" - at `\$(?P<path>[^`]*)`$")


def load(path: Path | None, kind: type[T], overrides: Mapping[str, object] | None = None) -> T:
    """Return the configuration; `overrides` that are None count as not given. ConfigError lists every problem."""
    table = read(path)
    table.update({key: value for key, value in (overrides or {}).items() if value is not None})
    problems = list(_problems(table, kind, ""))
    if problems:
        raise ConfigError("\n".join(problems))
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as exc:  # a rule between several keys, written as __post_init__ of the Struct
        raise ConfigError(str(exc)) from None


def read(path: Path | None) -> Table:
    """Return the file as a table, without judging its keys; raises ConfigError."""
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
        if len(data) > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path}: longer than {MAX_CONFIG_BYTES} octets")
        return tomllib.loads(data.decode())
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: not TOML: {exc}") from None


def show(config: msgspec.Struct) -> str:
    """Return the effective configuration as TOML."""
    return "\n".join(_lines(config, "")) + "\n"


def _problems(table: Table, kind: type[msgspec.Struct], prefix: str) -> Iterator[str]:
    known = {field.encode_name: field for field in fields(kind)}
    for key in sorted(table.keys() - known.keys()):
        yield f"{prefix}{key}: no such key"
    for key, field in known.items():
        if key in table:
            yield from _value_problems(table[key], field, f"{prefix}{key}")
        elif field.required:
            yield f"{prefix}{key}: missing"


def _value_problems(value: object, field: FieldInfo, path: str) -> Iterator[str]:
    if isinstance(value, dict) and isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
        yield from _problems(value, field.type, f"{path}.")
        return
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError as exc:
        text = str(exc)
        inner = _PATH.search(text)
        yield f"{path}{inner['path'] if inner else ''}: {_PATH.sub('', text)}"


def _lines(config: msgspec.Struct, prefix: str) -> Iterator[str]:
    values = {field.encode_name: getattr(config, field.name) for field in fields(config)}
    tables = {key: value for key, value in values.items() if isinstance(value, msgspec.Struct)}
    for key, value in values.items():
        if value is not None and key not in tables:
            yield f"{key} = {_toml(value)}"
    for key, value in tables.items():
        yield f"\n[{prefix}{key}]"
        yield from _lines(value, f"{prefix}{key}.")


def _toml(value: object) -> str:
    # JSON's spelling of strings, numbers, truth values and arrays of them is also TOML's.
    return msgspec.json.encode(value, enc_hook=str).decode()
