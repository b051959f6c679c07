"""One commit has one digest: what is built in two folders is the same software to every device."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest

from ledger.publish.documents import load_release
from ledger.publish.release import main
from seclude.manifest import Manifest, compare, parse_manifest
from tests.running import ROOT

CONFIG = "deploy/release.toml"


def run(command: list[str], folder: Path, umask: int = 0o022, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, umask=umask, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def files() -> list[str]:
    """Return the names of our own files, committed or about to be."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout, so there is no commit to build")
    listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT)
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def copy(folder: Path) -> Path:
    for name in files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def add_model(folder: Path, model: Path) -> None:
    (folder / "models").mkdir()
    (folder / "models" / model.name).symlink_to(model)


def build(tree: Path, umask: int) -> Path:
    """Build the wheel of a tree with this interpreter's own tools, as `deploy/release.sh` does with others."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "out", "."]
    run(command, tree, umask, SOURCE_DATE_EPOCH="1767225600")
    (wheel,) = (tree / "out").glob("seclude-*.whl")
    return wheel


def measure(tree: Path, wheel: Path) -> Manifest:
    """Return the manifest of what a wheel installs, beside the packages that this interpreter has."""
    run([sys.executable, "-m", "venv", "--without-pip", "venv"], tree)
    (packages,) = (tree / "venv" / "lib").glob("*/site-packages")
    with ZipFile(wheel) as archive:
        archive.extractall(packages)
    (packages / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    out = tree / "worker.manifest"
    command = [
        str(tree / "venv/bin/python"),
        "-P",
        "-m",
        "inference",
        "manifest",
        "--config",
        CONFIG,
        "--out",
        str(out),
    ]
    run(command, tree)
    return parse_manifest(out.read_text())


def test_two_folders_build_the_same_software(tmp_path: Path, model: Path) -> None:
    """The short way of the drill below: with the packages that are here instead of new ones."""
    found = []
    for folder, umask in ((tmp_path / "one", 0o022), (tmp_path / "two" / "much" / "deeper", 0o002)):
        tree = copy(folder)
        add_model(tree, model)
        wheel = build(tree, umask)
        found.append((wheel, measure(tree, wheel)))
    (one_wheel, one), (two_wheel, two) = found
    assert compare(one, two) == ()
    assert one.digest == two.digest
    names = {entry.path for entry in one.entries}
    assert {"site/inference/main.py", "site/seclude/errors.py", "config/measured", "model/model.onnx"} <= names
    assert not [name for name in names if name.startswith("app/")]
    assert not [name for name in names if "one" in name.split("/")]
    assert one_wheel.name == two_wheel.name


@pytest.mark.drill
def test_two_clones_of_one_commit_have_one_digest(tmp_path: Path, model: Path) -> None:
    """`make release-manifest` as two people run it, and the release that each of them writes down."""
    origin = copy(tmp_path / "origin")
    identity = ["-c", "user.name=publisher", "-c", "user.email=publisher@localhost"]
    run(["git", "init", "-q"], origin)
    run(["git", "add", "--all"], origin)
    run(["git", *identity, "commit", "-q", "-m", "release"], origin)
    found = []
    for folder, umask, zone in ((tmp_path / "one", 0o022, "UTC"), (tmp_path / "two/much/deeper", 0o077, "Asia/Tokyo")):
        run(["git", "clone", "-q", str(origin), str(folder)], tmp_path, umask)
        add_model(folder, model)
        said = run(["make", "-s", "release-manifest", f"PYTHON={sys.executable}"], folder, umask, TZ=zone)
        manifest = folder / "build" / "release" / "worker.manifest"
        arguments = ["--checkout", str(folder), "--manifest", str(manifest), "--source", "https://git.example/seclude"]
        out = folder / "build" / "release.json"
        assert main([*arguments, "--expires", "90", "--out", str(out)]) == 0
        release = load_release(out)
        (wheel,) = (folder / "build" / "release").glob("*.whl")
        found.append((said.split()[-1], release.manifest, release.revision, sha256(wheel.read_bytes()).hexdigest()))
    print(f"\n{found[0]}\n{found[1]}")
    assert found[0] == found[1]
    assert found[0][0] == found[0][1]


def test_without_a_commit_nothing_is_built(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "release.sh", tmp_path / "deploy")
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    command = ["sh", "deploy/release.sh"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no git checkout with a commit" in done.stderr
    assert not (tmp_path / "build").exists()


def test_what_git_is_told_elsewhere_on_the_machine_changes_no_release(tmp_path: Path) -> None:
    """Line ends and modes of the files in an archive follow the configuration of whoever runs git."""
    (archive,) = re.findall(
        r'^(git .*archive "\$revision") \| tar', (ROOT / "deploy/release.sh").read_text(), re.MULTILINE
    )
    run(["git", "init", "-q"], tmp_path)
    (tmp_path / "module.py").write_bytes(b"one\ntwo\n")
    run(["git", "add", "--all"], tmp_path)
    identity = ["-c", "user.name=publisher", "-c", "user.email=publisher@localhost"]
    run(["git", *identity, "commit", "-q", "-m", "release"], tmp_path)
    command = ["sh", "-c", f"{archive} | sha256sum"]
    digests = set()
    for lines, umask in (("false", "0002"), ("true", "0077")):
        told = {"core.autocrlf": lines, "tar.umask": umask}
        environment = {"revision": "HEAD", "GIT_CONFIG_COUNT": str(len(told))}
        for place, (key, value) in enumerate(told.items()):
            environment |= {f"GIT_CONFIG_KEY_{place}": key, f"GIT_CONFIG_VALUE_{place}": value}
        digests.add(run(command, tmp_path, 0o022, **environment))
    assert len(digests) == 1
