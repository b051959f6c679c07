"""How far long work is, on standard error: one line on a terminal, each subject once elsewhere."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

MEGABYTE: Final = 1_000_000
POLL_SECONDS: Final = 0.2  # between two looks at how far it is; five a second look smooth
CLEAR: Final = "\r\x1b[K"  # back to the start of the line, and nothing left on it

Report = Callable[[str], None]
"""Shows one line of progress; the line replaces the one before it where that is possible."""


class Progress(AbstractContextManager["Progress"]):
    """Shows the latest line on a terminal, and each subject once elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._subject = ""

    def __call__(self, line: str) -> None:
        """Show a line; what stands before its colon is its subject."""
        subject = line.partition(":")[0]
        if self._stream.isatty():
            self._stream.write(f"{CLEAR}{line}")
        elif subject != self._subject:
            self._stream.write(f"{subject}\n")
        self._subject = subject
        self._stream.flush()

    def __exit__(self, *exc: object) -> None:
        if self._subject and self._stream.isatty():
            self._stream.write(CLEAR)
            self._stream.flush()


def octets_below(folder: Path) -> int:
    """Return how much the files of a folder hold, while somebody else writes, moves and removes them."""
    size = 0
    for place, _, names in os.walk(folder):  # which passes over folders that are gone, as rglob does not
        for name in names:
            with suppress(OSError):
                size += os.stat(os.path.join(place, name)).st_size
    return size


@contextmanager
def growing(report: Report, subject: str, folder: Path) -> Iterator[None]:
    """Report how much has been written to a folder, from a thread of its own, while something writes there."""
    ended, before = threading.Event(), octets_below(folder)

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            report(f"{subject}: {(octets_below(folder) - before) / MEGABYTE:.0f} MB written")

    report(f"{subject}: 0 MB written")
    watcher = threading.Thread(target=watch, name="progress")
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
