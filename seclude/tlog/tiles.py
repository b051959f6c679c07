"""A log as files that never change: its hashes and its entries in tiles of 256 (C2SP tlog-tiles).

    tile/<L>/<N>[.p/<W>]         256 (or W) hashes of level 8L: of subtrees with 256^L leaves each
    tile/entries/<N>[.p/<W>]     256 (or W) entries, each after two octets of length

For a checkpoint of size n there must be every full hash tile, at each level one partial tile of the hashes that are
left over, if any are, and an entry bundle for each tile of level 0, under the same number and width. `tiles_of` and
`fresh_tiles` name the hash tiles only. This module knows names and layouts; where the files are, others know.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from seclude.errors import DecodeError, UsageError
from seclude.tlog.canonical import MAX_SIZE
from seclude.tlog.merkle import HASH_BYTES, node_hash
from seclude.wire import Reader, Writer

TILE_WIDTH: Final = 256
TILE_HEIGHT: Final = 8  # levels of the tree between a tile's hashes and those of the tile above
TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES
ENTRIES: Final = -1  # the level of entry bundles
MAX_ENTRY: Final = (1 << 16) - 1  # octets; what two octets of length can say
MAX_LEVEL: Final = 63  # in a path; trees of up to 2^63 - 1 leaves have tiles of level 7 at most
MAX_INDEX: Final = MAX_SIZE >> TILE_HEIGHT
PATH: Final = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Return where a tile is, below the log's prefix; `level` ENTRIES is that of entry bundles."""
    if not ENTRIES <= level <= MAX_LEVEL or not 0 <= index <= MAX_INDEX or not 0 < width <= TILE_WIDTH:
        raise UsageError(f"no tile of level {level} has index {index} and width {width}")
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03}")
    name = "entries" if level == ENTRIES else str(level)
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{name}/{'/'.join(reversed(groups))}{partial}"


def parse_tile_path(path: str) -> tuple[int, int, int]:
    """Return level, index and width of the tile that has this path; no second path names the same."""
    match = PATH.fullmatch(path)
    if match is None:
        raise DecodeError("path is not that of a tile")
    level = ENTRIES if match[1] == "entries" else int(match[1])
    index, width = int(re.sub("[x/]", "", match[2])), int(match[3] or TILE_WIDTH)
    try:
        is_same = tile_path(level, index, width) == path
    except UsageError:
        is_same = False
    if not is_same:  # leading groups of zeros, a partial tile of 256 or more, a level or an index beyond the last
        raise DecodeError("path is not that of a tile")
    return level, index, width


def serialize_entries(entries: Sequence[bytes]) -> bytes:
    """Return the entry bundle of up to 256 entries."""
    if not 0 < len(entries) <= TILE_WIDTH:
        raise UsageError(f"no bundle has {len(entries)} entries")
    writer = Writer()
    for entry in entries:
        writer.vec16(entry)
    return writer.getvalue()


def parse_entries(data: bytes) -> list[bytes]:
    """Take an entry bundle apart; whether it has as many entries as its path says, the caller checks."""
    reader = Reader(data)
    entries: list[bytes] = []
    while reader.remaining:
        if len(entries) == TILE_WIDTH:
            raise DecodeError(f"bundle has more than {TILE_WIDTH} entries")
        entries.append(reader.vec16("entry"))
    if not entries:
        raise DecodeError("bundle has no entry")
    return entries


def tiles_of(size: int) -> list[tuple[int, int, int]]:
    """Return level, index and width of every hash tile that must exist for a checkpoint of this size."""
    return fresh_tiles(0, size)


def fresh_tiles(old_size: int, new_size: int) -> list[tuple[int, int, int]]:
    """Return those that a checkpoint of `new_size` needs beyond the ones of `old_size`, from level 0 upwards."""
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise UsageError(f"a log does not grow from {old_size} to {new_size}")
    tiles = []
    level = 0
    while new_size:
        full, rest = divmod(new_size, TILE_WIDTH)
        tiles += [(level, index, TILE_WIDTH) for index in range(old_size // TILE_WIDTH, full)]
        if rest and new_size > old_size:
            tiles.append((level, full, rest))
        old_size, new_size, level = old_size // TILE_WIDTH, full, level + 1
    return tiles


class TileReader:
    """The hashes of one log's tree at one size, from its tiles; its `node` is what `merkle` takes.

    What a tile says is not verified: compare the root, or the proof's, with a checkpoint that is.
    """

    __slots__ = ("_fetch", "_tiles", "size")

    def __init__(self, size: int, fetch: Callable[[str], bytes]) -> None:
        """`fetch` returns the file at a path of `tile_path`, or raises; the full tile may stand for a partial one."""
        self.size = size
        self._fetch = fetch
        self._tiles: dict[tuple[int, int], bytes] = {}  # as many as this checkpoint has, 8 KiB each

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a complete subtree, read from the tile at its level or from the one next below."""
        if level < 0 or index < 0 or (index + 1) << level > self.size:
            raise UsageError(f"no complete subtree {index} of level {level} in a tree of {self.size}")
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile_index, offset = divmod(index << height, TILE_WIDTH)
        tile = self._tile(tile_level, tile_index)
        starts = range(offset * HASH_BYTES, (offset + (1 << height)) * HASH_BYTES, HASH_BYTES)
        hashes = [tile[start : start + HASH_BYTES] for start in starts]
        while len(hashes) > 1:
            hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
        return hashes[0]

    def _tile(self, level: int, index: int) -> bytes:
        tile = self._tiles.get((level, index))
        if tile is None:
            width = min(TILE_WIDTH, (self.size >> level * TILE_HEIGHT) - index * TILE_WIDTH)
            path = tile_path(level, index, width)
            tile = self._fetch(path)
            if len(tile) not in (width * HASH_BYTES, TILE_BYTES):
                raise DecodeError(f"{path} has {len(tile)} octets, not {width * HASH_BYTES}")
            self._tiles[level, index] = tile
        return tile
