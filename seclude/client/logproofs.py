"""Standard proofs (C2SP tlog-proof) for what a bundle shows of the ledger, made offline from its outlines.

An outline has single leaves at its end, so the path of each of those can be computed from it. What comes out needs
nothing of this project to be checked: an entry, a proof, and a policy that names the log and its witnesses.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from seclude.attestation.pins import Ledger
from seclude.attestation.proofs import LogView, Proofs, epoch_entry
from seclude.errors import EvidenceError, UsageError
from seclude.tlog.keys import VerifierKey
from seclude.tlog.merkle import Node, inclusion_proof, node_hash
from seclude.tlog.outline import Outline
from seclude.tlog.proof import LogProof, serialize_log_proof, verify_log_proof


@dataclass(frozen=True, slots=True)
class Shown:
    """One entry of one log, with what shows that it stands there."""

    log: VerifierKey
    index: int
    entry: bytes
    proof: bytes
    """In the text of C2SP tlog-proof."""


def prove_entries(proofs: Proofs, ledger: Ledger, epoch: int, core: bytes, evidence: bytes) -> tuple[Shown, Shown]:
    """Return the epoch's entry in the keys log and the newest snapshot's in the state log, both proofs verified."""
    keys = _prove(proofs.keys, ledger, ledger.keys_log, epoch, epoch_entry(core, evidence))
    last = proofs.state.outline.size - 1
    return keys, _prove(proofs.state, ledger, ledger.state_log, last, proofs.snapshot)


def outline_node(outline: Outline) -> Node:
    """Return how to find the hash of a complete subtree that an outline is fine enough for."""
    cover: dict[tuple[int, int], bytes] = {}
    for start, end, hashed in zip(outline.boundaries, outline.boundaries[1:], outline.hashes, strict=False):
        level = (end - start).bit_length() - 1
        cover[level, start >> level] = hashed

    def node(level: int, index: int) -> bytes:
        found = cover.get((level, index))
        if found is not None:
            return found
        if level == 0:
            raise UsageError(f"an outline of {outline.size} leaves does not have leaf {index}")
        return node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))

    return node


def policy_text(log: VerifierKey, witnesses: str) -> str:
    """Return a C2SP tlog-policy for one log: what other tools take to check its proofs."""
    return f"log {log}\n{witnesses.rstrip()}\n"


def proof_files(shown: Mapping[str, Shown], witnesses: str) -> dict[str, bytes]:
    """Return the files to write: for each log its entry, proof and policy, by the log's short name."""
    files: dict[str, bytes] = {}
    for name, each in shown.items():
        files[f"{name}.entry"] = each.entry
        files[f"{name}.tlog-proof"] = each.proof
        files[f"{name}.policy"] = policy_text(each.log, witnesses).encode()
    return files


def _prove(view: LogView, ledger: Ledger, log: VerifierKey, index: int, entry: bytes) -> Shown:
    outline = view.outline
    if outline.leaf(index) is None:
        raise EvidenceError(f"the outline of {log.name} does not show leaf {index}: it has {outline.size} leaves")
    path = inclusion_proof(index, outline.size, outline_node(outline))
    proof = LogProof(index, path, view.checkpoint)
    verify_log_proof(proof, entry, log, ledger.quorum)
    return Shown(log, index, entry, serialize_log_proof(proof))
