"""`seclude-ledger state`: fetches the newest snapshot of a ledger, verifies it, and shows it in words.

It is read from the log's own files: the checkpoint, the last entry, and the hashes that show that the tree under the
checkpoint ends with that entry. With a device's trust file, signatures and cosignatures are verified as a device does;
without one, what is shown is what the ledger says.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from ledger.publish.documents import StateFile, parse_state, write_new
from ledger.publish.reach import Reach
from ledger.publish.statewords import describe, shown
from ledger.publish.verb import enter
from seclude.attestation.pins import Ledger
from seclude.attestation.slots import in_words
from seclude.attestation.snapshot import verify_snapshot
from seclude.client.trust import Trust, load_trust
from seclude.errors import ConfigError, DecodeError, EvidenceError, UpstreamError
from seclude.ledger import Path as Place
from seclude.tlog.checkpoint import Checkpoint, parse_checkpoint
from seclude.tlog.cosigned import open_cosigned
from seclude.tlog.merkle import leaf_hash, tree_root
from seclude.tlog.note import parse_note
from seclude.tlog.tiles import ENTRIES, TILE_WIDTH, TileReader, parse_entries, tile_path

PARTIAL: Final = ".p/"  # in the path of a tile that is not full (C2SP tlog-tiles)
EXAMPLE: Final = """examples:
  seclude-ledger state --ledger https://ledger.example --trust trust.toml
  seclude-ledger state --ledger https://ledger.example --trust trust.toml --out last.txt
  seclude-ledger state --ledger https://ledger.example --json"""


class NoSnapshotError(UpstreamError):
    """Raised when a state log has no entry yet."""


@dataclass(frozen=True, slots=True)
class Current:
    """The newest snapshot of a ledger, and what was verified of it."""

    state: StateFile
    checkpoint: Checkpoint
    signed_by: tuple[str, ...] = ()
    """Publishers whose signature is good; empty where nothing was verified."""
    cosigned_by: tuple[str, ...] = ()
    since: int = 0
    """The checkpoint is at least as fresh as this, by the clocks of a quorum of witnesses."""


def fill(parser: argparse.ArgumentParser) -> None:
    """Add what `state` takes."""
    parser.description = "Show the newest snapshot of a ledger: what is released, revoked, and until when."
    parser.epilog = EXAMPLE
    parser.add_argument("--ledger", metavar="URL", required=True, help="https beyond this machine")
    parser.add_argument("--ca", metavar="PEM", type=Path, help="believe a ledger that these know, not the system's")
    parser.add_argument(
        "--trust", metavar="FILE", type=Path, help="a device's trust file, whose [policy.ledger] names all the keys"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="write it for --from; must not exist")
    parser.add_argument("--json", action="store_true", help="one object instead of words")


def run(arguments: argparse.Namespace) -> int:
    """Fetch, verify, show."""
    trust = None if arguments.trust is None else load_trust(arguments.trust)
    pins, origin = (None, "") if trust is None else (_pins(trust, arguments.trust), trust.origin)
    reach = Reach(arguments.ledger, arguments.ca)
    try:
        current = fetch_current(reach, pins, origin)
    except DecodeError as exc:
        raise UpstreamError(f"{arguments.ledger} serves what is no log: {exc}") from exc
    if arguments.out is not None:
        write_new(arguments.out, current.state.serialize())
    if arguments.json:
        print(msgspec.json.encode(_as_json(current), order="sorted").decode())
        return 0
    print("\n".join(describe(current.state.snapshot, int(time.time()))))
    print(f"entry {current.checkpoint.size - 1} of {shown(current.checkpoint.origin)}")
    if current.cosigned_by:
        print(f"signed by {' and '.join(current.signed_by)}: good")
        print(f"cosigned by {', '.join(current.cosigned_by)}, at {in_words(current.since)} or later")
        if trust is not None and time.time() - current.since > trust.policy().max_checkpoint_age_seconds:
            print("TOO OLD: no device accepts this checkpoint, and a newer snapshot may be withheld; ask again later")
    else:
        print("NOT VERIFIED: no signature was looked at; name a device's trust file with --trust")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seclude-ledger state`."""
    return enter("state", fill, run, arguments)


def fetch_current(reach: Reach, pins: Ledger | None, origin: str) -> Current:
    """Return the newest snapshot; raises `UpstreamError`, `DecodeError`, and what verification raises."""
    note = reach.get(f"{Place.STATE}{Place.CHECKPOINT}")
    cosigned = None if pins is None else open_cosigned(note, pins.state_log, pins.quorum)
    checkpoint = parse_checkpoint(parse_note(note).text) if cosigned is None else cosigned.checkpoint
    if checkpoint.size == 0:
        raise NoSnapshotError("the ledger has no snapshot yet; make the first one with `seclude-ledger snapshot`")
    entry = _last_entry(reach, checkpoint)
    state = parse_state(entry)
    if pins is None or cosigned is None:
        return Current(state, checkpoint)
    _, signed_by = verify_snapshot(entry, pins.publishers, origin)
    return Current(state, checkpoint, signed_by, tuple(cosigned.times), cosigned.since)


def _last_entry(reach: Reach, checkpoint: Checkpoint) -> bytes:
    """Return the entry that the tree under a checkpoint ends with."""
    size, last = checkpoint.size, checkpoint.size - 1
    tiles = TileReader(size, partial(_tile, reach))
    if tree_root(size, tiles.node) != checkpoint.root:
        raise EvidenceError("the hashes that the ledger serves are not those of its checkpoint")
    index, offset = divmod(last, TILE_WIDTH)
    entries = parse_entries(_tile(reach, tile_path(ENTRIES, index, offset + 1)))
    if len(entries) <= offset or leaf_hash(entries[offset]) != tiles.node(0, last):
        raise EvidenceError("the last entry that the ledger serves is not the one under its checkpoint")
    return entries[offset]


def _tile(reach: Reach, path: str) -> bytes:
    """Return a tile, or the full one that has taken the place of a partial one."""
    try:
        return reach.get(f"{Place.STATE}/{path}")
    except UpstreamError:
        full, partly, _ = path.partition(PARTIAL)
        if not partly:
            raise
        return reach.get(f"{Place.STATE}/{full}")


def _pins(trust: Trust, path: Path) -> Ledger:
    ledger = trust.policy().ledger
    if ledger is None:
        raise ConfigError(f"{path} names no ledger: its [policy] has no table [policy.ledger]")
    return ledger


def _as_json(current: Current) -> dict[str, object]:
    return {
        "verified": bool(current.cosigned_by),
        "log": current.checkpoint.origin,
        "size": current.checkpoint.size,
        "root": current.checkpoint.root.hex(),
        "signed_by": current.signed_by,
        "cosigned_by": current.cosigned_by,
        "since": current.since,
        "snapshot": msgspec.to_builtins(current.state.snapshot),
    }
