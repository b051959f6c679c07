"""A pool of workers without a model, behind a real gateway and relay, all of them processes that a test may kill.

The workers share one SIMULATED platform. Some may be named to the gateway and be started late, or never.
"""

import re
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.front import MEASUREMENT, ORIGIN
from bench.targets import until_ready
from deploy.party import Party, module
from inference.producers.simulated import create_simulated_platform
from seclude.attestation.accept import SimulatedTable
from seclude.attestation.policy import Demonstration
from seclude.attestation.slots import Slots
from seclude.client.trust import SlotTable, Trust
from seclude.ohttp.media import GATEWAY_PATH
from seclude.pool import Message, Status, parse_status
from tests.running import ROOT
from tests.stack.conftest import ask

TALLY: Final = ROOT / "tests" / "stack" / "tally.py"


@dataclass
class FrontPool:
    """Workers, gateway and relay; what a worker began stands in its tally."""

    folder: Path
    slots: Slots
    root: bytes
    processes: int = 1
    workers: dict[str, Party] = field(default_factory=dict)
    gateway: Party | None = None
    relay: Party | None = None

    @property
    def epoch(self) -> int:
        """The epoch of now."""
        return self.slots.epoch_at(time.time())

    @property
    def into_slot(self) -> float:
        """How many seconds ago the slot of now began."""
        return time.time() - self.slots.start(self.epoch)

    @property
    def gateway_url(self) -> str:
        assert self.gateway is not None
        return f"http://{self.gateway.listen}{GATEWAY_PATH}"

    @property
    def admins(self) -> tuple[str, ...]:
        """Where each process of the gateway has its admin port."""
        assert self.gateway is not None
        host, _, port = self.gateway.admin.rpartition(":")
        return tuple(f"http://{host}:{int(port) + number}" for number in range(self.processes))

    @property
    def trust(self) -> Trust:
        """What a device pins that asks through the relay."""
        assert self.relay is not None
        period = self.slots.period_seconds
        return Trust(
            origin=ORIGIN,
            relays=(f"http://{self.relay.listen}{GATEWAY_PATH}",),
            slots=SlotTable(t0=self.slots.t0, period_seconds=period),
            policy_document=Demonstration(manifests=(MEASUREMENT.hex(),), simulated=SimulatedTable(roots=(self.root,))),
        )

    def request_url(self, worker: str) -> str:
        """Where a worker takes encapsulated requests."""
        return f"http://{self.workers[worker].listen}{Message.REQUEST}"

    def status(self, worker: str) -> Status:
        """Return what a worker says of itself; raises OSError while it does not answer."""
        return parse_status(ask(f"http://{self.workers[worker].listen}{Message.STATUS}").body)

    def began(self, worker: str) -> Counter[bytes]:
        """Return the contents of the requests whose tasks a worker began, and how often each."""
        try:
            return Counter((self.folder / f"{worker}.tally").read_bytes().split())
        except FileNotFoundError:
            return Counter()

    def counted(self, name: str) -> list[float]:
        """Return a counter of each process of the gateway, its labels summed up."""
        pages = [ask(f"{admin}/metrics").body.decode() for admin in self.admins]
        pattern = re.compile(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", re.MULTILINE)
        return [sum(map(float, pattern.findall(page))) for page in pages]

    def ready_workers(self) -> int:
        """Return how many workers every process of the gateway has in its pool, at least."""
        pattern = re.compile(r'^seclude_gateway_workers\{state="ready"\} (\S+)', re.MULTILINE)
        pages = [ask(f"{admin}/metrics").body.decode() for admin in self.admins]
        return min(int(float(pattern.findall(page)[0])) for page in pages)

    async def kill(self, worker: str) -> None:
        """End a worker as the kernel ends one when memory is short, by its process identifier."""
        process = self.workers[worker].process
        assert process is not None
        process.send_signal(signal.SIGKILL)
        await process.wait()

    async def stop(self) -> None:
        """End all that runs, the relay first."""
        for party in (self.relay, self.gateway, *self.workers.values()):
            if party is not None:
                await party.stop()


@asynccontextmanager
async def front_pool(
    folder: Path,
    *,
    period: int,
    workers: int = 2,
    late: int = 0,
    processes: int = 1,
    task_seconds: float = 0.0,
    gateway_flags: Sequence[str] = (),
) -> AsyncIterator[FrontPool]:
    """Run a pool for the length of a block; it begins when all processes of the gateway and the relay are ready.

    The last `late` workers are named to the gateway, and are there for the test to start.
    """
    platform = folder / "platform"
    root = create_simulated_platform(platform, time.time()).root
    slots = Slots(int(time.time()) - 60, period)
    timing = ["--t0", str(slots.t0), "--period", str(period)]
    pool = FrontPool(folder, slots, root, processes)
    front = [
        sys.executable,
        "-P",
        str(TALLY),
        *timing,
        "--platform",
        str(platform),
        "--task-seconds",
        str(task_seconds),
    ]
    ports = free_ports(workers)
    for number, port in enumerate(ports):
        name = f"worker-{number}"
        command = [*front, "--tally", str(folder / f"{name}.tally")]
        pool.workers[name] = Party(name, command, folder / f"{name}.log", listen=f"127.0.0.1:{port}")
    try:
        for party in list(pool.workers.values())[: workers - late]:
            await party.start()
        named = [word for port in ports for word in ("--worker", f"http://127.0.0.1:{port}")]
        command = module("gateway", *timing, *named, "--processes", str(processes), *gateway_flags)
        admin = f"127.0.0.1:{free_ports(processes)[0]}"  # of the first process; those of the others follow on
        pool.gateway = Party("gateway", command, folder / "gateway.log", admin=admin)
        await pool.gateway.start()
        for address in pool.admins:
            await until_ready(Party("gateway", (), pool.gateway.log, admin=address.removeprefix("http://")))
        pool.relay = Party("relay", module("relay", "--gateway", pool.gateway_url), folder / "relay.log")
        await pool.relay.start()
        await until_ready(pool.relay)
        yield pool
    finally:
        await pool.stop()


def free_ports(count: int) -> list[int]:
    """Return ports that follow one another and that nobody has, below those that the kernel gives to others."""
    for first in range(20_000 + time.time_ns() % 10_000, 32_000, count):
        ports = list(range(first, first + count))
        if all(map(_is_free, ports)):
            return ports
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
