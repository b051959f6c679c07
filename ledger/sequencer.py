"""The order of one log: submissions become batches, and a batch is written while the next one collects.

All that came while the disk was at work is the next batch, so the more is submitted, the fewer syncs an entry costs.
Nothing is written before `may_sign`: a ledger that was rolled back learns of it from its witnesses first.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ledger.rules import Admitted, Refusal, RefusedError, Rule, Tail
from ledger.store import BrokenError, Head, Store
from ledger.tree import Tree
from seclude.errors import BusyError, PeerError, UsageError
from seclude.tlog.merkle import leaf_hash

MAX_BATCH: Final = 4096  # submissions; beyond the requests that a server holds at once, so it bounds a mistake
MAX_BATCH_BYTES: Final = 1 << 23  # octets of submissions: a tenth of a second on a slow disk


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    payload: bytes
    place: int | None
    """Where alone it may stand, if whoever sent it said so."""
    done: asyncio.Future[int]


class Sequencer:
    """Takes what is submitted to one log."""

    def __init__(
        self,
        store: Store,
        rule: Rule,
        disk: Executor,
        anchor: Executor,
        *,
        on_batch: Callable[[int, float], None],
        on_head: Callable[[Head], None],
        on_failure: Callable[[OSError], None],
    ) -> None:
        """`disk` and `anchor` have one thread each, of this log's own. `on_batch` is told entries and seconds."""
        self._store = store
        self._rule = rule
        self._disk = disk
        self._anchor = anchor
        self._on_batch = on_batch
        self._on_head = on_head
        self._on_failure = on_failure
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self.may_sign: Final = asyncio.Event()
        """Set once the witnesses know of nothing newer."""
        self.failure: str | None = None
        """Why the last batch was not stored, if it was not; for people."""

    async def submit(self, payload: bytes, place: int | None = None) -> int:
        """Return the index of a submission that is stored and signed; raises what the rule does, and BusyError.

        With `place` it is refused where it would get another index, for then something came between that its author
        has not seen.
        """
        waiting = _Waiting(payload, place, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._wake.set()
        try:
            return await waiting.done
        except asyncio.CancelledError:
            with suppress(ValueError):  # whoever gave up holds no memory while nothing can be written
                self._queue.remove(waiting)
            raise

    async def run(self) -> None:
        """Write batches for as long as the ledger serves."""
        await self.may_sign.wait()
        async with asyncio.TaskGroup() as anchoring:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    batch = self._assemble()
                    if await self._write(batch):
                        anchoring.create_task(self._settle(batch))

    def _assemble(self) -> "_Batch":
        batch = _Batch(self._store)
        octets = 0
        while self._queue and len(batch.admitted) < MAX_BATCH and octets < MAX_BATCH_BYTES:
            waiting = self._queue.popleft()
            if waiting.done.done():  # whoever sent it went away
                continue
            try:
                admitted = self._rule.admit(waiting.payload, batch)
                _require_place(waiting.place, admitted.index)
                batch.add(waiting, admitted)
            except PeerError as exc:
                waiting.done.set_exception(exc)
            except OSError as exc:  # an entry that is needed to judge it cannot be read
                self._fail([waiting], exc)
            octets += len(waiting.payload)
        return batch

    async def _write(self, batch: "_Batch") -> bool:
        """Store a batch, and return whether it is."""
        if batch.entries:
            loop = asyncio.get_running_loop()
            began = loop.time()
            try:
                await loop.run_in_executor(self._disk, self._store.commit, batch.entries, batch.beside)
            except OSError as exc:
                self._fail([waiting for waiting, _ in batch.admitted], exc)
                return False
            self._on_batch(len(batch.entries), loop.time() - began)
            self._on_head(self._store.head)
        return True

    async def _settle(self, batch: "_Batch") -> None:
        """Tell whoever waits, once the anchor is there too; the next batch is being written meanwhile."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._anchor, self._store.anchor)
        except OSError as exc:
            self._fail([waiting for waiting, _ in batch.admitted], exc)
            return
        self.failure = None
        for waiting, index in batch.admitted:
            if not waiting.done.done():
                waiting.done.set_result(index)

    def _fail(self, submissions: list[_Waiting], exc: OSError) -> None:
        """Nothing of a batch is told to be stored when some of it may not be."""
        state = "" if not isinstance(exc, BrokenError) else "; start the ledger again"
        self.failure = f"the disk does not take entries: {exc.strerror}{state}"
        self._on_failure(exc)
        for waiting in submissions:
            if not waiting.done.done():
                waiting.done.set_exception(BusyError("the disk does not take the entry"))


def _require_place(place: int | None, index: int) -> None:
    if place is not None and place != index:
        raise RefusedError(
            Refusal.OLD,
            f"it was made to be entry {place} and would be entry {index}: another one came between; "
            "build it anew from the newest one",
        )


class _Batch(Tail):
    """What was admitted and is not written yet, on top of the log."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tree: Tree = store.head.tree
        self.entries: list[bytes] = []
        self.beside: dict[str, bytes] = {}
        self.admitted: list[tuple[_Waiting, int]] = []

    @property
    def size(self) -> int:
        return self._tree.size + len(self.entries)

    def leaf(self, index: int) -> bytes:
        if index < self._tree.size:
            return self._tree.leaf(index)
        return leaf_hash(self.entry(index))

    def entry(self, index: int) -> bytes:
        if index < self._tree.size:
            return self._store.entry(index)
        if index >= self.size:
            raise UsageError(f"no entry {index} in a log that would have {self.size}")
        return self.entries[index - self._tree.size]

    def add(self, waiting: _Waiting, admitted: Admitted) -> None:
        if admitted.entries and admitted.index != self.size + len(admitted.entries) - 1:
            raise UsageError("a rule added entries that end elsewhere than it says")
        self.entries.extend(admitted.entries)
        self._keep(admitted.beside)
        self.admitted.append((waiting, admitted.index))

    def _keep(self, beside: Mapping[str, bytes]) -> None:
        self.beside.update(beside)
