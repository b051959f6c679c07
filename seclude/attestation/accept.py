"""What is accepted of each evidence format: the tables of a policy, as its readers write them.

A table says what may vary. What may never vary is no key of it: no table can accept a debug machine, a migration agent,
an unknown root or a report whose signature fails. Lists without a default must be written and must not be empty;
`policy.py` says which may be left out in which policy. Octets are hexadecimal in lower case.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec

MAX_ROOT: Final = 2048  # octets of DER; a vendor's root of RSA-4096 takes 1.7 KiB
MAX_LIST: Final = 4096  # chips or measurements; a pool of that many machines is beyond what one policy should name

CHIP_DIGITS: Final = MappingProxyType({"sev-snp": (128, 16), "tdx": (32,)})  # hwID, shorter on Turin; and PPID
MAX_QUORUM: Final = 16_384  # octets; eight witnesses with ML-DSA-44 keys of 1.8 KiB in base64

Vkey = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]  # C2SP signed-note; ML-DSA-44 takes 1,776 octets
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Sha384 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{96}\Z")]
Octets = Annotated[str, msgspec.Meta(pattern=r"^(?:[0-9a-f]{2}){1,64}\Z")]
Level = Annotated[int, msgspec.Meta(ge=0, le=255)]
Root = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_ROOT)]


class Bit(StrEnum):
    """What a policy wants of one bit that a machine states about itself."""

    REQUIRE = "require"
    ALLOW = "allow"
    FORBID = "forbid"


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=False):
    """A table of a policy."""


class SnpTcb(Table, frozen=True, kw_only=True):
    """Lowest accepted security patch levels of AMD's firmware (SEV-SNP ABI, TCB_VERSION)."""

    bootloader: Level = 0
    tee: Level = 0
    snp: Level = 0
    microcode: Level = 0
    fmc: Level = 0
    """Turin only; older chips have none."""


SnpProduct = Literal["milan", "genoa", "turin"]


class SnpTable(Table, frozen=True, kw_only=True):
    """`[sev-snp]`: AMD SEV-SNP, guests under a VCEK; VLEK is refused, since one broken chip leaks a fleet's key."""

    products: Annotated[tuple[SnpProduct, ...], msgspec.Meta(min_length=1, max_length=3)] = ("genoa", "turin")
    """Milan is not among the defaults: its root seed was extracted in software (arXiv 2605.12990)."""
    minimum_tcb: dict[SnpProduct, SnpTcb]
    """For each accepted product; the level is that of the certificate, never the report's own word."""
    measurements: Annotated[tuple[Sha384, ...], msgspec.Meta(max_length=MAX_LIST)] = ()
    """Launch digests; empty in a worker's own policy, which accepts its own and no other."""
    chips: Annotated[tuple[Octets, ...], msgspec.Meta(max_length=MAX_LIST)] = ()
    """Chip identifiers (hwID of the VCEK): 64 octets, 8 on Turin."""
    vmpl: Annotated[int, msgspec.Meta(ge=0, le=3)] = 0
    minimum_guest_svn: Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)] = 0
    smt: Bit = Bit.ALLOW
    single_socket: Bit = Bit.ALLOW
    cxl: Bit = Bit.FORBID
    aes_256_xts: Bit = Bit.ALLOW
    rapl_disabled: Bit = Bit.ALLOW
    ciphertext_hiding: Bit = Bit.ALLOW
    alias_check_complete: Bit = Bit.ALLOW


TdxStatus = Literal["UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded"]


class TdxTable(Table, frozen=True, kw_only=True):
    """`[tdx]`: Intel TDX, with Intel's collateral for the platform."""

    measurements: Annotated[tuple[Sha384, ...], msgspec.Meta(max_length=MAX_LIST)] = ()
    """SHA-384 over the trust domain's registers, as `seclude evidence show` prints it; empty in a worker's policy."""
    chips: Annotated[tuple[Octets, ...], msgspec.Meta(max_length=MAX_LIST)] = ()
    """PPIDs of the PCK certificates, 16 octets each."""
    statuses: Annotated[tuple[TdxStatus, ...], msgspec.Meta(min_length=1)] = ("UpToDate",)
    minimum_tcb_evaluation: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Lowest accepted tcbEvaluationDataNumber of the collateral."""
    sept_ve_disable: Bit = Bit.REQUIRE
    perfmon: Bit = Bit.FORBID
    pks: Bit = Bit.FORBID
    key_locker: Bit = Bit.FORBID


class NitroTable(Table, frozen=True, kw_only=True):
    """`[nitro]`: AWS Nitro Enclaves."""

    measurements: Annotated[tuple[Sha384, ...], msgspec.Meta(max_length=MAX_LIST)] = ()
    """SHA-384 over PCR0, PCR1 and PCR2; empty in a worker's own policy."""
    parents: Annotated[tuple[Sha384, ...], msgspec.Meta(max_length=MAX_LIST)] = ()
    """Accepted PCR4, which names the parent instance; empty accepts any."""
    signers: Annotated[tuple[Sha384, ...], msgspec.Meta(max_length=MAX_LIST)] = ()
    """Accepted PCR8, which names who signed the image; empty accepts any."""


class TpmTable(Table, frozen=True, kw_only=True):
    """`[tpm]`: a TPM 2.0 beside the platform. It proves what was launched, and encrypts no memory."""

    roots: Annotated[tuple[Root, ...], msgspec.Meta(min_length=1, max_length=8)]
    """DER of the authorities that certify attestation keys, base64."""
    pcrs: dict[str, Sha256] = {}
    """Values of the SHA-256 bank by number, for what booted before the worker."""
    keys: Annotated[tuple[Sha256, ...], msgspec.Meta(max_length=MAX_LIST)] = ()
    """SHA-256 of the SubjectPublicKeyInfo of accepted attestation keys; empty accepts all that the roots certify."""


class NvidiaTable(Table, frozen=True, kw_only=True):
    """`[nvidia]`: a GPU's report beside the platform: its signature and chain. Its measurements are not judged."""


class LedgerTable(Table, frozen=True, kw_only=True):
    """`[ledger]`: where software and keys must stand for everybody to see. It takes the place of lists of software."""

    keys_log: Vkey
    """The log of the service's keys, whose leaf n is epoch n."""
    state_log: Vkey
    """The log of what is released and revoked."""
    publishers: Annotated[tuple[Vkey, ...], msgspec.Meta(min_length=1, max_length=8)]
    """Who signs what stands in it; a release takes two of them."""
    witnesses: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_QUORUM)]
    """Who must have cosigned a checkpoint, and how many of them: a text of C2SP tlog-policy without its log lines."""
    maturity_seconds: Annotated[int, msgspec.Meta(ge=0, le=30 * 86_400)] = 86_400
    """For how long a release must have stood there before anything is sent to it, so that others could look first."""
    max_checkpoint_age_seconds: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Oldest accepted cosignature; two periods unless said otherwise, from when keys are announced until they rest."""


class SimulatedTable(Table, frozen=True, kw_only=True):
    """`[simulated]`: SIMULATED hardware, which proves nothing against the owner of the machine."""

    roots: Annotated[tuple[Root, ...], msgspec.Meta(min_length=1, max_length=8)]
    """DER of roots of simulated platforms, base64."""
    minimum_firmware: Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)] = 1
