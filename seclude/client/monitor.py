"""`seclude monitor`: follow a ledger with a tree head of one's own, and say what is wrong with it.

Exit status 0: nothing was found, though there may be warnings; 1: there are findings, or the ledger does not answer;
2: the command, the trust file or the file of the monitor has to be changed first. Nothing of any request is involved,
and anybody can run it.
"""

import argparse
import asyncio
import glob
import hashlib
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from seclude.attestation.pins import Ledger
from seclude.attestation.slots import in_words
from seclude.client.findings import Conflict
from seclude.client.ledgersource import Source
from seclude.client.monitoring import LogSeen, Look, Monitor
from seclude.client.monitorstate import hold_state, load_state, save_state
from seclude.client.relays import Relays
from seclude.client.render import clean
from seclude.client.trust import Trust
from seclude.errors import ConfigError, UpstreamError
from seclude.tlog.tiles import TILE_WIDTH

STATE_NAME: Final = "monitor-{origin}.json"
EVIDENCE_NAME: Final = "inconsistent-log-{digest}.json"
MAX_FILES: Final = 64  # of evidence: one convicts, and a log that lies in every look could fill a disk
EXAMPLE: Final = "example: seclude monitor --ledger https://ledger.example --follow 60"


def fill_monitor(verb: argparse.ArgumentParser, places: str) -> None:
    """Add what `monitor` takes; `places` says where its files stand where nobody says otherwise."""
    verb.add_argument("--ledger", metavar="URL", required=True, help="where the ledger, or a copy of its files, is")
    verb.add_argument(
        "--state", type=Path, metavar="FILE", help=f"the monitor's own tree heads (default: {places}{STATE_NAME})"
    )
    verb.add_argument("--relay", action="store_true", help="also compare what the relays give to devices")
    verb.add_argument("--follow", type=_seconds, metavar="SECONDS", help="look again so often, until Ctrl-C")
    verb.add_argument(
        "--evidence",
        type=Path,
        metavar="FILE",
        help=f"where to write two signed checkpoints that contradict each other (default: {places}{EVIDENCE_NAME})",
    )


async def run_monitor(arguments: argparse.Namespace, trust: Trust, folder: Path) -> int:
    """Look once, or again and again, and return the exit status of the last look."""
    policy = trust.policy()
    if policy.ledger is None:
        raise ConfigError("the trust file names no ledger to follow; add [policy.ledger]")
    path = arguments.state or folder / STATE_NAME.format(origin=trust.origin.replace(":", "-"))
    evidence = arguments.evidence or folder / EVIDENCE_NAME
    relays = Relays(trust.relays).endpoints if arguments.relay else ()
    source = Source(arguments.ledger)
    try:
        with hold_state(path):
            state = load_state(path, trust.origin)
            monitor = Monitor(policy, policy.ledger, source, state, time.time, relays=relays, progress=_progress)
            while True:
                status = await _look(monitor, policy.ledger, arguments, path, evidence)
                if arguments.follow is None:
                    return status
                await asyncio.sleep(arguments.follow)
    finally:
        await source.close()
        for endpoint in relays:
            await endpoint.hop.close()


async def _look(monitor: Monitor, ledger: Ledger, arguments: argparse.Namespace, path: Path, evidence: Path) -> int:
    try:
        look = await monitor.look()
    except UpstreamError as exc:
        if arguments.follow is None:
            raise
        if arguments.json:
            print(msgspec.json.encode({"error": "unreachable", "message": str(exc)}).decode(), flush=True)
        print(f"seclude: {exc}", file=sys.stderr)
        return 1
    kept = {place: _keep(finding.conflict, evidence) for place, finding in enumerate(look.findings) if finding.conflict}
    if arguments.json:
        print(msgspec.json.encode(describe_look(look, kept)).decode(), flush=True)
    else:
        print("\n".join(render_look(look, ledger, kept)), flush=True)
    save_state(path, monitor.state)  # once it was told: what is never said must not count as said
    return int(any(not finding.warning for finding in look.findings))


def render_look(look: Look, ledger: Ledger, kept: dict[int, str] | None = None) -> list[str]:
    """Return a look in words, a line each."""
    lines = [f"at {in_words(int(look.at))}", _log_words("keys log", look.keys), _log_words("state log", look.state)]
    if look.snapshot is not None:
        many = len(look.snapshot.releases)
        lines.append(
            f"  newest state: {many} release{'s' if many != 1 else ''}, {len(look.snapshot.revocations)} revoked, "
            f"until {in_words(look.snapshot.expires)}"
        )
    lines.append(f"  new epochs verified: {look.epochs}; witnesses: {ledger.quorum}")
    lines += [f"  {url}: its keys stand in the log" for url in look.relays]
    for place, finding in enumerate(look.findings):
        lines.append(f"{'warning' if finding.warning else 'FINDING'}  {finding.kind}: {clean(finding.words)}")
        lines += [f"         {kept[place]}"] if kept and place in kept else []
    lines += [] if look.interrupted is None else [f"not read to the end: {clean(look.interrupted)}"]
    worst = [finding for finding in look.findings if not finding.warning]
    lines.append(f"{len(worst)} finding{'s' if len(worst) != 1 else ''}" if worst else "nothing found")
    return lines


def describe_look(look: Look, kept: dict[int, str] | None = None) -> dict[str, object]:
    """Return a look as JSON holds it."""
    findings = [
        {
            "kind": finding.kind.value,
            "level": "warning" if finding.warning else "finding",
            "words": finding.words,
            "facts": dict(finding.facts),
            **({"evidence": kept[place]} if kept and place in kept else {}),
        }
        for place, finding in enumerate(look.findings)
    ]
    logs = {
        name: {"origin": log.origin, "size": log.size, "read": log.read, "cosigned_since": log.since}
        for name, log in (("keys", look.keys), ("state", look.state))
    }
    return {
        "at": int(look.at),
        "logs": logs,
        "epochs": look.epochs,
        "releases": [] if look.snapshot is None else msgspec.to_builtins(look.snapshot.releases),
        "relays": look.relays,
        "interrupted": look.interrupted,
        "findings": findings,
        "ok": all(finding.warning for finding in look.findings),
    }


def serialize_conflict(conflict: Conflict) -> bytes:
    """Return what convicts a log, as JSON that anybody can check."""
    document = {
        "log": conflict.origin,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "checkpoints": [conflict.first.decode(), conflict.second.decode()],
        "consistency_proof": [each.hex() for each in conflict.proof],
        "root_under_second": conflict.root.hex(),
    }
    return msgspec.json.format(msgspec.json.encode(document)) + b"\n"


def _keep(conflict: Conflict, named: Path) -> str:
    """Write down what convicts a log, never over another file, and return words on where it is."""
    digest = hashlib.sha256(conflict.first + conflict.second).hexdigest()[:16]
    path = Path(str(named).replace("{digest}", digest))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if len(list(path.parent.glob(glob.escape(named.name).replace("{digest}", "*")))) >= MAX_FILES:
            return f"{path.parent} has evidence in {MAX_FILES} files, and no more was written"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(serialize_conflict(conflict))
    except FileExistsError:
        return f"{path} exists already and was left as it is"
    except OSError as exc:
        return f"the evidence cannot be written to {path} ({exc.strerror})"
    return f"the evidence is in {path}"


def _progress(log: str, read: int, size: int) -> None:
    """Show how far a long log is read, where a person looks on."""
    if size - read > TILE_WIDTH or read == size > TILE_WIDTH:
        end = "\n" if read == size else ""
        if sys.stderr.isatty():
            print(f"\rseclude: {log}: {read} of {size} entries", end=end, file=sys.stderr, flush=True)


def _log_words(name: str, log: LogSeen) -> str:
    if log.size is None:
        return f"  {name}: {log.origin}: no checkpoint that can be believed"
    since = "" if not log.since else f", cosigned {in_words(log.since)}"
    return f"  {name}: {log.origin}: {log.size} entries, {log.read} new{since}"


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to 86400")
    return seconds
