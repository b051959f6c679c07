"""Chunked OHTTP: the draft's example, and that nothing cut, changed, repeated or reordered passes for a message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seclude import hpke
from seclude.errors import DecodeError, OpenError, TooLargeError, UnknownKeyError, UsageError
from seclude.hpke import PrivateKey
from seclude.ohttp import chunked
from seclude.ohttp.chunked import (
    MAX_CHUNK,
    RequestOpener,
    RequestSealer,
    ResponseOpener,
    ResponseSealer,
    encapsulate_chunked,
)
from seclude.ohttp.encapsulation import HeldKey, decapsulate, encapsulate_request
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms, parse_key_config
from seclude.wire import Writer

# draft-ietf-ohai-chunked-ohttp-08, appendix "Example".
SECRET_KEY = bytes.fromhex("1c190d72acdbe4dbc69e680503bb781a932c70a12c8f3754434c67d8640d8698")
CONFIG = parse_key_config(
    bytes.fromhex("010020668eb21aace159803974a4c67f08b4152d29bed10735fd08f98ccdd6fe09570800080001000100010003")
)
EPHEMERAL = bytes.fromhex("b26d565f3f875ed480d1abced3d665159650c99174fd0b124ac4bda0c64ae324")
MESSAGE = bytes.fromhex("00034745540568747470730b6578616d706c652e636f6d012f")
PIECES = [MESSAGE[:12], MESSAGE[12:]]
REQUEST = bytes.fromhex(
    "01002000010001"
    "8811eb457e100811c40a0aa71340a1b81d804bb986f736f2f566a7199761a032"
    "1c2ad24942d4d692563012f2980c8fef437a336b9b2fc938ef77a5834f"
    "1d2e33d8fd25577afe31bd1c79d094f76b6250ae6549b473ecd950501311"
    "001c6c1395d0ef7c1022297966307b8a7f"
)
NONCE = bytes.fromhex("bcce7f4cb921309ba5d62edf1769ef09")
ANSWER = bytes.fromhex("0140c8")
RESPONSE = NONCE + bytes.fromhex(
    "1179bf1cc87fa0e2c02de4546945aa3d1e4812b348b5bd4c594c16b6170b07b475845d1f3200ed9d8a796617a5b27265f4d73247f639"
)
HELD = HeldKey(CONFIG, PrivateKey.from_bytes(hpke.KEM_X25519, SECRET_KEY))
KEYS = {1: HELD}


def example() -> tuple[RequestSealer, ResponseOpener]:
    ephemeral = PrivateKey.from_bytes(hpke.KEM_X25519, EPHEMERAL)
    return encapsulate_chunked(CONFIG, testing_only_ephemeral=ephemeral)


def opened(data: bytes = REQUEST) -> tuple[RequestOpener, bytes]:
    opener = RequestOpener(KEYS)
    return opener, b"".join(opener.feed(data)) + opener.finish()


def read(opener: ResponseOpener, data: bytes) -> bytes:
    return b"".join(opener.feed(data)) + opener.finish()


def cuts(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_the_request_of_the_draft_is_sealed_and_opened() -> None:
    sealer, _ = example()
    assert sealer.seal(PIECES[0]) + sealer.seal(PIECES[1]) + sealer.finish() == REQUEST
    assert opened()[1] == MESSAGE


def test_the_response_of_the_draft_is_sealed_and_opened() -> None:
    sealer = opened()[0].sealer(testing_only_nonce=NONCE)
    assert sealer.seal(ANSWER[:1]) + sealer.seal(ANSWER[1:]) + sealer.finish() == RESPONSE
    _, opener = example()
    assert opener.feed(RESPONSE) == [ANSWER[:1], ANSWER[1:]]
    assert opener.finish() == b""


@pytest.mark.parametrize("size", range(1, 40))
def test_octets_may_come_in_any_cuts(size: int) -> None:
    opener = RequestOpener(KEYS)
    assert [piece for cut in cuts(REQUEST, size) for piece in opener.feed(cut)] == PIECES
    assert opener.finish() == b""
    _, answers = example()
    assert [piece for cut in cuts(RESPONSE, size) for piece in answers.feed(cut)] == [ANSWER[:1], ANSWER[1:]]
    assert answers.finish() == b""


def test_a_request_counts_from_its_first_chunk_on() -> None:
    opener = RequestOpener(KEYS)
    first = 7 + 32 + 1 + 28
    opener.feed(REQUEST[: first - 1])
    with pytest.raises(UsageError):
        opener.sealer()
    assert opener.authentic is False
    opener.feed(REQUEST[first - 1 : first])
    assert bool(opener.authentic)
    assert (opener.key_id, opener.enc) == (1, REQUEST[7:39])
    opener.sealer()
    with pytest.raises(UsageError):
        opener.sealer()


@pytest.mark.parametrize("cut", range(len(REQUEST)))
def test_every_truncation_of_a_request_is_detected(cut: int) -> None:
    opener = RequestOpener(KEYS)
    pieces = opener.feed(REQUEST[:cut])
    assert pieces == PIECES[: len(pieces)]
    with pytest.raises((DecodeError, OpenError)):
        opener.finish()


@pytest.mark.parametrize("cut", range(len(RESPONSE)))
def test_every_truncation_of_a_response_is_detected(cut: int) -> None:
    _, opener = example()
    opener.feed(RESPONSE[:cut])
    with pytest.raises((DecodeError, OpenError)):
        opener.finish()


@pytest.mark.parametrize("bit", range(8 * len(RESPONSE)))
def test_every_flipped_bit_of_a_response_is_detected(bit: int) -> None:
    changed = bytearray(RESPONSE)
    changed[bit // 8] ^= 1 << bit % 8
    _, opener = example()
    with pytest.raises((DecodeError, OpenError)):
        read(opener, bytes(changed))


@pytest.mark.parametrize("bit", range(8, 8 * len(REQUEST)))
def test_every_flipped_bit_of_a_request_is_detected(bit: int) -> None:
    changed = bytearray(REQUEST)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises((DecodeError, OpenError)):
        opened(bytes(changed))


def test_a_key_that_is_not_held_is_unknown() -> None:
    with pytest.raises(UnknownKeyError):
        RequestOpener(KEYS).feed(b"\2" + REQUEST[1:])


def test_chunks_that_change_places_are_detected() -> None:
    sealer, _ = example()
    one, two, last = sealer.seal(b"one"), sealer.seal(b"two"), sealer.finish(b"three")
    prefix, one = one[:39], one[39:]
    with pytest.raises(OpenError):
        RequestOpener(KEYS).feed(prefix + two + one)
    with pytest.raises(OpenError):
        RequestOpener(KEYS).feed(prefix + one + one)
    with pytest.raises(OpenError):
        opened(prefix + one + last)  # the second left out
    assert opened(prefix + one + two + last)[1] == b"onetwothree"


def test_a_chunk_that_is_not_the_last_does_not_pass_for_it() -> None:
    sealer, _ = example()
    first = sealer.seal(b"one")
    with pytest.raises(OpenError):
        opened(first[:39] + b"\0" + first[40:])


def test_the_last_chunk_does_not_pass_for_another() -> None:
    sealer, _ = example()
    last = sealer.finish(b"one")
    with pytest.raises(OpenError):
        RequestOpener(KEYS).feed(last[:39] + bytes([len(last) - 40]) + last[40:])


def test_the_two_formats_do_not_open_each_other() -> None:
    whole, _ = encapsulate_request(CONFIG, MESSAGE)
    with pytest.raises(OpenError):
        opened(whole[:39] + b"\0" + whole[39:])
    sealer, _ = example()
    last = sealer.finish(MESSAGE)
    with pytest.raises(OpenError):
        decapsulate(last[:39] + last[40:], KEYS)


def test_nothing_works_after_the_end_or_a_failure() -> None:
    sealer, opener = example()
    sealer.finish(b"all")
    with pytest.raises(UsageError):
        sealer.seal(b"more")
    with pytest.raises(UsageError):
        sealer.finish()
    opener.feed(RESPONSE)
    opener.finish()
    with pytest.raises(UsageError):
        opener.feed(b"more")
    with pytest.raises(UsageError):
        opener.finish()
    failed, _ = opened()
    with pytest.raises(UsageError):
        failed.finish()
    broken = RequestOpener(KEYS)
    with pytest.raises(OpenError):
        broken.feed(REQUEST[:-40] + bytes(40))
    with pytest.raises(UsageError):
        broken.feed(b"x")
    unknown = RequestOpener({})
    with pytest.raises(UnknownKeyError):
        unknown.feed(REQUEST)
    with pytest.raises(UsageError):
        unknown.feed(REQUEST)


def test_chunks_have_a_largest_size_and_none_but_the_last_is_empty() -> None:
    sealer, _ = example()
    with pytest.raises(UsageError):
        sealer.seal(b"")
    with pytest.raises(UsageError):
        sealer.seal(bytes(MAX_CHUNK + 1))
    prefix = sealer.seal(b"x")[:39]
    assert opened(sealed_with(bytes(MAX_CHUNK), b""))[1] == bytes(MAX_CHUNK)
    for length in (1, 16):
        with pytest.raises(DecodeError):
            RequestOpener(KEYS).feed(prefix + Writer().varint(length).getvalue() + bytes(length))
    with pytest.raises(TooLargeError):
        RequestOpener(KEYS).feed(prefix + Writer().varint(MAX_CHUNK + 17).getvalue())
    with pytest.raises(TooLargeError):
        RequestOpener(KEYS).feed(prefix + b"\0" + bytes(MAX_CHUNK + 17))


def test_a_message_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    data = sealed_with(b"123", b"45")
    monkeypatch.setattr(chunked, "MAX_MESSAGE", 4)
    with pytest.raises(TooLargeError):
        opened(data)
    sealer, _ = example()
    sealer.seal(b"123")
    with pytest.raises(TooLargeError):
        sealer.seal(b"45")


@pytest.mark.parametrize("aead", [hpke.AEAD_AES_128_GCM, hpke.AEAD_CHACHA20_POLY1305])
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=200), max_size=8),
    last=st.binary(max_size=200),
    size=st.integers(1, 300),
)
def test_what_is_sealed_is_what_is_opened(aead: int, pieces: list[bytes], last: bytes, size: int) -> None:
    key = PrivateKey.generate(hpke.KEM_X25519)
    config = KeyConfig(7, key.kem, key.public_key, (SymmetricAlgorithms(hpke.KDF_HKDF_SHA256, aead),))
    sealer, answers = encapsulate_chunked(config, aead=aead)
    request = b"".join([*map(sealer.seal, pieces), sealer.finish(last)])
    opener = RequestOpener({7: HeldKey(config, key)})
    assert [piece for cut in cuts(request, size) for piece in opener.feed(cut)] == pieces
    assert opener.finish() == last
    back = opener.sealer()
    response = b"".join([*map(back.seal, pieces), back.finish(last)])
    assert [piece for cut in cuts(response, size) for piece in answers.feed(cut)] == pieces
    assert answers.finish() == last


def test_a_response_nonce_of_another_length_is_refused() -> None:
    with pytest.raises(UsageError):
        opened()[0].sealer(testing_only_nonce=b"short")


def test_nothing_is_shown_copied_or_pickled() -> None:
    sealer, opener = example()
    for each in (sealer, opener, opened()[0], opened()[0].sealer()):
        assert "0x" in repr(each) or "<" in repr(each)
        with pytest.raises(TypeError):
            each.__reduce_ex__(2)


def test_a_response_sealer_is_what_an_opener_gives() -> None:
    assert isinstance(opened()[0].sealer(), ResponseSealer)


def sealed_with(*pieces: bytes) -> bytes:
    sealer, _ = example()
    return b"".join([*map(sealer.seal, pieces[:-1]), sealer.finish(pieces[-1])])
