"""The ledger's part of a bundle: one layout, with limits."""

from dataclasses import replace

import pytest

import seclude.client.hop
import seclude.daemon.upstream
from seclude.attestation.bundle import MAX_BUNDLES, MAX_CHECKPOINT, MAX_PROOFS
from seclude.attestation.proofs import (
    MAX_SNAPSHOT,
    VOID,
    Earlier,
    claimed_checkpoint,
    epoch_entry,
    epoch_leaf,
    parse_proofs,
    serialize_proofs,
)
from seclude.errors import DecodeError, TooLargeError, UsageError
from seclude.tlog.merkle import leaf_hash
from seclude.tlog.outline import Outline, outline_length
from tests.ledgers import LedgerHere

NOW = 1_700_000_000
HERE = LedgerHere()
HERE.keys.entries += [VOID] * 100
HERE.publish(now=NOW, signers=(0,))
VIEW = HERE.view(NOW)
PROOFS = serialize_proofs(VIEW)


def test_proofs_read_back() -> None:
    for view in (VIEW, replace(VIEW, earlier=Earlier(VIEW.state.checkpoint, b"older"))):
        again = parse_proofs(serialize_proofs(view))
        assert serialize_proofs(again) == serialize_proofs(view)
        assert (again.snapshot, again.earlier) == (view.snapshot, view.earlier)
        assert (again.keys.outline.size, again.state.outline.size) == (100, 1)
    assert claimed_checkpoint(VIEW.keys.checkpoint).size == 100


def test_every_truncation_and_trailing_octets_are_refused() -> None:
    for cut in range(len(PROOFS)):
        with pytest.raises(DecodeError):
            parse_proofs(PROOFS[:cut])
    with pytest.raises(DecodeError, match="trailing"):
        parse_proofs(PROOFS + b"\0")


def test_there_is_one_earlier_checkpoint_at_most() -> None:
    assert PROOFS[-1] == 0
    with pytest.raises(DecodeError, match="more than one earlier"):
        parse_proofs(PROOFS[:-1] + b"\x02")


def test_an_outline_is_of_the_size_that_the_checkpoint_says() -> None:
    with pytest.raises(DecodeError, match="outline"):
        parse_proofs(PROOFS.replace(b"\n100\n", b"\n101\n", 1))


def test_limits() -> None:
    with pytest.raises(TooLargeError, match="limit"):
        parse_proofs(PROOFS + bytes(MAX_PROOFS))
    with pytest.raises(UsageError, match="limit"):
        serialize_proofs(replace(VIEW, snapshot=bytes(MAX_PROOFS)))
    for view in (
        replace(VIEW, snapshot=bytes(MAX_SNAPSHOT + 1)),
        replace(VIEW, keys=replace(VIEW.keys, checkpoint=bytes(MAX_CHECKPOINT + 1))),
        replace(VIEW, earlier=Earlier(bytes(MAX_CHECKPOINT + 1), b"")),
        replace(VIEW, earlier=Earlier(VIEW.state.checkpoint, bytes(MAX_SNAPSHOT + 1))),
        replace(VIEW, state=replace(VIEW.state, outline=Outline(1 << 24, [bytes(32)] * outline_length(1 << 24)))),
    ):
        with pytest.raises(UsageError, match="limit"):
            serialize_proofs(view)


def test_two_snapshots_of_the_largest_size_fit_beside_a_year_of_epochs() -> None:
    here = LedgerHere(witnesses=8, quorum=5)
    here.keys.entries += [VOID] * 52_560
    sizes = []
    for issued in (NOW - 2, NOW - 1):
        chips = {"sev-snp": tuple(f"{number:0128x}" for number in range(460))}
        sizes.append(len(here.publish(here.release(bytes(32), now=NOW), now=issued, chips=chips)))
    assert min(sizes) > 60_000
    assert parse_proofs(here.proofs(NOW, earlier=NOW, earlier_size=1))


def test_a_list_of_the_largest_bundles_is_what_hops_still_carry() -> None:
    assert min(seclude.client.hop.MAX_ANSWER_BYTES, seclude.daemon.upstream.MAX_ANSWER_BYTES) >= MAX_BUNDLES


def test_an_entry_names_core_and_evidence_apart() -> None:
    entry = epoch_entry(b"core", b"evidence")
    assert len(entry) == 17 + 64
    assert len({entry, epoch_entry(b"coreevidence", b""), epoch_entry(b"evidence", b"core")}) == 3
    assert epoch_leaf(b"core", b"evidence") == leaf_hash(entry)
