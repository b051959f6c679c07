"""Every parser of logs under seeded mutation, and trees of any shape under generated ones.

Whatever the bytes, only a refusal of the right family comes out, and whatever is read is written again the same.
"""

import random
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seclude.errors import ConfigError, DecodeError, EvidenceError
from seclude.tlog.checkpoint import Checkpoint, parse_checkpoint, render_checkpoint
from seclude.tlog.cosigned import open_cosigned
from seclude.tlog.keys import ED25519, ML_DSA_44, encode_skey, generate_skey, parse_skey, parse_vkey
from seclude.tlog.merkle import Frontier, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion
from seclude.tlog.note import Note, NoteSignature, parse_note, serialize_note
from seclude.tlog.outline import Outline, make_outline
from seclude.tlog.proof import LogProof, parse_log_proof, serialize_log_proof
from seclude.tlog.quorum import parse_quorum
from seclude.tlog.tiles import parse_entries, parse_tile_path, serialize_entries, tile_path
from tests.fuzz.damage import mutated, refuse_damage
from tests.tlog.logs import NOW, ORIGIN, Parties, tree_of

EXECUTIONS: Final = 5_000
CALM: Final = settings(max_examples=150, deadline=None, database=None, derandomize=True)
TREE: Final = tree_of(300)
PARTIES: Final = Parties()
COSIGNED: Final = PARTIES.cosigned(Checkpoint(ORIGIN, 300, TREE.root()), NOW, NOW, NOW)
POST_QUANTUM: Final = Parties(1, ML_DSA_44, 1).cosigned(Checkpoint(ORIGIN, 300, TREE.root()), NOW)
WORDS: Final = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp"), exclude_characters="+")
)


def again_note(data: bytes) -> None:
    assert serialize_note(parse_note(data)) == data


def again_checkpoint(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    assert render_checkpoint(parse_checkpoint(text)) == text


def again_proof(data: bytes) -> None:
    assert serialize_log_proof(parse_log_proof(data)) == data


def again_entries(data: bytes) -> None:
    assert serialize_entries(parse_entries(data)) == data


def again_path(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    assert tile_path(*parse_tile_path(text)) == text


def again_outline(data: bytes) -> None:
    outline = Outline.parse(300, data)
    assert outline.serialize() == data
    outline.root()


Case = tuple[Callable[[bytes], None], list[bytes]]


def cases() -> Iterator[Case]:
    text = COSIGNED.partition(b"\n\n")[0] + b"\n"
    proofs = [
        LogProof(index, inclusion_proof(index, 300, TREE.node), COSIGNED, extra)
        for index, extra in ((7, None), (299, b"e"))
    ]
    yield again_note, [COSIGNED, POST_QUANTUM]
    yield again_checkpoint, [text]
    yield again_proof, [serialize_log_proof(proof) for proof in proofs]
    yield again_entries, [serialize_entries([b"one", b"", b"three"])]
    yield again_path, [b"tile/0/x001/x234/067.p/12", b"tile/entries/003", b"tile/63/999.p/255"]
    yield again_outline, [make_outline(300, TREE.node).serialize()]


def test_only_a_refusal_comes_out_of_damaged_bytes() -> None:
    for again, seeds in cases():
        refuse_damage(again, seeds, EXECUTIONS)


def test_no_damage_to_a_checkpoint_makes_another_believed() -> None:
    rng = random.Random(11)
    log, quorum = PARTIES.log.verifier, PARTIES.quorum
    genuine = open_cosigned(COSIGNED, log, quorum)
    for _ in range(EXECUTIONS // 5):
        data = mutated([COSIGNED], rng)
        try:
            opened = open_cosigned(data, log, quorum)
        except (DecodeError, EvidenceError):
            continue
        assert opened.checkpoint == genuine.checkpoint
        assert (opened.since, opened.until) == (NOW, NOW)
        assert len(opened.times) >= 2


def test_what_people_write_is_read_or_refused_in_words() -> None:
    signer = generate_skey("k.example", ED25519)
    readers: list[tuple[Callable[[str], object], str]] = [
        (lambda text: str(parse_vkey(text)), str(signer.verifier)),
        (lambda text: encode_skey(parse_skey(text)), encode_skey(signer)),
        (parse_quorum, PARTIES.policy + "witness more key\n"),
        (parse_quorum, PARTIES.policy),
    ]
    rng = random.Random(12)
    for reader, seed in readers:
        refused = 0
        for _ in range(EXECUTIONS // 5):
            text = mutated([seed.encode()], rng).decode("utf-8", "replace")
            try:
                read = reader(text)
            except ConfigError:
                refused += 1
            else:
                assert not isinstance(read, str) or read == text
        assert refused > EXECUTIONS // 100


@CALM
@given(st.data())
def test_notes_of_any_text_are_read_as_written(data: st.DataObject) -> None:
    lines = data.draw(st.lists(st.text(st.characters(codec="utf-8", min_codepoint=32)), min_size=1))
    signature = st.builds(
        NoteSignature,
        WORDS.filter(lambda name: 0 < len(name.encode()) < 256),
        st.binary(min_size=4, max_size=4),
        st.binary(min_size=1),
    )
    note = Note("\n".join(lines) + "\n", tuple(data.draw(st.lists(signature, min_size=1, max_size=8))))
    assert parse_note(serialize_note(note)) == note


@CALM
@given(st.integers(1, 300), st.data())
def test_proofs_of_any_shape_hold(size: int, data: st.DataObject) -> None:
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    root = TREE.root(size)
    verify_inclusion(TREE.leaves[index], index, size, inclusion_proof(index, size, TREE.node), root)
    verify_consistency(first, TREE.root(first), size, root, consistency_proof(first, size, TREE.node))


@CALM
@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.lists(st.binary(min_size=32, max_size=32), max_size=70))
def test_proofs_of_huge_trees_are_judged_and_nothing_else_happens(one: int, two: int, proof: list[bytes]) -> None:
    other = bytes([1]) * 32
    for small, large in ((one, two), (min(one, two), max(one, two))):
        with pytest.raises(EvidenceError):
            verify_inclusion(bytes(32), small, large, proof, other)
        if small != large:
            with pytest.raises(EvidenceError):
                verify_consistency(small, bytes(32), large, other, proof)


@CALM
@given(st.lists(st.integers(0, 8), max_size=12))
def test_a_frontier_of_subtrees_has_the_root_of_its_leaves(levels: list[int]) -> None:
    frontier = Frontier()
    for level in levels:
        fits = not frontier.size % (1 << level) and frontier.size + (1 << level) <= len(TREE.leaves)
        if fits:
            frontier.append_subtree(level, TREE.node(level, frontier.size >> level))
    assert frontier.root() == TREE.root(frontier.size)
