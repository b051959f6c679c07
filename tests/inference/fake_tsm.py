"""configfs-tsm without a kernel: entries, attributes and errors as Linux has them.

After drivers/virt/coco/guest/report.c and fs/configfs/file.c of Linux. The platform behind it is a function. What a
test makes go wrong is told beforehand: errors to come, and what another process does between two of our calls.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

SEV_GUEST: Final = "sev_guest"
TDX_GUEST: Final = "tdx_guest"
MAX_INBLOB: Final = 64  # TSM_REPORT_INBLOB_MAX
MAX_OUTBLOB: Final = 32_768  # TSM_REPORT_OUTBLOB_MAX as it was first
MAX_PRIVLEVEL: Final = 3

BINARY: Final = {"inblob": "w", "outblob": "r", "auxblob": "r"}
TEXT: Final = {"generation": "r", "provider": "r", "privlevel": "w", "privlevel_floor": "r"}
ONLY_SEV: Final = {"auxblob", "privlevel", "privlevel_floor"}

Platform = Callable[[bytes, int], tuple[bytes, bytes]]
"""Takes inblob and privlevel; returns outblob and auxblob."""


def fail(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@dataclass
class Entry:
    inblob: bytes = b""
    privlevel: int = 0
    write_generation: int = 0
    read_generation: int = 0
    blobs: tuple[bytes, bytes] | None = None

    def advance(self) -> None:
        """Count a write; the number is an unsigned long and may come round."""
        if self.write_generation == self.read_generation - 1:
            raise fail(errno.EBUSY)
        self.write_generation += 1


@dataclass
class FakeTsm:
    """A `TsmDirectory`."""

    platform: Platform
    provider: str | None = SEV_GUEST
    privlevel_floor: int = 0
    max_outblob: int = MAX_OUTBLOB
    errors: dict[str, list[int]] = field(default_factory=dict)
    """Errors to come, by "mkdir", "rmdir" or an attribute."""
    before: Callable[["FakeTsm", str, str], None] = lambda *_: None
    """What another process does before a call on an entry, which is named with the call's attribute."""
    entries: dict[str, Entry] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    calls: int = 0
    """How often the platform was asked."""

    def mkdir(self, entry: str) -> None:
        self._enter(entry, "mkdir")
        if self.provider is None:
            raise fail(errno.ENXIO)
        if entry in self.entries:
            raise fail(errno.EEXIST)
        self.entries[entry] = Entry()
        self.made.append(entry)

    def rmdir(self, entry: str) -> None:
        self._enter(entry, "rmdir")
        self._find(entry)
        del self.entries[entry]

    def write(self, entry: str, attribute: str, data: bytes) -> None:
        self._enter(entry, attribute)
        self.store(entry, attribute, data)

    def store(self, entry: str, attribute: str, data: bytes) -> None:
        """Write as whoever it may be."""
        found = self._find(entry)
        self._open(attribute, "w")
        if attribute == "privlevel":
            level = int(data)
            if not self.privlevel_floor <= level <= MAX_PRIVLEVEL:
                raise fail(errno.EINVAL)
            found.advance()
            found.privlevel = level
            return
        if len(data) > MAX_INBLOB:
            raise fail(errno.EFBIG)
        try:
            found.advance()
        except OSError:
            return  # it takes effect when the file is closed, where errors are ignored
        found.inblob = data

    def read(self, entry: str, attribute: str) -> bytes:
        self._enter(entry, attribute)
        found = self._find(entry)
        self._open(attribute, "r")
        if attribute == "generation":
            return b"%d\n" % found.write_generation
        if self.provider is None:
            raise fail(errno.ENXIO)
        if attribute == "provider":
            return f"{self.provider}\n".encode()
        if attribute == "privlevel_floor":
            return b"%d\n" % self.privlevel_floor
        blob = self._report(found)[0 if attribute == "outblob" else 1]
        if len(blob) > self.max_outblob:
            raise fail(errno.EFBIG)
        return blob

    def _report(self, entry: Entry) -> tuple[bytes, bytes]:
        if not entry.inblob:
            raise fail(errno.EINVAL)
        if entry.blobs is None or entry.read_generation != entry.write_generation:
            entry.blobs = None
            self.calls += 1
            if failures := self.errors.get("platform"):
                raise fail(failures.pop(0))
            entry.blobs = self.platform(entry.inblob, entry.privlevel)
            entry.read_generation = entry.write_generation
        return entry.blobs

    def _enter(self, entry: str, what: str) -> None:
        self.before(self, entry, what)
        if failures := self.errors.get(what):
            raise fail(failures.pop(0))

    def _find(self, entry: str) -> Entry:
        if entry not in self.entries:
            raise fail(errno.ENOENT)
        return self.entries[entry]

    def _open(self, attribute: str, mode: str) -> None:
        allowed = {**BINARY, **TEXT}.get(attribute)
        if allowed is None or (attribute in ONLY_SEV and self.provider == TDX_GUEST):
            raise fail(errno.ENOENT)
        if allowed != mode:
            raise fail(errno.EACCES)


def certificate_table(*certificates: tuple[str, bytes]) -> bytes:
    """Return the table of certificates, by GUID, as a host makes it."""
    offset = 24 * (len(certificates) + 1)
    entries, contents = b"", b""
    for guid, der in certificates:
        entries += UUID(guid).bytes + offset.to_bytes(4, "little") + len(der).to_bytes(4, "little")
        contents += der
        offset += len(der)
    return entries + bytes(24) + contents
