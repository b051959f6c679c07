"""What a daemon may say: events and fields from closed tables, as JSON lines or text on standard error.

A value is a number, a truth value or a word that stands in a table; there is no way to write a free sentence, a peer's
address or a piece of a request. Records of other libraries are reduced to the logger's name and the level, since their
messages hold such things. Exceptions are named by their class.
"""

import asyncio
import logging
import re
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, TextIO

import msgspec

from seclude.errors import UsageError

Value = int | float | bool | str

# Every event and the fields it may have. A party adds its own when it makes its Log.
EVENTS: Final[Mapping[str, frozenset[str]]] = {
    "starting": frozenset({"version"}),
    "ready": frozenset({"listen", "admin"}),
    "reloaded": frozenset({"failed"}),
    "stopping": frozenset({"signal"}),
    "drained": frozenset({"complete", "inflight"}),
    "stopped": frozenset({"status"}),
    "handler_failed": frozenset({"error"}),
    "task_failed": frozenset({"error"}),
    "crashed": frozenset({"error"}),
    "library": frozenset({"logger", "level", "error"}),
}
_ERRORS: Final = frozenset({"crashed", "handler_failed", "task_failed"})
_WARNINGS: Final = frozenset({"library"})

WORDS: Final = frozenset({"SIGINT", "SIGTERM", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})
# These come from code or from our own configuration, never from a peer: class and logger names, versions, and the
# addresses of our own listeners, which a supervisor must learn where a port was left to the system.
FROM_CODE: Final = frozenset({"error", "logger", "version", "listen", "admin"})
_NAME: Final = re.compile(r"[!-~]{1,256}")  # one word of printable ASCII


class Log:
    """The log of one party."""

    def __init__(
        self,
        role: str,
        *,
        events: Mapping[str, frozenset[str]] | None = None,
        words: frozenset[str] = frozenset(),
        text: bool = False,
        stream: TextIO | None = None,
    ) -> None:
        self._role = role
        self._events = {**EVENTS, **(events or {})}
        self._words = WORDS | words
        self._text = text
        self._stream = stream or sys.stderr

    def event(self, name: str, **fields: Value) -> None:
        """Write one line; raises UsageError for an event, field or word that stands in no table."""
        allowed = self._events.get(name)
        if allowed is None:
            raise UsageError("log event is in no table")
        for field, value in fields.items():
            if field not in allowed:
                raise UsageError(f"log event {name} has no such field")
            if isinstance(value, str) and not self._is_word(field, value):
                raise UsageError(f"log field {field} of {name} is not a word of the table")
        self._write(name, fields)

    def _is_word(self, field: str, value: str) -> bool:
        return value in self._words or (field in FROM_CODE and _NAME.fullmatch(value) is not None)

    def _write(self, name: str, fields: Mapping[str, Value]) -> None:
        stamp = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
        level = "error" if name in _ERRORS else "warning" if name in _WARNINGS else "info"
        if self._text:
            line = " ".join([stamp, level, self._role, name, *(f"{key}={value}" for key, value in fields.items())])
        else:
            line = msgspec.json.encode(
                {"ts": stamp, "level": level, "role": self._role, "event": name, **fields}
            ).decode()
        # Logging must not stop a daemon: a closed pipe on the other side is not our failure.
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    def install(self) -> None:
        """Route everything else that Python would print through this log: records, warnings, uncaught exceptions."""
        logging.captureWarnings(True)
        logging.basicConfig(handlers=[_Reduced(self)], level=logging.WARNING, force=True)
        sys.excepthook = self._uncaught
        sys.unraisablehook = lambda hook: self._failed("task_failed", hook.exc_type)
        threading.excepthook = lambda hook: self._failed("task_failed", hook.exc_type)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Log failures that only the event loop sees, by class."""
        loop.set_exception_handler(self._loop_failure)

    def failure(self, event: str, exc: BaseException) -> None:
        """Log an exception by its class; of a group, its first leaf."""
        while isinstance(exc, BaseExceptionGroup):
            exc = exc.exceptions[0]
        self._failed(event, type(exc))

    def _failed(self, event: str, kind: type[BaseException]) -> None:
        self.event(event, error=_safe(kind.__name__))

    def _uncaught(self, kind: type[BaseException], exc: BaseException, trace: TracebackType | None) -> None:
        self.failure("crashed", exc)

    def _loop_failure(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        exc = context.get("exception")
        self._failed("task_failed", type(exc) if isinstance(exc, BaseException) else RuntimeError)


class _Reduced(logging.Handler):
    """Keeps a record's logger and level, and drops its message."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname if record.levelname in WORDS else "WARNING"
        kind = record.exc_info[0] if isinstance(record.exc_info, tuple) else None
        error = {} if kind is None else {"error": _safe(kind.__name__)}
        self._log.event("library", logger=_safe(record.name), level=level, **error)


def _safe(name: str) -> str:
    return name if _NAME.fullmatch(name) else "other"
