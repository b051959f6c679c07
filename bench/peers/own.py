"""Our own relay and gateway, started beside the peers as one of them."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from subprocess import run
from typing import Final

from bench.peers.start import PROXY, Running, Setting, SkippedError
from bench.targets import PERIOD_SECONDS, pid_of, running, until_ready
from deploy.party import module
from seclude.ohttp.media import GATEWAY_PATH

# How a relay is told its certificate; a relay that does not know the first word is not measured with TLS.
TLS_FLAGS: Final = ("--tls-certificate", "--tls-key")
PROCESSES_FLAG: Final = "--processes"


@asynccontextmanager
async def relay(setting: Setting) -> AsyncIterator[Running]:
    """`python -m relay`."""
    command = ["relay", "--gateway", f"http://{setting.upstream}{GATEWAY_PATH}", *_processes(setting, "relay")]
    scheme = "http"
    if setting.certificate is not None:
        _need_flag("relay", TLS_FLAGS[0])
        scheme = "https"
        for flag, file in zip(TLS_FLAGS, setting.certificate, strict=True):
            command += [flag, str(file)]
    async with running(setting.place, PROXY, *command) as party:
        await until_ready(party)
        yield Running(f"{scheme}://{party.listen}{GATEWAY_PATH}", pid_of(party))


@asynccontextmanager
async def gateway(setting: Setting) -> AsyncIterator[Running]:
    """`python -m gateway` with one worker."""
    command = ["gateway", "--t0", str(int(time.time()) - 60), "--period", str(PERIOD_SECONDS), "--single"]
    command += ["--worker", f"http://{setting.upstream}", *_processes(setting, "gateway")]
    async with running(setting.place, PROXY, *command) as party:
        await until_ready(party)
        yield Running(f"http://{party.listen}{GATEWAY_PATH}", pid_of(party))


def _processes(setting: Setting, party: str) -> list[str]:
    if setting.place.processes == 1:
        return []
    _need_flag(party, PROCESSES_FLAG)
    return [PROCESSES_FLAG, str(setting.place.processes)]


def _need_flag(party: str, flag: str) -> None:
    known = run(module(party, "--help"), capture_output=True, text=True, check=False).stdout  # noqa: S603
    if flag not in known:
        raise SkippedError(f"the {party} has no {flag}")
