"""The ledger as a whole: both logs, three witnesses, and what gateways, publishers and readers ask of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import asdict

from ledger.config import Config
from ledger.keyfiles import create_signer
from seclude.attestation.ledger import open_logs, require_leaf
from seclude.attestation.pins import Ledger
from seclude.attestation.proofs import Proofs, parse_proofs
from seclude.attestation.snapshot import Release, Snapshot, parse_snapshot, render_snapshot
from seclude.daemon.config import load
from seclude.ledger import EPOCH_LABEL, STATE_LABEL, EpochSubmission, parse_epoch, seal_submission, serialize_epoch
from seclude.tlog.cosigned import open_cosigned
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, generate_skey, parse_vkey
from seclude.tlog.merkle import leaf_hash
from seclude.tlog.note import parse_note
from seclude.tlog.quorum import parse_quorum
from seclude.tlog.signing import sign_note
from tests.ledger.ledger_rig import ROOT, LedgerFolder
from tests.ledger.witness_rig import Answer
from tests.ledger.witness_rig import Process as WitnessProcess

PERIOD = 600
ORIGIN = "assistant.example"


@dataclass
class Service:
    """A running ledger of one service with its witnesses."""

    ledger: LedgerFolder
    pins: Ledger
    slot: int
    issued: int = field(default_factory=lambda: int(time.time()) - 1000)

    def epoch(self, number: int, core: bytes = b"core") -> Answer:
        payload = serialize_epoch(EpochSubmission(number, core, b"evidence"))
        return self.ledger.ask("POST", "/keys/add", seal_submission(EPOCH_LABEL, payload, self.ledger.secret))

    def snapshot(self, count: int = 2) -> tuple[bytes, Answer]:
        """Submit one that is newer than all before."""
        entry = self.make_snapshot(count)
        return entry, self.ledger.ask("POST", "/state/add", seal_submission(STATE_LABEL, entry, self.ledger.secret))

    def make_snapshot(self, count: int = 2) -> bytes:
        self.issued += 1
        issued = self.issued
        release = Release(
            role="worker",
            manifest="ab" * 32,
            source="https://git.example/s",
            revision="0" * 40,
            issued=issued,
            expires=issued + 9_000,
        )
        snapshot = Snapshot(origin=ORIGIN, issued=issued, expires=issued + 86_400, releases=(release,))
        return sign_note(render_snapshot(snapshot), *PUBLISHERS[:count])

    def proofs(self) -> Proofs:
        answer = self.ledger.ask("GET", "/proofs")
        assert answer.status == 200, answer.body
        return parse_proofs(answer.body)


PUBLISHERS = [generate_skey(f"publisher.example/{name}", ED25519) for name in ("a", "b", "c")]
KEYS = {name: generate_skey(f"{ORIGIN}/{name}", ED25519) for name in ("keys", "state")}


@contextmanager
def serving(folder: Path, maturity: int) -> Iterator[Service]:
    """Run a ledger with three witnesses, two of which are a quorum."""
    ledger = LedgerFolder(folder, cosign_seconds=0.5)
    witnesses = []
    lines = []
    for place in range(3):
        own = folder / f"w{place}"
        own.mkdir()
        key = generate_skey(f"witness.example/w{place}", COSIGNATURE_ED25519)
        process = WitnessProcess(own, [each.verifier for each in KEYS.values()], keys=[key]).start("--new")
        witnesses.append(process)
        lines.append(f"witness w{place} {key.verifier} http://{process.listen}")
    ledger.policy.write_text("\n".join([*lines, "group most 2 w0 w1 w2", "quorum most", ""]))
    slot = 20
    t0 = int(time.time()) - slot * PERIOD - PERIOD // 2
    tables = []
    for name, signer in KEYS.items():
        create_signer(folder / f"{name}.key", signer)
        tables.append(f'[{name}]\nkey = "{folder / name}.key"')
    text = ledger.config.read_text().split("[plain]")[0]
    publishers = msgspec.json.encode([str(key.verifier) for key in PUBLISHERS]).decode()
    ledger.config.write_text(
        f'{text}origin = "{ORIGIN}"\nt0 = {t0}\nperiod_seconds = {PERIOD}\nmaturity_seconds = {maturity}\n'
        f"publishers = {publishers}\n" + "\n".join(tables)
    )
    verifiers = {name: key.verifier for name, key in KEYS.items()}
    quorum = parse_quorum(ledger.policy.read_text())
    pins = Ledger(
        verifiers["keys"], verifiers["state"], tuple(key.verifier for key in PUBLISHERS), quorum, maturity, None
    )
    ledger.start()
    try:
        yield Service(ledger, pins, slot)
    finally:
        ledger.stop()
        for process in witnesses:
            process.stop()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One ledger for all tests that leave it as good as it was."""
    with serving(tmp_path_factory.mktemp("ledger"), 86_400) as found:
        yield found


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def index_of(answer: Answer) -> int:
    assert answer.status == 200, answer.body
    return int(msgspec.json.decode(answer.body)["index"])


def detail(answer: Answer) -> str:
    assert answer.media_type == "application/problem+json"
    return str(msgspec.json.decode(answer.body)["detail"])


def test_what_is_stapled_shows_both_logs_to_a_device(service: Service) -> None:
    now = int(time.time())
    assert index_of(service.epoch(service.slot)) == service.slot
    entry, answer = service.snapshot()
    size = index_of(answer) + 1
    proofs = service.proofs()
    keys, state = open_logs(proofs, service.pins)
    assert (keys.checkpoint.size > service.slot, state.checkpoint.size) == (True, size)
    assert proofs.keys.outline.root() == keys.checkpoint.root
    assert proofs.state.outline.root() == state.checkpoint.root
    require_leaf(proofs, service.slot, b"core", b"evidence")
    assert proofs.snapshot == entry
    assert proofs.state.outline.leaf(size - 1) == leaf_hash(entry)
    assert now - 5 <= keys.since <= now + 60


def test_a_keys_log_without_entries_is_cosigned_and_proofs_wait_for_a_snapshot(tmp_path: Path) -> None:
    """Workers bind the empty keys log before the first epoch is logged."""
    with serving(tmp_path, 0) as service:
        wait_for(lambda: service.ledger.ask("GET", "/keys/checkpoint").status == 200)
        answer = service.ledger.ask("GET", "/keys/checkpoint")
        assert open_cosigned(answer.body, service.pins.keys_log, service.pins.quorum).checkpoint.size == 0
        assert answer.media_type == "text/plain; charset=utf-8"
        wait_for(lambda: "state log is empty" in detail(service.ledger.ask("GET", "/proofs")))
        assert service.ledger.ask("GET", "/proofs").status == 503
        assert service.snapshot()[1].status == 200
        assert service.proofs().keys.outline.size == 0
        assert service.proofs().earlier is None, "nobody asks how long anything stands"


def test_the_stapled_older_checkpoint_is_the_newest_that_is_mature(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as service:
        first, answer = service.snapshot()
        assert answer.status == 200
        proofs = service.proofs()
        assert proofs.earlier is not None
        assert proofs.earlier.snapshot == b"", "itself, which is not old enough yet: it shows since when it stands"
        second, answer = service.snapshot()
        assert answer.status == 200
        earlier = service.proofs().earlier
        assert earlier is not None
        assert earlier.snapshot == first
        wait_for(lambda: (found := service.proofs().earlier) is not None and found.snapshot == b"")
        shown = service.proofs()
        assert shown.earlier is not None
        older = open_cosigned(shown.earlier.checkpoint, service.pins.state_log, service.pins.quorum)
        assert (older.checkpoint.size, shown.snapshot) == (2, second)
        assert older.until <= time.time() - 2
        assert shown.state.outline.root_at(2) == older.checkpoint.root


def test_what_stands_behind_a_leaf_can_be_read(service: Service) -> None:
    assert service.epoch(service.slot).status == 200
    answer = service.ledger.ask("GET", f"/epochs/{service.slot}")
    assert parse_epoch(answer.body) == EpochSubmission(service.slot, b"core", b"evidence")
    (service.ledger.data / f"epochs/{service.slot - 1}").write_bytes(b"what a batch that failed has left")
    for path in (str(service.slot - 1), str(service.slot + 9), "020", "-1", "x", "..%2Fkeys%2Fhead"):
        assert service.ledger.ask("GET", f"/epochs/{path}").status == 404


def test_a_submission_that_is_sent_again_is_answered_alike(service: Service) -> None:
    entry, first = service.snapshot()
    body = seal_submission(STATE_LABEL, entry, service.ledger.secret)
    assert index_of(service.ledger.ask("POST", "/state/add", body)) == index_of(first)
    assert index_of(service.epoch(service.slot)) == index_of(service.epoch(service.slot)) == service.slot


def test_a_snapshot_stands_where_its_publisher_saw_that_it_would_or_nowhere(service: Service) -> None:
    """Of two that were made from one, the ledger takes one, whatever both publishers saw before."""
    _, answer = service.snapshot()
    size = index_of(answer) + 1
    bodies = []
    for _ in range(2):
        entry = service.make_snapshot()
        bodies.append(seal_submission(STATE_LABEL, entry, service.ledger.secret))
    assert index_of(service.ledger.ask("POST", f"/state/add/{size}", bodies[0])) == size
    refused = service.ledger.ask("POST", f"/state/add/{size}", bodies[1])
    assert (refused.status, "another one came between" in detail(refused)) == (409, True)
    assert index_of(service.ledger.ask("POST", f"/state/add/{size}", bodies[0])) == size, "sent again"
    for place in ("", "x", "-1", f"0{size}", f"{size}/"):
        assert service.ledger.ask("POST", f"/state/add/{place}", bodies[1]).status == 404
    assert service.ledger.ask("GET", f"/state/add/{size}").status == 405


def test_a_second_key_for_a_slot_is_refused_in_words(service: Service) -> None:
    assert service.epoch(service.slot).status == 200
    answer = service.epoch(service.slot, b"another core")
    assert answer.status == 409
    assert "has other keys in the log" in detail(answer)
    assert service.epoch(service.slot + 2).status == 400


def test_a_snapshot_of_one_publisher_is_refused_in_words(service: Service) -> None:
    _, answer = service.snapshot(count=1)
    assert (answer.status, "it takes 2 of the 3 publishers" in detail(answer)) == (400, True)


def test_whoever_holds_no_secret_adds_nothing(service: Service) -> None:
    payload = serialize_epoch(EpochSubmission(service.slot, b"core", b"evidence"))
    for secret, label in ((bytes(32), EPOCH_LABEL), (service.ledger.secret, STATE_LABEL)):
        answer = service.ledger.ask("POST", "/keys/add", seal_submission(label, payload, secret))
        assert answer.status == 403
    assert service.ledger.ask("POST", "/keys/add", b"short").status == 403
    metrics = service.ledger.ask("GET", "/metrics", admin=True).body.decode()
    assert 'seclude_ledger_refused_total{log="keys",reason="unauthorized"} 3.0' in metrics


@pytest.mark.parametrize(
    "path", ["/x", "/keys", "/keys/", "/keys/head", "/keys/tile/0/000", "/plain/checkpoint", "/state/first/1", "//"]
)
def test_nothing_else_is_served(service: Service, path: str) -> None:
    assert service.ledger.ask("GET", path).status == 404


def test_tiles_are_kept_for_ever_and_checkpoints_for_seconds(service: Service) -> None:
    service.epoch(service.slot)
    service.snapshot()
    size = service.proofs().keys.outline.size
    expected = {
        f"/keys/tile/0/000.p/{size}": "public, max-age=31536000, immutable",
        f"/keys/tile/entries/000.p/{size}": "public, max-age=31536000, immutable",
        f"/epochs/{service.slot}": "public, max-age=31536000, immutable",
        "/keys/checkpoint": "public, max-age=2",
        "/proofs": "public, max-age=2",
    }
    for path, caching in expected.items():
        connection = HTTPConnection(service.ledger.listen, timeout=10)
        connection.request("HEAD", path)
        response = connection.getresponse()
        assert (response.status, response.getheader("Cache-Control"), response.read()) == (200, caching, b""), path
        connection.close()


def test_methods_are_those_that_make_sense(service: Service) -> None:
    assert service.ledger.ask("POST", "/proofs", b"x").status == 405
    assert service.ledger.ask("GET", "/keys/add").status == 405


def test_the_page_shows_what_stands_in_the_logs(service: Service) -> None:
    service.epoch(service.slot)
    service.snapshot()
    answer = service.ledger.ask("GET", "/")
    assert answer.media_type == "text/html; charset=utf-8"
    page = answer.body.decode()
    assert ORIGIN in page
    assert "ab" * 32 in page


def test_the_operator_sees_ages_and_sizes(service: Service) -> None:
    service.epoch(service.slot)
    metrics = service.ledger.ask("GET", "/metrics", admin=True).body.decode()
    sizes = [line for line in metrics.splitlines() if line.startswith('seclude_ledger_log_entries{log="keys"}')]
    assert float(sizes[0].rsplit(" ", 1)[1]) > service.slot
    ages = [line for line in metrics.splitlines() if line.startswith("seclude_ledger_cosignature_age_seconds{")]
    assert len(ages) == 6
    assert min(float(line.rsplit(" ", 1)[1]) for line in ages) < 30
    assert service.ledger.ask("GET", "/readyz", admin=True).status == 200


def test_it_goes_on_after_a_restart(service: Service) -> None:
    service.epoch(service.slot)
    entry, _ = service.snapshot()
    service.ledger.stop()
    service.ledger.start()
    proofs = service.proofs()
    assert (proofs.keys.outline.size > service.slot, proofs.snapshot) == (True, entry)
    assert index_of(service.epoch(service.slot + 1)) == service.slot + 1
    assert parse_snapshot(parse_note(service.proofs().snapshot).text).origin == ORIGIN


# What is wrong with a configuration.


def problems(ledger: LedgerFolder, text: str) -> str:
    ledger.config.write_text(text)
    return ledger.refuse("check-config")


def test_a_configuration_is_refused_with_every_problem(tmp_path: Path) -> None:
    ledger = LedgerFolder(tmp_path)
    ledger.policy.write_text("quorum w1\n")
    said = problems(
        ledger,
        f'data = "{ledger.data}"\nwitnesses = "{ledger.policy}"\nanchors = "{ledger.data}/anchors"\n'
        f'publishers = ["x"]\nsubmit_secrets = ["{tmp_path}/missing"]\n[keys]\nkey = "{tmp_path}/plain.key"\n'
        f'[state]\nkey = "{tmp_path}/plain.key"\n',
    )
    for words in (
        "keys: needs t0 and period_seconds",
        "state: needs origin",
        "publishers: a snapshot with releases takes 2",
        "anchors: inside data",
        "submit_secrets: ",
        "publishers[0]: ",
        "no line above defines w1",
        "two logs have keys of one name",
    ):
        assert words in said


def test_a_quorum_that_nobody_with_a_url_can_meet_is_refused(tmp_path: Path) -> None:
    ledger = LedgerFolder(tmp_path)
    key = generate_skey("witness.example/w", COSIGNATURE_ED25519)
    ledger.policy.write_text(f"witness w {key.verifier}\nquorum w\n")
    assert "those with a URL do not meet the quorum" in ledger.refuse("check-config")
    ledger.policy.write_text(f"witness w {key.verifier} http://192.0.2.1\nquorum w\n")
    assert "witness w: " in ledger.refuse("check-config")


def test_a_log_of_keys_that_is_cosigned_more_seldom_than_devices_ask_is_refused(tmp_path: Path) -> None:
    ledger = LedgerFolder(tmp_path, cosign_seconds=11.0)
    text = ledger.config.read_text().replace("[plain]", "t0 = 0\nperiod_seconds = 10\n[keys]")
    assert "cosign_seconds: longer than a period" in problems(ledger, text)
    assert "cosign_seconds" not in problems(ledger, text.replace("= 10\n", "= 11\n"))


def test_a_configuration_without_a_log_is_refused(tmp_path: Path) -> None:
    ledger = LedgerFolder(tmp_path)
    text = ledger.config.read_text().split("[plain]")[0]
    assert "no log is named" in problems(ledger, text)


def test_the_key_of_a_witness_or_a_publisher_in_the_wrong_place_is_refused(tmp_path: Path) -> None:
    ledger = LedgerFolder(tmp_path)
    witness = generate_skey("witness.example/w", COSIGNATURE_ED25519)
    create_signer(tmp_path / "w.key", witness)
    text = ledger.config.read_text().replace("plain.key", "w.key")
    assert "the key of a witness" in problems(ledger, text)


def test_the_example_has_every_default() -> None:
    example = load(ROOT / "deploy/ledger.toml", Config)
    bare = Config(data=example.data, witnesses=example.witnesses)
    needed = {"data", "witnesses", "anchors", "origin", "t0", "period_seconds", "publishers", "submit_secrets"}
    changed = {name for name, value in asdict(example).items() if value != getattr(bare, name)}
    assert changed == needed - {"data", "witnesses"} | {"keys", "state"}
    assert example.anchors_folder == bare.anchors_folder
    assert [parse_vkey(text).name for text in example.publishers] == ["alice.example", "bob.example"]
    text = (ROOT / "deploy/ledger.toml").read_text()
    assert [name for name in asdict(bare) if f"{name} = " not in text and f"[{name}]" not in text] == []
