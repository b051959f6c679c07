"""Key consistency: whoever is asked, there is one core for each epoch (draft-ietf-privacypass-key-consistency).

A pool that gave one person keys of their own could tell that person's requests from everybody else's. So this device
remembers by whom it was shown which core, and where two differ it uses neither and keeps both as evidence. Only bundles
that verify in their slot, or one beside it, are compared: with any other, one relay could deny the service to all.
"""

import asyncio
import base64
import glob
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from seclude.attestation.bundle import core_digest, parse_bundle
from seclude.client.offers import Offer
from seclude.client.relays import Endpoint
from seclude.errors import BusyError, ConfigError, EvidenceError, UpstreamError, VerificationError

FILE_NAME: Final = "inconsistent-keys-{epoch}-{digest}.json"
"""What evidence is called where nobody says otherwise."""
MAX_FILES: Final = 16  # of one epoch: each has all that differed, and a source that lies in each run could fill a disk
ANOTHER: Final = "name a second relay in `relays`, or the `gateway`, in the trust file"


@dataclass(frozen=True, slots=True)
class Sighting:
    """A core as one source showed it."""

    url: str
    fetched_at: float
    epoch: int
    digest: bytes
    bundle: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Difference:
    """An epoch that has two cores."""

    first: Sighting
    other: Sighting
    seen: tuple[Sighting, ...]
    """Those two and what else was seen of the epoch."""

    def __str__(self) -> str:
        return (
            f"epoch {self.first.epoch} has two cores: {self.first.digest.hex()} from {self.first.url}, "
            f"{self.other.digest.hex()} from {self.other.url}"
        )


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two sources or more gave the same keys."""

    epoch: int
    agreed: tuple[str, ...]
    """The URLs of those sources."""
    failed: tuple[tuple[str, str], ...]
    """The URLs of the others, and why each of them counts for nothing."""


class Sightings:
    """The first core seen for each epoch that is alive, and the epochs of which two were seen.

    `evidence` is the file to write where two differ; "{epoch}" and "{digest}" in its path are filled in. A file that
    exists is left as it is: what was seen first weighs more. Of an epoch there are no more than `MAX_FILES`.
    """

    def __init__(self, evidence: Path | None = None) -> None:
        self._evidence = evidence
        self._first: dict[int, Sighting] = {}
        self._split: dict[int, str] = {}

    def digests(self) -> Mapping[int, bytes]:
        """Return the digest of the core first seen for each epoch."""
        return {epoch: sighting.digest for epoch, sighting in self._first.items()}

    def compare(self, offers: Sequence[Offer], live: range) -> None:
        """Remember the cores of live epochs; raises EvidenceError of step 11 where one differs as none did before."""
        self._first = {epoch: sighting for epoch, sighting in self._first.items() if epoch in live}
        self._split = {epoch: sentence for epoch, sentence in self._split.items() if epoch in live}
        differences = [
            difference
            for epoch in live
            if epoch not in self._split and (difference := self._see(offers, epoch)) is not None
        ]
        if differences:
            # First of all, so that nothing that happens to a file can let the next request through.
            self._split |= {difference.first.epoch: str(difference) for difference in differences}
            kept = self._keep(differences)
            self._split |= {difference.first.epoch: f"{difference}{kept}" for difference in differences}
            self.require_one(differences[0].first.epoch)

    def require_one(self, epoch: int) -> None:
        """Raise EvidenceError of step 11 for an epoch of which two cores were seen.

        It stays so while the epoch lives: neither can be told to be everybody's, and the next answer would only say
        which of them that source gives.
        """
        if epoch in self._split:
            raise EvidenceError(self._split[epoch], step=11)

    def _see(self, offers: Sequence[Offer], epoch: int) -> Difference | None:
        """Remember an epoch's core if none was seen before, and compare it with all that are offered."""
        found = [_sight(offer, epoch) for offer in offers if epoch in offer.bundles]
        if not found:
            return None
        first = self._first.setdefault(epoch, found[0])
        others = [sighting for sighting in found if sighting is not first]
        other = next((sighting for sighting in others if sighting.digest != first.digest), None)
        return None if other is None else Difference(first, other, (first, *others))

    def _keep(self, differences: Sequence[Difference]) -> str:
        """Write the evidence, if told where, and return the end of a sentence, which says where it is."""
        if self._evidence is None:
            return ""
        epoch, digest = differences[0].first.epoch, differences[0].other.digest.hex()[:8]
        named = Path(str(self._evidence).replace("{epoch}", str(epoch)))
        path = Path(str(named).replace("{digest}", digest))
        evidence = _serialize([sighting for difference in differences for sighting in difference.seen])
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if len(list(path.parent.glob(glob.escape(named.name).replace("{digest}", "*")))) >= MAX_FILES:
                return f"; {path.parent} has evidence of epoch {epoch} in {MAX_FILES} files, and no more was written"
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                return f"; {path} exists already and was left as it is"
            with open(descriptor, "wb") as file:
                file.write(evidence)
        except OSError as exc:
            return f"; the evidence cannot be written to {path} ({exc.strerror})"
        return f"; the evidence is in {path}"


def _serialize(sightings: Sequence[Sighting]) -> bytes:
    """Return who showed which core and when, with the whole bundles, as JSON."""
    sources = [
        {
            "url": sighting.url,
            "fetched_at": datetime.fromtimestamp(sighting.fetched_at, UTC).isoformat(timespec="seconds"),
            "epoch": sighting.epoch,
            "core_digest": sighting.digest.hex(),
            "bundle": base64.b64encode(sighting.bundle).decode(),
        }
        for sighting in sightings
    ]
    return msgspec.json.format(msgspec.json.encode({"sources": sources})) + b"\n"


async def ask_all(
    endpoints: Sequence[Endpoint], fetch: Callable[[Endpoint], Awaitable[Offer]]
) -> tuple[list[Offer], list[tuple[str, str]]]:
    """Return what each source offers, and the URL and the reason of each that offers nothing.

    Raises ConfigError where there are not two to ask, and UpstreamError where not two of them answer.
    """
    if len(endpoints) < 2:
        raise ConfigError("there is one source of keys and nothing to compare it with; " + ANOTHER)
    failed: dict[str, str] = {}

    async def ask(endpoint: Endpoint) -> Offer | None:
        try:
            return await fetch(endpoint)
        except (UpstreamError, BusyError, VerificationError) as exc:
            failed[endpoint.url] = str(exc)
            return None

    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(ask(endpoint)) for endpoint in endpoints]
    offers = [offer for task in asked if (offer := task.result()) is not None]
    if len(offers) < 2:
        raise _too_few(failed.items())
    return offers, sorted(failed.items())


def agree(offers: Sequence[Offer], failed: Sequence[tuple[str, str]], epoch: int) -> Agreement:
    """Return who gave keys of the epoch, which were compared before; raises UpstreamError where fewer than two did."""
    agreed = tuple(offer.url for offer in offers if epoch in offer.bundles)
    without = tuple((offer.url, _lack(offer, epoch)) for offer in offers if epoch not in offer.bundles)
    if len(agreed) < 2:
        raise _too_few((*failed, *without))
    return Agreement(epoch, agreed, (*failed, *without))


def _lack(offer: Offer, epoch: int) -> str:
    """Say why an offer has no keys of the epoch that count."""
    if epoch not in offer.refused:
        return f"it has no keys of epoch {epoch}"
    reason = offer.refused[epoch].reason
    return f"its keys of epoch {epoch} do not verify: step {reason.step}: {reason}"


def _too_few(failed: Iterable[tuple[str, str]]) -> UpstreamError:
    reasons = "; ".join(f"{url}: {reason}" for url, reason in failed)
    return UpstreamError(
        f"fewer than two sources gave keys, so there is nothing to compare; try again later ({reasons})"
    )


def _sight(offer: Offer, epoch: int) -> Sighting:
    bundle = offer.bundles[epoch]
    return Sighting(offer.url, offer.fetched_at, epoch, core_digest(parse_bundle(bundle).core), bundle)
