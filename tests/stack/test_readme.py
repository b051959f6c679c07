"""What the documents say is so: their blocks run, their table is one, their links lead somewhere, their names exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT, Running
from tests.stack.conftest import ask

SKIPPED = {"node_modules", "models", "build", "dist", "run"}
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part in SKIPPED or part.startswith(".") for part in path.relative_to(ROOT).parts)
)
PARTIES = {
    "relay": "relay",
    "gateway": "gateway",
    "inference": "worker-0",
    "ledger": "ledger",
}  # folder, name in the stack
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"<!-- who-sees-what -->\n(.*?)<!-- /who-sees-what -->", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def readme_of(folder: str) -> str:
    return (ROOT / folder / "README.md").read_text()


def test_the_readme_has_both_kinds_of_blocks() -> None:
    assert {language for language, _ in BLOCKS} == {"sh", "python"}


@pytest.mark.parametrize(("language", "block"), BLOCKS, ids=[language for language, _ in BLOCKS])
def test_every_block_of_the_readme_runs(stack: Running, tmp_path: Path, language: str, block: str) -> None:
    """Each runs where the reader stands: beside `deploy/` and the two files that `make up` left in `run/`."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "trust.toml").symlink_to(stack.trust)
    (tmp_path / "run" / "stack.json").symlink_to(stack.trust.with_name("stack.json"))
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    activate = tmp_path / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(f'PATH="{Path(sys.executable).parent}:$PATH"\n')
    command = ["bash", "-e", "-c", block] if language == "sh" else [sys.executable, "-c", block]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SECLUDE_")}
    environment["XDG_STATE_HOME"] = str(tmp_path / "state")  # what this user's own services showed is another matter
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("document", ["SECURITY.md", *(f"{folder}/README.md" for folder in PARTIES)])
def test_who_sees_what_is_the_same_everywhere(document: str) -> None:
    (table,) = TABLE.findall((ROOT / "README.md").read_text())
    assert TABLE.findall((ROOT / document).read_text()) == [table]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_relative_link_leads_to_a_file(document: Path) -> None:
    links = [link.partition("#")[0] for link in LINK.findall(document.read_text()) if "://" not in link]
    assert [link for link in links if link and not (document.parent / link).exists()] == []


@pytest.mark.parametrize("folder", PARTIES)
def test_a_party_readme_names_every_metric_and_no_other(stack: Running, folder: str) -> None:
    page = ask(f"{stack.admin(PARTIES[folder])}/metrics").body.decode()
    shown = {name for name in re.findall(r"^# TYPE (seclude_\w+)", page, re.MULTILINE) if not name.endswith("_created")}
    assert set(re.findall(r"`(seclude_\w+)`", readme_of(folder))) == shown - {"seclude_build_info"}


@pytest.mark.parametrize("folder", PARTIES)
def test_a_party_readme_names_every_file_and_only_flags_that_exist(folder: str) -> None:
    text = readme_of(folder)
    named = set(re.findall(r"`(\w+(?:\.py|/))`", text))
    modules = {path.name for path in (ROOT / folder).glob("*.py") if not path.name.startswith("__")}
    folders = {f"{path.parent.name}/" for path in (ROOT / folder).glob("*/__init__.py")}
    assert named == modules | folders
    command = [sys.executable, "-m", folder, "--help"]
    help_text = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    assert [flag for flag in re.findall(r"(?<!-)--[a-z][a-z-]*", text) if flag not in help_text] == []
