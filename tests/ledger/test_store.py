"""One log on disk: what stands under a head is stored, and nothing that does not fit is opened."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.files import Files, RenameError
from ledger.store import BrokenError, Store
from ledger.tree import Tile, Tree
from seclude.errors import ConfigError, UsageError
from seclude.tlog.checkpoint import Checkpoint
from seclude.tlog.cosigned import open_signed
from seclude.tlog.keys import ED25519, ML_DSA_44, VerifierKey, generate_skey
from seclude.tlog.merkle import Frontier, consistency_proof, leaf_hash, verify_consistency
from seclude.tlog.tiles import ENTRIES, TILE_WIDTH, TileReader, parse_entries, tile_path, tiles_of

KEY = generate_skey("log.example/plain", ED25519)
SIZES = (1, 2, 64, 255, 256, 257, 300, 511, 512, 513, 700)


def open_store(folder: Path, *, accept_data: bool = False, make: Callable[[Path], Files] = Files) -> Store:
    return Store(make(folder / "data"), Files(folder / "anchors"), "plain", KEY, accept_data=accept_data)


def entry(index: int) -> bytes:
    return b"entry %d" % index


def fill(store: Store, *sizes: int) -> None:
    for size in sizes:
        store.commit([entry(index) for index in range(store.head.tree.size, size)])
        store.anchor()


def root_of(size: int) -> bytes:
    frontier = Frontier()
    for index in range(size):
        frontier.append(leaf_hash(entry(index)))
    return frontier.root()


def test_a_log_begins_with_a_signed_tree_of_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store.head.checkpoint == Checkpoint("log.example/plain", 0, root_of(0))
    assert open_signed((tmp_path / "data/head").read_bytes(), KEY.verifier) == store.head.checkpoint


def test_every_tree_that_was_signed_can_be_read_from_its_files(tmp_path: Path) -> None:
    """By the layout of tlog-tiles, with our reader, which is tested against Go's."""
    store = open_store(tmp_path)
    for size in SIZES:
        fill(store, size)
        assert store.head.checkpoint.root == root_of(size)

        def fetch(path: str) -> bytes:
            return (tmp_path / "data" / path).read_bytes()

        reader = TileReader(size, fetch)
        assert Frontier.of(size, reader.node).root() == root_of(size)
        for level, index, width in tiles_of(size):
            assert len(fetch(tile_path(level, index, width))) == 32 * width
        last = (size - 1) // TILE_WIDTH
        bundle = parse_entries(fetch(tile_path(ENTRIES, last, size - last * TILE_WIDTH)))
        assert bundle == [entry(index) for index in range(last * TILE_WIDTH, size)]


def test_a_large_batch_is_the_same_log_as_many_small_ones(tmp_path: Path) -> None:
    small, large = open_store(tmp_path / "small"), open_store(tmp_path / "large")
    fill(small, *SIZES)
    fill(large, SIZES[-1])
    assert small.head.note == large.head.note
    assert [large.entry(index) for index in (0, 255, 256, 699)] == [entry(index) for index in (0, 255, 256, 699)]
    with pytest.raises(UsageError):
        large.entry(700)


def test_a_tree_of_three_levels_grows_in_one_batch(tmp_path: Path) -> None:
    """As where a year of slots without keys becomes void."""
    store = open_store(tmp_path)
    store.commit([b"void"] * 70_000)
    tree = store.head.tree
    assert [len(edge) // 32 for edge in tree.edges] == [112, 17, 1]
    assert Frontier.of(tree.size, tree.node).root() == store.head.checkpoint.root
    assert open_store(tmp_path).head.checkpoint == store.head.checkpoint


@pytest.mark.parametrize("size", SIZES)
def test_it_goes_on_where_it_was(tmp_path: Path, size: int) -> None:
    fill(open_store(tmp_path), size)
    again = open_store(tmp_path)
    assert again.head.checkpoint.root == root_of(size)
    fill(again, size + 3)
    assert again.head.checkpoint.root == root_of(size + 3)
    proof = consistency_proof(size, size + 3, again.head.tree.node)
    verify_consistency(size, root_of(size), size + 3, root_of(size + 3), proof)


def test_a_log_may_sign_with_ml_dsa(tmp_path: Path) -> None:
    key = generate_skey("log.example/plain", ML_DSA_44)
    store = Store(Files(tmp_path / "data"), Files(tmp_path / "anchors"), "plain", key, accept_data=False)
    fill(store, 3)
    assert open_signed(store.head.note, key.verifier).root == root_of(3)


def test_partial_tiles_go_when_the_full_one_after_theirs_is_there(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store, 10, 256, 300)
    assert (tmp_path / "data/tile/0/000.p/10").exists()
    fill(store, 512, 520)
    assert not (tmp_path / "data/tile/0/000.p").exists()
    assert (tmp_path / "data/tile/entries/001.p/44").exists()


def test_a_partial_tile_that_went_is_cut_out_of_the_full_one(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store, 10)
    before = [store.tile(Tile(level, 0, 10)) for level in (0, ENTRIES)]
    fill(store, 256, 512, 520)
    assert [store.tile(Tile(level, 0, 10)) for level in (0, ENTRIES)] == before
    assert store.tile(Tile(1, 0, 1)) == store.head.tree.node(8, 0)


def test_only_what_was_signed_is_served(tmp_path: Path) -> None:
    """A tile of a batch that a crash cut short could become another one."""
    store = open_store(tmp_path)
    fill(store, 300)
    leftover = tmp_path / "data/tile/0/001.p/60"
    leftover.write_bytes(bytes(60 * 32))
    assert store.tile(Tile(0, 1, 60)) is None
    assert store.tile(Tile(0, 1, 256)) is None
    assert store.tile(Tile(2, 0, 1)) is None
    assert store.tile(Tile(0, 1, 44)) is not None
    leftover = tmp_path / "data/tile/0/001.p/43"
    leftover.write_bytes(bytes(43 * 32))
    edge = store.head.tree.edges[0]
    assert store.tile(Tile(0, 1, 43)) == edge[: 43 * 32], "not what a batch that was never signed left"


def test_what_a_crash_left_is_written_over(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store, 300)
    for path in ("tile/0/001.p/60", "tile/entries/001.p/60", ".writing"):
        (tmp_path / "data" / path).write_bytes(b"torn")
    again = open_store(tmp_path)
    fill(again, 316)
    assert open_store(tmp_path).head.checkpoint.root == root_of(316)


# What is not opened.


def refused(folder: Path, *, accept_data: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        open_store(folder, accept_data=accept_data)
    return str(caught.value)


@pytest.mark.parametrize("path", ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"])
def test_a_torn_or_missing_tile_is_named(tmp_path: Path, path: str) -> None:
    fill(open_store(tmp_path), 256, 300)
    file = tmp_path / "data" / path
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    assert path in refused(tmp_path)
    file.unlink()
    assert path in refused(tmp_path)
    file.write_bytes(whole)
    open_store(tmp_path)


def test_a_missing_bundle_of_entries_is_named(tmp_path: Path) -> None:
    fill(open_store(tmp_path), 256, 600)
    (tmp_path / "data/tile/entries/000").unlink()
    assert "tile/entries/000: No such file" in refused(tmp_path)


@pytest.mark.parametrize("path", ["tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"])
@pytest.mark.parametrize("place", [0, 7, -1])
def test_a_flipped_octet_at_the_edge_is_noticed(tmp_path: Path, path: str, place: int) -> None:
    fill(open_store(tmp_path), 256, 300)
    file = tmp_path / "data" / path
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    assert "put back a whole copy" in refused(tmp_path)


def test_a_head_of_another_key_is_refused(tmp_path: Path) -> None:
    fill(open_store(tmp_path), 5)
    other = generate_skey("log.example/plain", ED25519)
    with pytest.raises(ConfigError, match="not a checkpoint of this log's key"):
        Store(Files(tmp_path / "data"), Files(tmp_path / "anchors"), "plain", other, accept_data=False)


@pytest.mark.parametrize("algorithm", [ED25519, ML_DSA_44])
def test_a_log_goes_on_under_a_new_key_where_the_one_before_is_named(tmp_path: Path, algorithm: int) -> None:
    """docs/ledger-keys.md, "Exchanging one": the log keeps its origin, its tree and its leaves."""
    fill(open_store(tmp_path), 5)
    new = generate_skey("log.example/plain", algorithm)

    def reopen(*former: VerifierKey) -> Store:
        files, anchors = Files(tmp_path / "data"), Files(tmp_path / "anchors")
        return Store(files, anchors, "plain", new, accept_data=False, former=former)

    with pytest.raises(ConfigError, match="name the one before in `former`"):
        reopen(generate_skey("log.example/plain", ED25519).verifier)
    store = reopen(KEY.verifier)
    for path in ("data/head", "anchors/plain"):
        assert open_signed((tmp_path / path).read_bytes(), new.verifier) == store.head.checkpoint
    fill(store, 9)
    assert reopen().head.checkpoint == Checkpoint("log.example/plain", 9, root_of(9))


def test_an_older_checkpoint_of_the_log_is_signed_with_its_present_key_too(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store, 5)
    older = store.head.note
    fill(store, 9)
    newest = store.head.note
    new = generate_skey("log.example/plain", ED25519)
    store = Store(
        Files(tmp_path / "data"), Files(tmp_path / "anchors"), "plain", new, accept_data=False, former=[KEY.verifier]
    )
    owned = store.own(older)
    assert owned is not None
    for key in (KEY, new):
        assert open_signed(owned, key.verifier) == Checkpoint("log.example/plain", 5, root_of(5))
    assert store.own(owned) == owned
    other = open_store(tmp_path / "other")
    other.commit([b"another"] * 5)
    assert store.own(other.head.note) is None, "of another tree"
    assert store.own(b"nothing") is None
    shutil.rmtree(tmp_path / "other")
    short = open_store(tmp_path / "other")
    fill(short, 5)
    assert short.own(newest) is None, "of a larger tree"


def test_a_torn_head_is_refused(tmp_path: Path) -> None:
    fill(open_store(tmp_path), 5)
    head = tmp_path / "data/head"
    head.write_bytes(head.read_bytes()[:-20])
    assert "head: not a checkpoint" in refused(tmp_path)


def test_an_older_copy_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store, 5)
    shutil.copytree(tmp_path / "data", tmp_path / "backup")
    fill(store, 9)
    shutil.rmtree(tmp_path / "data")
    shutil.move(tmp_path / "backup", tmp_path / "data")
    assert "5 entries, but" in refused(tmp_path)
    assert "older copy" in refused(tmp_path)
    assert "older copy" in refused(tmp_path, accept_data=True), "the flag is for a missing anchor only"


def test_an_empty_folder_in_place_of_a_log_is_refused(tmp_path: Path) -> None:
    fill(open_store(tmp_path), 5)
    shutil.rmtree(tmp_path / "data")
    assert "head: missing, and this log has had 5 entries" in refused(tmp_path)


def test_a_folder_of_tiles_without_a_head_is_refused(tmp_path: Path) -> None:
    fill(open_store(tmp_path), 5)
    (tmp_path / "data/head").unlink()
    shutil.rmtree(tmp_path / "anchors")
    assert "head: missing, but there are tiles" in refused(tmp_path)


def test_a_copy_that_went_on_by_itself_is_refused(tmp_path: Path) -> None:
    """Two copies of one log, each of which signed other entries: the anchor is of the one, the data of the other."""
    store = open_store(tmp_path)
    fill(store, 5)
    shutil.copytree(tmp_path / "data", tmp_path / "fork/data")
    fill(store, 7)
    fork = open_store(tmp_path / "fork", accept_data=True)
    fork.commit([b"another"] * 9)
    shutil.rmtree(tmp_path / "data")
    shutil.move(tmp_path / "fork/data", tmp_path / "data")
    assert "the first 7 entries differ" in refused(tmp_path)


def test_a_missing_anchor_is_said_and_accepted_once(tmp_path: Path) -> None:
    fill(open_store(tmp_path), 5)
    shutil.rmtree(tmp_path / "anchors")
    assert "--accept-data" in refused(tmp_path)
    assert open_store(tmp_path, accept_data=True).head.checkpoint.size == 5
    assert open_store(tmp_path).head.checkpoint.size == 5


def test_a_published_checkpoint_beyond_the_head_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store, 5)
    old = (tmp_path / "data/head").read_bytes()
    fill(store, 9)
    store.publish(store.head.note)
    for path in (tmp_path / "data/head", tmp_path / "anchors/plain"):
        path.write_bytes(old)
    assert "checkpoint: has 9 entries, and head beside it 5" in refused(tmp_path)


# What the disk may do.


class FailingFiles(Files):
    """A disk that is full after so many octets, or that fails from its n-th sync on."""

    room = 1 << 62
    syncs = 1 << 62

    def _put(self, descriptor: int, octets: memoryview) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = super()._put(descriptor, octets[: self.room])
        self.room -= done
        return done

    def _sync(self, folder: Path) -> None:
        self.syncs -= 1
        if self.syncs < 0:
            raise OSError(errno.EIO, "Input/output error")
        super()._sync(folder)


def is_stored(store: Store, entries: list[bytes]) -> bool:
    try:
        store.commit(entries)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("size", [5, 256, 300])
def test_a_disk_that_is_full_at_any_octet_signs_nothing_that_is_not_stored(tmp_path: Path, size: int) -> None:
    files = FailingFiles(tmp_path / "data")
    store = Store(files, Files(tmp_path / "anchors"), "plain", KEY, accept_data=False)
    fill(store, size)
    before = store.head
    refusals = 0
    for room in range(0, 20_000, 17):
        files.room = room
        if is_stored(store, [entry(size), entry(size + 1)]):
            break
        assert store.head is before
        assert open_store(tmp_path).head.checkpoint == before.checkpoint
        refusals += 1
    assert refusals > 10
    assert store.head.checkpoint.root == root_of(size + 2)
    files.room = 1 << 62
    fill(store, size + 5)
    assert open_store(tmp_path).head.checkpoint.root == root_of(size + 5)


def test_other_entries_after_a_full_disk_take_the_place_of_those_that_failed(tmp_path: Path) -> None:
    files = FailingFiles(tmp_path / "data")
    store = Store(files, Files(tmp_path / "anchors"), "plain", KEY, accept_data=False)
    fill(store, 5)
    files.room = 40
    with pytest.raises(OSError, match="No space left"):
        store.commit([b"never acknowledged"])
    files.room = 1 << 62
    fill(store, 6)
    assert open_store(tmp_path).entry(5) == entry(5)


@pytest.mark.parametrize("syncs", range(6))
def test_a_disk_that_fails_at_any_sync_leaves_a_log_that_opens(tmp_path: Path, syncs: int) -> None:
    files = FailingFiles(tmp_path / "data")
    store = Store(files, Files(tmp_path / "anchors"), "plain", KEY, accept_data=False)
    fill(store, 5)
    files.syncs = syncs
    try:
        fill(store, 9)
        stored = 9
    except BrokenError:  # the rename of the head may be there or not, so nothing more is signed
        files.syncs = 1 << 62
        with pytest.raises(BrokenError, match="start the ledger again"):
            store.commit([b"another"])
        stored = open_signed((tmp_path / "data/head").read_bytes(), KEY.verifier).size
    except OSError:
        stored = 5
    assert open_store(tmp_path).head.checkpoint.root == root_of(stored)


def test_an_anchor_that_failed_is_written_by_the_next_attempt(tmp_path: Path) -> None:
    anchors = FailingFiles(tmp_path / "anchors")
    store = Store(Files(tmp_path / "data"), anchors, "plain", KEY, accept_data=False)
    store.commit([entry(0)])
    anchors.room = 0
    with pytest.raises(OSError, match="No space left"):
        store.anchor()
    anchors.room = 1 << 62
    store.anchor()
    assert (tmp_path / "anchors/plain").read_bytes() == store.head.note
    anchors.room = 0
    store.anchor()


def test_what_stands_behind_an_entry_is_stored_before_it(tmp_path: Path) -> None:
    files = FailingFiles(tmp_path / "data")
    store = Store(files, Files(tmp_path / "anchors"), "plain", KEY, accept_data=False)
    store.commit([b"a"], {"epochs/0": b"core and evidence"})
    assert store.read("epochs/0") == b"core and evidence"
    assert store.read("epochs/1") is None
    files.room = 3
    with pytest.raises(OSError, match="No space"):
        store.commit([b"b"], {"epochs/1": b"core and evidence"})
    assert store.head.checkpoint.size == 1


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    assert "cannot be written" in refused(tmp_path)


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    first, second = Files(tmp_path), Files(tmp_path)
    first.lock()
    with pytest.raises(ConfigError, match="another process keeps it"):
        second.lock()
    first.close()
    second.close()


def test_a_rename_that_is_not_synced_is_its_own_error(tmp_path: Path) -> None:
    files = FailingFiles(tmp_path)
    files.syncs = 0
    with pytest.raises(RenameError):
        files.replace("head", b"new")


def test_an_entry_has_at_most_what_two_octets_count(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.commit([bytes(65_535)])
    with pytest.raises(UsageError):
        store.commit([bytes(65_536)])
    assert store.head.checkpoint.size == 1


def test_a_tree_has_no_leaf_beyond_its_size() -> None:
    with pytest.raises(UsageError):
        Tree(0).leaf(0)
