"""The ledger as the gateway reaches it: what it shows is fetched on a timer, and epochs are handed in to be logged.

Nothing is verified here but hashes: a signature that is false is for workers and devices to see. One thing is looked
at, that each log has grown out of the tree that was seen before. Proofs of another tree are passed on to nobody, and
what was shown before stays in use: so a ledger that was set back, or that shows two trees, is noticed here first.
"""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from http import HTTPStatus
from secrets import SystemRandom
from typing import Final, Protocol

from seclude.attestation.bundle import MAX_PROOFS
from seclude.attestation.proofs import LogView, Proofs, epoch_leaf, parse_proofs
from seclude.daemon.tls import ClientCertificates
from seclude.daemon.upstream import Upstream, UpstreamTimeouts
from seclude.errors import DecodeError, EvidenceError, UpstreamError
from seclude.ledger import EPOCH_LABEL, EpochSubmission, seal_submission, serialize_epoch
from seclude.ledger import Path as Place
from seclude.pool import OCTETS
from seclude.tlog.outline import require_consistent

PERIOD_PART: Final = 0.1  # of a period: proofs are accepted for two
MAX_INTERVAL_SECONDS: Final = 30.0
FIRST_RETRY_SECONDS: Final = 0.5  # all parties may start at once; doubles up to the interval
JITTER: Final = 0.2  # of every pause: the gateways of one ledger should not ask in step
TIMEOUT_SECONDS: Final = 3.0  # the ledger waits two for its witnesses; a step asks three times at most, and has ten
ACCEPTED_PERIODS: Final = 2  # devices take proofs of that age unless their policy says otherwise
OLD: Final = "the ledger's proofs do not change"


class Fault(StrEnum):
    """What is wrong with a ledger, as a label."""

    SILENT = "silent"
    STATUS = "status"
    UNREADABLE = "unreadable"
    INCONSISTENT = "inconsistent"
    NOT_SHOWN = "not_shown"
    TAKEN = "taken"


SENTENCES: Final = {
    Fault.SILENT: "the ledger does not answer",
    Fault.STATUS: "the ledger answers with an error",
    Fault.UNREADABLE: "the ledger's proofs do not parse",
    Fault.INCONSISTENT: "the ledger shows another tree than before",
    Fault.NOT_SHOWN: "the ledger does not show what it took",
    Fault.TAKEN: "the leaf of the epoch is another's",
}


class LedgerError(UpstreamError):
    """Raised when the ledger cannot be reached, or does not do or show what it should; `status` is 0 without one."""

    def __init__(self, fault: Fault, *, status: int = 0, timed_out: bool = False) -> None:
        super().__init__(SENTENCES[fault], timed_out=timed_out)
        self.fault = fault
        self.status = status


class TakenError(LedgerError):
    """Raised when the leaf of an epoch stands for other keys, or for none: these can never be logged."""

    def __init__(self, *, status: int = 0) -> None:
        super().__init__(Fault.TAKEN, status=status)


class Listener(Protocol):
    """Hears how it goes with the ledger."""

    def fetched(self, failure: LedgerError | None) -> None:
        """Take note of a fetch of the proofs."""
        ...


class Ledger:
    """One ledger, what it showed last, and the way to it."""

    def __init__(self, upstream: Upstream, secret: bytes, period_seconds: float, listener: Listener) -> None:
        self._upstream = upstream
        self._secret = secret
        self._period_seconds = period_seconds
        self._listener = listener
        self._interval = min(PERIOD_PART * period_seconds, MAX_INTERVAL_SECONDS)
        self._failures = 0
        self._faults: dict[str, Fault] = {}  # by what was asked for last
        self._fetching = asyncio.Lock()  # or what is older could arrive after what is newer
        self._proofs = b""
        self._parsed: Proofs | None = None
        self._changed_at = 0.0

    @property
    def proofs(self) -> bytes:
        """What was fetched last, to be stapled; empty before the first time."""
        return self._proofs

    @property
    def fault(self) -> Fault | None:
        """What was wrong when it was last asked for something; None where all is well, or nothing was asked yet."""
        return next(iter(self._faults.values()), None)

    def age(self, now: float) -> float | None:
        """Return for how long the proofs have been the same, in seconds of the loop's clock.

        Witnesses are asked every few seconds, so proofs that do not change are those of a ledger that has lost them.
        """
        return None if self._parsed is None else max(0.0, now - self._changed_at)

    def reasons(self, now: float, *, serving: bool) -> list[str]:
        """Return what keeps keys from devices: what is wrong with the ledger while none are served, or old proofs.

        What is served goes on for as long as devices accept the proofs, so until then a fault is no reason.
        """
        if not serving and self.fault is not None:
            return [SENTENCES[self.fault]]
        age = self.age(now)
        if age is None:
            return ["no proofs of the ledger"]
        return [OLD] if age > ACCEPTED_PERIODS * self._period_seconds else []

    def has_leaf(self, epoch: int) -> bool:
        """Whether something stands in the keys log for an epoch."""
        return self._parsed is not None and epoch < self._parsed.keys.outline.size

    def shows(self, epoch: int, core: bytes, evidence: bytes) -> bool:
        """Whether the leaf of an epoch is this core with this evidence."""
        if self._parsed is None or not self.has_leaf(epoch):
            return False
        return self._parsed.keys.outline.leaf(epoch) == epoch_leaf(core, evidence)

    async def log(self, epoch: int, core: bytes, evidence: bytes) -> None:
        """Return when the keys log shows this core and evidence as its leaf; that may be so already.

        Raises LedgerError, and TakenError where it shows something else.
        """
        if not self.has_leaf(epoch):
            await self._submit(EpochSubmission(epoch, core, evidence))
            await self.fetch()
        if self.shows(epoch, core, evidence):
            return
        raise TakenError if self.has_leaf(epoch) else LedgerError(Fault.NOT_SHOWN)

    async def fetch(self) -> None:
        """Fetch the proofs; raises LedgerError, and then those from before stay."""
        async with self._fetching:
            try:
                self._take(await self._say("GET", Place.PROOFS))
            except LedgerError as exc:
                self._failures += 1
                self._faults[Place.PROOFS] = exc.fault
                self._listener.fetched(exc)
                raise
            self._failures = 0
            self._listener.fetched(None)

    async def keep(self, changed: Callable[[], None]) -> None:
        """Keep the proofs fresh for as long as the gateway runs, and tell when they are others."""
        while True:
            before = self._proofs
            try:
                await self.fetch()
            except LedgerError:
                pause = min(FIRST_RETRY_SECONDS * 2.0 ** min(self._failures - 1, 10), self._interval)
            else:
                pause = self._interval
            if self._proofs != before:
                changed()
            await asyncio.sleep(pause * SystemRandom().uniform(1 - JITTER, 1))

    async def close(self) -> None:
        """Close all connections."""
        await self._upstream.close()

    def _take(self, data: bytes) -> None:
        try:
            parsed = parse_proofs(data)
            if self._parsed is not None:
                _require_grown(self._parsed.keys, parsed.keys)
                _require_grown(self._parsed.state, parsed.state)
        except DecodeError:
            raise LedgerError(Fault.UNREADABLE) from None
        except EvidenceError as exc:
            raise LedgerError(Fault.INCONSISTENT) from exc
        if data != self._proofs:
            self._changed_at = asyncio.get_running_loop().time()
        self._proofs, self._parsed = data, parsed

    async def _submit(self, submission: EpochSubmission) -> None:
        body = seal_submission(EPOCH_LABEL, serialize_epoch(submission), self._secret)
        try:
            await self._say("POST", Place.ADD_EPOCH, body)
        except LedgerError as exc:
            if exc.status != HTTPStatus.CONFLICT:
                raise
            raise TakenError(status=exc.status) from None

    async def _say(self, method: str, path: str, body: bytes = b"") -> bytes:
        try:
            answer = await self._upstream.exchange(method, path, content_type=OCTETS if body else None, body=body)
        except UpstreamError as exc:
            self._faults[path] = Fault.SILENT
            raise LedgerError(Fault.SILENT, timed_out=exc.timed_out) from exc
        if answer.status != HTTPStatus.OK:
            if answer.status != HTTPStatus.CONFLICT:
                self._faults[path] = Fault.STATUS
            raise LedgerError(Fault.STATUS, status=answer.status)
        self._faults.pop(path, None)
        return answer.body


def _require_grown(before: LogView, now: LogView) -> None:
    """Refuse a tree that is not the one before with nothing or something added to it; raises EvidenceError."""
    if now.outline.size < before.outline.size:
        raise EvidenceError(f"the log had {before.outline.size} leaves, and has {now.outline.size}")
    require_consistent(before.outline, now.outline)


def connect(address: str, tls: ClientCertificates, *, insecure_plaintext: bool) -> Upstream:
    """Return the way to a ledger, without using it yet; raises ConfigError."""
    return Upstream(
        address,
        timeouts=UpstreamTimeouts(total=TIMEOUT_SECONDS),
        max_answer_bytes=MAX_PROOFS,
        tls=tls,
        insecure_plaintext=insecure_plaintext,
    )
