"""Decoding with a language model: a loop by hand, and the engine's continuous batching (see `loops`)."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, closing, contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from bench.loops import PAST, PLAIN, PRESENT, Clock, Taken, by_row
from inference.engine.batching import Batcher
from inference.engine.decoder import Decoder
from inference.engine.logits import choose
from inference.engine.pieces import Pieces
from inference.engine.request import Logits
from inference.engine.session import Array, bind_array, bind_parts, load_session
from seclude.errors import ConfigError

CONTEXT: Final = 1024  # places of a slot, if the model was taught with as many


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
        return clock.taken(by_row(tokens), steps)

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
