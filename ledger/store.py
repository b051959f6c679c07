"""One log on disk: nothing is signed that is not stored, and nothing is begun twice.

    tile/...      entries and hashes (C2SP tlog-tiles): any host of static files may serve them
    head          the newest checkpoint that this log signed: what stands under it is the log
    checkpoint    the newest one that a quorum of witnesses cosigned: what the world is shown

A batch is stored in this order: what stands behind its entries, its tiles, then the signature, the head, and a copy of
the head in another place, the anchor. A crash before the head leaves tiles that nobody was told of, which the next
batch writes over. A partial tile is kept until the full tile after its own one is there; tlog-tiles lets it go sooner.

A head that is older than the anchor is a backup that was put back, and is refused: a log that goes on from there signs
a second history.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ledger.files import Files, RenameError
from ledger.tree import LEVEL_BITS, Tile, Tree
from seclude.errors import ConfigError, DecodeError, EvidenceError, UsageError, VerificationError
from seclude.tlog.checkpoint import Checkpoint, render_checkpoint
from seclude.tlog.cosignature import sign_checkpoint
from seclude.tlog.cosigned import open_signed
from seclude.tlog.keys import SignerKey, VerifierKey
from seclude.tlog.merkle import HASH_BYTES, leaf_hash, tree_root
from seclude.tlog.note import Note, add_signatures, parse_note, serialize_note
from seclude.tlog.tiles import ENTRIES, TILE_WIDTH, parse_entries

HEAD: Final = "head"
CHECKPOINT: Final = "checkpoint"
CACHED_TILES: Final = 1024  # full ones, 8 KiB each: 8 MiB, and a proof needs one or two of each level
ROLLED_BACK: Final = (
    "this folder is an older copy of the log, and going on from it would sign a second history; put the newest one back"
)


class BrokenError(OSError):
    """Raised where nobody knows what the disk holds; only starting again, which reads it, can tell."""


@dataclass(frozen=True, slots=True)
class Head:
    """A tree and the checkpoint that this log signed of it."""

    tree: Tree
    checkpoint: Checkpoint
    note: bytes


class Store:
    """The folder of one log. One thread calls `commit` and `publish`, one calls `anchor`, any may read `head`."""

    def __init__(
        self,
        files: Files,
        anchors: Files,
        name: str,
        signer: SignerKey,
        *,
        accept_data: bool,
        beside: Files | None = None,
        former: Sequence[VerifierKey] = (),
    ) -> None:
        """Open the log, or begin it where there was none; raises ConfigError with what is wrong and what to do.

        `name` is that of its anchor. With `accept_data` a log without an anchor is taken as it is. What is stored
        beside entries goes into another folder where `beside` is given. `former` are keys that this log had before: a
        head of theirs is continued, and signed anew.
        """
        self._files = files
        self._beside = beside or files
        self._anchors = anchors
        self._name = name
        self._signer = signer
        self._former = tuple(former)
        self._broken = False
        self._read = lru_cache(CACHED_TILES)(files.read)
        self.head: Head = self._open(accept_data)
        self._anchored = self.head

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._signer.verifier.name

    def commit(self, entries: Sequence[bytes], beside: Mapping[str, bytes] | None = None) -> Head:
        """Store entries, sign the tree that they make, and return its head; raises OSError.

        `beside` are files that must be there before an entry is. After a BrokenError nobody knows what the log is, and
        after any other it is what it was before. This blocks.
        """
        if self._broken:
            raise BrokenError(0, "what the disk holds is not known since an earlier error; start the ledger again")
        grown, tiles = self.head.tree.grow(entries)
        if beside:
            self._beside.write_new(beside)
        self._files.write_new({tile.path: content for tile, content in tiles.items()})
        head = self._sign(grown)
        try:
            self._files.replace(HEAD, head.note)
        except RenameError as exc:  # the head on disk is the old one or this one, which nobody may sign again otherwise
            self._broken = True
            raise BrokenError(exc.errno, exc.strerror) from exc
        self.head = head
        self._forget(tiles)
        return head

    def anchor(self) -> None:
        """Store a copy of the head in the other place, unless that is done; raises OSError. This blocks.

        Until then a rollback of what is above the anchor would be seen by the witnesses only, so whoever submitted it
        waits. It may run beside `commit`, in another thread.
        """
        head = self.head
        if self._anchored is not head:
            self._anchors.replace(self._name, head.note)
            self._anchored = head

    def publish(self, note: bytes, kept: Mapping[str, bytes] | None = None) -> None:
        """Store the newest cosigned checkpoint, after others that are kept by name; raises OSError. This blocks."""
        for name, other in (kept or {}).items():
            self.keep(name, other)
        self._files.replace(CHECKPOINT, note)

    def keep(self, name: str, note: bytes) -> None:
        """Store a cosigned checkpoint in a folder of this one; raises OSError. This blocks."""
        if self._files.find(name) is None:
            self._files.write_new({name: note})
        else:
            self._files.replace(name, note)

    def own(self, note: bytes) -> bytes | None:
        """Return a checkpoint of this very tree at some size with the signature of the present key; else None.

        Raises OSError where a tile cannot be read.
        """
        tree = self.head.tree
        try:
            checkpoint = self._open_own(note)
        except (DecodeError, VerificationError):
            return None
        if checkpoint.size > tree.size or tree_root(checkpoint.size, tree.node) != checkpoint.root:
            return None
        if self._is_signed_now(note):
            return note
        return serialize_note(add_signatures(parse_note(note), sign_checkpoint(checkpoint, self._signer, 0)))

    def published(self, name: str = CHECKPOINT) -> bytes | None:
        """Return what `publish` stored; raises OSError."""
        return self._files.find(name)

    def names(self, folder: str) -> list[str]:
        """Return the names of what `publish` stored in a folder; raises OSError."""
        return self._files.names(folder)

    def tile(self, tile: Tile) -> bytes | None:
        """Return a tile, or None where it is not a part of the log; raises OSError.

        A partial one is cut out of what came after it: its own file may be gone, or be that of a batch which a crash
        cut short.
        """
        tree = self.head.tree
        if not tree.covers(tile):
            return None
        edge = tree.partial(tile.level)
        if edge is not None and edge.index == tile.index:
            whole: bytes | None = tree.bundle if tile.level == ENTRIES else tree.edges[tile.level]
        else:
            whole = self._files.find(Tile(tile.level, tile.index, TILE_WIDTH).path)
        return None if whole is None else _cut(whole, tile)

    def entry(self, index: int) -> bytes:
        """Return an entry; raises OSError, and UsageError where there is none."""
        tree = self.head.tree
        if not 0 <= index < tree.size:
            raise UsageError(f"no entry {index} in a log of {tree.size}")
        bundle, place = divmod(index, TILE_WIDTH)
        is_last = bundle == tree.size // TILE_WIDTH
        data = tree.bundle if is_last else self._read(Tile(ENTRIES, bundle, TILE_WIDTH).path)
        return parse_entries(data)[place]

    def read(self, name: str) -> bytes | None:
        """Return a file that was stored beside entries, or None; raises OSError."""
        return self._beside.find(name)

    def close(self) -> None:
        """End the threads that wait for the disk."""
        for files in (self._files, self._beside, self._anchors):
            files.close()

    def _sign(self, tree: Tree) -> Head:
        checkpoint = Checkpoint(self.origin, tree.size, tree.root)
        signature = sign_checkpoint(checkpoint, self._signer, 0)
        return Head(tree, checkpoint, serialize_note(Note(render_checkpoint(checkpoint), (signature,))))

    def _forget(self, tiles: Iterable[Tile]) -> None:
        """Remove what the tiles before those that became full were when they were partial."""
        for tile in tiles:
            if tile.width == TILE_WIDTH and tile.index:
                self._files.remove_folder(Tile(tile.level, tile.index - 1, TILE_WIDTH).partials)

    # How it is opened.

    def _open(self, accept_data: bool) -> Head:
        try:
            found, anchor = self._files.find(HEAD), self._anchors.find(self._name)
        except OSError as exc:
            raise ConfigError(f"{exc.filename}: {exc.strerror}") from None
        if found is None:
            return self._begin(anchor)
        head = self._resume(found)
        note = head.note
        if anchor is not None:
            self._require_newest(head, anchor)
        elif not accept_data:
            raise ConfigError(
                f"{self._anchors.root / self._name}: missing, so an older copy of the log could not be told from the "
                "newest; where you know that this is the newest, start once with --accept-data"
            )
        if note != found:
            self._write_first(head, "the head", self._files, HEAD)
        if anchor != note:  # a disk that is full or read-only can still be served from
            self._write_first(head, "the anchor", self._anchors, self._name)
        return head

    def _begin(self, anchor: bytes | None) -> Head:
        if anchor is not None:
            size = self._claimed(anchor, self._anchors.root / self._name).size
            raise ConfigError(f"{self._files.root / HEAD}: missing, and this log has had {size} entries: {ROLLED_BACK}")
        if self._files.names("tile"):
            raise ConfigError(f"{self._files.root / HEAD}: missing, but there are tiles: {ROLLED_BACK}")
        head = self._sign(Tree(0, read=self._read))
        self._write_first(head, "the first head", self._files, HEAD)
        self._write_first(head, "the anchor", self._anchors, self._name)
        return head

    def _write_first(self, head: Head, what: str, files: Files, name: str) -> None:
        try:
            files.replace(name, head.note)
        except OSError as exc:
            raise ConfigError(f"{files.root}: {what} cannot be written: {exc.strerror}") from None

    def _claimed(self, note: bytes, path: object) -> Checkpoint:
        try:
            return self._open_own(note)
        except (DecodeError, VerificationError) as exc:
            raise ConfigError(
                f"{path}: not a checkpoint of this log's key: {exc}; see which of the two is wrong, and where the key "
                "was exchanged, name the one before in `former`"
            ) from None

    def _open_own(self, note: bytes) -> Checkpoint:
        """Return a checkpoint that the present key signed, or one that this log had before."""
        if not self._is_signed_now(note):
            for key in self._former:
                with suppress(EvidenceError):
                    return open_signed(note, key)
        return open_signed(note, self._signer.verifier)

    def _is_signed_now(self, note: bytes) -> bool:
        """Whether a signature claims to be of the present key; whether it is, `open_signed` sees."""
        key = self._signer.verifier
        return any((each.name, each.key_id) == (key.name, key.key_id) for each in parse_note(note).signatures)

    def _require_newest(self, head: Head, anchor: bytes) -> None:
        path = self._anchors.root / self._name
        known = self._claimed(anchor, path)
        if known.size > head.tree.size:
            raise ConfigError(
                f"{self._files.root}: {head.tree.size} entries, but {path} was signed with {known.size}: {ROLLED_BACK}"
            )
        if tree_root(known.size, head.tree.node) != known.root:
            raise ConfigError(
                f"{self._files.root}: not the log that {path} was signed of: the first {known.size} entries differ; "
                "one of the two belongs to another copy, and signing from the wrong one is a second history"
            )

    def _resume(self, note: bytes) -> Head:
        checkpoint = self._claimed(note, self._files.root / HEAD)
        for tile in _full_tiles(checkpoint.size):
            self._require_length(tile)
        tree = self._edge(checkpoint.size)
        try:
            root = tree_root(tree.size, tree.node)
        except (OSError, DecodeError) as exc:
            raise ConfigError(f"{self._files.root}: a tile cannot be read: {exc}; {_RESTORE}") from None
        if root != checkpoint.root:
            raise ConfigError(
                f"{self._files.root}: the tiles do not make the tree that {HEAD} was signed of; {_RESTORE}"
            )
        self._require_last_entries(tree)
        self._require_head_is_newest(checkpoint)
        return Head(tree, checkpoint, note) if self._is_signed_now(note) else self._sign(tree)

    def _require_head_is_newest(self, head: Checkpoint) -> None:
        shown = self.published()
        path = self._files.root / CHECKPOINT
        if shown is not None and (size := self._claimed(shown, path).size) > head.size:
            raise ConfigError(f"{path}: has {size} entries, and {HEAD} beside it {head.size}: {ROLLED_BACK}")

    def _edge(self, size: int) -> Tree:
        """Read the tiles at the right edge."""
        bare = Tree(size)
        edges, level = [], 0
        while size >> LEVEL_BITS * level:
            tile = bare.partial(level)
            edges.append(b"" if tile is None else self._require_length(tile, read=True))
            level += 1
        bundle = bare.partial(ENTRIES)
        return Tree(size, tuple(edges), b"" if bundle is None else self._need(bundle), self._read)

    def _require_last_entries(self, tree: Tree) -> None:
        """Check the bundle at the end: of all files it is the one that a torn write would be seen in."""
        last = tree.partial(ENTRIES)
        if last is None:
            if not tree.size:
                return
            last = Tile(ENTRIES, tree.size // TILE_WIDTH - 1, TILE_WIDTH)
        first = last.index * TILE_WIDTH
        try:
            leaves = [leaf_hash(entry) for entry in parse_entries(self._need(last))]
        except DecodeError as exc:
            raise ConfigError(f"{self._files.root / last.path}: torn: {exc}; {_RESTORE}") from None
        if leaves != [tree.node(0, first + place) for place in range(last.width)]:
            raise ConfigError(f"{self._files.root / last.path}: not the entries that were hashed; {_RESTORE}")

    def _need(self, tile: Tile) -> bytes:
        """Return a tile that the head needs; of one that was let go, what the full one after it holds of it."""
        try:
            found = self._files.find(tile.path)
            if found is None:
                raise ConfigError(f"{self._files.root / tile.path}: missing, and {HEAD} was signed with it; {_RESTORE}")
        except OSError as exc:
            raise ConfigError(f"{self._files.root / tile.path}: {exc.strerror}; {_RESTORE}") from None
        return found

    def _require_length(self, tile: Tile, *, read: bool = False) -> bytes:
        """Check that a tile of hashes is whole, and return it where it is to be read."""
        path = self._files.root / tile.path
        try:
            length = self._files.length(tile.path)
        except OSError as exc:
            raise ConfigError(f"{path}: {exc.strerror}, and {HEAD} was signed with it; {_RESTORE}") from None
        if tile.level != ENTRIES and length != tile.width * HASH_BYTES:
            raise ConfigError(f"{path}: torn: {length} octets, not {tile.width * HASH_BYTES}; {_RESTORE}")
        return self._need(tile) if read else b""


_RESTORE: Final = "put back a whole copy of the folder that is no older, or ask one who mirrors the log for the file"


def _full_tiles(size: int) -> Iterator[Tile]:
    """Every full tile of a tree, bundles of entries included; looking at each takes a few microseconds."""
    for level in (ENTRIES, *range(size.bit_length() // LEVEL_BITS + 1)):
        count = (size >> LEVEL_BITS * max(level, 0)) // TILE_WIDTH
        for index in range(count):
            yield Tile(level, index, TILE_WIDTH)


def _cut(whole: bytes, tile: Tile) -> bytes:
    """Return the beginning of a tile that has grown since, or the tile itself."""
    if tile.level != ENTRIES:
        return whole[: tile.width * HASH_BYTES]
    end = 0
    for _ in range(tile.width):
        end += 2 + int.from_bytes(whole[end : end + 2])
    return whole[:end]
