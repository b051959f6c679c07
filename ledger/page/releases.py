"""The part of the ledger's page about software: what the newest snapshot releases, until when, and what it revokes.

What is said of a release, "accepted" or not, is what devices with this ledger's maturity make of it; a policy of
theirs may ask for more.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.page.markup import (
    Content,
    Markup,
    code,
    counted,
    duration,
    element,
    facts,
    folded,
    foreign,
    joined,
    moment,
    table,
)
from seclude.attestation.snapshot import Release, Snapshot

SHORT: Final = 12  # digits of a digest in a heading; the whole one stands below it
_WEB: Final = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~/-]*)?")  # what may become a link


@dataclass(frozen=True, slots=True)
class ReleasesView:
    """The newest snapshot of the state, and since when what it names stands there."""

    now: int
    maturity_seconds: int
    snapshot: Snapshot | None
    """The last leaf of the state log under its published checkpoint; None: there is none yet."""
    signed_by: Sequence[str]
    """The publishers who signed it."""
    stood_by: Mapping[tuple[str, str], int]
    """By (role, manifest): when a release stood in a cosigned snapshot, as `Cosigned.until` says."""


def releases_section(view: ReleasesView) -> Markup:
    """Return the newest snapshot, each of its releases with how devices take it, and what it revokes."""
    snapshot = view.snapshot
    if snapshot is None:
        return element("p", "No snapshot of the state has been published yet, so devices accept no software.")
    life = facts(
        "The newest snapshot",
        (
            ("Issued", moment(snapshot.issued)),
            ("Expires", _ending(snapshot.expires, view.now)),
            ("Signed by", joined(_listed([foreign(name) for name in view.signed_by]) or ["nobody"])),
            ("Chips named", _chips(snapshot)),
            ("Issuer keys", str(len(snapshot.issuer_keys))),
        ),
    )
    if view.now >= snapshot.expires:
        warning = "This snapshot has expired: devices accept none of its releases until a newer one is published."
        life = element("p", element("strong", warning), class_="warning") + life
    newest = element("article", element("h3", "The newest snapshot, which alone counts"), life)
    releases = joined(_release(view, snapshot, release) for release in snapshot.releases)
    if not snapshot.releases:
        releases = element("p", "It names no release, so devices accept no software.")
    return newest + releases + _revocations(snapshot)


def _release(view: ReleasesView, snapshot: Snapshot, release: Release) -> Markup:
    title = element("h3", f"{release.role} ", code(release.manifest[:SHORT]))
    rows = (
        ("Manifest", code(release.manifest)),
        ("Source", _source(release.source)),
        ("Revision", code(release.revision)),
        ("Issued", moment(release.issued)),
        ("Expires", _ending(release.expires, view.now)),
        ("Mature", _maturity(view, release)),
        ("Machines", _machines(release)),
    )
    kind, words = _standing(view, snapshot, release)
    standing = element("p", words, class_=f"standing {kind}")
    return element("article", title, standing, facts(f"Release {release.manifest[:SHORT]} for {release.role}", rows))


def _standing(view: ReleasesView, snapshot: Snapshot, release: Release) -> tuple[str, str]:
    """Return in a colour and in words whether devices with this ledger's maturity accept a release."""
    if snapshot.revocation(bytes.fromhex(release.manifest)) is not None:
        return "bad", "Revoked: devices refuse it."
    if view.now >= min(release.expires, snapshot.expires):
        return "bad", "Expired: devices refuse it."
    since = view.stood_by.get((release.role, release.manifest))
    if since is None or view.now < since + view.maturity_seconds:
        return "wait", "Published, not mature yet: devices refuse it."
    return "good", "Accepted."


def _maturity(view: ReleasesView, release: Release) -> Content:
    since = view.stood_by.get((release.role, release.manifest))
    wait = duration(view.maturity_seconds)
    if since is None:
        return f"{wait} after a quorum of witnesses has seen it, which none has yet"
    mature = since + view.maturity_seconds
    word = "since " if view.now >= mature else "not before "
    told = f"{wait} after " if view.maturity_seconds else ""
    return joined([word, moment(mature), f", {told}when a quorum of witnesses had first seen it"])


def _machines(release: Release) -> Content:
    images = {name: measured for name, measured in release.measurements.items() if measured}
    if not images:
        return (
            "no image of a machine is named, so no production policy accepts it: it counts on SIMULATED hardware, and "
            "behind a TPM alone, for demonstrations"
        )
    lines = (f"{name} {measurement}" for name, measured in sorted(images.items()) for measurement in measured)
    counts = ", ".join(f"{name}: {counted(len(measured), 'image')}" for name, measured in sorted(images.items()))
    return folded(counts, element("pre", "\n".join(lines)))


def _revocations(snapshot: Snapshot) -> Markup:
    title = element("h3", "Revoked")
    if not snapshot.revocations:
        return element("article", title, element("p", "Nothing has been revoked."))
    rows = ((code(each.manifest), moment(each.revoked), foreign(each.reason)) for each in snapshot.revocations)
    return element(
        "article",
        title,
        table("Software that devices refuse", ("Manifest", "Revoked", "Reason"), rows, class_="listing"),
    )


def _source(source: str) -> Content:
    """Return where the source of a release is, as a link where it is plainly an address of the web."""
    if _WEB.fullmatch(source):
        return element("a", source, href=source, rel="noreferrer noopener external")
    return foreign(source)


def _chips(snapshot: Snapshot) -> str:
    return ", ".join(f"{name}: {len(chips)}" for name, chips in sorted(snapshot.chips.items()) if chips) or "none"


def _ending(expires: int, now: int) -> Markup:
    told = f" (in {duration(expires - now)})" if expires > now else " (past)"
    return moment(expires) + element("span", told)


def _listed(names: Sequence[Markup]) -> list[Content]:
    """Return names with what stands between them."""
    return [part for place, name in enumerate(names) for part in ((" and ", name) if place else (name,))]
