"""TLS on every hop of the real path, each party showing its certificate to the next; and a certificate renewed."""

import asyncio
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.party import Party, module
from deploy.stack import ORIGIN, Stack
from seclude.client.trust import SlotTable, Trust, render_trust
from seclude.ohttp.media import GATEWAY_PATH
from tests.authority import DAY, Authority

CHAT = Path(__file__).parents[2] / "deploy" / "demo" / "chat.txt"


@asynccontextmanager
async def up(folder: Path, name: str, *arguments: str) -> AsyncIterator[Party]:
    party = Party(name, module(*arguments), folder / f"{name}.log")
    await party.start()
    try:
        yield party
    finally:
        await party.stop()


async def until_ready(party: Party) -> None:
    async with asyncio.timeout(30):
        while not await party.is_ready():  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Path3:
    """A path over TLS, and what its devices use."""

    authority: Authority
    relay: Party
    gateway: Party
    trust: Path

    def seclude(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command with no other authority than the test's."""
        command = [sys.executable, "-m", "seclude.client", "--trust", str(self.trust), *arguments]
        environment = {**os.environ, "SSL_CERT_FILE": self.authority.certificate}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@asynccontextmanager
async def path_over_tls(model: Path, folder: Path) -> AsyncIterator[Path3]:
    """A ledger, a worker, a gateway and a relay; between the ledger and its witnesses it is plain, on one machine."""
    authority = Authority(folder)
    own = {name: authority.issue(name) for name in ("relay", "gateway", "worker", "ledger")}

    def shown(name: str, *clients: str) -> list[str]:
        return ["--tls-certificate", own[name][0], "--tls-key", own[name][1], *clients]

    def next_hop(hop: str, name: str) -> list[str]:
        return [f"--{hop}-ca", own[hop][0], f"--{hop}-certificate", own[name][0], f"--{hop}-key", own[name][1]]

    stack = Stack(folder / "state", 1, model)
    async with AsyncExitStack() as exits:

        async def start(name: str, *arguments: str) -> Party:
            return await exits.enter_async_context(up(folder, name, *arguments))

        exits.push_async_callback(stack.stop)
        await stack.prepare()
        only_gateway = ["--tls-client-ca", own["gateway"][0]]
        ledger = stack.parties["ledger"]
        await ledger.stop()  # what it has is on its disk
        ledger.arguments = [*ledger.arguments, *shown("ledger", *only_gateway)]
        await ledger.start()
        config = str(stack.state / "worker.toml")
        worker = await start("worker", "inference", "--config", config, *shown("worker", *only_gateway))
        pool = ["--single", "--t0", str(stack.t0), "--period", str(stack.period_seconds)]
        pool += ["--worker", f"https://{worker.listen}", *next_hop("worker", "gateway")]
        pool += ["--ledger", f"https://{ledger.listen}", "--ledger-secret", str(stack.ledger_files.secret)]
        pool += next_hop("ledger", "gateway")
        only_relay = ["--tls-client-ca", own["relay"][0]]
        gateway = await start("gateway", "gateway", *pool, *shown("gateway", *only_relay))
        relay = await start(
            "relay",
            "relay",
            *("--gateway", f"https://{gateway.listen}{GATEWAY_PATH}"),
            *shown("relay"),
            *next_hop("gateway", "relay"),
        )
        await until_ready(relay)
        trust = folder / "trust.toml"
        pinned = Trust(
            origin=ORIGIN,
            relays=(f"https://{relay.listen}{GATEWAY_PATH}",),
            slots=SlotTable(t0=stack.t0, period_seconds=stack.period_seconds),
            policy_document=stack.policy(),
        )
        trust.write_text(render_trust(pinned))
        yield Path3(authority, relay, gateway, trust)


async def test_a_summary_comes_back_with_tls_on_every_hop(model: Path, tmp_path: Path) -> None:
    async with path_over_tls(model, tmp_path) as path:
        done = await asyncio.to_thread(path.seclude, "summarize", str(CHAT), "--unread", "20")
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) > 3
        # Whoever is not the known relay gets no word out of the gateway.
        stranger = ssl.create_default_context(cafile=path.authority.certificate)
        url = f"https://{path.gateway.listen}{GATEWAY_PATH}"
        with pytest.raises(OSError, match=r"certificate required|reset|closed connection"):
            await asyncio.to_thread(urllib.request.urlopen, url, timeout=10, context=stranger)


async def test_a_hangup_renews_a_certificate_and_keeps_the_old_one_where_the_new_is_bad(
    model: Path, tmp_path: Path
) -> None:
    async with path_over_tls(model, tmp_path) as path:
        assert path.relay.process is not None

        def metric(name: str) -> float:
            with urllib.request.urlopen(f"http://{path.relay.admin}/metrics", timeout=10) as answer:
                lines = answer.read().decode().splitlines()
            return float(next(line.split()[1] for line in lines if line.startswith(name)))

        async def renewed(result: str, count: int) -> None:
            assert path.relay.process is not None
            path.relay.process.send_signal(signal.SIGHUP)
            name = f'seclude_relay_reloads_total{{result="{result}"}}'
            async with asyncio.timeout(10):
                while await asyncio.to_thread(metric, name) < count:  # noqa: ASYNC110 - another process's state
                    await asyncio.sleep(0.02)

        expiry = "seclude_relay_certificate_expiry_timestamp_seconds"
        before = await asyncio.to_thread(metric, expiry)
        assert abs(before - time.time() - DAY.total_seconds()) < 120
        await asyncio.to_thread(shutil.copyfile, CHAT, tmp_path / "relay.pem")
        await renewed("error", 1)
        assert (await asyncio.to_thread(path.seclude, "verify")).returncode == 0
        path.authority.issue("relay", lifetime=9 * DAY)  # and the key that belongs to it
        await renewed("ok", 1)
        assert abs(await asyncio.to_thread(metric, expiry) - before - 8 * DAY.total_seconds()) < 120
        assert (await asyncio.to_thread(path.seclude, "verify")).returncode == 0
