"""What a monitor asks of the state log: that devices take every snapshot, and that none takes back what was revoked.

Nobody dates an entry but its publishers, who issue it before it is logged. A monitor that follows knows more: what
stood under no checkpoint of yesterday was not there yesterday, and what stands under that of today is there.
"""

import re
from typing import Final

from seclude.attestation.pins import Ledger
from seclude.attestation.policy import Policy
from seclude.attestation.slots import in_words
from seclude.attestation.snapshot import Release, Snapshot, verify_snapshot
from seclude.client.findings import Fact, Finding, Kind, found, warned
from seclude.client.monitorstate import Held, Listed, MonitorState, Span
from seclude.errors import DecodeError, VerificationError
from seclude.tlog.merkle import leaf_hash

# What people write where they have nothing to say, and hosts that RFC 2606 keeps for examples.
NOTHING: Final = re.compile(
    r"(?i)-+|\?+|n/?a|none|null|nil|unknown|todo|tbd|placeholder|local(?:[ -]checkout)?|"
    r"(?:[a-z+]+://)?(?:[^/@]+@)?(?:localhost|127\.0\.0\.1|(?:[^/]+\.)?(?:invalid|test))(?:[:/].*)?"
)
ADDRESS: Final = re.compile(r"(?:https|ssh|git|git\+https|git\+ssh)://[^/\s]+\S*|[\w.-]+@[\w.-]+:\S+")
NO_REVISION: Final = re.compile(r"(.)\1*")  # no commit has a hash of one digit
PUBLISHED_SECONDS: Final = 86_400  # for a second publisher to sign, and for somebody to submit it
SOON: Final = 5  # a fifth of a snapshot's life before its end


class StateJudge:
    """Reads the entries of the state log in their order, and keeps in `state` what later judgements need."""

    def __init__(self, policy: Policy, ledger: Ledger, state: MonitorState) -> None:
        self._policy = policy
        self._ledger = ledger
        self._state = state
        self.newest: Snapshot | None = None
        """The last good one of those that were read here."""

    def judge(self, index: int, entry: bytes, after: int, by: int) -> list[Finding]:
        """Return what is wrong with an entry that was added between two times, in seconds since 1970.

        Where nothing was known before (`after` is 0), it counts as logged within a day of its issue.
        """
        state = self._state
        try:
            snapshot, _ = verify_snapshot(entry, self._ledger.publishers, self._policy.origin)
        except (VerificationError, DecodeError) as exc:
            return [found(Kind.SNAPSHOT, f"snapshot {index} is one that devices refuse: {exc}", index=index)]
        findings = [*self._order(index, snapshot), *self._lost(index, snapshot)]
        since = max(snapshot.issued, after, state.snapshots[-1].since if state.snapshots else 0)
        by = max(since, by if after else min(by, since + PUBLISHED_SECONDS))
        for release in snapshot.releases:
            findings += self._release(index, release, since)
        for revocation in snapshot.revocations:
            state.revoked.setdefault(revocation.manifest, Span(since=since, by=by))
        state.issued = max(state.issued, snapshot.issued)
        state.snapshots.append(Held(since=since, by=by, index=index, leaf=leaf_hash(entry).hex()))
        self.newest = snapshot
        return findings

    def judge_newest(self, snapshot: Snapshot, now: float) -> list[Finding]:
        """Return what is wrong with the newest snapshot at this time."""
        ends, life = snapshot.expires, snapshot.expires - snapshot.issued
        if now >= ends:
            words = f"the newest snapshot has expired at {in_words(ends)}, and devices refuse the service"
            return [found(Kind.EXPIRING, words, expires=ends)]
        if now >= ends - life / SOON:
            words = f"the newest snapshot expires at {in_words(ends)}; its publishers have to sign another"
            return [warned(Kind.EXPIRING, words, expires=ends)]
        return []

    def _order(self, index: int, snapshot: Snapshot) -> list[Finding]:
        if snapshot.issued >= self._state.issued:
            return []
        before, own = in_words(self._state.issued), in_words(snapshot.issued)
        return [
            found(Kind.ORDER, f"snapshot {index} is dated {own}, before one that it replaces: {before}", index=index)
        ]

    def _lost(self, index: int, snapshot: Snapshot) -> list[Finding]:
        """Find revocations that are gone; each is told once, and the software stays revoked for us."""
        there = {revocation.manifest for revocation in snapshot.revocations}
        lost = sorted(self._state.revoked.keys() - there)
        told, self._state.unrevoked = self._state.unrevoked, lost
        return [
            found(Kind.UNREVOKED, f"snapshot {index} leaves out that {each} was revoked", index=index, manifest=each)
            for each in lost
            if each not in told
        ]

    def _release(self, index: int, release: Release, since: int) -> list[Finding]:
        """Look behind a release where it stands for the first time, or says something else than before."""
        key = listed_key(release.role, release.manifest)
        before = self._state.releases.get(key)
        if before is not None and (before.source, before.revision) == (release.source, release.revision):
            return []
        findings = [] if before is None else [_changed(index, release, before)]
        self._state.releases[key] = Listed(
            since=since if before is None else before.since, source=release.source, revision=release.revision
        )
        return findings + _unsourced(index, release)


def listed_key(role: str, manifest: str) -> str:
    """Return the name of a release in what is remembered."""
    return f"{role} {manifest}"


def _changed(index: int, release: Release, before: Listed) -> Finding:
    words = (
        f"snapshot {index} says that release {release.manifest} comes from {release.source} at {release.revision}, "
        f"and before it was {before.source} at {before.revision}"
    )
    return found(Kind.CHANGED, words, index=index, manifest=release.manifest)


def _unsourced(index: int, release: Release) -> list[Finding]:
    """Find what keeps others from looking behind a release."""
    facts: dict[str, Fact] = {"index": index, "manifest": release.manifest, "role": release.role}
    what = f'release {release.manifest} for role "{release.role}"'
    findings = []
    if NO_REVISION.fullmatch(release.revision):
        findings.append(found(Kind.SOURCE, f"{what} names no revision: {release.revision}", **facts))
    if NOTHING.fullmatch(release.source.strip()):
        findings.append(found(Kind.SOURCE, f'{what} names no source: "{release.source}"', **facts))
    elif not ADDRESS.fullmatch(release.source):
        words = f'{what} names a source that others cannot fetch: "{release.source}"'
        findings.append(warned(Kind.SOURCE, words, **facts))
    return findings
