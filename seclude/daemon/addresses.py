"""Addresses that a daemon listens on: "HOST:PORT", "[::1]:PORT", "unix:PATH", or "fd:N" for a socket it inherits."""

import os
import re
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from seclude.errors import ConfigError

MAX_PORT: Final = 65535
MAX_DESCRIPTOR: Final = 65535
PATH: Final = re.compile(r"[!-~]{1,107}")  # sun_path has 108 octets; what is logged is one word
PLAINTEXT: Final = "put TLS in front of a loopback address or a Unix socket, or set insecure_plaintext"


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen: a Unix socket when `path` is set, what was inherited when `descriptor` is, else TCP."""

    host: str = ""
    port: int = 0
    path: str | None = None
    descriptor: int | None = None

    @property
    def is_local(self) -> bool:
        """Whether no byte sent here can leave this machine: loopback or a Unix socket."""
        if self.path is not None or self.host == "localhost":
            return True
        if self.descriptor is not None:
            return _is_local_socket(self.descriptor)
        try:
            return ip_address(self.host).is_loopback
        except ValueError:  # a name may point anywhere, tomorrow if not today
            return False

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        if self.descriptor is not None:
            return f"fd:{self.descriptor}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _is_local_socket(descriptor: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            name = sock.getsockname()
    except OSError:
        return True  # there is nothing that others could reach; listening says what is wrong with it
    return isinstance(name, (str, bytes)) or ip_address(name[0].partition("%")[0]).is_loopback


def require_local(address: ListenAddress, remedy: str) -> None:
    """Raise ConfigError for an address that others than this machine can reach; `remedy` says what to do."""
    if not address.is_local:
        raise ConfigError(f"{address} is not loopback: {remedy}")


def parse_listen(text: str) -> ListenAddress:
    """Return the address written in `text`; raises ConfigError."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not PATH.fullmatch(path):
            raise ConfigError("a listen address unix:PATH needs a path of printable ASCII without spaces")
        return ListenAddress(path=path)
    if text.startswith("fd:"):
        number = text.removeprefix("fd:")
        if not (number.isascii() and number.isdigit()) or int(number) > MAX_DESCRIPTOR:
            raise ConfigError(f"the listen address fd:N needs a number up to {MAX_DESCRIPTOR}")
        return ListenAddress(descriptor=int(number))
    host, separator, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not separator or not host or (":" in host) != bracketed:
        raise ConfigError(f'a listen address is "HOST:PORT", "[IPV6]:PORT" or "unix:PATH", not "{text}"')
    if not (port.isascii() and port.isdigit()) or int(port) > MAX_PORT:
        raise ConfigError(f'the port of the listen address "{text}" is not a number up to {MAX_PORT}')
    return ListenAddress(host=host, port=int(port))
