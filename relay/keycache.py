"""One copy of the gateway's keys for everybody.

It is fetched on the relay's own timer and never because a client asked, so the gateway cannot tell who gets keys when,
and cannot answer one client differently (RFC 9458, section 7; RFC 9540, section 7.1).

The gateway publishes bundles of several epochs, and as a key list that of the epoch of now. A relay knows no slots, so
it cannot tell which of the bundles that is. It fetches both, one after the other, and takes them only together: the
list must be, octet by octet, that of one of the bundles. So the two never belong to different pools or keys, not even
where a new pool takes over in between: that fetch fails, and the next one comes soon.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from secrets import SystemRandom
from typing import Final

from seclude.attestation.bundle import parse_bundle, parse_bundles, parse_core
from seclude.daemon.log import Log
from seclude.daemon.messages import Response, UpstreamResponse
from seclude.daemon.problems import refusal
from seclude.daemon.upstream import Upstream
from seclude.errors import DecodeError, UpstreamError
from seclude.ohttp.keyconfig import parse_key_configs
from seclude.ohttp.media import GATEWAY_PATH, KEY_BUNDLES, OHTTP_KEYS, media_type

INTERVAL: Final = 5.0  # seconds; about a hundredth of a period of keys, so that devices meet a new epoch early
LEAST_INTERVAL: Final = 0.5  # seconds; for a gateway that announces a change, and against one that always does
PATIENCE: Final = 5.0  # seconds for one fetch; a gateway that hangs must not also stop the timer
FIRST_RETRY: Final = 0.5  # seconds; all parties may start at once, and the gateway last
LAST_RETRY: Final = 15.0  # seconds; a gateway that was away for long is noticed again within this
JITTER: Final = 0.2  # of the interval; many relays of one gateway should not ask in step
STALE: Final = 60.0  # seconds; a tenth of a period of keys, and longer than any restart of a gateway
MAX_AGE: Final = 10  # seconds that anyone else may cache, unless the gateway says less; two fetches
RETRY_AFTER: Final = 1  # seconds; what a client is told while there is no copy
CACHING: Final = re.compile(r"(?:^|[ ,])max-age=([0-9]{1,9})(?:$|[ ,])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Copy:
    """What the gateway published: the key list of now, and the bundles it belongs to where there are any."""

    keys: bytes
    bundles: bytes | None


def parse_copy(bundles: UpstreamResponse | None, keys: UpstreamResponse) -> Copy:
    """Return what two answers publish; raises DecodeError. Nothing is verified: that is for the devices."""
    key_list = _body(keys, OHTTP_KEYS)
    parse_key_configs(key_list)
    if bundles is None:
        return Copy(key_list, None)
    body = _body(bundles, KEY_BUNDLES)
    if all(parse_core(parse_bundle(each).core).key_configs != key_list for each in parse_bundles(body).values()):
        raise DecodeError("the key list is of none of the bundles")
    return Copy(key_list, body)


def max_age(answer: UpstreamResponse) -> int:
    """Return how many seconds the gateway lets an answer be kept, as far as we would keep it."""
    found = CACHING.search(answer.cache_control or "")
    return MAX_AGE if found is None else min(int(found[1]), MAX_AGE)


def _body(answer: UpstreamResponse, kind: str) -> bytes:
    if answer.status != HTTPStatus.OK:
        raise DecodeError("no keys published")
    if media_type(answer.content_type) != kind:
        raise DecodeError(f"not {kind}")
    return answer.body


class KeyCache:
    """Holds the copy and keeps it fresh."""

    def __init__(self, gateway: Upstream, clock: Callable[[], float], log: Log) -> None:
        self._gateway = gateway
        self._clock = clock
        self._log = log
        self._copy: Copy | None = None
        self._max_age = MAX_AGE  # of the copy, in seconds from when it was fetched
        self._fetched_at = clock()
        self._failures = 0
        self._unreachable = False

    def serve(self, wanted: str) -> Response:
        """Answer a client from the copy, the same for everybody.

        A copy stays in use however old it is: keys are public, and a device decides by the epoch inside whether they
        are still good. Age only makes the relay unready.
        """
        if self._copy is None:
            return refusal(503, fields=(("Retry-After", str(RETRY_AFTER)),))
        body = self._copy.keys if wanted == OHTTP_KEYS else self._copy.bundles
        if body is None:
            return refusal(406)
        age = max(0, int(self._max_age - (self._clock() - self._fetched_at)))
        caching = (("Cache-Control", f"public, max-age={age}"), ("Vary", "Accept"))
        return Response(200, wanted, body, caching)

    def reasons(self) -> list[str]:
        """Return why devices are better off with another relay."""
        if self._copy is None:
            reasons = ["no key bundle"]
        elif self._clock() - self._fetched_at > STALE:
            reasons = ["stale key bundle"]
        else:
            return []
        return [*reasons, "gateway unreachable"] if self._unreachable else reasons

    async def keep(self) -> None:
        """Fetch for ever."""
        while True:
            await self.fetch()
            await asyncio.sleep(self._pause() * SystemRandom().uniform(1 - JITTER, 1 + JITTER))

    async def fetch(self) -> None:
        """Fetch once; a failure leaves the copy as it is."""
        try:
            self._copy, self._max_age = await self._ask()
        except (UpstreamError, DecodeError) as exc:
            self._failures += 1
            self._unreachable = isinstance(exc, UpstreamError)
            if self._failures == 1:
                self._log.event("keys_fetch_failed", error=type(exc).__name__)
            return
        if self._failures:
            self._log.event("keys_fetched")
        self._failures, self._unreachable = 0, False
        self._fetched_at = self._clock()

    async def _ask(self) -> tuple[Copy, int]:
        """Return what the gateway publishes, and how many seconds it may be kept."""
        try:
            async with asyncio.timeout(PATIENCE):
                bundles = await self._gateway.exchange("GET", GATEWAY_PATH, accept=KEY_BUNDLES)
                keys = await self._gateway.exchange("GET", GATEWAY_PATH, accept=OHTTP_KEYS)
        except TimeoutError:
            raise UpstreamError("no keys in time", timed_out=True) from None
        # A gateway of RFC 9458 and RFC 9540, and of no bundles; some never look at Accept.
        plain = bundles.status in (404, 406) or media_type(bundles.content_type) == OHTTP_KEYS
        return parse_copy(None if plain else bundles, keys), min(max_age(bundles), max_age(keys))

    def _pause(self) -> float:
        if not self._failures:
            return min(max(LEAST_INTERVAL, self._max_age), INTERVAL)
        return min(FIRST_RETRY * 2.0 ** min(self._failures - 1, 10), LAST_RETRY)
