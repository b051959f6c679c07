"""Decide whether to encrypt to a pool. Twelve steps, in this order; each raises with its number.

 1. The bundle decodes, and holds nothing that nobody here would check.
 2. The evidence is of an accepted format.
 3. Its certificates chain to a pinned root and are valid at `now`.
 4. The report is signed by the platform that the certificate names.
 5. The platform's firmware is recent enough, and debug is off.
 6. The report binds exactly this core.
 7. The evidence is neither too old nor from the future.
 8. The measurement is one that the policy accepts for this role.
 9. The core is this pool's: manifest, role, origin, and whom it shares keys with.
10. The epoch is the one whose slot holds `now`.
11. No other core was seen for this epoch.
12. An X-Wing key is among the key configurations, and it and the X25519 key have the identifiers of the epoch.

Steps 2 to 8 are `verify_report`, which members of a pool use on whoever asks to join. The clock comes in as `now`,
in seconds since 1970.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

from seclude import hpke
from seclude.attestation import simulated
from seclude.attestation.bundle import Bundle, Core, birth_report_data, core_digest, parse_bundle, parse_core
from seclude.attestation.evidence import SIMULATED, TrustedReport, parse_evidence
from seclude.attestation.policy import Policy, parse_join_policy, verify_join_policy
from seclude.attestation.slots import KEY_IDS, in_words
from seclude.errors import (
    ConfigError,
    DecodeError,
    EvidenceError,
    PolicyError,
    UnknownKeyError,
    VerificationError,
)
from seclude.ohttp.keyconfig import KeyConfig, choose, parse_key_configs

TITLES: Final = {
    1: "bundle decodes",
    2: "evidence is of an accepted format",
    3: "certificates chain to a pinned root",
    4: "report is signed by the platform",
    5: "firmware level and debug",
    6: "report binds this core",
    7: "evidence is fresh",
    8: "measurement is accepted",
    9: "core is of this pool",
    10: "epoch is the current slot's",
    11: "no other core for this epoch",
    12: "key configuration is post-quantum",
}


@dataclass(frozen=True, slots=True)
class Step:
    """A step that passed, and what was found there: public facts only."""

    number: int
    title: str
    found: str


Observer = Callable[[Step], None]


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
    steps: tuple[Step, ...]


class _Steps:
    """The steps that passed so far."""

    def __init__(self, observe: Observer | None) -> None:
        self.passed: list[Step] = []
        self._observe = observe

    @contextmanager
    def step(self, number: int) -> Iterator[list[str]]:
        """Run one step; the words appended to the list say what was found, and a failure carries the number."""
        found: list[str] = []
        try:
            yield found
        except VerificationError as exc:
            exc.step = number
            raise
        except DecodeError as exc:
            raise EvidenceError(str(exc), step=number) from exc
        step = Step(number, TITLES[number], "; ".join(found))
        self.passed.append(step)
        if self._observe is not None:
            self._observe(step)


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
    steps = _Steps(observe)
    with steps.step(1) as found:
        parsed, core = _decode(bundle)
        digest = core_digest(parsed.core)
        found.append(f"core {digest.hex()}")
    report = _verify_report(parsed.evidence, policy, birth_report_data(parsed.core), now, steps)
    with steps.step(9) as found:
        found.extend(_check_core(core, policy, report))
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
        expires_at=min(ends, report.expires_at),
        measurement=report.measurement,
        steps=tuple(steps.passed),
    )


def verify_report(
    evidence: bytes, policy: Policy, report_data: bytes, now: float, *, observe: Observer | None = None
) -> TrustedReport:
    """Return what evidence proves (steps 2 to 8), if it binds exactly `report_data`."""
    return _verify_report(evidence, policy, report_data, now, _Steps(observe))


def _decode(data: bytes) -> tuple[Bundle, Core]:
    bundle = parse_bundle(data)
    core = parse_core(bundle.core)
    if bundle.proofs or core.checkpoint:
        raise EvidenceError("the bundle holds proofs of a ledger, and this policy names none to check them against")
    return bundle, core


def _verify_report(evidence: bytes, policy: Policy, report_data: bytes, now: float, steps: _Steps) -> TrustedReport:
    with steps.step(2) as found:
        envelope = parse_evidence(evidence)
        if envelope.format != SIMULATED:
            raise PolicyError(f'evidence of format "{envelope.format}" is not accepted')
        signed = simulated.parse_body(envelope.body)
        found.append("simulated: shows the flow, proves nothing against the owner of the machine")
    with steps.step(3) as found:
        platform = simulated.verify_chain(signed.certificate, policy.simulated_roots, now)
        found.append(f"root {platform.root.hex()}")
    with steps.step(4) as found:
        report = simulated.verify_signature(signed, platform)
        found.append(f"platform {platform.platform_id.hex()}")
    with steps.step(5) as found:
        _check_firmware(report, policy)
        found.append(f"firmware {report.firmware}, debug off")
    with steps.step(6) as found:
        if not compare_digest(report.report_data, report_data):
            raise EvidenceError("the report binds something else than what came with it")
        found.append(f"report data {report_data.hex()[:32]}...")
    with steps.step(7) as found:
        _check_age(report.issued_at, policy, now)
        found.append(f"issued {in_words(report.issued_at)}")
    with steps.step(8) as found:
        if report.measurement not in policy.measurements:
            raise PolicyError(f'measurement {report.measurement.hex()} is not accepted for role "{policy.role}"')
        found.append(f"measurement {report.measurement.hex()}")
    return TrustedReport(
        format=envelope.format,
        measurement=report.measurement,
        report_data=report.report_data,
        platform_id=report.platform_id,
        firmware=report.firmware,
        issued_at=report.issued_at,
        expires_at=min(report.issued_at + policy.max_evidence_age_seconds, platform.expires_at),
    )


def _check_firmware(report: simulated.Report, policy: Policy) -> None:
    if report.flags & simulated.DEBUG:
        raise PolicyError("the platform is in debug mode")
    if report.flags:
        raise EvidenceError("the report sets flags that have no meaning")
    if report.firmware < policy.minimum_firmware:
        raise PolicyError(f"firmware level {report.firmware} is below the minimum of {policy.minimum_firmware}")


def _check_age(issued_at: int, policy: Policy, now: float) -> None:
    if issued_at > now + policy.clock_skew_seconds:
        raise EvidenceError(f"the evidence is from the future: {in_words(issued_at)}")
    if now >= issued_at + policy.max_evidence_age_seconds:
        raise PolicyError(
            f"the evidence is older than {policy.max_evidence_age_seconds} seconds: {in_words(issued_at)}"
        )


def _check_core(core: Core, policy: Policy, report: TrustedReport) -> list[str]:
    if core.manifest_digest != report.measurement:
        raise EvidenceError("the core names another manifest than was measured")
    if core.role != policy.role:
        raise PolicyError(f'the core is for role "{core.role}", not "{policy.role}"')
    if core.origin != policy.origin:
        raise PolicyError(f'the core is for origin "{core.origin}", not "{policy.origin}"')
    verify_join_policy(parse_join_policy(core.join_policy, {report.measurement}), policy)
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
