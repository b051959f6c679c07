"""Joining: keys reach the same software under the same roots, once, and nobody and nothing else."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bench.simulated import SimulatedHere, simulated_evidence, simulated_policy
from inference import join
from inference.join import (
    MAX_JOIN_KEYS,
    MAX_JOIN_REQUEST,
    MAX_NONCES,
    MAX_PENDING,
    NONCE_SECONDS,
    Joiner,
    JoinRequest,
    Member,
    parse_join_keys,
    parse_join_request,
    serialize_join_keys,
    serialize_join_request,
)
from inference.keyring import Epoch, Keyring
from inference.producers.simulated import SimulatedPlatform, create_simulated_platform
from seclude import hpke
from seclude.attestation.bundle import MAX_BUNDLE, MAX_EVIDENCE, core_digest, join_report_data, parse_bundle
from seclude.attestation.policy import Policy
from seclude.attestation.slots import Slots
from seclude.errors import (
    BusyError,
    DecodeError,
    Error,
    EvidenceError,
    OpenError,
    PeerError,
    PolicyError,
    ReplayError,
    TooLargeError,
    UpstreamError,
    VerificationError,
)
from seclude.hpke import PrivateKey
from seclude.wire import Writer

SLOTS = Slots(1_700_000_000, 600)
EPOCH = 1000
NOW = SLOTS.start(EPOCH) + 10.0
MEASUREMENT = bytes(range(32))
OTHER_MEASUREMENT = bytes(32)


@dataclass
class Worker:
    """Both sides of one worker."""

    keyring: Keyring
    member: Member
    joiner: Joiner


Make = Callable[..., Awaitable[Worker]]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> SimulatedPlatform:
    return create_simulated_platform(Path(tmp_path_factory.mktemp("platform")), NOW - 86_400)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> SimulatedPlatform:
    return create_simulated_platform(Path(tmp_path_factory.mktemp("stranger")), NOW - 86_400)


@pytest.fixture
def make(platform: SimulatedPlatform) -> Make:
    async def build(
        measurement: bytes = MEASUREMENT,
        *,
        attester: SimulatedPlatform = platform,
        measures: bytes | None = None,
        trusting: SimulatedPlatform = platform,
        role: str = "worker",
        origin: str = "ai.example",
        births: tuple[int, ...] = (),
    ) -> Worker:
        """Return a worker; `measures` is what its platform states, where that is not its own measurement."""
        document = simulated_policy(trusting, manifests=(MEASUREMENT, OTHER_MEASUREMENT), role=role)
        here = SimulatedHere(attester, measures or measurement, lambda: NOW)
        keyring = Keyring(Policy(origin=origin, slots=SLOTS, document=document), here, measurement)
        for epoch in births:
            await keyring.birth(epoch, min(NOW, SLOTS.start(epoch)))
        return Worker(keyring, Member(keyring), Joiner(keyring, here))

    return build


@pytest.fixture
async def holder(make: Make) -> Worker:
    return await make(births=(EPOCH - 1, EPOCH, EPOCH + 1))


@pytest.fixture
async def newcomer(make: Make) -> Worker:
    return await make()


async def test_a_joiner_holds_every_live_epoch_afterwards(holder: Worker, newcomer: Worker) -> None:
    request = await newcomer.joiner.request(holder.member.nonce(NOW), NOW)
    assert newcomer.joiner.accept(holder.member.admit(request, NOW), NOW) == (EPOCH - 1, EPOCH, EPOCH + 1)
    ours, theirs = newcomer.keyring.keys(NOW), holder.keyring.keys(NOW)
    assert {i: key.private_key.private_bytes() for i, key in ours.items()} == {
        i: key.private_key.private_bytes() for i, key in theirs.items()
    }
    assert newcomer.keyring.bundle(EPOCH) == holder.keyring.bundle(EPOCH)


async def test_who_joined_can_let_others_in(make: Make, holder: Worker, newcomer: Worker) -> None:
    newcomer.joiner.accept(holder.member.admit(await newcomer.joiner.request(holder.member.nonce(NOW), NOW), NOW), NOW)
    third = await make()
    request = await third.joiner.request(newcomer.member.nonce(NOW), NOW)
    assert EPOCH in third.joiner.accept(newcomer.member.admit(request, NOW), NOW)


async def test_expired_epochs_are_not_shared(holder: Worker, newcomer: Worker) -> None:
    later = SLOTS.end(EPOCH) + 1.0
    request = await newcomer.joiner.request(holder.member.nonce(later), later)
    assert newcomer.joiner.accept(holder.member.admit(request, later), later) == (EPOCH, EPOCH + 1)


async def test_a_member_without_keys_says_so(make: Make, newcomer: Worker) -> None:
    member = (await make()).member
    with pytest.raises(BusyError, match="no epoch"):
        member.admit(await newcomer.joiner.request(member.nonce(NOW), NOW), NOW)


async def test_other_software_is_refused(make: Make, holder: Worker) -> None:
    other = await make(OTHER_MEASUREMENT)
    with pytest.raises(EvidenceError, match="binds something else") as caught:
        holder.member.admit(await other.joiner.request(holder.member.nonce(NOW), NOW), NOW)
    assert caught.value.step == 6


async def test_software_that_binds_our_manifest_is_refused_by_what_its_platform_measured(
    make: Make, holder: Worker
) -> None:
    liar = await make(MEASUREMENT, measures=OTHER_MEASUREMENT)
    with pytest.raises(PolicyError, match=r"measurement 0{64} is not accepted") as caught:
        holder.member.admit(await liar.joiner.request(holder.member.nonce(NOW), NOW), NOW)
    assert caught.value.step == 8


async def test_software_of_another_manifest_is_refused_even_if_its_platform_measured_ours(
    make: Make, holder: Worker
) -> None:
    """As on hardware that measures a machine's image, in which several manifests may run."""
    other = await make(OTHER_MEASUREMENT, measures=MEASUREMENT)
    with pytest.raises(EvidenceError, match="binds something else") as caught:
        holder.member.admit(await other.joiner.request(holder.member.nonce(NOW), NOW), NOW)
    assert caught.value.step == 6


@pytest.mark.parametrize("failure", [UpstreamError("no platform"), BusyError("busy")])
async def test_a_request_without_evidence_leaves_nothing_behind(
    newcomer: Worker, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    generated: list[PrivateKey] = []
    generate = PrivateKey.generate

    def noted(kem: int) -> PrivateKey:
        generated.append(generate(kem))
        return generated[-1]

    class Failing:
        async def attest(self, report_data: bytes) -> bytes:
            raise failure

    monkeypatch.setattr(PrivateKey, "generate", noted)
    joiner = Joiner(newcomer.keyring, Failing())
    with pytest.raises(type(failure)):
        await joiner.request(bytes(32), NOW)
    assert [key.erased for key in generated] == [True]
    assert not joiner._pending


async def test_a_platform_under_another_root_is_refused(
    make: Make, holder: Worker, stranger: SimulatedPlatform
) -> None:
    other = await make(attester=stranger, trusting=stranger)
    with pytest.raises(EvidenceError, match="pinned root"):
        holder.member.admit(await other.joiner.request(holder.member.nonce(NOW), NOW), NOW)


@pytest.mark.parametrize(("role", "origin"), [("other", "ai.example"), ("worker", "other.example")])
async def test_evidence_for_another_role_or_origin_is_refused(
    make: Make, holder: Worker, role: str, origin: str
) -> None:
    other = await make(role=role, origin=origin)
    with pytest.raises(EvidenceError, match="binds something else"):
        holder.member.admit(await other.joiner.request(holder.member.nonce(NOW), NOW), NOW)


async def test_a_nonce_is_good_once(holder: Worker, newcomer: Worker) -> None:
    request = await newcomer.joiner.request(holder.member.nonce(NOW), NOW)
    holder.member.admit(request, NOW)
    with pytest.raises(ReplayError, match="nonce"):
        holder.member.admit(request, NOW)


async def test_a_nonce_is_used_up_by_an_attempt_that_fails(holder: Worker, newcomer: Worker) -> None:
    request = await newcomer.joiner.request(holder.member.nonce(NOW), NOW)
    broken = replace(parse_join_request(request), evidence=b"none")
    with pytest.raises(VerificationError):
        holder.member.admit(serialize_join_request(broken), NOW)
    with pytest.raises(ReplayError, match="nonce"):
        holder.member.admit(request, NOW)


@pytest.mark.parametrize(("later", "passes"), [(NONCE_SECONDS - 0.01, True), (NONCE_SECONDS, False)])
async def test_a_nonce_expires(holder: Worker, newcomer: Worker, later: float, passes: bool) -> None:
    request = await newcomer.joiner.request(holder.member.nonce(NOW), NOW)
    if passes:
        assert holder.member.admit(request, NOW + later)
    else:
        with pytest.raises(ReplayError, match="expired"):
            holder.member.admit(request, NOW + later)


async def test_a_nonce_of_another_member_is_refused(make: Make, holder: Worker, newcomer: Worker) -> None:
    other = await make(births=(EPOCH,))
    with pytest.raises(ReplayError, match="not ours"):
        holder.member.admit(await newcomer.joiner.request(other.member.nonce(NOW), NOW), NOW)


def test_the_number_of_nonces_is_bounded_and_expired_ones_make_room(holder: Worker) -> None:
    nonces = {holder.member.nonce(NOW) for _ in range(MAX_NONCES)}
    assert len(nonces) == MAX_NONCES
    with pytest.raises(BusyError):
        holder.member.nonce(NOW)
    assert holder.member.nonce(NOW + NONCE_SECONDS)


async def test_evidence_that_is_not_fresh_is_refused(
    make: Make, holder: Worker, newcomer: Worker, platform: SimulatedPlatform
) -> None:
    nonce = holder.member.nonce(NOW)
    request = parse_join_request(await newcomer.joiner.request(nonce, NOW))
    bound = join_report_data(nonce, request.one_time_key, "worker", "ai.example", MEASUREMENT)
    stale = simulated_evidence(platform, MEASUREMENT, bound, NOW - 1800)
    with pytest.raises(PolicyError, match="older than"):
        holder.member.admit(serialize_join_request(replace(request, evidence=stale)), NOW)


async def test_a_gateway_cannot_put_its_own_one_time_key(holder: Worker, newcomer: Worker) -> None:
    request = parse_join_request(await newcomer.joiner.request(holder.member.nonce(NOW), NOW))
    own = PrivateKey.generate(join.SUITE.kem).public_key
    with pytest.raises(EvidenceError, match="binds something else"):
        holder.member.admit(serialize_join_request(replace(request, one_time_key=own)), NOW)


async def test_every_flipped_byte_of_a_join_request_is_refused(holder: Worker, newcomer: Worker) -> None:
    length = len(await newcomer.joiner.request(holder.member.nonce(NOW), NOW))
    for position in range(length):
        member = Member(holder.keyring)  # a member takes no request twice, so each attempt has one of its own
        request = bytearray(await newcomer.joiner.request(member.nonce(NOW), NOW))
        request[position] ^= 1 << position % 8
        with pytest.raises((PeerError, VerificationError)):
            member.admit(bytes(request), NOW)


async def test_every_truncation_of_a_join_request_is_refused(holder: Worker, newcomer: Worker) -> None:
    request = await newcomer.joiner.request(holder.member.nonce(NOW), NOW)
    for cut in range(len(request)):
        with pytest.raises(DecodeError):
            holder.member.admit(request[:cut], NOW)
    with pytest.raises(DecodeError, match="trailing"):
        holder.member.admit(request + b"\0", NOW)


@pytest.mark.parametrize("length", [0, 31, 33])
async def test_a_nonce_of_another_length_is_refused(newcomer: Worker, length: int) -> None:
    with pytest.raises(DecodeError, match="nonce"):
        await newcomer.joiner.request(bytes(length), NOW)


async def answer(holder: Worker, newcomer: Worker) -> bytes:
    return holder.member.admit(await newcomer.joiner.request(holder.member.nonce(NOW), NOW), NOW)


async def test_every_flipped_byte_of_the_keys_is_refused_and_installs_nothing(make: Make, newcomer: Worker) -> None:
    holder = await make(births=(EPOCH,))
    for position in range(len(await answer(holder, newcomer))):
        holder.member = Member(holder.keyring)
        keys = bytearray(await answer(holder, newcomer))
        keys[position] ^= 1 << position % 8
        with pytest.raises((PeerError, VerificationError)):
            newcomer.joiner.accept(bytes(keys), NOW)
        assert newcomer.keyring.epochs() == ()


async def test_every_truncation_of_the_keys_is_refused(make: Make, newcomer: Worker) -> None:
    keys = await answer(await make(births=(EPOCH,)), newcomer)
    for cut in range(len(keys)):
        with pytest.raises(DecodeError):
            parse_join_keys(keys[:cut])
    with pytest.raises(DecodeError, match="trailing"):
        parse_join_keys(keys + b"\0")


async def test_a_one_time_key_is_used_once(holder: Worker, newcomer: Worker) -> None:
    keys = await answer(holder, newcomer)
    newcomer.joiner.accept(keys, NOW)
    with pytest.raises(ReplayError, match="no such join is under way"):
        newcomer.joiner.accept(keys, NOW)


async def test_a_one_time_key_is_used_up_by_an_attempt_that_fails(holder: Worker, newcomer: Worker) -> None:
    keys = await answer(holder, newcomer)
    with pytest.raises(OpenError):
        newcomer.joiner.accept(keys[:-1] + bytes([keys[-1] ^ 1]), NOW)
    with pytest.raises(ReplayError):
        newcomer.joiner.accept(keys, NOW)


async def test_joins_that_several_gateways_carry_do_not_disturb_each_other(holder: Worker, newcomer: Worker) -> None:
    first, second = await answer(holder, newcomer), await answer(holder, newcomer)
    assert newcomer.joiner.accept(second, NOW) == newcomer.joiner.accept(first, NOW)
    with pytest.raises(ReplayError):
        newcomer.joiner.accept(first, NOW)


async def test_junk_disturbs_no_join(holder: Worker, newcomer: Worker) -> None:
    keys = await answer(holder, newcomer)
    with pytest.raises(DecodeError):
        newcomer.joiner.accept(b"junk", NOW)
    newcomer.joiner.accept(keys, NOW)


async def test_of_too_many_joins_the_oldest_is_given_up(holder: Worker, newcomer: Worker) -> None:
    answers = [await answer(holder, newcomer) for _ in range(MAX_PENDING + 1)]
    with pytest.raises(ReplayError):
        newcomer.joiner.accept(answers[0], NOW)
    newcomer.joiner.accept(answers[1], NOW)


async def test_an_answer_that_comes_too_late_is_refused(holder: Worker, newcomer: Worker) -> None:
    keys = await answer(holder, newcomer)
    with pytest.raises(ReplayError, match="too long"):
        newcomer.joiner.accept(keys, NOW + NONCE_SECONDS)


async def test_an_answer_under_the_nonce_of_another_request_does_not_open(holder: Worker, newcomer: Worker) -> None:
    first = parse_join_keys(await answer(holder, newcomer))
    nonce = holder.member.nonce(NOW)
    await newcomer.joiner.request(nonce, NOW)
    with pytest.raises(OpenError):
        newcomer.joiner.accept(serialize_join_keys(replace(first, nonce=nonce)), NOW)


async def test_bundles_of_another_pool_cannot_be_swapped_in(make: Make, holder: Worker, newcomer: Worker) -> None:
    other = await make(births=(EPOCH - 1, EPOCH, EPOCH + 1))
    keys = parse_join_keys(await answer(holder, newcomer))
    bundles = tuple(other.keyring.bundle(epoch) for epoch in (EPOCH - 1, EPOCH, EPOCH + 1))
    with pytest.raises(OpenError):
        newcomer.joiner.accept(serialize_join_keys(replace(keys, bundles=bundles)), NOW)
    assert newcomer.keyring.epochs() == ()


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 0, 1), (2, 1, 0)])
async def test_bundles_in_another_order_are_refused(holder: Worker, newcomer: Worker, order: tuple[int, ...]) -> None:
    keys = parse_join_keys(await answer(holder, newcomer))
    bundles = tuple(keys.bundles[index] for index in order)
    with pytest.raises(PolicyError, match="ascending"):
        newcomer.joiner.accept(serialize_join_keys(replace(keys, bundles=bundles)), NOW)


async def forge(newcomer: Worker, nonce: bytes, bundles: tuple[bytes, ...], plaintext: bytes) -> bytes:
    """Seal what a gateway likes: the one-time key is public, so anyone can seal to it."""
    one_time_key = parse_join_request(await newcomer.joiner.request(nonce, NOW)).one_time_key
    info = join._info(nonce, one_time_key, [core_digest(parse_bundle(each).core) for each in bundles])
    enc, context = hpke.setup_sender(join.SUITE, one_time_key, info)
    sealed = context.seal(join._head_of(nonce, bundles), plaintext)
    return serialize_join_keys(join.JoinKeys(nonce, bundles, enc, sealed))


def one_key(kem: int, secret: bytes) -> bytes:
    return Writer().u8(1).u16(kem).vec8(secret).getvalue()


def all_keys(keys: Sequence[PrivateKey]) -> bytes:
    plaintext = Writer().u8(len(keys))
    for key in keys:
        plaintext.u16(key.kem).vec8(key.private_bytes())
    return plaintext.getvalue()


def keys_of(epoch: Epoch) -> list[PrivateKey]:
    return [key.private_key for key in epoch.keys]


@pytest.mark.parametrize("index", [0, 1], ids=["xwing", "x25519"])
async def test_a_gateway_cannot_hand_out_keys_of_its_own(holder: Worker, newcomer: Worker, index: int) -> None:
    keys = keys_of(next(epoch for epoch in holder.keyring.epochs() if epoch.number == EPOCH))
    keys[index] = PrivateKey.generate(keys[index].kem)
    forged = await forge(newcomer, bytes(32), (holder.keyring.bundle(EPOCH),), all_keys(keys))
    with pytest.raises(EvidenceError, match="does not belong to the core"):
        newcomer.joiner.accept(forged, NOW)
    assert newcomer.keyring.epochs() == ()


async def test_a_right_key_for_the_wrong_epoch_is_refused_and_erased(
    holder: Worker, newcomer: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = {epoch.number: epoch for epoch in holder.keyring.epochs()}
    forged = await forge(newcomer, bytes(32), (epochs[EPOCH].bundle,), all_keys(keys_of(epochs[EPOCH + 1])))
    opened: list[PrivateKey] = []
    read = PrivateKey.from_bytes

    def noted(kem: int, secret: bytes) -> PrivateKey:
        opened.append(read(kem, secret))
        return opened[-1]

    monkeypatch.setattr(PrivateKey, "from_bytes", noted)
    with pytest.raises(EvidenceError, match="does not belong to the core"):
        newcomer.joiner.accept(forged, NOW)
    assert [key.erased for key in opened] == [True, True]


@pytest.mark.parametrize(
    ("plaintext", "words"),
    [
        (b"", "truncated"),
        (b"\0", "not as many"),
        (one_key(0x0010, bytes(32)), "not used here"),
        (one_key(hpke.KEM_X25519, bytes(31)), "wrong length"),
        (one_key(hpke.KEM_XWING, bytes(33)), "wrong length"),
        (one_key(hpke.KEM_X25519, bytes(32)) + b"\0", "trailing"),
    ],
)
async def test_a_sealed_message_of_another_shape_is_refused(
    holder: Worker, newcomer: Worker, plaintext: bytes, words: str
) -> None:
    forged = await forge(newcomer, bytes(32), (holder.keyring.bundle(EPOCH),), plaintext)
    with pytest.raises(Error, match=words):
        newcomer.joiner.accept(forged, NOW)
    assert newcomer.keyring.epochs() == ()


async def test_a_bundle_of_other_software_is_refused(make: Make, newcomer: Worker) -> None:
    other = await make(OTHER_MEASUREMENT, births=(EPOCH,))
    (epoch,) = other.keyring.epochs()
    forged = await forge(newcomer, bytes(32), (epoch.bundle,), all_keys(keys_of(epoch)))
    with pytest.raises(PolicyError, match="measurement"):
        newcomer.joiner.accept(forged, NOW)


async def test_bundles_that_are_past_their_last_slot_are_refused(make: Make, newcomer: Worker) -> None:
    old = await make(births=(EPOCH - 2,))
    (epoch,) = old.keyring.epochs()
    forged = await forge(newcomer, bytes(32), (epoch.bundle,), all_keys(keys_of(epoch)))
    with pytest.raises(PolicyError, match="past its end"):
        newcomer.joiner.accept(forged, NOW)


async def test_the_two_parts_of_a_split_pool_can_become_one(make: Make) -> None:
    left, right = await make(births=(EPOCH,)), await make(births=(EPOCH,))
    assert right.joiner.accept(left.member.admit(await right.joiner.request(left.member.nonce(NOW), NOW), NOW), NOW)
    assert right.keyring.bundle(EPOCH) == left.keyring.bundle(EPOCH)


def test_messages_at_their_limits_parse_and_one_octet_more_does_not() -> None:
    largest = JoinRequest(bytes(32), bytes(1216), bytes(MAX_EVIDENCE))
    encoded = serialize_join_request(largest)
    assert len(encoded) == MAX_JOIN_REQUEST
    assert parse_join_request(encoded) == largest
    with pytest.raises(TooLargeError):
        parse_join_request(serialize_join_request(replace(largest, evidence=bytes(MAX_EVIDENCE + 1))))
    head = b"SECLUDE-JOIN-KEYS\x01" + bytes(32)
    full = head + b"\x03" + (MAX_BUNDLE.to_bytes(4) + bytes(MAX_BUNDLE)) * 3 + bytes(1120) + (4096).to_bytes(2)
    assert len(full) + 4096 == MAX_JOIN_KEYS
    assert len(parse_join_keys(full + bytes(4096)).bundles) == 3
    for count in (b"\x00", b"\x04"):
        with pytest.raises(DecodeError, match="epochs"):
            parse_join_keys(head + count)
    with pytest.raises(TooLargeError):
        parse_join_keys(head + b"\x01" + bytes(4) + bytes(1120) + (4097).to_bytes(2) + bytes(4097))


@pytest.mark.parametrize("half", [b"\xff" * 1184, bytes(32)], ids=["no ML-KEM key", "low order"])
def test_one_time_keys_that_are_not_usable_are_refused(
    holder: Worker, platform: SimulatedPlatform, half: bytes
) -> None:
    nonce, good = holder.member.nonce(NOW), PrivateKey.generate(join.SUITE.kem).public_key
    key = half + good[1184:] if len(half) == 1184 else good[:1184] + half
    bound = join_report_data(nonce, key, "worker", "ai.example", MEASUREMENT)
    evidence = simulated_evidence(platform, MEASUREMENT, bound, NOW)
    with pytest.raises(DecodeError, match="not usable"):
        holder.member.admit(serialize_join_request(JoinRequest(nonce, key, evidence)), NOW)


@pytest.mark.parametrize("honest", [True, False])
async def test_a_one_time_key_is_erased_by_the_attempt(holder: Worker, newcomer: Worker, honest: bool) -> None:
    keys = await answer(holder, newcomer)
    (pending,) = newcomer.joiner._pending.values()
    try:
        newcomer.joiner.accept(keys if honest else keys[:-1] + bytes([keys[-1] ^ 1]), NOW)
    except OpenError:
        assert not honest
    assert pending.one_time_key.erased
