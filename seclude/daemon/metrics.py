"""What a party counts of each request, cheaply: plain integers, made into Prometheus metrics only when scraped.

Rate, errors and duration under names that start with `seclude_<party>_`. Labels come from closed sets, and sizes are
rounded up to their bucket: on a quiet relay the exact sum of two scrapes would be the size of one request.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from math import nan
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from seclude.daemon.problems import REASONS, STATUSES
from seclude.daemon.transaction import GONE_STATUS

SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
OCTETS: Final = (256, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22)
OTHER: Final = "other"
CODES: Final = frozenset({200, 204, 408, 409, GONE_STATUS, *STATUSES})


class Watched(Protocol):
    """What is shown of a server: see `server.Server`."""

    @property
    def dropped(self) -> Mapping[str, int]: ...

    @property
    def inflight(self) -> int: ...

    @property
    def connections(self) -> int: ...

    @property
    def certificate_expires_at(self) -> float | None: ...


class Metrics:
    """Rate, errors and duration of one party."""

    def __init__(self, party: str, *, rounded: bool = False) -> None:
        """With `rounded`, times too are summed as their bucket's bound: the time of one answer is about its content."""
        self.registry = CollectorRegistry()
        self._rounded = rounded
        self._prefix = f"seclude_{party}"
        self._requests: dict[tuple[int, str], int] = defaultdict(int)
        # Histograms are plain lists: a fraction of what prometheus_client's own cost to observe.
        self._seconds = [0] * (len(SECONDS) + 1)
        self._seconds_sum = 0.0
        self._taken = [0] * (len(OCTETS) + 1)
        self._given = [0] * (len(OCTETS) + 1)
        self._dropped: Mapping[str, int] = {}
        ProcessCollector(registry=self.registry)
        self.registry.register(_Collected(self._collect))
        Gauge("seclude_build_info", "Version", ("version",), registry=self.registry).labels(version("seclude")).set(1)

    def name(self, name: str) -> str:
        """Return the name with the party's prefix."""
        return f"{self._prefix}_{name}"

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Read a gauge from here whenever it is scraped; its name gets the party's prefix."""
        Gauge(self.name(name), text, registry=self.registry).set_function(read)

    def watch(self, server: "Watched", inflight: Callable[[], int] | None = None) -> None:
        """Show what a server holds, which connections it dropped, and when its certificate ends."""
        self.gauge("inflight_requests", "Requests being handled", inflight or (lambda: server.inflight))
        self.gauge("open_connections", "Connections that are open", lambda: server.connections)
        text = "When the certificate ends, in seconds since 1970; no number where TLS is not served"
        self.gauge("certificate_expiry_timestamp_seconds", text, lambda: server.certificate_expires_at or nan)
        self._dropped = server.dropped

    def observe(self, status: int, reason: str, seconds: float, taken: int, given: int) -> None:
        """Count one answer; `taken` and `given` are the octets of both bodies."""
        self._requests[status, reason] += 1
        self._seconds_sum += seconds
        self._seconds[bisect_left(SECONDS, seconds)] += 1
        self._taken[bisect_left(OCTETS, taken)] += 1
        self._given[bisect_left(OCTETS, given)] += 1

    def _collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(f"{self._prefix}_requests", "Requests by answer", labels=("code", "reason"))
        counted: dict[tuple[str, str], int] = {}
        for (status, reason), count in self._requests.items():
            labels = (str(status) if status in CODES else OTHER, reason if reason in REASONS else OTHER)
            counted[labels] = counted.get(labels, 0) + count
        for labels, count in counted.items():
            requests.add_metric(labels, count)
        yield requests
        dropped = CounterMetricFamily(
            self.name("dropped_connections"), "Connections dropped unheard", labels=("reason",)
        )
        for reason, count in self._dropped.items():
            dropped.add_metric((reason,), count)
        yield dropped
        name = self.name("request_duration_seconds")
        yield _histogram(
            name, "Time to the answer", SECONDS, self._seconds, None if self._rounded else self._seconds_sum
        )
        yield _histogram(self.name("request_size_bytes"), "Request bodies", OCTETS, self._taken)
        yield _histogram(self.name("response_size_bytes"), "Answer bodies", OCTETS, self._given)


def round_up(bounds: Sequence[float], value: float) -> float:
    """Return the bound of the bucket that a value falls into; beyond the last one, that."""
    return bounds[min(bisect_left(bounds, value), len(bounds) - 1)]


def _histogram(
    name: str, text: str, bounds: Sequence[float], counts: Sequence[int], total: float | None = None
) -> HistogramMetricFamily:
    """Return what Prometheus is told; without a sum, every value counts as its bucket's bound."""
    below, buckets = 0, []
    for bound, count in zip([*(repr(float(bound)) for bound in bounds), "+Inf"], counts, strict=True):
        below += count
        buckets.append((bound, float(below)))
    rounded = sum(bound * count for bound, count in zip([*bounds, bounds[-1]], counts, strict=True))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=rounded if total is None else total)


class _Collected(Collector):
    """What prometheus_client asks at each scrape."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._read = collect

    def collect(self) -> Iterator[Metric]:
        """Return the metrics as they are now."""
        return self._read()
