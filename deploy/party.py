"""One party as a supervised process: started, asked whether it is ready, started again when it dies, ended."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from seclude.daemon.processes import end_with_parent

READY_SECONDS: Final = 60.0  # a worker loads its model in about a second; a slow machine gets a minute
STOP_SECONDS: Final = 35.0  # the daemons' own drain limit is 30 s


class StackError(Exception):
    """Raised when the parties cannot be brought up or kept up; says which and where its log is."""


def module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a party's module with this interpreter."""
    return [sys.executable, "-m", name, *arguments]


@dataclass(slots=True)
class Party:
    """One supervised process; its listening addresses stay the same when it is restarted."""

    name: str
    arguments: Sequence[str]
    log: Path
    listen: str = "127.0.0.1:0"
    admin: str = "127.0.0.1:0"
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process and wait until it has said where it listens."""
        read_end, write_end = os.pipe()
        try:
            await self._spawn(write_end)
        except OSError as exc:
            os.close(read_end)
            raise StackError(f"{self.name} cannot be started: {exc.strerror}") from exc
        finally:
            os.close(write_end)
        line = await _read_line(read_end, READY_SECONDS)
        if not line:
            await self.stop()
            raise StackError(f"{self.name} did not start: {self.last_words()} (its log is {self.log})")
        announced = json.loads(line)
        self.listen, self.admin = announced["listen"], announced["admin"]

    async def _spawn(self, write_end: int) -> None:
        command = [*self.arguments, "--listen", self.listen, "--admin", self.admin, "--announce", str(write_end)]
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(write_end,),
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which then ends the parties in order
                preexec_fn=end_with_parent,
            )

    def last_words(self) -> str:
        """Return the last line of the log."""
        with contextlib.suppress(OSError, IndexError):
            return self.log.read_text(errors="replace").splitlines()[-1]
        return "it said nothing"

    async def is_ready(self) -> bool:
        """Ask the admin port, with the smallest possible HTTP client."""
        host, _, port = self.admin.rpartition(":")
        try:
            async with asyncio.timeout(1.0):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
                status = await reader.readline()
                writer.close()
        except (OSError, TimeoutError):
            return False
        return b" 200 " in status

    async def stop(self) -> None:
        """End the process gracefully, or by force after its drain limit."""
        if self.process is None or self.process.returncode is not None:
            return
        self._send(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.process.wait()
        except TimeoutError:
            self._send(signal.SIGKILL)
            await self.process.wait()

    def _send(self, number: signal.Signals) -> None:
        """Send a signal, if the process is there.

        The methods for that would first take the status of one that has just ended, and asyncio would know of none.
        """
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)


async def _read_line(descriptor: int, limit: float) -> bytes:
    """Return what the child writes to its announcement pipe, or nothing if it ends or takes too long."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb")
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        async with asyncio.timeout(limit):
            return await reader.readline()
    except TimeoutError:
        return b""
    finally:
        transport.close()
