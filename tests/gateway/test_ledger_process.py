"""`python -m gateway` before a ledger: what it publishes, counts and logs, and what it loads for that."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from seclude.attestation.bundle import parse_bundle, parse_bundles
from seclude.ledger import Path as Place
from seclude.ohttp.media import GATEWAY_PATH, KEY_BUNDLES
from tests.gateway.conftest import FakeWorker, Launch, Running, is_logged
from tests.gateway.fakeledger import SECRET, FakeLedger

PERIOD = 3600


@pytest.fixture
async def ledger() -> AsyncIterator[FakeLedger]:
    made = FakeLedger(time.time())
    await made.start()
    yield made
    await made.stop()


def flags(ledger: FakeLedger, folder: Path) -> list[str]:
    secret = folder / "submit.key"
    secret.write_bytes(base64.b64encode(SECRET) + b"\n")
    secret.chmod(0o600)
    slots = ["--t0", str(int(time.time()) - 10), "--period", str(PERIOD)]
    return [*slots, "--ledger", ledger.address, "--ledger-secret", str(secret)]


async def started(launch: Launch, ledger: FakeLedger, folder: Path, *more: str) -> Running:
    running = await launch([FakeWorker(0, logs=True), FakeWorker(1, logs=True)], *flags(ledger, folder), *more)
    await running.until(200)
    return running


async def test_what_is_published_is_logged_and_shown(launch: Launch, ledger: FakeLedger, tmp_path: Path) -> None:
    running = await started(launch, ledger, tmp_path)
    status, _, body = await running.fetch(GATEWAY_PATH, address=running.listen, accept=KEY_BUNDLES)
    assert status == 200
    bundle = parse_bundles(body)[0]
    assert is_logged(bundle, parse_bundle(bundle).proofs)
    assert ledger.submitted[0].core == parse_bundle(bundle).core


async def test_what_happens_is_counted_and_logged(launch: Launch, ledger: FakeLedger, tmp_path: Path) -> None:
    running = await started(launch, ledger, tmp_path, "--announce-ahead", "0")
    text = (await running.fetch("/metrics"))[2].decode()
    for line in (
        'seclude_gateway_key_steps_total{result="ok",step="log"} 1.0',
        'seclude_gateway_key_steps_total{result="failed",step="log"} 0.0',
        "seclude_gateway_logged_epoch 0.0",
        'seclude_gateway_ledger_fetches_total{result="silent"} 0.0',
    ):
        assert line in text.splitlines()
    age = next(line for line in text.splitlines() if line.startswith("seclude_gateway_proofs_age_seconds"))
    assert 0 <= float(age.split()[1]) < 30
    steps = [line for line in running.lines() if line["event"] in ("birth", "log", "join", "publish")]
    assert [step["event"] for step in steps] == ["birth", "log", "join", "publish"]
    assert {key: steps[1][key] for key in ("worker", "epoch")} == {"worker": 0, "epoch": 0}
    assert "127.0.0.1" not in running.log.read_text().replace(running.listen, "").replace(running.admin, "")


async def test_a_ledger_that_is_away_is_a_reason_and_is_logged_once(
    launch: Launch, ledger: FakeLedger, tmp_path: Path
) -> None:
    await ledger.stop()
    running = await launch([FakeWorker(0, logs=True), FakeWorker(1, logs=True)], *flags(ledger, tmp_path))
    await asyncio.sleep(1.0)
    status, _, body = await running.fetch("/readyz")
    assert status == 503
    assert "the ledger does not answer" in msgspec.json.decode(body)["reasons"]
    assert [line["fault"] for line in running.lines() if line["event"] == "ledger"] == ["silent"]
    await ledger.start()
    await running.until(200)
    assert [line["fault"] for line in running.lines() if line["event"] == "ledger"] == ["silent", "ok"]


async def test_a_submission_that_is_refused_is_logged_with_its_status(
    launch: Launch, ledger: FakeLedger, tmp_path: Path
) -> None:
    ledger.answer = {Place.ADD_EPOCH: (403, b"")}
    running = await launch([FakeWorker(0, logs=True), FakeWorker(1, logs=True)], *flags(ledger, tmp_path))
    await asyncio.sleep(1.0)
    failed = [line for line in running.lines() if line["event"] == "log"]
    assert failed
    assert {key: failed[0][key] for key in ("error", "fault", "status")} == {
        "error": "LedgerError", "fault": "status", "status": 403
    }  # fmt: skip
    _, _, body = await running.fetch("/readyz")
    assert "the ledger answers with an error" in msgspec.json.decode(body)["reasons"]


async def test_several_processes_log_each_epoch_once(launch: Launch, ledger: FakeLedger, tmp_path: Path) -> None:
    running = await launch(
        [FakeWorker(0, logs=True), FakeWorker(1, logs=True)], *flags(ledger, tmp_path), "--processes", "2"
    )
    await running.until(200)
    assert len(ledger.here.keys) in (1, 2), "that of now, and perhaps the announced one"


async def test_the_running_process_maps_nothing_that_could_verify(
    launch: Launch, ledger: FakeLedger, tmp_path: Path
) -> None:
    running = await started(launch, ledger, tmp_path)
    maps = await asyncio.to_thread(Path(f"/proc/{running.process.pid}/maps").read_text)
    assert "httptools" in maps, "the test looks at the right process"
    for name in ("cryptography", "_rust.abi3", "cffi"):
        assert name not in maps
