"""What a monitor remembers between two runs: its own tree heads, and what it needs of entries that it read before.

A tree head is the checkpoint itself, as the log and its witnesses signed it, so that it convicts them if the log ever
shows another history. The file is the monitor's own: it must not be taken from the ledger, and who can write to it can
make the monitor forget. It is written whole and then renamed, mode 0600. One monitor uses it at a time: of two, the
one that writes last would forget what the other one saw, and each would tell what is told once.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Final

import msgspec

from seclude.errors import ConfigError

FORMAT: Final = "seclude monitor v1"
MAX_STATE: Final = 64 << 20  # octets; a thousand snapshots take 150 KB
MAX_MISSING: Final = 1024  # epochs to ask for again; more of them missing is one story

Count = Annotated[int, msgspec.Meta(ge=0)]
Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class _Part(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A part of the file."""


class Head(_Part, kw_only=True):
    """The newest checkpoint of one log up to which everything was read."""

    checkpoint: bytes
    size: Count
    since: Count
    """The checkpoint was cosigned then or later: what it lacks was added after that."""
    times: dict[str, Count] = {}
    """When each witness was last seen to cosign this log."""


class Listed(_Part, kw_only=True):
    """A release as it first stood in the state log."""

    since: Count
    source: str
    revision: str


class Span(_Part, kw_only=True):
    """When something appeared in the state log: nobody dates an entry, so it is known from both sides only."""

    since: Count
    """Then or later."""
    by: Count
    """Then or earlier."""


class Held(Span, kw_only=True):
    """A snapshot that was good, by where it stands."""

    index: Count
    leaf: Hash


class MonitorState(_Part, kw_only=True):
    """Everything that is remembered of one service's ledger."""

    origin: str
    format: str = FORMAT
    heads: dict[str, Head] = {}
    """By the log's origin."""
    issued: Count = 0
    """When the newest good snapshot was issued, by its own word."""
    snapshots: list[Held] = []
    """In their order; times ascend."""
    releases: dict[str, Listed] = {}
    """By role and manifest."""
    revoked: dict[Hash, Span] = {}
    """By manifest: when it was revoked."""
    unrevoked: list[Hash] = []
    """Those of them that the newest snapshot leaves out, as was told."""
    missing: list[Count] = []
    """Epochs of which the ledger did not show what stands behind them."""


@contextmanager
def hold_state(path: Path) -> Iterator[None]:
    """Keep every other monitor from a state file while the block lasts; raises ConfigError where one has it.

    The lock is on a file beside it, which stays, since the state itself is another file after each look.
    """
    lock = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise ConfigError(f"cannot write {lock}: {exc.strerror}") from exc
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise ConfigError(f"another monitor uses {path}; end that one, or name another file with --state") from exc
        yield
    finally:
        os.close(descriptor)


def load_state(path: Path, origin: str) -> MonitorState:
    """Return what was remembered, or nothing where there is no file; raises ConfigError for any other trouble."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_STATE + 1)
    except FileNotFoundError:
        return MonitorState(origin=origin)
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    try:
        state = msgspec.json.decode(data, type=MonitorState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ConfigError(f"{path} is not what a monitor wrote; keep it, and name another file with --state") from None
    if state.format != FORMAT:
        raise ConfigError(f"{path} was written by another version of this command; name another file with --state")
    if state.origin != origin:
        raise ConfigError(f'{path} is of the service "{state.origin}", not "{origin}"; name another file with --state')
    return state


def save_state(path: Path, state: MonitorState) -> None:
    """Replace the file as a whole, or leave it as it was; raises ConfigError."""
    data = msgspec.json.encode(state) + b"\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mode 0600
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as exc:
        raise ConfigError(f"cannot write {path}: {exc.strerror}") from exc
