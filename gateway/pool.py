"""The pool: what the gateway knows of its workers, and which of them gets a request.

Nothing here opens a socket or reads a clock: polls and exchanges report what they saw, and the choice follows. A worker
gets requests for a key only while it is ready and holds the *elected* core of that epoch: two cores of one epoch carry
the same key identifier, and a request made for one of them cannot be opened with the other.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Final

from msgspec.structs import replace

from seclude.errors import UnknownKeyError
from seclude.pool import Held, Status

# Polls in a row without an answer after which a worker's requests go to others. The first may fall into a pause of a
# worker that is alive, and a whole pool's requests done twice would cost more than the second and a half of waiting.
MAX_MISSED: Final = 2


class State(StrEnum):
    """How a worker stands."""

    READY = "ready"
    UNREADY = "unready"
    """It answers, and asks not to be given requests."""
    DOWN = "down"


@dataclass(slots=True)
class Worker:
    """One worker; it has no name but its place in the configuration."""

    index: int
    status: Status | None = None
    """What it said last; None while it is down."""
    carried: set[Callable[[], None]] = field(default_factory=set)
    """How to give up each of the requests that it has."""
    generation: int = 0
    """Counts what exchanges found wrong with it, so that a poll which began before cannot undo that."""
    missed: int = 0
    """How many polls in a row had no answer."""
    polled: bool = False
    """Whether any poll has ended: until then nothing is known of it, not even that it is down."""

    @property
    def inflight(self) -> int:
        """Return how many requests it has."""
        return len(self.carried)

    @property
    def state(self) -> State:
        """Return its state by what it said last."""
        if self.status is None:
            return State.DOWN
        return State.READY if self.status.ready else State.UNREADY

    @property
    def held(self) -> tuple[Held, ...]:
        """Return the epochs that it holds; none while it is down."""
        return () if self.status is None else self.status.epochs

    @property
    def cores(self) -> dict[int, str]:
        """Return the core that it holds for each epoch."""
        return {held.epoch: held.core for held in self.held}

    def holds(self, epoch: int, core: str | None) -> bool:
        """Whether it holds this very core for an epoch."""
        return core is not None and self.cores.get(epoch) == core


class Pool:
    """All workers of one gateway."""

    def __init__(self, size: int, draw: Random | None = None) -> None:
        self.workers = tuple(Worker(index) for index in range(size))
        self._draw = draw or Random()  # noqa: S311 - no secret: steering a request to a worker gains nothing
        self._elected: dict[int, str] = {}
        self._known: dict[int, frozenset[int]] = {}  # the key identifiers of each elected core
        self._routes: Mapping[int, Sequence[Worker]] = {}  # who can be given requests for a key identifier
        self._signal = asyncio.Event()

    @property
    def elected(self) -> Mapping[int, str]:
        """The core that counts for each live epoch."""
        return self._elected

    def elect(self, elected: Mapping[int, str]) -> None:
        """Say which core counts for each live epoch; the keys of any other are not routed."""
        if elected != self._elected:
            # With the last holder gone a key stays known: the answer is then "not now", and not "never heard of".
            self._known = {
                epoch: known for epoch, known in self._known.items() if elected.get(epoch) == self._elected[epoch]
            }
            self._elected = dict(elected)
            self._update()

    def observe(self, worker: Worker, status: Status | None, generation: int) -> None:
        """Take in what a worker said, None for nothing of use; `generation` is its own from when the poll began."""
        worker.missed = 0
        stale = status is not None and generation != worker.generation
        if not stale and (not worker.polled or status != worker.status):
            worker.polled = True
            worker.status = status
            self._update()

    def miss(self, worker: Worker) -> None:
        """Take in that a poll had no answer; after a second one, requests whose answer has not begun are given up."""
        missed = worker.missed + 1
        self.observe(worker, None, worker.generation)
        worker.missed = missed
        if missed >= MAX_MISSED:
            for give_up in tuple(worker.carried):
                give_up()

    def fail(self, worker: Worker) -> None:
        """Take a worker out at once, since an exchange with it went wrong; the next poll may bring it back."""
        worker.generation += 1
        worker.status = None
        self._update()

    def lacks(self, worker: Worker, key_id: int) -> None:
        """Take in that a worker does not hold a key which it had named: until the next poll it has no such epoch."""
        if worker.status is not None:
            held = tuple(held for held in worker.status.epochs if key_id not in held.key_ids)
            worker.generation += 1
            worker.status = replace(worker.status, epochs=held)
            self._update()

    def choose(self, key_id: int, excluding: Set[int]) -> Worker | None:
        """Return the less busy of two workers drawn at random, which spreads load nearly as well as asking them all."""
        able = self._routes.get(key_id, ())
        if excluding:
            able = [worker for worker in able if worker.index not in excluding]
        count = len(able)
        if count < 2:
            return able[0] if able else None
        first = int(self._draw.random() * count)
        second = (first + 1 + int(self._draw.random() * (count - 1))) % count
        one, other = able[first], able[second]
        return one if len(one.carried) <= len(other.carried) else other

    async def find(self, key_id: int, excluding: Set[int], patience: float) -> Worker | None:
        """Return a worker, or None when none got ready within `patience` seconds; raises UnknownKeyError.

        That a key is unknown can only be told while some key is served: a gateway that has just started knows none.
        """
        try:
            async with asyncio.timeout(patience):
                while (worker := self.choose(key_id, excluding)) is None:
                    if len(excluding) == len(self.workers):
                        return None
                    if self._routes and not any(key_id in known for known in self._known.values()):
                        raise UnknownKeyError("no live epoch has this key identifier")
                    await self.changed()
                return worker
        except TimeoutError:
            return None

    async def changed(self) -> None:
        """Wait for the next change of a worker's status or of the elected cores."""
        await self._signal.wait()

    def wake(self) -> None:
        """Wake everyone who waits for a change, since something else changed that they look at."""
        self._signal.set()
        self._signal = asyncio.Event()

    def count(self, state: State) -> int:
        """Return how many workers are in a state."""
        return sum(worker.state is state for worker in self.workers)

    def serves(self, epoch: int) -> bool:
        """Whether a ready worker holds the elected core of an epoch."""
        core = self._elected.get(epoch)
        return any(worker.state is State.READY and worker.holds(epoch, core) for worker in self.workers)

    def _update(self) -> None:
        """Work out again who serves what, and wake everyone who waits for a change."""
        routes: dict[int, list[Worker]] = {}
        for worker in self.workers:
            for held in worker.held:
                if self._elected.get(held.epoch) != held.core:
                    continue
                self._known[held.epoch] = self._known.get(held.epoch, frozenset()) | held.key_ids
                if worker.state is State.READY:
                    for key_id in held.key_ids:
                        routes.setdefault(key_id, []).append(worker)
        self._routes = routes
        self.wake()
