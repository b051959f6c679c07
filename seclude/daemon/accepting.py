"""Accepts connections over TLS, handshakes counted and bounded like connections.

asyncio's own servers show a connection to nobody before its handshake is over, so a peer that never ends one would be
outside every limit.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from seclude.daemon.tls import HANDSHAKE_SECONDS

P = TypeVar("P", bound=asyncio.Protocol)

AT_ONCE: Final = 64  # connections accepted before others have their turn
RETRY_SECONDS: Final = 0.2  # where the process has no descriptor left, until some are given back


class TLSListener(Generic[P]):
    """Accepts from one socket, and shows connections to their protocols once they are encrypted."""

    def __init__(
        self,
        sock: socket.socket,
        context: Callable[[], ssl.SSLContext],
        connect: Callable[[object], P | None],
        shaken: Callable[[P], None],
    ) -> None:
        """`connect` makes the protocol for a peer's address, or refuses it; `shaken` gets it when its handshake ended.

        asyncio tells no success from a peer that went away: only the protocol knows whether it got a transport.
        """
        self._socket = sock
        self._context = context
        self._connect = connect
        self._shaken = shaken
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more; handshakes that have begun go on."""
        if self._retry is not None:
            self._retry.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    async def finish(self, within: float) -> None:
        """Let handshakes that have begun end, and give up those that take longer than `within` seconds."""
        if self._handshakes:
            _, late = await asyncio.wait(self._handshakes, timeout=within)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, peer = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._loop.remove_reader(self._socket.fileno())
                self._retry = self._loop.call_later(RETRY_SECONDS, self._resume)
                return
            protocol = self._connect(peer)
            if protocol is None:
                accepted.close()
                continue
            accepted.setblocking(False)
            task = self._loop.create_task(self._shake_hands(accepted, protocol))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    def _resume(self) -> None:
        self._loop.add_reader(self._socket.fileno(), self._accept)

    async def _shake_hands(self, accepted: socket.socket, protocol: P) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, accepted, ssl=self._context(), ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except OSError:  # errors of TLS and timeouts among them; what is wrong with a peer's is for the peer to find
            return
        finally:
            self._shaken(protocol)
