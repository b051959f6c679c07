"""Files that hold a secret, read only where nobody but their owner could have read them.

One line each: a private key, or a submit secret in base64, which a ledger shares with those who write to it.
"""

import os
import stat
from pathlib import Path
from typing import Final

from seclude.errors import ConfigError, DecodeError
from seclude.ledger import SECRET_BYTES
from seclude.tlog.canonical import parse_base64

MAX_FILE: Final = 1 << 12  # octets; the longest key has some 400, so anything larger is another file


def read_secret_line(path: Path) -> str:
    """Return the one line of a file that only its owner can read; raises ConfigError."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(MAX_FILE + 1)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from None
    if mode & 0o077:
        raise ConfigError(
            f"{path}: others than its owner may read or write it (mode {mode:04o}), so others may have the secret;"
            " make a new one, or run chmod 600 where nobody else was ever on this machine"
        )
    try:
        line = data.decode().removesuffix("\n")
    except UnicodeDecodeError:
        line = "\n"
    if len(data) > MAX_FILE or "\n" in line:
        raise ConfigError(f"{path}: not one line that holds a secret")
    return line


def load_submit_secret(path: Path) -> bytes:
    """Return the secret that submissions are authenticated with; raises ConfigError."""
    line = read_secret_line(path)
    try:
        secret = parse_base64(line, "submit secret")
    except DecodeError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise ConfigError(f"{path}: no submit secret; make one with seclude-ledger keygen --kind submit")
    return secret
