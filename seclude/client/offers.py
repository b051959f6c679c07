"""What one source offers as the keys of a pool, none of it verified: a relay's copy, or the gateway's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from seclude.attestation.bundle import parse_bundles
from seclude.client.answers import when
from seclude.client.relays import Endpoint
from seclude.errors import BusyError, DecodeError, EvidenceError, UpstreamError
from seclude.ohttp.media import KEY_BUNDLES, media_type

KEYS_SECONDS: Final = 20.0  # they come from a cache, and 100 KB of them over a phone's worst network


@dataclass(frozen=True, slots=True)
class Offer:
    """An answer that parses."""

    url: str
    fetched_at: float
    bundles: Mapping[int, bytes]
    """By the epoch that each claims to be of."""


async def fetch_offer(endpoint: Endpoint, clock: Callable[[], float]) -> Offer:
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
        return Offer(endpoint.url, clock(), parse_bundles(answer.body))
    except DecodeError as exc:
        raise EvidenceError(str(exc), step=1) from exc
