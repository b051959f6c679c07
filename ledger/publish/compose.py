"""`seclude-ledger snapshot`: makes the next snapshot of a service's state out of the last one.

A snapshot is the whole state, so what is not changed here is carried over from the last one as it stands. The result is
unsigned: it travels to the publishers, and each of them signs it on their own machine (`sign.py`).
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace as replace_fields

from ledger.publish.documents import FORMATS, MAX_LINES, StateFile, load_release, load_state, read, write_new
from ledger.publish.statewords import describe, differences, signatures
from ledger.publish.verb import days, enter, require_format, split
from seclude.attestation.snapshot import (
    Release,
    Revocation,
    Snapshot,
    render_snapshot,
)
from seclude.errors import ConfigError

MAX_AHEAD_SECONDS: Final = 30  # as much as policies allow clocks to differ by, unless they say otherwise
EXAMPLE: Final = """examples:
  seclude-ledger snapshot --origin assistant.example --add release.json --expires 30 --out first.txt
  seclude-ledger state --ledger https://ledger.example --out last.txt
  seclude-ledger snapshot --from last.txt --add release.json --drop DIGEST --expires 30 --out next.txt
  seclude-ledger snapshot --from last.txt --revoke DIGEST="leaks what it is asked" --expires 30 --out next.txt
  seclude-ledger snapshot --from last.txt --stop --revoke DIGEST="stolen" --expires 30 --out stop.txt"""


def fill(parser: argparse.ArgumentParser) -> None:
    """Add what `snapshot` takes."""
    parser.description = "Write the next snapshot of the state, for publishers to sign."
    parser.epilog = EXAMPLE
    base = parser.add_mutually_exclusive_group(required=True)
    base.add_argument("--from", dest="last", metavar="LAST", type=Path, help="the last snapshot, from `state --out`")
    base.add_argument("--origin", metavar="NAME", help="begin with nothing: the first snapshot of this service")
    parser.add_argument("--add", metavar="RELEASE", type=Path, action="append", default=[], help="from `release`")
    parser.add_argument(
        "--revoke",
        metavar="DIGEST=REASON",
        action="append",
        default=[],
        help="never believe this software again; it is dropped as well",
    )
    parser.add_argument("--drop", metavar="DIGEST", action="append", default=[], help="release it no more")
    parser.add_argument(
        "--stop", action="store_true", help="drop every release: it takes one publisher, and ends the service"
    )
    parser.add_argument(
        "--chips",
        metavar="FORMAT=FILE",
        action="append",
        default=[],
        help=f"the chips of {', '.join(FORMATS)} that may run it, one in hexadecimal a line, instead of the last ones",
    )
    parser.add_argument("--expires", metavar="DAYS", type=days, required=True, help="publish another one before that")
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="where to write it; must not exist")


def run(arguments: argparse.Namespace) -> int:
    """Write the snapshot and say what it changes."""
    now = int(time.time())
    last = None if arguments.last is None else load_state(arguments.last).snapshot
    snapshot = compose(arguments, last, now)
    text = _render(snapshot)
    write_new(arguments.out, StateFile(snapshot, text).serialize())
    words = describe(snapshot, now) if last is None else differences(last, snapshot)
    print(f"{arguments.out}, not signed yet:")
    print("\n".join(f"  {line}" for line in words))
    print(signatures((), snapshot))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seclude-ledger snapshot`."""
    return enter("snapshot", fill, run, arguments)


def _render(snapshot: Snapshot) -> str:
    """Return the text, if a device could read it; raises `ConfigError` that names the field at fault."""
    try:
        msgspec.json.decode(msgspec.json.encode(snapshot), type=Snapshot)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"snapshot: {exc}") from exc
    return render_snapshot(snapshot)


def compose(arguments: argparse.Namespace, last: Snapshot | None, now: int) -> Snapshot:
    """Return the snapshot that follows the last one; raises `ConfigError`."""
    base = last or Snapshot(origin=arguments.origin, issued=0, expires=1)
    issued = max(now, base.issued + 1)  # two may be made within a second, and clocks differ a little
    if issued > now + MAX_AHEAD_SECONDS:
        raise ConfigError("the last snapshot was issued later than it is now by this machine's clock; set the clock")
    revoked = [_revocation(pair, now) for pair in arguments.revoke]
    gone = [*arguments.drop, *(each.manifest for each in revoked)]
    kept = () if arguments.stop else base.releases
    for digest in arguments.drop:
        if all(each.manifest != digest for each in base.releases):
            raise ConfigError(f"--drop {digest}: the last snapshot has no such release")
    added = tuple(load_release(path) for path in arguments.add)
    _require_usable(added, now)
    again = {each.manifest for each in revoked}
    return replace_fields(
        base,
        issued=issued,
        expires=issued + arguments.expires,
        releases=(*(each for each in kept if each.manifest not in gone and not _replaced(each, added)), *added),
        revocations=(*(each for each in base.revocations if each.manifest not in again), *revoked),
        chips={**base.chips, **_chips(arguments.chips)},
    )


def _replaced(release: Release, added: Sequence[Release]) -> bool:
    """Say whether an added release is the same one with other dates."""
    return any((release.role, release.manifest) == (each.role, each.manifest) for each in added)


def _require_usable(added: Sequence[Release], now: int) -> None:
    for release in added:
        if release.expires <= now:
            raise ConfigError(f"the release {release.manifest} has expired; make it anew with `seclude-ledger release`")


def _revocation(pair: str, now: int) -> Revocation:
    digest, reason = split(pair, "--revoke")
    return Revocation(manifest=digest, reason=reason, revoked=now)


def _chips(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found = {}
    for pair in given:
        name, file = split(pair, "--chips")
        require_format(name, "--chips")
        try:
            lines = read(Path(file), MAX_LINES).decode("ascii").splitlines()
        except UnicodeDecodeError:
            raise ConfigError(f"{file} is no list of chips: one in hexadecimal a line, # before a comment") from None
        words = (line.partition("#")[0].strip().lower() for line in lines)
        found[name] = tuple(dict.fromkeys(word for word in words if word))
    return found
