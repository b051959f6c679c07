"""Accepts connections one by one, so that handshakes of TLS are counted and bounded like connections, and none is lost.

asyncio's own servers show a connection to nobody before its handshake is over, so a peer that never ends one would be
outside every limit. And when they close, they reset those that wait in the kernel to be accepted.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from seclude.daemon.tls import HANDSHAKE_SECONDS, SHUTDOWN_SECONDS

P = TypeVar("P", bound=asyncio.Protocol)

AT_ONCE: Final = 64  # connections accepted before others have their turn
RETRY_SECONDS: Final = 0.2  # where the process has no descriptor left, until some are given back


class Listener(Generic[P]):
    """Accepts from one socket, and shows connections to their protocols once they are encrypted, if they are to be."""

    def __init__(
        self,
        sock: socket.socket,
        context: Callable[[], ssl.SSLContext | None],
        connect: Callable[[object], P | None],
        arrived: Callable[[P], None],
    ) -> None:
        """`connect` makes the protocol for a peer's address, or refuses it; `arrived` gets it when its handshake ended.

        asyncio tells no success from a peer that went away: only the protocol knows whether it got a transport.
        """
        self._socket = sock
        self._context = context
        self._connect = connect
        self._arrived = arrived
        self._loop = asyncio.get_running_loop()
        self._arriving: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        sock.setblocking(False)

    def listen(self) -> None:
        """Accept whatever comes from now on."""
        self._retry = None
        self._loop.add_reader(self._socket.fileno(), self._accept, AT_ONCE)

    def close(self) -> None:
        """Accept what waits in the kernel, and no more; what was accepted goes on."""
        if self._socket.fileno() < 0:
            return
        if self._retry is not None:
            self._retry.cancel()
        else:
            self._loop.remove_reader(self._socket.fileno())
        self._accept(None)
        if self._retry is not None:
            self._retry.cancel()
        self._socket.close()

    async def finish(self, within: float) -> None:
        """Let handshakes that have begun end, and give up those that take longer than `within` seconds."""
        if self._arriving:
            _, late = await asyncio.wait(self._arriving, timeout=within)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _accept(self, most: int | None) -> None:
        while most is None or most > 0:
            try:
                accepted, peer = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError:
                self._loop.remove_reader(self._socket.fileno())
                self._retry = self._loop.call_later(RETRY_SECONDS, self.listen)
                return
            if most is not None:
                most -= 1
            protocol = self._connect(peer)
            if protocol is None:
                accepted.close()
                continue
            accepted.setblocking(False)
            task = self._loop.create_task(self._bring_in(accepted, protocol))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _bring_in(self, accepted: socket.socket, protocol: P) -> None:
        context = self._context()
        try:
            if context is None:
                await self._loop.connect_accepted_socket(lambda: protocol, accepted)
            else:
                await self._loop.connect_accepted_socket(
                    lambda: protocol,
                    accepted,
                    ssl=context,
                    ssl_handshake_timeout=HANDSHAKE_SECONDS,
                    ssl_shutdown_timeout=SHUTDOWN_SECONDS,
                )
        except OSError:  # errors of TLS and timeouts among them; what is wrong with a peer's is for the peer to find
            return
        finally:
            self._arrived(protocol)
