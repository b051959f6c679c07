"""The envelope of evidence: one item or more, each of a format of its own, in one encoding."""

import hashlib

import pytest

from seclude.attestation.bundle import MAX_EVIDENCE
from seclude.attestation.evidence import (
    MAX_BODY,
    MAX_ITEMS,
    NITRO,
    NVIDIA,
    SEV_SNP,
    SIMULATED,
    TDX,
    TPM,
    UnverifiedEvidence,
    bound_by,
    parse_evidence,
    serialize_evidence,
)
from seclude.errors import DecodeError, TooLargeError, UsageError

EVIDENCE = UnverifiedEvidence("simulated", b"body")
BESIDE = UnverifiedEvidence("tpm", b"quote")
ENCODED = serialize_evidence(EVIDENCE)
BOTH = serialize_evidence(EVIDENCE, BESIDE)
ITEM = b"\x09simulated\x00\x00\x00\x04body"
ITEM_BESIDE = b"\x03tpm\x00\x00\x00\x05quote"


def test_evidence_is_encoded_as_documented() -> None:
    assert ENCODED == b"SECLUDE-EVIDENCE\x02\x01" + ITEM
    assert parse_evidence(ENCODED) == (EVIDENCE,)


def test_items_keep_their_order_the_platform_first() -> None:
    assert BOTH == b"SECLUDE-EVIDENCE\x02\x02" + ITEM + ITEM_BESIDE
    assert parse_evidence(BOTH) == (EVIDENCE, BESIDE)
    assert parse_evidence(serialize_evidence(BESIDE, EVIDENCE)) == (BESIDE, EVIDENCE)


@pytest.mark.parametrize("encoded", [ENCODED, BOTH], ids=["one item", "two items"])
def test_every_truncation_is_refused(encoded: bytes) -> None:
    for cut in range(len(encoded)):
        with pytest.raises(DecodeError):
            parse_evidence(encoded[:cut])


def test_every_flipped_bit_is_refused_or_gives_other_items_with_the_same_encoding() -> None:
    for position in range(len(BOTH) * 8):
        flipped = bytearray(BOTH)
        flipped[position // 8] ^= 1 << position % 8
        try:
            items = parse_evidence(bytes(flipped))
        except DecodeError:
            continue
        assert items != (EVIDENCE, BESIDE)
        assert serialize_evidence(*items) == flipped


def test_trailing_octets_are_refused() -> None:
    with pytest.raises(DecodeError, match="trailing"):
        parse_evidence(ENCODED + b"\0")
    with pytest.raises(DecodeError, match="trailing"):
        parse_evidence(BOTH.replace(b"\x02\x02", b"\x02\x01"))


def test_another_version_is_refused() -> None:
    with pytest.raises(DecodeError, match="not evidence of a version known here"):
        parse_evidence(b"SECLUDE-EVIDENCE\x01\x09simulated\x00\x00\x00\x04body")


def test_evidence_has_one_item_to_four() -> None:
    items = tuple(UnverifiedEvidence(f"format-{number}", b"") for number in range(MAX_ITEMS + 1))
    assert parse_evidence(serialize_evidence(*items[:MAX_ITEMS])) == items[:MAX_ITEMS]
    for count in (0, MAX_ITEMS + 1):
        with pytest.raises(UsageError, match="1 to 4 items"):
            serialize_evidence(*items[:count])
        bodies = b"".join(b"\x08" + item.format.encode() + bytes(4) for item in items[:count])
        with pytest.raises(DecodeError, match=f"evidence of {count} items, of 1 to 4"):
            parse_evidence(b"SECLUDE-EVIDENCE\x02" + bytes([count]) + bodies)


def test_two_items_of_one_format_are_refused() -> None:
    with pytest.raises(DecodeError, match="two items are of one format"):
        parse_evidence(b"SECLUDE-EVIDENCE\x02\x03" + ITEM + ITEM_BESIDE + ITEM)


@pytest.mark.parametrize("name", ["", "Simulated", "simulated ", "sim\xfc", "9", "s" * 33, "simulated\n"])
def test_a_format_is_a_word_in_lower_case(name: str) -> None:
    with pytest.raises(UsageError):
        serialize_evidence(UnverifiedEvidence(name, b""))
    encoded = name.encode("latin-1")
    for data in (ENCODED, BOTH):
        with pytest.raises(DecodeError, match="format"):
            parse_evidence(data.replace(b"\x09simulated", bytes([len(encoded)]) + encoded))


def test_a_format_of_the_future_parses() -> None:
    unknown = UnverifiedEvidence("arm-cca", b"")
    assert parse_evidence(serialize_evidence(unknown)) == (unknown,)


def test_a_body_may_reach_its_limit_and_not_pass_it() -> None:
    largest = UnverifiedEvidence("s" * 32, bytes(MAX_BODY))
    encoded = serialize_evidence(largest)
    assert len(encoded) == MAX_EVIDENCE
    assert parse_evidence(encoded) == (largest,)
    with pytest.raises(UsageError):
        serialize_evidence(UnverifiedEvidence("s", bytes(MAX_BODY + 1)))
    with pytest.raises(TooLargeError):
        parse_evidence(encoded + b"\0")


def test_items_that_are_too_large_together_are_refused() -> None:
    halves = [UnverifiedEvidence(name, bytes(MAX_EVIDENCE // 2)) for name in ("simulated", "tpm")]
    with pytest.raises(TooLargeError, match=f"limit {MAX_EVIDENCE}"):
        parse_evidence(serialize_evidence(*halves))


def test_what_has_room_for_32_octets_binds_the_hash_of_the_report_data() -> None:
    data = bytes(range(64))
    for name in (SEV_SNP, TDX, NITRO, SIMULATED):
        assert bound_by(name, data) == data
    for name in (TPM, NVIDIA):
        assert bound_by(name, data) == hashlib.sha256(data).digest()
