"""Files that hold a secret: made once, for their owner alone; `seclude/daemon/secretfile.py` reads them.

A key of a log, a witness or a publisher is one line as `seclude/tlog/keys.py` writes it; a submit secret is one line of
base64. A file is never written over: the key that stands there may be the only copy.
"""

import os
from pathlib import Path

from seclude.daemon.secretfile import read_secret_line
from seclude.errors import ConfigError
from seclude.ledger import SECRET_BYTES
from seclude.tlog.canonical import to_base64
from seclude.tlog.keys import SignerKey, encode_skey, parse_skey


def create_signer(path: Path, key: SignerKey) -> None:
    """Write a private key into a file that does not exist; raises ConfigError."""
    _create(path, encode_skey(key))


def load_signer(path: Path) -> SignerKey:
    """Read a private key; raises ConfigError."""
    line = read_secret_line(path)
    try:
        return parse_skey(line)
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}") from None


def create_submit_secret(path: Path) -> None:
    """Write a new submit secret into a file that does not exist; raises ConfigError."""
    _create(path, to_base64(os.urandom(SECRET_BYTES)))


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
