"""A policy in words: what must be true of a machine before anything is sent to it, a sentence for each rule."""

from collections.abc import Iterator
from typing import Final

from seclude.attestation.accept import Bit, LedgerTable, NitroTable, SimulatedTable, SnpTable, Table, TdxTable, TpmTable
from seclude.attestation.pins import open_ledger
from seclude.attestation.policy import PolicyDocument, Production

OWN: Final = "its own (this is the policy of a worker)"
SNP_BITS: Final = {
    "smt": "threads of two guests may share a core",
    "single_socket": "the guest stays on one socket",
    "cxl": "CXL devices may be given memory",
    "aes_256_xts": "memory is encrypted with AES-256-XTS",
    "rapl_disabled": "the power meter is off, which could spell out secrets",
    "ciphertext_hiding": "the host cannot read ciphertext of memory",
    "alias_check_complete": "memory was checked for aliases at boot",
}
TDX_BITS: Final = {
    "sept_ve_disable": "the host cannot take pages away unseen",
    "perfmon": "performance counters work inside",
    "pks": "supervisor protection keys work inside",
    "key_locker": "Key Locker works inside",
}
WISHES: Final = {Bit.REQUIRE: "must be so", Bit.ALLOW: "may or may not be so", Bit.FORBID: "must not be so"}


def explain_policy(document: PolicyDocument) -> Iterator[str]:
    """Yield what a policy asks, a sentence at a time."""
    if isinstance(document, Production):
        yield "This is a PRODUCTION policy: simulated hardware and a TPM alone are never accepted."
    else:
        yield "This is a DEMONSTRATION policy: it may accept what proves nothing. Send nothing private under it."
    logged = document.ledger is not None
    yield f'The software must be for the role "{document.role}" and have one of these manifests:'
    yield from _listed(document.manifests, "any that the ledger releases" if logged else OWN)
    if document.ledger is not None:
        yield from _explain_ledger(document.ledger)
    yield "The platform must give evidence of one of these formats, and never one that allows debugging:"
    for name, table in document.platforms().items():
        yield f"{name}:"
        yield from (f"  {line}" for line in _explain_table(table))
    for name, table in document.additions().items():
        yield f"Beside it there must be evidence of format {name}, for the same keys:"
        yield from (f"  {line}" for line in _explain_table(table))
    age = document.max_age_seconds
    yield f"Evidence may be {f'{age} seconds' if age else 'three periods'} old,"
    yield f"and {document.clock_skew_seconds} seconds ahead of this clock."


def _explain_ledger(table: LedgerTable) -> Iterator[str]:
    ledger = open_ledger(table)
    yield f"Its keys must be leaf n of the log {ledger.keys_log.name} for epoch n, where everybody sees the same."
    yield f"It must be released for this role in the newest snapshot of {ledger.state_log.name}, signed by two of:"
    yield from (f"  {key.name}" for key in ledger.publishers)
    if ledger.maturity_seconds:
        hours = ledger.maturity_seconds / 3600
        yield f"and have stood there for {hours:g} hours already, so that others could look at it first."
    else:
        yield "It may be used from the moment that it stands there: nobody has the time to look at it first."
    yield f"Both logs must be cosigned by {ledger.quorum}:"
    yield from (f"  {witness.name}: {witness.key.name}" for witness in ledger.quorum.witnesses)


def _explain_table(table: Table) -> Iterator[str]:
    match table:
        case SnpTable():
            yield from _explain_snp(table)
        case TdxTable():
            yield from _explain_tdx(table)
        case NitroTable():
            yield "AWS Nitro Enclaves, signed under Amazon's root"
            yield from _allowed("image", table.measurements, "its own")
            yield from _allowed("parent instance (PCR4)", table.parents, "any")
            yield from _allowed("signer of the image (PCR8)", table.signers, "any")
        case TpmTable():
            yield f"a key of a TPM that one of {len(table.roots)} pinned authorities certified; it encrypts no memory"
            yield from (f"PCR {number} is {value}" for number, value in sorted(table.pcrs.items()))
            yield from _allowed("attestation key", table.keys, "any that they certified")
        case SimulatedTable():
            yield f"SIMULATED hardware under one of {len(table.roots)} pinned roots: it proves nothing about a machine"
            yield f"of firmware level {table.minimum_firmware} or higher"
        case _:
            yield "a GPU of NVIDIA's that signed the same keys; what it measures is not judged"


def _explain_snp(table: SnpTable) -> Iterator[str]:
    yield f"AMD SEV-SNP on {', '.join(table.products)}, under the chip's own key (VCEK) and AMD's root"
    for product, levels in table.minimum_tcb.items():
        least = ", ".join(f"{name} {getattr(levels, name)}" for name in levels.__struct_fields__)
        yield f"firmware on {product} at least: {least}"
    yield from _allowed("launch measurement", table.measurements, "its own")
    yield from _allowed("chip", table.chips, "any")
    yield f"at privilege level (VMPL) {table.vmpl}, guest version at least {table.minimum_guest_svn}"
    yield from _bits(table, SNP_BITS)


def _explain_tdx(table: TdxTable) -> Iterator[str]:
    yield f"Intel TDX of status {' or '.join(table.statuses)}, under Intel's root"
    yield f"judged by collateral of evaluation {table.minimum_tcb_evaluation} or later"
    yield from _allowed("measurement", table.measurements, "its own")
    yield from _allowed("chip (PPID)", table.chips, "any")
    yield from _bits(table, TDX_BITS)


def _bits(table: Table, words: dict[str, str]) -> Iterator[str]:
    for field, meaning in words.items():
        yield f"{field}: {meaning}: {WISHES[getattr(table, field)]}"


def _allowed(what: str, values: tuple[str, ...], otherwise: str) -> Iterator[str]:
    if not values:
        yield f"{what}: {otherwise}"
    for value in values:
        yield f"{what}: {value}"


def _listed(values: tuple[str, ...], otherwise: str) -> Iterator[str]:
    yield from (f"  {value}" for value in values or (otherwise,))
