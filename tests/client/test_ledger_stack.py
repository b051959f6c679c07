"""The monitor and a receipt against a real ledger with real witnesses, as `make up` runs them."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from seclude.client.receipts import load_receipt
from tests.running import ROOT, Running


@pytest.fixture
def ledger(stack: Running) -> str:
    return str(stack.facts["ledger"])


def test_a_monitor_finds_nothing_in_a_running_service(stack: Running, ledger: str, tmp_path: Path) -> None:
    command = ["monitor", "--ledger", ledger, "--state", str(tmp_path / "monitor.json"), "--relay", "--json"]
    done = stack.seclude(*command)
    assert done.returncode == 0, (done.stdout, done.stderr)
    look = json.loads(done.stdout)
    assert [finding["kind"] for finding in look["findings"] if finding["level"] == "finding"] == []
    assert look["epochs"] >= 1
    assert look["relays"] == [stack.relay_url]
    again = json.loads(stack.seclude(*command).stdout)
    assert again["logs"]["state"]["read"] == 0


def test_the_page_reads_checkpoints_with_curl(ledger: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (block,) = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs" / "ledger.md").read_text(), re.MULTILINE | re.DOTALL)
    environment = os.environ | {"LEDGER": ledger}
    done = subprocess.run(["bash", "-e", "-c", block], env=environment, capture_output=True, timeout=20, check=True)
    assert [line for line in done.stdout.decode().splitlines() if line.endswith(("/keys", "/state"))] == [
        "demo.seclude.invalid/state",
        "demo.seclude.invalid/keys",
    ]


def test_a_streamed_answer_has_a_receipt_too(stack: Running, tmp_path: Path) -> None:
    chat = str(ROOT / "deploy" / "demo" / "chat.txt")
    receipt = tmp_path / "receipt.json"
    done = stack.seclude("summarize", chat, "--stream", "--receipt", str(receipt))
    assert done.returncode == 0, done.stderr
    assert load_receipt(receipt).origin == "demo.seclude.invalid"


def test_a_receipt_of_a_real_request_verifies_and_the_live_log_holds_it(
    stack: Running, ledger: str, tmp_path: Path
) -> None:
    receipt = str(tmp_path / "receipt.json")
    asked = stack.seclude("rewrite", "i cant come", "--receipt", receipt)
    assert asked.returncode == 0, asked.stderr
    show = ["receipt", "show", receipt, "--ledger", ledger, "--proofs", str(tmp_path / "proofs"), "--json"]
    done = stack.seclude(*show)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["live"].keys() == {"keys", "state"}
    assert shown["entries"]["keys"]["index"] == shown["keys"]["epoch"]
    assert len(shown["proofs"]) == 6
