"""Receipts: what a device keeps of one request, only when asked, so that anybody can check later to whom it spoke.

    {"format": "seclude receipt v1", "time": 1767225700, "origin": "...", "epoch": 12,
     "core_digest": hexadecimal, "trust_digest": hexadecimal, "bundle": base64}

The bundle is the one that was verified, whole: the keys, the evidence for them and the ledger's proofs, all public.
There is nothing of the request or its answer, no token, no relay and no address. That somebody had this bundle says no
more than that somebody asked this service in that slot; still the file is its owner's alone (mode 0600).
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from seclude.attestation.bundle import MAX_BUNDLE, core_digest, parse_bundle, parse_core
from seclude.attestation.verify import TrustedPool
from seclude.errors import ConfigError, DecodeError

FORMAT: Final = "seclude receipt v1"
MAX_RECEIPT: Final = MAX_BUNDLE * 4 // 3 + 4096  # octets; the bundle in base64 and a few lines

Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A record of which keys were encrypted to, and when; nothing in it is believed before it is verified again."""

    format: Literal["seclude receipt v1"] = FORMAT
    time: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
    """When the device encrypted to these keys, by its own clock, in seconds since 1970."""
    origin: str
    epoch: Annotated[int, msgspec.Meta(ge=0)]
    core_digest: Hash
    trust_digest: Hash
    """SHA-256 of the trust file that the bundle was verified against."""
    bundle: bytes


@dataclass(frozen=True, slots=True)
class Use:
    """The keys that one request is encapsulated for; what its receipt is made of."""

    pool: TrustedPool
    time: float
    """When they were given out for it, by the device's clock: a moment at which they verify."""


def make_receipt(use: Use, trust_file: bytes) -> Receipt:
    """Return the receipt of one request."""
    pool = use.pool
    return Receipt(
        time=int(use.time),
        origin=pool.core.origin,
        epoch=pool.epoch,
        core_digest=pool.core_digest.hex(),
        trust_digest=hashlib.sha256(trust_file).hexdigest(),
        bundle=pool.bundle,
    )


def write_receipt(path: Path, receipt: Receipt) -> None:
    """Write a receipt to a file of its own, whole or not at all."""
    data = msgspec.json.format(msgspec.json.encode(receipt)) + b"\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink()
            raise
    except OSError as exc:
        raise ConfigError(f"the receipt cannot be written to {path}: {exc.strerror}") from exc


class ReceiptFile:
    """The receipt of one request, written before any of the request is sent: without it, nothing is."""

    def __init__(self, path: Path, trust_file: bytes) -> None:
        """Raises ConfigError, before anything is asked, where there is another file or no folder."""
        if os.path.lexists(path):
            raise ConfigError(f"{path} exists already; a receipt replaces nothing: name another file with --receipt")
        if not path.parent.is_dir():
            raise ConfigError(f"there is no folder {path.parent} for the receipt; make it first")
        self._path = path
        self._trust_file = trust_file
        self._kept = 0

    def keep(self, use: Use) -> None:
        """Write down what the request is encapsulated for; of one that is sent anew, what it is then."""
        if self._kept:
            self._path.unlink(missing_ok=True)
        write_receipt(self._path, make_receipt(use, self._trust_file))
        self._kept += 1

    def unsent(self) -> None:
        """Remove what was written where nothing could be sent, unless the request was sent before."""
        if self._kept == 1:
            self._path.unlink(missing_ok=True)


def load_receipt(path: Path) -> Receipt:
    """Read a receipt; raises ConfigError for a file that is none, or whose parts are not of one request."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RECEIPT + 1)
        receipt = msgspec.json.decode(data, type=Receipt)
        bundle = parse_bundle(receipt.bundle)
        core = parse_core(bundle.core)
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, DecodeError):
        raise ConfigError(f"{path} is not a receipt of a version known here") from None
    stated = (receipt.origin, receipt.epoch, receipt.core_digest)
    if stated != (core.origin, core.epoch, core_digest(bundle.core).hex()):
        raise ConfigError(f"{path} was changed: what it says of the request is not what its bundle is of")
    return receipt
