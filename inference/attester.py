"""The worker's side of the attest helper (`attesting.py`): one socket, from before lockdown to the end.

Under lockdown it needs nothing but to send and to receive on what is open. The worker has one request under way at a
time, so an answer belongs to the last request; one whose caller gave up is thrown away before the next is made.
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from inference.attesting import BUSY, EVIDENCE, MAX_MESSAGE, READY, REFUSED, parse_answer
from inference.isolate import ENVIRONMENT, OPTIONS
from seclude.attestation.bundle import MAX_EVIDENCE, REPORT_DATA_BYTES
from seclude.attestation.evidence import parse_evidence
from seclude.errors import BusyError, ConfigError, DecodeError, UpstreamError, UsageError

TIMEOUT_SECONDS: Final = 10.0  # SEV-SNP, Nitro and a TPM take milliseconds; Linux looks for a TDX quote once a second
START_SECONDS: Final = 60.0  # to load the libraries of a TPM from sources on a slow disk, and to attest once
MAX_WAITING: Final = 8  # a birth and as many joins as the joiner has under way; each waits for those before it
RETRY_SECONDS: Final = 2

# Room for the largest answer with what the kernel adds (unix(7)); the default has it on most machines.
SEND_BUFFER: Final = 2 * MAX_EVIDENCE


Helper = tuple[subprocess.Popen[bytes], socket.socket]
"""The process, and the socket by which it is asked."""


def start_helper(
    arguments: Sequence[str], environment: Mapping[str, str] = ENVIRONMENT, *, within: float = START_SECONDS
) -> Helper:
    """Start the helper with these arguments, and return when it can attest; raises `ConfigError`.

    It gets an interpreter as isolated as the worker's, and one descriptor. Whoever calls this keeps the process, so
    that it is not taken for one that was forgotten; it ends when the socket is closed.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        command = [sys.executable, *OPTIONS, "-m", "inference.attesting", *arguments, "--fd", str(theirs.fileno())]
        try:
            process = subprocess.Popen(  # noqa: S603
                command,
                env=dict(environment),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        except OSError as exc:
            ours.close()
            raise ConfigError(f"cannot start the attest helper: {exc.strerror}") from exc
    try:
        _wait_until_ready(ours, within)
    except BaseException:
        ours.close()
        process.kill()
        process.wait()
        raise
    return process, ours


class Attester:
    """What states what runs here, by way of the helper."""

    __slots__ = ("_connection", "_future", "_lock", "_loop", "_outstanding", "_timeout", "_waiting")

    def __init__(self, connection: socket.socket, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._timeout = timeout_seconds
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._outstanding = False
        """Whether the helper owes an answer."""
        self._future: asyncio.Future[bytes] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the helper is gone, so that no more evidence comes."""
        if self._lock.locked():
            return False  # what comes now is read by whoever waits for it
        try:
            return not self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    async def attest(self, report_data: bytes) -> bytes:
        """Return evidence that binds 64 octets; raises `BusyError` or `UpstreamError` where there is none now."""
        if len(report_data) != REPORT_DATA_BYTES:
            raise UsageError(f"report data has {REPORT_DATA_BYTES} octets")
        if self._waiting >= MAX_WAITING:
            raise BusyError("too many requests for evidence wait already", retry_after_seconds=RETRY_SECONDS)
        self._waiting += 1
        try:
            async with self._lock:
                return _open(await self._ask(report_data))
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the helper; whoever waits for evidence gets an `UpstreamError`."""
        if self._future is not None and self._loop is not None:
            self._loop.remove_reader(self._connection)
            if not self._future.done():
                self._future.set_result(b"")
        self._connection.close()

    async def _ask(self, report_data: bytes) -> bytes:
        """Return the helper's message; empty at its end."""
        if self._connection.fileno() < 0:
            return b""
        try:
            async with asyncio.timeout(self._timeout):
                if self._outstanding:
                    await self._receive()  # of a caller that gave up
                self._send(report_data)
                return await self._receive()
        except TimeoutError:
            raise UpstreamError(f"the platform did not attest within {self._timeout:g} s", timed_out=True) from None

    def _send(self, report_data: bytes) -> None:
        """Send at once: the buffer of a socket on which nothing is under way has room for 64 octets."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the end is what is received next
            self._connection.send(report_data)
        self._outstanding = True

    async def _receive(self) -> bytes:
        """Return the next message; one that a cancelled caller does not get is still known to have come, or comes."""
        self._loop = asyncio.get_running_loop()
        self._future = self._loop.create_future()
        self._loop.add_reader(self._connection, self._on_readable, self._loop, self._future)
        try:
            return await self._future
        finally:
            self._future = None
            if self._connection.fileno() >= 0:
                self._loop.remove_reader(self._connection)

    def _on_readable(self, loop: asyncio.AbstractEventLoop, future: "asyncio.Future[bytes]") -> None:
        try:
            message = self._connection.recv(MAX_MESSAGE + 1)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        loop.remove_reader(self._connection)
        self._outstanding = False
        if not future.done():
            future.set_result(message)

    def __repr__(self) -> str:
        return "<Attester>"


def _open(message: bytes) -> bytes:
    """Return the evidence in the helper's message."""
    if not message:
        raise UpstreamError("the attest helper has ended, so this worker makes no more keys: start it again")
    try:
        answer = parse_answer(message)
        if answer.status == EVIDENCE:
            parse_evidence(answer.content)
            return answer.content
    except DecodeError as exc:
        raise UpstreamError(f"the attest helper's answer is none: {exc}") from exc
    sentence = answer.content.decode("ascii")
    if answer.status == BUSY:
        raise BusyError(f"the platform is busy: {sentence}", retry_after_seconds=RETRY_SECONDS)
    raise UpstreamError(f"the platform did not attest: {sentence}")


def _wait_until_ready(connection: socket.socket, within: float) -> None:
    connection.settimeout(within)
    try:
        message = connection.recv(MAX_MESSAGE + 1)
        answer = parse_answer(message) if message else None
    except TimeoutError:
        raise ConfigError(f"the attest helper was not ready within {within:g} s") from None
    except (ConnectionResetError, DecodeError) as exc:
        raise ConfigError(f"the attest helper did not start: {exc}") from exc
    if answer is None:
        raise ConfigError("the attest helper ended at its start; standard error says more")
    if answer.status == REFUSED:
        raise ConfigError(answer.content.decode("ascii"))
    if answer.status != READY:
        raise ConfigError("the attest helper did not say that it is ready")
