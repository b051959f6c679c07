"""A gateway that records every octet it gets, and relays in this process and in one of their own."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from relay.keycache import KeyCache
from relay.main import Relay
from seclude.attestation.bundle import Bundle, Core, serialize_bundle, serialize_bundles, serialize_core
from seclude.daemon.limits import ServerLimits
from seclude.daemon.log import Log
from seclude.daemon.server import Server
from seclude.daemon.upstream import Upstream, UpstreamTimeouts
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms, serialize_key_configs

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Script = bytes | Callable[[Streams], Awaitable[None]]


def http(status: int, kind: str, body: bytes, fields: bytes = b"") -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + fields + b"\r\n" + body


def make_keys(key_id: int) -> bytes:
    return serialize_key_configs((KeyConfig(key_id, 0x0020, bytes([key_id]) * 32, (SymmetricAlgorithms(1, 1),)),))


def make_bundle(epoch: int, keys: bytes) -> bytes:
    core = Core("assistant", "ai.example", epoch, keys, bytes(32), b"policy", b"checkpoint")
    return serialize_bundle(Bundle(serialize_core(core), b"evidence", b""))


SEALED = http(200, "message/ohttp-res", b"sealed")


@dataclass
class Gateway:
    """Answers POSTs with `post` and GETs with `get`."""

    post: Script = SEALED
    get: Script = b""
    keys: bytes = b""
    bundles: bytes = b""
    caching: bytes = b""
    """The Cache-Control field of both, as a line."""
    posts: list[bytes] = field(default_factory=list)
    gets: list[bytes] = field(default_factory=list)
    cancelled: int = 0
    address: str = ""

    def publish(self, key_id: int) -> None:
        """Publish keys of this identifier for now, and those of the next epoch."""
        self.keys = make_keys(key_id)
        self.bundles = serialize_bundles([make_bundle(7, self.keys), make_bundle(8, make_keys(key_id + 2))])
        self.get = self.give

    async def give(self, streams: Streams) -> None:
        """Answer with what was asked for last."""
        if b"ohttp-keys" in self.gets[-1]:
            streams[1].write(http(200, "application/ohttp-keys", self.keys, self.caching))
        else:
            streams[1].write(http(200, "application/seclude-key-bundles", self.bundles, self.caching))

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                _, _, length = head.lower().partition(b"content-length: ")
                body = await reader.readexactly(int(length.partition(b"\r\n")[0] or b"0"))
                seen, script = (self.gets, self.get) if head.startswith(b"GET") else (self.posts, self.post)
                seen.append(head + body)
                if isinstance(script, bytes):
                    writer.write(script)
                    await writer.drain()
                else:
                    await script((reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.cancelled += 1
        finally:
            writer.close()


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    recorder = Gateway()
    recorder.publish(3)
    server = await asyncio.start_server(recorder, "127.0.0.1", 0)
    recorder.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield recorder
    server.close()
    await asyncio.sleep(0.05)  # its connections see their end


@dataclass
class Running:
    """A relay to talk to."""

    address: str
    cache: KeyCache | None = None
    admin: str = ""
    process: asyncio.subprocess.Process | None = None
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self, address: str | None = None) -> Streams:
        host, _, port = (address or self.address).rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 24)
        self.writers.append(writer)
        return reader, writer

    async def talk(self, data: bytes) -> bytes:
        reader, writer = await self.connect()
        writer.write(data)
        return await reader.read()

    async def admin_get(self, path: str) -> bytes:
        reader, writer = await self.connect(self.admin)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return await reader.read()

    def hang_up(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


@pytest.fixture
async def relay(gateway: Gateway) -> AsyncIterator[Running]:
    """A relay in this process that has fetched its keys once and will not again by itself."""
    upstream = Upstream(gateway.address, timeouts=UpstreamTimeouts(connect=0.5, total=0.5), max_answer_bytes=100_000)
    cache = KeyCache(upstream, lambda: 0.0, Log("relay", events={"keys_fetch_failed": frozenset({"error"})}))
    await cache.fetch()
    limits = ServerLimits(max_body_bytes=1000, body_timeout=0.3, linger=0.2)
    server = Server(Relay(upstream, cache, 1000).handle, limits)
    running = Running(await server.start("127.0.0.1:0"), cache)
    yield running
    running.hang_up()
    await server.drain(within=0.2)
    await upstream.close()


@pytest.fixture
async def spawn(gateway: Gateway) -> AsyncIterator[Callable[..., Awaitable[Running]]]:
    """Start `python -m relay` as it is started in production, with free ports."""
    started: list[Running] = []

    async def start(*flags: str) -> Running:
        reading, writing = os.pipe()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relay", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
            *("--gateway", gateway.address, "--announce", str(writing), *flags),
            pass_fds=(writing,),
            stderr=asyncio.subprocess.PIPE,
        )
        os.close(writing)
        with os.fdopen(reading) as file:
            addresses = json.loads(await asyncio.to_thread(file.readline))
        started.append(Running(addresses["listen"], None, addresses["admin"], process))
        return started[-1]

    yield start
    for running in started:
        running.hang_up()
        if running.process is not None and running.process.returncode is None:
            running.process.kill()
            await running.process.communicate()
