"""The firmware's event log, replayed: for auditors, who want to know what the values of PCRs come from.

TCG PC Client Platform Firmware Profile 1.05, section 10: first an event in the old format that names the banks ("Spec
ID Event03"), then events with one digest for each bank. Integers are little-endian. No step of a verification needs
the log, since a policy pins values; whoever writes the policy reads the log to learn whether those values are good.
The log is worth nothing until its replay equals the quoted values, and even then an event's data counts only where its
digest is one of that data (`data_is_measured`).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from seclude.errors import DecodeError, EvidenceError
from seclude.wire import Reader

SIGNATURE: Final = b"Spec ID Event03\x00"
LOCALITY: Final = b"StartupLocality\x00"
NO_ACTION: Final = 3  # EV_NO_ACTION: says something, extends nothing

# TPM_ALG_ID of a bank, and its hash.
SHA256: Final = 0x000B
HASHES: Final[Mapping[int, str]] = MappingProxyType(
    {0x0004: "sha1", SHA256: "sha256", 0x000C: "sha384", 0x000D: "sha512"}
)

# Events whose digest is by definition that of their data: separators, versions, variables, actions, partition tables.
MEASURED_AS_IS: Final = frozenset(
    {
        0x00000004,  # EV_SEPARATOR
        0x00000005,  # EV_ACTION
        0x00000008,  # EV_S_CRTM_VERSION
        0x80000001,  # EV_EFI_VARIABLE_DRIVER_CONFIG
        0x80000006,  # EV_EFI_GPT_EVENT
        0x80000007,  # EV_EFI_ACTION
        0x800000E0,  # EV_EFI_VARIABLE_AUTHORITY
    }
)

MAX_LOG: Final = 1 << 20  # octets; Linux offers no more than the firmware's area, mostly 64 KiB
MAX_EVENTS: Final = 8192  # an event takes 60 octets at least with two banks; boots have about a hundred
MAX_BANKS: Final = 5
MAX_DATA: Final = 1 << 18  # octets of one event; the largest are certificates that Secure Boot was given
PCRS: Final = 24
STATIC_PCRS: Final = frozenset(range(16))  # those that only a reset of the machine sets back, to zeros


@dataclass(frozen=True, slots=True)
class Event:
    """TCG_PCR_EVENT2."""

    pcr: int
    type: int
    digests: Mapping[int, bytes]
    """By bank, as TPM_ALG_ID."""
    data: bytes


def parse_event_log(data: bytes) -> tuple[Event, ...]:
    """Read a log in the crypto-agile format; raises `DecodeError`.

    Firmware may have filled what is left of its area with zeros or ones.
    """
    if len(data) > MAX_LOG:
        raise DecodeError(f"event log of {len(data)} octets, limit {MAX_LOG}")
    reader = Reader(data)
    sizes = _read_header(reader)
    events: list[Event] = []
    while reader.remaining and not _is_filling(data[reader.offset :]):
        if len(events) == MAX_EVENTS:
            raise DecodeError(f"the event log has more than {MAX_EVENTS} events")
        events.append(_read_event(reader, sizes))
    return tuple(events)


def replay(events: Iterable[Event], pcrs: Sequence[int], bank: int = SHA256) -> dict[int, bytes]:
    """Return the values of some of PCR 0 to 15 in one bank after the events; raises `EvidenceError`."""
    if strange := set(pcrs) - STATIC_PCRS:
        raise EvidenceError(f"PCR {min(strange)} cannot be replayed from a log of the boot")
    if bank not in HASHES:
        raise EvidenceError(f"bank {bank:#06x} is not known")
    name = HASHES[bank]
    size = hashlib.new(name).digest_size
    values = dict.fromkeys(pcrs, bytes(size))
    for event in events:
        if event.type == NO_ACTION:
            if 0 in values and event.pcr == 0 and event.data.startswith(LOCALITY):
                values[0] = _startup(event, values[0], size)
        elif event.pcr in values:
            if bank not in event.digests:
                raise EvidenceError(f"an event of PCR {event.pcr} has no digest for bank {bank:#06x}")
            values[event.pcr] = hashlib.new(name, values[event.pcr] + event.digests[bank]).digest()
    return values


def data_is_measured(event: Event) -> bool:
    """Say whether all digests of an event are those of its data, so that a replay proves the data too."""
    return event.type in MEASURED_AS_IS and all(
        hashlib.new(HASHES[bank], event.data).digest() == digest for bank, digest in event.digests.items()
    )


def _startup(event: Event, value: bytes, size: int) -> bytes:
    """PCR 0 begins with the locality of TPM2_Startup as its last octet (section 10.4.5.3)."""
    if len(event.data) != len(LOCALITY) + 1 or any(value):
        raise EvidenceError("StartupLocality is not one octet before all that PCR 0 measured")
    return bytes(size - 1) + event.data[-1:]


def _read_header(reader: Reader) -> Mapping[int, int]:
    """Read TCG_EfiSpecIDEvent (section 10.4.5.1); returns the banks and the sizes of their digests."""
    pcr, kind, digest = _u32(reader, "pcrIndex"), _u32(reader, "eventType"), reader.take(20, "digest")
    header = Reader(reader.take(_size(reader), "Spec ID event"))
    if pcr or kind != NO_ACTION or any(digest) or header.take(len(SIGNATURE), "signature") != SIGNATURE:
        raise DecodeError("the event log does not begin with a Spec ID event of the crypto-agile format")
    header.take(8, "platformClass and version")
    count = _u32(header, "numberOfAlgorithms")
    if not 0 < count <= MAX_BANKS:
        raise DecodeError(f"the event log has {count} banks, not 1 to {MAX_BANKS}")
    sizes = {_u16(header, "algorithmId"): _u16(header, "digestSize") for _ in range(count)}
    header.vec8("vendorInfo")
    header.finish("Spec ID event")
    for bank, size in sizes.items():
        if bank not in HASHES or size != hashlib.new(HASHES[bank]).digest_size:
            raise DecodeError(f"bank {bank:#06x} with digests of {size} octets is not known")
    if len(sizes) != count:
        raise DecodeError("the event log names a bank twice")
    return MappingProxyType(sizes)


def _read_event(reader: Reader, sizes: Mapping[int, int]) -> Event:
    pcr, kind, count = _u32(reader, "pcrIndex"), _u32(reader, "eventType"), _u32(reader, "count of digests")
    if pcr >= PCRS:
        raise DecodeError(f"an event is of PCR {pcr}, of {PCRS}")
    if count != len(sizes):
        raise DecodeError(f"an event has {count} digests for {len(sizes)} banks")
    digests: dict[int, bytes] = {}
    for _ in range(count):
        bank = _u16(reader, "hashAlg")
        if bank not in sizes or bank in digests:
            raise DecodeError(f"an event has a digest for bank {bank:#06x}, which the header does not name, or twice")
        digests[bank] = reader.take(sizes[bank], "digest")
    return Event(pcr, kind, MappingProxyType(digests), reader.take(_size(reader), "event"))


def _is_filling(rest: bytes) -> bool:
    """Say whether nothing follows but zeros or ones; an event of PCR 0 begins with four zeros, and has a type."""
    return rest[0] in (0, 0xFF) and rest.count(rest[:1]) == len(rest)


def _size(reader: Reader) -> int:
    size = _u32(reader, "eventSize")
    if size > MAX_DATA:
        raise DecodeError(f"an event has {size} octets, limit {MAX_DATA}")
    return size


def _u16(reader: Reader, field: str) -> int:
    return int.from_bytes(reader.take(2, field), "little")


def _u32(reader: Reader, field: str) -> int:
    return int.from_bytes(reader.take(4, field), "little")
