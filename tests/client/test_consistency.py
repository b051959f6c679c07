"""One core for each epoch, whoever is asked; and evidence where there are two."""

import asyncio
import base64
import errno
import json
import os
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest

from bench.simulated import simulated_evidence
from inference.producers.simulated import create_simulated_platform
from seclude.attestation.bundle import Bundle, birth_report_data, core_digest, parse_bundle, serialize_bundle
from seclude.attestation.steps import Step
from seclude.client.consistency import FILE_NAME, MAX_FILES, Sightings
from seclude.client.offers import Offer
from seclude.client.sync import SyncClient
from seclude.client.trust import Trust
from seclude.daemon.messages import Response
from seclude.errors import ConfigError, EvidenceError, PolicyError, UpstreamError, VerificationError
from tests.client.serving import (
    ANSWER,
    MEASUREMENT,
    MESSAGES,
    NOW,
    PERIOD,
    T0,
    Clock,
    InOrder,
    Relay,
    asking,
    closed,
    trusting,
)

SLOT = T0 + NOW * PERIOD


def digest(bundle: bytes) -> str:
    return core_digest(parse_bundle(bundle).core).hex()


def stranger(relay: Relay) -> Relay:
    """A relay that serves other keys, just as genuine, for the same epochs."""
    return Relay(relay.platform, relay.clock)


def read(evidence: Path) -> list[dict[str, object]]:
    assert stat.S_IMODE(evidence.stat().st_mode) == 0o600
    sources = json.loads(evidence.read_bytes())["sources"]
    assert isinstance(sources, list)
    return sources


async def test_a_relay_that_serves_another_core_is_caught_with_evidence(
    relay: Relay, in_order: InOrder, tmp_path: Path
) -> None:
    liar = stranger(relay)
    evidence = tmp_path / "state" / "evidence.json"
    async with asking(relay, liar, evidence=evidence) as client:
        await client.summarize(MESSAGES)
        in_order.reverse = True
        with pytest.raises(VerificationError, match="two cores") as refusal:
            await client.verify()
        urls = [endpoint.url for endpoint in client._relays.endpoints]
    assert refusal.value.step == 11
    assert str(refusal.value).endswith(f"the evidence is in {evidence}")
    assert liar.posts == []
    sources = [source for source in read(evidence) if source["epoch"] == NOW]
    assert [source["url"] for source in sources] == urls
    for source, each in zip(sources, (relay, liar), strict=True):
        bundle = each.bundles()[NOW]
        assert base64.b64decode(str(source["bundle"])) == bundle
        assert source["core_digest"] == digest(bundle)
        fetched = datetime.fromisoformat(str(source["fetched_at"]))
        assert fetched.tzinfo == UTC
        assert abs(fetched.timestamp() - time.time()) < 60


async def test_once_two_were_seen_neither_is_used_while_the_epoch_lives(relay: Relay, in_order: InOrder) -> None:
    clock = relay.clock = Clock(SLOT + 1)
    relay.renew()
    liar = stranger(relay)
    after = relay.bundles()[NOW + 1]
    liar.offer(liar.bundles()[NOW], after)  # they differ in the present epoch alone
    async with asking(relay, liar, clock=clock) as client:
        await client.summarize(MESSAGES)
        in_order.reverse = True
        for again in range(3):
            in_order.reverse = again != 1
            with pytest.raises(EvidenceError, match="two cores"):
                await (client.verify() if again == 0 else client.summarize(MESSAGES))
        in_order.reverse = False
        clock.now += PERIOD
        assert await client.summarize(MESSAGES) == ANSWER
    assert len(relay.posts) + len(liar.posts) == 2


@pytest.mark.parametrize("epoch", [NOW - 1, NOW + 1])
async def test_the_epochs_beside_the_present_one_are_compared_too(relay: Relay, in_order: InOrder, epoch: int) -> None:
    clock = relay.clock = Clock(SLOT - PERIOD + 1)
    relay.renew()
    liar = stranger(relay)
    for each in (relay, liar):
        each.bundles()
    clock.now = SLOT + 1
    liar.offer(*(bundle for _, bundle in sorted((relay.bundles() | {epoch: liar.bundles()[epoch]}).items())))
    async with asking(relay, liar, clock=clock) as client:
        await client.summarize(MESSAGES)
        in_order.reverse = True
        with pytest.raises(EvidenceError, match=f"epoch {epoch} has two cores") as refusal:
            await client.verify()
        assert refusal.value.step == 11
        in_order.reverse = False
        assert await client.summarize(MESSAGES) == ANSWER, "the present epoch has one core"
        if epoch > NOW:
            clock.now += PERIOD
            with pytest.raises(EvidenceError, match=f"epoch {epoch} has two cores"):
                await client.summarize(MESSAGES)


async def test_a_difference_found_ahead_of_time_refuses_the_next_request(
    relay: Relay, in_order: InOrder, tmp_path: Path
) -> None:
    in_order.moment = lambda earliest, _latest: earliest + 0.3
    evidence = tmp_path / "evidence.json"
    relay.clock = Clock(SLOT + PERIOD * 0.6)
    async with asking(relay, evidence=evidence, clock=relay.clock) as client:
        await client.summarize(MESSAGES)
        relay.offer(*stranger(relay).bundles().values())
        async with asyncio.timeout(5):
            while not evidence.exists():  # noqa: ASYNC110 - a file wakes nobody
                await asyncio.sleep(0.01)
        with pytest.raises(EvidenceError, match=str(evidence)):
            await client.summarize(MESSAGES)
    assert len(relay.posts) == 1


async def test_other_evidence_for_the_same_core_is_no_difference(relay: Relay, in_order: InOrder) -> None:
    other = relay.twin()
    bundle = parse_bundle(relay.bundles()[NOW])
    fresh = simulated_evidence(relay.platform, MEASUREMENT, birth_report_data(bundle.core), time.time() + 1)
    assert fresh != bundle.evidence
    other.offer(serialize_bundle(Bundle(bundle.core, fresh)))
    async with asking(relay, other) as client:
        await client.verify()
        in_order.reverse = True
        await client.verify()
    assert (relay.gets, other.gets) == (1, 1)


FIRST, SECOND = b"first", b"second"


def offers(relay: Relay, *cores: bytes) -> list[Offer]:
    core = parse_bundle(relay.bundles()[NOW]).core
    bundles = (serialize_bundle(Bundle(core + each, b"")) for each in cores)
    return [Offer(f"https://{number}.example", 1e9 + number, {NOW: bundle}) for number, bundle in enumerate(bundles)]


LIVE = range(NOW - 1, NOW + 2)


def test_no_file_is_written_unless_told_where(relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(EvidenceError, match=r"^epoch 2 has two cores: \w{64} from \S+, \w{64} from \S+example$"):
        Sightings().compare(offers(relay, FIRST, SECOND), LIVE)
    assert set(tmp_path.rglob("*")) == before


def test_epoch_and_digest_are_filled_into_the_name(relay: Relay, tmp_path: Path) -> None:
    compared = offers(relay, FIRST, FIRST, SECOND)
    with pytest.raises(EvidenceError):
        Sightings(tmp_path / "state" / FILE_NAME).compare(compared, LIVE)
    (path,) = (tmp_path / "state").iterdir()
    assert path.name == f"inconsistent-keys-{NOW}-{digest(compared[2].bundles[NOW])[:8]}.json"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    sources = read(path)
    assert [source["url"] for source in sources] == [f"https://{number}.example" for number in range(3)]
    assert sources[1]["fetched_at"] == "2001-09-09T01:46:41+00:00"


def test_a_file_that_exists_is_left_as_it_is(relay: Relay, tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    path.write_text("older")
    with pytest.raises(EvidenceError, match="exists already and was left as it is"):
        Sightings(path).compare(offers(relay, FIRST, SECOND), LIVE)
    assert path.read_text() == "older"


def test_a_file_that_cannot_be_written_takes_nothing_from_the_refusal(relay: Relay, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EvidenceError, match=r"two cores.*cannot be written"):
        Sightings(tmp_path / "file" / "evidence.json").compare(offers(relay, FIRST, SECOND), LIVE)


def test_a_folder_that_is_closed_takes_nothing_from_the_refusal(
    relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    for name in ("open", "stat", "lstat"):
        monkeypatch.setattr(os, name, refuse)  # root may do anything, so modes would not show it
    sightings = Sightings(tmp_path / "evidence.json")
    with pytest.raises(EvidenceError, match=r"two cores.*cannot be written to .* \(Permission denied\)$") as refusal:
        sightings.compare(offers(relay, FIRST, SECOND), LIVE)
    with pytest.raises(EvidenceError) as again:
        sightings.require_one(NOW)
    assert str(again.value) == str(refusal.value)


def test_a_difference_is_remembered_whatever_happens_to_its_file(
    relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr("seclude.client.consistency.msgspec.json.format", fail)
    sightings = Sightings(tmp_path / "evidence.json")
    with pytest.raises(MemoryError):
        sightings.compare(offers(relay, FIRST, SECOND), LIVE)
    with pytest.raises(EvidenceError, match=r"two cores"):
        sightings.require_one(NOW)


def test_a_source_that_always_lies_fills_no_disk(relay: Relay, tmp_path: Path) -> None:
    assert MAX_FILES == 16
    for number in range(MAX_FILES + 2):
        with pytest.raises(EvidenceError) as refusal:
            Sightings(tmp_path / FILE_NAME).compare(offers(relay, FIRST, b"%d" % number), LIVE)
        written = f"the evidence is in {tmp_path}" in str(refusal.value)
        assert written is (number < MAX_FILES)
    assert str(refusal.value).endswith(f"; {tmp_path} has evidence of epoch {NOW} in 16 files, and no more was written")
    assert len(list(tmp_path.glob("*.json"))) == MAX_FILES
    for path in sorted(tmp_path.glob("*.json"))[:1]:
        path.rename(tmp_path / path.name.replace(f"-{NOW}-", f"-{NOW + 1}-"))  # another epoch's does not count
    with pytest.raises(EvidenceError, match="the evidence is in"):
        Sightings(tmp_path / FILE_NAME).compare(offers(relay, FIRST, SECOND), LIVE)


def test_only_live_epochs_are_remembered(relay: Relay) -> None:
    sightings = Sightings()
    first, second = offers(relay, FIRST, SECOND)
    sightings.compare([first], LIVE)
    sightings.compare([second], range(NOW + 1, NOW + 4))
    assert sightings.digests() == {}


async def test_all_sources_are_asked_and_agree_before_anything_is_sent(relay: Relay) -> None:
    other, gateway = relay.twin(), relay.twin()
    async with asking(relay, other, gateway=gateway) as client:
        pool, agreement = await client.check_consistency()
        assert [each.gets for each in (relay, other, gateway)] == [1, 1, 1]
        assert agreement.agreed == tuple(endpoint.url for endpoint in client._sources())
        assert agreement.failed == ()
        assert pool.epoch == agreement.epoch == NOW
        await client.summarize(MESSAGES)
    assert [each.gets for each in (relay, other, gateway)] == [1, 1, 1], "what was compared is what is used"
    assert gateway.posts == []


async def test_the_gateway_is_asked_for_nothing_else(relay: Relay) -> None:
    gateway = relay.twin()
    async with asking(relay, gateway=gateway) as client:
        await client.verify()
        await client.summarize(MESSAGES)
    assert (gateway.gets, gateway.posts) == (0, [])


async def test_a_gateway_that_gives_other_keys_is_caught(relay: Relay, tmp_path: Path) -> None:
    evidence = tmp_path / "evidence.json"
    async with asking(relay, relay.twin(), gateway=stranger(relay), evidence=evidence) as client:
        with pytest.raises(EvidenceError, match="two cores"):
            await client.check_consistency()
    assert [source["epoch"] for source in read(evidence)] == 3 * [NOW] + 3 * [NOW + 1]


def junk(relay: Relay, tmp_path: Path) -> Relay:
    """A relay of the same pool that gives cores of its own, vouched for by hardware that nobody trusts."""
    other = relay.twin()
    other.offer(*Relay(create_simulated_platform(tmp_path / "other", T0), relay.clock).bundles().values())
    return other


def spoiled(relay: Relay) -> Relay:
    """A relay that gives the pool's cores with evidence that does not decode."""
    other = relay.twin()
    bundles = [parse_bundle(bundle) for bundle in relay.bundles().values()]
    other.offer(*(serialize_bundle(Bundle(bundle.core, b"none")) for bundle in bundles))
    return other


@pytest.mark.parametrize("reverse", [False, True])
async def test_keys_that_do_not_verify_stop_nobody(
    relay: Relay, in_order: InOrder, tmp_path: Path, reverse: bool
) -> None:
    clock = relay.clock = Clock(SLOT + PERIOD * 0.95)
    relay.renew()
    bad, evidence = junk(relay, tmp_path), tmp_path / "evidence.json"
    in_order.reverse = reverse
    async with asking(bad, relay, clock=clock, evidence=evidence) as client:
        for _ in range(2):
            steps: list[Step] = []
            await client.verify(observe=steps.append)
            assert [step.number for step in steps] == list(range(1, 13))
            in_order.reverse = not in_order.reverse
        assert await client.summarize(MESSAGES) == ANSWER
        clock.now = SLOT + PERIOD
        assert await client.summarize(MESSAGES) == ANSWER, "what was kept for the next slot verifies too"
    assert (bad.gets, relay.gets) == (1, 2)
    assert not evidence.exists()


@pytest.mark.parametrize(("reverse", "step"), [(False, 3), (True, 2)])
async def test_where_none_verifies_the_first_refusal_is_shown(
    relay: Relay, in_order: InOrder, tmp_path: Path, reverse: bool, step: int
) -> None:
    in_order.reverse = reverse
    steps: list[Step] = []
    async with asking(junk(relay, tmp_path), spoiled(relay)) as client:
        with pytest.raises(VerificationError) as refusal:
            await client.verify(observe=steps.append)
        assert refusal.value.step == step
        assert [each.number for each in steps] == list(range(1, step))
        steps.clear()
        with pytest.raises(VerificationError):
            await client.check_consistency(observe=steps.append)
        assert [each.number for each in steps] == [1, 2], "of the first source named"


async def test_sources_whose_keys_do_not_verify_are_named_and_count_for_nothing(relay: Relay, tmp_path: Path) -> None:
    twin, bad, other = relay.twin(), junk(relay, tmp_path), spoiled(relay)
    steps: list[Step] = []
    async with asking(bad, relay, twin, other) as client:
        _, agreement = await client.check_consistency(observe=steps.append)
        first, *agreed, last = [endpoint.url for endpoint in client._relays.endpoints]
    assert [step.number for step in steps] == list(range(1, 13))
    assert agreement.agreed == tuple(agreed)
    reasons = dict(agreement.failed)
    assert reasons.keys() == {first, last}
    assert reasons[first].startswith(f"its keys of epoch {NOW} do not verify: step 3: ")
    assert reasons[last].startswith(f"its keys of epoch {NOW} do not verify: step 2: ")


async def test_one_that_verifies_has_nothing_to_be_compared_with(relay: Relay, tmp_path: Path) -> None:
    async with asking(relay, junk(relay, tmp_path)) as client:
        with pytest.raises(UpstreamError, match=r"fewer than two sources.*do not verify: step 3"):
            await client.check_consistency()


async def test_a_single_source_cannot_be_compared(relay: Relay) -> None:
    async with asking(relay) as client:
        with pytest.raises(ConfigError, match="a second relay in `relays`, or the `gateway`"):
            await client.check_consistency()
    assert relay.gets == 0


async def test_sources_without_keys_are_named_and_two_others_are_enough(relay: Relay) -> None:
    silent, late = relay.twin(), relay.twin()
    silent.offered = Response(503)
    late.offer(relay.bundles()[NOW + 1])
    with closed() as nobody:
        async with asking(relay, relay.twin(), nobody, silent, late) as client:
            _, agreement = await client.check_consistency()
    assert len(agreement.agreed) == 2
    reasons = dict(agreement.failed)
    assert len(reasons) == 3
    assert "cannot be reached" in reasons[nobody]
    assert any("no worker is ready" in reason for reason in reasons.values())
    assert any(f"no keys of epoch {NOW}" in reason for reason in reasons.values())


@pytest.mark.parametrize("other", [Response(503), Response(200, "application/seclude-key-bundles", b"junk")])
async def test_fewer_than_two_answers_are_a_failure(relay: Relay, other: Response) -> None:
    second = relay.twin()
    second.offered = other
    async with asking(relay, second) as client:
        with pytest.raises(UpstreamError, match="fewer than two sources"):
            await client.check_consistency()
        second.offer(relay.bundles()[NOW + 1])
        with pytest.raises(UpstreamError, match=f"fewer than two sources.*no keys of epoch {NOW}"):
            await client.check_consistency()


async def test_a_wrong_clock_is_said_to_be_one(relay: Relay) -> None:
    async with asking(relay, relay.twin(), clock=lambda: time.time() + 3 * PERIOD) as client:
        with pytest.raises(PolicyError, match="past its end") as refusal:
            await client.check_consistency()
    assert refusal.value.step == 10


async def test_a_program_without_a_loop_can_compare_too(relay: Relay, tmp_path: Path) -> None:
    def check(trust: Trust) -> tuple[str, ...]:
        with SyncClient(trust, evidence=tmp_path / "evidence.json") as client:
            return client.check_consistency()[1].agreed

    async with relay.up() as one, relay.twin().up() as other:
        assert await asyncio.to_thread(check, trusting(relay.platform, one, other)) == (one, other)
