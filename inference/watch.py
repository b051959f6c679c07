"""Watching the measured files: when one of them changes, the measurement no longer describes this machine.

A watch sits on the file itself (its inode), so it sees writing, truncation, changes of mode and owner, deletion, and
another file renamed over it, which takes a name away from the one that is watched. It needs no access to any path once
it is set up, so it goes on under lockdown. It does not see writes through a shared writable mapping until that is
closed, nor a whole folder that is moved away, nor what happens below the file system. Nothing that was loaded changes
by any of these, but what would be loaded later could; refusing that is a task of lockdown.

Any event counts, even one that changed no content: to tell harmless ones apart, the worker would need the very access
to files that it has given up.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from inference.clock import process_started
from inference.manifest import LocatedManifest, collect
from seclude.errors import ConfigError
from seclude.manifest import compare

# inotify(7) and <sys/inotify.h>
IN_MODIFY: Final = 0x002  # written or truncated
IN_ATTRIB: Final = 0x004  # mode, owner, times, or the number of names: a file renamed over this one shows as this
IN_CLOSE_WRITE: Final = 0x008  # closed by someone who could write, perhaps through a mapping
IN_DELETE_SELF: Final = 0x400
IN_MOVE_SELF: Final = 0x800
IN_Q_OVERFLOW: Final = 0x4000  # events were lost; which ones is unknown
RULES: Final = IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF
# IN_UNMOUNT and IN_IGNORED come without being asked for; they are events like any other here.

EVENT: Final = struct.Struct("iIII")  # wd, mask, cookie, length of the name, which is 0 where files are watched
START_SECONDS: Final = 0.02  # the rounding of the kernel's clocks; an interpreter takes longer before it imports
READ_SIZE: Final = 64 << 10  # octets; four thousand events at once, and `changed` reads until there are none


class Watch:
    """One inotify descriptor for all files; `fileno` becomes readable when one of them changes."""

    __slots__ = ("_descriptor", "_paths")

    def __init__(self, paths: Iterable[Path]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)  # IN_NONBLOCK and IN_CLOEXEC are these
        if self._descriptor < 0:
            raise ConfigError(f"cannot watch files: {os.strerror(ctypes.get_errno())}")
        self._paths: dict[int, list[Path]] = {}  # by watch; hard links to one file share theirs
        for path in paths:
            watch: int = libc.inotify_add_watch(self._descriptor, os.fsencode(path), RULES)
            if watch < 0:
                reason = ctypes.get_errno()
                self.close()
                hint = "; raise fs.inotify.max_user_watches" if reason == errno.ENOSPC else ""
                raise ConfigError(f"cannot watch {path}: {os.strerror(reason)}{hint}")
            self._paths.setdefault(watch, []).append(path)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._descriptor

    def changed(self) -> list[Path]:
        """Return the files that changed since the last call, without waiting; all of them where events were lost."""
        changed: set[Path] = set()
        while True:
            try:
                data = os.read(self._descriptor, READ_SIZE)
            except BlockingIOError:
                return sorted(changed)
            for watch, mask in _events(data):
                if mask & IN_Q_OVERFLOW:
                    changed.update(path for paths in self._paths.values() for path in paths)
                changed.update(self._paths.get(watch, ()))

    def close(self) -> None:
        """Stop watching."""
        os.close(self._descriptor)


def collect_and_watch(measured_config: bytes, models: Mapping[str, Path]) -> tuple[LocatedManifest, Watch]:
    """Return this process's manifest and a watch that lay on every file before it was hashed for the last time.

    What was loaded must be what is hashed, so a file that was changed or put in its place after this process began is
    a `ConfigError`. So is one that changes between the first hash and the watch: all are hashed again under it.
    """
    first = collect(measured_config, models)
    watch = Watch(first.files)
    try:
        _refuse_younger(first.files, process_started() + START_SECONDS)
        manifest = collect(measured_config, models)
        differences = compare(first, manifest)
        if differences or manifest.files != first.files:
            raise ConfigError(f"files changed while they were measured: {'; '.join(differences)}")
    except BaseException:
        watch.close()
        raise
    return manifest, watch


def _refuse_younger(files: Iterable[Path], started: float) -> None:
    """Refuse files whose inode changed since then: writing, and renaming into place, both set its time."""
    younger = [path.name for path in files if path.stat().st_ctime > started]
    if younger:
        raise ConfigError(f"changed while the worker was starting, so start it again: {', '.join(younger[:5])}")


def _events(data: bytes) -> list[tuple[int, int]]:
    """Return watch and mask of each event in what one read gave."""
    events = []
    offset = 0
    while offset < len(data):
        watch, mask, _, length = EVENT.unpack_from(data, offset)
        events.append((watch, mask))
        offset += EVENT.size + length
    return events
