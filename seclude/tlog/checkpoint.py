"""Checkpoints: the size and the root of a log's tree, as the text of a note (C2SP tlog-checkpoint).

    origin
    size
    base64(root)

Extension lines are not taken: nobody audits them, and an ML-DSA-44 signature does not cover them.
"""

from dataclasses import dataclass

from seclude.errors import DecodeError, UsageError
from seclude.tlog.canonical import MAX_SIZE, parse_decimal, parse_hash, to_base64
from seclude.tlog.merkle import EMPTY_ROOT, HASH_BYTES
from seclude.tlog.note import MAX_NAME, is_printable


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says about itself at one moment."""

    origin: str
    """The log's identity, which is its key's name too."""
    size: int
    root: bytes


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint's note."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise DecodeError("checkpoint does not have exactly the lines origin, size and root")
    origin, size, root = lines[:3]
    if not is_origin(origin):
        raise DecodeError(f"origin is empty, has control characters, or is longer than {MAX_NAME} octets")
    checkpoint = Checkpoint(origin, parse_decimal(size, "size"), parse_hash(root, "root"))
    if not checkpoint.size and checkpoint.root != EMPTY_ROOT:
        raise DecodeError("root of an empty tree is not the hash of nothing")
    return checkpoint


def render_checkpoint(checkpoint: Checkpoint) -> str:
    """Return the text that `parse_checkpoint` takes, the newline at its end included."""
    if not is_origin(checkpoint.origin) or not 0 <= checkpoint.size <= MAX_SIZE or len(checkpoint.root) != HASH_BYTES:
        raise UsageError("a checkpoint that cannot be written")
    return f"{checkpoint.origin}\n{checkpoint.size}\n{to_base64(checkpoint.root)}\n"


def is_origin(origin: str) -> bool:
    """Tell whether a log may be called so; C2SP lets it have spaces, though a key of that name cannot exist."""
    return is_printable(origin) and 0 < len(origin.encode("utf-8", "surrogatepass")) <= MAX_NAME
