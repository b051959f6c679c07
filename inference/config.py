"""The worker's configuration: what is measured, and the closed list of what is not.

`[measured]` decides whom the worker trusts and how it behaves; its canonical form is an entry of the manifest, so a
changed word is other software to every device. `[launch]` says only where things are on this machine.
"""

from typing import Annotated

import msgspec

from seclude.attestation.policy import Policy
from seclude.attestation.slots import Slots

Positive = Annotated[int, msgspec.Meta(ge=1)]


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What devices verify."""

    origin: Annotated[str, msgspec.Meta(min_length=1, description="the service the keys are made for")]
    t0: Annotated[int, msgspec.Meta(ge=0, description="start of epoch 0, seconds since 1970 UTC")]
    period_seconds: Positive
    simulated_roots: Annotated[tuple[bytes, ...], msgspec.Meta(min_length=1, description="base64 of DER certificates")]
    role: str = "worker"
    minimum_firmware: Annotated[int, msgspec.Meta(ge=0)] = 1
    replay_limit: Annotated[int, msgspec.Meta(ge=1, description="requests that one epoch may serve")] = 1_000_000
    model_threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    tasks_at_once: Annotated[int, msgspec.Meta(ge=1, le=64, description="requests that the models work on")] = 2
    max_inflight: Annotated[int, msgspec.Meta(ge=1, description="requests at once; more are refused with 503")] = 64

    def canonical(self) -> bytes:
        """Return the one encoding that the manifest hashes: JSON with sorted keys, defaults written out."""
        return msgspec.json.encode(self, order="sorted")

    def policy(self, measurement: bytes) -> Policy:
        """Return whom this worker shares keys with: its own measurement, under the pinned roots."""
        return Policy(
            role=self.role,
            origin=self.origin,
            slots=Slots(t0=self.t0, period_seconds=self.period_seconds),
            measurements=frozenset({measurement}),
            simulated_roots=self.simulated_roots,
            minimum_firmware=self.minimum_firmware,
            max_evidence_age_seconds=3 * self.period_seconds,  # a key is born, encrypts and opens once more within this
        )


class Launch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where things are on this machine; none of it can change what the worker does."""

    model: Annotated[str, msgspec.Meta(description="folder with model.onnx and tokenizer.json")]
    platform: Annotated[str, msgspec.Meta(description="folder of the SIMULATED platform's key and certificates")]
    manifest: Annotated[str, msgspec.Meta(description="the manifest that this worker must match to start")]
    listen: str = "127.0.0.1:0"
    admin: str = "127.0.0.1:0"
    insecure_plaintext: Annotated[bool, msgspec.Meta(description="listen beyond loopback without TLS")] = False
    drain_timeout_seconds: Annotated[float, msgspec.Meta(ge=0)] = 30.0


class WorkerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """worker.toml."""

    measured: Measured
    launch: Launch
