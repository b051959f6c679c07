"""What each verb of `seclude-model` does, and what it says of it to people and to programs.

What needs numpy and onnxruntime is imported by the verbs that do: a release is built where neither is installed.
"""

import sys
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from inference.model.install import beside, install
from inference.model.pins import MODELS, Pin, faults, pin, recognise
from inference.model.progress import MEGABYTE, Progress, Report, growing
from seclude.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command found, for people and for programs."""

    text: str
    document: dict[str, object]
    status: int = 0


def install_model(arguments: Namespace) -> Outcome:
    """Fetch a pinned model."""
    model = MODELS[arguments.name]
    directory: Path = arguments.dir
    with Progress(sys.stderr) as progress:
        fresh = install(model, directory, progress)
    folder = directory / model.name
    text = f"{'installed' if fresh else 'already installed'}: {folder}"
    document = {"name": model.name, "directory": str(folder), "downloaded": fresh, "files": _shown(model.files)}
    return Outcome(text, document)


def list_models(arguments: Namespace) -> Outcome:
    """Say which models can be installed, and which are."""
    lines, rows = [], []
    for model in MODELS.values():
        there = not faults(model, arguments.dir / model.name)
        state = "installed" if there else "not installed"
        lines.append(f"{model.name}  {model.size / MEGABYTE:.0f} MB  {model.licence}  {state}\n  {model.purpose}")
        row = {"name": model.name, "purpose": model.purpose, "licence": model.licence, "bytes": model.size}
        rows.append(row | {"installed": there, "files": _shown(model.files)})
    return Outcome("\n".join(lines), {"models": rows})


def import_model(arguments: Namespace) -> Outcome:
    """Copy a model of the operator's own, unless its check fails."""
    from inference.model.intake import NAME, bring

    source = _folder(arguments).resolve()
    name: str = arguments.name or source.name.lower()
    if not NAME.fullmatch(name):
        raise ConfigError(f"{name!a} cannot name a model: use small letters, digits, dots and dashes (--name)")
    target: Path = arguments.dir / name
    if target.exists():
        raise ConfigError(f"{target} exists: remove it, or give another --name")
    with Progress(sys.stderr) as progress, beside(target) as staging:
        bring(source, staging, progress)
        found = _checked(staging, arguments.threads, progress)
        files = _files(staging)
        if found.status == 0:
            staging.rename(target)
    text = f"{found.text}\n{'imported' if found.status == 0 else 'not imported'}: {target}"
    document = found.document | {"name": name, "directory": str(target), "files": _shown(files)}
    return replace(found, text=text, document=document)


def convert_model(arguments: Namespace) -> Outcome:
    """Make a model folder of a GGUF file."""
    from inference.convert.folder import convert

    source: Path = arguments.gguf
    target: Path = arguments.out
    if not source.is_file():
        raise ConfigError(f"{source} is no file")
    if target.exists():
        raise ConfigError(f"{target} exists: remove it, or name another folder")
    with Progress(sys.stderr) as progress, beside(target) as staging:
        with growing(progress, f"converting {source.name}", staging.parent):
            convert(source, staging)
        files = _files(staging)
        staging.rename(target)
    lines = [f"{file.sha256}  {file.name}" for file in files]
    document: dict[str, object] = {"directory": str(target), "files": _shown(files)}
    return Outcome("\n".join([f"converted: {target}", *lines]), document)


def inspect_model(arguments: Namespace) -> Outcome:
    """Say what a model says of itself."""
    from inference.model.inspection import inspect, text_of

    folder = _folder(arguments)
    with Progress(sys.stderr) as progress:
        found = inspect(folder, progress)
    name = folder.resolve().name
    document = {"name": name, "directory": str(folder)} | asdict(found) | {"files": _shown(found.files)}
    return Outcome(text_of(name, found), document)


def check_model(arguments: Namespace) -> Outcome:
    """Compare a model with its pins, and try whether it keeps requests apart."""
    folder = _folder(arguments)
    with Progress(sys.stderr) as progress:
        return _checked(folder, arguments.threads, progress)


def bench_model(arguments: Namespace) -> Outcome:
    """Measure a model on this machine."""
    from inference.model.speed import measure, text_of

    folder = _folder(arguments)
    with Progress(sys.stderr) as progress:
        speed = measure(folder, arguments.threads, arguments.seconds, progress)
    name = folder.resolve().name
    document = {"name": name, "directory": str(folder), "threads": arguments.threads} | asdict(speed)
    return Outcome(text_of(name, speed, arguments.threads), document)


def _checked(folder: Path, threads: int, report: Report) -> Outcome:
    """Compare a folder with its pins, if it has any, and try what it holds. A file that differs is not loaded."""
    model = recognise(folder)
    name = model.name if model else folder.resolve().name
    wrong = faults(model, folder) if model else {}
    lines = [f"{file.name}: {wrong.get(file.name, 'ok')}" for file in model.files] if model else []
    findings = []
    if not wrong:
        from inference.model.intake import files_of
        from inference.model.isolation import check

        files_of(folder)
        findings = list(check(folder, threads, report))
        lines += [f"{'ok  ' if finding.ok else 'FAIL'}  {finding.tried}: {finding.found}" for finding in findings]
    ok = not wrong and all(finding.ok for finding in findings)
    document: dict[str, object] = {"name": name, "directory": str(folder), "pinned": model is not None, "ok": ok}
    document |= {"faults": wrong, "findings": [asdict(finding) for finding in findings]}
    title = name if model else f"{name}, a model that this program does not pin"
    return Outcome("\n".join([title, *lines]), document, status=0 if ok else 1)


def _folder(arguments: Namespace) -> Path:
    """Return the model's folder; raises ConfigError where it is none."""
    folder: Path = arguments.folder
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder")
    return folder


def _files(folder: Path) -> list[Pin]:
    """Return what the files of a model's folder would be pinned by."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [pin(folder, path.relative_to(folder).as_posix()) for path in paths]


def _shown(files: Iterable[Pin]) -> list[dict[str, object]]:
    """Return files as every verb shows them to programs."""
    return [{"name": file.name, "sha256": file.sha256, "bytes": file.size} for file in files]
