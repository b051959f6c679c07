"""How many entries a second one core takes: measurements, printed and not judged, since disks and neighbours differ."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.ledger.ledger_rig import ROOT, LedgerFolder, Witnesses

WRITERS = 64
SECONDS = 10
LEDGER_CORE, OTHER_CORES = {0}, set(range(1, os.cpu_count() or 1)) or {0}
LOAD = ROOT / "tests/ledger/write_load.py"


def pin_ledger() -> None:
    os.sched_setaffinity(0, LEDGER_CORE)


def pin_others() -> None:
    os.sched_setaffinity(0, OTHER_CORES)


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(ledger: LedgerFolder) -> str:
    """Run 64 writers of one entry at a time, each in its own request, against a ledger that has one core."""
    ledger.start(before=pin_ledger)
    assert ledger.process is not None
    pid = ledger.process.pid
    before = processor_seconds(pid)
    command = [sys.executable, str(LOAD), str(ledger.folder), ledger.listen, str(WRITERS), str(SECONDS)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, env=environment, preexec_fn=pin_others, check=True)
    spent = processor_seconds(pid) - before
    found = msgspec.json.decode(done.stdout, type=dict[str, float])
    assert ledger.checkpoint().size == found["entries"]
    metrics = ledger.ask("GET", "/metrics", admin=True).body.decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in metrics if line.startswith("seclude_ledger_batch"))
    batches = float(values['seclude_ledger_batch_seconds_count{log="plain"}'])
    disk = float(values['seclude_ledger_batch_seconds_sum{log="plain"}'])
    return (
        f"{found['per_second']:.0f} entries/s, each acknowledged after {found['p50_ms']:.1f} ms (p99 "
        f"{found['p99_ms']:.1f}); {found['entries'] / batches:.0f} entries a batch, {disk / batches * 1e3:.1f} ms to "
        f"store and sync it; {spent / found['entries'] * 1e6:.0f} us of processor time an entry, "
        f"{spent / SECONDS * 100:.0f} % of the core"
    )


@pytest.mark.drill
@pytest.mark.timeout(120)
def test_entries_a_second_without_witnesses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = LedgerFolder(tmp_path)
    try:
        result = measure(ledger)
    finally:
        ledger.stop()
    with capsys.disabled():
        print(f"\n{WRITERS} writers, one core, no witness: {result}")


@pytest.mark.drill
@pytest.mark.timeout(120)
def test_entries_a_second_with_three_witnesses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each answer waits for two of three cosignatures; the witnesses share the other cores with the writers."""
    ledger = LedgerFolder(tmp_path)
    witnesses = Witnesses(tmp_path, ledger.key, 3, 2)
    for process in witnesses.processes:
        assert process.process is not None
        os.sched_setaffinity(process.process.pid, OTHER_CORES)
    ledger.policy.write_text(witnesses.policy())
    try:
        result = measure(ledger)
    finally:
        ledger.stop()
        witnesses.stop()
    with capsys.disabled():
        print(f"\n{WRITERS} writers, one core, 2 of 3 witnesses: {result}")
