"""One log of a running ledger: what its parts tell each other about clocks, room and keys."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path

import pytest
from msgspec.structs import replace

from ledger.config import Config, LogConfig, load_material
from ledger.keyfiles import create_signer
from ledger.logs import Log, Opener
from ledger.proofs import max_snapshot
from ledger.report import EVENTS, WORDS, Report
from ledger.rules import MAX_CLOCK_DIFFERENCE, Refusal, RefusedError
from ledger.serving import Serving
from ledger.witnesses import Asker, connect
from seclude.attestation.bundle import MAX_CHECKPOINT, MAX_PROOFS
from seclude.attestation.proofs import Earlier, LogView, Proofs, serialize_proofs
from seclude.attestation.snapshot import Snapshot, render_snapshot
from seclude.daemon.log import Log as EventLog
from seclude.daemon.messages import Request
from seclude.daemon.metrics import Metrics
from seclude.daemon.tls import ClientCertificates
from seclude.errors import ConfigError, UsageError
from seclude.ledger import EpochSubmission, serialize_epoch
from seclude.tlog.checkpoint import Checkpoint
from seclude.tlog.cosignature import cosign
from seclude.tlog.cosigned import Cosigned, open_cosigned
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, ML_DSA_44, SignerKey, generate_skey
from seclude.tlog.merkle import HASH_BYTES
from seclude.tlog.note import add_signatures, parse_note, serialize_note
from seclude.tlog.outline import Outline, outline_length
from seclude.tlog.signing import sign_note

ORIGIN = "assistant.example"
T0, PERIOD = 1_800_000_000, 600
YEAR = 365 * 86_400
PUBLISHERS = [generate_skey(f"publisher.example/{name}", ED25519) for name in ("a", "b")]
WITNESS = generate_skey("witness.example/w", COSIGNATURE_ED25519)


@dataclass
class House:
    """The files of a ledger, and what opens its logs at any time."""

    folder: Path
    now: float = T0 + 5 * PERIOD + 1
    witnesses: list[SignerKey] = field(default_factory=lambda: [WITNESS])
    threshold: int | None = None
    is_one_enough: bool = False
    """Whether the first witness alone is the quorum."""
    former: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.policy = self.folder / "witnesses.policy"
        for name in ("keys", "state"):
            if not self.key(name).exists():
                create_signer(self.key(name), generate_skey(f"{ORIGIN}/{name}", ED25519))

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def config(self) -> Config:
        lines = [f"witness w{n} {key.verifier} http://127.0.0.1:1/{n}" for n, key in enumerate(self.witnesses)]
        names = " ".join(f"w{n}" for n in range(len(lines)))
        rule = [f"group g {self.threshold or len(lines) // 2 + 1} {names}", "quorum g"]
        self.policy.write_text("\n".join([*lines, *(["quorum w0"] if self.is_one_enough else rule), ""]))
        return Config(
            data=str(self.folder / "data"),
            witnesses=str(self.policy),
            origin=ORIGIN,
            t0=T0,
            period_seconds=PERIOD,
            publishers=tuple(str(key.verifier) for key in PUBLISHERS),
            keys=LogConfig(str(self.key("keys"))),
            state=LogConfig(str(self.key("state")), self.former),
        )

    @contextmanager
    def log(self, name: str) -> Iterator[Log]:
        config = self.config()
        words = WORDS | frozenset({"keys", "state", "w0"})
        self.metrics = Metrics("ledger")
        report = Report(self.metrics, EventLog("ledger", events=EVENTS, words=words), lambda: self.now)
        opener = Opener(config, load_material(config), {}, report, lambda: self.now, lambda: None, accept_data=False)
        log = opener.open(name)
        try:
            yield log
        finally:
            log.close()

    def value(self, name: str) -> float:
        found = self.metrics.registry.get_sample_value(name)
        assert found is not None
        return found


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def cosign_head(log: Log, when: int) -> Cosigned:
    """Publish the head of a log, as its witness cosigned it then."""
    head = log.store.head
    note = serialize_note(add_signatures(parse_note(head.note), cosign(head.checkpoint, WITNESS, when)))
    size = head.checkpoint.size
    log.store.publish(note, {f"first/{size}": note} if size and size not in log.cosigning.first else None)
    published = log.cosigning.published = open_cosigned(note, log.key, log.cosigning._quorum)
    return published


def epoch(number: int) -> bytes:
    return serialize_epoch(EpochSubmission(number, b"core", b"evidence"))


class Tail:
    """A log without entries."""

    size = 0

    def leaf(self, index: int) -> bytes:
        raise AssertionError

    entry = leaf


def refusal(log: Log, payload: bytes) -> tuple[Refusal, str]:
    with pytest.raises(RefusedError) as caught:
        log.rule.admit(payload, Tail())
    return caught.value.refusal, str(caught.value)


def snapshot(**fields: int) -> Snapshot:
    return Snapshot(**{"origin": ORIGIN, "issued": T0, "expires": T0 + YEAR, **fields})  # type: ignore[arg-type]


def signed(made: Snapshot) -> bytes:
    return sign_note(render_snapshot(made), *PUBLISHERS)


# Clocks.


def test_a_clock_that_runs_ahead_makes_no_slots_void(house: House) -> None:
    """With a gateway on the same machine it would fill the log for years, and nothing takes that back."""
    house.now += YEAR
    with house.log("keys") as log:
        cosign_head(log, T0 + 5 * PERIOD)
        why, sentence = refusal(log, epoch((YEAR // PERIOD) + 5))
        assert why is Refusal.EARLY
        assert "by the clocks of the ledger and its witnesses" in sentence
        latest = 5 + MAX_CLOCK_DIFFERENCE // PERIOD + 1
        assert log.rule.admit(epoch(latest), Tail()).index == latest
        assert refusal(log, epoch(latest + 1))[0] is Refusal.EARLY


def test_a_clock_that_is_right_decides_and_so_does_one_that_is_behind(house: House) -> None:
    with house.log("keys") as log:
        cosign_head(log, int(house.now) - 5)
        assert log.rule.admit(epoch(6), Tail()).index == 6
        assert refusal(log, epoch(7))[0] is Refusal.EARLY
        house.now -= 2 * PERIOD
        assert refusal(log, epoch(5))[0] is Refusal.EARLY


def test_a_clock_that_runs_ahead_dates_no_snapshot(house: House) -> None:
    house.now += YEAR
    with house.log("state") as log:
        cosign_head(log, T0 + 5 * PERIOD)
        far = snapshot(issued=T0 + YEAR, expires=T0 + 2 * YEAR)
        assert refusal(log, signed(far))[0] is Refusal.EARLY
        assert log.rule.admit(signed(snapshot()), Tail()).index == 0


# Room.


def proofs_of(octets: int, checkpoint_octets: int) -> Proofs:
    """The largest proofs of a ledger whose snapshots and checkpoints have so many octets."""

    def view(size: int) -> LogView:
        return LogView(bytes(checkpoint_octets), Outline(size, [bytes(HASH_BYTES)] * outline_length(size)))

    old = Earlier(bytes(checkpoint_octets), bytes(octets))
    return Proofs(view((1 << 20) - 1), view((1 << 14) - 1), bytes(octets), old)


@pytest.mark.parametrize("checkpoint_octets", [400, 700, 10_000, MAX_CHECKPOINT])
def test_two_snapshots_of_the_largest_size_fit_into_proofs(checkpoint_octets: int) -> None:
    octets = max_snapshot(checkpoint_octets)
    assert octets > 0
    assert len(serialize_proofs(proofs_of(octets, checkpoint_octets))) <= MAX_PROOFS
    with pytest.raises(UsageError):
        serialize_proofs(proofs_of(octets + 400, checkpoint_octets))


def test_a_snapshot_that_would_leave_no_room_for_the_next_is_refused(house: House) -> None:
    """Or there would be no proofs at all from the moment on when it is the newest."""
    house.witnesses += [generate_skey(f"witness.example/{number}", ML_DSA_44) for number in range(8)]
    house.is_one_enough = True
    with house.log("state") as log:
        cosign_head(log, int(house.now))
        chips = tuple(f"{number:0128x}" for number in range(430))
        large = replace(snapshot(), chips={"sev-snp": chips})
        why, sentence = refusal(log, signed(large))
        assert why is Refusal.MALFORMED
        assert "name fewer chips" in sentence
        assert log.rule.admit(signed(replace(large, chips={"sev-snp": chips[:200]})), Tail()).index == 0


@pytest.mark.parametrize(("count", "algorithm"), [(10, ML_DSA_44), (32, ML_DSA_44)])
def test_more_witnesses_than_a_checkpoint_holds_are_refused_at_the_start(
    house: House, count: int, algorithm: int
) -> None:
    house.witnesses = [generate_skey(f"witness.example/{number}", algorithm) for number in range(count)]
    with pytest.raises(ConfigError, match=f"octets with all cosignatures, and devices read {MAX_CHECKPOINT}"):
        load_material(house.config())
    house.witnesses = house.witnesses[:8]
    assert load_material(house.config()).checkpoint_octets < MAX_CHECKPOINT


def test_as_many_witnesses_as_a_policy_may_name_fit_with_ed25519(house: House) -> None:
    house.witnesses = [generate_skey(f"witness.example/{number}", COSIGNATURE_ED25519) for number in range(32)]
    assert load_material(house.config()).checkpoint_octets < MAX_CHECKPOINT


def test_a_quorum_that_could_be_split_is_refused(house: House) -> None:
    house.witnesses = [generate_skey(f"witness.example/{number}", COSIGNATURE_ED25519) for number in range(4)]
    house.threshold = 2
    with pytest.raises(ConfigError, match="ask for k with 2k > n"):
        load_material(house.config())
    house.threshold = 3
    load_material(house.config())


# What is shown.


def test_the_operator_sees_when_the_newest_snapshot_expires(house: House) -> None:
    name = "seclude_ledger_snapshot_expiry_timestamp_seconds"
    with house.log("state") as log:
        assert isnan(house.value(name))
        cosign_head(log, int(house.now))
        assert isnan(house.value(name)), "of an empty log"
        for expires in (T0 + YEAR, T0 + YEAR - 1):
            log.store.commit([signed(snapshot(expires=expires))])
            cosign_head(log, int(house.now))
            assert house.value(name) == expires
        log.store.commit([b"no snapshot"])
        cosign_head(log, int(house.now))
        assert isnan(house.value(name))


def test_a_witness_that_forgot_is_counted_once_and_logged(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    with house.log("state") as log:
        (witness,) = log.cosigning._quorum.witnesses
        asker = Asker(witness, *connect(witness, ClientCertificates(), insecure_plaintext=False))
        asker.has_forgotten = True
        for _ in range(2):
            log._report.asked("state", asker, None)
        for result in ("forgot", "cosigned"):
            labels = {"log": "state", "witness": "w0", "result": result}
            assert house.metrics.registry.get_sample_value("seclude_ledger_witness_answers_total", labels) == 1
    assert '"result":"forgot"' in capsys.readouterr().err


async def test_tiles_are_read_in_no_event_loop(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with house.log("state") as log:
        log.store.commit([b"x"] * 256)
        threads = []
        read = type(log.store).tile

        def tile(store: object, wanted: object) -> bytes | None:
            threads.append(threading.current_thread())
            return read(store, wanted)  # type: ignore[arg-type]

        monkeypatch.setattr(type(log.store), "tile", tile)
        serving = Serving({"state": log}, (), log._report, None, None)
        for path in ("/state/tile/0/000", "/state/tile/entries/000"):
            response = await serving.handle(Request("GET", path, None, None, 0, None))  # type: ignore[arg-type]
            assert response.status == 200
        assert threading.main_thread() not in threads
        response = await serving.handle(Request("GET", "/state/tile/0/001", None, None, 0, None))  # type: ignore[arg-type]
        assert (response.status, response.fields) == (404, (("Cache-Control", "no-store"),))


# Keys.


def test_releases_stay_as_old_as_they_are_when_the_key_of_the_log_is_exchanged(house: House) -> None:
    with house.log("state") as log:
        log.store.commit([signed(snapshot())])
        log.store.anchor()
        first = cosign_head(log, int(house.now))
        before = log.key
    house.key("state").unlink()
    new = generate_skey(f"{ORIGIN}/state", ED25519)
    create_signer(house.key("state"), new)
    house.former = (str(before),)
    with house.log("state") as log:
        assert log.store.head.checkpoint == Checkpoint(f"{ORIGIN}/state", 1, first.checkpoint.root)
        assert log.cosigning.first[1].until == first.until
        cosign_head(log, int(house.now) + 60)
    house.former = ()
    with house.log("state") as log:
        assert log.cosigning.first[1].until == first.until, "and when the old one is no longer named"


@pytest.mark.parametrize(
    ("former", "words"),
    [
        ("x", "state.former\\[0\\]: "),
        (str(WITNESS.verifier), "the key of a witness"),
        (str(generate_skey(f"{ORIGIN}/keys", ED25519).verifier), "of another origin"),
    ],
)
def test_a_former_key_that_cannot_be_one_is_refused(house: House, former: str, words: str) -> None:
    house.former = (former,)
    with pytest.raises(ConfigError, match=words):
        load_material(house.config())


def test_a_checkpoint_that_cannot_be_read_is_a_sentence(house: House) -> None:
    with house.log("state") as log:
        log.store.commit([signed(snapshot())])
        log.store.anchor()
        cosign_head(log, int(house.now))
    shown = house.folder / "data/state/first/1"
    shown.unlink()
    shown.mkdir()
    with pytest.raises(ConfigError, match="first/1: Is a directory"), house.log("state"):
        pass
