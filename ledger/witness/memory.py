"""What a witness remembers of each log: the newest tree that it cosigned, and when. It is on disk, and never forgotten.

A cosignature says that this witness never cosigned another history of the log. So its memory is worth as much as its
key: a witness that begins at zero again can be shown a second history. A log without memory is therefore refused at
the start unless a person says that it is a new one, and memory that does not read as it was written is refused always.

    folder/<SHA-256 of the origin, in hex>.log      SHA-256 of the rest in hex, line feed, one line of JSON
    folder/<SHA-256 of the origin, in hex>.split    two checkpoints that the log signed for one size, if they were seen

Every change is a whole new file, so after a disk that failed the next attempt syncs a file of its own, and an error
that the kernel reported once is not forgotten by a second sync. One process holds a folder at a time.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final, Literal

import msgspec

from ledger.files import Files
from seclude.errors import ConfigError
from seclude.tlog.canonical import MAX_SIZE
from seclude.tlog.merkle import EMPTY_ROOT, HASH_BYTES

LOST: Final = (
    "a witness that forgot must not sign under its key again, so make it a new key"
    ' (docs/ledger-keys.md, "A witness that lost its memory")'
)


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest tree of one log that was cosigned; of size 0 and at time 0 where none was."""

    size: int = 0
    root: bytes = EMPTY_ROOT
    time: int = 0
    """Of the newest cosignature, in seconds since 1970 UTC."""
    checkpoint: str = ""
    """The note in which the log signed it, with the log's own signatures only."""


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON of one log."""

    format: Literal["seclude-witness-1"]
    origin: str
    size: int
    root: bytes
    time: int
    checkpoint: str


class Memory:
    """The folder of one witness, held until it is closed."""

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        """Take hold of the folder; raises ConfigError where that cannot be, or where there is none to hold."""
        if not create and not folder.is_dir():
            raise ConfigError(
                f"{folder}: no such folder. If this witness never cosigned anything, start it once with --new."
                f" Otherwise its memory is lost: {LOST}"
            )
        self._folder: Final = folder
        self._files: Final = Files(folder)
        self._files.lock()
        self._writing: Final = Lock()  # all logs share the disk, and `Files` writes for one caller at a time

    def log(self, origin: str, *, create: bool = False) -> "LogMemory":
        """Return what is remembered of a log; raises ConfigError where nothing is and `create` is not set."""
        name = hashlib.sha256(origin.encode()).hexdigest()
        path = self._folder / f"{name}.log"
        try:
            data = self._files.find(path.name)
            if data is not None:
                return LogMemory(self, origin, name, _parse(data, origin))
            if not create:
                raise ConfigError(
                    f'{path}: nothing is remembered of the log "{origin}". If this witness never cosigned it, start it'
                    f" once with --new. Otherwise its memory is lost: {LOST}"
                )
            if self.holds(f"{name}.split"):
                raise ConfigError(f'{path}: missing, and the file beside it shows that "{origin}" was cosigned: {LOST}')
            log = LogMemory(self, origin, name, Seen())
            log.keep(log.seen)
        except OSError as exc:
            raise ConfigError(f"{path}: {exc.strerror}") from None
        except ValueError as exc:
            raise ConfigError(f'{path}: the memory of the log "{origin}" is damaged: {exc}. {LOST}') from None
        return log

    def write(self, name: str, data: bytes) -> None:
        """Put a file into the folder, whole and for good, or raise OSError."""
        with self._writing:
            self._files.replace(name, data)

    def holds(self, name: str) -> bool:
        """Whether the folder has a file of this name."""
        return (self._folder / name).exists()

    def close(self) -> None:
        """Let another process have the folder."""
        self._files.unlock()


class LogMemory:
    """What is remembered of one log. Whoever checks against it and then changes it holds `lock` all the while."""

    def __init__(self, memory: Memory, origin: str, name: str, seen: Seen) -> None:
        self.origin: Final = origin
        self.lock: Final = Lock()
        self.seen = seen
        self._memory = memory
        self._name = name

    @property
    def is_split(self) -> bool:
        """Whether this log was seen to sign two trees of one size."""
        return self._memory.holds(f"{self._name}.split")

    def keep(self, seen: Seen) -> None:
        """Remember this from now on; raises OSError, and goes on with what was before, where it is not stored."""
        record = _Record("seclude-witness-1", self.origin, seen.size, seen.root, seen.time, seen.checkpoint)
        text = msgspec.json.encode(record) + b"\n"
        self._memory.write(f"{self._name}.log", hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
        self.seen = seen

    def keep_split(self, checkpoint: str) -> bool:
        """Keep a signed checkpoint that contradicts the newest one, beside it; returns whether it is the first."""
        if self.is_split:  # one pair shows it, and more would let whoever has the log's key fill the disk
            return False
        self._memory.write(f"{self._name}.split", f"{self.seen.checkpoint}\n{checkpoint}".encode())
        return True


def _parse(data: bytes, origin: str) -> Seen:
    """Read a file; raises ValueError that says what is wrong with it."""
    digest, _, text = data.partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != digest:
        raise ValueError("its first line is not the digest of the rest")
    record = msgspec.json.decode(text, type=_Record)  # its errors are ValueErrors
    if record.origin != origin:
        raise ValueError("it is that of another log")
    if len(record.root) != HASH_BYTES or not 0 <= record.size <= MAX_SIZE or record.time < 0:
        raise ValueError("it holds no tree")
    return Seen(record.size, record.root, record.time, record.checkpoint)
