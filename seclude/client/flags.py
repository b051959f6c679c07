"""What the verbs of `seclude` take: their flags, and how the values of those are written."""

import argparse
from datetime import datetime
from pathlib import Path
from typing import Final, get_args

from seclude.client.consistency import FILE_NAME
from seclude.tasks import MAX_HIGHLIGHTS, Tone

TRUST_VARIABLE: Final = "SECLUDE_TRUST"
PLACE: Final = "$XDG_STATE_HOME or ~/.local/state, then seclude/"
CONFIG_VARIABLE: Final = "XDG_CONFIG_HOME"  # where a person's own configuration stands (XDG base directories)
STATE_VARIABLE: Final = "XDG_STATE_HOME"  # where a program's own files stand that should outlast it
TRUST_PLACES: Final = f"default: ${TRUST_VARIABLE}, then ~/.config/seclude/trust.toml"


def common_flags() -> argparse.ArgumentParser:
    """Return what every verb takes that needs a trust file."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="answer in JSON on standard output")
    common.add_argument("--trust", metavar="FILE", default=argparse.SUPPRESS, help=f"trust file ({TRUST_PLACES})")
    return common


def asking_flags() -> argparse.ArgumentParser:
    """Return what every verb takes that asks a pool."""
    shared = argparse.ArgumentParser(add_help=False, parents=[common_flags()])
    shared.add_argument(
        "--check-consistency",
        action="store_true",
        help="first fetch the keys from every relay, and from the gateway where the trust file names it, and compare "
        "them; the gateway then sees this device's address, though nothing of any request",
    )
    shared.add_argument(
        "--evidence",
        metavar="FILE",
        help=f"where to write who gave which keys, should two differ (default: {PLACE}{FILE_NAME})",
    )
    return shared


def _fill_receipt(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--receipt", type=Path, metavar="FILE", help="keep which keys were used, and nothing of the request"
    )


def fill_summarize(verb: argparse.ArgumentParser) -> None:
    """Add what `summarize` takes."""
    verb.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="WhatsApp export (.txt, .zip), Telegram's result.json or JSON; - for standard input",
    )
    verb.add_argument("--unread", type=_count, metavar="N", help="only the last N messages")
    verb.add_argument("--since", type=_moment, metavar="TIME", help="only messages from this local time on")
    verb.add_argument(
        "--max",
        type=_highlights,
        metavar="N",
        help=f"at most N highlights, up to {MAX_HIGHLIGHTS} (default: a third of the chat's words)",
    )
    verb.add_argument(
        "--no-abstract",
        dest="abstract",
        action="store_false",
        help="highlights alone, where the pool has a model that would also write an abstract",
    )
    verb.add_argument(
        "--stream",
        action="store_true",
        help="print each highlight when it is chosen, the most telling first, then the sentences of the abstract; with "
        "--json a line each",
    )
    verb.add_argument("--date-order", choices=("dmy", "mdy", "ymd"), help="how the file writes dates, if it is unclear")
    _fill_receipt(verb)


def fill_rewrite(verb: argparse.ArgumentParser) -> None:
    """Add what `rewrite` takes."""
    verb.add_argument("text", nargs="?", metavar="TEXT", help="the text (default: standard input)")
    verb.add_argument("--tone", choices=get_args(Tone), default="proofread", help="default: proofread")
    _fill_receipt(verb)


def _moment(text: str) -> datetime:
    """Return the local time that --since names."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone().replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write 2026-11-20 or 2026-11-20T18:00") from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)


def _highlights(text: str) -> int:
    if (count := _count(text)) > MAX_HIGHLIGHTS:
        raise argparse.ArgumentTypeError(f"the most is {MAX_HIGHLIGHTS}")
    return count
