"""The life of a daemon: start, serve, and the order in which it stops.

1. A signal makes it unready. 2. It goes on serving for the pre-stop delay, so that balancers notice, while its answers
close their connections. 3. It stops accepting. 4. It finishes what is in flight, up to a deadline, 5. cancels the rest,
and exits with 0. A second signal ends the process at once: its handling is given back to the kernel, so that this works
even where the event loop hangs.
"""

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Final, Protocol

import msgspec

from seclude.daemon.config import Delay
from seclude.daemon.log import Log
from seclude.errors import ConfigError

REFUSED_STATUS: Final = 2  # as for wrong flags: starting again will not help before something is changed
STANDARD_ERROR: Final = 2  # this descriptor and those below are for the life of a process


class DrainTimes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the steps of stopping may take, in seconds."""

    pre_stop: Delay = 0.0  # 5 behind a balancer that probes every few seconds; 0 where there is none
    drain: Delay = 30.0  # a long answer on a slow model; a supervisor must wait longer than both together


class Drainable(Protocol):
    """What `drain()` stops: a Server."""

    @property
    def inflight(self) -> int: ...

    def retire_connections(self) -> None: ...

    def stop_accepting(self) -> None: ...

    async def drain(self, within: float) -> bool: ...


class Stop:
    """Set by the first SIGTERM or SIGINT."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def requested(self) -> bool:
        """Whether the daemon is stopping; readiness says "draining" from here on."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Return when the daemon should stop."""
        await self._event.wait()

    def request(self) -> None:
        """Ask the daemon to stop."""
        self._event.set()


def run(main: Callable[[Stop], Awaitable[int]], *, uvloop: bool, log: Log) -> int:
    """Run a daemon until it ends, and return its exit status.

    A ConfigError that ends it passes on as itself, out of whatever groups it was raised in. So does every other
    exception, after which the process ends with 1; the log then names its class.
    """
    log.install()
    log.event("starting", version=version("seclude"))
    _raise_descriptor_limit()
    with asyncio.Runner(loop_factory=_loop_factory(uvloop)) as runner:
        status = runner.run(_main(main, log))
    log.event("stopped", status=status)
    return status


async def _main(main: Callable[[Stop], Awaitable[int]], log: Log) -> int:
    loop = asyncio.get_running_loop()
    log.watch(loop)
    stop = Stop()

    def first(number: signal.Signals) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        log.event("stopping", signal=number.name)
        stop.request()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, first, number)
    try:
        return await main(stop)
    except BaseExceptionGroup as group:  # a TaskGroup wraps even the one sentence that says what to configure
        _, other = group.split(ConfigError)
        if other is None:
            raise _first(group) from None
        raise


def _first(group: BaseException) -> BaseException:
    return _first(group.exceptions[0]) if isinstance(group, BaseExceptionGroup) else group


async def drain(server: Drainable, times: DrainTimes, log: Log) -> None:
    """Steps 2 to 5; step 1 is Stop itself, which readiness looks at."""
    server.retire_connections()  # 2
    await asyncio.sleep(times.pre_stop)
    server.stop_accepting()  # 3
    left = server.inflight
    complete = await server.drain(times.drain)  # 4, 5
    log.event("drained", complete=complete, inflight=left)


def announce(descriptor: int | None, **addresses: str | list[str]) -> None:
    """Write the addresses really bound as one JSON line to an inherited descriptor; only a standard one stays open."""
    if descriptor is None:
        return
    try:
        with os.fdopen(descriptor, "wb", closefd=descriptor > STANDARD_ERROR) as file:
            file.write(msgspec.json.encode(addresses) + b"\n")
    except OSError as exc:
        raise ConfigError(f"cannot announce on descriptor {descriptor}: {exc.strerror}") from None


def _loop_factory(uvloop: bool) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if not uvloop:
        return None
    try:
        import uvloop as fast
    except ImportError:
        raise ConfigError("uvloop is not installed; install it or set uvloop = false") from None
    return fast.new_event_loop


def _raise_descriptor_limit() -> None:
    # Two descriptors per request; the soft limit of 1024 is for programs that use select().
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
