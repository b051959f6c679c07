"""The relay: hides who asks from those who answer.

It sees addresses and ciphertext, and neither writes the one nor can read the other.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import asdict

from relay.keycache import KeyCache
from relay.policy import Serve, admit, check_length, rebuild
from seclude.daemon import config as configuration
from seclude.daemon.addresses import parse_listen
from seclude.daemon.admin import Admin, Metrics
from seclude.daemon.lifecycle import CONFIG_STATUS, DrainTimes, Stop, announce, drain, run
from seclude.daemon.log import Log
from seclude.daemon.messages import Request, Response
from seclude.daemon.server import Server, ServerLimits
from seclude.daemon.upstream import Upstream, UpstreamTimeouts
from seclude.errors import ConfigError
from seclude.ohttp.media import GATEWAY_PATH, OHTTP_REQ

EXAMPLE = """example:
  seclude-relay --listen 127.0.0.1:8080 --gateway http://127.0.0.1:8081 --admin 127.0.0.1:9080
"""
EVENTS = {"keys_fetch_failed": frozenset({"error"}), "keys_fetched": frozenset[str]()}
DEFAULTS = ServerLimits()

Seconds = Annotated[float, Meta(ge=0, le=3600)]


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What a client may cost; the reasons stand in `ServerLimits`."""

    max_body_bytes: Annotated[int, Meta(ge=1, le=1 << 26)] = DEFAULTS.max_body_bytes
    max_inflight: Annotated[int, Meta(ge=1, le=1 << 16)] = DEFAULTS.max_inflight
    max_connections: Annotated[int, Meta(ge=1, le=1 << 20)] = DEFAULTS.max_connections
    header_timeout: Seconds = DEFAULTS.header_timeout
    body_timeout: Seconds = DEFAULTS.body_timeout
    send_timeout: Seconds = DEFAULTS.send_timeout
    keepalive: Seconds = DEFAULTS.keepalive


class Timeouts(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the gateway may take, and how long stopping may."""

    gateway_connect: Seconds = UpstreamTimeouts().connect
    gateway_total: Seconds = UpstreamTimeouts().total
    pre_stop: Seconds = DrainTimes().pre_stop
    drain: Seconds = DrainTimes().drain


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """relay.toml."""

    gateway: str
    listen: str = "127.0.0.1:8080"
    admin: str = "127.0.0.1:9080"
    uvloop: bool = True
    log_text: bool = False
    insecure_plaintext: bool = False
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()


class Relay:
    """The handler: one decision by policy, and bytes moved accordingly."""

    def __init__(self, gateway: Upstream, cache: KeyCache, max_body_bytes: int) -> None:
        self._gateway = gateway
        self._cache = cache
        self._max_body_bytes = max_body_bytes

    async def handle(self, request: Request) -> Response:
        """Answer one client."""
        decision = admit(request, self._max_body_bytes)
        if isinstance(decision, Response):
            return decision
        if isinstance(decision, Serve):
            return self._cache.serve(decision.media_type)
        body = await request.body.read()
        check_length(len(body), self._max_body_bytes)
        answer = await self._gateway.exchange("POST", GATEWAY_PATH, content_type=OHTTP_REQ, body=body)
        return rebuild(answer)


def connect(config: Config) -> Upstream:
    """Return the way to the gateway, without using it yet; raises ConfigError."""
    timeouts = UpstreamTimeouts(config.timeouts.gateway_connect, config.timeouts.gateway_total)
    origin = config.gateway.removesuffix(GATEWAY_PATH)  # RFC 9540, section 5: the path is fixed, so it may be left out
    return Upstream(origin, timeouts=timeouts, insecure_plaintext=config.insecure_plaintext)


async def serve(config: Config, stop: Stop, log: Log, descriptor: int | None) -> int:
    """Run one relay until `stop`."""
    gateway, metrics = connect(config), Metrics("relay")
    cache = KeyCache(gateway, monotonic, log)
    server = Server(
        Relay(gateway, cache, config.limits.max_body_bytes).handle,
        ServerLimits(**asdict(config.limits)),
        name="the relay",
        log=log,
        observe=metrics.observe,
        insecure_plaintext=config.insecure_plaintext,
    )
    metrics.watch(lambda: server.inflight)
    admin = Admin(metrics.registry, lambda: cache.reasons() + (["draining"] if stop.requested else []))
    try:
        async with asyncio.TaskGroup() as tasks:
            listen, admin_listen = await server.start(config.listen), await admin.start(config.admin)
            keeper = tasks.create_task(cache.keep())
            log.event("ready", listen=listen, admin=admin_listen)
            announce(descriptor, listen=listen, admin=admin_listen)
            await stop.wait()
            await drain(server, DrainTimes(config.timeouts.pre_stop, config.timeouts.drain), log)
            keeper.cancel()
    finally:
        await admin.close()
        await gateway.close()
    return 0


def check(config: Config) -> None:
    """Raise ConfigError with every problem that is not one of types and ranges."""
    problems = []
    for key, address in (("listen", config.listen), ("admin", config.admin)):
        try:
            parse_listen(address)
        except ConfigError as exc:
            problems.append(f"{key}: {exc}")
    try:
        connect(config)
    except ConfigError as exc:
        problems.append(f"gateway: {exc}")
    if problems:
        raise ConfigError("\n".join(problems))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seclude-relay`."""
    flags = _parser().parse_args(arguments)
    overrides = {"listen": flags.listen, "gateway": flags.gateway, "admin": flags.admin}
    try:
        config = configuration.load(flags.config, Config, overrides)
        check(config)
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return CONFIG_STATUS
    if flags.command == "check-config":
        print(configuration.show(config), end="")
        return 0
    log = Log("relay", events=EVENTS, text=config.log_text)
    log.event("starting", version=version("seclude"))
    return run(lambda stop: serve(config, stop, log, flags.announce), uvloop=config.uvloop, log=log)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seclude-relay",
        description="Forward Oblivious HTTP requests to one gateway, without saying whose they are (RFC 9458).",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "command", nargs="?", choices=("serve", "check-config"), default="serve",
        help="check-config prints every problem, or the configuration in effect",
    )  # fmt: skip
    parser.add_argument("--listen", metavar="HOST:PORT", help="address for devices, or unix:PATH")
    parser.add_argument("--gateway", metavar="URL", help="the gateway: http://HOST:PORT, https://HOST or unix:PATH")
    parser.add_argument("--admin", metavar="HOST:PORT", help="address for health and metrics; loopback only")
    parser.add_argument("--config", metavar="FILE", type=Path, help="relay.toml; flags go before it")
    parser.add_argument("--announce", metavar="FD", type=int, help="write the bound addresses to this descriptor")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('seclude')}")
    return parser
