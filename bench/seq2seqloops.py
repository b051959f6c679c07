"""Decoding with an encoder-decoder model: a loop by hand, and the engine's batch (see `loops`)."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.loops import PAST, PLAIN, PRESENT, Clock, Taken, by_row
from inference.engine.beam import Line
from inference.engine.layout import FILES, Layout, generation_of
from inference.engine.seq2seq import Batch, Graphs
from inference.engine.session import Array, load_session


class BareSeq2Seq:
    """The loop on an encoder-decoder model: `run`, what it returned given back to it."""

    def __init__(self, folder: Path, threads: int) -> None:
        encoder, decoder, *_ = FILES[Layout.SEQ2SEQ]
        self._encoder = load_session(folder / encoder, threads, within=folder)
        self._decoder = load_session(folder / decoder, threads, within=folder)
        self._start = generation_of(folder).start
        self._inputs = {item.name: item.shape for item in self._decoder.get_inputs()}
        self._past = [name for name in self._inputs if name.startswith(PAST)]

    def __call__(self, ids: Sequence[int], rows: int, steps: int) -> Taken:
        """Decode."""
        clock, texts = Clock(), np.array([ids] * rows, dtype=np.int64)
        last = np.full((rows, 1), self._start, dtype=np.int64)
        names, feeds = self._past, self._read(texts)
        tokens: list[list[int]] = []
        for step in range(steps + 1):
            feeds["input_ids"] = last
            logits, *past = self._decoder.run(["logits", *(name.replace(PAST, PRESENT) for name in names)], feeds)
            feeds.update(zip(names, past, strict=True))
            last = logits[:, -1].argmax(axis=1)[:, None]
            tokens.append(last[:, 0].tolist())
            if not step:
                feeds["use_cache_branch"] = np.array([True])
                names = [name for name in names if ".encoder." not in name]
                clock.start()
        clock.stop()
        return clock.taken(by_row(tokens), steps)

    def _read(self, texts: NDArray[np.int64]) -> dict[str, Array]:
        """Return what the decoder's first step is given."""
        rows = len(texts)
        asked = {item.name for item in self._encoder.get_inputs()}
        given: dict[str, Array] = {"input_ids": texts, "attention_mask": np.ones_like(texts)}
        (hidden, *_) = self._encoder.run(None, {name: given[name] for name in asked})
        feeds = {
            "encoder_attention_mask": given["attention_mask"],
            "encoder_hidden_states": hidden,
            "use_cache_branch": np.array([False]),
        }
        feeds = {name: value for name, value in feeds.items() if name in self._inputs}
        for name in self._past:
            _, heads, _, size = self._inputs[name]
            feeds[name] = np.zeros((rows, heads, 1, size), dtype=hidden.dtype)
        return feeds


class EngineSeq2Seq:
    """The engine's batch on the same model, each row another request's line of search."""

    def __init__(self, folder: Path, threads: int) -> None:
        encoder, decoder, *_ = FILES[Layout.SEQ2SEQ]
        self._graphs = Graphs(folder / encoder, folder / decoder, threads)
        said = generation_of(folder)
        self._start, self._pad = said.start, said.pad

    def __call__(self, ids: Sequence[int], rows: int, steps: int) -> Taken:
        """Decode."""
        clock, tokens = Clock(), [list[int]() for _ in range(rows)]
        searches = [Line(self._start, PLAIN) for _ in range(rows)]
        with closing(Batch(self._graphs, [ids] * rows, self._pad, searches)) as batch:
            for step in range(steps + 1):
                for row, news in batch.step().items():
                    tokens[row] += news
                if not step:
                    clock.start()
            clock.stop()
        return clock.taken(tokens, steps)
