"""Outlines: the roots that they tell, and the histories that they tell apart."""

import pytest

from seclude.errors import DecodeError, EvidenceError
from seclude.tlog.merkle import EMPTY_ROOT, Frontier
from seclude.tlog.outline import Outline, make_outline, outline_length, require_consistent
from tests.tlog.logs import Tree, sha256, tree_of

SIZES = (0, 1, 63, 64, 127, 128, 191, 192, 700, 4095, 4096, 8191, 8255, 8256, 8320, 12_352, 12_416, 20_000)
TREE = tree_of(20_000)


def all_roots(tree: Tree) -> list[bytes]:
    frontier = Frontier()
    roots = [EMPTY_ROOT]
    for leaf in tree.leaves:
        frontier.append(leaf)
        roots.append(frontier.root())
    return roots


ROOTS = all_roots(TREE)


def outline_of(size: int, tree: Tree = TREE) -> Outline:
    return make_outline(size, tree.node)


@pytest.mark.parametrize("size", SIZES)
def test_an_outline_tells_the_root_at_every_boundary_and_at_no_other_size(size: int) -> None:
    outline = outline_of(size)
    assert outline.root() == ROOTS[size]
    assert outline.boundaries[0] == 0
    assert outline.boundaries[-1] == size
    for boundary in outline.boundaries:
        assert outline.root_at(boundary) == ROOTS[boundary]
    for other in set(range(max(0, size - 200), size + 3)).difference(outline.boundaries):
        assert outline.root_at(other) is None
    assert outline.root_at(-1) is None


@pytest.mark.parametrize("size", SIZES)
def test_the_last_leaves_stand_alone(size: int) -> None:
    outline = outline_of(size)
    alone = [index for index in range(size) if outline.leaf(index) is not None]
    assert alone == list(range(max(0, (size // 64 - 1) * 64), size))
    assert all(outline.leaf(index) == TREE.leaves[index] for index in alone)
    assert size < 64 or 64 <= len(alone) < 128
    for outside in (-1, size, size + 1):
        assert outline.leaf(outside) is None


@pytest.mark.parametrize("size", SIZES)
def test_an_outline_is_read_as_written(size: int) -> None:
    outline = outline_of(size)
    again = Outline.parse(size, outline.serialize())
    assert (again.size, again.hashes, again.root()) == (size, outline.hashes, outline.root())
    assert len(outline.serialize()) == 32 * outline_length(size)


def test_an_outline_is_small() -> None:
    year = 6 * 24 * 365
    assert outline_length(year) == 207  # 6.5 KiB for one entry every ten minutes
    assert max(outline_length(size) for size in range(year)) <= 127 + 127 + year // 4096


def test_hashes_that_are_no_outline_of_that_size_are_refused() -> None:
    data = outline_of(8320).serialize()
    for wrong in (data[:-1], data[:-32], data + bytes(32), data + b"\x00", b""):
        with pytest.raises(DecodeError, match="outline has"):
            Outline.parse(8320, wrong)
    for size in (-1, 2**63, 2**62, 8321):
        with pytest.raises(DecodeError, match="which no tree of"):
            Outline.parse(size, data)
    with pytest.raises(DecodeError, match="32 octets"):
        Outline(1, [bytes(31)])


def test_a_changed_hash_changes_the_root() -> None:
    outline = outline_of(8320)
    for place in range(0, len(outline.hashes), 17):
        hashes = list(outline.hashes)
        hashes[place] = sha256(hashes[place])
        assert Outline(8320, hashes).root() != outline.root()


@pytest.mark.parametrize("older", SIZES)
def test_outlines_of_one_log_agree_where_the_document_says(older: int) -> None:
    for newer in SIZES:
        if newer < older:
            continue
        common = require_consistent(outline_of(older), outline_of(newer))
        assert common == require_consistent(outline_of(newer), outline_of(older))
        if newer - older < 64:
            assert common == older
        elif newer - older < 4096:
            assert older - common < 64
        else:
            assert older - common < 4096


def forked(at: int, size: int) -> Tree:
    leaves = list(TREE.leaves[:size])
    leaves[at] = sha256(b"another")
    return Tree(leaves)


@pytest.mark.parametrize(
    ("at", "older", "newer"), [(0, 10, 10), (5, 10, 30), (0, 200, 700), (100, 8256, 8320), (4000, 5000, 20_000)]
)
def test_two_histories_are_told_apart_and_both_roots_are_shown(at: int, older: int, newer: int) -> None:
    was, now = outline_of(older), outline_of(newer, forked(at, newer))
    with pytest.raises(EvidenceError, match="two histories") as refusal:
        require_consistent(was, now)
    common = max(set(was.boundaries) & set(now.boundaries))
    for outline in (was, now):
        root = outline.root_at(common)
        assert root is not None
        assert root.hex() in str(refusal.value)


def test_a_young_log_beside_a_much_older_one_shows_nothing() -> None:
    assert require_consistent(outline_of(40), outline_of(20_000)) == 0
