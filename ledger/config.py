"""ledger.toml: what a ledger is told, and everything that it names, read and checked before anything starts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Struct

from ledger.keyfiles import load_signer
from ledger.witnesses import connect
from seclude.attestation.bundle import MAX_CHECKPOINT
from seclude.attestation.slots import MAX_PERIOD_SECONDS, MAX_T0
from seclude.attestation.snapshot import PUBLISHERS_OF_RELEASES
from seclude.daemon.command import DaemonConfig, listening_problems
from seclude.daemon.config import Seconds
from seclude.daemon.secretfile import load_submit_secret
from seclude.daemon.tls import ClientCertificates, ClientTLS
from seclude.errors import ConfigError
from seclude.tlog.canonical import MAX_SIZE
from seclude.tlog.checkpoint import Checkpoint, render_checkpoint
from seclude.tlog.cosignature import LOG_ALGORITHMS
from seclude.tlog.keys import ED25519, SIGNATURE_BYTES, SignerKey, VerifierKey, parse_vkey
from seclude.tlog.merkle import HASH_BYTES
from seclude.tlog.note import NoteSignature, serialize_signature_lines
from seclude.tlog.quorum import Quorum, parse_quorum

MAX_POLICY: Final = 1 << 18  # octets; 32 witnesses and 32 logs with keys of ML-DSA-44 take half of that


class LogConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """One log; `former` are verifier keys that it had before, whose head is continued under the present one."""

    key: str
    former: tuple[str, ...] = ()


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What those who ask may cost; the reasons stand in `ServerLimits`."""

    max_inflight: Annotated[int, Meta(ge=1, le=1 << 12)] = 512  # requests; 200 kB each at the worst
    max_connections: Annotated[int, Meta(ge=1, le=1 << 16)] = 4096


class Config(DaemonConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """ledger.toml."""

    data: str
    witnesses: str
    anchors: str | None = None
    origin: str | None = None
    t0: Annotated[int, Meta(ge=0, le=MAX_T0)] | None = None
    period_seconds: Annotated[int, Meta(ge=1, le=MAX_PERIOD_SECONDS)] | None = None
    publishers: tuple[str, ...] = ()
    submit_secrets: tuple[str, ...] = ()
    maturity_seconds: Annotated[int, Meta(ge=0, le=30 * 86_400)] = 86_400
    cosign_seconds: Seconds = 5.0
    keys: LogConfig | None = None
    state: LogConfig | None = None
    plain: LogConfig | None = None
    listen: str = "127.0.0.1:8084"
    admin: str = "127.0.0.1:9084"
    uvloop: bool = True
    demonstration: bool = False
    witness_tls: ClientTLS = ClientTLS()
    limits: Limits = Limits()

    @property
    def logs(self) -> dict[str, LogConfig]:
        """The logs that are kept, by their names in the file."""
        named = {"keys": self.keys, "state": self.state, "plain": self.plain}
        return {name: log for name, log in named.items() if log is not None}

    @property
    def data_folder(self) -> Path:
        """Where the logs are."""
        return Path(self.data)

    @property
    def anchors_folder(self) -> Path:
        """Where copies of the newest heads are, away from the logs."""
        return Path(self.anchors) if self.anchors is not None else Path(f"{self.data.rstrip('/')}-anchors")


@dataclass(frozen=True, slots=True)
class Material:
    """What the configuration names, read."""

    quorum: Quorum
    signers: dict[str, SignerKey]
    former: dict[str, tuple[VerifierKey, ...]]
    publishers: tuple[VerifierKey, ...]
    secrets: tuple[bytes, ...]

    @property
    def checkpoint_octets(self) -> int:
        """How many octets a checkpoint has that all witnesses cosigned, at the most."""
        return max(_checkpoint_octets(signer.verifier, self.quorum) for signer in self.signers.values())


def load_material(config: Config) -> Material:
    """Read it all; raises ConfigError with every problem, one in a line."""
    problems: list[str] = []
    signers = {name: found for name, log in config.logs.items() if (found := _signer(name, log, problems)) is not None}
    former = {name: _former(name, log, signers.get(name), problems) for name, log in config.logs.items()}
    secrets = []
    for path in config.submit_secrets:
        try:
            secrets.append(load_submit_secret(Path(path)))
        except ConfigError as exc:
            problems.append(f"submit_secrets: {exc}")
    quorum = _quorum(config, problems)
    publishers = _publishers(config, problems)
    if len({signer.verifier.name for signer in signers.values()}) < len(signers):
        problems.append("two logs have keys of one name, and witnesses would take them for one log")
    if quorum is not None:
        problems += _too_long(quorum, signers)
    if problems or quorum is None:
        raise ConfigError("\n".join(problems))
    return Material(quorum, signers, former, tuple(publishers), tuple(secrets))


def _signer(name: str, log: LogConfig, problems: list[str]) -> SignerKey | None:
    try:
        signer = load_signer(Path(log.key))
    except ConfigError as exc:
        problems.append(f"{name}.key: {exc}")
        return None
    if signer.verifier.algorithm not in LOG_ALGORITHMS:
        problems.append(f"{name}.key: the key of a witness; make one with keygen --kind log")
        return None
    return signer


def _former(name: str, log: LogConfig, signer: SignerKey | None, problems: list[str]) -> tuple[VerifierKey, ...]:
    """Return the keys that a log had before: of its origin, which it keeps."""
    found = []
    for place, text in enumerate(log.former):
        where = f"{name}.former[{place}]"
        try:
            key = parse_vkey(text)
        except ConfigError as exc:
            problems.append(f"{where}: {exc}")
            continue
        if key.algorithm not in LOG_ALGORITHMS:
            problems.append(f"{where}: the key of a witness, not of a log")
        elif signer is not None and key.name != signer.verifier.name:
            problems.append(f"{where}: of another origin than {signer.verifier.name}; a log keeps its origin for ever")
        found.append(key)
    return tuple(found)


def _checkpoint_octets(log: VerifierKey, quorum: Quorum) -> int:
    text = render_checkpoint(Checkpoint(log.name, MAX_SIZE, bytes(HASH_BYTES)))
    keys = (log, *(witness.key for witness in quorum.witnesses))
    longest = (NoteSignature(key.name, key.key_id, bytes(8 + SIGNATURE_BYTES[key.algorithm])) for key in keys)
    return len(f"{text}\n{serialize_signature_lines(*longest)}".encode())


def _too_long(quorum: Quorum, signers: dict[str, SignerKey]) -> Iterator[str]:
    """Find logs whose checkpoints no device would read once every witness has cosigned."""
    for name, signer in signers.items():
        octets = _checkpoint_octets(signer.verifier, quorum)
        if octets > MAX_CHECKPOINT:
            yield (
                f"witnesses: a checkpoint of {name} takes {octets} octets with all cosignatures, and devices read "
                f"{MAX_CHECKPOINT}; name fewer witnesses, or some with keys of Ed25519"
            )


def _publishers(config: Config, problems: list[str]) -> list[VerifierKey]:
    found = []
    for place, text in enumerate(config.publishers):
        try:
            key = parse_vkey(text)
        except ConfigError as exc:
            problems.append(f"publishers[{place}]: {exc}")
            continue
        if key.algorithm != ED25519:
            problems.append(f"publishers[{place}]: the key of a witness; make one with keygen --kind publisher")
        found.append(key)
    if len({key.public_key for key in found}) < len(found):
        problems.append("publishers: the same key is named twice, and would count twice")
    return found


def _quorum(config: Config, problems: list[str]) -> Quorum | None:
    try:
        with Path(config.witnesses).open("rb") as file:
            data = file.read(MAX_POLICY + 1)
        if len(data) > MAX_POLICY:
            raise ConfigError(f"longer than {MAX_POLICY} octets")
        quorum = parse_quorum(data.decode())
    except OSError as exc:
        problems.append(f"witnesses: {config.witnesses}: {exc.strerror}")
        return None
    except (ConfigError, UnicodeDecodeError) as exc:
        problems.append(f"witnesses: {config.witnesses}: {exc}")
        return None
    if quorum.can_split and (config.keys is not None or config.state is not None):
        problems.append(
            f"witnesses: {config.witnesses}: two sets of witnesses that share none could both meet the quorum, and no "
            "device believes one like that; of n witnesses ask for k with 2k > n"
        )
    reachable = {witness.name for witness in quorum.witnesses if witness.url is not None}
    if not quorum.is_met(reachable):
        problems.append(
            f"witnesses: {config.witnesses}: those with a URL do not meet the quorum, so nothing ever would"
        )
    try:
        tls = ClientCertificates(config.witness_tls)
    except ConfigError as exc:
        problems.append(f"witness_tls: {exc}")
        return quorum
    for witness in quorum.witnesses:
        try:
            if witness.url is not None:
                connect(witness, tls, insecure_plaintext=config.insecure_plaintext)
        except ConfigError as exc:
            problems.append(f"witnesses: {config.witnesses}: {exc}")
    return quorum


def problems(config: Config) -> Iterator[str]:
    """Find what is wrong beyond types and ranges."""
    yield from listening_problems(config)
    if not config.logs:
        yield "keys, state, plain: no log is named; set [keys] key and [state] key"
    if config.keys is not None and (config.t0 is None or config.period_seconds is None):
        yield "keys: needs t0 and period_seconds, to know the slot of now"
    if config.keys is not None and config.cosign_seconds > (config.period_seconds or config.cosign_seconds):
        yield "cosign_seconds: longer than a period, and devices take checkpoints of two for too old; a tenth is enough"
    if config.state is not None and config.origin is None:
        yield "state: needs origin, to refuse the snapshots of another service"
    if config.state is not None and len(config.publishers) < PUBLISHERS_OF_RELEASES:
        yield f"publishers: a snapshot with releases takes {PUBLISHERS_OF_RELEASES} of them, so name as many or more"
    data, anchors = config.data_folder.absolute(), config.anchors_folder.absolute()
    if anchors.is_relative_to(data):
        yield "anchors: inside data, so a backup of data would bring both back"
    try:
        load_material(config)
    except ConfigError as exc:
        yield from str(exc).splitlines()
