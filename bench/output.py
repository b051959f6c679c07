"""Where a result goes: the table to standard output, and the files that were asked for. Returns the exit status."""

import argparse
import sys
from array import array
from collections.abc import Mapping
from pathlib import Path

from bench.histogram import hdr_text
from bench.page import render_page
from bench.result import Result, write
from bench.table import render
from seclude.errors import ConfigError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what every command that measures can write."""
    files = parser.add_argument_group("output")
    files.add_argument("--json", type=Path, metavar="FILE", help="write the result, schema seclude-bench/1")
    files.add_argument("--hdr", type=Path, metavar="FILE", help="write HDR percentile text, a file for each case")
    files.add_argument("--html", type=Path, metavar="FILE", help="write one page with the plots, complete in itself")
    files.add_argument("--quiet", action="store_true", help="no progress on standard error")


def deliver(result: Result, flags: argparse.Namespace, latencies: "Mapping[str, array[int]] | None" = None) -> int:
    """Print and write a result; `latencies` are the samples of its cases, in nanoseconds."""
    print(render(result), end="")
    try:
        if flags.json is not None:
            write(flags.json, result)
        if flags.html is not None:
            flags.html.write_text(render_page(result))
        if flags.hdr is not None:
            for name, samples in (latencies or {}).items():
                _hdr_path(flags.hdr, name, len(latencies or {})).write_text(hdr_text(samples))
    except OSError as exc:
        raise ConfigError(f"{exc.filename}: {exc.strerror}") from None
    missed = [figure.name for figure in result.figures if not figure.good]
    return 1 if result.invalid or missed else 0


def say(line: str) -> None:
    """Say how far it is."""
    print(line, file=sys.stderr, flush=True)


def silent(_: str) -> None:
    """Say nothing."""


def _hdr_path(path: Path, name: str, cases: int) -> Path:
    if cases == 1:
        return path
    word = "".join(letter if letter.isalnum() else "-" for letter in name).strip("-")
    return path.with_name(f"{path.stem}.{word}{path.suffix}")
