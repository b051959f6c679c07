"""A clean start: the worker runs isolated from the environment, and from sources only.

Bytecode files are not in the manifest, as they differ between machines, so they must not be what runs. And an
environment variable is a way into a program that no manifest shows (LD_PRELOAD, OPENSSL_CONF, PYTHONPATH). So the
worker replaces itself once, before it has loaded anything that matters, with an interpreter that knows neither.
"""

import os
import resource
import sys
from collections.abc import Sequence
from typing import Final

NO_BYTECODE: Final = "/dev/null/no-bytecode"  # a folder that can never exist, so no bytecode is found there
ENVIRONMENT: Final = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime from 1.27 on writes a device id and calls home
    "OPENBLAS_NUM_THREADS": "1",  # numpy only averages here; its pool of threads would be idle and measured
    "LC_ALL": "C.UTF-8",
}


def is_isolated() -> bool:
    """Say whether this interpreter has our environment and no other, and ignores every bytecode file."""
    options = bool(sys.flags.isolated) and sys.dont_write_bytecode and sys.pycache_prefix == NO_BYTECODE
    return options and dict(os.environ) == ENVIRONMENT


def isolate(module: str, arguments: Sequence[str]) -> None:
    """Return if the interpreter is isolated; else replace the process with one that is."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash must not write keys and chats to the disk
    if is_isolated():
        return
    options = ["-I", "-B", "-X", f"pycache_prefix={NO_BYTECODE}", "-X", "utf8"]
    os.execve(sys.executable, [sys.executable, *options, "-m", module, *arguments], ENVIRONMENT)  # noqa: S606
