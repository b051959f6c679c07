"""Checkpoints that enough witnesses cosigned, what their times say, and all that is not enough."""

import random
from itertools import product

import pytest

from seclude.errors import DecodeError, EvidenceError
from seclude.tlog.checkpoint import Checkpoint, render_checkpoint
from seclude.tlog.cosignature import MAX_TIMESTAMP, cosign, sign_checkpoint
from seclude.tlog.cosigned import open_cosigned, open_signed
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, ML_DSA_44, generate_skey
from seclude.tlog.note import Note, NoteSignature, parse_note, serialize_note
from seclude.tlog.quorum import parse_quorum
from tests.tlog.logs import NOW, ORIGIN, Parties, policy_of

CHECKPOINT = Checkpoint(ORIGIN, 7, bytes(range(32)))
PARTIES = Parties()
LOG, QUORUM = PARTIES.log.verifier, PARTIES.quorum


@pytest.mark.parametrize("algorithm", [COSIGNATURE_ED25519, ML_DSA_44])
def test_two_of_three_are_enough(algorithm: int) -> None:
    parties = Parties(algorithm=algorithm)
    data = parties.cosigned(CHECKPOINT, NOW, 0, NOW + 5)
    cosigned = open_cosigned(data, parties.log.verifier, parties.quorum)
    assert (cosigned.checkpoint, cosigned.note) == (CHECKPOINT, data)
    assert cosigned.times == {"w1": NOW, "w3": NOW + 5}
    assert (cosigned.since, cosigned.until) == (NOW, NOW + 5)


def test_one_of_three_is_not_enough_and_the_error_says_who_did() -> None:
    data = PARTIES.cosigned(CHECKPOINT, 0, NOW)
    with pytest.raises(EvidenceError) as refusal:
        open_cosigned(data, LOG, QUORUM)
    assert str(refusal.value) == ("cosigned by 1 of 3 witnesses: w2; the quorum 2 of (w1, w2, w3) is not met")
    with pytest.raises(EvidenceError, match="cosigned by 0 of 3 witnesses: none"):
        open_cosigned(PARTIES.cosigned(CHECKPOINT), LOG, QUORUM)


def test_a_witness_that_signed_twice_counts_once_and_by_its_newest_time() -> None:
    key = PARTIES.witnesses[0]
    signatures = [sign_checkpoint(CHECKPOINT, PARTIES.log, 0)]
    signatures += [cosign(CHECKPOINT, key, moment) for moment in (NOW, NOW + 9, NOW + 3)]
    with pytest.raises(EvidenceError, match="1 of 3"):
        open_cosigned(serialize_note(Note(render_checkpoint(CHECKPOINT), tuple(signatures))), LOG, QUORUM)
    signatures.append(cosign(CHECKPOINT, PARTIES.witnesses[1], NOW + 20))
    cosigned = open_cosigned(serialize_note(Note(render_checkpoint(CHECKPOINT), tuple(signatures))), LOG, QUORUM)
    assert cosigned.times == {"w1": NOW + 9, "w2": NOW + 20}


def test_a_bad_cosignature_by_a_known_witness_spoils_a_checkpoint_that_has_enough() -> None:
    note = parse_note(PARTIES.cosigned(CHECKPOINT, NOW, NOW, NOW))
    last = note.signatures[3]
    for signature in (b"x", last.signature[:-1], bytes(72), bytes(8) + last.signature[8:]):
        bad = Note(note.text, (*note.signatures[:3], NoteSignature(last.name, last.key_id, signature)))
        with pytest.raises(EvidenceError, match=r"w3\.example"):
            open_cosigned(serialize_note(bad), LOG, QUORUM)


def test_witnesses_that_nobody_knows_are_ignored() -> None:
    note = parse_note(PARTIES.cosigned(CHECKPOINT, NOW, NOW))
    stranger = generate_skey("w3.example", COSIGNATURE_ED25519)
    more = (cosign(CHECKPOINT, stranger, NOW), NoteSignature("w3.example", b"\x01" * 4, b"noise"))
    cosigned = open_cosigned(serialize_note(Note(note.text, (*note.signatures, *more))), LOG, QUORUM)
    assert cosigned.times == {"w1": NOW, "w2": NOW}


def test_no_witness_helps_where_the_log_did_not_sign() -> None:
    note = parse_note(PARTIES.cosigned(CHECKPOINT, NOW, NOW, NOW))
    with pytest.raises(EvidenceError, match="not signed by the log"):
        open_cosigned(serialize_note(Note(note.text, note.signatures[1:])), LOG, QUORUM)
    other = generate_skey("other.example", ED25519).verifier
    with pytest.raises(EvidenceError, match="another log"):
        open_cosigned(serialize_note(note), other, QUORUM)


def test_every_truncation_is_refused_until_enough_have_signed() -> None:
    data = PARTIES.cosigned(CHECKPOINT, NOW, NOW)
    for cut in range(len(data)):
        with pytest.raises((DecodeError, EvidenceError)):
            open_cosigned(data[:cut], LOG, QUORUM)


def test_no_bit_can_change_but_in_the_names_and_ids_of_witnesses_that_are_not_needed() -> None:
    data = PARTIES.cosigned(CHECKPOINT, NOW, NOW)
    rng = random.Random(3)
    for place in rng.sample(range(len(data) * 8), 400):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises((DecodeError, EvidenceError)):
            open_cosigned(bytes(flipped), LOG, QUORUM)


@pytest.mark.parametrize("times", list(product((1, 2, 3), repeat=3)))
def test_since_and_until_hold_whatever_one_of_three_says(times: tuple[int, int, int]) -> None:
    cosigned = open_cosigned(PARTIES.cosigned(CHECKPOINT, *times), LOG, QUORUM)
    assert cosigned.since == cosigned.until == sorted(times)[1]


def test_since_and_until_are_those_of_the_definition_with_groups() -> None:
    witnesses = [generate_skey(f"w{number}.example", COSIGNATURE_ED25519) for number in range(1, 6)]
    text = policy_of(PARTIES.log, witnesses, 1).partition("group")[0]
    quorum = parse_quorum(f"{text}group a 2 w1 w2 w3\ngroup b any w4 w5\ngroup both all a b\nquorum both\n")
    own = sign_checkpoint(CHECKPOINT, PARTIES.log, 0)
    rng = random.Random(6)
    for _ in range(60):
        times = {f"w{number}": rng.randint(1, 6) for number in range(1, 6) if rng.random() < 0.9}
        made = [cosign(CHECKPOINT, witnesses[int(name[1:]) - 1], moment) for name, moment in times.items()]
        data = serialize_note(Note(render_checkpoint(CHECKPOINT), (own, *made)))
        if not quorum.is_met(times.keys()):
            with pytest.raises(EvidenceError):
                open_cosigned(data, LOG, quorum)
            continue
        cosigned = open_cosigned(data, LOG, quorum)
        assert cosigned.since == max(
            t for t in range(1, 7) if quorum.is_met({name for name, moment in times.items() if moment >= t})
        )
        assert cosigned.until == min(
            t for t in range(1, 7) if quorum.is_met({name for name, moment in times.items() if moment <= t})
        )


def test_a_quorum_of_nobody_learns_no_time() -> None:
    cosigned = open_cosigned(PARTIES.cosigned(CHECKPOINT), LOG, parse_quorum("quorum none"))
    assert (cosigned.times, cosigned.since, cosigned.until) == ({}, 0, MAX_TIMESTAMP)


def test_a_checkpoint_that_only_the_log_signed_is_opened_as_such() -> None:
    assert open_signed(PARTIES.cosigned(CHECKPOINT), LOG) == CHECKPOINT
