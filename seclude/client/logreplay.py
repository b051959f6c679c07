"""One log, followed by whoever keeps a tree head of their own: is it one log, and what is new in it?

1. The checkpoint is signed by the log and cosigned by a quorum of witnesses, lately.
2. The hash tiles give its root.
3. The tree head that was kept is a beginning of it.
4. Every new entry is the leaf that the hash tiles say, and together with what was there before they give the root.

Only new entries are read, a bundle at a time. Where step 3 fails though the tiles lead to the new root, the two signed
checkpoints and that path are proof against whoever signed both.
"""

from collections.abc import AsyncGenerator, Callable
from typing import Final

from seclude.attestation.pins import Ledger
from seclude.attestation.slots import in_words
from seclude.client.findings import Conflict, Finding, Findings, Kind, found, warned
from seclude.client.ledgersource import Source, Tree
from seclude.client.monitorstate import Head
from seclude.errors import DecodeError, EvidenceError, VerificationError
from seclude.ledger import Path
from seclude.tlog.checkpoint import Checkpoint
from seclude.tlog.cosigned import Cosigned, open_cosigned, open_signed
from seclude.tlog.keys import VerifierKey
from seclude.tlog.merkle import Frontier, leaf_hash
from seclude.tlog.tiles import TILE_HEIGHT, TILE_WIDTH, tile_path

ANOTHER: Final = "if the trust file names another key now, keep that file and name another with --state"
SMALLER: Final = "the log has lost entries, or somebody shows an older copy of it"


class Replay:
    """One look at one log. `findings` grows; `cosigned` and `tree` are there while nothing forbids to go on."""

    def __init__(self, source: Source, log: Path, key: VerifierKey, ledger: Ledger, head: Head | None) -> None:
        self.findings: Final = Findings()
        self.cosigned: Cosigned | None = None
        self.tree: Tree | None = None
        self.head: Final = head
        self.name: Final = key.name
        self.read = 0
        """How many entries were read."""
        self._source = source
        self._log = log
        self._key = key
        self._ledger = ledger

    @property
    def start(self) -> int:
        """The first index that was never read."""
        return 0 if self.head is None else self.head.size

    @property
    def times(self) -> dict[str, int]:
        """When each witness cosigned this log last: one that is late need not be in the newest checkpoint."""
        times = {} if self.head is None else dict(self.head.times)
        for name, moment in ({} if self.cosigned is None else self.cosigned.times).items():
            times[name] = max(moment, times.get(name, 0))
        return times

    @property
    def is_whole(self) -> bool:
        """Whether everything up to the newest checkpoint was read and agrees with it."""
        return self.cosigned is not None and self.start + self.read == self.cosigned.checkpoint.size

    async def open(self, now: float, max_age: int, skew: int) -> None:
        """Take steps 1 to 3; raises UpstreamError only."""
        try:
            note = await self._source.checkpoint(self._log)
            if note is None:
                self._say(Kind.CHECKPOINT, f"the ledger has no checkpoint of {self.name}")
                return
            signed = open_signed(note, self._key)
        except (VerificationError, DecodeError) as exc:
            self._say(Kind.CHECKPOINT, f"the checkpoint of {self.name} is not to be believed: {exc}")
            return
        cosigned: Cosigned | None = None
        try:
            cosigned = open_cosigned(note, self._key, self._ledger.quorum)
        except (VerificationError, DecodeError) as exc:
            self._say(Kind.CHECKPOINT, f"the checkpoint of {self.name}, size {signed.size}: {exc}", size=signed.size)
        tree = Tree(self._source, self._log, signed.size, signed.root)
        if not await self._extends(tree, signed, note) or cosigned is None:
            return
        self.cosigned, self.tree = cosigned, tree
        self._judge_times(cosigned, now, max_age, skew)

    async def entries(self, progress: Callable[[int, int], None]) -> AsyncGenerator[tuple[int, bytes], None]:
        """Yield the new entries with their indexes: step 4, whose last findings come after the last entry."""
        tree = self.tree
        if tree is None or self.start == tree.size:
            return
        try:
            frontier = await self._frontier(tree)
            for place in range(self.start // TILE_WIDTH, -(-tree.size // TILE_WIDTH)):
                entries = await tree.entries(place)
                await self._compare(tree, place, [leaf_hash(entry) for entry in entries])
                first = max(self.start - place * TILE_WIDTH, 0)
                for offset, entry in enumerate(entries[first:], first):
                    frontier.append(leaf_hash(entry))
                    yield place * TILE_WIDTH + offset, entry
                progress(frontier.size, tree.size)
            if frontier.root() != tree.root:
                raise EvidenceError("its entries do not give the root that the checkpoint states")
        except (DecodeError, VerificationError) as exc:
            self._say(Kind.TILES, f"{self.name}, size {tree.size}: {exc}", size=tree.size)
            return
        self.read = frontier.size - self.start

    async def judge_other(self, other: Cosigned, what: str) -> Finding | None:
        """Say whether another checkpoint of this log, which somebody was shown, is one of the tree that is followed."""
        tree, ours, size = self.tree, self.cosigned, other.checkpoint.size
        if tree is None or ours is None:
            return None
        if size > tree.size:
            words = f"{what} has {size} leaves, and {self.name} has {tree.size}: {SMALLER}"
            conflict = Conflict(self.name, other.note, ours.note, (), b"")
            return _convicting(Kind.ROLLBACK, words, conflict, before=size, size=tree.size)
        try:
            root, proof = (tree.root, ()) if size == tree.size else await tree.root_at(size)
        except (DecodeError, VerificationError) as exc:
            return found(Kind.TILES, f"{self.name}, size {size}: {exc}", log=self.name, size=size)
        if root == other.checkpoint.root:
            return None
        return self._conflict(other.checkpoint, other.note, ours.note, tree.size, root, proof, what)

    async def _frontier(self, tree: Tree) -> Frontier:
        return await tree.compute(lambda node: Frontier.of(self.start, node))

    async def _compare(self, tree: Tree, place: int, leaves: list[bytes]) -> None:
        """Refuse a tile of hashes that is of other entries than the bundle beside it."""
        path = tile_path(0, place, len(leaves))
        if await tree.tile(path) != b"".join(leaves):
            raise EvidenceError(f"{path} has other hashes than the entries beside it give")
        if len(leaves) == TILE_WIDTH:
            whole = Frontier()
            for leaf in leaves:
                whole.append(leaf)
            above = await tree.compute(lambda node: node(TILE_HEIGHT, place))
            if whole.root() != above:
                raise EvidenceError(f"the tile above {path} has another hash of it")

    async def _extends(self, tree: Tree, signed: Checkpoint, note: bytes) -> bool:
        """Take steps 2 and 3: whether the tree is the one that was seen before, grown or not."""
        head = self.head
        if head is not None and tree.size < head.size:
            words = f"{self.name} had {head.size} entries and has {tree.size} now: {SMALLER}"
            conflict = Conflict(self.name, head.checkpoint, note, (), b"")
            self.findings.append(_convicting(Kind.ROLLBACK, words, conflict, before=head.size, size=tree.size))
            return False
        try:
            before = None if head is None else open_signed(head.checkpoint, self._key)
        except (DecodeError, VerificationError) as exc:
            self._say(
                Kind.CHECKPOINT, f"the tree head of {self.name} that was kept is not of this log: {exc}; {ANOTHER}"
            )
            return False
        try:
            await tree.verify()
            if before is None or head is None:
                return True
            root, proof = (tree.root, ()) if before.size == tree.size else await tree.root_at(before.size)
        except (DecodeError, VerificationError) as exc:
            self._say(Kind.TILES, f"{self.name}, size {tree.size}: {exc}", size=tree.size)
            return False
        if root != before.root:
            what = "the checkpoint that was kept"
            self.findings.append(self._conflict(before, head.checkpoint, note, signed.size, root, proof, what))
        return root == before.root

    def _conflict(
        self,
        older: Checkpoint,
        older_note: bytes,
        note: bytes,
        size: int,
        root: bytes,
        proof: tuple[bytes, ...],
        what: str,
    ) -> Finding:
        words = (
            f"{self.name} shows two histories: {what} has the root {older.root.hex()} at size {older.size}, "
            f"and under the checkpoint of size {size} that root is {root.hex()}"
        )
        return _convicting(
            Kind.INCONSISTENT,
            words,
            Conflict(self.name, older_note, note, proof, root),
            before=older.size,
            size=size,
            first_root=older.root.hex(),
            second_root=root.hex(),
        )

    def _judge_times(self, cosigned: Cosigned, now: float, max_age: int, skew: int) -> None:
        since, size = cosigned.since, cosigned.checkpoint.size
        if since > now + skew:
            self._say(Kind.STALE, f"the checkpoint of {self.name} is from the future: {in_words(since)}", size=size)
        elif now >= since + max_age:
            words = f"the newest checkpoint of {self.name} was cosigned at {in_words(since)}, and devices refuse it"
            self._say(Kind.STALE, words, size=size, since=since)
        for witness in self._ledger.quorum.witnesses:
            moment = self.times.get(witness.name)
            if moment is None:
                words = f"the witness {witness.name} has not cosigned {self.name} yet, as far as is known here"
            elif now >= moment + max_age:
                words = f"the witness {witness.name} cosigned {self.name} at {in_words(moment)} and not since"
            else:
                continue
            self.findings.append(warned(Kind.WITNESS, words, witness=witness.name, log=self.name))

    def _say(self, kind: Kind, words: str, **facts: str | int) -> None:
        self.findings.append(found(kind, words, log=self.name, **facts))


def _convicting(kind: Kind, words: str, conflict: Conflict, **facts: str | int) -> Finding:
    return Finding(kind, words, {"log": conflict.origin, **facts}, conflict=conflict)
