"""An encoder-decoder model as Optimum exports it (BART, T5, Pegasus and their kin), on raw onnxruntime.

The encoder reads a text once; the decoder then makes one token a step, from the keys and values of the steps before.
Texts of several requests can share the steps (padding is masked, and what has ended leaves), unless the graphs let rows
of one run move each other: operators that are known to do so, or a run that shows it. Then the model takes one request
at a time.

Nothing of a request outlives its `Batch`: arrays of tokens, keys and values are filled with zeros, the C library
overwrites what onnxruntime frees between steps (docs/scrubbing.md), and the tokenizer remembers no word.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from onnxruntime import OrtValue

from inference.engine.beam import Beams, Line, Search
from inference.engine.layout import FILES, Layout, batchable, generation_of, load_tokenizer, octets_of
from inference.engine.logits import Row, Rules
from inference.engine.session import TYPES, Array, Feeds, by_chance, leaks_across_rows, load_session
from inference.runner import stop_if_given_up
from seclude.errors import ConfigError, UsageError

# The names that Optimum gives to inputs and outputs.
TOKENS: Final = "input_ids"
MASK: Final = "encoder_attention_mask"
HIDDEN: Final = "encoder_hidden_states"
BRANCH: Final = "use_cache_branch"
PAST: Final = "past_key_values."
PRESENT: Final = "present."
OF_ENCODER: Final = ".encoder."
TRIES, TRIED = 3, (3, 6)  # how often leaks are looked for, and in how many rows of how many tokens

Chance = np.random.Generator | None


class Seq2Seq:
    """The model in `folder`; the folder's name is its name."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self._name: Final = folder.resolve().name
        self._generation: Final = generation_of(folder)
        encoder, decoder, _, vocabulary = FILES[Layout.SEQ2SEQ]
        self._tokenizer: Final = load_tokenizer(folder / vocabulary)
        self._octets: Final = octets_of(self._tokenizer)
        self._graphs: Final = Graphs(folder / encoder, folder / decoder, threads)
        self._alone: Final = batchable(folder / encoder) or batchable(folder / decoder) or self._graphs.leak()
        for _ in self.generate(self.encode("Warm up."), self.rules(2)):
            pass

    @property
    def name(self) -> str:
        """What answers call the model."""
        return self._name

    @property
    def max_input(self) -> int:
        """How many tokens a text may have, its marks included."""
        return self._generation.max_input

    @property
    def prefix(self) -> str:
        """What the model wants to find before a text to summarise."""
        return self._generation.prefix

    @property
    def alone(self) -> str | None:
        """Why requests must not share a run; None if they may."""
        return self._alone

    def rules(self, most: int | None = None) -> Rules:
        """Return the model's own rules, with at most `most` tokens after the one at the start."""
        own = self._generation.rules
        if most is None:
            return own
        longest = min(max(2, most + 1), self.max_input)
        return replace(own, max_length=longest, min_length=min(own.min_length, longest))

    def encode(self, text: str) -> list[int]:
        """Return a text's tokens, with the marks; however many they are. A mark's name in a text is only text."""
        return self._tokenizer.encode(text).ids

    def piece(self, token: int) -> bytes:
        """Return the octets that a token stands for; none for a mark."""
        return self._octets[token] if 0 <= token < len(self._octets) else b""

    def generate(self, ids: Sequence[int], rules: Rules | None = None, chance: Chance = None) -> Iterator[int]:
        """Make the text that the model makes of these tokens, one token at a time as they become certain.

        It ends within one step of being given up, or of being closed. With a beam search a token is certain when all
        texts that may still win begin alike.
        """
        with closing(self.begin([ids], rules, [chance])) as batch:
            while batch.running:
                stop_if_given_up()
                yield from batch.step().get(0, ())

    def begin(
        self, texts: Sequence[Sequence[int]], rules: Rules | None = None, chances: Sequence[Chance] = ()
    ) -> "Batch":
        """Begin with several texts at once, which may be of several requests unless `alone`; to be closed."""
        if not texts or not all(0 < len(ids) <= self.max_input for ids in texts):
            raise UsageError(f"a text must have 1 to {self.max_input} tokens")
        if len(texts) > 1 and self._alone is not None:
            raise UsageError(f"texts must not share a run: {self._alone}")
        own, rules = self._generation, rules or self._generation.rules
        if rules.max_length is None or rules.max_length > self.max_input:
            raise UsageError(f"a text must end at {self.max_input} tokens or before")
        if own.beams > 1 and rules.temperature == 0:
            searches: list[Search] = [
                Beams(own.start, rules, own.beams, length_penalty=own.length_penalty, early=own.early) for _ in texts
            ]
        else:
            each = zip(texts, chances or [None] * len(texts), strict=True)
            searches = [Line(own.start, rules, chance) for _, chance in each]
        return Batch(self._graphs, texts, own.pad, searches)


class Batch:
    """Texts that are made together, a token a step. What has ended or was dropped takes no part in the next step."""

    def __init__(self, graphs: "Graphs", texts: Sequence[Sequence[int]], pad: int, searches: Sequence[Search]) -> None:
        self._searches = dict(enumerate(searches))
        self._given = dict.fromkeys(self._searches, 1)  # tokens that were handed out; the one at the start is not
        self._each = 1  # rows of the arrays for a text: before the first step those of a beam search would be the same
        width = max(map(len, texts))
        tokens = np.array([[*ids, *[pad] * (width - len(ids))] for ids in texts], dtype=np.int64)
        lengths = np.array([[len(ids)] for ids in texts])
        try:
            self._steps = Steps(graphs, tokens, (np.arange(width) < lengths).astype(np.int64))
        finally:
            tokens.fill(0)  # numpy keeps small pieces of memory for reuse, as they are

    @property
    def running(self) -> frozenset[int]:
        """The texts that have not ended, by their places in what the batch was made with."""
        return frozenset(self._searches)

    def step(self) -> dict[int, list[int]]:
        """Make a token for every text that runs, and return those tokens of each that have become certain."""
        if not self._searches:
            return {}
        rows = [row[-1] for search in self._searches.values() for row in search.tokens[: self._each]]
        logits = self._steps.step(rows)
        each = len(next(iter(self._searches.values())).tokens)
        if each != self._each:
            repeated = [place for place in range(len(rows)) for _ in range(each)]
            self._steps.take(repeated)
            logits, self._each = logits[repeated], each
        news: dict[int, list[int]] = {}
        order: list[int] = []
        for place, (name, search) in enumerate(self._searches.items()):
            first = place * each
            order += [first + parent for parent in search.advance(logits[first : first + each])]
            settled = search.settled()
            news[name] = list(search.best()[self._given[name] : settled])
            self._given[name] = settled
        logits.fill(0)
        if each > 1 and order != list(range(len(order))):
            self._steps.take(order, past_only=True)
        self._leave([name for name, search in self._searches.items() if search.done])
        return news

    def drop(self, text: int) -> None:
        """Make no more of a text; nobody waits for it."""
        self._leave([text] if text in self._searches else [])

    def close(self) -> None:
        """Forget everything."""
        self._leave(list(self._searches))

    def _leave(self, names: list[int]) -> None:
        """Take texts out of the arrays."""
        if not names:
            return
        staying = [place for place, name in enumerate(self._searches) if name not in names]
        self._steps.take([place * self._each + row for place in staying for row in range(self._each)])
        for name in names:
            self._searches.pop(name).clear()


class Steps:
    """The arrays of a batch, whose first axis is its rows."""

    def __init__(self, graphs: "Graphs", tokens: Array, mask: Array) -> None:
        self._graphs = graphs
        self._last = np.zeros((len(tokens), 1), dtype=np.int64)
        self._feeds = graphs.read(tokens, mask) | graphs.nothing(len(tokens)) | {TOKENS: _value(self._last)}

    def step(self, last: Sequence[int]) -> Row:
        """Go on from these tokens, one for each row, and return the logits of what comes after them."""
        self._last[:, 0] = last
        logits, past = self._graphs.decode(self._feeds)
        self._feeds |= past
        self._feeds[BRANCH] = self._graphs.with_past
        return logits

    def take(self, order: Sequence[int], *, past_only: bool = False) -> None:
        """Let the arrays hold these of their rows, in this order, and fill the old ones with zeros."""
        for name, value in self._feeds.items():
            if name in (BRANCH, TOKENS) or (past_only and (OF_ENCODER in name or not name.startswith(PAST))):
                continue
            array = value.numpy()
            self._feeds[name] = _value(array[order])
            array.fill(0)
        if len(order) != len(self._last):
            self._last.fill(0)
            self._last = np.zeros((len(order), 1), dtype=np.int64)
            self._feeds[TOKENS] = _value(self._last)


class Graphs:
    """The two graphs of an encoder-decoder model, the decoder's with and without a past in one file."""

    def __init__(self, encoder: Path, decoder: Path, threads: int) -> None:
        self._encoder = load_session(encoder, threads, within=encoder.parent)
        self._decoder = load_session(decoder, threads, within=decoder.parent)
        self._reads = {item.name for item in self._encoder.get_inputs()}
        self._types = {item.name: TYPES.get(item.type) for item in self._decoder.get_inputs()}
        self._shapes = {item.name: item.shape for item in self._decoder.get_inputs()}
        self._made = [item.name for item in self._decoder.get_outputs() if item.name.startswith(PRESENT)]
        self._first = _asked(self._made)
        self._later = _asked([name for name in self._made if OF_ENCODER not in name])
        self.with_past, self._without_past = _value(np.array([True])), _value(np.array([False]))
        self._require_known(f"{decoder} is no merged decoder as Optimum exports it, or {encoder} is not its encoder")

    def read(self, tokens: Array, mask: Array) -> dict[str, OrtValue]:
        """Run the encoder, and return what the decoder needs of it at every step."""
        feeds = {TOKENS: tokens, "attention_mask": mask}
        hidden, *_ = self._encoder.run_with_ort_values(None, {name: _value(feeds[name]) for name in self._reads})
        return {name: value for name, value in ((HIDDEN, hidden), (MASK, _value(mask))) if name in self._types}

    def nothing(self, rows: int) -> dict[str, OrtValue]:
        """Return the keys and values of no step at all, which the graph asks for and does not look at."""
        past = {
            name: _value(np.zeros((rows, shape[1], 1, shape[3]), dtype=self._types[name]))
            for name, shape in self._shapes.items()
            if name.startswith(PAST)
        }
        return past | {BRANCH: self._without_past}

    def decode(self, feeds: dict[str, OrtValue]) -> tuple[Row, dict[str, OrtValue]]:
        """Run the decoder for one token a row; return its logits, and the keys and values to go on with.

        Those of the encoder come with the first step, and are the same ever after.
        """
        outputs, inputs = self._first if feeds[BRANCH] is self._without_past else self._later
        logits, *past = self._decoder.run_with_ort_values(outputs, feeds)
        last = np.ascontiguousarray(logits.numpy()[:, -1], dtype=np.float32)  # a view, where nothing is to be converted
        return last, dict(zip(inputs, past, strict=True))

    def leak(self) -> str | None:
        """Return which graph lets a row's results depend on the other rows, found by running them; None for none."""
        tries = (self._some(np.random.Generator(np.random.PCG64(seed))) for seed in range(TRIES))
        for place, (one, *others) in enumerate(zip(*tries, strict=True)):
            if leaks_across_rows(self._decoder if place else self._encoder, one, others):
                name = ("encoder", "decoder's first step", "decoder's later steps")[place]
                return f"its {name}: a row's results depend on the other rows, which showed when it was run"
        return None

    def _some(self, random: np.random.Generator) -> tuple[Feeds, Feeds, Feeds]:
        """Return inputs by chance of one shape: for the encoder, the decoder's first step and its later ones."""
        rows, width = TRIED
        mask = (np.arange(width) < random.integers(1, width + 1, (rows, 1))).astype(np.int64)
        shapes: dict[str, tuple[int, ...]] = {TOKENS: (rows, 1)}
        if HIDDEN in self._shapes:
            shapes[HIDDEN] = (rows, width, self._shapes[HIDDEN][2])
        for name, shape in self._shapes.items():
            if name.startswith(PAST):
                shapes[name] = (rows, shape[1], width, shape[3])
        return (
            by_chance(self._encoder, {TOKENS: TRIED}, {"attention_mask": mask}, random),
            by_chance(self._decoder, shapes, {MASK: mask, BRANCH: np.array([False])}, random),
            by_chance(self._decoder, shapes, {MASK: mask, BRANCH: np.array([True])}, random),
        )

    def _require_known(self, otherwise: str) -> None:
        past = {name for name in self._types if name.startswith(PAST)}
        sized = {(type(self._shapes[name][1]), type(self._shapes[name][3])) for name in past}
        if (
            not {TOKENS} <= self._reads <= {TOKENS, "attention_mask"}
            or not {TOKENS, BRANCH} <= self._types.keys() <= {TOKENS, MASK, HIDDEN, BRANCH} | past
            or {name.replace(PAST, PRESENT, 1) for name in past} != set(self._made)
            or sized != {(int, int)}
            or None in self._types.values()
        ):
            raise ConfigError(otherwise)


def _asked(made: list[str]) -> tuple[list[str], list[str]]:
    """Return the outputs to ask for, and which inputs of the next step those after the first are."""
    return ["logits", *made], [name.replace(PRESENT, PAST, 1) for name in made]


def _value(array: Array) -> OrtValue:
    return OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
