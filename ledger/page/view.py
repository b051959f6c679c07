"""What the page of a ledger shows (`page.py`), gathered from its logs; the page is made anew at most once a second."""

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Final

from ledger.logs import Log
from ledger.page.document import MAX_EPOCHS, EpochRow, PageView, PublishedLog, render_page
from seclude.attestation.proofs import EPOCH_DOMAIN
from seclude.attestation.slots import Slots
from seclude.attestation.snapshot import Snapshot, verify_snapshot
from seclude.errors import DecodeError, VerificationError
from seclude.tlog.keys import VerifierKey
from seclude.tlog.quorum import Quorum

KEPT_SECONDS: Final = 1.0  # anybody may ask for it, and it takes some milliseconds to make


class Page:
    """Makes the page."""

    def __init__(
        self,
        keys: Log,
        state: Log,
        origin: str,
        slots: Slots,
        quorum: Quorum,
        publishers: tuple[VerifierKey, ...],
        maturity_seconds: int,
        now: Callable[[], float],
        *,
        demonstration: bool,
    ) -> None:
        self._keys = keys
        self._state = state
        self._origin = origin
        self._slots = slots
        self._quorum = quorum
        self._publishers = publishers
        self._maturity = maturity_seconds
        self._now = now
        self._demonstration = demonstration
        self._made: tuple[float, bytes] | None = None

    def __call__(self) -> bytes:
        """Return it."""
        made = self._made
        if made is None or monotonic() - made[0] > KEPT_SECONDS:
            made = self._made = (monotonic(), render_page(self.view()))
        return made[1]

    def view(self) -> PageView:
        """Return what it shows."""
        snapshot, signed_by = self._snapshot()
        return PageView(
            origin=self._origin,
            now=int(self._now()),
            slots=self._slots,
            maturity_seconds=self._maturity,
            keys=PublishedLog(self._keys.key, self._keys.cosigning.published),
            state=PublishedLog(self._state.key, self._state.cosigning.published),
            quorum=self._quorum,
            publishers=self._publishers,
            snapshot=snapshot,
            signed_by=signed_by,
            stood_by=self._stood_by(),
            epochs=tuple(self._epochs()),
            demonstration=self._demonstration,
        )

    def _snapshot(self) -> tuple[Snapshot | None, tuple[str, ...]]:
        published = self._state.cosigning.published
        if published is None or not published.checkpoint.size:
            return None, ()
        return self._read(published.checkpoint.size - 1)

    def _read(self, index: int) -> tuple[Snapshot | None, tuple[str, ...]]:
        """Return a snapshot; of one that today's publishers did not sign, nothing."""
        try:
            return verify_snapshot(self._state.store.entry(index), self._publishers, self._origin)
        except (DecodeError, VerificationError):
            return None, ()

    def _stood_by(self) -> dict[tuple[str, str], int]:
        """Return since when each release surely stands, without a break, by the first cosigned checkpoint."""
        found: dict[tuple[str, str], int] = {}
        for size, first in sorted(self._state.cosigning.first.items())[-MAX_EPOCHS:]:
            snapshot, _ = self._read(size - 1)
            named = () if snapshot is None else [(release.role, release.manifest) for release in snapshot.releases]
            found = {each: found.get(each, first.until) for each in named}
        return found

    def _epochs(self) -> Iterator[EpochRow]:
        published = self._keys.cosigning.published
        size = 0 if published is None else published.checkpoint.size
        for number in range(max(0, size - MAX_EPOCHS), size):
            entry = self._keys.store.entry(number)
            core = entry.removeprefix(EPOCH_DOMAIN)
            yield EpochRow(number, None if core == entry else core[:32])
