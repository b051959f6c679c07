"""Logs that witnesses are shown in tests: honest ones, and such as sign whatever they like."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import msgspec

from ledger.add_checkpoint import serialize_add_checkpoint
from ledger.keyfiles import create_signer
from ledger.witness.memory import Memory
from ledger.witness.protocol import Outcome, Witness
from seclude.tlog.checkpoint import Checkpoint, render_checkpoint
from seclude.tlog.cosignature import sign_checkpoint, verify_cosignature
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, ML_DSA_44, SignerKey, VerifierKey, generate_skey
from seclude.tlog.merkle import consistency_proof, leaf_hash, node_hash, tree_root
from seclude.tlog.note import Note, parse_signature_lines, serialize_note

ROOT = Path(__file__).parents[2]
NOW = 1_800_000_000
WITNESS_KEYS = (
    generate_skey("witness.example/w1", COSIGNATURE_ED25519),
    generate_skey("witness.example/w1", ML_DSA_44),
)


@dataclass(frozen=True)
class FakeLog:
    """A log whose leaves are numbers; another `history` is, from leaf `fork` on, another log under the same key."""

    key: SignerKey = field(default_factory=lambda: generate_skey("log.example/1", ED25519))
    history: bytes = b""
    fork: int = 0

    @property
    def verifier(self) -> VerifierKey:
        return self.key.verifier

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(self.verifier.name, size, tree_root(size, self._node))

    def signed(self, size: int, *more: SignerKey) -> bytes:
        """Return the note in which the log signs a tree, with more of its keys where they are given."""
        checkpoint = self.checkpoint(size)
        signatures = tuple(sign_checkpoint(checkpoint, key, NOW) for key in (self.key, *more))
        return serialize_note(Note(render_checkpoint(checkpoint), signatures))

    def proof(self, old: int, size: int) -> tuple[bytes, ...]:
        return consistency_proof(old, size, self._node) if 0 < old < size else ()

    def ask(self, old: int, size: int) -> bytes:
        """Return an honest request."""
        return serialize_add_checkpoint(old, self.proof(old, size), self.signed(size))

    def _node(self, level: int, index: int) -> bytes:
        return _node(self.history, self.fork, level, index)


@cache
def _node(history: bytes, fork: int, level: int, index: int) -> bytes:
    if level == 0:
        return leaf_hash((history if index >= fork else b"") + index.to_bytes(8, "big"))
    return node_hash(_node(history, fork, level - 1, 2 * index), _node(history, fork, level - 1, 2 * index + 1))


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@dataclass
class Rig:
    """A witness on a folder, which can be stopped and started again."""

    folder: Path
    logs: Sequence[VerifierKey]
    keys: Sequence[SignerKey] = WITNESS_KEYS[:1]
    clock: Clock = field(default_factory=Clock)
    witness: Witness = field(init=False)
    _memory: Memory | None = None

    def start(self, *, create: bool = False) -> "Rig":
        self.stop()
        self._memory = memory = Memory(self.folder, create=create)
        self.witness = Witness(self.keys, self.logs, lambda origin: memory.log(origin, create=create), self.clock)
        return self

    def stop(self) -> None:
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def show(self, body: bytes) -> Outcome:
        return self.witness.add_checkpoint(body)


def times(outcome: Outcome, checkpoint: Checkpoint, keys: Sequence[SignerKey]) -> list[int]:
    """Return the times of good cosignatures, one by each key, and fail where there are others."""
    assert outcome.response.status == 200
    return cosigned_at(outcome.response.body, checkpoint, keys)


def cosigned_at(lines: bytes, checkpoint: Checkpoint, keys: Sequence[SignerKey]) -> list[int]:
    signatures = parse_signature_lines(lines.decode())
    assert [each.key_id for each in signatures] == [key.verifier.key_id for key in keys]
    return [
        verify_cosignature(checkpoint, key.verifier, each.signature) for key, each in zip(keys, signatures, strict=True)
    ]


@dataclass(frozen=True)
class Answer:
    """What came over HTTP."""

    status: int
    media_type: str | None
    body: bytes


class Process:
    """`python -m ledger.witness`, as its operator starts it."""

    def __init__(self, folder: Path, logs: Sequence[VerifierKey], *, keys: Sequence[SignerKey] = WITNESS_KEYS) -> None:
        self.folder = folder
        self.errors = folder / "errors"
        self.config = folder / "witness.toml"
        paths = [folder / f"witness-{place}.key" for place in range(len(keys))]
        for path, key in zip(paths, keys, strict=True):
            if not path.exists():
                create_signer(path, key)
        strings = {
            "keys": [str(path) for path in paths],
            "logs": [str(log) for log in logs],
        }
        lines = [f"{name} = {msgspec.json.encode(values).decode()}" for name, values in strings.items()]
        self.config.write_text("\n".join([f'state = "{folder / "state"}"', *lines]) + "\n")
        self.process: subprocess.Popen[bytes] | None = None
        self.listen = self.admin = ""

    def command(self, *more: str) -> list[str]:
        ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        return [sys.executable, "-m", "ledger.witness", "--config", str(self.config), *ports, *more]

    def start(self, *more: str) -> "Process":
        read_end, write_end = os.pipe()
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*self.command(*more), "--announce", str(write_end)], cwd=ROOT, stderr=errors, pass_fds=(write_end,)
            )
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            line = pipe.readline()
        assert line, self.errors.read_text()
        announced = msgspec.json.decode(line)
        self.listen, self.admin = announced["listen"], announced["admin"]
        return self

    def refuse(self, *more: str) -> str:
        """Start it where it must not start, and return the sentence that it says."""
        done = subprocess.run(self.command(*more), cwd=ROOT, capture_output=True, timeout=30, check=False)
        assert done.returncode == 2
        lines = done.stderr.decode().splitlines()
        return "\n".join(line for line in lines if not line.startswith("{"))

    def stop(self, *, kill: bool = False) -> int:
        if self.process is None:
            return 0
        process, self.process = self.process, None
        (process.kill if kill else process.terminate)()
        return process.wait(30)

    def post(self, body: bytes) -> Answer:
        return self.ask("POST", "/add-checkpoint", body)

    def ask(self, method: str, path: str, body: bytes = b"", *, admin: bool = False) -> Answer:
        connection = HTTPConnection(self.admin if admin else self.listen, timeout=20)
        try:
            connection.request(method, path, body or None)
            response: HTTPResponse = connection.getresponse()
            return Answer(response.status, response.getheader("Content-Type"), response.read())
        finally:
            connection.close()
