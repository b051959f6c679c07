"""Commands whose packages are missing say what to install."""

import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from seclude.entry import enter
from tests.running import ROOT

SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
EXTRAS = {
    "seclude": "client",
    "seclude-bench": "bench",
    "seclude-relay": "relay",
    "seclude-gateway": "gateway",
    "seclude-worker": "worker",
    "seclude-ledger": "ledger",
    "seclude-witness": "ledger",
}
FREE = {"seclude-model"}  # what it uses is the standard library and pip


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `pip install seclude` brings, without any extra."""
    folder = tmp_path_factory.mktemp("bare")
    for package in ("seclude", "relay", "gateway", "inference", "ledger", "bench", "deploy"):
        (folder / package).symlink_to(ROOT / package)
    (folder / "msgspec").symlink_to(Path(msgspec.__file__).parent)
    return folder


def run(bare: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as its script does, in an interpreter that finds nothing but `bare`."""
    module, _, function = SCRIPTS[command].partition(":")
    code = f"import sys; sys.path.append(sys.argv.pop(1)); from {module} import {function} as main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", code, str(bare), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_every_command_is_tried() -> None:
    assert set(SCRIPTS) == set(EXTRAS) | FREE


@pytest.mark.parametrize("command", sorted(EXTRAS))
def test_a_missing_package_is_one_sentence_that_names_the_extra(bare: Path, command: str) -> None:
    done = run(bare, command, "--help")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{command}: ")
    assert line.endswith(f"is not installed; run: pip install 'seclude[{EXTRAS[command]}]'")


@pytest.mark.parametrize("command", sorted(FREE))
def test_a_command_that_needs_no_extra_works_without_one(bare: Path, command: str) -> None:
    done = run(bare, command, "--help")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_module_of_our_own_that_is_missing_is_no_matter_of_extras() -> None:
    with pytest.raises(ModuleNotFoundError):
        enter("seclude-x", "seclude.nothing", "relay", [])
