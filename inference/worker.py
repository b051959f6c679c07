"""One worker from its launch to its end.

It starts in this order, and nothing is skipped: the attest helper measures the files that are launched; load and warm
up everything; hash what was loaded under a watch; compare with the manifest it was given; ask the platform what it
measures; listen; lock the process down; only then make or take over keys, and let anybody in.
"""

import asyncio
import hashlib
import os
import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from inference.answer import Task
from inference.attester import Attester, Helper
from inference.clock import BACK, FORWARD, WorkerClock, boot_seconds
from inference.config import WorkerConfig
from inference.front import MAX_BODY, Front
from inference.join import Joiner, Member
from inference.keyring import Attests, Keyring
from inference.lifetime import Lifetime
from inference.lockdown import lock_down
from inference.manifest import load_manifest
from inference.metrics import WorkerMetrics
from inference.runner import Runner
from inference.tasks.router import Tasks
from inference.warmup import at_work
from inference.watch import Watch, collect_and_watch
from seclude.attestation.evidence import SIMULATED, TPM
from seclude.attestation.judge import open_evidence
from seclude.attestation.policy import Policy
from seclude.daemon.admin import Admin
from seclude.daemon.answering import answering
from seclude.daemon.command import certificates, serve_until_stop
from seclude.daemon.lifecycle import Stop
from seclude.daemon.limits import ServerLimits
from seclude.daemon.log import Log
from seclude.daemon.messages import Request, Response, Streamed
from seclude.daemon.problems import refusal
from seclude.daemon.renewal import Renewal
from seclude.daemon.server import Server
from seclude.errors import ConfigError, Error, VerificationError
from seclude.manifest import Manifest, compare

EVENTS: Final = {
    "clock_moved": frozenset({"direction"}),
    "encrypts_no_memory": frozenset[str](),
    "files_changed": frozenset({"count"}),
    "helper_ended": frozenset[str](),
    "locked_down": frozenset({"landlock"}),
    "not_believed": frozenset({"error", "step"}),
    "restart_to_renew": frozenset[str](),
    "retiring": frozenset[str](),
    "simulated": frozenset[str](),
}
WORDS: Final = frozenset({FORWARD, BACK})
NOT_LOCKED: Final = "not locked down yet"
SELF_LABEL: Final = b"seclude self v1\x00"  # what a worker asks of its own platform is neither a birth nor a join
SELF_NONCE_BYTES: Final = 32
CHECK_SECONDS: Final = 5.0  # how long an expired key may outlive its slot while no request asks for keys
SPARE_INFLIGHT: Final = 64  # room for status polls and joins beside a full load of requests


async def serve(config: WorkerConfig, helper: Helper, stop: Stop, log: Log, descriptor: int | None) -> int:
    """Run one worker until `stop`, or until one of its files changes; `helper` has measured its launch."""
    process, connection = helper
    attester = Attester(connection)
    async with at_work(config.launch.folders, config.measured) as (tasks, runner):
        try:
            await _serve(config, attester, tasks, runner, stop, log, descriptor)
        finally:
            attester.close()
            process.returncode = 0  # it ends with the socket, and a locked process may not wait for it
    return 0


async def _serve(
    config: WorkerConfig,
    attester: Attester,
    tasks: Tasks,
    runner: Runner,
    stop: Stop,
    log: Log,
    descriptor: int | None,
) -> None:
    measured, launch = config.measured, config.launch
    manifest, watch = collect_and_watch(measured.canonical(), launch.folders)
    _check_manifest(Path(launch.manifest), manifest)
    clock = WorkerClock()
    policy = await _own_policy(measured.join_policy(), attester, clock())
    _say_what_it_is_not(policy, log)

    keyring = Keyring(
        policy, attester, manifest.digest, replay_limit=measured.replay_limit, raise_floor=clock.raise_floor
    )
    asyncio.get_running_loop().add_reader(watch.fileno(), _end_on_change, watch, keyring, log)
    metrics = WorkerMetrics(lambda: len(keyring.epochs()))
    lifetime = Lifetime(measured.renew_requests, 60.0 * measured.renew_minutes, boot_seconds)
    joiner = Joiner(keyring, attester)
    task: Task = tasks.handle
    if tasks.language is not None:
        task = tasks.language.tally.by_request(task)
    front = Front(
        keyring,
        Member(keyring),
        joiner,
        metrics.timing(task),
        runner=runner,
        pace=measured.pace,
        observe=metrics.opened,
        draining=lambda: stop.requested,
        engine_ended=lambda: tasks.language is not None and tasks.language.ended,
        clock=clock,
        lifetime=lifetime,
        retire=partial(_retire, stop, log),
        disbelieve=partial(_disbelieve, log),
    )
    gate = _Gate(front)
    server = Server(
        answering(metrics.counting(gate.handle)),
        ServerLimits(max_body_bytes=MAX_BODY, max_inflight=measured.max_inflight + SPARE_INFLIGHT),
        log=log,
        tls=certificates(launch),
        insecure_plaintext=launch.insecure_plaintext,
    )
    metrics.watch(server, lambda: max(server.inflight, runner.busy))  # also what was given up and has not ended yet
    if tasks.language is not None:
        metrics.watch_language(tasks.language.tally, tasks.language.slots)
    renewal = Renewal(metrics, log, [] if launch.tls is None else [lambda: _refuse_renewal(log)])
    admin = Admin(metrics.registry, gate.reasons)
    keep = [lambda: _look_after(keyring, joiner, clock, lifetime, attester, stop, log)]
    runner.settle()
    try:
        lock = partial(gate.lock, log, lock_memory=measured.lock_memory)
        await serve_until_stop(server, admin, launch, stop, log, descriptor, keep, renewal, lock)
    finally:
        keyring.erase()
        joiner.erase()
        watch.close()


class _Gate:
    """Before the front: lets nobody in until the process is locked down."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._locked = False

    def lock(self, log: Log, *, lock_memory: bool) -> None:
        """Lock down, and open; raises ConfigError."""
        locked = lock_down(lock_memory=lock_memory)
        log.event("locked_down", landlock=locked.landlock_abi)
        self._locked = True

    def reasons(self) -> list[str]:
        """Say why this worker is not ready, if it is not."""
        return self._front.reasons() if self._locked else [NOT_LOCKED]

    async def handle(self, request: Request) -> Response | Streamed:
        """Answer a request, if it may come in."""
        return await self._front.handle(request) if self._locked else refusal(503)


async def _own_policy(policy: Policy, attester: Attests, now: float) -> Policy:
    """Return the join policy with what this worker's own platform measures, which is all that it lets in.

    It learns that from evidence about itself, verified as a device would: so a machine that nobody would believe is
    refused here, before it makes a key. A nonce keeps out evidence of another machine, which would make that one's
    software its own. The helper hands it on: where a machine's image is measured, it is in that image with the worker.
    """
    report_data = hashlib.sha512(SELF_LABEL + secrets.token_bytes(SELF_NONCE_BYTES)).digest()
    try:
        evidence = open_evidence(await attester.attest(report_data), policy, report_data, now)
    except VerificationError as exc:
        raise ConfigError(f"no device and no other worker would believe this machine: step {exc.step}: {exc}") from exc
    except Error as exc:
        raise ConfigError(str(exc)) from exc
    return policy.for_launch(evidence.launched)


def _say_what_it_is_not(policy: Policy, log: Log) -> None:
    """Log what the evidence does not show: whoever reads the log must not take it for more."""
    platforms = policy.document.platforms()
    if SIMULATED in platforms:
        log.event("simulated")
    if TPM in platforms:
        log.event("encrypts_no_memory")


def _retire(stop: Stop, log: Log) -> None:
    log.event("retiring")
    stop.request()


def _disbelieve(log: Log, exc: VerificationError) -> None:
    """Say which step of `verify_bundle` refused what a gateway brought; it is told no more than that it was refused."""
    log.event("not_believed", error=type(exc).__name__, step=exc.step)


def _refuse_renewal(log: Log) -> None:
    """Say that other certificates take another process: a locked worker reads no file."""
    log.event("restart_to_renew")
    raise ConfigError("a worker that is locked down reads no certificates: restart it")


async def _look_after(
    keyring: Keyring,
    joiner: Joiner,
    clock: WorkerClock,
    lifetime: Lifetime,
    attester: Attester,
    stop: Stop,
    log: Log,
) -> None:
    """Drop keys at the end of their time even while nobody asks for any, look at the host's clock, and end in time.

    A worker without its helper could make no more keys and join no pool, and one that followed a clock too far ahead
    has no slot left that anybody else is in: both end in good order, to be started anew. Where witnesses vouch for the
    worker's time, it is the host's clock that is wrong.
    """
    moved: str | None = None
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        before, moved = moved, clock.look()
        if moved is not None and moved != before:
            log.event("clock_moved", direction=moved)
        now = clock()
        joiner.erase_expired(now)
        lost = False
        if keyring.policy.slots.have_begun(now):
            keyring.erase_expired(now)
            held = {epoch.number for epoch in keyring.epochs()}
            lost = moved == BACK and not clock.is_vouched_for() and keyring.policy.slots.epoch_at(now) not in held
        if stop.requested:
            continue
        if attester.has_ended:
            log.event("helper_ended")
            stop.request()
        elif lost or lifetime.overdue:
            _retire(stop, log)


def _end_on_change(watch: Watch, keyring: Keyring, log: Log) -> None:
    """Erase the keys and end the process at once: what runs is no longer what was measured."""
    changed: Sequence[Path] = watch.changed()
    if not changed:
        return
    keyring.erase()
    log.event("files_changed", count=len(changed))
    _exit_now()


def _exit_now() -> NoReturn:
    os._exit(1)  # no drain, no handlers: they might be the changed code


def _check_manifest(path: Path, actual: Manifest) -> None:
    differences = compare(load_manifest(path), actual)
    if differences:
        raise ConfigError(f"this is not the software of {path}: {'; '.join(differences)}")
