"""`seclude-model check`: it passes what keeps requests apart, and finds what does not."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from inference.engine.decoder import Decoder
from inference.engine.encoder import SentenceEncoder
from inference.engine.logits import Rules
from inference.engine.seq2seq import Graphs, Seq2Seq, Steps
from inference.model.__main__ import main
from inference.model.pins import MINILM
from tests.exports import tiny
from tests.inference.model.models import copied, decoder, leaking_decoder


def failures(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what the check finds wrong, after it has ended as it should."""
    status = main(["check", str(folder), "--json"])
    answer = json.loads(capsys.readouterr().out)
    found = [f"{finding['tried']}: {finding['found']}" for finding in answer["findings"] if not finding["ok"]]
    assert (status, answer["ok"]) == ((1, False) if found else (0, True))
    return found


def test_the_sentence_encoder_passes_with_its_pins(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [MINILM.name, "model.onnx: ok", "tokenizer.json: ok"]
    assert any(line.startswith("ok    7 sentences") or "no bit moved" in line for line in lines)


@pytest.mark.parametrize("name", ["tiny-bart", "tiny-t5"])
def test_encoder_decoders_pass(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert failures(tiny(name), capsys) == []


def test_a_language_model_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = decoder(tmp_path)
    assert failures(folder, capsys) == []
    assert main(["check", str(folder)]) == 0
    printed = capsys.readouterr()
    assert "a model that this program does not pin" in printed.out
    assert "8 conversations through the engine at once: each answer is what it is alone" in printed.out
    assert printed.err.startswith("loading tiny-llama\ntrying tiny-llama\n")


def test_a_graph_whose_rows_move_each_other_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = failures(leaking_decoder(tmp_path, monkeypatch), capsys)
    assert "4 rows of the graph, the others filled otherwise 3 times: LEAK: a row's results depend on what" in found[0]
    assert any("LEAK: its results depend on what the other slots hold" in line for line in found)


def test_a_slot_that_is_not_cleared_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def forget(model: Decoder, slot: int) -> None:
        model._lengths[slot] = model._written[slot] = 0

    monkeypatch.setattr(Decoder, "clear", forget)
    assert failures(decoder(tmp_path), capsys) == ["slots after they were cleared: LEAK: something is left in one"]


def test_a_slot_whose_clearing_clears_others_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clear = Decoder.clear

    def sweep(model: Decoder, slot: int) -> None:
        model._kept[:, :, model._rows[(slot + 1) % model.slots], :, :1] = 0
        clear(model, slot)

    monkeypatch.setattr(Decoder, "clear", sweep)
    found = failures(decoder(tmp_path), capsys)
    assert "slots after they were cleared: to clear one changed another, or what comes after it" in found


def test_slots_that_are_mixed_up_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = Decoder.step

    def crossed(model: Decoder, tokens: dict[int, int]) -> dict[int, np.ndarray]:
        rows = step(model, tokens)
        return dict(zip(rows, reversed(rows.values()), strict=True))

    monkeypatch.setattr(Decoder, "step", crossed)
    found = " ".join(failures(decoder(tmp_path), capsys))
    assert "8 ragged batches of 8, 12 tokens each: a text has other tokens than alone" in found
    assert "an answer is another than alone" in found


def test_a_model_that_cannot_chat_is_no_language_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = failures(decoder(tmp_path, template="{{ messages }}"), capsys)
    assert "a worker would refuse it as its language model: the model's chat_template is none of chatml" in line


def test_texts_that_are_mixed_up_are_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    step = Steps.step
    monkeypatch.setattr(Steps, "step", lambda steps, last: np.roll(step(steps, last), 1, axis=0))
    assert [line.partition(":")[2] for line in failures(tiny("tiny-bart"), capsys)] == [
        " a text has other tokens than alone",
        " a text has other tokens than alone",
        " what one text did changed another",
    ]


def test_graphs_that_share_run_alone_which_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Graphs, "leak", lambda graphs: "its encoder: it shares")
    assert main(["check", str(tiny("tiny-t5"))]) == 0
    printed = capsys.readouterr().out
    assert "ok    rows of the graphs: one request a run: its encoder: it shares" in printed
    assert "ragged" not in printed


def test_what_stays_of_a_request_is_found(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    embed, generate, served = SentenceEncoder.embed, Seq2Seq.generate, list[int]()

    def drifting(encoder: SentenceEncoder, texts: Sequence[str]) -> np.ndarray:
        served.append(len(texts))
        return np.asarray(embed(encoder, texts) + np.float32(1e-6 * len(served)))

    def counting(summariser: Seq2Seq, ids: Sequence[int], rules: Rules) -> Iterator[int]:
        yield from generate(summariser, ids, rules)
        served.append(len(ids))
        yield len(served)

    monkeypatch.setattr(SentenceEncoder, "embed", drifting)
    monkeypatch.setattr(Seq2Seq, "generate", counting)
    for folder in (model, tiny("tiny-bart")):
        assert any("LEAK: what was served before changed" in line for line in failures(folder, capsys))


def test_a_changed_file_of_a_pinned_model_is_not_loaded(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(model, tmp_path / "renamed")
    data = bytearray((folder / "model.onnx").read_bytes())
    data[-1] ^= 1
    (folder / "model.onnx").write_bytes(data)
    monkeypatch.setattr(SentenceEncoder, "__init__", lambda *_: pytest.fail("it was loaded"))
    assert main(["check", str(folder), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], answer["faults"]) == (False, {"model.onnx": "differs from the pinned file"})


def test_a_folder_without_a_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 2
    assert "is no whole model" in capsys.readouterr().err
