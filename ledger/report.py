"""What a ledger tells its operator: batches, ages of checkpoints and of cosignatures, refusals.

Labels are the names of logs and of the policy's witnesses, and words from closed sets; nothing here depends on what an
entry says.
"""

from collections.abc import Callable
from math import nan
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from ledger.cosigning import Cosigning
from ledger.rules import Refusal
from ledger.sequencer import Sequencer
from ledger.store import Store
from ledger.witnesses import Asker, ContradictionError
from seclude.daemon.log import Log
from seclude.daemon.metrics import Metrics
from seclude.errors import UpstreamError

EVENTS: Final = {
    "log": frozenset({"log", "size"}),
    "greeted": frozenset({"log", "size"}),
    "witness": frozenset({"log", "witness", "result", "error"}),
    "disk_failed": frozenset({"log", "error", "errno"}),
}
COSIGNED: Final = "cosigned"
DOWN: Final = "down"
CONTRADICTS: Final = "contradicts"
NOT_VALID: Final = "not_valid"
FORGOT: Final = "forgot"  # it cosigned, after it had said that it has a smaller tree than it once cosigned
RESULTS: Final = (COSIGNED, DOWN, CONTRADICTS, NOT_VALID, FORGOT)
WORDS: Final = frozenset(RESULTS)
ENTRIES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Report:
    """Counts and logs what happens to all logs of a ledger."""

    def __init__(self, metrics: Metrics, log: Log, now: Callable[[], float]) -> None:
        registry = metrics.registry
        self._log = log
        self._now = now
        self._entries = Counter(metrics.name("entries_total"), "Entries stored", ("log",), registry=registry)
        self._batches = Histogram(
            metrics.name("batch_entries"), "Entries of a batch", ("log",), buckets=ENTRIES, registry=registry
        )
        self._seconds = Histogram(
            metrics.name("batch_seconds"), "Time to store a batch", ("log",), buckets=SECONDS, registry=registry
        )
        self._refused = Counter(
            metrics.name("refused_total"), "Submissions refused", ("log", "reason"), registry=registry
        )
        self._asked = Counter(
            metrics.name("witness_answers_total"),
            "What witnesses answered",
            ("log", "witness", "result"),
            registry=registry,
        )
        self._failures = Counter(metrics.name("disk_failures_total"), "Writes that failed", ("log",), registry=registry)
        self._sizes = Gauge(metrics.name("log_entries"), "Entries under the newest head", ("log",), registry=registry)
        self._shown = Gauge(
            metrics.name("checkpoint_entries"), "Entries under the published checkpoint", ("log",), registry=registry
        )
        self._ages = Gauge(
            metrics.name("checkpoint_age_seconds"),
            "Since when the published checkpoint is surely the newest; no number where there is none",
            ("log",),
            registry=registry,
        )
        self._witness_ages = Gauge(
            metrics.name("cosignature_age_seconds"),
            "Since the newest cosignature, by the witness's own clock; no number where there is none",
            ("log", "witness"),
            registry=registry,
        )
        self._expiry = Gauge(
            metrics.name("snapshot_expiry_timestamp_seconds"),
            "When the newest published snapshot expires, and with it every release; no number where there is none",
            registry=registry,
        )
        self._expiry.set(nan)
        self._last: dict[tuple[str, str], str] = {}

    def watch(self, name: str, store: Store, cosigning: Cosigning) -> None:
        """Show one log whenever it is scraped."""

        def shown() -> float:
            return nan if cosigning.published is None else cosigning.published.checkpoint.size

        def age() -> float:
            return nan if cosigning.published is None else self._now() - cosigning.published.since

        self._log.event("log", log=name, size=store.head.checkpoint.size)
        self._sizes.labels(name).set_function(lambda: store.head.checkpoint.size)
        self._shown.labels(name).set_function(shown)
        self._ages.labels(name).set_function(age)
        for asker in cosigning.askers:
            self._watch_witness(name, asker)
        for refusal in Refusal:
            self._refused.labels(name, refusal)

    def watch_snapshot(self, expires: Callable[[], float]) -> None:
        """Show when the newest snapshot of a log expires, whenever it is scraped."""
        self._expiry.set_function(expires)

    def _watch_witness(self, name: str, asker: Asker) -> None:
        def age() -> float:
            return nan if asker.cosigned_at is None else self._now() - asker.cosigned_at

        self._witness_ages.labels(name, asker.witness.name).set_function(age)
        for result in RESULTS:
            self._asked.labels(name, asker.witness.name, result)

    def stored(self, name: str, entries: int, seconds: float) -> None:
        """Take note of a batch."""
        self._entries.labels(name).inc(entries)
        self._batches.labels(name).observe(entries)
        self._seconds.labels(name).observe(seconds)

    def refused(self, name: str, refusal: Refusal) -> None:
        """Take note of a submission that was not admitted."""
        self._refused.labels(name, refusal).inc()

    def asked(self, name: str, asker: Asker, failure: Exception | None) -> None:
        """Count what a witness answered, and log it where it is another thing than before."""
        result = _result(failure)
        if result == COSIGNED and asker.has_forgotten:
            result, asker.has_forgotten = FORGOT, False
        witness = asker.witness.name
        self._asked.labels(name, witness, result).inc()
        if self._last.get((name, witness)) == result:
            return
        self._last[name, witness] = result
        error = {} if failure is None else {"error": type(failure).__name__}
        self._log.event("witness", log=name, witness=witness, result=result, **error)

    def greeted(self, name: str, size: int) -> None:
        """Take note that a quorum knows of nothing newer."""
        self._log.event("greeted", log=name, size=size)

    def disk_failed(self, name: str, failure: OSError) -> None:
        """Take note that something was not stored."""
        self._failures.labels(name).inc()
        self._log.event("disk_failed", log=name, error=type(failure).__name__, errno=failure.errno or 0)


def reasons(name: str, sequencer: Sequencer, cosigning: Cosigning) -> list[str]:
    """Return why submitters are better off waiting."""
    found = {
        f"{name}: too few witnesses have answered since the start": not cosigning.greeted.is_set()
        and cosigning.failure is None,
        f"{name}: {cosigning.failure}": cosigning.failure is not None,
        f"{name}: {sequencer.failure}": sequencer.failure is not None,
    }
    return [reason for reason, applies in found.items() if applies]


def _result(failure: Exception | None) -> str:
    if failure is None:
        return COSIGNED
    if isinstance(failure, ContradictionError):
        return CONTRADICTS
    return DOWN if isinstance(failure, UpstreamError) else NOT_VALID
