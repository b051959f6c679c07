"""HyperLink on AWS Nitro, reviewed by Trail of Bits: the findings that a system like this one can repeat."""

from collections.abc import Mapping
from dataclasses import replace

import msgspec
import pytest

from bench.simulated import SimulatedHere, simulated_policy
from inference.clock import BACK, DRIFT_SECONDS, WorkerClock
from inference.join import parse_join_keys, parse_join_request, serialize_join_keys, serialize_join_request
from inference.keyring import Keyring, Taken
from inference.producers.simulated import SimulatedPlatform
from seclude import hpke
from seclude.attestation import nitro
from seclude.attestation.accept import NitroTable
from seclude.attestation.bundle import birth_report_data, parse_bundle
from seclude.attestation.cbor import Key, Value, parse_item, serialize_item
from seclude.attestation.evidence import NITRO, TrustedReport, UnverifiedEvidence
from seclude.attestation.judge import open_evidence
from seclude.attestation.policy import Demonstration, Policy
from seclude.attestation.proofs import serialize_proofs
from seclude.attestation.steps import Steps
from seclude.attestation.verify import verify_bundle
from seclude.errors import DecodeError, EvidenceError, OpenError, PolicyError, ReplayError, VerificationError
from seclude.hpke import AEAD_AES_128_GCM, KDF_HKDF_SHA256, KEM_XWING, PrivateKey, Suite
from seclude.ohttp.keyconfig import KeyConfig
from tests.attestation.nitro_signer import LINKS, THREE_HOURS, Module, change
from tests.audit.ground import (
    ALGORITHMS,
    EPOCH,
    MANIFEST,
    NOW,
    ORIGIN,
    OTHER_MANIFEST,
    SLOTS,
    X25519,
    XWING,
    born,
    bundle_of,
    core_of,
    policy_of,
    worker_on,
)
from tests.ledgers import LedgerHere


def check(signer: Module, body: bytes, now: float = NOW) -> TrustedReport:
    return nitro.verify(body, NitroTable(), now, Steps(nitro.TITLES), roots=signer.roots)


def refuse(signer: Module, body: bytes, step: int, why: str | None = None, now: float = NOW) -> None:
    with pytest.raises(VerificationError, match=why) as caught:
        check(signer, body, now)
    assert caught.value.step == step


def accepting(signer: Module) -> Policy:
    """Return a policy that accepts the image of the module of tests."""
    measurement = check(signer, signer.attest()).measurement.hex()
    return policy_of(Demonstration(manifests=(MANIFEST.hex(),), nitro=NitroTable(measurements=(measurement,))))


def bundle(signer: Module, core: bytes, **claims: Value) -> bytes:
    body = signer.attest(user_data=birth_report_data(core), **claims)
    return bundle_of(core, UnverifiedEvidence(NITRO, body))


def pcrs(**others: bytes) -> dict[Key, Value]:
    values: dict[Key, Value] = {index: bytes([index + 1]) * 48 for index in (0, 1, 2, 3, 4, 8)}
    return values | {int(name.removeprefix("pcr")): value for name, value in others.items()}


async def test_nitro_01_the_key_that_is_attested_is_the_key_that_is_used(
    trusted_module: Module, platform: SimulatedPlatform
) -> None:
    policy = accepting(trusted_module)
    core = core_of(policy)
    good = bundle(trusted_module, core)
    assert verify_bundle(good, policy, NOW, {}).key_configs == (XWING,)
    other = KeyConfig(XWING.key_id, KEM_XWING, PrivateKey.generate(KEM_XWING).public_key, ALGORITHMS)
    swapped = core_of(policy, configs=(other, X25519))
    with pytest.raises(EvidenceError) as caught:
        verify_bundle(good.replace(core, swapped), policy, NOW, {})
    assert caught.value.step == 6
    holder, newcomer = await born(worker_on(platform)), worker_on(platform)
    taken = holder.keyring.epochs()[1]
    pool = verify_bundle(taken.bundle, newcomer.keyring.policy, NOW, {})
    wrong = tuple(PrivateKey.generate(key.config.kem) for key in taken.keys)
    with pytest.raises(EvidenceError, match="does not belong to the core"):
        newcomer.keyring.install([Taken(pool, taken.bundle, wrong)], NOW)


async def test_nitro_02_a_one_time_key_counts_only_in_evidence_that_binds_it(platform: SimulatedPlatform) -> None:
    holder, newcomer = await born(worker_on(platform)), worker_on(platform)
    request = parse_join_request(await newcomer.joiner.request(holder.member.nonce(NOW), NOW))
    own = PrivateKey.generate(KEM_XWING)
    with pytest.raises(EvidenceError) as caught:
        holder.member.admit(serialize_join_request(replace(request, one_time_key=own.public_key)), NOW)
    assert caught.value.step == 6


def test_nitro_04_measurements_come_from_what_the_hardware_signed(trusted_module: Module) -> None:
    policy = accepting(trusted_module)
    core = core_of(policy)  # it names the accepted manifest, whatever was measured
    for changed in ({"pcr0": b"\x77" * 48}, {"pcr1": b"\x77" * 48}, {"pcr2": b"\x77" * 48}):
        with pytest.raises(PolicyError) as caught:
            verify_bundle(bundle(trusted_module, core, pcrs=pcrs(**changed)), policy, NOW, {})
        assert caught.value.step == 8
    evidence = bundle(trusted_module, core, pcrs=pcrs(pcr1=b"\x77" * 48))
    bound = birth_report_data(parse_bundle(evidence).core)
    launched = open_evidence(parse_bundle(evidence).evidence, policy, bound, NOW).platform.measurement
    own = policy.for_launch({NITRO: launched})
    assert verify_bundle(evidence, own, NOW, {}).measurement == launched
    with pytest.raises(PolicyError):
        verify_bundle(bundle(trusted_module, core), own, NOW, {})


@pytest.mark.parametrize("index", [0, 1, 2])
def test_nitro_05_each_register_of_the_image_counts(module: Module, index: int) -> None:
    good = check(module, module.attest()).measurement
    assert check(module, module.attest(pcrs=pcrs(**{f"pcr{index}": b"\x77" * 48}))).measurement != good
    refuse(module, module.attest(pcrs=pcrs(**{f"pcr{index}": bytes(48)})), 5, f"PCR{index} is zero")
    missing = {number: value for number, value in pcrs().items() if number != index}
    refuse(module, module.attest(pcrs=missing), 2, f"PCR{index} is not there")


async def test_nitro_06_a_shared_secret_is_derived_with_what_it_is_for(platform: SimulatedPlatform) -> None:
    key = PrivateKey.generate(KEM_XWING)
    suite = Suite(KEM_XWING, KDF_HKDF_SHA256, AEAD_AES_128_GCM)
    enc, sender = hpke.setup_sender(suite, key.public_key, b"one use")
    sealed = sender.seal(b"", b"words")
    assert hpke.setup_recipient(suite, key, enc, b"one use").open(b"", sealed) == b"words"
    with pytest.raises(OpenError):
        hpke.setup_recipient(suite, key, enc, b"another use").open(b"", sealed)
    holder, newcomer = await born(worker_on(platform)), worker_on(platform)
    first = await newcomer.joiner.request(holder.member.nonce(NOW), NOW)
    second = await newcomer.joiner.request(holder.member.nonce(NOW), NOW)
    keys = parse_join_keys(holder.member.admit(first, NOW))
    crossed = serialize_join_keys(replace(keys, nonce=parse_join_request(second).nonce))
    with pytest.raises(OpenError):
        newcomer.joiner.accept(crossed, NOW)


BROKEN_CLAIMS: Mapping[str, tuple[Mapping[str, Value], str]] = {
    "module_id": ({"module_id": ""}, "module_id is empty"),
    "digest": ({"digest": "SHA256"}, "digest is not SHA384"),
    "timestamp": ({"timestamp": 0}, "timestamp is not above 0"),
    "no registers": ({"pcrs": {}}, "pcrs is empty"),
    "index": ({"pcrs": pcrs(pcr32=bytes(48))}, "index of a PCR"),
    "length": ({"pcrs": pcrs(pcr3=bytes(47))}, "PCR3 has 47 octets"),
    "certificate": ({"certificate": b""}, "certificate has 0 octets"),
    "cabundle": ({"cabundle": ()}, "cabundle is empty"),
    "an empty certificate": ({"cabundle": (b"",)}, "certificate 0 of cabundle has 0 octets"),
    "a long certificate": ({"cabundle": (bytes(1025),)}, "certificate 0 of cabundle has 1025 octets"),
    "public_key": ({"public_key": b""}, "public_key has 0 octets"),
    "user_data": ({"user_data": bytes(513)}, "user_data has 513 octets"),
    "nonce": ({"nonce": bytes(513)}, "nonce has 513 octets"),
    "a claim of its own": ({"debug": 0}, "claims that are not specified"),
}


@pytest.mark.parametrize("name", BROKEN_CLAIMS)
def test_nitro_08_claims_are_held_to_the_rules_of_their_specification(module: Module, name: str) -> None:
    check(module, module.attest())
    claims, why = BROKEN_CLAIMS[name]
    refuse(module, module.attest(**claims), 2, why)


@pytest.mark.parametrize(
    ("position", "fields", "why"),
    [
        (1, {"path_length": 0}, "allows 0 certificates of CAs below it"),
        (2, {"signs": False}, "may sign no certificates"),
        (2, {"ca": False, "path_length": None}, "may sign no certificates"),
        (3, {"ca": True}, "is that of a CA"),
        (3, {"signs": True}, "is that of a CA"),
    ],
)
def test_nitro_09_path_lengths_and_key_usage_are_checked(position: int, fields: dict[str, object], why: str) -> None:
    signer = Module(change(LINKS, position, **fields))
    refuse(signer, signer.attest(), 3, why)


@pytest.mark.parametrize(
    "hostile",
    [
        b"\x9b" + b"\xff" * 8,  # an array of 2^64 - 1 entries
        b"\xbb" + b"\xff" * 8,
        b"\x5b" + b"\xff" * 8,
        b"\x81" * 10_000,
        b"\x9f",  # of no stated length
        b"\x84" + bytes(20_000),
    ],
)
def test_nitro_10_a_length_that_is_only_claimed_allocates_nothing(module: Module, hostile: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_item(hostile, "document")
    refuse(module, hostile, 1)
    refuse(module, module.sign(hostile), 1 if len(hostile) > 0x3000 else 2)
    assert parse_item(serialize_item({1: b"x"}), "document") == {1: b"x"}


async def test_nitro_11_no_older_state_comes_back(platform: SimulatedPlatform) -> None:
    worker, other = await born(worker_on(platform)), await born(worker_on(platform))

    def state(source: object, number: int) -> Taken:
        epoch = next(each for each in source.keyring.epochs() if each.number == number)  # type: ignore[attr-defined]
        pool = verify_bundle(epoch.bundle, worker.keyring.policy, NOW, {}, neighbours=True)
        return Taken(pool, epoch.bundle, tuple(key.private_key for key in epoch.keys))

    before = state(worker, EPOCH)
    key_id = worker.keyring.epochs()[1].key_ids[0]
    worker.keyring.insert(key_id, b"a request that was opened")
    worker.keyring.install([before], NOW)  # the same keys again do not empty what was seen
    with pytest.raises(ReplayError):
        worker.keyring.insert(key_id, b"a request that was opened")
    worker.keyring.install([state(other, EPOCH)], NOW)
    with pytest.raises(PolicyError, match="was given up here"):
        worker.keyring.install([before], NOW)
    worker.keyring.erase_expired(SLOTS.end(EPOCH + 1))
    assert [epoch.number for epoch in worker.keyring.epochs()] == [EPOCH + 1]
    with pytest.raises(PolicyError, match="cannot be born"):  # a clock that is set back revives nothing
        await worker.keyring.birth(EPOCH, NOW)
    with pytest.raises(PolicyError, match="is not alive"):
        worker.keyring.install([state(other, EPOCH)], NOW)


async def test_nitro_11_a_worker_believes_no_older_state_of_the_ledger(platform: SimulatedPlatform) -> None:
    """The host can keep proofs back, or bring old ones; the worker has seen which snapshot was the newest."""
    ledger = LedgerHere(origin=ORIGIN)
    ledger.publish(ledger.release(MANIFEST, now=NOW - 100), now=NOW - 100)
    policy = policy_of(msgspec.structs.replace(simulated_policy(platform), ledger=ledger.table()))
    ring = Keyring(policy, SimulatedHere(platform, MANIFEST, lambda: NOW), MANIFEST)
    before = ledger.proofs(NOW)
    await ring.birth(EPOCH, NOW, before)
    ledger.publish(ledger.release(MANIFEST, now=NOW - 100), ledger.release(OTHER_MANIFEST, now=NOW), now=NOW)
    await ring.birth(EPOCH + 1, NOW, ledger.proofs(NOW))
    with pytest.raises(PolicyError, match="a newer snapshot is withheld"):
        await ring.birth(EPOCH + 1, NOW, before)
    with pytest.raises(PolicyError, match="no proofs of the ledger"):
        await ring.birth(EPOCH + 1, NOW)


def test_nitro_15_a_clock_that_is_set_back_is_not_followed() -> None:
    wall, ticks = [float(NOW)], [0.0]
    clock = WorkerClock(lambda: wall[0], lambda: ticks[0])
    ticks[0] = 10.0
    wall[0] = NOW - 86_400.0
    assert clock.look() == BACK
    assert clock() == NOW + 10.0
    wall[0] = NOW + 10.0 + DRIFT_SECONDS + 86_400
    clock.look()
    assert clock() == wall[0]
    assert WorkerClock(lambda: 0.0, lambda: 0.0, floor=NOW)() == NOW


async def test_nitro_15_a_worker_follows_the_time_that_witnesses_sign(platform: SimulatedPlatform) -> None:
    """A host that set its clock back before the worker started has gained nothing once it wants keys."""
    ledger = LedgerHere(origin=ORIGIN)
    ledger.publish(ledger.release(MANIFEST, now=NOW - 100), now=NOW - 100)
    policy = policy_of(msgspec.structs.replace(simulated_policy(platform), ledger=ledger.table()))
    clock = WorkerClock(lambda: float(NOW - 86_400), lambda: 0.0)
    here = SimulatedHere(platform, MANIFEST, lambda: NOW)
    ring = Keyring(policy, here, MANIFEST, raise_floor=clock.raise_floor)
    assert clock() == NOW - 86_400
    await ring.birth(EPOCH, clock(), ledger.proofs(NOW))
    assert clock() == NOW
    lone = ledger.view(NOW + 86_400)
    later = replace(lone.keys, checkpoint=ledger.keys_checkpoint(NOW, times={0: NOW + 86_400}))
    state = ledger.checkpoint(ledger.state, ledger.state_key, NOW)
    one = serialize_proofs(replace(lone, keys=later, state=replace(lone.state, checkpoint=state)))
    await ring.birth(EPOCH, clock(), one)  # one witness that is fast, or says so, moves nobody's clock
    assert clock() == NOW


def test_nitro_18_a_certificate_is_over_at_its_last_moment(module: Module) -> None:
    end = NOW + THREE_HOURS
    check(module, module.attest(), end - 1)
    refuse(module, module.attest(), 3, "is valid from", end)
    refuse(module, module.attest(), 3, "is valid from", NOW - 61)
    check(module, module.attest(), NOW - 60)
