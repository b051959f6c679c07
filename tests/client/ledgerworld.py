"""A service in a ledger that is served as static files, so that every fault can be put into them."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from seclude.attestation.accept import SimulatedTable
from seclude.attestation.bundle import Bundle, Core, birth_report_data, serialize_bundle, serialize_core
from seclude.attestation.joinpolicy import serialize_join_policy
from seclude.attestation.policy import Demonstration, Policy
from seclude.attestation.slots import KEY_IDS, Slots
from seclude.attestation.snapshot import Release
from seclude.client.ledgersource import Source
from seclude.client.monitoring import Look, Monitor
from seclude.client.monitorstate import MonitorState
from seclude.client.trust import SlotTable, Trust
from seclude.daemon.answering import answering
from seclude.daemon.messages import Request, Response
from seclude.daemon.server import Server
from seclude.ledger import EpochSubmission, serialize_epoch
from seclude.ohttp.keyconfig import parse_key_configs, serialize_key_configs
from seclude.tlog.keys import SignerKey
from seclude.tlog.tiles import ENTRIES, TILE_WIDTH, serialize_entries, tile_path, tiles_of
from tests.attestation.test_verify import CORE, MEASUREMENT, Hardware
from tests.ledgers import YEAR, LedgerHere, Tree

PERIOD = 600
NOW = 5
DAY = 86_400


def tiles(tree: Tree, size: int | None = None) -> dict[str, bytes]:
    """Return the files of a log, below its own path."""
    size = len(tree) if size is None else size
    files = {}
    for level, index, width in tiles_of(size):
        nodes = [tree.node(8 * level, index * TILE_WIDTH + place) for place in range(width)]
        files[tile_path(level, index, width)] = b"".join(nodes)
        if level == 0:
            entries = tree.entries[index * TILE_WIDTH : index * TILE_WIDTH + width]
            files[tile_path(ENTRIES, index, width)] = serialize_entries(entries)
    return files


@dataclass
class World:
    """A service in the sixth slot of its life, with one release that stands since before it began."""

    maturity_seconds: int = 0
    now: int = field(default_factory=lambda: int(time.time()))
    ledger: LedgerHere = field(default_factory=LedgerHere)
    hardware: Hardware = field(default_factory=Hardware)
    shown: dict[int, bytes] = field(default_factory=dict)
    """What the ledger serves behind the leaves."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Instead of what `serve` would give, or beside it."""
    gone: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    age: int = NOW
    """The slot of the present moment."""

    def __post_init__(self) -> None:
        self.slots = Slots(t0=self.now - self.age * PERIOD - 100, period_seconds=PERIOD)
        self.root = self.hardware.certificate(root=True, start=self.slots.t0 - DAY, days=800)
        self.certificate = self.hardware.certificate(start=self.slots.t0 - DAY, days=800)
        self.publish(self.release(expires=self.now + YEAR), expires=self.now + YEAR)

    def twin(self) -> "World":
        """Return the same service, whose logs go on by themselves."""
        other = World(self.maturity_seconds, self.now, self.ledger.split(), self.hardware, dict(self.shown))
        other.slots, other.ledger.state = self.slots, self.ledger.state.copy()
        return other

    @property
    def policy(self) -> Policy:
        table = self.ledger.table(maturity_seconds=self.maturity_seconds)
        document = Demonstration(ledger=table, simulated=SimulatedTable(roots=(self.root,)))
        return Policy(origin="ai.example", slots=self.slots, document=document)

    def trust(self, *relays: str) -> Trust:
        document = self.policy.document
        return Trust("ai.example", relays or ("http://127.0.0.1:1/",), SlotTable(self.slots.t0, PERIOD), document)

    def release(self, manifest: bytes = MEASUREMENT, **parts: object) -> Release:
        return self.ledger.release(manifest, now=self.slots.t0 - 100, **parts)  # type: ignore[arg-type]

    def publish(self, *releases: Release, at: float | None = None, **parts: object) -> bytes:
        moment = self.slots.t0 - 100 if at is None else at
        return self.ledger.publish(*releases, now=moment, **parts)  # type: ignore[arg-type]

    def core(self, epoch: int, **changes: object) -> Core:
        """Return a core as an honest worker makes it in the slot before its own."""
        configs = [replace(each, key_id=KEY_IDS[each.kem](epoch)) for each in parse_key_configs(CORE.key_configs)]
        fields: dict[str, object] = {
            "epoch": epoch,
            "key_configs": serialize_key_configs(configs),
            "join_policy": serialize_join_policy(self.policy.for_measurement(MEASUREMENT)),
            "checkpoint": self.ledger.keys_checkpoint(self.born(epoch)),
            **changes,
        }
        return replace(CORE, **fields)  # type: ignore[arg-type]

    def born(self, epoch: int) -> int:
        return self.slots.start(epoch) - PERIOD + 5

    def bundle(self, core: Core, *, measured: bytes | None = None) -> Bundle:
        encoded = serialize_core(core)
        report = replace(
            self.hardware.report(birth_report_data(encoded)),
            issued_at=self.born(core.epoch) + 1,
            measurement=core.manifest_digest if measured is None else measured,
        )
        return Bundle(encoded, self.hardware.evidence(report, self.certificate))

    def log(self, epoch: int, core: Core | None = None, bundle: Bundle | None = None) -> Bundle:
        """Log one epoch, as a gateway would."""
        bundle = self.bundle(core or self.core(epoch)) if bundle is None else bundle
        self.ledger.log(epoch, bundle.core, bundle.evidence)
        self.shown[epoch] = serialize_epoch(EpochSubmission(epoch, bundle.core, bundle.evidence))
        return bundle

    def fill(self, last: int = NOW, first: int = 0) -> None:
        """Log epochs up to `last`, each honestly."""
        for epoch in range(first, last + 1):
            self.log(epoch)

    def stapled(self, bundle: Bundle, at: float | None = None) -> bytes:
        """Return a whole bundle as relays give it."""
        return serialize_bundle(replace(bundle, proofs=self.ledger.proofs(self.now - 2 if at is None else at)))

    def checkpoint(self, log: str, at: float | None = None, **options: object) -> bytes:
        tree, key = self.log_of(log)
        return self.ledger.checkpoint(tree, key, self.now - 2 if at is None else at, **options)  # type: ignore[arg-type]

    def log_of(self, log: str) -> tuple[Tree, SignerKey]:
        return getattr(self.ledger, log), getattr(self.ledger, f"{log}_key")

    def serve(self) -> dict[str, bytes]:
        """Return every file that the ledger serves now, by its path."""
        files = {f"/epochs/{epoch}": data for epoch, data in self.shown.items()}
        for log in ("keys", "state"):
            files[f"/{log}/checkpoint"] = self.checkpoint(log)
            files |= {f"/{log}/{path}": data for path, data in tiles(self.log_of(log)[0]).items()}
        files |= self.files
        return {path: data for path, data in files.items() if path not in self.gone}

    @asynccontextmanager
    async def up(self) -> AsyncIterator[str]:
        """Serve what there is at each moment, and yield the address."""

        async def handle(request: Request) -> Response:
            await request.body.read()
            self.asked.append(request.path)
            data = self.serve().get(request.path)
            return Response(404, "text/plain", b"") if data is None else Response(200, "text/plain", data)

        server = Server(answering(handle))
        address = await server.start("127.0.0.1:0")
        try:
            yield f"http://{address}"
        finally:
            await server.drain(1.0)

    async def look(
        self, state: MonitorState | None = None, *, clock: Callable[[], float] | None = None
    ) -> tuple[Look, MonitorState]:
        """Look once with the monitor, and return what it remembers."""
        policy = self.policy
        assert policy.ledger is not None
        async with self.up() as url:
            source = Source(url)
            try:
                monitor = Monitor(
                    policy,
                    policy.ledger,
                    source,
                    state or MonitorState(origin=policy.origin),
                    clock or (lambda: float(self.now)),
                )
                return await monitor.look(), monitor.state
            finally:
                await source.close()
