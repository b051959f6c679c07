"""A language model with keys and values in slots, one for each request: prompts go straight into theirs, and every step
runs all that are given at once, whatever their lengths.

The folder is one of onnxruntime-genai's kind, or of `seclude-model convert`. Its attention is grouped-query attention,
which reads each row's length from its mask and writes in place: what it reads and what it writes is the same buffer.

Isolation. Rows of a run lie side by side, and no row's result depends on another's: `session.batchable` tells by the
operators, and `seclude-model check` by trying; a graph whose rows share something runs them one by one. A slot is
cleared by its owner, over all that was ever written into it, and nothing else of a request stays: tokens, masks and
logits are zeroed with each run. One thread at a time may use a decoder. After it is made it reads no file.
"""

import contextlib
import math
import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inference.engine.bytepair import load_pairs
from inference.engine.layout import settings_of
from inference.engine.session import batchable, bind_array, load_session, run_bound
from seclude.errors import ConfigError, UsageError

CONTEXT: Final = 4096  # tokens of a slot, unless told otherwise; what is not used of it takes no memory
PIECE: Final = 256  # tokens of a prompt in one run: the fastest of 64, 128, 256, 512 and 1024 with SmolLM2
FLOAT: Final = "tensor(float)"

Logits = NDArray[np.float32]


class Decoder:
    """The model in `folder`, with `slots` places of `context` tokens each, fewer if the model was taught with fewer."""

    def __init__(self, folder: Path, threads: int, slots: int, *, context: int = CONTEXT) -> None:
        said = _said(folder)
        self.slots: Final = slots
        self.eos: Final = _tokens(folder, said, "eos_token_id")
        self.context: Final = min(context, _whole(folder, said, "context_length"))
        self._session = load_session(folder / "model.onnx", threads, within=folder)
        self._alone = batchable(folder / "model.onnx") is not None
        layers, heads, size, self.vocabulary = _measures(folder, self._session)
        self._kept = _zeros((layers, 2, slots, heads, self.context, size))
        self._rows = list(range(slots))
        """Where each slot's keys and values lie now: those that run together must lie side by side."""
        self._lengths = [0] * slots
        self._written = [0] * slots
        """Up to where a slot may hold something: also what a run that failed has left."""
        self._ids = np.zeros((max(slots, PIECE),), dtype=np.int64)
        self._positions = np.zeros_like(self._ids)
        self._mask = np.zeros((slots, self.context), dtype=np.int64)
        self._logits = np.zeros((slots, 1, self.vocabulary), dtype=np.float32)
        self._inputs = {item.name for item in self._session.get_inputs()}
        self._together = [self._bind(0, count) for count in range(1, slots + 1)]
        self._apart = [self._bind(row, 1) for row in range(slots)]
        self._pairs = load_pairs(folder / "tokenizer.json")
        self._pieces = self._pairs.pieces(self.vocabulary)
        if max(self.eos) >= self.vocabulary:
            raise ConfigError(f"{folder / 'genai_config.json'}: eos_token_id is beyond the model's vocabulary")
        self._warm_up()

    def prefill(self, slot: int, ids: Sequence[int]) -> Logits:
        """Append tokens to what a slot holds and return the logits after the last; a prompt may come in several calls.

        A piece of one token is computed by other code than longer ones, and differs in the last bits; so cut a prompt
        where its length says, and not the load.
        """
        self._require(slot, ids)
        if not self._written[slot]:  # to the first row that is free, where steps will want it; nothing moves
            owners = {row: other for other, row in enumerate(self._rows)}
            self._exchange(slot, next(owners[row] for row in sorted(owners) if not self._written[owners[row]]))
        binding = self._apart[self._rows[slot]]
        logits = np.zeros(0, dtype=np.float32)
        for start in range(0, len(ids), PIECE):
            piece = ids[start : start + PIECE]
            begin, count = self._lengths[slot], len(piece)
            self._ids[:count] = piece
            self._positions[:count] = range(begin, begin + count)
            self._mask[0, : begin + count] = 1
            self._written[slot] = begin + count
            output = self._logits[:1]
            if self._all_positions:
                output = np.zeros((1, count, self.vocabulary), dtype=np.float32)
            self._bind_tokens(binding, 1, count)
            bind_array(binding.bind_output, "logits", output)
            try:
                run_bound(self._session, binding)
                logits = output[0, -1].copy()
            finally:
                self._wipe(output)
            self._lengths[slot] += count
        return logits

    def step(self, tokens: Mapping[int, int]) -> dict[int, Logits]:
        """Append one token to each slot that is given, in one run, and return the logits after it."""
        for slot, token in tokens.items():
            self._require(slot, [token])
        if self._alone:
            return {slot: self.prefill(slot, [token]) for slot, token in tokens.items()}
        if not tokens:
            return {}
        self._gather(tokens)
        count = len(tokens)
        for slot, token in tokens.items():
            row, length = self._rows[slot], self._lengths[slot]
            self._ids[row], self._positions[row] = token, length
            self._mask[row, : length + 1] = 1
            self._written[slot] = length + 1
        try:
            run_bound(self._session, self._together[count - 1])
            found = {slot: self._logits[self._rows[slot], 0].copy() for slot in tokens}
        finally:
            self._wipe(self._logits[:count])
        for slot in tokens:
            self._lengths[slot] += 1
        return found

    def length(self, slot: int) -> int:
        """Return how many tokens a slot holds."""
        return self._lengths[slot]

    def clear(self, slot: int) -> None:
        """Zero a slot's keys and values; whoever got the slot does this before anybody else gets it.

        A run leaves some of the keys and values that it multiplied on the stack of its thread (docs/scrubbing.md). So
        one more goes over them there, over as many places that hold zeros.
        """
        self._zero(slot)
        if self._written[slot]:
            self._lengths[slot] = self._written[slot] - 1
            with contextlib.suppress(UsageError):  # of a graph that fails; the slot is free all the same
                self.prefill(slot, [0])
            self._zero(slot)
        self._lengths[slot] = self._written[slot] = 0

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Return a text's tokens. Marks in it, such as "<|im_end|>", are words unless `special` says they are marks."""
        return self._pairs.encode(text, special=special)

    def piece(self, token: int) -> bytes:
        """Return the octets that a token stands for, which may be part of a character; none for a mark."""
        return self._pieces[token]

    def _zero(self, slot: int) -> None:
        self._kept[:, :, self._rows[slot], :, : self._written[slot]] = 0

    def _require(self, slot: int, ids: Sequence[int]) -> None:
        if not ids or not 0 <= slot < self.slots or self._lengths[slot] + len(ids) > self.context:
            raise UsageError(f"{len(ids)} tokens do not go to slot {slot} of {self.slots} x {self.context}")
        if not 0 <= min(ids) <= max(ids) < self.vocabulary:  # onnxruntime's error would name the token
            raise UsageError("a token is not in the vocabulary")

    def _gather(self, tokens: Mapping[int, int]) -> None:
        """Move keys and values until the given slots lie in the first rows."""
        owners = {row: slot for slot, row in enumerate(self._rows)}
        free = [row for row in range(len(tokens)) if owners[row] not in tokens]
        for slot in tokens:
            if self._rows[slot] >= len(tokens):
                self._exchange(slot, owners[free.pop()])

    def _exchange(self, one: int, other: int) -> None:
        """Let two slots change places, one layer after the other: a second copy of all would take memory and time."""
        width = max(self._written[one], self._written[other])
        for layer in self._kept:
            first, second = (layer[:, self._rows[slot], :, :width] for slot in (one, other))
            held = second.copy()
            second[:] = first
            first[:] = held
            held.fill(0)
        self._rows[one], self._rows[other] = self._rows[other], self._rows[one]

    def _wipe(self, logits: Logits) -> None:
        """Zero what a run was given and gave, but keys and values."""
        for array in (self._ids, self._positions, self._mask, logits):
            array.fill(0)

    def _bind(self, row: int, count: int) -> onnxruntime.IOBinding:
        """Return a binding for `count` slots from a row on; the buffers never move, so it holds for good."""
        binding = self._session.io_binding()
        for layer in range(len(self._kept)):
            for index, kind in enumerate(("key", "value")):
                kept = self._kept[layer, index, row : row + count]
                bind_array(binding.bind_input, f"past_key_values.{layer}.{kind}", kept)
                bind_array(binding.bind_output, f"present.{layer}.{kind}", kept)
        bind_array(binding.bind_input, "attention_mask", self._mask[:count])
        bind_array(binding.bind_output, "logits", self._logits[:count])
        self._bind_tokens(binding, count, 1)
        return binding

    def _bind_tokens(self, binding: onnxruntime.IOBinding, rows: int, count: int) -> None:
        bind_array(binding.bind_input, "input_ids", self._ids[: rows * count].reshape(rows, count))
        if "position_ids" in self._inputs:
            bind_array(binding.bind_input, "position_ids", self._positions[: rows * count].reshape(rows, count))

    def _warm_up(self) -> None:
        """Run once, which allocates and starts the threads, and see whether the graph gives logits of all positions."""
        layers, _, _, heads, _, size = self._kept.shape
        nothing = np.zeros((1, heads, 0, size), dtype=np.float32)
        feeds: dict[str, NDArray[np.generic]] = dict.fromkeys(_kept_names("past_key_values", layers), nothing)
        feeds |= {name: np.ones((1, 2), dtype=np.int64) for name in self._inputs - feeds.keys()}
        try:
            logits = self._session.run(["logits"], feeds)[0]
        except Exception as exc:  # onnxruntime's own errors share no base class
            raise ConfigError("the language model does not run: it was exported for another onnxruntime") from exc
        self._all_positions = logits.shape[1] != 1


def _zeros(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return zeros of which only the pages that are written take memory; huge pages would be whole slots."""
    memory = mmap.mmap(-1, math.prod(shape) * np.dtype(np.float32).itemsize, flags=mmap.MAP_PRIVATE)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, dtype=np.float32).reshape(shape)


def _kept_names(what: str, layers: int) -> list[str]:
    return [f"{what}.{layer}.{kind}" for layer in range(layers) for kind in ("key", "value")]


def _said(folder: Path) -> dict[str, object]:
    """Return what genai_config.json says of the model."""
    said = settings_of(folder / "genai_config.json").get("model")
    if not isinstance(said, dict):
        raise ConfigError(f"{folder / 'genai_config.json'} says nothing of a model")
    return said


def _tokens(folder: Path, said: Mapping[str, object], name: str) -> frozenset[int]:
    """Return one token or several."""
    value = said.get(name)
    tokens = value if isinstance(value, list) else [value]
    if not tokens or any(type(token) is not int or token < 0 for token in tokens):
        raise ConfigError(f"{folder / 'genai_config.json'} names no {name}")
    return frozenset(tokens)


def _whole(folder: Path, said: Mapping[str, object], name: str) -> int:
    value = said.get(name)
    if type(value) is not int or value < 2:
        raise ConfigError(f"{folder / 'genai_config.json'} names no {name}")
    return value


def _measures(folder: Path, session: onnxruntime.InferenceSession) -> tuple[int, int, int, int]:
    """Return layers, heads of keys and values, their size, and the vocabulary's; refuse another kind of graph."""
    inputs = {item.name: item for item in session.get_inputs()}
    outputs = {item.name: item for item in session.get_outputs()}
    past = [item for name, item in inputs.items() if name.startswith("past_key_values.")]
    layers = len(past) // 2
    needed = {"input_ids", "attention_mask", *_kept_names("past_key_values", layers)}
    if not layers or inputs.keys() - {"position_ids"} != needed:
        raise ConfigError(f"{folder} is no decoder with grouped-query attention: its inputs are {', '.join(inputs)}")
    if outputs.keys() != {"logits", *_kept_names("present", layers)}:
        raise ConfigError(f"{folder} is no decoder with grouped-query attention: its outputs are {', '.join(outputs)}")
    sizes = {(item.shape[1], item.shape[3]) for item in past}
    heads, size = next(iter(sizes))
    vocabulary = outputs["logits"].shape[-1]
    if len(sizes) != 1 or not all(type(number) is int for number in (heads, size, vocabulary)):
        raise ConfigError(f"{folder} keeps keys and values of several sizes, or does not say which")
    if {item.type for item in [*past, *outputs.values()]} != {FLOAT}:
        raise ConfigError(f"{folder} computes with numbers that are not 32-bit floats: export it for the CPU")
    return layers, heads, size, vocabulary
