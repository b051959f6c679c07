"""The operator's listener: is it alive, is it ready, what does it count, which version. Never on the public port.

Timing and size counters are an oracle for traffic analysis, so this listens on loopback or a Unix socket only.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from seclude.daemon.addresses import parse_listen, require_local
from seclude.daemon.limits import ServerLimits
from seclude.daemon.messages import Request, Response
from seclude.daemon.problems import REASONS, STATUSES, refusal
from seclude.daemon.server import GONE_STATUS, Exchange, Server

JSON: Final = "application/json"
LIMITS: Final = ServerLimits(max_body_bytes=0, max_inflight=32, max_connections=64)  # scrapers and probes, no bodies

SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
OCTETS: Final = (256, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22)
OTHER: Final = "other"
CODES: Final = frozenset({200, 204, 408, 409, GONE_STATUS, *STATUSES})


class Metrics:
    """Rate, errors and duration of one party, under names that start with `seclude_<party>_`."""

    def __init__(self, party: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        prefix = f"seclude_{party}"
        self._requests = Counter(
            f"{prefix}_requests_total", "Requests by answer", ("code", "reason"), registry=self.registry
        )
        self._seconds = Histogram(
            f"{prefix}_request_duration_seconds", "Time to the answer", buckets=SECONDS, registry=self.registry
        )
        self._taken = _octets(f"{prefix}_request_size_bytes", "Request bodies", self.registry)
        self._given = _octets(f"{prefix}_response_size_bytes", "Answer bodies", self.registry)
        self._inflight = Gauge(f"{prefix}_inflight_requests", "Requests being handled", registry=self.registry)
        Gauge("seclude_build_info", "Version", ("version",), registry=self.registry).labels(version("seclude")).set(1)

    def watch(self, inflight: Callable[[], int]) -> None:
        """Read the number of requests in flight from here, whenever it is scraped."""
        self._inflight.set_function(inflight)

    def observe(self, exchange: Exchange) -> None:
        """Count one answer. Labels come from closed sets, and sizes are rounded up to their bucket."""
        code = str(exchange.status) if exchange.status in CODES else OTHER
        reason = exchange.reason if exchange.reason in REASONS else OTHER
        self._requests.labels(code, reason).inc()
        self._seconds.observe(exchange.seconds)
        self._taken.observe(_rounded(exchange.request_bytes))
        self._given.observe(_rounded(exchange.response_bytes))


class Admin:
    """Serves /livez, /readyz, /metrics and /version."""

    def __init__(self, metrics: CollectorRegistry, readiness: Callable[[], Sequence[str]]) -> None:
        self._metrics = metrics
        self._readiness = readiness
        self._server = Server(self.handle, LIMITS, name="the admin port")

    async def start(self, listen: str) -> str:
        """Listen, and return the address really bound; raises ConfigError for one that is not loopback."""
        check_admin(listen)
        return await self._server.start(listen)

    async def close(self) -> None:
        """Stop; the last thing a daemon does, so that probes see it draining until then."""
        await self._server.drain(within=0.2)

    async def handle(self, request: Request) -> Response:
        """Answer a probe or a scrape."""
        if request.path not in ("/livez", "/readyz", "/metrics", "/version"):
            return refusal(404)
        if request.method != "GET":
            return refusal(405, fields=(("Allow", "GET"),))
        if request.path == "/metrics":
            return Response(200, CONTENT_TYPE_LATEST, generate_latest(self._metrics))
        if request.path == "/readyz":
            reasons = list(self._readiness())
            return _json(503 if reasons else 200, {"ready": not reasons, "reasons": reasons})
        if request.path == "/version":
            return _json(200, {"version": version("seclude")})
        return _json(200, {"live": True})


def check_admin(listen: str) -> None:
    """Raise ConfigError for an address that is none, or that others than this machine can reach."""
    require_local(parse_listen(listen), "the admin port is for this machine only, whatever insecure_plaintext says")


def _json(status: int, value: dict[str, object]) -> Response:
    return Response(status, JSON, msgspec.json.encode(value) + b"\n", (("Cache-Control", "no-store"),))


def _octets(name: str, text: str, registry: CollectorRegistry) -> Histogram:
    return Histogram(name, text, buckets=OCTETS, registry=registry)


def _rounded(size: int) -> int:
    # A histogram also keeps a sum. On a quiet relay the exact sum of two scrapes would be the size of one request.
    return OCTETS[min(bisect_left(OCTETS, size), len(OCTETS) - 1)]
