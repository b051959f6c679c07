"""The publishers' verbs as people type them, against a real ledger with three real witnesses."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger.keyfiles import load_signer
from tests.ledger.ledger_rig import Witnesses
from tests.ledger.publishing import ORIGIN, digest_of, release_of, write_release
from tests.running import ROOT

VERBS = ("release", "snapshot", "sign", "submit", "state")


@dataclass
class Service:
    """A ledger for the state of one service, and the folder in which its publishers type."""

    folder: Path
    url: str = ""

    def run(self, *arguments: str, status: int = 0, stdin: str = "") -> str:
        """Run `seclude-ledger` and return what it says, on the stream that goes with the status."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "ledger", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, input=stdin, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if status == 0 else done.stderr

    def key(self, kind: str, name: str) -> str:
        return self.run("keygen", "--kind", kind, "--name", name, "--out", f"{name.partition('.')[0]}.key").strip()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    publishers = [service.key("publisher", f"{name}.example") for name in ("alice", "bert")]
    service.key("log", "log.example")
    service.run("keygen", "--kind", "submit", "--out", "submit.key")
    witnesses = Witnesses(tmp_path, load_signer(tmp_path / "log.key"), 3, 2)
    (tmp_path / "witnesses.policy").write_text(witnesses.policy())
    (tmp_path / "ledger.toml").write_text(
        f"""data = "data"
witnesses = "witnesses.policy"
submit_secrets = ["submit.key"]
origin = "{ORIGIN}"
publishers = {json.dumps(publishers)}
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
[state]
key = "log.key"
"""
    )
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "ledger", "--config", "ledger.toml", "--announce", str(write_end)]
    with (tmp_path / "errors").open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=errors,
            pass_fds=(write_end,),
        )
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        line = pipe.readline()
    assert line, (tmp_path / "errors").read_text()
    service.url = f"http://{json.loads(line)['listen']}"
    yield service
    process.terminate()
    process.wait(30)
    witnesses.stop()


def test_a_release_and_its_revocation_go_their_whole_way(service: Service) -> None:
    added = write_release(service.folder, release_of(1))
    first = ["--origin", ORIGIN, "--add", added, "--expires", "30", "--out", "first.txt"]
    assert "not signed yet" in service.run("snapshot", *first)
    service.run("sign", "--key", "alice.key", "--first", "first.txt", stdin="y\n")
    submit = ["--ledger", service.url, "--secret", "submit.key"]
    assert "it takes 2" in service.run("submit", *submit, "first.txt", status=2)
    service.run("sign", "--key", "bert.key", "--first", "--yes", "first.txt")
    assert "stands in the log and is cosigned" in service.run("submit", *submit, "first.txt")
    service.run("state", "--ledger", service.url, "--out", "last.txt")

    forged = (service.folder / "first.txt").read_bytes().replace(b'"role":"worker"', b'"role":"wooker"')
    (service.folder / "forged.txt").write_bytes(forged)
    assert "signature of alice.example is not good" in service.run("submit", *submit, "forged.txt", status=1)

    revoke = ["--from", "last.txt", "--revoke", f"{digest_of(1)}=it keeps what it is asked", "--expires", "30"]
    service.run("snapshot", *revoke, "--out", "next.txt")
    service.run("sign", "--key", "bert.key", "--from", "last.txt", "--yes", "next.txt")
    service.run("submit", *submit, "--from", "last.txt", "next.txt")
    assert "stands in the log" in service.run("submit", *submit, "next.txt"), "the same again changes nothing"
    answer = json.loads(service.run("state", "--ledger", service.url, "--json"))
    assert answer["size"] == 2
    assert answer["snapshot"]["releases"] == []
    assert answer["snapshot"]["revocations"][0]["reason"] == "it keeps what it is asked"
    assert "takes back the revocation" in service.run("submit", *submit, "first.txt", status=2)
    service.run("state", "--ledger", service.url, "--out", "newest.txt")
    refused = service.run("submit", *submit, "--from", "newest.txt", "first.txt", status=1)
    assert "refuses it with 409: the snapshot was issued at" in refused, "an old state never comes back"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(tmp_path: Path, verb: str) -> None:
    said = Service(tmp_path).run(verb, "--help")
    assert "example" in said
    assert f"\n  seclude-ledger {verb} " in said


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_refuses_wrong_usage(tmp_path: Path, verb: str) -> None:
    assert f"seclude-ledger {verb}: error:" in Service(tmp_path).run(verb, "--unheard-of", status=2)
