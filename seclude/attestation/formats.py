"""The evidence formats that are verified here, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from seclude.attestation import nitro, nvidia, simulated, snp, tdx, tpm
from seclude.attestation.accept import Table
from seclude.attestation.evidence import (
    NITRO,
    NVIDIA,
    SEV_SNP,
    SIMULATED,
    TDX,
    TPM,
    TrustedReport,
    UnverifiedEvidence,
)
from seclude.attestation.steps import Observer, Step, Steps
from seclude.errors import EvidenceError, PolicyError


@dataclass(frozen=True, slots=True)
class Format:
    """One format: its steps, and the function that takes them."""

    titles: Mapping[int, str]
    stages: Mapping[int, int]
    """For each step, the step of `verify_bundle` that it is part of: 2 to 5."""
    verify: Callable[..., TrustedReport]
    """Takes a body, the format's own table of a policy, the time, and where to note the steps."""


FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        SEV_SNP: Format(snp.TITLES, snp.STAGES, snp.verify),
        TDX: Format(tdx.TITLES, tdx.STAGES, tdx.verify),
        NITRO: Format(nitro.TITLES, nitro.STAGES, nitro.verify),
        TPM: Format(tpm.TITLES, tpm.STAGES, tpm.verify),
        NVIDIA: Format(nvidia.TITLES, nvidia.STAGES, nvidia.verify),
        SIMULATED: Format(simulated.TITLES, simulated.STAGES, simulated.verify),
    }
)


class Progress:
    """How far the verification of one item has come, told in the stages of `verify_bundle`."""

    __slots__ = ("_passed", "_stages")

    def __init__(self, format_name: str) -> None:
        self._stages = FORMATS[format_name].stages
        self._passed: list[Step] = []

    def observe(self, step: Step) -> None:
        """Note a step that passed."""
        self._passed.append(step)

    def is_through(self, stage: int) -> bool:
        """Whether every step that is part of a stage, or of one before it, has passed."""
        passed = {step.number for step in self._passed}
        return all(number in passed for number, part in self._stages.items() if part <= stage)

    def found(self, stage: int) -> list[str]:
        """Return what the steps of one stage found."""
        return [step.found for step in self._passed if self._stages[step.number] == stage and step.found]


def verify_item(item: UnverifiedEvidence, table: Table, now: float, observe: Observer | None = None) -> TrustedReport:
    """Return what one item says, if every step of its format passes.

    What it binds, its age and its measurement are not judged here. An error names the format's own step in words, and
    carries the number of the step of `verify_bundle` that it is part of.
    """
    kind = FORMATS[item.format]
    try:
        return kind.verify(item.body, table, now, Steps(kind.titles, observe))
    except (EvidenceError, PolicyError) as exc:
        raise type(exc)(f"{item.format} step {exc.step}: {exc}", step=kind.stages[exc.step]) from exc
