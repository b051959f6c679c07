"""Decide whether to encrypt to a pool. Eighteen steps, in this order; each raises with its number.

 1. The bundle decodes, and holds nothing that nobody here would check.
 2. The evidence is of an accepted format, with what must come beside it and nothing else.
 3. Its certificates chain to a pinned root, valid and not revoked at `now`.
 4. The report is signed by the platform that the certificate names.
 5. The platform is accepted: firmware level, settings, product and chip, and debug is off.
 6. The report binds exactly this core.
 7. The evidence is neither too old nor from the future, where it has a date, or its core has one of its own.
 8. The measurement is one that the policy accepts for this role.
 9. The core is this pool's: manifest, role, origin, and whom it shares keys with.
10. The epoch is the one whose slot holds `now`.
11. No other core was seen for this epoch.
12. An X-Wing key is among the key configurations, and it and the X25519 key have the identifiers of the epoch.
13. to 18. What the ledger shows (`ledger.py`): its checkpoints are signed and cosigned, fresh, and consistent with all
    that was seen; the keys stand in it as this epoch's; its newest snapshot is signed; this software is released.

Steps 2 to 8 are `verify_evidence`, which members of a pool use on whoever asks to join; 3 to 5 are the steps of each
format, in that format's own order (`formats.py`). Which software, images and chips steps 5, 8 and 9 accept, a snapshot
of the ledger may say: one that is not the ledger's then fails in steps 13 to 17. A demonstration policy without a
ledger names them itself, and ends with step 12. The clock comes in as `now`, in seconds since 1970.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from seclude import hpke
from seclude.attestation.bundle import (
    Bundle,
    Core,
    birth_report_data,
    core_digest,
    parse_bundle,
    parse_core,
    parse_unlogged_checkpoint,
)
from seclude.attestation.joinpolicy import parse_join_policy, verify_join_policy
from seclude.attestation.judge import TITLES, Claim, TrustedEvidence, judge_evidence
from seclude.attestation.ledger import (
    NOTHING_KNOWN,
    Known,
    Logged,
    TrustedLedger,
    judge_proofs,
    open_bound,
    open_proofs,
    require_ledger,
    require_release,
)
from seclude.attestation.policy import Policy
from seclude.attestation.proofs import parse_proofs
from seclude.attestation.slots import KEY_IDS, in_words
from seclude.attestation.snapshot import Release, parse_snapshot
from seclude.attestation.steps import Observer, Step, Steps
from seclude.errors import ConfigError, EvidenceError, PolicyError, UnknownKeyError
from seclude.ohttp.keyconfig import KeyConfig, choose, parse_key_configs
from seclude.tlog.note import parse_note


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
    bundle: bytes = field(repr=False)
    """What was verified, octet by octet."""
    ledger: TrustedLedger | None = None
    """What the ledger showed, where the policy names one."""
    release: Release | None = None
    """What the software is, by the ledger's newest snapshot."""


def verify_bundle(
    bundle: bytes,
    policy: Policy,
    now: float,
    seen: Mapping[int, bytes],
    *,
    known: Known = NOTHING_KNOWN,
    observe: Observer | None = None,
    neighbours: bool = False,
) -> TrustedPool:
    """Return the pool, if all steps pass; `seen` holds the digest of the core first seen for each epoch.

    `known` holds the newest trees that were seen of the ledger's logs, from the `ledger.outlines` of earlier pools.
    With `neighbours`, step 10 passes the slots before and after the current one too: a worker that joins takes over
    keys that still open and keys that are announced. A device sets it to tell whose bundles count, and never for the
    one that it uses.
    """
    steps = Steps(TITLES, observe)
    with steps.step(1) as found:
        parsed, core, claim = _decode(bundle, policy)
        digest = core_digest(parsed.core)
        found.append(f"core {digest.hex()}")
    accepted = policy if claim.snapshot is None else policy.under(claim.snapshot, core.manifest_digest)
    report_data = birth_report_data(parsed.core)
    evidence = judge_evidence(parsed.evidence, accepted, report_data, now, steps, claim)
    with steps.step(9) as found:
        found.extend(_check_core(core, accepted, evidence))
        theirs = parse_join_policy(core.join_policy)
        if claim.snapshot is not None:  # where either names no chips, it means those of the snapshot
            theirs = theirs.under(claim.snapshot, core.manifest_digest)
        verify_join_policy(theirs, accepted)
        found.append("its join policy is no laxer than ours")
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
    ledger, release = None, None
    if claim.proofs is not None:
        ledger, too_old = _verify_ledger(parsed, core.epoch, claim, policy, now, known, steps)
        with steps.step(18) as found:
            release = require_release(ledger, policy, core.manifest_digest, evidence.launched, now)
            found.append(f"revision {release.revision[:12]} of {release.source}, until {in_words(release.expires)}")
        ends = min(ends, too_old, ledger.expires_at(policy), release.expires)
    ends = min(ends, evidence.expires_at)
    return TrustedPool(
        core=core,
        core_digest=digest,
        key_configs=(config,),
        epoch=core.epoch,
        expires_at=ends,
        measurement=evidence.platform.measurement,
        formats=tuple(report.format for report in evidence.reports),
        steps=tuple(steps.passed),
        bundle=bundle,
        ledger=ledger,
        release=release,
    )


def _decode(data: bytes, policy: Policy) -> tuple[Bundle, Core, Claim]:
    bundle = parse_bundle(data)
    core = parse_core(bundle.core)
    if policy.ledger is None:
        if bundle.proofs:
            raise EvidenceError("the bundle holds proofs of a ledger, and this policy names none to check them against")
        parse_unlogged_checkpoint(core.checkpoint)
        return bundle, core, Claim(core)
    if not bundle.proofs:
        raise EvidenceError("the bundle holds no proofs of the ledger")
    proofs = parse_proofs(bundle.proofs)
    return bundle, core, Claim(core, proofs, parse_snapshot(parse_note(proofs.snapshot).text))


def _verify_ledger(
    bundle: Bundle, epoch: int, claim: Claim, policy: Policy, now: float, known: Known, steps: Steps
) -> tuple[TrustedLedger, int]:
    """Run steps 13 to 17; return when the core is too old, too."""
    assert claim.proofs is not None
    with steps.step(13) as found:
        ledger = require_ledger(policy)
        bound = open_bound(claim.core.checkpoint, ledger)
        opened = open_proofs(claim.proofs, ledger)
        found.extend(
            f"{log.checkpoint.origin} by {' and '.join(sorted(log.times))}" for log in (opened.keys, opened.state)
        )
    logged = Logged(epoch, bundle.core, bundle.evidence, bound)
    return judge_proofs(opened, policy, now, known, steps, logged), bound.since + policy.max_core_age_seconds


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
    return [f'role "{core.role}"', f'origin "{core.origin}"']


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
