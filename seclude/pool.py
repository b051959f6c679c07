"""What a gateway and the workers of its pool say to each other: the paths, and what of it the gateway can read.

Everything else that passes here is opaque to the gateway: ciphertext, key bundles, and the four messages of a join.
Beside them go the ledger's proofs, which are public and empty where there is no ledger:

    birth  = head, epoch u64, proofs vec32
    shared = head, third message of the join vec32, proofs vec32

A worker is attested to devices, not to the gateway, so a status proves nothing. A worker that lies about its keys gets
requests that it cannot open, which it could have refused as well.

An encapsulated request is answered with 200 once it opened, whatever came of it. Two plain answers say that it surely
did not: 422, the key that it names is not held, and 503, the worker has no room to begin.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, TypeVar

import msgspec

from seclude.attestation.bundle import MAX_BUNDLE, MAX_EPOCHS, MAX_PROOFS, expect_head
from seclude.errors import DecodeError
from seclude.wire import Reader, Writer

Document = TypeVar("Document")

OCTETS: Final = "application/octet-stream"
JSON: Final = "application/json"
BIRTH_HEAD: Final = b"SECLUDE-BIRTH\x01"
SHARED_HEAD: Final = b"SECLUDE-SHARED\x01"
MAX_SHARED_KEYS: Final = (MAX_EPOCHS + 1) * MAX_BUNDLE  # the bundles of the live epochs, and their sealed keys
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
    """A `Birth`: its bundle without proofs, the same one when asked again."""
    NONCE = "/pool/nonce"
    """Nothing: a member's nonce, the first message of a join."""
    JOIN = "/pool/join"
    """The first message, to the joiner: the second."""
    ADMIT = "/pool/admit"
    """The second message, to the member: the third."""
    KEYS = "/pool/keys"
    """`Shared`, which has the third message, to the joiner: nothing."""
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


@dataclass(frozen=True, slots=True)
class Birth:
    """A wish for the keys of an epoch."""

    epoch: int
    proofs: bytes = b""
    """What the ledger shows now; the worker verifies it, and its keys log dates the core."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a joiner gets: keys that a member sealed to it, and what shows that their epochs are logged."""

    keys: bytes
    proofs: bytes = b""


def serialize_status(status: Status) -> bytes:
    """Return the encoding of a status."""
    return msgspec.json.encode(status, order="deterministic")


def parse_status(data: bytes) -> Status:
    """Read a worker's status."""
    return _parse(data, Status, "the status of a worker")


def serialize_birth(birth: Birth) -> bytes:
    """Return the encoding of a wish for the keys of an epoch."""
    return Writer().raw(BIRTH_HEAD).u64(birth.epoch).vec32(birth.proofs).getvalue()


def parse_birth(data: bytes) -> Birth:
    """Read what a gateway wants keys for; whether they may exist is for the worker's own clock to say."""
    reader = Reader(data)
    expect_head(reader, BIRTH_HEAD, "the request for a birth")
    birth = Birth(reader.u64("epoch"), reader.vec32("proofs", MAX_PROOFS))
    reader.finish("request for a birth")
    return birth


def serialize_shared(shared: Shared) -> bytes:
    """Return the encoding of what a joiner gets."""
    return Writer().raw(SHARED_HEAD).vec32(shared.keys).vec32(shared.proofs).getvalue()


def parse_shared(data: bytes) -> Shared:
    """Read what a joiner gets; the message of the join and the proofs stay unread."""
    reader = Reader(data)
    expect_head(reader, SHARED_HEAD, "the keys of a join")
    shared = Shared(reader.vec32("join keys", MAX_SHARED_KEYS), reader.vec32("proofs", MAX_PROOFS))
    reader.finish("keys of a join")
    return shared


def _parse(data: bytes, kind: type[Document], name: str) -> Document:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # the last where it is nested thousands deep
        raise DecodeError(f"{name} does not have its form") from None  # msgspec's message would repeat what it says
