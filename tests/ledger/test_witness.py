"""The witness protocol, octets in and octets out: what is cosigned, and everything that is not."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.add_checkpoint import MAX_PROOF, AddCheckpoint, parse_add_checkpoint, serialize_add_checkpoint
from ledger.files import Files, RenameError
from ledger.witness import protocol
from ledger.witness.memory import Seen
from ledger.witness.protocol import MAX_STEP_BACK_SECONDS, Outcome, Result
from seclude.errors import DecodeError
from seclude.tlog.checkpoint import Checkpoint, render_checkpoint
from seclude.tlog.cosignature import cosign, verify_log_signature
from seclude.tlog.keys import ED25519, ML_DSA_44, SignerKey, generate_skey
from seclude.tlog.note import Note, NoteSignature, parse_note, serialize_note
from tests.ledger.witness_rig import NOW, WITNESS_KEYS, FakeLog, Rig, times

Make = Callable[..., Rig]


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    rigs: list[Rig] = []

    def made(*logs: FakeLog, keys: tuple[SignerKey, ...] = WITNESS_KEYS[:1]) -> Rig:
        rig = Rig(tmp_path / f"state-{len(rigs)}", [log.verifier for log in logs], keys)
        rigs.append(rig)
        return rig.start(create=True)

    yield made
    for rig in rigs:
        rig.stop()


def assert_refused(outcome: Outcome, status: int, result: Result) -> None:
    assert (outcome.response.status, outcome.result) == (status, result)
    assert "\u2014".encode() not in outcome.response.body


# What is cosigned.


def test_a_first_checkpoint_is_cosigned_by_every_key(make: Make, log: FakeLog) -> None:
    rig = make(log, keys=WITNESS_KEYS)
    assert times(rig.show(log.ask(0, 5)), log.checkpoint(5), WITNESS_KEYS) == [NOW, NOW]


def test_an_empty_tree_is_cosigned_too(make: Make, log: FakeLog) -> None:
    rig = make(log)
    assert times(rig.show(log.ask(0, 0)), log.checkpoint(0), rig.keys) == [NOW]
    assert times(rig.show(log.ask(0, 3)), log.checkpoint(3), rig.keys) == [NOW]


def test_a_log_that_signs_with_ml_dsa_is_cosigned(make: Make) -> None:
    log = FakeLog(generate_skey("log.example/pq", ML_DSA_44))
    rig = make(log)
    assert times(rig.show(log.ask(0, 3)), log.checkpoint(3), rig.keys) == [NOW]
    assert times(rig.show(log.ask(3, 8)), log.checkpoint(8), rig.keys) == [NOW]


def test_the_same_tree_is_cosigned_again_with_a_new_time(make: Make, log: FakeLog) -> None:
    rig = make(log)
    rig.show(log.ask(0, 5))
    rig.clock.now += 5.7
    assert times(rig.show(log.ask(5, 5)), log.checkpoint(5), rig.keys) == [NOW + 5]


def test_what_anybody_can_show_again_keeps_the_disk_busy_once_a_second(
    make: Make, log: FakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make(log)
    writes = []
    replace_file = Files.replace

    def count(self: Files, name: str, content: bytes) -> None:
        writes.append(name)
        replace_file(self, name, content)

    monkeypatch.setattr(Files, "replace", count)
    rig.show(log.ask(0, 5))
    answers = {rig.show(log.ask(5, 5)).response.body for _ in range(20)}
    assert (len(writes), len(answers)) == (1, 1)
    rig.clock.now += 1
    assert times(rig.show(log.ask(5, 5)), log.checkpoint(5), rig.keys) == [NOW + 1]
    assert len(writes) == 2
    rig.start()
    assert rig.witness.memories[log.verifier.name].seen.time == NOW + 1


def test_every_growth_is_cosigned_once(make: Make, log: FakeLog) -> None:
    last = 0
    rig = make(log)
    for size in (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 40, 41, 64, 100):
        for old in {0, last - 1, last + 1, size} - {last, -1}:
            assert_refused(rig.show(log.ask(min(old, size), size)), 409, Result.OTHER_SIZE)
        assert times(rig.show(log.ask(last, size)), log.checkpoint(size), rig.keys) == [NOW]
        last = size


def test_logs_are_apart(make: Make, log: FakeLog) -> None:
    other = FakeLog(generate_skey("log.example/2", ED25519))
    rig = make(log, other)
    assert rig.show(log.ask(0, 5)).response.status == 200
    assert rig.show(other.ask(0, 3)).response.status == 200
    assert rig.show(log.ask(5, 6)).response.status == 200
    assert [memory.seen.size for memory in rig.witness.memories.values()] == [6, 3]


def test_a_log_may_have_several_keys_and_sign_with_any(make: Make, log: FakeLog) -> None:
    new = FakeLog(generate_skey(log.verifier.name, ML_DSA_44))
    rig = make(log, new)
    assert len(rig.witness.memories) == 1
    assert rig.show(log.ask(0, 2)).response.status == 200
    assert rig.show(serialize_add_checkpoint(2, log.proof(2, 4), log.signed(4, new.key))).response.status == 200
    assert rig.show(new.ask(4, 6)).response.status == 200


def test_what_others_signed_is_ignored_and_not_kept(make: Make, log: FakeLog) -> None:
    rig = make(log)
    checkpoint = log.checkpoint(3)
    strangers = [generate_skey("a.example", ED25519), generate_skey(log.verifier.name, ED25519)]
    lines = tuple(NoteSignature(key.verifier.name, key.verifier.key_id, bytes(64)) for key in strangers)
    good = parse_note(log.signed(3))
    note = serialize_note(Note(good.text, (*lines, cosign(checkpoint, WITNESS_KEYS[0], 1), *good.signatures)))
    assert rig.show(serialize_add_checkpoint(0, (), note)).response.status == 200
    (memory,) = rig.witness.memories.values()
    assert memory.seen.checkpoint == log.signed(3).decode()


# What is not.


def test_an_unknown_origin_is_not_found(make: Make, log: FakeLog) -> None:
    assert_refused(make(log).show(FakeLog(generate_skey("log.example/2", ED25519)).ask(0, 1)), 404, Result.UNKNOWN_LOG)


def test_a_checkpoint_that_the_log_did_not_sign_is_forbidden(make: Make, log: FakeLog) -> None:
    rig = make(log)
    stranger = FakeLog(generate_skey(log.verifier.name, ED25519))
    assert_refused(rig.show(stranger.ask(0, 1)), 403, Result.UNSIGNED)
    forged = replace(parse_note(log.signed(1)).signatures[0], signature=bytes(64))
    text = render_checkpoint(log.checkpoint(1))
    assert_refused(
        rig.show(serialize_add_checkpoint(0, (), serialize_note(Note(text, (forged,))))), 403, Result.UNSIGNED
    )


def test_one_bad_signature_of_a_known_key_spoils_a_good_one(make: Make, log: FakeLog) -> None:
    second = FakeLog(generate_skey(log.verifier.name, ED25519))
    rig = make(log, second)
    good = parse_note(log.signed(1, second.key))
    for place in (0, 1):
        lines = list(good.signatures)
        lines[place] = replace(lines[place], signature=bytes(64))
        body = serialize_add_checkpoint(0, (), serialize_note(Note(good.text, tuple(lines))))
        assert_refused(rig.show(body), 403, Result.UNSIGNED)
    twice = Note(good.text, (good.signatures[0], replace(good.signatures[0], signature=bytes(64))))
    assert_refused(rig.show(serialize_add_checkpoint(0, (), serialize_note(twice))), 403, Result.UNSIGNED)


def test_what_does_not_read_as_a_signature_is_none(make: Make, log: FakeLog) -> None:
    note = log.signed(1)
    loose = note[:-3] + bytes([note[-3] + 1]) + note[-2:]  # the same octets for a decoder that ignores loose bits
    for signed in (loose, note + b"\n", note.replace(b"\n\n", b"\n\n\n"), note[: note.index(b"\n\n") + 2]):
        assert_refused(make(log).show(serialize_add_checkpoint(0, (), signed)), 403, Result.UNSIGNED)


def test_a_line_that_stands_64_times_is_verified_once(
    make: Make, log: FakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, seen = make(log), []

    def verify(note: Note, key: object) -> Checkpoint:
        seen.append(len(note.signatures))
        return verify_log_signature(note, log.verifier)

    monkeypatch.setattr(protocol, "verify_log_signature", verify)
    note = parse_note(log.signed(1))
    many = serialize_note(Note(note.text, note.signatures * 64))
    assert rig.show(serialize_add_checkpoint(0, (), many)).response.status == 200
    assert seen == [1]


def test_an_old_size_beyond_the_checkpoint_is_malformed(make: Make, log: FakeLog) -> None:
    rig = make(log)
    rig.show(log.ask(0, 5))
    assert_refused(rig.show(serialize_add_checkpoint(5, (), log.signed(4))), 400, Result.SHRUNK)


def test_another_old_size_is_answered_with_the_one_that_counts(make: Make, log: FakeLog) -> None:
    rig = make(log)
    rig.show(log.ask(0, 5))
    for old, size in ((0, 5), (0, 8), (4, 8), (6, 8), (8, 8)):
        outcome = rig.show(log.ask(old, size))
        assert_refused(outcome, 409, Result.OTHER_SIZE)
        assert (outcome.response.content_type, outcome.response.body) == ("text/x.tlog.size", b"5\n")


@pytest.mark.parametrize("old", [1, 3, 4, 5, 7])
def test_a_proof_that_is_not_exactly_right_is_refused(make: Make, log: FakeLog, old: int) -> None:
    rig = make(log)
    rig.show(log.ask(0, old))
    proof, signed = log.proof(old, 8), log.signed(8)
    wrong = [proof[:-1], (*proof, proof[-1]), (), proof[::-1] if len(proof) > 1 else (bytes(32),)]
    wrong.extend((*proof[:place], bytes(32), *proof[place + 1 :]) for place in range(len(proof)))
    for each in wrong:
        assert_refused(rig.show(serialize_add_checkpoint(old, each, signed)), 422, Result.INCONSISTENT)
    assert rig.show(serialize_add_checkpoint(old, proof, signed)).response.status == 200


def test_nothing_to_prove_is_proved_by_nothing(make: Make, log: FakeLog) -> None:
    rig = make(log)
    assert_refused(rig.show(serialize_add_checkpoint(0, (bytes(32),), log.signed(5))), 422, Result.INCONSISTENT)
    rig.show(log.ask(0, 5))
    assert_refused(rig.show(serialize_add_checkpoint(5, (bytes(32),), log.signed(5))), 422, Result.INCONSISTENT)


def test_another_history_is_never_cosigned(make: Make, log: FakeLog) -> None:
    """The log's own key signs both; the second is refused at every size, and with every proof that it has."""
    rig, other = make(log), FakeLog(log.key, b"another history")
    rig.show(log.ask(0, 6))
    for size in range(6, 20):
        outcome = rig.show(other.ask(6, size))
        assert outcome.response.status == (409 if size == 6 else 422)
    assert times(rig.show(log.ask(6, 19)), log.checkpoint(19), rig.keys) == [NOW]


def test_two_trees_of_one_size_are_kept_as_evidence(make: Make, log: FakeLog) -> None:
    rig, other = make(log), FakeLog(log.key, b"another history")
    rig.show(log.ask(0, 6))
    first, second = rig.show(other.ask(6, 6)), rig.show(FakeLog(log.key, b"a third").ask(6, 6))
    for outcome in (first, second):
        assert_refused(outcome, 409, Result.SPLIT)
        assert outcome.response.content_type != "text/x.tlog.size"  # a log must not take it for a size to begin from
    assert [first.is_first_split, second.is_first_split] == [True, False]
    (kept,) = rig.folder.glob("*.split")
    assert kept.read_bytes() == log.signed(6) + b"\n" + other.signed(6)


def test_evidence_that_cannot_be_kept_changes_no_answer(
    make: Make, log: FakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make(log)
    rig.show(log.ask(0, 6))
    monkeypatch.setattr(Files, "replace", _full)
    assert_refused(rig.show(FakeLog(log.key, b"another history").ask(6, 6)), 409, Result.SPLIT)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        b"old 0\n\n",
        b"old 0\n\nlog.example/1\n1\n",
        b"old 00\n\n{}",
        b"old -1\n\n{}",
        b"old +0\n\n{}",
        b"old 0 \n\n{}",
        b" old 0\n\n{}",
        b"Old 0\n\n{}",
        b"old\n\n{}",
        b"old 0\r\n\n{}",
        b"old 0\n\r\n{}",
        b"old 9223372036854775808\n\n{}",
        "old \u0660\n\n{}".encode(),
        b"0\n\n{}",
        b"old 0\nAA==\n\n{}",
        b"old 0\nnot base64\n\n{}",
        b"old 0\n" + b"A" * 42 + b"B=\n\n{}",
        b"old 0\n\n\n{}",
        b"\n\n{}",
    ],
)
def test_a_malformed_request_is_refused(make: Make, log: FakeLog, body: bytes) -> None:
    assert_refused(make(log).show(body.replace(b"{}", log.signed(1))), 400, Result.MALFORMED)


def test_a_checkpoint_with_more_lines_is_refused(make: Make, log: FakeLog) -> None:
    """An ML-DSA-44 cosignature would say nothing about them."""
    text = render_checkpoint(log.checkpoint(1)) + "more\n"
    signature = NoteSignature(log.verifier.name, log.verifier.key_id, log.key.sign(text.encode()))
    body = serialize_add_checkpoint(0, (), serialize_note(Note(text, (signature,))))
    assert_refused(make(log).show(body), 400, Result.MALFORMED)


def test_every_truncation_and_every_flipped_bit_is_refused(make: Make, log: FakeLog) -> None:
    rig = make(log)
    rig.show(log.ask(0, 3))
    body = log.ask(3, 8)
    for cut in range(len(body)):
        assert rig.show(body[:cut]).response.status in (400, 403)
    for place in range(len(body)):
        for bit in range(8):
            flipped = body[:place] + bytes([body[place] ^ 1 << bit]) + body[place + 1 :]
            assert rig.show(flipped).response.status in (400, 403, 404, 409, 422), (place, bit)
    for more in (b"\n", b" ", b"\0", b"\n\n", b"\xe2\x80\x94"):
        assert_refused(rig.show(body + more), 403, Result.UNSIGNED)
    assert rig.show(body).response.status == 200


# Time.


def test_no_time_is_before_one_that_was_given(make: Make, log: FakeLog) -> None:
    rig = make(log)
    given: list[int] = []
    for step in (0, 5, -3, -MAX_STEP_BACK_SECONDS + 3, 1, 20):
        rig.clock.now += step
        rig.start()  # it counts across restarts too
        outcome = rig.show(log.ask(5 if given else 0, 5))
        given += times(outcome, log.checkpoint(5), rig.keys)
    assert given == [NOW, NOW + 5, NOW + 5, NOW + 5, NOW + 5, NOW + 16]


def test_a_clock_that_is_far_behind_dates_nothing(make: Make, log: FakeLog) -> None:
    rig = make(log)
    rig.show(log.ask(0, 5))
    rig.clock.now -= MAX_STEP_BACK_SECONDS + 1
    behind = rig.witness.is_behind
    outcome = rig.show(log.ask(5, 6))
    assert_refused(outcome, 503, Result.CLOCK)
    assert ("Retry-After", "5") in outcome.response.fields
    rig.clock.now += 1
    assert (behind, rig.witness.is_behind) == (True, False)
    assert times(rig.show(log.ask(5, 6)), log.checkpoint(6), rig.keys) == [NOW]


def test_a_clock_before_1970_dates_nothing(make: Make, log: FakeLog) -> None:
    rig = make(log)
    rig.clock.now = 0.5
    assert_refused(rig.show(log.ask(0, 5)), 503, Result.CLOCK)


# The disk.


def _full(self: Files, name: str, content: bytes) -> None:
    raise OSError(28, "No space left on device")


def _read_only(self: Files, name: str, content: bytes) -> None:
    raise OSError(30, "Read-only file system")


def _unsure(self: Files, name: str, content: bytes) -> None:
    raise RenameError(5, "Input/output error")


@pytest.mark.parametrize("fault", [_full, _read_only, _unsure])
def test_what_the_disk_does_not_take_is_not_cosigned(
    make: Make, log: FakeLog, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Files, str, bytes], None]
) -> None:
    rig = make(log)
    rig.show(log.ask(0, 5))
    rig.clock.now += 1
    with monkeypatch.context() as patched:
        patched.setattr(Files, "replace", fault)
        assert_refused(rig.show(log.ask(5, 6)), 503, Result.DISK)
        assert_refused(rig.show(log.ask(5, 5)), 503, Result.DISK)  # its time would not be stored
    assert rig.start().show(log.ask(5, 6)).response.status == 200


def test_what_is_signed_is_stored_before(make: Make, log: FakeLog, monkeypatch: pytest.MonkeyPatch) -> None:
    rig, stored = make(log), []

    def sign(checkpoint: Checkpoint, key: SignerKey, timestamp: int) -> NoteSignature:
        (path,) = rig.folder.glob("*.log")
        stored.append(f'"size":{checkpoint.size},' in path.read_text() and f'"time":{timestamp},' in path.read_text())
        return cosign(checkpoint, key, timestamp)

    monkeypatch.setattr(protocol, "cosign", sign)
    rig.show(log.ask(0, 5))
    rig.show(log.ask(5, 6))
    assert stored == [True, True]


# The race that the protocol describes: two requests are checked against one size, and the smaller is stored last.


def race(rig: Rig, log: FakeLog, old: int) -> tuple[list[int], int]:
    """Show two sizes at once; returns the sizes that were cosigned, and the one that is remembered."""
    gate = threading.Barrier(2)

    def show(size: int) -> int:
        body = log.ask(old, size)
        gate.wait()
        return rig.show(body).response.status

    with ThreadPoolExecutor(2) as pool:
        statuses = list(pool.map(show, (old + 1, old + 3)))
    (memory,) = rig.witness.memories.values()
    return [size for size, status in zip((old + 1, old + 3), statuses, strict=True) if status == 200], memory.seen.size


@pytest.mark.parametrize("rounds", [50, pytest.param(1000, marks=pytest.mark.drill)])
def test_of_two_requests_from_one_size_one_is_cosigned(make: Make, log: FakeLog, rounds: int) -> None:
    rig, old = make(log), 0
    for _ in range(rounds):
        cosigned, remembered = race(rig, log, old)
        assert cosigned == [remembered]
        old = remembered
    assert rig.start().show(log.ask(0, old)).response.body == f"{old}\n".encode()


def test_without_the_lock_the_race_is_lost(make: Make, log: FakeLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test above is known to look at the right thing."""
    rig = make(log)
    (memory,) = rig.witness.memories.values()
    monkeypatch.setattr(memory, "lock", nullcontext())
    keep, larger_kept, both_checked = memory.keep, threading.Event(), threading.Barrier(2)

    def slowly(seen: Seen) -> None:
        both_checked.wait()
        if seen.size == 1:
            larger_kept.wait()
        keep(seen)
        larger_kept.set()

    monkeypatch.setattr(memory, "keep", slowly)
    assert race(rig, log, 0) == ([1, 3], 1)


# The octets of a request.


@given(st.integers(0, (1 << 63) - 1), st.lists(st.binary(min_size=32, max_size=32), max_size=MAX_PROOF), st.binary())
def test_a_request_reads_as_it_was_written(old: int, proof: list[bytes], checkpoint: bytes) -> None:
    request = AddCheckpoint(old, tuple(proof), checkpoint)
    assert parse_add_checkpoint(serialize_add_checkpoint(old, proof, checkpoint)) == request


@given(st.binary(max_size=400))
def test_junk_is_refused_as_malformed(body: bytes) -> None:
    for each in (body, b"old 1\n" + body, b"old 1\n\n" + body):
        try:
            request = parse_add_checkpoint(each)
        except DecodeError:
            continue
        assert serialize_add_checkpoint(request.old, request.proof, request.checkpoint) == each


def test_a_proof_has_at_most_63_hashes() -> None:
    proof = (bytes(32),) * MAX_PROOF
    assert parse_add_checkpoint(serialize_add_checkpoint(1, proof, b"x")).proof == proof
    with pytest.raises(DecodeError, match="more than 63"):
        parse_add_checkpoint(serialize_add_checkpoint(1, (*proof, bytes(32)), b"x"))
