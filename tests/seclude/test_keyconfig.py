"""seclude.ohttp.keyconfig and media: key configurations, lists of them, and the header of a request."""

import pytest

from seclude.errors import DecodeError, TooLargeError, UnknownKeyError, UsageError
from seclude.ohttp.keyconfig import (
    MAX_KEY_CONFIGS,
    PUBLIC_KEY_LENGTHS,
    KeyConfig,
    RequestHeader,
    SymmetricAlgorithms,
    choose,
    parse_key_config,
    parse_key_configs,
    parse_request_header,
    serialize_key_config,
    serialize_key_configs,
    serialize_request_header,
)
from seclude.ohttp.media import media_type
from seclude.wire import Writer

# RFC 9458, appendix A
RFC9458_CONFIG = bytes.fromhex(
    "01002031e1f05a740102115220e9af918f738674aec95f54db6e04eb705aae8e79815500080001000100010003"
)
AES, CHACHA = SymmetricAlgorithms(1, 1), SymmetricAlgorithms(1, 3)
X25519 = KeyConfig(1, 0x0020, bytes(range(32)), (AES, CHACHA))
X_WING = KeyConfig(2, 0x647A, bytes(1216), (AES,))
UNKNOWN_KEM = Writer().u8(3).u16(0xFEFE).raw(b"a key of unknown length").getvalue()


def listed(*entries: bytes) -> bytes:
    writer = Writer()
    for entry in entries:
        writer.vec16(entry)
    return writer.getvalue()


def test_the_configuration_of_rfc_9458_is_read_and_written() -> None:
    config = parse_key_config(RFC9458_CONFIG)
    assert (config.key_id, config.kem, config.algorithms) == (1, 0x0020, (AES, CHACHA))
    assert config.public_key == RFC9458_CONFIG[3:35]
    assert serialize_key_config(config) == RFC9458_CONFIG


@pytest.mark.parametrize("cut", range(len(RFC9458_CONFIG)))
def test_every_truncation_of_a_configuration_is_refused(cut: int) -> None:
    with pytest.raises(DecodeError):
        parse_key_config(RFC9458_CONFIG[:cut])


@pytest.mark.parametrize("bit", range(8 * len(RFC9458_CONFIG)))
def test_every_flipped_bit_is_refused_or_seen(bit: int) -> None:
    damaged = bytearray(RFC9458_CONFIG)
    damaged[bit // 8] ^= 1 << bit % 8
    try:
        config = parse_key_config(bytes(damaged))
    except DecodeError:
        return
    assert config != parse_key_config(RFC9458_CONFIG)
    assert serialize_key_config(config) == damaged


def test_trailing_octets_are_refused() -> None:
    with pytest.raises(DecodeError, match="trailing"):
        parse_key_config(RFC9458_CONFIG + b"\0")


@pytest.mark.parametrize("length", [0, 1, 3, 5, 65535])
def test_algorithms_that_are_not_groups_of_four_octets_are_refused(length: int) -> None:
    with pytest.raises(DecodeError, match="groups of 4"):
        parse_key_config(RFC9458_CONFIG[:35] + Writer().vec16(bytes(length)).getvalue())


def test_the_longest_list_of_algorithms_is_read_and_a_longer_one_not_written() -> None:
    most = KeyConfig(1, 0x0020, bytes(32), (AES,) * 16383)  # 65532 octets
    assert parse_key_config(serialize_key_config(most)) == most
    with pytest.raises(UsageError):
        serialize_key_config(KeyConfig(1, 0x0020, bytes(32), (AES,) * 16384))


@pytest.mark.parametrize("kem", PUBLIC_KEY_LENGTHS)
def test_every_kem_of_the_table_is_read_and_written(kem: int) -> None:
    config = KeyConfig(7, kem, bytes(PUBLIC_KEY_LENGTHS[kem]), (AES,))
    assert parse_key_config(serialize_key_config(config)) == config


def test_a_single_configuration_of_an_unknown_kem_is_refused() -> None:
    with pytest.raises(DecodeError, match="0xfefe"):
        parse_key_config(UNKNOWN_KEM)


@pytest.mark.parametrize(
    "config",
    [
        KeyConfig(1, 0x0020, bytes(31), (AES,)),
        KeyConfig(1, 0xFEFE, bytes(32), (AES,)),
        KeyConfig(1, 0x0020, bytes(32), ()),
        KeyConfig(256, 0x0020, bytes(32), (AES,)),
        KeyConfig(1, 0x0020, bytes(32), (SymmetricAlgorithms(1, 65536),)),
    ],
)
def test_a_configuration_that_nobody_could_read_is_not_written(config: KeyConfig) -> None:
    with pytest.raises(UsageError):
        serialize_key_config(config)


def test_a_list_keeps_its_order() -> None:
    assert parse_key_configs(serialize_key_configs((X_WING, X25519))) == (X_WING, X25519)
    assert parse_key_configs(serialize_key_configs([X25519, X_WING])) == (X25519, X_WING)


def test_an_unknown_kem_in_a_list_is_left_out() -> None:
    data = listed(UNKNOWN_KEM, serialize_key_config(X25519))
    assert parse_key_configs(data) == (X25519,)
    assert parse_key_configs(listed(UNKNOWN_KEM)) == ()


def test_an_obsolete_kem_first_in_a_list_is_read_over() -> None:
    kyber = KeyConfig(1, 0x0030, bytes(1216), (AES,))
    assert choose(parse_key_configs(serialize_key_configs((kyber, X25519))), 0x0020, 1, 1) == X25519


@pytest.mark.parametrize("place", [0, 1])
def test_one_malformed_configuration_discards_the_whole_list(place: int) -> None:
    entries = [serialize_key_config(X25519)]
    entries.insert(place, serialize_key_config(X_WING)[:-1])
    with pytest.raises(DecodeError):
        parse_key_configs(listed(*entries))


@pytest.mark.parametrize("entry", [b"", b"\x01", b"\x01\x00"])
def test_a_configuration_too_short_for_its_kem_discards_the_list(entry: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_key_configs(listed(serialize_key_config(X25519), entry))


def test_every_truncation_of_a_list_is_refused_but_for_whole_configurations() -> None:
    first, second = listed(RFC9458_CONFIG), listed(serialize_key_config(X25519))
    for cut in range(len(first + second)):
        if cut == len(first):
            assert len(parse_key_configs(first)) == 1
            continue
        with pytest.raises(DecodeError):
            parse_key_configs((first + second)[:cut])


def test_an_empty_list_is_neither_read_nor_written() -> None:
    with pytest.raises(DecodeError):
        parse_key_configs(b"")
    with pytest.raises(UsageError):
        serialize_key_configs(())


def test_a_list_is_read_at_its_limit_and_refused_above_it() -> None:
    most = serialize_key_configs((X25519,) * MAX_KEY_CONFIGS)
    assert len(parse_key_configs(most)) == MAX_KEY_CONFIGS
    with pytest.raises(TooLargeError):
        parse_key_configs(most + listed(UNKNOWN_KEM))
    with pytest.raises(UsageError):
        serialize_key_configs((X25519,) * (MAX_KEY_CONFIGS + 1))


def test_the_first_configuration_that_fits_is_chosen() -> None:
    second = KeyConfig(9, 0x0020, bytes(32), (AES,))
    same_id = KeyConfig(1, 0x647A, bytes(1216), (AES,))
    assert choose((X_WING, X25519, second), 0x0020, 1, 1) == X25519
    assert choose((second, X25519), 0x0020, 1, 3) == X25519
    assert choose((X25519, same_id), 0x647A, 1, 1) == same_id


@pytest.mark.parametrize("suite", [(0x0020, 1, 2), (0x0020, 2, 1), (0x0010, 1, 1), (0x647A, 1, 3)])
def test_nothing_is_chosen_where_nothing_fits(suite: tuple[int, int, int]) -> None:
    with pytest.raises(UnknownKeyError):
        choose((X_WING, X25519), *suite)


def test_the_header_of_a_request_is_read_and_written() -> None:
    header = RequestHeader(key_id=0x01, kem=0x0203, kdf=0x0405, aead=0x0607)
    assert serialize_request_header(header) == bytes(range(1, 8))
    assert parse_request_header(bytes(range(1, 8)) + b"what follows is not looked at") == header


@pytest.mark.parametrize("cut", range(7))
def test_a_shorter_header_is_refused(cut: int) -> None:
    with pytest.raises(DecodeError):
        parse_request_header(bytes(cut))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, ""),
        ("", ""),
        ("message/ohttp-req", "message/ohttp-req"),
        ("Message/OHTTP-Req", "message/ohttp-req"),
        (" message/ohttp-req\t; v=1; w=2", "message/ohttp-req"),
        ("message/ohttp-req, message/ohttp-req", "message/ohttp-req, message/ohttp-req"),
        ("message/ohttp-reqs", "message/ohttp-reqs"),
        ("application/ohttp-\N{KELVIN SIGN}eys", ""),
        ("message/ohttp-req\N{NO-BREAK SPACE}", ""),
    ],
)
def test_a_media_type_is_lower_case_without_parameters(header: str | None, expected: str) -> None:
    assert media_type(header) == expected
