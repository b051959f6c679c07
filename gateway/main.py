"""The gateway: the operator's door, which sees ciphertext and holds no key that opens it.

It knows its workers, passes each request to one that can open it, and carries the messages by which workers share keys.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from time import time
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import asdict

from gateway.epochs import Reconciler
from gateway.link import Link, keep_polling
from gateway.pool import Pool, State
from gateway.report import EVENTS, WORDS, Report
from gateway.route import Gateway
from seclude.attestation.slots import Slots
from seclude.daemon import config as configuration
from seclude.daemon.addresses import parse_listen
from seclude.daemon.admin import Admin, Metrics
from seclude.daemon.lifecycle import CONFIG_STATUS, DrainTimes, Stop, announce, drain, run
from seclude.daemon.log import Log
from seclude.daemon.server import Server, ServerLimits
from seclude.errors import ConfigError

EXAMPLE = """example:
  seclude-gateway --listen 127.0.0.1:8081 --admin 127.0.0.1:9081 \\
      --worker http://127.0.0.1:8082 --worker http://127.0.0.1:8083
"""
DEFAULTS = ServerLimits()

Seconds = Annotated[float, Meta(ge=0, le=3600)]


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What a relay may cost; the reasons stand in `ServerLimits`."""

    max_body_bytes: Annotated[int, Meta(ge=1, le=1 << 26)] = DEFAULTS.max_body_bytes
    max_inflight: Annotated[int, Meta(ge=1, le=1 << 16)] = DEFAULTS.max_inflight
    max_connections: Annotated[int, Meta(ge=1, le=1 << 20)] = DEFAULTS.max_connections


class Timeouts(Struct, frozen=True, forbid_unknown_fields=True):
    """How long an answer may take, and how long stopping may."""

    answer: Seconds = 110.0  # all workers together; below the relay's 120, so that the relay gets our 504
    pre_stop: Seconds = DrainTimes().pre_stop
    drain: Seconds = DrainTimes().drain


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """gateway.toml."""

    # Each is polled twice a second and asked for joins in turn; beyond this a pool should be cut in two.
    workers: Annotated[tuple[str, ...], Meta(min_length=1, max_length=256)]
    t0: int = 0
    period_seconds: int = 600
    single: bool = False
    listen: str = "127.0.0.1:8081"
    admin: str = "127.0.0.1:9081"
    uvloop: bool = True
    log_text: bool = False
    insecure_plaintext: bool = False
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()


def connect(config: Config, address: str) -> Link:
    """Return the way to one worker, without using it yet; raises ConfigError."""
    return Link(address, config.timeouts.answer, insecure_plaintext=config.insecure_plaintext)


def reasons(pool: Pool, reconciler: Reconciler, stop: Stop) -> list[str]:
    """Return why relays are better off with another gateway."""
    offer = reconciler.offer
    unable = not pool.count(State.READY) or (offer is not None and not pool.serves(offer.epoch))
    found = {"no worker ready": unable, "no epoch published": offer is None, "draining": stop.requested}
    return [reason for reason, applies in found.items() if applies]


async def serve(config: Config, stop: Stop, log: Log, descriptor: int | None) -> int:
    """Run one gateway until `stop`."""
    metrics, pool = Metrics("gateway"), Pool(len(config.workers))
    links = [connect(config, address) for address in config.workers]
    report = Report(metrics.registry, log, pool)
    slots = Slots(config.t0, config.period_seconds)
    reconciler = Reconciler(pool, links, slots, time, single=config.single, observer=report)
    report.watch(reconciler)
    gateway = Gateway(pool, links, reconciler, deadline_seconds=config.timeouts.answer, count_retry=report.count_retry)
    server = Server(
        gateway.handle,
        ServerLimits(**asdict(config.limits)),
        name="the gateway",
        log=log,
        observe=metrics.observe,
        insecure_plaintext=config.insecure_plaintext,
    )
    metrics.watch(lambda: server.inflight)
    admin = Admin(metrics.registry, lambda: reasons(pool, reconciler, stop))
    try:
        async with asyncio.TaskGroup() as tasks:
            listen, admin_listen = await server.start(config.listen), await admin.start(config.admin)
            keeping = [tasks.create_task(keep_polling(pool, worker, links[worker.index])) for worker in pool.workers]
            keeping += [tasks.create_task(reconciler.run()), tasks.create_task(report.follow())]
            log.event("ready", listen=listen, admin=admin_listen)
            announce(descriptor, listen=listen, admin=admin_listen)
            await stop.wait()
            await drain(server, DrainTimes(config.timeouts.pre_stop, config.timeouts.drain), log)
            for task in keeping:
                task.cancel()
    finally:
        await admin.close()
        for link in links:
            await link.close()
    return 0


def check(config: Config) -> None:
    """Raise ConfigError with every problem that is not one of types and ranges."""
    problems = []
    for key, address in (("listen", config.listen), ("admin", config.admin)):
        try:
            parse_listen(address)
        except ConfigError as exc:
            problems.append(f"{key}: {exc}")
    for place, address in enumerate(config.workers):
        try:
            connect(config, address)
        except ConfigError as exc:
            problems.append(f"workers[{place}]: {exc}")
        if address in config.workers[:place]:  # it would count as the second holder of its own keys
            problems.append(f"workers[{place}]: the same worker is named twice")
    if len(config.workers) == 1 and not config.single:
        problems.append(
            "workers: one worker has nobody to share its keys with; name a second one, or declare the pool single"
        )
    try:
        Slots(config.t0, config.period_seconds)
    except ConfigError as exc:
        problems.append(str(exc))
    if problems:
        raise ConfigError("\n".join(problems))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seclude-gateway`."""
    flags = _parser().parse_args(arguments)
    overrides = {
        "listen": flags.listen,
        "admin": flags.admin,
        "workers": flags.worker,
        "t0": flags.t0,
        "period_seconds": flags.period,
        "single": flags.single,
    }
    try:
        config = configuration.load(flags.config, Config, overrides)
        check(config)
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return CONFIG_STATUS
    if flags.command == "check-config":
        print(configuration.show(config), end="")
        return 0
    log = Log("gateway", events=EVENTS, words=WORDS, text=config.log_text)
    log.event("starting", version=version("seclude"))
    return run(lambda stop: serve(config, stop, log, flags.announce), uvloop=config.uvloop, log=log)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seclude-gateway",
        description="Pass Oblivious HTTP requests to a pool of attested workers, without being able to read them.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "command", nargs="?", choices=("serve", "check-config"), default="serve",
        help="check-config prints every problem, or the configuration in effect",
    )  # fmt: skip
    parser.add_argument("--listen", metavar="HOST:PORT", help="address for relays, or unix:PATH")
    parser.add_argument("--admin", metavar="HOST:PORT", help="address for health and metrics; loopback only")
    parser.add_argument(
        "--worker", metavar="ADDR", action="append", help="a worker, http://HOST:PORT or unix:PATH; once for each"
    )
    parser.add_argument("--t0", metavar="SECONDS", type=int, help="start of epoch 0, seconds since 1970 (default: 0)")
    parser.add_argument("--period", metavar="SECONDS", type=int, help="length of an epoch (default: 600)")
    parser.add_argument("--single", action="store_true", default=None, help="publish keys that only one worker holds")
    parser.add_argument("--config", metavar="FILE", type=Path, help="gateway.toml; flags go before it")
    parser.add_argument("--announce", metavar="FD", type=int, help="write the bound addresses to this descriptor")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('seclude')}")
    return parser
