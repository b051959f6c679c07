"""Running the real thing in tests: `deploy/local.py`, as a person starts it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODEL = Path(os.environ.get("SECLUDE_MODELS", ROOT / "models")) / "all-minilm-l6-v2"


@dataclass(frozen=True)
class Running:
    """A stack that `deploy/local.py` runs, as `stack.json` describes it."""

    state: Path
    process: subprocess.Popen[bytes]

    @property
    def facts(self) -> dict[str, object]:
        """The present content of `stack.json`."""
        return dict(json.loads((self.state / "stack.json").read_text()))

    @property
    def relay_url(self) -> str:
        return str(self.facts["relay_url"])

    @property
    def trust(self) -> Path:
        return Path(str(self.facts["trust_file"]))

    def admin(self, party: str) -> str:
        admin = self.facts["admin"]
        assert isinstance(admin, dict)
        return str(admin[party])

    def pid(self, party: str) -> int:
        pids = self.facts["pids"]
        assert isinstance(pids, dict)
        return int(pids[party])

    def proofs(self) -> bytes:
        """Return what the ledger shows now, as gateways take it to the workers; nothing where there is no ledger."""
        ledger = self.facts.get("ledger")
        if ledger is None:
            return b""
        with urllib.request.urlopen(f"{ledger}/proofs", timeout=10) as answer:
            return bytes(answer.read())

    def seclude(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        """Run the `seclude` command against this stack."""
        command = [sys.executable, "-m", "seclude.client", "--trust", str(self.trust), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=120)
        return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def start_stack(state: Path, *options: str) -> Running:
    """Start `deploy/local.py` and wait until everything is ready."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "deploy" / "local.py"), "--state", str(state), "--model", str(MODEL), *options],
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 120
    while not (state / "stack.json").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            _, complaint = process.communicate()
            raise AssertionError(f"the stack did not start: {complaint.decode()}")
        time.sleep(0.05)
    return Running(state, process)


def stop_stack(running: Running) -> str:
    """End a stack as Ctrl-C would, and return what it printed."""
    running.process.send_signal(signal.SIGINT)
    _, printed = running.process.communicate(timeout=60)
    assert running.process.returncode == 0, printed.decode()
    return printed.decode()
