"""What a worker may still ask of the kernel, as a program for seccomp(2): rules in, octets out.

An allow-list: what is on it can be counted and read here, and a system call that is invented tomorrow is refused.
Numbers are those of the two machines that confidential VMs run on. Nothing here calls anything; `lockdown` does.

The kernel runs the program before each system call. Of an answer that rests on the number alone it keeps a table, so
those calls cost nothing; the few with checks cost some tens of nanoseconds.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from errno import EPERM
from types import MappingProxyType
from typing import Final

from inference.runner import NICENESS
from seclude.errors import UsageError

# <linux/bpf_common.h>: load a word of what is called, mask it, compare it, answer.
LOAD: Final = 0x20
AND: Final = 0x54
EQUAL: Final = 0x15
RETURN: Final = 0x06
INSTRUCTION: Final = struct.Struct("=HBBI")  # code, jump if true, jump if false, operand
MAX_JUMP: Final = 255

# <linux/seccomp.h>, struct seccomp_data and what may be answered. Both machines are little-endian.
NUMBER: Final = 0
MACHINE: Final = 4
ARGUMENTS: Final = 16
KILL: Final = 0x8000_0000
REFUSE: Final = 0x0005_0000 | EPERM  # an error rather than an end: Python raises, and a request gets its answer
ALLOW: Final = 0x7FFF_0000

INT: Final = 0xFFFF_FFFF  # of an int the kernel looks at this half only, and compilers leave anything in the other
LONG: Final = 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, slots=True)
class Check:
    """That an argument, of which `mask` keeps some bits, has this value."""

    argument: int
    mask: int
    value: int


@dataclass(frozen=True, slots=True)
class Rule:
    """A system call that is allowed if all its checks hold; one that has several rules needs one of them."""

    call: str
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """How one machine names itself to the program, and its numbers of system calls."""

    audit: int
    numbers: Mapping[str, int]


# <asm/unistd_64.h> and <asm-generic/unistd.h>. x86-64 also takes the numbers of x32, which have bit 30 set: as they
# equal none of these, they are refused.
_X86_64: Final = {
    "read": 0, "write": 1, "close": 3, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13,
    "rt_sigprocmask": 14, "rt_sigreturn": 15, "ioctl": 16, "sched_yield": 24, "madvise": 28, "getpid": 39,
    "sendto": 44, "recvfrom": 45, "sendmsg": 46, "shutdown": 48, "getsockname": 51, "getpeername": 52,
    "setsockopt": 54, "exit": 60, "gettimeofday": 96, "setpriority": 141, "gettid": 186, "futex": 202,
    "restart_syscall": 219, "clock_gettime": 228, "clock_nanosleep": 230, "exit_group": 231, "epoll_wait": 232,
    "epoll_ctl": 233, "tgkill": 234, "epoll_pwait": 281, "accept4": 288, "getrandom": 318,
}  # fmt: skip
_AARCH64: Final = {
    "epoll_ctl": 21, "epoll_pwait": 22, "ioctl": 29, "close": 57, "read": 63, "write": 64, "exit": 93,
    "exit_group": 94, "futex": 98, "clock_gettime": 113, "clock_nanosleep": 115, "sched_yield": 124,
    "restart_syscall": 128, "tgkill": 131, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139,
    "setpriority": 140, "gettimeofday": 169, "getpid": 172, "gettid": 178, "getsockname": 204, "getpeername": 205,
    "sendto": 206, "recvfrom": 207, "setsockopt": 208, "shutdown": 210, "sendmsg": 211, "brk": 214, "munmap": 215,
    "mmap": 222, "mprotect": 226, "madvise": 233, "accept4": 242, "getrandom": 278,
}  # fmt: skip
MACHINES: Final[Mapping[str, Machine]] = MappingProxyType(
    {"x86_64": Machine(0xC000_003E, _X86_64), "aarch64": Machine(0xC000_00B7, _AARCH64)}
)
"""By the name that uname(2) gives."""

# Each group with its reason; the rest of the kernel's calls, three hundred and more, have none.
WAITING: Final = ("futex", "epoll_wait", "epoll_pwait", "epoll_ctl", "clock_nanosleep", "sched_yield")
TIME: Final = ("clock_gettime", "gettimeofday")  # on machines whose clock cannot be read without the kernel
TRAFFIC: Final = ("recvfrom", "read", "write", "close", "shutdown")  # on what is open; nothing new can be opened, but:
CONNECTIONS: Final = ("accept4", "getsockname", "getpeername")  # those that come to the sockets that listen already
MEMORY: Final = ("munmap", "brk")
SIGNALS: Final = ("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "restart_syscall")  # SIGTERM, and a second one
OTHER: Final = ("getrandom", "getpid", "gettid")  # keys and nonces; OpenSSL asks whether it was forked
ENDING: Final = ("exit", "exit_group")

# <asm/mman.h>, <asm/ioctls.h>, <sys/socket.h>, <netinet/tcp.h>, <signal.h>
PROT_READ_WRITE: Final = 0x1 | 0x2
MAP_TYPE_ANONYMOUS: Final = 0x0F | 0x20
MAP_PRIVATE_ANONYMOUS: Final = 0x02 | 0x20
MADV_DONTNEED: Final = 4
MADV_FREE: Final = 8
MADV_HUGEPAGE: Final = 14
FIONBIO: Final = 0x5421
SOL_SOCKET: Final = 1
SO_LINGER: Final = 13
IPPROTO_TCP: Final = 6
TCP_NODELAY: Final = 1
SIGABRT: Final = 6
PRIO_PROCESS: Final = 0
SENDMSG_SINCE: Final = (3, 12)


def allowed(process: int, python: tuple[int, int]) -> tuple[Rule, ...]:
    """Return the rules for a process of this number, which this version of Python runs."""
    no_code = Check(2, LONG & ~PROT_READ_WRITE, 0)  # code that a payload brings along must never become executable
    rules = [
        *map(Rule, WAITING + TIME + TRAFFIC + CONNECTIONS + MEMORY + SIGNALS + OTHER + ENDING),
        # Without an address: MSG_FASTOPEN would connect to one, and a datagram goes to one.
        Rule("sendto", (Check(4, LONG, 0), Check(5, INT, 0))),
        # Of its own, and never of a file: what is open could be mapped shared, or read where reading is refused.
        Rule("mmap", (no_code, Check(3, MAP_TYPE_ANONYMOUS, MAP_PRIVATE_ANONYMOUS))),
        Rule("mprotect", (no_code,)),
        # Giving memory back, and asking for large pages. Other advice poisons pages or lets them into a core dump.
        *(Rule("madvise", (Check(2, INT, advice),)) for advice in (MADV_DONTNEED, MADV_FREE, MADV_HUGEPAGE)),
        # What asyncio sets on a connection, and what `inbound` sets on one that it drops. A filter or a path to a
        # device are options of sockets, too; and ioctl(2) reaches terminals and network interfaces.
        Rule("ioctl", (Check(1, INT, FIONBIO),)),
        Rule("setsockopt", (Check(1, INT, SOL_SOCKET), Check(2, INT, SO_LINGER))),
        Rule("setsockopt", (Check(1, INT, IPPROTO_TCP), Check(2, INT, TCP_NODELAY))),
        # abort(3) of its own process. Refused, it would end by an instruction that does not exist, and the supervisor
        # would be told of another signal. There is no other way to send one.
        Rule("tgkill", (Check(0, INT, process), Check(2, INT, SIGABRT))),
        # A thread of `runner` does this first, which may be after it was started and locked.
        Rule("setpriority", (Check(0, INT, PRIO_PROCESS), Check(2, INT, NICENESS))),
    ]
    if python >= SENDMSG_SINCE:
        # asyncio writes with it from then on. It can hand on what is open, which the other side could have been sent
        # octet by octet; recvmsg(2), by which a file could come in, stays refused. Without flags, or MSG_FASTOPEN would
        # connect a listener that was shut down. An address in it counts on a datagram socket only, and none is open.
        rules.append(Rule("sendmsg", (Check(2, INT, 0),)))
    return tuple(rules)


def assemble(machine: Machine, rules: Iterable[Rule]) -> bytes:
    """Return the program that allows what the rules allow, in their order, and refuses everything else.

    A rule for a call that this machine does not have is left out. A process that calls under the numbers of another
    machine, as 32-bit code can on x86-64, ends at once: no code of ours does.
    """
    by_call: dict[str, list[Rule]] = {}
    for rule in rules:
        if rule.call in machine.numbers:
            by_call.setdefault(rule.call, []).append(rule)
    program = [
        _pack(LOAD, MACHINE),
        _pack(EQUAL, machine.audit, true=1),
        _pack(RETURN, KILL),
        _pack(LOAD, NUMBER),
    ]
    for call, alternatives in by_call.items():
        body = [instruction for rule in alternatives for instruction in _alternative(rule)]
        if alternatives[-1].checks:
            body.append(_pack(RETURN, REFUSE))
        program += [_pack(EQUAL, machine.numbers[call], false=len(body)), *body]
    return b"".join([*program, _pack(RETURN, REFUSE)])


def _alternative(rule: Rule) -> list[bytes]:
    """Return what allows a call if the checks hold, and else goes on behind itself."""
    halves = []
    for check in rule.checks:
        for shift, place in ((0, 0), (32, 4)):
            mask, value = check.mask >> shift & INT, check.value >> shift & INT
            if mask:
                halves.append((ARGUMENTS + 8 * check.argument + place, mask, value))
    behind = 3 * len(halves)  # from the start to the answer; each half takes three instructions
    body: list[bytes] = []
    for place, mask, value in halves:
        body += [_pack(LOAD, place), _pack(AND, mask)]
        body.append(_pack(EQUAL, value, false=behind - len(body)))
    return [*body, _pack(RETURN, ALLOW)]


def _pack(code: int, operand: int, *, true: int = 0, false: int = 0) -> bytes:
    if max(true, false) > MAX_JUMP:
        raise UsageError("a call has more checks than one jump of the filter reaches over")
    return INSTRUCTION.pack(code, true, false, operand)
