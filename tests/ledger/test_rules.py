"""What may be added to which log."""

from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from ledger.rules import MAX_CLOCK_DIFFERENCE, MAX_VOIDS, KeysRule, PlainRule, Refusal, RefusedError, Rule, StateRule
from seclude.attestation.proofs import VOID, epoch_entry
from seclude.attestation.slots import Slots
from seclude.attestation.snapshot import Release, Revocation, Snapshot, render_snapshot
from seclude.errors import DecodeError
from seclude.ledger import EpochSubmission, serialize_epoch
from seclude.tlog.keys import ED25519, generate_skey
from seclude.tlog.merkle import leaf_hash
from seclude.tlog.signing import sign_note

T0, PERIOD = 1_800_000_000, 600
PUBLISHERS = [generate_skey(f"publisher.example/{name}", ED25519) for name in ("a", "b", "c")]
STRANGER = generate_skey("stranger.example", ED25519)
RELEASE = Release(
    role="worker", manifest="ab" * 32, source="https://git.example/s", revision="0" * 40, issued=T0, expires=T0 + 9_000
)
SNAPSHOT = Snapshot(origin="assistant.example", issued=T0, expires=T0 + 86_400, releases=(RELEASE,))


@dataclass
class Tail:
    """A log in memory."""

    entries: list[bytes] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.entries)

    def leaf(self, index: int) -> bytes:
        return leaf_hash(self.entries[index])

    def entry(self, index: int) -> bytes:
        return self.entries[index]


def admit(rule: Rule, payload: bytes, tail: Tail) -> int:
    admitted = rule.admit(payload, tail)
    tail.entries += admitted.entries
    return admitted.index


def refusal(rule: Rule, payload: bytes, tail: Tail) -> tuple[Refusal, str]:
    before = list(tail.entries)
    with pytest.raises(RefusedError) as caught:
        rule.admit(payload, tail)
    assert tail.entries == before
    return caught.value.refusal, str(caught.value)


def epoch(number: int, core: bytes = b"core") -> bytes:
    return serialize_epoch(EpochSubmission(number, core, b"evidence"))


def keys_rule(slot: int = 7) -> KeysRule:
    return KeysRule(Slots(T0, PERIOD), lambda: T0 + slot * PERIOD + 1)


def test_leaf_n_is_epoch_n() -> None:
    tail = Tail()
    assert admit(keys_rule(0), epoch(0), tail) == 0
    assert admit(keys_rule(0), epoch(1), tail) == 1
    assert tail.entries == [epoch_entry(b"core", b"evidence")] * 2


def test_slots_that_had_no_keys_become_void() -> None:
    tail = Tail()
    admitted = keys_rule().admit(epoch(5), tail)
    assert list(admitted.entries) == [VOID] * 5 + [epoch_entry(b"core", b"evidence")]
    assert admitted.beside == {"epochs/5": epoch(5)}


def test_an_epoch_that_is_sent_again_stands_where_it_stood() -> None:
    tail = Tail()
    admit(keys_rule(), epoch(7), tail)
    admitted = keys_rule().admit(epoch(7), tail)
    assert (admitted.index, list(admitted.entries), dict(admitted.beside)) == (7, [], {})


def test_a_second_key_for_a_slot_is_refused() -> None:
    tail = Tail()
    admit(keys_rule(), epoch(7), tail)
    why, sentence = refusal(keys_rule(), epoch(7, b"another core"), tail)
    assert (why, sentence) == (Refusal.TAKEN, "epoch 7 has other keys in the log, and leaf 7 stays what it is")


def test_a_slot_that_is_void_stays_void() -> None:
    tail = Tail()
    admit(keys_rule(), epoch(7), tail)
    assert refusal(keys_rule(), epoch(6), tail)[0] is Refusal.VOID


@pytest.mark.parametrize(("number", "is_early"), [(7, False), (8, False), (9, True), (1 << 62, True)])
def test_the_slot_after_the_present_one_is_the_last_that_can_be_logged(number: int, is_early: bool) -> None:
    if is_early:
        assert refusal(keys_rule(), epoch(number), Tail())[0] is Refusal.EARLY
    else:
        assert admit(keys_rule(), epoch(number), Tail()) == number


def test_before_the_first_slot_no_key_is_logged() -> None:
    assert refusal(KeysRule(Slots(T0, PERIOD), lambda: T0 - 1.0), epoch(0), Tail())[0] is Refusal.EARLY


def test_a_gap_that_is_too_long_is_refused() -> None:
    assert refusal(keys_rule(MAX_VOIDS + 1), epoch(MAX_VOIDS + 1), Tail())[0] is Refusal.GAP


def test_what_is_no_epoch_is_malformed() -> None:
    for payload in (b"", epoch(1)[:-1], epoch(1) + b"x"):
        with pytest.raises(DecodeError):
            keys_rule().admit(payload, Tail())


def state_rule(now: int = T0 + 10) -> StateRule:
    return StateRule([key.verifier for key in PUBLISHERS], "assistant.example", lambda: now)


def signed(snapshot: Snapshot, *places: int) -> bytes:
    return sign_note(render_snapshot(snapshot), *(PUBLISHERS[place] for place in places or (0, 1)))


def test_a_snapshot_of_two_publishers_is_admitted_and_again_it_is_the_same() -> None:
    tail = Tail()
    assert admit(state_rule(), signed(SNAPSHOT), tail) == 0
    assert admit(state_rule(), signed(SNAPSHOT), tail) == 0
    assert admit(state_rule(), signed(replace(SNAPSHOT, issued=T0 + 1), 1, 2), tail) == 1
    assert tail.size == 2


def test_one_publisher_can_stop_a_service_and_not_start_one() -> None:
    revoked = Revocation(manifest="ab" * 32, reason="a hole", revoked=T0)
    stop = Snapshot(origin="assistant.example", issued=T0, expires=T0 + 86_400, revocations=(revoked,))
    assert admit(state_rule(), signed(stop, 2), Tail()) == 0
    why, sentence = refusal(state_rule(), signed(SNAPSHOT, 2), Tail())
    assert why is Refusal.UNSIGNED
    assert "it takes 2 of the 3 publishers" in sentence


def test_a_snapshot_of_strangers_is_refused() -> None:
    note = sign_note(render_snapshot(SNAPSHOT), STRANGER, PUBLISHERS[0])
    assert refusal(state_rule(), note, Tail())[0] is Refusal.UNSIGNED


def test_a_snapshot_of_another_service_is_refused() -> None:
    other = replace(SNAPSHOT, origin="other.example")
    assert refusal(state_rule(), signed(other), Tail())[0] is Refusal.UNSIGNED


@pytest.mark.parametrize("issued", [T0 - 1, T0])
def test_a_snapshot_that_is_not_newer_is_refused(issued: int) -> None:
    tail = Tail([signed(SNAPSHOT)])
    other = replace(SNAPSHOT, issued=issued, expires=T0 + 9)
    assert refusal(state_rule(T0), signed(other), tail)[0] is Refusal.OLD


def test_a_newer_snapshot_may_follow_one_of_publishers_who_left() -> None:
    former = sign_note(render_snapshot(SNAPSHOT), STRANGER)
    assert admit(state_rule(), signed(replace(SNAPSHOT, issued=T0 + 1)), Tail([former])) == 1


def test_a_snapshot_that_has_expired_is_refused() -> None:
    assert refusal(state_rule(T0 + 86_400), signed(SNAPSHOT), Tail())[0] is Refusal.EXPIRED


def test_a_snapshot_of_the_future_is_refused_since_nothing_could_follow_it() -> None:
    snapshot = replace(SNAPSHOT, issued=T0 + MAX_CLOCK_DIFFERENCE + 1)
    assert refusal(state_rule(T0), signed(snapshot), Tail())[0] is Refusal.EARLY


@pytest.mark.parametrize("payload", [b"", b"seclude state v1\n", bytes(70_000)])
def test_what_is_no_snapshot_is_refused(payload: bytes) -> None:
    assert refusal(state_rule(), payload, Tail())[0] in (Refusal.UNSIGNED, Refusal.MALFORMED)


def test_a_plain_log_takes_any_entry_that_fits_and_each_anew() -> None:
    tail = Tail()
    assert [admit(PlainRule(), b"same", tail) for _ in range(3)] == [0, 1, 2]
    assert admit(PlainRule(), bytes(65_535), tail) == 3
    assert refusal(PlainRule(), bytes(65_536), tail)[0] is Refusal.MALFORMED
