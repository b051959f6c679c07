"""A conversation in, text out: what ties template, tokens, engine and text together.

    turns ──template──▶ parts ──▶ tokens ──batcher──▶ logits ──rules──▶ tokens ──pieces──▶ text ... Ended

What is chosen and shown is decided on the engine's thread, as soon as the logits are there, so that a request whose
text has ended takes no further step. Cutting the prompt into tokens is a task of the runner's: it may take long.
"""

import math
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from inference.engine.batching import Batcher, Slots
from inference.engine.logits import Rules, choose, random_from
from inference.engine.pieces import Pieces
from inference.engine.request import Logits
from inference.engine.template import Template, Turn, load_template
from inference.runner import Runner
from seclude.errors import ConfigError, TooLargeError

MOST_TOKENS: Final = 1024  # of one answer, whatever a device asks for: a page and a half, and a slot is free again
# Of a conversation, for each token of the context; with more it is refused unread. On average, a token stands for four
# to nine octets, whatever the language; a hundred spaces may be one, but so many of them are no conversation.
OCTETS_PER_TOKEN: Final = 16
WAIT_SECONDS: Final = 3.0  # for a slot; so the line is gone soon after too many came at once
# Begins, ends and breaks of lines around marks, where tokenizers that join spaces to marks show it.
SAMPLE: Final = (Turn("user", "Hi, Zoë!\n"), Turn("assistant", " 12 of  them."), Turn("user", "\tWhy?"))


class Finish(StrEnum):
    """Why an answer ends: the model or a stop string ended it, or it has become as long as it may."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Ended:
    """What comes last."""

    finish: Finish
    prompt_tokens: int
    completion_tokens: int
    """Those that were chosen, the one included that ends the answer."""


@dataclass(frozen=True, slots=True, repr=False)
class Options:
    """How one answer is written."""

    max_tokens: int = MOST_TOKENS
    temperature: float = 0.0
    """0 takes the likeliest token, without chance."""
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: bytes = b""
    """Of this request's random numbers, where there is chance: drawn for it, or the device's own."""
    until: float = math.inf
    """On the monotonic clock: from then on the answer ends as if it were as long as it may be."""
    wait_seconds: float = WAIT_SECONDS


class Words(Slots, Protocol):
    """What is needed of a decoder that knows its words."""

    @property
    def eos(self) -> frozenset[int]: ...

    def encode(self, text: str, *, special: bool = False) -> list[int]: ...

    def piece(self, token: int, /) -> bytes: ...


class Generation:
    """Writes answers with one model; several at once."""

    def __init__(self, decoder: Words, template: Template, batcher: Batcher[str | Ended], runner: Runner) -> None:
        """Raises ConfigError where the tokenizer would cut marks and text together otherwise than one by one."""
        self._decoder, self._template, self._batcher, self._runner = decoder, template, batcher, runner
        whole = "".join(part.text for part in template.parts(SAMPLE))
        if decoder.encode(whole, special=True) != self.ids(SAMPLE):
            raise ConfigError("this model's tokenizer joins its marks with what stands beside them: not served here")

    @property
    def slots(self) -> int:
        """How many answers it writes at once."""
        return self._decoder.slots

    def ids(self, turns: Sequence[Turn]) -> list[int]:
        """Return the prompt. Nobody's words become a mark: each part is cut for itself."""
        ids: list[int] = []
        for part in self._template.parts(turns):
            ids += self._decoder.encode(part.text, special=part.special)
        return ids

    async def write(self, turns: Sequence[Turn], options: Options) -> AsyncGenerator[str | Ended, None]:
        """Yield the answer's text as it comes, and `Ended`.

        Before anything is yielded, raises BusyError if a slot would come too late, and DecodeError for what cannot be
        answered. Close it (contextlib.aclosing) where it may be left early.
        """
        pieces = Pieces(options.stop)
        self._require_short(turns)
        self._batcher.require_room(options.wait_seconds)  # before any work is done for it
        ids = await self._runner.run(self.ids, turns)
        most = min(options.max_tokens, MOST_TOKENS, self._decoder.context - len(ids) + 1)
        if most < 1:
            raise TooLargeError(f"messages: {len(ids)} tokens, of {self._decoder.context} that this model takes")
        writer = _Writer(self._decoder, ids, pieces, options, most)
        async with aclosing(
            self._batcher.generate(ids, writer, most=most, wait_seconds=options.wait_seconds)
        ) as answer:
            async for piece in answer:
                yield piece

    def _require_short(self, turns: Sequence[Turn]) -> None:
        """Refuse what cannot fit before it is cut into tokens, which takes seconds for a megabyte."""
        octets, most = sum(len(turn.text.encode()) for turn in turns), OCTETS_PER_TOKEN * self._decoder.context
        if octets > most:
            raise TooLargeError(f"messages: {octets} octets, of {most} that this model takes at most")


def template_of(folder: Path, decoder: Words) -> Template:
    """Read the template of a model's folder, whose decoder this is."""
    return load_template(folder, is_token(decoder))


def is_token(decoder: Words) -> Callable[[str], bool]:
    """Return what says whether a mark is one token, which words are never cut into."""

    def is_one(mark: str) -> bool:
        found = decoder.encode(mark, special=True)
        return len(found) == 1 and decoder.encode(mark) != found

    return is_one


class _Writer:
    """Chooses and shows the tokens of one answer, on the engine's thread."""

    def __init__(self, decoder: Words, ids: Sequence[int], pieces: Pieces, options: Options, most: int) -> None:
        self._decoder, self._pieces, self._most = decoder, pieces, most
        self._history, self._prompt = list(ids), len(ids)
        self._rules = Rules(
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            repetition_penalty=options.repetition_penalty,
        )
        self._random = random_from(options.seed) if options.temperature > 0 else None
        self._until = options.until

    def __call__(self, logits: Logits) -> tuple[int | None, Sequence[str | Ended]]:
        token = choose(logits, self._history, self._rules, self._random)
        self._history.append(token)
        made = len(self._history) - self._prompt
        ends = token in self._decoder.eos
        text = self._pieces.end() if ends else self._pieces.feed(self._decoder.piece(token))
        ends = ends or self._pieces.stopped
        if not ends and made < self._most and time.monotonic() < self._until:
            return token, (text,) if text else ()
        text += self._pieces.end(cut=True)
        self._history.clear()
        ended = Ended(Finish.STOP if ends else Finish.LENGTH, self._prompt, made)
        return None, (text, ended) if text else (ended,)
