"""The files of one folder, written so that a power cut leaves what others depend on whole, or as it was.

Such a file is written under another name, synced, renamed, and then its folder is synced. That a function here returned
is the only thing that may be taken for "stored". Everything that a ledger keeps goes through here, so that tests can
let the disk be full at any octet.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Final

from seclude.errors import ConfigError

WRITING: Final = ".writing"  # what will replace another file; one that a crash left is written over
SYNCS: Final = 4  # at once: a batch of a growing log changes two files in two folders
MAX_OPEN: Final = 64  # files that are written before they are synced; the rest of a large batch follows
LOCK: Final = ".lock"


class RenameError(OSError):
    """Raised when a file was renamed, or may have been, and its folder did not sync: either content may be found."""


class Files:
    """Reads and writes below one folder; names are paths relative to it."""

    def __init__(self, root: Path) -> None:
        """Make the folder where it is missing; raises ConfigError where that cannot be."""
        self.root: Final = root
        self._lock: int | None = None
        self._syncs = ThreadPoolExecutor(SYNCS, "sync")
        self._folders: set[Path] = set()  # that surely stand in the folder above them
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._sync(root.parent)
        except OSError as exc:
            raise ConfigError(f"{root}: cannot be written: {exc.strerror}") from None

    def lock(self) -> None:
        """Keep every other process out for as long as this one lives; raises ConfigError where one is in already."""
        try:
            self._lock = os.open(self.root / LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{self.root}: another process keeps it; two would sign two different logs") from None
        except OSError as exc:
            raise ConfigError(f"{self.root}: cannot be locked: {exc.strerror}") from None

    def unlock(self) -> None:
        """Let others in."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def close(self) -> None:
        """Let others in, and end the threads."""
        self.unlock()
        self._syncs.shutdown()

    def read(self, name: str) -> bytes:
        """Return a file; raises OSError."""
        return (self.root / name).read_bytes()

    def find(self, name: str) -> bytes | None:
        """Return a file, or None where there is none; raises OSError."""
        try:
            return self.read(name)
        except FileNotFoundError:
            return None

    def length(self, name: str) -> int:
        """Return how many octets a file has; raises OSError."""
        return (self.root / name).stat().st_size

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, none where it is missing; raises OSError."""
        try:
            return os.listdir(self.root / folder)
        except FileNotFoundError:
            return []

    def write_new(self, contents: Mapping[str, bytes]) -> None:
        """Write files that nothing depends on yet, and return when all of them are stored; raises OSError.

        They are written in place, so after an error, or a crash, any of them may be torn.
        """
        made: set[Path] = set()
        names = iter(contents)
        while some := list(islice(names, MAX_OPEN)):
            changed: set[Path] = set()
            with ExitStack() as opened:
                descriptors = []
                for name in some:
                    target = self.root / name
                    self._make(target.parent, changed, made)
                    descriptors.append(self._open(target))
                    opened.callback(os.close, descriptors[-1])
                    self._put_all(descriptors[-1], contents[name])
                    changed.add(target.parent)
                self._sync_all(descriptors, changed)
        self._folders |= made

    def replace(self, name: str, content: bytes) -> None:
        """Write a file that others depend on, in a folder that is there; return when it is stored; raises OSError.

        After any error but RenameError it is what it was before, and after a crash that or what it should become.
        """
        target = self.root / name
        beside = self.root / WRITING
        descriptor = self._open(beside)
        try:
            self._put_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.rename(beside, target)
            self._sync(target.parent)
        except OSError as exc:
            raise RenameError(exc.errno, exc.strerror) from exc

    def remove_folder(self, name: str) -> None:
        """Remove a folder of files that are no longer needed. That it fails harms nothing but the space they take."""
        self._folders.discard(self.root / name)
        with contextlib.suppress(OSError):
            shutil.rmtree(self.root / name)

    def _open(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)

    def _put_all(self, descriptor: int, content: bytes) -> None:
        left = memoryview(content)
        while left:
            left = left[self._put(descriptor, left) :]

    def _put(self, descriptor: int, octets: memoryview) -> int:
        """Write some octets and return how many; what a full disk in tests takes the place of."""
        return os.write(descriptor, octets)

    def _make(self, folder: Path, changed: set[Path], made: set[Path]) -> None:
        """Make a folder and those above it, and note whose entries must be synced for that.

        One that is there but was not made by this process counts as made: a crash may have come before its sync.
        """
        if folder != self.root and folder not in self._folders and folder not in made:
            self._make(folder.parent, changed, made)
            folder.mkdir(exist_ok=True)
            made.add(folder)
            changed.add(folder.parent)

    def _sync_all(self, descriptors: Iterable[int], folders: Iterable[Path]) -> None:
        """Sync files and folders at once: the journal of a file system commits what comes together in one go."""
        syncing = [self._syncs.submit(os.fsync, descriptor) for descriptor in descriptors]
        syncing += [self._syncs.submit(self._sync, folder) for folder in folders]
        wait(syncing)
        for each in syncing:
            each.result()

    def _sync(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
