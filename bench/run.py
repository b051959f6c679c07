"""`seclude-bench run`: one load against one target."""

import argparse
import asyncio
import tempfile
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from bench.arrivals import Arrivals
from bench.engine import Samples, run_load
from bench.job import Job
from bench.options import amount, count, positive
from bench.output import add_options, deliver, say, silent
from bench.result import MAX_FAILED, Result, case_of
from bench.streaming import parse_goodput
from bench.targets import Place, Target, elsewhere, gateway_alone, need_model, relay_alone, whole_path
from seclude.errors import ConfigError

MODEL: Final = Path("models/all-minilm-l6-v2")
EXAMPLE: Final = """examples:
  seclude-bench run --target relay --rate 2000 --arrivals poisson --seconds 10
  seclude-bench run --target path --rate 20 --encap inline --html path.html
  seclude-bench run --target gateway --closed 32 --generators 2
  seclude-bench run --target http://127.0.0.1:8080/.well-known/ohttp-gateway --trust run/trust.toml
"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "run",
        help="one load against one target",
        description="Run one load, open loop unless --closed is given, against one target that is started for it.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--target", required=True, metavar="WHAT", help="relay, gateway, worker, path (all of them), or a URL")
    add_load_options(parser)
    add("--workers", type=count, default=1, metavar="N", help="of the path (default: 1)")
    add("--processes", type=count, default=1, metavar="N", help="of the relay or the gateway alone (default: 1)")
    add("--model", type=Path, default=MODEL, metavar="DIR", help=f"default: {MODEL}")
    add("--trust", type=Path, metavar="FILE", help="for a URL: encapsulate to the pool that this file trusts")
    add("--ca", metavar="FILE", help="for an https URL: the certificates to trust")
    add("--goodput", nargs="+", default=[], metavar="NAME:MS", help="limits such as ttft:500 e2el:2000")
    most = f"valid with so many failed or dropped (default: {100 * MAX_FAILED:g})"
    add("--max-failed", type=amount, default=100 * MAX_FAILED, metavar="PERCENT", help=most)
    add_options(parser)
    parser.set_defaults(act=act)


def add_load_options(parser: argparse.ArgumentParser) -> None:
    """Add what describes a load."""
    add = parser.add_argument_group("load").add_argument
    add("--arrivals", choices=("constant", "poisson", "ramp"), default="poisson", help="default: poisson")
    add("--rate", type=positive, metavar="N", help="requests a second (default: 20 with the model, 1000 without)")
    add("--to-rate", type=amount, metavar="N", help="where a ramp ends")
    add("--closed", type=count, metavar="C", help="closed loop: C connections, always busy; finds the ceiling")
    add("--seconds", type=positive, default=5.0, metavar="S", help="measured time (default: 5)")
    add("--warmup", type=amount, default=1.0, metavar="S", help="the same load before it (default: 1)")
    add("--connections", type=count, default=64, metavar="N", help="of an open loop (default: 64)")
    add("--wait", type=positive, default=1.0, metavar="S", help="until an arrival without a connection is dropped")
    add("--generators", type=count, default=1, metavar="N", help="processes that make the load (default: 1)")
    add("--encap", choices=("advance", "inline"), default="advance", help="inline: the device's cryptography counts")
    add("--supply", type=count, default=20_000, metavar="N", help="requests made in advance for a closed loop")
    add("--check", type=count, default=1, metavar="N", help="look at one answer in so many (default: 1, each)")
    add("--seed", type=int, default=1, metavar="N", help="of arrivals and texts (default: 1)")


def act(flags: argparse.Namespace) -> int:
    """Run the command."""
    goodput = parse_goodput(flags.goodput)
    name, samples = asyncio.run(_measure(flags))
    case = case_of(name, [samples], goodput or None, max_failed=flags.max_failed / 100)
    config = {
        key: " ".join(value) if isinstance(value, list) else value
        for key, value in vars(flags).items()
        if key not in ("act", "json", "hdr", "html", "quiet", "command", "model", "trust", "ca")
    }
    if flags.closed is not None:  # what an open loop alone has
        config |= dict.fromkeys(("arrivals", "rate", "to_rate", "connections", "wait"))
    config["target"] = name  # a result may be published, and the address of a target may not
    result = Result(kind="run", seed=flags.seed, config=config, cases=[case])
    latencies: dict[str, array[int]] = {name: samples.latency}
    return deliver(result, flags, latencies)


def jobs(flags: argparse.Namespace, target: Target) -> list[Job]:
    """Return what each generator does for a load that the options describe."""
    if flags.closed is not None and flags.closed < flags.generators:
        raise ConfigError("--closed: each generator needs a connection")
    if flags.closed is None and flags.arrivals == "ramp" and flags.to_rate is None:
        raise ConfigError("--arrivals ramp: say with --to-rate where it ends")
    workload = replace(target.workload, inline=flags.encap == "inline", check_every=flags.check, seed=flags.seed)
    rate = flags.rate if flags.rate is not None else 1000.0 if workload.kind == "opaque" else 20.0
    arrivals = None if flags.closed is not None else Arrivals(flags.arrivals, rate, flags.to_rate, flags.seed)
    connections = flags.connections if flags.closed is None else flags.closed
    job = Job(
        url=target.url,
        workload=workload,
        warmup_seconds=flags.warmup,
        seconds=flags.seconds,
        connections=max(1, connections // flags.generators),
        arrivals=arrivals,
        generators=flags.generators,
        wait_seconds=flags.wait,
        supply=max(1, flags.supply // flags.generators),
        ca_file=getattr(flags, "ca", None),
    )
    return [replace(job, index=index) for index in range(flags.generators)]


async def _measure(flags: argparse.Namespace) -> tuple[str, Samples]:
    with tempfile.TemporaryDirectory(prefix="seclude-bench-") as folder:
        tell = silent if flags.quiet else say
        tell(f"starting {flags.target}")
        async with _open(flags, Place(Path(folder), processes=flags.processes)) as target:
            tell("preparing the load")
            return target.name, await run_load(jobs(flags, target), target.parties, tell)


@asynccontextmanager
async def _open(flags: argparse.Namespace, place: Place) -> AsyncIterator[Target]:
    match flags.target:
        case "relay":
            async with relay_alone(place) as target:
                yield target
        case "gateway":
            async with gateway_alone(place) as target:
                yield target
        case "worker" | "path" as which:
            need_model(flags.model)
            async with whole_path(place, flags.model, 1 if which == "worker" else flags.workers) as path:
                yield path.worker if which == "worker" else path.relay
        case url if "://" in url:
            yield await elsewhere(url, flags.trust)
        case other:
            raise ConfigError(f"--target: {other} is none of relay, gateway, worker, path, and no URL")
