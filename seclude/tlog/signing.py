"""Signatures over the text of a note (C2SP signed-note, type 0x01), as publishers make them.

Keys that cosign checkpoints sign other octets; one of those here is our own mistake.
"""

from collections.abc import Sequence

from seclude.errors import ConfigError, EvidenceError, UsageError
from seclude.tlog.keys import ED25519, SIGNATURE_BYTES, SignerKey, VerifierKey
from seclude.tlog.note import Note, NoteSignature, serialize_note


def sign_note(text: str, *keys: SignerKey) -> bytes:
    """Return a note with this text, signed by each key."""
    return serialize_note(Note(text, tuple(sign_text(text, key) for key in keys)))


def sign_text(text: str, key: SignerKey) -> NoteSignature:
    """Return one key's signature over the text of a note."""
    _require_ed25519(key.verifier)
    return NoteSignature(key.verifier.name, key.verifier.key_id, key.sign(text.encode()))


def verify_note(note: Note, keys: Sequence[VerifierKey]) -> tuple[VerifierKey, ...]:
    """Return the keys that signed, each once, in their own order: one at least, or EvidenceError.

    Signatures by others are ignored. One that claims a known key and is not good spoils the note, however many are.
    """
    known = {(key.name, key.key_id): key for key in keys}
    if len(known) != len(keys):
        raise ConfigError("two of the pinned keys have the same name and id; leave one out")
    signed = set()
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is not None:
            verify_text(note.text, key, signature.signature)
            signed.add(key)
    if not signed:
        raise EvidenceError("note is signed by none of the pinned keys")
    return tuple(key for key in keys if key in signed)


def verify_text(text: str, key: VerifierKey, signature: bytes) -> None:
    """Check one signature over the text of a note."""
    _require_ed25519(key)
    if len(signature) != SIGNATURE_BYTES[ED25519]:
        raise EvidenceError(f"signature of {key.name} has {len(signature)} octets, not {SIGNATURE_BYTES[ED25519]}")
    key.verify(signature, text.encode())


def _require_ed25519(key: VerifierKey) -> None:
    if key.algorithm != ED25519:
        raise UsageError(f"the key of {key.name} signs checkpoints, not texts")
