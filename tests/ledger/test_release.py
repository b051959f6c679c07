"""`seclude-ledger release`: one commit, the digest of what is in the manifest, and nothing believed unseen."""

import hashlib
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from ledger.publish.documents import load_release
from ledger.publish.release import main
from seclude.manifest import Entry, Manifest, parse_manifest, render_manifest

SOURCE = "https://git.example/seclude"
FILES = {
    "inference/main.py": b"print('open, answer, seal')\n",
    "seclude/errors.py": b"class Error(Exception): ...\n",
    "relay/main.py": b"forward = True\n",
}
IMAGE = "ab" * 48


def git(folder: Path, *arguments: str) -> str:
    command = [
        "git",
        "-C",
        str(folder),
        "-c",
        "user.name=publisher",
        "-c",
        "user.email=publisher@localhost",
        *arguments,
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small project with one commit."""
    folder = tmp_path / "checkout"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(content)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    return folder


def entry(path: str, content: bytes) -> Entry:
    return Entry(path, 0o644, len(content), hashlib.sha256(content).digest())


def manifest_of(place: str = "site", changed: Mapping[str, bytes] = MappingProxyType({})) -> Manifest:
    """Return the manifest of a worker whose own modules are those of the commit, but for what is changed."""
    ours = [entry(f"{place}/{name}", changed.get(name, content)) for name, content in FILES.items()][:2]
    return Manifest(tuple(sorted([*ours, entry("python/lib/os.py", b"x"), entry("site/numpy/a.py", b"y")])))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "worker.manifest"
    path.write_text(render_manifest(manifest_of()))
    return path


def arguments(checkout: Path, manifest: Path, out: Path, *more: str) -> Sequence[str]:
    given = ("--checkout", str(checkout), "--manifest", str(manifest), "--out", str(out), *more)
    return ("--role", "worker", "--source", SOURCE, "--expires", "90", *given)


def refused(capsys: pytest.CaptureFixture[str], checkout: Path, manifest: Path, out: Path, *more: str) -> str:
    """Return the one sentence that a release was refused with."""
    assert main(arguments(checkout, manifest, out, *more)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert not out.exists() or out.read_text() == "precious"
    return lines[0]


def test_a_release_names_its_commit_and_the_digest_of_its_entries(
    checkout: Path, manifest: Path, tmp_path: Path
) -> None:
    before = int(time.time())
    out = tmp_path / "release.json"
    assert main(arguments(checkout, manifest, out, "--measurement", f"sev-snp={IMAGE.upper()}")) == 0
    release = load_release(out)
    assert release.revision == git(checkout, "rev-parse", "HEAD")
    assert release.manifest == manifest_of().digest.hex()
    assert (release.role, release.source, release.measurements) == ("worker", SOURCE, {"sev-snp": (IMAGE,)})
    assert before <= release.issued <= time.time()
    assert release.expires - release.issued == 90 * 86_400


def test_a_linked_checkout_is_measured_under_another_name_and_is_a_release_too(
    checkout: Path, manifest: Path, tmp_path: Path
) -> None:
    manifest.write_text(render_manifest(manifest_of("app")))
    assert main(arguments(checkout, manifest, tmp_path / "release.json")) == 0


def test_the_digest_line_of_a_manifest_is_not_believed(
    checkout: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**document, "digest": "0" * 64}))
    assert "digest is not that of its entries" in refused(capsys, checkout, manifest, tmp_path / "release.json")
    manifest.write_text("nothing")
    assert "this is no manifest" in refused(capsys, checkout, manifest, tmp_path / "release.json")
    manifest.write_bytes(b"\xff")
    assert "no manifest" in refused(capsys, checkout, manifest, tmp_path / "release.json")
    manifest.unlink()
    assert "cannot read" in refused(capsys, checkout, manifest, tmp_path / "release.json")


@pytest.mark.parametrize("name", ["inference/main.py", "seclude/errors.py"])
def test_a_manifest_of_other_software_than_the_commit_is_refused(
    checkout: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    manifest.write_text(render_manifest(manifest_of(changed={name: b"other = True\n"})))
    sentence = refused(capsys, checkout, manifest, tmp_path / "release.json")
    assert f"not of commit {git(checkout, 'rev-parse', 'HEAD')}: {name} differs" in sentence


def test_a_module_that_the_commit_does_not_have_is_refused(
    checkout: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = Manifest(tuple(sorted([*manifest_of().entries, entry("site/seclude/new.py", b"x")])))
    manifest.write_text(render_manifest(more))
    assert "seclude/new.py differs" in refused(capsys, checkout, manifest, tmp_path / "release.json")


def test_a_manifest_without_a_worker_is_refused(
    checkout: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.write_text(render_manifest(Manifest((entry("site/seclude/errors.py", FILES["seclude/errors.py"]),))))
    assert "not of a worker" in refused(capsys, checkout, manifest, tmp_path / "release.json")


def test_a_checkout_that_differs_from_its_commit_is_refused(
    checkout: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "stray.py").touch()
    assert "differs from its commit (?? stray.py)" in refused(capsys, checkout, manifest, tmp_path / "release.json")
    (checkout / "seclude/errors.py").write_text("changed\n")
    sentence = refused(capsys, checkout, manifest, tmp_path / "release.json")
    assert "differs from its commit (M seclude/errors.py and 1 more)" in sentence


def test_a_folder_without_a_commit_is_refused(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "is no git checkout" in refused(capsys, empty, manifest, tmp_path / "release.json")
    git(empty, "init", "-q")
    assert "is no git checkout with a commit" in refused(capsys, empty, manifest, tmp_path / "release.json")
    monkeypatch.setenv("PATH", str(empty))
    assert "git is not installed" in refused(capsys, empty, manifest, tmp_path / "release.json")


def test_no_watcher_of_the_checkout_is_started(checkout: Path, manifest: Path, tmp_path: Path) -> None:
    """Git would start the program that a checkout's own configuration names for watching its files."""
    ran = tmp_path / "ran"
    program = tmp_path / "watch.sh"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    git(checkout, "config", "core.fsmonitor", str(program))
    git(checkout, "status")
    assert ran.exists(), "git must start it by itself, or its absence proves nothing"
    ran.unlink()
    assert main(arguments(checkout, manifest, tmp_path / "release.json")) == 0
    assert not ran.exists()


def test_what_is_there_is_not_written_over(
    checkout: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "release.json"
    out.write_text("precious")
    assert "is there already" in refused(capsys, checkout, manifest, out)
    assert "cannot write" in refused(capsys, checkout, manifest, tmp_path / "missing" / "release.json")


@pytest.mark.parametrize(
    ("flag", "value", "sentence"),
    [
        ("--measurement", IMAGE, "two words with = between"),
        ("--measurement", f"tpm={IMAGE}", "tpm is none of sev-snp, tdx, nitro"),
        ("--measurement", "tdx=abcd", "measurements"),
        ("--source", "two\nlines", "source"),
        ("--role", "the worker", "role"),
    ],
)
def test_a_field_without_its_form_is_refused(
    checkout: Path,
    manifest: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flag: str,
    value: str,
    sentence: str,
) -> None:
    assert sentence in refused(capsys, checkout, manifest, tmp_path / "release.json", flag, value)


@pytest.mark.parametrize("text", ["0", "-1", "soon", "inf", "nan", "3651"])
def test_a_release_expires(
    checkout: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments(checkout, manifest, tmp_path / "release.json", "--expires", text))
    assert ended.value.code == 2
    assert "no number of days" in capsys.readouterr().err


def test_a_manifest_is_read_as_the_worker_writes_it(manifest: Path) -> None:
    assert parse_manifest(manifest.read_text()) == manifest_of()
