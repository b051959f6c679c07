"""seclude.kem: X-Wing against the vectors of draft-ietf-hpke-pq, and private keys that end when they should.

DHKEM(X25519) is held to the vectors of RFC 9180 and to Wycheproof in test_hpke.
"""

import copy
import gc
import hashlib
import json
import os
import pickle
import random
from pathlib import Path
from typing import TypedDict, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

from seclude.errors import DecodeError, Error, OpenError, UsageError
from seclude.hpke import AEAD_AES_128_GCM, AEAD_CHACHA20_POLY1305, KDF_HKDF_SHA256, Suite, setup_recipient, setup_sender
from seclude.kem import KEM_X25519, KEM_XWING, KEMS, OPEN_FAILED, PrivateKey, encap

AES = Suite(KEM_XWING, KDF_HKDF_SHA256, AEAD_AES_128_GCM)
CHACHA = Suite(KEM_XWING, KDF_HKDF_SHA256, AEAD_CHACHA20_POLY1305)
SUITES = pytest.mark.parametrize("suite", [AES, CHACHA], ids=["aes", "chacha"])
BOTH = pytest.mark.parametrize("kem", [KEM_X25519, KEM_XWING], ids=["x25519", "xwing"])
KEY = PrivateKey.from_bytes(KEM_XWING, bytes(range(32)))
CT_M, PK_M = 1088, 1184  # octets of ML-KEM's half of `enc` and of a public key

# RFC 7748, section 6.1, and Wycheproof: 0, 1 and a point of order 8
LOW_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
]


class Encryption(TypedDict):
    aad: str
    ct: str
    pt: str


class Export(TypedDict):
    exporter_context: str
    L: int
    exported_value: str


class Vector(TypedDict):
    kem_id: int
    kdf_id: int
    aead_id: int
    info: str
    skRm: str
    pkRm: str
    enc: str
    shared_secret: str
    encryptions: list[Encryption]
    exports: list[Export]


@pytest.fixture(scope="module")
def vectors() -> list[Vector]:
    """Those for X-Wing: one with a KDF that we implement, one with another."""
    root = os.environ.get("SECLUDE_VECTORS")
    if not root:
        pytest.skip("SECLUDE_VECTORS is not set")
    found = cast(list[Vector], json.loads((Path(root) / "hpke/hpke-pq.json").read_text()))
    return [vector for vector in found if vector["kem_id"] == KEM_XWING]


def test_the_secret_of_every_vector_is_decapsulated(vectors: list[Vector]) -> None:
    assert [vector["kdf_id"] for vector in vectors] == [1, 0x11]
    for vector in vectors:
        key = PrivateKey.from_bytes(KEM_XWING, bytes.fromhex(vector["skRm"]))
        assert key.public_key.hex() == vector["pkRm"]
        assert key.decap(bytes.fromhex(vector["enc"])).hex() == vector["shared_secret"]


def test_messages_and_exports_are_those_of_the_vector_whose_kdf_is_ours(vectors: list[Vector]) -> None:
    (vector,) = (vector for vector in vectors if vector["kdf_id"] == KDF_HKDF_SHA256)
    key = PrivateKey.from_bytes(KEM_XWING, bytes.fromhex(vector["skRm"]))
    suite = Suite(KEM_XWING, KDF_HKDF_SHA256, vector["aead_id"])
    context = setup_recipient(suite, key, bytes.fromhex(vector["enc"]), bytes.fromhex(vector["info"]))
    expected = {bytes.fromhex(each["aad"]): each for each in vector["encryptions"]}
    for each in vector["exports"]:
        exported = context.export(bytes.fromhex(each["exporter_context"]), each["L"])
        assert exported.hex() == each["exported_value"]
    for sequence in range(len(expected)):
        message = expected[b"Count-%d" % sequence]
        opened = context.open(b"Count-%d" % sequence, bytes.fromhex(message["ct"]))
        assert opened.hex() == message["pt"]


def test_the_sizes_are_those_of_the_drafts() -> None:
    assert (AES.nk, AES.nenc, AES.npk) == (16, 1120, 1216)
    assert (CHACHA.nk, CHACHA.nenc, CHACHA.npk) == (32, 1120, 1216)
    assert set(KEMS) == {KEM_X25519, KEM_XWING}


@SUITES
def test_what_one_side_seals_the_other_opens(suite: Suite) -> None:
    key = PrivateKey.generate(KEM_XWING)
    enc, sender = setup_sender(suite, key.public_key, b"info")
    recipient = setup_recipient(suite, key, enc, b"info")
    assert len(enc) == suite.nenc
    for plaintext in (b"", b"one", bytes(70_000)):
        assert recipient.open(b"aad", sender.seal(b"aad", plaintext)) == plaintext
    assert sender.export(b"label", 32) == recipient.export(b"label", 32)


@BOTH
def test_every_encapsulation_is_another_one(kem: int) -> None:
    key = PrivateKey.generate(kem)
    results = [encap(kem, key.public_key) for _ in range(8)]
    assert len({enc for _, enc in results}) == len({secret for secret, _ in results}) == 8
    assert [key.decap(enc) for _, enc in results] == [secret for secret, _ in results]


def test_a_wrong_key_or_info_does_not_open() -> None:
    enc, sender = setup_sender(AES, KEY.public_key, b"info")
    ciphertext = sender.seal(b"", b"message")
    for key, info in ((PrivateKey.generate(KEM_XWING), b"info"), (KEY, b"inf0")):
        with pytest.raises(OpenError, match=f"^{OPEN_FAILED}$"):
            setup_recipient(AES, key, enc, info).open(b"", ciphertext)


def test_no_flipped_bit_of_enc_opens_anything() -> None:
    """Every octet of the X25519 half and of the end of ML-KEM's, and a sample of the rest."""
    enc, sender = setup_sender(AES, KEY.public_key, b"")
    ciphertext = sender.seal(b"", b"message")
    sample = random.Random(0).sample(range(CT_M), 64)
    for position in {*sample, 0, *range(CT_M - 8, len(enc))}:
        for bit in range(8):
            flipped = bytearray(enc)
            flipped[position] ^= 1 << bit
            with pytest.raises(OpenError, match=f"^{OPEN_FAILED}$") as caught:
                setup_recipient(AES, KEY, bytes(flipped), b"").open(b"", ciphertext)
            assert caught.value.__cause__ is None


@pytest.mark.parametrize("length", [0, 32, 1088, 1119, 1121])
def test_an_enc_of_a_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(DecodeError, match="enc has a wrong length"):
        setup_recipient(AES, KEY, bytes(length), b"")
    with pytest.raises(DecodeError):
        KEY.decap(bytes(length))


@pytest.mark.parametrize("length", [0, 32, 1184, 1215, 1217])
def test_a_public_key_of_a_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(DecodeError, match="not usable"):
        setup_sender(AES, (KEY.public_key + b"\0")[:length], b"")


@BOTH
@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_private_key_of_a_wrong_length_is_refused(kem: int, length: int) -> None:
    with pytest.raises(DecodeError, match="wrong length"):
        PrivateKey.from_bytes(kem, bytes(length))


def test_a_public_key_that_ml_kem_does_not_know_is_refused() -> None:
    """FIPS 203, section 7.2: a coefficient must be below q = 3329."""
    with pytest.raises(DecodeError, match="not usable"):
        setup_sender(AES, b"\xff\xff\xff" + KEY.public_key[3:], b"")


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_half_of_low_order_fails_like_everything_else(point: bytes) -> None:
    """The draft lets it pass; the library does not, and that must not be told apart from any other failure."""
    with pytest.raises(DecodeError, match="public key is not usable"):
        setup_sender(AES, KEY.public_key[:PK_M] + point, b"")
    enc, _ = setup_sender(AES, KEY.public_key, b"")
    recipient = setup_recipient(AES, KEY, enc[:CT_M] + point, b"")
    with pytest.raises(OpenError, match=f"^{OPEN_FAILED}$") as caught:
        recipient.open(b"", bytes(40))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_key_of_the_other_kem_is_our_own_fault() -> None:
    other = PrivateKey.generate(KEM_X25519)
    with pytest.raises(UsageError):
        setup_recipient(AES, other, bytes(1120), b"")
    for kem in (KEM_X25519, KEM_XWING):
        with pytest.raises(UsageError, match="X25519 alone"):
            encap(kem, KEMS[kem](bytearray(32)).public_key, KEY)


def test_x25519_takes_an_ephemeral_key_from_tests() -> None:
    recipient, ephemeral = PrivateKey.generate(KEM_X25519), PrivateKey.generate(KEM_X25519)
    secret, enc = encap(KEM_X25519, recipient.public_key, ephemeral)
    assert (enc, recipient.decap(enc)) == (ephemeral.public_key, secret)


def test_x_wing_takes_no_ephemeral_key() -> None:
    with pytest.raises(UsageError, match="X25519 alone"):
        setup_sender(AES, KEY.public_key, b"", testing_only_ephemeral=PrivateKey.generate(KEM_X25519))


@pytest.mark.parametrize("kem", [0, 0x0010, 0x0041, 0xFFFF])
def test_a_key_of_a_kem_that_we_do_not_implement_does_not_exist(kem: int) -> None:
    with pytest.raises(UsageError, match="unsupported kem"):
        PrivateKey.generate(kem)
    with pytest.raises(UsageError, match="unsupported kem"):
        PrivateKey.from_bytes(kem, bytes(32))


@BOTH
def test_a_key_comes_back_from_its_octets(kem: int) -> None:
    key = PrivateKey.generate(kem)
    again = PrivateKey.from_bytes(kem, key.private_bytes())
    assert len(key.private_bytes()) == 32
    assert (again.kem, again.public_key) == (kem, key.public_key)
    assert PrivateKey.generate(kem).private_bytes() != key.private_bytes()


def test_a_seed_stands_for_the_keys_that_shake_makes_of_it() -> None:
    expanded = hashlib.shake_256(KEY.private_bytes()).digest(96)
    assert MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).public_key().public_bytes_raw() == KEY.public_key[:PK_M]
    assert PrivateKey.from_bytes(KEM_X25519, expanded[64:]).public_key == KEY.public_key[PK_M:]


@BOTH
def test_a_key_shows_nothing_of_itself_and_is_not_copied(kem: int) -> None:
    key = PrivateKey.generate(kem)
    assert repr(key) == str(key) == f"{key}" == "<PrivateKey>"
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="neither copied nor pickled"):
            duplicate(key)


@BOTH
def test_an_erased_key_does_nothing_any_more(kem: int) -> None:
    key = PrivateKey.generate(kem)
    suite = Suite(kem, KDF_HKDF_SHA256, AEAD_AES_128_GCM)
    enc, sender = setup_sender(suite, key.public_key, b"")
    opened_before = setup_recipient(suite, key, enc, b"")
    octets, public_key, before = key._sk, key.public_key, key.erased
    key.erase()
    key.erase()
    assert (before, key.erased) == (False, True)
    assert octets == bytes(32)
    assert (repr(key), key.public_key) == ("<PrivateKey>", public_key)
    for use in (key.private_bytes, lambda: key.decap(enc), lambda: setup_recipient(suite, key, enc, b"")):
        with pytest.raises(UsageError, match="erased"):
            use()
    assert opened_before.open(b"", sender.seal(b"", b"message")) == b"message"


@BOTH
def test_a_key_that_nobody_refers_to_is_overwritten(kem: int) -> None:
    key = PrivateKey.generate(kem)
    octets = key._sk
    assert octets != bytes(32)
    del key
    gc.collect()
    assert octets == bytes(32)


def test_octets_that_are_no_key_are_overwritten_too() -> None:
    for kem, octets in ((KEM_XWING, bytearray(b"x" * 31)), (0x0010, bytearray(b"x" * 32))):
        with pytest.raises(Error):
            PrivateKey(kem, octets)
        gc.collect()
        assert not any(octets)


@BOTH
@pytest.mark.parametrize("seed", range(20))
def test_any_octets_are_a_key(kem: int, seed: int) -> None:
    key = PrivateKey.from_bytes(kem, random.Random(seed).randbytes(32))
    secret, enc = encap(kem, key.public_key)
    assert key.decap(enc) == secret
