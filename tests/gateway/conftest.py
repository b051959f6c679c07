"""Workers that the tests write the behaviour of, and a gateway around them.

A FakeWorker is a small HTTP server on loopback. It records every request and can misbehave on the wire. It keeps to
the rules of a join as a real worker does; its keys are random octets, since a gateway cannot tell.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Protocol, cast

import pytest

from gateway.duplicates import Duplicates
from gateway.epochs import Reconciler
from gateway.ledger import LedgerError
from gateway.link import Link, keep_polling, poll
from gateway.plan import Step
from gateway.pool import Pool, Worker
from gateway.report import NAMES
from gateway.route import Gateway
from inference.join import (
    MAX_PENDING,
    NONCE_BYTES,
    ONE_TIME_KEY_BYTES,
    SUITE,
    JoinKeys,
    JoinRequest,
    parse_join_keys,
    parse_join_request,
    serialize_join_keys,
    serialize_join_request,
)
from seclude.attestation.bundle import (
    MAX_EPOCHS,
    Bundle,
    Core,
    core_digest,
    parse_bundle,
    parse_core,
    serialize_bundle,
    serialize_core,
)
from seclude.attestation.proofs import epoch_leaf, parse_proofs
from seclude.attestation.slots import Slots, x25519_key_id
from seclude.daemon.messages import Head, Request, Response
from seclude.daemon.problems import answer_for
from seclude.daemon.transaction import Carrier, Transaction
from seclude.errors import BusyError, DecodeError, Error, ReplayError
from seclude.ohttp.keyconfig import KeyConfig, RequestHeader, SymmetricAlgorithms, serialize_key_configs
from seclude.ohttp.keyconfig import serialize_request_header as header_bytes
from seclude.ohttp.media import GATEWAY_PATH, OHTTP_REQ, OHTTP_RES
from seclude.pool import parse_birth, parse_shared
from tests.gateway.fakeledger import FakeLedger, Heard, client
from tests.gateway.loopback import OnLoopback

PERIOD = 600
RELEASE = sha256(b"a release").hexdigest()
ANSWER = b"an encapsulated answer"


def new_bundle(epoch: int) -> bytes:
    """Return a bundle with a key that nobody has."""
    config = KeyConfig(x25519_key_id(epoch), 0x0020, os.urandom(32), (SymmetricAlgorithms(1, 1),))
    core = Core("worker", "origin.invalid", epoch, serialize_key_configs([config]), bytes(32), b"policy", b"checkpoint")
    return serialize_bundle(Bundle(serialize_core(core), b"evidence"))


def is_logged(bundle: bytes, proofs: bytes) -> bool:
    """Whether proofs show a bundle, as a joiner looks at it."""
    parts = parse_bundle(bundle)
    leaf = parse_proofs(proofs).keys.outline.leaf(parse_core(parts.core).epoch)
    return leaf == epoch_leaf(parts.core, parts.evidence)


def core_of(bundle: bytes) -> str:
    """Return the digest by which everyone names a bundle's core."""
    return core_digest(parse_bundle(bundle).core).hex()


def encapsulated(epoch: int, size: int = 64) -> bytes:
    """Return what looks like a request for an epoch's key."""
    return header_bytes(RequestHeader(x25519_key_id(epoch), 0x0020, 1, 1)) + os.urandom(size)


@dataclass(frozen=True, slots=True)
class Received:
    """One request as a worker saw it."""

    method: str
    path: str
    head: bytes
    body: bytes


@dataclass
class FakeWorker(OnLoopback):
    """A worker whose every answer can be set."""

    index: int = 0
    ready: bool = True
    reasons: list[str] = field(default_factory=list)
    manifest: str = RELEASE
    logs: bool = False
    """Whether it wants proofs of a ledger, and takes no keys that are not logged."""
    due: bool = False
    """Whether it wishes to be renewed; it then drains as soon as it is told to."""
    bundles: dict[int, bytes] = field(default_factory=dict)
    behaviour: str = "answer"
    """What happens to POST /ohttp: answer, hang, hang_after_octet, close, close_after_octet, raw, or a status."""
    raw: bytes = b""
    raw_status: bytes | None = None
    """What GET /pool/status is answered with instead of the truth."""
    refuse: dict[str, int] = field(default_factory=dict)
    """Statuses with which paths are refused."""
    hang: set[str] = field(default_factory=set)
    """Paths that are never answered."""
    delay: float = 0.0
    received: list[Received] = field(default_factory=list)
    gone: int = 0
    """How many requests were abandoned by the gateway before the answer."""
    most: int = 0
    """The most requests that were here at once."""
    _here: int = 0
    _nonces: set[bytes] = field(default_factory=set)
    """Of joins for which this worker is the member."""
    _pending: dict[bytes, bytes] = field(default_factory=dict)
    """One-time keys by nonce, of joins for which it is the joiner."""

    def paths(self, path: str) -> list[Received]:
        """Return the requests for one path."""
        return [request for request in self.received if request.path == path]

    def forget(self) -> None:
        """Lose what only memory held."""
        self.bundles.clear()
        self._nonces.clear()
        self._pending.clear()

    async def _serve(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
        self.received.append(Received(method, path, head, body))
        if path in self.hang:
            await self._until_gone(reader)
        if path in self.refuse:
            writer.write(http(self.refuse[path], "application/problem+json", b"{}"))
        elif path == "/ohttp":
            self._here += 1
            self.most = max(self.most, self._here)
            try:
                writer.write(await self._ohttp(reader, writer))
            finally:
                self._here -= 1
        else:
            try:
                status, answer = self._control(path, body)
            except Error as exc:
                status, answer = answer_for(exc).status, b""
            writer.write(http(status, "application/octet-stream", answer))

    async def _until_gone(self, reader: asyncio.StreamReader) -> None:
        await reader.read(1)
        self.gone += 1
        raise ConnectionResetError

    async def _ohttp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        if self.delay:
            await asyncio.sleep(self.delay)
        match self.behaviour:
            case "answer":
                return http(200, OHTTP_RES, ANSWER)
            case "raw":
                return self.raw
            case "hang":
                await self._until_gone(reader)
            case "hang_after_octet":
                writer.write(b"H")
                await self._until_gone(reader)
            case "close":
                raise ConnectionResetError
            case "close_after_octet":
                writer.write(b"H")
                await writer.drain()
                await asyncio.sleep(0.05)  # so that the octet is not lost in the reset
                raise ConnectionResetError
        return http(int(self.behaviour), "application/problem+json", b"{}")

    def _control(self, path: str, body: bytes) -> tuple[int, bytes]:
        match path:
            case "/pool/status":
                return 200, json.dumps(self.status()).encode() if self.raw_status is None else self.raw_status
            case "/pool/birth":
                birth = parse_birth(body)
                if self.logs and not birth.proofs:
                    return 422, b""
                return 200, self.bundles.setdefault(birth.epoch, new_bundle(birth.epoch))
            case "/pool/nonce":
                nonce = os.urandom(NONCE_BYTES)
                self._nonces.add(nonce)
                return 200, nonce
            case "/pool/join":
                return 200, self._ask_to_join(body)
            case "/pool/admit":
                return 200, self._admit(parse_join_request(body))
            case "/pool/keys":
                shared = parse_shared(body)
                keys = parse_join_keys(shared.keys)
                if self.logs and not all(is_logged(bundle, shared.proofs) for bundle in keys.bundles):
                    return 422, b""
                self._accept(keys)
                return 204, b""
            case "/pool/retire" if self.due:
                self.reasons = ["draining"]
                return 204, b""
            case "/pool/retire":
                return 409, b""
        return 404, b""

    def _ask_to_join(self, nonce: bytes) -> bytes:
        if len(nonce) != NONCE_BYTES:
            raise DecodeError("nonce")
        self._pending[nonce] = key = os.urandom(ONE_TIME_KEY_BYTES)
        if len(self._pending) > MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        return serialize_join_request(JoinRequest(nonce, key, b"evidence"))

    def _admit(self, request: JoinRequest) -> bytes:
        if request.nonce not in self._nonces:
            raise ReplayError("nonce")
        self._nonces.remove(request.nonce)
        if not self.bundles:
            raise BusyError("nothing to share")
        bundles = tuple(self.bundles[epoch] for epoch in sorted(self.bundles)[-MAX_EPOCHS:])
        # To "seal" is to name the one-time key: what comes back for another key or another nonce does not open.
        sealed = sha256(request.nonce + request.one_time_key).digest()
        return serialize_join_keys(JoinKeys(request.nonce, bundles, os.urandom(SUITE.nenc), sealed))

    def _accept(self, keys: JoinKeys) -> None:
        key = self._pending.pop(keys.nonce, None)
        if key is None:
            raise ReplayError("no such join is under way")
        if keys.sealed != sha256(keys.nonce + key).digest():
            raise DecodeError("sealed")
        self.bundles |= {parse_core(parse_bundle(bundle).core).epoch: bundle for bundle in keys.bundles}

    def status(self) -> dict[str, object]:
        """Return what GET /pool/status says."""
        epochs = [
            {"epoch": epoch, "core": core_of(bundle), "key_ids": [x25519_key_id(epoch)]}
            for epoch, bundle in self.bundles.items()
        ]
        return {
            "ready": self.ready and bool(epochs) and not self.reasons,
            "reasons": self.reasons or ([] if epochs else ["no epoch"]),
            "manifest": self.manifest,
            "epochs": epochs,
            "due": self.due,
        }


def http(status: int, kind: str, body: bytes, *fields: str) -> bytes:
    """Write one HTTP answer."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *fields]
    if status == 204:
        lines, body = lines[:1], b""
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Clock:
    """A clock that stands wherever a test puts it."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Steps:
    """Remembers what a reconciler did."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, int, str | None]] = []

    def stepped(self, step: Step, failure: Exception | None) -> None:
        name = NAMES[type(step)]
        self.taken.append((name, step.worker.index, None if failure is None else type(failure).__name__))


@dataclass
class Asked:
    """A request as the server would give it to the gateway, and what came of it; no socket is involved."""

    request: Head
    data: bytes = b""
    done: bool = False
    begun: bool = False
    carrier: Carrier | None = None
    given: bytes = b""
    kind: str = ""
    answered: asyncio.Future[Response] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def carry(self, carrier: Carrier) -> None:
        self.carrier = carrier

    def admit(self, whole: bool = True) -> None: ...

    def hold(self, octets: int) -> None: ...

    def pause_body(self) -> None: ...

    def resume_body(self) -> None: ...

    def respond(self, response: Response) -> None:
        self.done = True
        self.answered.set_result(response)

    def answer(self, content_type: str, body: bytes) -> None:
        self.respond(Response(200, content_type, body))

    def begin(self, content_type: str, length: int | None, fields: object = ()) -> None:
        self.begun, self.kind = True, content_type

    def write(self, piece: bytes) -> None:
        self.given += piece

    def finish(self) -> None:
        self.respond(Response(200, self.kind, self.given))

    def fail(self, exc: Exception) -> None:
        if self.begun:
            self.done = True
            self.answered.set_exception(BrokenOffError())
        else:
            self.respond(answer_for(exc))


class BrokenOffError(Exception):
    """Raised where the client would see its answer end before its end."""


async def handle(gateway: Gateway, asked: Asked) -> Response:
    """Let the gateway answer; a cancelled wait is a client that goes away."""
    transaction = cast(Transaction, asked)
    try:
        gateway.handle(transaction)
        if asked.carrier is not None:
            asked.carrier.body(asked.data, ended=True)
    except Error as exc:
        asked.fail(exc)
        if asked.carrier is not None:
            asked.carrier.client_lost()
    try:
        return await asked.answered
    except asyncio.CancelledError:
        if asked.carrier is not None:
            asked.carrier.client_lost()
        raise


def post(body: bytes, *, path: str = GATEWAY_PATH, content_type: str | None = OHTTP_REQ) -> Asked:
    """Return a request with a body."""
    return Asked(Request("POST", path, content_type, None, len(body), NoBody()), body)


def get(accept: str | None = None, *, method: str = "GET") -> Asked:
    """Return a request for keys."""
    return Asked(Request(method, GATEWAY_PATH, None, accept, 0, NoBody()))


class NoBody:
    """Where nobody reads a body."""

    async def read(self) -> bytes:
        raise AssertionError("the gateway carries bodies, and reads none")

    def pieces(self) -> AsyncIterator[bytes]:
        raise AssertionError("the gateway carries bodies, and reads none")


@dataclass
class House:
    """A gateway, without its server, before a pool of fake workers."""

    fakes: list[FakeWorker]
    clock: Clock
    single: bool = False
    deadline: float = 5.0
    announce: float = 0.0
    """Most tests are about one slot, so that the next one is left alone."""
    log: FakeLedger | None = None
    retries: int = 0
    steps: Steps = field(default_factory=Steps)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = Pool(len(self.fakes))
        self.links = [Link(fake.address, self.deadline) for fake in self.fakes]
        self.heard = Heard()
        self.ledger = None if self.log is None else client(self.log, self.heard)
        self.reconciler = Reconciler(
            self.pool,
            self.links,
            Slots(0, PERIOD),
            self.clock,
            single=self.single,
            announce_seconds=self.announce,
            observer=self.steps,
            ledger=self.ledger,
        )
        self.gateway = Gateway(
            self.pool,
            self.links,
            self.reconciler,
            Duplicates(),
            deadline_seconds=self.deadline,
            count_retry=self._count_retry,
        )

    def _count_retry(self) -> None:
        self.retries += 1

    @property
    def workers(self) -> tuple[Worker, ...]:
        return self.pool.workers

    async def look(self) -> None:
        """Poll every worker once."""
        for worker in self.workers:
            await poll(self.pool, worker, self.links[worker.index])

    async def settle(self) -> None:
        """Poll every worker and reconcile until nothing is left to do."""
        await self.look()
        if self.ledger is not None:
            with contextlib.suppress(LedgerError):
                await self.ledger.fetch()
        await self.reconciler.reconcile()

    def run(self) -> None:
        """Start the tasks that the daemon runs."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(keep_polling(self.pool, worker, self.links[worker.index])) for worker in self.workers
        ]
        self._tasks.append(loop.create_task(self.reconciler.run()))
        if self.ledger is not None:
            self._tasks.append(loop.create_task(self.ledger.keep(self.pool.wake)))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in self.links:
            await link.close()
        if self.ledger is not None:
            await self.ledger.close()


class Build(Protocol):
    """Starts fake workers and a gateway before them, at the middle of slot 1000; with `logs`, beside a fake ledger."""

    async def __call__(
        self, size: int, *, single: bool = False, deadline: float = 5.0, announce: float = 0.0, logs: bool = False
    ) -> House: ...


@pytest.fixture
async def build() -> AsyncIterator[Build]:
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            size: int, *, single: bool = False, deadline: float = 5.0, announce: float = 0.0, logs: bool = False
        ) -> House:
            fakes = [FakeWorker(index, logs=logs) for index in range(size)]
            for fake in fakes:
                await fake.start()
                stack.push_async_callback(fake.stop)
            log = FakeLedger(1000.5 * PERIOD) if logs else None
            if log is not None:
                await log.start()
                stack.push_async_callback(log.stop)
            house = House(fakes, Clock(1000.5 * PERIOD), single, deadline, announce, log)
            stack.push_async_callback(house.close)
            return house

        yield start


@dataclass
class Running:
    """`python -m gateway` as a process of its own."""

    process: asyncio.subprocess.Process
    log: Path
    listen: str
    admin: str
    admins: list[str] = field(default_factory=list)
    """Of each process, where there are several."""

    def lines(self) -> list[dict[str, object]]:
        """Return what it logged so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    async def ask(self, body: bytes, *fields: str) -> tuple[int, bytes, bytes]:
        """Send one encapsulated request; return status, head and body of the answer."""
        head = [f"POST {GATEWAY_PATH} HTTP/1.1", f"Content-Type: {OHTTP_REQ}", f"Content-Length: {len(body)}", *fields]
        return await talk(
            self.listen, "\r\n".join([*head, "Host: gateway", "Connection: close", "", ""]).encode() + body
        )

    async def fetch(self, path: str, *, address: str | None = None, accept: str = "*/*") -> tuple[int, bytes, bytes]:
        """GET a path of the admin port, or of another address."""
        head = f"GET {path} HTTP/1.1\r\nHost: gateway\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        return await talk(address or self.admin, head.encode())

    async def until(self, status: int) -> None:
        """Wait until /readyz of every process answers with a status."""
        async with asyncio.timeout(10):
            for admin in self.admins or [self.admin]:
                while (await self.fetch("/readyz", address=admin))[0] != status:  # noqa: ASYNC110 - another process's
                    await asyncio.sleep(0.02)


async def talk(address: str, data: bytes) -> tuple[int, bytes, bytes]:
    """Send one HTTP request; return status, head and body of the answer."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        answer = await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head, body


class Launch(Protocol):
    """Starts the daemon before some fake workers; `config` is TOML."""

    async def __call__(self, fakes: list[FakeWorker], *flags: str, config: str = "") -> Running: ...


@pytest.fixture
async def launch(tmp_path: Path) -> AsyncIterator[Launch]:
    async with contextlib.AsyncExitStack() as stack:

        async def start(fakes: list[FakeWorker], *flags: str, config: str = "") -> Running:
            for fake in fakes:
                await fake.start()
                stack.push_async_callback(fake.stop)
            file = tmp_path / "gateway.toml"
            file.write_text(config)
            workers = [flag for fake in fakes for flag in ("--worker", fake.address)]
            read_end, write_end = os.pipe()
            log = tmp_path / "log"
            with log.open("wb") as stream:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "gateway", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
                    "--t0", "0", "--config", str(file), "--announce", str(write_end), *workers, *flags,
                    stdout=stream, stderr=stream, pass_fds=(write_end,),
                )  # fmt: skip
            os.close(write_end)
            stack.push_async_callback(_end, process)
            with os.fdopen(read_end) as pipe:
                line = await asyncio.to_thread(pipe.readline)
            assert line, log.read_text()
            return Running(process, log, **json.loads(line))

        yield start


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


async def eventually(what: Callable[[], bool], within: float) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(within):
        while not what():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
