"""Keys in files: made once, for their owner alone, and not read where others could read them."""

import errno
import os
from pathlib import Path

import msgspec
import pytest

from ledger.keyfiles import create_signer, load_signer
from ledger.keygen import main
from seclude.daemon.secretfile import load_submit_secret
from seclude.errors import ConfigError
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, ML_DSA_44, generate_skey, parse_vkey

KINDS = [
    ("log", "ed25519", ED25519),
    ("log", "ml-dsa-44", ML_DSA_44),
    ("witness", "ed25519", COSIGNATURE_ED25519),
    ("witness", "ml-dsa-44", ML_DSA_44),
    ("publisher", "ed25519", ED25519),
]
Printed = pytest.CaptureFixture[str]


@pytest.mark.parametrize(("kind", "algorithm", "number"), KINDS)
def test_a_key_is_made_for_what_it_signs(
    tmp_path: Path, capsys: Printed, kind: str, algorithm: str, number: int
) -> None:
    path = tmp_path / "a.key"
    asked = ["--kind", kind, "--name", "some.example/1", "--algorithm", algorithm, "--out", str(path)]
    assert main(asked) == 0
    printed = capsys.readouterr()
    verifier = parse_vkey(printed.out.removesuffix("\n"))
    assert (verifier.name, verifier.algorithm) == ("some.example/1", number)
    assert load_signer(path).verifier == verifier
    assert path.stat().st_mode & 0o777 == 0o600
    assert "docs/ledger-keys.md" in printed.err
    assert path.read_text().removesuffix("\n") not in printed.out + printed.err


def test_the_algorithm_is_ed25519_unless_said(tmp_path: Path, capsys: Printed) -> None:
    assert main(["--kind", "witness", "--name", "w.example", "--out", str(tmp_path / "a.key"), "--json"]) == 0
    made = msgspec.json.decode(capsys.readouterr().out)
    assert made.pop("verifier_key") == str(load_signer(tmp_path / "a.key").verifier)
    assert made == {
        "kind": "witness",
        "file": str(tmp_path / "a.key"),
        "name": "w.example",
        "algorithm": "ed25519",
    }


def test_a_submit_secret_has_32_octets_and_is_not_shown(tmp_path: Path, capsys: Printed) -> None:
    secrets = set()
    for name in ("a", "b"):
        assert main(["--kind", "submit", "--out", str(tmp_path / name)]) == 0
        secrets.add(load_submit_secret(tmp_path / name))
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        printed = capsys.readouterr()
        assert printed.out == ""
        assert (tmp_path / name).read_text().strip() not in printed.err
    assert {len(secret) for secret in secrets} == {32}
    assert len(secrets) == 2
    assert main(["--kind", "submit", "--out", str(tmp_path / "c"), "--json"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out) == {"kind": "submit", "file": str(tmp_path / "c")}


@pytest.mark.parametrize("kind", ["log", "submit"])
def test_a_key_is_never_written_over(tmp_path: Path, capsys: Printed, kind: str) -> None:
    path = tmp_path / "a.key"
    path.write_text("the only copy")
    name = [] if kind == "submit" else ["--name", "a.example"]
    assert main(["--kind", kind, *name, "--out", str(path)]) == 2
    assert "exists, and a key is never written over" in capsys.readouterr().err
    assert path.read_text() == "the only copy"
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    assert main(["--kind", kind, *name, "--out", str(link)]) == 2
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mask", [0o000, 0o777])
def test_the_mode_is_right_under_every_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        create_signer(tmp_path / "a.key", generate_skey("a.example", ED25519))
    finally:
        os.umask(before)
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("step", ["write", "fsync"])
def test_a_key_that_could_not_be_stored_is_not_left_behind(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    assert main(["--kind", "submit", "--out", str(tmp_path / "a.key")]) == 2
    assert "cannot be written: No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_said(tmp_path: Path, capsys: Printed) -> None:
    assert main(["--kind", "submit", "--out", str(tmp_path / "no" / "a.key")]) == 2
    assert "cannot be written: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--kind", "publisher", "--name", "p.example", "--algorithm", "ml-dsa-44"], "cannot have a key of ml-dsa-44"),
        (["--kind", "log"], "--name is missing"),
        (["--kind", "submit", "--name", "a.example"], "neither a name nor an algorithm"),
        (["--kind", "submit", "--algorithm", "ed25519"], "neither a name nor an algorithm"),
        (["--kind", "log", "--name", "two words"], "key name"),
        (["--kind", "log", "--name", "one+one"], "key name"),
        (["--kind", "log", "--name", ""], "key name"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path: Path, capsys: Printed, arguments: list[str], why: str) -> None:
    assert main([*arguments, "--out", str(tmp_path / "a.key")]) == 2
    assert why in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o777])
def test_a_file_that_others_can_read_is_not_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.key"
    create_signer(path, generate_skey("a.example", ED25519))
    path.chmod(mode)
    for load in (load_signer, load_submit_secret):
        with pytest.raises(ConfigError, match=rf"others than its owner .*mode {mode:04o}"):
            load(path)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_file_of_its_owner_alone_is_read(tmp_path: Path, mode: int) -> None:
    key = generate_skey("m\u00fcnchen.example", ML_DSA_44)
    create_signer(tmp_path / "a.key", key)
    (tmp_path / "a.key").chmod(mode)
    assert load_signer(tmp_path / "a.key") == key


@pytest.mark.parametrize("data", [b"", b"\n", b"secret words", b"a\nb\n", b"\xff\n", b"x" * 10_000, b"A" * 44])
def test_a_file_that_holds_something_else_is_refused_without_showing_it(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.key"
    path.write_bytes(data)
    path.chmod(0o600)
    for load in (load_signer, load_submit_secret):
        with pytest.raises(ConfigError, match=r"a\.key: ") as caught:
            load(path)
        assert "secret words" not in str(caught.value)
        assert "xxx" not in str(caught.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.key: No such file"):
        load_signer(tmp_path / "a.key")
