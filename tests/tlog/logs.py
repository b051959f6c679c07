"""A log in memory, whose hashes are computed from RFC 6962's own recursive definition and by nothing of ours."""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

from seclude.tlog.checkpoint import Checkpoint, render_checkpoint
from seclude.tlog.cosignature import cosign, sign_checkpoint
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, SignerKey, generate_skey
from seclude.tlog.note import Note, serialize_note
from seclude.tlog.quorum import Quorum, parse_quorum

ORIGIN: Final = "ledger.example/keys"
NOW: Final = 1_700_000_000


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def entry(index: int) -> bytes:
    return b"entry %d" % index


def mth(hashes: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, over leaves that are hashed already."""
    if len(hashes) < 2:
        return hashes[0] if hashes else sha256(b"")
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return sha256(b"\x01" + mth(hashes[:split]) + mth(hashes[split:]))


class Tree:
    """Leaves, and the hash of every complete subtree over them."""

    def __init__(self, leaves: Iterable[bytes]) -> None:
        self.leaves = list(leaves)
        self.node = cache(self._node)

    def root(self, size: int | None = None) -> bytes:
        return mth(self.leaves[:size])

    def _node(self, level: int, index: int) -> bytes:
        leaves = self.leaves[index << level : (index + 1) << level]
        assert len(leaves) == 1 << level, "no complete subtree there"
        return mth(leaves)


def tree_of(size: int) -> Tree:
    return Tree(sha256(b"\x00" + entry(index)) for index in range(size))


class Parties:
    """A log's key and some witnesses', with the policy that names them w1, w2 and so on."""

    def __init__(self, witnesses: int = 3, algorithm: int = COSIGNATURE_ED25519, threshold: int = 2) -> None:
        self.log = generate_skey(ORIGIN, ED25519)
        self.witnesses = [generate_skey(f"w{number}.example", algorithm) for number in range(1, witnesses + 1)]
        self.policy = policy_of(self.log, self.witnesses, threshold)

    @property
    def quorum(self) -> Quorum:
        return parse_quorum(self.policy)

    def cosigned(self, checkpoint: Checkpoint, *times: int) -> bytes:
        """A checkpoint that the first witnesses cosigned at these times; 0 leaves one out."""
        witnesses = zip(self.witnesses, times, strict=False)
        cosignatures = [cosign(checkpoint, key, moment) for key, moment in witnesses if moment]
        own = sign_checkpoint(checkpoint, self.log, 0)
        return serialize_note(Note(render_checkpoint(checkpoint), (own, *cosignatures)))


def policy_of(log: SignerKey, witnesses: Sequence[SignerKey], threshold: int) -> str:
    names = [f"w{number}" for number in range(1, len(witnesses) + 1)]
    lines = [f"log {log.verifier}"]
    lines += [f"witness {name} {key.verifier}" for name, key in zip(names, witnesses, strict=True)]
    return "\n".join([*lines, f"group most {threshold} {' '.join(names)}", "quorum most", ""])
