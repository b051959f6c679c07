"""A proof that something stands in a log, as one text that can be checked offline (C2SP tlog-proof).

c2sp.org/tlog-proof@v1
extra base64(octets)          only where there are any; nothing vouches for them
index <decimal>
base64(hash)                  the path from the leaf's sibling upwards
<empty line>
<signed checkpoint>
"""

from dataclasses import dataclass
from typing import Final

from seclude.errors import DecodeError, TooLargeError, UsageError
from seclude.tlog.canonical import MAX_SIZE, parse_base64, parse_decimal, parse_hash, to_base64
from seclude.tlog.cosigned import Cosigned, open_cosigned
from seclude.tlog.keys import VerifierKey
from seclude.tlog.merkle import HASH_BYTES, MAX_PROOF, leaf_hash, verify_inclusion
from seclude.tlog.note import MAX_NOTE
from seclude.tlog.quorum import Quorum

HEAD: Final = "c2sp.org/tlog-proof@v1"
EXTRA: Final = "extra "
INDEX: Final = "index "
MAX_EXTRA: Final = 1 << 16  # octets; as much as an entry, which is all that it could help to rebuild


@dataclass(frozen=True, slots=True)
class LogProof:
    """Where an entry stands, unverified."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    """The signed note as it came."""
    extra: bytes | None = None
    """Whatever the maker added; nobody signed it."""


def parse_log_proof(data: bytes) -> LogProof:
    """Take a proof apart; the checkpoint in it is read when it is verified."""
    head, separator, checkpoint = data.partition(b"\n\n")
    if not separator or not checkpoint:
        raise DecodeError("proof has no checkpoint after an empty line")
    if len(checkpoint) > MAX_NOTE:
        raise TooLargeError(f"checkpoint is too large: {len(checkpoint)} of at most {MAX_NOTE} octets")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise DecodeError("proof is no text") from None
    if lines.pop(0) != HEAD:
        raise DecodeError(f"proof does not begin with {HEAD}")
    extra = None
    if lines and lines[0].startswith(EXTRA):
        extra = parse_base64(lines.pop(0).removeprefix(EXTRA), "extra")
        if not 0 < len(extra) <= MAX_EXTRA:
            raise TooLargeError(f"extra has {len(extra)} octets, not 1 to {MAX_EXTRA}")
    if not lines or not lines[0].startswith(INDEX):
        raise DecodeError("proof has no line `index`")
    index = parse_decimal(lines.pop(0).removeprefix(INDEX), "index")
    if len(lines) > MAX_PROOF:
        raise TooLargeError(f"proof is too long: {len(lines)} of at most {MAX_PROOF} hashes")
    return LogProof(index, tuple(parse_hash(line, "hash") for line in lines), checkpoint, extra)


def serialize_log_proof(proof: LogProof) -> bytes:
    """Return the octets that `parse_log_proof` takes."""
    extra_bytes = 1 if proof.extra is None else len(proof.extra)
    if not 0 <= proof.index <= MAX_SIZE or not 0 < extra_bytes <= MAX_EXTRA or not proof.checkpoint:
        raise UsageError("a proof that cannot be written: its index, extra octets or checkpoint")
    if len(proof.hashes) > MAX_PROOF or any(len(item) != HASH_BYTES for item in proof.hashes):
        raise UsageError("a proof that cannot be written: its hashes")
    lines = [HEAD]
    if proof.extra is not None:
        lines.append(EXTRA + to_base64(proof.extra))
    lines.append(f"{INDEX}{proof.index}")
    lines += map(to_base64, proof.hashes)
    return "\n".join(lines).encode() + b"\n\n" + proof.checkpoint


def verify_log_proof(proof: LogProof, entry: bytes, log: VerifierKey, quorum: Quorum) -> Cosigned:
    """Return the checkpoint under which this entry stands in the log, once log, quorum and path are checked."""
    cosigned = open_cosigned(proof.checkpoint, log, quorum)
    checkpoint = cosigned.checkpoint
    verify_inclusion(leaf_hash(entry), proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    return cosigned
