"""`seclude monitor` as it is run: its words, its JSON, its exit status, and the files that it keeps."""

import argparse
import asyncio
import contextlib
import errno
import io
import json
import os
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest import mock

import pytest

from seclude.attestation.bundle import serialize_bundles
from seclude.attestation.proofs import VOID
from seclude.client.findings import Conflict
from seclude.client.ledgersource import Source
from seclude.client.monitor import MAX_FILES, _keep, _look
from seclude.client.monitoring import Monitor
from seclude.client.monitorstate import MonitorState, load_state, save_state
from seclude.client.trust import render_trust
from seclude.daemon.answering import answering
from seclude.daemon.messages import Request, Response
from seclude.daemon.server import Server
from seclude.errors import ConfigError, TooLargeError
from seclude.ohttp.media import KEY_BUNDLES
from seclude.tlog.checkpoint import parse_checkpoint
from seclude.tlog.merkle import verify_consistency
from seclude.tlog.note import parse_note
from tests.client.ledgerworld import NOW, World, tiles
from tests.client.serving import Relay, trusting
from tests.running import ROOT


@asynccontextmanager
async def relaying(bundles: list[bytes], status: int = 200) -> AsyncIterator[str]:
    """A relay that gives these bundles."""

    async def handle(request: Request) -> Response:
        await request.body.read()
        return Response(status, KEY_BUNDLES, serialize_bundles(bundles) if bundles else b"")

    server = Server(answering(handle))
    address = await server.start("127.0.0.1:0")
    try:
        yield f"http://{address}/relay"
    finally:
        await server.drain(1.0)


class Run:
    """The command, with a folder of its own for its state."""

    def __init__(self, world: World, folder: Path, *relays: str) -> None:
        self.folder = folder
        self.trust = folder / "trust.toml"
        self.trust.write_text(render_trust(world.trust(*relays)))
        self.environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}

    async def start(self, url: str, *more: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "seclude.client", "--trust", str(self.trust)),
            *("monitor", "--ledger", url, *more),
            cwd=ROOT,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def __call__(self, url: str, *more: str) -> tuple[int | None, str, str]:
        process = await self.start(url, *more)
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    @property
    def state(self) -> Path:
        return self.folder / "state" / "seclude" / "monitor-ai.example.json"


async def test_an_honest_ledger_gives_status_0_and_a_state_of_ones_own(tmp_path: Path) -> None:
    world = World()
    world.fill()
    run = Run(world, tmp_path)
    async with world.up() as url:
        status, out, err = await run(url)
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "nothing found"
    assert "log.example/keys: 6 entries, 6 new, cosigned" in out
    assert "1 release, 0 revoked" in out
    assert "witnesses: 2 of (w0, w1, w2)" in out
    assert stat.S_IMODE(run.state.stat().st_mode) == 0o600
    assert sorted(path.name for path in run.state.parent.iterdir()) == [run.state.name, f"{run.state.name}.lock"]


async def test_two_histories_give_status_1_and_evidence_that_anybody_can_check(tmp_path: Path) -> None:
    world = World()
    world.fill(3)
    run = Run(world, tmp_path)
    async with world.up() as url:
        await run(url)
    world.ledger = world.ledger.split()
    world.ledger.keys.entries[1] = VOID
    world.log(4)
    evidence = tmp_path / "evidence.json"
    async with world.up() as url:
        status, out, err = await run(url, "--json", "--evidence", str(evidence))
        again, words, _ = await run(url, "--evidence", str(evidence))
    assert (status, err, again) == (1, "", 1)
    answer = json.loads(out)
    assert answer["ok"] is False
    (finding,) = (each for each in answer["findings"] if each["level"] == "finding")
    assert (finding["kind"], finding["evidence"]) == ("inconsistent", f"the evidence is in {evidence}")
    assert "FINDING  inconsistent: log.example/keys shows two histories" in words
    assert "exists already and was left as it is" in words
    assert stat.S_IMODE(evidence.stat().st_mode) == 0o600
    kept = json.loads(evidence.read_text())
    first, second = (parse_checkpoint(parse_note(text.encode()).text) for text in kept["checkpoints"])
    root, proof = bytes.fromhex(kept["root_under_second"]), [bytes.fromhex(each) for each in kept["consistency_proof"]]
    verify_consistency(first.size, root, second.size, second.root, proof)
    assert root != first.root


async def test_it_says_what_relays_give_and_the_log_does_not_show(tmp_path: Path) -> None:
    world = World()
    world.fill(NOW - 1)
    twin = world.twin()
    honest = world.log(NOW)
    own = twin.log(NOW, twin.core(NOW, checkpoint=twin.ledger.keys_checkpoint(twin.born(NOW) + 1)))
    logged, unlogged = world.stapled(honest), twin.stapled(own)
    async with world.up() as url, relaying([logged]) as good, relaying([unlogged]) as bad, relaying([], 503) as none:
        status, out, _ = await Run(world, tmp_path, good, bad, none)(url, "--relay", "--json")
    answer = json.loads(out)
    assert status == 1
    assert answer["relays"] == [good]
    warning, finding, split = answer["findings"]
    assert (warning["level"], warning["facts"]["url"]) == ("warning", none)
    assert (finding["kind"], finding["facts"]["url"], finding["facts"]["epoch"]) == ("relay", bad, NOW)
    assert "that is another one than the log has there" in finding["words"]
    assert split["kind"] == "inconsistent"
    assert f"the checkpoint that {bad} gives to devices has the root" in split["words"]
    (evidence,) = (tmp_path / "state" / "seclude").glob("inconsistent-log-*.json")
    assert split["evidence"] == f"the evidence is in {evidence}"


async def test_keys_that_do_not_verify_and_those_that_are_not_in_the_log_yet_are_told(tmp_path: Path) -> None:
    world = World()
    world.fill(NOW)
    old = world.checkpoint("keys", size=NOW)
    bundle = world.log(NOW + 1)
    stapled = world.stapled(bundle)
    world.files = {f"/keys/{path}": data for path, data in tiles(world.ledger.keys, NOW).items()}
    world.files["/keys/checkpoint"] = old
    async with world.up() as url, relaying([stapled]) as early, relaying([b""]) as junk:
        _, out, _ = await Run(world, tmp_path, early, junk)(url, "--relay", "--json")
    words = [finding["words"] for finding in json.loads(out)["findings"]]
    assert any(f"a core for epoch {NOW + 1} that is not in the log" in each for each in words)
    assert any("gives what is no list of keys" in each for each in words)


async def test_it_follows_until_it_is_ended_and_goes_on_where_the_ledger_is_away(tmp_path: Path) -> None:
    world = World()
    world.fill(3)
    run = Run(world, tmp_path)
    async with world.up() as url:
        process = await run.start(url, "--json", "--follow", "1")
        assert process.stdout is not None
        first = json.loads(await process.stdout.readline())
        world.log(4)
        second = json.loads(await process.stdout.readline())
    assert process.stderr is not None
    assert b"the ledger gave no answer" in await process.stderr.readline()
    third = json.loads(await process.stdout.readline())
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert (process.returncode, third["error"]) == (130, "unreachable")
    assert all(line.startswith(b"seclude: the ledger gave") for line in err.splitlines()), "no traceback"
    assert (first["logs"]["keys"]["read"], second["logs"]["keys"]["read"]) == (4, 1)
    assert load_state(run.state, "ai.example").heads["log.example/keys"].size == 5


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--ledger", "http://ledger.example"), "--ledger must be https://"),
        (("--ledger", "https://ledger.example/?x"), "--ledger must be https://"),
        (("--ledger", "http://127.0.0.1:1", "--follow", "0.1"), "is not a number of seconds"),
        ((), "--ledger"),
    ],
)
async def test_wrong_usage_gives_status_2(tmp_path: Path, flags: tuple[str, ...], words: str) -> None:
    run = Run(World(), tmp_path)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "seclude.client", "--trust", str(run.trust), "monitor", *flags),
        cwd=ROOT,
        env=run.environment,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    assert process.returncode == 2
    assert words in err.decode()


async def test_a_trust_file_without_a_ledger_gives_status_2(tmp_path: Path, relay: Relay) -> None:
    run = Run(World(), tmp_path)
    run.trust.write_text(render_trust(trusting(relay.platform, "http://127.0.0.1:1/")))
    status, _, err = await run("http://127.0.0.1:1")
    assert (status, "names no ledger to follow" in err) == (2, True)


async def test_a_ledger_that_does_not_answer_gives_status_1(tmp_path: Path) -> None:
    status, out, err = await Run(World(), tmp_path)("http://127.0.0.1:1", "--json")
    assert (status, json.loads(out)["error"]) == (1, "unreachable")
    assert "the ledger gave no answer for /keys/checkpoint" in err


def test_a_state_that_is_no_state_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "monitor.json"
    assert load_state(path, "ai.example") == MonitorState(origin="ai.example")
    save_state(path, MonitorState(origin="ai.example"))
    with pytest.raises(ConfigError, match=r'is of the service "ai\.example", not "other\.example"'):
        load_state(path, "other.example")
    path.write_text(path.read_text().replace("monitor v1", "monitor v2"))
    with pytest.raises(ConfigError, match="another version"):
        load_state(path, "ai.example")
    path.write_bytes(b"junk")
    with pytest.raises(ConfigError, match="is not what a monitor wrote"):
        load_state(path, "ai.example")
    assert path.read_bytes() == b"junk"
    with pytest.raises(ConfigError, match="cannot read"):
        load_state(tmp_path, "ai.example")
    with pytest.raises(ConfigError, match="cannot write"):
        save_state(path / "below", MonitorState(origin="ai.example"))
    assert [each.name for each in tmp_path.rglob("*")] == ["folder", "monitor.json"]


async def test_a_state_of_another_key_of_the_log_is_not_gone_on_from() -> None:
    world, other = World(), World()
    _, state = await world.look()
    other.ledger.state_key = World().ledger.state_key
    other.ledger.keys_key, other.ledger.witness_keys = world.ledger.keys_key, world.ledger.witness_keys
    look, _ = await other.look(state)
    assert "that was kept is not of this log" in look.findings[0].words


async def test_two_monitors_do_not_share_a_state(tmp_path: Path) -> None:
    world = World()
    run = Run(world, tmp_path)
    async with world.up() as url:
        first = await run.start(url, "--follow", "60")
        assert first.stdout is not None
        await first.stdout.readline()
        status, out, err = await run(url)
        assert (status, out) == (2, "")
        assert f"another monitor uses {run.state}; end that one, or name another file with --state" in err
        assert (await run(url, "--state", str(tmp_path / "own.json")))[0] == 0
        first.send_signal(signal.SIGINT)
        await first.communicate()
        assert (await run(url))[0] == 0, "the lock ends with who had it"


async def test_what_was_found_is_told_though_it_cannot_be_remembered(tmp_path: Path) -> None:
    world = World()
    world.ledger.keys.entries.append(b"nonsense")
    (tmp_path / "file").touch()
    arguments = argparse.Namespace(json=True, follow=None)
    policy = world.policy
    assert policy.ledger is not None
    told = io.StringIO()
    async with world.up() as url:
        monitor = Monitor(policy, policy.ledger, source := Source(url), MonitorState(origin="ai.example"), time.time)
        with contextlib.redirect_stdout(told), pytest.raises(ConfigError, match="cannot write"):
            await _look(monitor, policy.ledger, arguments, tmp_path / "file" / "state", tmp_path / "evidence")
        await source.close()
    assert "leaf" in [finding["kind"] for finding in json.loads(told.getvalue())["findings"]]


def test_evidence_that_cannot_be_written_is_said_and_there_is_no_end_of_files(tmp_path: Path) -> None:
    named = tmp_path / "evidence-{digest}.json"
    with mock.patch("seclude.client.monitor.serialize_conflict", side_effect=OSError(errno.ENOSPC, "no space left")):
        assert "cannot be written" in _keep(Conflict("log.example/keys", b"a", b"b", (), b""), named)
    for number in range(MAX_FILES):
        words = _keep(Conflict("log.example/keys", b"%d" % number, b"b", (), b""), named)
    assert words.endswith("and no more was written")
    assert len(list(tmp_path.iterdir())) == MAX_FILES


async def test_a_path_before_the_ledgers_own_is_part_of_its_address() -> None:
    world = World()
    world.files["/copy/keys/checkpoint"] = b"here"
    async with world.up() as url:
        source = Source(f"{url}/copy/")
        assert await source.fetch("/keys/checkpoint", 4) == b"here"
        with pytest.raises(TooLargeError, match="/keys/checkpoint has more than 3 octets"):
            await source.fetch("/keys/checkpoint", 3)
        await source.close()
