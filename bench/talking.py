"""`seclude-bench talk`: several people at once, each with a streamed answer of the language model.

The same questions go to the model directly, then with the pace at which a worker lets pieces leave, then encrypted,
then through the gateway, and last through the relay. Each person asks again as soon as the answer has ended. The rungs
take turns, each round from another one on. The device's own cryptography is inside the measured time.

What the pace adds is privacy's price too: pieces wait for a tick, so that times do not spell out words. Beyond the
first rung the time between two pieces is therefore a multiple of the tick, or nothing; what the engine does beneath
it shows in the tokens a second of all people together.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final

from msgspec.structs import replace

from bench.engine import Samples, Say, in_turn, run_load, together
from bench.histogram import MS
from bench.job import Job
from bench.options import count, positive
from bench.output import add_options, deliver, say, silent
from bench.result import IN_ALL, Case, Figure, Result, answered, case_of, median_of
from bench.run import MODEL
from bench.streaming import answers_of
from bench.targets import Place, Target, Unprotected, WholePath, direct_chats, need_model, whole_path
from seclude.errors import ConfigError

USERS: Final = 8
TOKENS: Final = 48  # of an answer, at most: two or three sentences
WARMUP_SECONDS: Final = 2.0  # so that people no longer begin all at once
COOLDOWN_SECONDS: Final = 3.0  # most of an answer's time
QUICK: Final = (3, 6.0)  # rounds, and seconds of each load
FULL: Final = (7, 12.0)
EXAMPLE: Final = """examples:
  seclude-bench talk --language-model models/smollm2-135m-instruct --quick
  seclude-bench talk --language-model models/smollm2-135m-instruct --users 16 --json talk.json
"""


@dataclass(frozen=True, slots=True)
class Ways:
    """What can be asked."""

    direct: Unprotected
    path: WholePath


@dataclass(frozen=True, slots=True)
class Rung:
    """One more thing between a person and the language model."""

    name: str
    target: Callable[[Ways], Target]


RUNGS: Final = (
    Rung("model direct", lambda ways: ways.direct.at_once),
    Rung("pace", lambda ways: ways.direct.paced),
    Rung("HPKE", lambda ways: ways.path.worker),
    Rung("gateway", lambda ways: ways.path.gateway),
    Rung("relay", lambda ways: ways.path.relay),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is measured."""

    model: Path
    language_model: Path
    rounds: int
    seconds: float
    users: int = USERS
    tokens: int = TOKENS
    seed: int = 1


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "talk",
        help="several people at once, each with a streamed answer of the language model",
        description="Measure first token, time between tokens and CPU time, of the model alone and over the path.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--language-model", type=Path, required=True, metavar="DIR", help="folder of a decoder-only model")
    add("--quick", action="store_true", help=f"{QUICK[0]} rounds of {QUICK[1]:.0f} s: about three minutes")
    add("--rounds", type=count, metavar="N", help=f"default: {FULL[0]}")
    add("--seconds", type=positive, metavar="S", help=f"of each load (default: {FULL[1]:.0f})")
    add("--users", type=count, default=USERS, metavar="N", help=f"at once (default: {USERS})")
    add("--tokens", type=count, default=TOKENS, metavar="N", help=f"of an answer, at most (default: {TOKENS})")
    add("--model", type=Path, default=MODEL, metavar="DIR", help=f"the sentence encoder (default: {MODEL})")
    add("--seed", type=int, default=1, metavar="N", help="of the questions (default: 1)")
    add_options(parser)
    parser.set_defaults(act=act)


def act(flags: argparse.Namespace) -> int:
    """Run the command."""
    rounds, seconds = QUICK if flags.quick else FULL
    rounds = rounds if flags.rounds is None else flags.rounds
    seconds = seconds if flags.seconds is None else flags.seconds
    plan = Plan(flags.model, flags.language_model, rounds, seconds, flags.users, flags.tokens, flags.seed)
    measured = asyncio.run(talk(plan, silent if flags.quiet else say))
    config = {name: getattr(plan, name) for name in ("rounds", "seconds", "users", "tokens")}
    result = Result(
        kind="talk",
        seed=plan.seed,
        config={**config, "language_model": plan.language_model.resolve().name},
        streams=cases(measured),
        figures=figures(measured),
    )
    return deliver(result, flags, {name: together(samples).latency for name, samples in measured.items()})


async def talk(plan: Plan, tell: Say) -> dict[str, list[Samples]]:
    """Measure every rung, round by round; raises ConfigError where a model is missing."""
    need_model(plan.model)
    need_language_model(plan.language_model)
    measured: dict[str, list[Samples]] = {rung.name: [] for rung in RUNGS}
    async with AsyncExitStack() as stack:
        place = Place(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seclude-bench-"))))
        tell("starting a relay, a gateway, a worker, and a worker without encryption, all with the language model")
        direct = await stack.enter_async_context(direct_chats(place, plan.model, plan.language_model))
        path = await stack.enter_async_context(whole_path(place, plan.model, 1, plan.language_model))
        ways = Ways(direct, path)
        for number in range(plan.rounds):
            for rung in in_turn(RUNGS, number):
                tell(f"round {number + 1} of {plan.rounds}, {rung.name}: {plan.users} people at once")
                target = rung.target(ways)
                measured[rung.name].append(await run_load([_job(plan, target, number)], target.parties, silent))
    return measured


def need_language_model(folder: Path) -> None:
    """Raise ConfigError where there is none."""
    if not (folder / "genai_config.json").exists():
        raise ConfigError(f"no language model in {folder}; run: seclude-model install smollm2-135m-instruct")


def cases(measured: dict[str, list[Samples]]) -> list[Case]:
    """Return the figures of each rung."""
    return [case_of(name, samples) for name, samples in measured.items()]


def figures(measured: dict[str, list[Samples]]) -> list[Figure]:
    """Return what each rung adds to the first token and to each after it: medians of the rounds' own differences."""
    rungs = list(measured.items())
    if not rungs:
        return []
    steps = [(f"+ {name}", before, after) for (_, before), (name, after) in pairwise(rungs)]
    steps.append((IN_ALL, rungs[0][1], rungs[-1][1]))
    return [
        median_of(f"{what}, {name}", [of(upper) - of(lower) for lower, upper in pairs], "ms")
        for what, of in (("to the first token", first_ms), ("to each after it", next_ms))
        for name, before, after in steps
        if (pairs := answered(before, after))
    ]


def first_ms(samples: Samples) -> float:
    """Return the median of the time to the first piece of text."""
    return median(answer.ttft for answer in answers_of(samples)) / MS


def next_ms(samples: Samples) -> float:
    """Return the median of an answer's time for each piece after the first."""
    return median(tpot for answer in answers_of(samples) if (tpot := answer.tpot) is not None) / MS


def _job(plan: Plan, target: Target, number: int) -> Job:
    name = plan.language_model.resolve().name
    return Job(
        url=target.url,
        workload=replace(
            target.workload,
            inline=True,
            streamed=True,
            seed=plan.seed + number,
            model=name,
            tokens=plan.tokens,
        ),
        warmup_seconds=WARMUP_SECONDS,
        seconds=plan.seconds,
        cooldown_seconds=COOLDOWN_SECONDS,
        connections=plan.users,
        arrivals=None,
    )
