"""`seclude-bench peers`: the same load through well-known proxies and through our own, in turns.

Each proxy has one core to itself, the load and the upstream share another. They are compared by the CPU time that a
request costs, which the kernel counts and other work on the machine hardly changes, and never by requests a second,
which on a small machine tell about the load as much as about the proxy. The rounds go A B C, B C A, and a ratio is the
median of the ratios within each round. Where it would be on the other side of its limit without one of the rounds, it
is undecided: neither kept nor missed.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace as changed

from bench.account import cpu_ns, family
from bench.engine import Samples, Say, in_turn, run_load, together
from bench.job import Job, WorkloadSpec
from bench.options import count, positive
from bench.output import add_options, deliver, say, silent
from bench.peers import own, start
from bench.peers.certificate import make_certificate
from bench.peers.start import PROXY, Running, Setting, SkippedError, Start
from bench.result import GENERATOR_BOUND, Case, Figure, Result, case_of, cpu_us, median_of
from bench.stub import key_config
from bench.targets import Place, running
from seclude.errors import ConfigError
from seclude.ohttp.keyconfig import serialize_key_config
from seclude.ohttp.media import GATEWAY_PATH
from seclude.pool import Message

RELAY: Final = "seclude-relay"
GATEWAY: Final = "seclude-gateway"
CACHE: Final = Path.home() / ".cache" / "seclude-bench"
EXAMPLE: Final = """examples:
  seclude-bench peers --rounds 5 --json peers.json --html peers.html
  seclude-bench peers --role gateway
  seclude-bench peers --tls
  seclude-bench peers --processes 2
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """One proxy of the comparison."""

    name: str
    start: Start
    limit: float | None = None
    """What our CPU time may be of this one's, as the project promises; None where it promises nothing."""
    processes: int = 1


RELAYS: Final = (
    Peer("nginx", start.nginx, 1.5),
    Peer("HAProxy", start.haproxy),
    Peer("Go ReverseProxy", start.go_reverse_proxy, 0.5),
    Peer("Rust ohttp-relay", start.rust_relay, 1.0),
    Peer(RELAY, own.relay),
)
WITH_TLS: Final = (Peer("nginx", start.nginx, 2.0), Peer(RELAY, own.relay))
GATEWAYS: Final = (Peer("nginx", start.nginx, 2.0), Peer(GATEWAY, own.gateway))
MORE_PROCESSES_LIMIT: Final = 1.1  # CPU time of a request with several processes, of that with one


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "peers",
        help="our relay beside nginx, HAProxy, Go and Rust",
        description="Send the same 1 KiB load through several proxies in turns; compare CPU time per request.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=count, default=5, metavar="N", help="default: 5")
    add("--seconds", type=positive, default=3.0, metavar="S", help="of each load (default: 3)")
    add("--connections", type=count, default=32, metavar="N", help="closed loop, kept alive (default: 32)")
    add("--role", choices=("relay", "gateway"), default="relay", help="what of ours is measured (default: relay)")
    add("--tls", action="store_true", help="TLS on the client side, beside nginx alone; handshakes are not measured")
    add("--processes", type=count, default=1, metavar="N", help="our relay with N processes beside itself with one")
    add("--only", nargs="+", default=[], metavar="NAME", help="some of the proxies, by words of their names")
    add("--cache", type=Path, default=CACHE, metavar="DIR", help="where a peer that takes long to build is kept")
    add_options(parser)
    parser.set_defaults(act=act)


def act(flags: argparse.Namespace) -> int:
    """Run the command."""
    peers = chosen(flags)
    tell = silent if flags.quiet else say
    rounds, skipped, shares = asyncio.run(_measure(flags, peers, tell))
    ours = [peer for peer in peers if peer.name in rounds and peer.name.startswith("seclude")]
    if not rounds:
        raise ConfigError("; ".join(f"{name}: {why}" for name, why in skipped.items()) or "nothing to measure")
    result = Result(
        kind="peers",
        config={
            "rounds": flags.rounds,
            "seconds": flags.seconds,
            "connections": flags.connections,
            "role": flags.role,
            "tls": flags.tls,
            "processes": flags.processes,
            **versions(rounds),
        },
        cases=[_case(name, samples) for name, samples in rounds.items()],
        figures=[*(ratios(peers, rounds, ours[-1].name) if ours else []), *shares],
        skipped=skipped,
    )
    return deliver(result, flags, {name: together(samples).latency for name, samples in rounds.items()})


def chosen(flags: argparse.Namespace) -> list[Peer]:
    """Return the proxies that the options ask for."""
    if flags.role == "gateway" and flags.tls:
        raise ConfigError("--tls: it is the relay that devices reach over TLS")
    if flags.role == "gateway":
        peers = list(GATEWAYS)
    elif flags.processes > 1:
        one = Peer(RELAY, own.relay, MORE_PROCESSES_LIMIT)
        peers = [one, Peer(f"{RELAY} x{flags.processes}", own.relay, processes=flags.processes)]
    else:
        peers = list(WITH_TLS if flags.tls else RELAYS)
    words = [word.lower() for word in flags.only]
    return [peer for peer in peers if not words or any(word in peer.name.lower() for word in words)]


def versions(names: Collection[str]) -> dict[str, str]:
    """Return what the peers that were measured say of their versions."""
    asked = {
        "nginx": ("nginx", "-v"),
        "HAProxy": ("haproxy", "-v"),
        "Go ReverseProxy": ("go", "version"),
    }
    found = {f"version of {name}": start.version_of(*words) for name, words in asked.items() if name in names}
    rust = "Rust ohttp-relay"
    return found | ({f"version of {rust}": start.OHTTP_RELAY} if rust in names else {})


def ratios(peers: Sequence[Peer], rounds: Mapping[str, Sequence[Samples]], ours: str) -> list[Figure]:
    """Return our CPU time as a multiple of each other proxy's; a round that lacks one of the two makes it no good."""
    figures = []
    for peer in peers:
        if peer.name == ours or peer.name not in rounds:
            continue
        pairs = list(zip(map(_spent, rounds[ours]), map(_spent, rounds[peer.name]), strict=True))
        found = [own_one / other for own_one, other in pairs if own_one > 0 and other > 0]
        figure = median_of(f"CPU of {ours} / {peer.name}", found or [0.0], "times", peer.limit)
        figures.append(figure if len(found) == len(pairs) else changed(figure, good=False, undecided=False))
    return figures


def _spent(samples: Samples) -> float:
    """Return the CPU time of a request in the proxy; 0 where it is not known."""
    return 0.0 if samples.changed else cpu_us(samples).get(PROXY, 0.0)


async def _measure(
    flags: argparse.Namespace, peers: Sequence[Peer], tell: Say
) -> tuple[dict[str, list[Samples]], dict[str, str], list[Figure]]:
    rounds: dict[str, list[Samples]] = {}  # in the order of the peers, since that is the order of the first round
    skipped: dict[str, str] = {}
    cores = _cores(pinned=flags.processes == 1)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seclude-bench-")))
        load_cores = cores[1]
        stub = await stack.enter_async_context(running(Place(folder, {"stub": load_cores}), "stub", "bench.stub"))
        certificate = make_certificate(folder) if flags.tls else None
        path = Message.REQUEST if flags.role == "gateway" else GATEWAY_PATH
        served: dict[str, Running] = {}
        for number, peer in enumerate(peers):
            own_folder = folder / str(number)
            own_folder.mkdir()
            place = Place(own_folder, {PROXY: cores[0]}, peer.processes)
            setting = Setting(place, stub.listen, path, flags.cache, certificate)
            tell(f"starting {peer.name}")
            try:
                served[peer.name] = await stack.enter_async_context(peer.start(setting))
            except SkippedError as exc:
                skipped[peer.name] = str(exc)
        for number in range(flags.rounds):
            for name, proxy in in_turn(list(served.items()), number):
                job = _job(flags, proxy.url, certificate)
                samples = await run_load([job], {PROXY: proxy.pid}, silent, load_cores)
                rounds.setdefault(name, []).append(samples)
                tell(f"round {number + 1} of {flags.rounds}, {name}: {_spent(samples):.1f} CPU us a request")
        shares = [share_of_least(peer, served[peer.name].pid) for peer in peers if peer.processes > 1]
    return rounds, skipped, shares


def share_of_least(peer: Peer, parent: int) -> Figure:
    """Return what the least busy process of a peer did of the work of all; the parent does none."""
    spent = [cpu_ns(pid) for pid in family(parent)[1:]]
    share = 100 * min(spent) / sum(spent)
    return Figure(f"least busy of {peer.processes} processes", share, "% of their CPU time")


def _job(flags: argparse.Namespace, url: str, certificate: tuple[Path, Path] | None) -> Job:
    workload = WorkloadSpec("opaque", key_config=serialize_key_config(key_config(0)), check_every=64)
    job = Job(
        url=url,
        workload=workload,
        warmup_seconds=0.5,
        seconds=flags.seconds,
        connections=flags.connections,
        arrivals=None,
    )
    return job if certificate is None else changed(job, ca_file=str(certificate[0]))


def _case(name: str, samples: Sequence[Samples]) -> Case:
    """Return a proxy's figures; that the load was busy all the time does not touch the CPU time of the proxy."""
    case = case_of(name, samples)
    note = "CPU us by round: " + " ".join(f"{_spent(each):.1f}" for each in samples)
    if case.invalid.startswith(GENERATOR_BOUND):
        return changed(case, invalid="", note=f"{note}; the load was the limit, so requests a second say nothing")
    return changed(case, note=note)


def _cores(*, pinned: bool) -> tuple[list[int], list[int]]:
    """Return the cores of the proxy, and those of the load."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or not pinned:
        return cores, cores
    return cores[:1], cores[1:2]
