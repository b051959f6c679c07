"""What logs and witnesses sign about a checkpoint (C2SP tlog-cosignature).

    cosignature = timestamp u64, signature
    Ed25519 signs "cosignature/v1", newline, "time ", decimal timestamp, newline, the checkpoint's text
    ML-DSA-44 signs "subtree/v1", newline, 0x00, cosigner name vec8, timestamp u64, origin vec8, start u64, end u64,
                    root 32

A witness's cosignature says: at that second this was the largest tree I had seen of this log, and it is consistent with
all I saw before. A log signs its own checkpoint with an Ed25519 note signature, or with ML-DSA-44 as its own cosigner;
there the timestamp may be zero, which states nothing about time.
"""

from typing import Final

from seclude.errors import EvidenceError, UsageError
from seclude.tlog.canonical import MAX_SIZE
from seclude.tlog.checkpoint import Checkpoint, parse_checkpoint, render_checkpoint
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, ML_DSA_44, SIGNATURE_BYTES, SignerKey, VerifierKey
from seclude.tlog.note import Note, NoteSignature
from seclude.tlog.signing import sign_text, verify_text
from seclude.wire import Reader, Writer

MAX_TIMESTAMP: Final = MAX_SIZE
LABEL: Final = b"subtree/v1\n\x00"
LOG_ALGORITHMS: Final = (ED25519, ML_DSA_44)
WITNESS_ALGORITHMS: Final = (COSIGNATURE_ED25519, ML_DSA_44)


def sign_checkpoint(checkpoint: Checkpoint, key: SignerKey, timestamp: int) -> NoteSignature:
    """Return a log's signature on its own checkpoint; an Ed25519 one has no place for the timestamp."""
    if key.verifier.algorithm not in LOG_ALGORITHMS or key.verifier.name != checkpoint.origin:
        raise UsageError(f"the key of {key.verifier.name} is not that of a log called {checkpoint.origin}")
    if key.verifier.algorithm == ED25519:
        return sign_text(render_checkpoint(checkpoint), key)
    return _sign(checkpoint, key, timestamp)


def cosign(checkpoint: Checkpoint, key: SignerKey, timestamp: int) -> NoteSignature:
    """Return a witness's cosignature; whoever calls it has checked consistency, and stored that it did."""
    if key.verifier.algorithm not in WITNESS_ALGORITHMS:
        raise UsageError(f"the key of {key.verifier.name} is not that of a witness")
    if not timestamp:
        raise UsageError("a witness says when")
    return _sign(checkpoint, key, timestamp)


def verify_cosignature(checkpoint: Checkpoint, key: VerifierKey, signature: bytes) -> int:
    """Return the time, in seconds of UTC since 1970, at which the witness says that it cosigned this checkpoint."""
    if key.algorithm not in WITNESS_ALGORITHMS:
        raise UsageError(f"the key of {key.name} is not that of a witness")
    timestamp = _verify(checkpoint, key, signature)
    if not timestamp:
        raise EvidenceError(f"cosignature of {key.name} says no time")
    return timestamp


def verify_log_signature(note: Note, key: VerifierKey) -> Checkpoint:
    """Return the checkpoint that this log signed; cosignatures are not looked at."""
    if key.algorithm not in LOG_ALGORITHMS:
        raise UsageError(f"the key of {key.name} is not that of a log")
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != key.name:
        raise EvidenceError(f"checkpoint is of another log than {key.name}")
    own = [one.signature for one in note.signatures if (one.name, one.key_id) == (key.name, key.key_id)]
    if not own:
        raise EvidenceError(f"checkpoint is not signed by the log {key.name}")
    for signature in own:
        if key.algorithm == ED25519:
            verify_text(note.text, key, signature)
        else:
            _verify(checkpoint, key, signature)
    return checkpoint


def _sign(checkpoint: Checkpoint, key: SignerKey, timestamp: int) -> NoteSignature:
    if not 0 <= timestamp <= MAX_TIMESTAMP:
        raise UsageError("a timestamp that cannot be written")
    signature = key.sign(_message(checkpoint, key.verifier, timestamp))
    return NoteSignature(key.verifier.name, key.verifier.key_id, Writer().u64(timestamp).raw(signature).getvalue())


def _verify(checkpoint: Checkpoint, key: VerifierKey, signature: bytes) -> int:
    length = 8 + SIGNATURE_BYTES[key.algorithm]
    if len(signature) != length:
        raise EvidenceError(f"cosignature of {key.name} has {len(signature)} octets, not {length}")
    reader = Reader(signature)
    timestamp = reader.u64("timestamp")
    if timestamp > MAX_TIMESTAMP:
        raise EvidenceError(f"cosignature of {key.name} has a timestamp over 2^63 - 1")
    key.verify(reader.rest(), _message(checkpoint, key, timestamp))
    return timestamp


def _message(checkpoint: Checkpoint, key: VerifierKey, timestamp: int) -> bytes:
    text = render_checkpoint(checkpoint)
    if key.algorithm == COSIGNATURE_ED25519:
        return f"cosignature/v1\ntime {timestamp}\n{text}".encode()
    writer = Writer().raw(LABEL).vec8(key.name.encode()).u64(timestamp).vec8(checkpoint.origin.encode())
    return writer.u64(0).u64(checkpoint.size).raw(checkpoint.root).getvalue()
