"""Sockets that listen: bound anew, several on one port, or inherited."""

import contextlib
import os
import socket
import stat
from typing import Final

from seclude.daemon.addresses import ListenAddress

# Octets that the kernel keeps for a peer that does not read; connections inherit it. Left alone it grows to 4 MB each
# (tcp(7), tcp_wmem). Linux doubles what is asked for, and 256 KiB in a round trip of 0.2 s are 1 MiB in a second.
SEND_BUFFER: Final = 1 << 17
BACKLOG: Final = 4096  # connections that wait to be accepted, in a moment in which the process does something else


def bind(address: ListenAddress, count: int = 1) -> list[socket.socket]:
    """Return sockets that are bound and listen: `count` TCP sockets on one port, or one socket that all share.

    Raises OSError.
    """
    if address.descriptor is not None:
        return [_inherit(address.descriptor)] * count
    if address.path is not None:
        return [_bind_unix(address.path)] * count
    # As octets, since for text Python imports tables of Unicode, which a worker would do after it was measured.
    name = address.host.encode("ascii", "replace")
    # Not on another thread, as asyncio would: a daemon has nothing else to do before it listens.
    found = socket.getaddrinfo(name, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, target = found[0]
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(_bind(family, target, share=count > 1))
            target = sockets[0].getsockname()  # the others go where a port left to the system has put the first
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def bound_to(sock: socket.socket) -> str:
    """Return the address that a socket really has."""
    name = sock.getsockname()
    return str(ListenAddress(path=name) if isinstance(name, str) else ListenAddress(*name[:2]))


def _bind(family: int, target: object, *, share: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(target)  # type: ignore[arg-type] # as getaddrinfo() gives it
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _inherit(descriptor: int) -> socket.socket:
    """Take over a descriptor of this process, if it is a socket that listens."""
    sock = socket.socket(fileno=descriptor)
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()
        raise OSError(None, "not a socket that listens")
    sock.set_inheritable(False)
    return sock


def _bind_unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(path).st_mode):  # of a process that is gone; a file of another kind stays
                os.unlink(path)
        sock.bind(path)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
