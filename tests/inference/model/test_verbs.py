"""`seclude-model inspect`, `bench` and `convert`, and what the command says where it cannot."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from inference.engine.decoder import Decoder
from inference.engine.layout import Layout
from inference.engine.seq2seq import Graphs
from inference.model import speed
from inference.model.__main__ import main
from inference.model.pins import SMOLLM2, digest
from tests.exports import tiny
from tests.inference.convert import tiny as gguf
from tests.inference.model.models import copied, decoder
from tests.running import ROOT

VERBS = ["install", "list", "import", "convert", "inspect", "check", "bench"]


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main([*words, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    printed = capsys.readouterr().out
    assert end.value.code == 0
    assert printed.startswith(f"usage: seclude-model {verb} ")
    assert f"example: seclude-model {verb}" in printed
    assert "--json" in printed


def test_a_language_model_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = decoder(tmp_path)
    found = answer(capsys, "inspect", str(folder))
    per_token = 2 * gguf.LAYERS * gguf.KV_HEADS * gguf.HEAD * 4
    assert (found["layout"], found["alone"]) == (Layout.DECODER, None)
    assert found["said"] == {
        "vocabulary": len(gguf.WORDS),
        "context_tokens": gguf.CONTEXT,
        "slot_tokens": gguf.CONTEXT,
        "ends": [2],
        "template": "chatml",
        "octets_per_token": per_token,
        "octets_per_slot": per_token * gguf.CONTEXT,
    }
    assert Decoder(folder, 1, 1)._kept.nbytes == per_token * gguf.CONTEXT
    assert main(["inspect", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  takes past_key_values.0.key: float [batch, 2, past, 16], and 1 more layers" in lines
    assert "memory per slot: 65.5 kB" in lines
    assert lines[-1] == "requests share a run"


def test_a_template_that_is_not_known_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(decoder(tmp_path, template="{{ messages }}"))]) == 0
    assert "template: not known: the model's chat_template is none of chatml" in capsys.readouterr().out


def test_an_encoder_decoder_is_described(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = answer(capsys, "inspect", str(tiny("tiny-t5")))
    assert (found["layout"], found["alone"]) == (Layout.SEQ2SEQ, None)
    said = found["said"]
    assert isinstance(said, dict)
    assert (said["context_tokens"], said["beams"], said["longest_answer_tokens"]) == (512, 1, 40)
    own = read = 2 * 2 * 2 * 16 * 4  # layers, key and value, heads, size, octets of a float
    assert said["octets_per_slot"] == own * 40 + read * 512
    monkeypatch.setattr(Graphs, "leak", lambda graphs: "its encoder: it shares")
    assert main(["inspect", str(tiny("tiny-t5"))]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "one request a run: its encoder: it shares"


def test_a_sentence_encoder_is_described(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "inspect", str(model))
    assert found["said"] == {"dimensions": 384, "context_tokens": 128}
    assert main(["inspect", str(model)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "a run holds sentences of one request only"


@pytest.mark.parametrize("verb", ["import", "inspect", "check", "bench"])
def test_what_is_no_folder_is_the_same_sentence(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "absent"):
        assert main([verb, str(tmp_path / name)]) == 2
        assert capsys.readouterr().err == f"seclude-model: {tmp_path / name} is not a folder\n"


def test_files_are_listed_alike_by_those_that_write_and_by_those_that_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder(tmp_path)
    made = answer(capsys, "convert", str(tmp_path / "tiny.gguf"), "--out", str(tmp_path / "made"))["files"]
    seen = answer(capsys, "inspect", str(tmp_path / "made"))["files"]
    copies = answer(capsys, "import", str(tmp_path / "made"), "--dir", str(tmp_path / "models"))["files"]
    assert isinstance(made, list)
    assert isinstance(seen, list)
    assert made == copies == sorted(seen, key=lambda file: str(file["name"]))
    assert all(file.keys() == {"name", "sha256", "bytes"} for file in made)


@pytest.mark.parametrize("verb", ["inspect", "check", "bench"])
def test_what_cannot_be_loaded_is_one_sentence(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied(tiny("tiny-bart"), tmp_path / "mine")
    (folder / "tokenizer.json").write_text("{}")
    assert main([verb, str(folder)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith(f"seclude-model: cannot read {folder / 'tokenizer.json'}")


def test_all_kinds_are_measured(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {
        decoder(tmp_path): [("prefill", 1), *(("decode", batch) for batch in (1, 2, 4, 8))],
        tiny("tiny-bart"): [("read", 1), *(("write", batch) for batch in (1, 2, 4, 8))],
        model: [("embed", 1), ("embed", 32)],
    }
    for folder, expected in rows.items():
        found = answer(capsys, "bench", str(folder), "--seconds", "1")
        measures = found["measures"]
        assert isinstance(measures, list)
        assert [(each["what"], each["batch"]) for each in measures] == expected
        assert all(each["per_second"] > 0 for each in measures)


def test_measuring_takes_the_time_that_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of the test's own, on which each round takes a quarter of a second."""
    now = 0.0

    def rounds() -> int:
        nonlocal now
        now += 0.25
        return 5

    monkeypatch.setattr(speed, "time", SimpleNamespace(monotonic=lambda: now))
    plan: speed.Plan = [(what, 1, "tokens/s", rounds) for what in ("one", "two")]
    found = list(speed._measures(plan, 4.0, lambda _: None))
    assert [each.per_second for each in found] == [20.0, 20.0]
    assert now == 4.0 + 2 * 0.25  # and one round before each, which is not measured


def test_speed_is_shown_as_a_table_with_progress(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(tiny("tiny-bart")), "--seconds", "1"]) == 0
    printed = capsys.readouterr()
    title, head, *rows = printed.out.splitlines()
    assert title.startswith("tiny-bart: loaded in ")
    assert head.split() == ["batch", "a", "second"]
    assert [row.split()[0] for row in rows] == ["read", *4 * ["write"]]
    assert printed.err == "loading tiny-bart\nmeasuring\n"


def test_a_model_that_shares_is_measured_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Graphs, "leak", lambda graphs: "its encoder: it shares")
    assert main(["bench", str(tiny("tiny-t5")), "--seconds", "1"]) == 0
    assert [row.split()[:2] for row in capsys.readouterr().out.splitlines()[2:]] == [["read", "1"], ["write", "1"]]


def test_a_conversion_says_what_came_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = gguf.write(tmp_path / "tiny.gguf"), tmp_path / "models" / "mine"
    assert main(["convert", str(source), "--out", str(target)]) == 0
    printed = capsys.readouterr()
    assert printed.err == "converting tiny.gguf\n"
    title, *lines = printed.out.splitlines()
    assert title == f"converted: {target}"
    assert lines == [f"{digest(path)}  {path.name}" for path in sorted(target.iterdir())]
    assert [path.name for path in target.parent.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("name", "complaint"), [("absent.gguf", "is no file"), ("junk.gguf", "GGUF"), ("tiny.gguf", "exists: remove it")]
)
def test_what_cannot_be_converted_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, complaint: str
) -> None:
    gguf.write(tmp_path / "tiny.gguf")
    (tmp_path / "junk.gguf").write_bytes(b"junk")
    target = tmp_path / "models" / "mine"
    if name == "tiny.gguf":
        target.mkdir(parents=True)
    assert main(["convert", str(tmp_path / name), "--out", str(target)]) == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]
    assert target.exists() == (name == "tiny.gguf")


@pytest.mark.parametrize(
    "words",
    [
        ["check", ".", "--threads", "0"],
        ["bench", ".", "--seconds", "many"],
        ["bench", ".", "--seconds", "3601"],
        ["convert", "x.gguf"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_end_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"usage: seclude-model {words[0]}")


def test_a_missing_package_is_one_sentence(tmp_path: Path) -> None:
    for package in ("seclude", "inference"):
        (tmp_path / package).symlink_to(ROOT / package)
    (tmp_path / "msgspec").symlink_to(Path(msgspec.__file__).parent)
    code = (
        f"import sys; sys.path.append({str(tmp_path)!r}); from inference.model.__main__ import main; sys.exit(main())"
    )
    command = [sys.executable, "-I", "-S", "-B", "-c", code]
    for words in (["inspect", str(tmp_path)], ["bench", str(tmp_path)], ["check", str(tmp_path)]):
        done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines()[-1].endswith("is not installed; run: pip install 'seclude[worker]'")


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_smollm2_is_the_pinned_one_and_keeps_requests_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = os.environ.get("SECLUDE_LANGUAGE_MODEL")
    if named is None and main(["install", SMOLLM2.name, "--dir", str(tmp_path)]) != 0:
        pytest.skip(f"SECLUDE_LANGUAGE_MODEL names no folder, and {SMOLLM2.name} cannot be had")
    capsys.readouterr()
    folder = Path(named) if named else tmp_path / SMOLLM2.name
    found = answer(capsys, "check", str(folder))
    assert (found["name"], found["pinned"]) == (SMOLLM2.name, True)
    findings = found["findings"]
    assert isinstance(findings, list)
    assert len(findings) == 7
    speed = answer(capsys, "bench", str(folder), "--seconds", "20")
    print(json.dumps(speed["measures"]))
