"""The trust file: everything a device pins before it speaks to anybody (TOML).

It says which relays to use, which origin and time slots the keys must be made for, and in `[policy]` which workers
deserve encryption (`docs/policy.md`). It is public; what matters is that it reaches the device by a way that the
operator cannot choose per person, such as the app itself.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Final

import msgspec

from seclude.attestation.policy import Policy, PolicyDocument, Production, problems
from seclude.attestation.policytext import convert_policy_document, render_policy_document
from seclude.attestation.slots import Slots
from seclude.errors import ConfigError

MAX_RELAYS: Final = 8  # each may cost a connection's time before the next is tried
MAX_TRUST_FILE: Final = 1 << 20  # octets; a real one has a few kilobytes, so anything larger is another file


Address = Annotated[str, msgspec.Meta(pattern="^https?://")]


class SlotTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pinned division of time into epochs."""

    t0: Annotated[int, msgspec.Meta(ge=0, description="start of epoch 0, seconds since 1970 UTC")]
    period_seconds: Annotated[int, msgspec.Meta(ge=1, description="length of every epoch")]


class Trust(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"policy_document": "policy"}):
    """A parsed trust file."""

    origin: Annotated[str, msgspec.Meta(min_length=1, description="the service that the keys are made for")]
    relays: Annotated[
        tuple[Address, ...],
        msgspec.Meta(min_length=1, max_length=MAX_RELAYS, description="where requests are posted, to one at random"),
    ]
    slots: SlotTable
    policy_document: Annotated[PolicyDocument, msgspec.Meta(description="which workers deserve encryption")]
    gateway: Address | None = None
    """Where keys are fetched to compare them with what the relays give; asked only when a person says so."""

    def policy(self) -> Policy:
        """Return what a bundle is verified against; raises ConfigError where it would accept nothing, or anything."""
        for problem in problems(self.policy_document):
            raise ConfigError(f"trust file: policy: {problem}")
        slots = Slots(t0=self.slots.t0, period_seconds=self.slots.period_seconds)
        return Policy(origin=self.origin, slots=slots, document=self.policy_document)


def parse_trust(text: str) -> Trust:
    """Return the trust that a TOML text states; raises ConfigError that names the key at fault."""
    try:
        tables = tomllib.loads(text)
        if "policy" in tables:
            convert_policy_document(tables["policy"])  # its messages say what a kind of policy cannot express
        return msgspec.convert(tables, Trust)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"trust file is not TOML: {exc}") from exc
    except RecursionError:
        raise ConfigError("trust file is not TOML that can be read: it is nested too deeply") from None
    except msgspec.ValidationError as exc:
        raise ConfigError(f"trust file: {exc}") from exc


def load_trust(path: Path) -> Trust:
    """Read a trust file; raises ConfigError that says what to do."""
    return parse_trust(read_trust(path))


def read_trust(path: Path) -> str:
    """Return the text of a trust file, for whoever needs it beside what it states; raises as `load_trust` does."""
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
    return text


def render_trust(trust: Trust) -> str:
    """Return the TOML text of a trust file, as an operator publishes it."""

    def array(items: tuple[str, ...]) -> str:
        return "[\n" + "".join(f'  "{item}",\n' for item in items) + "]"

    gateway = [] if trust.gateway is None else [f'gateway = "{trust.gateway}"']
    worth = "" if isinstance(trust.policy_document, Production) else " It is a DEMONSTRATION and may prove no machine."
    return "\n".join(
        [
            f"# Seclude trust file: what a device pins.{worth}",
            f'origin = "{trust.origin}"',
            f"relays = {array(trust.relays)}",
            *gateway,
            "",
            "[slots]",
            f"t0 = {trust.slots.t0}",
            f"period_seconds = {trust.slots.period_seconds}",
            "",
            render_policy_document(trust.policy_document, "policy"),
        ]
    )
