"""The files that publishers carry between their machines: a release, and a snapshot with or without signatures.

A snapshot that nobody has signed yet is its text alone; with the first signature it becomes a note, which has an empty
line that the text cannot have. Nothing here is secret, and nothing is written over a file that was not read before.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import msgspec

from seclude.attestation.snapshot import Measured, Release, Snapshot, parse_snapshot
from seclude.errors import ConfigError, DecodeError
from seclude.tlog.note import MAX_NOTE, SEPARATOR, Note, NoteSignature, parse_note, serialize_note

FORMATS: Final[tuple[Measured, ...]] = get_args(Measured)  # whose images and chips a snapshot can name
MAX_LINES: Final = 1 << 20  # octets of any other file that is read whole; a list of 4,096 chips takes half of it


@dataclass(frozen=True, slots=True)
class StateFile:
    """A snapshot, the very text of it, and who claims to have signed that; no signature is verified."""

    snapshot: Snapshot
    text: str
    signatures: tuple[NoteSignature, ...] = ()

    @property
    def signers(self) -> tuple[str, ...]:
        """The names of the keys that it says it is signed with, each key once."""
        return tuple(name for name, _ in dict.fromkeys((each.name, each.key_id) for each in self.signatures))

    def serialize(self) -> bytes:
        """Return the content of the file."""
        return serialize_note(Note(self.text, self.signatures)) if self.signatures else self.text.encode()


def parse_state(data: bytes) -> StateFile:
    """Read the text of a snapshot, or a note of one; raises `DecodeError`."""
    if SEPARATOR.encode() in data:
        note = parse_note(data)
        return StateFile(parse_snapshot(note.text), note.text, note.signatures)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise DecodeError("it is no text") from None
    return StateFile(parse_snapshot(text), text)


def load_state(path: Path) -> StateFile:
    """Read a snapshot's file; raises `ConfigError`."""
    try:
        return parse_state(read(path, MAX_NOTE))
    except DecodeError as exc:
        raise ConfigError(f"{path} is no snapshot: {exc}") from exc


def render_release(release: Release) -> str:
    """Return a release as JSON for files and eyes; `ConfigError` where a field does not have its form."""
    encoded = msgspec.json.encode(release, order="sorted")
    try:
        msgspec.json.decode(encoded, type=Release)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"release: {exc}") from exc
    return msgspec.json.format(encoded, indent=2).decode() + "\n"


def load_release(path: Path) -> Release:
    """Read what `render_release` wrote; raises `ConfigError`."""
    try:
        return msgspec.json.decode(read(path, MAX_LINES), type=Release)
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise ConfigError(f"{path} is no release: {exc}; make one with `seclude-ledger release`") from exc


def read(path: Path, limit: int) -> bytes:
    """Return a file of at most so many octets; raises `ConfigError`."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    if len(data) > limit:
        raise ConfigError(f"{path} has more than {limit} octets, so it is another file")
    return data


def write_new(path: Path, data: bytes) -> None:
    """Write a file that was not there; raises `ConfigError` where one is."""
    try:
        with path.open("xb") as file:
            _store(file.fileno(), data)
    except FileExistsError:
        raise ConfigError(f"{path} is there already and stays as it is; name another file, or take it away") from None
    except OSError as exc:
        raise ConfigError(f"cannot write {path}: {exc.strerror}") from exc


def replace(path: Path, data: bytes) -> None:
    """Write a file anew, whole or not at all; raises `ConfigError`."""
    beside = path.with_name(f".{path.name}.writing")
    try:
        with beside.open("wb") as file:
            _store(file.fileno(), data)
        beside.replace(path)
    except OSError as exc:
        beside.unlink(missing_ok=True)
        raise ConfigError(f"cannot write {path}: {exc.strerror}") from exc


def _store(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)
