"""What one source offers as the keys of a pool: a relay's copy, or the gateway's own.

Anybody can make up a bundle. Only one that passes the steps of `verify_bundle` says something about the pool, or about
who gave it; step 11 is for whoever compares what was offered.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from seclude.attestation.bundle import parse_bundles
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


async def fetch_offer(endpoint: Endpoint, policy: Policy, clock: Callable[[], float]) -> Offer:
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
    refused = {
        epoch: refusal for epoch, bundle in claimed.items() if (refusal := _refuse(bundle, policy, now)) is not None
    }
    good = {epoch: bundle for epoch, bundle in claimed.items() if epoch not in refused}
    return Offer(endpoint.url, now, good, refused)


def _refuse(bundle: bytes, policy: Policy, now: float) -> Refusal | None:
    """Return why a bundle counts for nothing, if it does not verify."""
    passed: list[Step] = []
    try:
        verify_bundle(bundle, policy, now, {}, observe=passed.append, neighbours=True)
    except VerificationError as exc:
        return Refusal(exc, tuple(passed))
    return None
