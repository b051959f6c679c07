"""An outline of a tree: hashes that cover it from left to right, fine at its end and coarse before (ours).

A device that saw a log at one size and meets it at another wants to know, offline, that the one is a beginning of the
other. A consistency proof would have to be made for the pair. An outline is the same for everybody: from the hashes of
complete subtrees, single leaves over the last 64 to 127, subtrees of 64 before, and of 4096 before those, everyone can
compute the root at every size at which one of them ends.

    size n;  a1 = max(0, n/64 - 1) * 64;  a2 = max(0, a1/4096 - 1) * 4096      (divisions rounded down)
    [0, a2) in subtrees of level 12, [a2, a1) of level 6, [a1, n) of level 0, 32 octets each

Two outlines of one log agree at the largest size that both can compute. An outline proves nothing by itself: its root
must be that of a checkpoint that was verified.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from typing import Self

from seclude.errors import DecodeError, EvidenceError
from seclude.tlog.canonical import MAX_SIZE
from seclude.tlog.merkle import HASH_BYTES, Frontier, Node


class Outline:
    """The outline of one tree at one size."""

    __slots__ = ("boundaries", "hashes", "size")

    def __init__(self, size: int, hashes: Sequence[bytes]) -> None:
        if not 0 <= size <= MAX_SIZE or len(hashes) != outline_length(size):
            raise DecodeError(f"outline has {len(hashes)} hashes, which no tree of {size} has")
        if any(len(item) != HASH_BYTES for item in hashes):
            raise DecodeError("outline has a hash that does not have 32 octets")
        self.size = size
        self.hashes = tuple(hashes)
        widths = (1 << level for level, _ in _subtrees(size))
        self.boundaries: Sequence[int] = tuple(accumulate(widths, initial=0))
        """Every size whose root can be computed, in ascending order, from 0 to the tree's own."""

    @classmethod
    def parse(cls, size: int, data: bytes) -> Self:
        """Take joined hashes apart; the size stands elsewhere."""
        if len(data) % HASH_BYTES:
            raise DecodeError(f"outline has {len(data)} octets, which are not whole hashes")
        return cls(size, [data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)])

    def serialize(self) -> bytes:
        """Return the hashes joined, as `parse` takes them."""
        return b"".join(self.hashes)

    def root(self) -> bytes:
        """Return the root of the tree, to be compared with a checkpoint's."""
        return self._root_of_first(len(self.hashes))

    def root_at(self, size: int) -> bytes | None:
        """Return the root of the tree when it had this size; None where no hash ends there."""
        place = bisect_left(self.boundaries, size)
        if place == len(self.boundaries) or self.boundaries[place] != size:
            return None
        return self._root_of_first(place)

    def leaf(self, index: int) -> bytes | None:
        """Return the hash of a leaf; None where it is too old to stand here alone, or none of this tree."""
        fine = _borders(self.size)[0]
        if not fine <= index < self.size:
            return None
        return self.hashes[len(self.hashes) - (self.size - index)]

    def _root_of_first(self, count: int) -> bytes:
        frontier = Frontier()
        for (level, _), node in zip(_subtrees(self.size), self.hashes[:count], strict=False):
            frontier.append_subtree(level, node)
        return frontier.root()


def make_outline(size: int, node: Node) -> Outline:
    """Outline the first `size` leaves of a tree whose complete subtrees' hashes `node` tells."""
    return Outline(size, [node(level, index) for level, index in _subtrees(size)])


def outline_length(size: int) -> int:
    """Return how many hashes the outline of a tree of this size has: at most 254, and one for each 4096 leaves."""
    fine, middle = _borders(size)
    return size - fine + (fine - middle >> 6) + (middle >> 12)


def require_consistent(older: Outline, newer: Outline) -> int:
    """Compare the roots at the largest size that both outlines can compute, and return that size.

    What the smaller tree has beyond that size is not compared: nothing where the sizes differ by less than 64, at most
    63 leaves where they differ by less than 4096, at most 4095 else. So 0 comes back, and nothing is shown, for a tree
    of few leaves beside one that grew by thousands.
    """
    common = max(set(older.boundaries).intersection(newer.boundaries))
    before, now = older.root_at(common), newer.root_at(common)
    if before is None or now is None or before != now:
        shown = [root.hex() for root in (before, now) if root is not None]
        raise EvidenceError(f"the log shows two histories: its root at {common} was {' and is '.join(shown)}")
    return common


def _borders(size: int) -> tuple[int, int]:
    """Where the single leaves begin, and where the subtrees of 64 do."""
    fine = max(0, (size >> 6) - 1) << 6
    return fine, max(0, (fine >> 12) - 1) << 12


def _subtrees(size: int) -> Iterator[tuple[int, int]]:
    """Level and index of each, from left to right."""
    fine, middle = _borders(size)
    return chain(
        ((12, index) for index in range(middle >> 12)),
        ((6, index) for index in range(middle >> 6, fine >> 6)),
        ((0, index) for index in range(fine, size)),
    )
