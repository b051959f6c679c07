"""How a log's heads become checkpoints that the world is shown: cosigned by a quorum of its witnesses.

All witnesses are asked about one head at a time, for a quorum is of one tree; those that are still busy with an older
one sit the round out. A round ends when the quorum is met, so a slow witness delays nobody who does not need it, and
what it says later is added to what is shown. Nothing changes for `cosign_seconds`: they are asked again, for the time
in their cosignatures is what shows that nothing newer is being withheld.

Until the quorum was met once after the start, nothing is signed. All who can be reached are heard before that, those
too that the quorum does not need: see `witnesses.py` for what a contradiction means.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

from ledger.store import Head, Store
from ledger.witnesses import Asker, ContradictionError
from seclude.attestation.bundle import MAX_CHECKPOINT
from seclude.errors import BusyError, ConfigError, DecodeError, EvidenceError, UpstreamError
from seclude.tlog.cosigned import Cosigned, open_cosigned
from seclude.tlog.keys import VerifierKey
from seclude.tlog.note import (
    MAX_SIGNATURES,
    NoteSignature,
    add_signatures,
    parse_note,
    serialize_note,
    serialize_signature_lines,
)
from seclude.tlog.quorum import Quorum

FIRST: Final = "first"  # the folder of the first checkpoint of each size that met the quorum
RETRY_SECONDS: Final = 1.0  # between rounds without a quorum; a witness that starts again is back by then
WAIT_SECONDS: Final = 10.0  # for an entry to stand under a cosigned checkpoint: five rounds of slow witnesses
MAX_WAITING: Final = 4096  # whom an answer is kept for; above what a server holds at once


class Cosigning:
    """Asks the witnesses of one log, and keeps what they cosigned."""

    def __init__(
        self,
        store: Store,
        key: VerifierKey,
        quorum: Quorum,
        askers: Sequence[Asker],
        disk: Executor,
        *,
        seconds: float,
        keep_first: bool,
        on_result: Callable[[Asker, Exception | None], None],
        on_published: Callable[[], None],
        on_failure: Callable[[OSError], None],
    ) -> None:
        """With `keep_first` the first checkpoint of each size is kept, which shows since when its entries stand."""
        self._store = store
        self._key = key
        self._quorum = quorum
        self.askers: Final = tuple(askers)
        self._disk = disk
        self._seconds = min(seconds, RETRY_SECONDS), seconds
        self._keep_first = keep_first
        self._on_result = on_result
        self._on_published = on_published
        self._on_failure = on_failure
        self._wake = asyncio.Event()
        self._collected: dict[str, NoteSignature] = {}  # for one head, by the witness's name
        self._collected_for: Head = store.head
        self._has_news = False
        self._waiting: list[tuple[int, int, asyncio.Future[int]]] = []
        self._order = count()
        self.published: Cosigned | None = self._load()
        """The newest checkpoint that met the quorum."""
        self.first: dict[int, Cosigned] = self._load_first()
        """The first such checkpoint of each size."""
        self.failure: str | None = None
        """Why the last checkpoint was not published, if the disk did not take it; for people."""
        self.greeted: Final = asyncio.Event()
        """Set when a quorum has confirmed, since the start, that nothing newer was ever signed."""

    def wake(self) -> None:
        """Tell of a new head."""
        self._wake.set()

    async def stands(self, size: int) -> int:
        """Return the size of a cosigned checkpoint that has this size at least; raises BusyError."""
        if self.published is not None and self.published.checkpoint.size >= size and self.greeted.is_set():
            return self.published.checkpoint.size
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if len(self._waiting) >= MAX_WAITING:  # most of them have given up, in a long time without a quorum
            self._waiting = [each for each in self._waiting if not each[2].done()]
            heapify(self._waiting)
        heappush(self._waiting, (size, next(self._order), done))
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await done
        except TimeoutError:
            raise BusyError("stored, and too few witnesses have cosigned it yet") from None

    async def run(self) -> None:
        """Hold rounds for as long as the ledger serves; raises ConfigError where the log must not be continued."""
        async with asyncio.TaskGroup() as asking:
            asked_at = -self._seconds[1]
            loop = asyncio.get_running_loop()
            while True:
                head = self._store.head
                if self._is_due(head, loop.time() - asked_at):
                    asked_at = loop.time()
                    await self._round(asking, head)
                else:
                    self._catch_up(asking)
                    if self._has_news:
                        await self._publish()
                await self._sleep(asked_at)

    def _is_due(self, head: Head, since: float) -> bool:
        if self.published is None or self.published.checkpoint != head.checkpoint or not self.greeted.is_set():
            return head is not self._collected_for or since >= self._seconds[0]
        return since >= self._seconds[1]

    async def _sleep(self, asked_at: float) -> None:
        """Return when there is a new head, an answer, or a round is due."""
        loop = asyncio.get_running_loop()
        is_shown = self.published is not None and self.published.checkpoint == self._store.head.checkpoint
        due = asked_at + self._seconds[is_shown and self.greeted.is_set()]
        try:
            async with asyncio.timeout_at(max(due, loop.time())):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _round(self, asking: asyncio.TaskGroup, head: Head) -> None:
        """Ask everybody who is idle about a head, until the quorum is met or all have answered."""
        if head is not self._collected_for:
            self._collected, self._collected_for = {}, head
        fresh: set[str] = set()
        idle = [asker for asker in self.askers if not asker.busy]
        pending = {self._start(asking, asker, head, fresh) for asker in idle}
        while pending and not (self.greeted.is_set() and self._quorum.is_met(fresh)):
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if self._quorum.is_met(fresh):
            await self._publish()

    def _catch_up(self, asking: asyncio.TaskGroup) -> None:
        """Ask those who sat the round out, and are idle by now, about its head too."""
        for asker in self.askers:
            if not asker.busy and asker.asked_for is not self._collected_for:
                self._start(asking, asker, self._collected_for, set())

    def _start(self, asking: asyncio.TaskGroup, asker: Asker, head: Head, fresh: set[str]) -> "asyncio.Task[None]":
        asker.busy, asker.asked_for = True, head
        return asking.create_task(self._ask(asker, head, fresh))

    async def _ask(self, asker: Asker, head: Head, fresh: set[str]) -> None:
        """Collect one cosignature; what goes wrong is told to whoever counts."""
        try:
            signature = await asker.ask(head, self._store.head.checkpoint.size)
        except ContradictionError as exc:
            self._on_result(asker, exc)
            self._contradicted(asker, exc)
        except (UpstreamError, DecodeError, EvidenceError) as exc:
            self._on_result(asker, exc)
        except OSError as exc:  # a tile that the proof needs cannot be read
            self._on_failure(exc)
        else:
            self._on_result(asker, None)
            asker.contradiction = None
            fresh.add(asker.witness.name)
            if head is self._collected_for:
                self._collected[asker.witness.name] = signature
                self._has_news = True
        finally:
            asker.busy = False
            self._wake.set()

    def _contradicted(self, asker: Asker, exc: ContradictionError) -> None:
        """End the ledger where a witness knows better at the start, or later too many for a quorum without them.

        One alone is then left out: its word is not signed, and it must not be able to stop a log that runs.
        """
        asker.contradiction = str(exc)
        rest = {each.witness.name for each in self.askers if each.contradiction is None}
        if not self.greeted.is_set() or not self._quorum.is_met(rest):
            raise ConfigError(
                f"{self._store.origin}: {exc}; this copy of the log is not the newest, or another ledger signs with "
                "its key: nothing more is signed; find the newest copy, and where the witness is wrong, leave it out "
                "of the policy"
            )

    async def _publish(self) -> None:
        """Show the head with every cosignature that there is, once they meet the quorum."""
        self._has_news = False
        head = self._collected_for
        if not self._quorum.is_met(self._collected.keys()):
            return
        note = serialize_note(add_signatures(parse_note(head.note), *self._collected.values()))
        cosigned = open_cosigned(note, self._key, self._quorum)
        size = cosigned.checkpoint.size
        first = self._first_with(cosigned)
        kept = {} if first is None else {f"{FIRST}/{size}": first.note}
        try:
            await asyncio.get_running_loop().run_in_executor(self._disk, self._store.publish, note, kept)
        except OSError as exc:
            self.failure = f"the disk does not take checkpoints: {exc.strerror}"
            self._on_failure(exc)
            return
        self.failure = None
        if first is not None:
            self.first[size] = first
        self.published = cosigned
        self.greeted.set()
        self._on_published()
        while self._waiting and self._waiting[0][0] <= size:
            done = heappop(self._waiting)[2]
            if not done.done():
                done.set_result(size)

    def _first_with(self, cosigned: Cosigned) -> Cosigned | None:
        """Return the first checkpoint of a size as it is to be kept from now on; None where it stays what it is.

        Witnesses that the quorum did not need are added when they come, and no cosignature is replaced by a later one.
        So the key of a witness can be exchanged, and what stands there is still as old to those who know the new one.
        """
        size = cosigned.checkpoint.size
        if not self._keep_first or not size:
            return None
        first = self.first.get(size)
        if first is None:
            return cosigned
        late = [signature for name, signature in self._collected.items() if name not in first.times]
        note = add_signatures(parse_note(first.note), *late)
        octets = len(first.note) + len(serialize_signature_lines(*late).encode())
        if not late or octets > MAX_CHECKPOINT or len(note.signatures) > MAX_SIGNATURES:
            return None
        return open_cosigned(serialize_note(note), self._key, self._quorum)

    # What was cosigned before the start.

    def _load(self) -> Cosigned | None:
        note = self._store.published()
        found = None if note is None else self._open(note)
        if found is not None:
            for asker in self.askers:
                if asker.witness.name in found.times:
                    asker.cosigned_size = found.checkpoint.size
        return found

    def _load_first(self) -> dict[int, Cosigned]:
        """Return those that are of this tree; what another key of this log signed is kept with the present one's."""
        found: dict[int, Cosigned] = {}
        for name in self._store.names(FIRST) if self._keep_first else []:
            note = self._store.published(f"{FIRST}/{name}") if name.isdecimal() else None
            own = None if note is None else self._store.own(note)
            cosigned = None if own is None else self._open(own)
            if own is None or cosigned is None:
                continue
            found[cosigned.checkpoint.size] = cosigned
            if own != note:
                self._store.keep(f"{FIRST}/{name}", own)
        return found

    def _open(self, note: bytes) -> Cosigned | None:
        """Return a checkpoint as far as the present policy believes it."""
        try:
            return open_cosigned(note, self._key, self._quorum)
        except (DecodeError, EvidenceError):
            return None
