"""On what, and with what, a result was measured. No host name, no path, no user: a result may be published."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from msgspec import Struct

PACKAGES: Final = ("seclude", "uvloop", "httptools", "cryptography", "pyhpke", "onnxruntime", "numpy", "aiohttp")


class Machine(Struct, frozen=True):
    """The machine, the commit and the versions."""

    cpu_model: str
    cores: int
    kernel: str
    python: str
    commit: str
    """Of the project; with "+" where files differed from it."""
    versions: dict[str, str]


def describe() -> Machine:
    """Return what this machine is."""
    return Machine(
        cpu_model=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        commit=_commit(),
        versions={name: found for name in PACKAGES if (found := _version(name))},
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()


def _commit() -> str:
    folder = Path(__file__).parent

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
