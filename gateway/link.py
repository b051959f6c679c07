"""One worker as the gateway reaches it: requests on one pool of connections, everything about keys on another.

What passes here is opaque: ciphertext, bundles, the four messages of a join, and the ledger's proofs. The two pools are
apart so that a poll never queues behind requests, and a slow model cannot make its worker look dead.
"""

import asyncio
from typing import Final

from gateway.pool import Pool, Worker
from seclude.attestation.bundle import MAX_BUNDLE
from seclude.daemon.tls import ClientCertificates
from seclude.daemon.upstream import Upstream, UpstreamTimeouts
from seclude.errors import DecodeError, UpstreamError
from seclude.ohttp.media import ANSWERED_BY, INCREMENTAL
from seclude.pool import OCTETS, Birth, Message, Shared, Status, parse_status, serialize_birth, serialize_shared

# With the second below: a worker that hangs is out after 1.5 seconds, and what it had is given up after three.
POLL_SECONDS: Final = 0.5
STATUS_TIMEOUT_SECONDS: Final = 1.0  # the answer is a small document about the worker's own memory
CONTROL_TIMEOUT_SECONDS: Final = 10.0  # evidence from a TPM takes one to two seconds, a vendor's service a few more
MAX_CONTROL_BYTES: Final = 4 * MAX_BUNDLE  # octets; sealed keys travel with the bundles of three live epochs


class Link:
    """The way to one worker."""

    def __init__(
        self,
        address: str,
        deadline_seconds: float,
        *,
        tls: ClientCertificates | None = None,
        insecure_plaintext: bool = False,
    ) -> None:
        self.requests: Final = Upstream(
            address,
            timeouts=UpstreamTimeouts(total=deadline_seconds),
            tls=tls,
            insecure_plaintext=insecure_plaintext,
        )
        self.heads: Final = {
            kind: self.requests.prepare("POST", Message.REQUEST, content_type=kind, incremental=kind in INCREMENTAL)
            for kind in ANSWERED_BY
        }
        """The head of every encapsulated request, by its media type."""
        self._control = Upstream(
            address,
            timeouts=UpstreamTimeouts(total=CONTROL_TIMEOUT_SECONDS),
            max_answer_bytes=MAX_CONTROL_BYTES,
            tls=tls,
            insecure_plaintext=insecure_plaintext,
        )

    async def status(self) -> Status:
        """Return what the worker says of itself; raises UpstreamError or DecodeError."""
        try:
            async with asyncio.timeout(STATUS_TIMEOUT_SECONDS):
                return parse_status(await self._say("GET", Message.STATUS))
        except TimeoutError:
            raise UpstreamError("no status in time", timed_out=True) from None

    async def birth(self, epoch: int, proofs: bytes = b"") -> bytes:
        """Return the bundle of an epoch, whose key the worker makes now unless it holds one already."""
        return await self._say("POST", Message.BIRTH, OCTETS, serialize_birth(Birth(epoch, proofs)))

    async def nonce(self) -> bytes:
        """Return a nonce from a member of the pool; it is good for one join."""
        return await self._say("POST", Message.NONCE)

    async def join(self, nonce: bytes) -> bytes:
        """Return the request of a worker that wants in, made for a member's nonce."""
        return await self._say("POST", Message.JOIN, OCTETS, nonce)

    async def admit(self, request: bytes) -> bytes:
        """Return the keys that a member sealed to the one who asked."""
        return await self._say("POST", Message.ADMIT, OCTETS, request)

    async def keys(self, sealed: bytes, proofs: bytes = b"") -> None:
        """Give a worker the keys that a member sealed to it, and what shows that they are logged."""
        await self._say("POST", Message.KEYS, OCTETS, serialize_shared(Shared(sealed, proofs)))

    async def retire(self) -> None:
        """Let a worker stop that said it is due."""
        await self._say("POST", Message.RETIRE)

    async def close(self) -> None:
        """Close both pools of connections."""
        await self.requests.close()
        await self._control.close()

    async def _say(self, method: str, message: Message, content_type: str | None = None, body: bytes = b"") -> bytes:
        answer = await self._control.exchange(method, message, content_type=content_type, body=body)
        if answer.status not in (200, 204):
            raise RefusedError(message, answer.status)
        return answer.body


class RefusedError(UpstreamError):
    """Raised when a worker answered a message of the control plane with an error."""

    def __init__(self, message: Message, status: int) -> None:
        super().__init__(f"a worker answered {status} to {message}")
        self.message = message
        self.status = status


async def poll(pool: Pool, worker: Worker, link: Link) -> None:
    """Ask one worker how it is and tell the pool."""
    generation = worker.generation
    try:
        status = await link.status()
    except (RefusedError, DecodeError):  # it is alive and may be at work, so nothing that it has is given up
        pool.observe(worker, None, generation)
    except UpstreamError:
        pool.miss(worker)
    else:
        pool.observe(worker, status, generation)


async def keep_polling(pool: Pool, worker: Worker, link: Link) -> None:
    """Follow one worker for as long as the gateway runs."""
    while True:
        await poll(pool, worker, link)
        await asyncio.sleep(POLL_SECONDS)
