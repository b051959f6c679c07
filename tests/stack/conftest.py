"""A stack that tests may be rough with, and looks at its processes from outside: kernel tables and admin ports."""

import asyncio
import http.client
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from seclude.client.sdk import Client
from seclude.client.trust import load_trust
from seclude.tasks import Message
from tests.running import Running, start_stack, stop_stack

PARTIES = ("worker-0", "worker-1", "gateway", "relay", "ledger", "witness-1", "witness-2", "witness-3")
LISTENING = "0A"  # proc(5) and tcp_states.h


@pytest.fixture(scope="session")
def rough(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A stack for the tests that stop and kill its processes; each of them leaves it whole again."""
    running = start_stack(tmp_path_factory.mktemp("rough"))
    yield running
    stop_stack(running)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, with the names of its fields in lower case."""

    status: int
    fields: Mapping[str, str]
    body: bytes


def ask(
    url: str, method: str = "GET", *, fields: Mapping[str, str] | None = None, body: bytes | Iterator[bytes] = b""
) -> Answer:
    """Send one request as it is and return the answer; a body in pieces is sent chunked."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body=body or None, headers=dict(fields or {}))
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, names, answer.read())
    finally:
        connection.close()


def eventually(condition: Callable[[], bool], within: float, what: str) -> float:
    """Wait until a condition of other processes holds; return after how many seconds it did."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within, f"not within {within} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - began


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def is_ready(running: Running, party: str) -> bool:
    try:
        return ask(f"{running.admin(party)}/readyz").status == 200
    except OSError:
        return False


def ready_workers(running: Running) -> int:
    """Return how many workers the gateway passes requests to, by its own count."""
    page = ask(f"{running.admin('gateway')}/metrics").body.decode()
    count = re.search(r'^seclude_gateway_workers\{state="ready"\} (\S+)', page, re.MULTILINE)
    assert count is not None
    return int(float(count.group(1)))


def pids(running: Running) -> dict[str, int]:
    """Return every party's process, as `stack.json` says now."""
    found = running.facts["pids"]
    assert isinstance(found, dict)
    return {str(party): int(pid) for party, pid in found.items()}


def sockets(pid: int) -> list[tuple[str, str, str]]:
    """Return table, local address and state of each internet socket of a process, as the kernel writes them."""
    own = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            own.add(os.readlink(entry))
        except FileNotFoundError:  # closed since it was listed
            continue
    found = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            row = line.split()
            if f"socket:[{row[9]}]" in own:
                found.append((table, row[1], row[3]))
    return found


def wait_until_whole(running: Running, within: float = 30) -> None:
    """Wait until every party is ready and the gateway counts on both workers."""
    eventually(lambda: all(is_ready(running, party) for party in PARTIES), within, "all parties ready")
    eventually(lambda: ready_workers(running) == 2, 10, "two workers in the pool")


def events(running: Running, party: str) -> list[str]:
    """Return the names of the events in a party's log, oldest first."""
    return re.findall(r'"event":"(\w+)"', (running.state / f"{party}.log").read_text())


@dataclass
class Load:
    """Five short summaries a second through one client, each with an answer that only its own chat can give."""

    running: Running
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    slowest: float = 0.0
    _number: int = 0

    async def ask(self, client: Client) -> None:
        self._number += 1
        sum_of_money = f"{self._number} euros"
        messages = (
            Message(sender="Ana", text=f"We decided: everybody pays {sum_of_money} by Tuesday."),
            Message(sender="Ben", text="ok"),
        )
        began = time.monotonic()
        try:
            answer = await client.summarize(messages)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the person got no answer
            self.failed.append(f"{type(exc).__name__}: {exc}")
            return
        self.slowest = max(self.slowest, time.monotonic() - began)
        if any(sum_of_money in highlight.text for highlight in answer.highlights) and answer.messages == 2:
            self.answered += 1
        else:
            self.failed.append("an answer to another chat")

    @asynccontextmanager
    async def running_on(self, per_second: float = 5.0) -> AsyncIterator[None]:
        """Ask for the length of a block, and wait for every answer at its end."""
        async with Client(load_trust(self.running.trust)) as client, asyncio.TaskGroup() as group:
            asking = group.create_task(self._keep_asking(client, group, 1 / per_second))
            try:
                yield
            finally:
                asking.cancel()

    async def _keep_asking(self, client: Client, group: asyncio.TaskGroup, pause: float) -> None:
        while True:
            group.create_task(self.ask(client))
            await asyncio.sleep(pause)
