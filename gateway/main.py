"""The gateway: the operator's door, which sees ciphertext and holds no key that opens it.

It knows its workers, passes each request to one that can open it, and carries the messages by which workers share keys.
"""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from time import time
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import asdict

from gateway.duplicates import Duplicates, share
from gateway.epochs import Reconciler
from gateway.ledger import Ledger
from gateway.ledger import connect as connect_ledger
from gateway.link import Link, keep_polling
from gateway.pool import Pool, State
from gateway.report import EVENTS, WORDS, Report
from gateway.route import Gateway
from seclude.attestation.slots import MAX_PERIOD_SECONDS, MAX_T0, NOT_BEGUN, Slots
from seclude.daemon.admin import Admin
from seclude.daemon.command import (
    CHECK_CONFIG,
    Command,
    DaemonConfig,
    Keep,
    certificates,
    listening_problems,
    serve_until_stop,
    show,
)
from seclude.daemon.config import Seconds
from seclude.daemon.lifecycle import DrainTimes, Stop, run
from seclude.daemon.limits import ServerLimits
from seclude.daemon.log import Log
from seclude.daemon.metrics import Metrics
from seclude.daemon.processes import EVENTS as PROCESS_EVENTS
from seclude.daemon.processes import MAX_PROCESSES, command_again, supervise
from seclude.daemon.renewal import Renewal
from seclude.daemon.secretfile import load_submit_secret
from seclude.daemon.server import Server
from seclude.daemon.tls import ClientCertificates, ClientTLS
from seclude.errors import ConfigError
from seclude.pool import DRAINING

EXAMPLE = """example:
  seclude-gateway --listen 127.0.0.1:8081 --admin 127.0.0.1:9081 \\
      --worker http://127.0.0.1:8082 --worker http://127.0.0.1:8083 --t0 1767225600 --period 600
"""
DEFAULTS = ServerLimits()


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What a relay may cost; the reasons stand in `ServerLimits`."""

    max_body_bytes: Annotated[int, Meta(ge=1, le=1 << 26)] = DEFAULTS.max_body_bytes
    max_inflight: Annotated[int, Meta(ge=1, le=1 << 16)] = DEFAULTS.max_inflight
    max_connections: Annotated[int, Meta(ge=1, le=1 << 20)] = DEFAULTS.max_connections


class Timeouts(DrainTimes, frozen=True, forbid_unknown_fields=True):
    """How long an answer may take, and how long stopping may."""

    answer: Seconds = 110.0  # all workers together; below the relay's 120, so that the relay gets our 504


class Config(DaemonConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """gateway.toml."""

    # Each is polled twice a second and asked for joins in turn; beyond this a pool should be cut in two.
    workers: Annotated[tuple[str, ...], Meta(min_length=1, max_length=256)]
    t0: Annotated[int, Meta(ge=0, le=MAX_T0)]
    period_seconds: Annotated[int, Meta(ge=1, le=MAX_PERIOD_SECONDS)]
    single: bool = False
    # How long before its slot an epoch's keys are made and published; a whole period where it is not set.
    announce_seconds: Annotated[float, Meta(ge=0)] | None = None
    listen: str = "127.0.0.1:8081"
    admin: str = "127.0.0.1:9081"
    uvloop: bool = True
    processes: Annotated[int, Meta(ge=1, le=MAX_PROCESSES)] = 1
    worker_tls: ClientTLS = ClientTLS()
    ledger: str | None = None
    ledger_secret: str | None = None
    ledger_tls: ClientTLS = ClientTLS()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()


def connect(config: Config, address: str, tls: ClientCertificates) -> Link:
    """Return the way to one worker, without using it yet; raises ConfigError."""
    return Link(address, config.timeouts.answer, tls=tls, insecure_plaintext=config.insecure_plaintext)


def reasons(pool: Pool, reconciler: Reconciler, stop: Stop, ledger: Ledger | None = None) -> list[str]:
    """Return why relays are better off with another gateway."""
    offer = reconciler.offer
    unable = not pool.count(State.READY) or (offer is not None and not pool.serves(offer.epoch))
    found = {
        NOT_BEGUN: reconciler.epoch is None,
        "no worker ready": unable,
        "no epoch published": offer is None,
        DRAINING: stop.requested,
    }
    of_ledger = [] if ledger is None else ledger.reasons(asyncio.get_running_loop().time(), serving=offer is not None)
    return [reason for reason, applies in found.items() if applies] + of_ledger


async def serve(config: Config, duplicates: Duplicates, stop: Stop, log: Log, descriptor: int | None) -> int:
    """Run one gateway until `stop`."""
    metrics, pool = Metrics("gateway"), Pool(len(config.workers))
    tls = ClientCertificates(config.worker_tls)
    links = [connect(config, address, tls) for address in config.workers]
    report = Report(metrics.registry, log, pool)
    ledger_tls = ClientCertificates(config.ledger_tls)
    ledger = open_ledger(config, ledger_tls, report)
    slots = Slots(config.t0, config.period_seconds)
    ahead = config.period_seconds if config.announce_seconds is None else config.announce_seconds
    reconciler = Reconciler(
        pool, links, slots, time, single=config.single, announce_seconds=ahead, observer=report, ledger=ledger
    )
    report.watch(reconciler, ledger)
    deadline = config.timeouts.answer
    gateway = Gateway(pool, links, reconciler, duplicates, deadline_seconds=deadline, count_retry=report.count_retry)
    server = Server(
        gateway.handle,
        ServerLimits(**asdict(config.limits)),
        log=log,
        observe=metrics.observe,
        tls=certificates(config),
        insecure_plaintext=config.insecure_plaintext,
    )
    metrics.watch(server)
    renewal = Renewal(metrics, log, [server.renew_tls, tls.renew, ledger_tls.renew])
    admin = Admin(metrics.registry, lambda: reasons(pool, reconciler, stop, ledger))
    polls = [partial(keep_polling, pool, worker, links[worker.index]) for worker in pool.workers]
    keep: list[Keep] = [*polls, reconciler.run, report.follow]
    if ledger is not None:
        keep.append(partial(ledger.keep, pool.wake))
    try:
        await serve_until_stop(server, admin, config, stop, log, descriptor, keep, renewal)
    finally:
        for link in links:
            await link.close()
        if ledger is not None:
            await ledger.close()
    return 0


def open_ledger(config: Config, tls: ClientCertificates, report: Report) -> Ledger | None:
    """Return the ledger, if there is one, without asking it yet; raises ConfigError."""
    if config.ledger is None or config.ledger_secret is None:
        return None
    upstream = connect_ledger(config.ledger, tls, insecure_plaintext=config.insecure_plaintext)
    return Ledger(upstream, load_submit_secret(Path(config.ledger_secret)), config.period_seconds, report)


def problems(config: Config) -> Iterator[str]:
    """Find what is wrong beyond types and ranges."""
    yield from listening_problems(config)
    try:
        tls = ClientCertificates(config.worker_tls)
    except ConfigError as exc:
        yield f"worker_tls: {exc}"
        return
    for place, address in enumerate(config.workers):
        try:
            connect(config, address, tls)
        except ConfigError as exc:
            yield f"workers[{place}]: {exc}"
        if address in config.workers[:place]:  # it would count as the second holder of its own keys
            yield f"workers[{place}]: the same worker is named twice"
    yield from _ledger_problems(config)
    if config.announce_seconds is not None and config.announce_seconds > config.period_seconds:
        yield "announce_seconds: longer than a period, and workers make no keys for the slot after the next"
    if len(config.workers) == 1 and not config.single:
        yield "workers: one worker has nobody to share its keys with; name a second one, or declare the pool single"


def _ledger_problems(config: Config) -> Iterator[str]:
    if config.ledger is None:
        if config.ledger_secret is not None:
            yield "ledger_secret: there is no ledger that it would be for"
        if config.ledger_tls != ClientTLS():
            yield "ledger_tls: there is no ledger that it would be for"
        return
    if config.ledger_secret is None:
        yield "ledger_secret: not set, and a ledger takes epochs only from those who share a secret with it"
    else:
        try:
            load_submit_secret(Path(config.ledger_secret))
        except ConfigError as exc:
            yield f"ledger_secret: {exc}"
    try:
        tls = ClientCertificates(config.ledger_tls)
        connect_ledger(config.ledger, tls, insecure_plaintext=config.insecure_plaintext)
    except ConfigError as exc:
        yield f"ledger: {exc}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seclude-gateway` and return its exit status."""
    command = Command(
        "gateway",
        Config,
        problems,
        description="Pass Oblivious HTTP requests to a pool of attested workers, without being able to read them.",
        example=EXAMPLE,
    )
    add = command.add_flag
    add("workers", "--worker", metavar="ADDR", action="append", help="http://HOST:PORT or unix:PATH; once for each")
    add("t0", "--t0", metavar="SECONDS", type=int, help="start of epoch 0, seconds since 1970 UTC")
    add("period_seconds", "--period", metavar="SECONDS", type=int, help="length of an epoch")
    add("announce_seconds", "--announce-ahead", metavar="SECONDS", type=float, help="publish keys before their slot")
    command.add_flag("processes", "--processes", metavar="N", type=int, help="one for each core; admin ports follow on")
    command.add_next_hop_flags("worker_tls", "worker")
    add("ledger", "--ledger", metavar="ADDR", help="where epochs are logged; http://HOST:PORT or https://HOST:PORT")
    add("ledger_secret", "--ledger-secret", metavar="FILE", help="what submissions to it are authenticated with")
    command.add_next_hop_flags("ledger_tls", "ledger")
    add("single", "--single", action="store_true", help="publish keys that only one worker holds")
    command.add_option("--duplicates", type=int, help=argparse.SUPPRESS)  # what `share` returned, from parent to child

    def act(flags: argparse.Namespace) -> int:
        config = command.load(flags)
        if flags.command == CHECK_CONFIG:
            return show(config)
        log = Log("gateway", events={**EVENTS, **PROCESS_EVENTS}, words=WORDS, text=config.log_text)
        if config.processes > 1:
            memory = share()
            again = [*command_again(arguments), "--duplicates", str(memory)]
            return run(
                lambda stop: supervise(again, config, stop, log, flags.announce, [memory]), uvloop=False, log=log
            )
        duplicates = Duplicates(flags.duplicates)
        return run(lambda stop: serve(config, duplicates, stop, log, flags.announce), uvloop=config.uvloop, log=log)

    return command.run(arguments, act)
