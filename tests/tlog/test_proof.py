"""Proofs that stand alone (C2SP tlog-proof)."""

import random

import pytest

from seclude.errors import DecodeError, EvidenceError, TooLargeError, UsageError
from seclude.tlog.canonical import to_base64
from seclude.tlog.checkpoint import Checkpoint
from seclude.tlog.merkle import inclusion_proof
from seclude.tlog.note import MAX_NOTE
from seclude.tlog.proof import MAX_EXTRA, LogProof, parse_log_proof, serialize_log_proof, verify_log_proof
from tests.tlog.logs import NOW, ORIGIN, Parties, entry, tree_of

SIZE, INDEX = 13, 5
TREE = tree_of(SIZE)
PARTIES = Parties()
LOG, QUORUM = PARTIES.log.verifier, PARTIES.quorum
NOTE = PARTIES.cosigned(Checkpoint(ORIGIN, SIZE, TREE.root()), NOW, NOW)
PROOF = LogProof(INDEX, inclusion_proof(INDEX, SIZE, TREE.node), NOTE)
DATA = serialize_log_proof(PROOF)


def test_a_proof_is_read_as_written_and_holds() -> None:
    for extra in (None, b"\x00", b"extra data"):
        proof = LogProof(INDEX, PROOF.hashes, NOTE, extra)
        assert parse_log_proof(serialize_log_proof(proof)) == proof
    assert verify_log_proof(parse_log_proof(DATA), entry(INDEX), LOG, QUORUM).checkpoint.size == SIZE


def test_the_only_entry_of_a_log_needs_no_hash() -> None:
    note = PARTIES.cosigned(Checkpoint(ORIGIN, 1, TREE.root(1)), NOW, NOW)
    data = serialize_log_proof(LogProof(0, (), note))
    assert data.startswith(b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + ORIGIN.encode())
    assert verify_log_proof(parse_log_proof(data), entry(0), LOG, QUORUM).until == NOW


def test_a_proof_holds_for_its_entry_alone() -> None:
    for other in (entry(4), b"", entry(INDEX) + b"\x00"):
        with pytest.raises(EvidenceError, match="does not lead to the root"):
            verify_log_proof(PROOF, other, LOG, QUORUM)
    moved = LogProof(4, PROOF.hashes, NOTE)
    with pytest.raises(EvidenceError, match="inclusion"):
        verify_log_proof(moved, entry(INDEX), LOG, QUORUM)


def test_a_proof_under_a_checkpoint_of_too_few_witnesses_is_refused() -> None:
    alone = PARTIES.cosigned(Checkpoint(ORIGIN, SIZE, TREE.root()), NOW)
    with pytest.raises(EvidenceError, match="1 of 3"):
        verify_log_proof(LogProof(INDEX, PROOF.hashes, alone), entry(INDEX), LOG, QUORUM)


def test_every_truncation_is_refused() -> None:
    for cut in range(len(DATA)):
        with pytest.raises((DecodeError, EvidenceError)):
            verify_log_proof(parse_log_proof(DATA[:cut]), entry(INDEX), LOG, QUORUM)


def test_no_bit_can_change() -> None:
    for place in random.Random(4).sample(range(len(DATA) * 8), 500):
        flipped = bytearray(DATA)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises((DecodeError, EvidenceError)):
            verify_log_proof(parse_log_proof(bytes(flipped)), entry(INDEX), LOG, QUORUM)


HASH = to_base64(bytes(32)).encode()


@pytest.mark.parametrize(
    "head",
    [
        b"c2sp.org/tlog-proof@v2\nindex 0",
        b"c2sp.org/tlog-proof@v1",
        b"\xffc2sp.org/tlog-proof@v1\nindex 0",
        b"c2sp.org/tlog-proof@v1\nindex 00",
        b"c2sp.org/tlog-proof@v1\nindex -1",
        b"c2sp.org/tlog-proof@v1\nindex",
        b"c2sp.org/tlog-proof@v1\nindex  0",
        b"c2sp.org/tlog-proof@v1\nindex 0\r",
        b"c2sp.org/tlog-proof@v1\nindex 9223372036854775808",
        b"c2sp.org/tlog-proof@v1\nindex 0\nextra YQ==",
        b"c2sp.org/tlog-proof@v1\nextra YQ==\nextra YQ==\nindex 0",
        b"c2sp.org/tlog-proof@v1\nextra \nindex 0",
        b"c2sp.org/tlog-proof@v1\nextra YR==\nindex 0",
        b"c2sp.org/tlog-proof@v1\nextra YQ==",
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + HASH[:-4],
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + b"\n".join([HASH] * 64),
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + HASH[:-2] + b"B=",
    ],
)
def test_what_is_no_proof_is_refused(head: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_log_proof(head + b"\n\n" + NOTE)


def test_limits_hold_exactly() -> None:
    longest = LogProof(2**63 - 1, (bytes(32),) * 63, b"n" * MAX_NOTE, b"e" * MAX_EXTRA)
    assert parse_log_proof(serialize_log_proof(longest)) == longest
    with pytest.raises(TooLargeError, match="checkpoint is too large"):
        parse_log_proof(serialize_log_proof(longest) + b"n")
    more = to_base64(b"e" * (MAX_EXTRA + 1)).encode()
    with pytest.raises(TooLargeError, match="extra has 65537"):
        parse_log_proof(b"c2sp.org/tlog-proof@v1\nextra " + more + b"\nindex 0\n\nnote")


@pytest.mark.parametrize(
    "proof",
    [
        LogProof(-1, (), NOTE),
        LogProof(2**63, (), NOTE),
        LogProof(0, (), b""),
        LogProof(0, (), NOTE, b""),
        LogProof(0, (), NOTE, b"e" * (MAX_EXTRA + 1)),
        LogProof(0, (bytes(31),), NOTE),
        LogProof(0, (bytes(32),) * 64, NOTE),
    ],
)
def test_what_could_not_be_read_again_is_not_written(proof: LogProof) -> None:
    with pytest.raises(UsageError):
        serialize_log_proof(proof)
