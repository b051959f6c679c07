"""The operator's listener: is it alive, is it ready, what does it count, which version. Never on the public port.

Timing and size counters are an oracle for traffic analysis, so this listens on loopback or a Unix socket only.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from seclude.daemon.addresses import parse_listen, require_local
from seclude.daemon.answering import answering
from seclude.daemon.limits import ServerLimits
from seclude.daemon.messages import Request, Response
from seclude.daemon.problems import refusal
from seclude.daemon.server import Server

JSON: Final = "application/json"
LIMITS: Final = ServerLimits(max_body_bytes=0, max_inflight=32, max_connections=64)  # scrapers and probes, no bodies


class Admin:
    """Serves /livez, /readyz, /metrics and /version."""

    def __init__(self, metrics: CollectorRegistry, readiness: Callable[[], Sequence[str]]) -> None:
        self._metrics = metrics
        self._readiness = readiness
        self._version = version("seclude")  # from a file, which a worker cannot read any more when it is asked
        self._server = Server(answering(self.handle), LIMITS)

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
            return _json(200, {"version": self._version})
        return _json(200, {"live": True})


def check_admin(listen: str) -> None:
    """Raise ConfigError for an address that is none, or that others than this machine can reach."""
    require_local(parse_listen(listen), "the admin port is for this machine only, whatever insecure_plaintext says")


def _json(status: int, value: dict[str, object]) -> Response:
    return Response(status, JSON, msgspec.json.encode(value) + b"\n", (("Cache-Control", "no-store"),))
