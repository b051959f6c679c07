"""The worker: alone holds the keys, opens requests, runs the models, keeps nothing.

It starts in this order, and nothing is skipped: isolate the interpreter; load and warm up everything; hash what was
loaded under a watch; compare with the manifest it was given; only then make or take over keys and listen.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Final, NoReturn

from prometheus_client import Counter, Gauge, Histogram

from inference.config import WorkerConfig
from inference.front import MAX_BODY, Front
from inference.isolate import isolate
from inference.join import Joiner, Member
from inference.keyring import Keyring
from inference.manifest import Manifest, compare, parse_manifest, render_manifest
from inference.platform import SimulatedPlatform, create_simulated_platform
from inference.warmup import load_tasks
from inference.watch import Watch, collect_and_watch
from seclude.daemon import config as configuration
from seclude.daemon.addresses import parse_listen
from seclude.daemon.admin import Admin, Metrics
from seclude.daemon.lifecycle import CONFIG_STATUS, DrainTimes, Stop, announce, drain, run
from seclude.daemon.log import Log
from seclude.daemon.server import Server, ServerLimits
from seclude.errors import ConfigError

EXAMPLE: Final = """examples:
  seclude-worker simulate-platform --out platform
  seclude-worker manifest --config worker.toml --out worker.manifest
  seclude-worker --config worker.toml --listen 127.0.0.1:8082 --admin 127.0.0.1:9082
"""
EVENTS: Final = {"files_changed": frozenset({"count"}), "simulated": frozenset[str]()}
HPKE_SECONDS: Final = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005)
EXPIRY_CHECK_SECONDS: Final = 5.0  # how long an expired key may outlive its slot while no request asks for keys
SPARE_INFLIGHT: Final = 64  # room for status polls and joins beside a full load of requests


class WorkerMetrics(Metrics):
    """What a worker counts: numbers and a closed set of words, nothing of any request."""

    def __init__(self, epochs: Callable[[], int]) -> None:
        super().__init__("worker")
        self._opened = Counter(
            "seclude_worker_decapsulations_total", "Requests by outcome of opening", ("result",), registry=self.registry
        )
        self._seconds = Histogram(
            "seclude_worker_hpke_seconds", "Time to open a request", buckets=HPKE_SECONDS, registry=self.registry
        )
        gauge = Gauge("seclude_worker_epochs", "Epochs whose keys are held", registry=self.registry)
        gauge.set_function(epochs)

    def opened(self, result: str, seconds: float) -> None:
        """Count one attempt to open a request; `result` is "ok" or "refused"."""
        self._opened.labels(result).inc()
        self._seconds.observe(seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seclude-worker` and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    flags = _parser().parse_args(given)  # help and wrong usage need no fresh interpreter
    try:
        if flags.command == "simulate-platform":
            return _simulate_platform(flags)
        config = _load_config(flags)
        if flags.command == "check-config":
            print(configuration.show(config), end="")
            return 0
        isolate("inference", given)
        if flags.command == "manifest":
            return _manifest(flags, config)
    except ConfigError as exc:
        print(f"seclude-worker: {exc}", file=sys.stderr)
        return CONFIG_STATUS
    log = Log("worker", events=EVENTS)
    log.event("starting", version=version("seclude"))
    return run(lambda stop: serve(config, stop, log, flags.announce), uvloop=False, log=log)


async def serve(config: WorkerConfig, stop: Stop, log: Log, descriptor: int | None) -> int:
    """Run one worker until `stop`, or until one of its files changes."""
    measured, launch = config.measured, config.launch
    task = load_tasks(Path(launch.model), measured.model_threads)
    manifest, watch = collect_and_watch(measured.canonical(), Path(launch.model))
    _check_manifest(Path(launch.manifest), manifest)
    attester = SimulatedPlatform.load(Path(launch.platform))
    log.event("simulated")  # whoever reads this log must not take the evidence for hardware's

    policy = measured.policy(manifest.digest)
    keyring = Keyring(policy, attester, manifest.digest, replay_limit=measured.replay_limit)
    asyncio.get_running_loop().add_reader(watch.fileno(), _end_on_change, watch, keyring, log)
    metrics = WorkerMetrics(lambda: len(keyring.epochs()))
    with ThreadPoolExecutor(measured.tasks_at_once, "task") as executor:
        front = Front(
            keyring,
            Member(keyring),
            Joiner(keyring, attester),
            task,
            executor=executor,
            max_inflight=measured.max_inflight,
            observe=metrics.opened,
            draining=lambda: stop.requested,
        )
        limits = ServerLimits(max_body_bytes=MAX_BODY, max_inflight=measured.max_inflight + SPARE_INFLIGHT)
        server = Server(
            front.handle,
            limits,
            name="the worker",
            log=log,
            observe=metrics.observe,
            insecure_plaintext=launch.insecure_plaintext,
        )
        metrics.watch(lambda: server.inflight)
        admin = Admin(metrics.registry, front.reasons)
        try:
            async with asyncio.TaskGroup() as group:
                listen, admin_listen = await server.start(launch.listen), await admin.start(launch.admin)
                eraser = group.create_task(_erase_expired(keyring))
                log.event("ready", listen=listen, admin=admin_listen)
                announce(descriptor, listen=listen, admin=admin_listen)
                await stop.wait()
                await drain(server, DrainTimes(drain=launch.drain_timeout_seconds), log)
                eraser.cancel()
        finally:
            keyring.erase()
            await admin.close()
            watch.close()
    return 0


async def _erase_expired(keyring: Keyring) -> None:
    """Drop keys at the end of their time even while nobody asks for any."""
    while True:
        await asyncio.sleep(EXPIRY_CHECK_SECONDS)
        keyring.erase_expired(time.time())


def _end_on_change(watch: Watch, keyring: Keyring, log: Log) -> None:
    """Erase the keys and end the process at once: what runs is no longer what was measured."""
    changed = watch.changed()
    if not changed:
        return
    keyring.erase()
    log.event("files_changed", count=len(changed))
    _exit_now()


def _exit_now() -> NoReturn:
    os._exit(1)  # no drain, no handlers: they might be the changed code


def _check_manifest(path: Path, actual: Manifest) -> None:
    try:
        expected = parse_manifest(path.read_text())
    except OSError as exc:
        raise ConfigError(
            f"cannot read the manifest {path}: {exc.strerror}; make one with `seclude-worker manifest`"
        ) from exc
    differences = compare(expected, actual)
    if differences:
        raise ConfigError(f"this is not the software of {path}: {'; '.join(differences)}")


def _load_config(flags: argparse.Namespace) -> WorkerConfig:
    table = configuration.read(flags.config)
    launch = table.get("launch")
    if isinstance(launch, dict):  # anything else is reported as what it is
        launch = launch | {key: getattr(flags, key) for key in ("listen", "admin") if getattr(flags, key) is not None}
    config = configuration.load(flags.config, WorkerConfig, {"launch": launch})
    for address in (config.launch.listen, config.launch.admin):
        parse_listen(address)
    config.measured.policy(bytes(32))  # raises where the measured values do not go together
    return config


def _manifest(flags: argparse.Namespace, config: WorkerConfig) -> int:
    """Print the manifest of exactly what `serve` would run."""
    load_tasks(Path(config.launch.model), config.measured.model_threads)
    manifest, watch = collect_and_watch(config.measured.canonical(), Path(config.launch.model))
    watch.close()
    text = render_manifest(manifest)
    if flags.out is None:
        print(text, end="")
    else:
        flags.out.write_text(text)
        print(manifest.digest.hex())
    return 0


def _simulate_platform(flags: argparse.Namespace) -> int:
    if flags.out is None:
        raise ConfigError("simulate-platform needs --out DIR")
    create_simulated_platform(flags.out, time.time())
    print(f"SIMULATED platform in {flags.out}: it shows how attestation flows and proves nothing about this machine")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seclude-worker",
        description="Open, answer and seal requests inside an attested process. Attestation is SIMULATED so far.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "command", nargs="?", choices=("serve", "check-config", "manifest", "simulate-platform"), default="serve",
        help="manifest prints what serve would measure; simulate-platform makes a key to attest with",
    )  # fmt: skip
    parser.add_argument("--config", metavar="FILE", type=Path, help="worker.toml")
    parser.add_argument("--listen", metavar="HOST:PORT", help="address for the gateway, or unix:PATH")
    parser.add_argument("--admin", metavar="HOST:PORT", help="address for health and metrics; loopback only")
    parser.add_argument("--out", metavar="PATH", type=Path, help="where manifest or simulate-platform write")
    parser.add_argument("--announce", metavar="FD", type=int, help="write the bound addresses to this descriptor")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('seclude')}")
    return parser
