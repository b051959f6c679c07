"""What a device remembers of the logs, from one run to the next."""

import stat
from pathlib import Path

import msgspec
import pytest

from seclude.attestation.pins import open_ledger
from seclude.attestation.proofs import MAX_OUTLINE
from seclude.client.trees import MAX_FILE, MAX_TREES, Kept, Trees
from seclude.errors import ConfigError, EvidenceError
from seclude.tlog.outline import Outline, make_outline
from tests.ledgers import LedgerHere, Tree

HERE = LedgerHere()
LEDGER = open_ledger(HERE.table())
KEYS, STATE = "log.example/keys", "log.example/state"


def outline(size: int, *, other: bool = False) -> Outline:
    tree = Tree([b"%d" % number for number in range(-1 if other else 0, size - other)])
    return make_outline(size, tree.node)


def test_the_larger_tree_is_kept_in_memory() -> None:
    trees = Trees(LEDGER)
    assert trees.known == {}
    trees.remember({KEYS: outline(5), STATE: outline(2)})
    trees.remember({KEYS: outline(4), STATE: outline(3), "other.example": outline(9)})
    assert {name: each.size for name, each in trees.known.items()} == {KEYS: 5, STATE: 3}


def test_a_file_carries_them_to_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "new" / "trees.json"
    trees = Trees(LEDGER, path)
    trees.remember({KEYS: outline(200), STATE: outline(2)})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["trees.json"]
    again = Trees(LEDGER, path)
    assert again.known[KEYS].serialize() == outline(200).serialize()
    assert again.known[STATE].size == 2


def test_two_services_share_a_file_and_a_name_is_not_a_key(tmp_path: Path) -> None:
    path = tmp_path / "trees.json"
    Trees(LEDGER, path).remember({KEYS: outline(5)})
    namesake = open_ledger(LedgerHere().table())
    other = Trees(namesake, path)
    assert other.known == {}
    other.remember({KEYS: outline(7)})
    assert Trees(LEDGER, path).known[KEYS].size == 5
    assert Trees(namesake, path).known[KEYS].size == 7


def test_a_policy_without_a_ledger_remembers_nothing(tmp_path: Path) -> None:
    trees = Trees(None, tmp_path / "trees.json")
    trees.remember({KEYS: outline(5)})
    assert trees.known == {}
    assert list(tmp_path.iterdir()) == []


def test_two_programs_that_share_a_file_forget_nothing_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "trees.json"
    one, two = Trees(LEDGER, path), Trees(LEDGER, path)
    one.remember({KEYS: outline(7), STATE: outline(2)})
    two.remember({KEYS: outline(4), STATE: outline(3)})
    assert {name: each.size for name, each in two.known.items()} == {KEYS: 7, STATE: 3}
    assert {name: each.size for name, each in Trees(LEDGER, path).known.items()} == {KEYS: 7, STATE: 3}


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_no_beginning_of_the_other_is_refused_and_nothing_is_forgotten(tmp_path: Path, *, shared: bool) -> None:
    path = tmp_path / "trees.json"
    one = Trees(LEDGER, path)
    two = Trees(LEDGER, path) if shared else one
    one.remember({KEYS: outline(7)})
    before = path.read_bytes()
    for size in (5, 7, 9):
        with pytest.raises(EvidenceError, match="two histories") as caught:
            two.remember({KEYS: outline(size, other=True)})
        assert caught.value.step == 15
    assert {name: each.size for name, each in two.known.items()} == ({} if shared else {KEYS: 7})
    assert path.read_bytes() == before


def test_the_longest_outlines_fit_the_file(tmp_path: Path) -> None:
    longest = b"\0" * MAX_OUTLINE
    trees = {f"{number}{'k' * 2048}": Kept((MAX_OUTLINE // 32 - 254) << 12, longest) for number in range(MAX_TREES)}
    assert len(msgspec.json.encode(trees)) < MAX_FILE


DEEP = b'{"a":{"size":0,"outline":"","b":' + b"[" * 100_000


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"a":{"size":3,"outline":""}}', b"\xff", b"[" * 5000, DEEP])
def test_a_broken_file_says_what_to_do(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "trees.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="is broken; remove it"):
        Trees(LEDGER, path)


def test_a_file_that_cannot_be_written_is_said_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    trees = Trees(LEDGER)
    trees.remember({KEYS: outline(1)})
    assert trees.unwritten is None
    path = tmp_path / "folder"
    trees = Trees(LEDGER, path)
    path.mkdir()
    trees.remember({KEYS: outline(5)})
    assert trees.known[KEYS].size == 5
    assert trees.unwritten is not None
    assert str(path) in trees.unwritten
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("folder.")] == []
