"""What the gateway tells its operator about the pool: counters and log lines, with workers named by their place.

Labels and words come from closed sets; nothing here depends on a request.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from math import nan
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.epochs import Offer, Reconciler
from gateway.ledger import Fault, Ledger, LedgerError
from gateway.link import RefusedError
from gateway.plan import Birth, Join, Log, Publish, Retire, Step
from gateway.pool import Pool, State, Worker
from seclude.daemon.log import Log as Lines
from seclude.daemon.log import Value
from seclude.pool import Message

EVENTS: Final = {
    "worker": frozenset({"worker", "state"}),
    "birth": frozenset({"worker", "epoch", "error", "message", "status", "fault"}),
    "join": frozenset({"worker", "member", "error", "message", "status"}),
    "publish": frozenset({"worker", "epoch", "error", "message", "status"}),
    "retire": frozenset({"worker", "error", "message", "status"}),
    "split": frozenset({"worker", "epoch"}),
    "log": frozenset({"worker", "epoch", "error", "message", "status", "fault"}),
    "ledger": frozenset({"fault", "status"}),
}
OK: Final = "ok"
WORDS: Final = frozenset[str](State) | frozenset(Message) | frozenset(Fault) | {OK}
NAMES: Final[dict[type[Step], str]] = {
    Birth: "birth",
    Join: "join",
    Publish: "publish",
    Retire: "retire",
    Log: "log",
}
FETCH_FAULTS: Final = (Fault.SILENT, Fault.STATUS, Fault.UNREADABLE, Fault.INCONSISTENT)
NOTHING: Final = -1  # where a gauge would show an epoch and there is none; zero is the first epoch


class Report:
    """Counts and logs what happens to the pool."""

    def __init__(self, registry: CollectorRegistry, log: Lines, pool: Pool) -> None:
        self._registry = registry
        self._log = log
        self._pool = pool
        self._steps = Counter(
            "seclude_gateway_key_steps_total", "Steps with keys", ("step", "result"), registry=registry
        )
        for name in NAMES.values():
            for result in (OK, "failed"):
                self._steps.labels(name, result)
        retries = Counter("seclude_gateway_retries_total", "Requests passed to a further worker", registry=registry)
        self.count_retry = retries.inc
        workers = Gauge("seclude_gateway_workers", "Workers by state", ("state",), registry=registry)
        for state in State:
            workers.labels(state.value).set_function(partial(pool.count, state))
        self._states: dict[int, State] = {}
        self._splits: set[tuple[int, str, int]] = set()
        self._fetches: Counter | None = None
        self._fault: str = OK

    def watch(self, reconciler: Reconciler, ledger: Ledger | None) -> None:
        """Show which epochs are published whenever it is scraped."""

        def show(which: str, slot: str, offer: Callable[[], Offer | None]) -> None:
            name, what = f"seclude_gateway_{which}_epoch", f"Epoch published for the {slot}, or {NOTHING}"
            gauge = Gauge(name, what, registry=self._registry)
            gauge.set_function(lambda: NOTHING if (found := offer()) is None else found.epoch)

        show("published", "slot of now", lambda: reconciler.offer)
        show("announced", "next slot", lambda: reconciler.announced)
        self._watch_ledger(reconciler, ledger)

    def stepped(self, step: Step, failure: Exception | None) -> None:
        """Take note of a step of the reconciler."""
        name = NAMES[type(step)]
        self._steps.labels(name, OK if failure is None else "failed").inc()
        fields: dict[str, Value] = {"worker": step.worker.index}
        if isinstance(step, Join):
            fields["member"] = step.member.index
        elif not isinstance(step, Retire):
            fields["epoch"] = step.epoch
        if failure is not None:
            fields["error"] = type(failure).__name__
        if isinstance(failure, RefusedError):  # the message tells which of the two workers of a join it was
            fields |= {"message": failure.message.value, "status": failure.status}
        if isinstance(failure, LedgerError):
            fields |= {"fault": failure.fault.value, "status": failure.status}
        self._log.event(name, **fields)

    def _watch_ledger(self, reconciler: Reconciler, ledger: Ledger | None) -> None:
        """Show how old the proofs are, and which epoch is known to be logged, whenever it is scraped."""
        self._fetches = Counter(
            "seclude_gateway_ledger_fetches_total", "Fetches of proofs by result", ("result",), registry=self._registry
        )
        for result in (OK, *FETCH_FAULTS):
            self._fetches.labels(result)
        loop = asyncio.get_running_loop()
        age = Gauge("seclude_gateway_proofs_age_seconds", "For how long proofs are the same", registry=self._registry)
        age.set_function(lambda: nan if ledger is None or (old := ledger.age(loop.time())) is None else old)
        what = f"Newest live epoch that is known to be logged, or {NOTHING}"
        logged = Gauge("seclude_gateway_logged_epoch", what, registry=self._registry)
        logged.set_function(lambda: NOTHING if reconciler.logged is None else reconciler.logged)

    def fetched(self, failure: LedgerError | None) -> None:
        """Take note of a fetch of the ledger's proofs; its log line comes when something has changed."""
        fault = OK if failure is None else failure.fault.value
        if self._fetches is not None:
            self._fetches.labels(fault).inc()
        if fault != self._fault:
            self._fault = fault
            self._log.event("ledger", fault=fault, **({"status": failure.status} if failure is not None else {}))

    async def follow(self) -> None:
        """Log every change of a worker's state, and every worker that holds a core which does not count."""
        while True:
            for worker in self._pool.workers:
                if worker.polled:
                    self._note(worker)
            await self._pool.changed()

    def _note(self, worker: Worker) -> None:
        if self._states.get(worker.index) is not worker.state:
            self._states[worker.index] = worker.state
            self._log.event("worker", worker=worker.index, state=worker.state.value)
        elected = self._pool.elected
        self._splits = {seen for seen in self._splits if elected.get(seen[0]) == seen[1]}
        for epoch, core in worker.cores.items():
            split = (epoch, elected.get(epoch, core), worker.index)
            if split[1] != core and split not in self._splits:
                self._splits.add(split)
                self._log.event("split", worker=worker.index, epoch=epoch)
