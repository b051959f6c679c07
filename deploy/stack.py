"""Relay, gateway, workers, ledger and witnesses in one state folder, on this machine, with SIMULATED attestation."""

import asyncio
import fcntl
import json
import os
import resource
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from deploy.localledger import MARGIN_SECONDS, NO_REVISION, WITNESSES, LocalLedger
from deploy.party import READY_SECONDS, Party, StackError, module
from seclude.attestation.accept import SimulatedTable
from seclude.attestation.policy import Demonstration
from seclude.attestation.policytext import render_policy_document
from seclude.client.trust import SlotTable, Trust, render_trust
from seclude.daemon.lifecycle import REFUSED_STATUS
from seclude.daemon.processes import end_with_parent
from seclude.ohttp.media import GATEWAY_PATH

ORIGIN: Final = "demo.seclude.invalid"  # a name that never resolves: a request that escapes the path goes nowhere
RESTART_SECONDS: Final = 0.2  # pause before a party that died is started again; doubled up to the next line
MAX_RESTART_SECONDS: Final = 5.0
PERIOD_SECONDS: Final = 86_400  # the length of an epoch, unless --period says otherwise

LOCKED_OCTETS: Final = 2 << 30  # what a worker asks for: half a GiB that is mapped, and 1 GiB for requests
SLOTS_OCTETS: Final = 4 << 30  # more with a language model: its weights, and its slots, which are mapped whole
CAP_IPC_LOCK: Final = 14  # capabilities(7)

Wrap = Callable[[str, str], Awaitable[str]]
"""Given a party's name and HOST:PORT, returns the HOST:PORT that its neighbour is told; the place for a tap."""


async def untapped(_name: str, address: str) -> str:
    """Tell the neighbour the party's own address."""
    return address


@dataclass(slots=True)
class Stack:
    """Relay, gateway and workers in one state folder, and a ledger with its witnesses unless it is to do without."""

    state: Path
    workers: int
    model: Path
    period_seconds: int = PERIOD_SECONDS
    renew_requests: int | None = None
    """After how many a worker is started anew; None leaves it as it is."""
    language_model: Path | None = None
    """A decoder-only model, for chats, abstracts and tones; none of these without it."""
    summariser: Path | None = None
    """An encoder-decoder model, for abstracts."""
    relay_listen: str = "127.0.0.1:0"
    ledger: bool = True
    """Whether keys and software are logged, and devices ask for that."""
    wrap: Wrap = untapped
    say: Callable[[str], None] = lambda _: None
    parties: dict[str, Party] = field(default_factory=dict)
    advertised: dict[str, str] = field(default_factory=dict)
    trust: Trust | None = None
    t0: int = field(default_factory=lambda: int(time.time()) - MARGIN_SECONDS)
    """Start of epoch 0: a minute ago, for the clocks of other machines; where there is a log, what goes with it."""
    _lock: IO[str] | None = None
    _stopping: bool = False

    @property
    def trust_file(self) -> Path:
        """Where the device's trust file stands."""
        return self.state / "trust.toml"

    @property
    def ledger_files(self) -> LocalLedger:
        """The files of the ledger."""
        return LocalLedger((self.state / "ledger").resolve(), ORIGIN)

    @property
    def names(self) -> list[str]:
        """The workers' names."""
        return [f"worker-{number}" for number in range(self.workers)]

    async def start(self) -> None:
        """Bring up witnesses and ledger, workers, gateway and relay, and write `stack.json` when all are ready."""
        await self.prepare()
        arguments = module("inference", "--config", str(self.state / "worker.toml"))
        async with asyncio.TaskGroup() as group:
            for name in self.names:
                group.create_task(self._launch(name, arguments))
        await self._launch("gateway", self._gateway())
        relay = module("relay", "--gateway", f"http://{self.advertised['gateway']}{GATEWAY_PATH}")
        await self._launch("relay", relay, listen=self.relay_listen)
        self._write_trust()
        await self._wait_until_ready()
        self._write_stack()

    async def prepare(self) -> None:
        """Make ready what the path stands on: the ledger with its witnesses, and the workers' software in its log."""
        self._claim()
        if self.ledger:
            self.ledger_files.make_keys()
            self.t0 = self.ledger_files.place_slots(self.t0, self.period_seconds)
        async with asyncio.TaskGroup() as group:
            if self.ledger:
                group.create_task(self._start_ledger())
            group.create_task(self._make_software())
        if self.ledger:
            await self._release()

    async def supervise(self) -> None:
        """Restart every party that ends by itself; runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            for party in self.parties.values():
                group.create_task(self._keep(party))

    async def stop(self) -> None:
        """End all parties: the one that devices talk to first, then the gateway, then those behind it at once."""
        self._stopping = True
        for name in ("relay", "gateway"):
            if name in self.parties:
                await self.parties[name].stop()
        await asyncio.gather(*(party.stop() for party in self.parties.values()))
        if self._lock is not None:  # a folder that another stack holds keeps that one's stack.json
            (self.state / "stack.json").unlink(missing_ok=True)
            self._lock.close()

    def _claim(self) -> None:
        try:
            self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (self.state / "lock").open("w")
        except OSError as exc:
            raise StackError(
                f"cannot write in {self.state} ({exc.strerror}); name another folder with --state"
            ) from exc
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise StackError(f"{self.state} is in use by another stack; name another folder with --state") from None
        self._lock = lock
        (self.state / "stack.json").unlink(missing_ok=True)

    async def _start_ledger(self) -> None:
        """Bring up the witnesses and then the ledger, which asks them before it signs anything."""
        files = self.ledger_files
        async with asyncio.TaskGroup() as group:
            for name in WITNESSES:
                arguments = module("ledger.witness", *files.witness_arguments(name))
                group.create_task(self._launch(name, arguments))
        for name in WITNESSES:  # one that is started again remembers, or must say that it lost its memory
            self.parties[name].arguments = module("ledger.witness", *files.witness_arguments(name))
        files.write_config(self.t0, self.period_seconds, {name: self.advertised[name] for name in WITNESSES})
        await self._launch("ledger", module("ledger", "--config", str(files.config)))

    async def _release(self) -> None:
        """Have the workers' software stand in the state log, signed by two of its publishers."""
        release = await self.ledger_files.publish(self.advertised["ledger"], self.manifest_digest())
        if release.revision == NO_REVISION:
            self.say("the release names no commit, since this folder is no git checkout")

    def _gateway(self) -> list[str]:
        command = module("gateway", "--t0", str(self.t0), "--period", str(self.period_seconds))
        for name in self.names:
            command += ["--worker", f"http://{self.advertised[name]}"]
        if self.workers == 1:
            command.append("--single")
        if self.ledger:
            command += ["--ledger", f"http://{self.advertised['ledger']}"]
            command += ["--ledger-secret", str(self.ledger_files.secret)]
        return command

    def manifest_digest(self) -> str:
        """Return what measures the workers' software."""
        return str(json.loads((self.state / "worker.manifest").read_text())["digest"])

    async def _make_software(self) -> None:
        """Make the simulated platform, the workers' configuration and the manifest that they must match."""
        platform = self.state / "platform"
        if not platform.exists():
            await self._run("inference", "simulate-platform", "--out", str(platform))
        (self.state / "worker.toml").write_text(self._worker_toml(platform))
        manifest = self.state / "worker.manifest"
        await self._run("inference", "manifest", "--config", str(self.state / "worker.toml"), "--out", str(manifest))

    def _worker_toml(self, platform: Path) -> str:
        return "\n".join(
            [
                "# What [measured] says is part of the measurement that devices verify; [launch] is not.",
                "[measured]",
                f'origin = "{ORIGIN}"',
                f"t0 = {self.t0}",
                f"period_seconds = {self.period_seconds}",
                *([] if self.renew_requests is None else [f"renew_requests = {self.renew_requests}"]),
                *self._memory_lines(),
                "",
                render_policy_document(self.policy(), "measured.policy"),
                "[launch]",
                *self._model_lines(),
                f'manifest = "{(self.state / "worker.manifest").resolve()}"',
                "",
                "[launch.attestation]",
                'format = "simulated"',
                f'platform = "{platform.resolve()}"',
                "",
            ]
        )

    def _model_lines(self) -> list[str]:
        folders = {"model": self.model, "language_model": self.language_model, "summariser": self.summariser}
        return [f'{key} = "{folder.resolve()}"' for key, folder in folders.items() if folder is not None]

    def _memory_lines(self) -> list[str]:
        """Let workers lock their memory, unless the machine would not let them."""
        if _may_lock_memory(LOCKED_OCTETS + (0 if self.language_model is None else SLOTS_OCTETS)):
            return []
        self.say("workers do not lock their memory, since RLIMIT_MEMLOCK is low: it may be written to swap")
        return ["lock_memory = false"]

    def policy(self, *manifests: str) -> Demonstration:
        """Return what devices accept: these manifests, or what is logged; and whom workers share keys with."""
        root = (self.state / "platform" / "root.der").read_bytes()
        logs = self.ledger_files.table() if self.ledger else None
        return Demonstration(manifests=manifests, ledger=logs, simulated=SimulatedTable(roots=(root,)))

    def _write_trust(self) -> None:
        policy = self.policy() if self.ledger else self.policy(self.manifest_digest())
        self.trust = Trust(
            origin=ORIGIN,
            relays=(f"http://{self.advertised['relay']}{GATEWAY_PATH}",),
            gateway=f"http://{self.advertised['gateway']}{GATEWAY_PATH}",
            slots=SlotTable(t0=self.t0, period_seconds=self.period_seconds),
            policy_document=policy,
        )
        self.trust_file.write_text(render_trust(self.trust))

    def _write_stack(self) -> None:
        """Write `stack.json` whole or not at all, since programs poll for it."""
        stack = {
            "relay_url": f"http://{self.advertised['relay']}{GATEWAY_PATH}",
            "gateway_url": f"http://{self.advertised['gateway']}{GATEWAY_PATH}",
            "workers": [f"http://{self.parties[name].listen}" for name in self.names],
            "ledger": f"http://{self.parties['ledger'].listen}" if self.ledger else None,
            "witnesses": [f"http://{self.parties[name].listen}" for name in WITNESSES] if self.ledger else [],
            "admin": {name: f"http://{party.admin}" for name, party in self.parties.items()},
            "origin": ORIGIN,
            "trust_file": str(self.trust_file.resolve()),
            "pids": {name: party.process.pid for name, party in self.parties.items() if party.process},
        }
        fresh = self.state / "stack.json.new"
        fresh.write_text(json.dumps(stack, indent=2) + "\n")
        fresh.replace(self.state / "stack.json")

    async def _run(self, name: str, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *module(name, *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            process.kill()  # or it would write into the folder of the next start
            await process.wait()
            raise
        if status:
            raise StackError(f"`{name} {arguments[0]}` failed; its message stands above")

    async def _launch(self, name: str, arguments: Sequence[str], *, listen: str = "127.0.0.1:0") -> None:
        party = Party(name, arguments, self.state / f"{name}.log", listen)
        party.log.unlink(missing_ok=True)
        self.parties[name] = party
        await party.start()
        self.advertised[name] = await self.wrap(name, party.listen)
        self.say(f"{name} listens on {party.listen}, admin on http://{party.admin}")

    async def _wait_until_ready(self) -> None:
        """Wait for every party's own word that it is ready."""
        deadline = time.monotonic() + READY_SECONDS
        for party in self.parties.values():
            while not await party.is_ready():
                if time.monotonic() > deadline:
                    raise StackError(f"{party.name} is not ready after {READY_SECONDS:.0f} s; its log is {party.log}")
                await asyncio.sleep(0.05)  # another process's state: there is nothing to be woken by

    async def _keep(self, party: Party) -> None:
        """Start a party again whenever it ends, unless it says that starting again will not help."""
        pause = RESTART_SECONDS
        while party.process is not None:
            began = time.monotonic()
            status = await party.process.wait()
            if self._stopping:
                return
            if status == REFUSED_STATUS:
                self.say(f"{party.name} refuses to start and stays down: {party.last_words()}")
                return
            if time.monotonic() - began > MAX_RESTART_SECONDS:
                pause = RESTART_SECONDS
            self.say(f"{party.name} ended with status {status}; starting it again")
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_RESTART_SECONDS)
            try:
                await party.start()
                self._write_stack()
            except StackError as exc:
                self.say(str(exc))
            except OSError as exc:
                self.say(f"{self.state} cannot be written: {exc.strerror}")


def _may_lock_memory(octets: int) -> bool:
    """Say whether a program that is started here may lock as much memory as a worker does (mlockall(2))."""
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    enough = limit == resource.RLIM_INFINITY or limit >= octets
    return enough or bool(_capabilities() >> CAP_IPC_LOCK & 1)


def _capabilities() -> int:
    """Return the capabilities that a program which is started here has (proc(5))."""
    field = "CapEff:" if os.geteuid() == 0 else "CapAmb:"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith(field))
