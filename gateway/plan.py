"""What should happen next with the keys of a pool: pure decisions over what the workers say they hold.

The rules, each for one slot:

1. Nothing is decided before every worker was asked once, so that a gateway that starts late finds what exists.
2. If no worker holds a core, one worker is asked for a birth. The choice is the same for everyone who looks at the same
   pool, and a birth may be repeated, so two gateways before one pool ask the same worker for the same thing. While it
   is unknown whether a worker has made the key, no other worker is asked.
3. If workers hold different cores (a pool was split, or restarted in two halves), the one with more holders counts,
   then the one with the lower digest. The others join its holders, which replaces their key; a key that does not count
   is neither published nor routed to.
4. A core is published when a second worker holds it, or at once in a pool declared single.
5. What was published stays: while this gateway runs it publishes no second core for a slot, as devices that saw the
   first would refuse it. A pool that lost its keys serves again from the next slot whose key was not published yet:
   with a whole period of announcement that is the one after the next, with less it can be the next.
6. A worker that lacks an elected core joins one that has it and runs the same software. A member gives everything that
   it holds, so it must leave the joiner better off as a whole, the slot of now first and the announced one second.
7. Nothing is done for the slot that is announced while there is something to do for the slot of now.
8. A worker that has served for long enough is told to retire when nothing else is to be done, another one that is ready
   and stays holds every key that counts, and no other is on its way out, or was told to retire and is not back yet. A
   pool declared single has no such other.

Where there is a ledger, leaf n of its keys log is epoch n, and these hold too:

9. A core that counts is logged as soon as it is known, the oldest slot first, before it is shared or published. So a
   worker that dies between the two takes its slot with it: the leaf stays, and nobody else has the keys.
10. A leaf decides for good which core counts, whoever holds another. A core that is not the one that is logged is given
   up, and a slot that has a leaf gets no birth. A worker that holds such a core, or one that is not logged yet, gives
   its keys to nobody, since a joiner takes what is logged and nothing else.
11. A leaf makes every slot before it void that has none. So while the slot of now has none, nothing is made or logged
   for the next: a birth that is in doubt, or a worker that rests, must not cost the keys of now.
12. While the ledger does not answer there are no births. What it has shown goes on: joins, publications, renewals.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

from gateway.pool import State, Worker

# Births in a row without an answer, half a minute in all: a slot without keys is worse than a key that is left over.
MAX_DOUBT: Final = 3


@dataclass(frozen=True, slots=True)
class Birth:
    """Ask a worker to make the keys of an epoch."""

    worker: Worker
    epoch: int


@dataclass(frozen=True, slots=True)
class Join:
    """Carry the messages by which one worker gets the keys of another."""

    worker: Worker
    member: Worker


@dataclass(frozen=True, slots=True)
class Publish:
    """Offer the bundle of an epoch to everyone; a holder has it."""

    worker: Worker
    epoch: int
    core: str


@dataclass(frozen=True, slots=True)
class Retire:
    """Let a worker stop that wishes to be renewed."""

    worker: Worker


@dataclass(frozen=True, slots=True)
class Log:
    """Have the keys of an epoch stand in the keys log, or see that they do; a holder has its bundle."""

    worker: Worker
    epoch: int
    core: str


Step = Birth | Join | Publish | Retire | Log


@dataclass(frozen=True, slots=True)
class KeysLog:
    """What is known of the ledger's keys log, of the epochs that are live."""

    taken: Set[int]
    """The epochs that have a leaf."""
    cores: Mapping[int, str]
    """The core that a leaf was found to stand for."""
    refused: Set[tuple[int, str]] = frozenset()
    """Epochs and cores of which it was found that the leaf is another's."""
    answers: bool = True
    """Whether the ledger may be asked now: not while it rests, nor before anything was heard of it."""


@dataclass(frozen=True, slots=True)
class View:
    """The pool at one moment."""

    workers: Sequence[Worker]
    elected: Mapping[int, str]
    """The core that counts, by epoch, from the oldest that still opens to the newest that is announced."""
    published: Set[int]
    wanted: Sequence[int]
    """The epochs that should have keys, the most urgent first."""
    quorum: int
    """How many workers must hold a key before it is published."""
    failures: Mapping[int, int]
    """How many steps in a row failed, by worker."""
    resting: Set[int]
    """Workers to leave alone for now, since a step with them has just failed."""
    doubtful: Mapping[int, Worker]
    """The worker, by epoch, that was asked for a birth and did not say whether it happened."""
    renewing: bool = False
    """Whether a worker that was told to retire may still be on its way back."""
    keys_log: KeysLog | None = None
    """None where there is no ledger."""


def elect(
    workers: Sequence[Worker], live: Sequence[int], published: Mapping[int, str], keys_log: KeysLog | None = None
) -> dict[int, str]:
    """Return the core that counts for each live epoch (rules 3, 5 and 10)."""
    elected = {}
    settled = published if keys_log is None else {**published, **keys_log.cores}
    refused = frozenset[tuple[int, str]]() if keys_log is None else keys_log.refused
    for epoch in live:
        votes = Counter(worker.cores[epoch] for worker in workers if epoch in worker.cores)
        for core in [core for core in votes if (epoch, core) in refused]:
            del votes[core]
        if epoch in settled:
            elected[epoch] = settled[epoch]
        elif votes:
            elected[epoch] = min(votes, key=lambda core: (-votes[core], core))
    return elected


def next_step(view: View) -> Step | None:
    """Return the most urgent thing to do, if there is any."""
    if not all(worker.polled for worker in view.workers):  # rule 1
        return None
    if (logging := _log(view)) is not None:
        return logging
    for epoch in view.wanted:  # rule 7
        step = _publish(view, epoch) or _birth(view, epoch) or _join(view, [epoch])
        if step is not None:
            return step
    return _join(view, view.elected.keys()) or _retire(view)


def shortfall(cores: Mapping[int, str], elected: Mapping[int, str], wanted: Sequence[int]) -> tuple[int, ...]:
    """Return how many elected cores are not among `cores`: of each wanted epoch, and of all. Less is better."""
    missing = {epoch for epoch, core in elected.items() if cores.get(epoch) != core}
    return *(int(epoch in missing) for epoch in wanted), len(missing)


def _log(view: View) -> Log | None:
    """Return the oldest core that counts and is not known to be logged (rule 9)."""
    if view.keys_log is None:
        return None
    for epoch, core in sorted(view.elected.items()):
        if epoch in view.keys_log.cores or not (epoch in view.keys_log.taken or _may_be_logged(view, epoch)):
            continue
        for worker in view.workers:
            if worker.holds(epoch, core) and worker.index not in view.resting:
                return Log(worker, epoch, core)
    return None


def _publish(view: View, epoch: int) -> Publish | None:
    core = view.elected.get(epoch)
    if core is None or epoch in view.published or not _is_logged(view, epoch, core):
        return None
    holders = [worker for worker in view.workers if worker.holds(epoch, core)]
    able = [worker for worker in holders if worker.index not in view.resting]
    return Publish(able[0], epoch, core) if len(holders) >= view.quorum and able else None  # rule 4


def _birth(view: View, epoch: int) -> Birth | None:
    worker = _birthplace(view, epoch) if epoch not in view.elected and _may_be_logged(view, epoch) else None
    return None if worker is None else Birth(worker, epoch)


def _may_be_logged(view: View, epoch: int) -> bool:
    """Whether a core can be logged now, as far as it has to be (rules 10 to 12)."""
    log = view.keys_log
    if log is None:
        return True
    return log.answers and epoch not in log.taken and all(each in log.taken for each in view.wanted if each < epoch)


def _birthplace(view: View, epoch: int) -> Worker | None:
    """Return the worker to ask for a birth (rule 2)."""
    doubtful = view.doubtful.get(epoch)
    if doubtful is not None and doubtful.state is not State.DOWN:
        if doubtful.index in view.resting:
            return None
        if view.failures.get(doubtful.index, 0) < MAX_DOUBT:
            return doubtful
    able = [worker for worker in view.workers if _may_receive(worker)]
    # Keys can only be shared by workers of the same software: the largest such group is the pool of this slot.
    sizes = Counter(_manifest(worker) for worker in able)
    before = view.elected.get(epoch - 1)
    able = [worker for worker in able if worker.index not in view.resting]

    def rank(worker: Worker) -> tuple[int, bool, str, bool, bool, int]:
        manifest = _manifest(worker)
        keeps = any(other.holds(epoch - 1, before) for other in view.workers if _manifest(other) == manifest)
        unready = worker.state is not State.READY
        return -sizes[manifest], not keeps, manifest, not _may_give(view, worker), unready, worker.index

    return min(able, key=rank, default=None)


def _join(view: View, epochs: Collection[int]) -> Join | None:
    """Return a join by which a worker gets an elected core of one of these epochs (rule 6)."""
    for joiner in view.workers:
        lacking = [epoch for epoch in epochs if epoch in view.elected and not joiner.holds(epoch, view.elected[epoch])]
        if not lacking or joiner.index in view.resting or not _may_receive(joiner):
            continue
        before = shortfall(joiner.cores, view.elected, view.wanted)
        members = [
            worker
            for worker in view.workers
            if _manifest(worker) == _manifest(joiner)
            and _may_give(view, worker)
            and any(worker.holds(epoch, view.elected[epoch]) for epoch in lacking)
            and shortfall({**joiner.cores, **worker.cores}, view.elected, view.wanted) < before
        ]
        staying = [worker for worker in members if _may_receive(worker)]
        if members:  # each failure moves on to another member, so that a broken one cannot keep everyone out
            choice = staying or members
            return Join(joiner, choice[view.failures.get(joiner.index, 0) % len(choice)])
    return None


def _retire(view: View) -> Retire | None:
    """Return the worker whose turn it is to be renewed (rule 8)."""
    statuses = [worker.status for worker in view.workers if worker.status is not None]
    if view.quorum < 2 or view.renewing or any(status.draining for status in statuses):
        return None
    able = [
        worker
        for worker in view.workers
        if worker.state is State.READY and all(worker.holds(epoch, core) for epoch, core in view.elected.items())
    ]
    for worker in view.workers:
        if worker.status is None or not worker.status.due:
            continue
        # The first is everybody's choice: another gateway may have told one that this one could not reach.
        free = worker.index not in view.resting and any(other is not worker for other in able)
        return Retire(worker) if free else None
    return None


def _is_logged(view: View, epoch: int, core: str) -> bool:
    """Whether a core is logged, as far as it has to be."""
    return view.keys_log is None or view.keys_log.cores.get(epoch) == core


def _may_give(view: View, worker: Worker) -> bool:
    """Whether all that a worker holds and that still opens is logged: it can only give everything (rule 10)."""
    oldest = min(view.wanted, default=0) - 1
    return all(_is_logged(view, epoch, core) for epoch, core in worker.cores.items() if epoch >= oldest)


def _may_receive(worker: Worker) -> bool:
    """Whether a worker should be given keys: it answers and is not about to stop."""
    return worker.status is not None and not worker.status.draining


def _manifest(worker: Worker) -> str:
    return "" if worker.status is None else worker.status.manifest
