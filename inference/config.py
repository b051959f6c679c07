"""The worker's configuration: what is measured, and the closed list of what is not.

`[measured]` decides whom the worker trusts and how it behaves; its canonical form is an entry of the manifest, so a
changed word is other software to every device. `[launch]` says only where things are on this machine.
"""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from inference.pace import Pace
from seclude.attestation.bundle import check_names
from seclude.attestation.policy import MAX_ROOT, MAX_ROOTS, MAX_U32, Policy
from seclude.attestation.simulated import load_root
from seclude.attestation.slots import MAX_PERIOD_SECONDS, MAX_T0, Slots
from seclude.daemon.command import DaemonConfig, listening_problems
from seclude.errors import ConfigError
from seclude.ohttp.chunked import MAX_CHUNK

Root = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_ROOT)]


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What devices verify."""

    origin: Annotated[str, msgspec.Meta(min_length=1, description="the service the keys are made for")]
    t0: Annotated[int, msgspec.Meta(ge=0, le=MAX_T0, description="start of epoch 0, seconds since 1970 UTC")]
    period_seconds: Annotated[int, msgspec.Meta(ge=1, le=MAX_PERIOD_SECONDS, description="length of an epoch")]
    simulated_roots: Annotated[
        tuple[Root, ...], msgspec.Meta(min_length=1, max_length=MAX_ROOTS, description="base64 of DER certificates")
    ]
    role: str = "worker"
    minimum_firmware: Annotated[int, msgspec.Meta(ge=0, le=MAX_U32)] = 1
    replay_limit: Annotated[int, msgspec.Meta(ge=1, description="requests that one epoch may serve")] = 1_000_000
    model_threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    tasks_at_once: Annotated[int, msgspec.Meta(ge=1, le=64, description="requests that the models work on")] = 2
    max_inflight: Annotated[int, msgspec.Meta(ge=1, description="requests at once; more are refused with 503")] = 32
    chunk_bytes: Annotated[
        int, msgspec.Meta(ge=512, le=MAX_CHUNK, description="of every chunk of a streamed answer, before it is sealed")
    ] = 1024
    tick_milliseconds: Annotated[
        int, msgspec.Meta(ge=1, le=10_000, description="between two of them; hops give up after 30 seconds of silence")
    ] = 50

    def canonical(self) -> bytes:
        """Return the one encoding that the manifest hashes: JSON with sorted keys, defaults written out."""
        return msgspec.json.encode(self, order="sorted")

    @property
    def pace(self) -> Pace:
        """Return how streamed answers leave."""
        return Pace(self.chunk_bytes, self.tick_milliseconds / 1000)

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


class Launch(DaemonConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where things are on this machine; none of it can change what the worker does."""

    model: Annotated[str, msgspec.Meta(description="folder with model.onnx and tokenizer.json")]
    platform: Annotated[str, msgspec.Meta(description="folder of the SIMULATED platform's key and certificates")]
    manifest: Annotated[str, msgspec.Meta(description="the manifest that this worker must match to start")]
    listen: str = "127.0.0.1:0"
    admin: str = "127.0.0.1:0"


class WorkerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """worker.toml."""

    measured: Measured
    launch: Launch


def problems(config: WorkerConfig) -> Iterator[str]:
    """Find what is wrong beyond types and ranges."""
    yield from listening_problems(config.launch, "launch.")
    for place, root in enumerate(config.measured.simulated_roots):
        try:
            load_root(root)
        except ConfigError as exc:
            yield f"measured.simulated_roots[{place}]: {exc}"
    names = check_names(config.measured.role, config.measured.origin)
    if names is not None:
        yield f"measured.{names}"
