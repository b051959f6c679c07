"""Signatures over texts: who signed, and what spoils a note."""

from collections.abc import Callable

import pytest

from seclude.errors import ConfigError, EvidenceError, UsageError
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, ML_DSA_44, generate_skey, parse_skey, parse_vkey
from seclude.tlog.note import Note, NoteSignature, add_signatures, parse_note
from seclude.tlog.signing import sign_note, sign_text, verify_note, verify_text
from tests.tlog.test_keys import GO_SKEY, GO_VKEY

TEXT = "release\nassistant\n"
ONE, TWO, OTHER = (generate_skey(name, ED25519) for name in ("p1.example", "p2.example", "other.example"))
KEYS = (ONE.verifier, TWO.verifier)

# golang.org/x/mod/sumdb/note, example_test.go.
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_NOTE = (
    GO_TEXT + "\n\u2014 PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()


def test_a_published_note_verifies_and_is_made_again() -> None:
    assert verify_note(parse_note(GO_NOTE), [parse_vkey(GO_VKEY)]) == (parse_vkey(GO_VKEY),)
    assert sign_note(GO_TEXT, parse_skey(GO_SKEY)) == GO_NOTE


def test_those_who_signed_are_told_each_once_in_the_order_of_the_keys() -> None:
    note = parse_note(sign_note(TEXT, OTHER, TWO, ONE))
    assert verify_note(note, KEYS) == KEYS
    assert verify_note(note, KEYS[1:]) == KEYS[1:]
    twice = Note(note.text, (*note.signatures, *note.signatures))
    assert verify_note(twice, KEYS) == KEYS


def test_a_note_that_no_known_key_signed_is_refused() -> None:
    note = parse_note(sign_note(TEXT, OTHER))
    for keys in (KEYS, ()):
        with pytest.raises(EvidenceError, match="none of the pinned keys"):
            verify_note(note, keys)


def test_signatures_by_unknown_keys_are_ignored_though_they_share_a_name_or_an_id() -> None:
    good = sign_text(TEXT, ONE)
    strangers = (
        NoteSignature("p1.example", b"\x00\x00\x00\x01", b"noise"),
        NoteSignature("p3.example", good.key_id, b"noise"),
    )
    assert verify_note(Note(TEXT, (*strangers, good)), KEYS) == (ONE.verifier,)


@pytest.mark.parametrize("spoil", [lambda s: s[:-1], lambda s: s + b"\x00", lambda s: bytes(64), lambda s: s[::-1]])
def test_a_bad_signature_by_a_known_key_spoils_the_note_beside_good_ones(spoil: Callable[[bytes], bytes]) -> None:
    good, other = sign_text(TEXT, ONE), sign_text(TEXT, TWO)
    bad = NoteSignature(other.name, other.key_id, spoil(other.signature))
    for signatures in ((good, bad), (good, other, bad), (bad, good, other)):
        with pytest.raises(EvidenceError, match=r"signature of p2\.example"):
            verify_note(Note(TEXT, signatures), KEYS)


def test_a_changed_text_is_refused() -> None:
    note = parse_note(sign_note(TEXT, ONE))
    with pytest.raises(EvidenceError, match="not good"):
        verify_note(Note(TEXT + "more\n", note.signatures), KEYS)


def test_a_signature_is_added_to_a_note_that_others_signed() -> None:
    note = add_signatures(parse_note(sign_note(TEXT, ONE)), sign_text(TEXT, TWO))
    assert verify_note(note, KEYS) == KEYS


def test_keys_of_witnesses_sign_no_text() -> None:
    for algorithm in (COSIGNATURE_ED25519, ML_DSA_44):
        key = generate_skey("w.example", algorithm)
        with pytest.raises(UsageError, match="signs checkpoints"):
            sign_note(TEXT, key)
        with pytest.raises(UsageError, match="signs checkpoints"):
            verify_text(TEXT, key.verifier, bytes(64))


def test_the_same_key_pinned_twice_is_a_mistake_in_the_pins() -> None:
    with pytest.raises(ConfigError, match="leave one out"):
        verify_note(parse_note(sign_note(TEXT, ONE)), (ONE.verifier, ONE.verifier))
