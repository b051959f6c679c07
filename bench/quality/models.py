"""Abstracts as a worker makes and checks them: its own tasks over its own models, asked without keys and encryption.

Where an abstract did not hold against its chat, the answer is the highlights, and they are what is scored.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from time import process_time
from typing import Final

from bench.quality.chat import Chat
from bench.quality.engines import Engine, Made
from inference.answer import Answer, Events, Spoken
from inference.config import Measured
from inference.models import load_tasks
from inference.runner import Runner
from inference.spoken import speak_whole
from inference.tasks.router import Tasks
from seclude import bhttp
from seclude.attestation.policy import Demonstration
from seclude.errors import ConfigError, UsageError
from seclude.tasks import JSON, SUMMARIZE_PATH, SummarizeResponse, decode, encode

ORIGIN: Final = "bench.invalid"
NOW: Final = 0.0  # only an answer's Date would need it
AS_INSTALLED: Final = Measured(origin=ORIGIN, t0=0, period_seconds=1, policy=Demonstration())
"""A worker's settings where its operator changes none of them; what concerns keys and peers plays no part here."""


@contextmanager
def writing(folders: Mapping[str, Path]) -> Iterator[Engine]:
    """Load models, by the places that `inference.config` has for them, and give what summarises with them."""
    with asyncio.Runner() as loop:
        threads = Runner(AS_INSTALLED.tasks_at_once, AS_INSTALLED.max_inflight)
        with closing(threads) as runner, closing(load_tasks(folders, AS_INSTALLED, runner)) as tasks:
            yield lambda chat: [loop.run(_summarise(chat, tasks, runner))]


async def _summarise(chat: Chat, tasks: Tasks, runner: Runner) -> Made:
    began = process_time()
    answer: Answer = await runner.run(tasks.handle, _request(chat))
    if isinstance(answer, Events):
        raise UsageError("events, and no stream was asked for")
    whole = await speak_whole(answer, NOW) if isinstance(answer, Spoken) else answer
    spent = (process_time() - began) * 1000
    if whole.status != 200:
        raise ConfigError(f"{chat.title}: the answer was {whole.status}")
    summary = decode(SummarizeResponse, whole.content)
    return Made(summary.abstract or summary.text, spent, summary.encoded, fell_back=summary.abstract is None)


def _request(chat: Chat) -> bhttp.Request:
    fields = (bhttp.Field(b"content-type", JSON.encode()),)
    return bhttp.Request(b"POST", b"https", ORIGIN.encode(), SUMMARIZE_PATH.encode(), fields, encode(chat.request()))
