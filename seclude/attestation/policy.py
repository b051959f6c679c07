"""What evidence must show before anyone encrypts to a worker or shares a key with it.

One document says it for devices, for the members of a pool and for auditors alike (TOML; `docs/policy.md`). It is of
one of two kinds, and the kind is a type. A *production* policy has no place for simulated evidence, and none of its
formats stands alone unless it encrypts memory; a *demonstration* policy has both. Neither can accept debug machines.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Final, Self

import msgspec
from msgspec.structs import replace as replace_fields

from seclude.attestation import simulated
from seclude.attestation.accept import (
    CHIP_DIGITS,
    LedgerTable,
    NitroTable,
    NvidiaTable,
    Sha256,
    SimulatedTable,
    SnpTable,
    SnpTcb,
    Table,
    TdxTable,
    TpmTable,
)
from seclude.attestation.bundle import DIGEST_BYTES, check_names
from seclude.attestation.certificates import load_certificate
from seclude.attestation.evidence import NITRO, NVIDIA, SEV_SNP, SIMULATED, TDX, TPM
from seclude.attestation.pins import Ledger, ledger_problems, open_ledger
from seclude.attestation.slots import MAX_PERIOD_SECONDS, Slots
from seclude.attestation.snapshot import Snapshot
from seclude.attestation.tpm import PINNABLE
from seclude.errors import ConfigError, EvidenceError

MAX_SKEW_SECONDS: Final = 300  # more than any clock that is kept by NTP is ever wrong
ANNOUNCED_PERIODS: Final = 2  # from when a slot's keys are announced until they encrypt no more
LIVE_PERIODS: Final = 3  # a key is made in the slot before its own and opens for one slot after it
MAX_AGE_SECONDS: Final = LIVE_PERIODS * MAX_PERIOD_SECONDS  # no key lives for longer
PRODUCTION: Final = "production"
DEMONSTRATION: Final = "demonstration"


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"sev_snp": SEV_SNP}):
    """What both kinds of policy can say."""

    role: str = "worker"
    """What the software is for: evidence for one role is worth nothing in another."""
    manifests: tuple[Sha256, ...] = ()
    """SHA-256 of the manifests of accepted software; empty in a worker's own policy, which accepts its own."""
    max_age_seconds: Annotated[int, msgspec.Meta(ge=1, le=MAX_AGE_SECONDS)] | None = None
    """Oldest accepted evidence; three periods unless said otherwise, the life of a key."""
    clock_skew_seconds: Annotated[int, msgspec.Meta(ge=0, le=MAX_SKEW_SECONDS)] = 30
    """How far in the future evidence may seem to be dated."""
    ledger: LedgerTable | None = None
    """Where software and keys must be public; a demonstration may do without, and then names its manifests."""
    sev_snp: SnpTable | None = None
    tdx: TdxTable | None = None
    nitro: NitroTable | None = None
    tpm: TpmTable | None = None
    nvidia: NvidiaTable | None = None

    def platforms(self) -> dict[str, Table]:
        """Return the formats of platforms that encrypt memory; evidence is of exactly one of them."""
        found = {SEV_SNP: self.sev_snp, TDX: self.tdx, NITRO: self.nitro}
        return {name: table for name, table in found.items() if table is not None}

    def additions(self) -> dict[str, Table]:
        """Return the formats that must come beside it."""
        found = {TPM: self.tpm, NVIDIA: self.nvidia}
        return {name: table for name, table in found.items() if table is not None}


class Production(Document, frozen=True, forbid_unknown_fields=True, tag_field="purpose", tag=PRODUCTION):
    """A policy for people's messages."""


class Demonstration(Document, frozen=True, forbid_unknown_fields=True, tag_field="purpose", tag=DEMONSTRATION):
    """A policy for trying things out: it may also accept what proves nothing, or encrypts nothing."""

    simulated: SimulatedTable | None = None

    def platforms(self) -> dict[str, Table]:
        """Return the formats of platforms: simulated ones as well, and a TPM where there is nothing else."""
        found = super().platforms()
        if self.simulated is not None:
            found[SIMULATED] = self.simulated
        if not found and self.tpm is not None:
            found[TPM] = self.tpm
        return found

    def additions(self) -> dict[str, Table]:
        """Return the formats that must come beside it."""
        found = super().additions()
        if self.platforms().keys() == {TPM}:
            del found[TPM]
        return found


PolicyDocument = Production | Demonstration


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is accepted; one that would accept nothing, or anything, is a `ConfigError`."""

    origin: str
    slots: Slots
    document: PolicyDocument

    def __post_init__(self) -> None:
        problem = check_names(self.document.role, self.origin)
        if problem is not None:
            raise ConfigError(f"policy: {problem}")
        for problem in problems(self.document, own=True):
            raise ConfigError(f"policy: {problem}")

    @property
    def role(self) -> str:
        """What the accepted software is for."""
        return self.document.role

    @property
    def manifests(self) -> frozenset[bytes]:
        """SHA-256 digests of the manifests that may run in this role."""
        return frozenset(bytes.fromhex(text) for text in self.document.manifests)

    @property
    def max_evidence_age_seconds(self) -> int:
        """The oldest evidence that is accepted."""
        return self.document.max_age_seconds or min(LIVE_PERIODS * self.slots.period_seconds, MAX_AGE_SECONDS)

    @property
    def max_core_age_seconds(self) -> int:
        """The oldest checkpoint that a core may bind: a little older than evidence, since it was there before."""
        return self.max_evidence_age_seconds + self.clock_skew_seconds

    @property
    def clock_skew_seconds(self) -> int:
        """How far in the future evidence may seem to be dated."""
        return self.document.clock_skew_seconds

    @property
    def ledger(self) -> Ledger | None:
        """Where software and keys must be public, if the policy asks for that."""
        return None if self.document.ledger is None else open_ledger(self.document.ledger)

    @property
    def max_checkpoint_age_seconds(self) -> int:
        """The oldest cosignatures that are accepted."""
        given = None if self.ledger is None else self.ledger.max_checkpoint_age_seconds
        return given or ANNOUNCED_PERIODS * self.slots.period_seconds + self.clock_skew_seconds

    def under(self, snapshot: Snapshot, manifest: bytes) -> Self:
        """Return what a policy with a ledger accepts of one software, by what the state log says of it.

        What the policy names itself still counts. Software and images must then be in both; chips that it names take
        the place of the snapshot's.
        """
        release = snapshot.release(self.role, manifest)
        listed = () if release is None else (manifest.hex(),)
        own = self.document.manifests
        document = replace_fields(self.document, manifests=tuple(each for each in own or listed if each in listed))
        for name, table in document.platforms().items():
            changed: dict[str, tuple[str, ...]] = {}
            if hasattr(table, "measurements"):
                images = () if release is None else release.images(name)
                changed["measurements"] = tuple(each for each in table.measurements or images if each in images)
            if hasattr(table, "chips"):
                changed["chips"] = table.chips or snapshot.chips_of(name)
            document = replace_fields(document, **{name.replace("-", "_"): replace_fields(table, **changed)})
        return replace(self, document=document)

    @property
    def launched(self) -> Mapping[str, bytes]:
        """The image that `for_launch` left, by the format that measured it; empty where none measures one."""
        tables = self.document.platforms().items()
        return {name: bytes.fromhex(image) for name, table in tables for image in getattr(table, "measurements", ())}

    def for_launch(self, launched: Mapping[str, bytes]) -> Self:
        """Return a policy that accepts no image of a machine but these, by the format that measured each."""
        document = self.document
        for name, table in document.platforms().items():
            if hasattr(table, "measurements"):
                images = (launched[name].hex(),) if name in launched else ()
                own = replace_fields(table, measurements=images)
                document = replace_fields(document, **{name.replace("-", "_"): own})
        return replace(self, document=document)

    def for_measurement(self, manifest: bytes) -> Self:
        """Return the policy of a worker, which shares keys with its own software and no other."""
        if len(manifest) != DIGEST_BYTES:
            raise ConfigError("policy: a manifest's digest is not a SHA-256")
        if self.max_evidence_age_seconds < LIVE_PERIODS * self.slots.period_seconds:
            raise ConfigError(f"policy: max_age_seconds must be at least {LIVE_PERIODS} periods, the life of a key")
        return replace(self, document=replace_fields(self.document, manifests=(manifest.hex(),)))


def problems(document: PolicyDocument, *, own: bool = False) -> Iterator[str]:
    """Find what is wrong beyond types and ranges; `own` is for a worker, which completes its measurements itself."""
    platforms = document.platforms()
    if not platforms:
        alone = " TPM evidence alone is not enough: a TPM encrypts no memory." if document.tpm is not None else ""
        yield f"no platform is accepted; add [sev-snp], [tdx] or [nitro].{alone}"
    if isinstance(document, Production) and document.ledger is None:
        yield "[ledger] is missing: software and keys that only one person is shown would be believed"
    logged = document.ledger is not None  # it names software, images and chips
    if not own and not logged and not document.manifests:
        yield "manifests is empty: name the software that is accepted, or a [ledger] that does"
    for name, table in platforms.items():
        if not own and not logged and not getattr(table, "measurements", ("none of its own",)):
            yield f"{name}.measurements is empty: name the images that are accepted"
        if isinstance(document, Production) and not logged and not getattr(table, "chips", ("has none",)):
            yield f"{name}.chips is empty: a key taken from any chip in the world would be believed"
    if document.ledger is not None:
        yield from ledger_problems(document.ledger)
    yield from _chip_problems(document)
    yield from _tpm_problems(document)
    yield from _root_problems(document)


def _chip_problems(document: PolicyDocument) -> Iterator[str]:
    """Find floors that are missing, and chips that none can be."""
    if (snp := document.sev_snp) is not None:
        for product in snp.products:
            floor = snp.minimum_tcb.get(product)
            if floor is None or (isinstance(document, Production) and floor == SnpTcb()):
                yield f"sev-snp.minimum_tcb has no level for {product}: old firmware would be believed"
        if any(len(chip) not in CHIP_DIGITS[SEV_SNP] for chip in snp.chips):
            yield "sev-snp.chips must have 64 octets, or 8 on Turin"
    if document.tdx is not None and any(len(chip) not in CHIP_DIGITS[TDX] for chip in document.tdx.chips):
        yield "tdx.chips must have 16 octets, a PPID's"


def _tpm_problems(document: PolicyDocument) -> Iterator[str]:
    for number in document.tpm.pcrs if document.tpm is not None else ():
        if number not in PINNABLE:
            yield f"tpm.pcrs has a key that no quote covers: {number!a}; those are 0 to 7 and 14"


def _root_problems(document: PolicyDocument) -> Iterator[str]:
    for place, root in enumerate(document.tpm.roots if document.tpm is not None else ()):
        try:
            load_certificate(root, "root")
        except EvidenceError as exc:
            yield f"tpm.roots[{place}]: {exc}"
    if isinstance(document, Demonstration) and document.simulated is not None:
        for place, root in enumerate(document.simulated.roots):
            try:
                simulated.load_root(root)
            except ConfigError as exc:
                yield f"simulated.roots[{place}]: {exc}"
