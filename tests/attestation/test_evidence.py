"""The envelope of evidence."""

import pytest

from seclude.attestation.bundle import MAX_EVIDENCE
from seclude.attestation.evidence import MAX_BODY, UnverifiedEvidence, parse_evidence, serialize_evidence
from seclude.errors import DecodeError, TooLargeError, UsageError

EVIDENCE = UnverifiedEvidence("simulated", b"body")
ENCODED = serialize_evidence(EVIDENCE)


def test_evidence_is_encoded_as_documented() -> None:
    assert ENCODED == b"SECLUDE-EVIDENCE\x01\x09simulated\x00\x00\x00\x04body"
    assert parse_evidence(ENCODED) == EVIDENCE


@pytest.mark.parametrize("cut", range(len(ENCODED)))
def test_every_truncation_is_refused(cut: int) -> None:
    with pytest.raises(DecodeError):
        parse_evidence(ENCODED[:cut])


def test_trailing_octets_are_refused() -> None:
    with pytest.raises(DecodeError, match="trailing"):
        parse_evidence(ENCODED + b"\0")


@pytest.mark.parametrize("name", ["", "Simulated", "simulated ", "sim\xfc", "9", "s" * 33])
def test_a_format_is_a_word_in_lower_case(name: str) -> None:
    with pytest.raises(UsageError):
        serialize_evidence(UnverifiedEvidence(name, b""))
    encoded = name.encode("latin-1")
    with pytest.raises(DecodeError, match="format"):
        parse_evidence(ENCODED.replace(b"\x09simulated", bytes([len(encoded)]) + encoded))


def test_a_format_of_the_future_parses() -> None:
    unknown = UnverifiedEvidence("sev-snp", b"")
    assert parse_evidence(serialize_evidence(unknown)) == unknown


def test_a_body_may_reach_its_limit_and_not_pass_it() -> None:
    largest = UnverifiedEvidence("s" * 32, bytes(MAX_BODY))
    encoded = serialize_evidence(largest)
    assert len(encoded) == MAX_EVIDENCE
    assert parse_evidence(encoded) == largest
    with pytest.raises(UsageError):
        serialize_evidence(UnverifiedEvidence("s", bytes(MAX_BODY + 1)))
    with pytest.raises(TooLargeError):
        parse_evidence(encoded + b"\0")
