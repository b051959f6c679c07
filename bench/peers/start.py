"""Starts each peer as a process before one upstream. A peer that is not here is skipped with a word.

No code of a peer is ours: nginx and HAProxy come from the distribution, the Go program is built from its standard
library, and the Rust relay comes from its registry and is kept in a cache between runs.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench.peers.configs import haproxy as haproxy_config
from bench.peers.configs import nginx as nginx_config
from bench.targets import Place
from seclude.daemon.processes import end_with_parent
from seclude.ohttp.media import GATEWAY_PATH

OHTTP_RELAY: Final = "0.0.11"
START_SECONDS: Final = 10.0
BUILD_SECONDS: Final = 900.0  # a hundred crates on two cores
STOP_SECONDS: Final = 5.0
PROXY: Final = "proxy"


class SkippedError(Exception):
    """Raised when a peer cannot be had here; says why."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Before what a peer stands, and where it runs."""

    place: Place
    upstream: str
    """HOST:PORT."""
    path: str
    """What the upstream is asked for."""
    cache: Path
    certificate: tuple[Path, Path] | None = None
    """Chain and key, where clients come over TLS."""


@dataclass(frozen=True, slots=True)
class Running:
    """A peer that serves."""

    url: str
    pid: int


Start = Callable[[Setting], AbstractAsyncContextManager[Running]]


@asynccontextmanager
async def nginx(setting: Setting) -> AsyncIterator[Running]:
    """nginx, one worker process."""
    program, port = _find("nginx"), _free_port()
    folder = setting.place.folder
    text = nginx_config(folder, port, setting.upstream, setting.path, setting.certificate)
    config = _write(folder / "nginx.conf", text)
    # Without -e it would first open the log that it was built with, and without -p read files of the distribution.
    command = [program, "-p", str(folder), "-e", str(folder / "nginx-error.log"), "-c", str(config)]
    async with serving(setting, port, command) as running:
        yield running


@asynccontextmanager
async def haproxy(setting: Setting) -> AsyncIterator[Running]:
    """HAProxy, one thread."""
    _need_plain(setting)
    if setting.path != GATEWAY_PATH:
        raise SkippedError("its configuration here keeps the path")
    program, port = _find("haproxy"), _free_port()
    config = _write(setting.place.folder / "haproxy.cfg", haproxy_config(port, setting.upstream))
    async with serving(setting, port, [program, "-db", "-f", str(config)]) as running:
        yield running


@asynccontextmanager
async def go_reverse_proxy(setting: Setting) -> AsyncIterator[Running]:
    """Go's httputil.ReverseProxy on one processor."""
    _need_plain(setting)
    program, port = setting.place.folder / "go-proxy", _free_port()
    if not program.exists():
        source = Path(__file__).parent / "proxy.go"
        await _build([_find("go"), "build", "-o", str(program), str(source)], {"GOFLAGS": "-mod=mod"})
    command = [str(program), "-listen", f"127.0.0.1:{port}", "-upstream", f"http://{setting.upstream}"]
    async with serving(setting, port, command, {"GOMAXPROCS": "1"}) as running:
        yield running


@asynccontextmanager
async def rust_relay(setting: Setting) -> AsyncIterator[Running]:
    """The Rust `ohttp-relay`, on hyper and tokio."""
    _need_plain(setting)
    root, port = setting.cache / f"ohttp-relay-{OHTTP_RELAY}", _free_port()
    program = root / "bin" / "ohttp-relay"
    if not program.exists():
        package = ["ohttp-relay", "--version", OHTTP_RELAY, "--locked", "--root", str(root)]
        await _build([_find("cargo"), "install", *package], {})
    environment = {
        "PORT": str(port),
        "GATEWAY_ORIGIN": f"http://{setting.upstream}",
        "TOKIO_WORKER_THREADS": "1",
        "RUST_LOG": "off",
    }
    async with serving(setting, port, [str(program)], environment) as running:
        yield replace(running, url=f"http://127.0.0.1:{port}/")  # any other path names another gateway


def version_of(program: str, *words: str) -> str:
    """Return the first line of what a program says about its version, or nothing where it is not installed."""
    if shutil.which(program) is None:
        return ""
    said = subprocess.run([program, *words], capture_output=True, text=True, check=False)  # noqa: S603
    return next(iter((said.stdout or said.stderr).splitlines()), "").partition(" - ")[0].strip()


def _find(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        raise SkippedError(f"{name} is not installed")
    return program


def _need_plain(setting: Setting) -> None:
    if setting.certificate is not None:
        raise SkippedError("it is measured without TLS only")


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _free_port() -> int:
    """Return a port that was free a moment ago; peers cannot say which one they would have taken."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _build(command: Sequence[str], environment: Mapping[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=end_with_parent,
    )
    try:
        async with asyncio.timeout(BUILD_SECONDS):
            _, complaint = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise SkippedError("it was not built in time") from None
    if process.returncode:
        last = complaint.decode(errors="replace").strip().splitlines() or ["no word"]
        raise SkippedError(f"it does not build here: {last[-1][:120]}")


@asynccontextmanager
async def serving(
    setting: Setting, port: int, command: Sequence[str], environment: Mapping[str, str] | None = None
) -> AsyncIterator[Running]:
    """Run a peer for the length of a block."""
    cores = setting.place.cores.get(PROXY, os.sched_getaffinity(0))

    def begin() -> None:
        end_with_parent()
        os.sched_setaffinity(0, cores)  # before its first thread, so that it counts its cores rightly and stays on them

    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # a process group of its own, which can be ended whole
        preexec_fn=begin,
    )
    try:
        await _until_listening(process, port)
        scheme = "http" if setting.certificate is None else "https"
        yield Running(f"{scheme}://127.0.0.1:{port}{GATEWAY_PATH}", process.pid)
    finally:
        _signal_group(process.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            _signal_group(process.pid, signal.SIGKILL)
            await process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    """Tell a peer and its children; those that outlive it are the last of its group, which keeps its number taken."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


async def _until_listening(process: asyncio.subprocess.Process, port: int) -> None:
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while process.returncode is None and asyncio.get_running_loop().time() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)  # another process's state: there is nothing to be woken by
            continue
        writer.close()
        await writer.wait_closed()
        return
    raise SkippedError("it does not start here")
