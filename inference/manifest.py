"""The worker's manifest: every file that made this process what it is, with its SHA-256 (`seclude/manifest.py`).

It lists the source or shared object of each imported module, each file that is mapped executable or private (the
interpreter, the C library, every shared object), the models' files, the `.pth` files whose lines the interpreter runs
at its start, and one entry for the measured configuration. The digest over its encoding is the worker's measurement.
Data that a package opens when it first needs it is not in the list; neither is the kernel.

Bytecode would be a second source for the same module, so only sources count: the interpreter runs with `-B` and with
`-X pycache_prefix` naming a folder that does not exist, and anything else is refused.
"""

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from inference.loaded import check_interpreter, loaded_files
from seclude.errors import ConfigError
from seclude.manifest import Entry, Manifest, parse_manifest

CONFIG: Final = "config/measured"


@dataclass(frozen=True, slots=True)
class LocatedManifest(Manifest):
    """A manifest, and where its files lie on this machine, which is no part of the digest."""

    files: tuple[Path, ...] = field(default=(), compare=False, repr=False)


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


def collect(measured_config: bytes, models: Mapping[str, Path]) -> LocatedManifest:
    """Return the manifest of this process, its models and its measured configuration; raises `ConfigError`.

    `models` are the models' folders by the word that the names of their files begin with.
    """
    check_interpreter()
    files: dict[str, Path] = {}
    for word, folder in models.items():
        found = {f"{word}/{file.relative_to(folder).as_posix()}": file.resolve() for file in _files_below(folder)}
        if not found:
            raise ConfigError(f"there is no model in {folder}; install one with seclude-model")
        files |= found
    for name, file in loaded_files():
        if files.setdefault(name, file) != file:
            raise ConfigError(f"two files would both be {name} in the manifest")
    entries = [hash_file(name, file) for name, file in files.items()]
    entries.append(Entry(CONFIG, 0o644, len(measured_config), hashlib.sha256(measured_config).digest()))
    return LocatedManifest(tuple(sorted(entries)), tuple(sorted(set(files.values()))))


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
