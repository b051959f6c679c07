"""One look at a ledger: both logs followed, every new entry judged, and what relays give compared with it.

What relays give is fetched first, then the keys log, then the state log, so that each must already hold what the one
before speaks of. What was found is reported; what was read is remembered only where a log is whole.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import aclosing
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final

from seclude.attestation.bundle import Bundle, core_digest, parse_bundle
from seclude.attestation.pins import Ledger
from seclude.attestation.policy import Policy
from seclude.attestation.proofs import VOID, epoch_leaf, parse_proofs
from seclude.attestation.snapshot import Snapshot, verify_snapshot
from seclude.client.epochjudge import EpochJudge, Logged, judge_entry, judge_time
from seclude.client.findings import Finding, Findings, Kind, found, warned
from seclude.client.ledgersource import Source, Tree
from seclude.client.logreplay import Replay
from seclude.client.monitorstate import MAX_MISSING, Head, MonitorState
from seclude.client.offers import Offer, fetch_offer
from seclude.client.relays import Endpoint
from seclude.client.statejudge import StateJudge
from seclude.errors import BusyError, DecodeError, EvidenceError, TooLargeError, UpstreamError, VerificationError
from seclude.ledger import Path
from seclude.tlog.cosigned import open_cosigned
from seclude.tlog.merkle import leaf_hash
from seclude.tlog.tiles import TILE_WIDTH

AGAIN: Final = (Kind.PREIMAGE, Kind.TILES)  # what a ledger that is repaired can take back
AT_ONCE: Final = 16  # epochs that are fetched together: what stands behind each has up to 200 KB

Progress = Callable[[str, int, int], None]
"""Called with a log's name, how many of its entries are read, and how many it has."""


@dataclass(frozen=True, slots=True)
class LogSeen:
    """How far one log was followed."""

    origin: str
    size: int | None
    """None where no checkpoint was believed."""
    read: int
    """New entries."""
    since: int | None


@dataclass(frozen=True, slots=True)
class Look:
    """What came of one look."""

    at: float
    keys: LogSeen
    state: LogSeen
    epochs: int
    """New epochs that were judged; the other new leaves are void."""
    snapshot: Snapshot | None
    """The newest state, as far as it is good."""
    findings: tuple[Finding, ...]
    relays: tuple[str, ...] = field(default=())
    """Those whose keys all stand in the log."""
    interrupted: str | None = None
    """Why the ledger was not read to the end, after something had been found."""


class Monitor:
    """Looks at one ledger again and again; `state` is what it remembers, and changes with each look."""

    def __init__(
        self,
        policy: Policy,
        ledger: Ledger,
        source: Source,
        state: MonitorState,
        clock: Callable[[], float],
        *,
        relays: Sequence[Endpoint] = (),
        progress: Progress = lambda _log, _read, _size: None,
    ) -> None:
        self.state = state
        self._policy = policy
        self._ledger = ledger
        self._source = source
        self._clock = clock
        self._relays = relays
        self._progress = progress

    async def look(self) -> Look:
        """Read what is new and judge it.

        Raises UpstreamError where the ledger does not answer. A ledger that was found to lie must not hide that by
        falling silent: what was found before is returned all the same, and nothing of such a look is remembered.
        """
        findings = Findings()
        offers = [await self._offer(endpoint, findings) for endpoint in self._relays]
        now = self._clock()
        keys, log = self._replay(Path.KEYS), self._replay(Path.STATE)
        try:
            return await self._read(now, keys, log, offers, findings)
        except UpstreamError as exc:
            so_far = (*log.findings, *keys.findings, *findings)
            if all(finding.warning for finding in so_far):
                raise
            return Look(now, _seen(keys), _seen(log), 0, None, so_far, interrupted=str(exc))

    async def _read(
        self, now: float, keys: Replay, log: Replay, offers: Sequence[Offer | None], findings: Findings
    ) -> Look:
        state = deepcopy(self.state)
        for replay in (keys, log):
            await replay.open(now, self._policy.max_checkpoint_age_seconds, self._policy.clock_skew_seconds)
        judge = StateJudge(self._policy, self._ledger, state)
        await self._read_state(log, judge)
        round_ = _Round(self._policy, self._ledger, self._source, state, keys, log, self._progress)
        newest = await round_.newest()
        if newest is not None:
            log.findings.extend(judge.judge_newest(newest, now))
        epochs = await round_.read_keys()
        relays = tuple(
            [each.url for each in offers if each is not None and await self._logged(each, keys, log, findings)]
        )
        self._remember(state, keys, log)
        return Look(
            at=now,
            keys=_seen(keys),
            state=_seen(log),
            epochs=epochs,
            snapshot=newest,
            findings=(*log.findings, *keys.findings, *findings),
            relays=relays,
        )

    def _replay(self, log: Path) -> Replay:
        key = self._ledger.keys_log if log is Path.KEYS else self._ledger.state_log
        return Replay(self._source, log, key, self._ledger, self.state.heads.get(key.name))

    async def _read_state(self, log: Replay, judge: StateJudge) -> None:
        after = 0 if log.head is None else log.head.since
        async with aclosing(log.entries(lambda read, size: self._progress(log.name, read, size))) as entries:
            async for index, entry in entries:
                assert log.cosigned is not None
                log.findings.extend(judge.judge(index, entry, after, log.cosigned.until))

    async def _offer(self, endpoint: Endpoint, findings: Findings) -> Offer | None:
        try:
            return await fetch_offer(endpoint, self._policy, self._clock)
        except (UpstreamError, BusyError) as exc:
            findings.append(warned(Kind.RELAY, f"not compared with {endpoint.url}: {exc}", url=endpoint.url))
        except VerificationError as exc:
            words = f"{endpoint.url} gives what is no list of keys: {exc}"
            findings.append(found(Kind.RELAY, words, url=endpoint.url))
        return None

    async def _logged(self, offer: Offer, keys: Replay, log: Replay, findings: Findings) -> bool:
        """Compare what a relay gives to devices with the logs; returns whether all of it stands there."""
        if keys.tree is None:
            return False
        wrong = [
            found(
                Kind.RELAY, f"{offer.url} gives keys of epoch {epoch} that do not verify: {refusal.reason}", epoch=epoch
            )
            for epoch, refusal in offer.refused.items()
        ]
        shown: dict[bytes, Replay] = {}
        for epoch, data in offer.bundles.items():
            bundle = parse_bundle(data)
            proofs = parse_proofs(bundle.proofs)
            shown |= {proofs.keys.checkpoint: keys, proofs.state.checkpoint: log}
            problem = await self._unlogged(offer.url, epoch, bundle, keys.tree)
            wrong += [] if problem is None else [problem]
        for note, replay in shown.items():
            key = self._ledger.keys_log if replay is keys else self._ledger.state_log
            other = open_cosigned(note, key, self._ledger.quorum)
            problem = await replay.judge_other(other, f"the checkpoint that {offer.url} gives to devices")
            wrong += [] if problem is None else [problem]
        findings.extend(wrong)
        return not wrong

    async def _unlogged(self, url: str, epoch: int, bundle: Bundle, tree: Tree) -> Finding | None:
        """Return what is wrong with the keys that a relay gives for one epoch."""
        digest = core_digest(bundle.core).hex()
        try:
            leaf = await tree.leaf(epoch)
        except DecodeError as exc:
            return found(Kind.TILES, f"leaf {epoch} of the keys log cannot be read: {exc}", epoch=epoch)
        if leaf == epoch_leaf(bundle.core, bundle.evidence):
            return None
        what = "is not in the log" if leaf is None else "is another one than the log has there"
        words = f"{url} gives devices a core for epoch {epoch} that {what}: {digest}"
        return found(Kind.RELAY, words, epoch=epoch, url=url, core_digest=digest)

    def _remember(self, state: MonitorState, keys: Replay, log: Replay) -> None:
        """Keep what was read of each log that is whole; epochs count only beside the snapshots that judged them."""
        if not log.is_whole:
            return
        state.heads = dict(self.state.heads)
        for replay in (log, keys):
            if replay.is_whole and replay.cosigned is not None:
                seen = replay.cosigned
                state.heads[replay.name] = Head(
                    checkpoint=seen.note, size=seen.checkpoint.size, since=seen.since, times=replay.times
                )
        if not keys.is_whole:
            state.missing = self.state.missing
        self.state = state


class _Round:
    """The part of a look that needs both logs: epochs, judged by the snapshots of their time."""

    def __init__(
        self,
        policy: Policy,
        ledger: Ledger,
        source: Source,
        state: MonitorState,
        keys: Replay,
        log: Replay,
        progress: Progress,
    ) -> None:
        self._policy = policy
        self._ledger = ledger
        self._source = source
        self._state = state
        self._keys = keys
        self._log = log
        self._progress = progress
        self._judge = EpochJudge(policy, ledger, state, keys.judge_other)
        self._kept: dict[int, Snapshot] = {}

    async def newest(self) -> Snapshot | None:
        """Return the newest good snapshot."""
        held = self._state.snapshots
        if not held or self._log.tree is None:
            return None
        try:
            return await self._snapshot(len(held) - 1)
        except EvidenceError as exc:
            self._log.findings.append(found(Kind.TILES, str(exc), log=self._log.name))
            return None

    async def read_keys(self) -> int:
        """Judge what is new in the keys log, and what could not be judged before; return how many epochs that were."""
        keys = self._keys
        if keys.cosigned is None or not self._log.is_whole:
            return 0
        early = judge_time(keys.cosigned, self._policy)
        if early is not None:
            keys.findings.append(early)
        count = await self._again()
        waiting: list[tuple[int, bytes]] = []
        async with aclosing(keys.entries(lambda read, size: self._progress(keys.name, read, size))) as entries:
            async for epoch, entry in entries:
                problem = judge_entry(epoch, entry)
                if problem is not None:
                    keys.findings.append(problem)
                elif entry != VOID:
                    waiting.append((epoch, entry))
                    count += 1
                if len(waiting) == AT_ONCE:
                    await self._judge_all(waiting)
                    waiting.clear()
        await self._judge_all(waiting)
        return count

    async def _again(self) -> int:
        """Ask once more for what the ledger did not show the last time."""
        missing, self._state.missing = self._state.missing, []
        assert self._keys.tree is not None
        for epoch in missing:
            try:
                entries = await self._keys.tree.entries(epoch // TILE_WIDTH)
            except DecodeError as exc:
                self._keys.findings.append(found(Kind.TILES, f"{self._keys.name}: {exc}", log=self._keys.name))
                self._state.missing.append(epoch)
            else:
                await self._judge_all([(epoch, entries[epoch % TILE_WIDTH])])
        return len(missing)

    async def _judge_all(self, waiting: Sequence[tuple[int, bytes]]) -> None:
        """Fetch what stands behind some leaves together, and judge one after the other."""
        assert self._keys.cosigned is not None
        try:
            async with asyncio.TaskGroup() as group:
                shown = [group.create_task(self._shown(epoch)) for epoch, _ in waiting]
        except ExceptionGroup as failed:  # each is an UpstreamError, and the first says enough
            raise failed.exceptions[0] from None
        for (epoch, entry), task in zip(waiting, shown, strict=True):
            logged = Logged(epoch, entry, task.result(), self._keys.cosigned.until)
            try:
                findings = await self._judge.judge(logged, self._in_force)
            except EvidenceError as exc:
                findings = [
                    found(Kind.TILES, f"epoch {epoch} cannot be judged: {exc}", log=self._log.name, epoch=epoch)
                ]
            self._keys.findings.extend(findings)
            if any(each.kind in AGAIN for each in findings) and len(self._state.missing) < MAX_MISSING:
                self._state.missing.append(epoch)

    async def _shown(self, epoch: int) -> bytes | None:
        """Return what the ledger shows behind a leaf; what is too large to be it, as nothing that parses."""
        try:
            return await self._source.epoch(epoch)
        except TooLargeError:
            return b""

    async def _in_force(self, start: int, end: int) -> Sequence[Snapshot]:
        """Return the snapshots that may have been the newest at some moment of [start, end)."""
        held = self._state.snapshots
        last = bisect_left(held, end, key=lambda each: each.since)
        first = next((place for place in range(last - 1, 0, -1) if held[place].by <= start), 0)
        places = range(first, last)
        self._kept = {place: kept for place, kept in self._kept.items() if place in places}
        return [await self._snapshot(place) for place in places]

    async def _snapshot(self, place: int) -> Snapshot:
        """Read a snapshot again that was good when it was first read; raises EvidenceError unless it is the same."""
        if place in self._kept:
            return self._kept[place]
        held, tree = self._state.snapshots[place], self._log.tree
        assert tree is not None
        try:
            entry = (await tree.entries(held.index // TILE_WIDTH))[held.index % TILE_WIDTH]
        except (DecodeError, IndexError) as exc:
            raise EvidenceError(f"snapshot {held.index} cannot be read again: {exc}") from exc
        if leaf_hash(entry).hex() != held.leaf:
            raise EvidenceError(f"snapshot {held.index} is shown as another one than before")
        self._kept[place], _ = verify_snapshot(entry, self._ledger.publishers, self._policy.origin)
        return self._kept[place]


def _seen(replay: Replay) -> LogSeen:
    if replay.cosigned is None:
        return LogSeen(replay.name, None, 0, None)
    return LogSeen(replay.name, replay.cosigned.checkpoint.size, replay.read, replay.cosigned.since)
