"""What a device pays for checkpoints and outlines, and a ledger for proofs, measured on request."""

import statistics
import time
from collections.abc import Callable
from functools import partial

import pytest

from seclude.tlog.checkpoint import Checkpoint
from seclude.tlog.cosigned import open_cosigned
from seclude.tlog.keys import COSIGNATURE_ED25519, ML_DSA_44
from seclude.tlog.merkle import Frontier, inclusion_proof, leaf_hash, verify_inclusion
from seclude.tlog.outline import Outline, make_outline
from tests.tlog.logs import NOW, ORIGIN, Parties, Tree, entry

YEAR = 6 * 24 * 365  # epochs of ten minutes
ROUNDS = 300


def cpu_microseconds(work: Callable[[], object]) -> float:
    """Return the median CPU time of one call."""
    taken = []
    for _ in range(ROUNDS):
        started = time.process_time_ns()
        work()
        taken.append(time.process_time_ns() - started)
    return statistics.median(taken) / 1e3


@pytest.mark.drill
@pytest.mark.timeout(300)
def test_what_a_device_verifies_costs_less_than_two_milliseconds() -> None:
    checkpoint = Checkpoint(ORIGIN, YEAR, bytes(32))
    for name, algorithm in (("Ed25519", COSIGNATURE_ED25519), ("ML-DSA-44", ML_DSA_44)):
        parties = Parties(algorithm=algorithm)
        data = parties.cosigned(checkpoint, NOW, NOW, NOW)
        cost = cpu_microseconds(partial(open_cosigned, data, parties.log.verifier, parties.quorum))
        print(f"\na checkpoint of {len(data)} octets with three {name} witnesses: {cost:.0f} us")
        assert cost < 2_000


@pytest.mark.drill
@pytest.mark.timeout(300)
def test_a_year_is_outlined_in_a_fraction_of_a_millisecond() -> None:
    tree = Tree(leaf_hash(entry(index)) for index in range(YEAR))
    outline = make_outline(YEAR, tree.node)
    data = outline.serialize()
    cost = cpu_microseconds(lambda: Outline.parse(YEAR, data).root())
    print(f"\nan outline of {YEAR} leaves, {len(data)} octets: {cost:.0f} us")
    proof, root, index = inclusion_proof(YEAR // 3, YEAR, tree.node), outline.root(), YEAR // 3
    inclusion = cpu_microseconds(lambda: verify_inclusion(tree.leaves[index], index, YEAR, proof, root))
    print(f"an inclusion proof of {len(proof)} hashes: {inclusion:.1f} us")

    def grow() -> None:
        frontier = Frontier()
        for leaf in tree.leaves[:1000]:
            frontier.append(leaf)
        frontier.root()

    print(f"a thousand leaves appended: {cpu_microseconds(grow):.0f} us")
    assert cost < 2_000
