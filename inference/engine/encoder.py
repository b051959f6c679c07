"""A sentence encoder: all-MiniLM-L6-v2, or another BERT-like ONNX export, on raw onnxruntime.

It reads its files when it is made and none afterwards; it writes none, starts no thread beyond those it is told to,
and keeps no text: `wordpiece` cuts it without a cache, and without a memory arena each run's memory is freed.

Graphs with dynamic quantisation share one activation scale over all rows of a run: rows of two requests in one run
would move each other's results. `embed` therefore takes the sentences of one request, and a run holds only those.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from inference.engine.session import load_session
from inference.engine.wordpiece import WordPieces
from inference.runner import stop_if_given_up
from seclude.errors import ConfigError

MAX_TOKENS: Final = 128  # what the model was trained on; a chat message has about fifteen
MAX_CHARACTERS: Final = 1024  # before tokenising: eight for each of the tokens that are left; English has about four
BATCH: Final = 8  # rows of one run: 16 and 32 are no faster, and 32 of 128 tokens take 500 MB more while they run
# Enough to tell whether a tokenizer lowers, drops accents, takes Chinese characters apart, and marks begin and end.
SAMPLES: Final = ("Größe: Ångström's CAFÉ-bar, isn't_it?\t(7.50€) supercalifragilistic", "你好, мир\u200b! " * 40)
INPUTS: Final = frozenset({"input_ids", "attention_mask", "token_type_ids"})


class Encoder(Protocol):
    """What the tasks need of a sentence encoder."""

    @property
    def name(self) -> str:
        """What answers call the model."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row of length 1 for each text; all texts belong to one request."""


class SentenceEncoder:
    """The encoder in `directory`, which holds `model.onnx` and `tokenizer.json`; its folder's name is its name."""

    def __init__(self, directory: Path, threads: int = 1) -> None:
        self._name = directory.resolve().name
        self._session = load_session(directory / "model.onnx", threads, within=directory)
        self._pieces = _load_pieces(directory / "tokenizer.json")
        self._inputs = [item.name for item in self._session.get_inputs()]
        if not {"input_ids", "attention_mask"} <= set(self._inputs) <= INPUTS:
            raise ConfigError(f"{directory} is not a sentence encoder: its inputs are {', '.join(self._inputs)}")
        self.embed(["Warm up: the first run allocates and starts the threads."])

    @property
    def name(self) -> str:
        """What answers call the model."""
        return self._name

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row of length 1 for each text. All texts must belong to one request; see the module."""
        encoded = [self._pieces.encode(text[:MAX_CHARACTERS]) for text in texts]
        order = sorted(range(len(texts)), key=lambda index: len(encoded[index]))  # little padding within a run
        rows: dict[int, NDArray[np.float32]] = {}
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            stop_if_given_up()
            rows.update(zip(chosen, self._run([encoded[index] for index in chosen]), strict=True))
        if not rows:
            return np.zeros((0, 0), dtype=np.float32)
        return np.stack([rows[index] for index in range(len(texts))])

    def _run(self, ids: list[list[int]]) -> NDArray[np.float32]:
        """Run the model once: the mean over each row's tokens, then scaled to length 1."""
        width = max(len(row) for row in ids)
        tokens = np.array([row + [0] * (width - len(row)) for row in ids], dtype=np.int64)
        lengths = np.array([[len(row)] for row in ids])
        mask = (np.arange(width) < lengths).astype(np.int64)
        feeds = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        try:
            outputs = self._session.run(None, {name: feeds[name] for name in self._inputs})
        finally:
            tokens.fill(0)  # numpy keeps small pieces of memory for reuse, as they are
        hidden = cast(NDArray[np.float32], outputs[0])
        mean = (hidden * mask[:, :, None]).sum(axis=1, dtype=np.float32) / lengths.astype(np.float32)
        norm = np.linalg.norm(mean, axis=1, keepdims=True)
        return cast(NDArray[np.float32], mean / np.maximum(norm, 1e-9))


def _load_pieces(path: Path) -> WordPieces:
    """Load a vocabulary whose tokenizer cuts as we do; its file's own padding and truncation give way to ours."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as exc:  # tokenizers raises plain Exception
        raise ConfigError(f"cannot read {path}: install a model with seclude-model") from exc
    if not isinstance(tokenizer.model, WordPiece):  # others keep words that they have split, in a cache of all requests
        raise ConfigError(f"{path} is no WordPiece tokenizer, as a sentence encoder here has it")
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    try:
        pieces = WordPieces(tokenizer.get_vocab(), MAX_TOKENS)
    except KeyError as exc:
        raise ConfigError(f"the vocabulary of {path} has no {exc.args[0]}") from exc
    if any(pieces.encode(text) != tokenizer.encode(text).ids for text in SAMPLES):
        raise ConfigError(f"{path} cuts text otherwise than an uncased BERT model's tokenizer does")
    return pieces
