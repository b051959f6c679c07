"""What the publishers' verbs of `seclude-ledger` share: how they read their arguments, and how they fail.

Exit status 0: done; 1: it could not be done, such as a ledger that refuses or does not answer; 2: something that was
given has to be changed first. What is wrong is one sentence on standard error.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Final

from ledger.publish.documents import FORMATS
from seclude.errors import ConfigError, Error

COMMAND: Final = "seclude-ledger"
FAILED_STATUS: Final = 1
REFUSED_STATUS: Final = 2
DAY_SECONDS: Final = 86_400
MAX_DAYS: Final = 3650  # ten years; longer than any software stays without a known hole

Fill = Callable[[argparse.ArgumentParser], None]
Act = Callable[[argparse.Namespace], int]


def enter(verb: str, fill: Fill, run: Act, arguments: Sequence[str] | None) -> int:
    """Run one verb with the arguments after its name, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog=f"{COMMAND} {verb}", formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    fill(parser)
    try:
        return run(parser.parse_args(arguments))
    except KeyboardInterrupt:
        return 130
    except Error as exc:
        message = str(exc).encode(errors="backslashreplace").decode()  # a path may be no text
        print(f"{parser.prog}: {message}", file=sys.stderr)
        return REFUSED_STATUS if isinstance(exc, ConfigError) else FAILED_STATUS


def days(text: str) -> int:
    """Return a number of days, which may be a fraction, in whole seconds."""
    try:
        seconds = round(float(text) * DAY_SECONDS)
    except (ValueError, OverflowError):
        seconds = 0
    if not 0 < seconds <= MAX_DAYS * DAY_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days up to {MAX_DAYS}")
    return seconds


def split(pair: str, flag: str) -> tuple[str, str]:
    """Return both sides of A=B; raises `ConfigError`."""
    left, sign, right = pair.partition("=")
    if not sign or not left or not right:
        raise ConfigError(f"{flag} {pair}: it takes two words with = between them, see --help")
    return left, right


def require_format(name: str, flag: str) -> None:
    """Raise `ConfigError` for what is no format whose images and chips a snapshot can name."""
    if name not in FORMATS:
        raise ConfigError(f"{flag}: {name} is none of {', '.join(FORMATS)}")
