"""`seclude-ledger sign`: adds one publisher's signature to a snapshot, after showing in words what it says.

Two publishers on two machines are the normal way: the file travels, the keys do not. A publisher who signs what
somebody else made sees what it changes against the last snapshot, which they have fetched themselves.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Final

from ledger.keyfiles import load_signer
from ledger.publish.documents import StateFile, load_state, replace
from ledger.publish.statewords import describe, differences, signatures
from ledger.publish.verb import FAILED_STATUS, enter
from seclude.errors import ConfigError
from seclude.tlog.keys import ED25519, SignerKey
from seclude.tlog.note import Note, add_signatures
from seclude.tlog.signing import sign_text

MAX_AHEAD_SECONDS: Final = 300  # more than any clock that is kept by NTP is ever wrong
EXAMPLE: Final = """examples:
  seclude-ledger sign --key publisher1.key --from last.txt next.txt
  seclude-ledger sign --key publisher1.key --first first.txt"""


def fill(parser: argparse.ArgumentParser) -> None:
    """Add what `sign` takes."""
    parser.description = "Show what a snapshot changes, and add one publisher's signature to it."
    parser.epilog = EXAMPLE
    parser.add_argument("--key", metavar="FILE", type=Path, required=True, help="from `keygen --kind publisher`")
    base = parser.add_mutually_exclusive_group(required=True)
    base.add_argument("--from", dest="last", metavar="LAST", type=Path, help="the last snapshot, from `state --out`")
    base.add_argument("--first", action="store_true", help="there is no snapshot before it")
    parser.add_argument("--yes", action="store_true", help="sign without asking; what it says is shown all the same")
    parser.add_argument("file", metavar="SNAPSHOT", type=Path, help="the file, which gets the signature")


def run(arguments: argparse.Namespace) -> int:
    """Show, ask, sign, and write the file anew."""
    key = _load_key(arguments.key)
    state = load_state(arguments.file)
    last = None if arguments.last is None else load_state(arguments.last)
    now = int(time.time())
    _require_signable(state, last, now)
    print(f"{arguments.file} against {arguments.last}:" if last is not None else f"{arguments.file}, the first one:")
    words = describe(state.snapshot, now) if last is None else differences(last.snapshot, state.snapshot)
    print("\n".join(f"  {line}" for line in words))
    print(f"so far {signatures(state.signers, state.snapshot)}")
    if any((each.name, each.key_id) == (key.verifier.name, key.verifier.key_id) for each in state.signatures):
        print(f"{key.verifier.name} has signed it already; it stays as it is")
        return 0
    if not arguments.yes and not _agreed(key.verifier.name):
        print(f"not signed; {arguments.file} stays as it is", file=sys.stderr)
        return FAILED_STATUS
    note = add_signatures(Note(state.text, state.signatures), sign_text(state.text, key))
    signed = replace_fields(state, signatures=note.signatures)
    replace(arguments.file, signed.serialize())
    print(f"{arguments.file} is written anew, with {signatures(signed.signers, signed.snapshot)}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seclude-ledger sign`."""
    return enter("sign", fill, run, arguments)


def _load_key(path: Path) -> SignerKey:
    key = load_signer(path)
    if key.verifier.algorithm != ED25519:
        raise ConfigError(f"{path}: a key of a log or a witness; a publisher's is from `keygen --kind publisher`")
    return key


def _require_signable(state: StateFile, last: StateFile | None, now: int) -> None:
    """Raise `ConfigError` for what no publisher should sign, whatever it says."""
    snapshot = state.snapshot
    if snapshot.expires <= now:
        raise ConfigError("the snapshot has expired; make it anew with `seclude-ledger snapshot`")
    if snapshot.issued > now + MAX_AHEAD_SECONDS:
        raise ConfigError("the snapshot is dated in the future, so none could follow it until then; look at the clocks")
    if last is None:
        return
    if snapshot.origin != last.snapshot.origin:
        raise ConfigError(f'the last snapshot is of another service, "{last.snapshot.origin}"')
    if state.text != last.text and snapshot.issued <= last.snapshot.issued:
        raise ConfigError("the snapshot is not newer than the last one, so no ledger would take it; make it anew")


def _agreed(name: str) -> bool:
    try:
        return input(f"Sign this as {name}? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False
