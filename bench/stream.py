"""`seclude-bench stream`: what privacy adds to the first piece of a streamed answer, and what a slow reader costs.

The first half asks for streamed summaries, in turns: of a worker without encryption, of one with it, and over the whole
path.
The second sends a long stream, from a worker without a model, to a device that reads it slowly: what relay and gateway
keep of it is what their memory grows by.
"""

import argparse
import asyncio
import tempfile
import time
from array import array
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Final

from msgspec.structs import replace

from bench.account import family, resident_bytes
from bench.arrivals import Arrivals
from bench.engine import Samples, Say, in_turn, run_load, together
from bench.front import ORIGIN, STREAM_PATH
from bench.histogram import MS
from bench.job import Job
from bench.options import count, positive
from bench.output import add_options, deliver, say, silent
from bench.result import Figure, Result, answered, case_of, median_of
from bench.run import MODEL
from bench.targets import GATEWAY, RELAY, Place, Target, direct_worker, fronted_path, need_model, whole_path
from bench.workload import head_of, in_chunks
from seclude import bhttp
from seclude.ohttp.keyconfig import parse_key_config
from seclude.ohttp.media import EVENT_STREAM, OHTTP_CHUNKED_REQ
from seclude.padding import pad

MAX_ADDED_MS: Final = 2.0  # to the median of the first piece: what the project promises
MAX_GROWN_MIB: Final = 2.0  # of each party, while a stream waits for its reader
MIB: Final = 1 << 20
CONNECTIONS: Final = 16
WARMUP_SECONDS: Final = 0.5
READ_BYTES: Final = 1 << 16  # octets at once, of the slow reader
EXAMPLE: Final = """examples:
  seclude-bench stream
  seclude-bench stream --rounds 9 --mebibytes 64 --json stream.json
"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "stream",
        help="the first piece of a streamed answer, and what a slow reader costs",
        description="Measure the time to the first piece over the whole path, and the memory of a long stream.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=count, default=7, metavar="N", help="default: 7")
    add("--seconds", type=positive, default=3.0, metavar="S", help="of each load (default: 3)")
    add("--rate", type=positive, default=30.0, metavar="N", help="streamed summaries a second (default: 30)")
    add("--mebibytes", type=count, default=64, metavar="N", help="of the long stream (default: 64)")
    add("--reading", type=positive, default=15.0, metavar="S", help="that its reader takes (default: 15)")
    add("--model", type=Path, default=MODEL, metavar="DIR", help=f"default: {MODEL}")
    add("--seed", type=int, default=1, metavar="N", help="of arrivals and texts (default: 1)")
    add_options(parser)
    parser.set_defaults(act=act)


def act(flags: argparse.Namespace) -> int:
    """Run the command."""
    need_model(flags.model)
    tell = silent if flags.quiet else say
    measured = asyncio.run(_first_pieces(flags, tell))
    figures = asyncio.run(_slow_reader(flags, tell))
    added = _added(measured["direct"], measured["path"])
    hops = _added(measured["worker"], measured["path"])
    result = Result(
        kind="stream",
        seed=flags.seed,
        config={name: getattr(flags, name) for name in ("rounds", "seconds", "rate", "mebibytes", "reading")},
        cases=[case_of(name, samples) for name, samples in measured.items()],
        figures=[
            *(
                Figure(f"first piece, {name}", median(together(samples).first) / MS, "ms")
                for name, samples in measured.items()
            ),
            *([median_of("added to the first piece", added, "ms", MAX_ADDED_MS)] if added else []),
            *([median_of("of which gateway and relay", hops, "ms")] if hops else []),
            *figures,
        ],
    )
    latencies: dict[str, array[int]] = {name: together(samples).latency for name, samples in measured.items()}
    return deliver(result, flags, latencies)


def _added(before: Sequence[Samples], after: Sequence[Samples]) -> list[float]:
    """Return for each round by how much the median first piece is later."""
    return [median(upper.first) / MS - median(lower.first) / MS for lower, upper in answered(before, after)]


async def _first_pieces(flags: argparse.Namespace, tell: Say) -> dict[str, list[Samples]]:
    measured: dict[str, list[Samples]] = {"direct": [], "worker": [], "path": []}
    async with AsyncExitStack() as stack:
        place = Place(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seclude-bench-"))))
        tell("starting a relay, a gateway, a worker, and a worker without encryption")
        direct = await stack.enter_async_context(direct_worker(place, flags.model))
        path = await stack.enter_async_context(whole_path(place, flags.model, 1))
        for number in range(flags.rounds):
            for name, target in in_turn((("direct", direct), ("worker", path.worker), ("path", path.relay)), number):
                tell(f"round {number + 1} of {flags.rounds}, {name}: {flags.rate:.1f} streamed summaries a second")
                job = Job(
                    url=target.url,
                    workload=replace(target.workload, inline=True, streamed=True, seed=flags.seed + number),
                    warmup_seconds=WARMUP_SECONDS,
                    seconds=flags.seconds,
                    connections=CONNECTIONS,
                    arrivals=Arrivals("poisson", flags.rate, seed=flags.seed + number),
                )
                measured[name].append(await run_load([job], target.parties, silent))
    return measured


async def _slow_reader(flags: argparse.Namespace, tell: Say) -> list[Figure]:
    octets = flags.mebibytes * MIB
    with tempfile.TemporaryDirectory(prefix="seclude-bench-") as folder:
        async with fronted_path(Place(Path(folder)), chunk_bytes=1 << 14, tick_ms=0.1) as target:
            tell("warming up with a short stream, then sending the long one")
            await _read(target, MIB, 0.5)
            before = _memory(target)
            most = dict(before)
            reading = asyncio.create_task(_read(target, octets, flags.reading))
            while not reading.done():
                await asyncio.wait({reading}, timeout=0.1)
                most = {name: max(most[name], now) for name, now in _memory(target).items()}
            taken = reading.result()
    tell(f"{taken / MIB:.1f} MiB were read")
    return [
        Figure("long stream, read", taken / MIB, "MiB", flags.mebibytes, taken >= octets),
        *(
            Figure(f"grown by, {name}", grown, "MiB", MAX_GROWN_MIB, grown <= MAX_GROWN_MIB)
            for name in (RELAY, GATEWAY)
            for grown in [(most[name] - before[name]) / MIB]
        ),
    ]


def _memory(target: Target) -> dict[str, int]:
    return {name: sum(map(resident_bytes, family(pid))) for name, pid in target.parties.items()}


async def _read(target: Target, octets: int, seconds: float) -> int:
    """Ask for a stream of so many octets, read it in about so many seconds, and return how much of it came."""
    content = str(octets).encode()
    fields = (bhttp.Field(b"accept", EVENT_STREAM.encode()),)
    inner = bhttp.Request(b"POST", b"https", ORIGIN.encode(), STREAM_PATH, fields, content)
    body, _ = in_chunks(parse_key_config(target.workload.key_config), pad(bhttp.serialize_request(inner)))
    host, port = target.url.split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=READ_BYTES)
    head = head_of(target.url, OHTTP_CHUNKED_REQ, len(body))
    writer.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + body)
    began, taken = time.monotonic(), 0
    while data := await reader.read(READ_BYTES):
        taken += len(data)
        ahead = began + seconds * taken / octets - time.monotonic()
        if ahead > 0:
            await asyncio.sleep(ahead)
    writer.close()
    return taken
