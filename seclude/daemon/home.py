"""What all connections of one server share, as each of them sees it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from seclude.daemon.clock import Clock
from seclude.daemon.limits import ServerLimits
from seclude.daemon.load import Load
from seclude.daemon.transaction import Observer, Transaction

if TYPE_CHECKING:
    from seclude.daemon.inbound import Connection

# Why a connection was dropped without an answer, as it is counted.
FULL: Final = "full"
TOO_MANY: Final = "too_many_from_one_address"
NO_HANDSHAKE: Final = "no_handshake"
SLOW_HEAD: Final = "slow_head"
UNREAD_ANSWER: Final = "unread_answer"
DROPPED: Final = (FULL, TOO_MANY, NO_HANDSHAKE, SLOW_HEAD, UNREAD_ANSWER)


class Home(Protocol):
    """What all connections of one server share."""

    limits: ServerLimits
    load: Load
    clock: Clock
    retiring: bool
    date_field: str
    busy: int
    """How many requests have begun and not ended."""
    when_idle: asyncio.Event | None
    """Set whenever that becomes none, while somebody waits for it."""

    @property
    def observe(self) -> Observer | None: ...

    @property
    def handle(self) -> Callable[[Transaction], None]: ...

    def handler_failed(self, exc: Exception) -> None: ...

    def opened(self, connection: "Connection", transport: asyncio.Transport) -> None: ...

    def dropping(self, reason: str) -> None: ...

    def closed(self, connection: "Connection") -> None: ...
