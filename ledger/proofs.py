"""The blob that gateways staple to bundles (`seclude/attestation/proofs.py`), made anew after each cosigned checkpoint.

It shows one moment of both logs. Of the older checkpoints of the state log it carries the newest that has stood for
as long as the devices' policies ask; what stood under that one and still stands is mature.
"""

from collections.abc import Callable
from typing import Final

from ledger.cosigning import Cosigning
from ledger.store import Store
from seclude.attestation.bundle import MAX_PROOFS
from seclude.attestation.proofs import MAX_SNAPSHOT, Earlier, LogView, Proofs, serialize_proofs
from seclude.errors import UsageError
from seclude.tlog.cosigned import Cosigned
from seclude.tlog.outline import Outline, make_outline

NO_KEYS: Final = "the keys log has no checkpoint that a quorum of witnesses has cosigned yet"
NO_STATE: Final = "the state log has no checkpoint that a quorum of witnesses has cosigned yet"
CLOCKS: Final = 100  # a hundredth of the time is added, for devices whose clock is behind
ROOM_FOR_OUTLINES: Final = 24_576  # octets; of a keys log of twenty years of ten minutes, and of 2^14 snapshots
ROOM_FOR_REST: Final = 64  # octets; the head, and the lengths of parts
EMPTY_STATE: Final = "the state log is empty: publish a snapshot first"


def max_snapshot(checkpoint_octets: int) -> int:
    """Return how many octets a snapshot may have, where checkpoints have up to so many.

    There must be room for the newest and an older one, since the day on which one is published the other is needed too.
    """
    room = MAX_PROOFS - 3 * checkpoint_octets - ROOM_FOR_OUTLINES - ROOM_FOR_REST
    return min(max(0, room) // 2, MAX_SNAPSHOT)


class ProofsMaker:
    """Makes the blob, and keeps it until something changes."""

    def __init__(
        self,
        keys: tuple[Store, Cosigning],
        state: tuple[Store, Cosigning],
        maturity_seconds: int,
        now: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._state = state
        self._maturity = maturity_seconds
        self._now = now
        self._blob: bytes | None = None
        self._outlines: dict[Store, Outline] = {}

    def forget(self) -> None:
        """Take note that a checkpoint changed."""
        self._blob = None

    @property
    def missing(self) -> str | None:
        """Why there is no blob yet, or None; for people."""
        state = self._state[1].published
        if self._keys[1].published is None:
            return NO_KEYS
        if state is None:
            return NO_STATE
        return None if state.checkpoint.size else EMPTY_STATE

    def blob(self) -> bytes:
        """Return it; raises OSError, and UsageError where `missing` says why there is none."""
        if self._blob is None:
            self._blob = self._make()
        return self._blob

    def _make(self) -> bytes:
        keys, state = self._keys[1].published, self._state[1].published
        if keys is None or state is None or not state.checkpoint.size:
            raise UsageError("there are no proofs yet")
        shown = self._view(self._state[0], state)
        earlier = self._earlier(state.checkpoint.size, shown.outline)
        snapshot = self._state[0].entry(state.checkpoint.size - 1)
        return serialize_proofs(Proofs(self._view(self._keys[0], keys), shown, snapshot, earlier))

    def _view(self, store: Store, cosigned: Cosigned) -> LogView:
        size = cosigned.checkpoint.size
        outline = self._outlines.get(store)
        if outline is None or outline.size != size:
            outline = make_outline(size, store.head.tree.node)
            self._outlines[store] = outline
        return LogView(cosigned.note, outline)

    def _earlier(self, size: int, outline: Outline) -> Earlier | None:
        """Return the newest checkpoint that is old enough, or the oldest where none is: it shows how long it takes yet.

        Only those count whose root and last leaf the outline shows, which are the last 64 sizes at least.
        """
        if not self._maturity:
            return None
        store, cosigning = self._state
        usable = [
            each
            for number, each in sorted(cosigning.first.items())
            if 0 < number <= size and outline.root_at(number) is not None and outline.leaf(number - 1) is not None
        ]
        by = self._now() - self._maturity - self._maturity // CLOCKS
        mature = [each for each in usable if each.until <= by]
        chosen = mature[-1] if mature else usable[0] if usable else None
        if chosen is None:
            return None
        number = chosen.checkpoint.size
        return Earlier(chosen.note, b"" if number == size else store.entry(number - 1))
