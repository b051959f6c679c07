"""A worker that is locked down: what a payload in it can do, who can look at it, and that it serves all the same."""

import asyncio
import ctypes
import http.client
import json
import os
import platform
import re
import resource
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from deploy import stack as deployed
from inference import lockdown
from inference.front import Front
from inference.seccomp import MACHINES
from inference.worker import NOT_LOCKED, _Gate
from seclude import bhttp
from seclude.attestation.bundle import parse_bundle, parse_core
from seclude.attestation.slots import Slots
from seclude.chat import CHAT_PATH, DONE, ChatMessage, ChatRequest
from seclude.daemon.messages import Request, Response
from seclude.errors import ConfigError
from seclude.ohttp.chunked import ResponseOpener, encapsulate_chunked
from seclude.ohttp.encapsulation import encapsulate_request
from seclude.ohttp.keyconfig import KeyConfig, parse_key_configs
from seclude.ohttp.media import EVENT_STREAM, OHTTP_CHUNKED_REQ, OHTTP_REQ
from seclude.pool import Birth, serialize_birth
from seclude.pool import Message as Path_
from seclude.tasks import TONES, Message, RewriteRequest, SummarizeRequest, encode
from tests.authority import Authority
from tests.exports import tiny
from tests.inference.locked import LIBC, Prepared, actions
from tests.languagemodel import small_model
from tests.running import ROOT, Running, start_stack, stop_stack

if platform.machine() not in MACHINES:
    pytest.skip(f"no lockdown on {platform.machine()}", allow_module_level=True)

with closing(Prepared()) as _prepared:
    ACTIONS = tuple(actions(_prepared))
EPERM = 1
EACCES = 13
MODEL_NAME = "small-chat"
# Of these, others than root are refused some by every system, with the same error.
FOR_ROOT = {
    "change the root", "mount", "open by handle", "perf events", "a program in the kernel", "userfaultfd", "io_uring",
    "trace its parent", "read its parent's memory", "open its parent's memory", "compare with its parent",
    "advise its parent", "a key in the kernel",
}  # fmt: skip
BY_LANDLOCK = {  # the error that it answers with, and the ABI that brought it (landlock(7))
    "open a file to read": (EACCES, 1), "open a file to write": (EACCES, 1), "open its own memory": (EACCES, 1),
    "list a folder": (EACCES, 1), "delete a file": (EACCES, 1), "rename a file": (EACCES, 1),
    "make a symbolic link": (EACCES, 1), "make a folder": (EACCES, 1), "make a pipe in a folder": (EACCES, 1),
    "link a file": (EACCES, 2), "truncate a file": (EACCES, 3), "connect": (EACCES, 4), "signal its parent": (EPERM, 6),
}  # fmt: skip


def run(what: str, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.inference.locked", what, *arguments]
    with tempfile.TemporaryDirectory() as folder:  # what is locked down can remove no file
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": folder}
        os.chmod(folder, 0o777)  # for one that gives up its privileges
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=50, check=False
        )


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def attacked() -> list[dict[str, object]]:
    """What a payload met that tried everything."""
    done = run("attack")
    assert done.returncode == 0, done.stderr
    return lines(done)


@pytest.fixture(scope="module")
def freely() -> dict[object, object]:
    """What the same actions meet in processes that are not locked down."""
    done = run("free", *ACTIONS)
    assert done.returncode == 0, done.stderr
    return {line["action"]: line["error"] for line in lines(done)}


@pytest.mark.parametrize("where", ["main thread", "task's thread"])
@pytest.mark.parametrize("action", ACTIONS)
def test_it_is_refused(attacked: list[dict[str, object]], action: str, where: str) -> None:
    (met,) = [line["error"] for line in attacked if line.get("action") == action and line["where"] == where]
    assert met == EPERM


@pytest.mark.parametrize("action", ACTIONS)
def test_it_is_lockdown_that_refuses_it(freely: dict[object, object], action: str) -> None:
    if freely[action] == EPERM and action in FOR_ROOT and os.geteuid() != 0:
        pytest.skip("refused to everybody but root")
    assert freely[action] != EPERM


def test_every_call_that_is_not_listed_is_refused_and_so_are_those_of_x32(attacked: list[dict[str, object]]) -> None:
    met = {line["number"]: line["error"] for line in attacked if "number" in line}
    assert len(met) > 400
    assert "x32" in met
    assert set(met.values()) == {EPERM}


def test_a_locked_process_still_runs_its_model(model: Path, attacked: list[dict[str, object]]) -> None:
    assert attacked[-1] == {"works": True}


def test_it_says_what_was_put_in_place(attacked: list[dict[str, object]]) -> None:
    first = attacked[0]
    assert isinstance(first["instructions"], int)
    assert first["instructions"] > 100
    assert isinstance(first["octets"], int)
    assert first["octets"] > 0 or os.geteuid() != 0


@contextmanager
def waiting(lock: str) -> Iterator[int]:
    """Run a process with threads, locked down or free; yield its number."""
    command = [sys.executable, "-m", "tests.inference.locked", "wait", "60", lock]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert json.loads(process.stdout.readline()) == {"ready": True}
            yield process.pid
        finally:
            process.kill()


def status(pid: int, thread: str = "") -> dict[str, str]:
    path = Path(f"/proc/{pid}/task/{thread}/status" if thread else f"/proc/{pid}/status")
    return dict(line.split(":\t", 1) for line in path.read_text().splitlines() if ":\t" in line)


def test_the_kernel_says_that_every_thread_is_locked() -> None:
    with waiting("locked") as pid:
        threads = [entry.name for entry in Path(f"/proc/{pid}/task").iterdir()]
        assert len(threads) == 3
        for thread in threads:
            found = status(pid, thread)
            assert (found["Seccomp"], found["NoNewPrivs"]) == ("2", "1")
        if os.geteuid() == 0:
            assert int(status(pid)["VmLck"].split()[0]) > 10_000


def test_the_kernel_says_nothing_of_the_kind_of_another_process() -> None:
    with waiting("free") as pid:
        assert (status(pid)["Seccomp"], status(pid)["VmLck"].strip()) == ("0", "0 kB")


def test_nobody_of_the_same_user_can_look_into_it() -> None:
    met = {line["action"]: line["error"] for line in lines(run("peer", "locked"))}
    assert met == {"memory": EACCES, "maps": EACCES, "descriptors": EACCES, "environment": EACCES, "trace": EPERM}


def test_into_another_process_they_can() -> None:
    met = {line["action"]: line["error"] for line in lines(run("peer", "free"))}
    assert met == dict.fromkeys(("memory", "maps", "descriptors", "environment", "trace"), 0)


def test_abort_ends_it_as_abort_does_and_leaves_no_dump(tmp_path: Path) -> None:
    done = run("abort", "locked", cwd=tmp_path)
    assert done.returncode == -signal.SIGABRT
    assert list(tmp_path.iterdir()) == []


def test_another_process_leaves_a_dump(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    if hard == 0 or pattern.startswith(("|", "/")):
        pytest.skip("this machine writes no dumps into the folder, whoever aborts")
    assert run("abort", "free", cwd=tmp_path).returncode == -signal.SIGABRT
    assert list(tmp_path.iterdir()) != []


def test_an_import_that_fails_is_an_answer_and_a_crash_ends_as_elsewhere() -> None:
    done = run("imports")
    (line,) = lines(done)
    assert line["status"] == 500
    assert "colorsys" not in str(line["content"])
    assert done.returncode == 1
    assert "KeyError: 'whose traceback can name no line of source'" in done.stderr


def test_memory_that_cannot_be_locked_is_one_sentence_that_says_how() -> None:
    if os.geteuid() != 0 and lockdown.is_enough(0, 0, int(status(os.getpid())["CapEff"], 16)):
        pytest.skip("this user may lock memory without a limit")
    (line,) = lines(run("unprivileged"))
    assert re.fullmatch(
        r"cannot lock memory \(.+\): .*RLIMIT_MEMLOCK.*CAP_IPC_LOCK.*lock_memory = false.*", str(line["refused"])
    )


def test_a_limit_must_leave_room_for_requests() -> None:
    spare = lockdown.SPARE_OCTETS
    assert lockdown.is_enough(-1, 1 << 40, 0)
    assert lockdown.is_enough(7 + spare, 7, 0)
    assert not lockdown.is_enough(6 + spare, 7, 0)
    assert not lockdown.is_enough(6 + spare, 7, ~(1 << 14) & 0xFFFF_FFFF)
    assert lockdown.is_enough(0, 7, 1 << 14)


def test_writable_code_in_memory_is_refused() -> None:
    maps = "7f00-7f01 r-xp 0 08:01 1 /lib/x.so\n7f01-7f02 rw-p 0 0:0 0 [heap]\n"
    lockdown.refuse_writable_code(maps)
    with pytest.raises(ConfigError, match="writable and executable"):
        lockdown.refuse_writable_code(maps + "7f02-7f03 rwxp 0 0:0 0\n")


def test_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = os.uname_result(("Linux", "host", "6", "1", "riscv64"))
    monkeypatch.setattr(os, "uname", lambda: other)
    with pytest.raises(ConfigError, match="no lockdown for riscv64: run the worker on x86_64 or aarch64"):
        lockdown.lock_down(lock_memory=False)


# Landlock

FIRST = (
    "EXECUTE WRITE_FILE READ_FILE READ_DIR REMOVE_DIR REMOVE_FILE "
    "MAKE_CHAR MAKE_DIR MAKE_REG MAKE_SOCK MAKE_FIFO MAKE_BLOCK MAKE_SYM"
)
# LANDLOCK_ACCESS_FS_*, from bit 0 up, and the ABI that brought each (landlock(7))
RIGHTS = (*((name, 1) for name in FIRST.split()), ("REFER", 2), ("TRUNCATE", 3), ("IOCTL_DEV", 5))


def test_what_landlock_handles_is_what_each_abi_brought() -> None:
    for abi in range(1, 10):
        files = sum(1 << bit for bit, (_, since) in enumerate(RIGHTS) if since <= abi)
        assert lockdown.rights(abi) == (files, 0b11 if abi >= 4 else 0, 0b11 if abi >= 6 else 0)


def create(*handled: int) -> int:
    """Make a ruleset; return 0 or the error."""
    given = lockdown.RULESET.pack(*handled)
    made = int(LIBC.syscall(lockdown.SYS_LANDLOCK_CREATE_RULESET, given, len(given), 0))
    if made < 0:
        return int(ctypes.get_errno())
    os.close(made)
    return 0


def test_the_kernel_knows_these_rights_and_of_a_known_abi_no_more() -> None:
    abi = int(LIBC.syscall(lockdown.SYS_LANDLOCK_CREATE_RULESET, None, 0, 1))
    if abi < 1:
        pytest.skip("this kernel has no Landlock")
    files, ports, scopes = lockdown.rights(abi)
    assert create(files, ports, scopes) == 0
    if abi <= 7:  # what a later one brought, this table does not know
        invalid = 22
        assert create(files << 1 | 1, ports, scopes) == invalid
        assert create(files, ports << 1 | 1, scopes) == invalid or abi < 4
        assert create(files, ports, scopes << 1 | 1) == invalid or abi < 6


def test_landlock_alone_refuses_files_ports_and_signals() -> None:
    found = lines(run("landlock"))
    abi = found[0]["abi"]
    assert isinstance(abi, int)
    if abi < 1:
        pytest.skip("this kernel has no Landlock")
    met = {line["action"]: line["error"] for line in found[1:]}
    expected = {name: error for name, (error, since) in BY_LANDLOCK.items() if since <= abi}
    assert {name: met[name] for name in expected} == expected
    assert met["send to an address"] == 0  # which is why Landlock is not enough


# The worker itself


@dataclass(frozen=True)
class Worker:
    """Where one listens, and the slots of its keys."""

    listen: str
    admin: str
    slots: Slots
    proofs: Callable[[], bytes]

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "") -> tuple[int, bytes]:
        return ask(self.listen, method, path, body, kind)

    def config(self) -> KeyConfig:
        epoch = self.slots.epoch_at(time.time())
        answered, bundle = self.ask("POST", Path_.BIRTH, serialize_birth(Birth(epoch, self.proofs())))
        assert answered == 200
        return parse_key_configs(parse_core(parse_bundle(bundle).core).key_configs)[0]

    def whole(self, message: bytes) -> bhttp.Response:
        data, opener = encapsulate_request(self.config(), message)
        answered, body = self.ask("POST", Path_.REQUEST, data, OHTTP_REQ)
        assert answered == 200
        again, _ = self.ask("POST", Path_.REQUEST, data, OHTTP_REQ)
        assert again == 200  # a replay is told inside
        return bhttp.parse_response(opener.open(body))

    def in_chunks(self, message: bytes) -> tuple[bytes, ResponseOpener]:
        sealer, opener = encapsulate_chunked(self.config())
        data = sealer.seal(message[:10]) + sealer.finish(message[10:])
        answered, body = self.ask("POST", Path_.REQUEST, data, OHTTP_CHUNKED_REQ)
        assert answered == 200
        return body, opener


def ask(address: str, method: str, path: str, body: bytes = b"", kind: str = "") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request(method, path, body=body or None, headers={"Content-Type": kind} if kind else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def message(path: str, content: bytes, *fields: tuple[str, str]) -> bytes:
    given = (("content-type", "application/json"), *fields)
    return bhttp.serialize_request(
        bhttp.Request(
            b"POST", b"https", b"a.example", path.encode(),
            tuple(bhttp.Field(name.encode(), value.encode()) for name, value in given), content,
        )
    )  # fmt: skip


CHAT = SummarizeRequest(
    messages=(
        Message(sender="Ana", text="We decided: everybody pays 17 euros by Tuesday."),
        Message(sender="Ben", text="ok"),
    )
)
SUMMARY = message("/v1/summarize", encode(CHAT))


@pytest.fixture(scope="module")
def running(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A stack of its own, whose worker a test may end."""
    language = small_model(tmp_path_factory.mktemp("language"))
    options = ["--workers", "1", "--language-model", str(language)]
    if "SECLUDE_TEST_MODELS" in os.environ:
        options += ["--summariser", str(tiny("tiny-bart"))]
    running = start_stack(tmp_path_factory.mktemp("locked"), *options)
    yield running
    stop_stack(running)


def slots_of(running: Running) -> Slots:
    measured = tomllib.loads((running.state / "worker.toml").read_text())["measured"]
    return Slots(measured["t0"], measured["period_seconds"])


def worker_of(running: Running) -> Worker:
    urls = running.facts["workers"]
    assert isinstance(urls, list)
    return Worker(
        urlsplit(urls[0]).netloc, urlsplit(running.admin("worker-0")).netloc, slots_of(running), running.proofs
    )


def use_everything(worker: Worker) -> None:
    """Ask for all that a worker answers, and for what it refuses, on every level."""
    assert b"17 euros" in worker.whole(SUMMARY).content
    assert (
        worker.whole(message("/v1/rewrite", encode(RewriteRequest(text="hey, cant", tone="professional")))).status
        == 200
    )
    for path, content, fields, expected in (
        ("/v1/summarize", b"{", (), 400),
        ("/v1/summarize", "é{".encode("latin-1"), (), 400),
        ("/v1/none", b"{}", (), 404),
        ("/v1/summarize", encode(CHAT), (("content-type", "text/plain; charset=koi8-r"),), None),
        ("/v1/summarize", encode(CHAT), (("date", "Thu, 01 Jan 1970 00:00:00 GMT"),), 400),
        ("/v1/summarize", encode(CHAT), (("date", "tomorrow"),), 400),
    ):
        answered = worker.whole(message(path, content, *fields)).status
        assert answered == expected or expected is None
    body, opener = worker.in_chunks(message("/v1/summarize", encode(CHAT), ("accept", EVENT_STREAM)))
    assert b"event:" in b"".join(opener.feed(body)) + opener.finish()
    write_everything(worker)
    worker.in_chunks(message("/v1/none", b"{}"))
    for method, path, sent, kind, expected in (
        ("POST", Path_.REQUEST, b"junk", OHTTP_REQ, None),
        ("POST", Path_.REQUEST, b"", OHTTP_CHUNKED_REQ, None),
        ("POST", Path_.REQUEST, b"{}", "text/plain", 415),
        ("POST", Path_.REQUEST, b"x" * (3 << 20), OHTTP_REQ, 413),
        ("GET", Path_.STATUS, b"", "", 200),
        ("POST", Path_.NONCE, b"", "", 200),
        ("POST", Path_.JOIN, b"junk", "", 400),
        ("POST", Path_.ADMIT, b"junk", "", 400),
        ("POST", Path_.KEYS, b"junk", "", 400),
        ("POST", Path_.BIRTH, b"junk", "", 400),
        ("GET", Path_.BIRTH, b"", "", 405),
        ("GET", "/none", b"", "", 404),
    ):
        answered, _ = worker.ask(method, path, sent, kind)
        assert answered == expected or expected is None, path
    for octets in (b"GARBAGE\r\n\r\n", b"POST /ohttp HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", b""):
        host, _, port = worker.listen.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(octets)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass
    for path in ("/livez", "/readyz", "/metrics", "/version"):
        assert ask(worker.admin, "GET", path)[0] == 200, path
    assert ask(worker.admin, "GET", "/none")[0] == 404
    assert ask(worker.admin, "POST", "/livez")[0] == 405


def write_everything(worker: Worker) -> None:
    """Ask for all that models write, and for what they refuse."""
    said = (ChatMessage("user", "Hello there"),)
    for temperature in (0.0, 1.2):
        chat = ChatRequest(MODEL_NAME, said, max_tokens=8, temperature=temperature)
        assert worker.whole(message(CHAT_PATH, encode(chat))).status == 200
        body, opener = worker.in_chunks(message(CHAT_PATH, encode(replace(chat, stream=True))))
        assert DONE in b"".join(opener.feed(body)) + opener.finish()
    long = (ChatMessage("user", "Hello there" * 1000),)
    assert worker.whole(message(CHAT_PATH, encode(replace(chat, messages=long)))).status == 413
    assert worker.whole(message(CHAT_PATH, encode(replace(chat, model="other")))).status == 404
    for tone in TONES:
        assert worker.whole(message("/v1/rewrite", encode(RewriteRequest(text="cant come", tone=tone)))).status == 200


def log_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_worker_is_locked_down_before_it_is_ready(running: Running) -> None:
    pid = running.pid("worker-0")
    found = status(pid)
    assert (found["Seccomp"], found["NoNewPrivs"]) == ("2", "1")
    if os.geteuid() == 0:
        assert int(found["VmLck"].split()[0]) > 100_000
    events = [line["event"] for line in log_of(running.state / "worker-0.log")]
    assert events == ["starting", "simulated", "locked_down", "ready"]


def seen_of(pid: int) -> tuple[set[str], Counter[str]]:
    """Return the threads of a process, and what it has open."""
    opened = Counter[str]()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            opened[os.readlink(entry)] += 1
    return {entry.name for entry in Path(f"/proc/{pid}/task").iterdir()}, opened


def test_models_that_write_do_so_with_the_threads_and_descriptors_that_were_there(running: Running) -> None:
    pid = running.pid("worker-0")
    threads, opened = seen_of(pid)
    write_everything(worker_of(running))
    assert seen_of(pid)[0] == threads
    assert {status(pid, thread)["Seccomp"] for thread in threads} == {"2"}
    more = seen_of(pid)[1] - opened
    assert not [name for name in more if not name.startswith("socket:")], "connections may not have closed yet"


def test_models_with_pools_of_threads_write_in_a_locked_process(tmp_path: Path) -> None:
    folders = [str(small_model(tmp_path))]
    if "SECLUDE_TEST_MODELS" in os.environ:
        folders.append(str(tiny("tiny-bart")))
    command = [sys.executable, "-m", "tests.inference.lockedwriting", *folders]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        before = seen_of(process.pid)
        assert len(before[0]) >= 2 + len(folders)
        process.stdin.write("\n")
        process.stdin.flush()
        said = json.loads(process.stdout.readline())
        assert seen_of(process.pid) == before
        process.communicate("\n", timeout=20)
    assert process.returncode == 0
    assert (set(said["statuses"]), said["streamed"]) == ({200}, 3)


def test_a_locked_worker_serves_everything_and_drains(running: Running) -> None:
    log = running.state / "worker-0.log"
    use_everything(worker_of(running))
    os.kill(running.pid("worker-0"), signal.SIGHUP)
    os.kill(running.pid("worker-0"), signal.SIGTERM)
    deadline = time.monotonic() + 30
    while not any(line["event"] == "stopped" for line in log_of(log)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    found = log_of(log)
    events = [str(line["event"]) for line in found]
    events = events[: events.index("stopped") + 1]  # the supervisor starts it again
    assert set(events[4:]) == {"reloaded", "stopping", "drained", "stopped"}
    assert next(line["status"] for line in found if line["event"] == "stopped") == 0
    assert next(line["complete"] for line in found if line["event"] == "drained") is True


@contextmanager
def started(module: list[str], running: Running, folder: Path, *flags: str) -> Iterator[tuple[Worker, Path, int]]:
    """Run a worker with the configuration of a stack; yield it with its log and its number."""
    reading, writing = os.pipe()
    config = ["--config", str(running.state / "worker.toml"), "--announce", str(writing)]
    command = [sys.executable, *module, *config, *flags]
    log = folder / "log"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / "out").open("wb") as out, log.open("wb") as err:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=err, pass_fds=(writing,))
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            line = pipe.readline()
        assert line, log.read_text()
        bound = json.loads(line)
        yield Worker(bound["listen"], bound["admin"], slots_of(running), running.proofs), log, process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


PYTHON = ("-B", "-X", "pycache_prefix=/dev/null/no-bytecode", "-m", "tests.inference.locked")


def test_nobody_is_let_in_and_it_is_not_ready_before_it_is_locked() -> None:
    gate = _Gate(cast(Front, object()))  # which can answer nothing
    assert gate.reasons() == [NOT_LOCKED]
    answer = asyncio.run(gate.handle(cast(Request, object())))
    assert isinstance(answer, Response)
    assert answer.status == 503


def test_a_worker_that_is_not_locked_down_after_all_refuses_to_serve(running: Running) -> None:
    reading, writing = os.pipe()
    config = ["--config", str(running.state / "worker.toml"), "--announce", str(writing)]
    command = [sys.executable, *PYTHON, "failing", *config]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50, check=False, pass_fds=(writing,)
    )
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == ""
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "seclude-worker: locked down, and still able to do it"
    assert '"event":"ready"' not in done.stderr


def test_nothing_is_imported_after_lockdown(running: Running, tmp_path: Path) -> None:
    """What is looked for then can no longer be read; what was imported before is not looked for."""
    with started([*PYTHON, "worker"], running, tmp_path) as (worker, _, _):
        use_everything(worker)
    assert (tmp_path / "out").read_text() == ""


def test_a_certificate_is_renewed_by_a_restart(running: Running, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("worker")
    flags = ("--tls-certificate", certificate, "--tls-key", key)
    with started(["-m", "inference"], running, tmp_path, *flags) as (worker, log, pid):
        os.kill(pid, signal.SIGHUP)
        deadline = time.monotonic() + 10
        while "reloaded" not in log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        _, metrics = ask(worker.admin, "GET", "/metrics")
        assert b'seclude_worker_reloads_total{result="error"} 1.0' in metrics
        context = ssl.create_default_context(cafile=authority.certificate)
        with urllib.request.urlopen(f"https://{worker.listen}{Path_.STATUS}", timeout=10, context=context) as answer:
            assert json.load(answer)["ready"] in (True, False)
        with pytest.raises(OSError):  # noqa: PT011 - a peer that speaks no TLS, and one that believes nobody
            ask(worker.listen, "GET", Path_.STATUS)
    events = [(line["event"], line.get("failed")) for line in log_of(log)]
    assert events[4:6] == [("restart_to_renew", None), ("reloaded", 1)]
    assert [event for event, _ in events[6:]] == ["stopping", "drained", "stopped"]


@pytest.mark.parametrize(
    ("limit", "ambient", "says"),
    [
        (-1, 0, True),
        (1 << 23, 0, False),
        (1 << 23, 1 << 14, True),
        (1 << 31, 0, True),
        ((1 << 31) - 1, ~(1 << 14), False),
    ],
)
def test_the_stack_locks_memory_where_the_machine_lets_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: int, ambient: int, says: bool
) -> None:
    said: list[str] = []
    stack = deployed.Stack(tmp_path, 1, tmp_path, say=said.append)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    monkeypatch.setattr(deployed, "_capabilities", lambda: ambient)
    assert stack._memory_lines() == ([] if says else ["lock_memory = false"])
    assert len(said) == (0 if says else 1)


PAIRS = 10
REQUESTS = 40
MOST = 1.03


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_lockdown_costs_a_request_next_to_nothing(model: Path) -> None:
    ratios, locked = [], []
    for number in range(PAIRS):
        spent = {}
        for lock in ("locked", "free") if number % 2 else ("free", "locked"):
            (line,) = lines(run("cost", str(REQUESTS), lock))
            spent[lock] = float(str(line["microseconds"]))
        ratios.append(spent["locked"] / spent["free"])
        locked.append(spent["locked"])
    ratios.sort()
    middle = statistics.median(ratios)
    print(f"\nlocked / not: median {middle:.4f}, from {ratios[0]:.4f} to {ratios[-1]:.4f}, {PAIRS} pairs;", end=" ")
    print(f"{statistics.median(locked):.0f} us of a core for each request")
    assert middle < MOST
