"""A worker and its ledger: no key is made or taken over but under proofs that pass, and their time is the worker's."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from bench.simulated import SimulatedHere, simulated_policy
from inference.clock import BACK, WorkerClock
from inference.join import Joiner, Member, parse_join_keys, serialize_join_keys
from inference.keyring import Keyring
from inference.ledger import LedgerView
from inference.producers.simulated import SimulatedPlatform, create_simulated_platform
from seclude.attestation.accept import SnpTable, SnpTcb
from seclude.attestation.bundle import Bundle, parse_bundle, parse_core, serialize_bundle
from seclude.attestation.policy import Demonstration, Policy
from seclude.attestation.proofs import VOID
from seclude.attestation.slots import Slots
from seclude.attestation.snapshot import Revocation
from seclude.attestation.verify import verify_bundle
from seclude.errors import BusyError, EvidenceError, PolicyError, VerificationError
from seclude.hpke import PrivateKey
from tests.ledgers import YEAR, LedgerHere, Tree

PERIOD = 600
SLOTS = Slots(1_700_000_000, PERIOD)
EPOCH = 5
NOW = SLOTS.start(EPOCH) + 10.0
MAX_AGE = 2 * PERIOD + 30  # of a checkpoint: two periods, and the skew
MEASUREMENT = bytes(range(32))
OTHER = bytes(32)


class Counting:
    """A platform that counts how often it was asked."""

    def __init__(self, platform: SimulatedPlatform, clock: Callable[[], float]) -> None:
        self._here = SimulatedHere(platform, MEASUREMENT, clock)
        self.asked = 0

    async def attest(self, report_data: bytes) -> bytes:
        self.asked += 1
        return await self._here.attest(report_data)


@dataclass
class Worker:
    """One worker with its clock, which a test may let the host set."""

    keyring: Keyring
    member: Member
    joiner: Joiner
    clock: WorkerClock
    platform: Counting

    async def birth(self, epoch: int, proofs: bytes) -> Bundle:
        return parse_bundle(await self.keyring.birth(epoch, self.clock(), proofs))


@dataclass
class House:
    """A ledger, the platform of all workers, and the true time."""

    platform: SimulatedPlatform
    ledger: LedgerHere
    now: float = NOW
    maturity_seconds: int = 0

    @property
    def policy(self) -> Policy:
        document = simulated_policy(self.platform)
        table = self.ledger.table(maturity_seconds=self.maturity_seconds)
        return Policy(origin="ai.example", slots=SLOTS, document=msgspec.structs.replace(document, ledger=table))

    def worker(self, host_behind: float = 0.0) -> Worker:
        """Return a worker on a machine whose owner has set its clock back by so much."""
        clock = WorkerClock(lambda: self.now - host_behind, lambda: self.now)
        platform = Counting(self.platform, clock)
        keyring = Keyring(self.policy, platform, MEASUREMENT, raise_floor=clock.raise_floor)
        return Worker(keyring, Member(keyring), Joiner(keyring, platform), clock, platform)

    def proofs(self) -> bytes:
        return self.ledger.proofs(self.now)

    async def logged(self, worker: Worker, *epochs: int) -> bytes:
        """Let a worker make keys and log them, as the gateway does; return the proofs that show them."""
        for epoch in epochs:
            bundle = await worker.birth(epoch, self.proofs())
            self.ledger.log(epoch, bundle.core, bundle.evidence)
        return self.proofs()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> SimulatedPlatform:
    return create_simulated_platform(Path(tmp_path_factory.mktemp("platform")), NOW - 86_400)


@pytest.fixture
def house(platform: SimulatedPlatform) -> House:
    """A ledger whose newest snapshot releases our software."""
    house = House(platform, LedgerHere())
    house.ledger.publish(house.ledger.release(MEASUREMENT, now=NOW - 100), now=NOW - 100)
    return house


async def answer(member: Worker, joiner: Worker) -> bytes:
    """Return the third message of a join."""
    request = await joiner.joiner.request(member.member.nonce(member.clock()), joiner.clock())
    return member.member.admit(request, member.clock())


async def join(member: Worker, joiner: Worker, proofs: bytes) -> tuple[int, ...]:
    return joiner.joiner.accept(await answer(member, joiner), joiner.clock(), proofs)


async def test_a_core_binds_the_newest_checkpoint_and_a_device_believes_it_once_it_is_logged(house: House) -> None:
    worker = house.worker()
    bundle = await worker.birth(EPOCH, house.proofs())
    assert parse_core(bundle.core).checkpoint == house.ledger.keys_checkpoint(NOW)
    assert bundle.proofs == b"", "the gateway staples them"
    with pytest.raises(EvidenceError, match="not in the keys log yet") as caught:
        verify_bundle(serialize_bundle(replace(bundle, proofs=house.proofs())), house.policy, NOW, {})
    assert caught.value.step == 16
    house.ledger.log(EPOCH, bundle.core, bundle.evidence)
    pool = verify_bundle(serialize_bundle(replace(bundle, proofs=house.proofs())), house.policy, NOW, {})
    assert [step.number for step in pool.steps] == list(range(1, 19))


async def test_a_birth_that_is_wished_for_again_gives_the_same_bundle_under_newer_proofs(house: House) -> None:
    worker = house.worker()
    first = await worker.birth(EPOCH, house.proofs())
    house.ledger.log(EPOCH, first.core, first.evidence)
    house.now += 100
    assert await worker.birth(EPOCH, house.proofs()) == first
    assert worker.platform.asked == 1


def too_few(house: House) -> bytes:
    ledger = house.ledger
    note = ledger.keys_checkpoint(NOW, by=(0,))
    return ledger.changed(NOW, lambda proofs: replace(proofs, keys=replace(proofs.keys, checkpoint=note)))


def stale(house: House) -> bytes:
    return house.ledger.proofs(NOW - MAX_AGE)


def of_another_tree(house: House) -> bytes:
    other = house.ledger.split()
    other.state = Tree([b"another entry"])
    view = other.view(NOW).state.outline
    return house.ledger.changed(NOW, lambda proofs: replace(proofs, state=replace(proofs.state, outline=view)))


def snapshot_left_out(house: House) -> bytes:
    older = house.ledger.state.entries[-1]
    house.ledger.publish(now=NOW)
    return house.ledger.changed(NOW, lambda proofs: replace(proofs, snapshot=older))


def signed_by_one(house: House) -> bytes:
    house.ledger.publish(house.ledger.release(MEASUREMENT, now=NOW), now=NOW, signers=(0,))
    return house.proofs()


def snapshot_expired(house: House) -> bytes:
    house.ledger.publish(house.ledger.release(MEASUREMENT, now=NOW - 100), now=NOW - 100, expires=int(NOW))
    return house.proofs()


def no_release(house: House) -> bytes:
    house.ledger.publish(house.ledger.release(OTHER, now=NOW), now=NOW)
    return house.proofs()


def of_another_role(house: House) -> bytes:
    house.ledger.publish(house.ledger.release(MEASUREMENT, now=NOW, role="other"), now=NOW)
    return house.proofs()


def expired(house: House) -> bytes:
    house.ledger.publish(house.ledger.release(MEASUREMENT, now=NOW - YEAR, expires=NOW), now=NOW - 1)
    return house.proofs()


def revoked(house: House) -> bytes:
    revocation = Revocation(manifest=MEASUREMENT.hex(), reason="it repeats itself", revoked=int(NOW))
    house.ledger.publish(now=NOW, signers=(2,), revocations=(revocation,))
    return house.proofs()


def immature(house: House) -> bytes:
    house.maturity_seconds = 101
    return house.ledger.proofs(NOW, earlier=NOW - 100)


REFUSED = [
    (lambda _house: b"", 13, "no proofs"),
    (lambda house: house.proofs()[:-1], 13, "truncated"),
    (too_few, 13, "quorum"),
    (stale, 14, "older than 1230 seconds"),
    (of_another_tree, 15, "another tree"),
    (snapshot_left_out, 17, "not the last leaf"),
    (signed_by_one, 17, "it takes 2"),
    (snapshot_expired, 17, "has expired"),
    (no_release, 18, "not released"),
    (of_another_role, 18, 'but for role "other"'),
    (expired, 18, "has expired"),
    (revoked, 18, "it repeats itself"),
    (immature, 18, "must stand in the state log"),
]


@pytest.mark.parametrize(("make", "step", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
async def test_no_key_is_made_without_proofs_that_pass(
    house: House, make: Callable[[House], bytes], step: int, words: str
) -> None:
    proofs = make(house)
    worker = house.worker()
    with pytest.raises(VerificationError, match=words) as caught:
        await worker.birth(EPOCH, proofs)
    assert caught.value.step == step
    assert worker.platform.asked == 0
    assert worker.keyring.epochs() == ()


async def test_software_that_has_stood_for_long_enough_makes_keys(house: House) -> None:
    house.maturity_seconds = 100
    assert await house.worker().birth(EPOCH, house.ledger.proofs(NOW, earlier=NOW - 100))


async def test_who_was_revoked_makes_no_more_keys_and_shares_none(house: House) -> None:
    member, joiner = house.worker(), house.worker()
    proofs = await house.logged(member, EPOCH)
    keys = await answer(member, joiner)
    after = revoked(house)
    with pytest.raises(PolicyError, match="revoked") as caught:
        joiner.joiner.accept(keys, NOW, after)
    assert (caught.value.step, joiner.keyring.epochs()) == (8, ())
    with pytest.raises(PolicyError, match="revoked") as caught:
        await member.birth(EPOCH + 1, after)
    assert caught.value.step == 18
    with pytest.raises(PolicyError, match="not accepted") as caught:
        await join(member, house.worker(), proofs)
    assert caught.value.step == 8


async def test_a_newest_snapshot_that_was_seen_cannot_be_withheld_any_more(house: House) -> None:
    worker, before = house.worker(), house.proofs()
    with pytest.raises(PolicyError, match="revoked"):
        await worker.birth(EPOCH, revoked(house))
    with pytest.raises(PolicyError, match="withheld") as caught:
        await worker.birth(EPOCH, before)
    assert (caught.value.step, worker.keyring.epochs()) == (17, ())


async def test_a_split_view_is_refused_by_who_has_seen_the_other(house: House) -> None:
    """What a witness must have lied for is told even so; births and joins remember alike."""
    member, joiner = house.worker(), house.worker()
    split = house.ledger.split()
    await join(member, joiner, await house.logged(member, EPOCH))
    await member.birth(EPOCH + 1, house.proofs())
    bundle = parse_bundle(member.keyring.bundle(EPOCH))
    split.log(EPOCH, bundle.core, b"other evidence")
    for size in (EPOCH + 1, EPOCH + 2):
        for worker in (member, joiner):
            with pytest.raises(EvidenceError, match="two histories") as caught:
                await worker.birth(EPOCH + 1, split.proofs(NOW))
            assert caught.value.step == 15
        assert size == len(split.keys)
        split.log(size, b"core", b"evidence")
    assert [epoch.number for epoch in joiner.keyring.epochs()] == [EPOCH]


async def test_what_failed_is_not_remembered(house: House) -> None:
    worker, split = house.worker(), house.ledger.split()
    split.publish(house.ledger.release(MEASUREMENT, now=NOW), now=NOW, signers=(0,))
    with pytest.raises(PolicyError):
        await worker.birth(EPOCH, split.proofs(NOW))
    house.ledger.publish(house.ledger.release(MEASUREMENT, now=NOW), now=NOW)
    assert await worker.birth(EPOCH, house.proofs())


async def test_a_joiner_takes_over_what_is_logged_and_hands_it_on_without_proofs(house: House) -> None:
    member, joiner, third = house.worker(), house.worker(), house.worker()
    proofs = await house.logged(member, EPOCH, EPOCH + 1)
    assert await join(member, joiner, proofs) == (EPOCH, EPOCH + 1)
    assert joiner.keyring.bundle(EPOCH) == member.keyring.bundle(EPOCH)
    assert parse_bundle(joiner.keyring.bundle(EPOCH)).proofs == b""
    assert await join(joiner, third, proofs) == (EPOCH, EPOCH + 1)


def void(house: House) -> None:
    house.ledger.keys = Tree([*house.ledger.keys.entries[:EPOCH], VOID])


def of_another_core(house: House) -> None:
    house.ledger.keys = Tree([*house.ledger.keys.entries[:EPOCH], b"another core"])


def not_logged(house: House) -> None:
    house.ledger.keys = Tree(house.ledger.keys.entries[:EPOCH])


@pytest.mark.parametrize("change", [void, of_another_core, not_logged])
async def test_keys_that_the_log_does_not_show_are_not_taken_over(
    house: House, change: Callable[[House], None]
) -> None:
    member, joiner = house.worker(), house.worker()
    await house.logged(member, EPOCH)
    change(house)
    with pytest.raises(EvidenceError, match="keys log") as caught:
        await join(member, joiner, house.proofs())
    assert (caught.value.step, joiner.keyring.epochs()) == (16, ())


@pytest.mark.parametrize("entry", [None, VOID, b"another core"])
async def test_keys_that_the_log_does_not_show_keep_no_others_from_a_joiner(
    house: House, entry: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    member, joiner = house.worker(), house.worker()
    await house.logged(member, EPOCH)
    await member.birth(EPOCH + 1, house.proofs())
    house.ledger.keys.entries.extend([] if entry is None else [entry])
    opened: list[PrivateKey] = []
    read = PrivateKey.from_bytes

    def noted(kem: int, secret: bytes) -> PrivateKey:
        opened.append(read(kem, secret))
        return opened[-1]

    monkeypatch.setattr(PrivateKey, "from_bytes", noted)
    assert await join(member, joiner, house.proofs()) == (EPOCH,)
    assert [epoch.number for epoch in joiner.keyring.epochs()] == [EPOCH]
    assert [key.erased for key in opened] == [False, False, True, True]


@pytest.mark.parametrize("proofs", [b"", b"junk"])
async def test_nothing_is_taken_over_without_proofs(house: House, proofs: bytes) -> None:
    member, joiner = house.worker(), house.worker()
    await house.logged(member, EPOCH)
    with pytest.raises(VerificationError) as caught:
        await join(member, joiner, proofs)
    assert (caught.value.step, joiner.keyring.epochs()) == (13, ())


async def test_proofs_inside_a_members_bundle_are_refused(house: House) -> None:
    member, joiner = house.worker(), house.worker()
    proofs = await house.logged(member, EPOCH)
    message = parse_join_keys(await answer(member, joiner))
    bundle = serialize_bundle(replace(parse_bundle(message.bundles[0]), proofs=proofs))
    with pytest.raises(EvidenceError, match="proofs of its own"):
        joiner.joiner.accept(serialize_join_keys(replace(message, bundles=(bundle,))), NOW, proofs)


async def test_a_host_that_sets_its_clock_back_changes_nothing(house: House) -> None:
    worker = house.worker(host_behind=86_400.0)
    assert worker.clock() < SLOTS.t0, "the host has chosen a time before the first slot"
    assert await worker.birth(EPOCH, house.proofs())
    assert worker.clock() == NOW
    worker.clock.look()
    house.now += PERIOD
    worker.clock.look()
    assert worker.clock() == NOW + PERIOD
    assert worker.keyring.erase_expired(worker.clock()) == ()
    house.now += PERIOD
    worker.clock.look()
    assert worker.keyring.erase_expired(worker.clock()) == (EPOCH,)


@pytest.mark.parametrize("behind", [2 * PERIOD, 86_400])
async def test_keys_of_a_slot_that_is_over_are_not_made_for_a_host_that_says_it_is_not(
    house: House, behind: int
) -> None:
    worker = house.worker(host_behind=behind)
    with pytest.raises(PolicyError, match="cannot be born"):
        await worker.birth(EPOCH - 2, house.proofs())
    assert worker.clock() == NOW


async def test_a_joiners_clock_follows_too(house: House) -> None:
    member, joiner = house.worker(), house.worker(host_behind=400.0)
    proofs = await house.logged(member, EPOCH)
    assert await join(member, joiner, proofs) == (EPOCH,)
    assert joiner.clock() == NOW


async def test_without_a_fresh_checkpoint_nothing_is_made_or_taken_over_until_nothing_is_left(house: House) -> None:
    """A ledger that stops, or a gateway that keeps old proofs, ends the pool."""
    member, joiner = house.worker(), house.worker()
    proofs = await house.logged(member, EPOCH, EPOCH + 1)
    house.now = NOW + MAX_AGE - 1
    assert await join(member, joiner, proofs) == (EPOCH + 1,)
    house.now += 1
    with pytest.raises(PolicyError, match="older than") as caught:
        await member.birth(EPOCH + 2, proofs)
    assert caught.value.step == 14
    with pytest.raises(BusyError, match="ledger was not seen"):
        await join(member, house.worker(), proofs)
    house.now = SLOTS.end(EPOCH + 2)
    for worker in (member, joiner):
        with pytest.raises(PolicyError, match="older than"):
            await worker.birth(EPOCH + 3, proofs)
        worker.keyring.erase_expired(worker.clock())
        assert worker.keyring.epochs() == ()


async def test_keys_that_come_with_stale_proofs_are_not_taken_over(house: House) -> None:
    member, joiner = house.worker(), house.worker()
    old = await house.logged(member, EPOCH + 1)
    house.now += MAX_AGE
    await member.birth(EPOCH + 2, house.proofs())
    with pytest.raises(PolicyError, match="older than") as caught:
        await join(member, joiner, old)
    assert (caught.value.step, joiner.keyring.epochs()) == (14, ())


def test_who_is_let_in_is_judged_by_the_chips_of_the_newest_snapshot(house: House) -> None:
    snp = SnpTable(products=("genoa",), minimum_tcb={"genoa": SnpTcb(snp=1)})
    document = Demonstration(ledger=house.ledger.table(), sev_snp=snp)
    policy = Policy(origin="ai.example", slots=SLOTS, document=document).for_measurement(MEASUREMENT)
    policy = policy.for_launch({"sev-snp": bytes(48)})
    view = LedgerView(policy, MEASUREMENT, lambda _moment: None)
    with pytest.raises(BusyError):
        view.policy(NOW)
    images = {"sev-snp": (bytes(48).hex(),)}
    for chips in (("aa" * 64,), ("bb" * 64, "cc" * 64)):
        release = house.ledger.release(MEASUREMENT, now=NOW, measurements=images)
        house.ledger.publish(release, now=NOW, chips={"sev-snp": chips})
        view.take(house.proofs(), NOW)
        table = view.policy(NOW).document.sev_snp
        assert table is not None
        assert (table.chips, table.measurements) == (chips, images["sev-snp"])
    with pytest.raises(BusyError, match="ledger was not seen"):
        view.policy(NOW + MAX_AGE)


async def test_the_time_is_told_even_where_the_rest_is_refused(house: House) -> None:
    """A quorum has signed it, whatever it signed it under."""
    told: list[float] = []
    view = LedgerView(house.policy, MEASUREMENT, told.append)
    with pytest.raises(PolicyError):
        view.take(signed_by_one(house), NOW - 1000)
    assert told == [NOW]
    assert repr(view) == "<LedgerView>"


def test_no_witness_vouches_for_what_the_host_says(house: House) -> None:
    """A host that was ahead, and was set right, leaves a worker that nobody can use: it must be able to tell."""
    wall = NOW + 2 * PERIOD + 3600
    clock = WorkerClock(lambda: wall, lambda: 0.0)
    view = LedgerView(house.policy, MEASUREMENT, clock.raise_floor)
    with pytest.raises(PolicyError, match="older than"):
        view.take(house.proofs(), clock())
    assert not clock.is_vouched_for()
    wall = NOW
    assert clock.look() == BACK
    assert not clock.is_vouched_for()


async def test_an_epoch_that_is_about_to_expire_keeps_no_others_from_a_joiner(house: House) -> None:
    """Its checkpoint is older than its key by as much as proofs lag behind, and is too old when the key still opens."""
    member, lag = house.worker(), 50
    house.ledger.state = Tree()
    house.ledger.publish(house.ledger.release(MEASUREMENT, now=NOW - 5000), now=NOW - 5000)
    house.now = SLOTS.start(EPOCH - 1)
    bundle = await member.birth(EPOCH, house.ledger.proofs(house.now - lag))
    house.ledger.log(EPOCH, bundle.core, bundle.evidence)
    house.now = SLOTS.start(EPOCH + 1)
    await house.logged(member, EPOCH + 1, EPOCH + 2)
    house.now = SLOTS.end(EPOCH + 1) - (lag - house.policy.clock_skew_seconds) - 1
    assert await join(member, house.worker(), house.proofs()) == (EPOCH, EPOCH + 1, EPOCH + 2)
    house.now += 1
    assert await join(member, house.worker(), house.proofs()) == (EPOCH + 1, EPOCH + 2)


@pytest.mark.parametrize("named", [(b"o" * 48,), ()])
def test_an_image_that_the_release_does_not_name_makes_no_keys(house: House, named: tuple[bytes, ...]) -> None:
    snp = SnpTable(products=("genoa",), minimum_tcb={"genoa": SnpTcb(snp=1)})
    document = Demonstration(ledger=house.ledger.table(), sev_snp=snp)
    policy = Policy(origin="ai.example", slots=SLOTS, document=document).for_measurement(MEASUREMENT)
    view = LedgerView(policy.for_launch({"sev-snp": bytes(48)}), MEASUREMENT, lambda _moment: None)
    for images, passes in ((named, False), ((*named, bytes(48)), True)):
        measurements = {"sev-snp": tuple(image.hex() for image in images)}
        house.ledger.publish(house.ledger.release(MEASUREMENT, now=NOW, measurements=measurements), now=NOW)
        view.take(house.proofs(), NOW)
        if passes:
            view.require_release(NOW)
        else:
            with pytest.raises(PolicyError, match="does not name the image") as caught:
                view.require_release(NOW)
            assert caught.value.step == 18


async def test_births_and_joins_that_cross_see_one_ledger(house: House) -> None:
    member, joiner = house.worker(), house.worker()
    proofs = await house.logged(member, EPOCH)
    keys = await answer(member, joiner)
    birth = asyncio.create_task(joiner.birth(EPOCH + 1, proofs))
    await asyncio.sleep(0)
    joiner.joiner.accept(keys, NOW, house.proofs())
    await birth
    assert [epoch.number for epoch in joiner.keyring.epochs()] == [EPOCH, EPOCH + 1]
