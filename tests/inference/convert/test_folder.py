"""A whole conversion: the same octets each time, and the model that the file holds."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inference.convert.folder import convert
from inference.convert.gguf import load_gguf
from inference.engine.decoder import Decoder
from inference.engine.layout import Layout, layout_of
from inference.model.pins import digest
from seclude.errors import ConfigError
from tests.inference.convert import tiny
from tests.inference.convert.smollm2 import smollm2

FILES = {"genai_config.json", "model.onnx", "model.onnx.data", "tokenizer.json", "tokenizer_config.json"}
SMOLLM2_DIGESTS = {  # of what SmolLM2's file becomes, on any machine
    "model.onnx": "85f56492cc2ac87f9660ddb56448772f75fdfb147e6cf8b2f63a31138f11fe03",
    "model.onnx.data": "e0f7861d6504a7c292b8f14e4dfeec676389c5c87fd2fcfd40007d48923fee6a",
    "tokenizer.json": "00c2769556a94d9a9f3cded7f4fa80b30576b55adace8dc90bb6e18cb34ec5d1",
}
TEXT = """\
The neighbours met on Tuesday evening to talk about the old cherry tree behind the houses. Two branches had come down
in the storm, and one of them broke a fence. Mrs. Albers wanted to keep the tree, because her children had learned to
climb in it; Mr. Okafor was afraid that the next storm would bring down more than a fence. They agreed to ask a gardener
from the town, who would come before the end of the month and say what could be saved. Until then nobody should park a
car under it. The costs, about 240 euros, are shared between the four houses, and Jonas collects the money. After that
the talk went on for another hour, about dogs, bicycles in the hallway and who had borrowed the long ladder last autumn.
It was found in the cellar of number 12, where it had stood all the time, behind a wardrobe that belonged to no one.
"""


def digests(folder: Path) -> dict[str, str]:
    return {path.name: digest(path) for path in folder.iterdir()}


def rows(decoder: Decoder, ids: list[int]) -> Iterator[np.ndarray]:
    """Yield what follows each token."""
    decoder.clear(0)
    yield decoder.prefill(0, ids[:1])
    for token in ids[1:]:
        yield decoder.step({0: token})[0]


def test_the_same_file_gives_the_same_octets(tmp_path: Path) -> None:
    source = tiny.write(tmp_path / "tiny.gguf")
    for name in ("one", "two"):
        convert(source, tmp_path / name)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert digests(tmp_path / "one").keys() == FILES
    assert layout_of(tmp_path / "one") is Layout.DECODER
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("own_head", [False, True], ids=["tied", "own head"])
def test_the_graph_computes_what_the_file_says(tmp_path: Path, own_head: bool) -> None:
    held = tiny.tensors()
    if own_head:
        held["output.weight"] = tiny.tensors(1)["token_embd.weight"]
    convert(tiny.write(tmp_path / "tiny.gguf", held=held), tmp_path / "model")
    ids = np.random.default_rng(3).integers(0, len(tiny.WORDS), 60).tolist()
    expected = tiny.logits(load_gguf(tmp_path / "tiny.gguf"), ids)
    found = np.stack(list(rows(Decoder(tmp_path / "model", 1, 1), ids)))
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.999
    assert np.exp(tiny.surprise(found, ids) - tiny.surprise(expected, ids)) == pytest.approx(1, abs=0.01)


def test_sizes_and_end_tokens_are_said(tmp_path: Path) -> None:
    metadata = tiny.metadata() | {"tokenizer.ggml.eot_token_id": 0}
    convert(tiny.write(tmp_path / "tiny.gguf", metadata), tmp_path / "model")
    said = json.loads((tmp_path / "model" / "genai_config.json").read_text())["model"]
    assert said["eos_token_id"] == [0, 2]
    assert (said["context_length"], said["vocab_size"]) == (tiny.CONTEXT, len(tiny.WORDS))


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("general.architecture", "mamba", "'mamba'"),
        ("llama.expert_count", 8, "experts"),
        ("llama.rope.scaling.type", "yarn", "stretches"),
        ("llama.rope.dimension_count", 8, "rotates"),
        ("llama.attention.head_count", 8, "heads"),
        ("llama.block_count", 1 << 30, "layers"),
        ("llama.block_count", 3, "has no blk.2"),
        ("llama.block_count", 1, "tensors that no Llama has"),
        ("llama.embedding_length", 128, "fit"),
        ("llama.context_length", "long", "context_length"),
        ("tokenizer.ggml.tokens", [*tiny.WORDS, "more"], "no row"),
    ],
)
def test_what_is_no_such_model_is_refused_and_leaves_nothing(
    tmp_path: Path, key: str, value: object, word: str
) -> None:
    source = tiny.write(tmp_path / "tiny.gguf", tiny.metadata() | {key: value})
    with pytest.raises(ConfigError, match=word):
        convert(source, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.gguf"]


def test_a_bias_is_not_left_out(tmp_path: Path) -> None:
    held = tiny.tensors()
    held["blk.0.attn_q.bias"] = held["output_norm.weight"]
    with pytest.raises(ConfigError, match=r"attn_q\.bias"):
        convert(tiny.write(tmp_path / "tiny.gguf", held=held), tmp_path / "model")


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(ConfigError, match="exists"):
        convert(tiny.write(tmp_path / "tiny.gguf"), tmp_path / "model")


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_smollm2_is_the_same_twice_and_as_good(tmp_path: Path) -> None:
    source = smollm2(tmp_path)
    for name in ("one", "two"):
        convert(source, tmp_path / name)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert digests(tmp_path / "one").items() >= SMOLLM2_DIGESTS.items()
    decoder = Decoder(tmp_path / "one", 1, 1)
    ids = decoder.encode(TEXT)
    found = np.exp(tiny.surprise(np.stack(list(rows(decoder, ids))), ids))
    reference = np.exp(tiny.surprise(tiny.logits(load_gguf(source), ids), ids))
    print(f"perplexity {found:.3f}, of the file's own weights {reference:.3f}")
    assert found / reference == pytest.approx(1, abs=0.01)
