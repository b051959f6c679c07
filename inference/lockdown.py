"""Lockdown: from here on the worker serves what is connected to it, and can do nothing else with this machine.

A request that took the process over would find no file, no network, no other process and no way to run its own code:
what it can still reach is the connection it came by, and the requests that are there at the same time. In this order,
each on its own and each with its reason:

1. No dump: whatever ends the process, its memory goes to no file, and nobody without CAP_SYS_PTRACE can read it.
2. No mapping is writable and executable, since nothing below would keep code from being written there.
3. No privileges can be gained; what follows needs this.
4. Memory is locked, so that no word of a request is written to a disk's swap.
5. Landlock: this thread has no file, no TCP port, no abstract socket and no signal for others. A second lock, of
   other code in the kernel; threads that exist already are outside it, and it does not cover UDP.
6. seccomp: the allow-list of `seccomp`, on all threads at once. It refuses everything that Landlock refuses, so
   a kernel without Landlock is no reason to end.
7. What must be refused is tried.

A thread is made by a system call that is refused, and so is an import: everything must be there before. A limit on the
size of files is not set, as the log may be one; what cannot be opened cannot be written.
"""

import ctypes
import mmap
import os
import resource
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from inference.seccomp import INSTRUCTION, MACHINES, allowed, assemble
from seclude.errors import ConfigError

# <linux/prctl.h>, <linux/seccomp.h>, <asm/unistd.h>
PR_SET_DUMPABLE: Final = 4
PR_SET_NO_NEW_PRIVS: Final = 38
SECCOMP_SET_MODE_FILTER: Final = 1
SECCOMP_FILTER_FLAG_TSYNC: Final = 1
SYS_SECCOMP: Final = MappingProxyType({"x86_64": 317, "aarch64": 277})

# mlockall(2). What is mapped and was never touched need not be made: locked threads' stacks alone would be 8 MiB each.
MCL_CURRENT: Final = 1
MCL_FUTURE: Final = 2
MCL_ONFAULT: Final = 4
SPARE_OCTETS: Final = 1 << 30  # beyond what is mapped at the start; requests at work take an eighth of it
CAP_IPC_LOCK: Final = 14  # <linux/capability.h>

# <linux/landlock.h>; the numbers of its calls are the same on all machines. Which rights each ABI brought: landlock(7).
SYS_LANDLOCK_CREATE_RULESET: Final = 444
SYS_LANDLOCK_RESTRICT_SELF: Final = 446
LANDLOCK_CREATE_RULESET_VERSION: Final = 1
# From which ABI on there are how many, from bit 0 up: rights to files; to bind a TCP port and to connect to one; and
# scopes, which are abstract Unix sockets and signals.
RIGHTS: Final = (((1, 13), (2, 14), (3, 15), (5, 16)), ((4, 2),), ((6, 2),))
RULESET: Final = struct.Struct("=QQQ")  # files, ports, scopes; an older kernel accepts what it does not know if it is 0


@dataclass(frozen=True, slots=True)
class Locked:
    """What was put in place."""

    landlock_abi: int
    """The kernel's version of Landlock; 0 where it has none."""
    memory_locked_octets: int
    instructions: int
    """Of the filter."""


def lock_down(*, lock_memory: bool) -> Locked:
    """Lock this process down for good, all threads of it; raises ConfigError, after which it must end.

    To be called once, when everything is loaded, every thread runs and every socket listens.
    """
    machine = os.uname().machine
    if machine not in MACHINES:
        raise ConfigError(f"there is no lockdown for {machine}: run the worker on {' or '.join(MACHINES)}")
    program = assemble(MACHINES[machine], allowed(os.getpid(), sys.version_info[:2]))
    libc = ctypes.CDLL(None, use_errno=True)
    _refuse_dumps(libc)
    refuse_writable_code(Path("/proc/self/maps").read_text())
    _prctl(libc, PR_SET_NO_NEW_PRIVS, 1)
    if lock_memory:
        _lock_memory(libc)
    locked = _status("VmLck") << 10
    abi = restrict_by_landlock(libc)
    _filter(libc, SYS_SECCOMP[machine], program)
    _try_what_is_refused()
    return Locked(abi, locked, len(program) // INSTRUCTION.size)


def _refuse_dumps(libc: ctypes.CDLL) -> None:
    """Step 1. A limit of 0 does not stop a kernel that pipes its dumps to a program; an undumpable process does."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(libc, PR_SET_DUMPABLE, 0)


def refuse_writable_code(maps: str) -> None:
    """Step 2, with what /proc/self/maps says (proc(5))."""
    if any(rights[1:3] == "wx" for rights in (line.split()[1] for line in maps.splitlines())):
        raise ConfigError("memory of this process is writable and executable: a library made it so that must not")


def _lock_memory(libc: ctypes.CDLL) -> None:
    """Step 4. Where the limit would be reached later, an allocation would fail in the middle of a request."""
    done = libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0
    reason = os.strerror(ctypes.get_errno())
    if done:
        limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        done = is_enough(limit, _status("VmLck") << 10, _status("CapEff", 16))
        reason = "too little is left for requests"
    if not done:
        raise ConfigError(
            f"cannot lock memory ({reason}): set RLIMIT_MEMLOCK to unlimited (LimitMEMLOCK=infinity, "
            "--ulimit memlock=-1) or grant CAP_IPC_LOCK; where there is no swap, measured.lock_memory = false will do"
        )


def is_enough(limit: int, locked: int, capabilities: int) -> bool:
    """Say whether a process that has locked so much memory can lock what requests will take."""
    return limit == resource.RLIM_INFINITY or limit >= locked + SPARE_OCTETS or bool(capabilities >> CAP_IPC_LOCK & 1)


def restrict_by_landlock(libc: ctypes.CDLL) -> int:
    """Step 5: give this thread a ruleset without rules, and return the kernel's ABI; 0 where it has none."""
    version = ctypes.c_uint(LANDLOCK_CREATE_RULESET_VERSION)
    abi = int(libc.syscall(SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), version))
    if abi < 1:
        return 0
    handled = RULESET.pack(*rights(abi))
    size = ctypes.c_size_t(len(handled))
    ruleset = int(libc.syscall(SYS_LANDLOCK_CREATE_RULESET, handled, size, ctypes.c_uint(0)))
    if ruleset < 0:
        raise ConfigError(f"Landlock refuses a ruleset: {os.strerror(ctypes.get_errno())}")
    try:
        if libc.syscall(SYS_LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0)) != 0:
            raise ConfigError(f"Landlock does not restrict this thread: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(ruleset)
    return abi


def rights(abi: int) -> tuple[int, int, int]:
    """Return all rights to files, ports and beyond scopes that a kernel of this ABI knows, as far as we do."""
    counts = [max((count for since, count in table if since <= abi), default=0) for table in RIGHTS]
    files, ports, scopes = ((1 << count) - 1 for count in counts)
    return files, ports, scopes


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _filter(libc: ctypes.CDLL, number: int, program: bytes) -> None:
    """Step 6, on all threads or on none."""
    given = _Program(len(program) // INSTRUCTION.size, program)
    mode, flags = ctypes.c_uint(SECCOMP_SET_MODE_FILTER), ctypes.c_uint(SECCOMP_FILTER_FLAG_TSYNC)
    result = libc.syscall(number, mode, flags, ctypes.byref(given))
    if result < 0:
        raise ConfigError(f"this kernel takes no seccomp filter: {os.strerror(ctypes.get_errno())}")
    if result > 0:
        raise ConfigError("a thread of this process has a seccomp filter of its own")


def _try_what_is_refused() -> None:
    """Step 7: one call of each kind; some sandboxes accept a filter and do not heed it."""
    tries: dict[str, Callable[[], object]] = {
        "open a file": lambda: os.open("/dev/null", os.O_RDONLY),
        "make a socket": lambda: socket.socket(socket.AF_UNIX),
        "start a process": _fork,
        "map code": lambda: mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC),
    }
    for name, act in tries.items():
        try:
            act()
        except PermissionError:
            continue
        raise ConfigError(f"locked down, and still able to {name}: whatever this runs in does not heed seccomp(2)")


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    if libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero) != 0:
        raise ConfigError(f"prctl({option}) is refused: {os.strerror(ctypes.get_errno())}")


def _status(field: str, base: int = 10) -> int:
    """Return the first number of a field of /proc/self/status."""
    text = Path("/proc/self/status").read_text()
    return next(int(line.split()[1], base) for line in text.splitlines() if line.startswith(f"{field}:"))
