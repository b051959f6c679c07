"""One copy of the gateway's keys for everybody.

It is fetched on the relay's own timer and never because a client asked, so the gateway cannot tell who gets keys when,
and cannot answer one client differently (RFC 9458, section 7; RFC 9540, section 7.1). The plain key list is cut out of
the bundle's core, so that the two can never belong to different keys.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from secrets import SystemRandom
from typing import Final

from seclude.attestation.bundle import MAX_BUNDLE, parse_bundle, parse_core
from seclude.daemon.log import Log
from seclude.daemon.messages import Response, UpstreamResponse
from seclude.daemon.problems import refusal
from seclude.daemon.upstream import Upstream
from seclude.errors import DecodeError, UpstreamError
from seclude.ohttp.keyconfig import parse_key_configs
from seclude.ohttp.media import GATEWAY_PATH, KEY_BUNDLE, OHTTP_KEYS, media_type

INTERVAL: Final = 5.0  # seconds; about a hundredth of a period of keys, so that devices meet a new epoch early
PATIENCE: Final = 5.0  # seconds for one fetch; a gateway that hangs must not also stop the timer
FIRST_RETRY: Final = 0.5  # seconds; all parties may start at once, and the gateway last
LAST_RETRY: Final = 15.0  # seconds; a gateway that was away for long is noticed again within this
JITTER: Final = 0.2  # of the interval; many relays of one gateway should not ask in step
STALE: Final = 60.0  # seconds; a tenth of a period of keys, and longer than any restart of a gateway
MAX_AGE: Final = 10  # seconds that anyone else may cache; two fetches
RETRY_AFTER: Final = 1  # seconds; what a client is told while there is no copy


@dataclass(frozen=True, slots=True)
class Copy:
    """What the gateway published: the key list, and the bundle it was cut from where there is one."""

    keys: bytes
    bundle: bytes | None


def parse_copy(answer: UpstreamResponse) -> Copy:
    """Return what an answer publishes; raises DecodeError. Nothing is verified: that is for the devices."""
    kind = media_type(answer.content_type)
    if answer.status != HTTPStatus.OK:
        raise DecodeError("no keys published")
    if kind == KEY_BUNDLE:
        core = parse_core(parse_bundle(answer.body).core)
        parse_key_configs(core.key_configs)
        return Copy(core.key_configs, answer.body)
    if kind == OHTTP_KEYS:
        parse_key_configs(answer.body)
        return Copy(answer.body, None)
    raise DecodeError("neither a key bundle nor a key list")


class KeyCache:
    """Holds the copy and keeps it fresh."""

    def __init__(self, gateway: Upstream, clock: Callable[[], float], log: Log) -> None:
        self._gateway = gateway
        self._clock = clock
        self._log = log
        self._copy: Copy | None = None
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
        body = self._copy.keys if wanted == OHTTP_KEYS else self._copy.bundle
        if body is None:
            return refusal(406)
        caching = (("Cache-Control", f"public, max-age={MAX_AGE}"), ("Vary", "Accept"))
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
            self._copy = parse_copy(await self._ask())
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

    async def _ask(self) -> UpstreamResponse:
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._gateway.exchange("GET", GATEWAY_PATH, accept=KEY_BUNDLE)
                if answer.status in (404, 406):  # a gateway of plain RFC 9458 and RFC 9540
                    answer = await self._gateway.exchange("GET", GATEWAY_PATH, accept=OHTTP_KEYS)
        except TimeoutError:
            raise UpstreamError("no keys in time", timed_out=True) from None
        if len(answer.body) > MAX_BUNDLE:
            raise DecodeError("keys too large")
        return answer

    def _pause(self) -> float:
        if not self._failures:
            return INTERVAL
        return min(FIRST_RETRY * 2.0 ** min(self._failures - 1, 10), LAST_RETRY)
