"""A clean start: the worker runs isolated from the environment, and from sources only.

Bytecode files are not in the manifest, as they differ between machines, so they must not be what runs. And an
environment variable is a way into a program that no manifest shows (LD_PRELOAD, OPENSSL_CONF, PYTHONPATH). So the
worker replaces itself once, before it has loaded anything that matters, with an interpreter that knows neither.

The environment that it gives itself tells the C library to overwrite what is freed, and Python to get all its memory
there: see docs/scrubbing.md. Python's own isolated mode (-I) would not listen to that, so it is put together here from
its parts: -s and -P, and an environment that is compared word by word.
"""

import os
import resource
import sys
from collections.abc import Sequence
from typing import Final

from inference.scrub import require_overwriting

NO_BYTECODE: Final = "/dev/null/no-bytecode"  # a folder that can never exist, so no bytecode is found there
OPTIONS: Final = ("-s", "-P", "-B", "-X", f"pycache_prefix={NO_BYTECODE}", "-X", "utf8")
ENVIRONMENT: Final = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime from 1.27 on writes a device id and calls home
    "OPENBLAS_NUM_THREADS": "1",  # numpy only averages here; its pool of threads would be idle and measured
    "LC_ALL": "C.UTF-8",
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0",  # what is in a tcache is not overwritten
}


def is_isolated() -> bool:
    """Say whether this interpreter has our environment and no other, and ignores every bytecode file."""
    flags = sys.flags
    parts = bool(flags.no_user_site and flags.safe_path and not flags.ignore_environment)
    bytecode = sys.dont_write_bytecode and sys.pycache_prefix == NO_BYTECODE
    return parts and bytecode and dict(os.environ) == ENVIRONMENT


def isolate(module: str, arguments: Sequence[str]) -> None:
    """Return if the interpreter is isolated; else replace the process with one that is. Raises `ConfigError`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash must not write keys and chats to the disk
    if is_isolated():
        require_overwriting()
        return
    os.execve(sys.executable, [sys.executable, *OPTIONS, "-m", module, *arguments], ENVIRONMENT)  # noqa: S606
