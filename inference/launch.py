"""The measured launch: every file of the manifest is hashed where it lies, before the worker runs any of it.

A worker's own look at what it loaded comes late: by then it has run. So the helper that attests (`attesting.py`) looks
first, with a few modules of the standard library and of our own, and only then tells a TPM what is launched. Where the
files are not those of the manifest, nothing is launched.

The names of a manifest stand for places that differ between machines (`loaded.py`); here they are turned into paths
again. A file must lie in its place itself: where a symbolic link stands, or a name leads out of its folder, somebody
else decides what is read next time. And an import must find it there: a package `a/b/` or a library `a/b.abi3.so` comes
before a module `a/b.py`, which then could lie there unchanged and unused.

A module that the manifest does not have, and that is not in the way of one that it has, is for the worker's own look.
"""

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, PathFinder
from pathlib import Path, PurePosixPath
from typing import Final

from inference.config import LANGUAGE, MODEL, SUMMARISER, WorkerConfig
from inference.loaded import Root, package_roots, starts_code
from inference.manifest import CONFIG, hash_file, load_manifest
from seclude.errors import ConfigError
from seclude.manifest import Entry, Manifest, compare

SYSTEM: Final = "system"
APP: Final = "app"
SUFFIXES: Final = sorted((*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES), key=len, reverse=True)
UNASKED: Final = ("sitecustomize", "usercustomize")  # modules that `site` imports wherever it finds them


def measure_launch(config: WorkerConfig) -> bytes:
    """Return the digest of the manifest of a configured worker, if all its files are on this machine."""
    measured = config.measured.canonical()
    entry = Entry(CONFIG, 0o644, len(measured), hashlib.sha256(measured).digest())
    expected = load_manifest(Path(config.launch.manifest))
    check_launch(expected, entry, config.launch.folders)
    return expected.digest


def check_launch(expected: Manifest, measured_config: Entry, models: Mapping[str, Path]) -> None:
    """Raise `ConfigError` unless every file of the manifest is as it says, and no other would run at the start.

    `models` are the models' folders by the word that stands for each in a name.
    """
    found: list[Entry] = []
    files: set[Path] = set()
    places, folders = _places(models), _import_folders()
    for entry in expected.entries:
        if entry.path == CONFIG:
            found.append(measured_config)
        elif (file := _locate(entry.path, places)) is not None:
            found.append(hash_file(entry.path, file))
            files.add(file)
            _refuse_shadow(entry.path, file, folders)
    found.extend(hash_file(name, file) for name, file in _start_up_files() if file not in files)
    differences = compare(expected, Manifest(tuple(sorted(found))))
    if differences:
        raise ConfigError(f"this machine does not hold the software of the manifest: {'; '.join(differences)}")


def _places(models: Mapping[str, Path]) -> list[Root]:
    """Return the folders that names may lie in, with the word that stands for each in a name."""
    apps = [(Path(entry).resolve(), APP) for entry in sys.path if entry]
    return [*package_roots(), *apps, *((folder, word) for word, folder in models.items()), (Path("/"), SYSTEM)]


def _locate(name: str, places: list[Root]) -> Path | None:
    """Return the file that a manifest's name stands for on this machine; None where there is none."""
    path = PurePosixPath(name)
    if ".." in path.parts or str(path) != name:  # also "app//etc/x", where what is joined is an absolute path
        raise ConfigError(f"{name!a} leads out of its folder")
    for folder, word in places:
        file = _file(folder, word, name) if name.startswith(f"{word}/") else None
        if file is not None:
            return file
    return None


def _file(folder: Path, word: str, name: str) -> Path | None:
    """Return the file below a folder, if it is one; a link on the way to it is refused."""
    place = folder / name.removeprefix(f"{word}/")
    if not place.is_file():
        return None
    if word in (MODEL, LANGUAGE, SUMMARISER):
        return place.resolve()  # a model is known by its content, wherever it lies
    if place.resolve() != place:
        raise ConfigError(f"{name} is a symbolic link, or lies behind one; put the file itself in its place")
    return place


def _import_folders() -> list[Path]:
    """Return the folders that modules are imported from, the deepest first: one may lie in another."""
    folders = {Path(entry).resolve() for entry in sys.path if entry}
    return sorted(folders, key=lambda folder: len(folder.parts), reverse=True)


def _refuse_shadow(name: str, file: Path, folders: Sequence[Path]) -> None:
    """Refuse a module that an import would not find, because it finds another file first."""
    module = _module_of(file, folders)
    found = None if module is None else _find(module)
    if found is not None and found != file:
        raise ConfigError(f"{name} is not what an import finds: {found.name} comes before it; take that away")


def _module_of(file: Path, folders: Sequence[Path]) -> tuple[str, ...] | None:
    """Return the parts of the name that a file is imported by; None where it is no module."""
    folder = next((folder for folder in folders if file.is_relative_to(folder)), None)
    suffix = next((suffix for suffix in SUFFIXES if file.name.endswith(suffix)), None)
    if folder is None or suffix is None:
        return None
    parts = (*file.relative_to(folder).parent.parts, file.name.removesuffix(suffix))
    module = parts[:-1] if parts[-1] == "__init__" else parts
    return module if module and all(part.isidentifier() for part in module) else None


def _find(module: Sequence[str]) -> Path | None:
    """Return the file that an import of a module would run, without running anything."""
    within: Sequence[str] | None = None
    origin: str | None = None
    for depth in range(len(module)):
        spec = PathFinder.find_spec(".".join(module[: depth + 1]), within)
        if spec is None:
            return None
        origin, within = spec.origin if spec.has_location else None, spec.submodule_search_locations or ()
    return None if origin is None else Path(origin).resolve()


def _start_up_files() -> Iterator[tuple[str, Path]]:
    """Yield what this interpreter runs at its start without being asked: lines of `.pth` files, and two modules."""
    for folder, word in package_roots():
        if word == "site":
            started = (file.resolve() for file in sorted(folder.glob("*.pth")) if starts_code(file))
            yield from ((f"site/{file.name}", file) for file in started)
    for module in UNASKED:
        if (file := _find((module,))) is not None:
            yield f"{SYSTEM}{file.as_posix()}", file
