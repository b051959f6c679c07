"""Starting, stopping in order, and exit statuses, in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from seclude.daemon.lifecycle import announce
from seclude.errors import ConfigError

PROGRAM = """
import asyncio, sys
from seclude.daemon.lifecycle import DrainTimes, drain, run
from seclude.daemon.log import Log
from seclude.errors import ConfigError

log = Log("test")

class Fake:
    steps = []
    inflight = 2
    def retire_connections(self): self.steps.append("retire")
    def stop_accepting(self): self.steps.append("stop")
    async def drain(self, within):
        self.steps.append(f"drain {within}")
        return True

async def serve(stop):
    print("ready", flush=True)
    await stop.wait()
    assert stop.requested
    await drain(Fake(), DrainTimes(0.2, 7.0), log)
    print(Fake.steps, flush=True)
    return 0

async def hang(stop):
    print("ready", flush=True)
    await stop.wait()
    print("stopping", flush=True)
    while True:
        pass

async def refuse(stop):
    async with asyncio.TaskGroup():
        raise ConfigError("say what to change")

async def crash(stop):
    async def fail(): raise KeyError("secret")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fail())
        await stop.wait()

try:
    raise SystemExit(run(globals()[sys.argv[1]], uvloop=sys.argv[2] == "uvloop", log=log))
except ConfigError as exc:
    print(exc)
"""


def start(main: str, loop: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", PROGRAM, main, loop], stdout=pipe, stderr=pipe, text=True)


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_in_order_and_the_status_is_zero(loop: str, number: signal.Signals) -> None:
    process = start("serve", loop)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    started = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert out == "['retire', 'stop', 'drain 7.0']\n"
    assert time.monotonic() - started >= 0.2
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["event"] for line in lines] == ["starting", "stopping", "drained", "stopped"]
    assert lines[1]["signal"] == number.name


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_even_if_the_loop_hangs(loop: str, second: signal.Signals) -> None:
    process = start("hang", loop)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(second)
    _, err = process.communicate(timeout=10)
    assert process.returncode == -second
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["starting", "stopping"]


def test_what_cannot_start_says_so_as_itself(loop: str) -> None:
    process = start("refuse", loop)
    out, err = process.communicate(timeout=20)
    assert out == "say what to change\n"
    assert "Traceback" not in err


def test_a_crash_is_logged_by_class(loop: str) -> None:
    process = start("crash", loop)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert json.loads(err.splitlines()[-1])["error"] == "KeyError"
    assert "secret" not in err


def test_addresses_are_announced_once_on_the_descriptor() -> None:
    reading, writing = os.pipe()
    announce(writing, listen="127.0.0.1:1", admin="127.0.0.1:2")
    with os.fdopen(reading) as file:
        assert file.read() == '{"listen":"127.0.0.1:1","admin":"127.0.0.1:2"}\n'
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writing)


def test_nothing_is_announced_without_a_descriptor() -> None:
    announce(None, listen="x")


def test_a_descriptor_that_is_not_open_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="announce"):
        announce(987, listen="x")
