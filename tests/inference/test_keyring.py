"""The keyring: keys are born on time, open for two slots, and are gone afterwards."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_fields

from bench.simulated import SimulatedHere, simulated_policy
from inference.keyring import MAX_GIVEN_UP, Epoch, Keyring, Taken
from inference.producers.simulated import SimulatedPlatform, create_simulated_platform
from seclude.attestation.accept import TdxTable
from seclude.attestation.bundle import Core, core_digest, parse_bundle, parse_core, parse_unlogged_checkpoint
from seclude.attestation.policy import Policy
from seclude.attestation.slots import Slots, x25519_key_id, xwing_key_id
from seclude.attestation.verify import TrustedPool, verify_bundle
from seclude.errors import (
    BusyError,
    ConfigError,
    EvidenceError,
    PolicyError,
    ReplayError,
    UnknownKeyError,
    UpstreamError,
    UsageError,
)
from seclude.hpke import KEM_X25519, KEM_XWING, PrivateKey
from seclude.ohttp.encapsulation import decapsulate, encapsulate_request
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms, parse_key_configs

SLOTS = Slots(1_700_000_000, 600)
EPOCH = 1000
NOW = SLOTS.start(EPOCH) + 10.0
MEASUREMENT = bytes(range(32))


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> SimulatedPlatform:
    return create_simulated_platform(Path(tmp_path_factory.mktemp("platform")), NOW - 86_400)


@pytest.fixture
def policy(platform: SimulatedPlatform) -> Policy:
    document = simulated_policy(platform, manifests=(MEASUREMENT, bytes(32)))
    return Policy(origin="ai.example", slots=SLOTS, document=document)


@pytest.fixture
def make(policy: Policy, platform: SimulatedPlatform) -> Callable[[], Keyring]:
    attester = SimulatedHere(platform, MEASUREMENT, lambda: NOW)
    return lambda: Keyring(policy, attester, MEASUREMENT, replay_limit=5)


def configs_of(core: Core) -> tuple[KeyConfig, ...]:
    return parse_key_configs(core.key_configs)


def key_ids(*epochs: int) -> list[int]:
    return sorted(key_id(epoch) for epoch in epochs for key_id in (xwing_key_id, x25519_key_id))


async def taken(source: Keyring, epoch: int, now: float = NOW) -> Taken:
    """Return what a joiner would have got from `source`, which gives birth to the epoch first if it must."""
    bundle = await source.birth(epoch, now)
    pool = verify_bundle(bundle, source.policy, now, {}, neighbours=True)
    held = next(each for each in source.epochs() if each.number == epoch)
    return Taken(pool, bundle, tuple(key.private_key for key in held.keys))


async def test_a_bundle_from_birth_is_what_a_device_verifies(make: Callable[[], Keyring], policy: Policy) -> None:
    ring = make()
    pool = verify_bundle(await ring.birth(EPOCH, NOW), policy, NOW, {})
    assert (pool.epoch, pool.measurement, pool.core.role) == (EPOCH, MEASUREMENT, "worker")
    xwing, x25519 = configs_of(pool.core)
    assert pool.key_configs == (xwing,)
    assert (xwing.kem, xwing.key_id) == (KEM_XWING, xwing_key_id(EPOCH))
    assert (x25519.kem, x25519.key_id) == (KEM_X25519, x25519_key_id(EPOCH))
    assert xwing.algorithms == x25519.algorithms == (SymmetricAlgorithms(1, 1), SymmetricAlgorithms(1, 3))


@pytest.mark.parametrize("aead", [1, 3])
@pytest.mark.parametrize("index", [0, 1], ids=["xwing", "x25519"])
async def test_what_is_encapsulated_to_either_key_opens(make: Callable[[], Keyring], index: int, aead: int) -> None:
    ring = make()
    config = configs_of(parse_core(parse_bundle(await ring.birth(EPOCH, NOW)).core))[index]
    request, opener = encapsulate_request(config, b"question", aead=aead)
    opened = decapsulate(request, ring.keys(NOW))
    assert opened.message == b"question"
    assert opener.open(opened.sealer.seal(b"answer")) == b"answer"


async def test_birth_is_idempotent(make: Callable[[], Keyring]) -> None:
    ring = make()
    first = await ring.birth(EPOCH, NOW)
    assert await ring.birth(EPOCH, NOW + 100) == first == ring.bundle(EPOCH)
    assert len(ring.epochs()) == 1


async def test_a_bundle_can_be_asked_for_again_in_the_slot_after_its_own(make: Callable[[], Keyring]) -> None:
    """A gateway that was restarted learns from it what stands in the ledger."""
    ring = make()
    first = await ring.birth(EPOCH, NOW)
    assert await ring.birth(EPOCH, SLOTS.start(EPOCH + 1)) == first
    with pytest.raises(PolicyError, match="cannot be born"):
        await ring.birth(EPOCH, SLOTS.start(EPOCH + 2))


async def test_two_workers_never_make_the_same_key(make: Callable[[], Keyring]) -> None:
    assert await make().birth(EPOCH, NOW) != await make().birth(EPOCH, NOW)


@pytest.mark.parametrize(("epoch", "allowed"), [(-1, False), (0, True), (1, True), (2, False), (1 << 63, False)])
async def test_only_the_current_and_the_next_epoch_can_be_born(
    make: Callable[[], Keyring], epoch: int, allowed: bool
) -> None:
    ring = make()
    if allowed:
        assert await ring.birth(EPOCH + epoch, NOW)
    else:
        with pytest.raises(PolicyError, match="cannot be born"):
            await ring.birth(EPOCH + epoch, NOW)


async def test_nothing_is_born_before_the_first_slot(make: Callable[[], Keyring]) -> None:
    with pytest.raises(BusyError, match="before the first slot"):
        await make().birth(0, SLOTS.t0 - 1)


async def test_an_epoch_opens_through_the_slot_after_its_own_and_not_longer(make: Callable[[], Keyring]) -> None:
    ring = make()
    await ring.birth(EPOCH, NOW)
    assert sorted(ring.keys(NOW)) == key_ids(EPOCH)
    assert sorted(ring.keys(SLOTS.end(EPOCH + 1) - 0.001)) == key_ids(EPOCH)
    assert not ring.keys(SLOTS.end(EPOCH + 1))
    with pytest.raises(UnknownKeyError):
        ring.bundle(EPOCH)


async def test_erasing_what_expired_takes_the_replay_set_too(make: Callable[[], Keyring]) -> None:
    ring = make()
    await ring.birth(EPOCH, NOW)
    await ring.birth(EPOCH + 1, NOW)
    assert [epoch.number for epoch in ring.epochs()] == [EPOCH, EPOCH + 1]
    assert ring.erase_expired(SLOTS.end(EPOCH + 1) - 1) == ()
    assert ring.erase_expired(SLOTS.end(EPOCH + 1)) == (EPOCH,)
    assert [epoch.number for epoch in ring.epochs()] == [EPOCH + 1]
    with pytest.raises(UnknownKeyError):
        ring.insert(x25519_key_id(EPOCH), b"enc")


async def test_keys_that_expire_are_erased_whoever_refers_to_them(make: Callable[[], Keyring]) -> None:
    ring = make()
    await ring.birth(EPOCH, NOW)
    await ring.birth(EPOCH + 1, NOW)
    handed_out = dict(ring.keys(NOW))
    requests = {i: encapsulate_request(key.config, b"question") for i, key in handed_out.items()}
    opened = {i: decapsulate(request, handed_out) for i, (request, _) in requests.items()}
    ring.keys(SLOTS.end(EPOCH + 1))
    assert sorted(i for i, key in handed_out.items() if key.private_key.erased) == key_ids(EPOCH)
    for key_id in key_ids(EPOCH):
        with pytest.raises(UnknownKeyError):
            decapsulate(requests[key_id][0], handed_out)
    ring.erase()
    assert all(key.private_key.erased for key in handed_out.values())
    for key_id, (_, opener) in requests.items():
        assert opener.open(opened[key_id].sealer.seal(b"answer")) == b"answer"


async def test_a_clock_set_back_revives_nothing(make: Callable[[], Keyring]) -> None:
    ring = make()
    await ring.birth(EPOCH, NOW)
    ring.erase_expired(SLOTS.end(EPOCH + 1))
    assert not ring.keys(NOW)
    with pytest.raises(PolicyError, match="cannot be born"):
        await ring.birth(EPOCH, NOW)


async def test_three_epochs_live_at_once_under_their_own_identifiers(make: Callable[[], Keyring]) -> None:
    ring = make()
    for epoch in (EPOCH - 1, EPOCH, EPOCH + 1):
        await ring.birth(epoch, SLOTS.start(epoch if epoch < EPOCH else EPOCH))
    assert sorted(ring.keys(NOW)) == key_ids(EPOCH - 1, EPOCH, EPOCH + 1)


async def test_a_request_counts_once_for_its_key(make: Callable[[], Keyring]) -> None:
    ring = make()
    await ring.birth(EPOCH, NOW)
    await ring.birth(EPOCH + 1, NOW)
    for key_id in key_ids(EPOCH, EPOCH + 1):
        ring.insert(key_id, key_id.to_bytes())
        with pytest.raises(ReplayError):
            ring.insert(key_id, key_id.to_bytes())
    ring.insert(xwing_key_id(EPOCH), b"enc")
    ring.insert(xwing_key_id(EPOCH + 1), b"enc")


async def test_the_replay_limit_is_the_one_configured(make: Callable[[], Keyring]) -> None:
    ring = make()
    await ring.birth(EPOCH, NOW)
    for number in range(5):
        ring.insert(x25519_key_id(EPOCH), bytes([number]))
    with pytest.raises(BusyError):
        ring.insert(x25519_key_id(EPOCH), b"one more")


async def test_installed_keys_open_what_was_sent_to_them(make: Callable[[], Keyring]) -> None:
    member, joiner = make(), make()
    joiner.install([await taken(member, EPOCH), await taken(member, EPOCH + 1)], NOW)
    assert [epoch.bundle for epoch in joiner.epochs()] == [epoch.bundle for epoch in member.epochs()]
    (config, *_) = verify_bundle(member.bundle(EPOCH), member.policy, NOW, {}).key_configs
    request, _ = encapsulate_request(config, b"question")
    assert decapsulate(request, joiner.keys(NOW)).message == b"question"


async def test_a_private_key_that_is_not_the_cores_is_refused(make: Callable[[], Keyring]) -> None:
    member, joiner = make(), make()
    good, next_one = await taken(member, EPOCH), await taken(member, EPOCH + 1)
    other = PrivateKey.generate(KEM_X25519)
    swapped = tuple(reversed(good.private_keys))
    for keys in ((good.private_keys[0], other), (), (*good.private_keys, other), next_one.private_keys, swapped):
        wrong = Taken(good.pool, good.bundle, keys)
        with pytest.raises(EvidenceError):
            joiner.install([next_one, wrong], NOW)
    assert joiner.epochs() == ()


async def test_an_epoch_that_is_not_alive_is_not_installed(make: Callable[[], Keyring]) -> None:
    old = await taken(make(), EPOCH)
    joiner = make()
    with pytest.raises(PolicyError, match="not alive"):
        joiner.install([old], SLOTS.end(EPOCH + 1))


async def test_installing_the_core_that_is_held_keeps_its_replay_set(make: Callable[[], Keyring]) -> None:
    member, joiner = make(), make()
    joiner.install([await taken(member, EPOCH)], NOW)
    joiner.insert(x25519_key_id(EPOCH), b"enc")
    joiner.install([await taken(member, EPOCH)], NOW)
    with pytest.raises(ReplayError):
        joiner.insert(x25519_key_id(EPOCH), b"enc")


async def test_another_core_takes_the_place_of_the_one_held_and_that_one_never_returns(
    make: Callable[[], Keyring],
) -> None:
    ring, first, second = make(), await taken(make(), EPOCH), await taken(make(), EPOCH)
    ring.install([first], NOW)
    ring.install([second], NOW)
    assert [key.erased for key in (*first.private_keys, *second.private_keys)] == [True, True, False, False]
    assert ring.bundle(EPOCH) == second.bundle
    assert [epoch.core_digest for epoch in ring.epochs()] == [second.pool.core_digest]
    with pytest.raises(PolicyError, match="given up"):
        ring.install([first], NOW)
    assert ring.bundle(EPOCH) == second.bundle


async def test_the_number_of_cores_given_up_is_bounded(make: Callable[[], Keyring]) -> None:
    ring = make()
    for _ in range(MAX_GIVEN_UP + 1):
        ring.install([await taken(make(), EPOCH)], NOW)
    with pytest.raises(PolicyError, match="too many"):
        ring.install([await taken(make(), EPOCH)], NOW)


async def test_after_erasure_every_call_raises(make: Callable[[], Keyring]) -> None:
    ring, other = make(), await taken(make(), EPOCH)
    await ring.birth(EPOCH, NOW)
    ring.erase()
    ring.erase()
    with pytest.raises(UsageError, match="erased"):
        await ring.birth(EPOCH, NOW)
    calls: list[Callable[[], object]] = [
        lambda: ring.install([other], NOW),
        lambda: ring.keys(NOW),
        lambda: ring.insert(x25519_key_id(EPOCH), b"enc"),
        lambda: ring.bundle(EPOCH),
        lambda: ring.epochs(),
        lambda: ring.erase_expired(NOW),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="erased"):
            call()


class Hesitant:
    """A platform that attests when it is told to, or fails."""

    def __init__(self, platform: SimulatedPlatform) -> None:
        self.here = SimulatedHere(platform, MEASUREMENT, lambda: NOW)
        self.asked: list[bytes] = []
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.failure: Exception | None = None

    async def attest(self, report_data: bytes) -> bytes:
        self.asked.append(report_data)
        self.begun.set()
        await self.go_on.wait()
        if self.failure is not None:
            raise self.failure
        return await self.here.attest(report_data)


@pytest.fixture
def hesitant(platform: SimulatedPlatform) -> Hesitant:
    return Hesitant(platform)


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> list[PrivateKey]:
    """The private keys that births make, whatever becomes of them."""
    found: list[PrivateKey] = []
    generate = PrivateKey.generate

    def noted(kem: int) -> PrivateKey:
        found.append(generate(kem))
        return found[-1]

    monkeypatch.setattr(PrivateKey, "generate", noted)
    return found


async def test_births_under_way_at_once_make_one_core(
    policy: Policy, hesitant: Hesitant, generated: list[PrivateKey]
) -> None:
    ring = Keyring(policy, hesitant, MEASUREMENT)
    births = [asyncio.create_task(ring.birth(EPOCH, NOW)) for _ in range(3)]
    await hesitant.begun.wait()
    hesitant.go_on.set()
    bundles = await asyncio.gather(*births)
    assert set(bundles) == {ring.bundle(EPOCH)}
    assert len(hesitant.asked) == 1
    assert [key.erased for key in generated] == [False, False]


async def test_a_birth_that_an_installed_core_overtakes_keeps_that_one_and_erases_its_own_keys(
    make: Callable[[], Keyring], policy: Policy, hesitant: Hesitant, generated: list[PrivateKey]
) -> None:
    ring, installed = Keyring(policy, hesitant, MEASUREMENT), await taken(make(), EPOCH)
    generated.clear()
    birth = asyncio.create_task(ring.birth(EPOCH, NOW))
    await hesitant.begun.wait()
    ring.install([installed], NOW)
    hesitant.go_on.set()
    assert await birth == installed.bundle == ring.bundle(EPOCH)
    assert [key.erased for key in generated] == [True, True]
    assert [key.erased for key in installed.private_keys] == [False, False]
    assert [epoch.core_digest for epoch in ring.epochs()] == [installed.pool.core_digest]


@pytest.mark.parametrize("failure", [UpstreamError("no platform"), BusyError("busy"), RuntimeError("a bug")])
async def test_a_platform_that_does_not_attest_leaves_nothing_behind(
    policy: Policy, hesitant: Hesitant, generated: list[PrivateKey], failure: Exception
) -> None:
    ring = Keyring(policy, hesitant, MEASUREMENT)
    hesitant.go_on.set()
    hesitant.failure = failure
    with pytest.raises(type(failure)):
        await ring.birth(EPOCH, NOW)
    assert ring.epochs() == ()
    assert not ring.keys(NOW)
    assert [key.erased for key in generated] == [True, True]
    hesitant.failure = None
    assert verify_bundle(await ring.birth(EPOCH, NOW), policy, NOW, {})


async def test_a_machine_that_measured_other_software_makes_no_key(
    policy: Policy, platform: SimulatedPlatform, generated: list[PrivateKey]
) -> None:
    """Its slot would be lost: what is logged for it stays there, and no device would believe it."""
    ring = Keyring(policy, SimulatedHere(platform, bytes(32), lambda: NOW), MEASUREMENT)
    with pytest.raises(UpstreamError, match="nobody would believe: measurement 0000"):
        await ring.birth(EPOCH, NOW)
    assert ring.epochs() == ()
    assert [key.erased for key in generated] == [True, True]


def test_a_policy_that_no_core_has_room_for_ends_a_worker_before_it_begins(
    policy: Policy, platform: SimulatedPlatform
) -> None:
    chips = tuple(f"{number:032x}" for number in range(800))
    crowded = replace(policy, document=replace_fields(policy.document, tdx=TdxTable(chips=chips)))
    with pytest.raises(ConfigError, match="name fewer chips, roots or witnesses"):
        Keyring(crowded, SimulatedHere(platform, MEASUREMENT, lambda: NOW), MEASUREMENT)


async def test_a_birth_that_is_given_up_erases_its_keys_and_lets_the_next_one_in(
    policy: Policy, hesitant: Hesitant, generated: list[PrivateKey]
) -> None:
    ring = Keyring(policy, hesitant, MEASUREMENT)
    birth = asyncio.create_task(ring.birth(EPOCH, NOW))
    await hesitant.begun.wait()
    birth.cancel()
    with pytest.raises(asyncio.CancelledError):
        await birth
    assert [key.erased for key in generated] == [True, True]
    hesitant.go_on.set()
    assert await ring.birth(EPOCH, NOW) == ring.bundle(EPOCH)


async def test_a_birth_does_not_outlive_the_keyring(
    policy: Policy, hesitant: Hesitant, generated: list[PrivateKey]
) -> None:
    ring = Keyring(policy, hesitant, MEASUREMENT)
    birth = asyncio.create_task(ring.birth(EPOCH, NOW))
    await hesitant.begun.wait()
    ring.erase()
    hesitant.go_on.set()
    with pytest.raises(UsageError, match="erased"):
        await birth
    assert [key.erased for key in generated] == [True, True]


async def test_a_core_says_when_it_was_made(make: Callable[[], Keyring]) -> None:
    core = parse_core(parse_bundle(await make().birth(EPOCH + 1, NOW)).core)
    assert parse_unlogged_checkpoint(core.checkpoint) == int(NOW)


def test_a_policy_for_other_software_is_narrowed_to_our_own(make: Callable[[], Keyring]) -> None:
    assert make().policy.manifests == {MEASUREMENT}


async def test_a_core_digest_is_the_bundles(make: Callable[[], Keyring]) -> None:
    ring = make()
    bundle = await ring.birth(EPOCH, NOW)
    (held,) = ring.epochs()
    assert held.core_digest == core_digest(parse_bundle(bundle).core)
    assert held.key_ids == (xwing_key_id(EPOCH), x25519_key_id(EPOCH))


async def test_nothing_shows_a_secret(make: Callable[[], Keyring]) -> None:
    ring = make()
    given = await taken(ring, EPOCH)
    assert [repr(ring), repr(ring.epochs()[0]), repr(given)] == ["<Keyring>", "<Epoch>", "<Taken>"]
    for secret in (key.private_bytes() for key in given.private_keys):
        assert secret.hex() not in repr(ring.keys(NOW))
        assert repr(secret)[2:-1] not in repr(ring.keys(NOW))
    assert isinstance(ring.epochs()[0], Epoch)
    assert isinstance(given.pool, TrustedPool)
