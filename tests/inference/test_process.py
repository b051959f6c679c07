"""The worker as a process: what it refuses to start with, and what of its surroundings it ignores."""

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT


def worker(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inference", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


@pytest.fixture(scope="module")
def folder(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A platform, a configuration and the manifest that goes with it."""
    folder = tmp_path_factory.mktemp("worker")
    assert worker("simulate-platform", "--out", str(folder / "platform")).returncode == 0
    root = base64.b64encode((folder / "platform" / "root.der").read_bytes()).decode()
    text = (ROOT / "deploy" / "worker.toml").read_text().replace("AAAA", root)
    text = text.replace('"models/all-minilm-l6-v2"', f'"{model}"')
    for name in ("platform", "worker.manifest"):
        text = text.replace(f'"{name}"', f'"{folder / name}"')
    (folder / "worker.toml").write_text(text)
    done = worker("manifest", "--config", str(folder / "worker.toml"), "--out", str(folder / "worker.manifest"))
    assert done.returncode == 0, done.stderr
    return folder


def config(folder: Path, tmp_path: Path, before: str, after: str) -> str:
    """Write a configuration in which one thing is different."""
    text = (folder / "worker.toml").read_text()
    assert before in text
    changed = tmp_path / "worker.toml"
    changed.write_text(text.replace(before, after))
    return str(changed)


def test_a_changed_measured_value_is_other_software(folder: Path, tmp_path: Path) -> None:
    done = worker("--config", config(folder, tmp_path, "period_seconds = 600", "period_seconds = 3600"))
    assert done.returncode == 2
    assert "not the software of" in done.stderr
    assert "config/measured" in done.stderr


def test_a_missing_manifest_says_how_to_make_one(folder: Path, tmp_path: Path) -> None:
    done = worker("--config", config(folder, tmp_path, "worker.manifest", "none.manifest"))
    assert done.returncode == 2
    assert "seclude-worker manifest" in done.stderr


def test_an_edited_manifest_is_refused(folder: Path, tmp_path: Path) -> None:
    edited = tmp_path / "edited.manifest"
    text = (folder / "worker.manifest").read_text()
    edited.write_text(re.sub(r'"length":(\d)', r'"length":9\1', text, count=1))
    done = worker("--config", config(folder, tmp_path, str(folder / "worker.manifest"), str(edited)))
    assert done.returncode == 2
    assert "digest is not that of its entries" in done.stderr


def test_the_environment_changes_nothing(folder: Path, tmp_path: Path) -> None:
    """A module in PYTHONPATH and a startup file would each be a way around the manifest."""
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit(77)")
    (tmp_path / "msgspec.py").write_text("raise SystemExit(78)")
    arguments = ("manifest", "--config", str(folder / "worker.toml"))
    plain = subprocess.run(
        [str(Path(sys.executable).with_name("seclude-worker")), *arguments], capture_output=True, text=True, timeout=60
    )
    # The first interpreter, which only reads its arguments, must not fall for the traps itself: hence -I.
    trapped = subprocess.run(
        [sys.executable, "-I", "-m", "inference", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "sitecustomize.py")},
    )
    assert plain.returncode == trapped.returncode == 0, plain.stderr + trapped.stderr
    assert plain.stdout == trapped.stdout == (folder / "worker.manifest").read_text()


def test_a_platform_is_never_written_over(folder: Path) -> None:
    done = worker("simulate-platform", "--out", str(folder / "platform"))
    assert done.returncode == 2
    assert "already holds" in done.stderr


def test_the_platforms_key_is_for_its_owner_only(folder: Path) -> None:
    assert (folder / "platform" / "platform.key").stat().st_mode & 0o777 == 0o600


def test_check_config_names_every_problem(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "worker.toml"
    broken.write_text('[measured]\norigin = 1\ntypo = 2\n[launch]\nmodel = "x"\n')
    done = worker("check-config", "--config", str(broken))
    assert done.returncode == 2
    for path in ("measured.origin", "measured.typo", "measured.t0", "launch.platform", "launch.manifest"):
        assert path in done.stderr


def test_check_config_shows_what_is_in_effect(folder: Path) -> None:
    done = worker("check-config", "--config", str(folder / "worker.toml"), "--admin", "127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    assert 'admin = "127.0.0.1:1"' in done.stdout
    assert "replay_limit = 1000000" in done.stdout


@pytest.mark.parametrize("address", ["192.0.2.1:1", "0.0.0.0:0"])
def test_plaintext_beyond_loopback_is_refused(folder: Path, address: str) -> None:
    done = worker("--config", str(folder / "worker.toml"), "--listen", address)
    assert done.returncode == 2
    assert "loopback" in done.stderr
