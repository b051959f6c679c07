"""`seclude-bench ladder`: the price of privacy, rung by rung.

The same summaries, due at the same moments, go to the model directly, then with encryption as RFC 9458 alone has it,
then post-quantum, then padded, then through the gateway, then through the relay, and last through a relay that mixes
them. Everything runs on this machine, and the rungs take turns, each round from another one on, so that whatever else
the machine does falls on all of them. The device's own cryptography is inside the measured time.

With a language model, several people at once then stream chats on rungs of their own (`talking`).
"""

import argparse
import asyncio
import dataclasses
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from bench import talking
from bench.arrivals import SECOND, Arrivals
from bench.engine import Books, Samples, Say, in_turn, run_load, together
from bench.job import Job
from bench.options import count, positive
from bench.output import add_options, deliver, say, silent
from bench.result import Figure, Result, added_ms, answered, case_of, cpu_us, median_of, steps_of
from bench.run import MODEL
from bench.targets import WORKER, Place, Target, WholePath, direct_worker, mixing_relay, need_model, whole_path
from seclude.errors import ConfigError

CEILING_CONNECTIONS: Final = 8  # keeps both task threads of a worker busy, and no more waits than it may hold
CEILING_SECONDS: Final = 2.0
CONNECTIONS: Final = 32  # as many requests as a worker takes at once; what comes beyond them waits, and counts
MAX_ADDED_MS: Final = 1.5  # to the median, by the whole path at half its ceiling: what the project promises
IDLE_SECONDS: Final = 2.0
WARMUP_SECONDS: Final = 0.5
MAX_XWING_US: Final = 400.0  # of a worker's CPU for each request: what the project promises
MIXING_MILLISECONDS: Final = 20  # some requests wait for one another, and nobody notices
QUICK: Final = (5, 1.8)  # rounds, and seconds of each load
FULL: Final = (7, 8.0)
EXAMPLE: Final = """examples:
  seclude-bench ladder --quick
  seclude-bench ladder --quick --language-model models/smollm2-135m-instruct
  seclude-bench ladder --rounds 7 --json ladder.json --html ladder.html
"""


@dataclass(frozen=True, slots=True)
class Ways:
    """What can be asked."""

    direct: Target
    path: WholePath
    mixing: Target


@dataclass(frozen=True, slots=True)
class Rung:
    """One more thing between a person and the model."""

    name: str
    target: Callable[[Ways], Target]


XWING: Final = "X-Wing"
RELAY_RUNG: Final = "relay"
MIXING: Final = "mixing"  # which an operator may turn on, so that it is no part of what the path costs
RUNGS: Final = (
    Rung("model direct", lambda ways: ways.direct),
    Rung("HPKE, X25519", lambda ways: ways.path.bare),
    Rung(XWING, lambda ways: retargeted(ways.path.worker, padded=False)),
    Rung("padding", lambda ways: ways.path.worker),
    Rung("gateway", lambda ways: ways.path.gateway),
    Rung(RELAY_RUNG, lambda ways: ways.path.relay),
    Rung(MIXING, lambda ways: ways.mixing),
)


def retargeted(target: Target, *, padded: bool) -> Target:
    """Return the same target asked with other requests."""
    return dataclasses.replace(target, workload=replace(target.workload, padded=padded))


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "ladder",
        help="what each hop adds: the price of privacy",
        description="Measure the same task with more and more of the path before it: model, HPKE, gateway, relay.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help=f"{QUICK[0]} rounds of {QUICK[1]} s: under two minutes")
    add("--rounds", type=count, metavar="N", help=f"default: {FULL[0]}")
    add("--seconds", type=positive, metavar="S", help=f"of each load (default: {FULL[1]:.0f})")
    add("--rate", type=positive, metavar="N", help="requests a second, Poisson (default: half of the path's ceiling)")
    add("--model", type=Path, default=MODEL, metavar="DIR", help=f"default: {MODEL}")
    add("--language-model", type=Path, metavar="DIR", help="measure streamed chats as well, as `talk` does")
    add("--seed", type=int, default=1, metavar="N", help="of arrivals and texts (default: 1)")
    add_options(parser)
    parser.set_defaults(act=act)


def act(flags: argparse.Namespace) -> int:
    """Run the command."""
    need_model(flags.model)
    if flags.language_model is not None:
        talking.need_language_model(flags.language_model)
    rounds, seconds = QUICK if flags.quick else FULL
    rounds = rounds if flags.rounds is None else flags.rounds
    seconds = seconds if flags.seconds is None else flags.seconds
    tell = silent if flags.quiet else say
    rate, climbed, idle = asyncio.run(_climb(flags, rounds, seconds, tell))
    chats = {} if flags.language_model is None else asyncio.run(talking.talk(_plan(flags), tell))
    rungs = [(rung.name, climbed[rung.name]) for rung in RUNGS]
    added = added_ms(answered(rungs[0][1], climbed[RELAY_RUNG]))
    before = rungs[[name for name, _ in rungs].index(XWING) - 1][1]
    xwing = [
        upper_us - lower_us
        for lower, upper in answered(before, climbed[XWING])
        if (lower_us := cpu_us(lower).get(WORKER)) is not None and (upper_us := cpu_us(upper).get(WORKER)) is not None
    ]
    mixed = added_ms(answered(climbed[RELAY_RUNG], climbed[MIXING]))
    result = Result(
        kind="ladder",
        seed=flags.seed,
        config={"rounds": rounds, "seconds": seconds, "rate": round(rate, 2), "arrivals": "poisson", "encap": "inline"},
        cases=[case_of(name, samples) for name, samples in rungs],
        steps=steps_of([(name, samples) for name, samples in rungs if name != MIXING]),
        figures=[
            *([median_of("added to the median in all", added, "ms", MAX_ADDED_MS)] if added else []),
            *([median_of("X-Wing's CPU in the worker", xwing, "us", MAX_XWING_US)] if xwing else []),
            *([median_of(f"added by mixing, {MIXING_MILLISECONDS} ms", mixed, "ms")] if mixed else []),
            *(Figure(f"CPU of the {name} without load", spent, "ms/s") for name, spent in idle.items()),
            *talking.figures(chats),
        ],
        streams=talking.cases(chats),
        skipped={} if chats else {"streamed chats": "no language model; name one with --language-model"},
    )
    return deliver(result, flags, {name: together(samples).latency for name, samples in rungs})


def _plan(flags: argparse.Namespace) -> talking.Plan:
    """Return how chats are measured: with rounds of their own, since answers take seconds."""
    rounds, seconds = talking.QUICK if flags.quick else talking.FULL
    return talking.Plan(flags.model, flags.language_model, rounds, seconds, seed=flags.seed)


async def _climb(
    flags: argparse.Namespace, rounds: int, seconds: float, tell: Say
) -> tuple[float, dict[str, list[Samples]], dict[str, float]]:
    climbed: dict[str, list[Samples]] = {rung.name: [] for rung in RUNGS}
    async with AsyncExitStack() as stack:
        place = Place(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seclude-bench-"))))
        tell("starting a relay, a gateway, a worker, and a worker without encryption")
        direct = await stack.enter_async_context(direct_worker(place, flags.model))
        path = await stack.enter_async_context(whole_path(place, flags.model, 1))
        mixing = await stack.enter_async_context(mixing_relay(place, path, MIXING_MILLISECONDS))
        ways = Ways(direct, path, mixing)
        tell("seeing what they cost while nobody asks")
        idle = await _idle_cost(ways.path.relay)
        rate = flags.rate
        if rate is None:
            rate = await _half_the_ceiling(ways.path.relay, flags.seed, tell)
        for number in range(rounds):
            for rung in in_turn(RUNGS, number):
                tell(f"round {number + 1} of {rounds}, {rung.name}: {rate:.1f} requests a second")
                target = rung.target(ways)
                job = _job(target, flags.seed + number, seconds, Arrivals("poisson", rate, seed=flags.seed + number))
                climbed[rung.name].append(await run_load([job], target.parties, silent))
    return rate, climbed, idle


async def _half_the_ceiling(target: Target, seed: int, tell: Say) -> float:
    """Return half of what the whole path can do."""
    tell("looking for the ceiling of the whole path")
    job = replace(_job(target, seed, CEILING_SECONDS, None), connections=CEILING_CONNECTIONS)
    samples = await run_load([job], {}, silent)
    if not samples.completed:
        raise ConfigError("the path answered nothing, so half of its ceiling is no rate")
    return samples.completed / samples.seconds / 2


async def _idle_cost(target: Target) -> dict[str, float]:
    """Return the CPU milliseconds that each party takes in a second without requests: polls, clocks, keys."""
    books = Books(target.parties, [])
    before = books.read()
    await asyncio.sleep(IDLE_SECONDS)
    after, changed = books.read(), books.changed()
    wall = (after.at - before.at) / SECOND
    return {name: (after.cpu[name] - before.cpu[name]) / 1e6 / wall for name in target.parties if name not in changed}


def _job(target: Target, seed: int, seconds: float, arrivals: Arrivals | None) -> Job:
    return Job(
        url=target.url,
        workload=replace(target.workload, inline=True, seed=seed),
        warmup_seconds=WARMUP_SECONDS,
        seconds=seconds,
        connections=CONNECTIONS,
        arrivals=arrivals,
    )
