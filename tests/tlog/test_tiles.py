"""Tiles: their paths, which of them there must be, and trees read from them."""

from collections.abc import Callable

import pytest

from seclude.errors import DecodeError, UsageError
from seclude.tlog.merkle import consistency_proof, inclusion_proof, tree_root, verify_consistency, verify_inclusion
from seclude.tlog.tiles import (
    ENTRIES,
    MAX_ENTRY,
    MAX_INDEX,
    TILE_WIDTH,
    TileReader,
    fresh_tiles,
    parse_entries,
    parse_tile_path,
    serialize_entries,
    tile_path,
    tiles_of,
)
from tests.tlog.logs import Tree, tree_of

SIZES = (1, 2, 3, 255, 256, 257, 511, 512, 700, 66_000)
BIG = tree_of(66_000)


def files_of(tree: Tree, size: int) -> dict[str, bytes]:
    """Every hash tile that tlog-tiles asks for, from its definition."""
    files = {}
    level = 0
    while count := size >> 8 * level:
        for start in range(0, count, 256):
            hashes = [tree.node(8 * level, index) for index in range(start, min(start + 256, count))]
            suffix = "" if len(hashes) == 256 else f".p/{len(hashes)}"
            number = f"{start // 256:03}"
            files[f"tile/{level}/{number}{suffix}"] = b"".join(hashes)
        level += 1
    return files


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        ((0, 0, 256), "tile/0/000"),
        ((0, 999, 256), "tile/0/999"),
        ((3, 1234067, 256), "tile/3/x001/x234/067"),  # C2SP tlog-tiles
        ((1, 1000, 17), "tile/1/x001/000.p/17"),
        ((63, 0, 1), "tile/63/000.p/1"),
        ((ENTRIES, 5, 256), "tile/entries/005"),
        ((ENTRIES, 5, 255), "tile/entries/005.p/255"),
        ((0, MAX_INDEX, 256), "tile/0/x036/x028/x797/x018/x963/967"),
    ],
)
def test_tiles_have_the_paths_of_the_specification(tile: tuple[int, int, int], path: str) -> None:
    assert tile_path(*tile) == path
    assert parse_tile_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/x001",
        "tile/0/001/000",
        "tile/0/X001/000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/entry/000",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000/",
        "tile/0/000\n",
        "/tile/0/000",
        "tile/0/../../000",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/x036/x028/x797/x018/x963/968",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
    ],
)
def test_no_other_path_is_a_tile(path: str) -> None:
    with pytest.raises(DecodeError, match="not that of a tile"):
        parse_tile_path(path)


@pytest.mark.parametrize("tile", [(-2, 0, 1), (64, 0, 1), (0, -1, 1), (0, MAX_INDEX + 1, 1), (0, 0, 0), (0, 0, 257)])
def test_what_is_no_tile_has_no_path(tile: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError):
        tile_path(*tile)


def test_the_example_of_the_specification_has_its_tiles() -> None:
    tiles = tiles_of(70_000)
    assert tiles == [(0, index, 256) for index in range(273)] + [(0, 273, 112), (1, 0, 256), (1, 1, 17), (2, 0, 1)]
    assert tiles_of(256) == [(0, 0, 256), (1, 0, 1)]
    assert tiles_of(0) == []


@pytest.mark.parametrize("size", SIZES)
def test_tiles_are_those_of_the_definition(size: int) -> None:
    assert {tile_path(*tile) for tile in tiles_of(size)} == files_of(BIG, size).keys()


def test_a_log_that_grows_writes_what_it_lacks_and_nothing_again() -> None:
    sizes = (0, 1, 200, 255, 256, 257, 512, 513, 65_535, 65_536, 65_537, 131_073)
    for old in sizes:
        for new in sizes:
            if old <= new:
                assert set(fresh_tiles(old, new)) == set(tiles_of(new)) - set(tiles_of(old))
                assert len(fresh_tiles(old, new)) == len(set(fresh_tiles(old, new)))
    assert fresh_tiles(2**62, 2**62 + 1) == [(0, 2**54, 1)]
    for old, new in ((2, 1), (-1, 1), (0, 2**63)):
        with pytest.raises(UsageError):
            fresh_tiles(old, new)


@pytest.mark.parametrize("size", SIZES)
def test_roots_and_proofs_come_from_tiles(size: int) -> None:
    files = files_of(BIG, size)
    asked: list[str] = []

    def fetch(path: str) -> bytes:
        asked.append(path)
        return files[path]

    reader = TileReader(size, fetch)
    root = tree_root(size, reader.node)
    assert root == BIG.root(size)
    for index in {0, size // 3, size // 2, size - 1}:
        verify_inclusion(BIG.leaves[index], index, size, inclusion_proof(index, size, reader.node), root)
    for first in {1, size // 3, size // 2, size - 1, size}:
        proof = consistency_proof(first, size, reader.node)
        verify_consistency(first, BIG.root(first), size, root, proof)
    assert len(asked) == len(set(asked)), "no tile is fetched twice"


def test_every_complete_subtree_is_found_in_tiles() -> None:
    size = 700
    files = files_of(BIG, size)
    reader = TileReader(size, files.__getitem__)
    for level in range(10):
        for index in range(size >> level):
            assert reader.node(level, index) == BIG.node(level, index)
    for level, index in ((0, 700), (9, 1), (10, 0), (-1, 0), (0, -1)):
        with pytest.raises(UsageError):
            reader.node(level, index)


def test_a_full_tile_may_stand_for_a_partial_one() -> None:
    """A log may delete a partial tile once the full one is there (C2SP tlog-tiles)."""
    grown = files_of(BIG, 512)
    reader = TileReader(
        300, lambda path: grown[path.partition(".p/")[0]] if "tile/0" in path else grown["tile/1/000.p/2"][:32]
    )
    assert tree_root(300, reader.node) == BIG.root(300)


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t + b"\x00", lambda t: b"", lambda t: t + bytes(32)])
def test_a_tile_of_another_length_is_refused(change: Callable[[bytes], bytes]) -> None:
    files = files_of(BIG, 300)
    reader = TileReader(300, lambda path: change(files[path]))
    for level, index in ((0, 0), (0, 299), (8, 0)):
        with pytest.raises(DecodeError, match="octets, not"):
            reader.node(level, index)


def test_entries_come_apart_as_they_were_put_together() -> None:
    for entries in ([b""], [b"a", b"", b"b" * MAX_ENTRY], [b"e"] * TILE_WIDTH):
        assert parse_entries(serialize_entries(entries)) == entries


def test_what_is_no_bundle_is_refused() -> None:
    data = serialize_entries([b"one", b"two"])
    for cut in range(len(data)):
        if cut != 5:  # where the second entry begins
            with pytest.raises(DecodeError):
                parse_entries(data[:cut])
    with pytest.raises(DecodeError, match="more than 256"):
        parse_entries(serialize_entries([b"e"] * 256) + b"\x00\x00")
    for entries in ([], [b"e"] * 257, [b"e" * (MAX_ENTRY + 1)]):
        with pytest.raises(UsageError):
            serialize_entries(entries)
