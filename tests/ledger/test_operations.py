"""docs/ledger-operations.md, run as it stands: every block, in order, on ports that are free."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.publish.documents import render_release
from tests.ledger.page_samples import digest, release
from tests.running import ROOT

TEXT = (ROOT / "docs" / "ledger-operations.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = {"seclude-ledger": "ledger", "seclude-witness": "ledger.witness"}
METRIC = re.compile(r"\bseclude_(?:ledger|witness)_\w+")


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, each after the one before."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def on_free_ports(script: str) -> str:
    """Return a script with other ports; "809$w" becomes a name that the shell looks up."""
    wanted = ["8084", "9084", *(f"{row}{number}" for row in ("809", "909") for number in (1, 2, 3))]
    ports = dict(zip(wanted, free_ports(len(wanted)), strict=True))
    names = "\n".join(f"PORT_{port}={ports[port]}" for port in wanted)
    script = re.sub(r"127\.0\.0\.1:([89]09)\$w", r"127.0.0.1:$(eval echo \\$PORT_\1$w)", script)
    script = re.sub(r"127\.0\.0\.1:([89]0[89][0-9])", lambda match: f"127.0.0.1:{ports[match[1]]}", script)
    # Snapshots are dated in seconds, and people are slower than this test.
    script = script.replace("seclude-ledger snapshot --from", "sleep 1; seclude-ledger snapshot --from")
    return f"{names}\n{script}"


@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("bash") is None, reason="no curl or no bash here")
def test_every_command_of_the_page_for_operators_is_true(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, module in COMMANDS.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        program.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    (work / "release.json").write_text(render_release(release(1, expires=1 << 33)))
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        ["bash", "-eu", "-c", on_free_ports("\n".join(BLOCKS))],
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=50)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # the group that was started here, daemons in it included
            process.communicate()
    assert process.returncode == 0, printed
    assert "Traceback" not in printed
    page = (work / "page.html").read_text()
    assert digest("manifest", 1).hex() in page
    assert "Published, not mature yet" in page
    after = (work / "page.after.html").read_text()
    assert "its tokenizer keeps words" in after
    assert "3 snapshots in the state log" in after
    shown = (work / "ledger.metrics").read_text() + (work / "witness.metrics").read_text()
    families = set(re.findall(r"^# TYPE (seclude_(?:ledger|witness)_\w+)", shown, re.MULTILINE))
    assert set(METRIC.findall(TEXT)) <= families
    for name in ("log", "witness", "result", "reason"):
        assert f'{name}="' in shown
    for value in re.findall(r'{(\w+="\w+")}', TEXT):
        assert value in shown, "a label's value that an alert names"
