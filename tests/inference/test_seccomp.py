"""The filter as a program: what it answers to every call, on both machines, by an interpreter of its own few orders."""

import re
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from inference.seccomp import (
    ALLOW,
    INSTRUCTION,
    KILL,
    LONG,
    MACHINES,
    REFUSE,
    Check,
    Rule,
    allowed,
    assemble,
)
from seclude.errors import UsageError

PROCESS = 4711
OLD, NEW = (3, 11), (3, 12)
LAST = 1024  # no machine has a number of a call beyond
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
ZEROS = (0, 0, 0, 0, 0, 0)
READ, WRITE, EXEC = 1, 2, 4
SHARED, PRIVATE, FIXED, ANONYMOUS, NORESERVE = 0x1, 0x2, 0x10, 0x20, 0x4000
MINUS_ONE = LONG  # as an int in a register


def run(program: bytes, number: int, arguments: Sequence[int] = ZEROS, audit: int = MACHINES["x86_64"].audit) -> int:
    """Answer one call as the kernel would (<linux/filter.h>)."""
    call = struct.pack("=IIQ6Q", number, audit, 0, *arguments)
    orders = list(INSTRUCTION.iter_unpack(program))
    place, held = 0, 0
    while True:
        code, true, false, operand = orders[place]
        place += 1
        match code:
            case 0x20:
                (held,) = struct.unpack_from("=I", call, operand)
            case 0x54:
                held &= operand
            case 0x15:
                place += true if held == operand else false
            case 0x06:
                return int(operand)
            case _:
                raise AssertionError(f"the kernel's orders have more than this, but the filter has not: {code:#x}")


@pytest.fixture(params=sorted(MACHINES))
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def answer(machine: str, call: str, *arguments: int, python: tuple[int, int] = OLD) -> int:
    described = MACHINES[machine]
    given = (*arguments, *ZEROS)[:6]
    return run(assemble(described, allowed(PROCESS, python)), described.numbers[call], given, described.audit)


def test_the_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip(f"no {HEADERS[machine]}: install linux-libc-dev")
    found = dict(re.findall(r"^#define __NR(?:3264)?_(\w+) (\d+)$", HEADERS[machine].read_text(), re.MULTILINE))
    assert {call: int(found[call]) for call in MACHINES[machine].numbers} == MACHINES[machine].numbers


def test_every_number_that_is_not_listed_is_refused(machine: str) -> None:
    described = MACHINES[machine]
    program = assemble(described, allowed(PROCESS, NEW))
    listed = set(described.numbers.values())
    answers = {number: run(program, number, ZEROS, described.audit) for number in range(LAST)}
    assert {number for number, given in answers.items() if given == ALLOW} < listed
    assert set(answers.values()) == {ALLOW, REFUSE}


def test_every_listed_number_has_a_rule_and_every_rule_a_number() -> None:
    ruled = {rule.call for rule in allowed(PROCESS, NEW)}
    assert set(MACHINES["x86_64"].numbers) == ruled
    assert set(MACHINES["aarch64"].numbers) == ruled - {"epoll_wait"}  # which is epoll_pwait there


def test_the_numbers_of_x32_are_refused() -> None:
    program = assemble(MACHINES["x86_64"], allowed(PROCESS, OLD))
    for number in range(LAST):
        assert run(program, 0x4000_0000 | number) == REFUSE
    assert run(program, 0xFFFF_FFFF) == REFUSE


@pytest.mark.parametrize("other", [0x4000_0003, 0x4000_0028, 0], ids=["i386", "arm", "none"])
def test_calls_of_another_machine_end_the_process(machine: str, other: int) -> None:
    program = assemble(MACHINES[machine], allowed(PROCESS, OLD))
    assert all(run(program, number, ZEROS, other) == KILL for number in range(LAST))


def test_each_machine_takes_the_other_for_another() -> None:
    x86, arm = MACHINES["x86_64"], MACHINES["aarch64"]
    assert run(assemble(x86, allowed(PROCESS, OLD)), x86.numbers["read"], ZEROS, arm.audit) == KILL
    assert run(assemble(arm, allowed(PROCESS, OLD)), arm.numbers["read"], ZEROS, x86.audit) == KILL


@pytest.mark.parametrize(
    ("protection", "flags", "expected"),
    [
        (READ | WRITE, PRIVATE | ANONYMOUS, ALLOW),
        (0, PRIVATE | ANONYMOUS | NORESERVE, ALLOW),  # what malloc reserves for a thread
        (READ | EXEC, PRIVATE | ANONYMOUS, REFUSE),
        (EXEC, PRIVATE | ANONYMOUS, REFUSE),
        (READ | 1 << 40, PRIVATE | ANONYMOUS, REFUSE),
        (READ, PRIVATE, REFUSE),  # a file
        (READ, SHARED, REFUSE),
        (READ | WRITE, SHARED | ANONYMOUS, REFUSE),
        (READ | WRITE, SHARED | PRIVATE | ANONYMOUS, REFUSE),  # MAP_SHARED_VALIDATE
        (READ | WRITE, PRIVATE | FIXED | ANONYMOUS, ALLOW),
    ],
)
def test_only_private_memory_without_code_is_mapped(machine: str, protection: int, flags: int, expected: int) -> None:
    assert answer(machine, "mmap", 0, 4096, protection, flags, MINUS_ONE, 0) == expected


@pytest.mark.parametrize(
    ("protection", "expected"),
    [(0, ALLOW), (READ, ALLOW), (READ | WRITE, ALLOW), (EXEC, REFUSE), (READ | EXEC, REFUSE), (7, REFUSE)],
)
def test_nothing_becomes_executable(machine: str, protection: int, expected: int) -> None:
    assert answer(machine, "mprotect", 4096, 4096, protection) == expected


@pytest.mark.parametrize("address", [1, 1 << 31, 1 << 32, 0x7FFF_0000_0000])
def test_what_is_sent_goes_to_no_address(machine: str, address: int) -> None:
    assert answer(machine, "sendto", 5, 4096, 10, 0, 0, 0) == ALLOW
    assert answer(machine, "sendto", 5, 4096, 10, 0, address, 16) == REFUSE
    assert answer(machine, "sendto", 5, 4096, 10, 0, address, 0) == REFUSE
    assert answer(machine, "sendto", 5, 4096, 10, 0, 0, 16) == REFUSE


@pytest.mark.parametrize(
    ("call", "arguments", "others"),
    [
        ("ioctl", (5, 0x5421), [(5, 0x5412), (5, 0x8912), (5, 0x5401)]),
        ("setsockopt", (5, 1, 13), [(5, 1, 26), (5, 1, 25), (5, 6, 13), (5, 0, 1), (5, 6, 31)]),
        ("setsockopt", (5, 6, 1), [(5, 1, 1), (5, 6, 19)]),
        ("tgkill", (PROCESS, 1, 6), [(1, 1, 6), (PROCESS, 1, 9), (PROCESS, 1, 0), (0, 0, 6), (MINUS_ONE, 1, 6)]),
        ("setpriority", (0, 9, 10), [(0, 9, 0), (1, 9, 10), (2, 0, 10), (0, 9, MINUS_ONE)]),
        ("madvise", (4096, 4096, 4), [(4096, 4096, advice) for advice in (9, 10, 11, 12, 13, 16, 17, 100, 101)]),
    ],
)
def test_a_call_is_allowed_for_one_use_only(
    machine: str, call: str, arguments: tuple[int, ...], others: list[tuple[int, ...]]
) -> None:
    assert answer(machine, call, *arguments) == ALLOW
    for other in others:
        assert answer(machine, call, *other) == REFUSE, other


def test_of_an_int_the_other_half_of_the_register_counts_for_nothing(machine: str) -> None:
    """The kernel does not look at it either, so it can hide nothing."""
    assert answer(machine, "ioctl", 5, 0x5421 | 0xDEAD << 32) == ALLOW
    assert answer(machine, "tgkill", PROCESS | 0xDEAD << 32, 1, 6) == ALLOW


def test_messages_with_descriptors_are_for_a_python_that_writes_with_them(machine: str) -> None:
    assert answer(machine, "sendmsg", python=OLD) == REFUSE
    assert answer(machine, "sendmsg", python=NEW) == ALLOW
    assert answer(machine, "sendmsg", 3, 0, 0x20000000, python=NEW) == REFUSE, "MSG_FASTOPEN connects a shut listener"


def test_a_rule_for_a_call_that_the_machine_lacks_is_left_out(machine: str) -> None:
    assert assemble(MACHINES[machine], [Rule("no such call")]) == assemble(MACHINES[machine], [])


def test_one_of_several_rules_is_enough() -> None:
    described = MACHINES["x86_64"]
    program = assemble(described, [Rule("read", (Check(0, LONG, 1 << 40),)), Rule("read", (Check(1, 0xFF, 7),))])
    number = described.numbers["read"]
    assert run(program, number, (1 << 40, 0, 0, 0, 0, 0)) == ALLOW
    assert run(program, number, (5, 0x1107, 0, 0, 0, 0)) == ALLOW
    assert run(program, number, (1 << 41, 0x1100, 0, 0, 0, 0)) == REFUSE
    assert run(program, number, (1, 0, 0, 0, 0, 0)) == REFUSE


def test_more_checks_than_a_jump_reaches_are_a_bug_and_no_filter() -> None:
    with pytest.raises(UsageError, match="more checks"):
        assemble(MACHINES["x86_64"], [Rule("read", tuple(Check(0, LONG, value) for value in range(50)))])
