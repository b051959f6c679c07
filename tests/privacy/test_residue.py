"""What is left of people's words once they were answered: nothing in any process, log or file.

Every kind of request goes through a stack of real processes with the real model. What is looked for was drawn before,
and what the processes had then is a coincidence.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Final

import pytest

from deploy.stack import Stack
from inference.scrub import SWEEP_SECONDS
from tests.privacy.canaries import KINDS, Canary, ask_all, draw
from tests.privacy.residue import Needles, forget_what_is_there, residue

SETTLED_SECONDS: Final = SWEEP_SECONDS + 0.5  # after the last answer: a sweep, on machines that are busy
MAX_SEARCHED: Final = 1 << 26  # octets; larger files that are written to meanwhile are other programs'
CHANCE: Final = 3  # runs that a large file of another program may have; a word has five and more in any form
ROUNDS: Final = 5


@asynccontextmanager
async def asked(folder: Path, model: Path, workers: int, count: int) -> AsyncIterator[tuple[Stack, Needles]]:
    """Run a stack that has answered `count` requests, for the length of a block."""
    stack = Stack(folder, workers, model)
    await stack.start()
    try:
        yield stack, await ask(stack, model, count)
    finally:
        await stack.stop()


async def ask(stack: Stack, model: Path, count: int) -> Needles:
    canaries, needles = draw(count, KINDS, model)
    for pid in pids(stack).values():
        await asyncio.to_thread(forget_what_is_there, pid, needles)
    assert stack.trust is not None
    workers = [party.listen for name, party in stack.parties.items() if name.startswith("worker")]
    assert set(await ask_all(stack.trust, workers, canaries)) == set(KINDS)
    await asyncio.sleep(SETTLED_SECONDS)
    return needles


def pids(stack: Stack) -> dict[str, int]:
    return {name: party.process.pid for name, party in stack.parties.items() if party.process is not None}


async def left(stack: Stack, needles: Needles) -> dict[str, Mapping[str, int]]:
    """Return what is left in each process, by its form."""
    found = {name: await asyncio.to_thread(residue, pid, needles) for name, pid in pids(stack).items()}
    return {name: counts for name, counts in found.items() if counts}


def written(places: Iterable[Path], needles: Needles, since: float) -> dict[Path, Counter[str]]:
    """Return what is left in the files that were written since then, whoever wrote them."""
    found = {}
    # Other programs' folders go while this looks, which os.walk() does not mind.
    walked = (Path(folder, name) for place in places for folder, _, names in os.walk(place) for name in names)
    for path in set(walked):
        try:
            state = path.stat()
            if path.is_file() and state.st_mtime >= since - 1 and state.st_size < MAX_SEARCHED:
                found[path] = needles.find(path.read_bytes())
        except OSError:  # another program's, and gone
            continue
    return {path: counts for path, counts in found.items() if counts.total() > CHANCE}


def places(stack: Stack) -> list[Path]:
    """Where the parties write, and where programs leave files."""
    return [stack.state, Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/dev/shm")]


@pytest.mark.skipif(os.geteuid() != 0, reason="a locked worker's memory is read with CAP_SYS_PTRACE alone")
async def test_nothing_of_any_request_is_left(tmp_path: Path, model: Path) -> None:
    began = time.time()
    async with asked(tmp_path / "state", model, 1, 60) as (stack, needles):
        assert await left(stack, needles) == {}
        assert written(places(stack), needles, began) == {}


@pytest.mark.drill
@pytest.mark.timeout(600)
@pytest.mark.skipif(os.geteuid() != 0, reason="a locked worker's memory is read with CAP_SYS_PTRACE alone")
async def test_nothing_of_five_times_three_hundred_requests_is_left(tmp_path: Path, model: Path) -> None:
    began = time.time()
    async with asked(tmp_path / "state", model, 2, 300) as (stack, needles):
        for number in range(ROUNDS):
            found = await left(stack, needles)
            print(f"drill residue: round {number}, 300 requests: {found or 'nothing left'}")
            assert found == {}
            assert written(places(stack), needles, began) == {}
            if number + 1 < ROUNDS:
                needles = await ask(stack, model, 300)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-32-le"])
@pytest.mark.parametrize("number", range(4))
def test_what_a_process_holds_is_found(model: Path, encoding: str, number: int) -> None:
    canary = Canary.draw("held", number)
    needles = Needles()
    needles.add_text(canary.kind, canary.words[0])
    code = f"import sys; words = sys.stdin.readline().strip().encode({encoding!r}); print(flush=True); sys.stdin.read()"
    with Popen(
        [sys.executable, "-X", "utf8", "-c", code], stdin=PIPE, stdout=PIPE, text=True, encoding="utf-8"
    ) as held:
        assert held.stdin is not None
        assert held.stdout is not None
        assert not residue(held.pid, needles)
        held.stdin.write(canary.words[0] + "\n")
        held.stdin.flush()
        held.stdout.readline()
        runs = residue(held.pid, needles)
        held.stdin.close()
    assert any(encoding.replace("utf-32-le", "ucs-4").removesuffix("-le") in form for form in runs)


def test_every_run_of_eight_octets_is_found_wherever_it_begins() -> None:
    needles = Needles()
    needles.add_text("text", "wqxzfphjkbd")
    for start in range(4):
        run = b"wqxzfphjkbd"[start : start + 8]
        for offset in range(17):
            assert needles.find(bytes(offset) + run + bytes(9)).total() == 1
            assert needles.find(bytes(offset) + run[:7] + bytes(9)).total() == 0


def test_three_numbers_in_a_row_are_found_and_two_are_not() -> None:
    needles = Needles()
    needles.add_ids("ids", [4321, 8765, 23456, 11111])
    for octets in (4, 8):
        row = b"".join(number.to_bytes(octets, "little") for number in (8765, 23456, 11111))
        assert needles.find(bytes(24) + row + bytes(24)).total() == 1
        assert needles.find(bytes(24) + row[:-octets] + bytes(24)).total() == 0


def test_what_was_there_before_is_no_find() -> None:
    needles = Needles()
    needles.add_text("text", "wqxzfphjkbd")
    needles.forget(b" wqxzfphj ")
    assert needles.find(b"wqxzfphjkbd").total() == 3
    assert needles.find(b"wqxzfphj ").total() == 0
