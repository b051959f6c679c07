"""`seclude-bench decode`: what the engine adds to a bare loop, what a batch saves, and llama.cpp beside it.

All take turns in one run, at the same priority and with the same number of threads, from the same tokens; a ratio is
the median of the ratios within each round. Beside the bare loop CPU time counts, since other work on the machine hardly
moves it. Beside llama.cpp the clock on the wall counts as well: threads that spin while they wait use CPU time and do
nothing. Where the engine wrote other tokens than the bare loop, nothing is compared.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np

from bench.decoderloops import BareDecoder, engine_decoder
from bench.engine import Say, in_turn
from bench.loops import Loop, Taken, same
from bench.options import count
from bench.output import add_options, deliver, say, silent
from bench.peers.llama import llama_loop
from bench.peers.start import SkippedError
from bench.result import Figure, Result, median_of
from bench.seq2seqloops import BareSeq2Seq, EngineSeq2Seq
from bench.talking import need_language_model
from inference.runner import NICENESS
from seclude.errors import ConfigError

ROWS: Final = (1, 8)
OVERHEAD: Final = 1.08  # times a bare loop
TOGETHER: Final = 0.5  # of the time that a token takes alone, where eight are made together
BARE: Final = "bare loop"
ENGINE: Final = "engine"
TEXT: Final = "Once upon a time there was a small boat, and the people of the harbour told each other"
WORDS: Final = (10, 300)  # tokens that every model has
APART: Final = 32  # steps that the first of the rows may be ahead of the last one
READ: Final = 64  # tokens of a text to summarise: any will do, since random ones take as long as words
EXAMPLE: Final = """example:
  seclude-bench decode --language-model models/smollm2 --gguf smollm2-q4_1.gguf --llama-python ~/llama/bin/python
  seclude-bench decode --summariser models/bart --threads 2
"""

Rounds = dict[tuple[str, int], list[Taken]]
"""What each loop took with so many rows, round by round."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "decode",
        help="the engine beside a bare onnxruntime loop and llama.cpp",
        description="Decode with one row and with eight: the engine, a loop written by hand, and llama.cpp.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    models = parser.add_argument_group("models, at least one of them")
    models.add_argument("--language-model", type=Path, metavar="DIR", help="a folder of `seclude-model convert`")
    models.add_argument("--summariser", type=Path, metavar="DIR", action="append", default=[], help="encoder-decoder")
    models.add_argument(
        "--gguf", type=Path, metavar="FILE", action="append", default=[], help="the language model for llama.cpp"
    )
    parser.add_argument(
        "--llama-python", type=Path, metavar="PATH", default=Path("python3"), help="a Python that has llama-cpp-python"
    )
    parser.add_argument("--threads", type=count, default=1, metavar="N", help="of each loop (default: 1)")
    parser.add_argument("--steps", type=count, default=32, metavar="N", help="measured in a round (default: 32)")
    parser.add_argument("--rounds", type=count, default=9, metavar="N", help="default: 9")
    add_options(parser)
    parser.set_defaults(act=act)


def act(flags: argparse.Namespace) -> int:
    """Run the command."""
    if flags.language_model is None and not flags.summariser:
        raise ConfigError("nothing to decode with: name --language-model or --summariser")
    if flags.language_model is not None:
        need_language_model(flags.language_model)
    if flags.gguf and flags.language_model is None:
        raise ConfigError("--gguf stands beside the same model as --language-model")
    os.setpriority(os.PRIO_PROCESS, 0, NICENESS)  # as the engine's thread has it; what is started later inherits it
    tell: Say = silent if flags.quiet else say
    found: list[Figure] = []
    skipped: dict[str, str] = {}
    if flags.language_model is not None:
        found += _language_model(flags, tell, skipped)
    for folder in flags.summariser:
        random = np.random.default_rng(0)
        ids: list[int] = random.integers(*WORDS, READ).tolist()
        loops: dict[str, Loop] = {
            BARE: BareSeq2Seq(folder, flags.threads),
            ENGINE: EngineSeq2Seq(folder, flags.threads),
        }
        found += figures(folder.resolve().name, measure(loops, ids, flags.rounds, flags.steps, tell))
    config = {"threads": flags.threads, "steps": flags.steps, "rounds": flags.rounds}
    return deliver(Result(kind="decode", config=config, figures=found, skipped=skipped), flags)


def _language_model(flags: argparse.Namespace, tell: Say, skipped: dict[str, str]) -> list[Figure]:
    """Measure a language model, beside llama.cpp where that can be had."""
    folder, most = flags.language_model, max(ROWS)
    with ExitStack() as stack:
        engine, decoder = stack.enter_context(engine_decoder(folder, flags.threads, most))
        ids = decoder.encode(TEXT)
        if len(ids) + flags.steps + APART > decoder.context:
            raise ConfigError(f"--steps {flags.steps}: too many for a slot of {decoder.context} tokens")
        loops: dict[str, Loop] = {BARE: BareDecoder(folder, flags.threads, most, decoder.context), ENGINE: engine}
        for gguf in flags.gguf:
            try:
                loops[f"llama.cpp {gguf.stem}"] = stack.enter_context(
                    llama_loop(flags.llama_python, gguf, flags.threads, most)
                )
            except SkippedError as exc:
                skipped[f"llama.cpp {gguf.stem}"] = str(exc)
        rounds = measure(loops, ids, flags.rounds, flags.steps, tell)
    return figures(folder.resolve().name, rounds)


def measure(loops: Mapping[str, Loop], ids: Sequence[int], rounds: int, steps: int, tell: Say) -> Rounds:
    """Let all loops take turns; one round before them does not count."""
    taken: Rounds = {(name, rows): [] for rows in ROWS for name in loops}
    for number in range(rounds + 1):
        for rows in ROWS:
            now = {name: loop(ids, rows, steps) for name, loop in in_turn(list(loops.items()), number)}
            if not same(now[BARE].tokens, now[ENGINE].tokens):
                raise ConfigError("the engine wrote other tokens than the bare loop: nothing can be compared")
            for name, each in now.items() if number else ():
                taken[name, rows].append(each)
        tell(
            f"round {number} of {rounds}: a token of {rows} at once took the engine {now[ENGINE].cpu_us:.0f} us of CPU"
        )
    return taken


def figures(model: str, rounds: Rounds) -> list[Figure]:
    """Return what a token takes by CPU and by clock, and the engine's ratios to the others."""
    found: list[Figure] = []
    for (name, rows), taken in rounds.items():
        what, pairs = f"{model}, {rows} at once: ", list(zip(rounds[ENGINE, rows], taken, strict=True))
        found.append(median_of(what + name, [each.cpu_us for each in taken], "CPU us a token"))
        if name == ENGINE:
            cost = [one.cpu_us / bare.cpu_us for one, bare in zip(taken, rounds[BARE, rows], strict=True)]
            found.append(median_of(f"{what}{ENGINE} / {BARE}", cost, "times the CPU", OVERHEAD))
        if name != BARE:
            found.append(median_of(what + name, [1e6 / each.wall_us for each in taken], "tokens/s"))
        if name not in (BARE, ENGINE):
            cost = [one.cpu_us / peer.cpu_us for one, peer in pairs]
            found.append(median_of(f"{what}{ENGINE} / {name}", cost, "times the CPU"))
            speed = [peer.wall_us / one.wall_us for one, peer in pairs]
            found.append(median_of(f"{what}{ENGINE} / {name}", speed, "times the tokens/s"))
    few, many = (rounds[ENGINE, rows] for rows in ROWS)
    saved = [together.cpu_us / alone.cpu_us for alone, together in zip(few, many, strict=True)]
    found.append(median_of(f"{model}: a token of {ROWS[-1]} at once / alone", saved, "times the CPU", TOGETHER))
    return found
