"""`seclude-ledger release`: writes down one release of a checkout's software, for a snapshot to take in.

It believes neither the manifest's own digest nor that it is of this commit: the one is computed again from its entries,
the other is seen in the SHA-256 of each of our modules. What else a manifest names, the interpreter and packages, a
second publisher checks by building it (docs/releases.md).
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ledger.publish.checkout import require_built_from, revision_of
from ledger.publish.documents import FORMATS, MAX_LINES, read, render_release, write_new
from ledger.publish.verb import days, enter, require_format, split
from seclude.attestation.snapshot import Measured, Release
from seclude.errors import ConfigError
from seclude.manifest import Manifest, parse_manifest

EXAMPLE: Final = """example:
  make release-manifest CONFIG=worker.toml
  seclude-ledger release --checkout . --role worker --manifest build/release/worker.manifest \\
      --source https://git.example/seclude --expires 90 --out release.json"""


def fill(parser: argparse.ArgumentParser) -> None:
    """Add what `release` takes."""
    parser.description = "Write down one release: what was built, from which commit, and until when it may be used."
    parser.epilog = EXAMPLE
    parser.add_argument("--checkout", metavar="DIR", type=Path, default=Path(), help="default: the present folder")
    parser.add_argument("--role", default="worker", help="what the software may be used as; default: worker")
    parser.add_argument("--manifest", metavar="FILE", type=Path, required=True, help="from `make release-manifest`")
    parser.add_argument("--source", metavar="URL", required=True, help="where anybody finds the commit")
    parser.add_argument("--expires", metavar="DAYS", type=days, required=True, help="from now on")
    parser.add_argument(
        "--measurement",
        metavar="FORMAT=HEX",
        action="append",
        default=[],
        help=f"an image of a machine that runs it, by {', '.join(FORMATS)}; may be given often",
    )
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="where to write it; must not exist")


def run(arguments: argparse.Namespace) -> int:
    """Write the release and say what it is."""
    revision = revision_of(arguments.checkout)
    manifest = _load_manifest(arguments.manifest)
    require_built_from(manifest, arguments.checkout, revision)
    now = int(time.time())
    release = Release(
        role=arguments.role,
        manifest=manifest.digest.hex(),
        source=arguments.source,
        revision=revision,
        issued=now,
        expires=now + arguments.expires,
        measurements=_measurements(arguments.measurement),
    )
    write_new(arguments.out, render_release(release).encode())
    print(f"{arguments.out}: {release.role} {release.manifest}, of commit {release.revision}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seclude-ledger release`."""
    return enter("release", fill, run, arguments)


def _measurements(given: list[str]) -> dict[Measured, tuple[str, ...]]:
    found: dict[Measured, tuple[str, ...]] = {}
    for pair in given:
        name, digest = split(pair, "--measurement")
        require_format(name, "--measurement")
        for known in FORMATS:
            if known == name:
                found[known] = (*found.get(known, ()), digest.lower())
    return found


def _load_manifest(path: Path) -> Manifest:
    try:
        return parse_manifest(read(path, MAX_LINES).decode())
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no manifest") from None
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}; make it with `make release-manifest`") from exc
