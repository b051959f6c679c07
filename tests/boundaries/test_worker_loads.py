"""What a worker process is made of: a committed list of packages, and nothing that the manifest does not name."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from inference.isolate import ENVIRONMENT
from seclude import bhttp
from seclude.attestation.bundle import parse_bundle, parse_core
from seclude.ohttp.encapsulation import encapsulate_request
from seclude.ohttp.keyconfig import parse_key_configs
from seclude.tasks import Message, RewriteRequest, SummarizeRequest, encode
from tests.running import Running

PACKAGES = Path(__file__).parent / "worker-packages.txt"

# Runs the worker's own main() and, when it has ended, writes down the file of every module that it came to load, apart
# from those that are frozen into the interpreter's own file.
RECORDER = """
import atexit, json, sys
from pathlib import Path
def record():
    modules = [m for m in list(sys.modules.values()) if getattr(getattr(m, "__spec__", None), "origin", "") != "frozen"]
    files = {str(Path(m.__file__).resolve()) for m in modules if getattr(m, "__file__", None)}
    Path(sys.argv[1]).write_text(json.dumps(sorted(files)))
atexit.register(record)
from inference.main import main
sys.exit(main(sys.argv[2:]))
"""


@dataclass(frozen=True)
class Recorder:
    """A worker under the recorder; its manifest names the recorder too."""

    script: Path
    dump: Path

    def run(self, *arguments: str) -> subprocess.Popen[str]:
        options = ["-I", "-B", "-X", "pycache_prefix=/dev/null/no-bytecode", "-X", "utf8"]
        command = [sys.executable, *options, str(self.script), str(self.dump), *arguments]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def entries(manifest: Path) -> list[str]:
    """Return the paths that a manifest names."""
    return [entry["path"] for entry in json.loads(manifest.read_text())["entries"]]


def test_the_workers_packages_are_the_committed_list(stack: Running) -> None:
    found = [re.match(r"(?:site|app)/([^/]+)", path) for path in entries(stack.state / "worker.manifest")]
    loaded = {re.sub(r"\.(py|pth|cpython-.*)$", "", match.group(1)) for match in found if match}
    committed = {line for line in PACKAGES.read_text().splitlines() if line and not line.startswith("#")}
    assert loaded == committed, "explain the difference in the commit that changes the list"


def test_the_manifest_names_everything_that_a_running_worker_maps(stack: Running) -> None:
    known = {path.rsplit("/", 1)[-1] for path in entries(stack.state / "worker.manifest")}
    for worker in ("worker-0", "worker-1"):
        fields = [line.split(maxsplit=5) for line in Path(f"/proc/{stack.pid(worker)}/maps").read_text().splitlines()]
        mapped = {Path(each[5]).resolve().name for each in fields if len(each) == 6 and each[5].startswith("/")}
        assert "libc.so.6" in mapped
        assert mapped - {"gconv-modules.cache"} <= known


@pytest.mark.timeout(120)
def test_serving_loads_nothing_that_the_manifest_does_not_name(stack: Running, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "recorder.py", tmp_path / "modules.json")
    recorder.script.write_text(RECORDER)
    manifest, config = tmp_path / "manifest", tmp_path / "worker.toml"
    config.write_text(
        (stack.state / "worker.toml").read_text().replace(str(stack.state / "worker.manifest"), str(manifest))
    )
    with recorder.run("manifest", "--config", str(config), "--out", str(manifest)) as measuring:
        assert measuring.wait(timeout=60) == 0

    with recorder.run("--config", str(config), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as process:
        assert process.stderr is not None
        lines = [next(process.stderr) for _ in range(3)]
        ready = json.loads(lines[-1])
        assert ready["event"] == "ready", lines
        exercise(f"http://{ready['listen']}", f"http://{ready['admin']}")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0

    named = tuple(path.split("/", 1)[1] for path in entries(manifest))
    loaded = json.loads(recorder.dump.read_text())
    assert any(file.endswith("inference/main.py") for file in loaded)
    assert [file for file in loaded if not file.endswith(named)] == []


def exercise(worker: str, admin: str) -> None:
    """Ask for everything that a worker can be asked for, errors included."""
    core = parse_core(parse_bundle(post(f"{worker}/pool/birth", b'{"epoch": 0}', "application/json")).core)
    assert post(f"{worker}/pool/nonce", b"")
    config = parse_key_configs(core.key_configs)[0]
    summarize = encode(SummarizeRequest(messages=(Message(sender="A", text="At 9? We decided on Müller's, £20."),)))
    rewrite = encode(RewriteRequest(text="i cant come tmrw", tone="proofread"))
    for path, content, status in (
        (b"/v1/summarize", summarize, 200),
        (b"/v1/rewrite", rewrite, 200),
        (b"/v1/rewrite", b"{", 400),
        (b"/elsewhere", b"", 404),
    ):
        fields = (
            bhttp.Field(b"content-type", b"application/json"),
            bhttp.Field(b"date", b"Mon, 01 Jan 2024 00:00:00 GMT") if status == 404 else bhttp.Field(b"x", b"y"),
        )
        request = bhttp.serialize_request(bhttp.Request(b"POST", b"https", b"a.example", path, fields, content))
        data, opener = encapsulate_request(config, request)
        answer = bhttp.parse_response(opener.open(post(f"{worker}/ohttp", data, "message/ohttp-req")))
        assert answer.status == (400 if status == 404 else status), "the one with an old date is refused for it"
    for page in ("livez", "metrics", "version"):
        urllib.request.urlopen(f"{admin}/{page}").read()


def post(url: str, body: bytes, content_type: str = "application/octet-stream") -> bytes:
    request = urllib.request.Request(url, body, {"Content-Type": content_type}, method="POST")
    with urllib.request.urlopen(request) as answer:
        return bytes(answer.read())
