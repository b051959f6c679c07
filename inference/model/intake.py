"""A folder of the operator's own, on its way in: which of its files count, and what is refused.

What counts is what the engine reads, and the files in which a graph keeps its tensors. Nothing else is copied. A folder
that also holds code, or weights that can run code when they are loaded (pickles), is refused as a whole: whoever copied
it wanted something that does not happen here. So is everything that leads out of the folder.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from inference.engine.layout import FILES, Layout, layout_of, settings_of
from inference.engine.session import Contents, contents_of, read_model
from inference.model.progress import MEGABYTE, Report
from seclude.errors import ConfigError

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # answers and the manifest show it

# What the engine reads beyond the files that a layout must have.
READ_TOO: Final = {
    Layout.SEQ2SEQ: ("generation_config.json",),
    Layout.DECODER: ("tokenizer_config.json", "chat_template.jinja"),
    Layout.ENCODER: (),
}
ATTENTION: Final = "GroupQueryAttention"
CODE: Final = frozenset({".py", ".pyc", ".pyx", ".so", ".dll", ".dylib", ".sh", ".js", ".wasm"})
PICKLES: Final = frozenset(
    {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".npy", ".npz", ".h5", ".keras"}
)
REMEDY: Final = "copy the model's ONNX and JSON files to a folder of their own, and import that"


def bring(source: Path, target: Path, report: Report) -> None:
    """Copy the files of the model in `source` that count into the folder `target`; raises ConfigError."""
    names = files_of(source)
    for name in names:
        size = (source / name).stat().st_size
        report(f"copying {source.name}: {name}, {size / MEGABYTE:.1f} MB")
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def files_of(folder: Path) -> list[str]:
    """Return the files of a model that count, by their paths in its folder; raises ConfigError where one is refused."""
    layout = layout_of(folder)
    names = [*FILES[layout], *(name for name in READ_TOO[layout] if (folder / name).exists())]
    graphs = [name for name in names if name.endswith(".onnx")]
    for name in names:
        _require_own(folder, name)
    said = {graph: _contents(folder / graph) for graph in graphs}
    if layout is Layout.DECODER and ATTENTION not in said["model.onnx"].operators:
        raise ConfigError(f"{folder} has no {ATTENTION}, without which keys and values cannot stay in slots")
    outside = {name for graph, contents in said.items() for name in _kept_outside(folder, graph, contents)}
    names += sorted(outside - set(names))
    _refuse_code(folder, names)
    config = folder / "config.json"
    if config.is_file() and "auto_map" in settings_of(config):
        raise ConfigError(f"{config} asks for code of the model's own (auto_map), which is never run here")
    return names


def _contents(graph: Path) -> Contents:
    try:
        return contents_of(read_model(graph))
    except ValueError as exc:
        raise ConfigError(f"{graph} is not an ONNX model: {exc}") from exc


def _kept_outside(folder: Path, graph: str, contents: Contents) -> list[str]:
    """Return the files in which a graph keeps tensors."""
    for location in contents.locations:
        named = PurePosixPath(location)
        if named.is_absolute() or ".." in named.parts or "\0" in location:
            raise ConfigError(f"{graph} keeps tensors outside {folder}: a model's files stand in its own folder")
        _require_own(folder, location)
    return [str(PurePosixPath(location)) for location in contents.locations]


def _require_own(folder: Path, name: str) -> None:
    """Refuse a file that is missing, is no file, or is a link that leads out of the folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{path} is a link out of the folder: {REMEDY} (cp -L follows links)")
    if not path.is_file():
        raise ConfigError(f"{path} is missing, or is no file: copy it beside the model")


def _refuse_code(folder: Path, counted: Sequence[str]) -> None:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name in counted:
            continue
        if path.suffix.lower() in CODE:
            raise ConfigError(f"{path} is code, which a model here does not have: {REMEDY}")
        if path.suffix.lower() in PICKLES:
            raise ConfigError(f"{path} can run code when it is loaded: {REMEDY}")
