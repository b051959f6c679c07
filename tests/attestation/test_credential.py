"""MakeCredential: whoever holds the endorsement key opens it, for the one Name; a TPM does so in `tests/inference`."""

import hashlib
import hmac

import pytest
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.hashes import SHA256

from seclude.attestation.credential import REQUIRED, Credential, kdfa, kdfe, make_credential
from seclude.attestation.tpm_structures import Attributes, Public, parse_public
from seclude.errors import EvidenceError, UsageError
from seclude.wire import Reader, Writer

EK = int(REQUIRED | Attributes.ADMIN_WITH_POLICY)
NAME = b"\x00\x0b" + hashlib.sha256(b"attestation key").digest()
SECRET = bytes(range(32))

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def public_of(key: Key, attributes: int = EK, bits: int = 128) -> Public:
    kind, curve = (1, 0) if isinstance(key, rsa.RSAPrivateKey) else (0x23, {256: 3, 384: 4}[key.key_size])
    writer = Writer().u16(kind).u16(0x0B).u32(attributes).vec16(bytes(32)).u16(6).u16(bits).u16(0x43).u16(0x10)
    if isinstance(key, rsa.RSAPrivateKey):
        modulus = key.public_key().public_numbers().n
        return parse_public(writer.u16(key.key_size).u32(0).vec16(modulus.to_bytes(key.key_size // 8)).getvalue())
    point, size = key.public_key().public_numbers(), key.key_size // 8
    writer.u16(curve).u16(0x10).vec16(point.x.to_bytes(size)).vec16(point.y.to_bytes(size))
    return parse_public(writer.getvalue())


def derive(key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    """KDFa as Part 1, 11.4.10.2 spells it, for one block of SHA-256."""
    data = (1).to_bytes(4) + label + b"\x00" + context + bits.to_bytes(4)
    return hmac.digest(key, data, "sha256")[: bits // 8]


def activate(key: Key, credential: Credential, name: bytes) -> bytes:
    """What TPM2_ActivateCredential does, written from Part 1, section 24, and not from `credential.py`."""
    if isinstance(key, rsa.RSAPrivateKey):
        oaep = padding.OAEP(padding.MGF1(SHA256()), SHA256(), label=b"IDENTITY\x00")
        seed = key.decrypt(credential.encrypted_seed, oaep)
    else:
        reader = Reader(credential.encrypted_seed)
        x, y = reader.vec16("x"), reader.vec16("y")
        numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), ec.SECP256R1())
        shared = key.exchange(ec.ECDH(), numbers.public_key())
        own = key.public_key().public_numbers().x.to_bytes(32)
        seed = hashlib.sha256((1).to_bytes(4) + shared + b"IDENTITY\x00" + x + own).digest()
    reader = Reader(credential.id_object)
    integrity, identity = reader.vec16("integrity"), reader.rest()
    expected = hmac.digest(derive(seed, b"INTEGRITY", b"", 256), identity + name, "sha256")
    if not hmac.compare_digest(integrity, expected):
        raise InvalidKey
    cipher = Cipher(AES(derive(seed, b"STORAGE", name, 128)), CFB(bytes(16))).decryptor()
    opened = Reader(cipher.update(identity) + cipher.finalize())
    secret = opened.vec16("secret")
    opened.finish("identity")
    return secret


@pytest.fixture(scope="module", params=["RSA-2048", "P-256"])
def key(request: pytest.FixtureRequest) -> Key:
    if request.param == "RSA-2048":
        return rsa.generate_private_key(65_537, 2048)
    return ec.generate_private_key(ec.SECP256R1())


def test_the_holder_of_the_endorsement_key_opens_the_secret(key: Key) -> None:
    for secret in (SECRET, b"x", SECRET[:16]):
        assert activate(key, make_credential(public_of(key), NAME, secret), NAME) == secret


def test_a_key_of_another_name_opens_nothing(key: Key) -> None:
    credential = make_credential(public_of(key), NAME, SECRET)
    with pytest.raises(InvalidKey):
        activate(key, credential, NAME[:-1] + b"\x00")


def test_no_octet_of_a_sealed_secret_is_free(key: Key) -> None:
    credential = make_credential(public_of(key), NAME, SECRET)
    for place in range(2, len(credential.id_object)):
        changed = bytearray(credential.id_object)
        changed[place] ^= 1
        with pytest.raises(InvalidKey):
            activate(key, Credential(bytes(changed), credential.encrypted_seed), NAME)


def test_two_credentials_share_nothing(key: Key) -> None:
    first, second = (make_credential(public_of(key), NAME, SECRET) for _ in range(2))
    assert first.encrypted_seed != second.encrypted_seed
    assert first.id_object[34:] != second.id_object[34:]


def test_the_derivations_are_those_of_the_specification() -> None:
    seed = hashlib.sha256(b"seed").digest()
    assert kdfa(seed, b"STORAGE", NAME, b"", 128) == derive(seed, b"STORAGE", NAME, 128)
    assert kdfa(seed, b"X", b"u", b"v", 256) == derive(seed, b"X", b"uv", 256)
    blocks = b"".join(hashlib.sha256(i.to_bytes(4) + b"z" + b"L\x00" + b"u" + b"v").digest() for i in (1, 2))
    assert kdfe(b"z", b"L\x00", b"u", b"v", 384) == blocks[:48]


@pytest.mark.parametrize("flag", ["FIXED_TPM", "FIXED_PARENT", "SENSITIVE_DATA_ORIGIN", "RESTRICTED", "DECRYPT"])
def test_an_endorsement_key_that_lacks_an_attribute_is_refused(flag: str) -> None:
    public = public_of(ec.generate_private_key(ec.SECP256R1()), EK & ~Attributes[flag])
    with pytest.raises(EvidenceError, match=f"the endorsement key lacks {flag}$"):
        make_credential(public, NAME, SECRET)


def test_other_endorsement_keys_are_refused() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    for public, message in (
        (public_of(curve, EK | Attributes.SIGN), "also signs"),
        (public_of(curve, bits=256), "AES-128"),
        (public_of(ec.generate_private_key(ec.SECP384R1())), "on secp384r1, not on P-256"),
        (public_of(rsa.generate_private_key(65_537, 3072)), "RSA-3072, not RSA-2048"),
    ):
        with pytest.raises(EvidenceError, match=message):
            make_credential(public, NAME, SECRET)


def test_a_secret_has_1_to_32_octets() -> None:
    public = public_of(ec.generate_private_key(ec.SECP256R1()))
    for secret in (b"", bytes(33)):
        with pytest.raises(UsageError, match="1 to 32 octets"):
            make_credential(public, NAME, secret)
