"""The worker's configuration: what is measured, and the closed list of what is not.

`[measured]` decides whom the worker trusts and how it behaves; its canonical form is an entry of the manifest, so a
changed word is other software to every device. `[launch]` says only where things are on this machine.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from seclude.attestation.bundle import check_names
from seclude.attestation.policy import Policy, PolicyDocument
from seclude.attestation.policy import problems as policy_problems
from seclude.attestation.slots import MAX_PERIOD_SECONDS, MAX_T0, Slots
from seclude.daemon.command import DaemonConfig, listening_problems
from seclude.ohttp.chunked import MAX_CHUNK

if TYPE_CHECKING:
    from inference.pace import Pace

MODEL: Final = "model"
LANGUAGE: Final = "language"
SUMMARISER: Final = "summariser"


class LanguageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a language model serves several at once; it plays no part where none is installed."""

    slots: (
        Annotated[int, msgspec.Meta(ge=1, le=64, description="requests that write at once; null: four for each core")]
        | None
    ) = None  # steps of eight cost little more than steps of one; beyond, everybody's tokens come more slowly
    context: Annotated[
        int, msgspec.Meta(ge=256, le=1 << 17, description="tokens of a slot, if the model was taught with as many")
    ] = 4096  # a chat of a hundred messages and its answer; what is not used of it takes no memory
    threads: (
        Annotated[int, msgspec.Meta(ge=1, le=64, description="of the engine; null: a core less than there are")] | None
    ) = None  # the core that is left is for encapsulation, encoder and event loop
    waiting: Annotated[int, msgspec.Meta(ge=0, le=1024, description="requests in line for a slot, at most")] = 16
    wait_seconds: Annotated[
        float, msgspec.Meta(gt=0, le=60, description="who would wait longer for a slot is refused at once, with 503")
    ] = 3.0  # so that the line is gone soon after too many came at once
    most_tokens: Annotated[
        int, msgspec.Meta(ge=1, le=1024, description="of one answer, whatever a device asks for")
    ] = 1024  # a page and a half, and a slot is free again; the engine's own limit


class SummariserSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a summariser works; it plays no part where none is installed."""

    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1  # of one request's run; one of them runs at once


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What devices verify."""

    origin: Annotated[str, msgspec.Meta(min_length=1, description="the service the keys are made for")]
    t0: Annotated[int, msgspec.Meta(ge=0, le=MAX_T0, description="start of epoch 0, seconds since 1970 UTC")]
    period_seconds: Annotated[int, msgspec.Meta(ge=1, le=MAX_PERIOD_SECONDS, description="length of an epoch")]
    policy: Annotated[PolicyDocument, msgspec.Meta(description="whom this worker shares keys with")]
    renew_requests: Annotated[
        int, msgspec.Meta(ge=1, description="after so many a worker wishes to be started anew, as another can serve")
    ] = 100_000
    renew_minutes: Annotated[int, msgspec.Meta(ge=1, le=1 << 20, description="or after so long a time")] = 24 * 60
    replay_limit: Annotated[int, msgspec.Meta(ge=1, description="requests that one epoch may serve")] = 1_000_000
    model_threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    tasks_at_once: Annotated[int, msgspec.Meta(ge=1, le=64, description="requests that the models work on")] = 2
    max_inflight: Annotated[
        int, msgspec.Meta(ge=1, description="requests at once, until each is answered; more: 503")
    ] = 32
    chunk_bytes: Annotated[
        int, msgspec.Meta(ge=512, le=MAX_CHUNK, description="of every chunk of a streamed answer, before it is sealed")
    ] = 1024
    tick_milliseconds: Annotated[
        int, msgspec.Meta(ge=1, le=10_000, description="between two of them; hops give up after 30 seconds of silence")
    ] = 50
    language: LanguageSettings = LanguageSettings()
    summariser: SummariserSettings = SummariserSettings()
    lock_memory: bool = True  # so that no word of a request is written to swap; it needs leave of the machine

    def canonical(self) -> bytes:
        """Return the one encoding that the manifest hashes: JSON with sorted keys, defaults written out."""
        return msgspec.json.encode(self, order="sorted")

    @property
    def pace(self) -> "Pace":
        """Return how streamed answers leave."""
        from inference.pace import Pace  # the launch reads a configuration before anything of the worker runs

        return Pace(self.chunk_bytes, self.tick_milliseconds / 1000)

    def join_policy(self) -> Policy:
        """Return whom this worker shares keys with; what it measures is for the running worker to add."""
        slots = Slots(t0=self.t0, period_seconds=self.period_seconds)
        return Policy(origin=self.origin, slots=slots, document=self.policy)


class Attestation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where evidence comes from; whoever verifies it believes nothing of this unseen."""

    format: Literal["sev-snp", "tdx", "nitro", "tpm", "simulated"]
    beside: tuple[Literal["tpm"], ...] = ()
    platform: Annotated[str, msgspec.Meta(description="folder of the SIMULATED platform's key")] | None = None
    tpm: Annotated[str, msgspec.Meta(description="how the TPM is reached (TCTI)")] | None = None
    tpm_chain: Annotated[str, msgspec.Meta(description="PEM of the TPM's attestation key and above")] | None = None
    launches: Annotated[str, msgspec.Meta(description="file of the launches since boot; on a RAM disk")] | None = None
    tsm: Annotated[str, msgspec.Meta(description="configfs-tsm of the kernel")] | None = None
    privlevel: Annotated[int, msgspec.Meta(ge=0, le=3, description="VMPL to ask a SEV-SNP report for")] | None = None
    certificates: Annotated[str, msgspec.Meta(description="folder of VCEK, ASK and ARK")] | None = None
    collateral: Annotated[str, msgspec.Meta(description="folder of what the vendor publishes and renews")] | None = None
    nsm: Annotated[str, msgspec.Meta(description="Nitro Security Module")] | None = None

    def arguments(self) -> list[str]:
        """Return what the attest helper is started with."""
        options = {field: getattr(self, field) for field in self.__struct_fields__ if field not in ("format", "beside")}
        given = [(f"--{field.replace('_', '-')}", str(value)) for field, value in options.items() if value is not None]
        beside = [f"--also={each}" for each in self.beside]
        return ["--format", self.format, *beside, *(part for pair in given for part in pair)]


class Launch(DaemonConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where things are on this machine; none of it can change what the worker does."""

    model: Annotated[str, msgspec.Meta(description="folder with model.onnx and tokenizer.json")]
    language_model: Annotated[str, msgspec.Meta(description="folder of a decoder-only model")] | None = None
    summariser: Annotated[str, msgspec.Meta(description="folder of an encoder-decoder model")] | None = None
    manifest: Annotated[str, msgspec.Meta(description="the manifest that this worker must match to start")]
    attestation: Attestation
    listen: str = "127.0.0.1:0"
    admin: str = "127.0.0.1:0"

    @property
    def folders(self) -> dict[str, Path]:
        """Return where each model lies, by the word that its files' names begin with in the manifest."""
        places = {MODEL: self.model, LANGUAGE: self.language_model, SUMMARISER: self.summariser}
        return {word: Path(place) for word, place in places.items() if place is not None}


class WorkerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """worker.toml."""

    measured: Measured
    launch: Launch


def problems(config: WorkerConfig) -> Iterator[str]:
    """Find what is wrong beyond types and ranges."""
    yield from listening_problems(config.launch, "launch.")
    for problem in policy_problems(config.measured.policy, own=True):
        yield f"measured.policy: {problem}"
    names = check_names(config.measured.policy.role, config.measured.origin)
    if names is not None:
        yield f"measured.{names}"
