"""What a log asks its witnesses, as octets (C2SP tlog-witness, add-checkpoint); both sides use this module.

old SIZE                 the tree that the witness is known to have cosigned
HASH in base64           a consistency proof from there (RFC 6962, section 2.1.2), a line for each hash
                         an empty line
CHECKPOINT               the signed note (C2SP tlog-checkpoint), to the end
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from seclude.errors import DecodeError, TooLargeError
from seclude.tlog.canonical import parse_decimal, parse_hash, to_base64
from seclude.tlog.note import MAX_NOTE

PATH: Final = "/add-checkpoint"
SIZE_MEDIA_TYPE: Final = "text/x.tlog.size"
"""Of a 409 that says which size the witness has; a 409 of another type says that it has another tree of that size."""
MAX_PROOF: Final = 63  # hashes; what the protocol allows, and no tree below 2^63 leaves needs more
MAX_BODY: Final = MAX_NOTE + (1 << 12)  # octets; 63 lines of a proof have 2,835 of these
OLD: Final = "old "


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """One request to a witness; the checkpoint is not looked at here."""

    old: int
    proof: tuple[bytes, ...]
    checkpoint: bytes


def serialize_add_checkpoint(old: int, proof: Sequence[bytes], checkpoint: bytes) -> bytes:
    """Return the body of a request."""
    lines = [f"{OLD}{old}", *(to_base64(node) for node in proof)]
    return "".join(f"{line}\n" for line in [*lines, ""]).encode() + checkpoint


def parse_add_checkpoint(body: bytes) -> AddCheckpoint:
    """Read the body of a request; raises DecodeError."""
    head, separator, checkpoint = body.partition(b"\n\n")
    if not separator:
        raise DecodeError("no empty line stands before the checkpoint")
    if not head.isascii():
        raise DecodeError("the lines before the checkpoint are not ASCII")
    first, *lines = head.decode("ascii").split("\n", MAX_PROOF + 1)
    if not first.startswith(OLD):
        raise DecodeError('the first line is not "old" and a size')
    if len(lines) > MAX_PROOF:
        raise TooLargeError(f"more than {MAX_PROOF} hashes in the consistency proof")
    old = parse_decimal(first.removeprefix(OLD), "old size")
    return AddCheckpoint(old, tuple(parse_hash(line, "consistency proof") for line in lines), checkpoint)
