"""What a monitor finds: nothing in an honest ledger, and each fault by its own name."""

import asyncio
import hashlib
import time
import tracemalloc
from dataclasses import replace

import pytest
from msgspec.structs import replace as replace_fields

from seclude.attestation.joinpolicy import serialize_join_policy
from seclude.attestation.proofs import VOID
from seclude.attestation.snapshot import Revocation
from seclude.client.findings import MAX_OF_KIND, Finding, Findings, Kind, found, warned
from seclude.client.ledgersource import MAX_BUNDLE, Source
from seclude.client.monitoring import Look
from seclude.client.monitorstate import MonitorState
from seclude.errors import UpstreamError
from seclude.ledger import MAX_SUBMISSION, EpochSubmission, Path, serialize_epoch
from seclude.tlog.note import MAX_NOTE
from seclude.tlog.tiles import serialize_entries
from tests.attestation.test_verify import CORE, MEASUREMENT
from tests.client.ledgerworld import DAY, NOW, PERIOD, World

OTHER = hashlib.sha256(b"other software").digest()


def kinds(look: Look, *, warnings: bool = False) -> list[Kind]:
    return [finding.kind for finding in look.findings if finding.warning == warnings]


async def only(world: World, state: MonitorState | None = None, *, warning: bool = False) -> Finding:
    """Return the only finding of a look."""
    look, _ = await world.look(state)
    (finding,) = look.findings
    assert finding.warning == warning, finding
    return finding


async def test_an_honest_ledger_has_nothing_to_find() -> None:
    world = World()
    world.fill()
    look, state = await world.look()
    assert look.findings == ()
    assert (look.keys.size, look.keys.read, look.state.size, look.epochs) == (NOW + 1, NOW + 1, 1, NOW + 1)
    assert look.snapshot is not None
    assert state.heads["log.example/keys"].size == NOW + 1


async def test_a_log_that_lies_and_falls_silent_is_still_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it could hide two histories by an error for the next file."""
    world = World()
    world.fill(3)
    look, state = await world.look()
    world.ledger = world.ledger.split()
    world.ledger.keys.entries[1] = VOID
    world.log(4)
    checkpoint = Source.checkpoint

    async def silent(source: Source, log: Path) -> bytes | None:
        if log is Path.STATE:
            raise UpstreamError("the ledger gave no answer")
        return await checkpoint(source, log)

    monkeypatch.setattr(Source, "checkpoint", silent)
    look, after = await world.look(state)
    assert (kinds(look), look.interrupted) == ([Kind.INCONSISTENT], "the ledger gave no answer")
    assert look.findings[0].conflict is not None
    assert after is state, "nothing of it is remembered"


async def test_files_that_are_too_large_are_the_ledgers_fault_and_hide_nothing() -> None:
    world = World()
    world.fill(3)
    world.ledger.keys.entries.append(b"nonsense")
    world.files["/epochs/2"] = b"x" * (MAX_SUBMISSION + 1)
    look, _ = await world.look()
    assert kinds(look) == [Kind.LEAF, Kind.PREIMAGE]
    assert "of epoch 2 is no epoch" in look.findings[1].words
    world.files = {"/keys/checkpoint": b"x" * (MAX_NOTE + 1), "/state/tile/entries/000.p/1": b"x" * (MAX_BUNDLE + 1)}
    look, _ = await world.look()
    assert kinds(look) == [Kind.TILES, Kind.CHECKPOINT]


def test_nonsense_is_counted_and_not_kept() -> None:
    findings = Findings()
    findings.extend(found(Kind.LEAF, f"leaf {number}") for number in range(MAX_OF_KIND + 7))
    findings.append(warned(Kind.WITNESS, "silent"))
    listed = list(findings)
    assert len(listed) == MAX_OF_KIND + 2
    assert (listed[-1].kind, listed[-1].warning, listed[-1].facts) == (Kind.LEAF, False, {"more": 7})
    assert listed[-1].words.startswith("7 more of this kind")


async def test_the_next_slot_may_be_logged_and_slots_may_be_missed() -> None:
    world = World()
    world.log(1)
    world.log(NOW + 1)
    look, _ = await world.look()
    assert look.findings == ()
    assert (look.keys.read, look.epochs) == (NOW + 2, 2)


async def test_only_new_entries_are_read() -> None:
    world = World()
    world.fill(NOW - 1)
    _, state = await world.look()
    world.asked.clear()
    world.log(NOW)
    look, state = await world.look(state)
    assert (look.findings, look.keys.read, look.epochs) == ((), 1, 1)
    assert [path for path in world.asked if path.startswith("/epochs/")] == [f"/epochs/{NOW}"]
    world.asked.clear()
    look, _ = await world.look(state)
    assert (look.findings, look.keys.read) == ((), 0)
    assert not any("epochs" in path for path in world.asked)


async def test_logs_of_many_tiles_are_followed_across_their_borders() -> None:
    world = World(age=600)
    world.ledger.keys.entries += [VOID] * 509
    world.log(509)
    look, state = await world.look()
    assert (look.findings, look.keys.read, look.epochs) == ((), 510, 1)
    world.log(514)
    look, state = await world.look(state)
    assert (look.findings, look.keys.read, look.epochs) == ((), 5, 1)
    world.log(600)
    look, _ = await world.look(state)
    assert (look.findings, look.keys.size) == ((), 601)


async def test_a_partial_tile_that_is_gone_is_cut_out_of_the_full_one() -> None:
    world = World(age=300)
    world.ledger.keys.entries += [VOID] * 200
    old = world.checkpoint("keys", size=150)
    world.ledger.keys.entries += [VOID] * 56
    world.files["/keys/checkpoint"] = old
    look, _ = await world.look()
    assert (look.findings, look.keys.read) == ((), 150)


# Trees.


async def test_two_histories_are_convicted_by_both_signed_checkpoints() -> None:
    world = World()
    world.fill(3)
    _, state = await world.look()
    liar = world.ledger.split()
    liar.keys.entries[2] = VOID
    world.ledger = liar
    world.log(4)
    look, after = await world.look(state)
    (finding,) = (each for each in look.findings if not each.warning)
    assert finding.kind is Kind.INCONSISTENT
    assert finding.facts["before"] == 4
    assert finding.conflict is not None
    assert finding.conflict.first == state.heads["log.example/keys"].checkpoint
    assert finding.conflict.second == world.checkpoint("keys")
    assert finding.conflict.root == liar.keys.root(4)
    assert after.heads["log.example/keys"].size == 4
    again, _ = await world.look(after)
    assert kinds(again) == [Kind.INCONSISTENT]


async def test_two_trees_of_one_size_are_two_histories() -> None:
    world = World()
    world.fill(3)
    _, state = await world.look()
    world.ledger = world.ledger.split()
    world.ledger.keys.entries[3] = VOID
    finding = await only(world, state)
    assert (finding.kind, finding.facts["before"], finding.facts["size"]) == (Kind.INCONSISTENT, 4, 4)


async def test_a_tree_of_too_few_witnesses_still_convicts_its_log() -> None:
    world = World()
    world.fill(3)
    _, state = await world.look()
    world.ledger = world.ledger.split()
    world.ledger.keys.entries[0] = VOID
    world.log(4)
    world.files["/keys/checkpoint"] = world.checkpoint("keys", by=(1,))
    look, _ = await world.look(state)
    assert kinds(look) == [Kind.CHECKPOINT, Kind.INCONSISTENT]


@pytest.mark.parametrize("log", ["keys", "state"])
async def test_a_log_that_is_smaller_than_it_was_is_a_rollback(log: str) -> None:
    world = World()
    world.fill(3)
    world.publish(world.release(), at=world.slots.t0)
    _, state = await world.look()
    world.files[f"/{log}/checkpoint"] = world.checkpoint(log, size=1)
    look, after = await world.look(state)
    assert kinds(look) == [Kind.ROLLBACK]
    assert look.findings[0].conflict is not None
    assert after.heads[f"log.example/{log}"].size > 1


async def test_a_checkpoint_must_be_there_and_signed_and_cosigned() -> None:
    world = World()
    world.fill(3)
    world.gone.add("/keys/checkpoint")
    assert "has no checkpoint" in (await only(world)).words
    world.gone.clear()
    world.files["/keys/checkpoint"] = World().checkpoint("keys")
    assert (await only(world)).kind is Kind.CHECKPOINT
    world.files["/keys/checkpoint"] = b"junk"
    assert (await only(world)).kind is Kind.CHECKPOINT
    world.files["/keys/checkpoint"] = world.checkpoint("keys", by=(2,))
    finding = await only(world)
    assert "cosigned by 1 of 3 witnesses: w2" in finding.words


async def test_stale_checkpoints_are_found_and_silent_witnesses_told_before() -> None:
    world = World()
    world.fill(3)
    world.files["/keys/checkpoint"] = world.checkpoint("keys", by=(0, 1))
    finding = await only(world, warning=True)
    assert (finding.kind, finding.facts["witness"]) == (Kind.WITNESS, "w2")
    world.files.clear()
    _, state = await world.look()
    world.files["/keys/checkpoint"] = world.checkpoint("keys", by=(0, 1))
    look, state = await world.look(state)
    assert look.findings == (), "one that is late is not silent"
    look, _ = await world.look(state, clock=lambda: world.now + 1228.0)
    assert kinds(look, warnings=True) == [Kind.WITNESS] * 6
    world.files["/keys/checkpoint"] = world.checkpoint("keys", times={2: world.now - 1230})
    assert "and not since" in (await only(world, warning=True)).words
    world.files["/keys/checkpoint"] = world.checkpoint("keys", world.now - 1230)
    look, _ = await world.look()
    assert (kinds(look), kinds(look, warnings=True)) == ([Kind.STALE], [Kind.WITNESS] * 3)
    world.files["/keys/checkpoint"] = world.checkpoint("keys", world.now + 60)
    assert "from the future" in (await only(world)).words


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/keys/tile/0/000.p/4", None),
        ("/keys/tile/0/000.p/4", bytes(128)),
        ("/keys/tile/0/000.p/4", b"short"),
        ("/keys/tile/entries/000.p/4", None),
        ("/keys/tile/entries/000.p/4", b"\0"),
        ("/keys/tile/entries/000.p/4", serialize_entries([VOID] * 3)),
        ("/keys/tile/entries/000.p/4", serialize_entries([VOID] * 4)),
        ("/state/tile/0/000.p/1", None),
        ("/state/tile/entries/000.p/1", serialize_entries([b"another snapshot"])),
    ],
)
async def test_tiles_that_are_missing_or_of_another_tree_are_found(path: str, data: bytes | None) -> None:
    world = World()
    world.fill(3)
    if data is None:
        world.gone.add(path)
    else:
        world.files[path] = data
    look, state = await world.look()
    assert kinds(look) == [Kind.TILES]
    assert f"log.example/{path.split('/')[1]}" not in state.heads


async def test_a_bundle_that_disagrees_with_its_hashes_is_found_behind_a_full_tile() -> None:
    world = World(age=300)
    world.ledger.keys.entries += [VOID] * 256
    wrong = world.serve()["/keys/tile/0/000"][:-32] + bytes(32)
    world.files["/keys/tile/0/000"] = wrong
    assert (await only(world)).kind is Kind.TILES


# Snapshots.


async def test_snapshots_that_devices_refuse_are_found() -> None:
    world = World()
    world.publish(world.release(), signers=(0,))
    world.ledger.state.entries.append(b"junk")
    world.ledger.origin = "other.example"
    world.publish(world.release())
    look, _ = await world.look()
    assert kinds(look) == [Kind.SNAPSHOT] * 3
    assert "signed by publisher-0.example; it takes 2 of the 3 publishers" in look.findings[0].words
    assert [finding.facts["index"] for finding in look.findings] == [1, 2, 3]


async def test_a_snapshot_that_is_dated_before_the_last_is_found() -> None:
    world = World()
    world.publish(world.release(), at=world.slots.t0 - 101)
    finding = await only(world)
    assert (finding.kind, finding.facts["index"]) == (Kind.ORDER, 1)


@pytest.mark.parametrize(
    ("parts", "warning"),
    [
        ({"source": "none"}, False),
        ({"source": "TODO"}, False),
        ({"source": "local checkout"}, False),
        ({"source": "https://code.invalid/x"}, False),
        ({"revision": "0" * 40}, False),
        ({"source": "/home/builder/checkout"}, True),
    ],
)
async def test_a_release_without_source_is_found(parts: dict[str, str], warning: bool) -> None:
    world = World()
    release = replace_fields(world.release(OTHER), **parts)
    world.publish(world.release(), release, at=world.slots.t0)
    finding = await only(world, warning=warning)
    assert (finding.kind, finding.facts["manifest"]) == (Kind.SOURCE, OTHER.hex())
    world.publish(world.release(), release, at=world.slots.t0 + 1)
    _, state = await world.look()
    world.publish(world.release(), release, at=world.slots.t0 + 2)
    look, _ = await world.look(state)
    assert look.findings == ()


async def test_a_release_that_says_something_else_of_its_software_is_found() -> None:
    world = World()
    world.publish(replace_fields(world.release(), revision="f00d" * 10), at=world.slots.t0)
    finding = await only(world)
    assert (finding.kind, finding.facts["index"]) == (Kind.CHANGED, 1)


async def test_a_revocation_that_disappears_is_found_once() -> None:
    world = World()
    revocation = Revocation(manifest=OTHER.hex(), reason="it leaked", revoked=world.slots.t0)
    world.publish(world.release(), at=world.slots.t0, revocations=(revocation,))
    _, state = await world.look()
    world.publish(world.release(), at=world.slots.t0 + 1)
    world.publish(world.release(), at=world.slots.t0 + 2)
    look, state = await world.look(state)
    (finding,) = look.findings
    assert (finding.kind, finding.facts["manifest"], finding.facts["index"]) == (Kind.UNREVOKED, OTHER.hex(), 2)
    world.publish(world.release(), at=world.slots.t0 + 3)
    assert (await world.look(state))[0].findings == ()


async def test_a_snapshot_that_ends_soon_is_a_warning_and_one_that_ended_a_finding() -> None:
    world = World()
    world.publish(world.release(), at=world.now - 900, expires=world.now + 100)
    finding = await only(world, warning=True)
    assert finding.kind is Kind.EXPIRING
    world.publish(world.release(), at=world.now - 800, expires=world.now)
    assert (await only(world)).kind is Kind.EXPIRING


# Epochs.


async def test_a_leaf_of_no_known_form_is_found() -> None:
    world = World()
    world.ledger.keys.entries.append(b"something")
    assert (await only(world)).kind is Kind.LEAF


async def test_a_preimage_that_is_missing_is_asked_for_again() -> None:
    world = World()
    world.fill(3)
    world.gone.add("/epochs/2")
    look, state = await world.look()
    assert (kinds(look), look.findings[0].facts["epoch"], state.missing) == ([Kind.PREIMAGE], 2, [2])
    look, state = await world.look(state)
    assert kinds(look) == [Kind.PREIMAGE]
    world.gone.clear()
    look, state = await world.look(state)
    assert (look.findings, state.missing) == ((), [])


async def test_what_is_shown_must_be_what_the_leaf_is_the_digest_of() -> None:
    world = World()
    world.fill(3)
    other = world.bundle(world.core(2, checkpoint=world.ledger.keys_checkpoint(world.born(2), size=1)))
    for shown in (
        serialize_epoch(EpochSubmission(2, other.core, other.evidence)),
        serialize_epoch(EpochSubmission(3, other.core, other.evidence)),
        b"junk",
    ):
        world.files["/epochs/2"] = shown
        finding = await only(world)
        assert (finding.kind, finding.facts["epoch"]) == (Kind.PREIMAGE, 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epoch": 4}, "says that it is of epoch 4"),
        ({"role": "issuer"}, 'is for role "issuer"'),
        ({"origin": "other.example"}, 'is for origin "other.example"'),
        ({"join_policy": b"junk"}, "is of a pool that devices refuse"),
        ({"key_configs": CORE.key_configs}, "is not the one of epoch 1"),
    ],
)
async def test_a_core_that_is_not_of_its_slot_is_found(changes: dict[str, object], words: str) -> None:
    world = World()
    world.fill(0)
    core = world.core(1)
    world.log(1, bundle=world.bundle(replace(core, **changes)))  # type: ignore[arg-type]
    look, _ = await world.look()
    (finding,) = (each for each in look.findings if words in each.words)
    assert (finding.kind, finding.facts["epoch"]) == (Kind.EPOCH, 1)


async def test_a_core_of_a_pool_with_another_division_of_time_is_found() -> None:
    world = World()
    policy = world.policy.for_measurement(MEASUREMENT)
    theirs = replace(policy, slots=replace(world.slots, period_seconds=PERIOD - 1))
    world.log(0, world.core(0, join_policy=serialize_join_policy(theirs)))
    assert "divides time into other slots" in (await only(world)).words


async def test_a_core_that_does_not_parse_is_found() -> None:
    world = World()
    bundle = world.bundle(world.core(0))
    world.log(0, bundle=replace(bundle, core=bundle.core[:-1]))
    finding = await only(world)
    assert (finding.kind, "does not parse" in finding.words) == (Kind.EPOCH, True)


async def test_slots_that_were_used_before_their_time_are_found() -> None:
    world = World()
    world.fill(NOW + 1)
    assert (await world.look())[0].findings == ()
    world.ledger.keys.entries += [VOID, VOID]
    finding = await only(world)
    assert (finding.kind, finding.facts["first"], finding.facts["epoch"]) == (Kind.EARLY, NOW + 2, NOW + 3)


async def test_a_slot_that_was_used_before_its_time_is_found_later_by_what_another_core_binds() -> None:
    world = World()
    world.fill(1)
    early = world.slots.start(0) + 10
    world.log(2)
    world.log(
        3, world.core(3, checkpoint=world.ledger.keys_checkpoint(world.born(3), times=dict.fromkeys(range(3), early)))
    )
    look, _ = await world.look()
    assert Kind.EARLY in kinds(look)


async def test_what_a_core_binds_must_be_this_log_and_date_it() -> None:
    world = World()
    world.fill(1)
    liar = world.ledger.split()
    liar.keys.entries[1] = VOID
    for checkpoint, kind, words in (
        (
            liar.keys_checkpoint(world.born(2)),
            Kind.INCONSISTENT,
            "shows two histories: the checkpoint that the core of",
        ),
        (world.ledger.keys_checkpoint(world.slots.end(2)), Kind.EPOCH, "were made after its slot had ended"),
        (world.ledger.keys_checkpoint(world.born(2), by=(0,)), Kind.EPOCH, "binds no checkpoint of the keys log"),
        (world.ledger.keys_checkpoint(world.slots.start(2) - 1800, size=1), Kind.EPOCH, "too old to date it"),
    ):
        copy = world.twin()
        copy.log(2, copy.core(2, checkpoint=checkpoint))
        look, _ = await copy.look()
        assert kinds(look) == [kind], look.findings
        assert words in look.findings[0].words
        assert (look.findings[0].conflict is not None) == (kind is Kind.INCONSISTENT)


async def test_software_that_is_in_no_snapshot_is_found_once_and_its_evidence_still_looked_at() -> None:
    world = World()
    world.fill(1)
    world.log(2, world.core(2, manifest_digest=OTHER))
    finding = await only(world)
    assert (finding.kind, finding.facts["manifest"], finding.facts["epoch"]) == (Kind.UNRELEASED, OTHER.hex(), 2)


async def test_software_is_judged_by_the_snapshots_of_its_time() -> None:
    world = World()
    world.fill(1)
    late = world.slots.start(3) + 10
    world.log(2, world.core(2, manifest_digest=OTHER))
    world.log(3, world.core(3, manifest_digest=OTHER))
    world.publish(world.release(), world.release(OTHER), at=late)
    finding = await only(world)
    assert (finding.kind, finding.facts["epoch"]) == (Kind.UNRELEASED, 2)


async def test_expired_software_is_found_from_the_slot_on_that_begins_after_its_end() -> None:
    world = World()
    world.ledger.state.entries.clear()
    world.publish(world.release(expires=world.slots.start(2) + 1))
    world.fill(3)
    look, _ = await world.look()
    assert [(finding.kind, finding.facts["epoch"]) for finding in look.findings] == [(Kind.EXPIRED, 3)]


async def test_revoked_software_is_found_where_it_gets_keys_afterwards() -> None:
    world = World()
    world.fill(3)
    moment = world.born(3) + 10
    revocation = Revocation(manifest=MEASUREMENT.hex(), reason="it leaked", revoked=moment)
    world.publish(at=moment, signers=(1,), revocations=(revocation,))
    look, state = await world.look()
    assert look.findings == (), "its keys were made before, and no device uses them"
    world.log(4)
    finding = await only(world, warning=True)
    assert (finding.kind, finding.facts["epoch"]) == (Kind.REVOKED, 4), "it may have been logged a day later"
    world.log(5, world.core(5, checkpoint=world.checkpoint("keys", world.now - 1)))
    look, _ = await world.look(state)
    assert [(each.kind, each.facts["epoch"]) for each in look.findings if not each.warning] == [(Kind.REVOKED, 5)]


async def test_a_release_that_was_dropped_counts_for_keys_that_were_made_before() -> None:
    world = World()
    world.fill(2)
    _, state = await world.look()
    world.log(3)
    world.publish(world.release(OTHER), at=world.now - 1)
    look, state = await world.look(state)
    assert look.findings == ()
    world.log(5, world.core(5, checkpoint=world.checkpoint("keys", world.now - 1)))
    look, _ = await world.look(state)
    assert [(finding.kind, finding.facts["epoch"]) for finding in look.findings] == [(Kind.UNRELEASED, 5)]


async def test_a_revocation_that_the_log_held_back_does_not_count_before_it_stood_there() -> None:
    world = World()
    world.fill(2)
    _, state = await world.look()
    revocation = Revocation(manifest=MEASUREMENT.hex(), reason="it leaked", revoked=world.slots.t0)
    world.log(3)
    world.publish(at=world.slots.t0, signers=(1,), revocations=(revocation,))
    look, after = await world.look(state)
    assert look.findings == ()
    span = after.revoked[MEASUREMENT.hex()]
    assert (span.since, span.by) == (world.now - 2, world.now - 2), "between the checkpoints without it and with it"


async def test_immature_software_is_found() -> None:
    world = World(maturity_seconds=DAY)
    world.ledger.state.entries.clear()
    world.publish(world.release(), at=world.slots.start(3) - DAY)
    world.fill(3)
    look, _ = await world.look()
    found = [(finding.kind, finding.facts["epoch"]) for finding in look.findings]
    assert found == [(Kind.IMMATURE, 0), (Kind.IMMATURE, 1), (Kind.IMMATURE, 2)]


async def test_evidence_that_does_not_hold_is_found() -> None:
    world = World()
    world.fill(1)
    bundle = world.bundle(world.core(2))
    other = world.bundle(world.core(3))
    world.log(2, bundle=replace(bundle, evidence=other.evidence))
    finding = await only(world)
    assert (finding.kind, finding.facts["epoch"]) == (Kind.EVIDENCE, 2)
    assert "binds something else" in finding.words


async def test_a_core_that_names_other_software_than_was_measured_is_found() -> None:
    world = World()
    world.log(0, bundle=world.bundle(world.core(0), measured=OTHER))
    assert (await only(world)).kind is Kind.EVIDENCE


async def test_what_could_not_be_judged_is_judged_when_the_ledger_is_mended() -> None:
    world = World()
    world.fill(2)
    _, state = await world.look()
    world.log(3)
    honest = world.serve()["/state/tile/entries/000.p/1"]
    for broken in (None, serialize_entries([b"another snapshot"])):
        world.files.clear()
        world.gone.clear()
        if broken is None:
            world.gone.add("/state/tile/entries/000.p/1")
        else:
            world.files["/state/tile/entries/000.p/1"] = broken
        look, after = await world.look(state)
        assert kinds(look) == [Kind.TILES, Kind.TILES]
        assert after.missing == [3]
    world.files["/state/tile/entries/000.p/1"] = honest
    world.gone.add("/keys/tile/entries/000.p/4")
    look, after = await world.look(after)
    assert (kinds(look), after.missing) == ([Kind.TILES], [3])
    world.gone.clear()
    look, after = await world.look(after)
    assert (look.findings, look.epochs, after.missing) == ((), 1, [])


async def test_where_the_state_log_cannot_be_read_no_epoch_is_taken_for_judged() -> None:
    world = World()
    world.fill(3)
    world.gone.add("/state/tile/entries/000.p/1")
    _, state = await world.look()
    assert state.heads == {}
    world.gone.clear()
    look, _ = await world.look(state)
    assert (look.findings, look.epochs) == ((), 4)


@pytest.mark.drill
async def test_a_log_of_a_year_is_replayed_in_bounded_memory() -> None:
    """52,560 slots of ten minutes, of which the last 2,000 have keys; printed: seconds, and what the heap grew by."""
    world = World(age=52_559)
    world.ledger.keys.entries += [VOID] * 50_560
    for epoch in range(50_560, 52_560):
        world.log(epoch)
    still = world.serve()
    world.serve = lambda: still  # type: ignore[method-assign]
    asyncio.get_running_loop().set_debug(False)
    begun = time.perf_counter()
    look, state = await world.look()
    seconds = time.perf_counter() - begun
    assert (look.findings, look.keys.read, look.epochs) == ((), 52_560, 2000)
    begun = time.perf_counter()
    look, _ = await world.look(state)
    again = time.perf_counter() - begun
    assert (look.findings, look.keys.read) == ((), 0)
    tracemalloc.start()
    await world.look()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    print(f"\na year: {seconds:.1f} s for all, {again * 1e3:.0f} ms for nothing new, heap {peak / 1e6:.1f} MB")
