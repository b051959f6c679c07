"""A ledger that is killed under load, or whose disk or folder is not what it should be: the real process."""

import asyncio
import os
import random
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger.files import LOCK
from seclude.tlog.checkpoint import Checkpoint
from seclude.tlog.cosigned import open_signed
from seclude.tlog.merkle import consistency_proof, verify_consistency
from tests.ledger.ledger_rig import LedgerFolder, Witnesses, write_entries

WRITERS = 8


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerFolder]:
    folder = LedgerFolder(tmp_path)
    yield folder
    folder.stop(kill=True)


async def load_until_killed(ledger: LedgerFolder, life: int, seconds: float, acknowledged: dict[bytes, int]) -> None:
    """Submit from several writers until the process is killed, which happens somewhere in a batch."""

    def entry(writer: int, number: int) -> bytes:
        return b"life %d writer %d number %d" % (life, writer, number)

    async def kill() -> None:
        await asyncio.sleep(seconds)
        ledger.stop(kill=True)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write_entries(ledger, WRITERS, entry, acknowledged))
        tasks.create_task(kill())


def check(ledger: LedgerFolder, acknowledged: dict[bytes, int], seen: list[Checkpoint]) -> None:
    """Compare what the restarted ledger has and shows with everything that it ever signed or said."""
    shown, head = ledger.checkpoint(), ledger.head()
    assert all(index < shown.size for index in acknowledged.values()), "an answer is given under a published checkpoint"
    entries = ledger.entries(head.size)
    for entry, index in acknowledged.items():
        assert entries[index] == entry
    reader = ledger.reader(head.size)
    for before in (*seen, shown):
        assert before.size <= head.size
        proof = consistency_proof(before.size, head.size, reader.node)
        verify_consistency(before.size, before.root, head.size, head.root, proof)
    seen += [shown, head]


async def kill_again_and_again(ledger: LedgerFolder, times: int, longest: float) -> tuple[int, int]:
    """Return how many entries were acknowledged, and how many stand in the log."""
    chance = random.Random(20261126)
    acknowledged: dict[bytes, int] = {}
    seen: list[Checkpoint] = []
    for life in range(times):
        await asyncio.to_thread(ledger.start)
        await load_until_killed(ledger, life, chance.uniform(0, longest), acknowledged)
        seen.append(ledger.head())  # it was signed, whether or not anybody was told of it
        await asyncio.to_thread(ledger.start)
        await asyncio.to_thread(check, ledger, acknowledged, seen)
        ledger.stop(kill=chance.random() < 0.5)
        del seen[:-6]  # what is consistent with the last ones is so with all before them
    return len(acknowledged), seen[-1].size


@pytest.mark.timeout(60)
async def test_everything_acknowledged_survives_being_killed(ledger: LedgerFolder) -> None:
    acknowledged, size = await kill_again_and_again(ledger, 3, 0.3)
    assert 0 < acknowledged <= size


@pytest.mark.drill
@pytest.mark.timeout(1800)
async def test_everything_acknowledged_survives_three_hundred_kills(
    ledger: LedgerFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    acknowledged, size = await kill_again_and_again(ledger, 300, 0.6)
    with capsys.disabled():
        print(f"\n300 kills by SIGKILL: {acknowledged} entries acknowledged, {size} in the log, none lost or moved")


@pytest.mark.drill
@pytest.mark.timeout(600)
async def test_kills_with_witnesses_lose_nothing_either(ledger: LedgerFolder) -> None:
    """What was acknowledged is cosigned, and no witness ever sees the log go back."""
    witnesses = Witnesses(ledger.folder, ledger.key, 3, 2)
    ledger.policy.write_text(witnesses.policy())
    try:
        acknowledged, size = await kill_again_and_again(ledger, 30, 0.6)
    finally:
        witnesses.stop()
    assert 0 < acknowledged <= size


# Disks and folders.


def acknowledged_until_refused(ledger: LedgerFolder, octets: int) -> int:
    """Submit until the ledger says that it cannot, and return how many entries it acknowledged before."""
    for number in range(1000):
        answer = ledger.add(bytes(octets))
        if answer.status != 200:
            assert answer.status == 503
            assert b"the disk does not take the entry" in answer.body
            return number
    raise AssertionError("the disk was never full")


def limit_files() -> None:
    """Let no file of the process grow beyond 40 KiB, as a quota would."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (40 << 10, 40 << 10))


def test_a_full_disk_signs_nothing_that_is_not_stored(ledger: LedgerFolder) -> None:
    ledger.start(before=limit_files)
    count = acknowledged_until_refused(ledger, 10_000)
    assert count == 4
    assert ledger.checkpoint().size == ledger.head().size == count
    ready = ledger.ask("GET", "/readyz", admin=True)
    assert ready.status == 503
    assert b"the disk does not take entries: File too large" in ready.body
    assert ledger.add(b"small").status == 200, "there is room for this one"
    assert ledger.ask("GET", "/readyz", admin=True).status == 200
    ledger.stop()
    ledger.start()
    assert ledger.add(bytes(10_000)).status == 200
    assert [len(entry) for entry in ledger.entries(6)] == [10_000] * 4 + [5, 10_000]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own, which a test may fill or make read-only."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", folder], capture_output=True)
    if done.returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@needs_root
def test_a_file_system_without_room_signs_nothing_that_is_not_stored(mounted: Path) -> None:
    ledger = LedgerFolder(mounted)
    ledger.errors = mounted.parent / "errors"
    ledger.start()
    try:
        count = acknowledged_until_refused(ledger, 20_000)
        assert 0 < count < 30
        assert ledger.checkpoint().size == ledger.head().size == count
        for _ in range(5):
            assert ledger.add(bytes(20_000)).status == 503
        assert ledger.entries(count) == [bytes(20_000)] * count
        ledger.stop()
        ledger.start()
        assert ledger.checkpoint().size == count
    finally:
        ledger.stop()


@needs_root
def test_a_disk_that_becomes_read_only_signs_nothing(mounted: Path) -> None:
    ledger = LedgerFolder(mounted)
    ledger.errors = mounted.parent / "errors"
    ledger.start()
    try:
        assert ledger.add(b"one").status == 200
        subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
        answer = ledger.add(b"two")
        assert (answer.status, ledger.checkpoint().size) == (503, 1)
        assert b"Read-only file system" in ledger.ask("GET", "/readyz", admin=True).body
        ledger.stop()
        ledger.start()
        assert (ledger.head().size, ledger.checkpoint().size) == (1, 1), "what it has is served"
        deadline = time.monotonic() + 20  # it first asks its witnesses, and then tries to write
        while b"Read-only file system" not in ledger.ask("GET", "/readyz", admin=True).body:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        ledger.stop()


def test_a_second_process_is_refused(ledger: LedgerFolder) -> None:
    ledger.start()
    assert "another process keeps it" in ledger.refuse()
    assert ledger.add(b"one").status == 200
    ledger.stop(kill=True)
    assert (ledger.data / LOCK).exists()
    ledger.start()
    assert ledger.checkpoint().size == 1, "a lock file that a killed process left locks nobody out"


def test_a_copy_of_the_data_beside_the_same_anchors_is_refused(ledger: LedgerFolder) -> None:
    """It would pass for the newest one until one of the two signs."""
    ledger.start()
    assert ledger.add(b"entry").status == 200
    shutil.copytree(ledger.data, ledger.folder / "copy")
    text = ledger.config.read_text()
    ledger.config.write_text(text.replace(f'data = "{ledger.data}"', f'data = "{ledger.folder}/copy"'))
    with ledger.config.open("r+") as file:
        file.write(f'anchors = "{ledger.anchors}"\n{ledger.config.read_text()}')
    assert "data-anchors: another process keeps it" in ledger.refuse()


def test_a_torn_tile_is_refused_by_name(ledger: LedgerFolder) -> None:
    ledger.start()
    for number in range(3):
        ledger.add(b"%d" % number)
    ledger.stop()
    tile = ledger.log / "tile/0/000.p/3"
    tile.write_bytes(tile.read_bytes()[:50])
    assert "tile/0/000.p/3: torn: 50 octets, not 96" in ledger.refuse()


@pytest.fixture
def rolled_back(ledger: LedgerFolder) -> Callable[[], Checkpoint]:
    """Put an older copy of the log back, and return what the newest one was."""

    def roll_back(anchors: bool = False) -> Checkpoint:
        ledger.start()
        ledger.add(b"one")
        ledger.stop()
        folders = [ledger.data, ledger.anchors] if anchors else [ledger.data]
        for folder in folders:
            shutil.copytree(folder, ledger.folder / "backup" / folder.name)
        ledger.start()
        ledger.add(b"two")
        newest = ledger.checkpoint()
        ledger.stop()
        for folder in folders:
            shutil.rmtree(folder)
            shutil.move(ledger.folder / "backup" / folder.name, folder)
        return newest

    return roll_back


def test_a_backup_that_was_put_back_is_refused(ledger: LedgerFolder, rolled_back: Callable[[], Checkpoint]) -> None:
    assert rolled_back().size == 2
    assert "older copy of the log" in ledger.refuse()
    assert ledger.head().size == 1, "nothing was signed"


def test_a_backup_of_everything_is_refused_by_the_witnesses(
    ledger: LedgerFolder, rolled_back: Callable[[bool], Checkpoint]
) -> None:
    witnesses = Witnesses(ledger.folder, ledger.key, 3, 2)
    ledger.policy.write_text(witnesses.policy())
    try:
        assert rolled_back(True).size == 2
        said = ledger.refuse()
        assert "contradicts this log: it has cosigned 2 entries, and this log has 1" in said
        assert "nothing more is signed" in said
        assert ledger.head().size == 1
    finally:
        witnesses.stop()


def test_without_a_quorum_of_witnesses_it_serves_and_signs_nothing(ledger: LedgerFolder) -> None:
    ledger.start()
    ledger.add(b"one")
    ledger.stop()
    head = ledger.head()
    witnesses = Witnesses(ledger.folder, ledger.key, 2, 2)
    ledger.policy.write_text(witnesses.policy())
    witnesses.processes[1].stop()
    ledger.start()
    try:
        assert ledger.ask("GET", "/plain/tile/entries/000.p/1").status == 200
        ready = ledger.ask("GET", "/readyz", admin=True)
        assert b"too few witnesses have answered since the start" in ready.body
        assert ledger.head() == head
        assert ledger.process is not None
        assert ledger.process.poll() is None
    finally:
        witnesses.stop()


def test_it_stops_as_it_is_told(ledger: LedgerFolder) -> None:
    ledger.start()
    ledger.add(b"one")
    assert ledger.stop() == 0
    assert open_signed((ledger.anchors / "plain/head").read_bytes(), ledger.key.verifier).size == 1
