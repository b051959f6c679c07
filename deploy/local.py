"""All parties on one machine: supervised, in the foreground, until Ctrl-C.

    python deploy/local.py --workers 2 --state run

Everything is made anew in the state folder: a SIMULATED attestation platform, the workers' configuration and manifest,
the device's trust file. When all parties are ready the folder gets `stack.json`, which says where everything listens;
it is written again whenever a party was restarted. One machine is no privacy: relay and operator must be two people.
"""

import argparse
import asyncio
import base64
import contextlib
import ctypes
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from seclude.client.trust import EvidenceTable, SlotTable, Trust, render_trust
from seclude.ohttp.media import GATEWAY_PATH

ORIGIN: Final = "demo.seclude.invalid"  # a name that never resolves: a request that escapes the path goes nowhere
READY_SECONDS: Final = 60.0  # a worker loads its model in about a second; a slow machine gets a minute
STOP_SECONDS: Final = 35.0  # the daemons' own drain limit is 30 s
RESTART_SECONDS: Final = 0.2  # pause before a party that died is started again; doubled up to the next line
MAX_RESTART_SECONDS: Final = 5.0
PERIOD_SECONDS: Final = 86_400  # the length of an epoch, unless --period says otherwise
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h

Wrap = Callable[[str, str], Awaitable[str]]
"""Given a party's name and HOST:PORT, returns the HOST:PORT that its neighbour is told; the place for a tap."""


class StackError(Exception):
    """Raised when the parties cannot be brought up; says which and where its log is."""


async def untapped(_name: str, address: str) -> str:
    """Tell the neighbour the party's own address."""
    return address


def _end_with_parent() -> None:
    """Ask the kernel to end this child with the supervisor, so that none is left behind when that is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(slots=True)
class Party:
    """One supervised process; its listening addresses stay the same when it is restarted."""

    name: str
    arguments: Sequence[str]
    log: Path
    listen: str = "127.0.0.1:0"
    admin: str = "127.0.0.1:0"
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0

    async def start(self) -> None:
        """Start the process and wait until it has said where it listens."""
        read_end, write_end = os.pipe()
        command = [*self.arguments, "--listen", self.listen, "--admin", self.admin, "--announce", str(write_end)]
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(write_end,),
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which then ends the parties in order
                preexec_fn=_end_with_parent,
            )
        os.close(write_end)
        line = await _read_line(read_end, READY_SECONDS)
        if not line:
            raise StackError(f"{self.name} did not start; its log is {self.log}")
        announced = json.loads(line)
        self.listen, self.admin = announced["listen"], announced["admin"]

    async def stop(self) -> None:
        """End the process gracefully, or by force after its drain limit."""
        if self.process is None or self.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


async def _read_line(descriptor: int, limit: float) -> bytes:
    """Return what the child writes to its announcement pipe, or nothing if it ends or takes too long."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb")
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        async with asyncio.timeout(limit):
            return await reader.readline()
    except TimeoutError:
        return b""
    finally:
        transport.close()


@dataclass(slots=True)
class Stack:
    """Relay, gateway and workers in one state folder."""

    state: Path
    workers: int
    model: Path
    period_seconds: int = PERIOD_SECONDS
    relay_listen: str = "127.0.0.1:0"
    wrap: Wrap = untapped
    say: Callable[[str], None] = lambda _: None
    parties: dict[str, Party] = field(default_factory=dict)
    advertised: dict[str, str] = field(default_factory=dict)
    trust: Trust | None = None
    t0: int = field(default_factory=lambda: int(time.time()) - 60)
    """Start of epoch 0: now, and a minute back for the clocks of other machines."""
    _lock: IO[str] | None = None
    _stopping: bool = False

    @property
    def trust_file(self) -> Path:
        """Where the device's trust file stands."""
        return self.state / "trust.toml"

    async def start(self) -> None:
        """Bring up workers, gateway and relay, in this order, and write `stack.json` when all are ready."""
        self._claim()
        await self._prepare()
        names = [f"worker-{number}" for number in range(self.workers)]
        arguments = self._module("inference", "--config", str(self.state / "worker.toml"))
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(self._launch(name, arguments))
        gateway = self._module("gateway", "--t0", str(self.t0), "--period", str(self.period_seconds))
        for name in names:
            gateway += ["--worker", f"http://{self.advertised[name]}"]
        if self.workers == 1:
            gateway.append("--single")
        await self._launch("gateway", gateway)
        relay = self._module("relay", "--gateway", f"http://{self.advertised['gateway']}{GATEWAY_PATH}")
        await self._launch("relay", relay, listen=self.relay_listen)
        self._write_trust()
        await self._wait_until_ready()
        self._write_stack()

    async def supervise(self) -> None:
        """Restart every party that ends by itself; runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            for party in self.parties.values():
                group.create_task(self._keep(party))

    async def stop(self) -> None:
        """End all parties, the one that devices talk to first."""
        self._stopping = True
        for name in reversed(self.parties):
            await self.parties[name].stop()
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

    async def _prepare(self) -> None:
        """Make the simulated platform, the workers' configuration and the manifest that they must match."""
        platform = self.state / "platform"
        if not platform.exists():
            await self._run("inference", "simulate-platform", "--out", str(platform))
        (self.state / "worker.toml").write_text(self._worker_toml(platform))
        manifest = self.state / "worker.manifest"
        await self._run("inference", "manifest", "--config", str(self.state / "worker.toml"), "--out", str(manifest))

    def _worker_toml(self, platform: Path) -> str:
        root = base64.b64encode((platform / "root.der").read_bytes()).decode()
        return "\n".join(
            [
                "# What [measured] says is part of the measurement that devices verify; [launch] is not.",
                "[measured]",
                f'origin = "{ORIGIN}"',
                f"t0 = {self.t0}",
                f"period_seconds = {self.period_seconds}",
                f'simulated_roots = ["{root}"]',
                "",
                "[launch]",
                f'model = "{self.model.resolve()}"',
                f'platform = "{platform.resolve()}"',
                f'manifest = "{(self.state / "worker.manifest").resolve()}"',
                "",
            ]
        )

    def _write_trust(self) -> None:
        manifest = json.loads((self.state / "worker.manifest").read_text())
        root = base64.b64encode((self.state / "platform" / "root.der").read_bytes()).decode()
        self.trust = Trust(
            origin=ORIGIN,
            relay=f"http://{self.advertised['relay']}{GATEWAY_PATH}",
            slots=SlotTable(t0=self.t0, period_seconds=self.period_seconds),
            evidence=EvidenceTable(
                measurements=(manifest["digest"],),
                simulated_roots=(root,),
                max_age_seconds=3 * self.period_seconds,
            ),
        )
        self.trust_file.write_text(render_trust(self.trust))

    def _write_stack(self) -> None:
        """Write `stack.json` whole or not at all, since programs poll for it."""
        stack = {
            "relay_url": f"http://{self.advertised['relay']}{GATEWAY_PATH}",
            "gateway_url": f"http://{self.advertised['gateway']}{GATEWAY_PATH}",
            "workers": [f"http://{party.listen}" for name, party in self.parties.items() if name.startswith("worker")],
            "admin": {name: f"http://{party.admin}" for name, party in self.parties.items()},
            "origin": ORIGIN,
            "trust_file": str(self.trust_file.resolve()),
            "pids": {name: party.process.pid for name, party in self.parties.items() if party.process},
        }
        fresh = self.state / "stack.json.new"
        fresh.write_text(json.dumps(stack, indent=2) + "\n")
        fresh.replace(self.state / "stack.json")

    @staticmethod
    def _module(name: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", name, *arguments]

    async def _run(self, module: str, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._module(module, *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            process.kill()  # or it would write into the folder of the next start
            await process.wait()
            raise
        if status:
            raise StackError(f"`{module} {arguments[0]}` failed; its message stands above")

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
            while not await _is_ready(party.admin):
                if time.monotonic() > deadline:
                    raise StackError(f"{party.name} is not ready after {READY_SECONDS:.0f} s; its log is {party.log}")
                await asyncio.sleep(0.05)  # another process's state: there is nothing to be woken by

    async def _keep(self, party: Party) -> None:
        pause = RESTART_SECONDS
        while party.process is not None:
            began = time.monotonic()
            status = await party.process.wait()
            if self._stopping:
                return
            if time.monotonic() - began > MAX_RESTART_SECONDS:
                pause = RESTART_SECONDS
            self.say(f"{party.name} ended with status {status}; starting it again")
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_RESTART_SECONDS)
            try:
                await party.start()
            except StackError as exc:
                self.say(str(exc))
                continue
            party.restarts += 1
            self._write_stack()


async def _is_ready(admin: str) -> bool:
    """Ask an admin port whether its daemon is ready, with the smallest possible HTTP client."""
    host, _, port = admin.rpartition(":")
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
            status = await reader.readline()
            writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in status


async def serve(stack: Stack) -> None:
    """Run a stack until SIGINT or SIGTERM, then end it cleanly."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    starting = asyncio.create_task(stack.start())
    stopping = asyncio.create_task(ended.wait())
    keeping: asyncio.Task[None] | None = None
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            stack.say(f"ready; try: seclude --trust {stack.trust_file} summarize deploy/demo/chat.txt")
            stack.say("Ctrl-C ends all of it")
            keeping = asyncio.create_task(stack.supervise())
            await stopping
    finally:
        for task in (starting, stopping, keeping):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(t for t in (starting, stopping, keeping) if t is not None), return_exceptions=True)
        await stack.stop()


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="deploy/local.py",
        description="Run relay, gateway and workers on this machine until Ctrl-C. Attestation is SIMULATED.",
        epilog="example: python deploy/local.py --workers 2 --state run",
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="size of the pool (default: 2)")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="folder for keys, trust file and logs")
    parser.add_argument("--model", type=Path, default=Path("models/all-minilm-l6-v2"), metavar="DIR")
    parser.add_argument("--relay", default="127.0.0.1:0", metavar="HOST:PORT", help="where devices connect")
    parser.add_argument("--period", type=int, default=PERIOD_SECONDS, metavar="SECONDS", help="length of an epoch")
    arguments = parser.parse_args(argv)
    if arguments.workers < 1:
        parser.error("--workers must be at least 1")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = parse_arguments(argv)
    stack = Stack(
        state=arguments.state,
        workers=arguments.workers,
        model=arguments.model,
        period_seconds=arguments.period,
        relay_listen=arguments.relay,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    if not (stack.model / "model.onnx").exists():
        print(f"no model in {stack.model}; run: seclude-model install", file=sys.stderr)
        return 2
    status = 0
    try:
        asyncio.run(serve(stack))
    except* StackError as group:
        status = 1
        for exc in group.exceptions:
            print(f"deploy/local.py: {exc}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
