"""Finding what is left of people's words in the memory of a process: every run of eight octets, in every form.

A text may stand in memory as UTF-8 or Latin-1, as two or four octets a character, as the numbers that a tokenizer made
of it, side by side or as Python's objects (`objects`), or as what a model computed from it. Each form is cut into all
its runs, and every octet of the memory is looked at as the start of one. A run that was there before anybody had asked
anything is a coincidence, and is taken out.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from tests.privacy.objects import Rows, rows_among

Words64 = NDArray[np.uint64]

RUN: Final = 8  # octets
WIDE_RUN: Final = 16  # octets of common letters with one zero each, or three: a few of them stand in many tables
IDS: Final = 3  # numbers of a tokenizer in a row, for the same reason
SMALL_IDS: Final = 4  # of one with a few hundred words, whose numbers are those of octets
WIDTHS: Final = (RUN, 4 * IDS, WIDE_RUN, 8 * IDS, 8 * SMALL_IDS)
TABLE_BITS: Final = 22  # of a table that says no to nearly every octet; it fits in a cache
FACTORS: Final = tuple(
    np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)
)
LOW_HALF: Final = np.uint64(0xFFFFFFFF)
UNREADABLE: Final = ("[vvar]", "[vvar_vclock]", "[vsyscall]")  # through /proc/PID/mem
PAGE: Final = 1 << 12
BLANK_STEP: Final = 61
PIECE: Final = 1 << 24  # octets read at a time
PAGES: Final = 1 << 16  # octets read at a time where some of a piece have gone


def mix(words: Words64, width: int) -> Words64:
    """Return a number for the run of `width` octets that begins at each of the words."""
    if width == RUN:
        return words
    count = -(-width // 8)
    starts = len(words) - count + 1
    parts = [words[place : place + starts] for place in range(count)]
    if width % 8:
        parts[-1] = parts[-1] & LOW_HALF
    return cast(Words64, sum(part * factor for part, factor in zip(parts, FACTORS, strict=False)))


class Needles:
    """What must not be found, by whose it is and in which form."""

    def __init__(self) -> None:
        self._labels: dict[int, dict[int, str]] = {width: {} for width in WIDTHS}
        self._tables: dict[int, tuple[NDArray[np.bool_], Words64]] = {}
        self._rows: Rows = {}

    @property
    def rows(self) -> Mapping[tuple[int, ...], str]:
        """The numbers of a tokenizer that must not stand in a row as objects, and whose they are."""
        return self._rows

    def add_text(self, label: str, text: str) -> None:
        """Look for a text in every form in which a string may be kept."""
        self._add(f"{label}, utf-8", text.encode(), RUN)
        if not text.isascii() and max(text) < "\u0100":
            self._add(f"{label}, latin-1", text.encode("latin-1"), RUN)
        self._add(f"{label}, utf-16", text.encode("utf-16-le"), RUN if min(text) > "\u00ff" else WIDE_RUN)
        self._add(f"{label}, ucs-4", text.encode("utf-32-le"), RUN if min(text) > "\uffff" else WIDE_RUN)

    def add_ids(self, label: str, ids: Iterable[int], count: int = IDS) -> None:
        """Look for `count` numbers of a tokenizer in a row: of 64 and of 32 bits, and as objects."""
        row = list(ids)
        for start in range(len(row) - count + 1):
            some = row[start : start + count]
            for kind in ("<i8", "<i4"):
                data = np.array(some, dtype=kind).tobytes()
                self._add(f"{label}, ids {kind}", data, len(data))
            self._rows[tuple(some)] = f"{label}, ids as objects"

    def add_floats(self, label: str, values: NDArray[np.float32]) -> None:
        """Look for four numbers of 32 bits in a row, of each of some vectors."""
        for vector in values.reshape(-1, values.shape[-1]):
            self._add(f"{label}, floats", vector.astype("<f4").tobytes(), WIDE_RUN, step=4)

    def find(self, data: bytes) -> Counter[str]:
        """Return how many runs of which form stand in some memory."""
        return Counter(self._labels[width][each] for width, each in self._found(data))

    def forget(self, data: bytes) -> None:
        """Take out what stands in this memory, where it cannot have come from a request."""
        for width, each in list(self._found(data)):
            if self._labels[width].pop(each, None):
                self._tables.pop(width, None)

    def forget_rows(self, rows: Iterable[tuple[int, ...]]) -> None:
        """Take out numbers that stand somewhere as objects."""
        for row in rows:
            self._rows.pop(row, None)

    def _add(self, label: str, data: bytes, width: int, step: int = 1) -> None:
        for start in range(0, len(data) - width + 1, step):
            run = data[start : start + width].ljust(-(-width // 8) * 8, b"\0")
            self._labels[width][int(mix(np.frombuffer(run, dtype="<u8"), width)[0])] = label
        self._tables.pop(width, None)

    def _found(self, data: bytes) -> Iterator[tuple[int, int]]:
        data = _without_blanks(data).ljust(max(WIDTHS), b"\0")
        for offset in range(8):
            words = np.frombuffer(data, dtype="<u8", count=(len(data) - offset) // 8, offset=offset)
            for width, labels in self._labels.items():
                if labels and (width == RUN or offset % 4 == 0):  # what is wider has elements of four or eight octets
                    yield from ((width, int(each)) for each in self._matches(mix(words, width), width))

    def _matches(self, mixed: Words64, width: int) -> Words64:
        if width not in self._tables:
            known = np.array(sorted(self._labels[width]), dtype=np.uint64)
            table = np.zeros(1 << TABLE_BITS, dtype=np.bool_)
            table[_slot(known)] = True
            self._tables[width] = table, known
        table, known = self._tables[width]
        likely = mixed[table[_slot(mixed)]]
        place = np.minimum(np.searchsorted(known, likely), len(known) - 1)
        return cast(Words64, likely[known[place] == likely])


def _slot(mixed: Words64) -> Words64:
    return cast(Words64, (mixed * FACTORS[0]) >> np.uint64(64 - TABLE_BITS))


def _without_blanks(data: bytes) -> bytes:
    """Leave out pages that hold one octet over and over; a run that reaches into one would show there."""
    whole = len(data) // PAGE * PAGE
    pages = np.frombuffer(data, dtype=np.uint8, count=whole).reshape(-1, PAGE)
    blank = (pages[:, ::BLANK_STEP] == pages[:, :1]).all(axis=1)  # most that are not blank are known by a few octets
    blank[blank] = (pages[blank] == pages[blank, :1]).all(axis=1)
    return bytes(pages[~blank].tobytes()) + data[whole:]


def memory_of(pid: int) -> Iterator[bytes]:
    """Yield all that a process has written or may write, in pieces that overlap."""
    return (data for _, data in pieces_of(pid))


def pieces_of(pid: int) -> Iterator[tuple[int, bytes]]:
    """Yield the same with the address of each piece."""
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            where, access, _, _, inode, *name = line.split(maxsplit=5)
            if "r" not in access or (name and name[0].strip() in UNREADABLE):
                continue
            if inode != "0" and "w" not in access and "s" not in access:  # the file itself
                continue
            start, end = (int(address, 16) for address in where.split("-"))
            for at in range(start, end, PIECE):
                stop = min(at + PIECE + max(WIDTHS), end)
                try:
                    yield at, _read(memory.fileno(), at, stop)
                except OSError:  # it was given back since it was listed, or a part of it
                    for page in range(at, stop, PAGES):
                        with contextlib.suppress(OSError):
                            yield page, _read(memory.fileno(), page, min(page + PAGES + max(WIDTHS), stop))


def _read(descriptor: int, start: int, end: int) -> bytes:
    return os.pread(descriptor, end - start, start)


def residue(pid: int, needles: Needles) -> Counter[str]:
    """Return how many runs of which form are left in a process."""
    found = sum((needles.find(data) for data in memory_of(pid)), Counter[str]())
    if needles.rows:
        found.update(needles.rows[row] for row in rows_among(pid, lambda: pieces_of(pid), needles.rows))
    return found


def forget_what_is_there(pid: int, needles: Needles) -> int:
    """Take out of the needles what a process has before it is asked anything; return how much was read."""
    read = 0
    for data in memory_of(pid):
        needles.forget(data)
        read += len(data)
    if needles.rows:
        needles.forget_rows(rows_among(pid, lambda: pieces_of(pid), needles.rows))
    return read
