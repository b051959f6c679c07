"""SEV-SNP and TDX through Linux's configfs-tsm: one folder for each report, with files to write to and to read.

After Documentation/ABI/testing/configfs-tsm-report of Linux, in use from 6.7 on. `generation` counts the writes to an
entry: if it is not what our own writes make it, somebody else wrote, and the report may be about theirs. A write to
`inblob` takes effect when the file is closed, and whether it did is nowhere to be seen but there.

What the vendors publish comes from files, which the operator renews and which are read anew for each report. Nothing
in them needs trust: certificates and lists are signed by the vendor, and devices verify that.
"""

import errno
import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol
from uuid import UUID

from seclude.attestation.certificates import MAX_CERTIFICATE, MAX_CRL
from seclude.attestation.evidence import SEV_SNP, TDX
from seclude.attestation.snp import SnpEvidence
from seclude.attestation.snp import serialize_body as serialize_snp
from seclude.attestation.tdx import TdxEvidence
from seclude.attestation.tdx import serialize_body as serialize_tdx
from seclude.attestation.tdx_collateral import MAX_JSON, collateral_from_json
from seclude.attestation.tdx_quote import parse_pem_chain
from seclude.errors import BusyError, ConfigError, DecodeError, UpstreamError
from seclude.wire import Reader

SEV_GUEST: Final = "sev_guest"
TDX_GUEST: Final = "tdx_guest"

MAX_BLOB: Final = 32_768  # octets; a quote takes 5 KiB, and the table with AMD's certificates has 16 KiB
MAX_PEM: Final = 2 * MAX_CERTIFICATE  # base64 takes four characters for three octets, and lines end

# What may be otherwise a moment later: a host that limits how often its firmware is asked, and another writer.
PASSING: Final = frozenset({errno.EBUSY, errno.EAGAIN, errno.EINTR})
TRIES: Final = 6
PAUSE_SECONDS: Final = 0.05  # before the second; each further one is twice as long, so 1.55 s in all
WHY: Final = MappingProxyType(
    {
        errno.ENOENT: "the kernel has no configfs-tsm here, or it is not mounted",
        errno.ENXIO: "the kernel has no driver of a confidential guest",
        errno.EFBIG: "the report is larger than the kernel allows",
    }
)

# "SEV-ES Guest-Hypervisor Communication Block Standardization", 4.1.8.1; octets in the order in which they are written.
VCEK: Final = "vcek"
VLEK: Final = "vlek"
ASK: Final = "ask"
ARK: Final = "ark"
NAMES: Final = MappingProxyType(
    {
        UUID("63da758d-e664-4564-adc5-f4b93be8accd").bytes: VCEK,
        UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1").bytes: VLEK,
        UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782").bytes: ASK,
        UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae").bytes: ARK,
    }
)
GUID_BYTES: Final = 16
MAX_ENTRIES: Final = 16  # of the table; four are of use here, and hosts add one or two of their own

CRL_FILE: Final = "crl.der"
COLLATERAL_FILE: Final = "collateral.json"


class TsmDirectory(Protocol):
    """What configfs-tsm can do; everything raises OSError."""

    def mkdir(self, entry: str) -> None: ...

    def rmdir(self, entry: str) -> None: ...

    def write(self, entry: str, attribute: str, data: bytes) -> None: ...

    def read(self, entry: str, attribute: str) -> bytes: ...


class KernelDirectory:
    """The kernel's own, below a folder."""

    def __init__(self, root: Path = Path("/sys/kernel/config/tsm/report")) -> None:
        self._root = root

    def mkdir(self, entry: str) -> None:
        """Make an entry; the kernel puts the files into it."""
        os.mkdir(self._root / entry)

    def rmdir(self, entry: str) -> None:
        """Remove an entry with its files, as configfs does."""
        os.rmdir(self._root / entry)

    def write(self, entry: str, attribute: str, data: bytes) -> None:
        """Write an attribute in one piece; there is nothing to truncate."""
        descriptor = os.open(self._root / entry / attribute, os.O_WRONLY | os.O_CLOEXEC)
        try:
            written = os.write(descriptor, data)
        finally:
            os.close(descriptor)
        if written != len(data):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def read(self, entry: str, attribute: str) -> bytes:
        """Read an attribute to its end."""
        with open(self._root / entry / attribute, "rb", buffering=0) as file:
            data = bytearray()
            while piece := file.read(MAX_BLOB + 1 - len(data)):
                data += piece
        if len(data) > MAX_BLOB:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return bytes(data)


@dataclass(frozen=True, slots=True)
class Blobs:
    """What the kernel gives for one request."""

    outblob: bytes
    auxblob: bytes
    """Of SEV-SNP: the host's table of certificates; may be empty."""


class ConfigfsTsm:
    """Reports of one provider."""

    def __init__(
        self,
        directory: TsmDirectory,
        provider: str,
        *,
        privlevel: int | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._directory = directory
        self._provider = provider
        self._privlevel = privlevel
        self._pause = pause

    def report(self, inblob: bytes) -> Blobs:
        """Return a report over up to 64 octets; raises `BusyError` after some tries, and `UpstreamError`."""
        reason = ""
        for number in range(TRIES):
            if number:
                self._pause(PAUSE_SECONDS * 2 ** (number - 1))
            try:
                blobs = self._try(inblob)
            except OSError as exc:
                reason = WHY.get(exc.errno or 0, exc.strerror or "unknown error")
                if exc.errno not in PASSING:
                    raise UpstreamError(f"configfs-tsm failed: {reason}") from exc
                continue
            if blobs is not None:
                return blobs
            reason = "another process writes to the same entries"
        raise BusyError(f"configfs-tsm gave no report in {TRIES} tries: {reason}")

    def _try(self, inblob: bytes) -> Blobs | None:
        """Return a report by way of a new entry; None if somebody else wrote to it meanwhile."""
        entry = f"seclude-{os.getpid()}-{secrets.token_hex(8)}"
        self._directory.mkdir(entry)
        try:
            expected = self._generation(entry) + 1
            if self._privlevel is not None:
                self._directory.write(entry, "privlevel", str(self._privlevel).encode())
                expected += 1
            self._directory.write(entry, "inblob", inblob)
            self._check_provider(entry)
            outblob = self._directory.read(entry, "outblob")
            auxblob = self._directory.read(entry, "auxblob") if self._provider == SEV_GUEST else b""
            ours = self._generation(entry) == expected and inblob in outblob  # a write that fails says so to nobody
            return Blobs(outblob, auxblob) if ours else None
        finally:
            with suppress(OSError):  # an entry that stays is in nobody's way, and takes no report back
                self._directory.rmdir(entry)

    def _generation(self, entry: str) -> int:
        text = self._directory.read(entry, "generation").strip()
        if not text.isdigit():
            raise UpstreamError("configfs-tsm failed: generation is not a number")
        return int(text)

    def _check_provider(self, entry: str) -> None:
        name = self._directory.read(entry, "provider").strip()
        if name != self._provider.encode():
            raise UpstreamError(
                f"the provider of configfs-tsm is {name.decode('ascii', 'replace')}, not {self._provider}"
            )


class SnpProducer:
    """SEV-SNP: a report, the certificates of whoever signed it, and AMD's revocation list."""

    format: Final = SEV_SNP

    def __init__(self, tsm: ConfigfsTsm, certificates: Path | None, collateral: Path) -> None:
        _require_folders(certificates, collateral)
        self._tsm = tsm
        self._certificates = certificates
        self._collateral = collateral

    def attest(self, bound: bytes) -> bytes:
        """Return a body that binds 64 octets."""
        blobs = self._tsm.report(bound)
        try:
            given = parse_certificate_table(blobs.auxblob)
        except DecodeError as exc:
            raise UpstreamError(f"the host's table of certificates is damaged: {exc}") from exc
        chain = tuple(self._certificate(name, given) for name in (VCEK, ASK, ARK))
        crl = _read(self._collateral / CRL_FILE, MAX_CRL)
        return serialize_snp(SnpEvidence(blobs.outblob, chain, (crl,)))

    def _certificate(self, name: str, given: Mapping[str, bytes]) -> bytes:
        """Return a certificate in DER: the host's, which is of the firmware that runs, or else that of a file."""
        if name in given:
            return _der(given[name], f"the host's certificate {name}")
        if self._certificates is not None:
            for path in (self._certificates / f"{name}.der", self._certificates / f"{name}.pem"):
                if path.exists():
                    return _der(_read(path, MAX_PEM), str(path))
        if name == VCEK and VLEK in given:
            raise UpstreamError("the host signs with a VLEK, the key of its whole fleet, which no policy accepts")
        raise UpstreamError(f"neither the host nor a file of --certificates gives {name}")


class TdxProducer:
    """TDX: a quote, and Intel's collateral."""

    format: Final = TDX

    def __init__(self, tsm: ConfigfsTsm, collateral: Path) -> None:
        _require_folders(collateral)
        self._tsm = tsm
        self._collateral = collateral / COLLATERAL_FILE

    def attest(self, bound: bytes) -> bytes:
        """Return a body that binds 64 octets."""
        quote = self._tsm.report(bound).outblob
        try:
            collateral = collateral_from_json(_read(self._collateral, MAX_JSON).decode())
        except (DecodeError, UnicodeDecodeError) as exc:
            raise UpstreamError(f"{self._collateral} is damaged: {exc}") from exc
        return serialize_tdx(TdxEvidence(quote, collateral))


def parse_certificate_table(data: bytes) -> Mapping[str, bytes]:
    """Return what a host's table has under the names of `NAMES`; empty octets are a host that gives none.

    table = entries (guid 16, offset u32, length u32, little-endian), the last one all zero, then what they point at.
    """
    reader = Reader(data)
    certificates: dict[str, bytes] = {}
    for _ in range(MAX_ENTRIES):
        if not data:
            return certificates
        guid = reader.take(GUID_BYTES, "guid")
        offset, length = (int.from_bytes(reader.take(4, field), "little") for field in ("offset", "length"))
        if not any(guid):
            return certificates
        name = NAMES.get(guid)
        if name is None:
            continue
        if name in certificates:
            raise DecodeError(f"{name} is there twice")
        place = Reader(data)
        place.take(offset, f"what comes before {name}")
        certificates[name] = place.take(length, name)
    raise DecodeError(f"the table has more than {MAX_ENTRIES} entries")


def _der(data: bytes, what: str) -> bytes:
    """Return a certificate in DER, if it is PEM so far."""
    if not data.startswith(b"-----BEGIN"):
        return data
    try:
        (der,) = parse_pem_chain(data, "certificate")
    except (DecodeError, ValueError) as exc:
        raise UpstreamError(f"{what} is not one certificate in PEM") from exc
    return der


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as exc:
        raise UpstreamError(f"cannot read {path}: {exc.strerror}") from exc
    if len(data) > limit:
        raise UpstreamError(f"{path} has more than {limit} octets")
    return data


def _require_folders(*folders: Path | None) -> None:
    for folder in folders:
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"{folder} is not a folder")
