"""What a worker says of itself: the answer to `GET /pool/status`.

A worker is attested to devices, not to us: nothing here is proof of anything. A worker that lies about its keys gets
requests that it cannot open, which it could have refused as well.
"""

from typing import Annotated, Final

import msgspec

from seclude.errors import DecodeError

DRAINING: Final = "draining"  # the reason that every party gives while it stops

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

    @property
    def draining(self) -> bool:
        """Whether the worker is about to stop and should be given nothing to keep."""
        return DRAINING in self.reasons


_DECODER: Final = msgspec.json.Decoder(Status)


def parse_status(data: bytes) -> Status:
    """Read a status document."""
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):  # the message would repeat what stands in the document
        raise DecodeError("the status of a worker does not have its form") from None
