"""What the commands of the daemons share: the same flags, words, `check-config` and way to fail, and how one serves.

Flags override the file, and the file overrides the defaults. Each thing that is wrong is one line `PROG: sentence` on
standard error, and the exit status is then 2: starting again will not help before something is changed.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec

from seclude.daemon import config as configuration
from seclude.daemon.addresses import PLAINTEXT, parse_listen, require_local
from seclude.daemon.admin import Admin, check_admin
from seclude.daemon.lifecycle import REFUSED_STATUS, DrainTimes, Stop, announce, drain
from seclude.daemon.log import Log
from seclude.daemon.renewal import Renewal
from seclude.daemon.server import Server
from seclude.daemon.tls import ServerCertificates, ServerTLS
from seclude.errors import ConfigError
from seclude.toml import render_toml

CHECK_CONFIG: Final = "check-config"


class DaemonConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every daemon is told in the same words."""

    listen: str
    admin: str
    log_text: bool = False
    insecure_plaintext: bool = False
    tls: ServerTLS | None = None
    timeouts: DrainTimes = DrainTimes()


Keep = Callable[[], Coroutine[Any, Any, None]]
"""Something that is kept doing for as long as a daemon serves."""
C = TypeVar("C", bound=msgspec.Struct)


class Command(Generic[C]):
    """One daemon's command: its flags, its configuration, and how it says what is wrong with them."""

    def __init__(
        self,
        role: str,
        kind: type[C],
        problems: Callable[[C], Iterable[str]],
        *,
        description: str,
        example: str,
        verbs: Mapping[str, str] | None = None,
        place: str = "",
    ) -> None:
        """`problems` finds what types and ranges do not; `place` is where DaemonConfig stands in the file."""
        self._kind = kind
        self._problems = problems
        self._flags: dict[str, str] = {}
        all_verbs = {
            "serve": "runs until SIGTERM",
            CHECK_CONFIG: "prints every problem, or the configuration in effect",
            **(verbs or {}),
        }
        self._parser = argparse.ArgumentParser(
            prog=f"seclude-{role}",
            description=description,
            epilog=example,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # what a supervisor was told must not change its meaning when a flag is added
        )
        self._parser.add_argument(
            "command",
            nargs="?",
            choices=tuple(all_verbs),
            default="serve",
            help="; ".join(f"{verb} {what}" for verb, what in all_verbs.items()),
        )
        self.add_flag(f"{place}listen", "--listen", metavar="HOST:PORT", help="where it serves; also unix:PATH")
        self.add_flag(f"{place}tls.certificate", "--tls-certificate", metavar="PEM", help="serve TLS with this chain")
        self.add_flag(f"{place}tls.key", "--tls-key", metavar="PEM", help="and its key")
        self.add_flag(f"{place}tls.client_ca", "--tls-client-ca", metavar="PEM", help="and let in only whom these know")
        self.add_flag(f"{place}admin", "--admin", metavar="HOST:PORT", help="health and metrics; loopback only")
        self.add_option("--config", metavar="FILE", type=Path, help=f"{role}.toml; flags override the file")
        self.add_option("--announce", metavar="FD", type=int, help="write the bound addresses to this descriptor")
        self.add_option("--version", action="version", version=f"%(prog)s {version('seclude')}")

    def add_flag(self, key: str, flag: str, **options: Any) -> None:
        """Add a flag that overrides the key of the configuration at this path; `options` are argparse's."""
        self._flags[key] = flag
        self.add_option(flag, dest=key, default=None, **options)

    def add_next_hop_flags(self, key: str, hop: str) -> None:
        """Add the flags of a ClientTLS at this key, for the next hop of this name."""
        self.add_flag(f"{key}.ca", f"--{hop}-ca", metavar="PEM", help=f"believe a {hop} that these know")
        self.add_flag(f"{key}.certificate", f"--{hop}-certificate", metavar="PEM", help=f"what to show a {hop}")
        self.add_flag(f"{key}.key", f"--{hop}-key", metavar="PEM", help="and its key")

    def add_option(self, flag: str, **options: Any) -> None:
        """Add a flag that is no part of the configuration."""
        self._parser.add_argument(flag, **options)

    def run(self, arguments: Sequence[str] | None, act: Callable[[argparse.Namespace], int]) -> int:
        """Return the exit status of what the arguments ask for; wrong usage ends the process with 2."""
        flags = self._parser.parse_args(arguments)
        try:
            return act(flags)
        except ConfigError as exc:
            for problem in str(exc).splitlines():
                print(f"{self._parser.prog}: {problem}", file=sys.stderr)
            return REFUSED_STATUS

    def load(self, flags: argparse.Namespace) -> C:
        """Return the configuration that the flags and their file make; raises ConfigError with every problem."""
        given = {key: getattr(flags, key) for key in self._flags}
        config = configuration.load(flags.config, self._kind, given, self._flags)
        if problems := list(self._problems(config)):
            raise ConfigError("\n".join(problems))
        return config


def show(config: msgspec.Struct) -> int:
    """Print the configuration in effect, as `check-config` does, and return the exit status."""
    print(render_toml(config), end="")
    return 0


def listening_problems(config: DaemonConfig, place: str = "") -> Iterator[str]:
    """Find addresses that cannot be listened on, or that plaintext must not be served on."""
    try:
        address = parse_listen(config.listen)
        if config.tls is None and not config.insecure_plaintext:
            require_local(address, PLAINTEXT)
    except ConfigError as exc:
        yield f"{place}listen: {exc}"
    try:
        certificates(config)
    except ConfigError as exc:
        yield f"{place}tls: {exc}"
    try:
        check_admin(config.admin)
    except ConfigError as exc:
        yield f"{place}admin: {exc}"


def certificates(config: DaemonConfig) -> ServerCertificates | None:
    """Return what a daemon shows to those who connect, if it serves TLS; raises ConfigError."""
    return None if config.tls is None else ServerCertificates(config.tls)


async def serve_until_stop(
    server: Server,
    admin: Admin,
    config: DaemonConfig,
    stop: Stop,
    log: Log,
    descriptor: int | None,
    keep: Sequence[Keep],
    renewal: Renewal,
    before_ready: Callable[[], None] = lambda: None,
) -> None:
    """Listen, do what must be kept doing, and after a signal drain; `descriptor` is told the addresses really bound.

    `before_ready` is called when both sockets are bound, and before anybody is told so.
    """
    renewal.on_hangup()
    try:
        async with asyncio.TaskGroup() as tasks:
            listen, admin_listen = await server.start(config.listen), await admin.start(config.admin)
            before_ready()
            keeping = [tasks.create_task(each()) for each in keep]
            log.event("ready", listen=listen, admin=admin_listen)
            announce(descriptor, listen=listen, admin=admin_listen)
            await stop.wait()
            await drain(server, config.timeouts, log)
            for task in keeping:
                task.cancel()
    finally:
        await admin.close()
