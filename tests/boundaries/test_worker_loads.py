"""What a worker process is made of: a committed list of packages, and nothing that the manifest does not name."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from seclude import bhttp
from seclude.attestation.bundle import parse_bundle, parse_core
from seclude.client.trust import load_trust
from seclude.ohttp.encapsulation import encapsulate_request
from seclude.ohttp.keyconfig import parse_key_configs
from seclude.pool import Birth, serialize_birth
from seclude.tasks import Message, RewriteRequest, SummarizeRequest, encode
from tests.running import Running

PACKAGES = Path(__file__).parent / "worker-packages.txt"


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
def test_serving_needs_nothing_that_was_not_loaded_when_it_was_measured(stack: Running) -> None:
    """A worker that is locked down opens no file, so whatever it still had to import would fail where it is needed."""
    command = [sys.executable, "-m", "inference", "--config", str(stack.state / "worker.toml")]
    addresses = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    with subprocess.Popen([*command, *addresses], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        events: list[dict[str, str]] = []
        while not events or events[-1]["event"] != "ready":
            events.append(json.loads(next(process.stderr)))
        epoch = load_trust(stack.trust).policy().slots.epoch_at(time.time())
        birth = Birth(epoch, stack.proofs())
        exercise(f"http://{events[-1]['listen']}", f"http://{events[-1]['admin']}", birth)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        events.extend(json.loads(line) for line in process.stderr)
    assert [event["event"] for event in events] == [
        "starting",
        "simulated",
        "locked_down",
        "ready",
        "stopping",
        "drained",
        "stopped",
    ]


def exercise(worker: str, admin: str, birth: Birth) -> None:
    """Ask for everything that a worker can be asked for, errors included."""
    core = parse_core(parse_bundle(post(f"{worker}/pool/birth", serialize_birth(birth))).core)
    assert post(f"{worker}/pool/nonce", b"")
    config = parse_key_configs(core.key_configs)[0]
    summarize = encode(SummarizeRequest(messages=(Message(sender="A", text="At 9? We decided on Müller's, £20."),)))
    rewrite = encode(RewriteRequest(text="i cant come tmrw, he dont know teh hospitel", tone="proofread"))
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
