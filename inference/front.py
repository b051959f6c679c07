"""What the worker answers on its one socket: encapsulated requests, and the gateway's carrying of the pool's messages.

The gateway is not trusted. What it may ask for here is harmless in any order: a status, a birth in the current slot,
the four messages of a join, whose contents it cannot read or forge.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Final

import msgspec

from inference.join import MAX_JOIN_KEYS, MAX_JOIN_REQUEST, Joiner, Member
from inference.keyring import Keyring
from inference.open import Task, answer_request, open_request
from seclude.attestation.slots import Slots
from seclude.daemon.messages import Request, Response
from seclude.daemon.problems import refusal
from seclude.errors import BusyError, DecodeError, MediaTypeError, PeerError
from seclude.ohttp.media import KEY_BUNDLE, OHTTP_REQ, OHTTP_RES, media_type
from seclude.tasks import MAX_REQUEST_BYTES

OCTETS: Final = "application/octet-stream"
JSON: Final = "application/json"
MAX_BODY: Final = max(2 * MAX_REQUEST_BYTES, MAX_JOIN_REQUEST, MAX_JOIN_KEYS)  # encapsulation and padding add little


class Birth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which epoch the gateway wants keys for; the worker computes from its own clock whether it may exist."""

    epoch: Annotated[int, msgspec.Meta(ge=0)]


class Front:
    """Routes one request to the keyring, the join, or the opener; keeps nothing of it."""

    def __init__(
        self,
        keyring: Keyring,
        member: Member,
        joiner: Joiner,
        task: Task,
        *,
        executor: ThreadPoolExecutor,
        max_inflight: int,
        observe: Callable[[str, float], None],
        draining: Callable[[], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keyring = keyring
        self._member = member
        self._joiner = joiner
        self._task = task
        self._executor = executor
        self._max_inflight = max_inflight
        self._observe = observe
        self._draining = draining
        self._clock = clock
        self._inflight = 0

    def reasons(self) -> list[str]:
        """Say why this worker is not ready, if it is not."""
        reasons = ["draining"] if self._draining() else []
        if self._slots.epoch_at(self._clock()) not in {epoch.number for epoch in self._keyring.epochs()}:
            reasons.append("no key for the current epoch")
        return reasons

    @property
    def _slots(self) -> Slots:
        return self._keyring.policy.slots

    async def handle(self, request: Request) -> Response:
        """Answer one request of the gateway's."""
        match request.method, request.path:
            case "POST", "/ohttp":
                return await self._ohttp(request)
            case "GET", "/pool/status":
                return self._status()
            case "POST", "/pool/birth":
                return await self._birth(request)
            case "POST", "/pool/nonce":
                return Response(200, OCTETS, self._member.nonce(self._clock()))
            case "POST", "/pool/join":
                return Response(200, OCTETS, self._joiner.request(await request.body.read(), self._clock()))
            case "POST", "/pool/admit":
                return Response(200, OCTETS, self._member.admit(await request.body.read(), self._clock()))
            case "POST", "/pool/keys":
                self._joiner.accept(await request.body.read(), self._clock())
                return Response(204)
            case _:
                return refusal(404)

    async def _ohttp(self, request: Request) -> Response:
        if media_type(request.content_type) != OHTTP_REQ:
            raise MediaTypeError("not message/ohttp-req")
        if self._inflight >= self._max_inflight:
            raise BusyError("too many requests at once")
        self._inflight += 1
        try:
            data = await request.body.read()
            started = time.perf_counter()
            try:
                opened = open_request(data, self._keyring.keys(self._clock()), self._keyring.insert)
            except PeerError:
                self._observe("refused", time.perf_counter() - started)
                raise
            self._observe("ok", time.perf_counter() - started)
            del data
            loop = asyncio.get_running_loop()
            answer, _ = await loop.run_in_executor(self._executor, answer_request, opened, self._task, self._clock())
            return Response(200, OHTTP_RES, answer)
        finally:
            self._inflight -= 1

    def _status(self) -> Response:
        reasons = self.reasons()
        epochs = [
            {"epoch": epoch.number, "core": epoch.core_digest.hex(), "key_ids": list(epoch.key_ids)}
            for epoch in self._keyring.epochs()
        ]
        status = {
            "ready": not reasons,
            "reasons": reasons,
            "inflight": self._inflight,
            "manifest": self._keyring.measurement.hex(),
            "epochs": epochs,
        }
        return Response(200, JSON, msgspec.json.encode(status), (("Cache-Control", "no-store"),))

    async def _birth(self, request: Request) -> Response:
        try:
            birth = msgspec.json.decode(await request.body.read(), type=Birth)
        except (msgspec.DecodeError, ValueError):
            raise DecodeError("birth request is not as documented") from None
        return Response(200, KEY_BUNDLE, self._keyring.birth(birth.epoch, self._clock()))
