"""The gateway's way to the ledger, over real connections to one that is made up."""

import asyncio
from collections.abc import AsyncIterator

import pytest

import gateway.ledger
from gateway.ledger import OLD, SENTENCES, Fault, Ledger, LedgerError, TakenError
from seclude.attestation.bundle import MAX_PROOFS
from seclude.attestation.proofs import parse_proofs
from seclude.ledger import EpochSubmission
from seclude.ledger import Path as Place
from tests.gateway.conftest import eventually
from tests.gateway.fakeledger import FakeLedger, Heard, client

NOW = 600_300.0


@pytest.fixture
async def fake() -> AsyncIterator[FakeLedger]:
    made = FakeLedger(NOW)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def ledger(fake: FakeLedger, heard: Heard) -> AsyncIterator[Ledger]:
    made = client(fake, heard)
    yield made
    await made.close()


async def test_what_was_fetched_is_there_to_be_stapled(fake: FakeLedger, ledger: Ledger, heard: Heard) -> None:
    assert ledger.proofs == b""
    assert ledger.age(0.0) is None
    await ledger.fetch()
    assert ledger.proofs == fake.proofs()
    assert parse_proofs(ledger.proofs).snapshot == fake.here.state.entries[-1]
    assert heard.faults == [None]


async def test_an_epoch_is_logged_and_shown(fake: FakeLedger, ledger: Ledger) -> None:
    await ledger.fetch()
    assert not ledger.has_leaf(3)
    await ledger.log(3, b"core", b"evidence")
    assert fake.submitted == [EpochSubmission(3, b"core", b"evidence")]
    assert ledger.has_leaf(3)
    assert ledger.shows(3, b"core", b"evidence")
    assert not ledger.shows(3, b"core", b"other evidence")
    assert not ledger.shows(3, b"other core", b"evidence")
    assert ledger.has_leaf(2)
    assert not ledger.shows(2, b"core", b"evidence")
    assert not ledger.shows(4, b"core", b"evidence")


async def test_two_gateways_log_the_same_thing(fake: FakeLedger, ledger: Ledger, heard: Heard) -> None:
    other = client(fake, heard)
    await asyncio.gather(ledger.fetch(), other.fetch())
    await asyncio.gather(ledger.log(3, b"core", b"evidence"), other.log(3, b"core", b"evidence"))
    await other.log(3, b"core", b"evidence")  # a leaf that is there is not asked for
    assert len(fake.submitted) == 2
    assert len(fake.here.keys) == 4
    await other.close()


async def test_the_second_core_for_a_slot_is_told_so(fake: FakeLedger, ledger: Ledger, heard: Heard) -> None:
    other = client(fake, heard)
    await asyncio.gather(ledger.fetch(), other.fetch())
    await ledger.log(3, b"core", b"evidence")
    with pytest.raises(TakenError) as caught:
        await other.log(3, b"another core", b"evidence")
    assert caught.value.status == 409
    assert other.fault is None, "the ledger did what it should"
    await other.fetch()
    with pytest.raises(TakenError) as caught:
        await other.log(3, b"another core", b"evidence")
    assert caught.value.status == 0, "it could be seen without asking"
    await other.close()


async def test_a_slot_that_was_missed_is_taken(fake: FakeLedger, ledger: Ledger) -> None:
    await ledger.fetch()
    fake.fill(5)
    with pytest.raises(TakenError):
        await ledger.log(4, b"core", b"evidence")


async def test_a_ledger_that_does_not_show_what_it_took_is_not_believed(fake: FakeLedger, ledger: Ledger) -> None:
    await ledger.fetch()
    fake.forgets = True
    with pytest.raises(LedgerError) as caught:
        await ledger.log(0, b"core", b"evidence")
    assert caught.value.fault is Fault.NOT_SHOWN
    assert not isinstance(caught.value, TakenError)


@pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
async def test_an_error_is_told_with_its_status(fake: FakeLedger, ledger: Ledger, status: int) -> None:
    await ledger.fetch()
    fake.answer = {Place.ADD_EPOCH: (status, b"whatever it says")}
    with pytest.raises(LedgerError) as caught:
        await ledger.log(0, b"core", b"evidence")
    assert (caught.value.fault, caught.value.status) == (Fault.STATUS, status)
    assert "whatever" not in str(caught.value)
    assert ledger.fault is Fault.STATUS
    await ledger.fetch()
    assert ledger.fault is Fault.STATUS, "that proofs come does not mend submissions"
    fake.answer.clear()
    await ledger.log(0, b"core", b"evidence")
    assert ledger.fault is None


async def test_a_wrong_secret_is_refused(fake: FakeLedger, heard: Heard) -> None:
    ledger = client(fake, heard, secret=bytes(32))
    with pytest.raises(LedgerError) as caught:
        await ledger.log(0, b"core", b"evidence")
    assert caught.value.status == 403
    await ledger.close()


async def test_a_ledger_that_is_away_leaves_the_proofs_from_before(fake: FakeLedger, ledger: Ledger) -> None:
    await ledger.fetch()
    before = ledger.proofs
    await fake.stop()
    with pytest.raises(LedgerError) as caught:
        await ledger.fetch()
    assert caught.value.fault is Fault.SILENT
    assert ledger.fault is Fault.SILENT
    assert ledger.proofs is before
    await fake.start()
    await ledger.fetch()
    assert ledger.fault is None


async def test_a_ledger_that_hangs_is_given_up(fake: FakeLedger, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.ledger, "TIMEOUT_SECONDS", 0.1)
    ledger = client(fake, heard)
    fake.hang = {Place.PROOFS}
    with pytest.raises(LedgerError) as caught:
        await ledger.fetch()
    assert caught.value.timed_out
    await ledger.close()


@pytest.mark.parametrize("answer", [b"", b"SECLUDE-PROOFS\x01", bytes(MAX_PROOFS + 1)], ids=["empty", "cut", "large"])
async def test_what_does_not_parse_is_not_taken(fake: FakeLedger, ledger: Ledger, heard: Heard, answer: bytes) -> None:
    await ledger.fetch()
    before = ledger.proofs
    fake.answer = {Place.PROOFS: (200, answer)}
    with pytest.raises(LedgerError):
        await ledger.fetch()
    assert ledger.proofs is before
    assert heard.faults[0] is None
    assert heard.faults[1] in ("unreadable", "silent")


async def test_a_log_that_was_set_back_or_split_is_noticed(fake: FakeLedger, ledger: Ledger) -> None:
    await ledger.fetch()
    await ledger.log(3, b"core", b"evidence")
    before, whole = ledger.proofs, fake.here
    for lie in ("shorter", "other", "state"):
        fake.here = whole.split()
        if lie == "state":
            fake.here.state.entries[0] = b"another snapshot"
        else:
            del fake.here.keys.entries[2:]
        if lie == "other":
            fake.here.keys.entries += [b"x", b"y", b"z"]
        fake.here.keys._nodes.clear()
        fake.here.state._nodes.clear()
        with pytest.raises(LedgerError) as caught:
            await ledger.fetch()
        assert caught.value.fault is Fault.INCONSISTENT, lie
        assert ledger.proofs is before
    fake.here = whole
    await ledger.fetch()
    assert ledger.fault is None


async def test_fetches_do_not_overtake_one_another(fake: FakeLedger, ledger: Ledger, heard: Heard) -> None:
    await ledger.fetch()

    async def grow() -> None:
        for epoch in range(5):
            await ledger.log(epoch, b"core", b"evidence")

    await asyncio.gather(grow(), *(ledger.fetch() for _ in range(20)))
    assert set(heard.faults) == {None}


async def test_proofs_are_kept_fresh_and_changes_are_told(fake: FakeLedger, heard: Heard) -> None:
    ledger = client(fake, heard, period=0.5)
    changes = 0

    def changed() -> None:
        nonlocal changes
        changes += 1

    keeping = asyncio.create_task(ledger.keep(changed))
    await eventually(lambda: fake.fetched >= 3, 2.0)
    assert changes == 1
    fake.now += 5
    await eventually(lambda: changes == 2, 2.0)
    await fake.stop()
    await eventually(lambda: "silent" in heard.faults, 2.0)
    await fake.start()
    await eventually(lambda: heard.faults[-1] is None, 2.0)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await ledger.close()


async def test_a_first_fetch_that_fails_is_repeated_soon(fake: FakeLedger, heard: Heard) -> None:
    ledger = client(fake, heard, period=6000)
    await fake.stop()
    keeping = asyncio.create_task(ledger.keep(lambda: None))
    await eventually(lambda: bool(heard.faults), 2.0)
    await fake.start()
    await eventually(lambda: ledger.proofs != b"", 2.0)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await ledger.close()


async def test_the_age_counts_from_when_proofs_last_changed(fake: FakeLedger, ledger: Ledger) -> None:
    await ledger.fetch()
    loop = asyncio.get_running_loop()
    assert ledger.age(loop.time() + 10) == pytest.approx(10, abs=0.5)
    began = ledger._changed_at
    await ledger.fetch()
    assert ledger._changed_at == began
    fake.now += 5
    await ledger.fetch()
    assert ledger._changed_at > began


async def test_the_reasons_say_what_keeps_keys_from_devices(fake: FakeLedger, ledger: Ledger) -> None:
    now = asyncio.get_running_loop().time()
    assert ledger.reasons(now, serving=False) == ["no proofs of the ledger"]
    await ledger.fetch()
    assert ledger.reasons(now, serving=False) == []
    await fake.stop()
    with pytest.raises(LedgerError):
        await ledger.fetch()
    assert ledger.reasons(now, serving=False) == [SENTENCES[Fault.SILENT]]
    assert ledger.reasons(now, serving=True) == [], "what is served goes on"
    assert ledger.reasons(now + 1201, serving=True) == [OLD]
