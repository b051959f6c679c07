"""Roots and proofs of RFC 6962, before the vectors of transparency-dev/merkle and before the definition itself."""

import base64
import json
from typing import Any

import pytest

from seclude.errors import EvidenceError, UsageError
from seclude.tlog.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from tests.tlog.logs import entry, mth, sha256, tree_of
from tests.vectors import vector

SIZES = 40
TREE = tree_of(SIZES)


def octets(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def test_published_inclusion_proofs_are_judged_as_their_makers_do() -> None:
    cases: list[dict[str, Any]] = json.loads(vector("merkle/inclusion.json"))
    for case in cases:
        proof = [octets(item) for item in case["proof"] or ()]
        arguments = octets(case["leafHash"]), case["leafIdx"], case["treeSize"], proof, octets(case["root"])
        if case["wantErr"]:
            with pytest.raises(EvidenceError):
                verify_inclusion(*arguments)
        else:
            verify_inclusion(*arguments)
    assert (len(cases), sum(case["wantErr"] for case in cases)) == (98, 92)


def test_published_consistency_proofs_are_judged_as_their_makers_do() -> None:
    cases: list[dict[str, Any]] = json.loads(vector("merkle/consistency.json"))
    for case in cases:
        proof = [octets(item) for item in case["proof"] or ()]
        arguments = case["size1"], octets(case["root1"]), case["size2"], octets(case["root2"]), proof
        if case["wantErr"]:
            with pytest.raises(EvidenceError):
                verify_consistency(*arguments)
        else:
            verify_consistency(*arguments)
    assert (len(cases), sum(case["wantErr"] for case in cases)) == (98, 92)


def test_hashes_are_those_of_the_definition() -> None:
    assert sha256(b"") == EMPTY_ROOT
    assert leaf_hash(b"x") == sha256(b"\x00x")
    assert node_hash(b"l", b"r") == sha256(b"\x01lr")


def test_roots_of_all_sizes_are_those_of_the_definition() -> None:
    frontier = Frontier()
    for size in range(SIZES + 1):
        assert tree_root(size, TREE.node) == mth(TREE.leaves[:size]) == frontier.root()
        assert Frontier.of(size, TREE.node).root() == frontier.root()
        assert frontier.size == size
        if size < SIZES:
            frontier.append(leaf_hash(entry(size)))


def test_every_leaf_of_every_tree_has_a_proof_that_holds_for_it_alone() -> None:
    for size in range(1, SIZES + 1):
        root = TREE.root(size)
        for index in range(size):
            proof = inclusion_proof(index, size, TREE.node)
            verify_inclusion(TREE.leaves[index], index, size, proof, root)
            other = (index + 1) % size
            if other != index:
                with pytest.raises(EvidenceError):
                    verify_inclusion(TREE.leaves[other], index, size, proof, root)
                with pytest.raises(EvidenceError):
                    verify_inclusion(TREE.leaves[index], other, size, proof, root)


def test_every_two_trees_have_a_proof_that_holds_for_them_alone() -> None:
    for second in range(SIZES + 1):
        for first in range(second + 1):
            proof = consistency_proof(first, second, TREE.node)
            verify_consistency(first, TREE.root(first), second, TREE.root(second), proof)
            for wrong_first, wrong_second in ((sha256(b""), TREE.root(second)), (TREE.root(first), sha256(b"x"))):
                if (first and wrong_second != TREE.root(second)) or wrong_first != TREE.root(first):
                    with pytest.raises(EvidenceError):
                        verify_consistency(first, wrong_first, second, wrong_second, proof)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 13, 33])
def test_a_proof_with_a_hash_too_many_too_few_or_changed_is_refused(size: int) -> None:
    for index in range(size):
        proof = inclusion_proof(index, size, TREE.node)
        spoiled = [(*proof, bytes(32)), (bytes(32), *proof), (*proof[:-1], proof[-1][:31]) if proof else (b"",)]
        spoiled += [proof[:place] + proof[place + 1 :] for place in range(len(proof))]
        spoiled += [(*proof[:place], sha256(proof[place]), *proof[place + 1 :]) for place in range(len(proof))]
        for wrong in spoiled:
            with pytest.raises(EvidenceError):
                verify_inclusion(TREE.leaves[index], index, size, wrong, TREE.root(size))


@pytest.mark.parametrize(("first", "second"), [(0, 5), (5, 5), (4, 8), (6, 8), (7, 13), (8, 40), (33, 40)])
def test_a_consistency_proof_with_a_hash_too_many_too_few_or_changed_is_refused(first: int, second: int) -> None:
    proof = consistency_proof(first, second, TREE.node)
    spoiled = [(*proof, bytes(32)), (bytes(32), *proof), (*proof[:-1], proof[-1][:31]) if proof else (b"",)]
    spoiled += [proof[:place] + proof[place + 1 :] for place in range(len(proof))]
    spoiled += [(*proof[:place], sha256(proof[place]), *proof[place + 1 :]) for place in range(len(proof))]
    for wrong in spoiled:
        with pytest.raises(EvidenceError):
            verify_consistency(first, TREE.root(first), second, TREE.root(second), wrong)


def test_a_tree_that_shrank_or_changed_without_growing_is_refused() -> None:
    with pytest.raises(EvidenceError, match="no beginning"):
        verify_consistency(6, TREE.root(6), 5, TREE.root(5), ())
    with pytest.raises(EvidenceError, match="two roots at 5"):
        verify_consistency(5, TREE.root(5), 5, TREE.root(6), ())
    with pytest.raises(EvidenceError, match="no beginning"):
        verify_consistency(-1, TREE.root(0), 5, TREE.root(5), ())


def test_an_index_outside_the_tree_is_refused() -> None:
    for index in (-1, 5):
        with pytest.raises(EvidenceError, match="no leaf"):
            verify_inclusion(TREE.leaves[0], index, 5, (), TREE.root(5))
        with pytest.raises(UsageError):
            inclusion_proof(index, 5, TREE.node)
    for first, second in ((6, 5), (-1, 5)):
        with pytest.raises(UsageError):
            consistency_proof(first, second, TREE.node)


def test_an_empty_tree_has_one_root() -> None:
    with pytest.raises(EvidenceError, match="two roots at 0"):
        verify_consistency(0, EMPTY_ROOT, 0, bytes(32), ())
    for second in (0, 5):
        with pytest.raises(EvidenceError, match="empty tree"):
            verify_consistency(0, bytes(32), second, bytes(32), ())


def test_the_longest_proof_has_63_hashes() -> None:
    size = (1 << 63) - 1
    assert len(inclusion_proof(0, size, lambda level, index: bytes(32))) == 63


def test_a_frontier_takes_subtrees_only_where_they_begin() -> None:
    frontier = Frontier()
    frontier.append_subtree(3, TREE.node(3, 0))
    frontier.append_subtree(1, TREE.node(1, 4))
    assert (frontier.size, frontier.root()) == (10, TREE.root(10))
    with pytest.raises(UsageError, match="begins at leaf 10"):
        frontier.append_subtree(2, bytes(32))
