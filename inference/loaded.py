"""Which files made this process, and what each is called on every machine.

    app/     the source of a module that stands in no folder of packages, by its place in its package
    site/    a folder of installed packages
    python/  the interpreter's own `bin` and `lib`, unless it is the system's
    system/  everything else, by its absolute path

Folders of a checkout, of a virtual environment or of an interpreter do not show in a name, so two installations of the
same software have the same manifest. Whoever can run code in this process can also answer falsely here: a measurement
of oneself shows the format, and it is hardware that makes it proof.
"""

import sys
from collections.abc import Iterator
from importlib.machinery import BuiltinImporter, ExtensionFileLoader, FrozenImporter, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Final

from seclude.errors import ConfigError

PACKAGES: Final = {"site-packages", "dist-packages"}
MAPS: Final = Path("/proc/self/maps")
DELETED: Final = " (deleted)"

Root = tuple[Path, str]


def check_interpreter() -> None:
    """Refuse an interpreter that could run anything but the sources as they stand."""
    if not sys.dont_write_bytecode or sys.pycache_prefix is None or Path(sys.pycache_prefix).exists():
        raise ConfigError("run Python with -B and -X pycache_prefix=FOLDER, a folder that does not exist")
    if sys.flags.optimize:
        raise ConfigError("run Python without -O, which drops checks")


def loaded_files() -> Iterator[tuple[str, Path]]:
    """Yield each file that made this process, with its name."""
    roots = package_roots()
    modules: dict[Path, str] = {}
    for name, module in sorted(sys.modules.items()):
        file = source_of(name, module)
        if file is not None:
            modules.setdefault(file, _name(file, roots) or f"app/{_below_import_root(name, module, file)}")
    for file, name in modules.items():
        yield name, file
    for file in sorted(mapped_files(MAPS.read_text()) - set(modules)):
        yield _name(file, roots) or f"system{file.as_posix()}", file
    for folder, word in roots:
        for file in sorted(folder.glob("*.pth")):
            if word == "site" and starts_code(file):
                yield f"site/{file.name}", file.resolve()


def source_of(name: str, module: ModuleType) -> Path | None:
    """Return the file that a module was made from; None for what the interpreter or another module holds in itself.

    Raises `ConfigError` for bytecode, for archives and for loaders that may read something else than they name.
    """
    spec = getattr(module, "__spec__", None)
    loader = getattr(spec, "loader", None) or getattr(module, "__loader__", None)
    if loader in (BuiltinImporter, FrozenImporter):
        return None  # part of the interpreter's own file, which is mapped
    named = spec.origin if spec is not None and spec.has_location else getattr(module, "__file__", None)
    if named is None:
        if name == "__main__":
            raise ConfigError("the program has no file; run it as a module or from a file")
        return None  # a package without code of its own, or a module that another one made
    if loader is not None and type(loader) not in (SourceFileLoader, ExtensionFileLoader):
        raise ConfigError(f"module {name} was loaded by {type(loader).__name__}, not from a source file")
    cached = getattr(spec, "cached", None) or getattr(module, "__cached__", None)
    file = Path(named)
    if file.suffix == ".pyc" or (cached is not None and Path(cached).exists()):
        raise ConfigError(f"module {name} has bytecode, which may differ from its source; remove it")
    if not file.is_file():
        raise ConfigError(f"module {name} has no file of its own any more")
    return file.resolve()


def mapped_files(maps: str) -> set[Path]:
    """Return the files that are mapped executable or private, from the text of `/proc/PID/maps` (proc(5))."""
    files = set()
    for line in maps.splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) < 6 or not fields[5].startswith("/"):
            continue  # anonymous memory, or the kernel's: [heap], [stack], [vdso]
        permissions, path = fields[1], fields[5]
        if "x" not in permissions and not permissions.endswith("p"):
            continue  # shared data, such as a cache of the C library, is neither code nor our own copy of anything
        if path.endswith(DELETED) or "\\" in path:
            raise ConfigError(f"a mapped file has no readable path any more: {path}")
        files.add(Path(path).resolve())
    return files


def package_roots() -> list[Root]:
    """Return the folders whose place does not count, the deepest first, with the word that stands for each."""
    prefix = Path(sys.base_prefix)
    roots = {Path(entry).resolve(): "site" for entry in sys.path if Path(entry).name in PACKAGES}
    if prefix != Path("/usr"):  # there, the interpreter is the system's, and so are its libraries
        roots |= {(prefix / part).resolve(): f"python/{part}" for part in ("bin", "lib")}
    return sorted(roots.items(), key=lambda root: len(root[0].parts), reverse=True)


def _name(file: Path, roots: list[Root]) -> str | None:
    for folder, word in roots:
        if file.is_relative_to(folder):
            return f"{word}/{file.relative_to(folder).as_posix()}"
    return None


def _below_import_root(name: str, module: ModuleType, file: Path) -> str:
    """Return a module's path below the folder that it was imported from, told by the dots in its name."""
    spec = getattr(module, "__spec__", None)
    depth = (name if spec is None else spec.name).count(".") + (file.stem == "__init__")
    return Path(*file.parts[-depth - 1 :]).as_posix()


def starts_code(pth: Path) -> bool:
    """Say whether a `.pth` file has a line that `site` runs; the others only name folders."""
    lines = pth.read_bytes().splitlines() if pth.is_file() else []
    return any(line.lstrip(b"\xef\xbb\xbf").startswith((b"import ", b"import\t")) for line in lines)
