"""Rust's `ohttp` and `bhttp`, by the editor of both RFCs, as client and as gateway.

The first run compiles for about half a minute, into `run/`; later ones only look whether anything changed.
"""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.interop.ours import CHACHA, CHUNKED
from tests.interop.peers import Fault, Peer
from tests.interop.suite import Suite
from tests.running import ROOT

HERE = Path(__file__).parent / "rust"
TARGET = ROOT / "run" / "interop" / "rust"  # git knows nothing of run/
MINIMUM_CARGO = (1, 85)  # what the crates in the lock file need

pytestmark = pytest.mark.timeout(360)


@pytest.fixture(scope="module")
def peer() -> Peer:
    """The program, built with the crates of the lock file."""
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("Rust's cargo is not installed")
    said = subprocess.run([cargo, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < MINIMUM_CARGO:
        pytest.skip(f"{said.strip()} is older than {'.'.join(map(str, MINIMUM_CARGO))}")
    command = [cargo, "build", "--quiet", "--locked", "--manifest-path", str(HERE / "Cargo.toml")]
    done = subprocess.run([*command, "--target-dir", str(TARGET)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    program = str(TARGET / "debug" / "seclude-interop")
    crates = {entry["name"]: entry["version"] for entry in tomllib.loads((HERE / "Cargo.lock").read_text())["package"]}
    # stream.rs holds the response nonce in an array of 16 octets and takes a slice of max(Nn, Nk) = 32 of it.
    fault = Fault("range end index 32 out of range", "its client panics: 16 octets for a response nonce of 32")
    versions = f"{crates['ohttp']}, {crates['bhttp']}"
    return Peer(
        "Rust: `ohttp`, `bhttp`", versions, (program, "client"), (program, "gateway"), {(CHUNKED, CHACHA): fault}
    )


class TestRust(Suite):
    """With `peer`, everything of the suite."""
