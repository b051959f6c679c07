"""The trust file: everything a device pins before it speaks to anybody (TOML).

It says which relays to use, which origin and time slots the keys must be made for, and which workers deserve
encryption: the roots their evidence must chain to and the measurements of the software that may run. It is public;
what matters is that it reaches the device by a way that the operator cannot choose per person, such as the app itself.
"""

import base64
import tomllib
from pathlib import Path
from typing import Annotated, Final

import msgspec

from seclude.attestation.policy import Policy
from seclude.attestation.slots import Slots
from seclude.errors import ConfigError

MAX_RELAYS: Final = 8  # each may cost a connection's time before the next is tried
MAX_TRUST_FILE: Final = 1 << 20  # octets; a real one has a few kilobytes, so anything larger is another file


Address = Annotated[str, msgspec.Meta(pattern="^https?://")]


class SlotTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pinned division of time into epochs."""

    t0: Annotated[int, msgspec.Meta(ge=0, description="start of epoch 0, seconds since 1970 UTC")]
    period_seconds: Annotated[int, msgspec.Meta(ge=1, description="length of every epoch")]


class EvidenceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What evidence must show."""

    measurements: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, description="accepted software, hexadecimal")]
    simulated_roots: Annotated[
        tuple[str, ...], msgspec.Meta(min_length=1, description="accepted roots of SIMULATED hardware, base64 of DER")
    ]
    minimum_firmware: Annotated[int, msgspec.Meta(ge=0, description="lowest accepted firmware level")] = 1
    max_age_seconds: Annotated[int, msgspec.Meta(ge=1, description="oldest accepted evidence")] = 2 * 86_400


class Trust(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A parsed trust file."""

    origin: Annotated[str, msgspec.Meta(min_length=1, description="the service that the keys are made for")]
    relays: Annotated[
        tuple[Address, ...],
        msgspec.Meta(min_length=1, max_length=MAX_RELAYS, description="where requests are posted, to one at random"),
    ]
    slots: SlotTable
    evidence: EvidenceTable
    role: Annotated[str, msgspec.Meta(min_length=1, description="what the workers are attested to do")] = "worker"
    gateway: Address | None = None
    """Where keys are fetched to compare them with what the relays give; asked only when a person says so."""

    def policy(self) -> Policy:
        """Return what a bundle is verified against; raises ConfigError where a digest or a root is malformed."""
        try:
            measurements = frozenset(bytes.fromhex(text) for text in self.evidence.measurements)
        except ValueError:
            raise ConfigError("trust file: evidence.measurements must be hexadecimal digests") from None
        try:
            roots = tuple(base64.b64decode(text, validate=True) for text in self.evidence.simulated_roots)
        except ValueError:  # binascii.Error, and Python's own where a letter is not ASCII
            raise ConfigError("trust file: evidence.simulated_roots must be base64") from None
        return Policy(
            role=self.role,
            origin=self.origin,
            slots=Slots(t0=self.slots.t0, period_seconds=self.slots.period_seconds),
            measurements=measurements,
            simulated_roots=roots,
            minimum_firmware=self.evidence.minimum_firmware,
            max_evidence_age_seconds=self.evidence.max_age_seconds,
        )


def parse_trust(text: str) -> Trust:
    """Return the trust that a TOML text states; raises ConfigError that names the key at fault."""
    try:
        return msgspec.convert(tomllib.loads(text), Trust)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"trust file is not TOML: {exc}") from exc
    except RecursionError:
        raise ConfigError("trust file is not TOML that can be read: it is nested too deeply") from None
    except msgspec.ValidationError as exc:
        raise ConfigError(f"trust file: {exc}") from exc


def load_trust(path: Path) -> Trust:
    """Read a trust file; raises ConfigError that says what to do."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TRUST_FILE + 1)
        text = data.decode()
    except OSError as exc:
        raise ConfigError(f"cannot read the trust file {path}: {exc.strerror}; name one with --trust FILE") from exc
    except UnicodeDecodeError:
        raise ConfigError(f"the trust file {path} is not text") from None
    if len(data) > MAX_TRUST_FILE:
        raise ConfigError(f"the trust file {path} is larger than {MAX_TRUST_FILE} octets")
    return parse_trust(text)


def render_trust(trust: Trust) -> str:
    """Return the TOML text of a trust file, as an operator publishes it."""

    def array(items: tuple[str, ...]) -> str:
        return "[\n" + "".join(f'  "{item}",\n' for item in items) + "]"

    gateway = [] if trust.gateway is None else [f'gateway = "{trust.gateway}"']
    return "\n".join(
        [
            "# Seclude trust file: what a device pins. Its root stands for SIMULATED hardware and proves no machine.",
            f'origin = "{trust.origin}"',
            f"relays = {array(trust.relays)}",
            *gateway,
            f'role = "{trust.role}"',
            "",
            "[slots]",
            f"t0 = {trust.slots.t0}",
            f"period_seconds = {trust.slots.period_seconds}",
            "",
            "[evidence]",
            f"minimum_firmware = {trust.evidence.minimum_firmware}",
            f"max_age_seconds = {trust.evidence.max_age_seconds}",
            f"measurements = {array(trust.evidence.measurements)}",
            f"simulated_roots = {array(trust.evidence.simulated_roots)}",
            "",
        ]
    )
