"""What a release is built from: one commit of a git checkout, and nothing that lies about beside it."""

import hashlib
import io
import subprocess  # git has no interface but its command line
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from seclude.errors import ConfigError
from seclude.manifest import Manifest

PACKAGES: Final = ("seclude", "inference")  # what of this project a worker runs: no party imports another
PLACES: Final = ("site", "app")  # where a manifest names them: installed, or linked to a checkout
TIMEOUT_SECONDS: Final = 60.0  # for one question to git; a disk that is slower than this is broken


def revision_of(checkout: Path) -> str:
    """Return the commit that a checkout stands at; `ConfigError` where it is none, or holds anything beside it."""
    revision = _git(checkout, "rev-parse", "--verify", "--quiet", "HEAD").decode().strip()
    changed = _git(checkout, "status", "--porcelain", "--untracked-files=normal").decode(errors="replace").splitlines()
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise ConfigError(
            f"{checkout} differs from its commit ({changed[0].strip()}{more}), so nobody could build the same; "
            "commit it or take it away"
        )
    return revision


def require_built_from(manifest: Manifest, checkout: Path, revision: str) -> None:
    """Raise `ConfigError` unless every module of ours in the manifest is, octet for octet, that of the commit."""
    ours = dict(_ours(manifest))
    if not any(name.startswith("inference/") for name in ours):
        raise ConfigError("the manifest names no module of inference/, so it is not of a worker of this project")
    committed = dict(_committed(checkout, revision))
    for name, digest in ours.items():
        if committed.get(name) != digest:
            raise ConfigError(
                f"the manifest is not of commit {revision}: {name} differs; make it anew with `make release-manifest`"
            )


def _ours(manifest: Manifest) -> Iterator[tuple[str, bytes]]:
    for entry in manifest.entries:
        place, _, name = entry.path.partition("/")
        if place in PLACES and name.partition("/")[0] in PACKAGES:
            yield name, entry.sha256


def _committed(checkout: Path, revision: str) -> Iterator[tuple[str, bytes]]:
    """Yield our packages' files in a commit with their SHA-256, as they are stored and by no filter of the checkout."""
    listed = _git(checkout, "ls-tree", "-r", "-z", "--full-tree", revision, *PACKAGES).decode(errors="replace")
    lines = [line.partition("\t") for line in listed.split("\0") if line]
    objects = [head.split()[2] for head, _, _ in lines]  # mode, type, object
    contents = io.BytesIO(_git(checkout, "cat-file", "--batch", questions="\n".join([*objects, ""])))
    for _, _, name in lines:
        length = int(contents.readline().split()[2])  # object, type, length; then so many octets and a line's end
        yield name, hashlib.sha256(contents.read(length)).digest()
        contents.read(1)


def _git(checkout: Path, *arguments: str, questions: str = "") -> bytes:
    # A checkout's own configuration could name a program that git starts to look for changes.
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(checkout), *arguments]
    try:
        done = subprocess.run(  # noqa: S603
            command, check=False, input=questions.encode(), capture_output=True, timeout=TIMEOUT_SECONDS
        )
    except FileNotFoundError:
        raise ConfigError("git is not installed; a release is built from a git checkout") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"git did not answer within {TIMEOUT_SECONDS:.0f} seconds in {checkout}") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        reason = f" ({said[-1].removeprefix('fatal: ')})" if said else ""
        raise ConfigError(f"{checkout} is no git checkout with a commit in it{reason}; clone the repository")
    return done.stdout
