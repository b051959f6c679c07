"""A GGUF file of the Llama kind with random weights, written here, and what such a model computes, in numpy."""

import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.convert.gguf import SIZES, Gguf
from inference.convert.quants import unpack
from inference.engine.bytepair import CHARACTERS

LAYERS, WIDTH, HEADS, KV_HEADS, HEAD, INNER, CONTEXT = 2, 64, 4, 2, 16, 96, 128
MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["h e", "t he", "Ġ the", "i n", "1 2", "Ġ a", "a n"]
WORDS = [*MARKS, *(CHARACTERS[octet] for octet in range(256)), *(merge.replace(" ", "") for merge in MERGES)]
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"

Metadata = dict[str, object]
Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]


def metadata() -> Metadata:
    return {
        "general.architecture": "llama",
        "general.alignment": 64,
        "llama.block_count": LAYERS,
        "llama.context_length": CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 10_000.0,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": WORDS,
        "tokenizer.ggml.token_type": [3 if word in MARKS else 1 for word in WORDS],
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": TEMPLATE,
    }


def tensors(seed: int = 0) -> Tensors:
    random = np.random.default_rng(seed)

    def floats(*shape: int) -> tuple[str, tuple[int, ...], bytes]:
        return "F32", shape, random.normal(0, 0.2, shape).astype("<f4").tobytes()

    def fours(rows: int, columns: int) -> tuple[str, tuple[int, ...], bytes]:
        blocks = rows * columns // 32
        scales = np.stack([random.uniform(0.02, 0.06, blocks), random.uniform(-0.5, -0.2, blocks)], axis=1)
        numbers = random.integers(0, 256, (blocks, 16), dtype=np.uint8)
        return "Q4_1", (rows, columns), np.hstack([scales.astype("<f2").view(np.uint8), numbers]).tobytes()

    def eights(rows: int, columns: int) -> tuple[str, tuple[int, ...], bytes]:
        blocks = rows * columns // 32
        scales = random.uniform(0.001, 0.01, (blocks, 1)).astype("<f2").view(np.uint8)
        return "Q8_0", (rows, columns), np.hstack([scales, random.integers(0, 256, (blocks, 32), np.uint8)]).tobytes()

    found = {"token_embd.weight": eights(len(WORDS), WIDTH), "output_norm.weight": floats(WIDTH)}
    for layer in range(LAYERS):
        shapes = {
            "attn_q": (HEADS * HEAD, WIDTH),
            "attn_k": (KV_HEADS * HEAD, WIDTH),
            "attn_v": (KV_HEADS * HEAD, WIDTH),
            "attn_output": (WIDTH, HEADS * HEAD),
            "ffn_gate": (INNER, WIDTH),
            "ffn_up": (INNER, WIDTH),
            "ffn_down": (WIDTH, INNER),
        }
        found |= {f"blk.{layer}.{name}.weight": fours(*shape) for name, shape in shapes.items()}
        found |= {f"blk.{layer}.{name}_norm.weight": floats(WIDTH) for name in ("attn", "ffn")}
    return found


def write(path: Path, said: Metadata | None = None, held: Tensors | None = None) -> Path:
    path.write_bytes(octets(said or metadata(), tensors() if held is None else held))
    return path


def octets(said: Mapping[str, object], held: Tensors) -> bytes:
    """Return a file, version 3 (ggml's docs/gguf.md)."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(held), len(said))
    head += b"".join(text(key) + _typed(value) for key, value in said.items())
    alignment = said.get("general.alignment", 32)
    assert isinstance(alignment, int)
    body = b""
    for name, (kind, shape, data) in held.items():
        body += b"\0" * (-len(body) % alignment)
        head += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        head += struct.pack("<IQ", SIZES[kind][0], len(body))
        body += data
    return head + b"\0" * (-len(head) % alignment) + body


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _typed(value: object) -> bytes:
    match value:
        case bool():
            return struct.pack("<IB", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + text(value)
        case [str(), *_] as items:
            return struct.pack("<IIQ", 9, 8, len(items)) + b"".join(text(str(item)) for item in items)
        case [*items]:
            return struct.pack(f"<IIQ{len(items)}i", 9, 5, len(items), *items)
    raise TypeError(value)


def logits(gguf: Gguf, ids: Sequence[int]) -> NDArray[np.float64]:
    """Return what follows each token, with the file's own weights, in llama.cpp's order of rotation: neighbours."""
    heads, kv = gguf.integer("llama.attention.head_count"), gguf.integer("llama.attention.head_count_kv")
    epsilon = gguf.number("llama.attention.layer_norm_rms_epsilon")
    weights = {name: unpack(tensor) for name, tensor in gguf.tensors.items()}
    count, size = len(ids), gguf.integer("llama.embedding_length") // heads
    waves = gguf.number("llama.rope.freq_base") ** (-np.arange(0, size, 2) / size)
    turns = np.exp(1j * np.arange(count)[:, None] * waves).astype(np.complex64)[:, None]

    def norm(rows: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        scale = np.sqrt((rows * rows).mean(axis=1, keepdims=True, dtype=np.float32) + np.float32(epsilon))
        return np.asarray(rows / scale * weights[name], dtype=np.float32)

    def turned(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
        pairs = rows.reshape(count, heads, size // 2, 2)
        whole = (pairs[..., 0] + 1j * pairs[..., 1]) * turns
        return np.stack([whole.real, whole.imag], axis=-1).reshape(count, heads, size)

    future = np.triu(np.full((count, count), -np.inf, dtype=np.float32), 1)
    rows = weights["token_embd.weight"][list(ids)]
    for layer in range(gguf.integer("llama.block_count")):
        part = {name: weights[f"blk.{layer}.{name}.weight"].T for name in PARTS}
        normed = norm(rows, f"blk.{layer}.attn_norm.weight")
        query = turned(normed @ part["attn_q"], heads)
        key = np.repeat(turned(normed @ part["attn_k"], kv), heads // kv, axis=1)
        value = np.repeat((normed @ part["attn_v"]).reshape(count, kv, size), heads // kv, axis=1)
        scores = np.einsum("ahd,bhd->hab", query, key) / np.float32(math.sqrt(size)) + future
        shares = np.exp(scores - scores.max(axis=2, keepdims=True))
        shares /= shares.sum(axis=2, keepdims=True)
        rows = rows + np.einsum("hab,bhd->ahd", shares, value).reshape(count, -1) @ part["attn_output"]
        normed = norm(rows, f"blk.{layer}.ffn_norm.weight")
        gate = normed @ part["ffn_gate"]
        rows = rows + (gate / (1 + np.exp(-gate)) * (normed @ part["ffn_up"])) @ part["ffn_down"]
    head = weights.get("output.weight", weights["token_embd.weight"])
    return (norm(rows, "output_norm.weight") @ head.T).astype(np.float64)


PARTS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def surprise(rows: NDArray[np.float64], ids: Sequence[int]) -> float:
    """Return the mean of -log p of each token but the first, by the logits before it."""
    shifted = rows - rows.max(axis=1, keepdims=True)
    chances = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-np.mean([chances[place, token] for place, token in enumerate(ids[1:])]))
