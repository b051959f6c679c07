"""A ledger as its operator starts it, in tests: its files, its processes, its witnesses, and those who write to it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import msgspec

from ledger.keyfiles import create_signer, create_submit_secret
from ledger.rules import PLAIN_LABEL
from seclude.daemon.secretfile import load_submit_secret
from seclude.ledger import seal_submission
from seclude.tlog.checkpoint import Checkpoint
from seclude.tlog.cosigned import open_signed
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, SignerKey, generate_skey
from seclude.tlog.tiles import ENTRIES, TILE_WIDTH, TileReader, parse_entries, tile_path
from tests.ledger.witness_rig import Answer
from tests.ledger.witness_rig import Process as WitnessProcess

ROOT = Path(__file__).parents[2]
NO_WITNESS = "quorum none\n"


class LedgerFolder:
    """The folder of a ledger with one log of any entries, and the process on it."""

    def __init__(self, folder: Path, *, cosign_seconds: float = 5.0) -> None:
        self.folder = folder
        self.data, self.anchors = folder / "data", folder / "data-anchors"
        self.log = self.data / "plain"
        self.key = generate_skey("log.example/plain", ED25519)
        create_signer(folder / "plain.key", self.key)
        create_submit_secret(folder / "submit.key")
        self.secret = load_submit_secret(folder / "submit.key")
        self.policy = folder / "witnesses.policy"
        self.policy.write_text(NO_WITNESS)
        self.config = folder / "ledger.toml"
        self.config.write_text(
            f'data = "{self.data}"\nwitnesses = "{self.policy}"\nsubmit_secrets = ["{folder / "submit.key"}"]\n'
            f'cosign_seconds = {cosign_seconds}\nlisten = "127.0.0.1:0"\nadmin = "127.0.0.1:0"\n'
            f'[plain]\nkey = "{folder / "plain.key"}"\n'
        )
        self.errors = folder / "errors"
        self.process: subprocess.Popen[bytes] | None = None
        self.listen = self.admin = ""

    def command(self, *more: str) -> list[str]:
        return [sys.executable, "-m", "ledger", "--config", str(self.config), *more]

    def start(self, *more: str, before: Callable[[], None] | None = None) -> "LedgerFolder":
        """Start it and wait until it listens; `before` runs in the new process."""
        read_end, write_end = os.pipe()
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                self.command("--announce", str(write_end), *more),
                cwd=ROOT,
                stderr=errors,
                pass_fds=(write_end,),
                preexec_fn=before,
            )
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            line = pipe.readline()
        assert line, self.errors.read_text()
        announced = msgspec.json.decode(line)
        self.listen, self.admin = announced["listen"], announced["admin"]
        return self

    def refuse(self, *more: str) -> str:
        """Start it where it must not start or go on, and return the sentence that it says."""
        done = subprocess.run(self.command(*more), cwd=ROOT, capture_output=True, timeout=30, check=False)
        assert done.returncode == 2, done.stderr.decode()
        return "\n".join(line for line in done.stderr.decode().splitlines() if not line.startswith("{"))

    def wait(self, seconds: float = 30) -> int:
        """Wait until it has ended by itself, and return its status."""
        assert self.process is not None
        process, self.process = self.process, None
        return process.wait(seconds)

    def stop(self, *, kill: bool = False) -> int:
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        return process.wait(30)

    def sealed(self, entry: bytes) -> bytes:
        return seal_submission(PLAIN_LABEL, entry, self.secret)

    def add(self, entry: bytes) -> Answer:
        return self.ask("POST", "/plain/add", self.sealed(entry))

    def ask(self, method: str, path: str, body: bytes = b"", *, admin: bool = False) -> Answer:
        connection = HTTPConnection(self.admin if admin else self.listen, timeout=20)
        try:
            connection.request(method, path, body or None)
            response = connection.getresponse()
            return Answer(response.status, response.getheader("Content-Type"), response.read())
        finally:
            connection.close()

    def fetch(self, path: str) -> bytes:
        answer = self.ask("GET", f"/plain/{path}")
        assert answer.status == 200, path
        return answer.body

    def checkpoint(self) -> Checkpoint:
        return open_signed(self.fetch("checkpoint"), self.key.verifier)

    def head(self) -> Checkpoint:
        """The newest checkpoint that it signed, as it is on disk."""
        return open_signed((self.log / "head").read_bytes(), self.key.verifier)

    def reader(self, size: int) -> TileReader:
        return TileReader(size, self.fetch)

    def entries(self, size: int) -> list[bytes]:
        """Every entry under a checkpoint, as a monitor reads them."""
        found: list[bytes] = []
        while len(found) < size:
            width = min(TILE_WIDTH, size - len(found))
            found += parse_entries(self.fetch(tile_path(ENTRIES, len(found) // TILE_WIDTH, width)))
        return found


class Witnesses:
    """Witness processes, and the policy that asks for some of them."""

    def __init__(self, folder: Path, log: SignerKey, count: int, threshold: int) -> None:
        self.keys = [generate_skey(f"witness.example/w{place}", COSIGNATURE_ED25519) for place in range(count)]
        self.processes = []
        self.threshold = threshold
        for place, key in enumerate(self.keys):
            own = folder / f"w{place}"
            own.mkdir()
            self.processes.append(WitnessProcess(own, [log.verifier], keys=[key]).start("--new"))

    def policy(self) -> str:
        names = [f"w{place}" for place in range(len(self.keys))]
        lines = [
            f"witness {name} {key.verifier} http://{process.listen}"
            for name, key, process in zip(names, self.keys, self.processes, strict=True)
        ]
        return "\n".join([*lines, f"group all {self.threshold} {' '.join(names)}", "quorum all", ""])

    def stop(self) -> None:
        for process in self.processes:
            process.stop()


class Connection:
    """One kept connection of a writer: whole requests, whole answers."""

    def __init__(self, listen: str) -> None:
        self._listen = listen
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body; raises OSError or EOFError where the ledger is gone."""
        if self._streams is None:
            host, _, port = self._listen.rpartition(":")
            self._streams = await asyncio.open_connection(host, int(port))
        reader, writer = self._streams
        writer.write(f"POST {path} HTTP/1.1\r\nHost: l\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        return int(head.split(b" ", 2)[1]), await reader.readexactly(length)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


async def write_entries(
    ledger: LedgerFolder, writers: int, make: Callable[[int, int], bytes], acknowledged: dict[bytes, int]
) -> None:
    """Let writers submit one entry after the other until the ledger is gone, and note all that were acknowledged."""

    async def write(writer: int) -> None:
        connection = Connection(ledger.listen)
        number = 0
        with suppress(OSError, EOFError):
            while True:
                entry = make(writer, number)
                status, body = await connection.post("/plain/add", ledger.sealed(entry))
                if status == 200:
                    acknowledged[entry] = msgspec.json.decode(body)["index"]
                number += 1
        connection.close()

    await gather([write(writer) for writer in range(writers)])


async def gather(jobs: Sequence[Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for job in jobs:
            tasks.create_task(_of(job))


async def _of(job: Awaitable[None]) -> None:
    await job
