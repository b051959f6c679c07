"""Files that hold a secret: made once for their owner alone, and not read where others could read them too.

A key of a log, a witness or a publisher is one line as `seclude/tlog/keys.py` writes it; a submit secret is one line of
base64. A file is never written over: the key that stands there may be the only copy.
"""

import os
import stat
from pathlib import Path
from typing import Final

from seclude.errors import ConfigError, DecodeError
from seclude.ledger import SECRET_BYTES
from seclude.tlog.canonical import parse_base64, to_base64
from seclude.tlog.keys import SignerKey, encode_skey, parse_skey

MAX_FILE: Final = 1 << 12  # octets; the longest key has some 400, so anything larger is another file


def create_signer(path: Path, key: SignerKey) -> None:
    """Write a private key into a file that does not exist; raises ConfigError."""
    _create(path, encode_skey(key))


def load_signer(path: Path) -> SignerKey:
    """Read a private key; raises ConfigError."""
    line = _load(path)
    try:
        return parse_skey(line)
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}") from None


def create_submit_secret(path: Path) -> None:
    """Write a new submit secret into a file that does not exist; raises ConfigError."""
    _create(path, to_base64(os.urandom(SECRET_BYTES)))


def load_submit_secret(path: Path) -> bytes:
    """Read a submit secret; raises ConfigError."""
    line = _load(path)
    try:
        secret = parse_base64(line, "submit secret")
    except DecodeError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise ConfigError(f"{path}: no submit secret; make one with seclude-ledger keygen --kind submit")
    return secret


def _create(path: Path, line: str) -> None:
    """Write a file with its mode from the first moment on; one that could not be stored whole is not left behind."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _fill(descriptor, f"{line}\n".encode())
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(descriptor)
        _sync_folder(path.parent)
    except FileExistsError:
        raise ConfigError(f"{path}: exists, and a key is never written over; name another file") from None
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be written: {exc.strerror}") from None


def _fill(descriptor: int, data: bytes) -> None:
    os.fchmod(descriptor, 0o600)  # whatever the umask took from it
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _load(path: Path) -> str:
    """Return the one line of a file that only its owner can read."""
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
