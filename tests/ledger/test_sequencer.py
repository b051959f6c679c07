"""The order of one log: what is submitted together is stored together, and told only when it is stored."""

import asyncio
import errno
import gc
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from ledger.rules import Admitted, PlainRule, Refusal, RefusedError, Rule, Tail
from ledger.sequencer import MAX_BATCH, Sequencer
from ledger.store import Store
from seclude.errors import BusyError, UsageError
from seclude.tlog.keys import ED25519, generate_skey
from seclude.tlog.merkle import leaf_hash
from tests.ledger.test_store import FailingFiles

KEY = generate_skey("log.example/plain", ED25519)


class OnceRule:
    """A log in which no entry stands twice, and that takes no empty one."""

    label = b""

    def admit(self, payload: bytes, tail: Tail) -> Admitted:
        if not payload:
            raise RefusedError(Refusal.MALFORMED, "empty")
        for index in range(tail.size):
            if tail.leaf(index) == leaf_hash(payload):
                assert tail.entry(index) == payload
                return Admitted(index)
        return Admitted(tail.size, (payload,))


class Rig:
    """A log whose disk a test can hold up."""

    def __init__(self, folder: Path, rule: Rule) -> None:
        self.files, self.anchors = FailingFiles(folder / "data"), FailingFiles(folder / "anchors")
        self.store = Store(self.files, self.anchors, "plain", KEY, accept_data=False)
        self.batches: list[int] = []
        self.sizes: list[int] = []
        self.failures: list[OSError] = []
        self.disk, self.anchor = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self.sequencer = Sequencer(
            self.store,
            rule,
            self.disk,
            self.anchor,
            on_batch=lambda entries, seconds: self.batches.append(entries),
            on_head=lambda head: self.sizes.append(head.tree.size),
            on_failure=self.failures.append,
        )

    async def submit(self, *payloads: bytes) -> list[int | BaseException]:
        return await asyncio.gather(*map(self.sequencer.submit, payloads), return_exceptions=True)


@asynccontextmanager
async def running(folder: Path, rule: Rule | None = None, *, may_sign: bool = True) -> AsyncIterator[Rig]:
    rig = Rig(folder, rule or PlainRule())
    task = asyncio.create_task(rig.sequencer.run())
    if may_sign:
        rig.sequencer.may_sign.set()
    try:
        yield rig
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        rig.disk.shutdown()
        rig.anchor.shutdown()


async def test_entries_stand_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        assert await rig.submit(b"a", b"b", b"c") == [0, 1, 2]
        assert await rig.submit(b"d") == [3]
        assert [rig.store.entry(index) for index in range(4)] == [b"a", b"b", b"c", b"d"]
        assert (rig.batches, rig.sizes) == ([3, 1], [3, 4])
        assert (tmp_path / "anchors/plain").read_bytes() == rig.store.head.note


async def test_what_comes_while_the_disk_is_at_work_is_the_next_batch(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        free = threading.Event()
        rig.disk.submit(free.wait)
        first = asyncio.create_task(rig.sequencer.submit(b"first"))
        await asyncio.sleep(0.01)
        others = [asyncio.create_task(rig.sequencer.submit(b"%d" % number)) for number in range(50)]
        await asyncio.sleep(0.01)
        assert not first.done()
        free.set()
        assert await first == 0
        assert await asyncio.gather(*others) == list(range(1, 51))
        assert rig.batches == [1, 50]


async def test_a_batch_has_a_bound(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        assert await rig.submit(*[b"x"] * (MAX_BATCH + 1)) == list(range(MAX_BATCH + 1))
        assert rig.batches == [MAX_BATCH, 1]


async def test_a_refusal_concerns_nobody_else(tmp_path: Path) -> None:
    async with running(tmp_path, OnceRule()) as rig:
        first, refused, again, second = await rig.submit(b"a", b"", b"a", b"b")
        assert (first, again, second) == (0, 0, 1)
        assert isinstance(refused, RefusedError)
        assert rig.batches == [2]
        assert await rig.submit(b"b", b"a") == [1, 0]
        assert rig.batches == [2], "what stands already is written by nobody"


async def test_whoever_went_away_adds_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, may_sign=False) as rig:
        task = asyncio.create_task(rig.sequencer.submit(b"gone"))
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        rig.sequencer.may_sign.set()
        assert await rig.submit(b"a") == [0]


async def test_nothing_is_signed_before_the_witnesses_have_answered(tmp_path: Path) -> None:
    async with running(tmp_path, may_sign=False) as rig:
        task = asyncio.create_task(rig.sequencer.submit(b"a"))
        await asyncio.sleep(0.05)
        assert not task.done()
        assert rig.store.head.tree.size == 0
        rig.sequencer.may_sign.set()
        assert await task == 0


async def test_a_full_disk_is_told_to_everybody_in_the_batch(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.files.room = 0
        answers = await rig.submit(b"a", b"b")
        assert [type(answer) for answer in answers] == [BusyError, BusyError]
        assert rig.sequencer.failure == "the disk does not take entries: No space left on device"
        assert [failure.errno for failure in rig.failures] == [errno.ENOSPC]
        rig.files.room = 1 << 62
        assert await rig.submit(b"c") == [0]
        assert rig.sequencer.failure is None


async def test_an_entry_without_its_anchor_is_not_acknowledged(tmp_path: Path) -> None:
    async with running(tmp_path, OnceRule()) as rig:
        rig.anchors.room = 0
        assert isinstance((await rig.submit(b"a"))[0], BusyError)
        assert rig.store.head.tree.size == 1, "it is in the log, and will be anchored before anybody is told so"
        assert isinstance((await rig.submit(b"a"))[0], BusyError)
        rig.anchors.room = 1 << 62
        assert await rig.submit(b"a") == [0]
        assert rig.batches == [1]


async def test_a_disk_in_an_unknown_state_takes_nothing_more(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await rig.submit(b"a")
        rig.files.syncs = 2  # the tile's folders are synced, and the one that the head was renamed in is not
        assert isinstance((await rig.submit(b"b"))[0], BusyError)
        rig.files.syncs = 1 << 62
        assert isinstance((await rig.submit(b"b"))[0], BusyError)
        assert rig.sequencer.failure is not None
        assert rig.sequencer.failure.endswith("start the ledger again")


async def test_a_rule_that_miscounts_is_a_bug(tmp_path: Path) -> None:
    class WrongRule(PlainRule):
        def admit(self, payload: bytes, tail: Tail) -> Admitted:
            return Admitted(tail.size + 1, (payload,))

    rig = Rig(tmp_path, WrongRule())
    rig.sequencer.may_sign.set()
    task = asyncio.create_task(rig.sequencer.run())
    waiting = asyncio.create_task(rig.sequencer.submit(b"a"))
    with pytest.raises(BaseExceptionGroup) as caught:
        await task
    assert caught.group_contains(UsageError)
    waiting.cancel()


async def test_whoever_gave_up_holds_no_memory(tmp_path: Path) -> None:
    """A gateway sends an epoch again and again while too few witnesses answer, and that may take days."""
    async with running(tmp_path, may_sign=False) as rig:
        payload = bytes(bytearray(1 << 20))
        before = sys.getrefcount(payload)
        for _ in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.002):
                    await rig.sequencer.submit(payload)
        gc.collect()
        assert sys.getrefcount(payload) < before + 5, "the frames of the last one that was told may still be there"
        rig.sequencer.may_sign.set()
        assert await rig.submit(b"a") == [0]


async def test_what_was_made_for_one_place_stands_there_or_nowhere(tmp_path: Path) -> None:
    async with running(tmp_path, OnceRule()) as rig:
        assert await rig.sequencer.submit(b"a", 0) == 0
        assert await rig.sequencer.submit(b"a", 0) == 0, "sent again"
        answers = await asyncio.gather(
            rig.sequencer.submit(b"b", 1), rig.sequencer.submit(b"c", 1), return_exceptions=True
        )
        assert answers[0] == 1
        assert isinstance(answers[1], RefusedError)
        assert answers[1].refusal is Refusal.OLD
        assert "made to be entry 1 and would be entry 2" in str(answers[1])
        assert rig.store.head.tree.size == 2
