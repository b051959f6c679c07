"""seclude.hpke against RFC 9180 and Wycheproof, and what its contexts refuse."""

import copy
import json
import os
import pickle
import random
from pathlib import Path
from typing import TypedDict, cast

import pytest
from pyhpke import AEADId, CipherSuite, KDFId, KEMId

from seclude import hpke, kem
from seclude.errors import DecodeError, OpenError, UsageError
from seclude.hpke import (
    AEAD_AES_128_GCM,
    AEAD_CHACHA20_POLY1305,
    KDF_HKDF_SHA256,
    KEM_X25519,
    KEM_XWING,
    MAX_AEAD_BYTES,
    MAX_SEQUENCE,
    PrivateKey,
    RecipientContext,
    SenderContext,
    Suite,
    aead_open,
    aead_seal,
    expand,
    extract,
    setup_recipient,
    setup_sender,
)

AES = Suite(KEM_X25519, KDF_HKDF_SHA256, AEAD_AES_128_GCM)
CHACHA = Suite(KEM_X25519, KDF_HKDF_SHA256, AEAD_CHACHA20_POLY1305)
SUITES = pytest.mark.parametrize("suite", [AES, CHACHA], ids=["aes", "chacha"])
KEY = PrivateKey.from_bytes(KEM_X25519, bytes(range(32)))


class Encryption(TypedDict):
    aad: str
    ct: str
    nonce: str
    pt: str


class Export(TypedDict):
    exporter_context: str
    L: int
    exported_value: str


class Vector(TypedDict):
    aead_id: int
    info: str
    skRm: str
    pkRm: str
    skEm: str
    enc: str
    key: str
    base_nonce: str
    encryptions: list[Encryption]
    exports: list[Export]


def vectors(name: str) -> str:
    root = os.environ.get("SECLUDE_VECTORS")
    if not root:
        pytest.skip("SECLUDE_VECTORS is not set")
    return (Path(root) / name).read_text()


@pytest.fixture(params=[AES, CHACHA], ids=["aes", "chacha"])
def vector(request: pytest.FixtureRequest) -> Vector:
    found = cast(list[Vector], json.loads(vectors("hpke/rfc9180-base-x25519-sha256.json")))
    (only,) = (vector for vector in found if vector["aead_id"] == cast(Suite, request.param).aead)
    return only


def suite_of(vector: Vector) -> Suite:
    return Suite(KEM_X25519, KDF_HKDF_SHA256, vector["aead_id"])


def contexts(vector: Vector) -> tuple[SenderContext, RecipientContext]:
    suite, info = suite_of(vector), bytes.fromhex(vector["info"])
    private_key = PrivateKey.from_bytes(KEM_X25519, bytes.fromhex(vector["skRm"]))
    ephemeral = PrivateKey.from_bytes(KEM_X25519, bytes.fromhex(vector["skEm"]))
    assert private_key.public_key.hex() == vector["pkRm"]
    enc, sender = setup_sender(suite, private_key.public_key, info, testing_only_ephemeral=ephemeral)
    assert enc.hex() == vector["enc"]
    return sender, setup_recipient(suite, private_key, enc, info)


def test_messages_are_those_of_rfc_9180(vector: Vector) -> None:
    sender, recipient = contexts(vector)
    expected = {bytes.fromhex(each["aad"]): bytes.fromhex(each["ct"]) for each in vector["encryptions"]}
    plaintext = bytes.fromhex(vector["encryptions"][0]["pt"])
    for sequence in range(257):
        aad = b"Count-%d" % sequence
        ciphertext = sender.seal(aad, plaintext)
        assert ciphertext == expected.pop(aad, ciphertext)
        assert recipient.open(aad, ciphertext) == plaintext
    assert not expected


def test_exported_secrets_are_those_of_rfc_9180(vector: Vector) -> None:
    for context in contexts(vector):
        for each in vector["exports"]:
            exported = context.export(bytes.fromhex(each["exporter_context"]), each["L"])
            assert exported.hex() == each["exported_value"]


def test_key_and_nonce_of_rfc_9180_give_its_ciphertexts(vector: Vector) -> None:
    suite, key = suite_of(vector), bytes.fromhex(vector["key"])
    assert vector["encryptions"][0]["nonce"] == vector["base_nonce"]
    for each in vector["encryptions"]:
        nonce, aad, pt, ct = (bytes.fromhex(each[name]) for name in ("nonce", "aad", "pt", "ct"))
        assert aead_seal(suite, key, nonce, aad, pt) == ct
        assert aead_open(suite, key, nonce, aad, ct) == pt


@pytest.mark.parametrize(
    ("ikm", "salt", "info", "length", "prk", "okm"),
    [  # RFC 5869, appendices A.1 and A.3
        (
            b"\x0b" * 22,
            bytes(range(13)),
            bytes(range(0xF0, 0xFA)),
            42,
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            b"\x0b" * 22,
            b"",
            b"",
            42,
            "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
)
def test_hkdf_is_that_of_rfc_5869(ikm: bytes, salt: bytes, info: bytes, length: int, prk: str, okm: str) -> None:
    assert extract(salt, ikm).hex() == prk
    assert expand(bytes.fromhex(prk), info, length).hex() == okm


def test_hkdf_expands_to_its_limit_and_no_further() -> None:
    assert expand(b"prk", b"", 0) == b""
    assert len(expand(b"prk", b"", 255 * 32)) == 255 * 32
    _, context = setup_sender(AES, KEY.public_key, b"")
    for length in (-1, 255 * 32 + 1):
        with pytest.raises(UsageError):
            expand(b"prk", b"", length)
        with pytest.raises(UsageError):
            context.export(b"", length)


# RFC 7748, section 6.1, and Wycheproof: 0, 1 and a point of order 8
LOW_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
]


def assert_low_order_is_refused(point: bytes, private_key: PrivateKey) -> None:
    recipient = setup_recipient(AES, private_key, point, b"info")
    zero = SenderContext(
        AES, hpke._schedule(AES, b"info"), kem._extract_and_expand(bytes(32), point + private_key.public_key)
    )
    with pytest.raises(OpenError):  # what whoever agrees on zero could seal
        recipient.open(b"", zero.seal(b"", b"text"))
    with pytest.raises(DecodeError):
        setup_sender(AES, point, b"info")


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_point_of_low_order_is_refused(point: bytes) -> None:
    assert_low_order_is_refused(point, KEY)


def test_every_zero_shared_secret_of_wycheproof_is_refused() -> None:
    class Case(TypedDict):
        public: str
        private: str
        flags: list[str]

    groups = cast(list[dict[str, list[Case]]], json.loads(vectors("wycheproof/x25519_test.json"))["testGroups"])
    cases = [case for group in groups for case in group["tests"] if "ZeroSharedSecret" in case["flags"]]
    assert len(cases) == 31
    for case in cases:
        private_key = PrivateKey.from_bytes(KEM_X25519, bytes.fromhex(case["private"]))
        assert_low_order_is_refused(bytes.fromhex(case["public"]), private_key)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_keys_of_a_wrong_length_are_refused(length: int) -> None:
    with pytest.raises(DecodeError):
        setup_sender(AES, bytes(length), b"info")
    with pytest.raises(DecodeError):
        setup_recipient(AES, KEY, bytes(length), b"info")
    with pytest.raises(DecodeError):
        PrivateKey.from_bytes(KEM_X25519, bytes(length))


@pytest.mark.parametrize(
    "ids", [(0x0010, 1, 1), (0x647A, 0x11, 3), (0x0020, 2, 1), (0x0020, 1, 2), (0x0020, 1, 0xFFFF)]
)
def test_a_suite_that_we_do_not_implement_does_not_exist(ids: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError):
        Suite(*ids)


def test_a_private_key_of_another_kem_does_not_exist() -> None:
    with pytest.raises(UsageError):
        PrivateKey.generate(0x0010)
    with pytest.raises(UsageError):
        PrivateKey.from_bytes(0x0010, bytes(32))


def test_a_private_key_of_another_kem_is_not_used() -> None:
    other = PrivateKey.generate(KEM_X25519)
    with pytest.raises(UsageError, match="another kem"):
        setup_recipient(Suite(KEM_XWING, KDF_HKDF_SHA256, AEAD_AES_128_GCM), other, bytes(1120), b"")


def test_the_sizes_of_the_suites_are_those_of_rfc_9180() -> None:
    assert (AES.nk, AES.nn, AES.nenc, AES.npk) == (16, 12, 32, 32)
    assert (CHACHA.nk, CHACHA.nn, CHACHA.nenc, CHACHA.npk) == (32, 12, 32, 32)


def pair(suite: Suite, info: bytes = b"info") -> tuple[SenderContext, RecipientContext]:
    enc, sender = setup_sender(suite, KEY.public_key, info)
    return sender, setup_recipient(suite, KEY, enc, info)


@SUITES
def test_what_one_side_seals_the_other_opens(suite: Suite) -> None:
    sender, recipient = pair(suite)
    for plaintext in (b"", b"one", bytes(70000)):
        ciphertext = sender.seal(b"aad", plaintext)
        assert len(ciphertext) == len(plaintext) + 16
        assert recipient.open(b"aad", ciphertext) == plaintext
    assert sender.export(b"label", 16) == recipient.export(b"label", 16)
    assert sender.export(b"label", 16) != recipient.export(b"other", 16)


def test_every_encapsulation_is_another_one() -> None:
    assert setup_sender(AES, KEY.public_key, b"")[0] != setup_sender(AES, KEY.public_key, b"")[0]


@SUITES
def test_wrong_key_info_aad_or_enc_does_not_open(suite: Suite) -> None:
    enc, sender = setup_sender(suite, KEY.public_key, b"info")
    ciphertext = sender.seal(b"aad", b"message")
    other = PrivateKey.generate(KEM_X25519)
    wrong = [
        (setup_recipient(suite, other, enc, b"info"), b"aad"),
        (setup_recipient(suite, KEY, enc, b"inf0"), b"aad"),
        (setup_recipient(suite, KEY, other.public_key, b"info"), b"aad"),
        (setup_recipient(suite, KEY, enc, b"info"), b"aaD"),
    ]
    messages = set()
    for recipient, aad in wrong:
        with pytest.raises(OpenError) as caught:
            recipient.open(aad, ciphertext)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_the_unused_bit_of_enc_is_authenticated() -> None:
    enc, sender = setup_sender(AES, KEY.public_key, b"")
    ciphertext = sender.seal(b"", b"message")
    twin = enc[:31] + bytes([enc[31] ^ 0x80])  # X25519 ignores this bit: the same point, so the same secret
    with pytest.raises(OpenError):
        setup_recipient(AES, KEY, twin, b"").open(b"", ciphertext)


@SUITES
def test_a_failure_leaves_the_sequence_where_it_was(suite: Suite) -> None:
    sender, recipient = pair(suite)
    first, second = sender.seal(b"", b"first"), sender.seal(b"", b"second")
    for wrong in (second, first[:-1], b"", first + b"\0"):
        with pytest.raises(OpenError):
            recipient.open(b"", wrong)
    assert recipient.open(b"", first) == b"first"
    with pytest.raises(OpenError):
        recipient.open(b"", first)
    assert recipient.open(b"", second) == b"second"


def test_a_context_that_has_sealed_all_it_may_is_our_own_fault() -> None:
    _, sender = setup_sender(AES, KEY.public_key, b"")
    sender._sequence = MAX_SEQUENCE
    with pytest.raises(UsageError):
        sender.seal(b"", b"x")


@SUITES
@pytest.mark.parametrize("seed", range(20))
def test_pyhpke_agrees_in_both_directions(suite: Suite, seed: int) -> None:
    dice = random.Random(seed)
    info, aads = dice.randbytes(dice.randrange(80)), [dice.randbytes(dice.randrange(20)) for _ in range(4)]
    messages = [dice.randbytes(dice.randrange(2000)) for _ in aads]
    key = PrivateKey.from_bytes(KEM_X25519, dice.randbytes(32))
    theirs = CipherSuite.new(KEMId(suite.kem), KDFId(suite.kdf), AEADId(suite.aead))
    their_private = theirs.kem.deserialize_private_key(key.private_bytes())
    their_public = theirs.kem.deserialize_public_key(key.public_key)

    enc, sender = setup_sender(suite, key.public_key, info)
    their_recipient = theirs.create_recipient_context(enc, their_private, info)
    their_enc, their_sender = theirs.create_sender_context(their_public, info)
    recipient = setup_recipient(suite, key, their_enc, info)
    for aad, message in zip(aads, messages, strict=True):
        assert their_recipient.open(sender.seal(aad, message), aad) == message
        assert recipient.open(aad, their_sender.seal(message, aad)) == message
    for length in (1, 16, 32, 33, 100):
        assert sender.export(info, length) == their_recipient.export(info, length)
        assert recipient.export(b"", length) == their_sender.export(b"", length)


@SUITES
def test_the_aead_refuses_every_change(suite: Suite) -> None:
    key, nonce = bytes(suite.nk), bytes(suite.nn)
    sealed = aead_seal(suite, key, nonce, b"aad", b"message")
    assert aead_open(suite, key, nonce, b"aad", sealed) == b"message"
    other_key, other_nonce = b"\1" + key[1:], b"\1" + nonce[1:]
    for arguments in (
        (other_key, nonce, b"aad", sealed),
        (key, other_nonce, b"aad", sealed),
        (key, nonce, b"", sealed),
        (key, nonce, b"aad", sealed[:-1]),
        (key, nonce, b"aad", sealed[:15]),
        (key, nonce, b"aad", b""),
    ):
        with pytest.raises(OpenError):
            aead_open(suite, *arguments)


@SUITES
def test_an_aead_key_or_nonce_of_a_wrong_length_is_our_own_fault(suite: Suite) -> None:
    for key, nonce in ((bytes(suite.nk - 1), bytes(suite.nn)), (bytes(suite.nk), bytes(suite.nn + 1))):
        with pytest.raises(UsageError):
            aead_seal(suite, key, nonce, b"", b"")
        with pytest.raises(UsageError):
            aead_open(suite, key, nonce, b"", bytes(16))


def test_a_private_key_comes_back_from_its_bytes() -> None:
    key = PrivateKey.generate(KEM_X25519)
    again = PrivateKey.from_bytes(KEM_X25519, key.private_bytes())
    assert again.public_key == key.public_key
    assert PrivateKey.generate(KEM_X25519).private_bytes() != key.private_bytes()


def test_a_private_key_shows_nothing_of_itself() -> None:
    assert repr(KEY) == str(KEY) == f"{KEY}" == "<PrivateKey>"
    assert repr([KEY, PrivateKey.generate(KEM_X25519)]) == "[<PrivateKey>, <PrivateKey>]"
    with pytest.raises(TypeError):
        pickle.dumps(KEY)


class Huge(bytes):
    """Says that it is longer than any AEAD takes, without taking so much memory."""

    def __len__(self) -> int:
        return MAX_AEAD_BYTES + 1


def test_what_is_longer_than_the_library_takes_is_refused_before_it_gets_there() -> None:
    key = PrivateKey.generate(KEM_X25519)
    enc, sender = setup_sender(AES, key.public_key, b"")
    recipient = setup_recipient(AES, key, enc, b"")
    for texts in ((Huge(), b""), (b"", Huge())):
        with pytest.raises(UsageError):
            sender.seal(*texts)
        with pytest.raises(OpenError):
            recipient.open(*texts)
        with pytest.raises(UsageError):
            aead_seal(AES, bytes(16), bytes(12), *texts)
        with pytest.raises(OpenError):
            aead_open(AES, bytes(16), bytes(12), *texts)
    assert recipient.open(b"", sender.seal(b"", b"still in step")) == b"still in step"


def test_nothing_that_must_exist_once_is_copied_or_pickled() -> None:
    key = PrivateKey.generate(KEM_X25519)
    enc, sender = setup_sender(AES, key.public_key, b"")
    for unique in (key, sender, setup_recipient(AES, key, enc, b"")):
        for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="neither copied nor pickled"):
                duplicate(unique)


P = 2**255 - 19
ORDER_8 = (
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
)


@pytest.mark.parametrize("high_bit", [0, 1 << 255])
@pytest.mark.parametrize("u", [0, 1, P - 1, P, P + 1, *ORDER_8])
def test_no_point_of_low_order_is_usable_however_it_is_written(u: int, high_bit: int) -> None:
    """RFC 9180, section 7.1.4; the points and their non-canonical forms are those of RFC 7748, section 7."""
    point = (u | high_bit).to_bytes(32, "little")
    key = PrivateKey.generate(KEM_X25519)
    with pytest.raises(DecodeError):
        setup_sender(AES, point, b"")
    with pytest.raises(OpenError):
        setup_recipient(AES, key, point, b"").open(b"", bytes(40))


def test_a_recipient_stops_at_the_last_nonce_too() -> None:
    key = PrivateKey.generate(KEM_X25519)
    enc, sender = setup_sender(AES, key.public_key, b"")
    recipient = setup_recipient(AES, key, enc, b"")
    recipient._sequence = MAX_SEQUENCE
    with pytest.raises(UsageError):
        recipient.open(b"", sender.seal(b"", b"x"))
