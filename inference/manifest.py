"""The manifest: every file that made this process what it is, with its SHA-256.

It lists the source or shared object of each imported module, each file that is mapped executable or private (the
interpreter, the C library, every shared object), the model's files, the `.pth` files whose lines the interpreter runs
at its start, and one entry for the measured configuration. The digest over its encoding is the worker's measurement.
Data that a package opens when it first needs it is not in the list; neither is the kernel.

    manifest = "seclude manifest v1" 0x00, count u32, count entries (path vec16, mode u16, length u64, sha256 32),
               in ascending order of path

Bytecode would be a second source for the same module, so only sources count: the interpreter runs with `-B` and with
`-X pycache_prefix` naming a folder that does not exist, and anything else is refused.
"""

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import msgspec

from inference.loaded import check_interpreter, loaded_files
from seclude.errors import ConfigError, UsageError
from seclude.wire import Writer

DOMAIN: Final = b"seclude manifest v1\x00"
CONFIG: Final = "config/measured"
SHOWN: Final = 5  # differences that a message names; the rest is a number
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
    files: tuple[Path, ...] = field(default=(), compare=False, repr=False)
    """Where the entries lie on this machine; no part of the digest."""

    @property
    def digest(self) -> bytes:
        """The measurement: SHA-256 of the encoding."""
        return hashlib.sha256(serialize_manifest(self)).digest()


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: Path16
    mode: Mode
    length: Annotated[int, msgspec.Meta(ge=0)]
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


def load_manifest(path: Path) -> Manifest:
    """Read a manifest's file; raises `ConfigError` that says how to make one."""
    try:
        return parse_manifest(path.read_text())
    except OSError as exc:
        raise ConfigError(
            f"cannot read the manifest {path}: {exc.strerror}; make one with `seclude-worker manifest`"
        ) from exc
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no manifest") from None


def collect(measured_config: bytes, model_dir: Path) -> Manifest:
    """Return the manifest of this process, its model and its measured configuration; raises `ConfigError`."""
    check_interpreter()
    files = {f"model/{file.relative_to(model_dir).as_posix()}": file.resolve() for file in _files_below(model_dir)}
    if not files:
        raise ConfigError(f"there is no model in {model_dir}; install one with seclude-model")
    for name, file in loaded_files():
        if files.setdefault(name, file) != file:
            raise ConfigError(f"two files would both be {name} in the manifest")
    entries = [hash_file(name, file) for name, file in files.items()]
    entries.append(Entry(CONFIG, 0o644, len(measured_config), hashlib.sha256(measured_config).digest()))
    return Manifest(tuple(sorted(entries)), tuple(sorted(set(files.values()))))


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


def _files_below(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def hash_file(name: str, path: Path) -> Entry:
    """Return the entry of one file, read in one go through one descriptor."""
    try:
        name.encode()
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{name} is not a regular file")
            digest = hashlib.file_digest(file, "sha256").digest()
    except UnicodeEncodeError as exc:
        raise ConfigError(f"a file's path is not UTF-8: {name!a}") from exc
    except OSError as exc:
        raise ConfigError(f"cannot read {name} to measure it: {exc.strerror}") from exc
    return Entry(name, 0o755 if status.st_mode & stat.S_IXUSR else 0o644, status.st_size, digest)
