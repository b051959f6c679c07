"""The watch: whatever happens to a measured file is seen, and nothing else is."""

import mmap
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from inference import watch as module
from inference.clock import process_started
from inference.manifest import LocatedManifest
from inference.watch import IN_MODIFY, IN_Q_OVERFLOW, Watch, collect_and_watch
from seclude.errors import ConfigError
from seclude.manifest import Entry

CONTENT = b"measured"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in paths:
        path.write_bytes(CONTENT)
    return paths


@pytest.fixture
def watch(files: list[Path]) -> Iterator[Watch]:
    watch = Watch(files)
    yield watch
    watch.close()


def is_readable(watch: Watch) -> bool:
    return bool(select.select([watch.fileno()], [], [], 0)[0])


def test_nothing_is_reported_while_nothing_happens(watch: Watch, files: list[Path]) -> None:
    for path in files:
        assert path.read_bytes() == CONTENT
        path.stat()
    (files[0].parent / "unwatched").write_bytes(b"new")
    assert not is_readable(watch)
    assert watch.changed() == []


def write_through_a_mapping(path: Path) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:4] = b"evil"


def rename_over(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(CONTENT)
    other.rename(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "write": lambda path: path.write_bytes(b"changed"),
    "write the same": lambda path: path.write_bytes(CONTENT),
    "append": lambda path: path.open("ab").write(b"more"),
    "truncate": lambda path: os.truncate(path, 1),
    "mode": lambda path: path.chmod(0o755),
    "times": lambda path: os.utime(path, (1, 1)),
    "mapping": write_through_a_mapping,
    "rename over": rename_over,
    "rename away": lambda path: path.rename(path.with_name("moved")),
    "delete": lambda path: path.unlink(),
    "hard link": lambda path: path.with_name("link").hardlink_to(path),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_is_seen_and_names_the_file(watch: Watch, files: list[Path], change: Callable[[Path], object]) -> None:
    change(files[1])
    assert is_readable(watch)
    assert watch.changed() == [files[1]]
    assert watch.changed() == []


def test_a_file_that_is_open_and_replaced_is_seen(watch: Watch, files: list[Path]) -> None:
    with files[0].open("rb"):
        rename_over(files[0])
        assert watch.changed() == [files[0]]


def test_two_names_of_one_file_are_both_reported(files: list[Path]) -> None:
    link = files[0].with_name("link")
    link.hardlink_to(files[0])
    watch = Watch([files[0], link, files[1]])
    files[0].write_bytes(b"changed")
    assert watch.changed() == [files[0], link]
    watch.close()


def test_lost_events_count_as_a_change_of_every_file(watch: Watch, files: list[Path]) -> None:
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    first, second = (os.open(path, os.O_WRONLY) for path in files[:2])
    for _ in range(queue // 2 + 10):  # in turns, since equal events that follow each other become one
        os.write(first, b"x")
        os.write(second, b"x")
    assert watch.changed() == files
    os.close(first)
    os.close(second)


def test_events_are_told_apart_with_and_without_a_name() -> None:
    data = module.EVENT.pack(-1, IN_Q_OVERFLOW, 0, 0) + module.EVENT.pack(1, IN_MODIFY, 0, 16) + bytes(16)
    assert module._events(data + data[:16]) == [(-1, IN_Q_OVERFLOW), (1, IN_MODIFY), (-1, IN_Q_OVERFLOW)]


def test_a_file_that_cannot_be_watched_is_a_config_error(files: list[Path]) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigError, match=r"cannot watch .*missing: No such file"):
        Watch([*files, files[0].with_name("missing")])
    assert set(os.listdir("/proc/self/fd")) <= before | {max(before, key=int)}


def test_its_descriptor_is_not_inherited(watch: Watch) -> None:
    assert not os.get_inheritable(watch.fileno())


def manifest_of(path: Path) -> LocatedManifest:
    return LocatedManifest((Entry("app/a", 0o644, path.stat().st_size, bytes(32)),), (path,))


def test_files_are_hashed_again_under_the_watch(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[bytes, Mapping[str, Path]]] = []

    def collect(measured_config: bytes, models: Mapping[str, Path]) -> LocatedManifest:
        calls.append((measured_config, models))
        return manifest_of(files[0])

    monkeypatch.setattr(module, "collect", collect)
    monkeypatch.setattr(module, "process_started", time.time)  # the files of a test are younger than its process
    manifest, watch = collect_and_watch(b"config", {"model": Path("model")})
    assert calls == [(b"config", {"model": Path("model")})] * 2
    assert manifest == manifest_of(files[0])
    files[0].write_bytes(b"changed")
    assert watch.changed() == [files[0]]
    watch.close()


def test_a_change_between_the_two_hashes_is_refused(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def collect(measured_config: bytes, models: Mapping[str, Path]) -> LocatedManifest:
        manifest = manifest_of(files[0])
        files[0].write_bytes(files[0].read_bytes() + b"!")
        return manifest

    monkeypatch.setattr(module, "collect", collect)
    monkeypatch.setattr(module, "process_started", time.time)  # the files of a test are younger than its process
    with pytest.raises(ConfigError, match="changed: app/a"):
        collect_and_watch(b"config", {"model": Path("model")})


def test_a_file_put_in_place_while_the_worker_was_starting_is_refused(files: list[Path], tmp_path: Path) -> None:
    """The other way to be measured as something else: load one file, and let another be hashed."""
    started = process_started()
    genuine = tmp_path / "genuine"
    genuine.write_bytes(b"x")
    os.utime(genuine, (0, 0))  # what a file says of its age is its owner's to choose; the inode's time is not
    genuine.replace(files[0])
    with pytest.raises(ConfigError, match="changed while the worker was starting"):
        module._refuse_younger(files[:1], started + module.START_SECONDS)
    module._refuse_younger([Path(os.__file__)], started)


def test_the_start_of_a_process_is_known_to_a_hundredth() -> None:
    code = "import time; from inference.clock import process_started; print(process_started())"
    before = time.time()
    began = float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert before - 0.02 <= began <= time.time()
