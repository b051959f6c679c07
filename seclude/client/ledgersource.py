"""What a ledger serves, fetched over HTTP: checkpoints, tiles, and what stands behind the leaves of the keys log.

All of it is static and none of it is believed here. The address may be the ledger's own or that of any host that has
a copy of its files (C2SP tlog-tiles). What was fetched is what everybody gets: nothing of whoever asks goes along.
"""

from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import urlsplit

from seclude.client.hop import Hop, OversizeError
from seclude.errors import ConfigError, DecodeError, EvidenceError, TooLargeError, UpstreamError
from seclude.ledger import MAX_SUBMISSION, Path, epoch_path
from seclude.tlog.merkle import EMPTY_ROOT, HASH_BYTES, Node, consistency_proof, tree_root, verify_consistency
from seclude.tlog.note import MAX_NOTE
from seclude.tlog.tiles import (
    ENTRIES,
    MAX_ENTRY,
    TILE_BYTES,
    TILE_WIDTH,
    TileReader,
    parse_entries,
    parse_tile_path,
    tile_path,
)

SECONDS: Final = 30.0  # a bundle of the largest entries has 16 MiB
MAX_BUNDLE: Final = TILE_WIDTH * (2 + MAX_ENTRY)  # octets

T = TypeVar("T")


class Source:
    """One address of a ledger; raises ConfigError for one that cannot be used."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            self.url: Final = f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"
            if parts.query or parts.fragment:
                raise ValueError
            self._hop = Hop(f"{parts.scheme}://{parts.netloc.lower()}")
            self._prefix = parts.path.rstrip("/")
        except (ConfigError, ValueError):
            raise ConfigError(
                "--ledger must be https://HOST[:PORT] with or without a path, or http:// on this machine"
            ) from None

    async def close(self) -> None:
        """Drop the connections."""
        await self._hop.close()

    async def fetch(self, path: str, limit: int) -> bytes | None:
        """Return a file, or None where there is none; raises UpstreamError for every other answer.

        One that is larger than it can rightly be raises TooLargeError: the ledger is at fault, and asking again is of
        no use.
        """
        try:
            answer = await self._hop.exchange("GET", self._prefix + path, seconds=SECONDS, limit=limit)
        except OversizeError as exc:
            raise TooLargeError(f"{path} has more than {limit} octets") from exc
        except UpstreamError as exc:
            raise UpstreamError(f"the ledger gave no answer for {path}: {exc}", timed_out=exc.timed_out) from exc
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise UpstreamError(f"the ledger answered {answer.status} for {path}; try again later")
        return answer.body

    async def checkpoint(self, log: Path) -> bytes | None:
        """Return the newest checkpoint of a log, signed and cosigned as far as it says; raises as `fetch` does."""
        return await self.fetch(f"{log}{Path.CHECKPOINT}", MAX_NOTE)

    async def epoch(self, number: int) -> bytes | None:
        """Return what stands behind a leaf of the keys log; raises as `fetch` does."""
        return await self.fetch(epoch_path(number), MAX_SUBMISSION)


class MissingTileError(DecodeError):
    """Raised when a log does not serve a tile that its checkpoint says must be there."""


class _Wanted(Exception):
    """No error: it interrupts a computation until the tile that it needs is there."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Tree:
    """One log's tree at one size, read from its tiles as they are needed.

    What its hashes are worth shows when they lead to a signed root; `verify` asks for that.
    """

    def __init__(self, source: Source, log: Path, size: int, root: bytes) -> None:
        self.size: Final = size
        self.root: Final = root
        self._source = source
        self._log = log
        self._tiles: dict[str, bytes] = {}
        self._reader = TileReader(size, self._have)

    async def compute(self, action: Callable[[Node], T]) -> T:
        """Return what `action` makes of the tree's hashes; it is called again whenever a tile has to be fetched."""
        while True:
            try:
                return action(self._reader.node)
            except _Wanted as wanted:
                self._tiles[wanted.path] = await self.tile(wanted.path)

    async def verify(self) -> None:
        """Refuse tiles that do not give the root of the checkpoint."""
        if self.size and await self.compute(lambda node: tree_root(self.size, node)) != self.root:
            raise EvidenceError("the hash tiles do not give the root that the checkpoint states")

    async def root_at(self, size: int) -> tuple[bytes, tuple[bytes, ...]]:
        """Return the only root that a smaller tree of this log can have, and the path that shows it.

        Raises EvidenceError where the tiles give none that leads to the root of the checkpoint.
        """
        if size == 0:
            return EMPTY_ROOT, ()
        root = await self.compute(lambda node: tree_root(size, node))
        proof = await self.compute(lambda node: consistency_proof(size, self.size, node))
        verify_consistency(size, root, self.size, self.root, proof)
        return root, proof

    async def leaf(self, index: int) -> bytes | None:
        """Return the hash of a leaf; None where the log has not so many."""
        return None if index >= self.size else await self.compute(lambda node: node(0, index))

    async def tile(self, path: str) -> bytes:
        """Return one tile of hashes, with as many as its path says."""
        level, index, width = parse_tile_path(path)
        data = await self._fetch(level, index, width, TILE_BYTES)
        if len(data) not in (width * HASH_BYTES, TILE_BYTES):
            raise DecodeError(f"{path} has {len(data)} octets, not {width * HASH_BYTES}")
        return data[: width * HASH_BYTES]

    async def entries(self, index: int) -> list[bytes]:
        """Return the entries that this tree has in one bundle."""
        width = min(TILE_WIDTH, self.size - index * TILE_WIDTH)
        entries = parse_entries(await self._fetch(ENTRIES, index, width, MAX_BUNDLE))
        if len(entries) not in (width, TILE_WIDTH):
            raise DecodeError(f"{tile_path(ENTRIES, index, width)} has {len(entries)} entries, not {width}")
        return entries[:width]

    async def _fetch(self, level: int, index: int, width: int, limit: int) -> bytes:
        """Return a file; the full one stands for a partial one that is gone because the log has grown."""
        for each in dict.fromkeys((width, TILE_WIDTH)):
            data = await self._source.fetch(f"{self._log}/{tile_path(level, index, each)}", limit)
            if data is not None:
                return data
        raise MissingTileError(f"{tile_path(level, index, width)} is not there")

    def _have(self, path: str) -> bytes:
        try:
            return self._tiles.pop(path)  # the reader keeps it
        except KeyError:
            raise _Wanted(path) from None
