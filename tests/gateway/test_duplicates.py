"""The gateway's memory of what it passed on."""

import fcntl
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

import gateway.duplicates
from gateway.duplicates import (
    MEMORY_BYTES,
    NAME_BYTES,
    REMEMBERED,
    SECRET_BYTES,
    SHARD_BYTES,
    SHARDS,
    Duplicates,
    digest_of,
    share,
)
from seclude.errors import ConfigError, DecodeError, ReplayError

X25519 = bytes.fromhex("01002000010001")


def encapsulated(number: int, *, header: bytes = X25519, tail: bytes = b"ciphertext") -> bytes:
    return header + number.to_bytes(32, "big") + tail


def request(number: int, *, header: bytes = X25519, tail: bytes = b"ciphertext") -> bytes:
    """Return what a request is remembered by."""
    return digest_of(encapsulated(number, header=header, tail=tail))


def was_there(duplicates: Duplicates, number: int) -> bool:
    """Whether a request was remembered; it is as before then."""
    try:
        duplicates.insert(request(number))
    except ReplayError:
        return True
    duplicates.forget(request(number))
    return False


def test_a_request_passes_once() -> None:
    duplicates = Duplicates()
    duplicates.insert(request(1))
    duplicates.insert(request(2))
    with pytest.raises(ReplayError):
        duplicates.insert(request(1))


def test_other_octets_than_key_and_enc_make_no_new_request() -> None:
    duplicates = Duplicates()
    duplicates.insert(request(1))
    with pytest.raises(ReplayError):
        duplicates.insert(request(1, tail=b"changed"))
    with pytest.raises(ReplayError):
        duplicates.insert(request(1, header=bytes.fromhex("01002000010003")))


def test_the_same_enc_for_another_key_is_another_request() -> None:
    duplicates = Duplicates()
    duplicates.insert(request(1))
    duplicates.insert(request(1, header=bytes.fromhex("03002000010001")))


def test_x_wing_requests_are_told_apart_by_their_whole_enc() -> None:
    header = bytes.fromhex("00647a00010001")
    one, other = header + bytes(1119) + b"a", header + bytes(1119) + b"b"
    assert digest_of(one) != digest_of(other)
    assert digest_of(one) == digest_of(one + b"ciphertext")


def test_a_forgotten_request_may_come_again() -> None:
    duplicates = Duplicates()
    duplicates.insert(request(1))
    duplicates.forget(request(1))
    duplicates.insert(request(1))


def test_forgetting_one_forgets_no_other() -> None:
    duplicates = Duplicates()
    for number in range(5000):
        duplicates.insert(request(number))
    for number in range(0, 5000, 2):
        duplicates.forget(request(number))
    duplicates.forget(request(5001))
    for number in range(5000):
        assert was_there(duplicates, number) == (number % 2 == 1)


def test_as_many_as_promised_are_remembered_and_the_oldest_forgotten_first() -> None:
    duplicates = Duplicates()
    for number in range(REMEMBERED):
        duplicates.insert(request(number))
    assert all(was_there(duplicates, number) for number in range(REMEMBERED))
    # Three hundred in each shard of 128, of which none has fewer than 128 in 10^25 runs.
    for number in range(REMEMBERED, REMEMBERED + 300 * SHARDS):
        duplicates.insert(request(number))
    assert not any(was_there(duplicates, number) for number in range(100))


def test_a_full_shard_forgets_its_oldest_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.duplicates, "SHARDS", 1)
    places = SHARD_BYTES // NAME_BYTES
    duplicates = Duplicates()
    for number in range(places + 1):
        duplicates.insert(request(number))
    assert all(was_there(duplicates, number) for number in range(1, places + 1))
    duplicates.forget(request(7))
    duplicates.insert(request(0))
    assert all(was_there(duplicates, number) for number in range(places) if number not in (1, 7))


def test_where_a_request_is_remembered_is_a_secret() -> None:
    places = {Duplicates()._place(request(1)) for _ in range(8)}
    assert len(places) == 8
    assert len({start for _, start in places}) > 1
    assert min(start for _, start in places) >= SECRET_BYTES
    assert max(start for _, start in places) <= MEMORY_BYTES - SHARD_BYTES


def test_what_is_no_shared_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match="descriptor 9999 is no memory"):
        Duplicates(9999)
    reading, writing = os.pipe()
    with pytest.raises(ConfigError, match="is no memory"):
        Duplicates(reading)
    os.close(reading)
    os.close(writing)


# Among processes.


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = share()
    yield descriptor
    os.close(descriptor)


def start(memory: int, code: str) -> subprocess.Popen[bytes]:
    """Run a process that has the memory."""
    head = f"import sys\nfrom gateway.duplicates import *\nduplicates = Duplicates({memory})\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + textwrap.dedent(code)],
        pass_fds=[memory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_of_what_all_processes_insert_at_once_each_is_taken_once(memory: int) -> None:
    code = """
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(10_000):
        try:
            duplicates.insert(b"%d" % number)
            print(number)
        except ReplayError:
            pass
    """
    processes = [start(memory, code) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    taken = [process.communicate(b"go\n")[0].split() for process in processes]
    assert sorted(int(number) for numbers in taken for number in numbers) == list(range(10_000))


@pytest.mark.parametrize("attribute", ["move", "__setitem__"])
def test_a_process_that_is_killed_in_the_middle_leaves_no_lock(memory: int, attribute: str) -> None:
    code = f"""
    import time
    class Slow:
        def __init__(self, memory): self._memory = memory
        def __getitem__(self, key): return self._memory[key]
        def move(self, *places): self._memory.move(*places)
        def __setitem__(self, key, value): self._memory[key] = value
    def stop(*arguments):
        print("here", flush=True)
        time.sleep(60)
    Slow.{attribute} = stop
    duplicates._memory = Slow(duplicates._memory)
    duplicates.insert(b"one")
    """
    duplicates = Duplicates(memory)
    for number in range(50):
        duplicates.insert(b"%d" % number)
    process = start(memory, code)
    assert process.stdout is not None
    assert process.stdout.readline() == b"here\n"
    _, place = duplicates._place(b"one")
    with pytest.raises(BlockingIOError):
        fcntl.lockf(memory, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    process.kill()
    process.communicate()
    duplicates.insert(b"one")  # which would wait for ever
    with pytest.raises(ReplayError):
        duplicates.insert(b"one")
    for number in range(50):
        with pytest.raises(ReplayError):
            duplicates.insert(b"%d" % number)


def test_what_a_process_remembered_outlives_it(memory: int) -> None:
    start(memory, "duplicates.insert(b'one')").communicate()
    start(memory, "duplicates.forget(b'two')").communicate()
    with pytest.raises(ReplayError):
        Duplicates(memory).insert(b"one")
    Duplicates(memory).insert(b"two")
    done = start(memory, "duplicates.forget(b'two')\nduplicates.insert(b'two')")
    done.communicate()
    assert done.returncode == 0


@pytest.mark.parametrize("cut", range(len(encapsulated(1, tail=b""))))
def test_every_truncation_is_refused(cut: int) -> None:
    with pytest.raises(DecodeError):
        digest_of(encapsulated(1)[:cut])


def test_a_kem_that_is_not_served_is_refused() -> None:
    with pytest.raises(DecodeError, match="kem_id"):
        digest_of(bytes.fromhex("01001000010001") + bytes(100))
