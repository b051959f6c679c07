"""A worker without encryption: the real tasks over the real models, in plain HTTP. For the ladder alone.

    python -m bench.direct --model DIR --listen 127.0.0.1:0 --admin 127.0.0.1:0 --announce FD

It serves with the same server, on as many threads, and runs the same code as the real worker. What it lacks is what
the next rung adds: Binary HTTP for answers in one piece, HPKE, replay protection. Below AT_ONCE it lacks the pace as
well: each event leaves when it is made. A worker has no switch for any of this, and must not have one.
"""

import argparse
import asyncio
import signal
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final

from inference.answer import EVENTS_FIELDS, Answer, Events, Spoken, Task, produce
from inference.config import LANGUAGE, MODEL, Measured
from inference.front import MAX_BODY
from inference.pace import Line, paced
from inference.runner import Runner
from inference.spoken import speak
from inference.warmup import at_work
from seclude import bhttp
from seclude.attestation.policy import Demonstration
from seclude.bhttp_stream import ResponseWriter
from seclude.daemon.answering import answering
from seclude.daemon.lifecycle import announce
from seclude.daemon.limits import ServerLimits
from seclude.daemon.messages import Request, Response, Streamed
from seclude.daemon.server import Server
from seclude.errors import UsageError
from seclude.ohttp.media import EVENT_STREAM
from seclude.tasks import JSON

AT_ONCE: Final = "/at-once"
"""Before the path of a task: events leave when they are made."""
SETTINGS: Final = Measured(origin="direct.invalid", t0=0, period_seconds=1, policy=Demonstration())


class Clear:
    """Leaves chunks as they are."""

    def seal(self, piece: bytes) -> bytes:
        """Return a chunk."""
        return piece

    def finish(self, piece: bytes = b"") -> bytes:
        """Return the last chunk."""
        return piece


class Hasty:
    """Takes events, and has them at once."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[bytes | None] = asyncio.Queue()

    def begin(self) -> None:
        """Take note that there will be events."""

    async def add(self, event: bytes) -> None:
        """Add an event."""
        self._events.put_nowait(event)

    async def pieces(self, spoken: Spoken) -> AsyncGenerator[bytes, None]:
        """Let an answer be made, and yield its message as it comes."""
        writer = ResponseWriter(200, EVENTS_FIELDS)
        yield writer.head()
        job = asyncio.ensure_future(speak(spoken, self, 0.0))
        job.add_done_callback(lambda _: self._events.put_nowait(None))
        try:
            while (event := await self._events.get()) is not None:
                yield writer.content(event)
            await job
            yield writer.end()
        finally:
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)


class Direct:
    """The handler: the body of a request is the task's, and its answer the answer's."""

    def __init__(self, task: Task, runner: Runner) -> None:
        self._task, self._runner = task, runner

    async def handle(self, request: Request) -> Response | Streamed:
        """Answer one request, in pieces where it wants events."""
        content = await request.body.read()
        inner = bhttp.Request(
            request.method.encode(),
            b"https",
            b"direct.invalid",
            request.path.removeprefix(AT_ONCE).encode(),
            (bhttp.Field(b"content-type", JSON.encode()), bhttp.Field(b"accept", (request.accept or JSON).encode())),
            content,
        )
        if request.path.startswith(AT_ONCE):
            return await self._at_once(inner)
        if request.accept == EVENT_STREAM:
            line = Line()
            job = asyncio.ensure_future(self._make(inner, line))
            return Streamed(EVENT_STREAM, paced(line, job, Clear(), SETTINGS.pace))
        answer = await self._runner.run(self._task, inner)
        if not isinstance(answer, bhttp.Response):
            raise UsageError("this task answers with events")
        return _whole(answer)

    async def _at_once(self, inner: bhttp.Request) -> Response | Streamed:
        answer = await self._runner.run(self._task, inner)
        if isinstance(answer, bhttp.Response):
            return _whole(answer)
        if isinstance(answer, Events):
            raise UsageError("only what is spoken has events that need not wait")
        return Streamed(EVENT_STREAM, Hasty().pieces(answer))

    async def _make(self, inner: bhttp.Request, line: Line) -> list[bytes]:
        answer = await self._runner.run(self._decide, inner, line)
        whole = await speak(answer, line, 0.0) if isinstance(answer, Spoken) else answer
        return [whole.content] if isinstance(whole, bhttp.Response) else []

    def _decide(self, inner: bhttp.Request, line: Line) -> Answer:
        """Run the task, and make its events if they are made on the task's thread."""
        answer = self._task(inner)
        if isinstance(answer, Events):
            line.begin()
            produce(answer, line.put, 0.0)
        return answer


async def serve(flags: argparse.Namespace) -> None:
    """Answer until SIGTERM."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    folders = {MODEL: flags.model} | ({} if flags.language_model is None else {LANGUAGE: flags.language_model})
    async with at_work(folders, SETTINGS) as (tasks, runner):
        direct = Direct(tasks.handle, runner)
        limits = ServerLimits(max_body_bytes=MAX_BODY, max_inflight=SETTINGS.max_inflight)
        server = Server(answering(direct.handle), limits)
        bound = await server.start(flags.listen)
        announce(flags.announce, listen=bound, admin=bound)
        await ended.wait()
        await server.drain(1.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one worker without encryption."""
    parser = argparse.ArgumentParser(prog="bench.direct")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--language-model", type=Path)
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--admin", help="ignored")
    parser.add_argument("--announce", type=int)
    asyncio.run(serve(parser.parse_args(arguments)))


def _whole(answer: bhttp.Response) -> Response:
    return Response(answer.status, JSON, answer.content)


if __name__ == "__main__":
    main()
