"""The keyring: keys are born on time, open for two slots, and are gone afterwards."""

from collections.abc import Callable
from pathlib import Path

import pytest

from inference.keyring import MAX_GIVEN_UP, Epoch, Keyring, Taken
from inference.platform import SimulatedPlatform, create_simulated_platform
from seclude.attestation.bundle import core_digest, parse_bundle
from seclude.attestation.policy import Policy
from seclude.attestation.slots import Slots, x25519_key_id
from seclude.attestation.verify import TrustedPool, verify_bundle
from seclude.errors import BusyError, ConfigError, EvidenceError, PolicyError, ReplayError, UnknownKeyError, UsageError
from seclude.hpke import KEM_X25519, PrivateKey
from seclude.ohttp.encapsulation import decapsulate, encapsulate_request
from seclude.ohttp.keyconfig import SymmetricAlgorithms

SLOTS = Slots(1_700_000_000, 600)
EPOCH = 1000
NOW = SLOTS.start(EPOCH) + 10.0
MEASUREMENT = bytes(range(32))


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> SimulatedPlatform:
    return create_simulated_platform(Path(tmp_path_factory.mktemp("platform")), NOW - 86_400)


@pytest.fixture
def policy(platform: SimulatedPlatform) -> Policy:
    return Policy(
        role="worker",
        origin="ai.example",
        slots=SLOTS,
        measurements=frozenset({MEASUREMENT, bytes(32)}),
        simulated_roots=(platform.root,),
        max_evidence_age_seconds=1800,
    )


@pytest.fixture
def make(policy: Policy, platform: SimulatedPlatform) -> Callable[[], Keyring]:
    return lambda: Keyring(policy, platform, MEASUREMENT, replay_limit=5)


def taken(source: Keyring, epoch: int, now: float = NOW) -> Taken:
    """Return what a joiner would have got from `source`, which gives birth to the epoch first if it must."""
    bundle = source.birth(epoch, now)
    pool = verify_bundle(bundle, source.policy, now, {}, neighbours=True)
    held = next(each for each in source.epochs() if each.number == epoch)
    return Taken(pool, bundle, tuple(key.private_key for key in held.keys))


def test_a_bundle_from_birth_is_what_a_device_verifies(make: Callable[[], Keyring], policy: Policy) -> None:
    ring = make()
    pool = verify_bundle(ring.birth(EPOCH, NOW), policy, NOW, {})
    assert (pool.epoch, pool.measurement, pool.core.role) == (EPOCH, MEASUREMENT, "worker")
    (config,) = pool.key_configs
    assert config.key_id == x25519_key_id(EPOCH)
    assert config.algorithms == (SymmetricAlgorithms(1, 1), SymmetricAlgorithms(1, 3))


@pytest.mark.parametrize("aead", [1, 3])
def test_what_a_device_encapsulates_opens(make: Callable[[], Keyring], policy: Policy, aead: int) -> None:
    ring = make()
    pool = verify_bundle(ring.birth(EPOCH, NOW), policy, NOW, {})
    request, opener = encapsulate_request(pool.key_configs[0], b"question", aead=aead)
    opened = decapsulate(request, ring.keys(NOW))
    assert opened.message == b"question"
    assert opener.open(opened.sealer.seal(b"answer")) == b"answer"


def test_birth_is_idempotent(make: Callable[[], Keyring]) -> None:
    ring = make()
    first = ring.birth(EPOCH, NOW)
    assert ring.birth(EPOCH, NOW + 100) == first == ring.bundle(EPOCH)
    assert len(ring.epochs()) == 1


def test_two_workers_never_make_the_same_key(make: Callable[[], Keyring]) -> None:
    assert make().birth(EPOCH, NOW) != make().birth(EPOCH, NOW)


@pytest.mark.parametrize(("epoch", "allowed"), [(-1, False), (0, True), (1, True), (2, False), (1 << 63, False)])
def test_only_the_current_and_the_next_epoch_can_be_born(
    make: Callable[[], Keyring], epoch: int, allowed: bool
) -> None:
    ring = make()
    if allowed:
        assert ring.birth(EPOCH + epoch, NOW)
    else:
        with pytest.raises(PolicyError, match="cannot be born"):
            ring.birth(EPOCH + epoch, NOW)


def test_nothing_is_born_before_the_first_slot(make: Callable[[], Keyring]) -> None:
    with pytest.raises(ConfigError, match="t0"):
        make().birth(0, SLOTS.t0 - 1)


def test_an_epoch_opens_through_the_slot_after_its_own_and_not_longer(make: Callable[[], Keyring]) -> None:
    ring = make()
    ring.birth(EPOCH, NOW)
    key_id = x25519_key_id(EPOCH)
    assert key_id in ring.keys(NOW)
    assert key_id in ring.keys(SLOTS.end(EPOCH + 1) - 0.001)
    assert key_id not in ring.keys(SLOTS.end(EPOCH + 1))
    with pytest.raises(UnknownKeyError):
        ring.bundle(EPOCH)


def test_erasing_what_expired_takes_the_replay_set_too(make: Callable[[], Keyring]) -> None:
    ring = make()
    ring.birth(EPOCH, NOW)
    ring.birth(EPOCH + 1, NOW)
    assert [epoch.number for epoch in ring.epochs()] == [EPOCH, EPOCH + 1]
    assert ring.erase_expired(SLOTS.end(EPOCH + 1) - 1) == ()
    assert ring.erase_expired(SLOTS.end(EPOCH + 1)) == (EPOCH,)
    assert [epoch.number for epoch in ring.epochs()] == [EPOCH + 1]
    with pytest.raises(UnknownKeyError):
        ring.insert(x25519_key_id(EPOCH), b"enc")


def test_a_clock_set_back_revives_nothing(make: Callable[[], Keyring]) -> None:
    ring = make()
    ring.birth(EPOCH, NOW)
    ring.erase_expired(SLOTS.end(EPOCH + 1))
    assert not ring.keys(NOW)
    with pytest.raises(PolicyError, match="cannot be born"):
        ring.birth(EPOCH, NOW)


def test_three_epochs_live_at_once_under_their_own_identifiers(make: Callable[[], Keyring]) -> None:
    ring = make()
    for epoch in (EPOCH - 1, EPOCH, EPOCH + 1):
        ring.birth(epoch, SLOTS.start(epoch if epoch < EPOCH else EPOCH))
    assert sorted(ring.keys(NOW)) == sorted(x25519_key_id(EPOCH + step) for step in (-1, 0, 1))


def test_a_request_counts_once_for_its_key(make: Callable[[], Keyring]) -> None:
    ring = make()
    ring.birth(EPOCH, NOW)
    ring.birth(EPOCH + 1, NOW)
    ring.insert(x25519_key_id(EPOCH), b"enc")
    ring.insert(x25519_key_id(EPOCH + 1), b"enc")
    with pytest.raises(ReplayError):
        ring.insert(x25519_key_id(EPOCH), b"enc")


def test_the_replay_limit_is_the_one_configured(make: Callable[[], Keyring]) -> None:
    ring = make()
    ring.birth(EPOCH, NOW)
    for number in range(5):
        ring.insert(x25519_key_id(EPOCH), bytes([number]))
    with pytest.raises(BusyError):
        ring.insert(x25519_key_id(EPOCH), b"one more")


def test_installed_keys_open_what_was_sent_to_them(make: Callable[[], Keyring]) -> None:
    member, joiner = make(), make()
    joiner.install([taken(member, EPOCH), taken(member, EPOCH + 1)], NOW)
    assert [epoch.bundle for epoch in joiner.epochs()] == [epoch.bundle for epoch in member.epochs()]
    (config, *_) = verify_bundle(member.bundle(EPOCH), member.policy, NOW, {}).key_configs
    request, _ = encapsulate_request(config, b"question")
    assert decapsulate(request, joiner.keys(NOW)).message == b"question"


def test_a_private_key_that_is_not_the_cores_is_refused(make: Callable[[], Keyring]) -> None:
    member, joiner = make(), make()
    good, next_one = taken(member, EPOCH), taken(member, EPOCH + 1)
    other = PrivateKey.generate(KEM_X25519)
    for keys in ((other,), (), (*good.private_keys, other), next_one.private_keys):
        wrong = Taken(good.pool, good.bundle, keys)
        with pytest.raises(EvidenceError):
            joiner.install([next_one, wrong], NOW)
    assert joiner.epochs() == ()


def test_an_epoch_that_is_not_alive_is_not_installed(make: Callable[[], Keyring]) -> None:
    old = taken(make(), EPOCH)
    joiner = make()
    with pytest.raises(PolicyError, match="not alive"):
        joiner.install([old], SLOTS.end(EPOCH + 1))


def test_installing_the_core_that_is_held_keeps_its_replay_set(make: Callable[[], Keyring]) -> None:
    member, joiner = make(), make()
    joiner.install([taken(member, EPOCH)], NOW)
    joiner.insert(x25519_key_id(EPOCH), b"enc")
    joiner.install([taken(member, EPOCH)], NOW)
    with pytest.raises(ReplayError):
        joiner.insert(x25519_key_id(EPOCH), b"enc")


def test_another_core_takes_the_place_of_the_one_held_and_that_one_never_returns(
    make: Callable[[], Keyring],
) -> None:
    ring, first, second = make(), taken(make(), EPOCH), taken(make(), EPOCH)
    ring.install([first], NOW)
    ring.install([second], NOW)
    assert ring.bundle(EPOCH) == second.bundle
    assert [epoch.core_digest for epoch in ring.epochs()] == [second.pool.core_digest]
    with pytest.raises(PolicyError, match="given up"):
        ring.install([first], NOW)
    assert ring.bundle(EPOCH) == second.bundle


def test_the_number_of_cores_given_up_is_bounded(make: Callable[[], Keyring]) -> None:
    ring = make()
    for _ in range(MAX_GIVEN_UP + 1):
        ring.install([taken(make(), EPOCH)], NOW)
    with pytest.raises(PolicyError, match="too many"):
        ring.install([taken(make(), EPOCH)], NOW)


def test_after_erasure_every_call_raises(make: Callable[[], Keyring]) -> None:
    ring, other = make(), taken(make(), EPOCH)
    ring.birth(EPOCH, NOW)
    ring.erase()
    ring.erase()
    calls: list[Callable[[], object]] = [
        lambda: ring.birth(EPOCH, NOW),
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


def test_a_policy_for_other_software_is_narrowed_to_our_own(make: Callable[[], Keyring]) -> None:
    assert make().policy.measurements == {MEASUREMENT}


def test_a_core_digest_is_the_bundles(make: Callable[[], Keyring]) -> None:
    ring = make()
    bundle = ring.birth(EPOCH, NOW)
    (held,) = ring.epochs()
    assert held.core_digest == core_digest(parse_bundle(bundle).core)
    assert held.key_ids == (x25519_key_id(EPOCH),)


def test_nothing_shows_a_secret(make: Callable[[], Keyring]) -> None:
    ring = make()
    given = taken(ring, EPOCH)
    assert [repr(ring), repr(ring.epochs()[0]), repr(given)] == ["<Keyring>", "<Epoch>", "<Taken>"]
    secret = given.private_keys[0].private_bytes()
    assert secret.hex() not in repr(ring.keys(NOW))
    assert repr(secret)[2:-1] not in repr(ring.keys(NOW))
    assert isinstance(ring.epochs()[0], Epoch)
    assert isinstance(given.pool, TrustedPool)
