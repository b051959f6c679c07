"""The worker: alone holds the keys, opens requests, runs the models, keeps nothing.

It starts in this order, and nothing is skipped: isolate the interpreter; load and warm up everything; hash what was
loaded under a watch; compare with the manifest it was given; only then make or take over keys and listen.
"""

import argparse
import asyncio
import base64
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn

from inference.clock import steady_clock
from inference.config import WorkerConfig, problems
from inference.front import MAX_BODY, Front
from inference.isolate import isolate
from inference.join import Joiner, Member
from inference.keyring import Keyring
from inference.manifest import Manifest, compare, parse_manifest, render_manifest
from inference.metrics import WorkerMetrics
from inference.platform import SimulatedPlatform, create_simulated_platform
from inference.runner import Runner
from inference.warmup import load_tasks
from inference.watch import Watch, collect_and_watch
from seclude.daemon.admin import Admin
from seclude.daemon.answering import answering
from seclude.daemon.command import CHECK_CONFIG, Command, certificates, serve_until_stop, show
from seclude.daemon.lifecycle import Stop, run
from seclude.daemon.limits import ServerLimits
from seclude.daemon.log import Log
from seclude.daemon.renewal import Renewal
from seclude.daemon.server import Server
from seclude.errors import ConfigError

MANIFEST: Final = "manifest"
SIMULATE: Final = "simulate-platform"
EXAMPLE: Final = """examples:
  seclude-worker simulate-platform --out platform
  seclude-worker manifest --config worker.toml --out worker.manifest
  seclude-worker --config worker.toml --listen 127.0.0.1:8082 --admin 127.0.0.1:9082
"""
EVENTS: Final = {"files_changed": frozenset({"count"}), "simulated": frozenset[str]()}
EXPIRY_CHECK_SECONDS: Final = 5.0  # how long an expired key may outlive its slot while no request asks for keys
SPARE_INFLIGHT: Final = 64  # room for status polls and joins beside a full load of requests


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seclude-worker` and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = Command(
        "worker",
        WorkerConfig,
        problems,
        description="Open, answer and seal requests inside an attested process. Attestation is SIMULATED so far.",
        example=EXAMPLE,
        verbs={MANIFEST: "writes down what serve would measure", SIMULATE: "makes a key to attest with"},
        place="launch.",
    )
    command.add_option("--out", metavar="PATH", type=Path, help=f"where {MANIFEST} or {SIMULATE} write")

    def act(flags: argparse.Namespace) -> int:
        if flags.command == SIMULATE:
            return _simulate_platform(flags.out)
        config = command.load(flags)
        if flags.command == CHECK_CONFIG:
            return show(config)
        isolate("inference", given)
        if flags.command == MANIFEST:
            return _manifest(flags.out, config)
        log = Log("worker", events=EVENTS, text=config.launch.log_text)
        return run(lambda stop: serve(config, stop, log, flags.announce), uvloop=False, log=log)

    return command.run(given, act)


async def serve(config: WorkerConfig, stop: Stop, log: Log, descriptor: int | None) -> int:
    """Run one worker until `stop`, or until one of its files changes."""
    measured, launch = config.measured, config.launch
    task = load_tasks(Path(launch.model), measured.model_threads)
    manifest, watch = collect_and_watch(measured.canonical(), Path(launch.model))
    _check_manifest(Path(launch.manifest), manifest)
    attester = SimulatedPlatform.load(Path(launch.platform))
    if attester.root not in measured.simulated_roots:
        raise ConfigError(
            f"the root of the platform in {launch.platform} is not among measured.simulated_roots, "
            "so no device and no other worker would believe it"
        )
    log.event("simulated")  # whoever reads this log must not take the evidence for hardware's

    policy = measured.policy(manifest.digest)
    keyring = Keyring(policy, attester, manifest.digest, replay_limit=measured.replay_limit)
    asyncio.get_running_loop().add_reader(watch.fileno(), _end_on_change, watch, keyring, log)
    metrics = WorkerMetrics(lambda: len(keyring.epochs()))
    clock = steady_clock()
    runner = Runner(measured.tasks_at_once, max(0, measured.max_inflight - measured.tasks_at_once))
    front = Front(
        keyring,
        Member(keyring),
        Joiner(keyring, attester),
        metrics.timing(task),
        runner=runner,
        pace=measured.pace,
        observe=metrics.opened,
        draining=lambda: stop.requested,
        clock=clock,
    )
    server = Server(
        answering(metrics.counting(front.handle)),
        ServerLimits(max_body_bytes=MAX_BODY, max_inflight=measured.max_inflight + SPARE_INFLIGHT),
        log=log,
        tls=certificates(launch),
        insecure_plaintext=launch.insecure_plaintext,
    )
    metrics.watch(server, lambda: runner.busy)
    renewal = Renewal(metrics, log, [server.renew_tls])
    admin = Admin(metrics.registry, front.reasons)
    keep = [lambda: _erase_expired(keyring, clock)]
    try:
        await serve_until_stop(server, admin, launch, stop, log, descriptor, keep, renewal)
    finally:
        runner.close()
        keyring.erase()
        watch.close()
    return 0


async def _erase_expired(keyring: Keyring, clock: Callable[[], float]) -> None:
    """Drop keys at the end of their time even while nobody asks for any."""
    while True:
        await asyncio.sleep(EXPIRY_CHECK_SECONDS)
        now = clock()
        if keyring.policy.slots.have_begun(now):
            keyring.erase_expired(now)


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


def _manifest(out: Path | None, config: WorkerConfig) -> int:
    """Print or write the manifest of exactly what `serve` would run."""
    load_tasks(Path(config.launch.model), config.measured.model_threads)
    manifest, watch = collect_and_watch(config.measured.canonical(), Path(config.launch.model))
    watch.close()
    text = render_manifest(manifest)
    if out is None:
        print(text, end="")
        return 0
    try:
        out.write_text(text)
    except OSError as exc:
        raise ConfigError(f"cannot write the manifest {out}: {exc.strerror}") from exc
    print(manifest.digest.hex())
    return 0


def _simulate_platform(out: Path | None) -> int:
    """Make a platform, and print its root as the configuration and the trust file want it."""
    if out is None:
        raise ConfigError(f"{SIMULATE} needs --out DIR")
    platform = create_simulated_platform(out, time.time())
    print(f"# SIMULATED platform in {out}: it shows how attestation flows and proves nothing about this machine.")
    print(f'simulated_roots = ["{base64.b64encode(platform.root).decode()}"]')
    return 0
