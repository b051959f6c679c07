"""WhatsApp Private Processing, reviewed by Trail of Bits: the findings that a public ledger answers.

Each test begins with what passes, and changes one thing.
"""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from inference.producers.simulated import create_simulated_platform
from seclude.attestation.bundle import Bundle, serialize_bundle
from seclude.attestation.ledger import NOTHING_KNOWN, Known
from seclude.attestation.policy import Demonstration, Policy
from seclude.attestation.proofs import VOID, serialize_proofs
from seclude.attestation.slots import Slots
from seclude.attestation.snapshot import Release, Revocation, parse_snapshot, render_snapshot
from seclude.attestation.verify import TrustedPool, verify_bundle
from seclude.client.findings import Kind
from seclude.client.main import main
from seclude.client.receipts import Use, make_receipt, write_receipt
from seclude.client.trust import render_trust
from seclude.errors import ConfigError, DecodeError, VerificationError
from seclude.tlog.keys import ED25519, generate_skey
from seclude.tlog.proof import parse_log_proof, verify_log_proof
from seclude.tlog.quorum import parse_quorum
from tests.attestation.test_verify import MEASUREMENT
from tests.client.ledgerworld import NOW, PERIOD, World
from tests.client.serving import MESSAGES, T0, Logged, asking
from tests.client.serving import NOW as PRESENT
from tests.ledgers import LedgerHere, Tree


@pytest.fixture
def world() -> World:
    """A service whose epochs stand in the log up to the present one."""
    world = World()
    world.fill(NOW - 1)
    return world


def verify(
    world: World, bundle: Bundle, proofs: bytes, *, now: float | None = None, known: Known = NOTHING_KNOWN
) -> TrustedPool:
    encoded = serialize_bundle(replace(bundle, proofs=proofs))
    return verify_bundle(encoded, world.policy, world.now if now is None else now, {}, known=known)


def refuse(
    world: World,
    bundle: Bundle,
    proofs: bytes,
    step: int,
    words: str,
    *,
    now: float | None = None,
    known: Known = NOTHING_KNOWN,
) -> None:
    with pytest.raises(VerificationError, match=words) as caught:
        verify(world, bundle, proofs, now=now, known=known)
    assert caught.value.step == step


async def test_wapi_03_a_device_with_one_relay_refuses_a_key_that_not_everybody_can_see(tmp_path: Path) -> None:
    """Relay, operator and log give one person a key of their own; one witness of three helps them."""
    pool = Logged(create_simulated_platform(tmp_path / "platform", T0))
    split = pool.ledger.split()
    split.keys = Tree()
    targeted = Logged(pool.platform, ledger=split)
    key = targeted.born()[PRESENT]
    view = split.view(time.time())
    lone = replace(view, keys=replace(view.keys, checkpoint=split.keys_checkpoint(time.time(), by=(1,))))
    for proofs, step in ((serialize_proofs(lone), 13), (pool.proofs(), 16)):
        targeted.offer(serialize_bundle(replace(key, proofs=proofs)))
        async with asking(targeted) as client:
            with pytest.raises(VerificationError) as caught:
                await client.summarize(MESSAGES)
            assert caught.value.step == step
    assert targeted.posts == []


def test_wapi_07_a_core_is_no_older_than_the_checkpoint_that_it_binds(world: World) -> None:
    """The witnesses' clocks date a key, not the machine's: its evidence may say what it likes."""
    bundle = world.log(NOW)
    assert verify(world, bundle, world.ledger.proofs(world.now)).epoch == NOW
    for dated in ({"times": {0: world.now, 1: 1, 2: 1}}, {}):
        other = World(now=world.now, ledger=world.ledger.split(), hardware=world.hardware)
        other.slots, other.ledger.state = world.slots, world.ledger.state
        other.ledger.keys = Tree(world.ledger.keys.entries[:NOW])
        checkpoint = other.ledger.keys_checkpoint(world.now - 3 * PERIOD - 30, **dated)
        stale = other.log(NOW, other.core(NOW, checkpoint=checkpoint))
        refuse(world, stale, other.ledger.proofs(world.now), 14, "older than 1830 seconds")


def test_wapi_18_a_release_names_its_source_and_no_one_person_can_make_one(world: World) -> None:
    bundle = world.log(NOW)
    release = verify(world, bundle, world.ledger.proofs(world.now)).release
    assert release is not None
    assert release.source.startswith("https://")
    assert len(release.revision) == 40
    text = render_snapshot(parse_snapshot(world.ledger.state.entries[-1].decode().partition("\n\n")[0] + "\n"))
    for cut in ('"source":"https://code.example/assistant"', f'"revision":"{release.revision}"'):
        with pytest.raises(DecodeError):
            parse_snapshot(text.replace(f"{cut},", "").replace(f",{cut}", ""))
    alone = world.ledger.split()
    alone.publish(release, now=world.now, signers=(2,))
    refuse(world, bundle, alone.proofs(world.now), 17, "it takes 2 of the 3 publishers")


def test_wapi_20_a_proof_of_another_log_service_or_role_is_refused(world: World) -> None:
    bundle, now = world.log(NOW), world.now
    ledger, view = world.ledger, world.ledger.view(world.now)
    verify(world, bundle, serialize_proofs(view))

    def test_log() -> bytes:
        """The same entries and names, in logs of other keys and witnesses."""
        other = LedgerHere()
        other.publisher_keys, other.keys, other.state = ledger.publisher_keys, ledger.keys, ledger.state
        return other.proofs(now)

    def renamed() -> bytes:
        """The log's own key, under another name."""
        other = ledger.split()
        other.keys_key = generate_skey("test.example/keys", ED25519)
        return other.proofs(now)

    def state(**parts: object) -> bytes:
        other = ledger.split()
        release = world.release(role=str(parts.pop("role", "worker")))
        other.publish(release, now=now, **parts)  # type: ignore[arg-type]
        return other.proofs(now)

    refuse(world, bundle, test_log(), 13, "log.example/keys")
    refuse(world, bundle, renamed(), 13, "log.example/keys")
    refuse(world, bundle, serialize_proofs(replace(view, keys=view.state, state=view.keys)), 13, "log.example")
    refuse(world, bundle, state(origin="test.example"), 17, 'of the service "test.example"')
    refuse(world, bundle, state(role="issuer"), 8, 'for role "issuer"')


def test_wapi_21_proofs_snapshots_and_releases_end_and_can_be_revoked(world: World) -> None:
    bundle, now = world.log(NOW), world.now
    ends = verify(world, bundle, world.ledger.proofs(now - PERIOD)).expires_at
    assert ends == min(world.slots.end(NOW), now + PERIOD + 30)

    def state(*releases: Release, **parts: object) -> bytes:
        other = world.ledger.split()
        other.publish(*releases, now=now - 9, **parts)  # type: ignore[arg-type]
        return other.proofs(now)

    refuse(world, bundle, world.ledger.proofs(now - 2 * PERIOD - 30), 14, "older than 1230 seconds")
    refuse(world, bundle, state(world.release(), expires=now), 17, "the snapshot has expired")
    refuse(world, bundle, state(world.release(expires=now)), 18, "has expired")
    revocation = Revocation(manifest=MEASUREMENT.hex(), reason="broken", revoked=now - 9)
    refuse(world, bundle, state(signers=(2,), revocations=(revocation,)), 8, "was revoked")
    soon = verify(world, bundle, state(world.release(expires=now + 5)))
    assert soon.expires_at == now + 5


def test_wapi_27_epochs_stand_in_one_tree_and_more_than_half_of_the_witnesses_vouch_for_it(world: World) -> None:
    bundle, now = world.log(NOW), world.now
    seen = verify(world, bundle, world.ledger.proofs(now)).ledger
    assert seen is not None
    grown = world.ledger.split()
    grown.log(NOW + 1, b"core", b"evidence")
    verify(world, bundle, grown.proofs(now), known=seen.outlines)
    for place, entry in ((0, VOID), (NOW - 1, VOID), (NOW - 1, b"another")):
        rewritten = world.ledger.split()
        rewritten.keys = Tree(list(world.ledger.keys.entries))
        rewritten.keys.entries[place] = entry
        refuse(world, bundle, rewritten.proofs(now), 15, "has two trees", now=now)  # by the core's own checkpoint
        refuse(world, bundle, rewritten.proofs(now), 15, "two histories", known=seen.outlines)
    view = world.ledger.view(now)
    lone = replace(view.keys, checkpoint=world.ledger.keys_checkpoint(now, by=(1,)))
    refuse(world, bundle, serialize_proofs(replace(view, keys=lone)), 13, "1 of 3")
    halved = LedgerHere(witnesses=4, quorum=2).table()
    with pytest.raises(ConfigError, match="2k > n"):
        Policy(
            origin="ai.example",
            slots=Slots(t0=0, period_seconds=PERIOD),
            document=Demonstration(ledger=halved, simulated=getattr(world.policy.document, "simulated")),  # noqa: B009
        )


async def test_wapi_x5_anybody_can_follow_the_logs_and_keep_what_convicts_them(world: World) -> None:
    """With the shipped `seclude monitor`: everything is read, nothing is believed, and a lie leaves two signatures."""
    world.log(NOW)
    look, state = await world.look()
    assert look.findings == ()
    assert (look.keys.read, look.epochs) == (NOW + 1, NOW + 1)
    liar = world.ledger.split()
    liar.keys = Tree([*world.ledger.keys.entries[:2], VOID, *world.ledger.keys.entries[3:]])
    before, world.ledger = world.checkpoint("keys"), liar
    world.log(NOW + 1)
    look, _ = await world.look(state)
    finding = next(each for each in look.findings if each.kind is Kind.INCONSISTENT)
    assert finding.conflict is not None
    assert finding.conflict.first.partition(b"\n\n")[0] == before.partition(b"\n\n")[0]
    assert finding.conflict.second.partition(b"\n\n")[0] == world.checkpoint("keys").partition(b"\n\n")[0]


def test_wapi_x5_a_receipt_shows_anybody_later_which_keys_and_software_were_used(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = world.log(NOW)
    trust, receipt, folder = (tmp_path / name for name in ("trust.toml", "receipt.json", "proofs"))
    trust.write_text(render_trust(world.trust()))
    pool = verify(world, bundle, world.ledger.proofs(world.now - 2))
    write_receipt(receipt, make_receipt(Use(pool, world.now), trust.read_bytes()))
    assert main(["receipt", "show", str(receipt), "--trust", str(trust), "--proofs", str(folder)]) == 0
    assert f"epoch {NOW}, core {pool.core_digest.hex()}" in capsys.readouterr().out
    for log in ("keys", "state"):  # in the formats that others have programs for
        quorum = parse_quorum((folder / f"{log}.policy").read_text())
        proof = parse_log_proof((folder / f"{log}.tlog-proof").read_bytes())
        verify_log_proof(proof, (folder / f"{log}.entry").read_bytes(), quorum.logs[0], quorum)
