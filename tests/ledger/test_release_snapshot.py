"""`seclude-ledger snapshot` and `sign`: what is not changed stays, and nobody signs what they were not shown."""

import io
import time
from pathlib import Path

import pytest

from ledger.publish import compose, sign
from ledger.publish.documents import StateFile, load_state
from ledger.publish.statewords import shown
from seclude.attestation.snapshot import IssuerKey, Snapshot, render_snapshot, verify_snapshot
from seclude.errors import PolicyError
from tests.ledger.publishing import (
    ALICE,
    BERT,
    ORIGIN,
    PUBLISHERS,
    WITNESSES,
    digest_of,
    release_of,
    write_key,
    write_release,
)


class Desk:
    """One publisher's folder, and what the commands said in it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self._number = 0
        self.keys = {key.verifier.name: write_key(folder, key) for key in (ALICE, BERT)}

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def new(self, **fields: object) -> str:
        """Write the text of a snapshot that is an hour old."""
        self._number += 1
        now = int(time.time())
        snapshot = Snapshot(**{"origin": ORIGIN, "issued": now - 3600, "expires": now + 3600, **fields})  # type: ignore[arg-type]
        path = self.folder / f"last-{self._number}.txt"
        path.write_bytes(StateFile(snapshot, render_snapshot(snapshot)).serialize())
        return str(path)

    def compose(self, *arguments: str, out: str = "next.txt") -> str:
        assert compose.main([*arguments, "--expires", "30", "--out", self.path(out)]) == 0
        return self._capsys.readouterr().out

    def sign(self, *arguments: str, name: str = "next.txt", by: str = "alice.example") -> str:
        assert sign.main(["--key", self.keys[by], *arguments, self.path(name)]) == 0
        return self._capsys.readouterr().out

    def refused(self, verb: str, *arguments: str) -> str:
        """Return the one sentence that a verb refused its arguments with."""
        main = {"snapshot": compose.main, "sign": sign.main}[verb]
        assert main(arguments) == 2
        lines = self._capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0].removeprefix(f"seclude-ledger {verb}: ")

    def refused_snapshot(self, *arguments: str) -> str:
        return self.refused("snapshot", *arguments, "--expires", "30", "--out", self.path("never.txt"))

    def state(self, name: str = "next.txt") -> Snapshot:
        return load_state(self.folder / name).snapshot

    def output(self) -> tuple[str, str]:
        captured = self._capsys.readouterr()
        return captured.out, captured.err


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


def test_the_first_snapshot_names_what_is_added(desk: Desk) -> None:
    release = release_of(measurements={"tdx": ("ab" * 48,)})
    said = desk.compose("--origin", ORIGIN, "--add", write_release(desk.folder, release))
    assert desk.state().releases == (release,)
    assert desk.state().origin == ORIGIN
    assert desk.state().expires - desk.state().issued == 30 * 86_400
    assert f"releases {release.manifest} for role worker, of commit {release.revision}" in said
    assert f"images tdx {'ab' * 48}" in said
    assert "it takes 2" in said


def test_what_is_not_changed_is_carried_over(desk: Desk) -> None:
    last = desk.new(
        releases=(release_of(1), release_of(2)),
        chips={"sev-snp": ("aa" * 64,)},
        issuer_keys=(IssuerKey(key=b"der", not_before=1, expires=2),),
    )
    said = desk.compose("--from", last, "--revoke", f"{digest_of(1)}=leaks = everything")
    old, new = load_state(Path(last)).snapshot, desk.state()
    assert new.releases == old.releases[1:]
    assert (new.chips, new.issuer_keys, new.origin) == (old.chips, old.issuer_keys, old.origin)
    assert [(each.manifest, each.reason) for each in new.revocations] == [(digest_of(1), "leaks = everything")]
    assert new.issued > old.issued
    assert f"DROPS the release {digest_of(1)}" in said
    assert f"REVOKES {digest_of(1)}: leaks = everything" in said


def test_a_release_is_dropped_without_a_word_against_it(desk: Desk) -> None:
    desk.compose("--from", desk.new(releases=(release_of(1), release_of(2))), "--drop", digest_of(1))
    assert [each.manifest for each in desk.state().releases] == [digest_of(2)]
    assert desk.state().revocations == ()


def test_a_release_that_is_added_again_takes_the_place_of_itself(desk: Desk) -> None:
    later = release_of(1, days=180)
    said = desk.compose("--from", desk.new(releases=(release_of(1),)), "--add", write_release(desk.folder, later))
    assert desk.state().releases == (later,)
    assert "CHANGES the release" in said


def test_software_may_be_revoked_that_was_never_released_and_once_more(desk: Desk) -> None:
    desk.compose("--from", desk.new(), "--revoke", f"{digest_of(7)}=one", out="one.txt")
    desk.compose("--from", desk.path("one.txt"), "--revoke", f"{digest_of(7)}=another", out="two.txt")
    assert [each.reason for each in desk.state("two.txt").revocations] == ["another"]


def test_a_service_is_stopped_by_dropping_all_its_releases(desk: Desk) -> None:
    said = desk.compose("--from", desk.new(releases=(release_of(1), release_of(2))), "--stop")
    assert desk.state().releases == ()
    assert "it takes 1, for it releases nothing" in said


def test_chips_are_read_from_a_file_and_replace_those_of_their_format(desk: Desk) -> None:
    (desk.folder / "chips.txt").write_text(f"# of the first hall\n{'BB' * 64}  # left\n\n{'bb' * 64}\n{'cc' * 64}\n")
    last = desk.new(chips={"sev-snp": ("aa" * 64,), "tdx": ("dd" * 16,)})
    said = desk.compose("--from", last, "--chips", f"sev-snp={desk.path('chips.txt')}")
    assert desk.state().chips == {"sev-snp": ("bb" * 64, "cc" * 64), "tdx": ("dd" * 16,)}
    assert f"ADDS 2 chips of sev-snp: {'bb' * 64}, {'cc' * 64}" in said
    assert f"REMOVES 1 chip of sev-snp: {'aa' * 64}" in said


def test_an_empty_list_of_chips_is_said_to_mean_any(desk: Desk) -> None:
    (desk.folder / "chips.txt").write_text("# none\n")
    last = desk.new(chips={"sev-snp": ("aa" * 64,)})
    said = desk.compose("--from", last, "--chips", f"sev-snp={desk.path('chips.txt')}")
    assert "names no chip of sev-snp any more" in said


def test_what_no_device_could_read_is_refused(desk: Desk) -> None:
    last = desk.new(releases=(release_of(1),))
    assert "no such release" in desk.refused_snapshot("--from", last, "--drop", digest_of(9))
    assert "two words with = between" in desk.refused_snapshot("--from", last, "--revoke", digest_of(9))
    assert "$.revocations[0].manifest" in desk.refused_snapshot("--from", last, "--revoke", "abc=because")
    assert "$.revocations[0].reason" in desk.refused_snapshot("--from", last, "--revoke", f"{digest_of(9)}=two\nlines")
    assert "$.origin" in desk.refused_snapshot("--origin", "no origin")
    assert "is no snapshot" in desk.refused_snapshot("--from", desk.keys["alice.example"])
    assert "cannot read" in desk.refused_snapshot("--from", desk.path("missing.txt"))
    assert "is no release" in desk.refused_snapshot("--from", last, "--add", last)
    assert "none of sev-snp" in desk.refused_snapshot("--from", last, "--chips", "tpm=chips.txt")
    revoked = desk.new(revocations=())
    again = write_release(desk.folder, release_of(9))
    sentence = desk.refused_snapshot("--from", revoked, "--add", again, "--revoke", f"{digest_of(9)}=both")
    assert "is revoked and released" in sentence
    old = write_release(desk.folder, release_of(3, days=-0.5, issued=1))
    assert "has expired" in desk.refused_snapshot("--from", last, "--add", old)


def test_a_clock_that_is_behind_the_last_snapshot_is_noticed(desk: Desk) -> None:
    now = int(time.time())
    assert "set the clock" in desk.refused_snapshot("--from", desk.new(issued=now + 60, expires=now + 90))


def test_nothing_is_written_over(desk: Desk) -> None:
    last = desk.new()
    sentence = desk.refused("snapshot", "--from", last, "--expires", "30", "--out", last)
    assert "is there already" in sentence


def test_two_publishers_sign_one_file(desk: Desk) -> None:
    last = desk.new(releases=(release_of(1),))
    desk.compose("--from", last, "--add", write_release(desk.folder, release_of(2)))
    said = desk.sign("--from", last, "--yes")
    assert f"ADDS a release: {digest_of(2)}" in said
    assert "1 signature by alice.example; it takes 2" in said
    with pytest.raises(PolicyError, match=r"signed by alice.example; it takes 2"):
        verify_snapshot((desk.folder / "next.txt").read_bytes(), PUBLISHERS, ORIGIN)
    said = desk.sign("--from", last, "--yes", by="bert.example")
    assert "2 signatures by alice.example and bert.example" in said
    snapshot, names = verify_snapshot((desk.folder / "next.txt").read_bytes(), PUBLISHERS, ORIGIN)
    assert names == ("alice.example", "bert.example")
    assert [each.manifest for each in snapshot.releases] == [digest_of(1), digest_of(2)]


def test_one_publisher_alone_can_revoke_everything(desk: Desk) -> None:
    last = desk.new(releases=(release_of(1),))
    desk.compose("--from", last, "--revoke", f"{digest_of(1)}=its key was stolen")
    desk.sign("--from", last, "--yes")
    snapshot, names = verify_snapshot((desk.folder / "next.txt").read_bytes(), PUBLISHERS, ORIGIN)
    assert (snapshot.releases, names) == ((), ("alice.example",))


def test_signing_twice_changes_nothing(desk: Desk) -> None:
    desk.compose("--origin", ORIGIN)
    desk.sign("--first", "--yes")
    before = (desk.folder / "next.txt").read_bytes()
    assert "has signed it already" in desk.sign("--first", "--yes")
    assert (desk.folder / "next.txt").read_bytes() == before


@pytest.mark.parametrize(
    ("answer", "is_signed"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_nothing_is_signed_before_somebody_agrees(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: str, is_signed: bool
) -> None:
    desk.compose("--origin", ORIGIN)
    before = (desk.folder / "next.txt").read_bytes()
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    status = sign.main(["--key", desk.keys["alice.example"], "--first", desk.path("next.txt")])
    assert status == (0 if is_signed else 1)
    out, err = desk.output()
    assert out.index("releases nothing") < out.index("Sign this as alice.example?"), "what it says is shown first"
    assert ((desk.folder / "next.txt").read_bytes() != before) == is_signed
    assert ("not signed" in err) == (not is_signed)


def test_what_is_not_newer_than_the_last_one_is_not_signed(desk: Desk) -> None:
    last = desk.new()
    older = desk.new(issued=1000)
    same_time = desk.new(issued=load_state(Path(last)).snapshot.issued, releases=(release_of(1),))
    key = desk.keys["alice.example"]
    assert "not newer than the last one" in desk.refused("sign", "--key", key, "--from", last, "--yes", older)
    assert "not newer" in desk.refused("sign", "--key", key, "--from", last, "--yes", same_time)
    assert "has expired" in desk.refused("sign", "--key", key, "--first", "--yes", desk.new(expires=int(time.time())))
    now = int(time.time())
    ahead = desk.new(issued=now + 3600, expires=now + 7200)
    assert "dated in the future" in desk.refused("sign", "--key", key, "--first", "--yes", ahead)
    other = desk.new(origin="other.example", issued=1000)
    assert 'of another service, "other.example"' in desk.refused("sign", "--key", key, "--from", other, "--yes", last)


def test_only_a_publishers_key_signs_and_only_from_a_file_of_its_owner(desk: Desk) -> None:
    last = desk.new()
    witness = write_key(desk.folder, WITNESSES[0])
    assert "a key of a log or a witness" in desk.refused("sign", "--key", witness, "--first", "--yes", last)
    key = Path(desk.keys["alice.example"])
    key.chmod(0o640)
    assert "others than its owner" in desk.refused("sign", "--key", str(key), "--first", "--yes", last)


def test_a_file_that_was_changed_after_it_was_signed_is_refused_where_it_counts(desk: Desk) -> None:
    """Signing does not know the other publishers' keys; the ledger and every device do."""
    last = desk.new()
    desk.compose("--from", last)
    desk.sign("--from", last, "--yes")
    file = desk.folder / "next.txt"
    file.write_bytes(file.read_bytes().replace(b'"expires":1', b'"expires":2'))
    with pytest.raises(Exception, match="signature of alice"):
        verify_snapshot(file.read_bytes(), PUBLISHERS, ORIGIN)


def test_a_revocation_that_is_taken_back_is_said_to_be(desk: Desk) -> None:
    last = desk.new()
    desk.compose("--from", last, "--revoke", f"{digest_of(7)}=bad", out="one.txt")
    now = int(time.time())
    without = desk.new(issued=now + 2)
    said = desk.sign("--from", desk.path("one.txt"), "--yes", name=Path(without).name)
    assert f"TAKES BACK the revocation of {digest_of(7)}" in said


def test_text_that_would_look_like_another_is_written_out() -> None:
    assert shown("a\u202eb é") == "a\\u202eb é"
