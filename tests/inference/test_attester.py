"""The attest helper as a process of its own, and what its worker makes of it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.attester import MAX_WAITING, Attester, start_helper
from inference.attesting import BUSY, EVIDENCE, REFUSED, Answer, parse_answer, serialize_answer
from inference.producers.simulated import create_simulated_platform
from seclude.attestation import simulated
from seclude.attestation.accept import SimulatedTable
from seclude.attestation.evidence import SIMULATED, parse_evidence
from seclude.attestation.steps import Steps
from seclude.errors import BusyError, ConfigError, DecodeError, UpstreamError, UsageError
from tests.stack.conftest import eventually

MEASUREMENT = bytes(range(32))
DATA = bytes(range(64))
Helper = tuple[subprocess.Popen[bytes], socket.socket]


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    create_simulated_platform(tmp_path / "platform", time.time())
    return tmp_path / "platform"


@pytest.fixture
def helper(platform: Path) -> Iterator[Helper]:
    started = start_helper(arguments(platform))
    yield started
    started[1].close()
    assert started[0].wait(10) is not None, "it ends with the socket"


def arguments(platform: Path) -> list[str]:
    return ["--format", SIMULATED, "--platform", str(platform), "--measurement", MEASUREMENT.hex()]


async def test_what_it_gives_is_evidence_that_verifies(helper: Helper, platform: Path) -> None:
    (item,) = parse_evidence(await Attester(helper[1]).attest(DATA))
    table = SimulatedTable(roots=((platform / "root.der").read_bytes(),))
    report = simulated.verify(item.body, table, time.time(), Steps(simulated.TITLES))
    assert (report.bound, report.measurement) == (DATA, MEASUREMENT)


async def test_several_who_ask_at_once_each_get_their_own(helper: Helper) -> None:
    attester = Attester(helper[1])
    asked = [bytes([number]) * 64 for number in range(MAX_WAITING)]
    given = await asyncio.gather(*(attester.attest(data) for data in asked))
    for data, evidence in zip(asked, given, strict=True):
        assert data in evidence
    with pytest.raises(BusyError):
        await asyncio.gather(*(attester.attest(data) for data in [*asked, DATA]))


async def test_who_gives_up_leaves_the_next_one_its_own_answer(helper: Helper) -> None:
    attester = Attester(helper[1])
    waiting = asyncio.create_task(attester.attest(bytes(64)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert DATA in await attester.attest(DATA)


async def test_a_helper_that_was_killed_is_noticed(helper: Helper) -> None:
    attester = Attester(helper[1])
    seen = [attester.has_ended]
    helper[0].kill()
    helper[0].wait()
    seen.append(attester.has_ended)
    assert seen == [False, True]
    with pytest.raises(UpstreamError, match="has ended"):
        await attester.attest(DATA)


async def test_a_helper_that_hangs_costs_a_time_and_no_more(helper: Helper) -> None:
    attester = Attester(helper[1], timeout_seconds=0.2)
    helper[0].send_signal(signal.SIGSTOP)
    with pytest.raises(UpstreamError, match=r"within 0\.2 s"):
        await attester.attest(bytes(64))
    helper[0].send_signal(signal.SIGCONT)
    assert DATA in await attester.attest(DATA)


@pytest.mark.parametrize("length", [1, 63, 65, 4096])
def test_a_request_of_another_length_ends_it(platform: Path, length: int) -> None:
    process, connection = start_helper(arguments(platform))
    with connection:
        connection.send(bytes(length))
        assert process.wait(10) == 1


async def test_report_data_of_another_length_is_our_own_fault(helper: Helper) -> None:
    with pytest.raises(UsageError):
        await Attester(helper[1]).attest(DATA[1:])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--format", SIMULATED, "--measurement", MEASUREMENT.hex()], "needs --platform"),
        (["--format", SIMULATED, "--platform", "/nonexistent", "--measurement", MEASUREMENT.hex()], "create one first"),
        (["--format", "sev-snp", "--collateral", "/nonexistent"], "/nonexistent"),
        (["--format", SIMULATED, "--also", SIMULATED], "a format is asked for twice"),
        (["--format", "nonsense"], "ended at its start"),
    ],
)
def test_a_helper_that_cannot_attest_says_why_and_is_gone(given: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        start_helper(given)


def test_it_ends_when_its_worker_is_killed(platform: Path) -> None:
    code = (
        "import sys, time\nfrom inference.attester import start_helper\n"
        "process, connection = start_helper(sys.argv[1:])\nprint(process.pid, flush=True)\ntime.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, *arguments(platform)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        helper = int(worker.stdout.readline())
        assert os.path.exists(f"/proc/{helper}")
        worker.kill()
    eventually(lambda: not _runs(helper), 10, "the helper ends with it")


def _runs(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_its_key_and_its_measurement_are_nowhere_in_its_environment(helper: Helper) -> None:
    environment = Path(f"/proc/{helper[0].pid}/environ").read_bytes()
    assert b"ORT_DISABLE_TELEMETRY" in environment
    assert b"HOME" not in environment


@pytest.mark.parametrize(
    "message",
    [
        b"",
        serialize_answer(Answer(EVIDENCE, b"x"))[:-1],
        serialize_answer(Answer(EVIDENCE, b"x")) + b"\0",
        serialize_answer(Answer(9, b"x")),
        serialize_answer(Answer(REFUSED, b"x" * 301)),
        serialize_answer(Answer(BUSY, b"two\nlines")),
        serialize_answer(Answer(REFUSED, "é".encode())),
    ],
)
def test_a_malformed_answer_is_none(message: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_answer(message)
