"""A worker's front without a model: the real server, keyring, decapsulation and sealing, and a task that does nothing.

    python -m bench.front --listen 127.0.0.1:0 --admin 127.0.0.1:0 --announce FD

It shows what a worker adds to the model's own time. A real worker has no such task, and must not have one. Its
evidence is SIMULATED, and made for a folder that is gone when it ends.
"""

import argparse
import asyncio
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from inference.config import Measured
from inference.front import MAX_BODY, Front
from inference.join import Joiner, Member
from inference.keyring import Keyring
from inference.platform import create_simulated_platform
from inference.runner import Runner
from seclude import bhttp
from seclude.attestation.policy import Policy
from seclude.attestation.slots import Slots
from seclude.daemon.answering import answering
from seclude.daemon.lifecycle import announce
from seclude.daemon.limits import ServerLimits
from seclude.daemon.metrics import Metrics
from seclude.daemon.server import Server
from seclude.tasks import JSON

ORIGIN: Final = "front.invalid"
PERIOD_SECONDS: Final = 86_400  # no epoch ends during a run
MEASUREMENT: Final = bytes(32)  # of no software: nobody verifies this one
REPLAY_LIMIT: Final = 10_000_000
ANSWER: Final = bhttp.Response(200, (bhttp.Field(b"content-type", JSON.encode()),), b"x" * 1024)
DEFAULTS: Final = {field.name: field.default for field in msgspec.structs.fields(Measured)}


def nothing(_: bhttp.Request) -> bhttp.Response:
    """Answer at once."""
    return ANSWER


def open_front(folder: Path, now: float) -> tuple[Front, Runner]:
    """Return a front that holds nothing yet, and its threads."""
    platform = create_simulated_platform(folder, now)
    policy = Policy(
        role="worker",
        origin=ORIGIN,
        slots=Slots(t0=int(now) - PERIOD_SECONDS // 2, period_seconds=PERIOD_SECONDS),
        measurements=frozenset({MEASUREMENT}),
        simulated_roots=(platform.root,),
        max_evidence_age_seconds=3 * PERIOD_SECONDS,
    )
    keyring = Keyring(policy, platform, MEASUREMENT, replay_limit=REPLAY_LIMIT)
    at_once, inflight = int(DEFAULTS["tasks_at_once"]), int(DEFAULTS["max_inflight"])
    runner = Runner(at_once, inflight - at_once)
    front = Front(
        keyring,
        Member(keyring),
        Joiner(keyring, platform),
        nothing,
        runner=runner,
        observe=lambda _result, _seconds: None,
        draining=lambda: False,
        clock=time.time,
    )
    return front, runner


async def serve(flags: argparse.Namespace) -> None:
    """Answer until SIGTERM."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    with tempfile.TemporaryDirectory(prefix="seclude-bench-") as folder:
        front, runner = open_front(Path(folder) / "platform", time.time())
        limits = ServerLimits(max_body_bytes=MAX_BODY, max_inflight=int(DEFAULTS["max_inflight"]))
        server = Server(answering(front.handle), limits, observe=Metrics("worker").observe)
        bound = await server.start(flags.listen)
        announce(flags.announce, listen=bound, admin=bound)
        await ended.wait()
        await server.drain(1.0)
        runner.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one front."""
    parser = argparse.ArgumentParser(prog="bench.front")
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--admin", help="ignored: a front is ready as soon as it listens")
    parser.add_argument("--announce", type=int)
    asyncio.run(serve(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
