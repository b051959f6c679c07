"""`seclude-bench idle`: what a relay's memory grows by for every connection that waits.

Devices keep their connection for the next request. Each of these has carried one request, so that whatever a
connection allocates on its way is there, and then waits. At the end some are used again: an idle connection must work.
"""

import argparse
import asyncio
import contextlib
import resource
import tempfile
from pathlib import Path
from typing import Final

import uvloop

from bench.account import family, resident_bytes
from bench.connection import Connection
from bench.engine import Say
from bench.options import count
from bench.output import add_options, deliver, say, silent
from bench.result import Figure, Result
from bench.targets import RELAY, Place, relay_alone
from bench.workload import Workload, build
from seclude.errors import ConfigError

SOURCES: Final = 8  # addresses 127.0.0.2 and up: one has 28,000 ports, and a relay may limit what one may open
AT_ONCE: Final = 100  # connections that are being made
SAMPLE: Final = 100  # one in so many is used again at the end
SPARE_DESCRIPTORS: Final = 200
SETTLE_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 10.0  # for an answer or a connection; a hundred at once take some milliseconds
LIMIT_MB: Final = 150.0  # what the project promises for ten thousand
MB: Final = 1_000_000
EXAMPLE: Final = """example:
  seclude-bench idle --connections 10000
"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "idle",
        help="memory of a relay with thousands of idle connections",
        description="Open many connections to a relay, use each once, and see what its memory has grown by.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--connections", type=count, default=10_000, metavar="N", help="default: 10000")
    add_options(parser)
    parser.set_defaults(act=act)


def act(flags: argparse.Namespace) -> int:
    """Run the command."""
    raise_descriptor_limit(flags.connections + SPARE_DESCRIPTORS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(_measure(flags.connections, silent if flags.quiet else say))
    return deliver(Result(kind="idle", config={"connections": flags.connections}, figures=figures), flags)


def raise_descriptor_limit(wanted: int) -> None:
    """Allow this process so many descriptors; raises ConfigError where the machine does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        if hard < wanted:
            raise ConfigError(f"{wanted} descriptors are needed and {hard} allowed; raise `ulimit -Hn`")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Crowd:
    """Connections that carry a request now and then; see `connection.Owner`."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._answered: dict[Connection, asyncio.Future[bool]] = {}
        self.open: set[Connection] = set()

    def finished(self, connection: Connection) -> None:
        """Take an answer."""
        self._settle(connection, connection.status == 200)

    def broke(self, connection: Connection, why: str) -> None:
        """Take a failure."""
        self._settle(connection, False)

    def lost(self, connection: Connection) -> None:
        """Count a connection out."""
        self.open.discard(connection)

    async def use(self, connection: Connection) -> bool:
        """Send a request; return whether it was answered well."""
        if not connection.usable:
            return False
        self._answered[connection] = asyncio.get_running_loop().create_future()
        data, check = self._workload.request()
        connection.send(data, 0, check)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._answered[connection]
        except TimeoutError:
            return False

    async def join(self, host: str, port: int, number: int) -> None:
        """Open one connection, from one of several addresses; one that is refused is missing from `open`."""
        source = (f"127.0.0.{2 + number % SOURCES}", 0)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # TimeoutError is one
            async with asyncio.timeout(ANSWER_SECONDS):
                _, connection = await loop.create_connection(lambda: Connection(self), host, port, local_addr=source)
                self.open.add(connection)

    def close(self) -> None:
        """End all."""
        for connection in list(self.open):
            connection.give_up("over")

    def _settle(self, connection: Connection, good: bool) -> None:
        answer = self._answered.pop(connection, None)
        if answer is not None and not answer.done():
            answer.set_result(good)


async def _measure(wanted: int, tell: Say) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="seclude-bench-") as folder:
        async with relay_alone(Place(Path(folder))) as target:
            crowd = Crowd(build(target.workload, target.url, 0, 1))
            relay = family(target.parties[RELAY])
            host, port = target.url.split("/")[2].split(":")
            await crowd.join(host, int(port), 0)
            await asyncio.gather(*(crowd.use(connection) for connection in list(crowd.open)))
            await asyncio.sleep(SETTLE_SECONDS)
            empty = sum(map(resident_bytes, relay))
            tell(f"the relay holds {empty / MB:.1f} MB with one connection; opening {wanted}")
            for numbers in _batches(wanted):
                await asyncio.gather(*(crowd.join(host, int(port), number) for number in numbers))
            connected = sum(map(resident_bytes, relay))
            everyone = list(crowd.open)
            tell(f"{len(everyone)} are open; using each once")
            good = 0
            for numbers in _batches(len(everyone)):
                good += sum(await asyncio.gather(*(crowd.use(everyone[number]) for number in numbers)))
            await asyncio.sleep(SETTLE_SECONDS)
            used = sum(map(resident_bytes, relay))
            again = await asyncio.gather(*map(crowd.use, list(crowd.open)[::SAMPLE]))
            still = len(crowd.open)
            crowd.close()
    grown = (used - empty) / MB
    return [
        Figure("memory with one connection", empty / MB, "MB"),
        Figure("grown by, connected", (connected - empty) / MB, "MB"),
        Figure("grown by, each used once", grown, "MB", LIMIT_MB, grown <= LIMIT_MB),
        Figure("of each connection", (used - empty) / max(1, len(everyone)) / 1024, "KiB"),
        Figure("still open", still, "connections", wanted, still >= wanted),
        Figure("answered on first use", good, "requests", wanted, good >= wanted),
        Figure("answered when used again", sum(again), "requests", len(again), bool(again) and all(again)),
    ]


def _batches(count: int) -> list[range]:
    return [range(first, min(first + AT_ONCE, count)) for first in range(0, count, AT_ONCE)]
