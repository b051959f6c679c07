"""What logs and witnesses sign, before what others published, and everything that must not pass."""

import re

import pytest

from seclude.errors import DecodeError, EvidenceError, UsageError
from seclude.tlog.checkpoint import Checkpoint, render_checkpoint
from seclude.tlog.cosignature import cosign, sign_checkpoint, verify_cosignature, verify_log_signature
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, ML_DSA_44, VerifierKey, generate_skey
from seclude.tlog.note import Note, NoteSignature, parse_note
from tests.tlog.logs import NOW, ORIGIN
from tests.vectors import vector

CHECKPOINT = Checkpoint(ORIGIN, 7, bytes(range(32)))
OTHERS = (
    Checkpoint(ORIGIN + "/", 7, CHECKPOINT.root),
    Checkpoint(ORIGIN, 8, CHECKPOINT.root),
    Checkpoint(ORIGIN, 7, bytes(32)),
)

# C2SP tlog-cosignature; the key is not published, so only the layout can be compared.
EXAMPLE = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u2014 witness.example.com/w1 \
jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
""".encode()


def test_the_example_of_the_specification_has_our_layout() -> None:
    (signature,) = parse_note(EXAMPLE).signatures
    assert int.from_bytes(signature.signature[:8]) == 1679315147
    assert len(signature.signature) == 8 + 64


def test_checkpoints_of_litewitness_script_are_signed_by_their_log() -> None:
    script = vector("tlog/litewitness.txt").decode()
    public = re.search("add-sigsum-log -key=([0-9a-f]{64})", script)
    assert public is not None
    names = set(re.findall("^\u2014 (sigsum[^ ]+) ", script, re.MULTILINE))
    keys = {name: VerifierKey(name, ED25519, bytes.fromhex(public[1])) for name in names}
    verdicts: list[int | str] = []
    for body in re.findall("```\n(.*?)```", script, re.DOTALL):
        try:
            note = parse_note(body.partition("\n\n")[2].encode())
            verdicts.append(verify_log_signature(note, keys[note.signatures[0].name]).size)
        except (DecodeError, EvidenceError) as exc:
            verdicts.append(type(exc).__name__)
    # The second has a bad signature on purpose, whose base64 is not canonical either, which Go does not mind; the third
    # is of a log with another name, and so with another key id.
    assert verdicts == [1, "DecodeError", "EvidenceError", 3, 3, 3, 5, 5, 5]


@pytest.mark.parametrize("algorithm", [COSIGNATURE_ED25519, ML_DSA_44])
def test_a_cosignature_holds_for_one_checkpoint_one_time_and_one_key(algorithm: int) -> None:
    key, other = generate_skey("w1.example", algorithm), generate_skey("w1.example", algorithm)
    made = cosign(CHECKPOINT, key, NOW)
    assert (made.name, made.key_id) == ("w1.example", key.verifier.key_id)
    assert verify_cosignature(CHECKPOINT, key.verifier, made.signature) == NOW
    later = (NOW + 1).to_bytes(8) + made.signature[8:]
    for checkpoint in OTHERS:
        with pytest.raises(EvidenceError, match="not good"):
            verify_cosignature(checkpoint, key.verifier, made.signature)
    with pytest.raises(EvidenceError, match="not good"):
        verify_cosignature(CHECKPOINT, key.verifier, later)
    with pytest.raises(EvidenceError, match="not good"):
        verify_cosignature(CHECKPOINT, other.verifier, made.signature)
    for wrong in (b"", made.signature[:-1], made.signature + b"\x00"):
        with pytest.raises(EvidenceError, match="octets, not"):
            verify_cosignature(CHECKPOINT, key.verifier, wrong)
    with pytest.raises(EvidenceError, match=r"over 2\^63"):
        verify_cosignature(CHECKPOINT, key.verifier, b"\x80" + made.signature[1:])


def test_an_ml_dsa_cosignature_names_its_witness() -> None:
    key = generate_skey("w1.example", ML_DSA_44)
    renamed = VerifierKey("w2.example", ML_DSA_44, key.verifier.public_key)
    with pytest.raises(EvidenceError, match=r"signature of w2\.example is not good"):
        verify_cosignature(CHECKPOINT, renamed, cosign(CHECKPOINT, key, NOW).signature)


@pytest.mark.parametrize("algorithm", [COSIGNATURE_ED25519, ML_DSA_44])
def test_a_witness_says_when(algorithm: int) -> None:
    key = generate_skey("w1.example", algorithm)
    for timestamp in (0, -1, 2**63):
        with pytest.raises(UsageError):
            cosign(CHECKPOINT, key, timestamp)
    assert verify_cosignature(CHECKPOINT, key.verifier, cosign(CHECKPOINT, key, 2**63 - 1).signature) == 2**63 - 1


@pytest.mark.parametrize("algorithm", [ED25519, ML_DSA_44])
def test_a_log_signs_its_own_checkpoints_and_no_others(algorithm: int) -> None:
    key = generate_skey(ORIGIN, algorithm)
    note = Note(render_checkpoint(CHECKPOINT), (sign_checkpoint(CHECKPOINT, key, 0),))
    assert verify_log_signature(note, key.verifier) == CHECKPOINT
    for other in OTHERS:
        with pytest.raises(EvidenceError, match=r"another log|not good"):
            verify_log_signature(Note(render_checkpoint(other), note.signatures), key.verifier)
    with pytest.raises(UsageError, match="not that of a log"):
        sign_checkpoint(OTHERS[0], key, 0)


@pytest.mark.parametrize("algorithm", [ED25519, ML_DSA_44])
def test_a_second_signature_of_the_log_that_is_bad_spoils_the_note(algorithm: int) -> None:
    key = generate_skey(ORIGIN, algorithm)
    good = sign_checkpoint(CHECKPOINT, key, NOW)
    bad = NoteSignature(good.name, good.key_id, good.signature[:-1] + bytes([good.signature[-1] ^ 1]))
    for signatures in ((good, bad), (bad, good)):
        with pytest.raises(EvidenceError, match="not good"):
            verify_log_signature(Note(render_checkpoint(CHECKPOINT), signatures), key.verifier)


def test_a_checkpoint_without_the_logs_signature_is_refused() -> None:
    key, other = generate_skey(ORIGIN, ED25519), generate_skey(ORIGIN, ED25519)
    note = Note(render_checkpoint(CHECKPOINT), (sign_checkpoint(CHECKPOINT, other, 0),))
    with pytest.raises(EvidenceError, match="not signed by the log"):
        verify_log_signature(note, key.verifier)


def test_no_key_signs_in_a_role_that_is_not_its_own() -> None:
    log, witness = generate_skey(ORIGIN, ED25519), generate_skey(ORIGIN, COSIGNATURE_ED25519)
    with pytest.raises(UsageError, match="not that of a log"):
        sign_checkpoint(CHECKPOINT, witness, NOW)
    with pytest.raises(UsageError, match="not that of a log"):
        verify_log_signature(Note(render_checkpoint(CHECKPOINT), ()), witness.verifier)
    with pytest.raises(UsageError, match="not that of a witness"):
        cosign(CHECKPOINT, log, NOW)
    with pytest.raises(UsageError, match="not that of a witness"):
        verify_cosignature(CHECKPOINT, log.verifier, bytes(72))
