"""One daemon as several processes, since one event loop uses one core.

    parent: binds a socket for each with SO_REUSEPORT, keeps them open, serves nobody
       ├── process 0   --listen fd:A   --admin HOST:PORT
       └── process 1   --listen fd:B   --admin HOST:PORT+1

The kernel spreads connections over the sockets. Since the parent holds them too, those that were not accepted when a
process died wait for the one that is started in its place. SIGTERM and SIGHUP go to all; when the parent is killed, the
kernel tells its children to stop.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final, Protocol

from seclude.daemon.addresses import ListenAddress, parse_listen
from seclude.daemon.lifecycle import REFUSED_STATUS, Stop, announce
from seclude.daemon.listening import bind, bound_to
from seclude.daemon.log import Log
from seclude.errors import ConfigError

EVENTS: Final = {"process_ended": frozenset({"process", "status"})}
FIRST_PAUSE: Final = 0.2  # seconds before a process that died is started again; doubled up to the next line
LAST_PAUSE: Final = 5.0
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
MAX_PROCESSES: Final = 64
START_FAILED: Final = 127  # as shells say it


def end_with_parent() -> None:
    """Ask the kernel to end this child with its parent, so that none is left behind when that is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def command_again(arguments: Sequence[str] | None) -> list[str]:
    """Return how this process was started; `arguments` are what its command was given, None for those of the process.

    Fresh interpreters, since a fork of one that has run would share what it holds.
    """
    before = len(sys.orig_argv) - len(sys.argv) + 1  # the interpreter with its options, and the module or the script
    return [sys.executable, *sys.orig_argv[1:before], *(sys.argv[1:] if arguments is None else arguments)]


class Supervised(Protocol):
    """What a configuration says of it."""

    @property
    def listen(self) -> str: ...

    @property
    def admin(self) -> str: ...

    @property
    def processes(self) -> int: ...


async def supervise(
    command: Sequence[str],
    config: Supervised,
    stop: Stop,
    log: Log,
    descriptor: int | None,
    inherited: Sequence[int] = (),
) -> int:
    """Run the processes of a daemon until `stop`; return the exit status of them all.

    Each finds the descriptors that are `inherited` under their numbers, however often it is started.
    """
    address = parse_listen(config.listen)
    try:
        sockets = bind(address, config.processes)
    except OSError as exc:
        raise ConfigError(f"cannot listen on {address}: {exc.strerror}") from exc
    admins = _admin_addresses(config.admin, config.processes)
    children = [
        _Child(
            number,
            [*command, "--processes", "1", "--listen", f"fd:{each.fileno()}", "--admin", where],
            each,
            inherited,
        )
        for number, (each, where) in enumerate(zip(sockets, admins, strict=True))
    ]
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _tell, children, signal.SIGHUP)
    async with asyncio.TaskGroup() as tasks:
        keeping = [tasks.create_task(_keep(child, stop, log)) for child in children]
        telling = tasks.create_task(_announce_all(children, bound_to(sockets[0]), descriptor))
        await stop.wait()
        for sock in sockets:  # or connections would wait at them for nobody
            sock.close()
        for child in children:
            child.end()
        statuses = [await each for each in keeping]
        telling.cancel()
    return REFUSED_STATUS if REFUSED_STATUS in statuses else 0


class _Child:
    """One process, as often as it is started."""

    def __init__(self, number: int, command: Sequence[str], sock: socket.socket, inherited: Sequence[int]) -> None:
        self.number: Final = number
        self.announced: Final = asyncio.Event()
        self.admin = ""
        self.process: asyncio.subprocess.Process | None = None
        self._told: asyncio.subprocess.Process | None = None
        self._command = command
        self._socket = sock
        self._inherited = inherited

    async def start(self) -> None:
        """Start the process."""
        reading, writing = os.pipe()
        try:
            self.process = await asyncio.create_subprocess_exec(
                *self._command,
                "--announce",
                str(writing),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(writing, self._socket.fileno(), *self._inherited),
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends all in order
                preexec_fn=end_with_parent,
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        line = await _read_line(reading)
        if line:
            self.admin = json.loads(line)["admin"]
            self.announced.set()

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                # Popen's own way to send one reaps a child that has just ended, and its status is lost to asyncio.
                os.kill(self.process.pid, number)

    def end(self) -> None:
        """Tell it to stop, once: a second time would mean at once."""
        if self._told is not self.process:
            self._told = self.process
            self.tell(signal.SIGTERM)


def _tell(children: Sequence[_Child], number: signal.Signals) -> None:
    for child in children:
        child.tell(number)


async def _keep(child: _Child, stop: Stop, log: Log) -> int:
    """Start a process again whenever it ends; return its last exit status."""
    loop = asyncio.get_running_loop()
    pause = FIRST_PAUSE
    while True:
        began = loop.time()
        status = await _live(child, stop)
        if status == REFUSED_STATUS and not child.announced.is_set():
            stop.request()  # starting again will not help; one that ran may run again, once its files are mended
        if stop.requested:
            return status
        log.event("process_ended", process=child.number, status=status)
        if loop.time() - began > LAST_PAUSE:
            pause = FIRST_PAUSE
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()
                return status
        pause = min(2 * pause, LAST_PAUSE)


async def _live(child: _Child, stop: Stop) -> int:
    """Run a process from its start to its end; return its exit status."""
    try:
        await child.start()
    except (OSError, ValueError):  # no process or no memory left, for now; or the socket is closed: all ends
        return START_FAILED
    if stop.requested:
        child.end()
    assert child.process is not None
    return await child.process.wait()


async def _announce_all(children: Sequence[_Child], listen: str, descriptor: int | None) -> None:
    for child in children:
        await child.announced.wait()
    announce(descriptor, listen=listen, admin=children[0].admin, admins=[child.admin for child in children])


def _admin_addresses(admin: str, count: int) -> list[str]:
    """Return where each process has its admin port: ports that follow one another, or paths with a number."""
    address = parse_listen(admin)
    if address.path is not None:
        return [admin, *(f"{admin}.{number}" for number in range(1, count))]
    if address.port == 0:
        return [admin] * count
    try:
        return [str(parse_listen(str(ListenAddress(address.host, address.port + number)))) for number in range(count)]
    except ConfigError:
        raise ConfigError(f"admin: {count} ports from {address.port} on are more than there are") from None


async def _read_line(descriptor: int) -> bytes:
    """Return what a child writes to its announcement pipe, or nothing if it ends before."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb")
    )
    try:
        return await reader.readline()
    finally:
        transport.close()
