"""What one source offers as the keys of a pool: a relay's copy, or the gateway's own.

Anybody can make up a bundle. Only one that passes the steps of `verify_bundle` says something about the pool, or about
who gave it; step 11 is for whoever compares what was offered.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from seclude.attestation.bundle import parse_bundle, parse_bundles
from seclude.attestation.ledger import NOTHING_KNOWN, Known, verify_proofs
from seclude.attestation.policy import Policy
from seclude.attestation.steps import Step
from seclude.attestation.verify import verify_bundle
from seclude.client.answers import when
from seclude.client.relays import Endpoint
from seclude.errors import BusyError, DecodeError, EvidenceError, UpstreamError, VerificationError
from seclude.ohttp.media import KEY_BUNDLES, media_type

KEYS_SECONDS: Final = 20.0  # they come from a cache, and 100 KB of them over a phone's worst network


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a bundle counts for nothing, and the steps that it passed before."""

    reason: VerificationError
    passed: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Offer:
    """An answer that parses."""

    url: str
    fetched_at: float
    bundles: Mapping[int, bytes]
    """By their epochs, those that verify in their slot or one beside it."""
    refused: Mapping[int, Refusal] = field(default_factory=dict)
    """Why the others do not, by the epoch that each claims to be of."""
    shown: tuple[Known, ...] = ()
    """The trees of the ledger that their proofs show, of those that were refused too."""


async def fetch_offer(
    endpoint: Endpoint, policy: Policy, clock: Callable[[], float], known: Known = NOTHING_KNOWN
) -> Offer:
    """Ask one source for its keys; raises UpstreamError, BusyError, or EvidenceError of step 1."""
    answer = await endpoint.exchange("GET", accept=KEY_BUNDLES, seconds=KEYS_SECONDS)
    if answer.status == 503:
        raise BusyError(f"no worker is ready: the {endpoint.party} has no keys to give; {when(answer)}")
    if answer.status != 200 or media_type(answer.content_type) != KEY_BUNDLES:
        raise UpstreamError(
            f"the {endpoint.party} gave no key bundles (status {answer.status}); "
            f"check `{endpoint.setting}` in the trust file"
        )
    try:
        claimed = parse_bundles(answer.body)
    except DecodeError as exc:
        raise EvidenceError(str(exc), step=1) from exc
    now = clock()
    good: dict[int, bytes] = {}
    refused: dict[int, Refusal] = {}
    shown: list[Known] = []
    for epoch, bundle in claimed.items():
        passed: list[Step] = []
        try:
            pool = verify_bundle(bundle, policy, now, {}, known=known, observe=passed.append, neighbours=True)
        except VerificationError as exc:
            refused[epoch] = Refusal(exc, tuple(passed))
            shown.append(_show(bundle, policy, now, known))
        else:
            good[epoch] = bundle
            shown.append(NOTHING_KNOWN if pool.ledger is None else pool.ledger.outlines)
    return Offer(endpoint.url, now, good, refused, tuple(shown))


def _show(bundle: bytes, policy: Policy, now: float, known: Known) -> Known:
    """Return what a refused bundle shows of the ledger, so that a revocation is not forgotten for an older snapshot."""
    try:
        return verify_proofs(parse_bundle(bundle).proofs, policy, now, known).outlines
    except (DecodeError, VerificationError):
        return NOTHING_KNOWN
