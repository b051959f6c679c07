"""`seclude-bench slow`: clients that take their time, and whether they cost those who do not.

A quarter each says nothing, drips a head, drips a body, and does not read its answer. A relay must close every one of
them within its limit, and meanwhile good traffic must not fail nor wait. The clients are bare sockets. Whether one was
closed is read from the relay's end in the kernel's table, since a client that does not read cannot tell.

Good traffic is measured three times: while they arrive, while all of them are there and none had its time yet, and
while they are closed and come again at once, each as a new connection. What is held against the limit is the second;
the third is as much a load of connections as of slowness, and is shown. How many were still there after the second is
a figure too.
"""

import argparse
import asyncio
import contextlib
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Final

from msgspec.structs import replace

from bench.arrivals import Arrivals
from bench.engine import Samples, Say, run_load
from bench.idle import SOURCES, SPARE_DESCRIPTORS, raise_descriptor_limit
from bench.job import Job
from bench.options import count, positive
from bench.output import add_options, deliver, say, silent
from bench.result import GENERATOR_BOUND, Case, Figure, Result, case_of
from bench.stub import LARGE_REQUEST_BYTES
from bench.targets import Place, Target, relay_alone
from bench.workload import head_of
from seclude.daemon.limits import ServerLimits
from seclude.errors import ConfigError
from seclude.ohttp.media import OHTTP_REQ

ESTABLISHED: Final = "01"  # tcp_states.h, as /proc/net/tcp gives it (proc(5))
OPENED_PER_SECOND: Final = 300  # slow clients
LEAD_SECONDS: Final = 1.5  # for a generator to start, and its warm-up
GENTLE_SECONDS: Final = 0.02
LEAST_SECONDS: Final = 0.5  # of a window, where limits are short
TICK_SECONDS: Final = 0.25
DRIP_SECONDS: Final = 1.0
SMALL_BUFFER: Final = 4096  # octets of receive buffer, of a client that does not read
SLACK_SECONDS: Final = 3.5  # the relay's clock, the two seconds in which it reads on after a refusal, and our own tick
BASELINE_SECONDS: Final = 5.0
EARLY_SHARE: Final = 0.5  # of its limit; a client that is closed before that was refused, and shows nothing of slowness
FULL_SHARE: Final = 0.9  # of the crowd; some may be closed between the end of the window and our next look
MAX_SLOWDOWN: Final = 2.0  # of the p99 of good traffic, as the project promises
FLOOR_MS: Final = 1.0  # a p99 below this is noise, and twice of it as well
SILENT, HEAD, BODY, READER = "silent", "dripping head", "dripping body", "slow reader"
KINDS: Final = (SILENT, HEAD, BODY, READER)
EXAMPLE: Final = """examples:
  seclude-bench slow --clients 1000
  seclude-bench slow --clients 100 --timeout 6
"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "slow",
        help="slow clients beside good traffic",
        description="Attack a relay on this machine with slow clients; see that each is closed and good traffic lives.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--clients", type=count, default=1000, metavar="N", help="a quarter of each kind (default: 1000)")
    add("--rate", type=positive, default=200.0, metavar="N", help="good requests a second (default: 200)")
    add("--timeout", type=positive, metavar="S", help="the relay's header, body and send timeouts (default: its own)")
    add_options(parser)
    parser.set_defaults(act=act)


def act(flags: argparse.Namespace) -> int:
    """Run the command."""
    raise_descriptor_limit(flags.clients + SPARE_DESCRIPTORS)
    cases, figures = asyncio.run(_measure(flags, silent if flags.quiet else say))
    config = {"clients": flags.clients, "rate": flags.rate, "timeout": flags.timeout}
    return deliver(Result(kind="slow", config=config, cases=cases, figures=figures), flags)


@dataclass(slots=True)
class SlowClient:
    """One socket that is in no hurry; seconds of the monotonic clock."""

    number: int
    """Its place in the crowd, which another one takes after it."""
    kind: str
    peer: socket.socket
    began: float
    drip: bytes
    """What it says, an octet at a time."""
    dripped_at: float = 0.0
    closed_after: float | None = None

    def step(self, now: float, *, served: bool) -> None:
        """Drip, unless the relay has had enough."""
        if not served:
            self.closed_after = now - self.began
            self.peer.close()
        else:
            self.drip_on(now)

    def drip_on(self, now: float) -> None:
        """Say the next octet, if it is time."""
        if self.drip and now - self.dripped_at >= DRIP_SECONDS:
            self.dripped_at, octet, self.drip = now, self.drip[:1], self.drip[1:]
            with contextlib.suppress(ConnectionError):  # closed since the table was read
                self.peer.send(octet)


@dataclass(slots=True)
class Attack:
    """All slow clients of one run."""

    target: Target
    began: float = field(default_factory=monotonic)
    crowd: dict[int, SlowClient] = field(default_factory=dict)
    """Those that are there, by their places."""
    closed: list[SlowClient] = field(default_factory=list)
    present: int | None = None
    """How many were still there after the time in which all were to be there."""
    watched: bool = False
    full: asyncio.Event = field(default_factory=asyncio.Event)
    """Set from when all have arrived until the first is due to be closed."""
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when good traffic has been measured."""

    async def run(self, count: int, longest: float) -> None:
        """Open them all, and keep the crowd full until each had its time and good traffic has been measured."""
        self.began = began = looked_at = monotonic()
        all_there = began + opening_seconds(count)
        arrived = 0
        while (now := monotonic()) < all_there + longest + SLACK_SECONDS or not self.enough.is_set():
            due = min(count, int((now - began) * OPENED_PER_SECOND) + 1)
            for number in range(arrived, due):
                self.crowd[number] = await self._open(number)
            arrived = due
            if self.full.is_set():
                self.watched = True
                # Nobody is due to be closed, and reading the kernel's table would be a load itself.
                for client in self.crowd.values():
                    client.drip_on(now)
                await asyncio.sleep(GENTLE_SECONDS)
                continue
            if now >= looked_at + TICK_SECONDS:
                looked_at = now
                gone = self._step_all()
                if self.watched and self.present is None:
                    self.present = len(self.crowd)
                for number in gone:
                    self.crowd[number] = await self._open(number)
            await asyncio.sleep(1 / OPENED_PER_SECOND if due < count else TICK_SECONDS)
        for client in self.crowd.values():
            client.peer.close()

    def _step_all(self) -> list[int]:
        """Let each of them go on, and return the places of those that were closed."""
        here = established(Path("/proc/net/tcp").read_text(), self.target.url.split("/")[2])
        for client in self.crowd.values():
            client.step(monotonic(), served=client.peer.getsockname() in here)
        gone = [client for client in self.crowd.values() if client.closed_after is not None]
        self.closed += gone
        for client in gone:
            del self.crowd[client.number]
        return [client.number for client in gone]

    async def _open(self, number: int) -> SlowClient:
        kind = KINDS[number % len(KINDS)]
        peer = socket.socket()
        peer.setblocking(False)
        if kind == READER:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        peer.bind((f"127.0.0.{2 + number % SOURCES}", 0))
        host, port = self.target.url.split("/")[2].split(":")
        await asyncio.get_running_loop().sock_connect(peer, (host, int(port)))
        size = self.target.workload.body_bytes
        head = head_of(self.target.url, OHTTP_REQ, size)
        drip = b""
        match kind:
            case "dripping head":
                drip = head
            case "dripping body":
                await asyncio.get_running_loop().sock_sendall(peer, head)
                drip = bytes(size)
            case "slow reader":
                large = bytes(2 * LARGE_REQUEST_BYTES)
                whole = head_of(self.target.url, OHTTP_REQ, len(large)) + large
                await asyncio.get_running_loop().sock_sendall(peer, whole)
        now = monotonic()
        return SlowClient(number, kind, peer, now, drip, now + number % 100 / 100)  # not all in step


def opening_seconds(count: int) -> float:
    """Return how long it takes to open all clients."""
    return count / OPENED_PER_SECOND


def established(table: str, server: str) -> set[tuple[str, int]]:
    """Return the clients of a server's open connections, from the text of `/proc/net/tcp`."""
    found = set()
    for line in table.splitlines()[1:]:
        local, remote, state = line.split()[1:4]
        if state == ESTABLISHED and "{}:{}".format(*_endpoint(local)) == server:
            found.add(_endpoint(remote))
    return found


def _endpoint(text: str) -> tuple[str, int]:
    address, _, port = text.partition(":")
    return socket.inet_ntoa(bytes.fromhex(address)[::-1]), int(port, 16)


def limits_of(timeout: float | None) -> Mapping[str, float]:
    """Return within how many seconds each kind must have been closed."""
    own = ServerLimits()
    if timeout is not None:
        return dict.fromkeys(KINDS, timeout)
    return {SILENT: own.header_timeout, HEAD: own.header_timeout, BODY: own.body_timeout, READER: own.send_timeout}


def verdict(clients: Sequence[SlowClient], limits: Mapping[str, float], now: float) -> list[Figure]:
    """Return for each kind whether all were closed in time, and none before it had been slow.

    A client that is still there at the end counts once it has had its time.
    """
    figures = []
    for kind in KINDS:
        limit, early = limits[kind] + SLACK_SECONDS, limits[kind] * EARLY_SHARE
        closed = [each.closed_after for each in clients if each.kind == kind and each.closed_after is not None]
        late = sum(each.kind == kind and each.closed_after is None and now - each.began > limit for each in clients)
        due, first, last = len(closed) + late, min(closed, default=0.0), max(closed, default=0.0)
        whole = bool(closed) and not late
        figures += [
            Figure(f"{kind}: closed", len(closed), "clients", due, whole),
            Figure(f"{kind}: the first one after, at least", first, "s", early, whole and first >= early),
            Figure(f"{kind}: the last one after", last, "s", limit, whole and last <= limit),
        ]
    return figures


async def _measure(flags: argparse.Namespace, tell: Say) -> tuple[list[Case], list[Figure]]:
    limits = limits_of(flags.timeout)
    longest = max(limits.values())
    needed = opening_seconds(flags.clients) + 2 * LEAD_SECONDS + LEAST_SECONDS
    if min(limits.values()) < needed:  # the first would be closed before the last is there and traffic was measured
        raise ConfigError(f"--timeout: so many clients need at least {needed:.1f} s; give fewer, or a longer time")
    with tempfile.TemporaryDirectory(prefix="seclude-bench-") as folder:
        async with relay_alone(Place(Path(folder)), *_options(Path(folder), flags.timeout)) as target:
            tell(f"good traffic alone: {flags.rate:.0f} requests a second")
            before = await _good_traffic(flags, target, BASELINE_SECONDS)
            arriving = max(LEAST_SECONDS, opening_seconds(flags.clients) - LEAD_SECONDS)
            waiting = min(limits.values()) - opening_seconds(flags.clients) - 2 * LEAD_SECONDS
            tell(f"and now with {flags.clients} slow clients, for {longest + SLACK_SECONDS:.0f} s")
            attack = Attack(target)
            async with asyncio.TaskGroup() as group:
                group.create_task(attack.run(flags.clients, longest))
                during = [await _good_traffic(flags, target, arriving)]
                await asyncio.sleep(max(0.0, attack.began + opening_seconds(flags.clients) - monotonic()))
                attack.full.set()
                during.append(await _good_traffic(flags, target, waiting))
                attack.full.clear()
                during.append(await _good_traffic(flags, target, longest))
                attack.enough.set()
            ended = monotonic()
    names = ("alone", "while they arrive", "while they wait", "while they come again")
    cases = [case_of(name, [samples]) for name, samples in zip(names, [before, *during], strict=True)]
    for place in (1, 3):  # opening so many takes a core, and no limit is held against these
        if cases[place].invalid.startswith(GENERATOR_BOUND):
            cases[place] = replace(cases[place], invalid="", note=cases[place].invalid)
    alone, _, beside, _ = (max(FLOOR_MS, case.latency.p99_ms) for case in cases)
    present, full = attack.present or 0, flags.clients * FULL_SHARE
    failures = sum(case.failed.total() + case.dropped for case in during)
    return cases, [
        *verdict([*attack.closed, *attack.crowd.values()], limits, ended),
        Figure("slow clients there while they wait, at least", present, "clients", full, present >= full),
        Figure("good requests failed", failures, "requests", 0, not failures),
        Figure("p99 while they wait / alone", beside / alone, "times", MAX_SLOWDOWN, beside / alone < MAX_SLOWDOWN),
    ]


def _options(folder: Path, timeout: float | None) -> list[str]:
    if timeout is None:
        return []
    config = folder / "relay.toml"
    names = ("header_timeout", "body_timeout", "send_timeout")
    config.write_text("[limits]\n" + "".join(f"{name} = {timeout}\n" for name in names))
    return ["--config", str(config)]


async def _good_traffic(flags: argparse.Namespace, target: Target, seconds: float) -> Samples:
    job = Job(
        url=target.url,
        workload=replace(target.workload, seed=1),
        warmup_seconds=0.5,
        seconds=seconds,
        connections=32,
        arrivals=Arrivals("poisson", flags.rate),
    )
    return await run_load([job], target.parties, silent)
