"""A ledger inside the test: two logs with their witnesses and publishers, honest unless it is told to lie.

It makes what `seclude-ledger` and `seclude-witness` make, by the library's own functions, so that verifiers can be
tried with everything that those would never say.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from seclude.attestation.accept import LedgerTable
from seclude.attestation.proofs import VOID, Earlier, LogView, Proofs, epoch_entry, serialize_proofs
from seclude.attestation.snapshot import Release, Snapshot, render_snapshot
from seclude.tlog.checkpoint import Checkpoint, render_checkpoint
from seclude.tlog.cosignature import cosign, sign_checkpoint
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, SignerKey, generate_skey
from seclude.tlog.merkle import leaf_hash, node_hash, tree_root
from seclude.tlog.note import Note, add_signatures, serialize_note
from seclude.tlog.outline import make_outline
from seclude.tlog.signing import sign_note

ORIGIN: Final = "ai.example"
YEAR: Final = 365 * 86_400
SOURCE: Final = "https://code.example/assistant"
REVISION: Final = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Tree:
    """A log of entries, all in memory."""

    entries: list[bytes] = field(default_factory=list)
    _nodes: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.entries)

    def node(self, level: int, index: int) -> bytes:
        if level == 0:
            return leaf_hash(self.entries[index])
        if (level, index) not in self._nodes:
            left, right = self.node(level - 1, 2 * index), self.node(level - 1, 2 * index + 1)
            self._nodes[level, index] = node_hash(left, right)
        return self._nodes[level, index]

    def root(self, size: int) -> bytes:
        return tree_root(size, self.node)

    def copy(self) -> "Tree":
        return Tree(list(self.entries))


@dataclass
class LedgerHere:
    """Keys of everybody, and both trees."""

    witnesses: int = 3
    quorum: int = 2
    publishers: int = 3
    origin: str = ORIGIN
    algorithm: int = COSIGNATURE_ED25519
    """Of the witnesses' keys."""

    def __post_init__(self) -> None:
        self.keys_key = generate_skey("log.example/keys", ED25519)
        self.state_key = generate_skey("log.example/state", ED25519)
        self.witness_keys = [generate_skey(f"witness-{n}.example", self.algorithm) for n in range(self.witnesses)]
        self.publisher_keys = [generate_skey(f"publisher-{n}.example", ED25519) for n in range(self.publishers)]
        self.keys = Tree()
        self.state = Tree()

    def table(self, *, maturity_seconds: int = 0, max_checkpoint_age_seconds: int | None = None) -> LedgerTable:
        """Return what a policy pins of it."""
        return LedgerTable(
            keys_log=str(self.keys_key.verifier),
            state_log=str(self.state_key.verifier),
            publishers=tuple(str(key.verifier) for key in self.publisher_keys),
            witnesses=self.quorum_text(),
            maturity_seconds=maturity_seconds,
            max_checkpoint_age_seconds=max_checkpoint_age_seconds,
        )

    def quorum_text(self) -> str:
        lines = [f"witness w{n} {key.verifier}" for n, key in enumerate(self.witness_keys)]
        members = " ".join(f"w{n}" for n in range(self.witnesses))
        return "\n".join([*lines, f"group most {self.quorum} {members}", "quorum most", ""])

    def release(
        self,
        manifest: bytes,
        *,
        now: float,
        role: str = "worker",
        expires: float | None = None,
        measurements: Mapping[str, tuple[str, ...]] | None = None,
    ) -> Release:
        """Return a release of software; `publish` makes it count."""
        return Release(
            role=role,
            manifest=manifest.hex(),
            source=SOURCE,
            revision=REVISION,
            issued=int(now),
            expires=int(now + YEAR if expires is None else expires),
            measurements=dict(measurements or {}),  # type: ignore[arg-type]
        )

    def publish(self, *releases: Release, now: float, signers: Sequence[int] = (0, 1), **parts: object) -> bytes:
        """Append a snapshot with these releases, and return its entry; `parts` are other fields of it."""
        fields: dict[str, object] = {"origin": self.origin, "issued": int(now), "expires": int(now) + YEAR, **parts}
        snapshot = Snapshot(releases=releases, **fields)  # type: ignore[arg-type]
        entry = sign_note(render_snapshot(snapshot), *(self.publisher_keys[place] for place in signers))
        self.state.entries.append(entry)
        return entry

    def log(self, epoch: int, core: bytes, evidence: bytes) -> None:
        """Append an epoch's leaf, and void ones before it for slots that were missed."""
        while len(self.keys) < epoch:
            self.keys.entries.append(VOID)
        assert len(self.keys) == epoch, "a log does not take back a leaf"
        self.keys.entries.append(epoch_entry(core, evidence))

    def checkpoint(
        self,
        tree: Tree,
        log_key: SignerKey,
        now: float,
        *,
        size: int | None = None,
        by: Sequence[int] | None = None,
        times: Mapping[int, float] | None = None,
    ) -> bytes:
        """Return a checkpoint of a tree, cosigned by witnesses `by` (all unless said), at `now` or at their `times`."""
        size = len(tree) if size is None else size
        checkpoint = Checkpoint(log_key.verifier.name, size, tree.root(size))
        note = Note(render_checkpoint(checkpoint), (sign_checkpoint(checkpoint, log_key, int(now)),))
        for place in range(self.witnesses) if by is None else by:
            moment = int((times or {}).get(place, now))
            note = add_signatures(note, cosign(checkpoint, self.witness_keys[place], moment))
        return serialize_note(note)

    def keys_checkpoint(self, now: float, **options: object) -> bytes:
        """Return what a worker binds as it makes a core."""
        return self.checkpoint(self.keys, self.keys_key, now, **options)  # type: ignore[arg-type]

    def view(self, now: float, *, earlier: float | None = None, earlier_size: int | None = None) -> Proofs:
        """Return what a ledger shows at `now`; with `earlier`, also a state checkpoint that was cosigned then."""
        stood = None
        if earlier is not None:
            size = len(self.state) if earlier_size is None else earlier_size
            snapshot = b"" if size == len(self.state) else self.state.entries[size - 1]
            stood = Earlier(self.checkpoint(self.state, self.state_key, earlier, size=size), snapshot)
        return Proofs(
            keys=LogView(self.keys_checkpoint(now), make_outline(len(self.keys), self.keys.node)),
            state=LogView(
                self.checkpoint(self.state, self.state_key, now), make_outline(len(self.state), self.state.node)
            ),
            snapshot=self.state.entries[-1] if self.state.entries else b"",
            earlier=stood,
        )

    def proofs(self, now: float, **options: object) -> bytes:
        """Return what a gateway staples."""
        return serialize_proofs(self.view(now, **options))  # type: ignore[arg-type]

    def changed(self, now: float, change: Callable[[Proofs], Proofs]) -> bytes:
        """Return proofs that somebody has changed."""
        return serialize_proofs(change(self.view(now)))

    def split(self) -> "LedgerHere":
        """Return the same keys over trees of their own: what a log that lies shows to one person."""
        other = replace(self)
        for name in ("keys_key", "state_key", "witness_keys", "publisher_keys"):
            setattr(other, name, getattr(self, name))
        other.keys, other.state = self.keys.copy(), self.state.copy()
        return other


NOBODYS: Final = LedgerHere().table()
"""Of a ledger that nobody runs, for policies whose tests are about something else."""
