"""The worker's view of the ledger: what it was last shown, and every tree that it has seen while it runs.

With a ledger in its measured policy, a worker makes and takes over no key without proofs that it verified at that
moment. A gateway brings them and can hold back nothing for long: stale ones are refused, so when the last key has
expired nothing opens any more. The trees are remembered for the life of the process, and all must be one tree.

Cosignatures also tell the time. They are looked at before any clock is asked whether they are fresh, so that a host
which set its clock back before the worker started gains nothing from it.

Without a ledger in the policy there is nothing to verify, and proofs that come all the same are refused.
"""

from collections.abc import Callable
from typing import Final

from seclude.attestation.bundle import unlogged_checkpoint
from seclude.attestation.judge import TITLES
from seclude.attestation.ledger import (
    NOTHING_KNOWN,
    Known,
    TrustedLedger,
    judge_proofs,
    open_proofs,
    require_ledger,
    require_release,
)
from seclude.attestation.policy import Policy
from seclude.attestation.proofs import parse_proofs
from seclude.attestation.steps import Steps
from seclude.errors import BusyError, PolicyError


class LedgerView:
    """What one worker knows of the ledger."""

    __slots__ = ("_known", "_measurement", "_newest", "_policy", "_raise_floor")

    def __init__(self, policy: Policy, measurement: bytes, raise_floor: Callable[[float], None]) -> None:
        """`raise_floor` is told the times that a quorum of witnesses vouches for."""
        self._policy: Final = policy
        self._measurement: Final = measurement
        self._raise_floor: Final = raise_floor
        self._known = NOTHING_KNOWN
        self._newest: TrustedLedger | None = None

    @property
    def known(self) -> Known:
        """The largest tree that was seen of each log."""
        return self._known

    def take(self, proofs: bytes, now: float) -> float:
        """Verify what a gateway brought, remember it, and return the time, which may be later than `now`.

        Raises `VerificationError`, with the number of the step in `verify.py`; nothing is remembered then but the time.
        """
        if self._policy.ledger is not None and not proofs:
            raise PolicyError(
                "there are no proofs of the ledger, and without them no key is made or taken over", step=13
            )
        if self._policy.ledger is None and not proofs:
            return now
        steps = Steps(TITLES)
        with steps.step(13):
            ledger = require_ledger(self._policy)
            opened = open_proofs(parse_proofs(proofs), ledger)
        self._raise_floor(opened.time)  # and not `now`, which may be the host's word alone
        moment = max(now, opened.time)
        self._newest = judge_proofs(opened, self._policy, moment, self._known, steps)
        self._known = self._newest.outlines
        return moment

    def require_release(self, now: float) -> None:
        """Refuse to make a key for this worker's own software unless the newest snapshot releases it (step 18)."""
        if self._policy.ledger is None:
            return
        with Steps(TITLES).step(18):
            require_release(self._current(now), self._policy, self._measurement, self._policy.launched, now)

    def checkpoint(self, now: float) -> bytes:
        """Return what dates a core that is made now: the keys log's checkpoint, or the time if there is no ledger."""
        return unlogged_checkpoint(int(now)) if self._policy.ledger is None else self._current(now).keys.note

    def policy(self, now: float) -> Policy:
        """Return whom this worker believes: with a ledger, machines that the newest snapshot names, if it names any.

        Raises `BusyError` while what is known is too old to judge anybody by.
        """
        if self._policy.ledger is None:
            return self._policy
        return self._policy.under(self._current(now).snapshot, self._measurement)

    def _current(self, now: float) -> TrustedLedger:
        if self._newest is None or now >= self._newest.expires_at(self._policy):
            raise BusyError("the ledger was not seen for too long")
        return self._newest

    def __repr__(self) -> str:
        return "<LedgerView>"
