"""Decide whether to encrypt to a pool. Twelve steps, in this order; each raises with its number.

 1. The bundle decodes, and holds nothing that nobody here would check.
 2. The evidence is of an accepted format, with what must come beside it and nothing else.
 3. Its certificates chain to a pinned root, valid and not revoked at `now`.
 4. The report is signed by the platform that the certificate names.
 5. The platform is accepted: firmware level, settings, product and chip, and debug is off.
 6. The report binds exactly this core.
 7. The evidence is neither too old nor from the future.
 8. The measurement is one that the policy accepts for this role.
 9. The core is this pool's: manifest, role, origin, and whom it shares keys with.
10. The epoch is the one whose slot holds `now`.
11. No other core was seen for this epoch.
12. An X-Wing key is among the key configurations, and it and the X25519 key have the identifiers of the epoch.

Steps 2 to 8 are `verify_evidence`, which members of a pool use on whoever asks to join; 3 to 5 are the steps of each
format, in that format's own order (`formats.py`). The clock comes in as `now`, in seconds since 1970.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hmac import compare_digest
from types import MappingProxyType
from typing import Final

from seclude import hpke
from seclude.attestation.accept import Table
from seclude.attestation.bundle import (
    Bundle,
    Core,
    birth_report_data,
    core_digest,
    parse_bundle,
    parse_core,
    parse_unlogged_checkpoint,
)
from seclude.attestation.evidence import NVIDIA, TrustedReport, UnverifiedEvidence, bound_by, parse_evidence
from seclude.attestation.formats import Progress, verify_item
from seclude.attestation.joinpolicy import parse_join_policy, verify_join_policy
from seclude.attestation.policy import Policy, PolicyDocument
from seclude.attestation.slots import KEY_IDS, in_words
from seclude.attestation.steps import Observer, Step, Steps
from seclude.errors import ConfigError, EvidenceError, PolicyError, UnknownKeyError
from seclude.ohttp.keyconfig import KeyConfig, choose, parse_key_configs

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
    }
)


@dataclass(frozen=True, slots=True)
class TrustedPool:
    """Keys that may be encrypted to until `expires_at`; only `verify_bundle` makes one."""

    core: Core
    core_digest: bytes
    key_configs: tuple[KeyConfig, ...]
    """The X-Wing configuration, and no other: nothing here falls back to X25519, which is for standard clients."""
    epoch: int
    expires_at: int
    """Seconds since 1970: the first moment at which a step that passed would fail."""
    measurement: bytes
    """What the platform measured: an image of a machine, or the manifest where the format measures that."""
    formats: tuple[str, ...]
    """The formats of the evidence, that of the platform first."""
    steps: tuple[Step, ...]


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


def verify_bundle(
    bundle: bytes,
    policy: Policy,
    now: float,
    seen: Mapping[int, bytes],
    *,
    observe: Observer | None = None,
    neighbours: bool = False,
) -> TrustedPool:
    """Return the pool, if all twelve steps pass; `seen` holds the digest of the core first seen for each epoch.

    With `neighbours`, step 10 passes the slots before and after the current one too: a worker that joins takes over
    keys that still open and keys that are announced. A device sets it to tell whose bundles count, and never for the
    one that it uses.
    """
    steps = Steps(TITLES, observe)
    with steps.step(1) as found:
        parsed, core = _decode(bundle)
        made_at = parse_unlogged_checkpoint(core.checkpoint)
        digest = core_digest(parsed.core)
        found.append(f"core {digest.hex()}")
    report_data = birth_report_data(parsed.core)
    evidence = _verify_evidence(parsed.evidence, policy, report_data, now, steps, made_at)
    with steps.step(9) as found:
        found.extend(_check_core(core, policy, evidence))
    with steps.step(10) as found:
        ends = _check_epoch(core.epoch, policy, now, neighbours=neighbours)
        found.append(f"epoch {core.epoch}, until {in_words(ends)}")
    with steps.step(11) as found:
        if seen.get(core.epoch, digest) != digest:
            raise EvidenceError(f"epoch {core.epoch} was first seen with core {seen[core.epoch].hex()}")
        found.append("seen before" if core.epoch in seen else "first sight")
    with steps.step(12) as found:
        config = _choose_config(core)
        found.append(f"key {config.key_id} of X-Wing")
    return TrustedPool(
        core=core,
        core_digest=digest,
        key_configs=(config,),
        epoch=core.epoch,
        expires_at=min(ends, evidence.expires_at),
        measurement=evidence.platform.measurement,
        formats=tuple(report.format for report in evidence.reports),
        steps=tuple(steps.passed),
    )


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
    return _verify_evidence(evidence, policy, report_data, now, Steps(TITLES, observe), None)


def open_evidence(evidence: bytes, policy: Policy, report_data: bytes, now: float) -> TrustedEvidence:
    """Return what evidence says of the machine it is from (steps 2 to 6), whatever software that runs.

    A worker learns from it what its own platform measures; the report data must be fresh, for nothing else dates it.
    """
    steps = Steps(TITLES)
    reports = tuple(_verify_items(evidence, policy, now, steps))
    with steps.step(6):
        _check_bound(reports, report_data)
    return TrustedEvidence(reports, min(report.expires_at for report in reports))


def _decode(data: bytes) -> tuple[Bundle, Core]:
    bundle = parse_bundle(data)
    core = parse_core(bundle.core)
    if bundle.proofs:
        raise EvidenceError("the bundle holds proofs of a ledger, and this policy names none to check them against")
    return bundle, core


def _verify_evidence(
    evidence: bytes, policy: Policy, report_data: bytes, now: float, steps: Steps, made_at: int | None
) -> TrustedEvidence:
    reports = tuple(_verify_items(evidence, policy, now, steps))
    with steps.step(6) as found:
        _check_bound(reports, report_data)
        found.append(f"report data {report_data.hex()[:32]}...")
    with steps.step(7) as found:
        dates = [made_at, *(report.issued_at for report in reports)]
        known = [date for date in dates if date is not None]
        for issued_at in known:
            _check_age(issued_at, policy, now)
        found.append(f"issued {in_words(min(known))}" if known else "dated by what it binds")
    with steps.step(8) as found:
        for report in reports:
            _check_measurement(report, policy)
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


def _check_core(core: Core, policy: Policy, evidence: TrustedEvidence) -> list[str]:
    for report in evidence.reports:
        if report.measures_manifest and core.manifest_digest != report.measurement:
            raise EvidenceError("the core names another manifest than was measured")
    if core.manifest_digest not in policy.manifests:
        raise PolicyError(f'manifest {core.manifest_digest.hex()} is not accepted for role "{policy.role}"')
    if core.role != policy.role:
        raise PolicyError(f'the core is for role "{core.role}", not "{policy.role}"')
    if core.origin != policy.origin:
        raise PolicyError(f'the core is for origin "{core.origin}", not "{policy.origin}"')
    verify_join_policy(parse_join_policy(core.join_policy), policy)
    return [f'role "{core.role}"', f'origin "{core.origin}"', "its join policy is no laxer than ours"]


def _check_epoch(epoch: int, policy: Policy, now: float, *, neighbours: bool) -> int:
    """Return the end of the epoch's slot."""
    try:
        current = policy.slots.epoch_at(now)
    except ConfigError as exc:
        raise PolicyError(str(exc)) from exc
    if abs(epoch - current) > (1 if neighbours else 0):
        raise PolicyError(policy.slots.outside(epoch, current))
    return policy.slots.end(epoch)


def _choose_config(core: Core) -> KeyConfig:
    configs = parse_key_configs(core.key_configs)
    if len({config.key_id for config in configs}) != len(configs):
        raise EvidenceError("two key configurations share an identifier")
    try:
        chosen = choose(configs, hpke.KEM_XWING, hpke.KDF_HKDF_SHA256, hpke.AEAD_AES_128_GCM)
    except UnknownKeyError as exc:
        raise PolicyError("no key configuration offers X-Wing with HKDF-SHA256 and AES-128-GCM") from exc
    for config in configs:
        if config.kem in KEY_IDS and config.key_id != KEY_IDS[config.kem](core.epoch):
            raise EvidenceError(f"key {config.key_id} is not the one of epoch {core.epoch}")
    return chosen
