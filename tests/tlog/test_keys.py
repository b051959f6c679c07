"""Keys and their texts."""

import hashlib

import pytest

from seclude.errors import ConfigError, EvidenceError, UsageError
from seclude.tlog.canonical import to_base64
from seclude.tlog.keys import (
    COSIGNATURE_ED25519,
    ED25519,
    ML_DSA_44,
    VerifierKey,
    encode_skey,
    generate_skey,
    parse_skey,
    parse_vkey,
)

ALGORITHMS = (ED25519, COSIGNATURE_ED25519, ML_DSA_44)

# golang.org/x/mod/sumdb/note, example_test.go: a key that everybody knows.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"


def test_a_published_key_is_read_and_written() -> None:
    signer = parse_skey(GO_SKEY)
    assert signer.verifier == parse_vkey(GO_VKEY)
    assert str(signer.verifier) == GO_VKEY
    assert encode_skey(signer) == GO_SKEY


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_new_key_is_read_from_its_text_and_signs(algorithm: int) -> None:
    signer = generate_skey("w.example/1", algorithm)
    verifier = parse_vkey(str(signer.verifier))
    assert (verifier, verifier.algorithm, verifier.name) == (signer.verifier, algorithm, "w.example/1")
    hashed = hashlib.sha256(b"w.example/1\n" + bytes([algorithm]) + verifier.public_key).digest()
    assert verifier.key_id == hashed[:4]
    signature = parse_skey(encode_skey(signer)).sign(b"message")
    verifier.verify(signature, b"message")
    for wrong, message in ((signature, b"massage"), (bytes(len(signature)), b"message"), (signature[:-1], b"message")):
        with pytest.raises(EvidenceError, match=r"signature of w\.example/1 is not good"):
            verifier.verify(wrong, message)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_private_key_shows_itself(algorithm: int) -> None:
    signer = generate_skey("w.example", algorithm)
    shown = f"{signer!r} {signer} {signer.verifier!r}"
    for secret in (signer._seed, bytes([algorithm]) + signer._seed):
        assert to_base64(secret) not in shown
        assert secret.hex() not in shown
        assert repr(secret) not in shown
    assert len(shown) < 400


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+c74f20a3",
        GO_VKEY[:-1],
        GO_VKEY + "A",
        GO_VKEY + "\n",
        " " + GO_VKEY,
        GO_VKEY.replace("PeterNeumann", "Peter Neumann"),
        GO_VKEY.replace("PeterNeumann", ""),
        GO_VKEY.replace("PeterNeumann", "Petra"),
        GO_VKEY.replace("c74f20a3", "c74f20a4"),
        GO_VKEY.replace("c74f20a3", "C74F20A3"),
        GO_VKEY.replace("c74f20a3", "c74f20a"),
        GO_VKEY.replace("ARpc", "AhpC"),
        "name+00000000+" + to_base64(b"\x01" + bytes(31)),
        "name+00000000+" + to_base64(b"\x06" + bytes(32)),
        "name+00000000+" + to_base64(b"\x01"),
        "name+00000000+",
        GO_SKEY,
    ],
)
def test_what_is_no_verifier_key_is_refused_in_words(text: str) -> None:
    with pytest.raises(ConfigError, match="key"):
        parse_vkey(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        GO_VKEY,
        GO_SKEY[:-1],
        GO_SKEY + "=",
        GO_SKEY.replace("PeterNeumann", "Petra"),
        GO_SKEY.replace("PeterNeumann", ""),
        GO_SKEY.replace("c74f20a3", "c74f20a4"),
        "PRIVATE+KEY+name+00000000+" + to_base64(b"\x01" + bytes(64)),
        "PRIVATE+KEY+name+00000000+" + to_base64(b"\x07" + bytes(32)),
    ],
)
def test_what_is_no_private_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ConfigError, match="key") as refusal:
        parse_skey(text)
    assert text[30:] not in str(refusal.value) or not text[30:]


def test_keys_are_not_made_for_what_is_no_name_or_algorithm() -> None:
    with pytest.raises(ConfigError, match="key name"):
        generate_skey("a name", ED25519)
    with pytest.raises(UsageError, match="no algorithm 0x02"):
        generate_skey("name", 2)
    with pytest.raises(UsageError, match="name"):
        VerifierKey("a name", ED25519, bytes(32))
    with pytest.raises(UsageError, match="octets"):
        VerifierKey("name", ED25519, bytes(33))
    with pytest.raises(UsageError, match="octets"):
        VerifierKey("name", 2, bytes(32))
