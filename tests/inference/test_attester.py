"""The attest helper as a process of its own, and what its worker makes of it."""

import asyncio
import hashlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from platform import machine

import pytest

from inference.attester import MAX_WAITING, SEND_BUFFER, Attester, start_helper
from inference.attesting import BUSY, EVIDENCE, READY, REFUSED, Answer, attest, parse_answer, serialize_answer, serve
from inference.producers.simulated import create_simulated_platform
from inference.seccomp import MACHINES
from seclude.attestation import simulated
from seclude.attestation.accept import SimulatedTable
from seclude.attestation.bundle import MAX_EVIDENCE
from seclude.attestation.evidence import SIMULATED, TPM, UnverifiedEvidence, parse_evidence, serialize_evidence
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


# A worker that has a helper, attests, tells both, and waits to be killed.
WORKER = """
import asyncio, sys, time
from inference.attester import Attester, start_helper
from inference.lockdown import lock_down

process, connection = start_helper(sys.argv[2:])
attester = Attester(connection)

async def ask():
    if sys.argv[1] == "locked":
        lock_down(lock_memory=False)
    return await asyncio.gather(*(attester.attest(bytes([number]) * 64) for number in range(3)))

print(process.pid, *(len(evidence) for evidence in asyncio.run(ask())), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("lock", ["free", "locked"])
def test_it_serves_a_worker_that_is_locked_down_and_ends_when_that_is_killed(platform: Path, lock: str) -> None:
    if lock == "locked" and machine() not in MACHINES:
        pytest.skip(f"no lockdown on {machine()}")
    command = [sys.executable, "-c", WORKER, lock, *arguments(platform)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        helper, *lengths = map(int, worker.stdout.readline().split())
        assert len(lengths) == 3
        assert _runs(helper)
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


# A helper of the test's own, in a thread: it answers what the real one never would.


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        yield ours, theirs


def envelope(length: int) -> bytes:
    """Evidence of that many octets, of no format that is known."""
    empty = serialize_evidence(UnverifiedEvidence("o" * 32, b""))
    return serialize_evidence(UnverifiedEvidence("o" * 32, bytes(length - len(empty))))


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer(REFUSED, b"no report today"), UpstreamError, "did not attest: no report today"),
        (Answer(BUSY, b"come back"), BusyError, "is busy: come back"),
        (Answer(READY, b""), UpstreamError, "did not attest"),
        (Answer(EVIDENCE, b"junk"), UpstreamError, "answer is none"),
        (Answer(EVIDENCE, b""), UpstreamError, "answer is none"),
        (Answer(7, b""), UpstreamError, "answer is none"),
        (Answer(REFUSED, b"\x1b[2J"), UpstreamError, "answer is none"),
    ],
)
async def test_what_is_no_evidence_says_why_and_the_next_request_is_served(
    pair: tuple[socket.socket, socket.socket], answer: Answer, kind: type[Exception], words: str
) -> None:
    attester = Attester(pair[0])
    for given in (answer, Answer(EVIDENCE, envelope(100))):
        pair[1].send(serialize_answer(given))  # it is read when there is a request
        if given is answer:
            with pytest.raises(kind, match=words):
                await attester.attest(DATA)
        else:
            assert await attester.attest(DATA) == envelope(100)
    assert [pair[1].recv(100), pair[1].recv(100)] == [DATA, DATA]


async def test_a_message_over_the_limit_is_no_answer(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].send(serialize_answer(Answer(EVIDENCE, bytes(MAX_EVIDENCE + 1))))
    with pytest.raises(UpstreamError, match="answer is none"):
        await Attester(pair[0]).attest(DATA)


async def test_whoever_waits_when_it_is_closed_is_told(pair: tuple[socket.socket, socket.socket]) -> None:
    attester = Attester(pair[0])
    waiting = [asyncio.create_task(attester.attest(bytes([number]) * 64)) for number in range(3)]
    await asyncio.sleep(0.01)
    attester.close()
    for each in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(each, UpstreamError)
    with pytest.raises(UpstreamError, match="has ended"):
        await attester.attest(DATA)


async def test_a_late_answer_is_thrown_away_by_whoever_asks_next(pair: tuple[socket.socket, socket.socket]) -> None:
    attester = Attester(pair[0], timeout_seconds=0.05)
    for _ in range(2):  # nothing more is asked while an answer is owed
        with pytest.raises(UpstreamError) as caught:
            await attester.attest(DATA)
        assert caught.value.timed_out
    pair[1].setblocking(False)
    assert pair[1].recv(100) == DATA
    with pytest.raises(BlockingIOError):
        pair[1].recv(100)
    for length in (100, 101):
        pair[1].send(serialize_answer(Answer(EVIDENCE, envelope(length))))
    assert len(await attester.attest(DATA)) == 101


# The helper's own loop.


def served(pair: tuple[socket.socket, socket.socket], produce: Callable[[bytes], bytes], *requests: bytes) -> int:
    """Make requests, close, and return how the loop ended."""
    for request in requests:
        pair[0].send(request)
    pair[0].shutdown(socket.SHUT_WR)
    return serve(pair[1], produce)


def test_the_largest_evidence_goes_through(pair: tuple[socket.socket, socket.socket]) -> None:
    evidence = envelope(MAX_EVIDENCE)
    assert served(pair, lambda _: evidence, DATA) == 0
    assert parse_answer(pair[0].recv(MAX_EVIDENCE + 100)) == Answer(EVIDENCE, evidence)


def test_errors_become_sentences_and_the_loop_goes_on(pair: tuple[socket.socket, socket.socket]) -> None:
    errors = [BusyError("busy"), UpstreamError("a\nb\u00e9"), ConfigError("x" * 400), DecodeError("damaged")]

    def produce(report_data: bytes) -> bytes:
        raise errors[report_data[0]]

    assert served(pair, produce, *(bytes([number]) * 64 for number in range(4))) == 0
    expected = [(BUSY, b"busy"), (REFUSED, b"a?b?"), (REFUSED, b"x" * 300), (REFUSED, b"damaged")]
    assert [parse_answer(pair[0].recv(1000)) for _ in expected] == [Answer(*each) for each in expected]


def test_a_bug_in_a_producer_ends_it(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(ZeroDivisionError):
        served(pair, lambda _: bytes(1 // 0), DATA)


class Fixed:
    """A producer of some octets, which remembers what it was to bind."""

    def __init__(self, name: str, length: int) -> None:
        self.format = name
        self._length = length
        self.bound: list[bytes] = []

    def attest(self, bound: bytes) -> bytes:
        self.bound.append(bound)
        return bytes(self._length)


def test_items_come_in_order_and_each_binds_what_it_has_room_for() -> None:
    first, second = Fixed(SIMULATED, 10), Fixed(TPM, 20)
    items = parse_evidence(attest([first, second], DATA))
    assert [(item.format, len(item.body)) for item in items] == [(SIMULATED, 10), (TPM, 20)]
    assert (first.bound, second.bound) == ([DATA], [hashlib.sha256(DATA).digest()])


def test_items_that_are_too_large_together_are_refused() -> None:
    half = MAX_EVIDENCE // 2
    with pytest.raises(UpstreamError, match=f"limit {MAX_EVIDENCE}"):
        attest([Fixed(SIMULATED, half), Fixed(TPM, half)], DATA)
