"""The Nitro Security Module: the request that it gets, and whatever it may answer."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.producers.nsm import MAX_RESPONSE, NitroProducer, parse_response, serialize_request
from seclude.attestation import nitro
from seclude.attestation.accept import NitroTable
from seclude.attestation.cbor import Value, serialize_item
from seclude.attestation.steps import Steps
from seclude.errors import BusyError, ConfigError, DecodeError, UpstreamError
from tests.attestation.nitro_signer import NOW
from tests.inference.fake_nsm import FakeNsm

DATA = bytes(range(64))
DEVICE = Path("/dev/null")


@pytest.fixture
def nsm() -> FakeNsm:
    return FakeNsm()


@pytest.fixture
def producer(nsm: FakeNsm) -> Iterator[NitroProducer]:
    producer = NitroProducer(DEVICE, nsm.ioctl)
    yield producer
    producer.close()


def test_a_document_is_evidence_that_the_verifier_accepts(nsm: FakeNsm, producer: NitroProducer) -> None:
    report = nitro.verify(producer.attest(DATA), NitroTable(), NOW, Steps(nitro.TITLES), roots=nsm.module.roots)
    assert (report.format, report.bound) == (producer.format, DATA)


def test_the_request_is_what_the_module_expects(nsm: FakeNsm, producer: NitroProducer) -> None:
    producer.attest(DATA)
    assert nsm.requests == [serialize_request(DATA)]
    head = bytes.fromhex("a1 6b") + b"Attestation" + bytes.fromhex("a3 69") + b"user_data" + bytes.fromhex("58 40")
    tail = b"\x65nonce\xf6" + b"\x6apublic_key\xf6"
    assert serialize_request(DATA) == head + DATA + tail


def test_the_module_refuses_what_is_too_large(producer: NitroProducer) -> None:
    with pytest.raises(UpstreamError, match="refuses: InputTooLarge"):
        producer.attest(bytes(513))


def test_the_kernel_refuses_what_is_too_large(producer: NitroProducer) -> None:
    with pytest.raises(UpstreamError, match="Message too long"):
        producer.attest(bytes(0x1000))


def test_no_device_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no Nitro Security Module at .*: No such file"):
        NitroProducer(tmp_path / "nsm")


def test_another_device_is_an_upstream_error() -> None:
    producer = NitroProducer(DEVICE)  # with the system call itself
    with pytest.raises(UpstreamError, match="failed: Inappropriate ioctl"):
        producer.attest(DATA)
    producer.close()


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EAGAIN, errno.EINTR])
def test_what_passes_is_busy(nsm: FakeNsm, producer: NitroProducer, number: int) -> None:
    nsm.errors.append(number)
    with pytest.raises(BusyError, match=os.strerror(number)):
        producer.attest(DATA)
    assert producer.attest(DATA)


@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.ENODEV, errno.EFAULT])
def test_other_errors_are_upstream_errors(nsm: FakeNsm, producer: NitroProducer, number: int) -> None:
    nsm.errors.append(number)
    with pytest.raises(UpstreamError, match=os.strerror(number)):
        producer.attest(DATA)


def test_an_unknown_code_of_the_module_is_not_shown(nsm: FakeNsm, producer: NitroProducer) -> None:
    nsm.responses.append(serialize_item({"Error": "<script>"}))
    with pytest.raises(UpstreamError, match="refuses: an unknown error"):
        producer.attest(DATA)


@pytest.mark.parametrize(
    "response",
    [
        {},
        {"Error": 3},
        {"Error": "InternalError", "Attestation": {"document": b"x"}},
        {"DescribeNSM": {}},
        {"Attestation": b"x"},
        {"Attestation": {}},
        {"Attestation": {"document": "text"}},
        {"Attestation": {"document": b"x", "more": 1}},
        ("Attestation",),
        None,
    ],
)
def test_what_is_no_response_is_refused(nsm: FakeNsm, producer: NitroProducer, response: Value) -> None:
    nsm.responses.append(serialize_item(response))
    with pytest.raises(UpstreamError, match="response of the Nitro Security Module is none"):
        producer.attest(DATA)


def test_every_truncated_response_is_refused(nsm: FakeNsm) -> None:
    response = nsm.answer(serialize_request(DATA))
    assert nitro.parse_body(parse_response(response))
    for end in range(len(response)):
        with pytest.raises(DecodeError):
            parse_response(response[:end])


def test_a_response_over_the_limit_is_refused(nsm: FakeNsm, producer: NitroProducer) -> None:
    nsm.responses.append(bytes(MAX_RESPONSE + 1))
    with pytest.raises(UpstreamError, match=f"states {MAX_RESPONSE + 1} octets"):
        producer.attest(DATA)
