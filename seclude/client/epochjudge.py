"""What a monitor asks of an epoch in the keys log: that devices could have believed it, and could rightly so.

It is judged as of its own slot. A core was made after the cosignatures of the checkpoint that it binds, which is a time
that a quorum of witnesses vouches for. Where two things may have happened in either order, it is the innocent one.

1. What the ledger shows is what the leaf is the digest of.
2. The core is of this number, role, origin, and division of time; its keys have the identifiers of the epoch.
3. The checkpoint that it binds is one of this very log, cosigned, and fresh enough for devices in that slot.
4. The software stood in a snapshot of that time, not revoked, not expired, and for long enough.
5. The evidence holds for the core, at a moment of the slot.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from seclude.attestation.bundle import Core, birth_report_data, parse_core
from seclude.attestation.joinpolicy import parse_join_policy, verify_join_policy
from seclude.attestation.judge import open_evidence, verify_evidence
from seclude.attestation.pins import Ledger
from seclude.attestation.policy import Policy
from seclude.attestation.proofs import EPOCH_DOMAIN, VOID, epoch_entry
from seclude.attestation.slots import KEY_IDS, in_words
from seclude.attestation.snapshot import Release, Snapshot
from seclude.client.findings import Finding, Kind, found, warned
from seclude.client.monitorstate import MonitorState
from seclude.client.statejudge import listed_key
from seclude.errors import ConfigError, DecodeError, Error, EvidenceError, VerificationError
from seclude.ledger import EpochSubmission, parse_epoch
from seclude.ohttp.keyconfig import parse_key_configs
from seclude.tlog.cosigned import Cosigned, open_cosigned

ENTRY_BYTES: Final = len(EPOCH_DOMAIN) + 64

Bound = Callable[[Cosigned, str], Awaitable[Finding | None]]
"""Says what is wrong with a checkpoint that a core binds; it must be one of the log that the core stands in."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A leaf of the keys log and what the ledger shows behind it."""

    epoch: int
    entry: bytes
    shown: bytes | None
    until: int
    """It was there at this time, in seconds since 1970."""


def judge_entry(epoch: int, entry: bytes) -> Finding | None:
    """Return what is wrong with the form of a leaf."""
    if entry == VOID or (len(entry) == ENTRY_BYTES and entry.startswith(EPOCH_DOMAIN)):
        return None
    words = f"leaf {epoch} of the keys log is neither an epoch's nor void: {len(entry)} octets"
    return found(Kind.LEAF, words, epoch=epoch)


def judge_time(cosigned: Cosigned, policy: Policy) -> Finding | None:
    """Find slots that were used before their time, by a checkpoint that already has them.

    Keys of a slot are made in the slot before it at the earliest, so when a checkpoint of n + 1 leaves existed, slot
    n - 1 must have begun.
    """
    size, by = cosigned.checkpoint.size, cosigned.until + policy.clock_skew_seconds
    slots = policy.slots
    last = size - 1
    if size < 1 or slots.start(last - 1) <= by:
        return None
    first = max((by - slots.t0) // slots.period_seconds + 2, 0)
    which = f"slot {last}" if first >= last else f"slots {first} to {last}"
    words = (
        f"{which} of the keys log was used before its time: the log had {size} leaves by {in_words(cosigned.until)}, "
        f"and keys of slot {last} may exist from {in_words(slots.start(last - 1))}"
    )
    return found(Kind.EARLY, words, epoch=last, first=first, until=cosigned.until)


class EpochJudge:
    """Judges epochs of one service, by the snapshots that were in force."""

    def __init__(self, policy: Policy, ledger: Ledger, state: MonitorState, bound: Bound) -> None:
        self._policy = policy
        self._ledger = ledger
        self._state = state
        self._bound = bound

    async def judge(
        self, logged: Logged, snapshots: Callable[[int, int], Awaitable[Sequence[Snapshot]]]
    ) -> list[Finding]:
        """Return all that is wrong with one epoch; `snapshots` gives those in force between two times."""
        epoch = logged.epoch
        if logged.shown is None:
            words = f"the ledger does not show what stands behind leaf {epoch} of the keys log"
            return [found(Kind.PREIMAGE, words, epoch=epoch)]
        try:
            shown = parse_epoch(logged.shown)
        except DecodeError as exc:
            return [found(Kind.PREIMAGE, f"what the ledger shows of epoch {epoch} is no epoch: {exc}", epoch=epoch)]
        if epoch_entry(shown.core, shown.evidence) != logged.entry or shown.epoch != epoch:
            words = f"what the ledger shows of epoch {epoch} is not what leaf {epoch} of the keys log is the digest of"
            return [found(Kind.PREIMAGE, words, epoch=epoch)]
        try:
            core = parse_core(shown.core)
        except DecodeError as exc:
            return [found(Kind.EPOCH, f"the core of epoch {epoch} does not parse: {exc}", epoch=epoch)]
        findings = self._core(epoch, core)
        made_after, unbound = await self._checkpoint(epoch, core)
        in_force = await snapshots(made_after, max(self._policy.slots.end(epoch), made_after + 1))
        software = self._software(epoch, core, made_after, in_force)
        return [*findings, *unbound, *software, *self._evidence(logged, shown, core, made_after, in_force)]

    def _core(self, epoch: int, core: Core) -> list[Finding]:
        """Step 2."""
        policy, wrong = self._policy, []
        if core.epoch != epoch:
            wrong.append(f"says that it is of epoch {core.epoch}")
        if core.role != policy.role:
            wrong.append(f'is for role "{core.role}", not "{policy.role}"')
        if core.origin != policy.origin:
            wrong.append(f'is for origin "{core.origin}", not "{policy.origin}"')
        try:
            theirs = parse_join_policy(core.join_policy)
            if (theirs.role, theirs.origin) == (policy.role, policy.origin):
                verify_join_policy(theirs, policy)
            _check_keys(core, epoch)
        except (VerificationError, DecodeError) as exc:
            wrong.append(f"is of a pool that devices refuse: {exc}")
        return [found(Kind.EPOCH, f"the core in slot {epoch} {words}", epoch=epoch) for words in wrong]

    async def _checkpoint(self, epoch: int, core: Core) -> tuple[int, list[Finding]]:
        """Step 3: return a time after which the core was made, and what is wrong with what says so."""
        earliest = self._policy.slots.start(epoch) - self._policy.max_evidence_age_seconds
        try:
            bound = open_cosigned(core.checkpoint, self._ledger.keys_log, self._ledger.quorum)
        except (VerificationError, DecodeError) as exc:
            words = f"the core of epoch {epoch} binds no checkpoint of the keys log: {exc}"
            return earliest, [found(Kind.EPOCH, words, epoch=epoch)]
        problems = [await self._bound(bound, f"the checkpoint that the core of epoch {epoch} binds")]
        problems.append(judge_time(bound, self._policy))
        if bound.checkpoint.size > epoch:
            words = (
                f"the core of epoch {epoch} binds a checkpoint of {bound.checkpoint.size} leaves, which had that slot"
            )
            problems.append(found(Kind.EPOCH, words, epoch=epoch))
        if bound.since >= self._policy.slots.end(epoch):
            words = f"the keys of epoch {epoch} were made after its slot had ended: {in_words(bound.since)}"
            problems.append(found(Kind.EPOCH, words, epoch=epoch))
        if bound.since <= earliest:
            words = f"the core of epoch {epoch} binds a checkpoint of {in_words(bound.since)}, too old to date it"
            problems.append(found(Kind.EPOCH, words, epoch=epoch))
        return bound.since, [problem for problem in problems if problem is not None]

    def _software(self, epoch: int, core: Core, made_after: int, in_force: Sequence[Snapshot]) -> list[Finding]:
        """Step 4. Of what is wrong with a release, the first is told: the others follow from it, or say nothing new."""
        manifest, state = core.manifest_digest.hex(), self._state
        start, end = self._policy.slots.start(epoch), self._policy.slots.end(epoch)
        what = f"the software of epoch {epoch}, {manifest},"
        facts: dict[str, int | str] = {"epoch": epoch, "manifest": manifest}
        revoked = state.revoked.get(manifest)
        if revoked is not None and revoked.since < made_after:
            words = f"{what} was revoked at {in_words(revoked.since)} and still got keys"
            if revoked.by < made_after:
                return [found(Kind.REVOKED, words, **facts)]
            return [warned(Kind.REVOKED, f"{words}, unless that was logged later than it was issued", **facts)]
        release = _release(in_force, self._policy.role, core.manifest_digest)
        if release is None:
            return [found(Kind.UNRELEASED, f"{what} stood in no snapshot of that time", **facts)]
        if release.expires <= start:
            words = f"{what} had expired at {in_words(release.expires)}, before its slot began"
            return [found(Kind.EXPIRED, words, **facts)]
        since = state.releases[listed_key(release.role, manifest)].since
        mature = since + self._ledger.maturity_seconds
        if mature >= end:
            words = f"{what} stood in the state log since {in_words(since)} and was mature after its slot had ended"
            return [found(Kind.IMMATURE, words, **facts)]
        return []

    def _evidence(
        self, logged: Logged, shown: EpochSubmission, core: Core, made_after: int, in_force: Sequence[Snapshot]
    ) -> list[Finding]:
        """Step 5: at the end of the slot, or when the leaf was seen; and if not then, at its beginning."""
        slots, report_data = self._policy.slots, birth_report_data(shown.core)
        moments = (min(slots.end(logged.epoch) - 1, logged.until), max(slots.start(logged.epoch), made_after))
        reasons: list[Error] = []
        for now in moments:
            try:
                self._verify(shown.evidence, core, report_data, now, in_force)
            except (VerificationError, DecodeError, ConfigError) as exc:  # the last for chips that can be none
                reasons.append(exc)
            else:
                return []
        return [found(Kind.EVIDENCE, f"the evidence of epoch {logged.epoch} fails: {reasons[0]}", epoch=logged.epoch)]

    def _verify(
        self, evidence: bytes, core: Core, report_data: bytes, now: float, in_force: Sequence[Snapshot]
    ) -> None:
        """Verify evidence; of software that is not released, only that it is genuine and binds the core."""
        snapshot = next(
            (each for each in reversed(in_force) if each.release(self._policy.role, core.manifest_digest)), None
        )
        if snapshot is not None:
            policy = self._policy.under(snapshot, core.manifest_digest)
            trusted = verify_evidence(evidence, policy, report_data, now)
        else:
            policy = self._policy.under(in_force[-1], core.manifest_digest) if in_force else self._policy
            trusted = open_evidence(evidence, policy, report_data, now)
        for report in trusted.reports:
            if report.measures_manifest and report.measurement != core.manifest_digest:
                raise EvidenceError("the core names another manifest than was measured", step=9)


def _release(in_force: Sequence[Snapshot], role: str, manifest: bytes) -> Release | None:
    """Return the newest release of this software among snapshots that were in force one after the other."""
    named = (each.release(role, manifest) for each in reversed(in_force))
    return next((release for release in named if release is not None), None)


def _check_keys(core: Core, epoch: int) -> None:
    configs = parse_key_configs(core.key_configs)
    for config in configs:
        if config.kem in KEY_IDS and config.key_id != KEY_IDS[config.kem](epoch):
            raise EvidenceError(f"key {config.key_id} is not the one of epoch {epoch}")
