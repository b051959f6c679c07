"""`seclude-witness` as its operator and the logs meet it: a real process that is killed, raced and out of disk."""

import asyncio
import random
import re
import resource
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from ledger.files import Files
from ledger.keyfiles import create_signer
from ledger.witness.daemon import EVENTS, Front, main
from seclude.daemon.log import Log
from seclude.daemon.messages import Request
from seclude.daemon.metrics import Metrics
from seclude.tlog.canonical import to_base64
from seclude.tlog.keys import (
    COSIGNATURE_ED25519,
    ED25519,
    PRIVATE,
    SignerKey,
    VerifierKey,
    generate_skey,
    parse_skey,
)
from tests.ledger.witness_rig import ROOT, WITNESS_KEYS, Answer, FakeLog, Process, Rig, cosigned_at
from tests.vectors import vector

Make = Callable[..., Process]
DIALOGUE = re.compile(
    r"POST \S+\n```\n(?P<body>.*?)```\nHTTP (?P<status>\d+)\n\[Asserts\]\n(?P<claim>[^\n]*)\n", re.DOTALL
)


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Process] = []

    def process(*logs: VerifierKey, keys: tuple[SignerKey, ...] = WITNESS_KEYS) -> Process:
        made.append(Process(tmp_path, logs, keys=keys))
        return made[-1]

    yield process
    for each in made:
        each.stop()


def size_of(process: Process, log: FakeLog) -> int:
    """Ask a witness which size it has, as a log does that has forgotten."""
    answer = process.post(log.ask(1, 1))
    return 1 if answer.status == 200 else int(answer.body)


# The dialogue that the witness of torchwood is tested with (cmd/litewitness/testdata/litewitness.txt).


def test_the_dialogue_of_litewitness_goes_as_written(make: Make) -> None:
    text = vector("tlog/litewitness.txt").decode()
    public = bytes.fromhex(re.findall(r"add-sigsum-log -key=([0-9a-f]{64})", text)[0])
    log = VerifierKey(f"sigsum.org/v1/tree/{sha256(public).hexdigest()}", ED25519, public)
    pem = text.partition("-- witness_key.pem --\n")[2].partition("\n\n")[0].encode()
    private = load_ssh_private_key(pem, None)
    assert isinstance(private, Ed25519PrivateKey)
    key = signer("example.com/witness", private)
    process = make(log, keys=(key,)).start("--new")
    steps = list(DIALOGUE.finditer(text))
    assert len(steps) == text.count("\nHTTP ") == 9
    for step in steps:
        answer = process.post(step["body"].encode())
        # The script has 403 for an origin that is not known, from before the protocol came to say 404 for it.
        expected = 404 if step["claim"] == 'body contains "unknown log"' else int(step["status"])
        assert answer.status == expected, answer
        if expected == 200:
            assert answer.body.startswith("\u2014 example.com/witness ".encode())
        if expected == 409:
            assert answer.media_type == "text/x.tlog.size"
            assert step["claim"] == 'body == "' + answer.body.decode().replace("\n", "\\n") + '"'
    page = process.ask("GET", "/").body.decode()
    assert f"{log.name}  5 leaves" in page


def signer(name: str, private: Ed25519PrivateKey) -> SignerKey:
    """Return a witness's key in our form."""
    verifier = VerifierKey(name, COSIGNATURE_ED25519, private.public_key().public_bytes_raw())
    material = to_base64(bytes([COSIGNATURE_ED25519]) + private.private_bytes_raw())
    return parse_skey(f"{PRIVATE}{name}+{verifier.key_id.hex()}+{material}")


# What it serves.


def test_it_cosigns_with_both_kinds_of_keys_and_shows_its_state(make: Make, log: FakeLog) -> None:
    process = make(log.verifier).start("--new")
    before = int(time.time())
    for old, size in ((0, 3), (3, 8), (8, 8)):
        answer = process.post(log.ask(old, size))
        assert (answer.status, answer.media_type) == (200, "text/plain; charset=utf-8")
        given = cosigned_at(answer.body, log.checkpoint(size), WITNESS_KEYS)
        assert all(before <= each <= time.time() for each in given)
    assert process.post(log.ask(3, 9)) == Answer(409, "text/x.tlog.size", b"8\n")
    page = process.ask("GET", "/").body.decode()
    assert [str(key.verifier) for key in WITNESS_KEYS] == re.findall(r"^witness\.example\S+$", page, re.MULTILINE)
    assert f"{log.verifier.name}  8 leaves, root {to_base64(log.checkpoint(8).root)}, cosigned last: 20" in page
    assert process.ask("GET", "/readyz", admin=True).status == 200
    metrics = process.ask("GET", "/metrics", admin=True).body.decode()
    assert f'seclude_witness_checkpoints_total{{log="{log.verifier.name}",result="cosigned"}} 3.0' in metrics
    assert f'seclude_witness_checkpoints_total{{log="{log.verifier.name}",result="other_size"}} 1.0' in metrics
    assert f'seclude_witness_log_size{{log="{log.verifier.name}"}} 8.0' in metrics
    assert process.stop() == 0
    lines = process.errors.read_text().splitlines()
    assert [re.findall(r'"event":"(\w+)"', line)[0] for line in lines] == [
        "starting",
        "ready",
        "stopping",
        "drained",
        "stopped",
    ]


def test_a_split_view_is_told_to_the_operator(make: Make, log: FakeLog) -> None:
    process = make(log.verifier).start("--new")
    process.post(log.ask(0, 3))
    for _ in range(3):
        assert process.post(FakeLog(log.key, b"another history").ask(3, 3)).status == 409
    assert "HAS SIGNED TWO TREES OF ONE SIZE" in process.ask("GET", "/").body.decode()
    process.stop()
    assert process.errors.read_text().count('"event":"split_view"') == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/add-checkpoint", 405),
        ("POST", "/", 405),
        ("GET", "/other", 404),
        ("POST", "/add-checkpoint/", 404),
        ("POST", "/sign-subtree", 404),
    ],
)
def test_nothing_else_is_served(make: Make, log: FakeLog, method: str, path: str, status: int) -> None:
    assert make(log.verifier).start("--new").ask(method, path).status == status


def test_a_body_has_a_limit(make: Make, log: FakeLog) -> None:
    process = make(log.verifier).start("--new")
    assert process.post(bytes(69_632)).status == 400
    assert process.post(bytes(69_633)).status == 413


# What it needs to start.


def test_a_second_process_on_one_memory_refuses(make: Make, log: FakeLog) -> None:
    process = make(log.verifier).start("--new")
    assert "another process keeps it" in process.refuse()
    assert process.post(log.ask(0, 3)).status == 200


def test_it_begins_at_zero_only_when_it_is_told_to(make: Make, log: FakeLog) -> None:
    process = make(log.verifier)
    assert "no such folder" in process.refuse()
    process.start("--new").post(log.ask(0, 3))
    process.stop()
    other = FakeLog(generate_skey("log.example/2", ED25519))
    more = make(log.verifier, other.verifier)
    assert 'nothing is remembered of the log "log.example/2"' in more.refuse()
    more.start("--new")
    assert size_of(more, log) == 3
    assert more.post(other.ask(0, 2)).status == 200


def test_damaged_memory_refuses_to_start(make: Make, log: FakeLog) -> None:
    process = make(log.verifier).start("--new")
    process.post(log.ask(0, 3))
    process.stop()
    (path,) = (process.folder / "state").glob("*.log")
    path.write_bytes(path.read_bytes()[:-9])
    for flags in ((), ("--new",)):
        said = process.refuse(*flags)
        assert said.startswith("seclude-witness: ")
        assert "is damaged" in said
        assert "make it a new key" in said


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('keys = ["{key}"]\n', "logs: none is named"),
        ('keys = []\nlogs = ["{log}"]\n', "keys: "),
        ('keys = ["{key}", "{key}"]\nlogs = ["{log}"]\n', "keys: the same key is named twice"),
        ('keys = ["{key}"]\nlogs = ["{log}", "{log}"]\n', "logs[1]: the same key is named twice"),
        ('keys = ["{key}"]\nlogs = ["nonsense"]\n', "logs[0]: "),
        ('keys = ["{key}"]\nlogs = ["{witness}"]\n', "logs[0]: the key of a witness"),
        ('keys = ["{other}"]\nlogs = ["{log}"]\n', "the key of a log or a publisher"),
        ('keys = ["{open}"]\nlogs = ["{log}"]\n', "others than its owner"),
        ('keys = ["{gone}"]\nlogs = ["{log}"]\n', "No such file"),
        ('keys = ["{key}"]\nlogs_file = "{gone}"\n', "No such file"),
        ('keys = ["{key}"]\nlogs_file = "{bad}"\n', "bad line 3: "),
        ('keys = ["{key}"]\nlogs = ["{log}"]\nlisten = "192.0.2.1:80"\n', "listen: "),
    ],
)
def test_a_configuration_that_is_wrong_is_said(
    tmp_path: Path, log: FakeLog, capsys: pytest.CaptureFixture[str], lines: str, said: str
) -> None:
    files = {name: tmp_path / name for name in ("key", "other", "open", "gone", "bad")}
    create_signer(files["key"], WITNESS_KEYS[0])
    create_signer(files["other"], log.key)
    create_signer(files["open"], WITNESS_KEYS[0])
    files["open"].chmod(0o644)
    files["bad"].write_text(f"# logs\n{log.verifier}\nnonsense\n")
    values = {name: str(path) for name, path in files.items()}
    text = lines.format(log=log.verifier, witness=WITNESS_KEYS[0].verifier, **values)
    (tmp_path / "witness.toml").write_text(f'state = "{tmp_path / "state"}"\n{text}')
    for command in ("check-config", "serve"):
        assert main([command, "--config", str(tmp_path / "witness.toml"), "--new"]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_logs_may_stand_in_a_file(tmp_path: Path, log: FakeLog, capsys: pytest.CaptureFixture[str]) -> None:
    create_signer(tmp_path / "w.key", WITNESS_KEYS[1])
    (tmp_path / "logs").write_text(f"# logs\n\n{log.verifier}\n")
    flags = ["--state", str(tmp_path / "state"), "--key", str(tmp_path / "w.key"), "--logs", str(tmp_path / "logs")]
    assert main(["check-config", *flags]) == 0
    assert f'logs_file = "{tmp_path / "logs"}"' in capsys.readouterr().out


def test_the_example_is_right_but_for_its_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "deploy" / "witness.toml").read_text()
    create_signer(tmp_path / "witness.key", WITNESS_KEYS[0])
    (tmp_path / "witness.toml").write_text(text.replace('"witness.key"', f'"{tmp_path / "witness.key"}"'))
    assert main(["check-config", "--config", str(tmp_path / "witness.toml")]) == 0
    assert "assistant.example/state+" in capsys.readouterr().out


# The disk.


def test_on_a_full_disk_nothing_is_cosigned_and_afterwards_everything_goes_on(make: Make, log: FakeLog) -> None:
    process = make(log.verifier).start("--new")
    process.post(log.ask(0, 3))
    assert process.process is not None
    (path,) = (process.folder / "state").glob("*.log")
    before = path.read_bytes()
    time.sleep(1.1)  # what was cosigned in this second is stored with it
    # The log of the process is a file too, so it writes none of its lines meanwhile; that must not stop it either.
    _, hard = resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    for _ in range(3):
        assert process.post(log.ask(3, 5)).status == 503
        assert process.post(log.ask(3, 3)).status == 503
        assert path.read_bytes() == before
    assert process.ask("GET", "/livez", admin=True).status == 200
    resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert process.post(log.ask(3, 5)).status == 200
    process.stop()
    assert process.errors.read_text().count('"event":"trouble_over"') == 1


async def test_a_slow_disk_stops_neither_the_loop_nor_other_questions(
    tmp_path: Path, log: FakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path / "state", [log.verifier]).start(create=True)
    front = Front(rig.witness, Metrics("witness"), Log("witness", events=EVENTS))
    slow, replace = threading.Event(), Files.replace

    def slowly(self: Files, name: str, content: bytes) -> None:
        slow.wait()
        replace(self, name, content)

    monkeypatch.setattr(Files, "replace", slowly)
    asked = asyncio.create_task(front.handle(Request("POST", "/add-checkpoint", None, None, None, Body(log.ask(0, 3)))))
    for _ in range(20):
        await asyncio.sleep(0.005)
        page = await front.handle(Request("GET", "/", None, None, 0, Body(b"")))
        assert b"0 leaves" in page.body
    assert not asked.done()
    slow.set()
    assert (await asked).status == 200
    rig.stop()


class Body:
    """A body that has come whole."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        return self._data

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self._data


# Races and kills.


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rounds", [20, pytest.param(1000, marks=pytest.mark.drill)])
def test_the_race_of_the_protocol_never_rolls_a_witness_back(make: Make, log: FakeLog, rounds: int) -> None:
    """Two requests at once from one size, in both orders, over two connections to a real process."""
    process, old, won = make(log.verifier, keys=WITNESS_KEYS[:1]).start("--new"), 0, [0, 0]
    rolled_back = 0
    with ThreadPoolExecutor(2) as pool:
        for number in range(rounds):
            sizes = [old + 1, old + 2][:: 1 if number % 2 else -1]
            bodies = [log.ask(old, size) for size in sizes]
            answers = list(pool.map(process.post, bodies))
            cosigned = [size for size, answer in zip(sizes, answers, strict=True) if answer.status == 200]
            assert sorted(answer.status for answer in answers) == [200, 409]
            old = cosigned[0]
            won[old - min(sizes)] += 1
            rolled_back += process.post(log.ask(0, old)).body != f"{old}\n".encode()
    print(f"{rounds} races, won by the smaller and the larger size: {won}; rolled back: {rolled_back}")
    assert rolled_back == 0
    process.stop()
    assert process.start().post(log.ask(0, old)).body == f"{old}\n".encode()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.drill)])
def test_a_witness_that_is_killed_knows_whatever_it_cosigned(make: Make, log: FakeLog, kills: int) -> None:
    process, cosigned, dice = make(log.verifier, keys=WITNESS_KEYS[:1]), 0, random.Random(6)
    given = 0
    for kill in range(kills):
        process.start(*(["--new"] if kill == 0 else []))
        known = size_of(process, log) if kill else 0
        assert known >= cosigned
        timer = threading.Timer(dice.uniform(0.02, 0.15), process.stop, kwargs={"kill": True})
        timer.start()
        try:
            while True:
                answer = process.post(log.ask(known, known + 1))
                assert answer.status == 200
                known = cosigned = known + 1
                given += 1
        except (OSError, HTTPException):
            timer.join()
    process.start()
    # One more than was heard of may be stored: it was killed between the disk and the answer.
    assert size_of(process, log) in (cosigned, cosigned + 1)
    print(f"{kills} kills, {given} cosignatures, none forgotten")


def test_what_an_older_backup_costs(make: Make, log: FakeLog) -> None:
    """A fact, not a promise: from its folder alone it cannot know, which is why docs/ledger-keys.md forbids backups."""
    process = make(log.verifier).start("--new")
    process.post(log.ask(0, 3))
    process.stop()
    (path,) = (process.folder / "state").glob("*.log")
    backup = path.read_bytes()
    assert process.start().post(log.ask(3, 8)).status == 200
    fork = FakeLog(log.key, b"another history", fork=3)
    assert process.post(fork.ask(8, 9)).status == 422
    process.stop()
    path.write_bytes(backup)
    assert process.start().post(fork.ask(3, 9)).status == 200
