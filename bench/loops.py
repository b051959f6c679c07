"""Greedy decoding as a loop that somebody would write by hand on onnxruntime, and as the engine does it.

A bare loop does what cannot be left out: the same graph with the same options, the likeliest token of each row, keys
and values passed on where they stand. It checks nothing, serves nobody, clears nothing. Both write from the same tokens
and for as long, whatever ends a text otherwise; what they wrote is returned, since only the same work is compared.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from inference.engine.batching import Batcher
from inference.engine.beam import Line
from inference.engine.decoder import Decoder
from inference.engine.layout import FILES, Layout, generation_of
from inference.engine.logits import Rules, choose
from inference.engine.pieces import Pieces
from inference.engine.request import Logits
from inference.engine.seq2seq import Batch, Graphs
from inference.engine.session import Array, bind_array, bind_parts, load_session
from seclude.errors import ConfigError

CONTEXT: Final = 1024  # places of a slot, if the model was taught with as many
PLAIN: Final = Rules()
PAST: Final = "past_key_values"
PRESENT: Final = "present"

Tokens = list[list[int]]
"""What was written: a list for each row."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a stretch of decoding took, for each token of it."""

    cpu_us: float
    """Of all threads of the process."""
    wall_us: float
    tokens: Tokens


class Loop(Protocol):
    """Reads the same tokens in each row, and measures so many steps after the first token."""

    def __call__(self, ids: Sequence[int], rows: int, steps: int, /) -> Taken: ...


class Clock:
    """Reads what the process and the wall's clock say at the begin and the end of a stretch."""

    def __init__(self) -> None:
        self._began = (0, 0)
        self._took = (0, 0)

    def start(self) -> None:
        """Begin the stretch."""
        self._began = process_time_ns(), perf_counter_ns()

    def stop(self) -> None:
        """End it."""
        self._took = process_time_ns() - self._began[0], perf_counter_ns() - self._began[1]

    def taken(self, tokens: Tokens, steps: int) -> Taken:
        """Return what the stretch took, of so many steps of all rows."""
        cpu, wall = (each / 1000 / steps / len(tokens) for each in self._took)
        return Taken(cpu, wall, tokens)


class BareDecoder:
    """The loop on a decoder that `seclude-model convert` made, with one buffer for its keys and values."""

    def __init__(self, folder: Path, threads: int, rows: int, context: int) -> None:
        self._session = load_session(folder / "model.onnx", threads, within=folder)
        inputs = {item.name: item.shape for item in self._session.get_inputs()}
        self._past = [name for name in inputs if name.startswith(PAST)]
        if inputs.keys() != {"input_ids", "attention_mask", *self._past}:
            raise ConfigError(f"{folder} is no folder that `seclude-model convert` wrote")
        _, heads, _, size = inputs[self._past[0]]
        self._kept = np.zeros((len(self._past), rows, heads, context, size), dtype=np.float32)
        self._mask = np.zeros((rows, context), dtype=np.int64)
        (logits,) = (item for item in self._session.get_outputs() if item.name == "logits")
        self._logits = np.zeros((rows, 1, logits.shape[2]), dtype=np.float32)

    def __call__(self, ids: Sequence[int], rows: int, steps: int) -> Taken:
        """Decode."""
        clock, last = Clock(), np.zeros((rows, 1), dtype=np.int64)
        self._mask.fill(0)
        self._mask[:rows, : len(ids)] = 1
        for row in range(rows):
            self._run(row, 1, np.array([ids], dtype=np.int64))()
        run, tokens = self._run(0, rows, last), []
        last[:, 0] = self._logits[:rows, 0].argmax(axis=1)
        clock.start()
        for place in range(len(ids), len(ids) + steps):
            tokens.append(last[:, 0].tolist())
            self._mask[:rows, place] = 1
            run()
            last[:, 0] = self._logits[:rows, 0].argmax(axis=1)
        clock.stop()
        return clock.taken(_by_row(tokens), steps)

    def _run(self, row: int, count: int, ids: Array) -> Callable[[], None]:
        binding, end = self._session.io_binding(), row + count
        bind_array(binding.bind_input, "input_ids", ids)
        bind_array(binding.bind_input, "attention_mask", self._mask[row:end])
        bind_array(binding.bind_output, "logits", self._logits[row:end])
        bind_parts(binding.bind_input, self._past, self._kept[:, row:end])
        bind_parts(binding.bind_output, [name.replace(PAST, PRESENT) for name in self._past], self._kept[:, row:end])
        return lambda: self._session.run_with_iobinding(binding)


class EngineDecoder:
    """The engine: continuous batching on a thread of its own, a request for each row, and text on the loop."""

    def __init__(self, decoder: Decoder, batcher: Batcher[str], loop: asyncio.AbstractEventLoop) -> None:
        self._decoder, self._batcher, self._loop = decoder, batcher, loop

    def __call__(self, ids: Sequence[int], rows: int, steps: int) -> Taken:
        """Decode."""
        stretch = Stretch(rows, steps)

        async def one(row: int) -> None:
            writer = Writer(self._decoder, ids, stretch, row)
            async with aclosing(self._batcher.generate(ids, writer, most=writer.most, wait_seconds=60)) as answer:
                async for _ in answer:
                    pass

        async def all_of_them() -> None:
            await asyncio.gather(*map(one, range(rows)))

        self._loop.run_until_complete(all_of_them())
        return stretch.clock.taken(stretch.tokens, steps)


@contextmanager
def engine_decoder(folder: Path, threads: int, rows: int) -> Iterator[tuple[EngineDecoder, Decoder]]:
    """Have an engine for as long as it is needed, and the decoder in it, which knows the words."""
    decoder = Decoder(folder, threads, rows, context=CONTEXT)
    batcher = Batcher[str](decoder, waiting=rows)
    with closing(asyncio.new_event_loop()) as loop, closing(batcher):
        yield EngineDecoder(decoder, batcher, loop), decoder


class Stretch:
    """The steps that are measured: from when every row writes, for so many tokens of each."""

    def __init__(self, rows: int, steps: int) -> None:
        self.clock, self.tokens = Clock(), [list[int]() for _ in range(rows)]
        self._rows, self._steps, self._writing, self._left = rows, steps, 0, rows * steps

    def take(self, row: int, token: int) -> bool:
        """Take one row's next token, and say whether it goes on."""
        if self._left <= 0:
            return False
        written = self.tokens[row]
        written.append(token)
        if self._writing == self._rows:
            self._left -= 1
            if not self._left:
                self.clock.stop()
            return self._left > 0
        self._writing += len(written) == 1
        if self._writing == self._rows:
            self.clock.start()
        return True


class Writer:
    """Chooses and shows the tokens of one row, as an answer to somebody would be."""

    def __init__(self, decoder: Decoder, ids: Sequence[int], stretch: Stretch, row: int) -> None:
        self._decoder, self._stretch, self._row = decoder, stretch, row
        self._history, self._pieces = list(ids), Pieces()
        self.most = decoder.context - len(ids)

    def __call__(self, logits: Logits) -> tuple[int | None, Sequence[str]]:
        """Choose the next one."""
        token = choose(logits, self._history, PLAIN)
        self._history.append(token)
        text = self._pieces.feed(self._decoder.piece(token))
        return token if self._stretch.take(self._row, token) else None, (text,) if text else ()


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
        return clock.taken(_by_row(tokens), steps)

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


def same(one: Tokens, other: Tokens) -> bool:
    """Say whether two loops wrote the same, as far as both went: an engine's rows begin one after the other."""
    pairs = [pair for rows in zip(one, other, strict=True) for pair in zip(*rows, strict=False)]
    return bool(pairs) and all(left == right for left, right in pairs)


def _by_row(steps: list[list[int]]) -> Tokens:
    return [list(row) for row in zip(*steps, strict=True)]
