"""One log of a running ledger: its store, its order, its witnesses, and the threads that write its files."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import nan
from pathlib import Path
from typing import Final

from ledger.config import Config, Material
from ledger.cosigning import WAIT_SECONDS, Cosigning
from ledger.files import Files
from ledger.proofs import max_snapshot
from ledger.report import Report
from ledger.rules import MAX_CLOCK_DIFFERENCE, KeysRule, PlainRule, Rule, StateRule
from ledger.sequencer import Sequencer
from ledger.store import Head, Store
from ledger.witnesses import Asker
from seclude.attestation.slots import Slots
from seclude.attestation.snapshot import parse_snapshot
from seclude.daemon.upstream import Upstream
from seclude.errors import BusyError, ConfigError, DecodeError, UsageError
from seclude.tlog.keys import VerifierKey
from seclude.tlog.note import parse_note
from seclude.tlog.quorum import Witness

KEYS: Final = "keys"
STATE: Final = "state"
ANCHOR: Final = "head"

Ways = Mapping[str, tuple[Upstream, str]]
"""By the name of a witness: the way to it, and the path of its service."""


class Log:
    """Everything of one log. Submitting returns when an entry is stored and cosigned."""

    def __init__(
        self,
        name: str,
        store: Store,
        key: VerifierKey,
        rule: Callable[[Cosigning], Rule],
        cosigning: Callable[["Log", ThreadPoolExecutor], Cosigning],
        report: Report,
    ) -> None:
        self.name: Final = name
        self.store: Final = store
        self.key: Final = key
        self._disk = ThreadPoolExecutor(1, f"disk-{name}")
        self._anchor = ThreadPoolExecutor(1, f"anchor-{name}")
        self.cosigning: Final = cosigning(self, self._disk)
        self.rule: Final = rule(self.cosigning)
        self.sequencer: Final = Sequencer(
            store,
            self.rule,
            self._disk,
            self._anchor,
            on_batch=lambda entries, seconds: report.stored(name, entries, seconds),
            on_head=self._grown,
            on_failure=lambda failure: report.disk_failed(name, failure),
        )
        self._report = report
        report.watch(name, store, self.cosigning)

    async def submit(self, payload: bytes, place: int | None = None) -> tuple[int, int]:
        """Return an entry's index, and the size of a cosigned checkpoint that it stands under; raises as rules do.

        With `place` it is refused at any other one. Raises BusyError where the disk or the witnesses take too long; the
        entry may be stored all the same.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                index = await self.sequencer.submit(payload, place)
        except TimeoutError:
            raise BusyError("not stored in time") from None
        return index, await self.cosigning.stands(index + 1)

    async def let_sign(self) -> None:
        """Let new entries be signed once a quorum knows of nothing newer."""
        await self.cosigning.greeted.wait()
        self._report.greeted(self.name, self.store.head.checkpoint.size)
        self.sequencer.may_sign.set()

    def close(self) -> None:
        """Let what is being written be written."""
        self._disk.shutdown()
        self._anchor.shutdown()
        self.store.close()

    def _grown(self, head: Head) -> None:
        self.cosigning.wake()


class Opener:
    """Opens the logs of a configuration."""

    def __init__(
        self,
        config: Config,
        material: Material,
        ways: Ways,
        report: Report,
        now: Callable[[], float],
        on_published: Callable[[], None],
        *,
        accept_data: bool,
    ) -> None:
        self._config = config
        self._material = material
        self._ways = ways
        self._report = report
        self._now = now
        self._on_published = on_published
        self._accept_data = accept_data

    def open(self, name: str, make_files: Callable[[Path], Files] = Files) -> Log:
        """Open one log, or begin it; raises ConfigError."""
        config, signer = self._config, self._material.signers[name]
        store = Store(
            make_files(config.data_folder / name),
            make_files(config.anchors_folder / name),
            ANCHOR,
            signer,
            accept_data=self._accept_data,
            # What stands behind the leaves of the keys log is served below the root: /epochs, and not /keys/epochs.
            beside=make_files(config.data_folder) if name == KEYS else None,
            former=self._material.former[name],
        )
        try:
            log = Log(name, store, signer.verifier, partial(self._rule, name), self._cosigning, self._report)
        except OSError as exc:  # a checkpoint that was published before
            raise ConfigError(f"{exc.filename or store.origin}: {exc.strerror}") from None
        if name == STATE:
            self._report.watch_snapshot(_Expiry(log))
        return log

    def _cosigning(self, log: Log, disk: ThreadPoolExecutor) -> Cosigning:
        return Cosigning(
            log.store,
            log.key,
            self._material.quorum,
            [self._asker(witness) for witness in self._material.quorum.witnesses if witness.name in self._ways],
            disk,
            seconds=self._config.cosign_seconds,
            keep_first=log.name == STATE,
            on_result=lambda asker, failure: self._report.asked(log.name, asker, failure),
            on_published=self._on_published,
            on_failure=lambda failure: self._report.disk_failed(log.name, failure),
        )

    def _asker(self, witness: Witness) -> Asker:
        upstream, path = self._ways[witness.name]
        return Asker(witness, upstream, path)

    def _rule(self, name: str, cosigning: Cosigning) -> Rule:
        config, material = self._config, self._material
        now = self._now if material.quorum.rule is None else partial(vouched, self._now, cosigning)
        if name == KEYS:
            return KeysRule(slots_of(config), now)
        if name == STATE:
            room = max_snapshot(material.checkpoint_octets)
            return StateRule(material.publishers, config.origin or "", now, room)
        return PlainRule()


class _Expiry:
    """When the newest published snapshot of a state log expires."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._of: tuple[int, float] = 0, nan

    def __call__(self) -> float:
        published = self._log.cosigning.published
        size = 0 if published is None else published.checkpoint.size
        if size and size != self._of[0]:
            try:
                expires = float(parse_snapshot(parse_note(self._log.store.entry(size - 1)).text).expires)
            except (DecodeError, OSError):  # the other numbers are worth having all the same
                expires = nan
            self._of = size, expires
        return self._of[1] if size else nan


def vouched(now: Callable[[], float], cosigning: Cosigning) -> float:
    """Return the time of the ledger's clock, as far as a quorum of witnesses vouches for it.

    A clock that runs ahead, with a gateway's on the same machine, would make void what are slots of the future, and
    nothing takes that back.
    """
    known = cosigning.published
    return min(now(), (0 if known is None else known.since) + MAX_CLOCK_DIFFERENCE)


def slots_of(config: Config) -> Slots:
    """Return the slots of the keys log, which the configuration was checked to have."""
    if config.t0 is None or config.period_seconds is None:
        raise UsageError("a keys log without slots")
    return Slots(config.t0, config.period_seconds)
