"""The real process, started as in production: what it loads, writes, and how it stops."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.main import Config, main
from seclude.daemon.config import load

if TYPE_CHECKING:
    from tests.relay.conftest import Gateway, Running, Streams

    Spawn = Callable[..., Awaitable[Running]]

EXAMPLE = Path(__file__).parents[2] / "deploy" / "relay.toml"
POST = (
    b"POST /.well-known/ohttp-gateway?canary HTTP/1.1\r\nHost: x\r\nContent-Type: message/ohttp-req\r\n"
    b"Cookie: canary\r\nContent-Length: 7\r\n\r\ncanary!"
)
ONCE = POST.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n")
FOREIGN = ("cryptography", "pyhpke", "numpy", "onnxruntime", "tokenizers")


async def finish(running: "Running") -> str:
    """Wait for the end of the process and return its log."""
    assert running.process is not None
    _, err = await asyncio.wait_for(running.process.communicate(), 10)
    return err.decode()


def stop(running: "Running", number: signal.Signals = signal.SIGTERM) -> None:
    assert running.process is not None
    running.process.send_signal(number)


async def until_shown(running: "Running", text: bytes = b'"ready":true') -> None:
    """Wait until the relay says this about its readiness."""
    async with asyncio.timeout(10):
        while text not in await running.admin_get("/readyz"):  # noqa: ASYNC110 - it is another process's state
            await asyncio.sleep(0.02)


async def until_arrived(gateway: "Gateway", count: int) -> None:
    """Wait until the gateway has got so many requests."""
    async with asyncio.timeout(10):
        while len(gateway.posts) < count:  # noqa: ASYNC110 - a fake that tells nobody
            await asyncio.sleep(0.01)


async def test_it_forwards_and_serves_keys(spawn: "Spawn", gateway: "Gateway") -> None:
    running = await spawn()
    await until_shown(running)
    assert (await running.talk(ONCE)).endswith(b"\r\n\r\nsealed")
    head = b"GET /.well-known/ohttp-gateway HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert (await running.talk(head)).endswith(gateway.keys)
    stop(running)
    await finish(running)
    assert running.process is not None
    assert running.process.returncode == 0


async def test_it_holds_no_code_that_could_decrypt(spawn: "Spawn") -> None:
    running = await spawn()
    await running.talk(ONCE)
    assert running.process is not None
    maps = await asyncio.to_thread(Path(f"/proc/{running.process.pid}/maps").read_text)
    assert "uvloop" in maps  # so that the names of extension modules do stand there
    assert not [name for name in FOREIGN if name in maps]


def test_importing_it_loads_nothing_that_could_decrypt() -> None:
    program = "import sys, relay.main; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    loaded = set(result.stdout.split())
    assert not [name for name in loaded if name.partition(".")[0] in FOREIGN]
    assert not loaded & {"seclude.hpke", "seclude.ohttp.encapsulation", "gateway", "inference"}


async def test_neither_logs_nor_metrics_hold_anything_of_a_client(spawn: "Spawn", gateway: "Gateway") -> None:
    running = await spawn()
    await until_shown(running)
    reader, writer = await running.connect()
    ports = {writer.get_extra_info("sockname")[1]}
    for data in (POST, b"GET /canary HTTP/1.1\r\nHost: canary\r\n\r\n", b"canary garbage \xff\r\n\r\n"):
        writer.write(data)
        await asyncio.sleep(0.05)
    await reader.read()
    gateway.post = b"garbage canary\r\n\r\n"
    assert b"502" in await running.talk(ONCE)
    ports |= {each.get_extra_info("sockname")[1] for each in running.writers if each.get_extra_info("sockname")}
    shown = (await running.admin_get("/metrics")).decode()
    stop(running)
    shown += (await finish(running)).replace(running.address, "").replace(running.admin, "")
    assert 'code="200",reason="ok"' in shown
    assert "canary" not in shown
    assert "127.0.0.1" not in shown
    assert not ports & {int(number) for number in re.findall(r"[0-9]+", shown)}


async def test_every_line_of_the_log_is_json_of_known_events(spawn: "Spawn") -> None:
    running = await spawn()
    await until_shown(running)
    stop(running)
    events = [json.loads(line)["event"] for line in (await finish(running)).splitlines()]
    assert events == ["starting", "ready", "stopping", "drained", "stopped"]


async def test_a_signal_loses_nothing_that_was_in_flight(spawn: "Spawn", gateway: "Gateway") -> None:
    release = asyncio.Event()

    async def wait(streams: "Streams") -> None:
        await release.wait()
        streams[1].write(b"HTTP/1.1 200 OK\r\nContent-Type: message/ohttp-res\r\nContent-Length: 6\r\n\r\nsealed")

    gateway.post = wait
    running = await spawn()
    await until_shown(running)
    requests = [asyncio.create_task(running.talk(POST)) for _ in range(20)]
    await until_arrived(gateway, len(requests))
    stop(running)
    await until_shown(running, b"draining")
    with pytest.raises(ConnectionRefusedError):
        await running.connect()
    release.set()
    answers = await asyncio.gather(*requests)
    assert all(answer.endswith(b"sealed") and b"connection: close" in answer.lower() for answer in answers)
    log = await finish(running)
    assert '"complete":true,"inflight":20' in log
    assert running.process is not None
    assert running.process.returncode == 0


async def test_clients_that_keep_their_connections_lose_nothing_when_it_stops(spawn: "Spawn", tmp_path: Path) -> None:
    config = tmp_path / "relay.toml"
    config.write_text("[timeouts]\npre_stop = 0.5\n")
    running = await spawn("--config", str(config))
    await until_shown(running)
    answered, ready = 0, True

    async def probe() -> None:
        nonlocal ready
        await until_shown(running, b"draining")
        ready = False

    async def ask() -> None:
        nonlocal answered
        while ready:  # as behind a balancer: who probes readiness opens no more connections
            reader, writer = await running.connect()
            head = b""
            while b"connection: close" not in head.lower():
                writer.write(POST)
                head = await reader.readuntil(b"\r\n\r\n")
                assert await reader.readexactly(6) == b"sealed"
                answered += 1

    clients = asyncio.gather(probe(), *(ask() for _ in range(8)))
    await asyncio.sleep(0.3)
    stop(running)
    await clients
    await finish(running)
    assert answered > 50


async def test_a_second_signal_ends_it_at_once(spawn: "Spawn", gateway: "Gateway") -> None:
    async def hang(streams: "Streams") -> None:
        await streams[0].read()

    gateway.post = hang
    running = await spawn()
    request = asyncio.create_task(running.talk(POST))
    await until_arrived(gateway, 1)
    stop(running)
    await until_shown(running, b"draining")
    started = time.monotonic()
    stop(running)
    await finish(running)
    assert time.monotonic() - started < 5
    assert running.process is not None
    assert running.process.returncode == -signal.SIGTERM
    with contextlib.suppress(ConnectionError):
        assert await request == b""


async def test_it_says_why_it_is_not_ready(spawn: "Spawn", gateway: "Gateway") -> None:
    gateway.get = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
    running = await spawn()
    unready = await running.admin_get("/readyz")
    assert b"503" in unready
    assert b'["no key bundle"]' in unready
    assert b"200 OK" in await running.admin_get("/livez")
    gateway.publish(3)
    await until_shown(running)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SECLUDE_RELAY__LISTEN": "127.0.0.1:1"}
    command = [sys.executable, "-m", "relay", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environment)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ((), "seclude-relay: gateway: missing; give --gateway, or set it in the file"),
        (("--gateway", "gateway.example"), "gateway: the address"),
        (("--gateway", "http://192.0.2.1:80"), "https"),
        (("--gateway", "http://127.0.0.1:1", "--listen", "x"), "listen: a listen address"),
        (("--gateway", "http://127.0.0.1:1", "--listen", "0.0.0.0:0"), "not loopback"),
        (
            ("--gateway", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"),
            "admin: 0.0.0.0:0 is not loopback",
        ),
        (("--gateway", "http://127.0.0.1:1", "--config", "/nonexistent"), "No such file"),
    ],
)
def test_what_it_cannot_start_with_is_said_with_status_two(flags: tuple[str, ...], text: str) -> None:
    result = run(*flags)
    assert result.returncode == 2
    assert text in result.stderr
    assert len(result.stderr.splitlines()) == 1
    checked = run("check-config", *flags)
    assert (checked.returncode, checked.stderr) == (2, result.stderr), "check-config refuses what serving refuses"


def test_check_config_prints_every_problem_or_the_configuration_in_effect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("listen = 3\nfoo = 1\n[limits]\nmax_inflight = 0\nmax_imflight = 1\n")
    assert main(["check-config", "--config", str(broken)]) == 2
    assert sorted(capsys.readouterr().err.splitlines()) == [
        "seclude-relay: foo: no such key",
        "seclude-relay: gateway: missing; give --gateway, or set it in the file",
        "seclude-relay: limits.max_imflight: no such key",
        "seclude-relay: limits.max_inflight: Expected `int` >= 1",
        "seclude-relay: listen: Expected `str`, got `int`",
    ]
    broken.write_text('listen = "x"\nadmin = "y"\ngateway = "z"\n')
    assert main(["check-config", "--config", str(broken)]) == 2
    assert [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()] == ["listen", "admin", "gateway"]
    assert main(["check-config", "--config", str(EXAMPLE), "--listen", "[::1]:7"]) == 0
    shown = tmp_path / "shown.toml"
    shown.write_text(capsys.readouterr().out)
    assert load(shown, Config).listen == "[::1]:7"


def test_the_example_is_the_defaults_written_out() -> None:
    assert load(EXAMPLE, Config) == Config(gateway="http://127.0.0.1:8081")


def test_help_shows_an_example_and_version_a_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    assert "seclude-relay --listen 127.0.0.1:8080 --gateway http://127.0.0.1:8081" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("seclude-relay ")


async def test_one_address_gets_its_share_and_others_theirs(spawn: "Spawn", gateway: "Gateway", tmp_path: Path) -> None:
    config = tmp_path / "relay.toml"
    config.write_text("[per_address]\nloopback = true\nconnections = 3\nrequests_per_second = 0.01\nburst = 5\n")
    running = await spawn("--config", str(config))
    await until_shown(running)
    answers = [await running.talk(ONCE) for _ in range(7)]
    assert [b" 200 " in answer for answer in answers] == [True] * 5 + [False] * 2
    assert answers[-1].startswith(b"HTTP/1.1 429 ")
    held = [await running.connect() for _ in range(3)]
    await asyncio.sleep(0.1)
    with contextlib.suppress(ConnectionResetError):  # one connection more than its share is dropped unheard
        assert await running.talk(ONCE) == b""
    host, _, port = running.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=("127.0.0.2", 0))
    writer.write(ONCE)
    assert b" 200 " in await reader.read()
    writer.close()
    shown = (await running.admin_get("/metrics")).decode()
    assert 'seclude_relay_requests_total{code="429",reason="rate"} 2.0' in shown
    assert 'seclude_relay_dropped_connections_total{reason="too_many_from_one_address"} 1.0' in shown
    assert "127.0.0." not in shown
    assert len(held) == 3
