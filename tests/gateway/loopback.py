"""A party on loopback that speaks plain HTTP/1.1 and goes away as a killed process does; tests say what it answers."""

import asyncio
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class OnLoopback:
    """Listens, and hands each request's head to `_serve`."""

    port: int = 0
    socket: str | None = None
    """Path of a Unix socket, where it listens on one."""
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def address(self) -> str:
        return f"unix:{self.socket}" if self.socket else f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen; on the same port again after a stop."""
        if self.socket is not None:
            self._server = await asyncio.start_unix_server(self._connected, self.socket)
            return
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Go away as a process does that is killed."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await self._serve(head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _serve(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        raise NotImplementedError
