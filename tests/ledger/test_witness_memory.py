"""What a witness remembers survives, or the witness does not start."""

from hashlib import sha256
from pathlib import Path

import pytest

from ledger.files import Files
from ledger.witness.memory import Memory, Seen
from seclude.errors import ConfigError
from seclude.tlog.merkle import EMPTY_ROOT

ORIGIN = "log.example/1"
NAME = sha256(ORIGIN.encode()).hexdigest() + ".log"
SEEN = Seen(7, bytes(range(32)), 1_800_000_000, "a note\n\n\u2014 with a signature\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which something is remembered."""
    memory = Memory(tmp_path / "state", create=True)
    memory.log(ORIGIN, create=True).keep(SEEN)
    memory.close()
    return tmp_path / "state"


def remembered(folder: Path, origin: str = ORIGIN, *, create: bool = False) -> Seen:
    memory = Memory(folder, create=create)
    try:
        return memory.log(origin, create=create).seen
    finally:
        memory.close()


def test_what_is_kept_is_found_again(folder: Path) -> None:
    assert remembered(folder) == SEEN
    assert remembered(folder, create=True) == SEEN  # --new begins nothing anew that is remembered


def test_a_new_log_is_at_zero_and_stays_known(folder: Path) -> None:
    assert remembered(folder, "log.example/2", create=True) == Seen(0, EMPTY_ROOT, 0, "")
    assert remembered(folder, "log.example/2") == Seen()
    assert remembered(folder) == SEEN


def test_a_folder_that_is_gone_is_not_begun_again(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such folder.*--new.*its memory is lost.*make it a new key"):
        Memory(tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_a_log_of_which_nothing_is_remembered_is_not_begun_again(folder: Path) -> None:
    (folder / NAME).unlink()
    with pytest.raises(ConfigError, match=r"nothing is remembered of the log.*--new.*make it a new key"):
        remembered(folder)
    assert not (folder / NAME).exists()


def test_a_log_whose_two_trees_were_kept_is_no_new_one(folder: Path) -> None:
    memory = Memory(folder)
    memory.log(ORIGIN).keep_split("another checkpoint")
    (path,) = folder.glob("*.log")
    path.unlink()
    with pytest.raises(ConfigError, match=r"shows that .* was cosigned"):
        memory.log(ORIGIN, create=True)


def test_one_process_holds_a_folder(folder: Path) -> None:
    memory = Memory(folder)
    with pytest.raises(ConfigError, match="another process keeps it"):
        Memory(folder, create=True)
    memory.close()
    assert remembered(folder) == SEEN


@pytest.mark.parametrize("create", [False, True])
def test_every_torn_or_flipped_file_is_refused(folder: Path, create: bool) -> None:
    whole = (folder / NAME).read_bytes()
    wrong = [whole[:cut] for cut in range(len(whole))]
    wrong += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    wrong += [whole + b"\n", whole * 2, bytes(len(whole))]
    memory = Memory(folder)
    for data in wrong:
        (folder / NAME).write_bytes(data)
        with pytest.raises(ConfigError, match=r"is damaged.*make it a new key"):
            memory.log(ORIGIN, create=create)
        assert (folder / NAME).read_bytes() == data
    memory.close()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"format":"seclude-witness-2"}', "Invalid enum value"),
        (b"{}", "missing required field"),
        (b"not JSON", "malformed"),
        (
            b'{"format":"seclude-witness-1","origin":"log.example/1","size":-1,"root":"%s","time":0,"checkpoint":""}'
            % (b"A" * 43 + b"="),
            "no tree",
        ),
        (
            b'{"format":"seclude-witness-1","origin":"log.example/1","size":1,"root":"AAAA","time":0,"checkpoint":""}',
            "no tree",
        ),
    ],
)
def test_what_was_not_written_by_us_is_refused(folder: Path, text: bytes, why: str) -> None:
    (folder / NAME).write_bytes(sha256(text).hexdigest().encode() + b"\n" + text)
    with pytest.raises(ConfigError, match=why):
        remembered(folder)


def test_the_file_of_another_log_is_refused(folder: Path) -> None:
    other = sha256(b"log.example/2").hexdigest() + ".log"
    (folder / NAME).rename(folder / other)
    with pytest.raises(ConfigError, match="that of another log"):
        remembered(folder, "log.example/2")


def test_a_folder_that_cannot_be_written_refuses_a_new_log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(self: Files, name: str, content: bytes) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Files, "replace", read_only)
    with pytest.raises(ConfigError, match="Read-only file system"):
        remembered(folder, "log.example/2", create=True)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    for create in (False, True):
        with pytest.raises(ConfigError, match="state"):
            Memory(tmp_path / "state", create=create)
