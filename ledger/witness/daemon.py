"""The witness as a process: a third party's, who runs it beside no ledger and promises one thing, one history per log.

It holds its keys and the newest root of every log it knows. The disk and the signatures are worked on in threads, so
that a slow disk makes cosignatures late and nothing else.
"""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import time
from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import asdict
from prometheus_client import Counter, Gauge

from ledger.add_checkpoint import MAX_BODY, PATH
from ledger.keyfiles import load_signer
from ledger.witness.memory import LogMemory, Memory
from ledger.witness.protocol import TEXT, Outcome, Result, Witness
from seclude.daemon.admin import Admin
from seclude.daemon.answering import answering
from seclude.daemon.command import (
    CHECK_CONFIG,
    Command,
    DaemonConfig,
    certificates,
    listening_problems,
    serve_until_stop,
    show,
)
from seclude.daemon.lifecycle import Stop, run
from seclude.daemon.limits import ServerLimits
from seclude.daemon.log import Log
from seclude.daemon.messages import Request, Response
from seclude.daemon.metrics import Metrics
from seclude.daemon.problems import refusal
from seclude.daemon.renewal import Renewal
from seclude.daemon.server import Server
from seclude.errors import ConfigError
from seclude.pool import DRAINING
from seclude.tlog.canonical import to_base64
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, ML_DSA_44, SignerKey, VerifierKey, parse_vkey

EXAMPLE = """example:
  seclude-ledger keygen --kind witness --name witness.example/w1 --out witness.key
  seclude-witness --listen 127.0.0.1:8085 --admin 127.0.0.1:9085 --config witness.toml --new
"""
MAX_LOGS_FILE: Final = 1 << 20  # octets; some five hundred keys of ML-DSA-44, or ten thousand of Ed25519
BEHIND: Final = "the clock is behind a time that was signed"
# What is worth a line when it begins: requests come from anywhere, so nothing is logged for each of them.
EVENTS: Final = {
    "split_view": frozenset({"log"}),
    "trouble": frozenset({"log", "result"}),
    "trouble_over": frozenset({"log"}),
}
TROUBLE: Final = frozenset({Result.CLOCK, Result.DISK})


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What those who ask may cost; the reasons stand in `ServerLimits`."""

    max_inflight: Annotated[int, Meta(ge=1, le=1 << 12)] = 64  # of 70 kB each; each log has one at a time to write
    max_connections: Annotated[int, Meta(ge=1, le=1 << 16)] = 1024


class Config(DaemonConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """witness.toml."""

    state: str
    keys: Annotated[tuple[str, ...], Meta(min_length=1, max_length=8)]
    logs: tuple[str, ...] = ()
    logs_file: str | None = None
    listen: str = "127.0.0.1:8085"
    admin: str = "127.0.0.1:9085"
    uvloop: bool = True
    limits: Limits = Limits()


def load_keys(config: Config) -> tuple[SignerKey, ...]:
    """Return the keys of the witness; raises ConfigError."""
    keys = tuple(load_signer(Path(path)) for path in config.keys)
    for path, key in zip(config.keys, keys, strict=True):
        if key.verifier.algorithm not in (COSIGNATURE_ED25519, ML_DSA_44):
            raise ConfigError(f"{path}: the key of a log or a publisher; make one with keygen --kind witness")
    if len({str(key.verifier) for key in keys}) < len(keys):
        raise ConfigError("keys: the same key is named twice")
    return keys


def load_logs(config: Config) -> tuple[VerifierKey, ...]:
    """Return the keys of the logs that are cosigned; raises ConfigError."""
    lines = [(f"logs[{place}]", text) for place, text in enumerate(config.logs)]
    if config.logs_file is not None:
        lines.extend(_lines(Path(config.logs_file)))
    if not lines:
        raise ConfigError("logs: none is named; set logs or logs_file to verifier keys, as logs publish them")
    logs: dict[str, VerifierKey] = {}
    for place, text in lines:
        try:
            key = parse_vkey(text)
        except ConfigError as exc:
            raise ConfigError(f"{place}: {exc}") from None
        if key.algorithm not in (ED25519, ML_DSA_44):
            raise ConfigError(f"{place}: the key of a witness, not of a log")
        if logs.setdefault(text, key) is not key:
            raise ConfigError(f"{place}: the same key is named twice")
    return tuple(logs.values())


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Return the lines of a file that are no comments, each with its place."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_LOGS_FILE + 1)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not text") from None
    if len(text) > MAX_LOGS_FILE:
        raise ConfigError(f"{path}: longer than {MAX_LOGS_FILE} characters")
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield f"{path} line {number}", line.strip()


class Front:
    """What is asked of a witness over HTTP, counted."""

    def __init__(self, witness: Witness, metrics: Metrics, log: Log) -> None:
        self._witness = witness
        self._log = log
        self._troubled: set[str] = set()
        self._results = Counter(
            metrics.name("checkpoints_total"),
            "Checkpoints that were shown, by log and by how it ended",
            ("log", "result"),
            registry=metrics.registry,
        )
        size, cosigned = (
            Gauge(metrics.name(name), text, ("log",), registry=metrics.registry)
            for name, text in (
                ("log_size", "Leaves of the newest tree that was cosigned"),
                (
                    "cosigned_timestamp_seconds",
                    "Time of the newest cosignature, in seconds since 1970; 0 where none is",
                ),
            )
        )
        for origin, memory in witness.memories.items():
            size.labels(origin).set_function(partial(_size, memory))
            cosigned.labels(origin).set_function(partial(_cosigned, memory))

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        if request.path not in ("/", PATH):
            return refusal(404)
        method = "GET" if request.path == "/" else "POST"
        if request.method != method:
            return refusal(405, fields=(("Allow", method),))
        if request.path == "/":
            return Response(200, TEXT, describe(self._witness).encode(), (("Cache-Control", "no-store"),))
        body = await request.body.read()
        # Nothing of this is undone where the log gives up meanwhile: what is stored is not less true for that.
        outcome = await asyncio.to_thread(self._witness.add_checkpoint, body)
        self._count(outcome)
        return outcome.response

    def _count(self, outcome: Outcome) -> None:
        self._results.labels(outcome.origin, outcome.result).inc()
        if outcome.is_first_split:
            self._log.event("split_view", log=outcome.origin)
        if outcome.result in TROUBLE and outcome.origin not in self._troubled:
            self._troubled.add(outcome.origin)
            self._log.event("trouble", log=outcome.origin, result=outcome.result)
        if outcome.result is Result.COSIGNED and outcome.origin in self._troubled:
            self._troubled.remove(outcome.origin)
            self._log.event("trouble_over", log=outcome.origin)


def _size(memory: LogMemory) -> float:
    return memory.seen.size


def _cosigned(memory: LogMemory) -> float:
    return memory.seen.time


def describe(witness: Witness) -> str:
    """Return what anybody may know of a witness, for people: its keys, and what it cosigned last of each log."""
    lines = ["A witness of transparency logs (C2SP tlog-witness). Its verifier keys:", ""]
    lines.extend(str(key) for key in witness.keys)
    lines.extend(["", "The logs that it cosigns, and the newest tree of each:", ""])
    for origin, memory in witness.memories.items():
        seen = memory.seen
        when = datetime.fromtimestamp(seen.time, UTC).isoformat() if seen.time else "never"
        lines.append(f"{origin}  {seen.size} leaves, root {to_base64(seen.root)}, cosigned last: {when}")
        if memory.is_split:
            lines.append(
                f"{origin}  HAS SIGNED TWO TREES OF ONE SIZE; the operator of this witness has both checkpoints"
            )
    return "\n".join(lines) + "\n"


def reasons(witness: Witness, stop: Stop) -> list[str]:
    """Return why nothing is cosigned."""
    found = {BEHIND: witness.is_behind, DRAINING: stop.requested}
    return [reason for reason, applies in found.items() if applies]


async def serve(config: Config, witness: Witness, stop: Stop, log: Log, descriptor: int | None) -> int:
    """Run one witness until `stop`."""
    metrics = Metrics("witness")
    server = Server(
        answering(Front(witness, metrics, log).handle),
        ServerLimits(max_body_bytes=MAX_BODY, **asdict(config.limits)),
        log=log,
        observe=metrics.observe,
        tls=certificates(config),
        insecure_plaintext=config.insecure_plaintext,
    )
    metrics.watch(server)
    renewal = Renewal(metrics, log, [server.renew_tls])
    admin = Admin(metrics.registry, lambda: reasons(witness, stop))
    await serve_until_stop(server, admin, config, stop, log, descriptor, [], renewal)
    return 0


def problems(config: Config) -> Iterator[str]:
    """Find what is wrong beyond types and ranges."""
    yield from listening_problems(config)
    for load in (load_keys, load_logs):
        try:
            load(config)
        except ConfigError as exc:
            yield str(exc)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seclude-witness` and return its exit status."""
    command = Command(
        "witness",
        Config,
        problems,
        description="Cosign the checkpoints of transparency logs, one history for each of them (C2SP tlog-witness).",
        example=EXAMPLE,
    )
    command.add_flag("state", "--state", metavar="FOLDER", help="what it remembers; worth as much as its keys")
    command.add_flag("keys", "--key", metavar="FILE", action="append", help="a private key of its own; once for each")
    command.add_flag("logs", "--log", metavar="VKEY", action="append", help="a log's verifier key; once for each")
    command.add_flag("logs_file", "--logs", metavar="FILE", help="the same, one a line")
    command.add_option("--new", action="store_true", help="begin at zero with logs that nothing is remembered of")

    def act(flags: argparse.Namespace) -> int:
        config = command.load(flags)
        if flags.command == CHECK_CONFIG:
            return show(config)
        # Held until the process ends and never given back before: a thread may be at work on a slow disk to the last.
        memory = Memory(Path(config.state), create=flags.new)
        logs = load_logs(config)
        witness = Witness(load_keys(config), logs, partial(memory.log, create=flags.new), time)
        words = frozenset({*witness.memories, *Result})
        log = Log("witness", events=EVENTS, words=words, text=config.log_text)
        return run(lambda stop: serve(config, witness, stop, log, flags.announce), uvloop=config.uvloop, log=log)

    return command.run(arguments, act)
