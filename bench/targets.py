"""What a load is run against: real parties as processes of their own, with stubs where their neighbours would be."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import ClientSession
from msgspec.structs import replace

from bench.account import family, pin
from bench.direct import AT_ONCE
from bench.front import ORIGIN
from bench.job import WorkloadSpec
from bench.stub import key_config
from deploy.party import READY_SECONDS, Party, StackError, module
from deploy.stack import Stack
from seclude import hpke
from seclude.attestation.slots import Slots
from seclude.chat import CHAT_PATH
from seclude.client.sdk import Client
from seclude.client.trust import Trust, load_trust
from seclude.errors import ConfigError
from seclude.hpke import KEM_X25519, KEM_XWING
from seclude.ohttp.keyconfig import choose, parse_key_configs, serialize_key_config
from seclude.ohttp.media import GATEWAY_PATH, OHTTP_KEYS
from seclude.pool import Message
from seclude.tasks import SUMMARIZE_PATH

PERIOD_SECONDS: Final = 86_400  # no epoch ends during a run
RELAY: Final = "relay"
GATEWAY: Final = "gateway"
WORKER: Final = "worker"
DIRECT: Final = "direct"
HKDF_AES: Final = (hpke.KDF_HKDF_SHA256, hpke.AEAD_AES_128_GCM)
ELSEWHERE: Final = "elsewhere"  # all that a result says of a target that was given by its URL


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, of what kind they are, and whose CPU time counts."""

    name: str
    url: str
    workload: WorkloadSpec
    parties: Mapping[str, int]
    """Process identifiers by name; a party with several processes is named by the one that started them."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where parties are started: a folder for their logs, and on which cores."""

    folder: Path
    cores: Mapping[str, Sequence[int]] = field(default_factory=dict)
    processes: int = 1


@asynccontextmanager
async def running(place: Place, name: str, *command: str) -> AsyncIterator[Party]:
    """Run one party for the length of a block."""
    party = Party(name, module(*command), place.folder / f"{name}.log")
    try:
        await party.start()
        if name in place.cores:
            for pid in family(pid_of(party)):
                pin(pid, place.cores[name])
        yield party
    finally:
        await party.stop()


@asynccontextmanager
async def relay_alone(place: Place, *options: str) -> AsyncIterator[Target]:
    """A relay before a stub gateway; `options` are more words of its command line."""
    async with AsyncExitStack() as stack:
        stub = await stack.enter_async_context(running(place, "stub", "bench.stub"))
        command = ["relay", "--gateway", f"http://{stub.listen}{GATEWAY_PATH}", *options, *_processes(place)]
        relay = await stack.enter_async_context(running(place, RELAY, *command))
        await until_ready(relay)
        url = f"http://{relay.listen}{GATEWAY_PATH}"
        yield Target(RELAY, url, WorkloadSpec("opaque"), {RELAY: pid_of(relay), "stub": pid_of(stub)})


@asynccontextmanager
async def gateway_alone(place: Place) -> AsyncIterator[Target]:
    """A gateway before one stub worker."""
    t0 = int(time.time()) - 60
    async with AsyncExitStack() as stack:
        stub = await stack.enter_async_context(running(place, "stub", "bench.stub"))
        command = ["gateway", "--t0", str(t0), "--period", str(PERIOD_SECONDS), "--single"]
        command += ["--worker", f"http://{stub.listen}", *_processes(place)]
        gateway = await stack.enter_async_context(running(place, GATEWAY, *command))
        await until_ready(gateway)
        config = serialize_key_config(key_config(Slots(t0, PERIOD_SECONDS).epoch_at(time.time())))
        workload = WorkloadSpec("opaque", key_config=config)
        url = f"http://{gateway.listen}{GATEWAY_PATH}"
        yield Target(GATEWAY, url, workload, {GATEWAY: pid_of(gateway), "stub": pid_of(stub)})


@dataclass(frozen=True, slots=True)
class WholePath:
    """The whole path, and the ways into it."""

    relay: Target
    gateway: Target
    worker: Target
    bare: Target
    """The worker asked as a plain client of RFC 9458 asks it: with X25519, and not padded."""


@asynccontextmanager
async def whole_path(
    place: Place, model: Path, workers: int, language_model: Path | None = None
) -> AsyncIterator[WholePath]:
    """Relay, gateway and workers, with SIMULATED attestation; each can be asked alone."""
    # No request meets a ledger; four more processes, which sync their disks, would be measured with the path.
    stack = Stack(place.folder / "stack", workers, model, PERIOD_SECONDS, language_model=language_model, ledger=False)
    try:
        await stack.start()
        assert stack.trust is not None
        key, plain_key = await fetch_keys(stack.trust)
        workload = WorkloadSpec("encapsulated", key_config=key, origin=stack.trust.origin)
        bare = replace(workload, key_config=plain_key, padded=False)
        names = [name for name in stack.parties if name.startswith(WORKER)]
        pids = {name: pid_of(party) for name, party in stack.parties.items()}
        workers_only = {WORKER if len(names) == 1 else name: pids[name] for name in names}
        worker = f"http://{stack.parties[names[0]].listen}{Message.REQUEST}"
        gateway = f"http://{stack.parties[GATEWAY].listen}{GATEWAY_PATH}"
        beyond = {GATEWAY: pids[GATEWAY], **workers_only}
        yield WholePath(
            Target("path", stack.trust.relays[0], workload, {RELAY: pids[RELAY], **beyond}),
            Target(GATEWAY, gateway, workload, beyond),
            Target(WORKER, worker, workload, {next(iter(workers_only)): pids[names[0]]}),
            Target(WORKER, worker, bare, {next(iter(workers_only)): pids[names[0]]}),
        )
    finally:
        await stack.stop()


@asynccontextmanager
async def fronted_path(place: Place, *, chunk_bytes: int, tick_ms: float) -> AsyncIterator[Target]:
    """Relay, gateway and a worker without a model, whose streams have this pace; its key is taken on trust."""
    t0 = int(time.time()) - 60
    slots = ["--t0", str(t0), "--period", str(PERIOD_SECONDS)]
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        pace = ["--chunk-bytes", str(chunk_bytes), "--tick-ms", str(tick_ms)]
        worker = await enter(running(place, WORKER, "bench.front", *slots, *pace))
        gateway = await enter(
            running(place, GATEWAY, "gateway", *slots, "--single", "--worker", f"http://{worker.listen}")
        )
        await until_ready(gateway)
        relay = await enter(running(place, RELAY, "relay", "--gateway", f"http://{gateway.listen}{GATEWAY_PATH}"))
        await until_ready(relay)
        url = f"http://{relay.listen}{GATEWAY_PATH}"
        async with ClientSession() as session, session.get(url, headers={"Accept": OHTTP_KEYS}) as answer:
            key = serialize_key_config(choose(parse_key_configs(await answer.read()), KEM_XWING, *HKDF_AES))
        parties = {RELAY: pid_of(relay), GATEWAY: pid_of(gateway), WORKER: pid_of(worker)}
        yield Target("front", url, WorkloadSpec("encapsulated", key_config=key, origin=ORIGIN), parties)


@asynccontextmanager
async def direct_worker(place: Place, model: Path) -> AsyncIterator[Target]:
    """A worker without encryption, asked for summaries."""
    async with running(place, DIRECT, "bench.direct", "--model", str(model)) as party:
        url = f"http://{party.listen}{SUMMARIZE_PATH}"
        yield Target(DIRECT, url, WorkloadSpec("plain"), {WORKER: pid_of(party)})


@dataclass(frozen=True, slots=True)
class Unprotected:
    """A worker without encryption that is asked for chats."""

    at_once: Target
    """Whose tokens leave as they are made."""
    paced: Target
    """Whose tokens leave as those of a real worker do."""


@asynccontextmanager
async def direct_chats(place: Place, model: Path, language_model: Path) -> AsyncIterator[Unprotected]:
    """A worker without encryption, with a language model."""
    command = ["bench.direct", "--model", str(model), "--language-model", str(language_model)]
    async with running(place, DIRECT, *command) as party:
        at_once, paced = (
            Target(DIRECT, f"http://{party.listen}{before}{CHAT_PATH}", WorkloadSpec("plain"), {WORKER: pid_of(party)})
            for before in (AT_ONCE, "")
        )
        yield Unprotected(at_once, paced)


def need_model(model: Path) -> None:
    """Raise ConfigError where there is no model."""
    if not (model / "model.onnx").exists():
        raise ConfigError(f"no model in {model}; run: seclude-model install")


async def elsewhere(url: str, trust: Path | None) -> Target:
    """Return a target that others run: the task encapsulated where a trust file is given, opaque octets otherwise."""
    if trust is None:
        return Target(ELSEWHERE, url, WorkloadSpec("opaque"), {})
    trusted = load_trust(trust)
    workload = WorkloadSpec("encapsulated", key_config=(await fetch_keys(trusted))[0], origin=trusted.origin)
    return Target(ELSEWHERE, url, workload, {})


async def fetch_keys(trust: Trust) -> tuple[bytes, bytes]:
    """Return a pool's key configurations, of X-Wing and of X25519, verified as a device verifies them."""
    async with Client(trust) as client:
        core = (await client.verify()).core
    configs = parse_key_configs(core.key_configs)
    wanted = [choose(configs, kem, *HKDF_AES) for kem in (KEM_XWING, KEM_X25519)]
    return serialize_key_config(wanted[0]), serialize_key_config(wanted[1])


@asynccontextmanager
async def mixing_relay(place: Place, path: WholePath, milliseconds: int) -> AsyncIterator[Target]:
    """A second relay before a path's gateway, which lets requests wait for one another."""
    config = place.folder / "mixing.toml"
    config.write_text(f"[mixing]\ndelay_milliseconds = {milliseconds}\n")
    command = ["relay", "--gateway", path.gateway.url, "--config", str(config)]
    async with running(place, "mixing-relay", *command) as relay:
        await until_ready(relay)
        parties = {RELAY: pid_of(relay), **path.gateway.parties}
        yield Target("mixing", f"http://{relay.listen}{GATEWAY_PATH}", path.relay.workload, parties)


async def until_ready(party: Party) -> None:
    """Wait for a party's own word that it is ready; raises StackError."""
    deadline = time.monotonic() + READY_SECONDS
    while not await party.is_ready():
        if time.monotonic() > deadline:
            raise StackError(f"{party.name} is not ready after {READY_SECONDS:.0f} s: {party.last_words()}")
        await asyncio.sleep(0.05)  # another process's state: there is nothing to be woken by


def pid_of(party: Party) -> int:
    """Return the process of a party that was started."""
    assert party.process is not None
    return party.process.pid


def _processes(place: Place) -> list[str]:
    return ["--processes", str(place.processes)] if place.processes > 1 else []
