"""A relay of several processes, as it is started in production: who serves, who is replaced, and how all end."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from seclude.daemon.lifecycle import REFUSED_STATUS
from tests.relay.test_process import ONCE, POST

if TYPE_CHECKING:
    from tests.relay.conftest import Gateway, Streams

ASKED = 'seclude_relay_requests_total{code="200",reason="ok"} '


@dataclass
class Relays:
    """A parent and what it announced."""

    process: asyncio.subprocess.Process
    listen: str
    admins: list[str]

    async def connect(self) -> "Streams":
        host, _, port = self.listen.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def talk(self, data: bytes = ONCE) -> bytes:
        reader, writer = await self.connect()
        writer.write(data)
        answer = await reader.read()
        writer.close()
        return answer

    async def shown(self, admin: str, path: str = "/metrics") -> str:
        host, _, port = admin.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        text = (await reader.read()).decode()
        writer.close()
        return text

    async def counted(self, what: str) -> list[float]:
        texts = [await self.shown(admin) for admin in self.admins]
        return [
            sum(float(line.split()[1]) for line in text.splitlines() if line.startswith(what.rstrip()))
            for text in texts
        ]

    def children(self) -> list[int]:
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(word) for word in text.split()]

    async def end(self, number: signal.Signals = signal.SIGTERM) -> list[dict[str, object]]:
        """Send a signal, wait for the end, and return the log."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> list[dict[str, object]]:
        _, err = await asyncio.wait_for(self.process.communicate(), 15)
        return [json.loads(line) for line in err.decode().splitlines() if line.startswith("{")]


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(15):
        while True:
            try:
                if await condition():
                    return
            except OSError:
                pass
            await asyncio.sleep(0.03)


@asynccontextmanager
async def relays(gateway: "Gateway", *flags: str, count: int = 2) -> AsyncIterator[Relays]:
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "relay", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    command += ["--gateway", gateway.address, "--announce", str(writing), "--processes", str(count), *flags]
    process = await asyncio.create_subprocess_exec(*command, pass_fds=(writing,), stderr=asyncio.subprocess.PIPE)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = json.loads(await asyncio.to_thread(file.readline))
    assert said["admin"] == said["admins"][0]
    try:
        yield Relays(process, said["listen"], said["admins"])
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_every_process_serves_and_counts_for_itself(gateway: "Gateway") -> None:
    async with relays(gateway) as running:
        for _ in range(60):
            assert (await running.talk()).endswith(b"sealed")
        counts = await running.counted(ASKED)
        assert sum(counts) == 60
        assert min(counts) > 5  # the kernel draws by address and port: fewer than 6 of 60 come once in 10^10 runs
        log = await running.end()
        assert running.process.returncode == 0
        assert [each["event"] for each in log].count("drained") == 2


async def test_a_process_that_dies_is_replaced_and_no_new_connection_is_lost(gateway: "Gateway") -> None:
    async with relays(gateway) as running:
        before = running.children()
        os.kill(before[0], signal.SIGKILL)

        async def gone() -> bool:
            return before[0] not in running.children()

        await until(gone)
        # Those that fall to the dead process's socket wait there for the next one.
        answers = await asyncio.gather(*(running.talk() for _ in range(30)))
        assert all(answer.endswith(b"sealed") for answer in answers)
        after = running.children()
        assert len(after) == 2
        assert len(set(after) & set(before)) == 1
        log = await running.end()
        (ended,) = [each for each in log if each["event"] == "process_ended"]
        assert ended["status"] == -signal.SIGKILL


async def test_a_signal_loses_nothing_that_was_in_flight(gateway: "Gateway") -> None:
    release = asyncio.Event()

    async def wait(streams: "Streams") -> None:
        await release.wait()
        streams[1].write(b"HTTP/1.1 200 OK\r\nContent-Type: message/ohttp-res\r\nContent-Length: 6\r\n\r\nsealed")

    gateway.post = wait
    async with relays(gateway) as running:
        requests = [asyncio.create_task(running.talk(POST)) for _ in range(30)]

        async def arrived() -> bool:
            return len(gateway.posts) == len(requests)

        await until(arrived)
        ending = asyncio.create_task(running.end())

        async def refused() -> bool:
            try:
                _, writer = await running.connect()
            except ConnectionRefusedError:
                return True
            writer.close()
            return False

        await until(refused)
        release.set()
        assert all(answer.endswith(b"sealed") for answer in await asyncio.gather(*requests))
        log = await ending
        assert running.process.returncode == 0
        drained = [each for each in log if each["event"] == "drained"]
        assert [each["complete"] for each in drained] == [True, True]
        assert sum(int(str(each["inflight"])) for each in drained) == 30


async def test_one_that_is_refused_when_it_starts_again_leaves_the_others_be(
    gateway: "Gateway", tmp_path: Path
) -> None:
    file = tmp_path / "relay.toml"
    file.write_text("log_text = false\n")
    async with relays(gateway, "--config", str(file)) as running:
        before = running.children()
        file.write_text("no_such_key = 1\n")
        os.kill(before[0], signal.SIGKILL)
        await asyncio.sleep(1.5)
        assert running.process.returncode is None
        assert before[1] in running.children()
        file.write_text("log_text = false\n")

        await until(lambda: _all_serve(running))
        log = await running.end()
        assert [each["status"] for each in log if each["event"] == "process_ended"][:2] == [-9, REFUSED_STATUS]
        assert running.process.returncode == 0


async def _all_serve(running: "Relays") -> bool:
    return len(running.children()) == 2 and all(await asyncio.gather(*(running.talk() for _ in range(20))))


async def test_a_first_start_that_is_refused_ends_all(gateway: "Gateway") -> None:
    command = [sys.executable, "-m", "relay", "--listen", "127.0.0.1:0", "--gateway", gateway.address]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        admin = "127.0.0.1:{1}".format(*taken.getsockname())
        process = await asyncio.create_subprocess_exec(
            *command, "--admin", admin, "--processes", "2", stderr=asyncio.subprocess.PIPE
        )
        _, err = await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == REFUSED_STATUS
    assert b"cannot listen on " + admin.encode() in err


async def test_children_do_not_outlive_a_parent_that_is_killed(gateway: "Gateway") -> None:
    async with relays(gateway) as running:
        children = running.children()
        assert len(children) == 2
        running.process.kill()
        await running.process.wait()

        async def gone() -> bool:
            return not any(is_there(child) for child in children)

        await until(gone)


async def test_a_hangup_reaches_every_process(gateway: "Gateway") -> None:
    async with relays(gateway) as running:
        running.process.send_signal(signal.SIGHUP)

        async def renewed() -> bool:
            return await running.counted('seclude_relay_reloads_total{result="ok"}') == [1, 1]

        await until(renewed)


async def test_processes_may_share_a_unix_socket(gateway: "Gateway", tmp_path: Path) -> None:
    path = tmp_path / "relay"
    async with relays(gateway, "--listen", f"unix:{path}") as running:
        assert running.listen == f"unix:{path}"
        for _ in range(4):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(ONCE)
            assert (await reader.read()).endswith(b"sealed")
            writer.close()


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--processes", "0"], "processes: Expected `int` >= 1"),
        (["--processes", "2", "--admin", "127.0.0.1:65535"], "2 ports from 65535 on are more than there are"),
        (["--listen", "fd:0"], "cannot listen on fd:0: Socket operation on non-socket"),
        (["--listen", "fd:99"], "cannot listen on fd:99: Bad file descriptor"),
        (["--listen", "fd:x"], "the listen address fd:N needs a number up to 65535"),
    ],
)
async def test_what_cannot_be_started_says_so(flags: list[str], complaint: str) -> None:
    command = [sys.executable, "-m", "relay", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    process = await asyncio.create_subprocess_exec(
        *command,
        "--gateway",
        "http://127.0.0.1:1",
        *flags,
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == REFUSED_STATUS
    assert complaint in err.decode().splitlines()[-1]
