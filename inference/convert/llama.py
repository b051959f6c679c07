"""A Llama-kind model as an ONNX graph: the tensors of a GGUF file, and onnxruntime's own operators for their work.

    input_ids [batch, length], attention_mask [batch, total], past_key_values.N.{key,value} [batch, heads, past, size]
    logits [batch, 1, words], of each row's last position; present.N.{key,value}, which may be the same buffers

These are the names of onnxruntime-genai's exports, so that the engine loads both alike. A row of the mask has ones for
the tokens that are there, the new ones included, and then zeros.

Weights are octets with a scale and a zero for 32 (MatMulNBits with accuracy_level 4: activations become int8, 32 at a
time and within their row, so no row's result depends on another's). The table of words serves as the head too where the
file has no other, and is then stored once. llama.cpp turns the rows of the query and key weights so that its rotation
works on neighbours; onnxruntime's rotates halves, so they are turned back.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from inference.convert.gguf import Gguf, Packed
from inference.convert.protobuf import GraphWriter
from inference.convert.quants import unpack, unpack_rows
from inference.convert.weights import BLOCK, Floats, Octets, quantise, rotations, turned_back
from seclude.errors import ConfigError

MAX_LAYERS: Final = 1024  # the largest Llama has 126
MAX_HEAD_SIZE: Final = 512  # the largest known is 256
MAX_CONTEXT: Final = 8192  # the tables of sines take 4 MB at that; a longer chat is cut into windows anyway

PARTS: Final = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
WHOLE: Final = frozenset({"token_embd.weight", "output.weight", "output_norm.weight", "rope_freqs.weight"})


@dataclass(frozen=True, slots=True)
class Llama:
    """What a graph is built from besides the weights."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int
    epsilon: float
    theta: float
    """What the wave lengths of positions are powers of."""


def describe(gguf: Gguf) -> Llama:
    """Return the model's measures; raises ConfigError where it is of another kind."""
    if (kind := gguf.text("general.architecture")) != "llama":
        raise ConfigError(f"the GGUF file holds a model of kind {kind[:40]!a}: only llama can be converted")
    if "llama.expert_count" in gguf.metadata:
        raise ConfigError("the GGUF file holds a mixture of experts, which cannot be converted")
    if gguf.text("llama.rope.scaling.type", "none") != "none":
        raise ConfigError("the GGUF file stretches its positions (llama.rope.scaling), which cannot be converted")
    width, heads = gguf.integer("llama.embedding_length"), gguf.integer("llama.attention.head_count")
    model = Llama(
        layers=gguf.integer("llama.block_count"),
        width=width,
        heads=heads,
        kv_heads=gguf.integer("llama.attention.head_count_kv", heads),
        head_size=gguf.integer("llama.attention.key_length", max(1, width // heads)),
        vocabulary=_tensor(gguf, "token_embd.weight").shape[0],
        context=min(gguf.integer("llama.context_length"), MAX_CONTEXT),
        epsilon=gguf.number("llama.attention.layer_norm_rms_epsilon"),
        theta=gguf.number("llama.rope.freq_base", 10_000.0),
    )
    if gguf.integer("llama.rope.dimension_count", model.head_size) != model.head_size:
        raise ConfigError("the GGUF file rotates a part of each head, which cannot be converted")
    if model.layers > MAX_LAYERS:
        raise ConfigError(f"the GGUF file has {model.layers} layers, which is over {MAX_LAYERS}")
    if model.head_size % 16 or model.head_size > MAX_HEAD_SIZE or heads % model.kv_heads:
        raise ConfigError("the GGUF file has heads that onnxruntime does not compute")
    known = WHOLE | {f"blk.{layer}.{part}.weight" for layer in range(model.layers) for part in PARTS}
    if unknown := sorted(gguf.tensors.keys() - known):  # to leave one out would be another model
        raise ConfigError(f"the GGUF file has tensors that no Llama has, such as {unknown[0][:40]!a}")
    return model


def write_graph(gguf: Gguf, model: Llama, graph: GraphWriter) -> None:
    """Put the whole model into `graph`."""
    ids = graph.input("input_ids", "int64", ("batch", "length"))
    shared = _shared_inputs(graph, gguf, model)
    words = "token_embd.weight"
    head = "output.weight" if "output.weight" in gguf.tensors else words
    stream = _embed(graph, ids, _quantised(graph, words, [_matrix(gguf, words, model.vocabulary, model.width)]))
    normed = graph.node(
        "SimplifiedLayerNormalization",
        (stream, _norm(graph, gguf, model, "blk.0.attn_norm.weight")),
        ("blk.0.attn_norm",),
        epsilon=model.epsilon,
        axis=-1,
        stash_type=1,
    )
    for layer in range(model.layers):
        name = f"blk.{layer}"
        attended = _attend(graph, gguf, model, layer, normed, shared)
        normed, stream = _add_and_norm(graph, gguf, model, stream, attended, f"{name}.ffn_norm")
        fed = _feed_forward(graph, gguf, model, name, normed)
        if last := layer == model.layers - 1:
            end = graph.tensor("end", np.array([-1], dtype=np.int64))
            stream, fed = (graph.node("Gather", (each, end), (f"{each}.end",), axis=1) for each in (stream, fed))
        following = "output_norm" if last else f"blk.{layer + 1}.attn_norm"
        normed, stream = _add_and_norm(graph, gguf, model, stream, fed, following)
    if head != words:
        _quantised(graph, head, [_matrix(gguf, head, model.vocabulary, model.width)])
    _multiply(graph, head, normed, "logits", model.vocabulary, model.width)
    graph.output("logits", "float32", ("batch", 1, model.vocabulary))


def _tensor(gguf: Gguf, name: str) -> Packed:
    if name not in gguf.tensors:
        raise ConfigError(f"the GGUF file has no {name}")
    return gguf.tensors[name]


def _matrix(gguf: Gguf, name: str, rows: int, columns: int) -> Packed:
    """Return a matrix of the file, of these sizes."""
    tensor = _tensor(gguf, name)
    if tensor.shape != (rows, columns) or columns % BLOCK:
        raise ConfigError(f"the GGUF file has a {name} that does not fit the others")
    return tensor


def _norm(graph: GraphWriter, gguf: Gguf, model: Llama, name: str) -> str:
    """Add the weights of a norm."""
    tensor = _tensor(gguf, name)
    if tensor.shape != (model.width,):
        raise ConfigError(f"the GGUF file has a {name} that does not fit the others")
    return graph.tensor(name, unpack(tensor))


def _shared_inputs(graph: GraphWriter, gguf: Gguf, model: Llama) -> tuple[str, ...]:
    """Add what all layers' attention reads: each row's length less one, the mask's width, cosines and sines."""
    mask = graph.input("attention_mask", "int64", ("batch", "total"))
    one = graph.tensor("constant.one", np.array(1, dtype=np.int64))
    axes = graph.tensor("constant.axes", np.array([1], dtype=np.int64))
    lengths = graph.node("ReduceSum", (mask, axes), ("lengths",), keepdims=0)
    before = graph.node("Cast", (graph.node("Sub", (lengths, one), ("before.wide",)),), ("before",), to=6)
    shape = graph.node("Shape", (mask,), ("mask.shape",))
    total = graph.node("Gather", (shape, one), ("total.wide",), axis=0)
    cosines, sines = rotations(model.context, model.theta, _stretch(gguf, model))
    return (
        before,
        graph.node("Cast", (total,), ("total",), to=6),
        graph.tensor("cosines", cosines),
        graph.tensor("sines", sines),
    )


def _embed(graph: GraphWriter, ids: str, table: str) -> str:
    """Look the rows of the tokens up, as int8, and turn only those into floats."""
    last = graph.tensor("constant.last", np.array([-1], dtype=np.int64))
    shape = graph.tensor("constant.rows", np.array([0, 0, -1], dtype=np.int64))
    rows = graph.node("Gather", (table, ids), ("rows",), axis=0)  # [batch, length, blocks, BLOCK]
    scales = graph.node("Gather", (f"{table}.scales", ids), ("rows.scales",), axis=0)
    zeros = graph.node("Gather", (f"{table}.zeros", ids), ("rows.zeros",), axis=0)
    wide = [graph.node("Cast", (each,), (f"{each}.wide",), to=1) for each in (rows, zeros)]
    each_zero = graph.node("Unsqueeze", (wide[1], last), ("rows.zero",))
    each_scale = graph.node("Unsqueeze", (scales, last), ("rows.scale",))
    centred = graph.node("Sub", (wide[0], each_zero), ("rows.centred",))
    return graph.node("Reshape", (graph.node("Mul", (centred, each_scale), ("rows.floats",)), shape), ("embedded",))


def _attend(graph: GraphWriter, gguf: Gguf, model: Llama, layer: int, normed: str, shared: tuple[str, ...]) -> str:
    """Add a layer's attention, whose keys and values go to the caller's buffers."""
    name = f"blk.{layer}"
    queries, keys = model.heads * model.head_size, model.kv_heads * model.head_size
    sizes = {"q": queries, "k": keys, "v": keys}
    parts = [_matrix(gguf, f"{name}.attn_{part}.weight", rows, model.width) for part, rows in sizes.items()]
    _quantised(graph, f"{name}.attn_qkv", parts, orders=(model.heads, model.kv_heads, None))
    packed = _multiply(graph, f"{name}.attn_qkv", normed, f"{name}.qkv", queries + 2 * keys, model.width)
    shape = ("batch", model.kv_heads, "past", model.head_size)
    past = [graph.input(f"past_key_values.{layer}.{each}", "float32", shape) for each in ("key", "value")]
    present = [f"present.{layer}.{each}" for each in ("key", "value")]
    for output in present:
        graph.output(output, "float32", shape)
    attended = graph.node(
        "com.microsoft.GroupQueryAttention",
        (packed, "", "", *past, *shared),
        (f"{name}.attended", *present),
        num_heads=model.heads,
        kv_num_heads=model.kv_heads,
        do_rotary=1,
        rotary_interleaved=0,
    )
    _quantised(graph, f"{name}.attn_output", [_matrix(gguf, f"{name}.attn_output.weight", model.width, queries)])
    return _multiply(graph, f"{name}.attn_output", attended, f"{name}.attn", model.width, queries)


def _feed_forward(graph: GraphWriter, gguf: Gguf, model: Llama, name: str, normed: str) -> str:
    """Add a layer's second half: down(silu(gate(x)) * up(x))."""
    inner = _tensor(gguf, f"{name}.ffn_up.weight").shape[0]
    both = []
    for part in ("gate", "up"):
        _quantised(graph, f"{name}.ffn_{part}", [_matrix(gguf, f"{name}.ffn_{part}.weight", inner, model.width)])
        both.append(_multiply(graph, f"{name}.ffn_{part}", normed, f"{name}.{part}", inner, model.width))
    gate = graph.node("Sigmoid", both[:1], (f"{name}.sigmoid",))
    gate = graph.node("Mul", (both[0], gate), (f"{name}.silu",))  # with the line above: onnxruntime runs them as one
    gated = graph.node("Mul", (gate, both[1]), (f"{name}.gated",))
    _quantised(graph, f"{name}.ffn_down", [_matrix(gguf, f"{name}.ffn_down.weight", model.width, inner)])
    return _multiply(graph, f"{name}.ffn_down", gated, f"{name}.ffn", model.width, inner)


def _add_and_norm(graph: GraphWriter, gguf: Gguf, model: Llama, stream: str, added: str, name: str) -> tuple[str, str]:
    """Add to the stream; return it normed for what follows, and as it is."""
    kind, weight = "com.microsoft.SkipSimplifiedLayerNormalization", _norm(graph, gguf, model, f"{name}.weight")
    graph.node(kind, (stream, added, weight), (name, "", "", f"{name}.stream"), epsilon=model.epsilon)
    return name, f"{name}.stream"


def _multiply(graph: GraphWriter, weight: str, value: str, output: str, rows: int, columns: int) -> str:
    """Multiply by a matrix that `_quantised` has added."""
    sizes = {"N": rows, "K": columns, "bits": 8, "block_size": BLOCK, "accuracy_level": 4}
    inputs = (value, weight, f"{weight}.scales", f"{weight}.zeros")
    return graph.node("com.microsoft.MatMulNBits", inputs, (output,), **sizes)


def _quantised(graph: GraphWriter, name: str, parts: Sequence[Packed], orders: Sequence[int | None] = (None,)) -> str:
    """Add matrices, one below the other, as octets, scales and zeros; `orders` has the heads of those to turn back."""
    scales: list[Floats] = []
    zeros: list[Octets] = []

    def pieces() -> Iterator[Octets]:
        for part, heads in zip(parts, orders, strict=True):
            rows: Iterable[tuple[Floats, Floats]] = unpack_rows(part)
            if heads is not None:  # rows change places within the whole matrix
                whole, grid = (turned_back(np.concatenate(each), heads) for each in zip(*rows, strict=True))
                rows = [(whole, grid)]
            for floats, steps in rows:
                found = quantise(floats, steps)
                scales.append(found.scales)
                zeros.append(found.zeros)
                yield found.octets

    shape = (sum(part.shape[0] for part in parts), parts[0].shape[1] // BLOCK)
    graph.stream(name, "uint8", (*shape, BLOCK), pieces())
    graph.stream(f"{name}.scales", "float32", shape, scales)
    graph.stream(f"{name}.zeros", "uint8", shape, zeros)
    return name


def _stretch(gguf: Gguf, model: Llama) -> Floats:
    """Return what each wave length is multiplied by (Llama 3.1 has a tensor for it)."""
    tensor = gguf.tensors.get("rope_freqs.weight")
    if tensor is None:
        return np.ones(model.head_size // 2, dtype=np.float32)
    if tensor.shape != (model.head_size // 2,):
        raise ConfigError("the GGUF file has a rope_freqs.weight that does not fit its heads")
    return unpack(tensor)
