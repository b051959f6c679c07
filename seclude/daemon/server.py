"""The HTTP/1.1 server under every daemon: one address, its connections, and how they end.

It passes a handler only what `http1.RequestReader` names, adds no field of its own but Date and those of framing, and
logs nothing about a peer.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import stat
from collections.abc import Callable
from email.utils import formatdate
from time import time
from typing import TYPE_CHECKING, Final

from seclude.daemon.addresses import PLAINTEXT, ListenAddress, parse_listen, require_local
from seclude.daemon.clock import NEVER, Clock
from seclude.daemon.inbound import Connection
from seclude.daemon.limits import ServerLimits
from seclude.daemon.load import Load
from seclude.daemon.log import Log
from seclude.daemon.transaction import Observer, Transaction
from seclude.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from seclude.daemon.quota import Quota, Quotas

ARRIVAL_GRACE: Final = 0.5  # seconds; a request sent before its client could know of the end arrives within this
BACKLOG: Final = 4096  # connections that wait to be accepted, in a moment in which the process does something else
TLS_HANDSHAKE_SECONDS: Final = 10.0  # two round trips; as long as a head may take


class Server:
    """Serves one handler on one address."""

    def __init__(
        self,
        handler: Callable[[Transaction], None],
        limits: ServerLimits | None = None,
        *,
        log: Log | None = None,
        observe: Observer | None = None,
        quotas: "Quotas | None" = None,
        tls: ssl.SSLContext | None = None,
        insecure_plaintext: bool = False,
    ) -> None:
        self.limits = limits or ServerLimits()
        self.load = Load(self.limits)
        self.handle: Final = handler
        self.observe: Final = observe
        self.retiring = False
        self.date_field = ""
        self.deadline = NEVER
        self.clock: Clock
        self._log = log
        self._quotas = quotas
        self._tls = tls
        self._insecure_plaintext = insecure_plaintext
        self._socket: socket.socket | None = None
        self._listener: asyncio.Server | None = None
        self._open: set[Connection] = set()
        self._none_open = asyncio.Event()
        self._none_open.set()
        self.busy = 0
        self.when_idle: asyncio.Event | None = None

    @property
    def inflight(self) -> int:
        """How many requests are being answered; one whose body is still on its way is not among them."""
        return self.load.inflight

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._open)

    async def start(self, listen: str) -> str:
        """Listen, and return the address really bound in the same form; raises ConfigError."""
        if self._listener is not None:
            raise UsageError("a server starts once")
        address = parse_listen(listen)
        if self._tls is None and not self._insecure_plaintext:
            require_local(address, PLAINTEXT)
        self.clock = Clock(self.limits.shortest_timeout)
        self.expire(self.clock.now())
        self.clock.add(self)
        try:
            self._socket = await _bind(address)
            self._listener = await self._listen(self._tls)
        except OSError as exc:
            raise ConfigError(f"cannot listen on {address}: {_cause(exc)}") from exc
        if address.path is not None:
            return str(address)
        return str(ListenAddress(*self._socket.getsockname()[:2]))

    async def renew_tls(self, context: ssl.SSLContext) -> None:
        """Use a new context for connections from now on; those that wait to be accepted are not lost."""
        if self._listener is None or self._tls is None:
            raise UsageError("only a server that serves TLS has it renewed")
        before, self._tls = self._listener, context
        self._listener = await self._listen(context)
        before.close()

    async def _listen(self, context: ssl.SSLContext | None) -> asyncio.Server:
        """Accept from a duplicate of the socket, so that closing the listener leaves the socket itself open."""
        assert self._socket is not None
        duplicate = self._socket.dup()
        duplicate.setblocking(False)
        loop = asyncio.get_running_loop()
        timeout = None if context is None else TLS_HANDSHAKE_SECONDS
        if duplicate.family == socket.AF_UNIX:
            return await loop.create_unix_server(
                self._connect, sock=duplicate, backlog=BACKLOG, ssl=context, ssl_handshake_timeout=timeout
            )
        return await loop.create_server(
            self._connect, sock=duplicate, backlog=BACKLOG, ssl=context, ssl_handshake_timeout=timeout
        )

    def _connect(self) -> Connection:
        return Connection(self)

    # How it ends.

    def retire_connections(self) -> None:
        """Let every answer from now on close its connection, so that clients move to another server by themselves."""
        self.retiring = True

    def stop_accepting(self) -> None:
        """Close the listener; requests on open connections are still served, and end them."""
        self.retiring = True
        if self._listener is not None:
            self._listener.close()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def drain(self, within: float) -> bool:
        """Finish what is in flight; what is left after `within` seconds is cancelled. Returns whether none was."""
        self.stop_accepting()
        if self._listener is None:
            return True
        now = asyncio.get_running_loop().time()
        deadline = now + within
        await _reached(self._none_open, min(deadline, now + ARRIVAL_GRACE))
        self.when_idle = asyncio.Event()
        finished = not self.busy or await _reached(self.when_idle, deadline)
        for connection in list(self._open):
            connection.give_up()
            connection.end_if_idle()
        await _reached(self._none_open, deadline)  # answers that the sockets have not taken yet
        for connection in list(self._open):
            connection.abort()
        await _reached(self._none_open, asyncio.get_running_loop().time() + ARRIVAL_GRACE)
        self.clock.discard(self)
        return finished

    # What its connections ask of it; see `inbound.Home`.

    def opened(self, connection: Connection, transport: asyncio.Transport) -> "Quota | None":
        """Take in a connection, or drop it where there is no room for it."""
        self._open.add(connection)
        self._none_open.clear()
        if len(self._open) > self.limits.max_connections:
            connection.abort()
            return None
        if self._quotas is None:
            return None
        peer = transport.get_extra_info("peername")
        if not isinstance(peer, tuple):  # a Unix socket has no address
            return None
        quota = self._quotas.enter(peer[0], self.clock.now())
        if quota is None:
            connection.abort()
        return quota

    def closed(self, connection: Connection) -> None:
        """Take note that a connection is gone."""
        self._open.discard(connection)
        if not self._open:
            self._none_open.set()

    def handler_failed(self, exc: Exception) -> None:
        """Log a bug by its class."""
        if self._log is not None:
            self._log.event("handler_failed", error=type(exc).__name__)

    def expire(self, now: float) -> None:
        """Write the Date field anew; called by the clock at each second."""
        self.date_field = f"Date: {formatdate(time(), usegmt=True)}\r\n"
        self.deadline = now + 1.0


async def _bind(address: ListenAddress) -> socket.socket:
    """Return a socket that is bound and listens."""
    if address.path is not None:
        return _bind_unix(address.path)
    # As octets, since for text Python imports tables of Unicode, which a worker would do after it was measured.
    name = address.host.encode("ascii", "replace")
    found = await asyncio.get_running_loop().getaddrinfo(
        name, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, target = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(target)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            if _is_socket(path):  # of a process that is gone; a file of another kind stays, and binding fails
                os.unlink(path)
        sock.bind(path)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _is_socket(path: str) -> bool:
    return stat.S_ISSOCK(os.stat(path).st_mode)


async def _reached(event: asyncio.Event, deadline: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            await event.wait()
    return event.is_set()


def _cause(exc: OSError) -> str:
    # asyncio puts the address into the text of its own errors; the numbers of getaddrinfo() are not those of errno.
    return str(exc.strerror) if isinstance(exc, socket.gaierror) or exc.errno is None else os.strerror(exc.errno)
