"""What a gateway and the workers of its pool say to each other: the paths, and the two documents that are not opaque.

Everything else that passes here is opaque to the gateway: ciphertext, key bundles, and the four messages of a join. A
worker is attested to devices, not to the gateway, so a status proves nothing. A worker that lies about its keys gets
requests that it cannot open, which it could have refused as well.

An encapsulated request is answered with 200 once it opened, whatever came of it. Two plain answers say that it surely
did not: 422, the key that it names is not held, and 503, the worker has no room to begin.
"""

from enum import StrEnum
from typing import Annotated, Final, TypeVar

import msgspec

from seclude.errors import DecodeError

Document = TypeVar("Document")

OCTETS: Final = "application/octet-stream"
JSON: Final = "application/json"
DRAINING: Final = "draining"  # the reason that every party gives while it stops


class Message(StrEnum):
    """Everything that a gateway sends to a worker, by its path; below each, what is sent and what comes back.

    A status is asked for with GET, everything else with POST.
    """

    REQUEST = "/ohttp"
    """An encapsulated request: its encapsulated answer."""
    STATUS = "/pool/status"
    """Nothing: a `Status`."""
    BIRTH = "/pool/birth"
    """The epoch to make keys for: its bundle, the same one when asked again."""
    NONCE = "/pool/nonce"
    """Nothing: a member's nonce, the first message of a join."""
    JOIN = "/pool/join"
    """The first message, to the joiner: the second."""
    ADMIT = "/pool/admit"
    """The second message, to the member: the third."""
    KEYS = "/pool/keys"
    """The third message, to the joiner: nothing."""
    RETIRE = "/pool/retire"
    """Nothing, to a worker that wishes to be renewed: nothing. It then stops as for SIGTERM, and is started again."""


# A SHA-256 in hexadecimal; one form only, so that equal digests are equal strings.
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
KeyId = Annotated[int, msgspec.Meta(ge=0, le=255)]
Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Held(msgspec.Struct, frozen=True):
    """One epoch whose private keys a worker holds."""

    epoch: Number
    core: Digest
    # An epoch has an X25519 and an X-Wing configuration; eight leave room for what comes.
    key_ids: Annotated[frozenset[KeyId], msgspec.Meta(max_length=8)]


class Status(msgspec.Struct, frozen=True):
    """A worker's state as it was at one moment; fields of later versions are passed over."""

    ready: bool
    reasons: Annotated[tuple[str, ...], msgspec.Meta(max_length=32)]  # there are a handful of fixed sentences
    manifest: Digest
    # The epoch of now, the one before, and the one announced; sixteen leave room for slots that overlap.
    epochs: Annotated[tuple[Held, ...], msgspec.Meta(max_length=16)]
    due: bool = False
    """Whether it has served for long enough, and wishes to be renewed when another can do its work."""

    @property
    def draining(self) -> bool:
        """Whether the worker is about to stop and should be given nothing to keep."""
        return DRAINING in self.reasons


class _Birth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    epoch: Number


def serialize_status(status: Status) -> bytes:
    """Return the encoding of a status."""
    return msgspec.json.encode(status, order="deterministic")


def parse_status(data: bytes) -> Status:
    """Read a worker's status."""
    return _parse(data, Status, "the status of a worker")


def serialize_birth(epoch: int) -> bytes:
    """Return the encoding of a wish for the keys of an epoch."""
    return msgspec.json.encode(_Birth(epoch))


def parse_birth(data: bytes) -> int:
    """Return the epoch that a gateway wants keys for; whether it may exist is for the worker's own clock to say."""
    return _parse(data, _Birth, "the request for a birth").epoch


def _parse(data: bytes, kind: type[Document], name: str) -> Document:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # the last where it is nested thousands deep
        raise DecodeError(f"{name} does not have its form") from None  # msgspec's message would repeat what it says
