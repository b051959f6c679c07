"""JavaScript's `@hpke/core` and `bhttp-js` under Node.js, as client and as gateway."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.interop.peers import Peer
from tests.interop.suite import Suite

HERE = Path(__file__).parent / "node"
MINIMUM_NODE = 20  # the first with ReadableStream.from(), of which the client makes a body that is sent as it comes

pytestmark = pytest.mark.timeout(360)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Peer:
    """The programs with their libraries, installed from the lock file."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node.js or npm is not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").split(".")[0]) < MINIMUM_NODE:
        pytest.skip(f"Node.js is {version.strip()}, older than {MINIMUM_NODE}")
    folder = tmp_path_factory.mktemp("node")
    for path in (*HERE.glob("*.mjs"), *HERE.glob("*.json")):
        shutil.copy(path, folder)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    packages = json.loads((folder / "package.json").read_text())["dependencies"]
    return Peer(
        "JavaScript: `@hpke/core`, `bhttp-js`",
        f"{packages['@hpke/core']}, {packages['bhttp-js']}",
        (node, str(folder / "client.mjs")),
        (node, str(folder / "gateway.mjs")),
    )


class TestNode(Suite):
    """With `peer`, everything of the suite."""
