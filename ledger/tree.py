"""A log's tree as it stands after one batch: the hashes at its right edge, and how more entries change the files.

The layout is that of C2SP tlog-tiles. A tree of some size is a value that never changes, so that the event loop can
compute proofs from it while a thread writes the next one. Full tiles are read from disk when a proof needs them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from seclude.errors import UsageError
from seclude.tlog.merkle import HASH_BYTES, Frontier, Node, leaf_hash, node_hash
from seclude.tlog.tiles import ENTRIES, TILE_WIDTH, TileReader, serialize_entries, tile_path

LEVEL_BITS: Final = 8  # a tile stands for a subtree of this height
FULL: Final = TILE_WIDTH * HASH_BYTES
MAX_ENTRY: Final = (1 << 16) - 1  # octets; an entry's length has two


@dataclass(frozen=True, slots=True)
class Tile:
    """One file of the layout; `level` is ENTRIES for those that hold entries."""

    level: int
    index: int
    width: int

    @property
    def path(self) -> str:
        """Where it is, below the log's folder."""
        return tile_path(self.level, self.index, self.width)

    @property
    def partials(self) -> str:
        """The folder of what it was before it was full."""
        return f"{tile_path(self.level, self.index)}.p"


@dataclass(frozen=True)
class Tree:
    """The tree of the first `size` entries."""

    size: int
    edges: tuple[bytes, ...] = ()
    """For each level of tiles the hashes that fill no tile yet, joined."""
    bundle: bytes = b""
    """The entries that fill no bundle yet, as their file has them."""
    read: Callable[[str], bytes] = field(default=lambda path: b"", repr=False, compare=False)
    """Returns a full tile, by its path."""

    @cached_property
    def root(self) -> bytes:
        """Its root."""
        frontier = Frontier()
        for level in range(len(self.edges) - 1, -1, -1):
            for node in _hashes(self.edges[level]):
                frontier.append_subtree(LEVEL_BITS * level, node)
        return frontier.root()

    @cached_property
    def node(self) -> Node:
        """Returns the hash of any complete subtree."""
        return TileReader(self.size, self._fetch).node

    def leaf(self, index: int) -> bytes:
        """Return the hash of an entry."""
        if not 0 <= index < self.size:
            raise UsageError(f"no leaf {index} in a tree of {self.size}")
        return self.node(0, index)

    def covers(self, tile: Tile) -> bool:
        """Whether this tree fixes every octet of a tile, so that it will never be another one."""
        shift = LEVEL_BITS * max(tile.level, 0)
        return tile.index * TILE_WIDTH + tile.width <= self.size >> shift

    def partial(self, level: int) -> Tile | None:
        """Return the tile at the right edge of a level, if there is one that is not full."""
        count = self.size >> LEVEL_BITS * max(level, 0)
        width = count % TILE_WIDTH
        return Tile(level, count // TILE_WIDTH, width) if width else None

    def grow(self, entries: Sequence[bytes]) -> tuple["Tree", dict[Tile, bytes]]:
        """Return the tree with these entries at its end, and the tiles that stand for the difference."""
        growth = _Growth(self)
        for entry in entries:
            if len(entry) > MAX_ENTRY:
                raise UsageError(f"an entry of {len(entry)} octets, limit {MAX_ENTRY}")
            growth.add(entry)
        grown = Tree(growth.size, tuple(map(bytes, growth.edges)), bytes(growth.bundle), self.read)
        for level in (ENTRIES, *range(len(grown.edges))):
            tile = grown.partial(level)
            if tile is not None and tile != self.partial(level):
                growth.tiles[tile] = grown.bundle if level == ENTRIES else grown.edges[level]
        return grown, growth.tiles

    def _fetch(self, path: str) -> bytes:
        for level, edge in enumerate(self.edges):
            tile = self.partial(level)
            if tile is not None and tile.path == path:
                return edge
        return self.read(path)


class _Growth:
    """A tree while entries are added, with the tiles that became full."""

    def __init__(self, tree: Tree) -> None:
        self.size = tree.size
        self.edges = [bytearray(edge) for edge in tree.edges]
        self.bundle = bytearray(tree.bundle)
        self.tiles: dict[Tile, bytes] = {}

    def add(self, entry: bytes) -> None:
        self.bundle += serialize_entries((entry,))
        self.size += 1
        if not self.size % TILE_WIDTH:
            self.tiles[Tile(ENTRIES, self.size // TILE_WIDTH - 1, TILE_WIDTH)] = bytes(self.bundle)
            self.bundle.clear()
        self._push(0, leaf_hash(entry))

    def _push(self, level: int, node: bytes) -> None:
        if level == len(self.edges):
            self.edges.append(bytearray())
        edge = self.edges[level]
        edge += node
        if len(edge) == FULL:
            full = bytes(edge)
            edge.clear()
            index = (self.size >> LEVEL_BITS * (level + 1)) - 1
            self.tiles[Tile(level, index, TILE_WIDTH)] = full
            self._push(level + 1, _top(full))


def _hashes(joined: bytes) -> Iterator[bytes]:
    return (joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES))


def _top(full: bytes) -> bytes:
    """Return the hash above all of a full tile."""
    nodes = list(_hashes(full))
    while len(nodes) > 1:
        nodes = [node_hash(nodes[at], nodes[at + 1]) for at in range(0, len(nodes), 2)]
    return nodes[0]
