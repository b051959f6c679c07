"""The parties as processes: what `stack.json` says is true, they come back when they end, and they end when told to."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_fields

from deploy.party import Party, StackError
from deploy.stack import Stack
from inference.manifest import load_manifest
from seclude.client.sdk import Client
from seclude.client.sync import SyncClient
from seclude.client.trust import load_trust
from seclude.daemon.lifecycle import REFUSED_STATUS
from seclude.errors import VerificationError
from seclude.manifest import Manifest
from seclude.tasks import Message
from tests.exports import NAMED, tiny_if_any
from tests.languagemodel import small_model
from tests.running import ROOT, Running, start_stack, stop_stack
from tests.stack.conftest import (
    LISTENING,
    PARTIES,
    Load,
    ask,
    events,
    eventually,
    is_alive,
    is_ready,
    pids,
    ready_workers,
    sockets,
    wait_until_whole,
)

LOOPBACK = "0100007F"  # 127.0.0.1, as /proc/net/tcp writes it
MESSAGES = (Message(sender="Ana", text="We decided to meet at 9 on Saturday."),)
REFUSALS, AT_ONCE = 200, 20  # where somebody else takes statuses before asyncio does, it knows three of so many not


def serves(running: Running) -> bool:
    """Ask the pool one question through everybody, and look at the answer."""
    with SyncClient(load_trust(running.trust)) as client:
        return "meet at 9" in client.summarize(MESSAGES).text


def kernel_form(address: str) -> str:
    host, _, port = address.removeprefix("http://").partition(":")
    assert host == "127.0.0.1"
    return f"{LOOPBACK}:{int(port):04X}"


def test_stack_json_says_what_is_true(rough: Running) -> None:
    wait_until_whole(rough)
    facts = rough.facts
    urls = {"relay_url", "gateway_url", "workers", "ledger", "witnesses"}
    assert set(facts) == {*urls, "admin", "origin", "trust_file", "pids"}
    assert isinstance(facts["workers"], list)
    assert isinstance(facts["witnesses"], list)
    trust = load_trust(rough.trust)
    assert (trust.relays, trust.origin) == ((facts["relay_url"],), facts["origin"])
    assert set(pids(rough)) == set(PARTIES)
    told = (*facts["workers"], facts["gateway_url"], facts["relay_url"], facts["ledger"], *facts["witnesses"])
    addresses = dict(zip(PARTIES, map(str, told), strict=True))
    for party, pid in pids(rough).items():
        assert is_alive(pid)
        assert ask(f"{rough.admin(party)}/readyz").status == 200
        ours = {kernel_form(addresses[party].partition("/.well-known")[0]), kernel_form(rough.admin(party))}
        heard = {(table, local) for table, local, state in sockets(pid) if state == LISTENING}
        assert heard == {("tcp", local) for local in ours}, "it listens where stack.json says, and nowhere else"


def test_no_party_has_a_socket_beyond_loopback(rough: Running) -> None:
    assert serves(rough)
    for party, pid in pids(rough).items():
        assert {(table, local.partition(":")[0]) for table, local, _ in sockets(pid)} == {("tcp", LOOPBACK)}, party


def start_local(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "deploy" / "local.py"), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_second_stack_on_the_same_state_is_refused_and_does_no_harm(rough: Running) -> None:
    before = rough.facts
    done = start_local("--state", str(rough.state))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"deploy/local.py: {rough.state} is in use by another stack; name another folder with --state"
    ]
    assert rough.facts == before
    assert serves(rough)


def test_a_state_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = start_local("--state", str(tmp_path / "file"))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "name another folder with --state" in done.stderr


@pytest.mark.parametrize("party", ["worker-1", "gateway", "relay", "ledger", "witness-2"])
def test_a_party_that_is_killed_comes_back_at_its_place(rough: Running, party: str) -> None:
    wait_until_whole(rough)
    before, facts = pids(rough), rough.facts
    os.kill(before[party], signal.SIGKILL)
    eventually(lambda: rough.pid(party) != before[party], 30, f"stack.json names the new {party}")
    wait_until_whole(rough)
    after = pids(rough)
    assert is_alive(after.pop(party))
    assert {name: pid for name, pid in before.items() if name != party} == after, "nobody else was started again"
    assert {**rough.facts, "pids": None} == {**facts, "pids": None}, "nobody has to be told a new address"
    assert serves(rough)


async def test_a_worker_that_is_told_to_stop_drains_and_costs_nobody_an_answer(rough: Running) -> None:
    wait_until_whole(rough)
    before, seen = rough.pid("worker-0"), len(events(rough, "worker-0"))
    load = Load(rough)
    async with load.running_on(20):
        await asyncio.sleep(0.5)
        os.kill(before, signal.SIGTERM)
        await asyncio.to_thread(eventually, lambda: rough.pid("worker-0") != before, 30, "worker-0 started again")
    wait_until_whole(rough)
    assert load.failed == []
    assert events(rough, "worker-0")[seen : seen + 3] == ["stopping", "drained", "stopped"]
    last = next(line for line in reversed(log_of(rough, "worker-0")) if line["event"] == "stopped")
    assert last["status"] == 0


def log_of(running: Running, party: str) -> list[dict[str, object]]:
    lines = (running.state / f"{party}.log").read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def test_a_worker_that_hangs_leaves_the_pool_within_two_seconds_and_comes_back(rough: Running) -> None:
    wait_until_whole(rough)
    pid = rough.pid("worker-0")
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: ready_workers(rough) == 1, 2.0, "the gateway counts on one worker")
        assert all(serves(rough) for _ in range(5))
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: ready_workers(rough) == 2, 2.0, "the gateway counts on both again")
    assert rough.pid("worker-0") == pid


def test_parties_that_are_down_are_named_in_one_sentence(rough: Running) -> None:
    """The supervisor is held meanwhile, so that it starts nobody again."""
    wait_until_whole(rough)
    before = pids(rough)
    os.kill(rough.process.pid, signal.SIGSTOP)
    try:
        for party, sentence in (
            ("gateway", "seclude: the gateway cannot be reached through the relay; try again later"),
            ("relay", "seclude: the relay cannot be reached; check the network and `relays` in the trust file"),
        ):
            os.kill(before[party], signal.SIGKILL)
            eventually(lambda party=party: not is_alive(before[party]), 5, f"{party} gone")  # type: ignore[misc]
            done = rough.seclude("rewrite", "see you tmrw")
            assert (done.returncode, done.stdout, done.stderr.splitlines()) == (1, "", [sentence])
    finally:
        os.kill(rough.process.pid, signal.SIGCONT)
    for party in ("gateway", "relay"):
        eventually(lambda party=party: rough.pid(party) != before[party], 30, f"{party} again")  # type: ignore[misc]
    wait_until_whole(rough)
    assert serves(rough)


def processes_of(state: Path) -> list[int]:
    """Return every process that was started for a state folder, whoever its parent is by now."""
    return commands_with(state, b"")


def commands_with(state: Path, word: bytes) -> list[int]:
    """Return those of a state folder whose command has a word in it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if os.fsencode(state) in command and word in command and is_alive(int(folder.name)):
            found.append(int(folder.name))
    return found


def is_gone(running: Running, before: dict[str, int], addresses: set[str]) -> bool:
    listening = {
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == LISTENING
    }
    return not (any(map(is_alive, before.values())) or processes_of(running.state) or addresses & listening)


def addresses_of(running: Running) -> set[str]:
    facts = running.facts
    assert isinstance(facts["admin"], dict)
    assert isinstance(facts["workers"], list)
    urls = [*facts["admin"].values(), *facts["workers"], facts["gateway_url"], facts["relay_url"]]
    return {kernel_form(str(url).partition("/.well-known")[0]) for url in urls}


@pytest.fixture
def single(model: Path, tmp_path: Path) -> Iterator[Running]:
    """A stack of one worker, for one test that ends it."""
    yield from ended(start_stack(tmp_path / "state", "--workers", "1", "--model", str(model)))


@pytest.fixture
def installed(model: Path, tmp_path: Path) -> Iterator[Running]:
    """The same with a model of each kind that can be had, which are its own: in `models`, by their words."""
    own = tmp_path / "models"
    shutil.copytree(model, own / "model")
    small_model(tmp_path).rename(own / "language")
    options = ["--model", str(own / "model"), "--language-model", str(own / "language")]
    if summariser := tiny_if_any("tiny-bart"):
        shutil.copytree(summariser, own / "summariser")
        options += ["--summariser", str(own / "summariser")]
    yield from ended(start_stack(tmp_path / "state", "--workers", "1", *options))


def ended(running: Running) -> Iterator[Running]:
    """Yield a stack, and end it if the test failed before it came to that."""
    yield running
    if running.process.poll() is None:
        running.process.terminate()
        running.process.communicate()


def test_sigterm_ends_everything(single: Running) -> None:
    before, addresses = pids(single), addresses_of(single)
    single.process.send_signal(signal.SIGTERM)
    assert single.process.wait(60) == 0
    single.process.communicate()
    assert is_gone(single, before, addresses)
    assert not (single.state / "stack.json").exists()
    for party in before:
        assert events(single, party)[-3:] == ["stopping", "drained", "stopped"]


def test_a_supervisor_that_is_killed_leaves_no_orphans(single: Running) -> None:
    before, addresses = pids(single), addresses_of(single)
    single.process.kill()
    single.process.communicate()
    eventually(lambda: is_gone(single, before, addresses), 5, "all parties ended")


def test_a_signal_while_it_starts_leaves_nothing(model: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = [sys.executable, str(ROOT / "deploy" / "local.py"), "--state", str(state), "--model", str(model)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as process:
        eventually((state / "worker.toml").exists, 30, "the manifest is being made")
        eventually(lambda: len(processes_of(state)) > 1, 10, "by a process of its own")
        process.terminate()
        _, printed = process.communicate(timeout=20)
    assert process.returncode == 0
    assert b"Traceback" not in printed
    assert processes_of(state) == []


@pytest.mark.parametrize("flag", ["--model", "--language-model", "--summariser"])
def test_a_model_that_is_not_there_is_said_with_its_flag(model: Path, tmp_path: Path, flag: str) -> None:
    absent = tmp_path / "absent"
    options = ["--state", str(tmp_path / "state"), "--model", str(model), flag, str(absent)]
    command = [sys.executable, str(ROOT / "deploy" / "local.py"), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"deploy/local.py: {flag}: there is no folder {absent}: install a model with seclude-model (docs/models.md)\n"
    )


async def test_a_party_that_refuses_to_start_is_known_by_its_status(tmp_path: Path) -> None:
    """Where it was taken for one that died, it would be started again and again."""

    async def status(number: int) -> int:
        party = Party("refusing", ["/bin/sh", "-c", f"exit {REFUSED_STATUS}"], tmp_path / f"{number}.log")
        with pytest.raises(StackError):
            await party.start()
        assert party.process is not None
        return await party.process.wait()

    for _ in range(REFUSALS // AT_ONCE):
        assert await asyncio.gather(*map(status, range(AT_ONCE))) == [REFUSED_STATUS] * AT_ONCE


async def test_devices_refuse_a_worker_whose_language_model_they_do_not_name(model: Path, tmp_path: Path) -> None:
    """Its files stand in the manifest; where one of them is another, that is other software, and is sent nothing."""
    stack = Stack(tmp_path / "state", 1, model, language_model=small_model(tmp_path), ledger=False)
    await stack.start()
    try:
        manifest, trust = load_manifest(tmp_path / "state" / "worker.manifest"), load_trust(stack.trust_file)
        async with Client(trust) as client:
            assert "meet at 9" in (await client.summarize(MESSAGES)).text
        before = await asyncio.to_thread(opened, stack)
        for path in ("model/model.onnx", "language/model.onnx.data", "language/tokenizer.json"):
            entries = [replace(each, sha256=bytes(32)) if each.path == path else each for each in manifest.entries]
            assert entries != list(manifest.entries)
            policy = stack.policy(Manifest(tuple(entries)).digest.hex())
            async with Client(replace_fields(trust, policy_document=policy)) as client:
                with pytest.raises(VerificationError):
                    await client.summarize(MESSAGES)
        assert await asyncio.to_thread(opened, stack) == before > 0
    finally:
        await stack.stop()


def opened(stack: Stack) -> float:
    """Return how many requests the worker has got."""
    page = ask(f"http://{stack.parties['worker-0'].admin}/metrics").body.decode()
    return sum(map(float, re.findall(r"^seclude_worker_decapsulations_total\S* (\S+)$", page, re.MULTILINE)))


@pytest.mark.parametrize(
    "name",
    [
        "model/model.onnx",
        "language/model.onnx.data",
        pytest.param("summariser/decoder_model_merged.onnx", marks=pytest.mark.drill),
    ],
)
def test_a_changed_model_ends_its_worker_for_good(installed: Running, tmp_path: Path, name: str) -> None:
    single, weights = installed, tmp_path / "models" / name
    if not weights.exists():
        pytest.skip(f"{NAMED} is not set")
    assert serves(single), "a pool of one works where it is declared single"
    pid = single.pid("worker-0")
    with weights.open("r+b") as file:
        file.seek(weights.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    eventually(lambda: not is_alive(pid), 5, "the worker ended")
    assert events(single, "worker-0")[-1] == "files_changed"
    log = single.state / "worker-0.log"
    eventually(lambda: f"changed: {name}" in log.read_text(), 30, "the next one refuses to start, and why")
    done = single.seclude("rewrite", "see you tmrw")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "seclude: no worker is free; try again in a few seconds\n"
    assert not is_ready(single, "gateway")
    eventually(lambda: not commands_with(single.state, b"inference"), 10, "it is gone, and nobody starts it again")
    time.sleep(1.0)  # or somebody does
    assert not commands_with(single.state, b"inference")
    before, addresses = pids(single), addresses_of(single)
    printed = stop_stack(single)  # by SIGINT
    assert "worker-0 ended with status 1; starting it again" in printed
    assert "worker-0 refuses to start and stays down" in printed
    assert is_gone(single, before, addresses)
    assert not (single.state / "stack.json").exists()
