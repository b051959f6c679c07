"""Files of test vectors, which are looked for where SECLUDE_VECTORS says and are no part of the project."""

import os
from pathlib import Path

import pytest


def vector(name: str) -> bytes:
    """Return a file by its path below the folder; the test is skipped where that is unset."""
    folder = os.environ.get("SECLUDE_VECTORS")
    if folder is None:
        pytest.skip("SECLUDE_VECTORS is not set")
    return (Path(folder) / name).read_bytes()
