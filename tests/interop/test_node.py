"""An Oblivious HTTP client with JavaScript's HPKE and Binary HTTP libraries gets an answer through all parties."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.running import Running

HERE = Path(__file__).parent / "node"
MINIMUM_NODE = 18  # the first with fetch() and WebCrypto as globals


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client with its libraries, installed from the lock file."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node.js or npm is not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").split(".")[0]) < MINIMUM_NODE:
        pytest.skip(f"Node.js is {version.strip()}, older than {MINIMUM_NODE}")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "client.mjs"):
        shutil.copy(HERE / name, folder)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "client.mjs"


@pytest.mark.timeout(360)
@pytest.mark.parametrize("aead", ["aes", "chacha"])
def test_a_javascript_client_gets_a_summary(client: Path, stack: Running, aead: str) -> None:
    messages = [{"sender": "Ana", "text": "We decided to meet at 9 on Saturday."}, {"sender": "Ben", "text": "ok!"}]
    status, body = ask(client, stack, "/v1/summarize", {"messages": messages}, aead)
    assert status == 200
    assert body["kind"] == "highlights"
    assert "9 on Saturday" in str(body["text"])


@pytest.mark.timeout(360)
def test_a_javascript_client_can_read_a_sealed_error(client: Path, stack: Running) -> None:
    status, body = ask(client, stack, "/v1/rewrite", {"text": "hello", "tone": "funny"}, "aes")
    assert status == 501
    assert body["status"] == 501


def ask(client: Path, stack: Running, path: str, content: object, aead: str) -> tuple[int, dict[str, object]]:
    command = ["node", str(client), stack.relay_url, path, json.dumps(content), aead]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return int(answer["status"]), dict(json.loads(answer["body"]))
