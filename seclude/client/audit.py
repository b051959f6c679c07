"""`seclude policy` and `seclude evidence`: what a policy asks, and what evidence shows, for whoever checks our claims.

Both work from files alone and speak to nobody. Exit status 0: it holds; 1: evidence was refused; 2: a file or a flag
has to be changed first.
"""

import argparse
import time
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from seclude.attestation.accept import NitroTable, NvidiaTable, SnpTable, SnpTcb, Table, TdxTable
from seclude.attestation.bundle import (
    UNLOGGED_HEAD,
    Core,
    birth_report_data,
    core_digest,
    parse_bundle,
    parse_core,
    parse_unlogged_checkpoint,
)
from seclude.attestation.evidence import (
    NITRO,
    NVIDIA,
    SEV_SNP,
    SIMULATED,
    TDX,
    TPM,
    TrustedReport,
    UnverifiedEvidence,
    bound_by,
)
from seclude.attestation.formats import verify_item
from seclude.attestation.judge import choose_tables
from seclude.attestation.policy import Policy, PolicyDocument, Production, problems
from seclude.attestation.policytext import convert_policy_document
from seclude.attestation.proofs import claimed_checkpoint, parse_proofs
from seclude.attestation.slots import Slots, in_words
from seclude.attestation.snapshot import parse_snapshot
from seclude.attestation.steps import Step
from seclude.attestation.verify import verify_bundle
from seclude.client.evidencefile import MAX_FILE, Exhibit, read_exhibits
from seclude.client.policywords import explain_policy
from seclude.client.render import render_step
from seclude.client.trust import Trust, parse_trust
from seclude.errors import ConfigError, EvidenceError, PolicyError
from seclude.tlog.note import parse_note

# What is asked of evidence where no policy is given: that it is genuine. A TPM's and a simulated platform's roots are
# nobody's but the policy's, so without one these two cannot be judged.
GENUINE: Final[dict[str, Table]] = {
    SEV_SNP: SnpTable(
        products=("milan", "genoa", "turin"),
        minimum_tcb={"milan": SnpTcb(), "genoa": SnpTcb(), "turin": SnpTcb()},
    ),
    TDX: TdxTable(),
    NITRO: NitroTable(),
    NVIDIA: NvidiaTable(),
}
VENDORS: Final = "by the vendor's rules; name a policy with --policy to judge its use"
NOT_JUDGED: Final = (
    "and of a platform that this policy accepts; not judged: its age, and a core's origin, slot and join policy. "
    "A key bundle is judged whole where --policy names a trust file"
)
ANY_SLOTS: Final = Slots(t0=0, period_seconds=1)  # which a policy has, and which nothing here is judged by
FORMATS: Final = (SEV_SNP, TDX, NITRO, TPM, NVIDIA, SIMULATED)


def check_policy(arguments: argparse.Namespace) -> None:
    """Say whether a policy can be used; raises `ConfigError` with every problem."""
    document = _load_policy(arguments.file, whole=not arguments.worker)
    platforms, additions = list(document.platforms()), list(document.additions())
    if arguments.json:
        _print_json(purpose=_purpose(document), role=document.role, formats=platforms, beside=additions)
        return
    beside = f", with {' and '.join(additions)} beside" if additions else ""
    print(f'a {_purpose(document)} policy for role "{document.role}": accepts {" or ".join(platforms)}{beside}')


def show_policy(arguments: argparse.Namespace) -> None:
    """Print what a policy asks, in words."""
    sentences = list(explain_policy(_load_policy(arguments.file, whole=False)))
    if arguments.json:
        _print_json(sentences=sentences)
    else:
        print("\n".join(sentences))


def show_evidence(arguments: argparse.Namespace) -> None:
    """Verify a file of evidence and print each step; raises `VerificationError` at the first that fails."""
    now = time.time() if arguments.at is None else arguments.at
    policy = None if arguments.policy is None else _load_policy(arguments.policy, whole=False)
    trust = None if arguments.policy is None else _load_trust(arguments.policy)
    chain = [_read(path) for path in arguments.chain]
    collateral = None if arguments.collateral is None else _read(arguments.collateral)
    exhibits = read_exhibits(_read(arguments.file), arguments.format, chain, collateral)
    say: Callable[[str], None] = (lambda _line: None) if arguments.json else print
    say(f"judged as of {in_words(int(now))}")
    shown = []
    for exhibit in exhibits:
        shown.append(_show(exhibit, _with_release(exhibit, policy), now, say))
        if exhibit.bundle is not None and trust is not None:  # which says all that a device asks
            verify_bundle(exhibit.bundle, trust.policy(), now, {}, neighbours=len(exhibits) > 1)
    whole = trust is not None and all(exhibit.bundle is not None for exhibit in exhibits)
    judged = "as a device with this trust file judges it" if whole else NOT_JUDGED if policy else VENDORS
    if arguments.json:
        _print_json(genuine=True, at=now, judged=judged, exhibits=shown)
    else:
        print(f"\ngenuine, {judged}")


def _with_release(exhibit: Exhibit, policy: PolicyDocument | None) -> PolicyDocument | None:
    """Return a policy with what the snapshot beside the evidence releases, where the policy leaves that to a ledger.

    Whether it is the ledger's snapshot is judged with the whole bundle, which takes a trust file.
    """
    if policy is None or policy.ledger is None or exhibit.bundle is None or exhibit.core is None:
        return policy
    bundle, core = parse_bundle(exhibit.bundle), parse_core(exhibit.core)
    if not bundle.proofs:
        raise EvidenceError("the bundle holds no proofs of the ledger", step=1)
    snapshot = parse_snapshot(parse_note(parse_proofs(bundle.proofs).snapshot).text)
    return Policy(origin=core.origin, slots=ANY_SLOTS, document=policy).under(snapshot, core.manifest_digest).document


def _show(exhibit: Exhibit, policy: PolicyDocument | None, now: float, say: Callable[[str], None]) -> dict[str, object]:
    """Verify one thing that a file shows, as far as the policy alone can judge it; return what was found."""
    core = None if exhibit.core is None else parse_core(exhibit.core)
    report_data = None if exhibit.core is None else birth_report_data(exhibit.core)
    if exhibit.whole and policy is not None:
        try:
            chosen = choose_tables(exhibit.items, policy)
        except PolicyError as exc:
            raise PolicyError(str(exc), step=2) from exc
    else:
        chosen = [(item, _table(item, policy)) for item in exhibit.items]
    items: list[dict[str, object]] = []
    for item, table in chosen:
        say(f"\n{item.format}{': SIMULATED hardware, which proves no machine' if item.format == SIMULATED else ''}")
        steps: list[Step] = []
        report = verify_item(item, table, now, partial(_note, steps, say))
        facts = dict(_facts(report, policy, report_data))
        if core is not None and report.measures_manifest and report.measurement != core.manifest_digest:
            raise EvidenceError("the core names another manifest than was measured", step=9)
        for name, value in facts.items():
            say(f"    {name}: {value}")
        items.append({"format": item.format, "steps": steps, **facts})
    if exhibit.core is None or core is None:
        return {"items": items}
    if policy is not None:
        _check_core(core, policy)
    about = _about(exhibit.core, core)
    for name, fact in about.items():
        say(f"{name}: {fact}")
    return {"items": items, **about}


def _check_core(core: Core, policy: PolicyDocument) -> None:
    if core.manifest_digest.hex() not in policy.manifests:
        raise PolicyError(f"manifest {core.manifest_digest.hex()} is not accepted by this policy", step=9)
    if core.role != policy.role:
        raise PolicyError(f'the core is for role "{core.role}", not "{policy.role}"', step=9)


def fill_policy(verb: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    """Add `policy check` and `policy explain`."""
    verbs = verb.add_subparsers(required=True, metavar="WHAT")
    check = verbs.add_parser(
        "check",
        parents=[shared],
        help="find what is wrong with a policy",
        epilog="example: seclude policy check deploy/trust.toml",
    )
    check.add_argument("--worker", action="store_true", help="it is a worker's own, which names no measurements")
    check.set_defaults(act=check_policy)
    explain = verbs.add_parser(
        "explain", parents=[shared], help="say it in words", epilog="example: seclude policy explain run/trust.toml"
    )
    explain.set_defaults(act=show_policy)
    for each in (check, explain):
        each.add_argument("file", type=Path, metavar="FILE", help="a policy, or a trust file or worker.toml with one")


def fill_evidence(verb: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    """Add `evidence show`."""
    verbs = verb.add_subparsers(required=True, metavar="WHAT")
    show = verbs.add_parser(
        "show",
        parents=[shared],
        help="verify a file of evidence, step by step",
        epilog="example: seclude evidence show report.bin --chain vcek.der --chain ask_ark.pem --collateral crl.der "
        "--at 2025-03-01",
    )
    show.add_argument("file", type=Path, metavar="FILE", help="a key bundle, evidence, or a vendor's own file")
    show.add_argument("--format", choices=FORMATS, help="what the file is, where its beginning does not say")
    show.add_argument(
        "--chain", type=Path, metavar="FILE", action="append", default=[], help="certificates, the signer's first"
    )
    show.add_argument("--collateral", type=Path, metavar="FILE", help="AMD's revocation list, or Intel's collateral")
    show.add_argument("--policy", type=Path, metavar="FILE", help="a policy, or a file that holds one, to judge it by")
    show.add_argument("--at", type=_moment, metavar="TIME", help="judge as of this time, in UTC (default: now)")
    show.set_defaults(act=show_evidence)


def _note(steps: list[Step], say: Callable[[str], None], step: Step) -> None:
    steps.append(step)
    say(render_step(step))


def _table(item: UnverifiedEvidence, policy: PolicyDocument | None) -> Table:
    tables = GENUINE if policy is None else {**policy.platforms(), **policy.additions()}
    if item.format in tables:
        return tables[item.format]
    if policy is not None:
        raise PolicyError(f'evidence of format "{item.format}" is not accepted by this policy', step=2)
    raise ConfigError(f'evidence of format "{item.format}" is under roots that a policy names: give one with --policy')


def _facts(
    report: TrustedReport, policy: PolicyDocument | None, report_data: bytes | None
) -> Iterator[tuple[str, str]]:
    yield "binds", report.bound.hex()
    if report_data is not None:
        if report.bound != bound_by(report.format, report_data):
            raise EvidenceError(f"the {report.format} report binds something else than the core beside it", step=6)
        yield "the core beside it", "is what it binds"
    yield "measurement", report.measurement.hex()
    if policy is not None and report.format != NVIDIA:
        accepted = policy.manifests if report.measures_manifest else _measurements(policy, report.format)
        if report.measurement.hex() not in accepted:
            raise PolicyError(f"measurement {report.measurement.hex()} is not accepted by this policy", step=8)
        yield "the policy", "accepts this measurement"
    yield "platform", report.platform_id.hex()
    yield "firmware", report.firmware
    if report.issued_at is not None:
        yield "issued", in_words(report.issued_at)
    yield "holds until", in_words(report.expires_at)


def _measurements(policy: PolicyDocument, format_name: str) -> tuple[str, ...]:
    table = policy.platforms()[format_name]
    found: tuple[str, ...] = getattr(table, "measurements", ())
    return found


def _about(encoded: bytes, core: Core) -> dict[str, object]:
    return {
        "core": core_digest(encoded).hex(),
        "role": core.role,
        "origin": core.origin,
        "epoch": core.epoch,
        "manifest": core.manifest_digest.hex(),
        **_dated(core.checkpoint),
    }


def _dated(checkpoint: bytes) -> dict[str, object]:
    """Say what dates a core; of a ledger's checkpoint the signatures are unread here."""
    if checkpoint.startswith(UNLOGGED_HEAD):
        return {"made": in_words(parse_unlogged_checkpoint(checkpoint))}
    claimed = claimed_checkpoint(checkpoint)
    return {"made": f"under a checkpoint of {claimed.origin} with {claimed.size} leaves"}


def _load_policy(path: Path, *, whole: bool) -> PolicyDocument:
    """Return the policy in a file; with `whole`, one that names what it accepts, as devices need it."""
    try:
        tables = tomllib.loads(_read(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ConfigError(f"{path} is not TOML: {exc}") from None
    measured = tables.get("measured")
    inner = tables.get("policy", measured.get("policy") if isinstance(measured, dict) else None)
    document = convert_policy_document(tables if inner is None else inner)
    own = not whole or isinstance(measured, dict)
    if found := list(problems(document, own=own)):
        raise ConfigError("\n".join(f"policy: {problem}" for problem in found))
    return document


def _load_trust(path: Path) -> Trust | None:
    """Return the trust file that a file is, if it is one."""
    try:
        return parse_trust(_read(path).decode())
    except ConfigError:
        return None


def _purpose(document: PolicyDocument) -> str:
    return "production" if isinstance(document, Production) else "demonstration"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    if len(data) > MAX_FILE:
        raise ConfigError(f"{path} is larger than {MAX_FILE} octets; it is another file")
    return data


def _moment(text: str) -> float:
    """Return the time that --at names."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write 2026-11-20 or 2026-11-20T18:00") from None


def _print_json(**values: object) -> None:
    print(msgspec.json.encode(values).decode())
