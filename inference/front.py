"""What the worker answers on its one socket: encapsulated requests, and the gateway's carrying of the pool's messages.

The gateway is not trusted. What it may ask for here is harmless in any order: a status, a birth in the current slot,
the four messages of a join, whose contents it cannot read or forge. Evidence and proofs that this worker does not
believe are answered with 422, and so is an epoch whose time it is not: the fault is not in here.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from inference.answer import Task, problem
from inference.chunked import OpenedChunks, Opening, respond_chunked, seal_chunks
from inference.join import MAX_JOIN_KEYS, MAX_JOIN_REQUEST, Joiner, Member
from inference.keyring import Keyring
from inference.lifetime import Lifetime
from inference.open import Opened, open_request, respond
from inference.pace import Line, Pace, paced
from inference.runner import Runner
from seclude.attestation.bundle import MAX_PROOFS
from seclude.attestation.slots import NOT_BEGUN
from seclude.daemon.messages import Request, Response, Streamed
from seclude.daemon.problems import refusal
from seclude.errors import BusyError, DecodeError, MediaTypeError, VerificationError
from seclude.ohttp.media import AS_IT_COMES, KEY_BUNDLE, OHTTP_CHUNKED_REQ, OHTTP_CHUNKED_RES, OHTTP_REQ, OHTTP_RES
from seclude.pool import (
    DRAINING,
    JSON,
    OCTETS,
    SHARED_HEAD,
    Held,
    Message,
    Status,
    parse_birth,
    parse_shared,
    serialize_status,
)
from seclude.tasks import MAX_REQUEST_BYTES

MAX_SHARED: Final = len(SHARED_HEAD) + 4 + MAX_JOIN_KEYS + 4 + MAX_PROOFS
MAX_BODY: Final = max(2 * MAX_REQUEST_BYTES, MAX_JOIN_REQUEST, MAX_SHARED)  # encapsulation and padding add little
PATHS: Final = frozenset(Message)


class Front:
    """Routes one request to the keyring, the join, or the opener; keeps nothing of it."""

    def __init__(
        self,
        keyring: Keyring,
        member: Member,
        joiner: Joiner,
        task: Task,
        *,
        runner: Runner,
        pace: Pace,
        observe: Callable[[str, float], None],
        draining: Callable[[], bool],
        engine_ended: Callable[[], bool] = lambda: False,
        clock: Callable[[], float],
        lifetime: Lifetime,
        retire: Callable[[], None],
        disbelieve: Callable[[VerificationError], None],
    ) -> None:
        """`retire` ends the worker in good order; it is called when the gateway says so and the lifetime is due.

        `disbelieve` is told why evidence or proofs were refused; the gateway is not.
        """
        self._keyring = keyring
        self._member = member
        self._joiner = joiner
        self._task = task
        self._runner = runner
        self._pace = pace
        self._observe = observe
        self._draining = draining
        self._engine_ended = engine_ended
        self._clock = clock
        self._lifetime = lifetime
        self._retire = retire
        self._disbelieve = disbelieve

    def reasons(self) -> list[str]:
        """Say why this worker is not ready, if it is not."""
        reasons = [DRAINING] if self._draining() else []
        if self._engine_ended():
            reasons.append("the language model's engine has ended")
        slots, now = self._keyring.policy.slots, self._clock()
        if not slots.have_begun(now):
            return [*reasons, NOT_BEGUN]
        current = [epoch for epoch in self._keyring.epochs() if epoch.number == slots.epoch_at(now)]
        if not current:
            reasons.append("no key for the current epoch")
        if any(epoch.replays.is_full for epoch in current):
            reasons.append("the replay set of the current epoch is full")
        return reasons

    async def handle(self, request: Request) -> Response | Streamed:
        """Answer one request of the gateway's."""
        try:
            return await self._route(request)
        except VerificationError as exc:
            self._disbelieve(exc)
            return refusal(422)

    async def _route(self, request: Request) -> Response | Streamed:
        match request.method, request.path:
            case "POST", Message.REQUEST:
                return await self._ohttp(request)
            case "GET", Message.STATUS:
                return self._status()
            case "POST", Message.BIRTH:
                return await self._birth(request)
            case "POST", Message.NONCE:
                return Response(200, OCTETS, self._member.nonce(self._clock()))
            case "POST", Message.JOIN:
                return Response(200, OCTETS, await self._joiner.request(await request.body.read(), self._clock()))
            case "POST", Message.ADMIT:
                keys = self._member.admit(await request.body.read(), self._clock())
                self._lifetime.shared = True
                return Response(200, OCTETS, keys)
            case "POST", Message.KEYS:
                shared = parse_shared(await request.body.read())
                self._joiner.accept(shared.keys, self._clock(), shared.proofs)
                self._lifetime.shared = True
                return Response(204)
            case "POST", Message.RETIRE:
                if not self._lifetime.due:
                    return refusal(409)
                self._retire()
                return Response(204)
            case _, Message.STATUS:
                return refusal(405, fields=(("Allow", "GET"),))
            case _, path if path in PATHS:
                return refusal(405, fields=(("Allow", "POST"),))
            case _:
                return refusal(404)

    async def _ohttp(self, request: Request) -> Response | Streamed:
        if request.media_type == OHTTP_CHUNKED_REQ:
            return Streamed(OHTTP_CHUNKED_RES, self._answer(await self._open_chunks(request)), AS_IT_COMES)
        if request.media_type != OHTTP_REQ:
            raise MediaTypeError("not of Oblivious HTTP")
        opened = self._open(await request.body.read())
        return Response(200, OHTTP_RES, await respond(opened, self._task, self._clock(), self._runner))

    async def _answer(self, opened: OpenedChunks) -> AsyncGenerator[bytes, None]:
        """Yield the answer; nothing is begun for a device that went away before it was asked for."""
        line, now, failure = Line(), self._clock(), opened.failure
        job: asyncio.Future[list[bytes]]
        try:
            self._runner.require_room()  # while the rest of the request was on its way, others may have taken it
        except BusyError as exc:
            failure = failure or exc
        if failure is None:
            job = asyncio.ensure_future(respond_chunked(opened, self._task, now, self._runner, line))
        else:
            job = asyncio.get_running_loop().create_future()
            job.set_result(seal_chunks(opened, problem(failure, now)))
        async with aclosing(paced(line, job, opened.sealer, self._pace)) as pieces:
            async for piece in pieces:
                yield piece

    async def _open_chunks(self, request: Request) -> OpenedChunks:
        """Open a request as it comes; one that is refused is read no further."""
        opening: Opening | None = None
        seconds, result = 0.0, "refused"
        try:
            async for data in request.body.pieces():
                if opening is None:
                    self._require_room(data)
                    opening = Opening(self._keyring.keys(self._clock()), self._keyring.insert)
                started = time.perf_counter()
                opening.feed(data)
                seconds += time.perf_counter() - started
                if opening.failure is not None:
                    break
            if opening is None:
                raise DecodeError("empty request")
            started = time.perf_counter()
            opened = opening.finish()  # a short request is all in its last chunk, and opens here
            seconds += time.perf_counter() - started
            result = "ok"
            self._lifetime.served += 1
        finally:
            self._observe(result, seconds)
        return opened

    def _require_room(self, data: bytes) -> None:
        """Refuse what cannot be run or remembered, in plain, before any work is done."""
        self._runner.require_room()
        if data:
            self._keyring.require_room(data[0])  # the key identifier (RFC 9458, section 4.1)

    def _open(self, data: bytes) -> Opened:
        """Open a request that is there."""
        self._require_room(data)
        started = time.perf_counter()
        result = "refused"
        try:
            opened = open_request(data, self._keyring.keys(self._clock()), self._keyring.insert)
            result = "ok"
            self._lifetime.served += 1
        finally:
            self._observe(result, time.perf_counter() - started)
        return opened

    def _status(self) -> Response:
        reasons = self.reasons()
        epochs = tuple(
            Held(epoch.number, epoch.core_digest.hex(), frozenset(epoch.key_ids)) for epoch in self._keyring.epochs()
        )
        status = Status(not reasons, tuple(reasons), self._keyring.measurement.hex(), epochs, self._lifetime.due)
        return Response(200, JSON, serialize_status(status), (("Cache-Control", "no-store"),))

    async def _birth(self, request: Request) -> Response:
        birth = parse_birth(await request.body.read())
        return Response(200, KEY_BUNDLE, await self._keyring.birth(birth.epoch, self._clock(), birth.proofs))
