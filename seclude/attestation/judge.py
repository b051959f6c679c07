"""Judge evidence: what a machine says of itself, and of the software on it. Steps 2 to 8 of `verify.py`.

Members of a pool use it on whoever asks to join, and devices on the evidence in a bundle; 3 to 5 are the steps of each
format, in that format's own order (`formats.py`). The clock comes in as `now`, in seconds since 1970.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from types import MappingProxyType
from typing import Final

from seclude.attestation.accept import Table
from seclude.attestation.bundle import Core, parse_unlogged_checkpoint
from seclude.attestation.evidence import NVIDIA, TrustedReport, UnverifiedEvidence, bound_by, parse_evidence
from seclude.attestation.formats import Progress, verify_item
from seclude.attestation.policy import Policy, PolicyDocument, Production
from seclude.attestation.proofs import Proofs
from seclude.attestation.slots import in_words
from seclude.attestation.snapshot import Release, Snapshot
from seclude.attestation.steps import Observer, Steps
from seclude.errors import EvidenceError, PolicyError

TITLES: Final[Mapping[int, str]] = MappingProxyType(
    {
        1: "bundle decodes",
        2: "evidence is of an accepted format",
        3: "certificates chain to a pinned root",
        4: "report is signed by the platform",
        5: "platform is accepted",
        6: "report binds this core",
        7: "evidence is fresh",
        8: "measurement is accepted",
        9: "core is of this pool",
        10: "epoch is the current slot's",
        11: "no other core for this epoch",
        12: "key configuration is post-quantum",
        13: "checkpoints are witnessed",
        14: "checkpoints are fresh",
        15: "logs are consistent",
        16: "keys stand in the keys log",
        17: "snapshot is the newest and signed",
        18: "software is released",
    }
)


@dataclass(frozen=True, slots=True)
class TrustedEvidence:
    """Evidence whose items all passed; only `verify_evidence` makes one."""

    reports: tuple[TrustedReport, ...]
    """The platform's report first."""
    expires_at: int

    @property
    def platform(self) -> TrustedReport:
        """What the platform says that the software runs on."""
        return self.reports[0]

    @property
    def launched(self) -> Mapping[str, bytes]:
        """The images of machines that contain the software, by the formats that measure them."""
        images = (each for each in self.reports if not each.measures_manifest and each.format != NVIDIA)
        return {each.format: each.measurement for each in images}


@dataclass(slots=True)
class Claim:
    """What a bundle says beside its evidence, as far as steps before the ledger's need it."""

    core: Core
    proofs: Proofs | None = None
    snapshot: Snapshot | None = None
    """What it shows as the newest state: believed once step 17 has passed."""

    @property
    def made_at(self) -> int | None:
        """When the core was made by the worker's own clock; with a ledger its checkpoint dates it, in step 14."""
        return None if self.proofs is not None else parse_unlogged_checkpoint(self.core.checkpoint)


def verify_evidence(
    evidence: bytes,
    policy: Policy,
    report_data: bytes,
    now: float,
    *,
    observe: Observer | None = None,
) -> TrustedEvidence:
    """Return what evidence proves (steps 2 to 8), if it binds exactly `report_data`.

    The report data must hold what dates it, such as a nonce, where the platform does not date its reports itself.
    """
    return judge_evidence(evidence, policy, report_data, now, Steps(TITLES, observe), None)


def open_evidence(evidence: bytes, policy: Policy, report_data: bytes, now: float) -> TrustedEvidence:
    """Return what evidence says of the machine it is from (steps 2 to 6), whatever software that runs.

    A worker learns from it what its own platform measures; the report data must be fresh, for nothing else dates it.
    """
    steps = Steps(TITLES)
    reports = tuple(_verify_items(evidence, policy, now, steps))
    with steps.step(6):
        _check_bound(reports, report_data)
    return TrustedEvidence(reports, min(report.expires_at for report in reports))


def judge_evidence(
    evidence: bytes, policy: Policy, report_data: bytes, now: float, steps: Steps, claim: Claim | None
) -> TrustedEvidence:
    """Run steps 2 to 8 as a part of a larger verification; `claim` dates evidence that has no date of its own."""
    reports = tuple(_verify_items(evidence, policy, now, steps))
    with steps.step(6) as found:
        _check_bound(reports, report_data)
        found.append(f"report data {report_data.hex()[:32]}...")
    with steps.step(7) as found:
        dates = [report.issued_at for report in reports]
        if claim is not None:
            dates.insert(0, claim.made_at)
        known = [date for date in dates if date is not None]
        for issued_at in known:
            _check_age(issued_at, policy, now)
        found.append(f"issued {in_words(min(known))}" if known else "dated by what it binds")
    with steps.step(8) as found:
        if claim is not None and claim.snapshot is not None:
            require_listed(claim.snapshot, policy, claim.core.manifest_digest)
        require_accepted(reports, policy)
        found.append(f"measurement {reports[0].measurement.hex()}")
    ages = [issued_at + policy.max_evidence_age_seconds for issued_at in known]
    return TrustedEvidence(reports, min([*ages, *(report.expires_at for report in reports)]))


def _verify_items(evidence: bytes, policy: Policy, now: float, steps: Steps) -> list[TrustedReport]:
    """Run the steps of every item, and put what they found under steps 2 to 5."""
    with Steps(TITLES).step(2):  # which has passed when the bodies decode as well
        chosen = choose_tables(parse_evidence(evidence), policy.document)
    passed = [Progress(item.format) for item, _ in chosen]
    reports: list[TrustedReport] = []
    try:
        for (item, table), progress in zip(chosen, passed, strict=True):
            reports.append(verify_item(item, table, now, progress.observe))
    finally:  # also when one failed: the stages before it did pass
        for stage in (2, 3, 4, 5):
            if all(progress.is_through(stage) for progress in passed):
                with steps.step(stage) as found:
                    found.extend(item.format for item, _ in chosen if stage == 2)
                    found.extend(words for progress in passed for words in progress.found(stage))
    return reports


def choose_tables(
    items: tuple[UnverifiedEvidence, ...], document: PolicyDocument
) -> list[tuple[UnverifiedEvidence, Table]]:
    """Pair each item with the table that judges it; the rest must be exactly what has to come beside the first.

    Raises `PolicyError`, without the number of a step.
    """
    platforms, additions = document.platforms(), document.additions()
    first, *others = items
    if first.format not in platforms:
        raise PolicyError(f'evidence of format "{first.format}" is not accepted')
    given = {item.format for item in others}
    for name in sorted(additions.keys() - given):
        raise PolicyError(f'evidence of format "{name}" must come beside it, and does not')
    for name in sorted(given - additions.keys()):
        raise PolicyError(f'evidence of format "{name}" comes beside it, and nothing here would judge it')
    return [(first, platforms[first.format]), *((item, additions[item.format]) for item in others)]


def _check_bound(reports: Iterable[TrustedReport], report_data: bytes) -> None:
    for report in reports:
        if not compare_digest(report.bound, bound_by(report.format, report_data)):
            raise EvidenceError(f"the {report.format} report binds something else than what came with it")


def _check_age(issued_at: int, policy: Policy, now: float) -> None:
    if issued_at > now + policy.clock_skew_seconds:
        raise EvidenceError(f"the evidence is from the future: {in_words(issued_at)}")
    if now >= issued_at + policy.max_evidence_age_seconds:
        raise PolicyError(
            f"the evidence is older than {policy.max_evidence_age_seconds} seconds: {in_words(issued_at)}"
        )


def require_accepted(reports: Sequence[TrustedReport], policy: Policy) -> None:
    """Step 8 of reports that passed 2 to 6: refuse software or images that the policy does not name."""
    require_chips(reports[0].format, policy)
    for report in reports:
        _check_measurement(report, policy)


def _check_measurement(report: TrustedReport, policy: Policy) -> None:
    if report.format == NVIDIA:
        return  # a GPU measures itself and not this software
    if report.measures_manifest:
        accepted = policy.manifests
    else:
        table = policy.document.platforms()[report.format]
        accepted = frozenset(bytes.fromhex(text) for text in getattr(table, "measurements"))  # noqa: B009
    if report.measurement not in accepted:
        raise PolicyError(f'measurement {report.measurement.hex()} is not accepted for role "{policy.role}"')


def require_chips(name: str, policy: Policy) -> None:
    """Refuse any chip in the world where neither a production policy nor the snapshot names one."""
    table = policy.document.platforms()[name]
    if isinstance(policy.document, Production) and not getattr(table, "chips", ("has none",)):
        raise PolicyError(f"neither the policy nor the snapshot names the chips of {name}")


def require_listed(snapshot: Snapshot, policy: Policy, manifest: bytes) -> Release:
    """Return the release of this software for the policy's role; raises `PolicyError` that says what it is instead."""
    revocation = snapshot.revocation(manifest)
    if revocation is not None:
        when = in_words(revocation.revoked)
        raise PolicyError(f"the release {manifest.hex()} was revoked at {when}: {revocation.reason}")
    release = snapshot.release(policy.role, manifest)
    if release is None:
        roles = sorted({each.role for each in snapshot.releases if each.manifest == manifest.hex()})
        other = f', but for role "{roles[0]}"' if roles else ""
        raise PolicyError(f'manifest {manifest.hex()} is not released for role "{policy.role}"{other}')
    return release
