"""The bench: what the path costs, measured so that it can be believed.

An open loop with intended start times, CPU time from the kernel's own books, and a word where the load was the limit.
"""

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Final

from bench import compare, decoding, hpke, idle, ladder, run, sidebyside, slow, stream, talking
from bench.engine import GeneratorError
from bench.quality import command as quality
from deploy.party import StackError
from seclude.errors import Error

USAGE_STATUS: Final = 2  # as for wrong flags
EXAMPLE: Final = """examples:
  seclude-bench run --target relay --rate 2000
  seclude-bench ladder --quick --html ladder.html
  seclude-bench peers --rounds 5 --json peers.json
  seclude-bench compare before.json after.json --fail-on 'cpu_us>+10%'

Exit status: 0 measured, 1 not valid or a limit missed, 2 wrong usage or nothing to measure.
"""
COMMANDS: Final = (run, ladder, stream, talking, sidebyside, idle, slow, hpke, decoding, quality, compare)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seclude-bench` and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="seclude-bench",
        description="Measure the parties and their path on this machine: latency, CPU time, and what privacy costs.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('seclude')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add_command(commands)
    flags = parser.parse_args(arguments)
    # A supervisor's word is a person's Ctrl-C: the parties are ended and their folders removed in both cases.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        return int(flags.act(flags))
    except (StackError, GeneratorError, Error) as exc:
        return _complain([exc])
    except BaseExceptionGroup as group:  # a TaskGroup wraps even the one sentence that says what is wrong
        known, other = group.split((StackError, GeneratorError, Error))
        if known is None or other is not None:
            raise
        return _complain(list(_leaves(known)))
    except KeyboardInterrupt:
        return 130


def _complain(failures: Sequence[BaseException]) -> int:
    for exc in failures:
        print(f"seclude-bench: {exc}", file=sys.stderr)
    return USAGE_STATUS


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from _leaves(exc)
        else:
            yield exc
