"""A worker without encryption: the real tasks over the real model, in plain HTTP. For the ladder alone.

    python -m bench.direct --model DIR --listen 127.0.0.1:0 --admin 127.0.0.1:0 --announce FD

It serves with the same server, on as many threads, and runs the same code as the real worker. What it lacks is what
the next rung adds: Binary HTTP, HPKE, replay protection. A worker has no switch for this, and must not have one.
"""

import argparse
import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

import msgspec

from inference.answer import Events, Task, produce
from inference.config import Measured
from inference.front import MAX_BODY
from inference.pace import Line, Pace, paced
from inference.runner import Runner
from inference.warmup import load_tasks
from seclude import bhttp
from seclude.daemon.answering import answering
from seclude.daemon.lifecycle import announce
from seclude.daemon.limits import ServerLimits
from seclude.daemon.messages import Request, Response, Streamed
from seclude.daemon.server import Server
from seclude.ohttp.media import EVENT_STREAM
from seclude.tasks import JSON

DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(Measured)}


class Clear:
    """Leaves chunks as they are."""

    def seal(self, piece: bytes) -> bytes:
        """Return a chunk."""
        return piece

    def finish(self, piece: bytes = b"") -> bytes:
        """Return the last chunk."""
        return piece


class Direct:
    """The handler: the body of a request is the task's, and its answer the answer's."""

    def __init__(self, task: Task, threads: int, waiting: int, pace: Pace) -> None:
        self._task = task
        self._runner = Runner(threads, waiting)
        self._pace = pace

    async def handle(self, request: Request) -> Response | Streamed:
        """Answer one request, in pieces where it wants events."""
        content = await request.body.read()
        inner = bhttp.Request(
            request.method.encode(),
            b"https",
            b"direct.invalid",
            request.path.encode(),
            (bhttp.Field(b"content-type", JSON.encode()), bhttp.Field(b"accept", (request.accept or JSON).encode())),
            content,
        )
        if request.accept == EVENT_STREAM:
            line = Line()
            job = asyncio.ensure_future(self._runner.run(self._make, inner, line))
            return Streamed(EVENT_STREAM, paced(line, job, Clear(), self._pace))
        answer = await self._runner.run(self._task, inner)
        assert isinstance(answer, bhttp.Response)
        return Response(answer.status, JSON, answer.content)

    def _make(self, inner: bhttp.Request, line: Line) -> list[bytes]:
        answer = self._task(inner)
        if not isinstance(answer, Events):
            return [answer.content]
        line.begin()
        produce(answer, line.put, 0.0)
        return []

    def close(self) -> None:
        """End its threads."""
        self._runner.close()


async def serve(flags: argparse.Namespace) -> None:
    """Answer until SIGTERM."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    task = load_tasks(flags.model, int(DEFAULTS["model_threads"]))
    at_once, inflight = int(DEFAULTS["tasks_at_once"]), int(DEFAULTS["max_inflight"])
    pace = Pace(int(DEFAULTS["chunk_bytes"]), float(DEFAULTS["tick_milliseconds"]) / 1000)
    direct = Direct(task, at_once, inflight - at_once, pace)
    server = Server(answering(direct.handle), ServerLimits(max_body_bytes=MAX_BODY, max_inflight=inflight))
    bound = await server.start(flags.listen)
    announce(flags.announce, listen=bound, admin=bound)
    await ended.wait()
    await server.drain(1.0)
    direct.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one worker without encryption."""
    parser = argparse.ArgumentParser(prog="bench.direct")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--admin", help="ignored")
    parser.add_argument("--announce", type=int)
    asyncio.run(serve(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
