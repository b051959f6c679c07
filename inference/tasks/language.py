"""A language model at work: its name, what its files want where a device says nothing, and the engine behind it.

All that it does goes through `generation`, which counts it. What is counted can be scraped, so the tokens of a request
count as a power of two, as its octets count as their bucket: on a quiet worker the difference of two scrapes would
be the length of one chat.
"""

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from inference.engine.batching import Batcher
from inference.engine.generation import Ended, Generation, Options, Words
from inference.engine.layout import settings_of
from inference.engine.template import Template, Turn
from inference.runner import Runner
from seclude.chat import MAX_TEMPERATURE
from seclude.errors import BusyError, ConfigError

SEED_OCTETS: Final = 32
MAX_TOP_K: Final = 1 << 20  # no vocabulary has more tokens
MAX_PENALTY: Final = 10.0  # published models ask for at most 2


@dataclass(slots=True)
class Tally:
    """What a language model has done; nothing of any request."""

    running: int = 0
    """Answers that are asked for and have not ended."""
    refused: int = 0
    """For want of room."""
    read: int = 0
    """Tokens of prompts, each request's rounded up to a power of two."""
    written: int = 0
    """Tokens of answers, likewise."""

    def ended(self, answer: Ended) -> None:
        """Count an answer that came to its end."""
        self.read += 1 << (answer.prompt_tokens - 1).bit_length()
        self.written += 1 << (answer.completion_tokens - 1).bit_length()


class LanguageModel:
    """Serves several at once with one decoder; its thread runs from here on, until `close`."""

    def __init__(
        self, name: str, decoder: Words, template: Template, runner: Runner, *, waiting: int, defaults: Options
    ) -> None:
        """Raises ConfigError as Generation does; `waiting` may be in line, and `defaults` hold unless a device says."""
        self.name: Final = name
        self.defaults: Final = defaults
        self.slots: Final = decoder.slots
        self.context: Final = decoder.context
        self.tally: Final = Tally()
        self._batcher = Batcher[str | Ended](decoder, waiting=waiting)
        try:
            self.generation: Final[Generation] = _Counted(decoder, template, self._batcher, runner, self.tally)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End what is being written, with the step at work."""
        self._batcher.close()


class _Counted(Generation):
    """Counts what it writes."""

    def __init__(
        self, decoder: Words, template: Template, batcher: Batcher[str | Ended], runner: Runner, tally: Tally
    ) -> None:
        super().__init__(decoder, template, batcher, runner)
        self._tally = tally

    async def write(self, turns: Sequence[Turn], options: Options) -> AsyncGenerator[str | Ended, None]:
        """Yield as Generation does."""
        self._tally.running += 1
        try:
            async with aclosing(super().write(turns, options)) as answer:
                async for piece in answer:
                    if isinstance(piece, Ended):
                        self._tally.ended(piece)
                    yield piece
        except BusyError:
            self._tally.refused += 1
            raise
        finally:
            self._tally.running -= 1


def new_seed() -> bytes:
    """Return what one request's random numbers begin with, where the device brings none."""
    return secrets.token_bytes(SEED_OCTETS)


def wishes_of(folder: Path, *, max_tokens: int, wait_seconds: float) -> Options:
    """Return what `genai_config.json` says of how its model wants to be used, below `search`; raises ConfigError."""
    path = folder / "genai_config.json"
    said = settings_of(path).get("search")
    search = said if isinstance(said, dict) else {}

    def number(name: str, default: float, least: float, most: float) -> float:
        value = search.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ConfigError(f"{path}: search.{name} must be a number from {least:g} to {most:g}")
        return float(value)

    by_chance = search.get("do_sample") is True  # onnxruntime-genai takes the likeliest token unless this is said
    return Options(
        max_tokens=max_tokens,
        temperature=number("temperature", 1.0, 0.0, MAX_TEMPERATURE) if by_chance else 0.0,
        top_k=int(number("top_k", 0, 0, MAX_TOP_K)),
        top_p=number("top_p", 1.0, 1e-6, 1.0),
        repetition_penalty=number("repetition_penalty", 1.0, 1.0, MAX_PENALTY),
        wait_seconds=wait_seconds,
    )
