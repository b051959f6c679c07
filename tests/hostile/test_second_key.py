"""A second key for one slot, tried in every way that there is: of the ledger, of its witnesses, and of a device.

The ledger and its three witnesses are the real processes. The attacker is an operator who has everything but the
witnesses: genuine workers, the secret that the ledger takes submissions by, and at last the private key of the log.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from inference.producers.simulated import create_simulated_platform
from ledger.add_checkpoint import serialize_add_checkpoint
from ledger.keyfiles import create_signer
from seclude.attestation.bundle import Bundle, parse_bundle, serialize_bundle
from seclude.attestation.pins import open_ledger
from seclude.attestation.proofs import VOID, LogView, epoch_entry, parse_proofs, serialize_proofs
from seclude.errors import VerificationError
from seclude.ledger import EPOCH_LABEL, STATE_LABEL, EpochSubmission, seal_submission, serialize_epoch
from seclude.tlog.checkpoint import Checkpoint, render_checkpoint
from seclude.tlog.cosignature import sign_checkpoint
from seclude.tlog.cosigned import open_cosigned
from seclude.tlog.merkle import consistency_proof
from seclude.tlog.note import Note, add_signatures, parse_note, serialize_note
from seclude.tlog.outline import make_outline
from tests.client.serving import ANSWER, MEASUREMENT, MESSAGES, NOW, PERIOD, T0, Logged, asking, at_once
from tests.ledger.ledger_rig import LedgerFolder
from tests.ledger.witness_rig import Answer
from tests.ledger.witness_rig import Process as WitnessProcess
from tests.ledgers import LedgerHere, Tree

ORIGIN = "a.example"


class LedgerProcess(LedgerFolder):
    """A ledger of both logs, as its operator starts it, with the private keys that `keys` holds."""

    def __init__(self, folder: Path, keys: LedgerHere, witnesses: Sequence[WitnessProcess]) -> None:
        super().__init__(folder)
        self.keys = keys
        self.witnesses = witnesses
        lines = []
        for line in keys.quorum_text().splitlines():
            place = next((n for n in range(len(witnesses)) if line.startswith(f"witness w{n} ")), None)
            lines.append(line if place is None else f"{line} http://{witnesses[place].listen}")
        self.policy.write_text("\n".join([*lines, ""]))
        create_signer(folder / "keys.key", keys.keys_key)
        create_signer(folder / "state.key", keys.state_key)
        publishers = msgspec.json.encode([str(key.verifier) for key in keys.publisher_keys]).decode()
        self.config.write_text(
            f'data = "{self.data}"\nwitnesses = "{self.policy}"\nsubmit_secrets = ["{folder / "submit.key"}"]\n'
            f'origin = "{ORIGIN}"\nt0 = {T0}\nperiod_seconds = {PERIOD}\npublishers = {publishers}\n'
            f'maturity_seconds = 0\ncosign_seconds = 0.5\nlisten = "127.0.0.1:0"\nadmin = "127.0.0.1:0"\n'
            f'[keys]\nkey = "{folder / "keys.key"}"\n[state]\nkey = "{folder / "state.key"}"\n'
        )

    def publish(self, entry: bytes) -> Answer:
        return self.ask("POST", "/state/add", seal_submission(STATE_LABEL, entry, self.secret))

    def submit(self, epoch: int, made: Bundle, *, secret: bytes | None = None) -> Answer:
        payload = serialize_epoch(EpochSubmission(epoch, made.core, made.evidence))
        return self.ask("POST", "/keys/add", seal_submission(EPOCH_LABEL, payload, secret or self.secret))

    def proofs(self) -> bytes:
        answer = self.ask("GET", "/proofs")
        assert answer.status == 200, answer.body
        return answer.body

    def size(self) -> int:
        """Return how many epochs the log shows under cosignatures."""
        answer = self.ask("GET", "/keys/checkpoint")
        return open_cosigned(
            answer.body, self.keys.keys_key.verifier, open_ledger(self.keys.table()).quorum
        ).checkpoint.size


@dataclass
class Pool(Logged):
    """A pool whose gateway has not logged anything yet."""

    process: LedgerProcess | None = None

    def proofs(self) -> bytes:
        assert self.process is not None
        return self.process.proofs()

    def born(self) -> dict[int, Bundle]:
        return {NOW: parse_bundle(at_once(self.keyring.birth(NOW, self.clock(), self.proofs())))}

    def staple(self, made: Bundle, proofs: bytes) -> None:
        """Offer keys with proofs."""
        self.offer(serialize_bundle(replace(made, proofs=proofs)))


@dataclass(frozen=True)
class Scene:
    """The ledger has the pool's first keys for the present slot; the pool has made second ones."""

    ledger: LedgerProcess
    pool: Pool
    first: Bundle
    second: Bundle

    async def assert_refused(self, proofs: bytes, step: int) -> None:
        """The second keys are refused with these proofs, and nothing is sent to them."""
        self.pool.staple(self.second, proofs)
        posted = len(self.pool.posts)
        async with asking(self.pool) as client:
            with pytest.raises(VerificationError) as caught:
                await client.summarize(MESSAGES)
        assert caught.value.step == step, caught.value
        assert len(self.pool.posts) == posted

    def attempt(self, size: int) -> Tree:
        """Return the tree that the attacker wishes for: the same but for leaf n, and other leaves at its end."""
        entries = [VOID] * NOW + [epoch_entry(self.second.core, self.second.evidence)]
        return Tree(entries + [b"%d" % place for place in range(len(entries), size)])

    def signed(self, tree: Tree, size: int) -> bytes:
        """Return a checkpoint of it with a good signature of the log."""
        key = self.ledger.keys.keys_key
        checkpoint = Checkpoint(key.verifier.name, size, tree.root(size))
        return serialize_note(Note(render_checkpoint(checkpoint), (sign_checkpoint(checkpoint, key, 0),)))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("ledger")
    keys = LedgerHere(origin=ORIGIN)
    logs = [keys.keys_key.verifier, keys.state_key.verifier]
    with ExitStack() as stack:
        witnesses = []
        for place, key in enumerate(keys.witness_keys):
            own = folder / f"w{place}"
            own.mkdir()
            witnesses.append(WitnessProcess(own, logs, keys=[key]).start("--new"))
            stack.callback(witnesses[-1].stop)
        ledger = LedgerProcess(folder, keys, witnesses)
        ledger.start()
        stack.callback(ledger.stop)
        now = time.time()
        assert ledger.publish(keys.publish(keys.release(MEASUREMENT, now=now - PERIOD), now=now - 60)).status == 200
        pool = Pool(create_simulated_platform(folder / "platform", T0), ledger=keys, process=ledger)
        first = pool.born()[NOW]
        assert ledger.submit(NOW, first).status == 200
        other = Pool(pool.platform, ledger=keys, process=ledger)
        yield Scene(ledger, pool, first, other.born()[NOW])


async def test_the_first_key_is_believed(scene: Scene) -> None:
    scene.pool.staple(scene.first, scene.ledger.proofs())
    async with asking(scene.pool) as client:
        assert await client.summarize(MESSAGES) == ANSWER


async def test_the_ledger_takes_one_key_for_a_slot(scene: Scene) -> None:
    ledger = scene.ledger
    again = ledger.submit(NOW, scene.first)
    assert (again.status, msgspec.json.decode(again.body)["index"]) == (200, NOW)
    attempts = {
        "another core": (ledger.submit(NOW, scene.second), 409, b"epoch 2 has other keys in the log"),
        "the same core, other evidence": (
            ledger.submit(NOW, replace(scene.first, evidence=scene.second.evidence)), 409, b"has other keys in the log",
        ),
        "a slot that was missed": (ledger.submit(NOW - 1, scene.second), 409, b"epoch 1 is void"),
        "the first slot of all": (ledger.submit(0, scene.second), 409, b"epoch 0 is void"),
        "a later slot": (ledger.submit(NOW + 2, scene.second), 400, b"epoch 4 is too early"),
        "somebody without the secret": (ledger.submit(NOW, scene.second, secret=bytes(32)), 403, b"Forbidden"),
    }  # fmt: skip
    for what, (answer, status, words) in attempts.items():
        assert answer.status == status, what
        assert words in answer.body, what
    await scene.assert_refused(ledger.proofs(), 16)


async def test_in_another_slots_leaf_it_is_worth_nothing(scene: Scene) -> None:
    """The ledger looks into no core. Whoever logs this slot's key in the next one's place has lost that one as well."""
    assert scene.ledger.submit(NOW + 1, scene.second).status == 200
    assert scene.ledger.size() == NOW + 2
    await scene.assert_refused(scene.ledger.proofs(), 16)


async def test_with_the_logs_own_key_no_witness_cosigns_a_second_tree(scene: Scene) -> None:
    ledger, size = scene.ledger, scene.ledger.size()
    tree = scene.attempt(size + 20)
    statuses: Counter[int] = Counter()
    for witness in ledger.witnesses:
        for wanted in range(NOW + 1, size + 20):
            note = scene.signed(tree, wanted)
            for old in {0, NOW, size, wanted}:
                proof = consistency_proof(old, wanted, tree.node) if 0 < old < wanted else ()
                answer = witness.post(serialize_add_checkpoint(old, proof, note))
                assert answer.status != 200
                assert b"\xe2\x80\x94" not in answer.body, "nothing that looks like a signature"
                statuses[answer.status] += 1
        same = witness.post(serialize_add_checkpoint(size, (), scene.signed(tree, size)))
        assert (same.status, same.media_type) == (409, "text/plain; charset=utf-8")
        assert b"two histories" in same.body
        grown = consistency_proof(size, size + 1, tree.node)
        assert witness.post(serialize_add_checkpoint(size, grown, scene.signed(tree, size + 1))).status == 422
    assert statuses.keys() == {400, 409, 422}
    # What is left to the attacker is a checkpoint with the log's signature, and cosignatures of everybody's tree.
    shown = parse_proofs(ledger.proofs())
    outline = make_outline(size, tree.node)
    for note in (scene.signed(tree, size), borrow(scene.signed(tree, size), shown.keys.checkpoint)):
        await scene.assert_refused(serialize_proofs(replace(shown, keys=LogView(note, outline))), 13)
    await scene.assert_refused(serialize_proofs(replace(shown, keys=replace(shown.keys, outline=outline))), 15)
    # The honest log goes on as before.
    assert ledger.submit(NOW, scene.first).status == 200
    await test_the_first_key_is_believed(scene)


def borrow(note: bytes, cosigned: bytes) -> bytes:
    """Return a note with the witnesses' signatures of another one."""
    mine = parse_note(note)
    own = {signature.name for signature in mine.signatures}
    theirs = [signature for signature in parse_note(cosigned).signatures if signature.name not in own]
    assert len(theirs) >= 2
    return serialize_note(add_signatures(mine, *theirs))


def test_a_second_ledger_under_the_same_keys_signs_nothing(scene: Scene, tmp_path: Path) -> None:
    """The attacker starts the real program with the real keys on an empty folder, and the witnesses know better."""
    second = LedgerProcess(tmp_path, scene.ledger.keys, scene.ledger.witnesses)
    sentence = second.refuse()
    assert "this copy of the log is not the newest, or another ledger signs with its key" in sentence
    assert scene.ledger.submit(NOW, scene.first).status == 200
