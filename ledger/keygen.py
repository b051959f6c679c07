"""`seclude-ledger keygen`: makes the keys of logs, witnesses and publishers, and the secret that submissions need.

The private half goes into a file for its owner alone and is never shown; the public half, one line, goes to standard
output, and one sentence on where it belongs to standard error. What each is worth is in docs/ledger-keys.md.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from ledger.keyfiles import create_signer, create_submit_secret
from seclude.daemon.lifecycle import REFUSED_STATUS
from seclude.errors import ConfigError
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, ML_DSA_44, generate_skey

SUBMIT: Final = "submit"
ED25519_NAME: Final = "ed25519"
ML_DSA_44_NAME: Final = "ml-dsa-44"
# What a key signs is part of its algorithm: an Ed25519 key of a log cannot be a witness's. With ML-DSA-44 logs sign as
# witnesses do, and the name in what they sign keeps them apart.
ALGORITHMS: Final = {
    "log": {ED25519_NAME: ED25519, ML_DSA_44_NAME: ML_DSA_44},
    "witness": {ED25519_NAME: COSIGNATURE_ED25519, ML_DSA_44_NAME: ML_DSA_44},
    "publisher": {ED25519_NAME: ED25519},
}
PLACES: Final = {
    "log": "the line is for witnesses (logs), trust files and quorum files (log); the name is the log's origin",
    "witness": "the line is for the quorum files of ledgers and devices (witness)",
    "publisher": "the line is for trust files and for the ledger's configuration (publishers)",
    SUBMIT: "copy the file to the gateways or publishers that submit, as secretly, and name it there and in the ledger",
}
EXAMPLE: Final = """examples:
  seclude-ledger keygen --kind log --name assistant.example/keys --out keys.key
  seclude-ledger keygen --kind witness --name witness.example/w1 --algorithm ml-dsa-44 --out witness.key
  seclude-ledger keygen --kind submit --out submit.key
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seclude-ledger keygen` with the arguments after that word, and return its exit status."""
    flags = _parser().parse_args(arguments)
    try:
        made = make(flags.kind, flags.out, flags.name, flags.algorithm)
    except ConfigError as exc:
        print(f"seclude-ledger keygen: {exc}", file=sys.stderr)
        return REFUSED_STATUS
    if flags.json:
        print(msgspec.json.encode(made).decode())
    else:
        if "verifier_key" in made:
            print(made["verifier_key"])
        print(f"{flags.out} is written; keep it, and see docs/ledger-keys.md. {_sentence(flags.kind)}", file=sys.stderr)
    return 0


def make(kind: str, path: Path, name: str | None = None, algorithm: str | None = None) -> dict[str, str]:
    """Make a key of a kind in a file that does not exist, and return what may be told of it; raises ConfigError."""
    if kind == SUBMIT:
        if name is not None or algorithm is not None:
            raise ConfigError("a submit secret has neither a name nor an algorithm; leave out --name and --algorithm")
        create_submit_secret(path)
        return {"kind": kind, "file": str(path)}
    if name is None:
        raise ConfigError(f"--name is missing: a {kind} is known by it, such as {kind}.example/1")
    algorithm = algorithm or ED25519_NAME
    if algorithm not in ALGORITHMS[kind]:
        raise ConfigError(f"a {kind} cannot have a key of {algorithm}; leave out --algorithm")
    key = generate_skey(name, ALGORITHMS[kind][algorithm])
    create_signer(path, key)
    return {"kind": kind, "file": str(path), "name": name, "algorithm": algorithm, "verifier_key": str(key.verifier)}


def _sentence(kind: str) -> str:
    place = PLACES[kind]
    return f"{place[0].upper()}{place[1:]}."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seclude-ledger keygen",
        description="Make a key in a file that only its owner can read, and print its public half.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--kind", required=True, choices=(*ALGORITHMS, SUBMIT), help="what it is for")
    parser.add_argument("--name", help="a URL without scheme; of a log, its origin")
    parser.add_argument("--algorithm", choices=(ED25519_NAME, ML_DSA_44_NAME), help=f"{ED25519_NAME} by default")
    parser.add_argument(
        "--out", required=True, metavar="FILE", type=Path, help="where the secret goes; never over another"
    )
    parser.add_argument("--json", action="store_true", help="print what was made as JSON")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
