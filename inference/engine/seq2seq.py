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

from inference.engine.beam import Beams, Line, Search
from inference.engine.layout import FILES, Layout, batchable, generation_of, load_tokenizer, octets_of
from inference.engine.logits import Row, Rules
from inference.engine.session import (
    TYPES,
    Array,
    Feeds,
    bind_array,
    bind_parts,
    by_chance,
    leaks_across_rows,
    load_session,
    run,
    run_bound,
)
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
LOGITS: Final = "logits"
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
        if max(len(self._octets) - 1, self._generation.highest) >= self._graphs.vocabulary:
            raise ConfigError(f"{folder}: its tokenizer or its settings have tokens beyond the model's vocabulary")
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
            logits, self._each = logits[repeated], each
            self._steps.take(repeated)
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
    """The arrays of a batch, whose rows are its texts or their beams, and where the decoder finds them.

    The graph reads and writes them where they stand, so a step copies nothing and makes one array: of the keys and
    values of all layers, with one place more. What that replaces is filled with zeros.
    """

    def __init__(self, graphs: "Graphs", tokens: Array, mask: Array) -> None:
        rows, width = tokens.shape
        self._graphs = graphs
        self._mask, self._hidden = mask, graphs.read(tokens, mask)
        self._crossed = graphs.room(rows, width)
        """Keys and values of what the encoder read; the first step makes them."""
        self._kept = graphs.room(rows, 0)
        """Those of the steps before."""
        self._bind()

    def step(self, last: Sequence[int]) -> Row:
        """Go on from these tokens, one for each row, and return the logits of what comes after them, to be wiped."""
        graphs, binding = self._graphs, self._binding
        rows, places = self._kept.shape[1], self._kept.shape[3]
        grown = graphs.room(rows, places + 1)
        self._last[:, 0] = last
        if places:
            bind_parts(binding.bind_input, graphs.kept, self._kept)
        bind_parts(binding.bind_output, graphs.made_of(graphs.kept), grown)
        run_bound(graphs.decoder, binding)
        self._kept.fill(0)
        self._kept, logits = grown, self._logits[:, 0].astype(np.float32, copy=False)
        if not places:
            self._bind()
        return logits

    def take(self, order: Sequence[int], *, past_only: bool = False) -> None:
        """Let the arrays hold these of their rows, in this order, and fill the old ones with zeros."""
        self._kept = _taken(self._kept, order, axis=1)
        if past_only:
            return
        self._crossed = _taken(self._crossed, order, axis=1)
        self._mask, self._hidden = _taken(self._mask, order), _taken(self._hidden, order)
        self._logits.fill(0)
        self._last.fill(0)
        if order:
            self._bind()

    def _bind(self) -> None:
        """Bind what stays in its place from now on. The first step is the graph's other branch."""
        graphs, rows, first = self._graphs, self._kept.shape[1], not self._kept.shape[3]
        self._binding = binding = graphs.decoder.io_binding()
        self._last = np.zeros((rows, 1), dtype=np.int64)
        self._branch = np.array([not first])
        self._logits = graphs.room_for_logits(rows)
        there = {TOKENS: self._last, BRANCH: self._branch, MASK: self._mask, HIDDEN: self._hidden}
        for name in there.keys() & graphs.inputs:
            bind_array(binding.bind_input, name, there[name])
        bind_array(binding.bind_output, LOGITS, self._logits)
        if first:  # it asks for keys and values as well, and does not look at them
            self._nothing = graphs.room(rows, 1)
            self._nothing.fill(0)
            bind_parts(binding.bind_input, graphs.kept, self._nothing)
            bind_parts(binding.bind_input, graphs.crossed, self._nothing)
            bind_parts(binding.bind_output, graphs.made_of(graphs.crossed), self._crossed)
        else:
            bind_parts(binding.bind_input, graphs.crossed, self._crossed)


class Graphs:
    """The two graphs of an encoder-decoder model, the decoder's with and without a past in one file."""

    def __init__(self, encoder: Path, decoder: Path, threads: int) -> None:
        self._encoder = load_session(encoder, threads, within=encoder.parent)
        self.decoder: Final = load_session(decoder, threads, within=decoder.parent)
        self._reads = {item.name for item in self._encoder.get_inputs()}
        self._types = {item.name: TYPES.get(item.type) for item in self.decoder.get_inputs()}
        self._shapes = {item.name: item.shape for item in self.decoder.get_inputs()}
        self._results = {item.name: item for item in self.decoder.get_outputs()}
        self.inputs: Final = frozenset(self._types)
        past = [name for name in self._types if name.startswith(PAST)]
        self.kept: Final = [name for name in past if OF_ENCODER not in name]
        """The inputs that are keys and values of the steps before, as a batch keeps them."""
        self.crossed: Final = [name for name in past if OF_ENCODER in name]
        """Those of what the encoder read."""
        self._require_known(f"{decoder} is no merged decoder as Optimum exports it, or {encoder} is not its encoder")
        self._heads, self._size = self._shapes[past[0]][1], self._shapes[past[0]][3]

    @property
    def vocabulary(self) -> int:
        """How many tokens the decoder chooses among."""
        return int(self._results[LOGITS].shape[2])

    def read(self, tokens: Array, mask: Array) -> Array:
        """Run the encoder, and return what it makes of each token."""
        feeds = {TOKENS: tokens, "attention_mask": mask}
        (hidden, *_) = run(self._encoder, {name: feeds[name] for name in self._reads})
        return hidden

    def room(self, rows: int, places: int) -> Array:
        """Return an array for keys and values, whatever it holds: [layer and kind, row, head, place, size]."""
        return np.empty((len(self.kept), rows, self._heads, places, self._size), dtype=self._types[self.kept[0]])

    def room_for_logits(self, rows: int) -> Array:
        """Return an array for the logits of one step: [row, 1, token]."""
        logits = self._results[LOGITS]
        return np.zeros((rows, 1, logits.shape[2]), dtype=TYPES[logits.type])

    @staticmethod
    def made_of(inputs: Sequence[str]) -> list[str]:
        """Return which outputs these inputs of a later step are."""
        return [name.replace(PAST, PRESENT, 1) for name in inputs]

    def leak(self) -> str | None:
        """Return which graph lets a row's results depend on the other rows, found by running them; None for none."""
        tries = (self._some(np.random.Generator(np.random.PCG64(seed))) for seed in range(TRIES))
        for place, (one, *others) in enumerate(zip(*tries, strict=True)):
            if leaks_across_rows(self.decoder if place else self._encoder, one, others):
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
            by_chance(self.decoder, shapes, {MASK: mask, BRANCH: np.array([False])}, random),
            by_chance(self.decoder, shapes, {MASK: mask, BRANCH: np.array([True])}, random),
        )

    def _require_known(self, otherwise: str) -> None:
        past = [*self.kept, *self.crossed]
        sizes = {(self._shapes[name][1], self._shapes[name][3], self._types[name]) for name in past}
        logits = self._results.get(LOGITS)
        if (
            not {TOKENS} <= self._reads <= {TOKENS, "attention_mask"}
            or not {TOKENS, BRANCH} <= self.inputs <= {TOKENS, MASK, HIDDEN, BRANCH, *past}
            or not {LOGITS, *self.made_of(past)} <= self._results.keys()
            or not 0 < len(self.kept) == len(self.crossed)
            or len(sizes) != 1
            or not all(type(number) is int for number in next(iter(sizes))[:2])
            or None in self._types.values()
            or logits is None
            or type(logits.shape[2]) is not int
            or logits.type not in TYPES
        ):
            raise ConfigError(otherwise)


def _taken(array: Array, order: Sequence[int], axis: int = 0) -> Array:
    """Return some rows of an array, and fill it with zeros."""
    taken = array.take(order, axis)
    array.fill(0)
    return taken
