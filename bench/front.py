"""A worker's front without a model: the real server, keyring, decapsulation and sealing, and tasks that do nothing.

    python -m bench.front --listen 127.0.0.1:0 --admin 127.0.0.1:0 --announce FD

It shows what a worker adds to the model's own time, and what a hop does with a long stream: STREAM_PATH answers with
as many octets of events as the content says in decimal digits. A real worker has no such task, and must not have one.
Its evidence is SIMULATED, by a platform in the folder that is named or in one that is gone when it ends.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.simulated import SimulatedHere, simulated_policy
from inference.answer import Emit, Events, event
from inference.config import Measured
from inference.front import MAX_BODY, Front
from inference.join import Joiner, Member
from inference.keyring import Keyring
from inference.lifetime import Lifetime
from inference.pace import Pace
from inference.producers.simulated import SimulatedPlatform, create_simulated_platform
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
STREAM_PATH: Final = b"/v1/stream"
EVENT_BYTES: Final = 1000
ANSWER: Final = bhttp.Response(200, (bhttp.Field(b"content-type", JSON.encode()),), b"x" * 1024)
DEFAULTS: Final = {field.name: field.default for field in msgspec.structs.fields(Measured)}


def nothing(request: bhttp.Request) -> bhttp.Response | Events:
    """Answer at once, or with events as fast as they are taken."""
    return stream(int(request.content)) if request.path == STREAM_PATH else ANSWER


def stream(octets: int) -> Events:
    """Return events of so many octets together."""

    def produce(emit: Emit) -> None:
        left = octets
        while left > 0:
            whole = event("filler", b"x" * min(left, EVENT_BYTES))
            emit(whole)
            left -= len(whole)

    return Events(produce)


def open_front(
    platform: SimulatedPlatform, slots: Slots, pace: Pace, clock: Callable[[], float]
) -> tuple[Front, Runner]:
    """Return a front that holds nothing yet, and its threads."""
    policy = Policy(origin=ORIGIN, slots=slots, document=simulated_policy(platform))
    attester = SimulatedHere(platform, MEASUREMENT, clock)
    keyring = Keyring(policy, attester, MEASUREMENT, replay_limit=REPLAY_LIMIT)
    at_once, inflight = int(DEFAULTS["tasks_at_once"]), int(DEFAULTS["max_inflight"])
    runner = Runner(at_once, inflight - at_once)
    front = Front(
        keyring,
        Member(keyring),
        Joiner(keyring, attester),
        nothing,
        runner=runner,
        pace=pace,
        observe=lambda _result, _seconds: None,
        draining=lambda: False,
        clock=clock,
        lifetime=Lifetime(sys.maxsize, sys.maxsize, time.monotonic),  # a run must not end before its time
        retire=lambda: None,
        disbelieve=lambda _exc: None,
    )
    return front, runner


async def serve(flags: argparse.Namespace) -> None:
    """Answer until SIGTERM."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    now = int(time.time())
    t0 = now - flags.period // 2 if flags.t0 is None else flags.t0
    pace = Pace(flags.chunk_bytes, flags.tick_ms / 1000)
    with tempfile.TemporaryDirectory(prefix="seclude-bench-") as folder:
        if flags.platform is None:
            platform = create_simulated_platform(Path(folder) / "platform", now)
        else:
            platform = SimulatedPlatform.load(flags.platform)
        front, runner = open_front(platform, Slots(t0, flags.period), pace, time.time)
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
    parser.add_argument("--platform", type=Path, metavar="DIR", help="of a SIMULATED platform that several share")
    parser.add_argument("--t0", type=int, metavar="SECONDS")
    parser.add_argument("--period", type=int, default=PERIOD_SECONDS, metavar="SECONDS")
    parser.add_argument("--chunk-bytes", type=int, default=DEFAULTS["chunk_bytes"], metavar="N")
    parser.add_argument("--tick-ms", type=float, default=DEFAULTS["tick_milliseconds"], metavar="MS")
    asyncio.run(serve(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
