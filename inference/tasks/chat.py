"""Chats with the language model, in the JSON of `seclude/chat.py`: whole, or event by event as it is written.

Nothing of a chat outlives its answer. Sampling begins with the seed that the device brings, or with one drawn for the
request; so what others ask at the same time makes no difference to an answer.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Final

from inference.answer import Spoken, event, refuse, reply
from inference.engine.generation import Ended, Finish, Generation, Options
from inference.engine.template import Turn
from inference.tasks.language import LanguageModel, new_seed
from seclude import chat as wire
from seclude.bhttp import Response
from seclude.chat import ChatChunk, ChatRequest, ChatResponse, ChunkChoice, Delta, Usage
from seclude.errors import BusyError, UsageError
from seclude.tasks import encode

SEED_OCTETS: Final = 16  # of a device's own, a number of 64 bits with a sign: it asks for repetition, not for secrecy

# Of an answer in one piece: a gateway gives up after 110 in which nothing came, and nobody learns when to come again.
WHOLE_SECONDS: Final = 90.0
ENDING_SECONDS: Final = 10.0  # before that an answer ends with what there is of it
RETRY_SECONDS: Final = 30  # what made an answer so slow takes a while to end


def models(model: LanguageModel | None) -> Response:
    """Answer which language models there are."""
    return reply(encode(wire.ModelList(() if model is None else (wire.Model(model.name),))))


def chat(request: ChatRequest, model: LanguageModel | None) -> Response | Spoken:
    """Accept a chat, or say why not."""
    if model is None:
        return refuse(501, "this worker has no language model")
    if request.model != model.name:
        return refuse(404, "there is no model of this name")
    turns = [Turn(each.role, each.content) for each in request.messages]
    answer = _streamed if request.stream else _whole
    return Spoken(partial(answer, model.generation, turns, options_of(request, model.defaults)))


def options_of(request: ChatRequest, defaults: Options) -> Options:
    """Return the device's choices over the model's own."""
    return replace(
        defaults,
        max_tokens=min(request.max_tokens or defaults.max_tokens, defaults.max_tokens),
        temperature=defaults.temperature if request.temperature is None else request.temperature,
        top_p=defaults.top_p if request.top_p is None else request.top_p,
        stop=request.stop,
        seed=new_seed() if request.seed is None else request.seed.to_bytes(SEED_OCTETS, signed=True),
    )


async def _whole(generation: Generation, turns: Sequence[Turn], options: Options) -> Response:
    try:
        async with asyncio.timeout(WHOLE_SECONDS):
            until = time.monotonic() + WHOLE_SECONDS - ENDING_SECONDS
            return await _collected(generation, turns, replace(options, until=until))
    except TimeoutError:
        raise BusyError("an answer was not whole in time", retry_after_seconds=RETRY_SECONDS) from None


async def _collected(generation: Generation, turns: Sequence[Turn], options: Options) -> Response:
    text: list[str] = []
    async with aclosing(generation.write(turns, options)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Ended):
                choice = wire.Choice(wire.AnswerMessage("".join(text)), _reason(piece))
                return reply(encode(ChatResponse((choice,), _usage(piece))))
            text.append(piece)
    raise UsageError("an answer without an end")


async def _streamed(generation: Generation, turns: Sequence[Turn], options: Options) -> AsyncGenerator[bytes, None]:
    return _events(generation, turns, options)


async def _events(generation: Generation, turns: Sequence[Turn], options: Options) -> AsyncGenerator[bytes, None]:
    async with aclosing(generation.write(turns, options)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Ended):
                end = ChunkChoice(Delta(), _reason(piece))
                yield event(None, encode(ChatChunk((end,), _usage(piece))))
                yield event(None, wire.DONE)
            else:
                yield event(None, encode(ChatChunk((ChunkChoice(Delta(piece)),))))


def _reason(ended: Ended) -> wire.Finish:
    return "stop" if ended.finish is Finish.STOP else "length"


def _usage(ended: Ended) -> Usage:
    read, written = ended.prompt_tokens, ended.completion_tokens
    return Usage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)
