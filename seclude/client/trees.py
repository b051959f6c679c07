"""The newest tree that this device saw of each log of the ledger, to be compared with every one that it is shown later.

A log that shows one person another tree than everybody else must do so for ever: from the first tree that differs, no
later one agrees with what was kept here. It is kept in memory, and in a file where one is named, for programs that run
once for each question. What stands there is public, and says when the service was last used and no more.
"""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

import msgspec

from seclude.attestation.ledger import Known
from seclude.attestation.pins import Ledger
from seclude.errors import ConfigError, DecodeError, EvidenceError
from seclude.tlog.outline import Outline, require_consistent

FILE_NAME: Final = "trees.json"
MAX_FILE: Final = 2 << 20  # octets; a tree takes 11 KiB in base64, and 43 where its outline is as long as one may be
CONSISTENT: Final = 15  # the step of `verify_bundle` that compares trees
MAX_TREES: Final = 32  # of services that one person uses, two each


class Kept(msgspec.Struct, frozen=True):
    """One tree, in the file."""

    size: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    outline: bytes


class Trees:
    """What is known of the two logs of one service; nothing where its policy names no ledger."""

    def __init__(self, ledger: Ledger | None, path: Path | None = None) -> None:
        """`path` is read now, and written when a larger tree was seen; a broken one raises ConfigError."""
        keys = () if ledger is None else (ledger.keys_log, ledger.state_log)
        self._names = {key.name: str(key) for key in keys}  # by the whole key: another log may have the same name
        self._path = path if keys else None
        self._known: dict[str, Outline] = {}
        self.unwritten: str | None = None
        """Why the file was not written, if it could not be."""
        kept = {} if self._path is None else _read(self._path)
        for name, text in self._names.items():
            if text in kept:
                self._known[name] = kept[text]

    @property
    def known(self) -> Known:
        """The trees by the origins of their logs."""
        return MappingProxyType(self._known)

    def remember(self, outlines: Known) -> None:
        """Keep what a verification returned: the larger tree of each log, the other one being its beginning.

        Raises EvidenceError of step 15, and keeps what was known, where it is no beginning: what was remembered since
        that verification began, or by another program that uses the file, is of another tree.
        """
        merged = self._merge(self._known, outlines)
        if merged == self._known:
            return
        if self._path is None:
            self._known.update(merged)
            return
        try:
            kept = _read(self._path)
            merged = self._merge(merged, {name: kept[text] for name, text in self._names.items() if text in kept})
            self._known.update(merged)
            self._write(self._path, kept)
        except (OSError, ConfigError) as exc:
            self._known.update(merged)
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            self.unwritten = f"what the logs showed is forgotten: cannot write {self._path}: {reason}"
        else:
            self.unwritten = None

    def _merge(self, known: Known, shown: Known) -> dict[str, Outline]:
        """Return the larger tree of each log, once both are seen to be one."""
        merged = dict(known)
        for name in self._names.keys() & shown.keys():
            both = sorted((each[name] for each in (shown, known) if name in each), key=lambda outline: outline.size)
            merged[name] = both[-1]  # of two that are alike, what was known
            try:
                require_consistent(both[0], both[-1])
            except EvidenceError as exc:
                exc.step = CONSISTENT
                raise
        return merged

    def _write(self, path: Path, kept: Mapping[str, Outline]) -> None:
        """Replace the file, which has what is kept, as a whole."""
        others = {text: outline for text, outline in kept.items() if text not in self._names.values()}
        mine = {self._names[name]: outline for name, outline in self._known.items()}
        every = dict([*others.items(), *mine.items()][-MAX_TREES:])
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_serialize(every))
                file.flush()
                os.fsync(file.fileno())  # or a machine that loses its power may be left with an empty file
            new.replace(path)
        finally:
            with suppress(OSError):
                new.unlink(missing_ok=True)


def _serialize(trees: Mapping[str, Outline]) -> bytes:
    """Return the file; msgspec writes octets as base64, and reads them so."""
    return msgspec.json.encode({text: Kept(outline.size, outline.serialize()) for text, outline in trees.items()})


def _read(path: Path) -> dict[str, Outline]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        kept = msgspec.json.decode(data, type=dict[str, Kept])
        return {text: Outline.parse(each.size, each.outline) for text, each in kept.items()}
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, DecodeError):
        raise ConfigError(f"{path} is broken; remove it, and nothing is known of what the logs showed before") from None
