"""Finding numbers that Python keeps as objects: in a list, a tuple or a deque stand addresses, one after the other.

CPython gives small numbers one object each for good, and every larger one an object of its own. So all objects that are
such a number are found first, by their type and their size; then every row of addresses of them.
"""

import ctypes
from collections.abc import Callable, Collection, Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

Rows = dict[tuple[int, ...], str]
Pieces = Callable[[], Iterator[tuple[int, bytes]]]
Words64 = NDArray[np.uint64]

SAMPLE: Final = 12_345_678  # of one digit, as every number of a tokenizer is
OBJECT: Final = np.frombuffer(ctypes.string_at(id(SAMPLE), 32), dtype="<u8")  # references, type, size, digit
SIZE: Final = OBJECT[2]
DIGIT: Final = np.uint64(0xFFFFFFFF)
FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)


def rows_among(pid: int, pieces: Pieces, wanted: Collection[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return those of some rows of numbers that stand in the memory of a process which this interpreter runs."""
    numbers = np.array(sorted({number for row in wanted for number in row}), dtype=np.uint64)
    addresses, values = _objects(pid, pieces, numbers)
    if not len(addresses):
        return []
    by_length = {length: frozenset(rows) for length, rows in groupby(sorted(wanted, key=len), key=len)}
    found: list[tuple[int, ...]] = []
    for _, data in pieces():
        words = _words(data)
        places = np.flatnonzero((words >= addresses[0]) & (words <= addresses[-1]))
        nearest = np.searchsorted(addresses, words[places])
        there = addresses[nearest] == words[places]
        places, named = places[there], values[nearest[there]]
        for length, rows in by_length.items():
            found += _rows_in(places, named, length, rows)
    return found


def _objects(pid: int, pieces: Pieces, numbers: Words64) -> tuple[Words64, Words64]:
    """Return the addresses of all objects that are one of some numbers, in order, and which number each of them is."""
    kind = np.uint64(_type_in(pid))
    addresses: list[Words64] = []
    values: list[Words64] = []
    for start, data in pieces():
        words = _words(data)
        at = np.flatnonzero((words[1:-2] == kind) & (words[2:-1] == SIZE))
        value = words[at + 3] & DIGIT
        among = np.isin(value, numbers)
        addresses.append(np.uint64(start) + np.uint64(8) * at[among].astype(np.uint64))
        values.append(value[among])
    whole, which = np.unique(np.concatenate(addresses), return_index=True)  # pieces overlap
    return whole, np.concatenate(values)[which]


def _rows_in(
    places: NDArray[np.intp], named: Words64, length: int, rows: frozenset[tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """Return which of some rows stand where addresses follow one another."""
    if len(places) < length:
        return []
    starts = np.flatnonzero(places[length - 1 :] - places[: len(places) - length + 1] == length - 1)
    known = np.array([_mix(np.array(row, dtype=np.uint64).reshape(-1, 1))[0] for row in rows], dtype=np.uint64)
    likely = starts[np.isin(_mix(np.stack([named[starts + place] for place in range(length)])), known)]
    found = (tuple(map(int, named[start : start + length])) for start in likely)
    return [row for row in found if row in rows]


def _mix(columns: Words64) -> Words64:
    """Return a number for each row; `columns` has what stands first in all rows, then what stands second."""
    mixed = np.zeros(columns.shape[1], dtype=np.uint64)
    for column in columns:
        mixed = (mixed + column) * FACTOR
    return mixed


def _type_in(pid: int) -> int:
    """Return where the type of numbers stands in a process that runs this interpreter."""
    here = id(int)
    for start, end, offset, name in _mapped("self"):
        if start <= here < end:
            place, path = here - start + offset, name
            break
    else:
        raise AssertionError("the type of numbers stands in no file")
    for start, end, offset, other in _mapped(str(pid)):
        if other == path and offset <= place < offset + end - start:
            return start + place - offset
    raise AssertionError(f"process {pid} runs another interpreter")


def _mapped(process: str) -> Iterator[tuple[int, int, int, str]]:
    """Yield start, end, offset and path of what a process has mapped of files."""
    for line in Path(f"/proc/{process}/maps").read_text().splitlines():
        where, _, offset, _, _, *path = line.split(maxsplit=5)
        if path and path[0].startswith("/"):
            start, end = (int(address, 16) for address in where.split("-"))
            yield start, end, int(offset, 16), path[0]


def _words(data: bytes) -> Words64:
    return np.frombuffer(data, dtype="<u8", count=len(data) // 8)
