"""The sentence encoder: what it computes, what it keeps, and which files it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from inference.engine.encoder import BATCH, MAX_CHARACTERS, SentenceEncoder
from seclude.errors import ConfigError

CHAT = ["Where shall we eat tonight?", "Which restaurant should we go to?", "My dog is ill.", "ok", "x " * 500]

# Watched from inside: threads, files opened for writing, and files opened at all after the first run.
PROBE = """
import os, sys
from pathlib import Path
events = []
watched = ("open", "socket.", "os.")
sys.addaudithook(lambda name, args: events.append((name, str(args[:2]))) if name.startswith(watched) else None)
from inference.engine.encoder import SentenceEncoder
encoder = SentenceEncoder(Path(sys.argv[1]), threads=1)
threads = len(os.listdir("/proc/self/task"))
files = set(os.listdir("/proc/self/fd"))
del events[:]
encoder.embed(["one", "two three " * 40] * 20)
assert events == [], events
assert len(os.listdir("/proc/self/task")) == threads == 1, threads
assert set(os.listdir("/proc/self/fd")) == files
"""


@pytest.fixture(scope="module")
def encoder(model: Path) -> SentenceEncoder:
    return SentenceEncoder(model)


def test_rows_have_length_one_and_the_order_of_the_texts(encoder: SentenceEncoder) -> None:
    vectors = encoder.embed(CHAT)
    assert vectors.shape == (len(CHAT), 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for index, text in enumerate(CHAT):
        similar = vectors @ encoder.embed([text])[0]
        assert int(similar.argmax()) == index


def test_sentences_that_mean_the_same_are_closer(encoder: SentenceEncoder) -> None:
    vectors = encoder.embed(CHAT)
    assert vectors[0] @ vectors[1] > 0.5 > 0.3 > vectors[0] @ vectors[2]


def test_nothing_of_one_request_changes_another(encoder: SentenceEncoder) -> None:
    before = encoder.embed(CHAT)
    encoder.embed(["quite another chat, with numbers 4711 !!!" * 9] * 30)
    assert np.array_equal(encoder.embed(CHAT), before)


def test_an_empty_request_has_no_rows(encoder: SentenceEncoder) -> None:
    assert len(encoder.embed([])) == 0


@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH])
def test_every_number_of_texts_has_as_many_rows(encoder: SentenceEncoder, count: int) -> None:
    vectors = encoder.embed([f"text number {index} of some" for index in range(count)])
    assert vectors.shape == (count, 384)
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("text", ["", " ", "😂", "\x00", "\u202e", "一二三" * 4000, "a" * 10_000, "🙂" * 10_000])
def test_any_text_has_a_row(encoder: SentenceEncoder, text: str) -> None:
    assert np.isfinite(encoder.embed([text])).all()


def test_a_text_counts_to_its_limit_only(encoder: SentenceEncoder) -> None:
    head = "we meet " * (MAX_CHARACTERS // 8)
    assert np.array_equal(encoder.embed([head]), encoder.embed([head + "elsewhere " * 100]))


def test_the_name_is_the_folders(encoder: SentenceEncoder) -> None:
    assert encoder.name == "all-minilm-l6-v2"


def test_a_run_opens_nothing_writes_nothing_and_starts_no_thread(model: Path) -> None:
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1"}  # as the launcher sets them
    probe = [sys.executable, "-c", PROBE, str(model)]
    done = subprocess.run(probe, env=environment, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr


def write_model(folder: Path, model: bytes, tokenizer: bytes = b"{}") -> Path:
    (folder / "model.onnx").write_bytes(model)
    (folder / "tokenizer.json").write_bytes(tokenizer)
    return folder


def test_a_missing_model_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="seclude-model"):
        SentenceEncoder(tmp_path)


def test_a_model_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not an ONNX model"):
        SentenceEncoder(write_model(tmp_path, b"not a model"))


def test_tensors_outside_its_folder_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    secret = tmp_path.parent / "weights"
    secret.write_bytes(bytes(16))
    with pytest.raises(ConfigError, match="keeps tensors outside"):
        SentenceEncoder(write_model(tmp_path, external_model("../weights")))


def test_the_refused_model_is_one_that_onnxruntime_would_follow(tmp_path: Path) -> None:
    """Without our check the path is used: the model of the test above is not refused for some other reason."""
    (tmp_path / "weights").write_bytes(np.array([1, 2, 3, 4], dtype=np.float32).tobytes())
    path = tmp_path / "model.onnx"
    path.write_bytes(external_model("weights"))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.run(None, {})[0].tolist() == [1, 2, 3, 4]


def test_a_tokenizer_that_is_none_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tokenizer"):
        SentenceEncoder(write_model(tmp_path, (model / "model.onnx").read_bytes()))


def test_a_model_with_other_inputs_is_refused(model: Path, tmp_path: Path) -> None:
    tokenizer = (model / "tokenizer.json").read_bytes()
    with pytest.raises(ConfigError, match="not a sentence encoder"):
        SentenceEncoder(write_model(tmp_path, constant_model(), tokenizer))


def test_an_onnxruntime_with_telemetry_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", "1.31.1")
    with pytest.raises(ConfigError, match="telemetry"):
        SentenceEncoder(tmp_path)


def message(number: int, content: bytes) -> bytes:
    """One length-delimited field of a protocol buffer."""
    return bytes([number << 3 | 2, len(content)]) + content


def entry(key: bytes, value: bytes) -> bytes:
    return message(1, key) + message(2, value)


def model_of(tensor: bytes) -> bytes:
    """An ONNX model that returns one tensor of four floats (onnx.proto3: ModelProto, GraphProto, ValueInfoProto)."""
    shape = message(2, message(1, b"\x08\x04"))
    node = message(1, b"w") + message(2, b"y") + message(4, b"Identity")
    result = message(1, b"y") + message(2, message(1, b"\x08\x01" + shape))
    graph = message(1, node) + message(2, b"g") + message(5, tensor) + message(12, result)
    return b"\x08\x08" + message(7, graph) + message(8, b"\x10\x0d")


def external_model(location: str) -> bytes:
    """Its tensor stands in another file (TensorProto: data_location EXTERNAL, external_data)."""
    data = message(13, entry(b"location", location.encode())) + message(13, entry(b"length", b"16"))
    return model_of(b"\x08\x04\x10\x01" + message(8, b"w") + data + b"\x70\x01")


def constant_model() -> bytes:
    return model_of(b"\x08\x04\x10\x01" + message(8, b"w") + message(9, bytes(16)))
