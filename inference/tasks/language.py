"""A language model at work: its name, what its files want where a device says nothing, and the engine behind it.

All that it does goes through `generation`, which counts it (`tally.py`).
"""

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

from inference.engine.batching import Batcher
from inference.engine.generation import Ended, Generation, Options, Words
from inference.engine.layout import settings_of
from inference.engine.template import Template, Turn
from inference.runner import Runner
from inference.tasks.tally import Tally
from seclude.chat import MAX_MODEL, MAX_TEMPERATURE
from seclude.errors import ConfigError

SEED_OCTETS: Final = 32
MAX_TOP_K: Final = 1 << 20  # no vocabulary has more tokens
MAX_PENALTY: Final = 10.0  # published models ask for at most 2


class LanguageModel:
    """Serves several at once with one decoder; its thread runs from here on, until `close`."""

    def __init__(
        self, name: str, decoder: Words, template: Template, runner: Runner, *, waiting: int, defaults: Options
    ) -> None:
        """Raises ConfigError as Generation does; `waiting` may be in line, and `defaults` hold unless a device says."""
        if len(name) > MAX_MODEL:
            raise ConfigError(f"a language model's name, which is its folder's, may have {MAX_MODEL} characters")
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

    @property
    def ended(self) -> bool:
        """Whether nothing is written any more."""
        return self._batcher.ended

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
        with self._tally.writing() as count:
            async with aclosing(super().write(turns, options)) as answer:
                async for piece in answer:
                    if isinstance(piece, Ended):
                        count.read += piece.prompt_tokens
                        count.written += piece.completion_tokens
                    yield piece


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
