"""A tap: a TCP forwarder on loopback that keeps a copy of every byte that passes, with its time.

Demo and tests put one between two processes to see what a party really sends and receives. No daemon knows of it.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final, Literal, Self

PIECE: Final = 1 << 16  # octets; one read of a loopback socket

Direction = Literal["request", "response"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that passed in one direction; `at` is monotonic seconds."""

    connection: int
    direction: Direction
    caller: str
    """The address that the party behind the tap saw calling."""
    at: float
    data: bytes


@dataclass(slots=True)
class Tap:
    """Listens on loopback and forwards to `target`, from the local address `source` where one is given."""

    target: tuple[str, int]
    source: str | None = None
    pieces: list[Piece] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _connections: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    async def open(cls, target: tuple[str, int], *, source: str | None = None) -> Self:
        """Start a tap in front of `target`."""
        tap = cls(target, source)
        tap._server = await asyncio.start_server(tap._accept, "127.0.0.1", 0)
        return tap

    @property
    def address(self) -> str:
        """Where the tap listens, as HOST:PORT."""
        if self._server is None:
            raise RuntimeError("the tap is not open")
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    def recorded(self, direction: Direction) -> bytes:
        """Return everything that passed in one direction, in order of arrival."""
        return b"".join(piece.data for piece in self.pieces if piece.direction == direction)

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._connections += 1
        number = self._connections
        try:
            local = (self.source, 0) if self.source else None
            onward, back = await asyncio.open_connection(*self.target, local_addr=local)
        except OSError:
            writer.transport.abort()  # the far side is down: its neighbour must see just that
            return
        caller = "{}:{}".format(*back.get_extra_info("sockname")[:2])
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(number, "request", caller, reader, back))
                group.create_task(self._pass(number, "response", caller, onward, writer))
        except* OSError:
            pass
        finally:
            writer.close()
            back.close()

    async def _pass(
        self,
        number: int,
        direction: Direction,
        caller: str,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
    ) -> None:
        while data := await source.read(PIECE):
            self.pieces.append(Piece(number, direction, caller, time.monotonic(), data))
            sink.write(data)
            await sink.drain()
        if direction == "response":
            # A server that closes its side is done with the connection; hold the client's no longer.
            sink.transport.abort() if sink.transport.get_write_buffer_size() else sink.close()
            raise ConnectionResetError
        if sink.can_write_eof():
            sink.write_eof()
