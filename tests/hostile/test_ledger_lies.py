"""Every way in which a ledger can be wrong, or lie to a device, which then sends nothing and says at which step.

The relay is real, and so are the worker's keys: what is offered would be encrypted to if one thing were not wrong. A
tap on the socket keeps everything that the device sent.
"""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_fields

from bench.simulated import simulated_evidence
from deploy.tap import Tap
from inference.producers.simulated import SimulatedPlatform, create_simulated_platform
from seclude.attestation.bundle import Bundle, birth_report_data, parse_core, serialize_bundle, serialize_core
from seclude.attestation.joinpolicy import serialize_join_policy
from seclude.attestation.judge import TITLES
from seclude.attestation.proofs import VOID, Proofs, epoch_entry, serialize_proofs
from seclude.attestation.snapshot import Revocation
from seclude.client.main import main
from seclude.client.sdk import Client
from seclude.client.trust import Trust, render_trust
from seclude.errors import EvidenceError, PolicyError, VerificationError
from seclude.ohttp.media import GATEWAY_PATH
from tests.client.serving import ANSWER, MEASUREMENT, MESSAGES, NOW, PERIOD, T0, Logged, asking, trusting
from tests.ledgers import LedgerHere, Tree
from tests.running import ROOT

CHAT = ROOT / "deploy" / "demo" / "chat.txt"
DAY = 86_400
OTHER = bytes(reversed(range(32)))
TOO_OLD = 2 * PERIOD + 30  # seconds: two periods, and what clocks may differ by

Tell = Callable[[Logged], bytes]


@dataclass(frozen=True)
class Lie:
    """One line of the list: what the device is offered, and where it must stop."""

    name: str
    step: int
    words: str
    tell: Tell
    """Return the bundle of the present epoch."""
    before: Tell | None = None
    """What this device was offered in an earlier run."""
    maturity_seconds: int = 0


def staple(relay: Logged, proofs: bytes, bundle: Bundle | None = None) -> bytes:
    """Return the keys of the present epoch with these proofs."""
    return serialize_bundle(replace(bundle or relay.born()[NOW], proofs=proofs))


def honest(relay: Logged) -> bytes:
    return staple(relay, relay.proofs())


def changed(change: Callable[[Proofs, Logged], Proofs]) -> Tell:
    """Show what the ledger shows, but for one thing."""

    def tell(relay: Logged) -> bytes:
        bundle = relay.born()[NOW]
        return staple(relay, serialize_proofs(change(relay.ledger.view(relay.clock()), relay)), bundle)

    return tell


def with_state(publish: Callable[[LedgerHere, float], object], *, earlier: int | None = None) -> Tell:
    """Show a state log in which `publish` has put what stands there."""

    def tell(relay: Logged) -> bytes:
        bundle, now = relay.born()[NOW], relay.clock()
        ledger = relay.ledger.split()
        ledger.state = Tree()
        publish(ledger, now)
        return staple(relay, ledger.proofs(now, earlier=None if earlier is None else now - earlier), bundle)

    return tell


def with_keys(leaves: Callable[[bytes], list[bytes]]) -> Tell:
    """Show a keys log with these leaves; `leaves` gets the one that would be right."""

    def tell(relay: Logged) -> bytes:
        bundle = relay.born()[NOW]
        ledger = relay.ledger.split()
        ledger.keys = Tree(leaves(epoch_entry(bundle.core, bundle.evidence)))
        return staple(relay, ledger.proofs(relay.clock()), bundle)

    return tell


def with_core(**changes: Callable[[Logged], object]) -> Tell:
    """Offer a core with genuine evidence that stands in the log, and differs from a right one in a field."""

    def tell(relay: Logged) -> bytes:
        core = parse_core(relay.born()[NOW].core)
        made = serialize_core(replace(core, **{name: change(relay) for name, change in changes.items()}))  # type: ignore[arg-type]
        evidence = simulated_evidence(relay.platform, MEASUREMENT, birth_report_data(made), relay.clock())
        ledger = relay.ledger.split()
        ledger.keys = Tree([VOID, VOID])
        ledger.log(NOW, made, evidence)
        return staple(relay, ledger.proofs(relay.clock()), Bundle(made, evidence))

    return tell


def checkpoint_of(log: str, age: float = 0.0, by: tuple[int, ...] = (0, 1, 2)) -> Tell:
    """Show an honest tree under a checkpoint of that age, cosigned by these witnesses."""

    def change(view: Proofs, relay: Logged) -> Proofs:
        tree, key = getattr(relay.ledger, log), getattr(relay.ledger, f"{log}_key")
        note = relay.ledger.checkpoint(tree, key, relay.clock() - age, by=by)
        return replace(view, **{log: replace(getattr(view, log), checkpoint=note)})

    return changed(change)


def second_key(relay: Logged) -> Logged:
    """Return another worker's keys for the same slots, in a second tree under the same keys of the logs."""
    other = relay.ledger.split()
    other.keys = Tree()
    return Logged(relay.platform, relay.clock, ledger=other)


def split_view(targeted: Logged, liar: int) -> bytes:
    """Offer a second key: its tree has the log's signature, and that of one witness of three, who lies."""
    view = targeted.ledger.view(targeted.clock())
    lone = targeted.ledger.keys_checkpoint(targeted.clock(), by=(liar,))
    proofs = serialize_proofs(replace(view, keys=replace(view.keys, checkpoint=lone)))
    return staple(targeted, proofs)


def borrowed(relay: Logged) -> bytes:
    """Offer the second key with its own tree, under the checkpoint that honest witnesses cosigned of everybody's."""
    targeted = second_key(relay)
    view = targeted.ledger.view(relay.clock())
    keys = replace(view.keys, checkpoint=relay.ledger.keys_checkpoint(relay.clock()))
    return staple(targeted, serialize_proofs(replace(view, keys=keys)))


def revoked(ledger: LedgerHere, now: float) -> None:
    revocation = Revocation(manifest=MEASUREMENT.hex(), reason="broken", revoked=int(now) - 9)
    ledger.publish(now=now, signers=(0,), revocations=(revocation,))


def superseded(relay: Logged, shown: bytes | None = None) -> bytes:
    """Offer the keys under a newer snapshot, which releases the same software, or show another one in its place."""
    bundle, now = relay.born()[NOW], relay.clock()
    ledger = relay.ledger.split()
    ledger.publish(ledger.release(MEASUREMENT, now=now - DAY), ledger.release(OTHER, now=now), now=now)
    return staple(
        relay, ledger.changed(now, lambda view: replace(view, snapshot=shown or ledger.state.entries[-1])), bundle
    )


def revoked_since(relay: Logged) -> bytes:
    bundle, now = relay.born()[NOW], relay.clock()
    ledger = relay.ledger.split()
    revoked(ledger, now)
    return staple(relay, ledger.proofs(now), bundle)


def stranger(relay: Logged) -> LedgerHere:
    return LedgerHere(origin=relay.ledger.origin)


LIES = (
    Lie("no proofs", 1, "the bundle holds no proofs of the ledger", lambda relay: staple(relay, b"")),
    Lie(
        "unlogged software", 8, "is not released for role",
        with_state(lambda log, now: log.publish(log.release(OTHER, now=now - DAY), now=now)),
    ),
    Lie(
        "wrong role", 8, 'is not released for role "worker", but for role "issuer"',
        with_state(lambda log, now: log.publish(log.release(MEASUREMENT, now=now - DAY, role="issuer"), now=now)),
    ),
    Lie(
        "immature release", 18, "it stands since",
        with_state(lambda log, now: log.publish(log.release(MEASUREMENT, now=now - DAY), now=now), earlier=DAY - 60),
        maturity_seconds=DAY,
    ),
    Lie(
        "release of unknown age", 18, "nothing shows since when it stands",
        with_state(lambda log, now: log.publish(log.release(MEASUREMENT, now=now - DAY), now=now)),
        maturity_seconds=DAY,
    ),
    Lie(
        "expired release", 18, "has expired",
        with_state(lambda log, now: log.publish(log.release(MEASUREMENT, now=now - DAY, expires=now), now=now)),
    ),
    Lie("revoked release", 8, "was revoked at .*: broken", with_state(revoked)),
    Lie("withheld newest snapshot", 17, "a newer snapshot is withheld", honest, before=superseded),
    Lie("withheld revocation", 17, "a newer snapshot is withheld", honest, before=revoked_since),
    Lie(
        "an old snapshot as the newest", 17, "not the last leaf of the state log",
        lambda relay: superseded(relay, relay.ledger.state.entries[-1]),
    ),
    Lie("unlogged slot", 16, "epoch 2 is not in the keys log yet", with_keys(lambda _: [VOID, VOID])),
    Lie(
        "leaf of another slot", 16, "leaf 2 of the keys log is of another core",
        with_keys(lambda own: [VOID, VOID, b"another's", own]),
    ),
    Lie("void slot", 16, "has no keys", with_keys(lambda own: [VOID, VOID, VOID, own])),
    Lie("stale checkpoint of the keys", 14, "log.example/keys is older than", checkpoint_of("keys", TOO_OLD)),
    Lie("stale checkpoint of the state", 14, "log.example/state is older than", checkpoint_of("state", TOO_OLD)),
    Lie("a checkpoint of tomorrow", 14, "is from the future", checkpoint_of("keys", -DAY)),
    Lie("too few witnesses of the keys", 13, "cosigned by 1 of 3", checkpoint_of("keys", by=(2,))),
    Lie("too few witnesses of the state", 13, "cosigned by 1 of 3", checkpoint_of("state", by=(0,))),
    Lie("no witness", 13, "of 3", checkpoint_of("keys", by=())),
    Lie(
        "one log's checkpoint for the other", 13, "log.example",
        changed(lambda view, _: replace(view, keys=view.state, state=view.keys)),
    ),
    Lie("a second key for the slot", 13, "cosigned by 1 of 3", lambda relay: split_view(second_key(relay), 1)),
    Lie(
        "a second key under everybody's tree", 16, "leaf 2 of the keys log is of another core",
        lambda relay: staple(relay, relay.proofs(), second_key(relay).born()[NOW]),
    ),
    Lie("a second key under a borrowed checkpoint", 15, "of another tree than its checkpoint", borrowed),
    Lie("two histories, all witnesses lying", 15, "two histories", lambda relay: honest(second_key(relay)), honest),
    Lie(
        "snapshot of one publisher", 17, "signed by publisher-0.example; it takes 2",
        with_state(lambda log, now: log.publish(log.release(MEASUREMENT, now=now - DAY), now=now, signers=(0,))),
    ),
    Lie(
        "expired snapshot", 17, "the snapshot has expired",
        with_state(lambda log, now: log.publish(log.release(MEASUREMENT, now=T0), now=T0, expires=int(now))),
    ),
    Lie(
        "snapshot of another service", 17, 'of the service "other.example"',
        with_state(lambda log, now: log.publish(log.release(MEASUREMENT, now=now), now=now, origin="other.example")),
    ),
    Lie(
        "core under another log's checkpoint", 13, "of another log",
        with_core(checkpoint=lambda relay: relay.ledger.checkpoint(relay.ledger.state, relay.ledger.state_key, T0)),
    ),
    Lie(
        "core under an old checkpoint", 14, "older than",
        with_core(checkpoint=lambda relay: relay.ledger.keys_checkpoint(relay.clock() - 3 * PERIOD - 60, size=0)),
    ),
    Lie(
        "core under another history", 15, "has two trees of size 2: the core binds another one",
        with_core(checkpoint=lambda relay: replace_keys(relay, [VOID, b"x"]).keys_checkpoint(relay.clock())),
    ),
    Lie(
        "core that says a time instead", 13, "binds no checkpoint",
        with_core(checkpoint=lambda relay: b"SECLUDE-UNLOGGED\x01" + int(relay.clock()).to_bytes(8, "big")),
    ),
    Lie(
        "a pool that believes another ledger", 9, "another ledger",
        with_core(join_policy=lambda relay: join_policy(relay, stranger(relay))),
    ),
)  # fmt: skip


def replace_keys(relay: Logged, leaves: list[bytes]) -> LedgerHere:
    ledger = relay.ledger.split()
    ledger.keys = Tree(leaves)
    return ledger


def join_policy(relay: Logged, ledger: LedgerHere) -> bytes:
    policy = relay.keyring.policy
    return serialize_join_policy(replace(policy, document=replace_fields(policy.document, ledger=ledger.table())))


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> SimulatedPlatform:
    return create_simulated_platform(tmp_path_factory.mktemp("platform") / "platform", T0)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this person's files stand."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "seclude"


@asynccontextmanager
async def watched(relay: Logged) -> AsyncIterator[tuple[Trust, Tap]]:
    """Yield a trust file of this relay, and what stands on the socket before it."""
    async with relay.up() as url:
        host, _, port = url.removeprefix("http://").removesuffix(GATEWAY_PATH).rpartition(":")
        tap = await Tap.open((host, int(port)))
        try:
            yield trusting(relay.platform, f"http://{tap.address}{GATEWAY_PATH}", gateway=None, **relay.pins), tap
        finally:
            await tap.close()


def assert_only_fetched(relay: Logged, tap: Tap) -> None:
    """The socket carried the heads of fetches and nothing behind them; the relay saw no post."""
    *heads, rest = tap.recorded("request").split(b"\r\n\r\n")
    assert heads
    assert all(head.startswith(b"GET ") for head in heads)
    assert rest == b""
    assert relay.posts == []


@pytest.fixture(scope="module")
def pools(platform: SimulatedPlatform) -> dict[int, Logged]:
    """Honest pools, by how long a release must have stood; lies are made of copies."""
    return {seconds: Logged(platform, maturity_seconds=seconds) for seconds in (0, DAY)}


def lying(pools: dict[int, Logged], lie: Lie) -> Logged:
    return pools[lie.maturity_seconds].twin()


lies = pytest.mark.parametrize("lie", LIES, ids=[lie.name.replace(" ", "-") for lie in LIES])


@pytest.mark.parametrize("maturity_seconds", [0, DAY])
async def test_where_nothing_is_wrong_the_question_is_answered(pools: dict[int, Logged], maturity_seconds: int) -> None:
    relay = pools[maturity_seconds].twin()
    async with watched(relay) as (trust, tap), Client(trust) as client:
        assert await client.summarize(MESSAGES) == ANSWER
    assert len(relay.posts) == 1
    assert relay.posts[0] in tap.recorded("request")


@lies
async def test_the_device_sends_nothing_and_says_which_step(pools: dict[int, Logged], home: Path, lie: Lie) -> None:
    relay = lying(pools, lie)
    trees = home / "trees.json"
    async with watched(relay) as (trust, tap):
        if lie.before is not None:
            relay.offer(lie.before(relay))
            async with Client(trust, trees=trees) as client:
                with suppress(PolicyError):  # where it was of a revocation
                    await client.verify()
        relay.offer(lie.tell(relay))
        async with Client(trust, trees=trees) as client:
            stream = client.summarize_stream(MESSAGES)
            for ask in (
                client.summarize(MESSAGES),
                client.rewrite("hello", "proofread"),
                anext(stream),
                client.verify(),
            ):
                with pytest.raises(VerificationError, match=lie.words) as caught:
                    await ask
                assert caught.value.step == lie.step
    assert_only_fetched(relay, tap)


@lies
async def test_the_command_says_it_in_words(
    pools: dict[int, Logged], tmp_path: Path, capsys: pytest.CaptureFixture[str], lie: Lie
) -> None:
    """A run of the command knows of earlier ones by its file of trees, and by nothing else."""
    relay = lying(pools, lie)
    async with watched(relay) as (trust, tap):
        file = tmp_path / "trust.toml"
        file.write_text(render_trust(trust))
        if lie.before is not None:
            relay.offer(lie.before(relay))
            await asyncio.to_thread(main, ["--trust", str(file), "verify"])
            capsys.readouterr()
        relay.offer(lie.tell(relay))
        for verb in (["verify"], ["summarize", str(CHAT)]):
            status = await asyncio.to_thread(main, ["--trust", str(file), *verb])
            printed = capsys.readouterr()
            assert status == 1
            (sentence,) = (line for line in printed.err.splitlines() if not line.startswith("seclude: note: "))
            assert sentence.startswith(f'seclude: refused, nothing was sent: step {lie.step} ("{TITLES[lie.step]}"): ')
            assert re.search(lie.words, sentence)
            if verb == ["verify"] and lie.step > 1:
                assert printed.out.count("\n") == 2 * lie.step, "a head, and two lines for each step that passed"
            else:
                assert printed.out == ""
    assert_only_fetched(relay, tap)


async def test_a_process_knows_what_an_earlier_one_saw(pools: dict[int, Logged], tmp_path: Path, home: Path) -> None:
    relay = pools[0].twin()
    async with watched(relay) as (trust, tap):
        file = tmp_path / "trust.toml"
        file.write_text(render_trust(trust))
        command = [sys.executable, "-m", "seclude.client", "--trust", str(file)]
        relay.offer(superseded(relay))
        first = await asyncio.to_thread(subprocess.run, [*command, "verify"], capture_output=True, timeout=30)
        assert first.returncode == 0, first.stderr
        assert (home / "trees.json").exists()
        relay.offer(honest(relay))
        words = [*command, "summarize", str(CHAT)]
        second = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, timeout=30)
    assert second.returncode == 1
    assert "step 17" in second.stderr
    assert "a newer snapshot is withheld: the state log had 2 leaves before, and now 1" in second.stderr
    assert_only_fetched(relay, tap)


async def test_a_split_view_is_refused_a_hundred_times_of_a_hundred(pools: dict[int, Logged]) -> None:
    """Two trees under one key of the log; two of three witnesses are honest, and cosigned everybody's."""
    relay = pools[0].twin()
    targeted = second_key(relay)
    refused = 0
    async with watched(relay) as (trust, tap), Client(trust) as client:
        for attempt in range(100):
            relay.offer(split_view(targeted, attempt % 3))
            with pytest.raises(VerificationError, match="cosigned by 1 of 3") as caught:
                await client.summarize(MESSAGES)
            refused += caught.value.step == 13
    assert refused == 100
    assert_only_fetched(relay, tap)


def cosigned_by(pool: Logged, *witnesses: int) -> bytes:
    """Return the pool's keys under a tree that these witnesses cosigned."""
    ledger, now = pool.ledger, pool.clock()
    view = ledger.view(now)
    keys = replace(view.keys, checkpoint=ledger.keys_checkpoint(now, by=witnesses))
    return staple(pool, serialize_proofs(replace(view, keys=keys)))


async def test_one_witness_that_lies_is_enough_where_the_log_divides_the_honest_ones(
    pools: dict[int, Logged], tmp_path: Path
) -> None:
    """The limit that SECURITY.md states: two of three share one. Whoever saw both trees, or compares, is not fooled."""
    relay = pools[0].twin()
    targeted = second_key(relay)
    relay.offer(cosigned_by(relay, 0, 1))
    targeted.offer(cosigned_by(targeted, 1, 2))
    async with asking(targeted) as newcomer:
        assert await newcomer.summarize(MESSAGES) == ANSWER
    targeted.posts.clear()
    trees = tmp_path / "trees.json"
    async with asking(relay, trees=trees) as client:
        await client.verify()
    async with asking(targeted, trees=trees) as client:
        with pytest.raises(EvidenceError, match="two histories") as seen:
            await client.summarize(MESSAGES)
    async with asking(relay, targeted) as client:
        with pytest.raises(EvidenceError, match="two cores") as compared:
            await client.check_consistency()
    assert (seen.value.step, compared.value.step) == (15, 11)
    assert relay.posts == targeted.posts == []
