"""A whole model folder from one GGUF file: what `seclude-model convert` does. The folder appears by one rename, or not.

model.onnx, model.onnx.data   the graph, and its weights
genai_config.json             sizes and end tokens, as onnxruntime-genai's exports have them
tokenizer.json                the vocabulary
tokenizer_config.json         the chat template, as text; nothing here runs it
"""

import json
import tempfile
from pathlib import Path
from typing import Final

from inference.convert.gguf import Gguf, load_gguf
from inference.convert.llama import Llama, describe, write_graph
from inference.convert.protobuf import GraphWriter
from inference.convert.vocabulary import marks, tokenizer, tokenizer_config
from seclude.errors import ConfigError

MODEL: Final = "model.onnx"
DATA: Final = "model.onnx.data"


def convert(source: Path, target: Path) -> None:
    """Write the folder `target`; raises ConfigError where it exists or the file is not one that can be converted."""
    if target.exists():
        raise ConfigError(f"{target} exists: remove it, or name another folder")
    gguf = load_gguf(source)
    model = describe(gguf)
    texts = {
        "genai_config.json": _config(gguf, model),
        "tokenizer.json": tokenizer(gguf),
        "tokenizer_config.json": tokenizer_config(gguf),
    }
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
            staging = Path(scratch) / "model"
            staging.mkdir()  # with the permissions of the umask, unlike the scratch folder, which only we may read
            with (staging / DATA).open("wb") as data:
                graph = GraphWriter("llama", data, DATA)
                write_graph(gguf, model, graph)
            (staging / MODEL).write_bytes(graph.model())
            for name, text in texts.items():
                (staging / name).write_text(text, encoding="utf-8")
            staging.rename(target)
    except OSError as exc:
        raise ConfigError(f"cannot write {target}: {exc.strerror or 'input/output error'}") from exc


def _config(gguf: Gguf, model: Llama) -> str:
    """Return genai_config.json."""
    found = marks(gguf, model.vocabulary)
    if len(gguf.texts("tokenizer.ggml.tokens")) > model.vocabulary:
        raise ConfigError("the GGUF file has words that its table of words has no row for")
    ends = sorted({found[mark] for mark in ("eos", "eot") if mark in found})
    if not ends:
        raise ConfigError("the GGUF file names no token that ends a text")
    names = {"key": "past_key_values.%d.key", "value": "past_key_values.%d.value"}
    decoder = {
        "filename": MODEL,
        "head_size": model.head_size,
        "hidden_size": model.width,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            **{f"past_{each}_names": name for each, name in names.items()},
        },
        "outputs": {
            "logits": "logits",
            **{f"present_{each}_names": f"present.%d.{each}" for each in names},
        },
        "num_attention_heads": model.heads,
        "num_hidden_layers": model.layers,
        "num_key_value_heads": model.kv_heads,
    }
    document = {
        "model": {
            **({"bos_token_id": found["bos"]} if "bos" in found else {}),
            "context_length": model.context,
            "decoder": decoder,
            "eos_token_id": ends,
            "pad_token_id": ends[0],
            "type": "llama",
            "vocab_size": model.vocabulary,
        },
        "search": {"max_length": model.context, "past_present_share_buffer": True},
    }
    return json.dumps(document, indent=1) + "\n"
