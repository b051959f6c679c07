"""seclude.ohttp.encapsulation against RFC 9458, appendix A, and everything that must not open."""

import pytest

from seclude import hpke
from seclude.errors import DecodeError, OpenError, UnknownKeyError, UsageError
from seclude.hpke import AEAD_AES_128_GCM, AEAD_CHACHA20_POLY1305, KEM_X25519, PrivateKey
from seclude.ohttp.encapsulation import HeldKey, OpenedRequest, ResponseOpener, decapsulate, encapsulate_request
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms, parse_key_config

# RFC 9458, appendix A
RFC_PRIVATE = "3c168975674b2fa8e465970b79c8dcf09f1c741626480bd4c6162fc5b6a98e1a"
RFC_CONFIG = "01002031e1f05a740102115220e9af918f738674aec95f54db6e04eb705aae8e79815500080001000100010003"
RFC_EPHEMERAL = "bc51d5e930bda26589890ac7032f70ad12e4ecb37abb1b65b1256c9c48999c73"
RFC_MESSAGE = "00034745540568747470730b6578616d706c652e636f6d012f"
RFC_REQUEST = (
    "010020000100014b28f881333e7c164ffc499ad9796f877f4e1051ee6d31bad19dec96c208b472"
    "6374e469135906992e1268c594d2a10c695d858c40a026e7965e7d86b83dd440b2c0185204b4d63525"
)
RFC_NONCE = "c789e7151fcba46158ca84b04464910d"
RFC_ANSWER = "0140c8"
RFC_RESPONSE = "c789e7151fcba46158ca84b04464910d86f9013e404feea014e7be4a441f234f857fbd"

AES, CHACHA = SymmetricAlgorithms(1, AEAD_AES_128_GCM), SymmetricAlgorithms(1, AEAD_CHACHA20_POLY1305)
AEADS = pytest.mark.parametrize("aead", [AEAD_AES_128_GCM, AEAD_CHACHA20_POLY1305], ids=["aes", "chacha"])
KEY = PrivateKey.from_bytes(KEM_X25519, bytes.fromhex(RFC_PRIVATE))
CONFIG = parse_key_config(bytes.fromhex(RFC_CONFIG))
KEYS = {CONFIG.key_id: HeldKey(CONFIG, KEY)}


def exchange(aead: int = AEAD_AES_128_GCM) -> tuple[OpenedRequest, ResponseOpener]:
    body, opener = encapsulate_request(CONFIG, b"question", aead=aead)
    return decapsulate(body, KEYS), opener


def flipped(data: bytes, bit: int) -> bytes:
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def test_the_exchange_of_rfc_9458_is_reproduced() -> None:
    ephemeral = PrivateKey.from_bytes(KEM_X25519, bytes.fromhex(RFC_EPHEMERAL))
    body, opener = encapsulate_request(CONFIG, bytes.fromhex(RFC_MESSAGE), testing_only_ephemeral=ephemeral)
    assert body.hex() == RFC_REQUEST
    opened = decapsulate(body, KEYS)
    assert opened.message.hex() == RFC_MESSAGE
    assert (opened.key_id, opened.enc) == (1, body[7:39])
    response = opened.sealer.seal(bytes.fromhex(RFC_ANSWER), testing_only_nonce=bytes.fromhex(RFC_NONCE))
    assert response.hex() == RFC_RESPONSE
    assert opener.open(response).hex() == RFC_ANSWER


@AEADS
@pytest.mark.parametrize("length", [0, 1, 70000])
def test_what_the_device_encapsulates_the_worker_answers(aead: int, length: int) -> None:
    message = bytes(length)
    body, opener = encapsulate_request(CONFIG, message, aead=aead)
    assert len(body) == 7 + 32 + length + 16
    opened = decapsulate(body, KEYS)
    assert opened.message == message
    response = opened.sealer.seal(message)
    assert len(response) == (16 if aead == AEAD_AES_128_GCM else 32) + length + 16
    assert opener.open(response) == message


def test_two_encapsulations_of_one_message_share_nothing_but_the_header() -> None:
    one, two = (encapsulate_request(CONFIG, b"question")[0] for _ in range(2))
    assert one[:7] == two[:7]
    assert one[7:39] != two[7:39]
    assert one[39:] != two[39:]


def test_two_answers_to_one_request_have_different_nonces() -> None:
    body, _ = encapsulate_request(CONFIG, b"question")
    one, two = (decapsulate(body, KEYS).sealer.seal(b"answer") for _ in range(2))
    assert one[:16] != two[:16]


@AEADS
def test_every_truncation_of_a_request_is_refused(aead: int) -> None:
    body, _ = encapsulate_request(CONFIG, b"question", aead=aead)
    for cut in range(len(body)):
        with pytest.raises(DecodeError if cut < 7 + 32 + 16 else OpenError):
            decapsulate(body[:cut], KEYS)


@AEADS
def test_every_flipped_bit_of_a_request_is_refused(aead: int) -> None:
    body, _ = encapsulate_request(CONFIG, b"question", aead=aead)
    for bit in range(8 * len(body)):
        expected = UnknownKeyError if bit < 8 else DecodeError if bit < 24 else OpenError
        with pytest.raises(expected):
            decapsulate(flipped(body, bit), KEYS)


@AEADS
def test_every_truncation_of_a_response_is_refused(aead: int) -> None:
    nonce_length = 16 if aead == AEAD_AES_128_GCM else 32
    length = nonce_length + len(b"answer") + 16
    for cut in range(length):
        opened, opener = exchange(aead)
        response = opened.sealer.seal(b"answer")
        assert len(response) == length
        with pytest.raises(DecodeError if cut < nonce_length else OpenError):
            opener.open(response[:cut])


@AEADS
def test_every_flipped_bit_of_a_response_is_refused(aead: int) -> None:
    bits = 8 * len(exchange(aead)[0].sealer.seal(b"answer"))
    for bit in range(bits):
        opened, opener = exchange(aead)
        with pytest.raises(OpenError):
            opener.open(flipped(opened.sealer.seal(b"answer"), bit))


def test_trailing_octets_are_refused() -> None:
    body, opener = encapsulate_request(CONFIG, b"question")
    with pytest.raises(OpenError):
        decapsulate(body + b"\0", KEYS)
    with pytest.raises(OpenError):
        opener.open(decapsulate(body, KEYS).sealer.seal(b"answer") + b"\0")


def test_the_header_is_authenticated() -> None:
    body, _ = encapsulate_request(CONFIG, b"question")
    renamed = KeyConfig(2, CONFIG.kem, CONFIG.public_key, CONFIG.algorithms)
    with pytest.raises(OpenError):
        decapsulate(b"\x02" + body[1:], {2: HeldKey(renamed, KEY)})


def test_another_key_of_the_same_identifier_does_not_open() -> None:
    other = PrivateKey.generate(KEM_X25519)
    config = KeyConfig(CONFIG.key_id, KEM_X25519, other.public_key, CONFIG.algorithms)
    body, _ = encapsulate_request(CONFIG, b"question")
    with pytest.raises(OpenError):
        decapsulate(body, {CONFIG.key_id: HeldKey(config, other)})


def test_a_key_that_is_not_held_is_unknown() -> None:
    body, _ = encapsulate_request(CONFIG, b"question")
    with pytest.raises(UnknownKeyError) as caught:
        decapsulate(body, {})
    assert (caught.value.status, caught.value.problem.rpartition("#")[2]) == (422, "ohttp-key")


def test_a_suite_that_the_key_does_not_offer_is_refused_though_it_would_open() -> None:
    body, _ = encapsulate_request(CONFIG, b"question", aead=AEAD_CHACHA20_POLY1305)
    config = KeyConfig(CONFIG.key_id, CONFIG.kem, CONFIG.public_key, (AES,))
    with pytest.raises(OpenError):
        decapsulate(body, {config.key_id: HeldKey(config, KEY)})
    assert decapsulate(body, KEYS).message == b"question"


def test_another_kem_is_malformed_whatever_algorithms_stand_beside_it() -> None:
    body, _ = encapsulate_request(CONFIG, b"question")
    for algorithms in (body[3:7], b"\xff\xff\xff\xff"):
        with pytest.raises(DecodeError):
            decapsulate(body[:1] + b"\x64\x7a" + algorithms + body[7:], KEYS)


def test_what_a_key_does_not_offer_leaves_no_trace_in_the_key_schedules_kept() -> None:
    body, _ = encapsulate_request(CONFIG, b"question")
    before = hpke._schedule.cache_info()
    for octets in range(0x10000):
        header = CONFIG.key_id.to_bytes() + b"\x00\x20\x00\x01" + octets.to_bytes(2)
        if header[1:] not in KEYS[CONFIG.key_id].suites:
            with pytest.raises(OpenError):
                decapsulate(header + body[7:], KEYS)
    with pytest.raises(UnknownKeyError):
        decapsulate(b"\x02" + body[1:], KEYS)
    assert hpke._schedule.cache_info() == before


def test_an_enc_of_low_order_looks_like_any_other_failure() -> None:
    body, _ = encapsulate_request(CONFIG, b"question")
    messages = set()
    for wrong in (body[:7] + bytes(32) + body[39:], flipped(body, 8 * 39)):
        with pytest.raises(OpenError) as caught:
            decapsulate(wrong, KEYS)
        messages.add((caught.type, str(caught.value)))
    assert len(messages) == 1


def test_keys_may_come_and_go_between_requests() -> None:
    keys: dict[int, HeldKey] = {}
    body, _ = encapsulate_request(CONFIG, b"question")
    with pytest.raises(UnknownKeyError):
        decapsulate(body, keys)
    keys.update(KEYS)
    assert decapsulate(body, keys).message == b"question"
    keys.clear()
    with pytest.raises(UnknownKeyError):
        decapsulate(body, keys)


def test_the_response_to_another_request_does_not_open() -> None:
    (one, _), (_, other_opener) = exchange(), exchange()
    with pytest.raises(OpenError):
        other_opener.open(one.sealer.seal(b"answer"))


def test_an_opener_opens_once() -> None:
    opened, opener = exchange()
    response = opened.sealer.seal(b"answer")
    assert opener.open(response) == b"answer"
    with pytest.raises(UsageError):
        opener.open(response)


def test_a_failure_uses_an_opener_up() -> None:
    opened, opener = exchange()
    response = opened.sealer.seal(b"answer")
    with pytest.raises(OpenError):
        opener.open(flipped(response, 0))
    with pytest.raises(UsageError):
        opener.open(response)


def test_a_sealer_seals_once() -> None:
    opened, _ = exchange()
    opened.sealer.seal(b"answer")
    with pytest.raises(UsageError):
        opened.sealer.seal(b"answer")


def test_a_response_nonce_of_a_wrong_length_is_refused() -> None:
    opened, _ = exchange()
    with pytest.raises(UsageError):
        opened.sealer.seal(b"answer", testing_only_nonce=bytes(12))


def test_a_device_does_not_use_what_the_key_does_not_offer() -> None:
    with pytest.raises(UsageError):
        encapsulate_request(CONFIG, b"question", aead=0x0002)
    with pytest.raises(UsageError):
        encapsulate_request(CONFIG, b"question", kdf=0x0002)


def test_a_device_does_not_use_a_suite_that_it_does_not_implement() -> None:
    with pytest.raises(UsageError):
        encapsulate_request(KeyConfig(1, 0x0010, bytes(65), (AES,)), b"question")


def test_an_unusable_public_key_is_refused() -> None:
    with pytest.raises(DecodeError):
        encapsulate_request(KeyConfig(1, KEM_X25519, bytes(32), (AES,)), b"question")


def test_a_held_key_is_one_that_could_answer() -> None:
    for config in (
        KeyConfig(1, KEM_X25519, PrivateKey.generate(KEM_X25519).public_key, (AES,)),
        KeyConfig(1, 0x647A, KEY.public_key, (AES,)),
        KeyConfig(1, KEM_X25519, KEY.public_key, (AES, SymmetricAlgorithms(1, 2))),
    ):
        with pytest.raises(UsageError):
            HeldKey(config, KEY)


def test_nothing_secret_is_shown() -> None:
    opened, opener = exchange()
    shown = repr((opened, opened.sealer, opener, KEYS, opened.sealer._secret))
    for secret in (b"question", KEY.private_bytes()):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown


def test_a_key_that_was_erased_on_the_way_is_unknown() -> None:
    key = PrivateKey.generate(KEM_X25519)
    config = KeyConfig(1, KEM_X25519, key.public_key, (AES,))
    keys = {1: HeldKey(config, key)}
    request, _ = encapsulate_request(config, b"question")
    key.erase()
    with pytest.raises(UnknownKeyError):
        decapsulate(request, keys)


@pytest.mark.parametrize("aead", [AEAD_AES_128_GCM, AEAD_CHACHA20_POLY1305])
def test_x_wing_protects_a_request_and_its_response(aead: int) -> None:
    key = PrivateKey.generate(hpke.KEM_XWING)
    config = KeyConfig(1, key.kem, key.public_key, (SymmetricAlgorithms(hpke.KDF_HKDF_SHA256, aead),))
    request, opener = encapsulate_request(config, b"question", aead=aead)
    assert len(request) == 7 + 1120 + len(b"question") + 16
    opened = decapsulate(request, {1: HeldKey(config, key)})
    assert (opened.message, opened.enc) == (b"question", request[7:1127])
    assert opener.open(opened.sealer.seal(b"answer")) == b"answer"
    for cut in (7, 1000, 1126, 1127, 1142):
        with pytest.raises(DecodeError, match="truncated"):
            decapsulate(request[:cut], {1: HeldKey(config, key)})
