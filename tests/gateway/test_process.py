"""`python -m gateway` as its operator meets it."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from gateway.main import main
from seclude.attestation.bundle import parse_bundles
from seclude.ohttp.media import GATEWAY_PATH, KEY_BUNDLES, OHTTP_REQ, OHTTP_RES
from tests.gateway.conftest import (
    ANSWER,
    FakeWorker,
    Launch,
    Running,
    encapsulated,
    eventually,
    new_bundle,
    talk,
)

PERIOD = 86_400
EXAMPLE = Path(__file__).parents[2] / "deploy" / "gateway.toml"
FORBIDDEN = ("cryptography", "pyhpke", "seclude.hpke", "seclude.ohttp.encapsulation", "numpy", "onnxruntime")


def epoch() -> int:
    return int(time.time()) // PERIOD


def two() -> list[FakeWorker]:
    return [FakeWorker(0), FakeWorker(1)]


async def started(launch: Launch, fakes: list[FakeWorker], *, config: str = "") -> Running:
    running = await launch(fakes, "--period", str(PERIOD), config=config)
    await running.until(200)
    return running


async def test_the_daemon_gets_a_pool_going_and_serves(launch: Launch) -> None:
    fakes = two()
    running = await started(launch, fakes)
    await eventually(lambda: all(len(fake.bundles) == 2 for fake in fakes), 3.0)
    status, head, bundles = await running.fetch(GATEWAY_PATH, address=running.listen, accept=KEY_BUNDLES)
    assert status == 200
    assert parse_bundles(bundles) == fakes[1].bundles
    assert fakes[1].bundles.keys() == {epoch(), epoch() + 1}
    assert b"server:" not in head.lower()
    status, _, body = await running.ask(encapsulated(epoch()))
    assert (status, body) == (200, ANSWER)
    assert sum(len(fake.paths("/pool/birth")) for fake in fakes) == 2


async def test_two_clients_look_the_same_to_a_worker(launch: Launch) -> None:
    fakes = two()
    running = await started(launch, fakes)
    first = "Via: 1.1 a", "Cookie: id=1", "User-Agent: phone", "X-Forwarded-For: 192.0.2.7", "Traceparent: 00-1-2-00"
    await running.ask(encapsulated(epoch()), *first)
    await running.ask(encapsulated(epoch()), "Accept-Encoding: br", "Authorization: Basic eA==", "Forwarded: for=x")
    seen = [(fake.address, request.head) for fake in fakes for request in fake.paths("/ohttp")]
    assert len(seen) == 2
    # The Host field names the worker that was asked, and nothing else differs.
    assert len({head.replace(address.removeprefix("http://").encode(), b"") for address, head in seen}) == 1
    for _, head in seen:
        names = {line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:-2]}
        assert names == {b"host", b"content-type", b"content-length"}


async def test_what_a_worker_adds_does_not_pass(launch: Launch) -> None:
    fakes = two()
    running = await started(launch, fakes)
    for fake in fakes:
        fields = b"Set-Cookie: id=1\r\nX-Worker: 7\r\nServer: evil\r\nLocation: /\r\nVia: 1.1 w\r\nDate: yesterday"
        fake.behaviour = "raw"
        fake.raw = b"HTTP/1.1 200 Evil\r\nContent-Type: %s\r\nContent-Length: 3\r\n%s\r\n\r\nabc" % (
            OHTTP_RES.encode(),
            fields,
        )
    status, head, body = await running.ask(encapsulated(epoch()))
    assert (status, body) == (200, b"abc")
    names = {line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
    assert names == {b"content-type", b"content-length", b"date", b"connection"}
    assert b"yesterday" not in head
    assert b"Evil" not in head


@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 413)])
async def test_a_body_at_the_limit_passes_and_one_above_does_not(launch: Launch, over: int, status: int) -> None:
    fakes = two()
    running = await started(launch, fakes, config="[limits]\nmax_body_bytes = 5000\n")
    assert (await running.ask(encapsulated(epoch(), 5000 - 7 + over)))[0] == status


async def test_a_chunked_body_is_bounded_too(launch: Launch) -> None:
    fakes = two()
    running = await started(launch, fakes, config="[limits]\nmax_body_bytes = 5000\n")
    head = f"POST {GATEWAY_PATH} HTTP/1.1\r\nHost: g\r\nConnection: close\r\nContent-Type: {OHTTP_REQ}\r\n"
    chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
    data = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 6 + b"0\r\n\r\n"
    status, _, _ = await talk(running.listen, data)
    assert status == 413
    assert [fake.paths("/ohttp") for fake in fakes] == [[], []]


async def test_what_is_over_the_limit_in_flight_is_turned_away_at_once(launch: Launch) -> None:
    fakes = two()
    running = await started(launch, fakes, config="[limits]\nmax_inflight = 4\n")
    for fake in fakes:
        fake.delay = 2.5
    began = time.monotonic()
    asking = [asyncio.create_task(running.ask(encapsulated(epoch()))) for _ in range(4)]
    await eventually(lambda: sum(len(fake.paths("/ohttp")) for fake in fakes) == 4, 2.0)
    refused = [await running.ask(encapsulated(epoch())) for _ in range(3)]
    assert time.monotonic() - began < 2.0
    assert [status for status, _, _ in refused] == [503] * 3
    assert all(b"Retry-After: 1" in head for _, head, _ in refused)
    assert [(await task)[0] for task in asking] == [200] * 4
    assert sum(fake.most for fake in fakes) <= 4


async def test_those_who_wait_for_a_worker_count_as_in_flight(launch: Launch) -> None:
    fakes = two()
    running = await started(launch, fakes, config="[limits]\nmax_inflight = 3\n")
    for fake in fakes:
        fake.ready = False
    await running.until(503)
    waiting = [asyncio.create_task(running.ask(encapsulated(epoch()))) for _ in range(3)]
    await asyncio.sleep(0.2)
    began = time.monotonic()
    assert (await running.ask(encapsulated(epoch())))[0] == 503
    assert time.monotonic() - began < 1.5
    fakes[1].ready = True
    assert [(await task)[0] for task in waiting] == [200] * 3


async def test_sigterm_finishes_what_is_in_flight(launch: Launch) -> None:
    fakes = two()
    running = await started(launch, fakes)
    for fake in fakes:
        fake.delay = 1.0
    asking = [asyncio.create_task(running.ask(encapsulated(epoch()))) for _ in range(8)]
    await eventually(lambda: sum(len(fake.paths("/ohttp")) for fake in fakes) == 8, 2.0)
    running.process.send_signal(signal.SIGTERM)
    await eventually(lambda: running.lines()[-1]["event"] == "stopping", 1.0)
    status, _, body = await running.fetch("/readyz")
    assert (status, msgspec.json.decode(body)["reasons"]) == (503, ["draining"])
    assert [(await task)[0] for task in asking] == [200] * 8
    assert await asyncio.wait_for(running.process.wait(), 5) == 0
    drained = next(line for line in running.lines() if line["event"] == "drained")
    assert (drained["complete"], drained["inflight"]) == (True, 8)


async def test_a_second_signal_ends_the_daemon_at_once(launch: Launch) -> None:
    fakes = two()
    running = await started(launch, fakes)
    for fake in fakes:
        fake.behaviour = "hang"
    asking = asyncio.create_task(running.ask(encapsulated(epoch())))
    await eventually(lambda: sum(len(fake.paths("/ohttp")) for fake in fakes) == 1, 2.0)
    running.process.send_signal(signal.SIGTERM)
    await eventually(lambda: running.lines()[-1]["event"] == "stopping", 1.0)
    running.process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(running.process.wait(), 2) == -signal.SIGTERM
    with pytest.raises((IndexError, ConnectionError)):
        await asking


async def test_a_pool_that_loses_a_worker_loses_no_request(launch: Launch) -> None:
    fakes = [FakeWorker(index, delay=0.02) for index in range(3)]
    running = await started(launch, fakes)

    async def client() -> list[int]:
        return [(await running.ask(encapsulated(epoch())))[0] for _ in range(25)]

    clients = [asyncio.create_task(client()) for _ in range(4)]
    for fake in fakes[:2]:
        await asyncio.sleep(0.15)
        await fake.stop()
        fake.forget()
        await fake.start()
        await eventually(lambda fake=fake: bool(fake.bundles), 3.0)  # type: ignore[misc]
    assert {status for task in clients for status in await task} == {200}
    assert len({fake.bundles[epoch()] for fake in fakes}) == 1


async def test_the_reasons_why_it_is_not_ready_are_told(launch: Launch) -> None:
    fakes = two()
    fakes[1].refuse["/pool/join"] = 500
    running = await launch(fakes, "--period", str(PERIOD))
    await eventually(lambda: any(line.get("event") == "join" for line in running.lines()), 3.0)
    status, _, body = await running.fetch("/readyz")
    assert (status, msgspec.json.decode(body)["reasons"]) == (503, ["no epoch published"])
    await fakes[0].stop()
    await eventually(lambda: any(line.get("state") == "down" for line in running.lines()), 3.0)
    _, _, body = await running.fetch("/readyz")
    assert msgspec.json.decode(body)["reasons"] == ["no worker ready", "no epoch published"]
    assert (await running.fetch(GATEWAY_PATH, address=running.listen))[0] == 503


async def test_a_pool_that_split_is_reported_and_becomes_one(launch: Launch) -> None:
    fakes = two()
    for fake in fakes:
        fake.bundles[epoch()] = new_bundle(epoch())
    running = await started(launch, fakes)
    assert fakes[0].bundles == fakes[1].bundles
    splits = [line for line in running.lines() if line["event"] == "split"]
    assert [line["epoch"] for line in splits] == [epoch()]


async def test_logs_and_metrics_name_no_peer_and_no_content(launch: Launch) -> None:
    fakes = two()
    running = await started(launch, fakes)
    await running.ask(encapsulated(epoch()))
    await running.ask(encapsulated(epoch() + 7), "X-Canary: canary")
    await fakes[0].stop()
    await running.ask(encapsulated(epoch()))
    await talk(running.listen, b"canary canary HTTP/9.9\r\n\r\n")
    await eventually(lambda: any(line.get("state") == "down" for line in running.lines()), 3.0)
    _, _, metrics = await running.fetch("/metrics")
    own = {running.listen, running.admin}
    addresses = set(re.findall(r"\d+\.\d+\.\d+\.\d+(?::\d+)?", running.log.read_text() + metrics.decode()))
    assert addresses <= own
    for text in (running.log.read_text(), metrics.decode()):
        assert "canary" not in text
        assert all(str(fake.port) not in text for fake in fakes)


async def test_the_log_says_who_refused_what_with_which_status(launch: Launch) -> None:
    fakes = two()
    fakes[0].refuse["/pool/admit"] = 403
    running = await launch(fakes, "--period", str(PERIOD))
    await eventually(lambda: any(line.get("event") == "join" for line in running.lines()), 3.0)
    line = next(line for line in running.lines() if line["event"] == "join")
    assert {key: line[key] for key in ("worker", "member", "error", "message", "status")} == {
        "worker": 1, "member": 0, "error": "RefusedError", "message": "/pool/admit", "status": 403
    }  # fmt: skip


async def test_what_happens_is_counted_in_closed_sets(launch: Launch) -> None:
    fakes = two()
    running = await started(launch, fakes)
    await eventually(lambda: running.lines()[-1].get("epoch") == epoch() + 1, 3.0)  # published
    body = encapsulated(epoch())
    for _ in range(3):
        await running.ask(body)
    await running.ask(encapsulated(epoch() + 7))
    fakes[0].behaviour = fakes[1].behaviour = "503"
    await running.ask(encapsulated(epoch()))
    text = (await running.fetch("/metrics"))[2].decode()
    for line in (
        'seclude_gateway_requests_total{code="200",reason="ok"} 1.0',
        'seclude_gateway_requests_total{code="409",reason="replay"} 2.0',
        'seclude_gateway_requests_total{code="422",reason="unknown_key"} 1.0',
        'seclude_gateway_requests_total{code="503",reason="busy"} 1.0',
        "seclude_gateway_retries_total 1.0",
        'seclude_gateway_workers{state="ready"} 2.0',
        'seclude_gateway_workers{state="down"} 0.0',
        f"seclude_gateway_published_epoch {float(epoch())}",
        f"seclude_gateway_announced_epoch {float(epoch() + 1)}",
        'seclude_gateway_key_steps_total{result="ok",step="birth"} 2.0',
        'seclude_gateway_key_steps_total{result="ok",step="join"} 2.0',
        'seclude_gateway_key_steps_total{result="failed",step="join"} 0.0',
        'seclude_gateway_key_steps_total{result="ok",step="publish"} 2.0',
    ):
        assert line in text.splitlines()
    names = set(re.findall(r"([a-z_]+)=", "".join(re.findall(r"\{(.*?)\}", text))))
    assert names <= {"code", "reason", "le", "state", "step", "result", "version"}


async def test_the_running_process_maps_nothing_that_could_decrypt(launch: Launch) -> None:
    running = await started(launch, two())
    maps = await asyncio.to_thread(Path(f"/proc/{running.process.pid}/maps").read_text)
    assert "httptools" in maps, "the test looks at the right process"
    for name in ("cryptography", "_rust.abi3", "pyhpke", "numpy", "onnxruntime", "cffi"):
        assert name not in maps


def test_the_gateway_imports_nothing_that_could_decrypt() -> None:
    code = "import sys, gateway.main; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    loaded = out.split()
    assert "gateway.route" in loaded
    assert [name for name in loaded if name in FORBIDDEN or name.startswith("cryptography")] == []
    assert [name for name in loaded if name.split(".")[0] in ("relay", "inference")] == []


# Configuration.


SLOTS = ("--t0", "1767225600", "--period", "600")
SLOT_KEYS = "t0 = 0\nperiod_seconds = 600\n"
POOL = SLOT_KEYS + 'workers = ["unix:/x", "unix:/y"]\n'


def check(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str]:
    status = main(["check-config", *flags])
    out, err = capsys.readouterr()
    return status, out + err


async def test_a_clock_before_the_first_slot_is_a_reason_and_no_failure(launch: Launch) -> None:
    running = await launch(two(), "--t0", str(int(time.time()) + PERIOD), "--period", str(PERIOD))
    status, _, body = await running.fetch("/readyz")
    assert status == 503
    assert "clock before the first slot" in msgspec.json.decode(body)["reasons"]
    assert (await running.fetch(GATEWAY_PATH, address=running.listen))[0] == 503


def test_one_worker_must_be_declared_single(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = check(capsys, *SLOTS, "--worker", "http://127.0.0.1:1")
    assert status == 2
    assert text.startswith("seclude-gateway: workers: one worker has nobody to share its keys with")
    status, text = check(capsys, *SLOTS, "--worker", "http://127.0.0.1:1", "--single")
    assert status == 0
    assert "single = true" in text


def test_one_worker_without_single_does_not_start() -> None:
    command = [sys.executable, "-m", "gateway", *SLOTS, "--listen", "127.0.0.1:0", "--worker", "http://127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("", "workers: missing; give --worker, or set it in the file"),
        ('workers = ["unix:/x", "unix:/y"]\nt0 = 0', "period_seconds: missing; give --period, or set it in the file"),
        ('workers = ["unix:/x", "unix:/y"]\nperiod_seconds = 600', "t0: missing; give --t0, or set it in the file"),
        ("workers = []", "workers: "),
        (
            SLOT_KEYS + 'workers = ["http://127.0.0.1:1", "http://127.0.0.1:1"]',
            "workers[1]: the same worker is named twice",
        ),
        (SLOT_KEYS + 'workers = ["http://192.0.2.1:1", "unix:/x"]', "workers[0]: the next hop is not loopback"),
        (SLOT_KEYS + 'workers = ["ftp://127.0.0.1", "unix:/x"]', "workers[0]: "),
        (POOL.replace("600", "0"), "period_seconds: Expected `int` >= 1"),
        (POOL.replace("t0 = 0", "t0 = -1"), "t0: Expected `int` >= 0"),
        (POOL + 'listen = "8081"', "listen: "),
        (POOL + 'listen = "0.0.0.0:1"', "listen: 0.0.0.0:1 is not loopback: put TLS in front"),
        (POOL + 'admin = "0.0.0.0:1"\ninsecure_plaintext = true', "admin: 0.0.0.0:1 is not loopback"),
        (POOL + "worker = 1", "worker: no such key"),
        (POOL + "announce_seconds = -1", "announce_seconds: Expected `float` >= 0"),
        (POOL + "announce_seconds = 600.5", "announce_seconds: longer than a period"),
        (
            POOL + 'ledger = "http://127.0.0.1:1"',
            "ledger_secret: not set, and a ledger takes epochs only from those who",
        ),
        (POOL + 'ledger_secret = "submit.key"', "ledger_secret: there is no ledger that it would be for"),
        (POOL + '[ledger_tls]\nca = "x.pem"', "ledger_tls: there is no ledger that it would be for"),
        (
            POOL + 'ledger = "http://127.0.0.1:1"\nledger_secret = "/nowhere/submit.key"',
            "ledger_secret: /nowhere/submit.key: No such file or directory",
        ),
        (POOL + 'ledger = "http://192.0.2.1"\nledger_secret = "x"', "ledger: the next hop is not loopback: use https"),
        (POOL + 'ledger = "http://127.0.0.1:1/x"\nledger_secret = "x"', "ledger: the address of the next hop is"),
        (POOL + "[limits]\nmax_inflight = 0", "limits.max_inflight"),
        (POOL + '[timeouts]\nanswer = "long"', "timeouts.answer"),
        (POOL + "[timeouts]\nanswer = 0", "timeouts.answer: Expected `float` > 0.0"),
    ],
)
def test_a_wrong_configuration_is_told_by_its_key(
    config: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(config)
    status, text = check(capsys, "--config", str(file))
    assert status == 2
    assert problem in text


def test_plaintext_beyond_this_machine_must_be_asked_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(SLOT_KEYS + 'workers = ["http://192.0.2.1:1", "unix:/x"]\ninsecure_plaintext = true')
    assert check(capsys, "--config", str(file))[0] == 0


def test_flags_go_before_the_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('workers = ["unix:/x", "unix:/y"]\nt0 = 7\nperiod_seconds = 60\n')
    flags = "--t0", "8", "--announce-ahead", "6.5", "--worker", "unix:/z", "--single"
    status, text = check(capsys, "--config", str(file), *flags)
    assert status == 0
    assert "t0 = 8" in text
    assert "period_seconds = 60" in text
    assert "announce_seconds = 6.5" in text
    assert 'workers = ["unix:/z"]' in text


def test_the_example_configuration_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = check(capsys, "--config", str(EXAMPLE))
    assert status == 0
    assert main(["check-config", *SLOTS, "--worker", "unix:/x", "--worker", "unix:/y"]) == 0
    defaults = capsys.readouterr().out
    differing = {line for line in text.splitlines() if line not in defaults.splitlines()}
    assert {line.partition(" ")[0] for line in differing} == {"workers"}, "the example shows the defaults"


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    assert "seclude-gateway --listen 127.0.0.1:8081" in capsys.readouterr().out
