"""The worker as a process: what it refuses to start with, and what of its surroundings it ignores."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inference.main import main
from seclude.attestation.bundle import parse_bundle
from seclude.pool import OCTETS, Birth, Message, Shared, serialize_birth, serialize_shared
from seclude.tlog.keys import ML_DSA_44, generate_skey
from seclude.toml import render_toml
from tests.languagemodel import small_model
from tests.ledgers import LedgerHere
from tests.running import ROOT

EXAMPLE = (ROOT / "deploy" / "worker.toml").read_text()
PLACEHOLDER = 'roots = ["<base64 of root.der>"]'


def worker(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inference", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


@pytest.fixture(scope="module")
def folder(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A platform, a configuration and the manifest that goes with it."""
    folder = tmp_path_factory.mktemp("worker")
    made = worker("simulate-platform", "--out", str(folder / "platform"))
    assert made.returncode == 0
    text = EXAMPLE.replace(PLACEHOLDER, made.stdout.splitlines()[-1])  # as a person would, by copying the line
    assert text != EXAMPLE
    text = text.replace('"models/all-minilm-l6-v2"', f'"{model}"')
    for name in ("platform", "worker.manifest"):
        text = text.replace(f'"{name}"', f'"{folder / name}"')
    (folder / "worker.toml").write_text(text)
    done = worker("manifest", "--config", str(folder / "worker.toml"), "--out", str(folder / "worker.manifest"))
    assert done.returncode == 0, done.stderr
    return folder


def config(folder: Path, tmp_path: Path, before: str, after: str) -> str:
    """Write a configuration in which one thing is different."""
    text = (folder / "worker.toml").read_text()
    assert before in text
    changed = tmp_path / "worker.toml"
    changed.write_text(text.replace(before, after))
    return str(changed)


def test_a_changed_measured_value_is_other_software(folder: Path, tmp_path: Path) -> None:
    done = worker("--config", config(folder, tmp_path, "period_seconds = 600", "period_seconds = 3600"))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "seclude-worker: this machine does not hold the software of the manifest: changed: config/measured"
    )


def test_a_missing_manifest_says_how_to_make_one(folder: Path, tmp_path: Path) -> None:
    done = worker("--config", config(folder, tmp_path, "worker.manifest", "none.manifest"))
    assert done.returncode == 2
    assert "seclude-worker manifest" in done.stderr


def test_an_edited_manifest_is_refused(folder: Path, tmp_path: Path) -> None:
    edited = tmp_path / "edited.manifest"
    text = (folder / "worker.manifest").read_text()
    edited.write_text(re.sub(r'"length":(\d)', r'"length":9\1', text, count=1))
    done = worker("--config", config(folder, tmp_path, str(folder / "worker.manifest"), str(edited)))
    assert done.returncode == 2
    assert "digest is not that of its entries" in done.stderr


def test_the_environment_changes_nothing(folder: Path, tmp_path: Path) -> None:
    """A module in PYTHONPATH and a startup file would each be a way around the manifest."""
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit(77)")
    (tmp_path / "msgspec.py").write_text("raise SystemExit(78)")
    arguments = ("manifest", "--config", str(folder / "worker.toml"))
    plain = subprocess.run(
        [str(Path(sys.executable).with_name("seclude-worker")), *arguments], capture_output=True, text=True, timeout=60
    )
    # The first interpreter, which only reads its arguments, must not fall for the traps itself: hence -I.
    trapped = subprocess.run(
        [sys.executable, "-I", "-m", "inference", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "sitecustomize.py")},
    )
    assert plain.returncode == trapped.returncode == 0, plain.stderr + trapped.stderr
    assert plain.stdout == trapped.stdout == (folder / "worker.manifest").read_text()


def root_line(folder: Path) -> str:
    return next(line for line in (folder / "worker.toml").read_text().splitlines() if line.startswith("roots"))


def test_what_simulate_platform_prints_is_toml_with_its_root(folder: Path, tmp_path: Path) -> None:
    done = worker("simulate-platform", "--out", str(tmp_path / "platform"))
    printed = tomllib.loads(done.stdout)
    assert printed == {"roots": [base64.b64encode((tmp_path / "platform" / "root.der").read_bytes()).decode()]}
    assert "SIMULATED" in done.stdout


@pytest.mark.parametrize("verb", ["check-config", "manifest", "serve"])
@pytest.mark.parametrize(
    ("roots", "sentence"),
    [
        (["<base64 of root.der>"], "Invalid base64 encoded string"),
        (["AAAA"], "a pinned simulated root is not a well-formed root certificate"),
        ([], "Expected `array` of length >= 1"),
    ],
    ids=["placeholder", "no certificate", "none"],
)
def test_a_root_that_is_no_certificate_is_refused_by_name(
    folder: Path, tmp_path: Path, roots: list[str], sentence: str, verb: str
) -> None:
    done = worker(verb, "--config", config(folder, tmp_path, root_line(folder), f"roots = {roots}"))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("seclude-worker: measured.policy")
    assert sentence in line


def test_a_platform_that_nobody_pins_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "platform"
    assert worker("simulate-platform", "--out", str(other)).returncode == 0
    done = worker("--config", config(folder, tmp_path, str(folder / "platform"), str(other)))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "seclude-worker: no device and no other worker would believe this machine: step 3: "
        "simulated step 2: the platform certificate is not signed by a pinned root"
    )


def test_a_manifest_that_cannot_be_written_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    done = worker("manifest", "--config", str(folder / "worker.toml"), "--out", str(tmp_path / "none" / "manifest"))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "No such file or directory" in done.stderr


@contextmanager
def serving(path: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Run a worker; yield it with the addresses that it bound."""
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "inference", "--config", path, "--announce", str(writing)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, pass_fds=(writing,)) as process:
        os.close(writing)
        try:
            with os.fdopen(reading) as pipe:
                yield process, json.loads(pipe.readline())
        finally:
            process.kill()


def readiness(admin: str) -> tuple[int, list[str]]:
    try:
        with urllib.request.urlopen(f"http://{admin}/readyz", timeout=10) as answer:
            return answer.status, json.load(answer)["reasons"]
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)["reasons"]


def test_launch_parameters_change_no_measurement_and_work_as_elsewhere(folder: Path, tmp_path: Path) -> None:
    """Text in the log, and a time in which it serves on while it is unready."""
    launch = "[launch]\nlog_text = true\ntimeouts = { pre_stop = 1.0, drain = 0 }\n"
    with serving(config(folder, tmp_path, "[launch]\n", launch)) as (process, addresses):
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        while "draining" not in readiness(addresses["admin"])[1]:
            assert time.monotonic() < deadline
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    events = [line.split()[1:4] for line in log.splitlines()]
    assert events == [
        ["info", "worker", each]
        for each in ("starting", "simulated", "locked_down", "ready", "stopping", "drained", "stopped")
    ]


def test_a_worker_whose_own_look_refuses_its_language_model_ends_with_all_its_threads(
    folder: Path, tmp_path: Path
) -> None:
    """What launched it measured what the manifest names; what lies beside that, it finds when its engine runs."""
    language, manifest = small_model(tmp_path), tmp_path / "manifest"
    path = config(folder, tmp_path, "[launch]\n", f'[launch]\nlanguage_model = "{language}"\n')
    Path(path).write_text(Path(path).read_text().replace(str(folder / "worker.manifest"), str(manifest)))
    made = worker("manifest", "--config", path, "--out", str(manifest))
    assert made.returncode == 0, made.stderr
    with serving(path) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    (language / "extra").touch()
    done = worker("--config", path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"seclude-worker: this is not the software of {manifest}: new: language/extra"
    )


def test_a_clock_before_the_first_slot_is_a_reason_and_no_failure(folder: Path, tmp_path: Path) -> None:
    path = config(folder, tmp_path, "t0 = 1767225600", f"t0 = {int(time.time()) + 86_400}")
    manifest = tmp_path / "manifest"
    Path(path).write_text(Path(path).read_text().replace(str(folder / "worker.manifest"), str(manifest)))
    assert worker("manifest", "--config", path, "--out", str(manifest)).returncode == 0
    with serving(path) as (_, addresses):
        assert readiness(addresses["admin"]) == (503, ["clock before the first slot"])


def said(listen: str, message: Message, body: bytes = b"") -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://{listen}{message}", body, {"Content-Type": OCTETS}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def test_workers_that_are_locked_down_make_and_take_over_keys_under_proofs(folder: Path, tmp_path: Path) -> None:
    """Nothing that they need for it is loaded only then: witnesses here sign with both kinds of keys."""
    ledger = LedgerHere(origin="assistant.example")
    ledger.witness_keys[1:] = [generate_skey(key.verifier.name, ML_DSA_44) for key in ledger.witness_keys[1:]]
    path, t0 = tmp_path / "worker.toml", int(time.time()) - 1000
    text = (folder / "worker.toml").read_text().replace("t0 = 1767225600", f"t0 = {t0}")
    text = text.replace(str(folder / "worker.manifest"), str(tmp_path / "manifest"))
    path.write_text(
        text.replace("\n[launch]\n", "\n" + render_toml(ledger.table(), "measured.policy.ledger") + "\n[launch]\n")
    )
    made = worker("manifest", "--config", str(path), "--out", str(tmp_path / "manifest"))
    assert made.returncode == 0, made.stderr
    ledger.publish(ledger.release(bytes.fromhex(made.stdout.strip()), now=time.time()), now=time.time())
    with serving(str(path)) as (member, one), serving(str(path)) as (joiner, other):
        assert said(one["listen"], Message.BIRTH, serialize_birth(Birth(1)))[0] == 422, "without proofs"
        stale = ledger.proofs(time.time() - 2000)
        assert said(one["listen"], Message.BIRTH, serialize_birth(Birth(1, stale)))[0] == 422
        status, born = said(one["listen"], Message.BIRTH, serialize_birth(Birth(1, ledger.proofs(time.time()))))
        assert status == 200
        bundle = parse_bundle(born)
        unlogged = ledger.proofs(time.time())
        ledger.log(1, bundle.core, bundle.evidence)
        for proofs, expected in ((unlogged, 422), (ledger.proofs(time.time()), 204)):
            request = said(other["listen"], Message.JOIN, said(one["listen"], Message.NONCE)[1])[1]
            keys = said(one["listen"], Message.ADMIT, request)[1]
            assert said(other["listen"], Message.KEYS, serialize_shared(Shared(keys, proofs)))[0] == expected
        assert readiness(other["admin"]) == (200, [])
        for process in (member, joiner):
            process.send_signal(signal.SIGTERM)
        logs = [
            [json.loads(line) for line in process.communicate(timeout=20)[1].splitlines()]
            for process in (member, joiner)
        ]
    refused = [[(each["error"], each["step"]) for each in log if each["event"] == "not_believed"] for log in logs]
    assert refused == [[("PolicyError", 13), ("PolicyError", 14)], [("EvidenceError", 16)]]
    assert not any(each["level"] == "error" for log in logs for each in log)


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("log.example/keys+", "log.example/keis+", "ledger.keys_log: key of log.example/keis: its id is not that"),
        ("group most 2", "group most 1", "ledger.witnesses: two sets of witnesses"),
        ("quorum most", "quorum none", "ledger.witnesses: two sets of witnesses"),
    ],
)
def test_a_ledger_that_cannot_be_believed_is_refused_before_the_start(
    folder: Path, tmp_path: Path, before: str, after: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = render_toml(LedgerHere().table(), "measured.policy.ledger")
    assert before in table
    path = config(folder, tmp_path, "[launch]\n", table.replace(before, after) + "\n[launch]\n")
    assert main(["check-config", "--config", path]) == 2
    assert capsys.readouterr().err.startswith(f"seclude-worker: measured.policy: {problem}")


def test_a_platform_is_never_written_over(folder: Path) -> None:
    done = worker("simulate-platform", "--out", str(folder / "platform"))
    assert done.returncode == 2
    assert "already holds" in done.stderr


def test_the_platforms_key_is_for_its_owner_only(folder: Path) -> None:
    assert (folder / "platform" / "platform.key").stat().st_mode & 0o777 == 0o600


def test_check_config_names_every_problem(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "worker.toml"
    broken.write_text('[measured]\norigin = 1\ntypo = 2\n[launch]\nmodel = "x"\n')
    done = worker("check-config", "--config", str(broken))
    assert done.returncode == 2
    for path in (
        "measured.origin",
        "measured.typo",
        "measured.t0",
        "measured.policy",
        "launch.manifest",
        "launch.attestation",
    ):
        assert f"seclude-worker: {path}: " in done.stderr


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('origin = "assistant.example"', 'origin = "https://a"', "measured.origin is not a host"),
        ("period_seconds = 600", "period_seconds = 0", "measured.period_seconds: Expected `int` >= 1"),
        ("t0 = 1767225600", "t0 = -1", "measured.t0: Expected `int` >= 0"),
        ('role = "worker"', 'role = "Worker"', "measured.role is not a word"),
        (
            'purpose = "demonstration"',
            'purpose = "production"',
            "measured.policy: Object contains unknown field `simulated`",
        ),
        ('purpose = "demonstration"', 'purpose = "trial"', "measured.policy.purpose: Invalid value"),
        ("[measured.policy]", "renew_requests = 0\n[measured.policy]", "measured.renew_requests: Expected `int` >= 1"),
        ("[measured.policy]", "renew_minutes = 0\n[measured.policy]", "measured.renew_minutes: Expected `int` >= 1"),
        ('format = "simulated"', 'format = "imagined"', "launch.attestation.format: Invalid enum value"),
        (
            "[launch]\n",
            '[launch]\nlisten = "0.0.0.0:1"\n',
            "launch.listen: 0.0.0.0:1 is not loopback: put TLS in front",
        ),
        (
            "[launch]\n",
            '[launch]\nadmin = "0.0.0.0:1"\ninsecure_plaintext = true\n',
            "launch.admin: 0.0.0.0:1 is not loopback",
        ),
        ("[launch]\n", "[launch]\ntimeouts = { drain = -1 }\n", "launch.timeouts.drain: Expected `float` >= 0.0"),
    ],
)
def test_check_config_names_the_key_at_fault(
    folder: Path, tmp_path: Path, before: str, after: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-config", "--config", config(folder, tmp_path, before, after)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"seclude-worker: {problem}")


def test_check_config_shows_what_is_in_effect(folder: Path) -> None:
    done = worker("check-config", "--config", str(folder / "worker.toml"), "--admin", "127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    assert 'admin = "127.0.0.1:1"' in done.stdout
    assert "replay_limit = 1000000" in done.stdout


@pytest.mark.parametrize("address", ["192.0.2.1:1", "0.0.0.0:0"])
def test_plaintext_beyond_loopback_is_refused(folder: Path, address: str) -> None:
    done = worker("--config", str(folder / "worker.toml"), "--listen", address)
    assert done.returncode == 2
    assert "loopback" in done.stderr
