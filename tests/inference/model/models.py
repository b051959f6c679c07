"""Small models for the tests of `seclude-model`: those with random weights, and one made here that leaks."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from inference.convert import llama
from inference.convert.folder import convert
from inference.convert.protobuf import GraphWriter
from tests.inference.convert import tiny

CHATML = "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"


def decoder(place: Path, template: str = CHATML) -> Path:
    """Write a language model of the Llama kind."""
    metadata = tiny.metadata() | {"tokenizer.chat_template": template}
    convert(tiny.write(place / "tiny.gguf", metadata), place / "tiny-llama")
    return place / "tiny-llama"


def leaking_decoder(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write one in which every row gets a little of all rows, by operators that share nothing in other places."""
    embed = llama._embed

    def leak(graph: GraphWriter, ids: str, table: str) -> str:
        rows = embed(graph, ids, table)
        axis = graph.tensor("rows.axis", np.array([0], dtype=np.int64))
        little = graph.tensor("rows.little", np.array(0.01, dtype=np.float32))
        every = graph.node("ReduceSum", (rows, axis), ("rows.every",), keepdims=1)
        return graph.node("Add", (rows, graph.node("Mul", (every, little), ("rows.part",))), ("rows.leaky",))

    with monkeypatch.context() as patch:
        patch.setattr(llama, "_embed", leak)
        return decoder(place)


def copied(folder: Path, target: Path) -> Path:
    """Copy a model, so that it can be spoilt."""
    target.mkdir(parents=True)
    for path in folder.iterdir():
        shutil.copyfile(path, target / path.name)
    return target
