"""`seclude proxy`, as the command line starts it."""

import argparse
import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession

from inference.producers.simulated import create_simulated_platform
from seclude.client.flags import asking_flags
from seclude.client.proxy.command import fill_proxy
from seclude.client.sdk import Client
from seclude.client.trust import Trust, render_trust
from seclude.errors import ConfigError, PolicyError
from tests.client.proxyworld import MODEL, ChatRelay
from tests.client.serving import NOW, T0, trusting


@pytest.fixture
def relay(tmp_path: Path) -> ChatRelay:
    return ChatRelay(create_simulated_platform(tmp_path / "platform", T0))


@asynccontextmanager
async def opens(_arguments: argparse.Namespace, trust: Trust) -> AsyncIterator[Client]:
    async with Client(trust) as client:
        yield client


def parse(trust: Path, *words: str) -> argparse.Namespace:
    verb = argparse.ArgumentParser(parents=[asking_flags()])
    fill_proxy(verb, lambda arguments: Path(arguments.trust), opens)
    return verb.parse_args(["--trust", str(trust), *words])


@asynccontextmanager
async def trust_file(relay: ChatRelay, folder: Path, *, gateway: str | None = None) -> AsyncIterator[Path]:
    async with relay.up() as url:
        file = folder / "trust.toml"
        file.write_text(render_trust(trusting(relay.platform, url, gateway=gateway)))
        yield file


async def until_ready(running: "asyncio.Task[None]", capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Return what was printed when it was ready."""
    out = err = ""
    async with asyncio.timeout(10):
        while not out:
            await asyncio.sleep(0.02)
            if running.done():
                running.result()
            printed = capsys.readouterr()
            out, err = out + printed.out, err + printed.err
    return out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_a_signal(
    relay: ChatRelay, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    token = tmp_path / "token"
    async with trust_file(relay, tmp_path) as trust:
        arguments = parse(trust, "--json", "--listen", "127.0.0.1:0", "--token-file", str(token))
        running = asyncio.create_task(arguments.run(arguments))
        out, err = await until_ready(running, capsys)
        ready = json.loads(out)
        assert (ready["origin"], ready["epoch"], ready["token"]) == ("a.example", NOW, True)
        assert "SIMULATED" in err
        assert "every user" not in err
        fields = {"Authorization": f"Bearer {token.read_text().strip()}"}
        async with ClientSession() as session, session.get(f"{ready['listening']}/models", headers=fields) as answer:
            assert [each["id"] for each in (await answer.json())["data"]] == [MODEL]
        os.kill(os.getpid(), number)
        async with asyncio.timeout(10):
            await running


async def test_it_says_where_it_is_and_who_can_ask(
    relay: ChatRelay, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with trust_file(relay, tmp_path) as trust:
        arguments = parse(trust, "--listen", "[::1]:0")
        running = asyncio.create_task(arguments.run(arguments))
        out, err = await until_ready(running, capsys)
        assert out.startswith("The pool of a.example is trusted; apps reach it at\n      http://[::1]:")
        assert "every user of this machine" in err
        os.kill(os.getpid(), signal.SIGTERM)
        await running


async def test_two_keys_end_it_before_it_listens(relay: ChatRelay, tmp_path: Path) -> None:
    liar = ChatRelay(relay.platform)
    async with liar.up() as other, trust_file(relay, tmp_path, gateway=other) as trust:
        arguments = parse(trust, "--listen", "127.0.0.1:0", "--check-consistency")
        with pytest.raises(Exception, match="two cores"):
            await arguments.run(arguments)
    assert relay.posts + liar.posts == []


async def test_a_pool_that_is_not_trusted_ends_it(relay: ChatRelay, tmp_path: Path) -> None:
    async with relay.up() as url:
        file = tmp_path / "trust.toml"
        file.write_text(render_trust(trusting(relay.platform, url, manifests=("00" * 32,))))
        arguments = parse(file, "--listen", "127.0.0.1:0")
        with pytest.raises(PolicyError) as refusal:
            await arguments.run(arguments)
    assert refusal.value.step == 8


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--listen", "0.0.0.0:0"], "is not loopback: what apps send there is not encrypted"),
        (["--listen", "0.0.0.0:0", "--insecure-beyond-loopback"], "set --token-file"),
        (["--listen", "unix:/tmp/x"], "HOST:PORT"),
        (["--listen", "nowhere"], "a listen address is"),
    ],
)
async def test_an_address_that_others_reach_is_refused(tmp_path: Path, words: list[str], sentence: str) -> None:
    arguments = parse(tmp_path / "none.toml", *words)
    with pytest.raises(ConfigError, match=sentence):
        await arguments.run(arguments)


async def test_an_address_that_is_taken_is_said(relay: ChatRelay, tmp_path: Path) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    async with taken, trust_file(relay, tmp_path) as trust:
        arguments = parse(trust, "--listen", f"127.0.0.1:{port}")
        with pytest.raises(ConfigError, match=r"cannot listen on .*; name another with --listen"):
            await arguments.run(arguments)
