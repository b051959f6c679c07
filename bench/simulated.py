"""SIMULATED hardware inside this process, for what is measured or tested without a worker's attest helper.

The evidence is made by the code that makes it in the helper, and is worth as little: `producers/simulated.py`.
"""

from collections.abc import Callable

from inference.attesting import attest
from inference.producers.simulated import SimulatedPlatform, SimulatedProducer
from seclude.attestation.accept import SimulatedTable
from seclude.attestation.policy import Demonstration


class SimulatedHere:
    """Attests as `inference.keyring.Attests` wants it, at once."""

    __slots__ = ("_producer",)

    def __init__(self, platform: SimulatedPlatform, measurement: bytes, clock: Callable[[], float]) -> None:
        self._producer = SimulatedProducer(platform, measurement, clock)

    async def attest(self, report_data: bytes) -> bytes:
        """Return evidence that binds 64 octets, dated now."""
        return attest([self._producer], report_data)


def simulated_evidence(platform: SimulatedPlatform, measurement: bytes, report_data: bytes, now: float) -> bytes:
    """Return evidence of software that need not exist, dated at will."""
    return attest([SimulatedProducer(platform, measurement, lambda: now)], report_data)


def simulated_policy(
    *platforms: SimulatedPlatform, manifests: tuple[bytes, ...] = (), role: str = "worker"
) -> Demonstration:
    """Return a policy that accepts these manifests on these platforms."""
    table = SimulatedTable(roots=tuple(platform.root for platform in platforms))
    return Demonstration(role=role, manifests=tuple(digest.hex() for digest in manifests), simulated=table)
