"""`seclude-ledger submit` and `state`: a snapshot goes into the log, and comes out of it verified or not at all."""

import json
import os
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.keyfiles import create_submit_secret
from ledger.publish import compose, current, sign, submit
from ledger.publish.documents import StateFile, load_state
from seclude.attestation.snapshot import Revocation, Snapshot, render_snapshot
from seclude.tlog.canonical import to_base64
from seclude.tlog.keys import ED25519, generate_skey
from seclude.tlog.signing import sign_note
from tests.authority import Authority
from tests.ledger.publishing import (
    ALICE,
    BERT,
    LOG,
    ORIGIN,
    SECRET,
    WITNESSES,
    Ledger,
    digest_of,
    release_of,
    write_key,
    write_release,
)
from tests.running import ROOT

KEYS_LOG = generate_skey("assistant.example/keys", ED25519)
BUSY = '{"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": "no quorum of witnesses"}'


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with Ledger().serving() as ledger:
        yield ledger


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "submit.key"
    path.write_text(to_base64(SECRET))
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def trust(tmp_path: Path) -> str:
    """The trust file of a device that believes in this ledger."""
    quorum = "\\n".join(
        [
            *(f"witness w{number} {key.verifier}" for number, key in enumerate(WITNESSES)),
            "group all 2 w0 w1 w2",
            "quorum all",
        ]
    )
    document = tomllib.loads((ROOT / "deploy" / "release.toml").read_text())
    (root,) = document["measured"]["policy"]["simulated"]["roots"]
    path = tmp_path / "trust.toml"
    path.write_text(
        f"""
origin = "{ORIGIN}"
relays = ["http://127.0.0.1:1/"]
[slots]
t0 = 1767225600
period_seconds = 600
[policy]
purpose = "demonstration"
role = "worker"
[policy.simulated]
roots = ["{root}"]
[policy.ledger]
keys_log = "{KEYS_LOG.verifier}"
state_log = "{LOG.verifier}"
publishers = ["{ALICE.verifier}", "{BERT.verifier}"]
witnesses = "{quorum}"
maturity_seconds = 0
"""
    )
    return str(path)


def snapshot_of(**fields: object) -> Snapshot:
    now = int(time.time())
    return Snapshot(**{"origin": ORIGIN, "issued": now, "expires": now + 3600, **fields})  # type: ignore[arg-type]


def signed(folder: Path, *, name: str = "next.txt", **fields: object) -> str:
    """Write a snapshot that both publishers have signed."""
    path = folder / name
    path.write_bytes(sign_note(render_snapshot(snapshot_of(**fields)), ALICE, BERT))
    return str(path)


def send(ledger: Ledger, secret: str, path: str, *more: str) -> int:
    return submit.main(["--ledger", ledger.url, "--secret", secret, *more, path])


def test_what_two_publishers_made_together_stands_in_the_log(
    ledger: Ledger, secret: str, trust: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole way, as two people go it: one builds and signs, the other looks, signs and submits."""
    next_file, last_file = str(tmp_path / "next.txt"), str(tmp_path / "last.txt")
    keys = [write_key(tmp_path, key) for key in (ALICE, BERT)]
    added = write_release(tmp_path, release_of(1))
    assert compose.main(["--origin", ORIGIN, "--add", added, "--expires", "30", "--out", next_file]) == 0
    assert sign.main(["--key", keys[0], "--first", "--yes", next_file]) == 0
    assert send(ledger, secret, next_file) == 2, "one signature is not enough for a release"
    assert ledger.entries == []
    assert "1 signature by alice.example; it takes 2" in capsys.readouterr().err
    assert sign.main(["--key", keys[1], "--first", "--yes", next_file]) == 0
    assert send(ledger, secret, next_file) == 0
    assert current.main(["--ledger", ledger.url, "--trust", trust, "--out", last_file]) == 0
    said = capsys.readouterr().out
    assert f"releases {digest_of(1)}" in said
    assert "signed by alice.example and bert.example: good" in said
    assert "cosigned by w0, w1, w2" in said
    revoked = ["--from", last_file, "--revoke", f"{digest_of(1)}=broken", "--expires", "30", "--out", f"{next_file}.2"]
    assert compose.main(revoked) == 0
    assert sign.main(["--key", keys[1], "--from", last_file, "--yes", f"{next_file}.2"]) == 0
    assert send(ledger, secret, f"{next_file}.2") == 0, "one publisher alone may revoke everything"
    assert len(ledger.entries) == 2
    assert current.main(["--ledger", ledger.url, "--trust", trust]) == 0
    assert f"revoked {digest_of(1)}" in capsys.readouterr().out


def test_a_submission_is_sent_again_until_it_is_cosigned(
    ledger: Ledger, secret: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.answers = [(503, BUSY, 1)]
    assert send(ledger, secret, signed(tmp_path)) == 0
    assert len(ledger.entries) == 1
    ledger.answers = [(503, BUSY, 1)]
    assert send(ledger, secret, signed(tmp_path), "--wait", "0.5") == 1
    said = capsys.readouterr().err
    assert "not cosigned within 0.5 seconds, try again: the ledger answers 503: no quorum of witnesses" in said


def test_what_would_undo_what_came_between_is_refused(
    ledger: Ledger, secret: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two publishers make a snapshot from the same one: the second must not undo the revocation of the first."""
    revoked = Revocation(manifest=digest_of(1), reason="bad", revoked=1)
    last = signed(tmp_path, name="last.txt", releases=(release_of(1), release_of(2)))
    first = signed(tmp_path, name="first.txt", releases=(release_of(2),), revocations=(revoked,))
    second = signed(tmp_path, name="second.txt", releases=(release_of(1), release_of(2), release_of(3)))
    for path, more in ((last, ()), (first, ("--from", last)), (first, ("--from", last))):
        assert send(ledger, secret, path, *more) == 0
    assert send(ledger, secret, second, "--from", last) == 2
    assert "the log has another snapshot by now" in capsys.readouterr().err
    assert send(ledger, secret, second) == 2
    assert f"takes back the revocation of {digest_of(1)}" in capsys.readouterr().err
    assert len(ledger.entries) == 2
    assert send(ledger, secret, second, "--from", first) == 0, "who names what is undone may undo it"


@pytest.mark.parametrize("more", [("--from", "last.txt"), ()])
def test_what_comes_between_the_look_and_the_submission_is_not_undone_either(
    ledger: Ledger, secret: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    revoked = Revocation(manifest=digest_of(1), reason="bad", revoked=1)
    last = signed(tmp_path, name="last.txt", releases=(release_of(1), release_of(2)))
    first = signed(tmp_path, name="first.txt", releases=(release_of(2),), revocations=(revoked,))
    second = signed(tmp_path, name="second.txt", releases=(release_of(1), release_of(3)))
    assert send(ledger, secret, last) == 0
    ledger.rival = Path(first).read_bytes()
    assert send(ledger, secret, second, *(str(tmp_path / word) if "." in word else word for word in more)) == 1
    assert "refuses it with 409: another one came between" in capsys.readouterr().err
    assert len(ledger.entries) == 2


def test_the_newest_snapshot_must_be_there_to_be_compared_with(
    ledger: Ledger, secret: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = signed(tmp_path)
    assert send(ledger, secret, path, "--from", path) == 1
    assert "answers 404 for /state/checkpoint" in capsys.readouterr().err
    ledger.publish()
    assert send(ledger, secret, path, "--from", path) == 2
    assert "has no snapshot yet" in capsys.readouterr().err
    ledger.files["/state/checkpoint"] = b"nothing"
    assert send(ledger, secret, path) == 1
    assert "serves what is no log" in capsys.readouterr().err
    assert ledger.entries == []


def test_a_refusal_is_final_and_says_why(
    ledger: Ledger, secret: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.answers = [(409, '{"title": "Conflict", "detail": "older than the newest\\u001b[2J"}', 0)]
    assert send(ledger, secret, signed(tmp_path)) == 1
    assert "refuses it with 409: older than the newest\\x1b[2J" in capsys.readouterr().err
    other = tmp_path / "other.key"
    create_submit_secret(other)
    assert send(ledger, str(other), signed(tmp_path)) == 1
    assert "403: Forbidden; is it the ledger's own submit secret?" in capsys.readouterr().err


def test_a_ledger_shows_a_certificate_that_is_known(
    secret: str, trust: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    path = signed(tmp_path)
    with Ledger().serving(authority.issue("ledger")) as ledger:
        assert send(ledger, secret, path, "--ca", authority.certificate) == 0
        assert current.main(["--ledger", ledger.url, "--ca", authority.certificate, "--trust", trust]) == 0
        assert send(ledger, secret, path, "--ca", other.certificate, "--wait", "0") == 1
        assert current.main(["--ledger", ledger.url]) == 1
    assert capsys.readouterr().err.count("CERTIFICATE_VERIFY_FAILED") == 2


def test_a_ledger_that_is_not_there_is_said_to_be(
    secret: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Ledger().serving() as gone:
        pass
    assert send(gone, secret, signed(tmp_path), "--wait", "0") == 1
    assert "cannot be reached: Connection refused" in capsys.readouterr().err
    assert current.main(["--ledger", gone.url]) == 1


def test_an_empty_log_is_told_from_one_that_cannot_be_read(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    ledger.publish()
    assert current.main(["--ledger", ledger.url]) == 1
    assert "has no snapshot yet" in capsys.readouterr().err
    ledger.files["/state/checkpoint"] = b"nothing"
    assert current.main(["--ledger", ledger.url]) == 1
    assert "serves what is no log" in capsys.readouterr().err


def test_a_checkpoint_that_no_device_accepts_any_more_is_told(
    ledger: Ledger, trust: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.age_seconds = 1100
    ledger.append(Path(signed(tmp_path)).read_bytes())
    assert current.main(["--ledger", ledger.url, "--trust", trust]) == 0
    assert "TOO OLD" not in capsys.readouterr().out
    ledger.age_seconds = 1300
    ledger.publish()
    assert current.main(["--ledger", ledger.url, "--trust", trust]) == 0
    assert "TOO OLD: no device accepts this checkpoint" in capsys.readouterr().out


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257])
def test_the_last_entry_is_found_in_logs_of_every_size(
    ledger: Ledger, trust: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    ledger.entries = [b"older"] * (size - 1)
    ledger.append(Path(signed(tmp_path, releases=(release_of(5),))).read_bytes())
    assert current.main(["--ledger", ledger.url, "--trust", trust, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["verified"]
    assert answer["size"] == size
    assert answer["snapshot"]["releases"][0]["manifest"] == digest_of(5)
    assert answer["cosigned_by"] == ["w0", "w1", "w2"]


def test_a_full_tile_takes_the_place_of_partial_ones(ledger: Ledger, trust: str, tmp_path: Path) -> None:
    ledger.append(Path(signed(tmp_path)).read_bytes())
    for path in [path for path in ledger.files if ".p/" in path]:
        ledger.files[path.partition(".p/")[0]] = ledger.files.pop(path)
    assert current.main(["--ledger", ledger.url, "--trust", trust]) == 0


def test_without_a_trust_file_nothing_is_said_to_be_verified(
    ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.append(Path(signed(tmp_path)).read_bytes())
    assert current.main(["--ledger", ledger.url]) == 0
    assert "NOT VERIFIED" in capsys.readouterr().out
    assert current.main(["--ledger", ledger.url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"] is False


def test_what_does_not_verify_is_not_shown(
    ledger: Ledger, trust: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = Path(signed(tmp_path, releases=(release_of(1),))).read_bytes()
    out = tmp_path / "out.txt"

    def refused(sentence: str) -> None:
        assert current.main(["--ledger", ledger.url, "--trust", trust, "--out", str(out)]) == 1
        captured = capsys.readouterr()
        assert sentence in captured.err
        assert captured.out == ""
        assert not out.exists()

    ledger.witnesses = WITNESSES[:1]
    ledger.append(entry)
    refused("cosigned by 1 of 3 witnesses: w0")
    ledger.witnesses = WITNESSES
    ledger.append(sign_note(render_snapshot(snapshot_of(releases=(release_of(2),))), ALICE))
    refused("signed by alice.example; it takes 2")
    ledger.append(sign_note(render_snapshot(snapshot_of(origin="other.example")), ALICE))
    refused("other.example")
    ledger.append(entry)
    (bundle,) = (path for path in ledger.files if path.startswith("/state/tile/entries/000.p/4"))
    ledger.files[bundle] = ledger.files[bundle].replace(b"worker", b"walker")
    refused("last entry that the ledger serves is not the one under its checkpoint")
    ledger.publish()
    ledger.files["/state/tile/0/000.p/4"] = bytes(4 * 32)
    refused("hashes that the ledger serves are not those of its checkpoint")


def test_a_file_that_is_there_is_not_written_over(
    ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = signed(tmp_path)
    ledger.append(Path(path).read_bytes())
    assert current.main(["--ledger", ledger.url, "--out", path]) == 2
    assert "is there already" in capsys.readouterr().err
    assert current.main(["--ledger", ledger.url, "--out", f"{path}.copy"]) == 0
    assert load_state(Path(f"{path}.copy")) == load_state(Path(path))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://ledger.example", "plain HTTP to another machine"),
        ("ftp://ledger.example", "no address of a ledger"),
        ("https://", "no address of a ledger"),
        ("https://host:port", "no address"),
        ("https://user@ledger.example", "no address of a ledger"),
        ("https://ledger..example", "no address"),
        (f"https://{'a' * 64}.example", "no address"),
        ("https://ledger example", "a character that no address has"),
        ("https://ledger.example/\u00fc", "a character that no address has"),
    ],
)
def test_an_address_that_is_none_is_refused(
    secret: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str, sentence: str
) -> None:
    assert submit.main(["--ledger", url, "--secret", secret, signed(tmp_path)]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "soon"])
def test_waiting_has_an_end(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    with pytest.raises(SystemExit):
        submit.main(["--ledger", "http://127.0.0.1:1", "--secret", "s", "--wait", seconds, "next.txt"])
    assert f"{seconds!r} is no number of seconds" in capsys.readouterr().err


def test_what_is_given_is_looked_at_before_anything_is_sent(
    ledger: Ledger, secret: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unsigned = tmp_path / "unsigned.txt"
    snapshot = snapshot_of()
    unsigned.write_bytes(StateFile(snapshot, render_snapshot(snapshot)).serialize())
    assert send(ledger, secret, str(unsigned)) == 2
    assert "0 signatures; it takes 1" in capsys.readouterr().err
    os.chmod(secret, 0o644)
    assert send(ledger, secret, signed(tmp_path)) == 2
    assert "others than its owner" in capsys.readouterr().err
    assert current.main(["--ledger", "https://127.0.0.1:1", "--ca", str(tmp_path / "missing.pem")]) == 2
    assert "cannot read the certificates" in capsys.readouterr().err
    assert current.main(["--ledger", ledger.url, "--ca", secret]) == 2
    assert "not https" in capsys.readouterr().err
    assert ledger.entries == []
