"""Snapshots in words: what one says, and how the next differs from it, for the person who is to sign it.

What publishers wrote is shown with everything that would not print as itself written out, so that a text cannot look
like another on a terminal.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

from ledger.publish.documents import FORMATS
from seclude.attestation.slots import in_words
from seclude.attestation.snapshot import Release, Snapshot, publishers_needed


def describe(snapshot: Snapshot, now: int) -> Iterator[str]:
    """Say what a snapshot says, as of a moment."""
    yield (
        f'the state of "{shown(snapshot.origin)}", issued {in_words(snapshot.issued)}, {_until(snapshot.expires, now)}'
    )
    if not snapshot.releases:
        yield "releases nothing: devices accept no software"
    for release in snapshot.releases:
        yield f"releases {_release(release)}; {_until(release.expires, now)}"
    for revocation in snapshot.revocations:
        yield f"revoked {revocation.manifest} at {in_words(revocation.revoked)}: {shown(revocation.reason)}"
    for name in FORMATS:
        if chips := snapshot.chips_of(name):
            yield f"names {_count(len(chips), 'chip')} of {name}"
    if snapshot.issuer_keys:
        yield f"names {_count(len(snapshot.issuer_keys), 'issuer key')}"


def differences(before: Snapshot, after: Snapshot) -> Iterator[str]:
    """Say what changes from one snapshot to the next; nothing at all beyond its dates is said as well."""
    if before.origin != after.origin:
        yield f'becomes the state of "{shown(after.origin)}" instead of "{shown(before.origin)}"'
    found = list(chain(_releases(before, after), _revocations(before, after), _lists(before, after)))
    yield from found or ["changes nothing but its dates"]
    yield f"issued {in_words(after.issued)}, the last one {in_words(before.issued)}"
    yield f"expires {in_words(after.expires)}, the last one {in_words(before.expires)}"


def signatures(signers: Sequence[str], snapshot: Snapshot) -> str:
    """Say how many signatures there are, of how many that a snapshot takes."""
    by = f" by {' and '.join(signers)}" if signers else ""
    why = "it releases software" if snapshot.releases else "it releases nothing"
    return f"{_count(len(signers), 'signature')}{by}; it takes {publishers_needed(snapshot)}, for {why}"


def shown(text: str) -> str:
    """Return a text in which every character that does not print as itself is written out."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _releases(before: Snapshot, after: Snapshot) -> Iterator[str]:
    old = {(each.role, each.manifest): each for each in before.releases}
    new = {(each.role, each.manifest): each for each in after.releases}
    for place, release in new.items():
        if place not in old:
            yield f"ADDS a release: {_release(release)}; expires {in_words(release.expires)}"
        elif release != old[place]:
            yield (
                f"CHANGES the release {_release(old[place])}; expires {in_words(old[place].expires)} "
                f"into {_release(release)}; expires {in_words(release.expires)}"
            )
    yield from (f"DROPS the release {_release(release)}" for place, release in old.items() if place not in new)


def _revocations(before: Snapshot, after: Snapshot) -> Iterator[str]:
    old = {each.manifest: each for each in before.revocations}
    new = {each.manifest: each for each in after.revocations}
    for manifest, revocation in new.items():
        if revocation != old.get(manifest):
            yield f"REVOKES {manifest}: {shown(revocation.reason)}"
    yield from (f"TAKES BACK the revocation of {manifest}" for manifest in old if manifest not in new)


def _lists(before: Snapshot, after: Snapshot) -> Iterator[str]:
    for name in FORMATS:
        yield from _changed(f"chip of {name}", before.chips_of(name), after.chips_of(name))
        if before.chips_of(name) and not after.chips_of(name):
            yield f"names no chip of {name} any more: any chip is then accepted that a policy accepts"
    keys = [
        tuple(f"{each.key.hex()} {each.not_before} {each.expires}" for each in one.issuer_keys)
        for one in (before, after)
    ]
    yield from _changed("issuer key", *keys)


def _changed(what: str, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    for verb, one, other in (("ADDS", new, old), ("REMOVES", old, new)):
        if found := sorted(set(one) - set(other)):
            yield f"{verb} {_count(len(found), what)}: {', '.join(found)}"


def _release(release: Release) -> str:
    images = ", ".join(f"{name} {image}" for name, each in sorted(release.measurements.items()) for image in each)
    measured = f", images {images}" if images else ""
    return (
        f"{release.manifest} for role {release.role}, of commit {release.revision} at {shown(release.source)}{measured}"
    )


def _until(moment: int, now: int) -> str:
    return f"{'expires' if moment > now else 'EXPIRED'} {in_words(moment)}"


def _count(number: int, what: str) -> str:
    head, space, rest = what.partition(" of ")
    return f"{number} {head}{'' if number == 1 else 's'}{space}{rest}"
