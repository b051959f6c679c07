"""What processes cost, by the kernel's own books: CPU time in nanoseconds, and memory.

The CPU clock of a process counts all its threads, also those that have ended, and is the sum that the kernel scales
utime and stime in `/proc/PID/stat` to; but it is exact, where those come in hundredths of a second.
"""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

CPUCLOCK_SCHED: Final = 2  # linux/posix-timers.h: which of a process's clocks; the process is in the bits above


def cpu_ns(pid: int) -> int:
    """Return the CPU time that a process has used; 0 where it has ended, which `engine.Books` then finds out."""
    try:
        return time.clock_gettime_ns((~pid << 3) | CPUCLOCK_SCHED)
    except OSError:
        return 0


def waited_ns(pid: int) -> int:
    """Return how long a process's first thread was ready to run while something else did (proc(5), schedstat)."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1])
    except (OSError, IndexError):
        return 0


def children() -> dict[int, list[int]]:
    """Return the processes that each process has started and that have not ended."""
    found: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            found.setdefault(_parent(int(entry.name)), []).append(int(entry.name))
    return found


def family(pid: int, tree: Mapping[int, Sequence[int]] | None = None) -> list[int]:
    """Return a process and all that descend from it, by `children()` of this moment or of the one given."""
    tree = children() if tree is None else tree
    found = [pid]
    for each in found:  # grows while it is read
        found.extend(tree.get(each, ()))
    return found


def family_cpu_ns(pids: Iterable[int]) -> int:
    """Return the CPU time of several processes."""
    return sum(cpu_ns(pid) for pid in pids)


def resident_bytes(pid: int) -> int:
    """Return the memory that a process holds (proc(5), statm)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def pin(pid: int, cores: Iterable[int]) -> None:
    """Keep every thread of a process, and those they start, on some cores."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), cores)


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # ended since it was listed
        return 0
