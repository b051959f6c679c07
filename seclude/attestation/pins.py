"""The ledger that a policy pins: the keys of its two logs, of its publishers and witnesses, read from their text."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from seclude.attestation.accept import LedgerTable
from seclude.attestation.snapshot import PUBLISHERS_OF_RELEASES
from seclude.errors import ConfigError
from seclude.tlog.cosignature import LOG_ALGORITHMS
from seclude.tlog.keys import ED25519, VerifierKey, parse_vkey
from seclude.tlog.quorum import Quorum, parse_quorum


@dataclass(frozen=True, slots=True)
class Ledger:
    """What may be believed of a ledger, and from whom."""

    keys_log: VerifierKey
    state_log: VerifierKey
    publishers: tuple[VerifierKey, ...]
    quorum: Quorum
    maturity_seconds: int
    max_checkpoint_age_seconds: int | None


@lru_cache(maxsize=16)  # policies are made anew for every bundle, and their keys are the same few
def open_ledger(table: LedgerTable) -> Ledger:
    """Return the keys that a table names; raises `ConfigError` that says which of them cannot be read."""
    return Ledger(
        keys_log=_key("keys_log", table.keys_log),
        state_log=_key("state_log", table.state_log),
        publishers=tuple(_key(f"publishers[{place}]", text) for place, text in enumerate(table.publishers)),
        quorum=_quorum(table.witnesses),
        maturity_seconds=table.maturity_seconds,
        max_checkpoint_age_seconds=table.max_checkpoint_age_seconds,
    )


def ledger_problems(table: LedgerTable) -> Iterator[str]:
    """Find what is wrong with a table beyond types and ranges."""
    try:
        ledger = open_ledger(table)
    except ConfigError as exc:
        yield str(exc)
        return
    for place, log in (("keys_log", ledger.keys_log), ("state_log", ledger.state_log)):
        if log.algorithm not in LOG_ALGORITHMS:
            yield f"ledger.{place}: the key of {log.name} is no log's; that is of type 0x01 or 0x06"
        if any(log.public_key == witness.key.public_key for witness in ledger.quorum.witnesses):
            yield f"ledger.{place}: the key of {log.name} is also a witness's; a log cannot be its own witness"
    if ledger.quorum.logs:
        yield "ledger.witnesses: take out the lines `log`; keys_log and state_log name the logs"
    if ledger.keys_log.name == ledger.state_log.name:
        yield "ledger: both logs have one name; a checkpoint of one would pass for the other's"
    if any(key.algorithm != ED25519 for key in ledger.publishers):
        yield "ledger.publishers: publishers sign notes, with Ed25519 keys"
    names = {(key.name, key.key_id) for key in ledger.publishers}
    octets = {key.public_key for key in ledger.publishers}
    if len(ledger.publishers) < PUBLISHERS_OF_RELEASES or min(len(names), len(octets)) < len(ledger.publishers):
        yield f"ledger.publishers: name {PUBLISHERS_OF_RELEASES} or more, each once: a release takes so many"
    if ledger.quorum.can_split:
        yield (
            "ledger.witnesses: two sets of witnesses that share none could each cosign another tree; "
            "of n witnesses ask for k with 2k > n"
        )


def _key(place: str, text: str) -> VerifierKey:
    try:
        return parse_vkey(text)
    except ConfigError as exc:
        raise ConfigError(f"ledger.{place}: {exc}") from exc


def _quorum(text: str) -> Quorum:
    try:
        return parse_quorum(text)
    except ConfigError as exc:
        raise ConfigError(f"ledger.witnesses: {exc}") from exc
