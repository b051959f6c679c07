"""`seclude receipt show`: which software had the keys of a request, and where everybody can see them, from a receipt.

The bundle in the receipt is verified again, as of its time, by all the steps of `verify_bundle`. With --proofs the
entries are written out with standard proofs; with --ledger the live log is asked whether it still holds them, which
shows to the ledger that somebody has such a receipt.
"""

import argparse
import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from seclude.attestation.bundle import Bundle, parse_bundle
from seclude.attestation.pins import Ledger
from seclude.attestation.proofs import parse_proofs
from seclude.attestation.slots import in_words
from seclude.attestation.steps import Step
from seclude.attestation.verify import TrustedPool, verify_bundle
from seclude.client.ledgersource import Source, Tree
from seclude.client.logproofs import Shown, proof_files, prove_entries
from seclude.client.receipts import Receipt, load_receipt
from seclude.client.render import clean, render_step
from seclude.client.trust import parse_trust, read_trust
from seclude.errors import ConfigError, DecodeError, EvidenceError
from seclude.ledger import EpochSubmission, parse_epoch
from seclude.ledger import Path as LedgerPath
from seclude.tlog.cosigned import Cosigned, open_cosigned

NAMES: Final = {"keys": LedgerPath.KEYS, "state": LedgerPath.STATE}


def fill_receipt(
    verb: argparse.ArgumentParser, shared: argparse.ArgumentParser, trust_file: Callable[[argparse.Namespace], Path]
) -> None:
    """Add `receipt show`; `trust_file` says where the trust file is."""
    verbs = verb.add_subparsers(required=True, metavar="WHAT")
    show = verbs.add_parser(
        "show",
        parents=[shared],
        help="verify a receipt again, and say which software, keys and log entries it is of",
        epilog="example: seclude receipt show yesterday.json --proofs proofs --ledger https://ledger.example",
    )
    show.add_argument("file", type=Path, metavar="FILE", help="what --receipt wrote")
    show.add_argument("--proofs", type=Path, metavar="DIR", help="write the entries with standard proofs (C2SP) there")
    show.add_argument("--ledger", metavar="URL", help="ask the live ledger whether it still holds the entries")
    show.set_defaults(act=lambda arguments: show_receipt(arguments, trust_file(arguments)))


def show_receipt(arguments: argparse.Namespace, trust_path: Path) -> None:
    """Verify a receipt and print what it is of; raises `VerificationError` at the first step that fails."""
    receipt = load_receipt(arguments.file)
    text = read_trust(trust_path)
    policy = parse_trust(text).policy()
    say: Callable[[str], None] = (lambda _line: None) if arguments.json else print
    same = hashlib.sha256(text.encode()).hexdigest() == receipt.trust_digest
    say(f"judged as of {in_words(receipt.time)}, when the request was made, by the device's own clock")
    say(f"trust file: {trust_path}{'' if same else ', which is not the one of that time'}\n")
    steps: list[Step] = []

    def observe(step: Step) -> None:
        steps.append(step)
        say(render_step(step))

    pool = verify_bundle(receipt.bundle, policy, receipt.time, {}, observe=observe)
    facts = _facts(receipt, pool, same_trust=same)
    ask: Callable[[], Coroutine[None, None, dict[str, int]]] | None = None
    if policy.ledger is not None and pool.ledger is not None and policy.document.ledger is not None:
        bundle = parse_bundle(receipt.bundle)
        proofs = parse_proofs(bundle.proofs)
        entries = prove_entries(proofs, policy.ledger, pool.epoch, bundle.core, bundle.evidence)
        shown = dict(zip(NAMES, entries, strict=True))
        seen = {"keys": pool.ledger.keys, "state": pool.ledger.state}
        facts["entries"] = {name: _entry(shown[name], seen[name]) for name in NAMES}
        if arguments.proofs is not None:
            files = proof_files(shown, policy.document.ledger.witnesses)
            facts["proofs"] = _write(arguments.proofs, files)
        if arguments.ledger is not None:
            ask = partial(_ask, arguments.ledger, policy.ledger, receipt, bundle, seen)
    elif arguments.proofs is not None or arguments.ledger is not None:
        raise ConfigError(
            "the trust file names no ledger, so there are no entries to prove; leave --proofs and --ledger out"
        )
    say("\n".join(["", *_words(facts)]))
    if ask is not None:  # last: what a receipt shows by itself needs no ledger that answers
        facts["live"] = live = asyncio.run(ask())
        for name, size in live.items():
            say(f"live      the {name} log, of {size} leaves now, still holds it")
    if arguments.json:
        listed = [{"number": step.number, "title": step.title, "found": step.found} for step in steps]
        print(msgspec.json.encode({"trusted": True, **facts, "steps": listed}).decode())


def _facts(receipt: Receipt, pool: TrustedPool, *, same_trust: bool) -> dict[str, object]:
    software: dict[str, object] = {
        "role": pool.core.role,
        "manifest": pool.core.manifest_digest.hex(),
        "measurement": pool.measurement.hex(),
        "formats": pool.formats,
    }
    if pool.release is not None:
        release = pool.release
        software |= {"source": release.source, "revision": release.revision, "expires": release.expires}
    return {
        "time": receipt.time,
        "origin": receipt.origin,
        "same_trust_file": same_trust,
        "software": software,
        "keys": {
            "epoch": pool.epoch,
            "core_digest": receipt.core_digest,
            "key_ids": [config.key_id for config in pool.key_configs],
        },
    }


def _entry(shown: Shown, cosigned: Cosigned) -> dict[str, object]:
    return {
        "log": str(shown.log.name),
        "index": shown.index,
        "sha256": hashlib.sha256(shown.entry).hexdigest(),
        "size": cosigned.checkpoint.size,
        "root": cosigned.checkpoint.root.hex(),
        "witnesses": dict(cosigned.times),
    }


def _words(facts: Mapping[str, object]) -> list[str]:
    """Return the facts in words, a line each."""
    software, keys = facts["software"], facts["keys"]
    assert isinstance(software, dict)
    assert isinstance(keys, dict)
    lines = [
        f"service   {facts['origin']}",
        f'software  role "{software["role"]}", manifest {software["manifest"]}',
    ]
    if "source" in software:
        lines.append(f"          from {clean(str(software['source']))} at {software['revision']}")
    lines.append(f"keys      epoch {keys['epoch']}, core {keys['core_digest']}")
    entries = facts.get("entries")
    if not isinstance(entries, dict):
        return [*lines, "entries   none: the trust file names no ledger"]
    for entry in entries.values():
        times = "; ".join(f"{name} at {in_words(moment)}" for name, moment in sorted(entry["witnesses"].items()))
        lines.append(
            f"entry     leaf {entry['index']} of {entry['log']}, of {entry['size']} leaves, cosigned by {times}"
        )
    written = facts.get("proofs")
    if isinstance(written, list):
        lines.append(f"proofs    {', '.join(written)}")
    return lines


async def _ask(
    url: str, ledger: Ledger, receipt: Receipt, bundle: Bundle, seen: Mapping[str, Cosigned]
) -> dict[str, int]:
    """Return the sizes of the live logs, if both have grown from the trees that the receipt shows."""
    source = Source(url)
    try:
        sizes = {}
        for name, key in (("keys", ledger.keys_log), ("state", ledger.state_log)):
            note = await source.checkpoint(NAMES[name])
            if note is None:
                raise EvidenceError(f"the ledger has no checkpoint of {key.name}")
            live = open_cosigned(note, key, ledger.quorum).checkpoint
            await _require_grown(Tree(source, NAMES[name], live.size, live.root), seen[name], key.name)
            sizes[name] = live.size
        shown = await source.epoch(receipt.epoch)
        epoch = None if shown is None else parse_epoch(shown)
    except DecodeError as exc:
        raise EvidenceError(f"the live ledger cannot be read: {exc}") from exc
    finally:
        await source.close()
    if epoch is None or epoch != EpochSubmission(receipt.epoch, bundle.core, bundle.evidence):
        raise EvidenceError(f"the live ledger shows something else behind leaf {receipt.epoch} than the receipt")
    return sizes


async def _require_grown(tree: Tree, before: Cosigned, name: str) -> None:
    older = before.checkpoint
    if tree.size < older.size:
        raise EvidenceError(f"{name} has {tree.size} leaves now, and had {older.size} in the receipt")
    root = tree.root if tree.size == older.size else (await tree.root_at(older.size))[0]
    if root != older.root:
        raise EvidenceError(
            f"{name} shows two histories: at size {older.size} its root was {older.root.hex()} and is {root.hex()}; "
            "keep the receipt, it has the signed checkpoint"
        )


def _write(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """Write files that are not there yet, and return their paths."""
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            with (folder / name).open("xb") as file:
                file.write(data)
            written.append(str(folder / name))
    except FileExistsError as exc:
        raise ConfigError(f"{exc.filename} exists already; name another folder with --proofs") from exc
    except OSError as exc:
        raise ConfigError(f"cannot write proofs to {folder}: {exc.strerror}") from exc
    return written
