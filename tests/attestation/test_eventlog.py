"""The firmware's event log: a real machine's replays to that machine's PCRs, and nothing else does."""

import base64
import hashlib
import os
import random
import re
from contextlib import suppress
from pathlib import Path

import pytest

from seclude.attestation.eventlog import (
    LOCALITY,
    MEASURED_AS_IS,
    NO_ACTION,
    SHA256,
    data_is_measured,
    parse_event_log,
    replay,
)
from seclude.errors import DecodeError, EvidenceError

# What the machine itself said of its SHA-256 bank: openpcc/openpcc, attestation/attest (Apache-2.0), beside the log.
# PCR 6, 7, 9 and 14 are not among it; those are as tpm2_eventlog of tpm2-tools 5.4 replays them. (It extends PCR 0
# by events that extend nothing, and so gives another PCR 0 than the machine.)
MACHINE = {
    0: "0cca9ec161b09288802e5a112255d21340ed5b797f5fe29cecccfd8f67b9f802",
    1: "2f232b75625eeea98ca57ae8cef11e4cd00feb3515dc969430596e183997e804",
    2: "ecd11e957f3b751baf5e1764f1fe56ec4ace4d0f73236fd6a905676925357a32",
    3: "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969",
    4: "1bdc909e09f23d525d17eb72756c7966797c5d33c460f2327cb2c0072b345881",
    5: "a5ceb755d043f32431d63e39f5161464620a3437280494b5850dc1b47cc074e0",
    6: "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969",
    7: "41154b2091d52958cf4b5028bd91ba4354c176050602f6d0dfbabffa3f951186",
    8: "d265f43867c6934d4d2e23b8d68e5e21567c3020b53a539a047078d81e493c8b",
    9: "a2532831467edc6eccb9959d825b3da140d5d46c422e063cc0e8e6068fbdb139",
    14: "306f9d8b94f17d93dc6e7cf8f5c79d652eb4c6c4d13de2dddc24af416e13ecaf",
}
SHA1_PCR_4 = "11dd5789d96c75035eb18ca455a98a5fbfc56174"

SPEC = b"Spec ID Event03\x00" + bytes(8) + b"\x01\x00\x00\x00" + b"\x0b\x00\x20\x00" + b"\x00"
HEADER = bytes(4) + b"\x03\x00\x00\x00" + bytes(20) + len(SPEC).to_bytes(4, "little") + SPEC


def event(pcr: int, kind: int, data: bytes, digest: bytes | None = None) -> bytes:
    numbers = b"".join(number.to_bytes(4, "little") for number in (pcr, kind, 1))
    measured = hashlib.sha256(data).digest() if digest is None else digest
    return numbers + b"\x0b\x00" + measured + len(data).to_bytes(4, "little") + data


@pytest.fixture(scope="module")
def log() -> bytes:
    root = os.environ.get("SECLUDE_VECTORS")
    if not root:
        pytest.skip("SECLUDE_VECTORS is not set")
    text = (Path(root) / "openpcc" / "tcg_eventlog.txt").read_text()
    found = re.search(r"BEGIN LOG-----\n(.*?)-----END LOG", text, re.DOTALL)
    assert found is not None
    return base64.b64decode(found[1])


def test_the_log_of_a_machine_replays_to_its_pcrs(log: bytes) -> None:
    events = parse_event_log(log)
    assert len(events) == 100
    assert {number: value.hex() for number, value in replay(events, sorted(MACHINE)).items()} == MACHINE
    assert replay(events, [4], 0x0004)[4].hex() == SHA1_PCR_4


def test_a_machine_with_shim_has_extended_pcr_14_before_any_worker(log: bytes) -> None:
    """So such a machine needs a pin of PCR 14; without one its evidence is refused."""
    assert replay(parse_event_log(log), [14])[14] != bytes(32)


def test_the_data_of_events_that_are_measured_as_they_are_is_proven(log: bytes) -> None:
    events = [each for each in parse_event_log(log) if each.type in MEASURED_AS_IS]
    assert len(events) == 21
    assert all(data_is_measured(each) for each in events)
    changed = event(7, 4, bytes(4), hashlib.sha256(b"else").digest())
    assert not data_is_measured(parse_event_log(HEADER + changed)[0])


def test_a_changed_digest_changes_its_pcr_and_no_other(log: bytes) -> None:
    before = replay(parse_event_log(log), sorted(MACHINE))
    start = 0
    for each in parse_event_log(log):
        if each.type == NO_ACTION:
            continue
        place = log.index(each.digests[SHA256], start)
        start = place + 1
        changed = bytearray(log)
        changed[place] ^= 1
        after = replay(parse_event_log(bytes(changed)), sorted(MACHINE))
        assert [number for number in MACHINE if before[number] != after[number]] == [each.pcr] * (
            each.type != NO_ACTION
        )


def test_mutations_raise_nothing_but_our_errors(log: bytes) -> None:
    draw = random.Random(2)
    sample = log[:3000]
    for _ in range(20_000):
        changed = bytearray(sample)
        place = draw.randrange(1200)
        changed[place : place + draw.choice((0, 1, 4))] = draw.randbytes(draw.choice((0, 1, 4)))
        with suppress(DecodeError, EvidenceError):
            replay(parse_event_log(bytes(changed)), range(16))


def test_every_truncation_inside_an_event_is_refused() -> None:
    first, second = event(0, 4, bytes(4)), event(1, 4, b"12345678")
    log = HEADER + first + second
    whole = {len(HEADER): 0, len(HEADER) + len(first): 1, len(log): 2}
    for cut in range(len(log)):
        if cut in whole:
            assert len(parse_event_log(log[:cut])) == whole[cut]
        elif 0 < cut - len(HEADER) <= 4:
            continue  # four zeros, the number of PCR 0, look like what fills the area
        else:
            with pytest.raises(DecodeError):
                parse_event_log(log[:cut])


def test_what_fills_the_rest_of_the_area_is_no_event() -> None:
    log = HEADER + event(1, 4, bytes(4))
    for filling in (bytes(500), b"\xff" * 500):
        assert parse_event_log(log + filling) == parse_event_log(log)
    with pytest.raises(DecodeError):
        parse_event_log(log + bytes(499) + b"\x01")


def test_a_startup_in_another_locality_begins_pcr_0() -> None:
    log = HEADER + event(0, 3, LOCALITY + b"\x03", bytes(32)) + event(0, 4, bytes(4))
    begun = hashlib.sha256(bytes(31) + b"\x03" + hashlib.sha256(bytes(4)).digest()).digest()
    assert replay(parse_event_log(log), [0, 1]) == {0: begun, 1: bytes(32)}
    late = HEADER + event(0, 4, bytes(4)) + event(0, 3, LOCALITY + b"\x03", bytes(32))
    for wrong in (late, HEADER + event(0, 3, LOCALITY + b"\x03\x00", bytes(32))):
        with pytest.raises(EvidenceError, match="StartupLocality"):
            replay(parse_event_log(wrong), [0])


def test_only_pcrs_that_a_boot_sets_are_replayed() -> None:
    for number in (16, 17, 23, -1):
        with pytest.raises(EvidenceError, match=f"PCR {number} cannot be replayed"):
            replay((), [number])
    with pytest.raises(EvidenceError, match="bank 0x0012 is not known"):
        replay((), [0], 0x12)
    with pytest.raises(EvidenceError, match="no digest for bank 0x0004"):
        replay(parse_event_log(HEADER + event(0, 4, b"")), [0], 0x0004)


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (b"\x01" + HEADER[1:], "does not begin with a Spec ID event"),
        (HEADER.replace(b"Event03", b"Event02"), "does not begin with a Spec ID event"),
        (HEADER.replace(b"\x0b\x00\x20", b"\x0b\x00\x14"), "bank 0x000b with digests of 20 octets"),
        (HEADER.replace(b"\x0b\x00\x20", b"\x12\x00\x20"), "bank 0x0012 with digests of 32 octets"),
        (HEADER.replace(b"\x01\x00\x00\x00\x0b", b"\x00\x00\x00\x00\x0b"), "0 banks, not 1 to 5"),
        (HEADER + event(24, 4, b""), "PCR 24, of 24"),
        (HEADER + event(1, 4, b"").replace(b"\x01\x00\x00\x00\x0b", b"\x02\x00\x00\x00\x0b"), "2 digests for 1 banks"),
        (HEADER + event(1, 4, b"").replace(b"\x0b\x00", b"\x04\x00", 1), "a digest for bank 0x0004"),
        (HEADER + event(1, 4, b"")[:-4] + b"\x01\x00\x04\x00", "262145 octets, limit 262144"),
        (bytes((1 << 20) + 1), "event log of 1048577 octets"),
        (HEADER + event(1, 4, b"") * 8193, "more than 8192 events"),
    ],
)
def test_what_is_no_such_log_is_refused(log: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        parse_event_log(log)
