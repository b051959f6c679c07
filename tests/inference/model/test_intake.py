"""`seclude-model import`: what counts is copied, what runs code or leads out is refused, and nothing is left."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from inference.engine.decoder import Decoder
from inference.model.__main__ import main
from inference.model.pins import digest
from tests.exports import tiny
from tests.inference.model.models import copied, decoder, leaking_decoder

BART = {"encoder_model.onnx", "decoder_model_merged.onnx", "config.json", "tokenizer.json", "generation_config.json"}


def run(source: Path, models: Path, *more: str) -> int:
    return main(["import", str(source), "--dir", str(models), *more])


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_only_what_counts_is_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = copied(tiny("tiny-bart"), tmp_path / "exports" / "Tiny-BART")
    (source / "README.md").write_text("about it")
    assert run(source, tmp_path / "models", "--json") == 0
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert (answer["name"], answer["ok"]) == ("tiny-bart", True)
    assert names(tmp_path / "models") == {f"tiny-bart/{name}" for name in BART}
    assert {file["name"]: file["sha256"] for file in answer["files"]} == {name: digest(source / name) for name in BART}
    assert printed.err.startswith("copying Tiny-BART\nloading tiny-bart\n")
    assert main(["check", str(tmp_path / "models" / "tiny-bart")]) == 0


def test_files_that_hold_tensors_come_along(tmp_path: Path) -> None:
    source = decoder(tmp_path)
    assert run(source, tmp_path / "models", "--name", "mine") == 0
    assert names(tmp_path / "models" / "mine") == names(source)
    assert Decoder(tmp_path / "models" / "mine", 1, 1).vocabulary == Decoder(source, 1, 1).vocabulary


def link_out(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder.parent / "elsewhere.json")
    (folder / "tokenizer.json").symlink_to(folder.parent / "elsewhere.json")


def ask_for_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling_mine.Mine"}}))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: (folder / "modeling_mine.py").write_text(""), "modeling_mine.py is code"),
        (lambda folder: (folder / "pytorch_model.bin").write_bytes(b""), "pytorch_model.bin can run code"),
        (lambda folder: (folder / "weights.PT").write_bytes(b""), "weights.PT can run code"),
        (ask_for_code, "asks for code of the model's own"),
        (link_out, "is a link out of the folder"),
        (lambda folder: (folder / "config.json").unlink(), "lacks config.json"),
        (lambda folder: (folder / "encoder_model.onnx").write_bytes(b"\xff" * 9), "is not an ONNX model"),
    ],
)
def test_what_is_refused_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object], complaint: str
) -> None:
    source = copied(tiny("tiny-bart"), tmp_path / "mine")
    spoil(source)
    assert run(source, tmp_path / "models") == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]
    assert list((tmp_path / "models").iterdir()) == []


def elsewhere(folder: Path, place: str) -> None:
    """Let a graph name another file for its tensors, one whose path is as long as the real one's."""
    graph = (folder / "model.onnx").read_bytes()
    assert graph.count(b"model.onnx.data") > 1
    assert len(place) == len("model.onnx.data")
    (folder / "model.onnx").write_bytes(graph.replace(b"model.onnx.data", place.encode()))


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("../model.x.data", "keeps tensors outside"),
        ("sub/../../x.dat", "keeps tensors outside"),
        ("/etc/os-release", "keeps tensors outside"),
        ("model.\0nnx.data", "keeps tensors outside"),
        ("model.nnn.data1", "is missing, or is no file"),
        ("linked.out.data", "is a link out of the folder"),
    ],
)
def test_tensors_that_lie_elsewhere_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str, complaint: str
) -> None:
    source = decoder(tmp_path)
    (source / "linked.out.data").symlink_to("/etc/os-release")
    elsewhere(source, place)
    assert run(source, tmp_path / "models") == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]
    assert list((tmp_path / "models").iterdir()) == []


def test_a_decoder_without_grouped_query_attention_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = decoder(tmp_path)
    graph = (source / "model.onnx").read_bytes()
    (source / "model.onnx").write_bytes(graph.replace(b"GroupQueryAttention", b"OtherQueryAttention"))
    assert run(source, tmp_path / "models") == 2
    assert "has no GroupQueryAttention" in capsys.readouterr().err


def test_a_model_that_leaks_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(leaking_decoder(tmp_path, monkeypatch), tmp_path / "models") == 1
    printed = capsys.readouterr().out
    assert "LEAK" in printed
    assert printed.endswith(f"not imported: {tmp_path / 'models' / 'tiny-llama'}\n")
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("name", [".", "../x", "a b", "ümlaut", "x" * 65])
def test_a_name_is_a_plain_word(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert run(tiny("tiny-bart"), tmp_path / "models", "--name", name) == 2
    assert "cannot name a model" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_a_model_that_is_there_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models" / "tiny-bart").mkdir(parents=True)
    assert run(tiny("tiny-bart"), tmp_path / "models") == 2
    assert "exists: remove it, or give another --name" in capsys.readouterr().err
