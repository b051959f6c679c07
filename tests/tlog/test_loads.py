"""What relays and gateways read of logs, they read without any cryptography but hashes."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["canonical", "merkle", "note", "checkpoint", "tiles", "outline"])
def test_what_only_stores_and_forwards_loads_no_cryptography(module: str) -> None:
    code = f"import sys, seclude.tlog.{module}; print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
