"""The pool's verified keys, by this device's own clock: fetched once for a slot, and ahead of the next.

A key encrypts in its own slot only, and which slot that is nobody but the device's clock says. What verifies for the
next epoch is kept, and verified again when its slot begins, so that no request waits for a fetch then. To have it by
then, a client that is in use fetches once more before the slot ends, at a moment that nobody can predict: devices
that came all at once would tell who is in use, and fall on the relays together. So it does before the ledger's proofs
of the present keys are too old, where a policy takes none that last for the slot.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from seclude.attestation.policy import Policy
from seclude.attestation.steps import Step
from seclude.attestation.verify import TrustedPool, verify_bundle
from seclude.client.consistency import Agreement, Sightings, agree, ask_all
from seclude.client.offers import Offer, fetch_offer
from seclude.client.receipts import Use
from seclude.client.relays import RANDOM, Endpoint, Relays
from seclude.client.trees import Trees
from seclude.errors import BusyError, ConfigError, PolicyError, UpstreamError, VerificationError

# Between which parts of a period before keys may not be used any more the next are fetched: of the period, or of the
# life of the ledger's proofs, where that is shorter. By the first half of a slot every party has the keys of the next;
# the last tenth is left for a fetch that is slow.
AHEAD: Final = (0.5, 0.1)

Observer = Callable[[Step], None]


class Keys:
    """What is known of the pool's keys. Everything is kept in memory, and nothing for longer than its epoch lives."""

    def __init__(
        self, policy: Policy, relays: Relays, sightings: Sightings, trees: Trees, clock: Callable[[], float]
    ) -> None:
        self._policy = policy
        self._relays = relays
        self._sightings = sightings
        self._clock = clock
        self._trees = trees
        self._pools: dict[int, TrustedPool] = {}
        self._next: dict[int, bytes] = {}
        self._planned: set[tuple[int, int]] = set()
        self._fetching: asyncio.Task[TrustedPool] | None = None
        self._ahead: set[asyncio.Task[None]] = set()

    async def current(self) -> Use:
        """Return the verified keys of the present slot, fetched at most once however many ask at once."""
        pool = self._held()
        if pool is None:
            if self._fetching is None or self._fetching.done():
                self._fetching = asyncio.create_task(self.verify())
                self._fetching.add_done_callback(_retrieve)
            # Shielded, so that one caller who gives up does not take the answer, or the failure, from the others.
            pool = await asyncio.shield(self._fetching)
        self._fetch_ahead(pool)
        return Use(pool, self._clock())

    async def verify(self, observe: Observer | None = None) -> TrustedPool:
        """Fetch the bundles from a relay and verify the present slot's; raises VerificationError with its step.

        Another relay is asked where one gives none of the present slot, or none that verifies. `observe` is called for
        the bundle that is used, or for the first that was refused.
        """
        offers = await self._relays.fetch(self._fetch, lambda offer: self._epoch() in offer.bundles)
        epoch = self._epoch()
        seen = self._compare(offers, epoch)
        return self._trust(self._choose(offers, epoch, observe), seen, observe)

    async def verify_everywhere(
        self, sources: Sequence[Endpoint], observe: Observer | None = None
    ) -> tuple[TrustedPool, Agreement]:
        """Fetch the bundles from every source, compare them all, and verify the present slot's."""
        offers, failed = await ask_all(sources, self._fetch)
        epoch = self._epoch()
        seen = self._compare(offers, epoch)
        bundle = self._choose(offers, epoch, observe)
        agreement = agree(offers, failed, epoch)
        return self._trust(bundle, seen, observe), agreement

    def drop(self, pool: TrustedPool) -> None:
        """Forget a pool that does not answer to its key, unless that was replaced meanwhile."""
        if self._pools.get(pool.epoch) is pool:
            del self._pools[pool.epoch]

    async def close(self) -> None:
        """Drop the keys and end what runs in the background."""
        running = [*self._ahead, *([self._fetching] if self._fetching is not None else [])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._pools.clear()
        self._next.clear()
        self._planned.clear()

    def _epoch(self) -> int:
        try:
            return self._policy.slots.epoch_at(self._clock())
        except ConfigError as exc:
            raise PolicyError(str(exc), step=10) from exc

    def _held(self) -> TrustedPool | None:
        """Return the verified pool of the present slot, if what is here is enough for it."""
        epoch = self._epoch()
        self._sightings.require_one(epoch)
        pool = self._pools.get(epoch)
        if pool is not None and self._clock() < pool.expires_at:
            return pool
        bundle = self._next.pop(epoch, None)
        if bundle is not None:
            with suppress(VerificationError):  # a relay may have a good one; if not, the fetch says what is wrong
                return self._trust(bundle, self._sightings.digests())
        return None

    async def _fetch(self, endpoint: Endpoint) -> Offer:
        return await fetch_offer(endpoint, self._policy, self._clock, self._trees.known)

    def _compare(self, offers: Sequence[Offer], epoch: int) -> Mapping[int, bytes]:
        """Compare what was offered with all that was seen, keep the next epoch's, and return what was seen before.

        Keys come before trees: where a log is split, both sources' keys verify by themselves, and convict more.
        """
        seen = self._sightings.digests()
        self._sightings.compare(offers, _live(epoch))
        for offer in offers:
            for trees in offer.shown:
                self._trees.remember(trees)
        known = self._next | _merge(offers)
        self._next = {number: bundle for number, bundle in known.items() if number == epoch + 1}
        return seen

    def _choose(self, offers: Sequence[Offer], epoch: int, observe: Observer | None) -> bytes:
        """Return a bundle of the present slot that verifies; raises why the first of them does not.

        Where there are none of that slot, raises PolicyError of step 10 that says what was offered instead.
        """
        self._sightings.require_one(epoch)
        good = _merge(offers)
        if epoch in good:
            return good[epoch]
        refusal = next((offer.refused[epoch] for offer in offers if epoch in offer.refused), None)
        if refusal is not None:
            if observe is not None:
                for step in refusal.passed:
                    observe(step)
            raise refusal.reason
        others = sorted({*good, *(number for offer in offers for number in offer.refused)})
        instead = "; ".join(self._policy.slots.outside(number, epoch) for number in others)
        raise PolicyError(f"no keys of epoch {epoch}, which is now, were offered: {instead}", step=10)

    def _trust(self, bundle: bytes, seen: Mapping[int, bytes], observe: Observer | None = None) -> TrustedPool:
        pool = verify_bundle(bundle, self._policy, self._clock(), seen, known=self._trees.known, observe=observe)
        if pool.ledger is not None:
            self._trees.remember(pool.ledger.outlines)
        live = _live(pool.epoch)
        self._pools = {epoch: held for epoch, held in self._pools.items() if epoch in live} | {pool.epoch: pool}
        return pool

    def _fetch_ahead(self, pool: TrustedPool) -> None:
        """See to it that keys are fetched once before these may not be used any more."""
        now, slots = self._clock(), self._policy.slots
        ends = min(pool.expires_at, slots.end(pool.epoch))
        life = min(slots.period_seconds, self._policy.max_checkpoint_age_seconds)
        earliest, latest = (ends - part * life for part in AHEAD)
        if (pool.epoch, ends) in self._planned or now > latest:
            return
        self._planned = {plan for plan in self._planned if plan[0] in _live(pool.epoch)} | {(pool.epoch, ends)}
        task = asyncio.create_task(self._refresh(pool.epoch, ends, RANDOM.uniform(max(now, earliest), latest) - now))
        self._ahead.add(task)
        task.add_done_callback(self._ahead.discard)

    async def _refresh(self, epoch: int, ends: int, delay: float) -> None:
        await asyncio.sleep(delay)
        goes_on = ends < self._policy.slots.end(epoch)
        wanted = epoch if goes_on else epoch + 1
        # Whoever asks next meets the same failure and hears of it, and a difference was written down.
        with suppress(UpstreamError, BusyError, VerificationError):
            if self._epoch() == epoch:  # or the device slept, and nobody has asked since it woke up
                offers = await self._relays.fetch(self._fetch, lambda offer: wanted in offer.bundles)
                seen = self._compare(offers, self._epoch())
                if goes_on and self._epoch() == epoch:
                    self._trust(self._choose(offers, epoch, None), seen)


def _live(epoch: int) -> range:
    """Return the epochs whose keys may exist: the one that still opens, the present, and the one that is announced."""
    return range(epoch - 1, epoch + 2)


def _merge(offers: Sequence[Offer]) -> dict[int, bytes]:
    return {epoch: bundle for offer in offers for epoch, bundle in offer.bundles.items()}


def _retrieve(fetching: asyncio.Task[TrustedPool]) -> None:
    """Take note of a failure, or asyncio would log it where every caller has given up."""
    if not fetching.cancelled():
        fetching.exception()
