"""The manifest: a list of files with their SHA-256, whose digest is the measurement of a worker's software.

    manifest = "seclude manifest v1" 0x00, count u32, count entries (path vec16, mode u16, length u64, sha256 32),
               in ascending order of path

What stands in it, and under which names, is the worker's to say (`inference/manifest.py`); whoever publishes a release
or checks one reads it here.
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from seclude.errors import ConfigError, UsageError
from seclude.wire import Writer

DOMAIN: Final = b"seclude manifest v1\x00"
SHOWN: Final = 5  # differences that a message names; the rest is a number
MAX_LENGTH: Final = (1 << 63) - 1  # octets; no file system of Linux has larger files
MODES: Final = (0o644, 0o755)  # as git keeps them: what counts is whether the owner may execute

Path16 = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
Mode = Annotated[str, msgspec.Meta(pattern="^0(644|755)$")]
Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One file, under a path that is the same on every machine."""

    path: str
    mode: int
    length: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """Entries in ascending order of path, no two with the same one."""

    entries: tuple[Entry, ...]

    @property
    def digest(self) -> bytes:
        """The measurement: SHA-256 of the encoding."""
        return hashlib.sha256(serialize_manifest(self)).digest()


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: Path16
    mode: Mode
    length: Annotated[int, msgspec.Meta(ge=0, le=MAX_LENGTH)]
    sha256: Hex


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    digest: Hex
    entries: tuple[_Line, ...]


def serialize_manifest(manifest: Manifest) -> bytes:
    """Return the canonical encoding."""
    writer = Writer().raw(DOMAIN).u32(len(manifest.entries))
    last = b""
    for entry in manifest.entries:
        path = entry.path.encode()
        if path <= last or entry.mode not in MODES:
            raise UsageError("the entries are not in ascending order, or one has another mode than a file may have")
        writer.vec16(path).u16(entry.mode).u64(entry.length).raw(entry.sha256)
        last = path
    return writer.getvalue()


def render_manifest(manifest: Manifest) -> str:
    """Return the form for files and eyes: JSON with one entry a line, so that a line diff shows what changed."""
    lines = (
        msgspec.json.encode(
            _Line(path=entry.path, mode=f"{entry.mode:04o}", length=entry.length, sha256=entry.sha256.hex())
        ).decode()
        for entry in manifest.entries
    )
    return f'{{"digest":"{manifest.digest.hex()}","entries":[\n' + ",\n".join(lines) + "\n]}\n"


def parse_manifest(text: str) -> Manifest:
    """Read what `render_manifest` wrote; raises `ConfigError`, also where digest and entries disagree."""
    try:
        file = msgspec.json.decode(text, type=_File)
        manifest = Manifest(
            tuple(Entry(line.path, int(line.mode, 8), line.length, bytes.fromhex(line.sha256)) for line in file.entries)
        )
        digest = manifest.digest
    except (msgspec.DecodeError, UsageError) as exc:
        raise ConfigError(f"this is no manifest: {exc}") from exc
    if digest.hex() != file.digest:
        raise ConfigError("the manifest's digest is not that of its entries; it was edited or damaged")
    return manifest


def compare(expected: Manifest, actual: Manifest) -> tuple[str, ...]:
    """Return a line for each way in which two manifests differ, naming the first few paths; none if equal."""
    before = {entry.path: entry for entry in expected.entries}
    after = {entry.path: entry for entry in actual.entries}
    groups = {
        "changed": [path for path in before if path in after and before[path] != after[path]],
        "missing": [path for path in before if path not in after],
        "new": [path for path in after if path not in before],
    }
    return tuple(_line(word, paths) for word, paths in groups.items() if paths)


def _line(word: str, paths: list[str]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return f"{word}: {', '.join(paths[:SHOWN])}{more}"
