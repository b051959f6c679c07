"""The HTTP/1.1 server under every daemon: one address, its connections, and how they end.

It passes a handler only what `http1.RequestHead` names, adds no field of its own but Date and those of framing, and
logs nothing about a peer.
"""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from email.utils import formatdate
from time import time
from typing import TYPE_CHECKING, Final

from seclude.daemon.accepting import Listener
from seclude.daemon.addresses import PLAINTEXT, parse_listen, require_local
from seclude.daemon.clock import NEVER, Clock
from seclude.daemon.home import DROPPED, FULL, NO_HANDSHAKE, TOO_MANY
from seclude.daemon.inbound import Connection
from seclude.daemon.limits import ServerLimits
from seclude.daemon.listening import BACKLOG, bind, bound_to
from seclude.daemon.load import Load
from seclude.daemon.log import Log
from seclude.daemon.tls import ServerCertificates
from seclude.daemon.transaction import Observer, Transaction
from seclude.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from seclude.daemon.quota import Quotas

ARRIVAL_GRACE: Final = 0.5  # seconds; a request sent before its client could know of the end arrives within this


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
        tls: ServerCertificates | None = None,
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
        self._listener: Listener[Connection] | None = None
        self._plain: asyncio.Server | None = None
        self.dropped: Final = dict.fromkeys(DROPPED, 0)
        """How many connections were dropped without an answer, by reason."""
        self._open: set[Connection] = set()
        self._arriving: set[Connection] = set()  # whose handshake is under way
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

    @property
    def certificate_expires_at(self) -> float | None:
        """When the certificate ends, in seconds since 1970 UTC; None where TLS is not served."""
        return None if self._tls is None else self._tls.expires_at

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
            (sock,) = bind(address)
            await self._listen(sock)
        except OSError as exc:
            raise ConfigError(f"cannot listen on {address}: {_cause(exc)}") from exc
        return bound_to(sock)

    def renew_tls(self) -> None:
        """Read certificates again for connections from now on; raises ConfigError, and stays as it was then.

        Those that are there end with their next answer, so whoever is no longer let in is soon out.
        """
        if self._tls is not None:
            self._tls.renew()
            for connection in self._open | self._arriving:
                connection.retire()

    async def _listen(self, sock: socket.socket) -> None:
        self._listener = Listener(sock, self._context, self._connect, self._arrived)
        if self._tls is not None:
            self._listener.listen()
            return
        loop, own = asyncio.get_running_loop(), sock.dup()  # asyncio's way costs less for each connection
        own.setblocking(False)
        if sock.family == socket.AF_UNIX:
            self._plain = await loop.create_unix_server(lambda: Connection(self), sock=own, backlog=BACKLOG)
        else:
            self._plain = await loop.create_server(lambda: Connection(self), sock=own, backlog=BACKLOG)

    def _context(self) -> ssl.SSLContext | None:
        return None if self._tls is None else self._tls.context

    def _connect(self, peer: object) -> Connection | None:
        """Take in a connection before its handshake."""
        connection = Connection(self)
        if not self._take_in(connection, peer):
            return None
        self._arriving.add(connection)
        return connection

    def _arrived(self, connection: Connection) -> None:
        self._arriving.discard(connection)
        if not connection.made:
            self.dropping(NO_HANDSHAKE)
            if connection.quota is not None:
                connection.quota.leave()

    def _take_in(self, connection: Connection, peer: object) -> bool:
        """Count a connection with its address; returns whether there is room for it."""
        if len(self._open) + len(self._arriving) >= self.limits.max_connections:
            self.dropping(FULL)
            return False
        quotas = self._quotas
        if quotas is not None and isinstance(peer, tuple) and quotas.counts(peer[0]):  # a Unix socket has no address
            connection.quota = quotas.enter(peer[0], self.clock.now())
            if connection.quota is None:
                self.dropping(TOO_MANY)
                return False
        return True

    # How it ends.

    def retire_connections(self) -> None:
        """Let every answer from now on close its connection, so that clients move to another server by themselves."""
        self.retiring = True

    def stop_accepting(self) -> None:
        """Close the listener; requests on open connections are still served, and end them."""
        self.retiring = True
        if self._plain is not None:
            self._plain.close()
        if self._listener is not None:
            self._listener.close()

    async def drain(self, within: float) -> bool:
        """Finish what is in flight; what is left after `within` seconds is cancelled. Returns whether none was."""
        self.stop_accepting()
        if self._listener is None:
            return True
        now = asyncio.get_running_loop().time()
        deadline = now + within
        await self._listener.finish(min(within, ARRIVAL_GRACE))
        await _reached(self._none_open, min(deadline, now + ARRIVAL_GRACE))
        finished = True
        while self.busy and finished:  # one may begin at the very moment at which the last one ends
            self.when_idle = asyncio.Event()
            finished = await _reached(self.when_idle, deadline)
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

    def opened(self, connection: Connection, transport: asyncio.Transport) -> None:
        """Take in a connection, or drop it where there is no room for it."""
        if connection not in self._arriving and not self._take_in(connection, transport.get_extra_info("peername")):
            connection.abort()
        self._open.add(connection)
        self._none_open.clear()

    def closed(self, connection: Connection) -> None:
        """Take note that a connection is gone."""
        self._open.discard(connection)
        if not self._open:
            self._none_open.set()

    def dropping(self, reason: str) -> None:
        """Count a connection that is dropped without an answer."""
        self.dropped[reason] += 1

    def handler_failed(self, exc: Exception) -> None:
        """Log a bug by its class."""
        if self._log is not None:
            self._log.event("handler_failed", error=type(exc).__name__)

    def expire(self, now: float) -> None:
        """Write the Date field anew; called by the clock at each second."""
        self.date_field = f"Date: {formatdate(time(), usegmt=True)}\r\n"
        self.deadline = now + 1.0


async def _reached(event: asyncio.Event, deadline: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            await event.wait()
    return event.is_set()


def _cause(exc: OSError) -> str:
    # asyncio puts the address into the text of its own errors; the numbers of getaddrinfo() are not those of errno.
    return str(exc.strerror) if isinstance(exc, socket.gaierror) or exc.errno is None else os.strerror(exc.errno)
