"""What abstracts and other wordings need of a model that writes: an instruction, texts in, a text for each out.

Two kinds of models write. A language model reads the instruction and answers in a conversation of its own for each
text, among those of other requests. A summariser reads no instruction; it makes of a text what it was taught to make.
What either writes is a proposal: `faithful` compares it with what it was made of before anybody sees it.
"""

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing, closing
from dataclasses import replace
from typing import Final, Protocol

from inference.engine.generation import Ended, Finish, Generation, Options
from inference.engine.logits import Rules, random_from
from inference.engine.seq2seq import Chance, Seq2Seq
from inference.engine.template import Turn
from inference.runner import Runner, stop_if_given_up
from seclude.errors import BusyError, TooLargeError

WINDOW_TOKENS: Final = 1024  # for a language model to read at once: some four seconds of two cores for a small one
TOGETHER: Final = 4  # conversations of one request at once, and half of the slots at most: the others stay for others
WARMTH: Final = 0.7  # temperature of another answer to a text that was answered: other words, and still sense

_END: Final = re.compile(r"[.!?\u2026\u0964][\"'\u201d\u2019)]*(?=\s|\Z)")


class Writer(Protocol):
    """A model that writes."""

    @property
    def name(self) -> str:
        """What answers call the model."""

    @property
    def follows_instructions(self) -> bool:
        """Whether it does what it is told; a summariser only summarises."""

    @property
    def window(self) -> int:
        """How many tokens of text one call may read, instruction and answer left out."""

    def count(self, text: str) -> int:
        """Return how many tokens a text has; called on a task's thread."""

    async def write(self, instruction: str, texts: Sequence[str], *, most: int, seed: bytes) -> list[str]:
        """Return an answer of at most `most` tokens to each text, none with half a sentence at its end.

        The likeliest one to the first of equal texts; to the others, such as chance gives by `seed`, where the model
        follows instructions. Of equal texts those get an empty answer for which there is no room in time; raises
        BusyError where a text would get no other one, and TooLargeError for a text that does not fit.
        """


class LanguageWriter:
    """Writes with a language model of `context` tokens: each text is a conversation in the continuous batch.

    `wishes` is how its files want it to be used, and how long a conversation waits for its slot.
    """

    follows_instructions: Final = True

    def __init__(self, generation: Generation, name: str, *, context: int, wishes: Options | None = None) -> None:
        self._generation, self._wishes = generation, wishes or Options()
        self.name: Final = name
        self.window: Final = min(WINDOW_TOKENS, context // 2)
        """The other half is for the instruction and the answer."""
        self._empty: Final = len(generation.ids([Turn("user", "")]))

    def count(self, text: str) -> int:
        """Return how many tokens a text adds to a conversation."""
        return len(self._generation.ids([Turn("user", text)])) - self._empty

    async def write(self, instruction: str, texts: Sequence[str], *, most: int, seed: bytes) -> list[str]:
        """Return an answer to each text; see `Writer`."""
        places = asyncio.Semaphore(min(TOGETHER, max(1, self._generation.slots // 2)))
        hopes = Counter(texts)  # how many answers to each text may still come, or came

        async def answer(text: str, options: Options) -> str:
            try:
                async with places:
                    return await self._answer([Turn("system", instruction), Turn("user", text)], options)
            except BusyError:
                hopes[text] -= 1
                if not hopes[text]:
                    raise
                return ""

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(answer(text, self._options(most, seed, index, again=text in texts[:index])))
                    for index, text in enumerate(texts)
                ]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None  # the others are of the same kind, or were cancelled for it
        return [task.result() for task in tasks]

    def _options(self, most: int, seed: bytes, index: int, *, again: bool) -> Options:
        own = _own_seed(seed, index) if again else b""
        most = min(most, self._wishes.max_tokens)
        return replace(self._wishes, max_tokens=most, temperature=WARMTH if again else 0.0, seed=own)

    async def _answer(self, turns: Sequence[Turn], options: Options) -> str:
        text, cut = "", False
        async with aclosing(self._generation.write(turns, options)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Ended):
                    cut = piece.finish is Finish.LENGTH
                else:
                    text += piece
        return _whole(text, cut=cut)


class SummariserWriter:
    """Writes with an encoder-decoder model, on the runner's threads; texts of one call share a batch if they may."""

    follows_instructions: Final = False

    def __init__(self, model: Seq2Seq, runner: Runner) -> None:
        self._model, self._runner = model, runner
        self.name: Final = model.name
        self.window: Final = model.max_input - len(model.encode(model.prefix))
        self._empty: Final = len(model.encode(""))

    def count(self, text: str) -> int:
        """Return how many tokens a text has beside the marks around it."""
        return len(self._model.encode(text)) - self._empty

    async def write(self, instruction: str, texts: Sequence[str], *, most: int, seed: bytes) -> list[str]:
        """Return a summary of each text, whatever the instruction says; see `Writer`."""
        return await self._runner.run(self._write, texts, most, seed)

    def _write(self, texts: Sequence[str], most: int, seed: bytes) -> list[str]:
        model = self._model
        own = model.rules()
        rules = own if own.max_length is not None and own.max_length <= most else model.rules(most)
        ids = [model.encode(model.prefix + text) for text in texts]
        if (longest := max(map(len, ids), default=0)) > model.max_input:
            raise TooLargeError(f"text: {longest} tokens, of {model.max_input} that this model takes")
        chances = [random_from(_own_seed(seed, index)) if rules.temperature > 0 else None for index in range(len(ids))]
        if model.alone is None:
            return self._make(ids, rules, chances) if ids else []
        return [self._make([each], rules, [chance])[0] for each, chance in zip(ids, chances, strict=True)]

    def _make(self, ids: Sequence[Sequence[int]], rules: Rules, chances: Sequence[Chance]) -> list[str]:
        made: list[list[int]] = [[] for _ in ids]
        with closing(self._model.begin(ids, rules, chances)) as batch:
            while batch.running:
                stop_if_given_up()
                for place, tokens in batch.step().items():
                    made[place] += tokens
        texts = [b"".join(map(self._model.piece, tokens)).decode(errors="ignore") for tokens in made]
        longest = (rules.max_length or 0) - 1  # without the token at the start
        return [_whole(text, cut=len(tokens) >= longest) for text, tokens in zip(texts, made, strict=True)]


def _own_seed(seed: bytes, index: int) -> bytes:
    """Return the seed of one text of a request, so that two of them do not get the same numbers."""
    return hashlib.sha256(seed + index.to_bytes(4)).digest()


def _whole(text: str, *, cut: bool) -> str:
    """Return a text without white space around it, and without half a sentence if it was cut: half a fact misleads."""
    if cut:
        ends = [match.end() for match in _END.finditer(text)]
        text = text[: ends[-1]] if ends else ""
    return text.strip()
