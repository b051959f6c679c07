"""Merkle trees over a list that only grows, with proofs of inclusion and of consistency (RFC 6962, section 2.1).

A tree of n leaves is split where its greatest power of two below n ends, so that every subtree left of a split is
complete and never changes again. Whoever can tell the hash of any complete subtree, a `Node`, can therefore compute
every root and every proof, of today's tree and of every earlier one; nothing here asks where those hashes are kept.
A proof is verified from hashes alone.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Self

from seclude.errors import EvidenceError, UsageError

HASH_BYTES: Final = 32
MAX_PROOF: Final = 63  # hashes: no path is longer in a tree of 2^63 - 1 leaves, and tlog-witness takes no more
EMPTY_ROOT: Final = hashlib.sha256().digest()

Node = Callable[[int, int], bytes]
"""(level, index) -> hash of the complete subtree over the leaves [index << level, (index + 1) << level)."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry as a leaf; its first octet keeps it apart from every inner node."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node above two others."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_root(size: int, node: Node) -> bytes:
    """Return the root of the tree of the first `size` leaves."""
    return _range_hash(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: Node) -> tuple[bytes, ...]:
    """Return the path of a leaf in the tree of `size` leaves, from its sibling upwards (RFC 6962, section 2.1.1)."""
    if not 0 <= index < size:
        raise UsageError(f"no leaf {index} in a tree of {size}")
    start, end = 0, size
    path = []
    while end - start > 1:
        split = start + _greatest_power_below(end - start)
        if index < split:
            path.append(_range_hash(split, end, node))
            end = split
        else:
            path.append(_range_hash(start, split, node))
            start = split
    return tuple(reversed(path))


def consistency_proof(first: int, second: int, node: Node) -> tuple[bytes, ...]:
    """Return what shows that the tree of `first` leaves is a beginning of that of `second` (section 2.1.2).

    It has no hash where the first tree is empty or both are one.
    """
    if not 0 <= first <= second:
        raise UsageError(f"a tree of {first} is no beginning of one of {second}")
    if first in (0, second):
        return ()
    start, end = 0, second
    path = []
    while first != end:
        split = start + _greatest_power_below(end - start)
        if first <= split:
            path.append(_range_hash(split, end, node))
            end = split
        else:
            path.append(_range_hash(start, split, node))
            start = split
    if start:  # else the first tree is itself a node of the second, and the verifier holds its root
        path.append(_range_hash(start, end, node))
    return tuple(reversed(path))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf with this hash stands at `index` in the tree of `size` leaves with this root."""
    if not 0 <= index < size:
        raise EvidenceError(f"inclusion: no leaf {index} in a tree of {size}")
    inner = (index ^ (size - 1)).bit_length()  # the levels on which the path has a sibling to its right
    _require_path(proof, inner + (index >> inner).bit_count(), "inclusion")
    _require_hashes("inclusion", leaf, root, *proof)
    hashed = leaf
    for level, sibling in enumerate(proof[:inner]):
        hashed = node_hash(sibling, hashed) if index >> level & 1 else node_hash(hashed, sibling)
    for sibling in proof[inner:]:
        hashed = node_hash(sibling, hashed)
    _require_root(hashed, root, f"inclusion: leaf {index} does not lead to the root at {size}")


def verify_consistency(first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `first` leaves with its root is a beginning of the tree of `second` leaves with its."""
    if not 0 <= first <= second:
        raise EvidenceError(f"consistency: a tree of {first} is no beginning of one of {second}")
    if not first:
        _require_root(first_root, EMPTY_ROOT, "consistency: an empty tree with a root")
    if first == second:
        _require_root(first_root, second_root, f"consistency: two roots at {first}")
    else:
        _require_hashes("consistency", first_root, second_root, *proof)
    if first in (0, second):  # nothing is left to show
        _require_path(proof, 0, "consistency")
        return
    aligned = (first & -first).bit_length() - 1  # the last complete subtree of the first tree has this level
    index, last = (first - 1) >> aligned, (second - 1) >> aligned
    inner = (index ^ last).bit_length()
    is_subtree = first == 1 << aligned
    _require_path(proof, inner + (index >> inner).bit_count() + (not is_subtree), "consistency")
    start, rest = (first_root, proof) if is_subtree else (proof[0], proof[1:])
    older = newer = start
    for level, sibling in enumerate(rest[:inner]):
        if index >> level & 1:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
        else:
            newer = node_hash(newer, sibling)
    for sibling in rest[inner:]:
        older, newer = node_hash(sibling, older), node_hash(sibling, newer)
    _require_root(older, first_root, f"consistency: the proof does not lead to the root at {first}")
    _require_root(newer, second_root, f"consistency: the proof does not lead to the root at {second}")


class Frontier:
    """A tree that grows, kept as the hashes of the complete subtrees that make it up, greatest first."""

    __slots__ = ("_nodes", "size")

    def __init__(self) -> None:
        self.size = 0
        self._nodes: list[tuple[int, bytes]] = []

    @classmethod
    def of(cls, size: int, node: Node) -> Self:
        """Return the frontier of the first `size` leaves of a tree that is kept elsewhere."""
        frontier = cls()
        for level, index in _complete_subtrees(0, size):
            frontier.append_subtree(level, node(level, index))
        return frontier

    def append(self, leaf: bytes) -> None:
        """Add the hash of one leaf."""
        self.append_subtree(0, leaf)

    def append_subtree(self, level: int, node: bytes) -> None:
        """Add `1 << level` leaves by the hash of their subtree, which can stand only where one of its size begins."""
        if self.size % (1 << level):
            raise UsageError(f"no subtree of level {level} begins at leaf {self.size}")
        self.size += 1 << level
        while self._nodes and self._nodes[-1][0] == level:
            node = node_hash(self._nodes.pop()[1], node)
            level += 1
        self._nodes.append((level, node))

    def root(self) -> bytes:
        """Return the root of the tree as it is now."""
        if not self._nodes:
            return EMPTY_ROOT
        hashed = self._nodes[-1][1]
        for _, node in reversed(self._nodes[:-1]):
            hashed = node_hash(node, hashed)
        return hashed


def _greatest_power_below(length: int) -> int:
    return 1 << (length - 1).bit_length() - 1


def _complete_subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The level and index of each, from left to right; `start` is a multiple of the greatest one's width."""
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def _range_hash(start: int, end: int, node: Node) -> bytes:
    nodes = [node(level, index) for level, index in _complete_subtrees(start, end)]
    hashed = nodes.pop()
    while nodes:
        hashed = node_hash(nodes.pop(), hashed)
    return hashed


def _require_path(proof: Sequence[bytes], length: int, what: str) -> None:
    if len(proof) != length:
        raise EvidenceError(f"{what}: the proof has {len(proof)} hashes, not {length}")


def _require_hashes(what: str, *hashes: bytes) -> None:
    if any(len(item) != HASH_BYTES for item in hashes):
        raise EvidenceError(f"{what}: a hash does not have 32 octets")


def _require_root(computed: bytes, root: bytes, sentence: str) -> None:
    if computed != root:
        raise EvidenceError(sentence)
