"""Secrets in files: read where only their owner can, and repeated in no error."""

import os
import stat
from pathlib import Path

import pytest

from seclude.daemon.secretfile import load_submit_secret
from seclude.errors import ConfigError


def write(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_a_secret_is_read(tmp_path: Path) -> None:
    encoded = b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert load_submit_secret(write(tmp_path / "a", encoded)) == bytes(range(32))
    assert load_submit_secret(write(tmp_path / "b", encoded + b"\n", 0o400)) == bytes(range(32))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "a", b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", mode)
    with pytest.raises(ConfigError, match="others than its owner may read"):
        load_submit_secret(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == mode


@pytest.mark.parametrize("data", [b"", b"AAEC", b"!" * 44, b"A" * 44, b"A" * 300, b"\xff" * 44])
def test_what_is_no_secret_is_refused_without_repeating_it(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"no submit secret|not one line") as caught:
        load_submit_secret(write(tmp_path / "a", data))
    assert "AAA" not in str(caught.value)


def test_a_secret_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_submit_secret(tmp_path / "none")
