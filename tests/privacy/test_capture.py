"""Every byte at the relay's and the gateway's sockets, every log and every metric, while a canary passes.

The device connects from 127.77.0.1.
"""

import base64
import contextlib
import os
import re
import tempfile
import time
from pathlib import Path

import pytest

from deploy.party import Party
from deploy.tap import Tap
from seclude.client.sdk import Client
from seclude.errors import TaskError
from seclude.tasks import Message, SummarizeResponse
from tests.privacy.conftest import DEVICE, Watched

CANARY = "wombat-7f3a-quince"
SENDER = "Zenobia-51c8"
MAX_SEARCHED = 1 << 26  # octets; larger files that are written to meanwhile are other programs'

MESSAGES = (
    Message(sender=SENDER, text=f"We decided to meet at 9 on Saturday, the word is {CANARY}."),
    Message(sender="Ben", text="I'll bring 20 euros."),
)


def relay_saw(watched: Watched) -> str:
    """Return the kernel's table of TCP sockets, as the relay's process sees it."""
    pid = watched.stack.parties["relay"].process
    assert pid is not None
    return Path(f"/proc/{pid.pid}/net/tcp").read_text()


async def test_the_canary_is_nowhere_and_the_address_is_not_behind_the_relay(watched: Watched) -> None:
    async with Client(watched.trust) as client:
        answer = await client.summarize(MESSAGES)
        ports = device_ports(watched)
        with pytest.raises(TaskError):
            await client.rewrite(CANARY, "funny")
        streamed = [each async for each in client.summarize_stream(MESSAGES)]
    assert CANARY in answer.text, "the canary must have been processed, or its absence proves nothing"
    assert isinstance(streamed[-1], SummarizeResponse)
    assert CANARY in streamed[-1].text
    assert ports, "the device must have been seen connecting from its address, or the address proves nothing"

    logs, metrics = watched.logs(), await watched.metrics()
    assert b'"event":"ready"' in logs.replace(b" ", b""), "the logs must be there, or their silence proves nothing"
    assert b"seclude_worker_decapsulations_total" in metrics
    for canary in (CANARY, SENDER):
        for form in forms(canary):
            assert form not in watched.everywhere()
            assert form not in logs
            assert form not in metrics
    for place in (watched.behind_relay(), logs, metrics):
        assert DEVICE.encode() not in place
        for port in ports:
            assert not re.search(rb"(?<![0-9.])%d(?![0-9.])" % port, place), "the device's port"


def device_ports(watched: Watched) -> set[int]:
    """Return the ports from which the device is connected to the relay, from the kernel's table of sockets."""
    little_endian = "".join(f"{int(part):02X}" for part in reversed(DEVICE.split(".")))
    rows = [line.split() for line in relay_saw(watched).splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows if row[1].startswith(little_endian)}


def forms(text: str) -> list[bytes]:
    """Return the ways in which a text may hide in plain sight."""
    return [
        text.encode(),
        text.encode("utf-16-le"),
        text.encode("utf-32-le"),
        text.encode().hex().encode(),
        *(base64.b64encode(b"x" * shift + text.encode())[4:-4] for shift in range(3)),
    ]


async def test_two_clients_requests_differ_in_nothing_but_ciphertext(watched: Watched) -> None:
    seen = []
    for _ in range(2):
        watched.taps["gateway"].pieces.clear()
        async with Client(watched.trust) as client:
            await client.summarize(MESSAGES)
        seen.append(posts(watched.taps["gateway"]))
    (first,), (second,) = seen
    head, body = first.split(b"\r\n\r\n", 1)
    other_head, other_body = second.split(b"\r\n\r\n", 1)
    assert head == other_head
    assert len(body) == len(other_body)
    assert body[:7] == other_body[:7], "the header names the key and the suite, which all devices share"
    assert body[7:39] != other_body[7:39], "enc is new for each request"
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /.well-known/ohttp-gateway HTTP/1.1"
    names = [line.split(b":")[0].lower() for line in lines[1:]]
    assert sorted(names) == [b"content-length", b"content-type", b"host"]


def posts(tap: Tap) -> list[bytes]:
    """Return the encapsulated requests that passed a tap, each whole."""
    connections: dict[int, bytes] = {}
    for piece in tap.pieces:
        if piece.direction == "request":
            connections[piece.connection] = connections.get(piece.connection, b"") + piece.data
    found = []
    for data in connections.values():
        for start in (match.start() for match in re.finditer(rb"POST /\.well-known", data)):
            length = re.search(rb"(?i)content-length: (\d+)", data[start:])
            assert length is not None
            end = data.index(b"\r\n\r\n", start) + 4 + int(length.group(1))
            found.append(data[start:end])
    return found


async def test_nothing_is_left_on_disk(watched: Watched, tmp_path: Path) -> None:
    started = time.time()
    async with Client(watched.trust) as client:
        answer = await client.summarize(MESSAGES)
    assert CANARY in answer.text
    writable = {name: writable_files(party) for name, party in watched.stack.parties.items()}
    assert writable == {name: {party.log.resolve()} for name, party in watched.stack.parties.items()}
    await watched.stack.stop()
    (tmp_path / "control").write_text(CANARY)
    assert [path.name for path in holders_of_canary(started)] == ["control"]


def writable_files(party: Party) -> set[Path]:
    """Return the regular files that a process could write to right now."""
    assert party.process is not None
    found = set()
    for descriptor in Path(f"/proc/{party.process.pid}/fd").iterdir():
        info = Path(f"/proc/{party.process.pid}/fdinfo/{descriptor.name}").read_text()
        flags = re.search(r"flags:\s+(\d+)", info)
        assert flags is not None
        if int(flags.group(1), 8) & os.O_ACCMODE != os.O_RDONLY and descriptor.is_file():
            found.add(descriptor.resolve())
    return found


def holders_of_canary(since: float) -> list[Path]:
    """Return the files, wherever programs leave some, that were written since then and hold the canary."""
    home = Path.home()
    places = {
        Path(tempfile.gettempdir()),
        Path("/var/tmp"),
        Path("/dev/shm"),
        home / ".cache",
        home / ".local",
        Path.cwd(),
    }
    found = []
    for path in {path for place in places if place.is_dir() for path in place.rglob("*")}:
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_mtime >= since - 1 and path.stat().st_size < MAX_SEARCHED:
                content = path.read_bytes()
                if any(form in content for form in forms(CANARY)):
                    found.append(path)
    return found
