"""One frozen msgspec Struct per daemon, from defaults, then a TOML file, then flags. The environment is not read.

Unknown keys are errors, since a misspelt limit is no limit. Secrets stand in files; a configuration holds paths only,
so it can be printed whole.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Final, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo, fields

from seclude.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)
Table = dict[str, object]

Seconds = Annotated[float, Meta(gt=0, le=3600)]
"""A limit of time; of 0 some would say that there is no limit, and others that nothing may pass."""
Delay = Annotated[float, Meta(ge=0, le=3600)]
"""A time that may be none at all, in seconds."""

MAX_CONFIG_BYTES: Final = 1 << 20  # octets; ours have a screenful, and the wrong file should not fill the memory
_PATH: Final = re.compile(r" - at `\$(?P<path>[^`]*)`$")


def load(
    path: Path | None,
    kind: type[T],
    overrides: Mapping[str, object] | None = None,
    flags: Mapping[str, str] | None = None,
) -> T:
    """Return the configuration; ConfigError lists every problem, one in a line.

    `overrides` go by the path of their key, such as "launch.listen", and those that are None count as not given.
    `flags` has the flag for a key, to be named where a key is missing.
    """
    table = _read(path)
    for key, value in (overrides or {}).items():
        if value is not None:
            _put(table, key, value)
    problems = list(_problems(table, kind, "", flags or {}))
    if problems:
        raise ConfigError("\n".join(problems))
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as exc:  # a rule between several keys, written as __post_init__ of the Struct
        raise ConfigError(str(exc)) from None


def _read(path: Path | None) -> Table:
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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ConfigError(f"{path}: not TOML: {exc}") from None


def _put(table: Table, key: str, value: object) -> None:
    outer, _, inner = key.partition(".")
    if not inner:
        table[outer] = value
    elif isinstance(nested := table.setdefault(outer, {}), dict):  # anything else is reported as what it is
        _put(nested, inner, value)


def _problems(table: Table, kind: type[msgspec.Struct], prefix: str, flags: Mapping[str, str]) -> Iterator[str]:
    known = {field.encode_name: field for field in fields(kind)}
    for key in sorted(table.keys() - known.keys()):
        yield f"{prefix}{key}: no such key"
    for key, field in known.items():
        if key in table:
            yield from _value_problems(table[key], field, f"{prefix}{key}", flags)
        elif field.required:
            flag = flags.get(f"{prefix}{key}")
            yield f"{prefix}{key}: missing" + (f"; give {flag}, or set it in the file" if flag else "")


def _value_problems(value: object, field: FieldInfo, path: str, flags: Mapping[str, str]) -> Iterator[str]:
    table = _table_type(field.type)
    if isinstance(value, dict) and table is not None:
        yield from _problems(value, table, f"{path}.", flags)
        return
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError as exc:
        text = str(exc)
        inner = _PATH.search(text)
        yield f"{path}{inner['path'] if inner else ''}: {_PATH.sub('', text)}"


def _table_type(kind: object) -> type[msgspec.Struct] | None:
    """Return the Struct that a key holds, if it holds one or none."""
    kinds = [each for each in get_args(kind) if each is not NoneType] if get_origin(kind) is UnionType else [kind]
    found = [each for each in kinds if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    return found[0] if len(kinds) == len(found) == 1 else None
