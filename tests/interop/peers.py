"""Programs of another making, and the rows of the table that tells how we get on with them.

Every peer has a program that is used in the same two ways:

    client URL PATH JSON [--chunked] [--aead chacha]   posts JSON, prints {"status": n, "body": "..."}
    gateway                                            prints its port, then answers each request as `ours.echo` does

With SECLUDE_INTEROP_ROWS=FILE each test appends its row to FILE, of which docs/render_interop.py makes a page:

    rm -f run/interop.jsonl; SECLUDE_INTEROP_ROWS=run/interop.jsonl .venv/bin/pytest tests/interop
    .venv/bin/python docs/render_interop.py run/interop.jsonl > docs/interop.md
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from seclude.ohttp.media import GATEWAY_PATH
from tests.interop.ours import AES, CHACHA, CHUNKED, PATIENCE, WHOLE, fetch
from tests.running import ROOT

ROWS: Final = "SECLUDE_INTEROP_ROWS"


class PeerFailedError(AssertionError):
    """A peer's program ended with an error, which this carries."""


@dataclass(frozen=True)
class Fault:
    """What a peer's client cannot do, whoever it talks to: what it says then, and why, in words for the table."""

    says: str
    why: str


@dataclass(frozen=True)
class Peer:
    """Another making, built: what it is called and how its programs are started."""

    name: str
    version: str
    client: tuple[str, ...]
    gateway: tuple[str, ...]
    faults: Mapping[tuple[str, str], Fault] = field(default_factory=dict)
    """By form and AEAD."""
    forms: tuple[str, ...] = (WHOLE, CHUNKED)
    """What it speaks at all."""

    def ask(self, url: str, path: str, content: object, form: str, aead: str = AES) -> tuple[int, str]:
        """Post through its client; return status and content of the answer."""
        command = [*self.client, url, path, json.dumps(content)]
        command += ["--chunked"] * (form == CHUNKED) + ["--aead", "chacha"] * (aead == CHACHA)
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode:
            raise PeerFailedError(done.stderr)
        answer = json.loads(done.stdout)
        return int(answer["status"]), str(answer["body"])

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Run its gateway; yields its URL."""
        with subprocess.Popen(self.gateway, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield f"http://127.0.0.1:{int(process.stdout.readline())}{GATEWAY_PATH}"
            finally:
                process.kill()


def record(peer: str, version: str, what: str, result: str, *, role: str) -> None:
    """Append a row for the table, where a file for it is named."""
    if path := os.environ.get(ROWS):
        with open(path, "a") as file:
            file.write(json.dumps({"peer": peer, "version": version, "role": role, "what": what, "result": result}))
            file.write("\n")


@contextmanager
def recorded(peer: Peer, role: str, what: str, result: str = "works") -> Iterator[None]:
    """Record how a block ends: with this result, or with an exception, which goes on."""
    try:
        yield
    except Exception as exc:
        record(peer.name, peer.version, what, f"fails: {type(exc).__name__}", role=role)
        raise
    record(peer.name, peer.version, what, result, role=role)


@contextmanager
def relay_before(gateway: str) -> Iterator[str]:
    """Run our relay before a gateway, from when it has that gateway's keys; yields the relay's URL."""
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "relay", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    command += ["--gateway", gateway, "--announce", str(writing)]
    with subprocess.Popen(command, cwd=ROOT, pass_fds=(writing,), stderr=subprocess.DEVNULL) as process:
        os.close(writing)
        try:
            with os.fdopen(reading) as file:
                addresses = json.loads(file.readline())
            deadline = time.monotonic() + PATIENCE
            while fetch(f"http://{addresses['admin']}/readyz").status != 200:
                assert time.monotonic() < deadline, "the relay has no keys"
                time.sleep(0.05)
            yield f"http://{addresses['listen']}{GATEWAY_PATH}"
        finally:
            process.terminate()
            process.wait(PATIENCE)
