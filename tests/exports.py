"""Small exports of BART and T5 with random weights, `tiny-bart` and `tiny-t5`, where the environment names a folder."""

import os
from pathlib import Path

import pytest

NAMED = "SECLUDE_TEST_MODELS"


def tiny(name: str) -> Path:
    """Return the folder of one of them; where there is none, the test is skipped."""
    folder = tiny_if_any(name)
    if folder is None:
        pytest.skip(f"{NAMED} is not set")
    return folder


def tiny_if_any(name: str) -> Path | None:
    """Return the folder of one of them, if there is one."""
    named = os.environ.get(NAMED)
    return Path(named) / name if named else None
