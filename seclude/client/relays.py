"""Which relay is asked: one at random each time, and another only where nothing can be processed twice.

A request that may have been processed must not be repeated without the caller's word (RFC 9458, section 6.5), so a
refused connection moves a request on and nothing else does. Keys may be asked for as often as one likes.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from secrets import SystemRandom
from typing import Final, Literal, Self, TypeVar
from urllib.parse import urlsplit

from seclude.client.hop import TOTAL_SECONDS, Hop, Incoming, NotSentError
from seclude.daemon.messages import UpstreamResponse
from seclude.errors import BusyError, ConfigError, Error, UpstreamError, VerificationError
from seclude.ohttp.media import GATEWAY_PATH

UNREACHABLE_SECONDS: Final = 30.0  # a relay restarts in less; a phone that changes its network waits for one no longer
RANDOM: Final = SystemRandom()  # nobody who sees some choices can tell the next

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """One URL of the trust file: a relay, or the gateway, which is asked for nothing but keys."""

    url: str
    party: Literal["relay", "gateway"]
    hop: Hop
    path: str

    @classmethod
    def connect(cls, url: str, party: Literal["relay", "gateway"]) -> Self:
        """Return the way to a party, without using it yet; raises ConfigError."""
        try:
            parts = urlsplit(url)
            # One spelling, so that the same place named twice is seen to be the same.
            base, path = f"{parts.scheme}://{parts.netloc.lower()}", parts.path.rstrip("/") or GATEWAY_PATH
            return cls(base + path, party, Hop(base), path)
        except (ConfigError, ValueError):
            raise ConfigError(
                f"trust file: {_setting(party)} must be https://HOST[:PORT] with or without a path, "
                "or http:// on this machine"
            ) from None

    @property
    def setting(self) -> str:
        """The key of the trust file that names it."""
        return _setting(self.party)

    async def exchange(
        self,
        method: str,
        *,
        accept: str | None = None,
        content_type: str | None = None,
        body: bytes = b"",
        seconds: float = TOTAL_SECONDS,
    ) -> UpstreamResponse:
        """Send one request; raises NotSentError or UpstreamError that says what to do."""
        with self.explaining():
            return await self.hop.exchange(
                method, self.path, accept=accept, content_type=content_type, body=body, seconds=seconds
            )

    async def begin(self, content_type: str, body: bytes) -> Incoming:
        """Post something whose answer may come in pieces; raises as above."""
        with self.explaining():
            return await self.hop.begin(self.path, content_type, body)

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn what goes wrong on the way into sentences that say what to do."""
        try:
            yield
        except NotSentError as exc:
            sentence = f"the {self.party} cannot be reached; check the network and `{self.setting}` in the trust file"
            raise NotSentError(sentence, timed_out=exc.timed_out) from exc
        except UpstreamError as exc:
            if exc.timed_out:
                raise self.late() from exc
            raise UpstreamError(f"the {self.party} gave no whole answer; try again later") from exc

    def late(self) -> UpstreamError:
        """Return what to raise where an answer takes too long."""
        return UpstreamError(f"the {self.party} did not answer in time; try again later", timed_out=True)


class Relays:
    """The relays of a trust file. `clock` counts seconds, from whenever."""

    def __init__(self, urls: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        if not urls:
            raise ConfigError("trust file: relays names none")
        self.endpoints: Final = tuple(Endpoint.connect(url, "relay") for url in urls)
        self._clock = clock
        self._unreachable: dict[Endpoint, float] = {}

    async def send(self, attempt: Callable[[Endpoint], Awaitable[T]]) -> T:
        """Return what `attempt` returns for one relay.

        It is called for another only after NotSentError, and must encapsulate anew each time: the relays must not be
        able to tell that two requests are one.
        """
        *others, last = self._order()
        for endpoint in others:
            try:
                return await self._ask(endpoint, attempt)
            except NotSentError:
                continue  # the last one's failure is raised
        return await self._ask(last, attempt)

    async def fetch(self, attempt: Callable[[Endpoint], Awaitable[T]], enough: Callable[[T], bool]) -> list[T]:
        """Return what `attempt` returns for one relay after the other, up to the first that is `enough`.

        For what may be asked of the others after any failure. Where none of them answers, the first refusal to trust
        one is raised, or else the last failure.
        """
        answers: list[T] = []
        failures: list[Error] = []
        for endpoint in self._order():
            try:
                answers.append(await self._ask(endpoint, attempt))
            except (UpstreamError, BusyError, VerificationError) as exc:
                failures.append(exc)
                continue
            if enough(answers[-1]):
                break
        if not answers:
            raise next((each for each in failures if isinstance(each, VerificationError)), failures[-1])
        return answers

    async def _ask(self, endpoint: Endpoint, attempt: Callable[[Endpoint], Awaitable[T]]) -> T:
        try:
            return await attempt(endpoint)
        except NotSentError:
            self._unreachable[endpoint] = self._clock()
            raise

    def _order(self) -> list[Endpoint]:
        """Return all relays in an order drawn anew, but those last that could not be reached a moment ago."""
        since = self._clock() - UNREACHABLE_SECONDS
        drawn = RANDOM.sample(self.endpoints, len(self.endpoints))
        return sorted(drawn, key=lambda endpoint: self._unreachable.get(endpoint, since) > since)


def _setting(party: str) -> str:
    return "relays" if party == "relay" else party
