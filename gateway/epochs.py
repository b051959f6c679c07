"""The reconciler: one task that compares what the pool holds with what it should hold, and takes one step at a time.

It is driven by state and not by events: after each step the workers concerned are asked again, and the next decision
(`plan.py`) starts from what they say. It carries bundles, nonces and sealed keys without being able to read them, and
checks of a bundle only that it is of the epoch and the core that it is published for; trust is the devices' business.
Where there is a ledger, it hands in what is born, and staples to what it publishes what the ledger showed last.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from secrets import SystemRandom
from typing import Final, Protocol

from gateway.ledger import Ledger, LedgerError, TakenError
from gateway.link import Link, RefusedError, poll
from gateway.plan import Birth, Join, KeysLog, Log, Publish, Retire, Step, View, elect, next_step, shortfall
from gateway.pool import Pool, State, Worker
from seclude.attestation.bundle import Bundle, core_digest, parse_bundle, parse_core, serialize_bundle
from seclude.attestation.slots import Slots
from seclude.errors import ConfigError, DecodeError, PeerError, UpstreamError

TICK_SECONDS: Final = 0.5  # how late a rested worker or a jump of the clock is noticed; changes of the pool wake it
STEP_SECONDS: Final = 10.0  # for all messages of a step: one worker that hangs keeps the others from their keys
REST_SECONDS: Final = 1.0  # after a first failure; doubles with each further one
MAX_REST_SECONDS: Final = 32.0  # a twentieth of a slot
MAX_FAILURES: Final = 5  # the doubling stops here
REST_JITTER: Final = 0.25  # of the rest, taken off: the gateways of one pool should not come back in step
RENEW_SECONDS: Final = 60.0  # for a worker to drain and to come back; one that does not is missing, and not renewing
# How long into a slot the keys of the one before are offered beside its own, to devices whose clock is behind: a minute
# is more than a synchronized clock is off, and a quarter of a slot is what short slots have to spare.
GRACE_SECONDS: Final = 60.0
GRACE_PART: Final = 0.25


@dataclass(frozen=True, slots=True)
class Offer:
    """What everyone is given for one epoch."""

    epoch: int
    core: str
    bundle: bytes
    key_configs: bytes
    parts: Bundle
    """What is in the bundle."""

    def staple(self, proofs: bytes) -> "Offer":
        """Return the same keys with other proofs."""
        parts = replace(self.parts, proofs=proofs)
        return replace(self, bundle=serialize_bundle(parts), parts=parts)


class Observer(Protocol):
    """Hears what the reconciler did."""

    def stepped(self, step: Step, failure: Exception | None) -> None:
        """Take note of a step and of what went wrong with it."""
        ...


@dataclass(slots=True)
class _Trouble:
    failures: int = 0
    until: float = 0.0


class Reconciler:
    """Keeps the epoch of now, and the next one ahead of its slot, born, shared and published."""

    def __init__(
        self,
        pool: Pool,
        links: Sequence[Link],
        slots: Slots,
        clock: Callable[[], float],
        *,
        single: bool,
        announce_seconds: float,
        observer: Observer,
        ledger: Ledger | None = None,
    ) -> None:
        """`announce_seconds` is how long before its slot an epoch should have keys."""
        self._pool = pool
        self._links = links
        self._slots = slots
        self._clock = clock
        self._quorum = 1 if single else 2
        self._announce_seconds = announce_seconds
        self._observer = observer
        self._offers: dict[int, Offer] = {}
        self._drafts: dict[str, Offer] = {}  # what was born, until it is published
        self._ledger = ledger
        self._logged: dict[int, str] = {}  # the core that a leaf was found to stand for
        self._refused: set[tuple[int, str]] = set()  # epochs and cores whose leaf was found to be another's
        self._ledger_trouble = _Trouble()
        self._trouble: dict[int, _Trouble] = {}
        self._doubtful: dict[int, Worker] = {}
        self._retired: tuple[Worker, float] | None = None  # who was told to last, and until when it is waited for

    @property
    def epoch(self) -> int | None:
        """The epoch of now; None while the clock stands before the first slot."""
        try:
            return self._slots.epoch_at(self._clock())
        except ConfigError:
            return None

    @property
    def _wanted(self) -> tuple[int, ...]:
        """The epochs that should have keys: that of now, and the next one when it is time to announce it."""
        epoch = self.epoch
        if epoch is None:
            return ()
        return (epoch, epoch + 1) if self._seconds_left(epoch) <= self._announce_seconds else (epoch,)

    @property
    def offer(self) -> Offer | None:
        """What is published for the slot of now."""
        epoch = self.epoch
        return None if epoch is None else self._stapled(epoch)

    @property
    def announced(self) -> Offer | None:
        """What is published for the next slot."""
        epoch = self.epoch
        return None if epoch is None else self._stapled(epoch + 1)

    @property
    def logged(self) -> int | None:
        """The newest live epoch of which it is known that its keys are logged; None where there is none."""
        return max(self._logged, default=None)

    @property
    def offers(self) -> tuple[Offer, ...]:
        """What devices are given, in the order of the slots: the last one too while this one is young."""
        epoch = self.epoch
        if epoch is None:
            return ()
        first = epoch - 1 if self._grace_left(epoch) > 0 else epoch
        found = map(self._stapled, range(first, epoch + 2))
        return tuple(offer for offer in found if offer is not None)

    @property
    def seconds_unchanged(self) -> float:
        """Return how long what is offered will surely be the same, but for keys that are late.

        Proofs are stapled anew meanwhile; the ones before stay good for far longer than anybody may keep them.
        """
        epoch = self.epoch
        if epoch is None:
            return 0.0
        left = self._seconds_left(epoch)
        changes = (left, left - self._announce_seconds, self._grace_left(epoch))
        return min((each for each in changes if each > 0), default=0.0)

    def _seconds_left(self, epoch: int) -> float:
        """Return how much of a slot is left."""
        return self._slots.end(epoch) - self._clock()

    def _grace_left(self, epoch: int) -> float:
        """Return how long the keys of the slot before are still offered; not above zero when no longer."""
        grace = min(GRACE_SECONDS, GRACE_PART * self._slots.period_seconds)
        return self._slots.start(epoch) + grace - self._clock()

    def _stapled(self, epoch: int) -> Offer | None:
        """Return what is published for an epoch, with what the ledger showed last."""
        offer = self._offers.get(epoch)
        if offer is not None and self._ledger is not None and offer.parts.proofs is not self._ledger.proofs:
            offer = self._offers[epoch] = offer.staple(self._ledger.proofs)
        return offer

    async def run(self) -> None:
        """Reconcile for as long as the gateway runs: when the pool changes, when a slot begins, and now and then."""
        while True:
            await self.reconcile()
            pause = min(TICK_SECONDS, self.seconds_unchanged or TICK_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._pool.changed()

    async def reconcile(self) -> None:
        """Take steps until there is nothing left to do; a worker or ledger that fails a step rests, so this ends."""
        while (step := self._next_step()) is not None:
            failure = await self._take(step)
            self._observer.stepped(step, failure)

    def _next_step(self) -> Step | None:
        epoch = self.epoch
        if epoch is None:
            return None
        live = range(max(0, epoch - 1), epoch + 2)  # the one that still opens, the one of now, one announced ahead
        self._offers = {number: offer for number, offer in self._offers.items() if number in live}
        cores = {number: offer.core for number, offer in self._offers.items()}
        now = asyncio.get_running_loop().time()
        keys_log = self._look_at_log(live, now)
        elected = elect(self._pool.workers, live, cores, keys_log)
        self._pool.elect(elected)
        self._drafts = {core: draft for core, draft in self._drafts.items() if core in elected.values()}
        self._doubtful = {number: worker for number, worker in self._doubtful.items() if number in live}
        return next_step(
            View(
                workers=self._pool.workers,
                elected=elected,
                published=self._offers.keys(),
                wanted=self._wanted,
                quorum=self._quorum,
                failures={index: trouble.failures for index, trouble in self._trouble.items()},
                resting={index for index, trouble in self._trouble.items() if trouble.until > now},
                doubtful=self._doubtful,
                renewing=self._is_renewing(now),
                keys_log=keys_log,
            )
        )

    def _look_at_log(self, live: Collection[int], now: float) -> KeysLog | None:
        """Return what is known of the keys log, forgetting what is no longer live; None where there is no ledger."""
        if self._ledger is None:
            return None
        self._logged = {number: core for number, core in self._logged.items() if number in live}
        self._refused = {(number, core) for number, core in self._refused if number in live}
        taken = {number for number in live if self._ledger.has_leaf(number)}
        return KeysLog(
            taken=taken | {number for number, _ in self._refused},
            cores=self._logged,
            refused=self._refused,
            answers=bool(self._ledger.proofs) and self._ledger_trouble.until <= now,
        )

    def _is_renewing(self, now: float) -> bool:
        """Whether the worker that was told to retire may still be on its way back."""
        if self._retired is None:
            return False
        worker, until = self._retired
        back = worker.state is State.READY and worker.status is not None and not worker.status.due
        if back or now >= until:
            self._retired = None
        return self._retired is not None

    async def _take(self, step: Step) -> Exception | None:
        """Take one step; return what went wrong, after which the worker or the ledger concerned rests."""
        before = self._shortfall(step.worker)
        failure: Exception | None = None
        try:
            async with asyncio.timeout(STEP_SECONDS):
                await self._carry_out(step)
        except TimeoutError:
            failure = UpstreamError("a step was not done in time", timed_out=True)
        except LedgerError as exc:
            self._let_ledger_rest(step, exc)
            return exc
        except (UpstreamError, PeerError) as exc:
            failure = exc
        if isinstance(step, Birth | Log) and failure is None:
            self._ledger_trouble = _Trouble()
        if isinstance(step, Birth | Join | Retire):
            await poll(self._pool, step.worker, self._links[step.worker.index])
            if failure is None and not self._has_gained(step, before):
                failure = DecodeError("a worker does not do what it was asked for")
        if failure is None:
            self._trouble.pop(step.worker.index, None)
        else:
            _rest(self._trouble.setdefault(step.worker.index, _Trouble()))
        return failure

    def _let_ledger_rest(self, step: Step, failure: LedgerError) -> None:
        """See to a step that the ledger did not let happen, which is no worker's fault."""
        if not isinstance(failure, TakenError):
            _rest(self._ledger_trouble)
        elif isinstance(step, Log):
            self._refused.add((step.epoch, step.core))
            self._drafts.pop(step.core, None)

    async def _carry_out(self, step: Step) -> None:
        match step:
            case Birth():
                await self._birth(step)
            case Join():
                await self._join(step)
            case Publish():
                self._offers[step.epoch] = await self._draft(step)
                self._drafts.pop(step.core, None)
            case Log():
                await self._log(step)
            case Retire():
                await self._links[step.worker.index].retire()
                self._retired = step.worker, asyncio.get_running_loop().time() + RENEW_SECONDS

    def _has_gained(self, step: Birth | Join | Retire, before: tuple[int, ...]) -> bool:
        if isinstance(step, Birth):
            return step.epoch in step.worker.cores
        if isinstance(step, Retire):
            return step.worker.status is None or step.worker.status.draining
        return self._shortfall(step.worker) < before

    def _shortfall(self, worker: Worker) -> tuple[int, ...]:
        return shortfall(worker.cores, self._pool.elected, self._wanted)

    async def _birth(self, step: Birth) -> None:
        proofs = b""
        if self._ledger is not None:
            await self._ledger.fetch()  # the newest: they date the core, and another gateway may have been first
            if self._ledger.has_leaf(step.epoch):
                raise TakenError
            proofs = self._ledger.proofs
        self._doubtful[step.epoch] = step.worker
        try:
            bundle = await self._links[step.worker.index].birth(step.epoch, proofs)
        except RefusedError:
            self._doubtful.pop(step.epoch, None)
            raise
        self._doubtful.pop(step.epoch, None)
        offer = _read_offer(bundle)
        self._drafts[offer.core] = offer

    async def _join(self, step: Join) -> None:
        joiner, member = self._links[step.worker.index], self._links[step.member.index]
        request = await joiner.join(await member.nonce())
        await joiner.keys(await member.admit(request), self._proofs)

    async def _log(self, step: Log) -> None:
        assert self._ledger is not None  # or the plan would not know of a keys log
        draft = await self._draft(step)
        self._drafts[step.core] = draft
        await self._ledger.log(step.epoch, draft.parts.core, draft.parts.evidence)
        self._logged[step.epoch] = step.core

    async def _draft(self, step: Publish | Log) -> Offer:
        """Return the keys that a step is about.

        A gateway that did not see the birth gets the bundle by asking for it again: a holder makes nothing new.
        """
        offer = self._drafts.get(step.core)
        if offer is None:
            offer = _read_offer(await self._links[step.worker.index].birth(step.epoch, self._proofs))
        if (offer.epoch, offer.core) != (step.epoch, step.core):
            raise DecodeError("the bundle is not of the epoch and the core that were elected")
        return offer

    @property
    def _proofs(self) -> bytes:
        return b"" if self._ledger is None else self._ledger.proofs


def _rest(trouble: _Trouble) -> None:
    """Leave a worker or the ledger alone for a while."""
    rest = min(REST_SECONDS * 2**trouble.failures, MAX_REST_SECONDS)
    rest *= SystemRandom().uniform(1 - REST_JITTER, 1)
    trouble.failures = min(trouble.failures + 1, MAX_FAILURES)
    trouble.until = asyncio.get_running_loop().time() + rest


def _read_offer(data: bytes) -> Offer:
    bundle = parse_bundle(data)
    core = parse_core(bundle.core)
    return Offer(core.epoch, core_digest(bundle.core).hex(), data, core.key_configs, bundle)
