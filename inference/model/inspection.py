"""What a model says of itself: its layout, what its graphs take and give, its sizes, and how it would be served.

It is loaded, since only onnxruntime knows whether it can be, and asked nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime

from inference.engine.decoder import Decoder
from inference.engine.encoder import MAX_TOKENS, SentenceEncoder
from inference.engine.generation import template_of
from inference.engine.layout import Layout, batchable, generation_of, layout_of, load_tokenizer, settings_of
from inference.engine.seq2seq import OF_ENCODER, PAST, Seq2Seq
from inference.engine.session import TYPES, load_session
from inference.model.intake import files_of
from inference.model.pins import Pin, pin
from inference.model.progress import MEGABYTE, Report
from seclude.errors import ConfigError

KILOBYTE: Final = 1000

Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Graph:
    """One ONNX file's inputs and outputs, each as its type and shape."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    kept_octets: Mapping[str, int]
    """Of each input that holds keys or values: what one token takes in it."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """A model's description."""

    layout: Layout
    files: tuple[Pin, ...]
    """Each file that counts, and what it would be pinned by."""
    graphs: Mapping[str, Graph]
    alone: str | None
    """Why requests must not share a run; None if they may."""
    said: Fields
    """What only models of its layout have."""


def inspect(folder: Path, report: Report) -> Inspection:
    """Look at the model in a folder; raises ConfigError where it is none that can be loaded."""
    layout = layout_of(folder)
    names = files_of(folder)
    graphs = {}
    for name in names:
        if name.endswith(".onnx"):
            report(f"loading {folder.name}: {name}")
            graphs[name] = _graph(load_session(folder / name, 1, within=folder))
    report(f"loading {folder.name}: as a worker does")
    alone, said = _SAYS[layout](folder, graphs)
    return Inspection(layout, tuple(pin(folder, name) for name in names), graphs, alone, said)


def _encoder(folder: Path, _graphs: Mapping[str, Graph]) -> tuple[str | None, Fields]:
    encoder = SentenceEncoder(folder)
    width = encoder.embed(["one"]).shape[1]
    return batchable(folder), {"dimensions": width, "context_tokens": MAX_TOKENS}


def _seq2seq(folder: Path, graphs: Mapping[str, Graph]) -> tuple[str | None, Fields]:
    model, own = Seq2Seq(folder), generation_of(folder)
    longest = own.rules.max_length or own.max_input
    (decoder,) = (graph for name, graph in graphs.items() if name.startswith("decoder"))
    own_octets = sum(octets for name, octets in decoder.kept_octets.items() if OF_ENCODER not in name)
    read_octets = sum(decoder.kept_octets.values()) - own_octets
    return model.alone, {
        "vocabulary": load_tokenizer(folder / "tokenizer.json").get_vocab_size(),
        "context_tokens": own.max_input,
        "beams": own.beams,
        "longest_answer_tokens": longest,
        "prefix": own.prefix,
        "octets_per_slot": own.beams * (own_octets * longest + read_octets * own.max_input),
    }


def _decoder(folder: Path, graphs: Mapping[str, Graph]) -> tuple[str | None, Fields]:
    model = Decoder(folder, 1, 1)
    try:
        template = str(template_of(folder, model).kind)
    except ConfigError as exc:
        template = f"not known: {exc}"
    said = settings_of(folder / "genai_config.json")["model"]
    per_token = sum(octets for graph in graphs.values() for octets in graph.kept_octets.values())
    return batchable(folder), {
        "vocabulary": model.vocabulary,
        "context_tokens": said["context_length"] if isinstance(said, dict) else None,
        "slot_tokens": model.context,
        "ends": sorted(model.eos),
        "template": template,
        "octets_per_token": per_token,
        "octets_per_slot": per_token * model.context,
    }


_SAYS: Final = {Layout.ENCODER: _encoder, Layout.SEQ2SEQ: _seq2seq, Layout.DECODER: _decoder}


def _graph(session: onnxruntime.InferenceSession) -> Graph:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    kept = {item.name: _token_octets(item) for item in inputs if item.name.startswith(PAST)}
    return Graph({item.name: _shown(item) for item in inputs}, {item.name: _shown(item) for item in outputs}, kept)


def _token_octets(item: onnxruntime.NodeArg) -> int:
    """Return what one token takes of keys or values, which lie as [batch, heads, tokens, size]."""
    sizes = [size for size in item.shape if isinstance(size, int)]  # heads and size; the others are names
    return math.prod(sizes) * np.dtype(TYPES.get(item.type, np.float32)).itemsize


def _shown(item: onnxruntime.NodeArg) -> str:
    return f"{item.type.removeprefix('tensor(').removesuffix(')')} [{', '.join(map(str, item.shape))}]"


def text_of(name: str, found: Inspection) -> str:
    """Return a description for people."""
    lines = [f"{name}: {found.layout}, {_size(sum(file.size for file in found.files))} in {len(found.files)} files"]
    lines += [f"  {file.name}: {_size(file.size)}" for file in found.files]
    for path, graph in found.graphs.items():
        lines.append(path)
        for way, items in (("takes", graph.inputs), ("gives", graph.outputs)):
            lines += [f"  {way} {each}" for each in _folded(items)]
    lines += [
        f"{key.replace('octets', 'memory').replace('_', ' ')}: {_value(key, value)}"
        for key, value in found.said.items()
    ]
    lines.append(_shares(found))
    return "\n".join(lines)


def _shares(found: Inspection) -> str:
    if found.layout is Layout.ENCODER:
        return "a run holds sentences of one request only" + (f"; {found.alone}" if found.alone else "")
    return "requests share a run" if found.alone is None else f"one request a run: {found.alone}"


def _folded(items: Mapping[str, str]) -> list[str]:
    """Write layers of the same shape once: past_key_values.0.key, and how many there are like it."""
    like: dict[tuple[str, str], list[str]] = {}
    for name, shape in items.items():
        parts = [part for part in name.split(".") if not part.isdigit()]
        like.setdefault((".".join(parts), shape), []).append(name)
    return [
        f"{names[0]}: {shape}" + (f", and {len(names) - 1} more layers" if len(names) > 1 else "")
        for (_, shape), names in like.items()
    ]


def _value(key: str, value: object) -> str:
    if key.startswith("octets") and isinstance(value, int):
        return _size(value)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value) or "none"


def _size(octets: int) -> str:
    return f"{octets / MEGABYTE:.1f} MB" if octets >= MEGABYTE else f"{octets / KILOBYTE:.1f} kB"
