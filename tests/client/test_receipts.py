"""Receipts: what is kept of a request, that it verifies again for anybody, and that nothing else is in it."""

import asyncio
import errno
import hashlib
import json
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import msgspec
import pytest

from seclude.attestation.bundle import parse_bundle, serialize_bundle
from seclude.attestation.proofs import VOID, parse_proofs
from seclude.attestation.verify import verify_bundle
from seclude.client.logproofs import outline_node, prove_entries
from seclude.client.main import main
from seclude.client.receipts import Receipt, ReceiptFile, Use, load_receipt, make_receipt, write_receipt
from seclude.client.sync import SyncClient
from seclude.client.trust import render_trust
from seclude.daemon.messages import Response
from seclude.errors import OHTTP_KEY, ConfigError, EvidenceError, UsageError
from seclude.ledger import MAX_SUBMISSION
from seclude.ohttp.media import PROBLEM
from seclude.tasks import encode
from seclude.tlog.merkle import inclusion_proof, leaf_hash, verify_inclusion
from seclude.tlog.outline import make_outline
from seclude.tlog.proof import parse_log_proof, verify_log_proof
from seclude.tlog.quorum import parse_quorum
from tests.client.ledgerworld import NOW, World
from tests.client.serving import ANSWER, MESSAGES, PERIOD, T0, Clock, Relay, asking, trusting
from tests.client.serving import NOW as SERVED
from tests.ledgers import REVISION, SOURCE, Tree
from tests.running import ROOT


class Kept:
    """A receipt of a request in the present slot, and the trust file beside it."""

    def __init__(self, folder: Path) -> None:
        self.world = World()
        self.world.fill(NOW - 1)
        self.bundle = self.world.log(NOW)
        self.trust = folder / "trust.toml"
        self.trust.write_text(render_trust(self.world.trust()))
        pool = verify_bundle(self.world.stapled(self.bundle), self.world.policy, self.world.now, {})
        self.receipt = make_receipt(Use(pool, self.world.now + 0.5), self.trust.read_bytes())
        self.path = folder / "receipt.json"
        write_receipt(self.path, self.receipt)

    def show(self, *more: str) -> int:
        return main(["receipt", "show", str(self.path), "--trust", str(self.trust), *more])

    async def ask(self, *more: str) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "seclude.client", "receipt", "show", str(self.path), "--trust", str(self.trust)),
            *more,
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_a_receipt_is_its_owners_alone_and_replaces_nothing(kept: Kept) -> None:
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    assert load_receipt(kept.path) == kept.receipt
    with pytest.raises(ConfigError, match="exists already"):
        ReceiptFile(kept.path, b"")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_receipt(kept.path, kept.receipt)
    with pytest.raises(ConfigError, match="there is no folder"):
        ReceiptFile(kept.path / "below", b"")


def test_a_receipt_is_of_the_last_keys_and_goes_where_nothing_was_sent(kept: Kept, tmp_path: Path) -> None:
    pool = verify_bundle(kept.world.stapled(kept.bundle), kept.world.policy, kept.world.now, {})
    path = tmp_path / "one.json"
    file = ReceiptFile(path, kept.trust.read_bytes())
    file.unsent()
    file.keep(Use(pool, kept.world.now))
    file.unsent()
    assert not path.exists()
    file = ReceiptFile(path, kept.trust.read_bytes())
    file.keep(Use(pool, kept.world.now))
    file.keep(Use(pool, kept.world.now + 1))
    file.unsent()
    assert load_receipt(path).time == kept.world.now + 1, "it was sent before, so it stays"


def test_a_receipt_that_cannot_be_written_whole_is_not_written(kept: Kept, tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "no space left")
    with (
        mock.patch("seclude.client.receipts.os.fsync", side_effect=full),
        pytest.raises(ConfigError, match="no space left"),
    ):
        write_receipt(tmp_path / "one.json", kept.receipt)
    assert not (tmp_path / "one.json").exists()


def test_a_receipt_holds_public_things_only(kept: Kept) -> None:
    document = json.loads(kept.path.read_text())
    assert list(document) == ["format", "time", "origin", "epoch", "core_digest", "trust_digest", "bundle"]


def test_it_is_verified_again_as_of_its_time_and_says_of_what_it_is(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kept.show() == 0
    out = capsys.readouterr().out
    assert "18  software is released" in out
    assert f"from {SOURCE} at {REVISION}" in out
    assert f"keys      epoch {NOW}, core {kept.receipt.core_digest}" in out
    assert f"entry     leaf {NOW} of log.example/keys, of {NOW + 1} leaves, cosigned by w0 at" in out
    assert "entry     leaf 0 of log.example/state" in out
    assert kept.show("--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["trusted"], answer["same_trust_file"], len(answer["steps"])) == (True, True, 18)
    assert answer["software"]["revision"] == REVISION
    assert answer["entries"]["keys"]["index"] == NOW
    kept.trust.write_text(kept.trust.read_text() + "\n")
    assert kept.show() == 0
    assert "which is not the one of that time" in capsys.readouterr().out


def test_the_proofs_it_writes_are_c2sps_and_hold_for_the_entries_beside_them(
    kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "proofs"
    assert kept.show("--proofs", str(folder)) == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        *("keys.entry", "keys.policy", "keys.tlog-proof"),
        *("state.entry", "state.policy", "state.tlog-proof"),
    ]
    for name in ("keys", "state"):
        quorum = parse_quorum((folder / f"{name}.policy").read_text())
        proof = parse_log_proof((folder / f"{name}.tlog-proof").read_bytes())
        entry = (folder / f"{name}.entry").read_bytes()
        cosigned = verify_log_proof(proof, entry, quorum.logs[0], quorum)
        assert cosigned.checkpoint.origin == f"log.example/{name}"
        with pytest.raises(EvidenceError):
            verify_log_proof(proof, entry + b"x", quorum.logs[0], quorum)
    assert kept.show("--proofs", str(folder)) == 2
    assert "exists already; name another folder" in capsys.readouterr().err


async def test_the_live_log_still_holds_the_entries_when_it_has_grown(kept: Kept) -> None:
    kept.world.log(NOW + 1)
    kept.world.publish(kept.world.release(), at=kept.world.now)
    async with kept.world.up() as url:
        status, out, err = await kept.ask("--ledger", url)
        _, answer, _ = await kept.ask("--ledger", url, "--json")
    assert (status, err) == (0, "")
    assert f"the keys log, of {NOW + 2} leaves now, still holds it" in out
    assert json.loads(answer)["live"] == {"keys": NOW + 2, "state": 2}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("split", "shows two histories: at size 6"),
        ("smaller", "has 5 leaves now, and had 6"),
        ("hidden", "shows something else behind leaf 5"),
        ("gone", "has no checkpoint of log.example/keys"),
        ("torn", "the live ledger cannot be read: tile/0/000.p/7 is not there"),
        ("junk", "the live ledger cannot be read: truncated in head of an epoch"),
        ("huge", f"the live ledger cannot be read: /epochs/{NOW} has more than {MAX_SUBMISSION} octets"),
    ],
)
async def test_a_live_log_that_denies_the_entries_is_refused(kept: Kept, change: str, words: str) -> None:
    world = kept.world
    world.log(NOW + 1)
    if change == "split":
        world.ledger = world.ledger.split()
        world.ledger.keys.entries[NOW] = VOID
    elif change == "smaller":
        world.files["/keys/checkpoint"] = world.checkpoint("keys", size=NOW)
    elif change == "hidden":
        world.gone.add(f"/epochs/{NOW}")
    elif change in ("junk", "huge"):
        world.shown[NOW] = b"junk" if change == "junk" else b"x" * (MAX_SUBMISSION + 1)
    elif change == "gone":
        world.gone.add("/keys/checkpoint")
    else:
        world.gone.add("/keys/tile/0/000.p/7")
    async with world.up() as url:
        status, out, err = await kept.ask("--ledger", url, "--json")
    assert status == 1
    assert words in err
    assert json.loads(out)["error"] == "refused"


async def test_what_a_receipt_shows_needs_no_ledger_that_answers(kept: Kept, tmp_path: Path) -> None:
    status, out, err = await kept.ask("--ledger", "http://127.0.0.1:1", "--proofs", str(tmp_path / "proofs"))
    assert (status, "the ledger gave no answer" in err) == (1, True)
    assert f"entry     leaf {NOW} of log.example/keys" in out
    assert len(list((tmp_path / "proofs").iterdir())) == 6


async def test_the_trust_file_may_be_one_that_is_read_once(relay: Relay, tmp_path: Path) -> None:
    async with relay.up() as url:
        text = render_trust(trusting(relay.platform, url))
        path = tmp_path / "receipt.json"
        for command in (["rewrite", "hello", "--receipt", str(path)], ["receipt", "show", str(path), "--json"]):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "seclude.client", *command, "--trust", "/dev/stdin"),
                cwd=ROOT,
                env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, _ = await process.communicate(text.encode())
    assert load_receipt(path).trust_digest == hashlib.sha256(text.encode()).hexdigest()
    assert json.loads(out)["same_trust_file"] is True


def test_a_receipt_that_was_changed_is_refused(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    for changed, status, words in (
        (msgspec.structs.replace(kept.receipt, epoch=NOW + 1), 2, "was changed"),
        (msgspec.structs.replace(kept.receipt, origin="other.example"), 2, "was changed"),
        (msgspec.structs.replace(kept.receipt, core_digest="0" * 64), 2, "was changed"),
        (msgspec.structs.replace(kept.receipt, bundle=b"junk"), 2, "is not a receipt"),
        (msgspec.structs.replace(kept.receipt, time=kept.receipt.time + 600), 1, "is past its end"),
        (without_witnesses(kept), 1, "cosigned by"),
    ):
        kept.path.unlink()
        write_receipt(kept.path, changed)
        assert kept.show() == status
        assert words in capsys.readouterr().err
    kept.path.write_bytes(b"{}")
    assert kept.show() == 2
    kept.path.unlink()
    assert kept.show() == 2
    assert "cannot read" in capsys.readouterr().err


def without_witnesses(kept: Kept) -> Receipt:
    """Return a receipt whose bundle shows a checkpoint of one witness."""
    world = kept.world
    world.ledger.witnesses = 1
    stapled = serialize_bundle(replace(kept.bundle, proofs=world.ledger.proofs(world.now - 2)))
    world.ledger.witnesses = 3
    return msgspec.structs.replace(kept.receipt, bundle=stapled)


async def test_each_of_two_requests_at_once_says_what_it_is_encapsulated_for(relay: Relay) -> None:
    """A slot ends between them, so that what the client used last is of one of them only."""
    clock = relay.clock = Clock(T0 + (SERVED + 1) * PERIOD - 1)
    relay.renew()
    first: list[Use] = []
    second: list[Use] = []

    def slot_ends(use: Use) -> None:
        first.append(use)
        clock.now += 2

    async with asking(relay, clock=clock) as client:
        await client.verify()
        await asyncio.gather(client.summarize(MESSAGES, used=slot_ends), client.summarize(MESSAGES, used=second.append))
    assert [use.pool.epoch for use in (*first, *second)] == [SERVED, SERVED + 1]
    assert second[0].time == first[0].time + 2
    assert {body[0] for body in relay.posts} == {use.pool.key_configs[0].key_id for use in (*first, *second)}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_is_sent_anew_says_so_again(relay: Relay, *, stream: bool) -> None:
    uses: list[Use] = []

    def replaced(use: Use) -> None:
        uses.append(use)
        relay.outer = Response(422, PROBLEM, msgspec.json.encode({"type": OHTTP_KEY})) if len(uses) == 1 else None

    relay.events = (b"event: summary\ndata: " + encode(ANSWER) + b"\n\n",)
    async with asking(relay) as client:
        if stream:
            assert [each async for each in client.summarize_stream(MESSAGES, used=replaced)] == [ANSWER]
        else:
            assert await client.summarize(MESSAGES, used=replaced) == ANSWER
    assert len(uses) == len(relay.posts) == 2


async def test_a_synchronous_client_says_it_too(relay: Relay, tmp_path: Path) -> None:
    async with relay.up() as url:

        def ask() -> list[Use]:
            uses: list[Use] = []
            with SyncClient(trusting(relay.platform, url), trees=tmp_path / "trees.json") as client:
                client.summarize(MESSAGES, used=uses.append)
                assert client.forgetful is None
            return uses

        (use,) = await asyncio.to_thread(ask)
    assert use.pool.epoch == SERVED


async def test_where_a_receipt_cannot_be_kept_nothing_is_sent(relay: Relay) -> None:
    def fail(_use: Use) -> None:
        raise ConfigError("no room")

    async with asking(relay) as client:
        with pytest.raises(ConfigError, match="no room"):
            await client.summarize(MESSAGES, used=fail)
        with pytest.raises(ConfigError, match="no room"):
            await anext(client.summarize_stream(MESSAGES, used=fail))
    assert relay.posts == []


async def test_the_command_keeps_a_receipt_of_what_it_sends(relay: Relay, tmp_path: Path) -> None:
    """Also where there is no ledger."""
    async with relay.up() as url:
        trust = tmp_path / "trust.toml"
        trust.write_text(render_trust(trusting(relay.platform, url)))
        chat = tmp_path / "chat.json"
        chat.write_text('[{"sender": "Ana", "text": "a canary that no receipt may hold"}]')
        path = tmp_path / "receipt.json"
        command = [sys.executable, "-m", "seclude.client", "--trust", str(trust), "summarize", str(chat), "--receipt"]
        environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
        for more, status in ((str(path), 0), (str(path), 2), (str(tmp_path / "no" / "folder"), 2)):
            process = await asyncio.create_subprocess_exec(
                *command,
                more,
                cwd=ROOT,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await process.communicate()
            assert process.returncode == status, (out, err)
    assert len(relay.posts) == 1, "where no receipt can be kept, nothing is asked"
    receipt = load_receipt(path)
    assert (receipt.origin, parse_bundle(receipt.bundle).proofs) == ("a.example", b"")
    written = path.read_bytes()
    assert b"canary" not in written
    assert url.encode() not in written
    assert main(["receipt", "show", str(path), "--trust", str(trust)]) == 0
    assert main(["receipt", "show", str(path), "--trust", str(trust), "--proofs", str(tmp_path / "proofs")]) == 2


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 127, 128, 129, 200, 4096, 4160, 8192, 8300])
def test_an_outline_proves_each_leaf_that_it_shows(size: int) -> None:
    tree = Tree([bytes([index >> 8, index & 255]) for index in range(size)])
    outline = make_outline(size, tree.node)
    node = outline_node(outline)
    shown = [index for index in range(size) if outline.leaf(index) is not None]
    for index in shown:
        path = inclusion_proof(index, size, node)
        assert path == inclusion_proof(index, size, tree.node)
        verify_inclusion(leaf_hash(tree.entries[index]), index, size, path, tree.root(size))
    if shown[0]:
        with pytest.raises(UsageError, match="does not have leaf"):
            inclusion_proof(shown[0] - 1, size, node)


def test_an_epoch_that_the_outline_does_not_show_has_no_proof(kept: Kept) -> None:
    proofs = parse_proofs(parse_bundle(kept.receipt.bundle).proofs)
    ledger = kept.world.policy.ledger
    assert ledger is not None
    with pytest.raises(EvidenceError, match="does not show leaf 9"):
        prove_entries(proofs, ledger, 9, kept.bundle.core, kept.bundle.evidence)
    with pytest.raises(EvidenceError, match="does not lead to the root"):
        prove_entries(proofs, ledger, NOW - 1, kept.bundle.core, kept.bundle.evidence)
