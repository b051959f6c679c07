"""Bundles and cores: one encoding each, and limits that hold."""

import contextlib
import hashlib
from dataclasses import replace

import pytest

from seclude.attestation import bundle as b
from seclude.attestation.bundle import (
    Bundle,
    Core,
    birth_report_data,
    core_digest,
    join_report_data,
    parse_bundle,
    parse_bundles,
    parse_core,
    parse_unlogged_checkpoint,
    serialize_bundle,
    serialize_bundles,
    serialize_core,
    unlogged_checkpoint,
)
from seclude.errors import DecodeError, TooLargeError, UsageError

CORE = Core(
    role="worker",
    origin="ai.example:8443",
    epoch=7,
    key_configs=b"configs",
    manifest_digest=bytes(range(32)),
    join_policy=b"policy",
    checkpoint=b"checkpoint",
)
CORE_BYTES = serialize_core(CORE)
BUNDLE = Bundle(CORE_BYTES, b"evidence", b"proofs")
BUNDLE_BYTES = serialize_bundle(BUNDLE)


def test_a_core_is_encoded_as_documented() -> None:
    assert (
        b"SECLUDE-CORE\x01"
        b"\x06worker"
        b"\x0fai.example:8443"
        b"\x00\x00\x00\x00\x00\x00\x00\x07"
        b"\x00\x07configs" + bytes(range(32)) + b"\x00\x06policy"
        b"\x00\x0acheckpoint"
    ) == CORE_BYTES


def test_a_bundle_is_encoded_as_documented() -> None:
    size = len(CORE_BYTES).to_bytes(2)
    assert (
        b"SECLUDE-BUNDLE\x01" + size + CORE_BYTES + b"\x00\x00\x00\x08evidence" + b"\x00\x00\x00\x06proofs"
    ) == BUNDLE_BYTES


def test_what_is_serialized_parses_back() -> None:
    assert parse_core(CORE_BYTES) == CORE
    assert parse_bundle(BUNDLE_BYTES) == BUNDLE


@pytest.mark.parametrize("cut", range(len(CORE_BYTES)))
def test_every_truncation_of_a_core_is_refused(cut: int) -> None:
    with pytest.raises(DecodeError):
        parse_core(CORE_BYTES[:cut])


@pytest.mark.parametrize("cut", range(len(BUNDLE_BYTES)))
def test_every_truncation_of_a_bundle_is_refused(cut: int) -> None:
    with pytest.raises(DecodeError):
        parse_bundle(BUNDLE_BYTES[:cut])


def test_trailing_octets_are_refused() -> None:
    with pytest.raises(DecodeError, match="1 trailing"):
        parse_core(CORE_BYTES + b"\0")
    with pytest.raises(DecodeError, match="1 trailing"):
        parse_bundle(BUNDLE_BYTES + b"\0")


def test_another_version_is_refused() -> None:
    with pytest.raises(DecodeError, match="not a core of a version known here"):
        parse_core(CORE_BYTES.replace(b"CORE\x01", b"CORE\x02"))
    with pytest.raises(DecodeError, match="not a key bundle of a version known here"):
        parse_bundle(BUNDLE_BYTES.replace(b"BUNDLE\x01", b"BUNDLE\x02"))


def test_a_flipped_bit_is_refused_or_gives_another_core_with_the_same_encoding() -> None:
    for position in range(len(CORE_BYTES) * 8):
        flipped = bytearray(CORE_BYTES)
        flipped[position // 8] ^= 1 << position % 8
        try:
            core = parse_core(bytes(flipped))
        except DecodeError:
            continue
        assert core != CORE
        assert serialize_core(core) == flipped


@pytest.mark.parametrize("role", ["", "Worker", "1worker", "wor ker", "worker\n", "wörker", "w" * 33])
def test_a_role_that_is_no_lower_case_word_has_no_encoding(role: str) -> None:
    with pytest.raises(UsageError, match="role"):
        serialize_core(replace(CORE, role=role))
    with pytest.raises(DecodeError, match="role"):
        parse_core(_with_name(b"\x06worker", role))


@pytest.mark.parametrize(
    "origin",
    ["", "AI.example", "ai.example:", "ai.example:08", "ai.example:123456", "-ai.example", "ai.example/", "a" * 256],
)
def test_an_origin_that_is_no_lower_case_host_has_no_encoding(origin: str) -> None:
    with pytest.raises(UsageError, match="origin"):
        serialize_core(replace(CORE, origin=origin))
    if len(origin) < 256:
        with pytest.raises(DecodeError, match="origin"):
            parse_core(_with_name(b"\x0fai.example:8443", origin))


def _with_name(old: bytes, name: str) -> bytes:
    new = name.encode()
    return CORE_BYTES.replace(old, bytes([len(new)]) + new)


@pytest.mark.parametrize("origin", ["localhost", "a", "127.0.0.1:1", "ai.example:65535", "a" * 255])
def test_hosts_with_and_without_ports_are_origins(origin: str) -> None:
    core = replace(CORE, origin=origin)
    assert parse_core(serialize_core(core)) == core


@pytest.mark.parametrize(
    ("field", "limit"),
    [
        ("key_configs", b.MAX_KEY_CONFIGS),
        ("join_policy", b.MAX_JOIN_POLICY),
        ("checkpoint", b.MAX_CHECKPOINT),
    ],
)
def test_a_part_of_a_core_may_reach_its_limit_and_not_pass_it(field: str, limit: int) -> None:
    core = _with_part(field, bytes(limit))
    assert parse_core(serialize_core(core)) == core
    with pytest.raises(UsageError, match=field):
        serialize_core(_with_part(field, bytes(limit + 1)))
    encoded = serialize_core(core)
    grown = encoded.replace(limit.to_bytes(2) + bytes(limit), (limit + 1).to_bytes(2) + bytes(limit + 1))
    with pytest.raises(TooLargeError, match=field):
        parse_core(grown)


@pytest.mark.parametrize("field", ["key_configs", "join_policy"])
def test_a_core_without_keys_or_policy_is_refused(field: str) -> None:
    with pytest.raises(UsageError, match=field):
        serialize_core(_with_part(field, b""))
    value = {"key_configs": b"\x00\x07configs", "join_policy": b"\x00\x06policy"}[field]
    with pytest.raises(DecodeError, match=field):
        parse_core(CORE_BYTES.replace(value, b"\0\0"))


def _with_part(field: str, value: bytes) -> Core:
    parts = {"key_configs": CORE.key_configs, "join_policy": CORE.join_policy, "checkpoint": CORE.checkpoint}
    parts[field] = value
    return Core(
        CORE.role, CORE.origin, CORE.epoch, parts["key_configs"], bytes(32), parts["join_policy"], parts["checkpoint"]
    )


def test_all_parts_at_their_limits_make_a_core_that_fits() -> None:
    core = Core(
        "w" * 32,
        "a" * 255,
        (1 << 64) - 1,
        bytes(b.MAX_KEY_CONFIGS),
        bytes(32),
        bytes(b.MAX_JOIN_POLICY),
        bytes(b.MAX_CHECKPOINT),
    )
    assert len(serialize_core(core)) <= b.MAX_CORE


def test_the_largest_bundle_parses_and_one_octet_more_does_not() -> None:
    largest = Bundle(bytes(b.MAX_CORE), bytes(b.MAX_EVIDENCE), bytes(b.MAX_PROOFS))
    encoded = serialize_bundle(largest)
    assert len(encoded) == b.MAX_BUNDLE
    assert parse_bundle(encoded) == largest
    with pytest.raises(TooLargeError):
        parse_bundle(encoded + b"\0")


@pytest.mark.parametrize("part", range(3))
def test_a_part_of_a_bundle_over_its_limit_is_refused(part: int) -> None:
    sizes = [0, 0, 0]
    sizes[part] = (b.MAX_CORE, b.MAX_EVIDENCE, b.MAX_PROOFS)[part] + 1
    with pytest.raises(UsageError):
        serialize_bundle(Bundle(bytes(sizes[0]), bytes(sizes[1]), bytes(sizes[2])))


# Lists of bundles.


def bundle_of(epoch: int) -> bytes:
    return serialize_bundle(Bundle(serialize_core(replace(CORE, epoch=epoch)), b"evidence"))


BUNDLES = {epoch: bundle_of(epoch) for epoch in (7, 8, 9)}
LIST = serialize_bundles(list(BUNDLES.values()))


def test_a_list_of_bundles_is_encoded_as_documented() -> None:
    parts = [len(each).to_bytes(4) + each for each in BUNDLES.values()]
    assert b"SECLUDE-BUNDLES\x01" + b"\x03" + b"".join(parts) == LIST


@pytest.mark.parametrize("epochs", [(7,), (7, 8), (7, 9), (7, 8, 9)])
def test_a_list_parses_back(epochs: tuple[int, ...]) -> None:
    bundles = {epoch: BUNDLES[epoch] for epoch in epochs}
    assert parse_bundles(serialize_bundles(list(bundles.values()))) == bundles


@pytest.mark.parametrize("epochs", [(8, 7), (7, 7), (7, 9, 8)])
def test_a_list_out_of_order_is_refused(epochs: tuple[int, ...]) -> None:
    with pytest.raises(DecodeError, match="ascending"):
        parse_bundles(serialize_bundles([BUNDLES[epoch] for epoch in epochs]))


def test_a_list_holds_one_to_three_bundles() -> None:
    for count in (0, 4):
        with pytest.raises(UsageError):
            serialize_bundles([bundle_of(epoch) for epoch in range(count)])
    with pytest.raises(DecodeError, match="a list of 0 bundles"):
        parse_bundles(b"SECLUDE-BUNDLES\x01\x00")
    four = b"".join(len(each).to_bytes(4) + each for each in map(bundle_of, range(4)))
    with pytest.raises(DecodeError, match="a list of 4 bundles"):
        parse_bundles(b"SECLUDE-BUNDLES\x01\x04" + four)


@pytest.mark.parametrize("cut", range(len(LIST)))
def test_every_truncation_of_a_list_is_refused(cut: int) -> None:
    with pytest.raises(DecodeError):
        parse_bundles(LIST[:cut])


def test_a_flipped_bit_in_a_list_is_refused_or_gives_another_list_with_the_same_encoding() -> None:
    for place in range(8 * len(LIST)):
        flipped = bytearray(LIST)
        flipped[place // 8] ^= 1 << place % 8
        with contextlib.suppress(DecodeError):
            assert serialize_bundles(list(parse_bundles(bytes(flipped)).values())) == flipped


def test_octets_behind_a_list_and_other_versions_of_it_are_refused() -> None:
    with pytest.raises(DecodeError, match="1 trailing"):
        parse_bundles(LIST + b"\0")
    with pytest.raises(DecodeError, match="not a list of key bundles of a version known here"):
        parse_bundles(LIST.replace(b"BUNDLES\x01", b"BUNDLES\x02"))
    with pytest.raises(DecodeError, match="not a list of key bundles"):
        parse_bundles(BUNDLES[7])


def test_three_of_the_largest_bundles_make_a_list_and_one_octet_more_does_not() -> None:
    core = serialize_core(CORE)
    largest = serialize_bundle(Bundle(core, bytes(b.MAX_EVIDENCE), bytes(b.MAX_PROOFS)))
    assert list(parse_bundles(serialize_bundles([largest]))) == [7]
    assert len(serialize_bundles([bytes(b.MAX_BUNDLE)] * b.MAX_EPOCHS)) == b.MAX_BUNDLES
    with pytest.raises(TooLargeError):
        parse_bundles(bytes(b.MAX_BUNDLES + 1))


def test_a_manifest_digest_has_32_octets() -> None:
    with pytest.raises(UsageError, match="manifest_digest"):
        serialize_core(replace(CORE, manifest_digest=bytes(31)))


def test_report_data_is_computed_as_documented() -> None:
    digest = hashlib.sha256(CORE_BYTES).digest()
    assert core_digest(CORE_BYTES) == digest
    assert birth_report_data(CORE_BYTES) == hashlib.sha512(b"seclude birth v1\0" + digest).digest()
    joined = b"\x05nonce" + b"\x00\x03key" + b"\x06worker" + b"\x0aai.example" + b"\x20" + bytes(range(32))
    assert join_report_data(b"nonce", b"key", "worker", "ai.example", bytes(range(32))) == (
        hashlib.sha512(b"seclude join v1\0" + joined).digest()
    )


def test_join_report_data_does_not_confuse_its_parts() -> None:
    digest = bytes(32)
    assert join_report_data(b"ab", b"c", "r", "o", digest) != join_report_data(b"a", b"bc", "r", "o", digest)
    assert join_report_data(b"a", b"b", "ro", "o", digest) != join_report_data(b"a", b"b", "r", "oo", digest)
    assert join_report_data(b"a", b"b", "r", "oo", b"d") != join_report_data(b"a", b"b", "r", "o", b"od")


def test_each_part_of_what_asks_to_join_is_bound() -> None:
    parts = (b"nonce", b"key", "worker", "ai.example", bytes(32))
    others = (b"Nonce", b"Key", "ledger", "bi.example", bytes(31) + b"\1")
    asked = {join_report_data(*parts)}
    for place in range(len(parts)):
        changed = [other if at == place else part for at, (part, other) in enumerate(zip(parts, others, strict=True))]
        asked.add(join_report_data(*changed))  # type: ignore[arg-type]
    assert len(asked) == 1 + len(parts)


def test_evidence_for_a_birth_is_none_for_a_join() -> None:
    assert birth_report_data(b"") != join_report_data(b"", b"", "", "", b"")


# What dates a core where there is no ledger.


def test_a_checkpoint_without_a_ledger_is_encoded_as_documented() -> None:
    assert unlogged_checkpoint(258) == b"SECLUDE-UNLOGGED\x01" + bytes(6) + b"\x01\x02"
    for made_at in (0, 258, (1 << 64) - 1):
        assert parse_unlogged_checkpoint(unlogged_checkpoint(made_at)) == made_at


def test_every_truncation_of_a_checkpoint_is_refused() -> None:
    encoded = unlogged_checkpoint(1 << 63)
    for cut in range(len(encoded)):
        with pytest.raises(DecodeError, match="truncated"):
            parse_unlogged_checkpoint(encoded[:cut])


def test_octets_behind_a_checkpoint_and_other_kinds_of_it_are_refused() -> None:
    encoded = unlogged_checkpoint(7)
    with pytest.raises(DecodeError, match="1 trailing octets after checkpoint"):
        parse_unlogged_checkpoint(encoded + b"\0")
    with pytest.raises(DecodeError, match="not a checkpoint without a ledger of a version known here"):
        parse_unlogged_checkpoint(encoded.replace(b"UNLOGGED\x01", b"UNLOGGED\x02"))
