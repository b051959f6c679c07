"""The relay: hides who asks from those who answer.

It sees addresses and ciphertext, and neither writes the one nor can read the other.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import asdict
from prometheus_client import CollectorRegistry, Gauge

from relay.keycache import KeyCache
from relay.mixing import Mixer, MixingLimits
from relay.policy import Forward, admit, passes, rebuild
from seclude.daemon.admin import Admin
from seclude.daemon.command import (
    CHECK_CONFIG,
    Command,
    DaemonConfig,
    certificates,
    listening_problems,
    serve_until_stop,
    show,
)
from seclude.daemon.config import Seconds
from seclude.daemon.http1 import AnswerHead
from seclude.daemon.lifecycle import DrainTimes, Stop, run
from seclude.daemon.limits import ServerLimits
from seclude.daemon.log import Log
from seclude.daemon.messages import Response, UpstreamResponse
from seclude.daemon.metrics import Metrics
from seclude.daemon.passage import Passage
from seclude.daemon.processes import EVENTS as PROCESS_EVENTS
from seclude.daemon.processes import MAX_PROCESSES, command_again, supervise
from seclude.daemon.quota import QuotaLimits, Quotas
from seclude.daemon.renewal import Renewal
from seclude.daemon.server import Server
from seclude.daemon.tls import ClientCertificates, ClientTLS
from seclude.daemon.transaction import Transaction
from seclude.daemon.upstream import Upstream, UpstreamTimeouts
from seclude.errors import ConfigError
from seclude.ohttp.media import ANSWERED_BY, GATEWAY_PATH, INCREMENTAL
from seclude.pool import DRAINING

EXAMPLE = """example:
  seclude-relay --listen 127.0.0.1:8080 --gateway http://127.0.0.1:8081 --admin 127.0.0.1:9080
"""
EVENTS = {"keys_fetch_failed": frozenset({"error"}), "keys_fetched": frozenset[str]()}
DEFAULTS = ServerLimits()


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What a client may cost; the reasons stand in `ServerLimits`."""

    max_body_bytes: Annotated[int, Meta(ge=1, le=1 << 26)] = DEFAULTS.max_body_bytes
    max_inflight: Annotated[int, Meta(ge=1, le=1 << 16)] = DEFAULTS.max_inflight
    max_connections: Annotated[int, Meta(ge=1, le=1 << 20)] = DEFAULTS.max_connections
    header_timeout: Seconds = DEFAULTS.header_timeout
    body_timeout: Seconds = DEFAULTS.body_timeout
    send_timeout: Seconds = DEFAULTS.send_timeout
    keepalive: Seconds = DEFAULTS.keepalive


class Timeouts(DrainTimes, frozen=True, forbid_unknown_fields=True):
    """How long the gateway may take, and how long stopping may."""

    gateway_connect: Seconds = UpstreamTimeouts().connect
    gateway_total: Seconds = UpstreamTimeouts().total


class Config(DaemonConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """relay.toml."""

    gateway: str
    listen: str = "127.0.0.1:8080"
    admin: str = "127.0.0.1:9080"
    uvloop: bool = True
    processes: Annotated[int, Meta(ge=1, le=MAX_PROCESSES)] = 1
    gateway_tls: ClientTLS = ClientTLS()
    limits: Limits = Limits()
    per_address: QuotaLimits = QuotaLimits()
    mixing: MixingLimits = MixingLimits()
    timeouts: Timeouts = Timeouts()


class Relay:
    """The handler: one decision by policy, and bytes moved accordingly."""

    def __init__(self, gateway: Upstream, cache: KeyCache, max_body_bytes: int, mixer: Mixer | None = None) -> None:
        self.gateway: Final = gateway
        self.mixer: Final = mixer
        """Lets requests wait for one another; None where each goes on at once."""
        self.heads: Final = {
            kind: gateway.prepare("POST", GATEWAY_PATH, content_type=kind, incremental=kind in INCREMENTAL)
            for kind in ANSWERED_BY
        }
        self._cache = cache
        self.max_body_bytes: Final = max_body_bytes

    def handle(self, transaction: Transaction) -> None:
        """Answer one client, or carry what it sent."""
        decision = admit(transaction.request, self.max_body_bytes)
        if isinstance(decision, Forward):
            Forwarding(transaction, self)
        else:
            transaction.respond(decision if isinstance(decision, Response) else self._cache.serve(decision.media_type))


class Forwarding(Passage[Relay]):
    """One request on its way to the gateway. It is sent once, whatever comes of it (RFC 9458, section 6.5)."""

    _take_back: Callable[[], None] | None = None  # while it waits for others

    @property
    def enough(self) -> int:
        """Pass on what asks for that from its first octet on; but what is mixed with others is whole before."""
        if self.party.mixer is not None:
            return self.party.max_body_bytes + 1
        return 1 if self.transaction.request.media_type in INCREMENTAL else super().enough

    def start(self) -> None:
        """Send it to the gateway, now or with its batch, under a head that is the same for everybody."""
        party = self.party
        if party.mixer is None:
            self.send_to(party.gateway, party.heads[self.transaction.request.media_type])
        else:
            self._take_back = party.mixer.enter(self._leave)

    def passes(self, head: AnswerHead) -> str | None:
        """Let encapsulated answers through."""
        return passes(self.transaction.request.media_type, head.status, head.media_type)

    def client_lost(self) -> None:
        """Take the request back, wherever it is."""
        if self._take_back is not None:
            self._take_back()
        super().client_lost()

    def _leave(self) -> None:
        self._take_back = None
        try:
            self.send_to(self.party.gateway, self.party.heads[self.transaction.request.media_type])
        except Exception as exc:  # noqa: BLE001 - the edge where every error becomes an answer
            self.end(exc)

    def looked_at(self, answer: UpstreamResponse) -> None:
        """Write a refusal anew."""
        self.transaction.respond(rebuild(answer))


def connect(config: Config) -> Upstream:
    """Return the way to the gateway, without using it yet; raises ConfigError."""
    timeouts = UpstreamTimeouts(config.timeouts.gateway_connect, config.timeouts.gateway_total)
    origin = config.gateway.removesuffix(GATEWAY_PATH)  # RFC 9540, section 5: the path is fixed, so it may be left out
    tls = ClientCertificates(config.gateway_tls)
    return Upstream(origin, timeouts=timeouts, tls=tls, insecure_plaintext=config.insecure_plaintext)


async def serve(config: Config, stop: Stop, log: Log, descriptor: int | None) -> int:
    """Run one relay until `stop`."""
    gateway, metrics = connect(config), Metrics("relay")
    cache = KeyCache(gateway, monotonic, log)
    mixer = Mixer(config.mixing) if config.mixing.delay_milliseconds else None
    watch(mixer, metrics.registry)
    server = Server(
        Relay(gateway, cache, config.limits.max_body_bytes, mixer).handle,
        ServerLimits(**asdict(config.limits)),
        log=log,
        observe=metrics.observe,
        quotas=Quotas(config.per_address, monotonic()),
        tls=certificates(config),
        insecure_plaintext=config.insecure_plaintext,
    )
    metrics.watch(server)
    renewal = Renewal(metrics, log, [server.renew_tls, gateway.renew_tls])
    admin = Admin(metrics.registry, lambda: cache.reasons() + ([DRAINING] if stop.requested else []))
    try:
        await serve_until_stop(server, admin, config, stop, log, descriptor, [cache.keep], renewal)
    finally:
        await gateway.close()
    return 0


def watch(mixer: Mixer | None, registry: CollectorRegistry) -> None:
    """Show how many requests hide one another."""
    waiting = Gauge("seclude_relay_mixing_waiting", "Requests that wait for their batch", registry=registry)
    together = Gauge(
        "seclude_relay_anonymity_set", "Requests that left together last; 0 where none are mixed", registry=registry
    )
    if mixer is not None:
        waiting.set_function(lambda: mixer.waiting)
        together.set_function(lambda: mixer.last_batch)


def problems(config: Config) -> Iterator[str]:
    """Find what is wrong beyond types and ranges."""
    yield from listening_problems(config)
    if config.mixing.delay_milliseconds and config.mixing.batch > config.limits.max_inflight:
        yield "mixing.batch: more than limits.max_inflight, so that it can never be full"
    try:
        connect(config)
    except ConfigError as exc:
        yield f"gateway: {exc}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seclude-relay` and return its exit status."""
    command = Command(
        "relay",
        Config,
        problems,
        description="Forward Oblivious HTTP requests to one gateway, without saying whose they are (RFC 9458).",
        example=EXAMPLE,
    )
    command.add_flag("gateway", "--gateway", metavar="URL", help="http://HOST:PORT, https://HOST or unix:PATH")
    command.add_flag("processes", "--processes", metavar="N", type=int, help="one for each core; admin ports follow on")
    command.add_next_hop_flags("gateway_tls", "gateway")

    def act(flags: argparse.Namespace) -> int:
        config = command.load(flags)
        if flags.command == CHECK_CONFIG:
            return show(config)
        log = Log("relay", events={**EVENTS, **PROCESS_EVENTS}, text=config.log_text)
        if config.processes > 1:
            again = command_again(arguments)
            return run(lambda stop: supervise(again, config, stop, log, flags.announce), uvloop=False, log=log)
        return run(lambda stop: serve(config, stop, log, flags.announce), uvloop=config.uvloop, log=log)

    return command.run(arguments, act)
