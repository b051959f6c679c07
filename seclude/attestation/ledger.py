"""What the ledger's proofs show: that everybody can see the same keys and the same software.

These are the steps 13 to 18 of `verify.py`, in this order for devices and for workers alike:

13. The checkpoints of both logs, and the one that the core binds, are signed and cosigned by a quorum of witnesses.
14. None of them is too old, or from the future; so the core, and the evidence for it, is no older than its own.
15. They are consistent: with the checkpoint in the core, and with every tree of these logs that was seen before.
16. Leaf n of the keys log is this core and evidence.
17. The last leaf of the state log is a snapshot that its publishers signed, and it has not expired.
18. The release stands there for this role: not revoked, not expired, and for long enough already.

A quorum is such that two of them share a witness (`pins.py`). So a log that shows two trees needs a witness that lies,
and a key of one's own for one person needs that too. The clock comes in as `now`, in seconds since 1970.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from seclude.attestation.bundle import UNLOGGED_HEAD
from seclude.attestation.judge import TITLES, require_listed
from seclude.attestation.pins import Ledger
from seclude.attestation.policy import Policy
from seclude.attestation.proofs import VOID, Proofs, epoch_leaf, parse_proofs
from seclude.attestation.slots import in_words
from seclude.attestation.snapshot import Release, Snapshot, verify_snapshot
from seclude.attestation.steps import Steps
from seclude.errors import EvidenceError, PolicyError
from seclude.tlog.cosigned import Cosigned, open_cosigned
from seclude.tlog.merkle import leaf_hash
from seclude.tlog.outline import Outline, require_consistent

Known = Mapping[str, Outline]
"""The newest tree that was seen of each log, by the log's origin."""
NOTHING_KNOWN: Final[Known] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Opened:
    """Proofs whose checkpoints are believed, and nothing else of them yet; only `open_proofs` makes one."""

    proofs: Proofs
    keys: Cosigned
    state: Cosigned

    @property
    def time(self) -> int:
        """It is at least so late, in seconds since 1970: a quorum of witnesses says so."""
        return max(self.keys.since, self.state.since)


@dataclass(frozen=True, slots=True)
class Logged:
    """What must stand in the keys log: an epoch with its core and evidence, and the checkpoint that the core binds."""

    epoch: int
    core: bytes
    evidence: bytes
    bound: Cosigned


@dataclass(frozen=True, slots=True)
class Stood:
    """A snapshot that was the newest one under an older checkpoint."""

    snapshot: Snapshot
    until: int
    """A quorum of witnesses had cosigned it by then, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class TrustedLedger:
    """Two logs and their newest state; only `judge_proofs` makes one."""

    keys: Cosigned
    state: Cosigned
    snapshot: Snapshot
    publishers: tuple[str, ...]
    """Who signed it."""
    earlier: Stood | None
    outlines: Known
    """To be remembered, and passed as `known` the next time."""

    def expires_at(self, policy: Policy) -> int:
        """Return when a step that passed would fail, in seconds since 1970, whichever release it is of."""
        return min(min(self.keys.since, self.state.since) + policy.max_checkpoint_age_seconds, self.snapshot.expires)


def verify_proofs(proofs: bytes, policy: Policy, now: float, known: Known = NOTHING_KNOWN) -> TrustedLedger:
    """Return what the proofs show, apart from one epoch's leaf and one release: steps 13 to 15 and 17.

    Raises `EvidenceError` or `PolicyError`; the latter also where the policy names no ledger.
    """
    steps = Steps(TITLES)
    with steps.step(13):
        ledger = require_ledger(policy)
        opened = open_proofs(parse_proofs(proofs), ledger)
    return judge_proofs(opened, policy, now, known, steps)


def open_proofs(proofs: Proofs, ledger: Ledger) -> Opened:
    """Step 13, which asks no clock: what it returns may be the first to tell what time it is."""
    return Opened(proofs, *open_logs(proofs, ledger))


def judge_proofs(
    opened: Opened, policy: Policy, now: float, known: Known, steps: Steps, logged: Logged | None = None
) -> TrustedLedger:
    """Run steps 14 to 17 as a part of a larger verification; 16, and 15 for a core, where keys must be logged."""
    proofs, keys, state = opened.proofs, opened.keys, opened.state
    with steps.step(14) as found:
        for log in (keys, state):
            require_fresh(log, policy, now, policy.max_checkpoint_age_seconds)
        if logged is not None:
            require_fresh(logged.bound, policy, now, policy.max_core_age_seconds)
        found.append(f"cosigned {in_words(min(keys.since, state.since))}")
    with steps.step(15) as found:
        outlines = require_seen(proofs, keys, state, known)
        if logged is not None:
            require_extends(proofs, logged.bound)
        found.append(f"{keys.checkpoint.size} leaves of keys, {state.checkpoint.size} of state")
    if logged is not None:
        with steps.step(16) as found:
            require_leaf(proofs, logged.epoch, logged.core, logged.evidence)
            found.append(f"leaf {logged.epoch}")
    with steps.step(17) as found:
        trusted = open_state(opened, policy, now, outlines, known)
        found.append(f"signed by {' and '.join(trusted.publishers)}")
    return trusted


def require_ledger(policy: Policy) -> Ledger:
    """Return the ledger that a policy pins."""
    if policy.ledger is None:
        raise PolicyError("there are proofs of a ledger, and this policy names none to check them against")
    return policy.ledger


def open_logs(proofs: Proofs, ledger: Ledger) -> tuple[Cosigned, Cosigned]:
    """Step 13: return the checkpoints of the keys log and of the state log."""
    return (
        open_cosigned(proofs.keys.checkpoint, ledger.keys_log, ledger.quorum),
        open_cosigned(proofs.state.checkpoint, ledger.state_log, ledger.quorum),
    )


def open_bound(checkpoint: bytes, ledger: Ledger) -> Cosigned:
    """Step 13 for the core's own checkpoint, which its evidence binds: neither can be older."""
    if checkpoint.startswith(UNLOGGED_HEAD):
        raise EvidenceError("the core binds no checkpoint of the keys log")
    return open_cosigned(checkpoint, ledger.keys_log, ledger.quorum)


def require_fresh(cosigned: Cosigned, policy: Policy, now: float, limit: int) -> None:
    """Step 14: refuse cosignatures that a log which was stopped, or split long ago, could still show."""
    origin, since = cosigned.checkpoint.origin, cosigned.since
    if since > now + policy.clock_skew_seconds:
        raise EvidenceError(f"the checkpoint of {origin} is from the future: {in_words(since)}")
    if now >= since + limit:
        raise PolicyError(f"the checkpoint of {origin} is older than {limit} seconds: {in_words(since)}")


def require_seen(proofs: Proofs, keys: Cosigned, state: Cosigned, known: Known) -> Known:
    """Step 15 without the core's checkpoint: return the larger outline, known or shown, of both trees."""
    outlines = dict(known)
    for view, cosigned in ((proofs.keys, keys), (proofs.state, state)):
        origin = cosigned.checkpoint.origin
        if view.outline.root() != cosigned.checkpoint.root:
            raise EvidenceError(f"the outline of {origin} is of another tree than its checkpoint")
        before = known.get(origin)
        if before is not None:
            older, newer = sorted((before, view.outline), key=lambda outline: outline.size)
            require_consistent(older, newer)
        if before is None or before.size <= view.outline.size:
            outlines[origin] = view.outline
    return MappingProxyType(outlines)


def require_extends(proofs: Proofs, bound: Cosigned) -> None:
    """Step 15 for the core's own checkpoint, which its evidence binds: the log must have grown from it."""
    outline, checkpoint = proofs.keys.outline, bound.checkpoint
    root = outline.root_at(checkpoint.size)
    if root is None:
        raise EvidenceError(
            f"the outline of {outline.size} leaves cannot tell the root at the core's checkpoint of {checkpoint.size}"
        )
    if root != checkpoint.root:
        raise EvidenceError(f"{checkpoint.origin} has two trees of size {checkpoint.size}: the core binds another one")


def require_leaf(proofs: Proofs, epoch: int, core: bytes, evidence: bytes) -> None:
    """Step 16: refuse keys that everybody else cannot see."""
    outline = proofs.keys.outline
    leaf = outline.leaf(epoch)
    if leaf is None:
        where = "is not in the keys log yet" if epoch >= outline.size else "is further back than the outline shows"
        raise EvidenceError(f"epoch {epoch} {where}: the log has {outline.size} leaves")
    if leaf == leaf_hash(VOID):
        raise EvidenceError(f"the keys log says that the slot of epoch {epoch} has no keys")
    if leaf != epoch_leaf(core, evidence):
        raise EvidenceError(f"leaf {epoch} of the keys log is of another core or other evidence")


def open_state(opened: Opened, policy: Policy, now: float, outlines: Known, known: Known) -> TrustedLedger:
    """Step 17: return the ledger with its newest snapshot."""
    proofs, state, ledger = opened.proofs, opened.state, require_ledger(policy)
    size, before = state.checkpoint.size, known.get(state.checkpoint.origin)
    if before is not None and size < before.size:
        raise PolicyError(
            f"a newer snapshot is withheld: the state log had {before.size} leaves before, and now {size}"
        )
    if size == 0 or proofs.state.outline.leaf(size - 1) != leaf_hash(proofs.snapshot):
        raise EvidenceError(f"the snapshot is not the last leaf of the state log, which has {size}")
    snapshot, publishers = verify_snapshot(proofs.snapshot, ledger.publishers, policy.origin)
    if snapshot.issued > now + policy.clock_skew_seconds:
        raise EvidenceError(f"the snapshot is from the future: {in_words(snapshot.issued)}")
    if now >= snapshot.expires:
        raise PolicyError(f"the snapshot has expired: {in_words(snapshot.expires)}")
    earlier = _open_earlier(proofs, ledger, policy.origin, snapshot)
    return TrustedLedger(opened.keys, state, snapshot, publishers, earlier, outlines)


def require_release(
    trusted: TrustedLedger, policy: Policy, manifest: bytes, launched: Mapping[str, bytes], now: float
) -> Release:
    """Step 18: return the release of software that may be encrypted to now.

    `launched` are the images of machines that contain it, by format: what such an image says of the manifest is its own
    word, so one that is added to a release has to wait like the release itself.
    """
    ledger = require_ledger(policy)
    release = require_listed(trusted.snapshot, policy, manifest)
    if now >= release.expires:
        raise PolicyError(f"the release {manifest.hex()} has expired: {in_words(release.expires)}")
    if now < release.issued - policy.clock_skew_seconds:
        raise PolicyError(f"the release {manifest.hex()} is of later: {in_words(release.issued)}")
    if not _names(release, launched):
        raise PolicyError(f"the release {manifest.hex()} does not name the image that its machine was launched with")
    if ledger.maturity_seconds:
        stood, wanted = trusted.earlier, ledger.maturity_seconds
        earlier = None if stood is None else stood.snapshot.release(policy.role, manifest)
        if stood is None or earlier is None:
            since = "nothing shows since when it stands"
        elif not _names(earlier, launched):
            since = f"it did not yet name this machine's image at {in_words(stood.until)}"
        elif now < stood.until + wanted:
            since = f"it stands since {in_words(stood.until)}"
        else:
            return release
        raise PolicyError(
            f"the release {manifest.hex()} must stand in the state log for {wanted} seconds first: {since}"
        )
    return release


def _names(release: Release, launched: Mapping[str, bytes]) -> bool:
    return all(image.hex() in release.images(name) for name, image in launched.items())


def _open_earlier(proofs: Proofs, ledger: Ledger, origin: str, newest: Snapshot) -> Stood | None:
    """Return the snapshot that stood under an older checkpoint of the same tree."""
    if proofs.earlier is None:
        return None
    cosigned = open_cosigned(proofs.earlier.checkpoint, ledger.state_log, ledger.quorum)
    size, outline = cosigned.checkpoint.size, proofs.state.outline
    if outline.root_at(size) != cosigned.checkpoint.root:
        raise EvidenceError(f"the earlier checkpoint of {size} leaves is not of the same state log")
    if not proofs.earlier.snapshot and size == outline.size:
        return Stood(newest, cosigned.until)
    if size == 0 or outline.leaf(size - 1) != leaf_hash(proofs.earlier.snapshot):
        raise EvidenceError(f"the earlier snapshot is not leaf {size - 1} of the state log")
    snapshot, _ = verify_snapshot(proofs.earlier.snapshot, ledger.publishers, origin)
    return Stood(snapshot, cosigned.until)
